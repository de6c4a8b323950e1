"""Region features as the field ships them: a memory-mapped `.npy`, never loaded whole."""

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NaafError
from ..files import check_regular, shown
from .npy import open_array, release

LARGEST = 1e15  # of a feature: beyond it squares leave float32, and all scores become 0


class Regions:
    """Features (image, region, feature) of a file whose rows are images, or captions (each image repeated).

    `regions[i]` is image i, whatever the rows are, as float32 (region, feature); `regions[-1]` is the last.
    Slices and all else that numpy takes, such as `regions[2:5]`, give arrays in the file's own type. Slices
    are read-only views of the mapped file: nothing is read before it is used, and values are not checked.
    `torch.tensor` copies one. A region whose features are all zero is padding (an image with fewer regions
    than others): it takes no part in scores, mining and explanations.
    """

    def __init__(self, path: Path, repeat: int = 1, images: int | None = None):
        check_regular(path, f"`naaf data verify {shown(path.parent)}` lists what is missing")
        self.path, self.repeat = path, repeat
        self.rows = open_array(path)
        if self.rows.ndim != 3 or self.rows.dtype.kind != "f":
            raise NaafError(
                f"{shown(path)} holds {self.rows.dtype} {self.rows.shape}; region features are "
                "float16 or float32 (images, regions, features)"
            )
        if 0 in self.rows.shape:
            raise NaafError(f"{shown(path)} holds {self.rows.shape}: no features at all; get it again")
        self.images = len(self.rows) // repeat if images is None else images

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.images, *self.rows.shape[1:])

    def __len__(self) -> int:
        return self.images

    def __getitem__(self, key: Any) -> np.ndarray:
        """Raises IndexError outside the images, NaafError where the features of one image are not finite."""
        if not isinstance(key, int | np.integer):
            return self.rows[: self.images * self.repeat : self.repeat][key]
        return self.gather(np.array([key + self.images if key < 0 else key]))[0]

    def gather(self, images: np.ndarray, into: np.ndarray | None = None) -> np.ndarray:
        """Features of several images (image, region, feature), float32; into: the array that takes them.

        Raises NaafError for an image with a NaN, a number that no network gives, or nothing but zeros.
        """
        if len(images) and (images.min() < 0 or images.max() >= self.images):
            raise IndexError(f"image outside 0 to {self.images - 1}")
        order = np.argsort(images, kind="stable")  # the file is read forwards
        result = np.empty((len(images), *self.rows.shape[1:]), np.float32) if into is None else into
        low, high = np.empty((2, len(images)), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):  # of float64, of NaN; `_check` speaks of both
            for place in order:
                result[place] = self.rows[images[place] * self.repeat]
                low[place], high[place] = result[place].min(), result[place].max()  # while it is in the cache
        self._check(images, low, high)
        return result

    def _check(self, images: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        """low, high: the least and the largest feature of each image; NaN where one is."""
        usable = (low >= -LARGEST) & (high <= LARGEST) & ((low != 0) | (high != 0))
        if usable.all():
            return
        bad = int(np.flatnonzero(~usable)[0])
        if np.isfinite([low[bad], high[bad]]).all():
            largest = max(abs(low[bad]), abs(high[bad]))
            what = f"reach {largest:.0e}, which no network gives" if largest else "are all zero"
        else:
            what = "are not finite"
        raise NaafError(
            f"{shown(self.path)}, image {int(images[bad])}: its features {what}; "
            f"`naaf data verify {shown(self.path.parent)}` finds every such row"
        )

    def release(self) -> None:
        """As `npy.release`: the pages that were read."""
        release(self.rows)

    def first(self, images: int) -> "Regions":
        """The same file, its first images only."""
        return Regions(self.path, self.repeat, min(images, self.images))
