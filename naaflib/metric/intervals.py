"""Recalls and ranks of one matrix with bootstrap intervals over images. numpy only.

An image is resampled with all its captions, in both directions, against the same candidates. The interval
covers other images, not another training.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float

from .retrieval import MEASURES, ONE_WAY, WAYS, Retrieval, RetrievalMetrics, chance_recalls
from .significance import BLOCK, bootstrap_means, check_request, image_measures

RANKS = tuple(name for name in ONE_WAY if name.endswith("_rank"))  # median_rank, mean_rank
COLUMNS = ("value", "low", "high", "chance")


def measured(
    metrics: RetrievalMetrics,
    fold: int,
    captions_per_image: int = 5,
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> pd.DataFrame:
    """A row a measure (recalls, rsum, median and mean ranks), columns COLUMNS; recalls in percent.

    fold: images that are ranked together, which decides chance. A median rank has no chance value here.
    """
    check_request(confidence, resamples, seed)
    tails = (0.5 - confidence / 2, 0.5 + confidence / 2)
    chance = chance_recalls(fold, captions_per_image) | _chance_ranks(fold, captions_per_image)
    recalls = bootstrap_means(image_measures(metrics), resamples, seed)
    bounds = dict(zip(MEASURES, np.quantile(recalls, tails, axis=0).T, strict=True))
    values = metrics.measures()
    for way in WAYS:
        found: Retrieval = getattr(metrics, way)
        by_image = (found.ranks + 1.0).reshape(len(metrics.i2t.ranks), -1)
        means = bootstrap_means(by_image.mean(axis=1, keepdims=True), resamples, seed)[:, 0]
        medians = bootstrap_medians(by_image, min(resamples, 2000), seed)
        for name, drawn in zip(RANKS, (medians, means), strict=True):
            values[f"{way}_{name}"] = getattr(found, name)
            bounds[f"{way}_{name}"] = np.quantile(drawn, tails)
    rows = {
        name: dict(zip(COLUMNS, (values[name], *bounds[name], chance.get(name, np.nan)), strict=True))
        for name in values
    }
    return pd.DataFrame(rows).T.rename_axis("measure")


def bootstrap_medians(
    ranks: Float[np.ndarray, "image query"], resamples: int, seed: int = 0
) -> Float[np.ndarray, " resample"]:
    """Median ranks, rounded down as `Retrieval.median_rank` is, of images drawn with replacement."""
    images, each = ranks.shape
    order = np.argsort(ranks, axis=None, kind="stable")
    places, ascending = order // each, ranks.ravel()[order]
    middle = images * each / 2
    found = []
    for times in _draws(images, resamples, seed):
        seen = np.cumsum(times[:, places], axis=1)
        lower, upper = (ascending[(seen >= limit).argmax(axis=1)] for limit in (middle, middle + 0.5))
        found.append(np.floor((lower + upper) / 2 if images * each % 2 == 0 else upper))
    return np.concatenate(found)


def _draws(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each image is drawn: (resample, image), some resamples at a time."""
    rng, size = np.random.default_rng(seed), max(1, BLOCK // (5 * images))
    for start in range(0, resamples, size):
        count = min(size, resamples - start)
        yield rng.multinomial(images, np.full(images, 1 / images), size=count)


def _chance_ranks(images: int, captions_per_image: int) -> dict[str, float]:
    """The mean rank of scores drawn blindly."""
    wrong = (images - 1) * captions_per_image
    return {"i2t_mean_rank": 1 + wrong / (captions_per_image + 1), "t2i_mean_rank": 1 + (images - 1) / 2}
