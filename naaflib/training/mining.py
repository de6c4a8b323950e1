"""Discriminative mismatch mining: which words of a batch are matched and which mismatched.

The words of correctly ranked captions are sampled: their best similarity in their own image is matched, in
the batch's worst-scoring image mismatched. `similarity.boundary` puts the boundary between the two. `pair i`
of a batch is image i and caption i; no gradient flows into a boundary.

Axes: image, word (packed, see `packing`); captions in packed order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..similarity.base import Block, Similarity
from ..similarity.boundary import (
    Boundaries,
    Samples,
    optimal_boundary,
    released_boundary,
    sample_statistics,
    updated,
)
from ..similarity.matrix import block_scores
from ..similarity.packed import spread_to_words
from ..similarity.packing import Group, Packing


@dataclass(frozen=True)
class Mined:
    """What a batch leaves: the boundaries, and the samples that they come from."""

    boundaries: Boundaries
    samples: Samples
    by_caption: Float[Tensor, " caption"] | None = None  # sequential: what each was scored with


def sampled_words(
    scores: Float[Tensor, "image caption"], best: Float[Tensor, "image word"], packing: Packing
) -> tuple[Float[Tensor, " sampled"], Float[Tensor, " sampled"]]:
    """Eq. 13-14: matched and mismatched similarities of the words of correctly ranked captions.

    best: each word's largest cosine. A caption is ranked correctly where its own image scores highest in the
    batch; the first of equal ones counts.
    """
    own = packing.order
    words = spread_to_words(scores.argmax(dim=0) == own, packing.groups).nonzero().squeeze(1)
    caption = packing.caption[words]
    return best[own[caption], words], best[scores.argmin(dim=0)[caption], words]


def batch_mining(
    scores: Float[Tensor, "image caption"],
    best: Float[Tensor, "image word"],
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
    matched, mismatched = sampled_words(scores, best, packing)
    if len(matched) <= min_words:
        return Mined(old, Samples())
    samples = sample_statistics(matched.double(), mismatched.double())
    return Mined(updated(old, samples, optimal_boundary(*samples, alpha), momentum), samples)


def sequential_mining(
    score_captions: Callable[[list[int], float], Float[Tensor, "image caption"]],
    best_of: Callable[[int], Float[Tensor, "image word"]],
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
        if int(column.argmax()) == caption:
            best = best_of(caption)
            matched.append(best[caption])
            mismatched.append(best[int(column.argmin())])
            sampled += lengths[caption]
            if sampled > min_words:
                samples = sample_statistics(torch.cat(matched), torch.cat(mismatched))
                current = updated(current, samples, released_boundary(samples, alpha), momentum)
        if sampled < min_words:
            current = Boundaries(0.0, 0.0)
    return Mined(current, samples, by_caption)


def mine_in_order(
    block: Block, packing: Packing, similarity: Similarity, old: Boundaries, **rules: Any
) -> Mined:
    """`sequential_mining` of a batch whose cosines are there already: only the small part is walked."""
    cosine, gram, vectors = (tensor.detach() for tensor in block[:3])
    column = torch.argsort(packing.order)  # of each caption
    packed = torch.argsort(packing.caption, stable=True).split(torch.bincount(packing.caption).tolist())
    words = [packed[place] for place in column.tolist()]  # of each caption

    def score_captions(captions: list[int], boundary: float) -> Tensor:
        if len(captions) > 1:
            whole = Block(cosine, gram, vectors, packing.groups)
            return block_scores(similarity, whole, boundary).pairs[:, column[captions]]
        own = words[captions[0]]
        one = Block(cosine[..., own], gram, vectors[own], (Group(len(own), 1, 0, 0),))
        return block_scores(similarity, one, boundary).pairs

    def best_of(caption: int) -> Tensor:
        return cosine[..., words[caption]].amax(dim=1)

    return sequential_mining(score_captions, best_of, [len(own) for own in words], old, **rules)
