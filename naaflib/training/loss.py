"""Hinge loss on a batch's score matrix, and the recall that says which negatives it can bear.

Row i is image i, column i its caption.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class BatchRecalls(NamedTuple):
    """Share, 0 to 1, of a batch's images and captions whose own partner scores highest. A tie is a miss."""

    i2t: float
    t2i: float

    @property
    def mean(self) -> float:
        return (self.i2t + self.t2i) / 2


def hinge_loss(
    scores: Float[Tensor, "pair pair"],
    margin: float,
    negatives: str = "hardest",
    excluded: Bool[Tensor, "pair pair"] | None = None,
    hardest_weight: float = 1.0,
) -> Float[Tensor, ""]:
    """Eq. 15: the sum over the batch, in both directions, of margin + wrong - right where that is positive.

    negatives: "hardest" counts the worst wrong partner of each query, "sum" every one; "adaptive" counts the
    worst with hardest_weight (0 to 1), and the mean of those that violate the margin with the rest of 1.
    excluded: pairs that are no negatives although they lie off the diagonal (captions of the same image).
    Raises ValueError for another kind of negatives.
    """
    right = scores.diagonal()
    no_negative = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    if excluded is not None:
        no_negative = no_negative | excluded
    by_image = (margin + scores - right[:, None]).clamp_min(0).masked_fill(no_negative, 0.0)
    by_caption = (margin + scores - right[None, :]).clamp_min(0).masked_fill(no_negative, 0.0)
    if negatives == "sum":
        return by_image.sum() + by_caption.sum()
    hardest = by_image.amax(dim=1).sum() + by_caption.amax(dim=0).sum()
    if negatives == "hardest":
        return hardest
    if negatives == "adaptive":
        mean = _mean_violation(by_image, dim=1) + _mean_violation(by_caption, dim=0)
        return hardest_weight * hardest + (1 - hardest_weight) * mean
    raise ValueError(f"negatives are hardest, sum or adaptive, not {negatives!r}")


def _mean_violation(cost: Float[Tensor, "pair pair"], dim: int) -> Float[Tensor, ""]:
    """Sum over the queries of the mean of their positive costs; 0 for a query without one."""
    return (cost.sum(dim=dim) / (cost > 0).sum(dim=dim).clamp_min(1)).sum()


def batch_recalls(
    scores: Float[Tensor, "pair pair"], excluded: Bool[Tensor, "pair pair"] | None = None
) -> BatchRecalls:
    """R@1 within the batch in both directions. excluded: as in `hinge_loss`."""
    right = scores.diagonal()
    rivals = scores if excluded is None else scores.masked_fill(excluded, -torch.inf)
    i2t = (rivals >= right[:, None]).sum(dim=1) == 1  # the right partner itself
    t2i = (rivals >= right[None, :]).sum(dim=0) == 1
    return BatchRecalls(*torch.stack([i2t, t2i]).double().mean(dim=1).tolist())


def same_image(images: Tensor) -> Bool[Tensor, "pair pair"]:
    """Off-diagonal pairs whose caption does describe the image: another caption of it is in the batch."""
    same = images[:, None] == images[None, :]
    return same & ~torch.eye(len(images), dtype=torch.bool, device=images.device)
