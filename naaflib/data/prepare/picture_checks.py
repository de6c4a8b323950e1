"""Checks of what belongs to a split's pictures: sizes, boxes, names and the pictures themselves.

All of it is optional: a check stands only where the file does.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from ...errors import NaafError
from ..boxes import read_boxes, read_sizes
from ..captions import read_filled
from ..manifest import layout_path
from .report import CheckLog

Content = TypeVar("Content", np.ndarray, list[str])

PIXEL = 1.0  # detectors clip a box to the width or to width - 1


def check_pictures(
    log: CheckLog, folder: Path, lengths: tuple[int, ...], regions: int | None, captions_per_image: int
) -> None:
    """Sizes and boxes. lengths: how many rows such a file may have (images, or repeated images)."""
    path = layout_path(folder, log.split, "sizes")
    sizes = _read(log, "sizes", path, read_sizes, lengths)
    if sizes is not None:
        bad = np.flatnonzero((sizes <= 0).any(axis=1))
        found = f"{len(bad)} rows not" if len(bad) else "yes"
        remedy = f"row {bad[0] if len(bad) else 0} is not positive; store width and height in pixels"
        log.add("sizes positive", not len(bad), "all", found, path, remedy)
    path = layout_path(folder, log.split, "boxes")
    boxes = _read(log, "boxes", path, read_boxes, lengths)
    if boxes is None:
        return
    if regions is not None:
        remedy = f"{boxes.shape[1]} boxes an image for {regions} regions; the two are of different extractors"
        log.add("boxes an image", boxes.shape[1] == regions, regions, boxes.shape[1], path, remedy)
    good = _check_corners(log, path, boxes)
    sizes = None if sizes is None else _aligned(sizes, len(boxes), captions_per_image)
    if sizes is not None:
        outside = np.argwhere(good & ~_inside(boxes, sizes))
        remedy = f"{_place(outside)} lies outside its picture; {_cause(boxes, sizes, good)}"
        log.add("boxes inside", not len(outside), "within the picture", _many(outside), path, remedy)


def check_names(log: CheckLog, folder: Path, lengths: tuple[int, ...]) -> list[str]:
    """The image names of the split, checked, and how many of their pictures are there."""
    path = layout_path(folder, log.split, "names")
    names = _read(log, "image names", path, read_filled, lengths)
    pictures = folder / "images"
    if names and pictures.is_dir():
        wanted = set(names)
        flat = {picture.name for picture in pictures.iterdir()}  # one listing, not a look-up a picture
        there = sum(name in flat or ("/" in name and (pictures / name).is_file()) for name in wanted)
        remedy = f"{len(wanted) - there} pictures are not there and cannot be shown"
        log.add("pictures", True if there == len(wanted) else None, len(wanted), there, pictures, remedy)
    return names or []


def _read(
    log: CheckLog, what: str, path: Path, reader: Callable[[Path], Content], lengths: tuple[int, ...]
) -> Content | None:
    """The file's content, its length checked, or None where it is missing or refused."""
    if not path.is_file():
        return None
    try:
        content = reader(path)
    except NaafError as error:
        log.refused(f"{what} readable", "readable", error)
        return None
    if lengths:
        expected = " or ".join(map(str, lengths))
        remedy = f"{len(content)} rows for {lengths[0]} images; it belongs to another version, get it again"
        log.add(what, len(content) in lengths, expected, len(content), path, remedy)
    return content


def _check_corners(log: CheckLog, path: Path, boxes: np.ndarray) -> np.ndarray:
    """Which boxes (image, region) are proper ones; a box of zeros is padding and only noted."""
    padding = ~boxes.any(axis=-1)
    good: np.ndarray = np.isfinite(boxes).all(axis=-1) & (boxes[..., 2:] > boxes[..., :2]).all(axis=-1)
    bad = np.argwhere(~good & ~padding)
    remedy = f"{_place(bad)}; store x1, y1, x2, y2 in pixels with x2 > x1 and y2 > y1"
    log.add("box corners", not len(bad), "x1 < x2, y1 < y2", _many(bad), path, remedy)
    empty = np.argwhere(padding)
    if len(empty):
        remedy = f"{_place(empty)} and others are zeros: padding, regions without a place in the picture"
        log.add("padding boxes", None, "none", len(empty), path, remedy)
    return good


def _aligned(sizes: np.ndarray, rows: int, each: int) -> np.ndarray | None:
    """Sizes a row of the boxes, where one file repeats every image and the other does not."""
    if len(sizes) == rows:
        return sizes
    if rows == len(sizes) * each:
        return np.repeat(sizes, each, axis=0)
    return sizes[::each] if len(sizes) == rows * each else None


def _inside(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    low: np.ndarray = (boxes[..., :2] >= -PIXEL).all(axis=-1)
    return low & (boxes[..., 2:] <= sizes[:, None, :] + PIXEL).all(axis=-1)


def _cause(boxes: np.ndarray, sizes: np.ndarray, good: np.ndarray) -> str:
    if (_inside(boxes, sizes[:, ::-1]) | ~good).all():
        return "the sizes look like height, width: store width first"
    return "boxes or sizes are of other pictures or of another scale"


def _place(places: np.ndarray) -> str:
    return f"row {places[0][0]}, region {places[0][1]}" if len(places) else ""


def _many(places: np.ndarray) -> str:
    return f"{len(places)} regions not" if len(places) else "yes"
