"""What `score_matrix` is given, checked: tensors or numpy arrays, and sizes, types and ranges that fit."""

from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from .base import in_float32


def as_tensor(name: str, values: Any) -> Tensor:
    """A tensor as it is; of a numpy array or a flat list of numbers a tensor of its own.

    float16 and bfloat16 become float32. name: what the sentence calls it. Raises UsageError for other types.
    """
    if isinstance(values, Tensor):
        return in_float32(values)
    kind = f"a {type(values).__name__}"
    if isinstance(values, list) and all(isinstance(value, Real) for value in values):
        values = np.array(values)
    if isinstance(values, np.ndarray):
        kind = f"an array of {values.dtype}"
        if values.dtype.kind in "fiu" and values.dtype.itemsize <= 8:  # torch has no longer ones
            return in_float32(torch.from_numpy(values.astype(values.dtype.newbyteorder("="), order="C")))
    raise UsageError(f"{name} must be a tensor or a numpy array of numbers, not {kind}")


def check_pairs(images: Tensor, captions: Tensor) -> None:
    """Raises UsageError unless these are regions (N, R, D) and words (C, L, D) that can be multiplied."""
    if images.ndim != 3 or captions.ndim != 3 or images.shape[-1] != captions.shape[-1]:
        raise UsageError(
            f"images {tuple(images.shape)} and captions {tuple(captions.shape)} do not fit: "
            "(N, R, D) and (C, L, D) of one D are needed"
        )
    if 0 in images.shape[1:]:
        raise UsageError(f"images {tuple(images.shape)} need one region and one dimension at least")
    kinds = [f"{x.dtype} on {x.device}".removeprefix("torch.") for x in (images, captions)]
    if kinds[0] != kinds[1] or not images.is_floating_point():
        raise UsageError(
            f"images are {kinds[0]} and captions {kinds[1]}; both must be of one floating-point type "
            "on one device, which .to(...) gives"
        )


def checked_lengths(lengths: Any, captions: Tensor) -> Tensor:
    """Words (C,) of each caption, int64. Raises UsageError unless each is a whole number from 1 to L."""
    lengths = as_tensor("lengths", list(lengths) if isinstance(lengths, tuple) else lengths)
    if lengths.shape != captions.shape[:1]:
        raise UsageError(f"{len(captions)} captions need as many lengths, not {tuple(lengths.shape)}")
    if len(lengths) and (lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool):
        raise UsageError(f"lengths count words: they must be whole numbers, not {lengths.dtype}")
    lengths = lengths.long()
    if len(lengths) and (lengths.min() < 1 or lengths.max() > captions.shape[1]):
        raise UsageError(f"a caption's length lies outside 1 to {captions.shape[1]}, the padded width")
    return lengths


def checked_boundary(boundary: Any, captions: Tensor, method: str) -> float | Tensor:
    """A number, or a tensor (C,) of one a caption. Raises UsageError for what is neither, or not finite."""
    if boundary is None:
        raise UsageError(f"method {method!r} needs a boundary; a model has one: model.boundary.inference")
    number = isinstance(boundary, Real) and not isinstance(boundary, bool)
    limit = as_tensor("boundary", np.asarray(float(boundary)) if number else boundary)
    if limit.shape not in ((), captions.shape[:1]):
        raise UsageError(
            f"a boundary {tuple(limit.shape)} does not fit {len(captions)} captions: "
            "it is one number, or one a caption"
        )
    if limit.is_complex() or limit.dtype == torch.bool or not limit.isfinite().all():
        raise UsageError("a boundary must be a finite number, and so must that of each caption")
    if limit.requires_grad:
        raise UsageError("no gradient flows into a boundary; give boundary.detach()")
    return limit if limit.ndim else float(limit)
