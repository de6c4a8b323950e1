"""Ranks of several right answers a query, from a score matrix that comes in tiles: mAP@R, R-Precision, R@k.

Axes: image, caption. Unlike in `ranks`, which captions are right for an image is given pair by pair, and the
two ways may differ (ECCV Caption, CxC). The rank of a right answer is the number of wrong ones that score at
least as much, plus the right ones before it: a tie is a miss. What is right is told by its place in the
matrix, never by comparing floats: another processor may have computed the right pairs' scores, with other
last bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..errors import NaafError
from .detection import image_intervals
from .ranks import check_finite, cut, image_of
from .retrieval import RECALL_RANKS, WAYS

STRIP = 2**18  # scores compared at a time: 1 MB of float32 stays in a processor's cache


@dataclass(frozen=True)
class Positives:
    """The right answers of one way's queries, query by query. Queries rise; no answer stands there twice."""

    query: np.ndarray  # (query,) its row (an image) or column (a caption)
    counts: np.ndarray  # (query,) right answers that the matrix holds
    absent: np.ndarray  # (query,) right answers that it does not hold: never found, and part of R
    answer: np.ndarray  # (pair,) their columns or rows

    @classmethod
    def of(cls, query: np.ndarray, relevant: np.ndarray, answer: np.ndarray) -> "Positives":
        """relevant: how many answers each query has; answer: all of them, negative where one is absent."""
        there = answer >= 0
        line = np.repeat(np.arange(len(query)), relevant)
        counts = np.bincount(line[there], minlength=len(query))
        return cls(query, counts, relevant - counts, answer[there])

    @property
    def relevant(self) -> np.ndarray:
        """(query,) R of R-Precision and mAP@R."""
        return self.counts + self.absent

    @property
    def line(self) -> np.ndarray:
        """(pair,) which of the queries, counted from 0, a pair belongs to."""
        return np.repeat(np.arange(len(self.query)), self.counts)

    @property
    def first(self) -> np.ndarray:
        """(query + 1,) where each query's pairs begin, and the number of all."""
        return np.concatenate([[0], self.counts.cumsum()])


@dataclass(frozen=True)
class BothWays:
    """Right captions of images (i2t) and right images of captions (t2i); neither follows from the other."""

    i2t: Positives
    t2i: Positives

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of all right pairs, those of i2t first: their scores are read before the tiles."""
        i2t, t2i = self.i2t, self.t2i
        rows = np.concatenate([i2t.query[i2t.line], t2i.answer])
        return rows, np.concatenate([i2t.answer, t2i.query[t2i.line]])


@dataclass(frozen=True)
class PositiveRanks:
    """Ranks of all right answers of one way, and what the measures make of them, a value a query."""

    positives: Positives
    ranks: np.ndarray  # (pair,) from 0, query by query, the best first

    def map_at_r(self) -> np.ndarray:
        """(query,) mAP@R, 0 to 1: precision at each right answer among the first R, summed, over R."""
        within = self.ranks < self.positives.relevant[self.positives.line]
        precision = (self._before + 1) / (self.ranks + 1)
        return self._sum(np.where(within, precision, 0.0)) / self.positives.relevant

    def r_precision(self) -> np.ndarray:
        """(query,) R-Precision, 0 to 1: the share of right answers among the first R."""
        within = self.ranks < self.positives.relevant[self.positives.line]
        return self._sum(within.astype(float)) / self.positives.relevant

    def hit(self, k: int) -> np.ndarray:
        """(query,) 1.0 where a right answer stands among the first k, else 0.0."""
        return self._sum(((self._before == 0) & (self.ranks < k)).astype(float))

    @property
    def _before(self) -> np.ndarray:
        """(pair,) right answers of the same query that stand before it."""
        return np.arange(len(self.ranks)) - self.positives.first[self.positives.line]

    def _sum(self, values: np.ndarray) -> np.ndarray:
        return np.bincount(self.positives.line, values, len(self.positives.query))


class RanksBothWays(NamedTuple):
    i2t: PositiveRanks
    t2i: PositiveRanks


MEASURES: dict[str, Callable[[PositiveRanks], np.ndarray]] = {
    "map_at_r": PositiveRanks.map_at_r,
    "r_precision": PositiveRanks.r_precision,
    **{f"at_{k}": partial(PositiveRanks.hit, k=k) for k in RECALL_RANKS},
}
ECCV_MEASURES = ("map_at_r", "r_precision", "at_1")
CXC_MEASURES = tuple(f"at_{k}" for k in RECALL_RANKS)


class PositiveCounter:
    """Gathers what the tiles of a matrix add to the ranks. Tiles come in any order and cover it once."""

    def __init__(self, truth: BothWays, own: np.ndarray, images: int, captions: int) -> None:
        """own: the scores of `truth.pairs`, in their order. Raises NaafError for another number of them, for
        one that is not finite, and for right answers beyond the matrix.
        """
        rows, columns = truth.pairs
        if rows.max(initial=-1) >= images or columns.max(initial=-1) >= captions:
            raise NaafError(
                f"right answers reach image {rows.max()} and caption {columns.max()}, beyond the matrix of "
                f"{images} images and {captions} captions; take the scores of the whole split"
            )
        if own.shape != rows.shape:
            raise NaafError(f"{len(own):,} scores for {len(rows):,} right pairs; read those of truth.pairs")
        if not np.isfinite(own).all():
            raise NaafError(f"a score of image {rows[~np.isfinite(own)][0]} is not finite")
        self._i2t = _Way(truth.i2t, own[: len(truth.i2t.answer)])
        self._t2i = _Way(truth.t2i, own[len(truth.i2t.answer) :])
        self._of_image, self._of_caption = np.zeros(images, np.int64), np.zeros(captions, np.int64)

    def add(self, block: np.ndarray, images: slice, captions: slice) -> None:
        """One tile (image, caption) of the matrix. Raises NaafError for scores that are not all finite."""
        check_finite(block, images.start)
        self._i2t.add(block, images, captions)
        self._t2i.add(block.T, captions, images)
        self._of_image[images] += block.shape[1]
        self._of_caption[captions] += block.shape[0]

    @property
    def ranks(self) -> RanksBothWays:
        """Raises NaafError where tiles are missing or came twice."""
        images, captions = len(self._of_image), len(self._of_caption)
        if (self._of_image != captions).any() or (self._of_caption != images).any():
            seen = f"{self._of_image.sum():,} pairs were counted of {images * captions:,}"
            raise NaafError(f"{seen}, and not each of them once; add tiles that cover the matrix once")
        return RanksBothWays(self._i2t.ranks(), self._t2i.ranks())


class _Way:
    """Counts of one way: for each right answer the wrong ones that score at least as much."""

    def __init__(self, positives: Positives, own: np.ndarray) -> None:
        self.positives, self.own = positives, own.astype(_comparable(own.dtype))
        self.line, self.first = positives.line, positives.first
        self.rivals = np.zeros(len(own), np.int64)

    def add(self, scores: np.ndarray, queries: slice, answers: slice) -> None:
        """scores: the tile as (query, answer)."""
        asked = slice(*np.searchsorted(self.positives.query, (queries.start, queries.stop)).tolist())
        for strip in cut(asked, max(1, STRIP // scores.shape[1])):
            lines = scores[self.positives.query[strip] - queries.start]
            self._count(lines.astype(_comparable(lines.dtype), order="C", copy=False), strip, answers.start)

    def _count(self, lines: np.ndarray, strip: slice, start: int) -> None:
        """lines (query, answer): a copy of the strip's scores, in which the right ones are taken out."""
        pairs = slice(self.first[strip.start], self.first[strip.stop])
        line, answer = self.line[pairs] - strip.start, self.positives.answer[pairs] - start
        here = (answer >= 0) & (answer < lines.shape[1])
        lines[line[here], answer[here]] = -np.inf
        for part in cut(slice(0, len(line)), max(1, STRIP // lines.shape[1])):
            reach = lines[line[part]] >= self.own[pairs][part, None]
            self.rivals[pairs][part] += np.count_nonzero(reach, axis=1)

    def ranks(self) -> PositiveRanks:
        order = np.lexsort((-self.own, self.line))
        before = np.arange(len(order)) - self.first[self.line]
        return PositiveRanks(self.positives, self.rivals[order] + before)


def _comparable(dtype: np.dtype) -> np.dtype:
    """float16 becomes float32, without loss: processors compare that faster."""
    return np.promote_types(dtype, np.float32)


def means(
    ranks: RanksBothWays, measures: Sequence[str], captions_per_image: int, seed: int = 0
) -> pd.DataFrame:
    """Means in percent with 95 % intervals over images: way, measure, value, low, high, queries.

    A caption query is resampled with its own image, so that queries of one image stay together.
    """
    rows = []
    for way, found in zip(WAYS, ranks, strict=True):
        columns = pd.DataFrame({name: 100 * MEASURES[name](found) for name in measures})
        query = found.positives.query
        image = query if way == "i2t" else image_of(query, captions_per_image)
        for name, (low, high) in zip(measures, image_intervals(columns, image, seed), strict=True):
            rows.append((way, name, columns[name].mean(), low, high, len(query)))
    return pd.DataFrame(rows, columns=["way", "measure", "value", "low", "high", "queries"])
