"""Checks of what belongs to a split's pictures: sizes, boxes, names and the pictures themselves.

All of it is optional: a check stands only where the file does.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..boxes import in_pixels, read_boxes, read_sizes
from ..captions import read_picture_names
from ..manifest import layout_path
from .report import CheckLog, Content, Places

PIXEL = 1.0  # detectors clip a box to the width or to width - 1


def check_pictures(log: CheckLog, folder: Path, lengths: tuple[int, ...], regions: int | None) -> None:
    """Sizes and boxes. lengths: how many rows such a file may have (images, or repeated images)."""
    path = layout_path(folder, log.split, "sizes")
    sizes = _read(log, "sizes", path, read_sizes, lengths)
    if sizes is not None:
        bad = Places("rows").add((sizes <= 0).any(axis=1))
        remedy = f"{bad.first} is not positive; store width and height in pixels"
        log.add("sizes positive", not bad.count, "all", bad, path, remedy)
    path = layout_path(folder, log.split, "boxes")
    boxes = _read(log, "boxes", path, read_boxes, lengths)
    if boxes is None:
        return
    if regions is not None:
        remedy = f"{boxes.shape[1]} boxes an image for {regions} regions; the two are of different extractors"
        log.add("boxes an image", boxes.shape[1] == regions, regions, boxes.shape[1], path, remedy)
    good = _check_corners(log, path, boxes)
    remedy = "all lie between 0 and 1, as shares of the picture; multiply them by its width and height"
    log.add("boxes in pixels", in_pixels(boxes), "pixels", f"up to {boxes.max(initial=0):g}", path, remedy)
    if sizes is not None and (len(sizes) == len(boxes) or {len(sizes), len(boxes)} == set(lengths)):
        sizes = sizes[np.arange(len(boxes)) * len(sizes) // len(boxes)]  # one file may repeat every image
        outside = Places().add(good & ~_inside(boxes, sizes))
        remedy = f"{outside.first} lies outside its picture; {_cause(boxes, sizes, good)}"
        log.add("boxes inside", not outside.count, "within the picture", outside, path, remedy)


def check_names(log: CheckLog, folder: Path, lengths: tuple[int, ...]) -> list[str]:
    """The image names of the split, checked, and how many of their pictures are there."""
    path = layout_path(folder, log.split, "names")
    names = _read(log, "image names", path, read_picture_names, lengths)
    pictures = layout_path(folder, log.split, "pictures")
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
    content = log.read(f"{what} readable", "readable", reader, path) if path.is_file() else None
    if content is not None and lengths:
        expected = " or ".join(map(str, lengths))
        remedy = f"{len(content)} rows for {lengths[0]} images; it belongs to another version, get it again"
        log.add(what, len(content) in lengths, expected, len(content), path, remedy)
    return content


def _check_corners(log: CheckLog, path: Path, boxes: np.ndarray) -> np.ndarray:
    """Which boxes (image, region) are proper ones; a box of zeros is padding and only noted."""
    padding = ~boxes.any(axis=-1)
    good = np.isfinite(boxes).all(axis=-1) & (boxes[..., 2:] > boxes[..., :2]).all(axis=-1)
    bad, empty = Places().add(~good & ~padding), Places().add(padding)
    remedy = f"{bad.first}; store x1, y1, x2, y2 in pixels with x2 > x1 and y2 > y1"
    log.add("box corners", not bad.count, "x1 < x2, y1 < y2", bad, path, remedy)
    if empty.count:
        remedy = f"{empty.first} and others are zeros: padding, regions without a place in the picture"
        log.add("padding boxes", None, "none", empty.count, path, remedy)
    return good


def _inside(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return (boxes[..., :2] >= -PIXEL).all(axis=-1) & (boxes[..., 2:] <= sizes[:, None] + PIXEL).all(axis=-1)


def _cause(boxes: np.ndarray, sizes: np.ndarray, good: np.ndarray) -> str:
    if (_inside(boxes, sizes[:, ::-1]) | ~good).all():
        return "the sizes look like height, width: store width first"
    return "boxes or sizes are of other pictures or of another scale"
