"""What an extractor of region features is, the boxes of a grid, and how a picture becomes a model's input.

Axes, always in this order: image, region, then dim or the box x1, y1, x2, y2 in pixels of the picture.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from PIL import Image

from ...errors import UsageError

GRID = 6  # cells a side: 36 regions, as many as every published file of the SCAN layout has
SIDE = 224  # pixels, for a model that takes any size
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, for models without their own
Features = Float[np.ndarray, "image region dim"]
Boxes = Float[np.ndarray, "image region 4"]


class Extractor(ABC):
    """Upright RGB pictures of any size -> features and boxes of their regions.

    A picture with fewer regions than others has rows of zeros after them, in features and boxes.
    """

    regions: int
    dim: int

    @abstractmethod
    def record(self) -> dict[str, object]:
        """What made the features: extractor, revision, checksum of the weights, preprocessing."""

    def keep_sure(self, min_score: float) -> None:
        """Leave out regions less sure than this. Raises UsageError for an extractor that is no detector."""
        raise UsageError("--min-score chooses regions of a detector (DETR, YOLOS); leave it out here")

    @abstractmethod
    def __call__(self, pictures: Sequence[Image.Image]) -> tuple[Features, Boxes]:
        """Features and boxes of a batch."""


@dataclass(frozen=True)
class Preprocessing:
    """The whole picture brought to the model's size: what is cut off would have no region.

    size: width, height in pixels. mean, std: of each channel, in 0 ... 1. resampling: Pillow's name of it.
    """

    size: tuple[int, int]
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD
    resampling: str = "bicubic"

    def __call__(self, pictures: Sequence[Image.Image]) -> Float[np.ndarray, "image row column channel"]:
        how = Image.Resampling[self.resampling.upper()]
        values = np.stack([np.asarray(one.resize(self.size, how), np.float32) for one in pictures])
        return (values / 255 - np.float32(self.mean)) / np.float32(self.std)

    def __str__(self) -> str:
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return f"{self.size[0]} x {self.size[1]}, {self.resampling}, no crop, mean {mean}, deviation {std}"


def grid_boxes(size: tuple[int, int], cells: int) -> Float[np.ndarray, "region 4"]:
    """The boxes of cells x cells equal parts, row by row from the top left. size: width, height."""
    width, height = size
    x = np.linspace(0, width, cells + 1)
    y = np.linspace(0, height, cells + 1)
    left, top = np.meshgrid(x[:-1], y[:-1])
    right, bottom = np.meshgrid(x[1:], y[1:])
    return np.stack([left, top, right, bottom], axis=-1).reshape(-1, 4)


def all_grid_boxes(pictures: Sequence[Image.Image], cells: int) -> Boxes:
    """`grid_boxes` of each picture, as they are stored."""
    return np.stack([grid_boxes(picture.size, cells) for picture in pictures]).astype(np.float32)


def check_grid(name: str, cells: Sequence[int], grid: int) -> None:
    """Raises UsageError where a model's map (rows, columns) is coarser than the grid."""
    if min(cells) < grid:
        raise UsageError(
            f"{name} sees a picture as {cells[0]} x {cells[1]} cells; give --grid {min(cells)} or less"
        )
