"""The two samples of similarities: before and after training, against the hardest wrong image."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from ..data.splits import open_split
from ..explanation import explain_pairs, matched_samples
from ..metric.separation import separation
from ..model.checkpoint import load_checkpoint
from ..runs import Run
from ..similarity.boundary import optimal_boundary
from ..viz.distributions import boundary_figure
from ..viz.style import Figure


def sample_panels(run: Run, folder: Path, split: str = "") -> dict[str, Mapping[str, np.ndarray]]:
    """Samples before training and at the best epoch, both of dev as training kept them, by their titles.

    split: another split, on which the best checkpoint is sampled instead; "" for none.
    """
    kept = run.sample_panels()
    if not split:
        return kept
    after = matched_samples(load_checkpoint(run.path), open_split(folder, split))
    before = next(iter(kept.values()))
    return {"Before training, dev": before, f"After epoch {run.best_epoch}, {split}": after}


def hard_samples(run: Run, folder: Path, split: str = "", images: int = 200) -> dict[str, np.ndarray]:
    """As the samples that training keeps, but mismatched with the wrong image that scores highest.

    One caption of each of the split's first images, scored against these images by the best checkpoint.
    """
    model, few = load_checkpoint(run.path), open_split(folder, split or "dev").first(images)
    rows = np.arange(len(few))
    captions = np.array([few.captions_of_image(image).start for image in rows.tolist()])
    regions = model.encode_images(torch.from_numpy(few.regions.gather(rows)))
    scores = model.score(regions, *model.encode_texts([few.captions[caption] for caption in captions]))
    hardest = scores.fill_diagonal_(-torch.inf).argmax(dim=0).cpu().numpy()
    found = {
        kind: np.concatenate([pair.best_cosine for pair in explain_pairs(model, few, chosen, captions)])
        for kind, chosen in (("matched", rows), ("mismatched", hardest))
    }
    boundary = {"boundary": model.boundary.training, "inference_boundary": model.boundary.inference}
    return {**found, **{name: np.float64(value) for name, value in boundary.items()}}


def boundary_page(samples: Mapping[str, np.ndarray], alpha: float) -> Figure:
    """Cumulative shares of both samples, and the boundary that their fits give as a function of alpha."""
    fit = separation(samples["matched"], samples["mismatched"])
    alphas = np.geomspace(0.25, 16, 97)
    moments = (fit.mean_matched, fit.std_matched, fit.mean_mismatched, fit.std_mismatched)
    boundaries = [optimal_boundary(*moments, alpha=value) for value in alphas.tolist()]
    return boundary_figure(
        samples["matched"],
        samples["mismatched"],
        alphas,
        boundaries,
        boundary=float(samples["boundary"]),
        alpha=alpha,
        inference_boundary=fit.three_sigma,
    )
