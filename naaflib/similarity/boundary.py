"""The boundary between matched and mismatched similarities, where two Gaussians cross.

The boundary separates the largest cosines of words in their own image from those in a wrong one at the least
expected cost. `training.mining` samples the words.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Boundaries(NamedTuple):
    """t of eq. 4, used in training, and the safe mu+ - 3 sigma+, used at inference."""

    training: float
    inference: float


class Samples(NamedTuple):
    """Mean and (unbiased) standard deviation of the matched and mismatched similarities; NaN: none yet."""

    mean_matched: float = math.nan
    std_matched: float = math.nan
    mean_mismatched: float = math.nan
    std_mismatched: float = math.nan


def optimal_boundary(
    mean_pos: float | Tensor,
    std_pos: float | Tensor,
    mean_neg: float | Tensor,
    std_neg: float | Tensor,
    alpha: float | Tensor = 2.0,
) -> Any:
    """Eq. 4: the raw root, not clipped: where alpha N(mean_neg, std_neg) and N(mean_pos, std_pos) cross.

    A local minimum of the expected cost, alpha P(mismatched taken as matched) + P(matched taken as
    mismatched). It is the global one unless to take every word as matched, which costs alpha, or none, which
    costs 1, is cheaper; that happens where mean_pos < mean_neg, or where alpha is very high or very low.
    Numbers give a float; if any argument is a tensor, elementwise, a float64 tensor. NaN where there is no
    boundary: no real crossing (discriminant <= 0), or equal deviations with mean_pos <= mean_neg.
    """
    given = (mean_pos, std_pos, mean_neg, std_neg, alpha)
    mp, sp, mn, sn, price = (torch.as_tensor(value, dtype=torch.float64) for value in given)
    b1 = sp**2 - sn**2
    b2 = 2 * (mp * sn**2 - mn * sp**2)
    b3 = (sp * mn) ** 2 - (sn * mp) ** 2 + 2 * (sp * sn) ** 2 * torch.log(sn / (price * sp))
    discriminant = b2**2 - 4 * b1 * b3
    root = discriminant.clamp_min(0).sqrt()
    # The paper's root times its conjugate: the same number, but equal deviations give no 0 / 0. Where b2
    # is negative the sum below would cancel, and the paper's own form does not.
    boundary = torch.where((b2 < 0) & (b1 != 0), (root - b2) / (2 * b1), -2 * b3 / (b2 + root))
    boundary = boundary.where((discriminant > 0) & boundary.isfinite(), math.nan)
    return boundary if any(isinstance(value, Tensor) for value in given) else boundary.item()


def released_boundary(samples: Samples, alpha: float) -> float:
    """`optimal_boundary` with the released code's 1e-8 and 1e-10, for exact repetition of its training."""
    mp, sp, mn, sn = samples
    b1 = sp**2 - sn**2
    b2 = 2 * (mp * sn**2 - mn * sp**2)
    ratio = sn / (alpha * sp) if sp else math.inf  # as torch divides; then there is no boundary
    b3 = (sp * mn) ** 2 - (sn * mp) ** 2 + 2 * (sp * sn) ** 2 * math.log(ratio + 1e-8)
    discriminant = b2**2 - 4 * b1 * b3
    return (-b2 + math.sqrt(discriminant)) / (2 * b1 + 1e-10) if discriminant > 0 else math.nan


def safe_boundary(samples: Samples) -> float:
    """Eq. 5: mu+ - 3 sigma+, which eq. 4 gives for the adapted alpha; the boundary at inference."""
    return samples.mean_matched - 3 * samples.std_matched


def updated(old: Boundaries, samples: Samples, estimate: float, momentum: float) -> Boundaries:
    """The running boundaries after an estimate; one outside [0, 1] counts as 0, none leaves the old ones."""
    if math.isnan(estimate):
        return old
    pair = estimate, safe_boundary(samples)
    values = (value if 0 <= value <= 1 else 0.0 for value in pair)
    return Boundaries(*(momentum * new + (1 - momentum) * was for new, was in zip(values, old, strict=True)))


def sample_statistics(matched: Tensor, mismatched: Tensor) -> Samples:
    """Eq. 1-2: the two samples as Gaussians, by their means and unbiased deviations."""
    numbers = [value for part in (matched, mismatched) for value in (part.mean(), part.std())]
    return Samples(*torch.stack(numbers).tolist())
