"""AUC and average precision of a score, with bootstrap intervals over images.

Every 95 % interval resamples whole images, since the words of one image are not independent.
"""

from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

Interval = tuple[float, float]
Column = np.ndarray | pd.Series
RESAMPLES = 2000
SOME = 4096  # true items at a time, against all images


class Ranked(NamedTuple):
    """How well a number ranks the true items before the false ones; shares in 0 ... 1."""

    auc: float  # chance 0.5
    auc_low: float
    auc_high: float
    average_precision: float  # chance: the share of true items
    average_precision_low: float
    average_precision_high: float


def area_under_curve(score: Column, truth: Column) -> float:
    """Share of (true, false) pairs with the true one scored higher; a tie counts half. NaN for one class."""
    score, truth = np.asarray(score, dtype=float), np.asarray(truth, dtype=bool)
    pairs = int(truth.sum()) * int((~truth).sum())
    return (
        mannwhitneyu(score[truth], score[~truth], method="asymptotic").statistic / pairs
        if pairs
        else float("nan")
    )


def average_precision(score: Column, truth: Column) -> float:
    """Mean precision at each true item's score, equal scores entering together."""
    score, truth = np.asarray(score, dtype=float), np.asarray(truth, dtype=bool)
    values = np.unique(score)[::-1]
    level = np.searchsorted(-values, -score)
    hits = np.bincount(level, weights=truth, minlength=len(values))
    seen = np.bincount(level, minlength=len(values))
    return float((hits * hits.cumsum() / seen.cumsum()).sum() / truth.sum())


def ranked(score: Column, truth: Column, image: Column, seed: int = 0, resamples: int = 1000) -> Ranked:
    """Both measures with their 95 % intervals: percentiles over resamples of whole images."""
    score, truth = np.asarray(score, dtype=float), np.asarray(truth, dtype=bool)
    names, place = np.unique(np.asarray(image), return_inverse=True)
    times = times_drawn(np.random.default_rng(seed), len(names), resamples).astype(np.float32)
    wins, precision = np.zeros(resamples), np.zeros(resamples)
    for true in np.array_split(np.flatnonzero(truth), max(1, -(-int(truth.sum()) // SOME))):
        weight = times[:, place[true]]
        above, level = (_counts(score, place, len(names), score[true], side) for side in ("right", "left"))
        hits = _counts(score[truth], place[truth], len(names), score[true], "left")
        hits_above = _counts(score[truth], place[truth], len(names), score[true], "right")
        false_before = ((above - hits_above) + (level - hits)) / 2  # an equal one stands half before
        wins += (weight * (times @ false_before)).sum(axis=1)
        precision += (weight * (times @ hits) / np.maximum(times @ level, 1)).sum(axis=1)
    trues, falses = (times @ np.bincount(place, kind, len(names)) for kind in (truth, ~truth))
    with np.errstate(invalid="ignore", divide="ignore"):  # a resample without one class says nothing
        auc, precision = 1 - wins / (trues * falses), precision / trues
    return Ranked(
        area_under_curve(score, truth),
        *percentiles(auc),
        average_precision(score, truth),
        *percentiles(precision),
    )


def _counts(
    score: np.ndarray, image: np.ndarray, images: int, limits: np.ndarray, side: Literal["left", "right"]
) -> np.ndarray:
    """(image, limit) How many items of each image score at least ("left") or more than ("right") a limit."""
    counts = np.empty((images, len(limits)), dtype=np.float32)
    order = np.lexsort((score, image))
    for row, own in enumerate(np.split(score[order], np.searchsorted(image[order], np.arange(1, images)))):
        counts[row] = len(own) - np.searchsorted(own, limits, side)
    return counts


def image_interval(hit: pd.Series, image: pd.Series, seed: int = 0) -> Interval:
    """95 % interval of a mean: percentiles over resamples of whole images."""
    (interval,) = image_intervals(hit.to_frame(), image, seed)
    return interval


def image_intervals(columns: pd.DataFrame, image: Column, seed: int = 0) -> list[Interval]:
    """The interval of each column's mean, from the same resamples of whole images."""
    by_image = columns.astype(float).groupby(np.asarray(image))
    times = times_drawn(np.random.default_rng(seed), by_image.ngroups, RESAMPLES).astype(float)
    means = (times @ by_image.sum().to_numpy()) / (times @ by_image.size().to_numpy())[:, None]
    return [percentiles(column) for column in means.T]


def times_drawn(rng: np.random.Generator, images: int, resamples: int) -> np.ndarray:
    """(resample, image) How often each image is drawn."""
    return rng.multinomial(images, np.full(images, 1 / images), size=resamples)


def percentiles(values: np.ndarray) -> Interval:
    """The 95 % interval of what resamples gave; those that say nothing (NaN) are left out."""
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, (0.025, 0.975))
    return float(low), float(high)
