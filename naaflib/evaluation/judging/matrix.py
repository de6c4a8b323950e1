"""A score matrix of any model, read in blocks: (image, caption), larger is better, in the benchmark's order.

The file may hold it the other way round, as distances, in another order, or as half-precision numbers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...data.npy import release
from ...files import atomic_path
from ...metric.ranks import captions_of, cut, image_of
from .formats import Source

BLOCK = 2**22  # scores held at a time
DOUBLE = ("f8", "f16", "i4", "i8", "u4", "u8")  # types that float32 would round


@dataclass(frozen=True)
class ScoreMatrix:
    """Scores that are read when a block of them is asked for."""

    name: str
    source: Source
    transposed: bool = False  # the source is (caption, image)
    distances: bool = False  # smaller is better
    image_rows: np.ndarray | None = None  # where each image stands in the source; None: in order
    caption_rows: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Images, captions."""
        rows, columns = self.source.array.shape
        return (columns, rows) if self.transposed else (rows, columns)

    def block(self, images: slice, captions: slice) -> np.ndarray:
        """Scores (image, caption), float32 or float64, whichever holds the source's numbers exactly."""
        places = _places(images, self.image_rows), _places(captions, self.caption_rows)
        if self.transposed:
            return self._real(_taken(self.source.array, *places[::-1]).T)
        return self._real(_taken(self.source.array, *places))

    def pairs(self, images: np.ndarray, captions: np.ndarray) -> np.ndarray:
        """The score (pair,) of each image with the caption beside it."""
        result = np.empty(len(images), float)
        for rows in self.runs(self.shape[0]):
            here = np.flatnonzero((images >= rows.start) & (images < rows.stop))
            if len(here):
                block = self.block(rows, slice(0, self.shape[1]))
                result[here] = block[images[here] - rows.start, captions[here]]
                self.release()
        return result

    def own(self, captions_per_image: int) -> np.ndarray:
        """The score (caption,) of each caption with its own image."""
        found = []
        for images in cut(slice(0, self.shape[0]), max(1, int((BLOCK / captions_per_image) ** 0.5))):
            block = self.block(images, captions_of(images, captions_per_image))
            columns = np.arange(block.shape[1])
            found.append(block[image_of(columns, captions_per_image), columns])
        self.release()
        return np.concatenate(found)

    def runs(self, images: int) -> Any:
        """So many images in parts whose scores with all captions are a block."""
        return cut(slice(0, images), max(1, BLOCK // self.shape[1]))

    def tile_sizes(self, fold: int, captions_per_image: int) -> tuple[int, int | None]:
        """Images, and images whose captions, of a tile: along the source's rows, which lie together."""
        if self.transposed:
            return fold, max(1, BLOCK // (fold * captions_per_image))
        return max(1, BLOCK // (fold * captions_per_image)), None

    def save(self, path: Path) -> None:
        """Write it as images x captions in the gallery's order, larger being better, block by block."""
        kind = self.block(slice(0, 1), slice(0, 1)).dtype
        with atomic_path(path) as partial, partial.open("wb") as file:
            header = {
                "descr": np.lib.format.dtype_to_descr(kind),
                "fortran_order": False,
                "shape": self.shape,
            }
            np.lib.format.write_array_header_1_0(file, header)
            for images in self.runs(self.shape[0]):
                file.write(self.block(images, slice(0, self.shape[1])).data)
                self.release()

    def release(self) -> None:
        """Give a memory map's pages back to the system."""
        if isinstance(self.source.array, np.ndarray):
            release(self.source.array)

    def _real(self, block: np.ndarray) -> np.ndarray:
        block = self.source.decode(block) if self.source.decode else block
        kind = np.float64 if block.dtype.str[1:] in DOUBLE else np.float32
        block = np.ascontiguousarray(block, dtype=kind)
        return -block if self.distances else block


def _places(wanted: slice, rows: np.ndarray | None) -> slice | np.ndarray:
    return wanted if rows is None else rows[wanted]


def _taken(array: Any, first: slice | np.ndarray, second: slice | np.ndarray) -> np.ndarray:
    """A block of the source. Rows in another order are read in the file's own, as HDF5 demands."""
    if isinstance(first, slice):
        block = array[first, second] if isinstance(second, slice) else array[first][:, second]
        return np.asarray(block)
    order = np.argsort(first)
    block = np.asarray(array[first[order]])[np.argsort(order)]
    return block[:, second]
