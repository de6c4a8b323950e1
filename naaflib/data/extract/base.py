"""What an extractor of region features is, and the boxes of a grid.

Axes, always in this order: image, region, then dim or the box x1, y1, x2, y2 in pixels of the picture.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from PIL import Image

from ...errors import UsageError

GRID = 6  # cells a side: 36 regions, as many as every published file of the SCAN layout has
Features = Float[np.ndarray, "image region dim"]
Boxes = Float[np.ndarray, "image region 4"]


class Extractor(ABC):
    """Upright RGB pictures of any size -> features and boxes of their regions."""

    regions: int
    dim: int

    @abstractmethod
    def record(self) -> dict[str, object]:
        """What made the features: extractor, revision, checksum of the weights, preprocessing."""

    @abstractmethod
    def __call__(self, pictures: Sequence[Image.Image]) -> tuple[Features, Boxes]:
        """Features and boxes of a batch."""


def grid_boxes(size: tuple[int, int], cells: int) -> Float[np.ndarray, "region 4"]:
    """The boxes of cells x cells equal parts, row by row from the top left. size: width, height."""
    width, height = size
    x = np.linspace(0, width, cells + 1)
    y = np.linspace(0, height, cells + 1)
    left, top = np.meshgrid(x[:-1], y[:-1])
    right, bottom = np.meshgrid(x[1:], y[1:])
    return np.stack([left, top, right, bottom], axis=-1).reshape(-1, 4)


def check_grid(name: str, cells: Sequence[int], grid: int) -> None:
    """Raises UsageError where a model's map (rows, columns) is coarser than the grid."""
    if min(cells) < grid:
        raise UsageError(
            f"{name} sees a picture as {cells[0]} x {cells[1]} cells; give --grid {min(cells)} or less"
        )
