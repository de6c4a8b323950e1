"""The description of the built-in data set for any picture: colours, edges, texture, extent of a box.

It needs no network and no weights. It knows no objects: it is for trying the whole path, not for results.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ...errors import UsageError
from ..scenes.features import DIM, described
from .base import GRID, Boxes, Extractor, Features, grid_boxes

SCALES = (1, 2, 3, 4)  # the whole picture, its quarters, ninths and sixteenths: 30 boxes
HALVES = ((0, 0, 2, 4), (1, 0, 3, 4), (2, 0, 4, 4), (0, 0, 4, 2), (0, 1, 4, 3), (0, 2, 4, 4))  # in quarters


class Pixels(Extractor):
    """36 boxes, the picture in 1, 4, 9 and 16 parts and six halves, and 128 numbers each."""

    regions, dim = sum(cells**2 for cells in SCALES) + len(HALVES), DIM

    def __init__(self, name: str, grid: int, device: str) -> None:
        """name, device: other extractors'. Raises UsageError for a grid of one's own."""
        if grid != GRID:
            raise UsageError("pixels has 36 boxes of its own; leave --grid out")

    def record(self) -> dict[str, object]:
        return {
            "extractor": "pixels",
            "revision": "1",
            "sha256": None,
            "preprocessing": "1, 4, 9 and 16 parts, six halves",
        }

    def __call__(self, pictures: Sequence[Image.Image]) -> tuple[Features, Boxes]:
        boxes = np.stack([_boxes(picture.size) for picture in pictures]).astype(np.float32)
        both = zip(pictures, boxes, strict=True)
        return np.stack([described(np.asarray(picture), own) for picture, own in both]), boxes


def _boxes(size: tuple[int, int]) -> np.ndarray:
    halves = np.array(HALVES) / 4 * (*size, *size)
    return np.concatenate([*(grid_boxes(size, cells) for cells in SCALES), halves])
