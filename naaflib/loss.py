"""Hinge loss on a batch's score matrix (eq. 15). Row i is image i, column i its caption."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def hinge_loss(
    scores: Float[Tensor, "pair pair"],
    margin: float,
    negatives: str = "hardest",
    excluded: Bool[Tensor, "pair pair"] | None = None,
) -> Float[Tensor, ""]:
    """Sum over the batch, in both directions, of margin + wrong - right where that is positive.

    negatives: "hardest" counts the worst wrong partner of each query, "sum" every one. excluded: pairs that
    are no negatives although they lie off the diagonal (captions of the same image).
    """
    right = scores.diagonal()
    no_negative = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    if excluded is not None:
        no_negative = no_negative | excluded
    by_image = (margin + scores - right[:, None]).clamp_min(0).masked_fill(no_negative, 0.0)
    by_caption = (margin + scores - right[None, :]).clamp_min(0).masked_fill(no_negative, 0.0)
    if negatives == "hardest":
        by_image, by_caption = by_image.amax(dim=1), by_caption.amax(dim=0)
    return by_image.sum() + by_caption.sum()


def same_image(images: Tensor) -> Bool[Tensor, "pair pair"]:
    """Off-diagonal pairs whose caption does describe the image: another caption of it is in the batch."""
    same = images[:, None] == images[None, :]
    return same & ~torch.eye(len(images), dtype=torch.bool, device=images.device)
