"""A folder with an .npz an image, as bottom-up-attention extractors write them, read as rows of a TSV file.

Keys: x or features (region, dim) or (dim, region); bbox or boxes (region, 4); image_w and image_h. The file's
name is the image's id.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import NaafError
from ...files import shown
from ...npz import read_npz
from ..boxes import LARGEST_SIDE
from .tsv import RegionRow

MOST_BYTES = 2**30  # of one image's array
FEATURES, BOXES = ("x", "features"), ("bbox", "boxes")


@dataclass(frozen=True)
class Archive(RegionRow):
    """One image's file; read where its image is wanted."""

    path: Path = Path()

    @property
    def size(self) -> tuple[int, int]:
        width, height = (float(self._array((key,)).reshape(-1)[0]) for key in ("image_w", "image_h"))
        if not (1 <= width <= LARGEST_SIDE and 1 <= height <= LARGEST_SIDE):
            raise self.error(f"image_w and image_h are {width:g} and {height:g}; write pixels, at least 1")
        return int(width), int(height)

    def decode(self) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (region, 4) and features (region, dim) as float32. Raises NaafError for another content."""
        boxes, features = self._array(BOXES), self._array(FEATURES)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes):
            raise self.error(f"its boxes have the shape {boxes.shape}; (regions, 4) is needed")
        count = len(boxes)
        if features.ndim == 2 and features.shape[0] != count and features.shape[1] == count:
            features = features.T
        if features.ndim != 2 or len(features) != count:
            raise self.error(f"features of the shape {features.shape} do not fit {count} boxes")
        if not np.isfinite(boxes).all():
            raise self.error("its boxes are not finite; extract this image again")
        with np.errstate(over="ignore"):  # the writer refuses infinity
            return boxes.astype(np.float32), features.astype(np.float32)

    def _array(self, keys: tuple[str, ...]) -> np.ndarray:
        def pick(names: list[str]) -> str:
            found = next((key for key in keys if key in names), None)
            if found is None:
                there = ", ".join(names) or "nothing"
                raise self.error(f"no {' or '.join(keys)} in it, but {there}; write the file again")
            return found

        array = read_npz(self.path, pick, MOST_BYTES)
        if array.dtype.kind not in "fiu" or not array.size:
            what = f"{array.dtype}, not numbers" if array.size else "nothing"
            raise self.error(f"{' or '.join(keys)} holds {what}; write the file again")
        return array


def read_archives(folder: Path) -> Iterator[Archive]:
    """The files of a folder in the order of their names. Raises NaafError where it has none."""
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise NaafError(f"{shown(folder)}: no .npz file is in it; name the folder that has one an image")
    for path in paths:
        yield Archive({"image_id": path.stem}, shown(path), path=path)
