"""Attention and mismatch measured where the truth is known; the two samples of similarities."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from ..checkpoint import load_checkpoint
from ..data import scenes
from ..data.scene_words import LEXICON
from ..data.splits import Split, open_split
from ..explanation import (
    FoilDetection,
    PointingGame,
    explain_pairs,
    foil_detection,
    matched_samples,
    pointing_game,
)
from ..mining import optimal_boundary
from ..model import Model
from ..runs import Run
from ..viz.distributions import boundary_figure
from ..viz.measures import rates_figure
from ..viz.separation import separation

KINDS = {
    form: kind
    for (kind, _), values in LEXICON.items()
    if kind in ("shape", "colour", "size", "texture")
    for forms in values.values()
    for form in forms
}


@dataclass(frozen=True)
class MeasuredWords:
    """The pointing game and foil detection of a split; None where the data set does not know the truth."""

    split: Split
    pointing: PointingGame | None = None
    foils: FoilDetection | None = None

    def sentence(self) -> str:
        if self.pointing is None or self.foils is None:
            text = (
                f"{self.split.folder.name} does not say which region a word speaks of, so nothing is "
                "measured here; the built-in scenes do (data = data/scenes)."
            )
        else:
            text = f"Attention: {self.pointing.sentence()}.\nFoils: {self.foils.sentence()}."
        return "\n".join(fill(line, 100) for line in text.split("\n"))

    def table(self) -> pd.DataFrame | None:
        """A row a measure: value, 95 % interval where there is one, chance; percent."""
        if self.pointing is None or self.foils is None:
            return None
        found, evidence = self.foils.found.loc[self.foils.evidence], self.foils.evidence
        unknown = (np.nan, np.nan)
        rows = {
            "pointing game: attended region is right": (
                self.pointing.rate, *self.pointing.interval, self.pointing.chance
            ),
            "foils: true caption scores higher": (self.foils.accuracy, *self.foils.interval, 0.5),
            f"foils: wrong word has the lowest {evidence}": (
                found["first"], *unknown, self.foils.chance_first
            ),
            f"foils: AUC of {evidence} at the wrong word": (found["auc"], *unknown, 0.5),
        }  # fmt: skip
        table = pd.DataFrame(rows, index=["value", "low", "high", "chance"]).T.rename_axis("measure") * 100
        table.insert(0, "split", self.split.name)
        return table.round(2)

    def evidence(self) -> pd.DataFrame | None:
        """What finds the wrong word of a foil: a row a number that each word has, chance last; percent."""
        if self.foils is None:
            return None
        chance = {
            "auc": 0.5,
            "average_precision": self.foils.chance_precision,
            "first": self.foils.chance_first,
        }
        table = pd.concat([self.foils.found, pd.DataFrame({"chance": chance}).T])
        return (100 * table).rename_axis("a word's").round(2)

    def figure(self) -> Figure | None:
        """Pointing game by class of word and foil detection by class of the wrong word."""
        if self.pointing is None or self.foils is None:
            return None
        words = self.pointing.words
        kind = words["word"].map(KINDS).fillna("other")
        pointed = words.groupby(kind)[["hit", "chance"]].mean().rename(columns={"hit": "value"})
        foils = self.foils.by_kind.set_index("kind")
        lengths = self.foils.words.groupby("foil").size()
        first = (1 / lengths).groupby(self.foils.foils["kind"].to_numpy()).mean()
        found = pd.DataFrame({"value": foils["first"], "chance": first})
        beaten = pd.DataFrame({"value": foils["accuracy"], "chance": 0.5})
        tables = {
            "Attended region is right": pointed,
            "True caption beats its foil": beaten,
            "Wrong word is found": found,
        }
        return rates_figure(
            {name: (100 * t).sort_values("value", ascending=False) for name, t in tables.items()}
        )


def measure_words(model: Model, split: Split) -> MeasuredWords:
    """Both measures on a split of scenes; on other data nothing, and the sentence says why."""
    if not (split.folder / f"{split.name}_links.json").is_file():
        return MeasuredWords(split)
    return MeasuredWords(
        split,
        pointing_game(model, split, scenes.read_links(split.folder, split.name)),
        foil_detection(model, split, scenes.read_foils(split.folder, split.name)),
    )


def best_epoch(run: Run) -> int:
    """The epoch whose checkpoint the run kept as its best."""
    history = run.history()
    return int(history.loc[history["rsum"].idxmax(), "epoch"])


def sample_panels(run: Run, folder: Path, split: str = "") -> dict[str, Mapping[str, np.ndarray]]:
    """Samples before training and at the best epoch, both of dev as training kept them, by their titles.

    split: another split, on which the best checkpoint is sampled instead; "" for none.
    """
    kept, best = run.samples(), best_epoch(run)
    before = {key: kept[0][key] for key in ("matched", "mismatched")}  # there is no boundary yet
    if not split:
        return {"Before training": before, f"After epoch {best}, the best": kept[best]}
    after = matched_samples(load_checkpoint(run.path), open_split(folder, split))
    return {"Before training, dev": before, f"After epoch {best}, {split}": after}


def hard_samples(run: Run, folder: Path, split: str = "", images: int = 200) -> dict[str, np.ndarray]:
    """As the samples that training keeps, but mismatched with the wrong image that scores highest.

    One caption of each of the split's first images, scored against these images by the best checkpoint.
    """
    model, few = load_checkpoint(run.path), open_split(folder, split or "dev").first(images)
    rows = np.arange(len(few))
    captions = rows * few.captions_per_image
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
