"""Scores by a product of fewer digits, and float32's wherever a recall at 10 or less could hang on them.

A reduced product (bfloat16, float16) moves a cosine a little, and a score with it. A recall depends on
its own score and on those near it, so these are computed again in float32:

1. Own scores are exact, all of them (`RoughScorer.known`).
2. Each pair has a margin: ERRORS times the largest smooth error of a sample of every chunk, and the pair's
   `doubts`: what regions may add that stand so near the boundary that they may have crossed it.
3. A query is decided where ten answers lie above its own score by more than their margins. Of the others,
   every answer within its margin of the own score is computed again.

So recalls at 1, 5 and 10 are float32's as long as no score has moved by more than its margin. Each score that
is computed again tells whether it has, and one that did is said. Which pairs these are depends on a tile of
TILE chunks of images and as many of captions, so that all ranks are the same whatever the memory. Ranks
beyond ten are the reduced product's.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from ..messages import say
from ..metric.ranks import RankCounter, Tile, captions_of, cut, image_of, undecided
from ..metric.retrieval import RECALL_RANKS
from ..similarity.base import Block, Similarity
from ..similarity.matrix import Scorer, all_cosines, block_scores
from ..similarity.threads import in_threads
from . import encoding
from .encoding import Encoded

ERRORS = 3.0  # times the largest smooth error of the sample: what no other exceeds
CROSSING = 2.0  # times the largest error of a cosine near the boundary: how near it may have crossed
SAMPLED = 200  # captions of each image of a chunk's first block
OWN = 5  # images whose own captions are scored together
MEASURED = 2  # images of a chunk whose cosines are compared
TILE = 5  # chunks of images and of captions that are decided on together


def tile_images() -> int:
    """Images that are decided on together; a fold holds whole tiles, or is one."""
    return TILE * encoding.CHUNK


class Bounds(NamedTuple):
    """What a reduced product changes."""

    error: float = 0.0  # the largest smooth error of a score in the sample, times the caption's words
    near: float = 0.0  # how far a cosine moves at most


class Known(NamedTuple):
    """What has to be known of the exact scores before any tile is counted."""

    own: np.ndarray  # (caption,) its score with its own image, in float32
    bounds: Bounds = Bounds()

    @classmethod
    def of(cls, parts: "Sequence[Known]") -> "Known":
        """The parts of consecutive images together."""
        error, near = (max(values) for values in zip(*(part.bounds for part in parts), strict=True))
        return cls(np.concatenate([part.own for part in parts]), Bounds(error, near))


class Exact:
    """float32 scores of single pairs: some images with all captions that are asked for of them."""

    def __init__(self, encoded: Encoded, scorer: Scorer, boundary: float) -> None:
        """scorer: of the same captions; what its method prepared of them is taken over."""
        self.encoded, self.similarity, self.boundary = encoded, scorer.similarity, boundary
        self.prepared = scorer.prepared()

    def __call__(self, images: np.ndarray, captions: np.ndarray) -> np.ndarray:
        """Scores (pair,) of images, equal ones in succession, and packed captions."""
        edges = [0, *(np.flatnonzero(np.diff(images)) + 1), len(images)] if len(images) else []
        runs = [slice(*ends) for ends in pairwise(edges)]
        scores = np.empty(len(images), self._type)

        def score(run: slice) -> None:
            image = int(images[run.start])
            scores[run] = self._scores(slice(image, image + 1), captions[run])[0]

        self._each(score, runs)
        return scores

    def own(self, images: slice, captions: np.ndarray) -> np.ndarray:
        """Scores (caption,) of the packed captions of some images with their own one."""
        per_image = len(captions) // (images.stop - images.start)
        scores = np.empty(len(captions), self._type)

        def score(some: slice) -> None:
            mine = captions_of(slice(some.start - images.start, some.stop - images.start), per_image)
            columns = np.arange(mine.stop - mine.start)
            scores[mine] = self._scores(some, captions[mine])[image_of(columns, per_image), columns]

        self._each(score, list(cut(images, OWN)))
        return scores

    @property
    def _type(self) -> np.dtype:
        return self.encoded.images[:0].cpu().numpy().dtype

    def _each(self, work: Callable[[slice], None], jobs: Sequence[slice]) -> None:
        if self.encoded.images.device.type == "cpu":
            in_threads(work, jobs)
        else:
            for job in jobs:
                work(job)

    @torch.no_grad()
    def _scores(self, images: slice, captions: np.ndarray) -> np.ndarray:
        """Scores (image, caption)."""
        regions = self.encoded.images[images]
        chosen = self.encoded.packing.chosen(captions)
        words = self.encoded.words.index_select(0, chosen.words)
        prepared = None if self.prepared is None else self.prepared.index_select(0, chosen.entries)
        cosine = all_cosines(regions, words, words_first=self.similarity.words_first)
        block = Block(cosine, regions @ regions.mT, words, chosen.groups)
        packed = block_scores(self.similarity, block, self.boundary, prepared).pairs
        return torch.empty_like(packed).index_copy_(1, chosen.order, packed).cpu().numpy()


class RoughScorer:
    """Scores tiles of whole chunks; see the module."""

    def __init__(
        self, encoded: Encoded, similarity: Similarity, boundary: float, product: torch.dtype, first: int = 0
    ) -> None:
        """first: where the encoded images start in their split, at a chunk."""
        self.encoded, self.packing, self.first = encoded, encoded.packing, first
        self.score = Scorer(encoded.words, encoded.packing, similarity, boundary, product)
        self.exact = Exact(encoded, self.score, boundary)
        self.packed = torch.argsort(self.packing.order).cpu().numpy()  # where each caption is packed
        self.words = self.packing.lengths[self.packed]  # of each caption
        self.again = self.beyond = 0  # pairs computed again, and those that moved by more than their margin

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.encoded.images), self.packing.captions

    def tiling(self, memory: float, captions: int) -> tuple[int, int | None]:
        """Images of a tile, and images whose captions are its columns: the same whatever the memory."""
        return tile_images(), tile_images()

    def rows(self, memory: float) -> Iterator[np.ndarray]:
        """The whole matrix, a chunk of images at a time."""
        images, captions = self.shape
        per_image = captions // images
        known = self.known(slice(0, images), per_image)
        counter = RankCounter(known.own, per_image)
        for tile in counter.tiles(tile_images()):
            yield tile.with_own(self.scores_of(tile, known.bounds))

    def known(self, images: slice, captions_per_image: int, memory: float = 0.0) -> Known:
        """What is to be known of these images, whole chunks, and their captions."""
        return Known.of([self._of_chunk(chunk, captions_per_image) for chunk in cut(images, encoding.CHUNK)])

    def _of_chunk(self, images: slice, captions_per_image: int) -> Known:
        captions = np.arange(*captions_of(images, captions_per_image).indices(self.packing.captions))
        part = slice(int(captions[0]), int(captions[-1]) + 1)
        rows = slice(images.start - self.first, images.stop - self.first)
        own = self.exact.own(rows, self.packed[captions])
        sample = np.arange(*slice(rows.start, rows.start + self.score.block).indices(rows.stop))
        near = CROSSING * self.score.moved(self.encoded.images[sample[:MEASURED]], part)
        step = max(1, len(captions) // SAMPLED)
        asked = [captions[row % step :: step] for row in sample]
        pairs = np.repeat(sample, [len(some) for some in asked]), np.concatenate(asked)
        rough, doubts = self._rough(slice(int(sample[0]), int(sample[-1]) + 1), part, near)
        at = pairs[0] - sample[0], pairs[1] - part.start
        moved = np.abs(self.exact(pairs[0], self.packed[pairs[1]]) - rough[at]) * self.words[pairs[1]]
        return Known(own, Bounds(float(np.maximum(moved - doubts[at], 0.0).max()), near))

    def _rough(self, rows: slice, captions: slice, near: float) -> tuple[np.ndarray, np.ndarray]:
        """Scores and doubts (image, caption); captions: whole chunks, in the split's order."""
        found = self.score.with_doubts(self.encoded.images[rows], captions, near)
        packing = self.packing.part(captions)[0]
        return tuple(packing.unpack(x).cpu().numpy() for x in found)

    def scores_of(self, tile: Tile, bounds: Bounds) -> np.ndarray:
        """Scores (image, caption) of a tile that is made of whole chunks, or goes to the end."""
        rows = slice(tile.images.start - self.first, tile.images.stop - self.first)
        bands = list(cut(tile.captions, TILE * self.packing.chunk))
        found = [
            self._band(rows, band, bounds, tile.best_own, tile.own[columns])
            for band in bands
            for columns in [slice(band.start - tile.captions.start, band.stop - tile.captions.start)]
        ]
        return found[0] if len(found) == 1 else np.concatenate(found, axis=1)

    def _band(
        self, rows: slice, captions: slice, bounds: Bounds, best_own: np.ndarray, own: np.ndarray
    ) -> np.ndarray:
        scores, doubts = self._rough(rows, captions, bounds.near)
        margin = (ERRORS * bounds.error + doubts) / self.words[captions]
        again = undecided(scores, margin, best_own, own, max(RECALL_RANKS))
        image, column = np.nonzero(again)
        exact = self.exact(image + rows.start, self.packed[captions.start + column])
        self._watch(np.abs(exact - scores[again]) > margin[again])
        scores[again] = exact
        return scores

    def _watch(self, beyond: np.ndarray) -> None:
        self.again += len(beyond)
        if beyond.any() and not self.beyond:
            say(
                "a score has moved by more than its margin, so that recalls may differ from float32's; "
                "--precision float32 gives those"
            )
        self.beyond += int(beyond.sum())
