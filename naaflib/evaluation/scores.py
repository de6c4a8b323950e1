"""All pairs of a split: encoded once, scored in blocks, into memory, to a file, or to ranks alone.

A score is the same to the last bit whatever it is computed beside. Images and captions are encoded and scored
on one grid that counts from the split's first image (captions packed in chunks, images in blocks): a wanted
block is cut out of the grid's blocks. Sharded results equal unsharded ones by construction, on one machine
and with one version of the libraries; numbers of threads and memory budgets change nothing.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..data.captions import pad
from ..data.splits import Split
from ..errors import UsageError, unknown
from ..files import atomic_path
from ..messages import progress_bar
from ..metric.ranks import Counts, RankCounter, captions_of, cut, image_of
from ..metric.retrieval import RetrievalMetrics, metrics_of
from ..model.model import Model
from ..similarity.matrix import BLOCK_WORDS, Scorer, block_images
from ..similarity.packing import Group, Packing, pack
from ..similarity.threads import in_threads
from .protocols import fold_size

CHUNK = 200  # images whose captions are packed together; a fold of 1000 holds whole chunks
ENCODED = 40  # images encoded at a time
MEMORY = 2.0**30  # bytes for blocks of scores
SCORE_BYTES = 16  # a score as it is computed, in the split's order, and compared
PRODUCTS = {"float32": None, "bf16": torch.bfloat16}


class Encoded(NamedTuple):
    """A split's unit vectors: images (N, R, D); words on the packed axis (W, D)."""

    images: Tensor
    words: Tensor
    packing: Packing


def encode_split(model: Model, split: Split) -> Encoded:
    """Encode a split: every caption beside captions of its own length, so nothing is padded."""
    words, packing = encode_captions(model, split.captions, split.captions_per_image)
    return Encoded(encode_images(model, split, slice(0, len(split))), words, packing)


def encode_captions(model: Model, captions: Sequence[str], captions_per_image: int) -> tuple[Tensor, Packing]:
    """Words (W, D) on the packed axis, and the packing. A part of a split has to start with a chunk."""
    tokens, lengths = pad([model.text_encoder.ids(caption) for caption in captions])
    packing = pack(torch.from_numpy(lengths), BLOCK_WORDS, CHUNK * captions_per_image)
    ids = torch.from_numpy(tokens)
    words = model.image_encoder.fc.bias.new_empty(packing.words, model.settings.dim)

    @torch.no_grad()
    def encode(group: Group) -> None:
        rows = packing.order[group.packed_captions]
        states = model.encode_captions(ids[rows, : group.length], torch.full((group.captions,), group.length))
        words[group.words] = states.transpose(0, 1).flatten(0, 1)

    _each(encode, packing.groups, model)
    return words, packing.to(model.device)


def encode_images(model: Model, split: Split, images: slice) -> Tensor:
    """Regions (N, R, D) of a run of images that starts with a chunk."""
    shape = (images.stop - images.start, split.regions.shape[1], model.settings.dim)
    result = model.image_encoder.fc.bias.new_empty(shape)

    @torch.no_grad()
    def encode(start: int) -> None:
        rows = np.arange(images.start + start, min(images.start + start + ENCODED, images.stop))
        result[start : start + ENCODED] = model.encode_images(torch.from_numpy(split.regions.gather(rows)))
        split.regions.release()

    _each(encode, range(0, len(result), ENCODED), model)
    return result


def _each(work, jobs: Sequence, model: Model) -> None:
    """On a CPU every job is one thread's: what it gives does not depend on how many there are."""
    if model.device.type == "cpu":
        in_threads(work, jobs)
    else:
        for job in jobs:
            work(job)


class SplitScorer:
    """Scores any block of the matrix of encoded images and captions."""

    def __init__(self, model: Model, encoded: Encoded, precision: str = "float32", first: int = 0) -> None:
        """precision: "float32", or "bf16" for the matrix product alone, where the processor has it.

        first: where the encoded images start in their split, at a chunk.
        """
        if precision not in PRODUCTS:
            raise unknown("precision", precision, PRODUCTS)
        self.encoded, self.packing, self.first = encoded, encoded.packing, first
        self.score = Scorer(
            encoded.words, encoded.packing, model.similarity, model.boundary.inference, PRODUCTS[precision]
        )

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.encoded.images), self.packing.captions

    def block(self, images: slice, captions: slice) -> np.ndarray:
        """Scores (image, caption), captions in the split's order."""
        chunk, block = self.packing.chunk, self.score.block
        first, start = captions.start // chunk * chunk, images.start // block * block
        whole = slice(first, min(-(-captions.stop // chunk) * chunk, self.packing.captions))
        rows = self.encoded.images[start - self.first : images.stop - self.first]
        packed = self.score(rows, whole)[images.start - start :]
        scores = self.packing.part(whole)[0].unpack(packed)
        return scores[:, captions.start - first : captions.stop - first].cpu().numpy()

    def rows_within(self, memory: float, captions: int) -> int:
        """How many images' scores with so many captions fit: at least one block of the grid."""
        fit = int(memory // (captions * SCORE_BYTES))
        return max(self.score.block, min(fit, CHUNK) // self.score.block * self.score.block)

    def own(self, images: slice, captions_per_image: int, memory: float = MEMORY) -> np.ndarray:
        """The score (caption,) of each caption of these images with its own image."""
        result = []
        for rows in cut(images, min(CHUNK, self.rows_within(memory, self.packing.chunk))):
            block = self.block(rows, captions_of(rows, captions_per_image))
            columns = np.arange(block.shape[1])
            result.append(block[image_of(columns, captions_per_image), columns])
        return np.concatenate(result)


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
    scorer = SplitScorer(model, encoded, precision)
    images, captions = scorer.shape
    with _bar(images, progress) as bar:
        for rows in cut(slice(0, images), scorer.rows_within(memory, captions)):
            yield scorer.block(rows, slice(0, captions))
            bar.update(rows.stop - rows.start)


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
    scorer = SplitScorer(model, encoded, precision)
    images = scorer.shape[0]
    fold = fold_size(protocol, images)
    own = scorer.own(slice(0, images), captions_per_image, memory)
    counter = RankCounter(own, captions_per_image, top, fold)

    def counts() -> Iterator[Counts]:
        with _bar(images, progress) as bar:
            for tile in counter.tiles(scorer.rows_within(memory, fold * captions_per_image)):
                yield tile.counts(scorer.block(tile.images, tile.captions))
                bar.update(tile.images.stop - tile.images.start)

    return metrics_of(counter, counts())


def check_memory(memory: float, images: int, captions_per_image: int, device: torch.device) -> None:
    """Raises UsageError for less than one block of such a score matrix takes."""
    block, captions = min(images, block_images(device)), images * captions_per_image
    least = block * captions * SCORE_BYTES
    if memory < least:
        raise UsageError(
            f"one block of scores, {block} images with {captions:,} captions, takes more than a memory of "
            f"{memory:,.0f} bytes; give it {-(-least // 1000)}kB at least"
        )


def _bar(images: int, progress: bool) -> Any:
    return progress_bar(total=images, desc="scoring", unit="image", disable=not progress, mininterval=1.0)
