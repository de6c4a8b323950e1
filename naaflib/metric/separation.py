"""How well matched and mismatched similarities separate: the numbers that a distribution figure prints.

Samples are one-dimensional: each value the largest cosine of a word over an image's regions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import norm

from .detection import area_under_curve


@dataclass(frozen=True)
class Separation:
    """Gaussian fits of the two samples and what a boundary makes of them. Shares are in 0 ... 1."""

    mean_matched: float
    std_matched: float
    mean_mismatched: float
    std_mismatched: float
    auc: float  # share of (matched, mismatched) pairs of values in the right order; a tie counts half
    overlap: float  # area under both fits: 1 is the same distribution, 0 apart
    boundary: float | None
    alpha: float
    taken_as_matched: float | None  # E1: mismatched above the boundary, by the fit
    taken_as_mismatched: float | None  # E2: matched at or below it, by the fit

    @property
    def three_sigma(self) -> float:
        """mu+ - 3 sigma+: the inference boundary of these samples."""
        return self.mean_matched - 3 * self.std_matched

    def density_matched(self, at: np.ndarray) -> np.ndarray:
        return norm.pdf(at, self.mean_matched, self.std_matched)

    def density_mismatched(self, at: np.ndarray) -> np.ndarray:
        return norm.pdf(at, self.mean_mismatched, self.std_mismatched)


def separation(
    matched: ArrayLike, mismatched: ArrayLike, *, boundary: float | None = None, alpha: float = 2.0
) -> Separation:
    """Eq. 3: the two errors of a boundary, which alpha weighs; with them fits, AUC and overlap.

    Each sample needs two different values.
    """
    matched, mismatched = np.asarray(matched, dtype=float), np.asarray(mismatched, dtype=float)
    fits = (matched.mean(), matched.std(ddof=1), mismatched.mean(), mismatched.std(ddof=1))
    values = np.concatenate([matched, mismatched])
    auc = area_under_curve(values, np.arange(len(values)) < len(matched))
    errors: tuple[float | None, ...] = (None, None)
    if boundary is not None:
        errors = float(norm.sf(boundary, *fits[2:])), float(norm.cdf(boundary, *fits[:2]))
    limit = None if boundary is None else float(boundary)
    return Separation(*map(float, fits), float(auc), _overlap(*fits), limit, float(alpha), *errors)


def _overlap(mean_1: float, std_1: float, mean_2: float, std_2: float) -> float:
    """Area under the lower of two Gaussian densities."""
    low = min(mean_1 - 8 * std_1, mean_2 - 8 * std_2)
    high = max(mean_1 + 8 * std_1, mean_2 + 8 * std_2)
    at = np.linspace(low, high, 20_001)
    return float(np.trapezoid(np.minimum(norm.pdf(at, mean_1, std_1), norm.pdf(at, mean_2, std_2)), at))


def separation_table(
    samples: Mapping[object, Mapping[str, ArrayLike]], *, alpha: float = 2.0
) -> pd.DataFrame:
    """A row a sample (an epoch, for instance): fits, boundaries, both errors, AUC and overlap.

    samples: as a run keeps them, "matched", "mismatched" and, where there is one, "boundary".
    """
    names = ("mean_matched", "std_matched", "mean_mismatched", "std_mismatched", "boundary", "three_sigma")
    names += ("taken_as_matched", "taken_as_mismatched", "auc", "overlap")
    rows = {}
    for key, sample in samples.items():
        boundary = sample.get("boundary")
        limit = None if boundary is None else float(boundary)
        found = separation(sample["matched"], sample["mismatched"], boundary=limit, alpha=alpha)
        rows[key] = {name: getattr(found, name) for name in names}
    return pd.DataFrame(rows).T.astype(float)
