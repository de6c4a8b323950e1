"""Spearman correlation of scores with human grades, ties included, bootstrapped over images.

A resample draws whole images, since the pairs of one image are not independent. How often a pair was drawn is
its weight; the weighted mid-ranks come from sums over fixed groups of equal values, sorted once. They are the
ranks of the resample with its rows repeated. Axis: pair (an image with a caption).
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from ..errors import NaafError
from .detection import Column, percentiles, times_drawn

ALL = "all"  # the group of every pair


class Correlation(NamedTuple):
    """Spearman's rho, -1 to 1, with its 95 % interval. NaN where all scores or all grades are equal."""

    value: float
    low: float
    high: float


def spearman(
    scores: Column, grades: Column, image: Column, *, seed: int = 0, resamples: int = 1000
) -> Correlation:
    """Of scores and grades (pair,); image: which pairs stay together. Raises NaafError for a NaN."""
    scores, grades = np.asarray(scores, dtype=float), np.asarray(grades, dtype=float)
    for name, values in (("score", scores), ("grade", grades)):
        if not np.isfinite(values).all():
            raise NaafError(f"the {name} of pair {int(np.argmin(np.isfinite(values)))} is not finite")
    names, place = np.unique(np.asarray(image), return_inverse=True)
    order = np.argsort(scores)  # neighbours in memory are neighbours in rank: faster sums
    place, score, grade = place[order], _MidRanks(scores[order]), _MidRanks(grades[order])
    drawn = times_drawn(np.random.default_rng(seed), len(names), resamples)
    values = np.array([_rho(score, grade, times[place].astype(float)) for times in drawn])
    return Correlation(_rho(score, grade, np.ones(len(scores))), *percentiles(values))


def spearman_table(
    scores: Column, grades: Column, image: Column, group: Column, *, seed: int = 0, resamples: int = 1000
) -> pd.DataFrame:
    """Of all pairs and of each group: group, pairs, images, spearman, low, high."""
    frame = pd.DataFrame({"score": np.asarray(scores), "grade": grades, "image": image, "group": group})
    rows = []
    for name, part in [(ALL, frame), *frame.groupby("group")]:
        found = spearman(part["score"], part["grade"], part["image"], seed=seed, resamples=resamples)
        rows.append((name, len(part), part["image"].nunique(), *found))
    return pd.DataFrame(rows, columns=["group", "pairs", "images", "spearman", "low", "high"])


class _MidRanks:
    """Ranks of values that may be drawn several times; equal ones share the mean of their ranks."""

    def __init__(self, values: np.ndarray) -> None:
        found, self.level = np.unique(values, return_inverse=True)
        self.levels = len(found)

    def __call__(self, times: np.ndarray) -> np.ndarray:
        """(pair,) from 1, in the list that holds each pair so many times."""
        here = np.bincount(self.level, times, self.levels)
        return (here.cumsum() - (here - 1) / 2)[self.level]


def _rho(score: _MidRanks, grade: _MidRanks, times: np.ndarray) -> float:
    """Pearson's correlation of the ranks, each pair counted so many times."""
    mean = (times.sum() + 1) / 2
    one, other = score(times) - mean, grade(times) - mean
    shared, *own = (
        np.einsum("p,p,p->", times, *pair)  # no matrix product: its threads cost more than they save here
        for pair in ((one, other), (one, one), (other, other))
    )
    return float(shared / np.sqrt(own[0] * own[1])) if min(own) > 0 else float("nan")
