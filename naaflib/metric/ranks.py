"""Ranks and best answers of a score matrix that comes in blocks, equal to those of the whole matrix.

numpy only. Axes: image, caption. Caption c belongs to image c // captions_per_image. What a block adds to a
rank is a count of wrong answers that score at least as much as the right one, so the right ones' scores have
to be known first (`own`). A pair of a caption with its own image is told by its place and never counted:
another processor may have computed `own`, with other last bits. Blocks may come in any order; every pair
of a fold comes once. The folds of a protocol are consecutive images, each ranked on its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import NaafError


def image_of(caption: Any, captions_per_image: int) -> Any:
    """The image of a caption, or of an array of them: captions_per_image consecutive ones are one image's."""
    return caption // captions_per_image


def captions_of(images: slice, captions_per_image: int) -> slice:
    """The captions of a run of images, by the same rule."""
    return slice(images.start * captions_per_image, images.stop * captions_per_image)


@dataclass(frozen=True)
class Best:
    """The k answers of each query that score highest, best first; of equal ones the first of the split."""

    answers: np.ndarray  # (query, k)
    scores: np.ndarray  # (query, k)


@dataclass(frozen=True)
class Counts:
    """What one tile of the matrix adds: small, whatever the tile's size."""

    images: slice
    captions: slice
    image_rivals: np.ndarray  # (image,) wrong captions of the tile that score at least as its best own one
    caption_rivals: np.ndarray  # (caption,) wrong images of the tile that score at least as its own one
    image_best: Best  # answers counted over the whole matrix
    caption_best: Best


@dataclass(frozen=True)
class Tile:
    """A block of the matrix that is to be counted, and what its scores are compared with."""

    images: slice
    captions: slice
    best_own: np.ndarray  # (image,) each image's best own score
    own: np.ndarray  # (caption,) each caption's own score
    captions_per_image: int
    k: int  # best answers to keep

    def counts(self, block: np.ndarray) -> Counts:
        """block: its scores (image, caption). Raises NaafError for scores that are not all finite."""
        check_finite(block, self.images.start)
        right = self._right()
        block = self.with_own(block)  # the best answers, too, go by the given own scores
        return Counts(
            self.images,
            self.captions,
            _wrong(block >= self.best_own[:, None], right).sum(axis=1),
            _wrong(block >= self.own, right).sum(axis=0),
            best_answers(block, self.k, self.captions.start),
            best_answers(block.T, self.k, self.images.start),
        )

    def with_own(self, block: np.ndarray) -> np.ndarray:
        """The block with the given own scores in their places; a copy where they differ."""
        right = self._right()
        if (block[right] != self.own[right[1]]).any():
            block = block.copy()
            block[right] = self.own[right[1]]
        return block

    def _right(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the own pairs that lie in the tile."""
        captions = np.arange(self.captions.start, self.captions.stop)
        row = image_of(captions, self.captions_per_image) - self.images.start
        column = np.flatnonzero((row >= 0) & (row < self.images.stop - self.images.start))
        return row[column], column


def undecided(
    scores: np.ndarray, margin: np.ndarray, best_own: np.ndarray, own: np.ndarray, k: int
) -> np.ndarray:
    """Pairs (image, caption) whose place above or below an own score can decide a recall at k or less.

    A score may be wrong by its margin. Own scores are right: own (caption,), and best_own (image,) of an
    image's captions. A query is decided where k answers lie above its own score by more than their margins.
    """
    result = np.zeros(scores.shape, bool)
    for axis, right in ((0, own), (1, best_own[:, None])):
        above = scores - right
        open_ = (above > margin).sum(axis=axis, keepdims=True) < k
        result |= (np.abs(above) <= margin) & open_
    return result


def _wrong(reach: np.ndarray, right: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Where a wrong answer reaches the own score (image, caption); right: rows and columns of own pairs."""
    reach[right] = False
    return reach


class RankCounter:
    """Gathers the counts of all tiles. Images of one fold compete with each other alone."""

    def __init__(self, own: np.ndarray, captions_per_image: int, k: int = 1, fold: int | None = None) -> None:
        """own (caption,): the score of each caption with its own image; k: best answers to keep.

        fold: images that are ranked together; None: all. Raises NaafError for own scores that are not finite
        and for images that do not fill their folds.
        """
        by_image = own.reshape(-1, captions_per_image)
        check_finite(by_image, 0)  # nothing would reach a NaN: rank 0
        self.own, self.per_image, self.k, self.pairs = own, captions_per_image, k, 0
        self.best_own = by_image.max(axis=1)
        self.fold = fold or len(self.best_own)
        if len(self.best_own) % self.fold:
            raise NaafError(f"{len(self.best_own)} images do not fill folds of {self.fold}; take whole folds")
        self.image_rivals = np.zeros(len(self.best_own), np.int64)
        self.caption_rivals = np.zeros(len(own), np.int64)
        self.image_best = _nothing(len(self.best_own), min(k, self.fold * captions_per_image))
        self.caption_best = _nothing(len(own), min(k, self.fold))

    def tiles(self, rows: int, columns: int | None = None) -> Iterator[Tile]:
        """All tiles to count, fold by fold: so many images each, with the captions of so many.

        columns None: with all captions of the fold; else in bands, one band of captions after the other.
        """
        for start in range(0, len(self.best_own), self.fold):
            fold = slice(start, start + self.fold)
            for band in cut(fold, columns or self.fold):
                for images in cut(fold, rows):
                    yield self.tile(images, captions_of(band, self.per_image))

    def tile(self, images: slice, captions: slice) -> Tile:
        limits = self.best_own[images], self.own[captions]
        return Tile(images, captions, *limits, self.per_image, self.k)

    def add(self, block: np.ndarray, images: slice, captions: slice) -> None:
        """One block (image, caption) of the matrix."""
        self.merge(self.tile(images, captions).counts(block))

    def merge(self, counts: Counts) -> None:
        """What was counted, here or elsewhere."""
        self.pairs += len(counts.image_rivals) * len(counts.caption_rivals)
        self.image_rivals[counts.images] += counts.image_rivals
        self.caption_rivals[counts.captions] += counts.caption_rivals
        _keep(self.image_best, counts.images, counts.image_best)
        _keep(self.caption_best, counts.captions, counts.caption_best)

    @property
    def image_ranks(self) -> np.ndarray:
        """From 0, among the WRONG captions: an image's own captions never push each other down.

        Raises NaafError where the counts cannot be those of the whole matrix, each pair counted once.
        """
        return self._checked(self.image_rivals, (self.fold - 1) * self.per_image)

    @property
    def caption_ranks(self) -> np.ndarray:
        """From 0, among the other images. Raises NaafError as `image_ranks` does."""
        return self._checked(self.caption_rivals, self.fold - 1)

    def _checked(self, ranks: np.ndarray, wrong: int) -> np.ndarray:
        """Ranks of queries that have so many wrong answers."""
        pairs = len(self.own) * self.fold
        if self.pairs != pairs or ranks.min() < 0 or ranks.max() > wrong:
            raise NaafError(
                f"ranks {ranks.min()} to {ranks.max()} among {wrong} wrong answers, from {self.pairs:,} of "
                f"{pairs:,} pairs, cannot be right; count each pair once, by one naaflib everywhere"
            )
        return ranks


def cut(images: slice, size: int) -> Iterator[slice]:
    """A run of images in parts of one size; the last may be smaller."""
    return (slice(start, min(start + size, images.stop)) for start in range(images.start, images.stop, size))


def check_finite(block: np.ndarray, first_image: int) -> None:
    """Raises NaafError for scores (image, caption) that are not all finite."""
    if not np.isfinite(block).all():
        image = first_image + int(np.argwhere(~np.isfinite(block))[0][0])
        raise NaafError(f"a score of image {image} is not finite")


def best_answers(scores: np.ndarray, k: int, first: int = 0) -> Best:
    """The best k answers of scores (query, answer), as a stable sort of all answers would give them.

    first: the number of the first answer.
    """
    queries, answers = scores.shape
    k = min(k, answers)
    if k == 1:
        top = scores.argmax(axis=1)[:, None]
        return Best(top + first, np.take_along_axis(scores, top, 1))
    limit = np.partition(scores, answers - k, axis=1)[:, answers - k, None]
    query, answer = np.nonzero(scores >= limit)  # k of each query, and what equals the last of them
    # backwards, as -scores means something else in unsigned numbers and nothing in booleans
    order = np.lexsort((-answer, scores[query, answer], -query))[::-1]
    starts = np.searchsorted(query, np.arange(queries))
    top = answer[order[starts[:, None] + np.arange(k)]]
    return Best(top + first, np.take_along_axis(scores, top, 1))


def _nothing(queries: int, k: int) -> Best:
    return Best(np.full((queries, k), np.iinfo(np.int64).max), np.full((queries, k), -np.inf))


def _keep(kept: Best, queries: slice, new: Best) -> None:
    """Put the best of both in place."""
    k = kept.answers.shape[1]
    if k == 1:
        better = (new.scores > kept.scores[queries]) | (
            (new.scores == kept.scores[queries]) & (new.answers < kept.answers[queries])
        )
        np.copyto(kept.answers[queries], new.answers, where=better)
        np.copyto(kept.scores[queries], new.scores, where=better)
        return
    answers = np.concatenate([kept.answers[queries], new.answers], axis=1)
    scores = np.concatenate([kept.scores[queries], new.scores], axis=1)
    order = np.lexsort((answers, -scores), axis=1)[:, :k]
    kept.answers[queries] = np.take_along_axis(answers, order, 1)
    kept.scores[queries] = np.take_along_axis(scores, order, 1)
