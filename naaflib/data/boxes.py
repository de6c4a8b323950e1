"""Boxes (x1, y1, x2, y2 in pixels) and picture sizes (width, height) of a split's images."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ..errors import NaafError
from ..files import shown
from .npy import open_array, read_header, read_objects

LARGEST_SIDE = 2**31 - 1  # pixels: sizes are stored as int32
OVERLAP = 0.5  # intersection over union from which a region shows an object


def read_boxes(path: str | os.PathLike[str]) -> np.ndarray:
    """Boxes (image, region, 4) as they are stored, memory-mapped."""
    boxes = open_array(path)
    if boxes.ndim != 3 or boxes.shape[-1] != 4:
        raise NaafError(
            f"{shown(path)}: boxes have the shape (images, regions, 4), here it is {boxes.shape};"
            " store x1, y1, x2, y2 of every region, or remove the file"
        )
    return boxes


def read_sizes(path: str | os.PathLike[str]) -> np.ndarray:
    """Sizes (image, 2) as int64: width, height.

    Two forms are read: a numeric array (N, 2), and the GSMN distribution's array of N dicts
    {"image_w": ..., "image_h": ...}, whose pickle is read only if it holds plain data.
    """
    if read_header(path).dtype.hasobject:
        pairs = [_width_height(entry, path, row) for row, entry in enumerate(read_objects(path))]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)
    sizes = np.asarray(open_array(path))
    if sizes.ndim != 2 or sizes.shape[1] != 2:
        raise NaafError(
            f"{shown(path)}: sizes have the shape (images, 2), here it is {sizes.shape};"
            " store width and height of every image, or remove the file"
        )
    if not np.isfinite(sizes).all():
        row = int(np.flatnonzero(~np.isfinite(sizes).all(axis=1))[0])
        raise NaafError(f"{shown(path)}: row {row} is not finite; store width and height in pixels")
    if (np.abs(sizes) > LARGEST_SIDE).any():
        row = int(np.flatnonzero((np.abs(sizes) > LARGEST_SIDE).any(axis=1))[0])
        raise NaafError(f"{shown(path)}: row {row} is no picture's size; store width and height in pixels")
    return sizes.astype(np.int64)


def check_boxes(path: Path, boxes: np.ndarray, regions: int) -> None:
    """Raises NaafError unless there is a box a region, each of finite pixels. boxes: (image, region, 4)."""
    if boxes.shape[1] != regions:
        raise NaafError(
            f"{shown(path)} holds {boxes.shape[1]} boxes an image for {regions} regions; the two are of "
            "different extractors: get the boxes of these features, or remove the file"
        )
    with np.errstate(invalid="ignore"):
        low, high = float(boxes.min(initial=0)), float(boxes.max(initial=0))
    if not np.isfinite([low, high]).all():
        image = int(np.flatnonzero(~np.isfinite(boxes).all(axis=(1, 2)))[0])
        raise NaafError(
            f"{shown(path)}: a box of image {image} is not finite; extract it again, or remove the file"
        )
    if not in_pixels(boxes):
        raise NaafError(
            f"{shown(path)}: all its boxes lie between 0 and 1, as shares of the picture; "
            "multiply them by its width and height, since boxes are in pixels"
        )


def in_pixels(boxes: np.ndarray) -> bool:
    """Whether boxes can be pixels: all between 0 and 1 are shares of the picture. All zero is padding."""
    return not 0 < float(boxes.max(initial=0)) <= 1


def check_sizes(path: Path, sizes: np.ndarray) -> None:
    """Raises NaafError for a picture without width or height. sizes: (image, 2)."""
    bad = np.flatnonzero((sizes <= 0).any(axis=1))
    if len(bad):
        raise NaafError(
            f"{shown(path)}: image {bad[0]} has the size {sizes[bad[0]].tolist()}; store width and height in "
            "pixels, or remove the file"
        )


def _width_height(entry: object, path: str | os.PathLike[str], row: int) -> tuple[int, int]:
    try:
        if isinstance(entry, dict):
            named = {key.decode() if isinstance(key, bytes) else key: value for key, value in entry.items()}
            return _side(named["image_w"]), _side(named["image_h"])
        width, height = np.asarray(entry).ravel().tolist()
        return _side(width), _side(height)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise NaafError(
            f"{shown(path)}: row {row} is neither a dict with image_w and image_h nor a pair width, height;"
            " store an integer array (images, 2)"
        ) from error


def _side(value: Any) -> int:
    if abs(side := int(value)) > LARGEST_SIDE:
        raise ValueError("no picture is so large")
    return side


def intersection(a: Float[np.ndarray, "a 4"], b: Float[np.ndarray, "b 4"]) -> Float[np.ndarray, "a b"]:
    """Area in pixels that each box of `a` shares with each of `b`."""
    side = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    return np.clip(side, 0, None).prod(axis=2)


def overlap(
    boxes: Float[np.ndarray, "region 4"], things: Float[np.ndarray, "thing 4"] | Sequence[Sequence[float]]
) -> Float[np.ndarray, "region thing"]:
    """Intersection over union of every region with every object. Things have an area above 0."""
    a, b = np.asarray(boxes, float), np.asarray(things, float).reshape(-1, 4)
    shared = intersection(a, b)
    areas = (a[:, 2:] - a[:, :2]).prod(axis=1)[:, None] + (b[:, 2:] - b[:, :2]).prod(axis=1)
    return shared / (areas - shared)
