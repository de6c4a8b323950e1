"""Discriminative mismatch mining: where matched similarities end and mismatched ones begin (eq. 1-5, 13-14).

The words of correctly ranked captions are sampled: their best similarity in their own image is matched, in
the batch's worst-scoring image mismatched. The boundary separates the two Gaussians at the least expected
cost. `pair i` of a batch is image i and caption i; no gradient flows into a boundary.

Axes: image, word (packed, see `packing`); captions in packed order, `own` (caption,) is each one's image.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .similarity.packed import over_words
from .similarity.packing import Packing


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


@dataclass(frozen=True)
class Mined:
    """What a batch leaves: the boundaries, and the samples that they come from."""

    boundaries: Boundaries
    samples: Samples
    by_caption: Float[Tensor, " caption"] | None = (
        None  # sequential: the boundary each caption was scored with
    )


def optimal_boundary(
    mean_pos: float | Tensor,
    std_pos: float | Tensor,
    mean_neg: float | Tensor,
    std_neg: float | Tensor,
    alpha: float | Tensor = 2.0,
) -> Any:
    """The raw root of eq. 4, not clipped: where alpha N(mean_neg, std_neg) and N(mean_pos, std_pos) cross.

    Minimises alpha P(mismatched taken as matched) + P(matched taken as mismatched). Numbers give a float;
    if any argument is a tensor, elementwise, a float64 tensor. NaN where there is no boundary: no real
    crossing (discriminant <= 0), or equal deviations with mean_pos <= mean_neg.
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
    """Eq. 4 with the released code's 1e-8 and 1e-10, for exact repetition of its training."""
    mp, sp, mn, sn = samples
    b1 = sp**2 - sn**2
    b2 = 2 * (mp * sn**2 - mn * sp**2)
    b3 = (sp * mn) ** 2 - (sn * mp) ** 2 + 2 * (sp * sn) ** 2 * math.log(sn / (alpha * sp) + 1e-8)
    discriminant = b2**2 - 4 * b1 * b3
    return (-b2 + math.sqrt(discriminant)) / (2 * b1 + 1e-10) if discriminant > 0 else math.nan


def updated(old: Boundaries, samples: Samples, estimate: float, momentum: float) -> Boundaries:
    """The running boundaries after an estimate; one outside [0, 1] counts as 0, none leaves the old ones."""
    if math.isnan(estimate):
        return old
    safe = samples.mean_matched - 3 * samples.std_matched
    values = (value if 0 <= value <= 1 else 0.0 for value in (estimate, safe))
    return Boundaries(*(momentum * new + (1 - momentum) * was for new, was in zip(values, old, strict=True)))


def sample_statistics(matched: Tensor, mismatched: Tensor) -> Samples:
    """Means and unbiased deviations of two samples of similarities."""
    numbers = [value for part in (matched, mismatched) for value in (part.mean(), part.std())]
    return Samples(*torch.stack(numbers).tolist())


def correctly_ranked(scores: Float[Tensor, "image caption"], own: Int[Tensor, " caption"]) -> Tensor:
    """Captions (caption,) whose best-scoring image of the batch is their own; the first one wins a tie."""
    return scores.argmax(dim=0) == own


def batch_mining(
    scores: Float[Tensor, "image caption"],
    best: Float[Tensor, "image word"],
    own: Int[Tensor, " caption"],
    packing: Packing,
    old: Boundaries,
    *,
    alpha: float,
    momentum: float,
    min_words: int,
) -> Mined:
    """The vectorised form: the whole batch scored with the old boundary, sampled once, one update.

    best: each word's largest cosine. With at most min_words sampled words the boundaries stay.
    """
    chosen = over_words(correctly_ranked(scores, own), packing.groups)
    words = torch.arange(packing.words, device=best.device)[chosen]
    if len(words) <= min_words:
        return Mined(old, Samples())
    caption = packing.caption[words]
    matched = best[own[caption], words]
    mismatched = best[scores.argmin(dim=0)[caption], words]
    samples = sample_statistics(matched.double(), mismatched.double())
    return Mined(updated(old, samples, optimal_boundary(*samples, alpha), momentum), samples)


def sequential_mining(
    score_captions: Callable[[list[int], float], Float[Tensor, "image caption"]],
    best_of: Callable[[int], Float[Tensor, "image word"]],
    own: list[int],
    lengths: list[int],
    old: Boundaries,
    *,
    alpha: float,
    momentum: float,
    min_words: int,
) -> Mined:
    """The released code's bookkeeping: captions longest first, each moving the boundary for the next.

    score_captions(captions, boundary): training-time scores of some captions; best_of(caption): the best
    cosine of each of its words in every image. Captions keep their order in the batch. While fewer than
    min_words words have been sampled both boundaries are 0 after every caption, so a batch's first caption
    alone meets the last batch's boundary, and the captions up to the first estimate are scored at once.
    """
    order = sorted(range(len(lengths)), key=lambda caption: -lengths[caption])
    by_caption = torch.zeros(len(lengths), dtype=torch.float64)
    matched: list[Tensor] = []
    mismatched: list[Tensor] = []
    sampled = 0
    current, samples = old, Samples()
    at_zero = score_captions(order, 0.0)
    for visit, caption in enumerate(order):
        by_caption[caption] = current.training
        if current.training == 0.0:
            column = at_zero[:, visit]
        else:
            column = score_captions([caption], current.training)[:, 0]
        if int(column.argmax()) == own[caption]:
            best = best_of(caption)
            matched.append(best[own[caption]])
            mismatched.append(best[int(column.argmin())])
            sampled += lengths[caption]
            if sampled > min_words:
                samples = sample_statistics(torch.cat(matched), torch.cat(mismatched))
                current = updated(current, samples, released_boundary(samples, alpha), momentum)
        if sampled < min_words:
            current = Boundaries(0.0, 0.0)
    return Mined(current, samples, by_caption)
