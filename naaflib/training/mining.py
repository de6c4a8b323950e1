"""Discriminative mismatch mining: which words of a batch are matched and which mismatched (eq. 13-14).

The words of correctly ranked captions are sampled: their best similarity in their own image is matched, in
the batch's worst-scoring image mismatched. `similarity.boundary` puts the boundary between the two. `pair i`
of a batch is image i and caption i; no gradient flows into a boundary.

Axes: image, word (packed, see `packing`); captions in packed order, `own` (caption,) is each one's image.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..similarity.boundary import (
    Boundaries,
    Samples,
    optimal_boundary,
    released_boundary,
    sample_statistics,
    updated,
)
from ..similarity.packed import over_words
from ..similarity.packing import Packing


@dataclass(frozen=True)
class Mined:
    """What a batch leaves: the boundaries, and the samples that they come from."""

    boundaries: Boundaries
    samples: Samples
    by_caption: Float[Tensor, " caption"] | None = (
        None  # sequential: the boundary each caption was scored with
    )


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
