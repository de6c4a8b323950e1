"""All pairs of a split: encoded once, scored in blocks, into memory, to a file, or to ranks alone.

A score is the same to the last bit whatever it is computed beside. Images and captions are encoded and scored
on one grid that counts from the split's first image (captions packed in chunks, images in blocks): a wanted
block is cut out of the grid's blocks. Sharded results equal unsharded ones by construction, on one machine
and with one version of the libraries; numbers of threads and memory budgets change nothing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..devices import precision_of
from ..errors import UsageError, unknown
from ..files import atomic_path
from ..messages import progress_bar
from ..metric.ranks import Counts, RankCounter, Tile, captions_of, cut, image_of
from ..metric.retrieval import RetrievalMetrics, metrics_of
from ..model.model import Model
from ..similarity.base import Similarity
from ..similarity.matrix import Scorer, block_images
from . import encoding
from .encoding import Encoded
from .protocols import fold_size
from .rescoring import Bounds, Known, RoughScorer, tile_images

MEMORY = 2.0**30  # bytes for blocks of scores
SCORE_BYTES = 16  # a score as it is computed, in the split's order, and compared
PRECISIONS = ("float32", "tf32", "bf16", "fp16")  # of `devices`, those that scores are computed in


class SplitScorer:
    """Scores any block of the matrix of encoded images and captions."""

    def __init__(self, encoded: Encoded, similarity: Similarity, boundary: float, first: int = 0) -> None:
        """first: where the encoded images start in their split, at a chunk."""
        self.encoded, self.packing, self.first = encoded, encoded.packing, first
        self.score = Scorer(encoded.words, encoded.packing, similarity, boundary)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.encoded.images), self.packing.captions

    def scores_of(self, tile: Tile, bounds: Bounds) -> np.ndarray:
        """Scores (image, caption) of a tile."""
        return self.block(tile.images, tile.captions)

    def block(self, images: slice, captions: slice) -> np.ndarray:
        """Scores (image, caption), captions in the split's order."""
        chunk, block = self.packing.chunk, self.score.block
        first, start = captions.start // chunk * chunk, images.start // block * block
        whole = slice(first, min(-(-captions.stop // chunk) * chunk, self.packing.captions))
        rows = self.encoded.images[start - self.first : images.stop - self.first]
        packed = self.score(rows, whole)[images.start - start :]
        scores = self.packing.part(whole)[0].unpack(packed)
        return scores[:, captions.start - first : captions.stop - first].cpu().numpy()

    def rows(self, memory: float) -> Iterator[np.ndarray]:
        """The whole matrix, some images at a time."""
        images, captions = self.shape
        for rows in cut(slice(0, images), self.tiling(memory, captions)[0]):
            yield self.block(rows, slice(0, captions))

    def tiling(self, memory: float, captions: int) -> tuple[int, int | None]:
        """How many images' scores with so many captions fit, at least one block of the grid; all captions."""
        fit = int(memory // (captions * SCORE_BYTES))
        return max(self.score.block, min(fit, encoding.CHUNK) // self.score.block * self.score.block), None

    def known(self, images: slice, captions_per_image: int, memory: float = MEMORY) -> Known:
        """The score of each caption of these images with its own image."""
        result = []
        for rows in cut(images, min(encoding.CHUNK, self.tiling(memory, self.packing.chunk)[0])):
            block = self.block(rows, captions_of(rows, captions_per_image))
            columns = np.arange(block.shape[1])
            result.append(block[image_of(columns, captions_per_image), columns])
        return Known(np.concatenate(result))


def split_scorer(
    model: Model, encoded: Encoded, precision: str = "float32", first: int = 0
) -> SplitScorer | RoughScorer:
    """precision: "float32" or "tf32", the model's type (`devices.products` tells a GPU which), or "bf16" or
    "fp16", which score again what recalls hang on.

    first: where the encoded images start in their split, at a chunk. Raises UsageError for another precision.
    """
    product, boundary = product_type(precision), model.boundary.inference
    if product is None:
        return SplitScorer(encoded, model.similarity, boundary, first)
    return RoughScorer(encoded, model.similarity, boundary, product, first)


def product_type(precision: str) -> torch.dtype | None:
    """The number type of the matrix product; None: the model's. Raises UsageError for another precision."""
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    return precision_of(precision).autocast


def score_rows(
    model: Model,
    encoded: Encoded,
    precision: str = "float32",
    progress: bool = True,
    memory: float = MEMORY,
) -> Iterator[np.ndarray]:
    """Rows of the score matrix, some images at a time: (image, caption), captions in the split's order.

    memory: bytes for such a block; what holds the encoded split is not counted.
    """
    scorer = split_scorer(model, encoded, precision)
    with _bar(scorer.shape[0], progress) as bar:
        for rows in scorer.rows(memory):
            yield rows
            bar.update(len(rows))


def score_encoded(
    model: Model, encoded: Encoded, progress: bool = True, precision: str = "float32"
) -> np.ndarray:
    """Scores (image, caption) in memory, float32 or the model's type."""
    rows = list(score_rows(model, encoded, precision, progress))
    return rows[0] if len(rows) == 1 else np.concatenate(rows)


def score_to_file(
    model: Model,
    encoded: Encoded,
    path: Path,
    progress: bool = True,
    precision: str = "float32",
    memory: float = MEMORY,
) -> np.ndarray:
    """Scores written to a .npy row by row, never whole in memory; the file, memory-mapped."""
    shape = (len(encoded.images), encoded.packing.captions)
    kind = np.dtype(np.float64 if encoded.images.dtype == torch.float64 else np.float32)
    with atomic_path(path) as partial, partial.open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for rows in score_rows(model, encoded, precision, progress, memory):
            file.write(np.ascontiguousarray(rows, dtype=kind).data)
    return np.load(path, mmap_mode="r")


def streamed_metrics(
    model: Model,
    encoded: Encoded,
    captions_per_image: int = 5,
    *,
    protocol: str = "full",
    precision: str = "float32",
    memory: float = MEMORY,
    top: int = 1,
    progress: bool = True,
) -> RetrievalMetrics:
    """What protocol_metrics makes of the whole score matrix, exactly, without ever holding it.

    Scores that the ranks compare with (each caption with its own image) are computed first, for a block of
    images and their own captions at a time; then every block is counted and forgotten. top: best answers
    to keep of each query (`.i2t.best`, `.t2i.best`).
    """
    scorer = split_scorer(model, encoded, precision)
    images = scorer.shape[0]
    fold = fold_size(protocol, images)
    known = scorer.known(slice(0, images), captions_per_image, memory)
    counter = RankCounter(known.own, captions_per_image, top, fold)

    def counts() -> Iterator[Counts]:
        with _bar(images, progress) as bar:
            for tile in counter.tiles(*scorer.tiling(memory, fold * captions_per_image)):
                yield tile.counts(scorer.scores_of(tile, known.bounds))
                bar.update(tile.images.stop - tile.images.start)

    return metrics_of(counter, counts())


def check_memory(
    memory: float,
    images: int,
    captions_per_image: int,
    device: torch.device,
    precision: str = "float32",
    streamed: bool = False,
) -> None:
    """Raises UsageError for less than one block of such a score matrix takes."""
    rows, columns = block_images(device), images
    if product_type(precision) is not None:
        rows, columns = tile_images(), min(images, tile_images()) if streamed else images
    block, captions = min(images, rows), columns * captions_per_image
    least = block * captions * SCORE_BYTES
    if memory < least:
        raise UsageError(
            f"one block of scores, {block} images with {captions:,} captions, takes more than a memory of "
            f"{memory:,.0f} bytes; give it {-(-least // 1000)}kB at least"
        )


def _bar(images: int, progress: bool) -> Any:
    return progress_bar(total=images, desc="scoring", unit="image", disable=not progress, mininterval=1.0)
