"""Matched and mismatched similarities of a fixed set of captions: what the distribution figures show."""

import numpy as np
import torch
from torch import Tensor

from ..data.splits import Split
from ..errors import NaafError
from ..model.model import Model
from ..similarity.base import cosines
from ..similarity.matrix import scored

BATCH = 128  # images that a caption's lowest-scoring one is picked from, as in a training batch


@torch.no_grad()
def matched_samples(model: Model, split: Split, *, pairs: int = 512, seed: int = 0) -> dict[str, np.ndarray]:
    """Each word's largest cosine in its own image and in the batch's lowest-scoring image, as in mining.

    Returns what a run keeps in samples/: "matched" and "mismatched", one value a word and word k the same in
    both, and the model's "boundary" and "inference_boundary". Unlike mining it takes every caption, correctly
    ranked or not, so that models, untrained ones too, are compared on the same words. The lowest of many is
    low by choice: even an untrained model's samples lie apart; their AUC tells easy negatives only.
    pairs: images, one caption of each (all where the split has fewer); they depend on seed and split alone.
    Raises NaafError for a split of one image.
    """
    if len(split) < 2:
        raise NaafError(f"split {split.name} has {len(split)} image; a mismatched one needs at least 2")
    rng = np.random.default_rng(seed)
    images = rng.permutation(len(split))[:pairs]
    captions = images * split.captions_per_image + rng.integers(split.captions_per_image, size=len(images))
    batches = max(1, round(len(images) / BATCH))
    found = [
        _batch_samples(model, split, own, texts)
        for own, texts in zip(np.array_split(images, batches), np.array_split(captions, batches), strict=True)
    ]
    matched, mismatched = (torch.cat(part).double().cpu().numpy() for part in zip(*found, strict=True))
    boundary = {"boundary": model.boundary.training, "inference_boundary": model.boundary.inference}
    return {"matched": matched, "mismatched": mismatched, **{k: np.float64(v) for k, v in boundary.items()}}


def _batch_samples(
    model: Model, split: Split, images: np.ndarray, captions: np.ndarray
) -> tuple[Tensor, Tensor]:
    """The two samples of a batch of pairs, scored as training scores it."""
    regions = model.encode_images(torch.from_numpy(split.regions.gather(images)))
    words, lengths = model.encode_texts([split.captions[caption] for caption in captions])
    scores = scored(regions, words, lengths, model.similarity.in_training(), model.boundary.training)
    lowest = scores.fill_diagonal_(torch.inf).argmin(dim=0)
    inside = torch.arange(words.shape[1])[None] < lengths[:, None]
    pairs = torch.arange(len(images)), lowest
    return tuple(cosines(words, regions[image]).amax(dim=-1)[inside] for image in pairs)
