"""Ranks and best answers of a score matrix that comes in blocks, equal to those of the whole matrix.

numpy only. Axes: image, caption. Caption c belongs to image c // captions_per_image. What a block adds to a
rank is a count of wrong answers that score at least as much as the right one, so the right ones' scores have
to be known first (`own`). A pair of a caption with its own image is told by its place and never counted:
another processor may have computed `own`, with other last bits. Blocks may come in any order; every pair
comes once.
"""

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

    def joined(self, other: "Best", k: int) -> "Best":
        """The best k of both."""
        answers = np.concatenate([self.answers, other.answers], axis=1)
        scores = np.concatenate([self.scores, other.scores], axis=1)
        order = np.lexsort((answers, -scores), axis=1)[:, :k]
        return Best(np.take_along_axis(answers, order, 1), np.take_along_axis(scores, order, 1))


@dataclass(frozen=True)
class Counts:
    """What one block of the matrix adds: small, whatever the block's size."""

    images: slice
    captions: slice
    image_rivals: np.ndarray  # (image,) wrong captions of the block that score at least as its best own one
    caption_rivals: np.ndarray  # (caption,) wrong images of the block that score at least as its own one
    image_best: Best  # answers counted over the whole matrix
    caption_best: Best


def count(
    block: np.ndarray,
    images: slice,
    captions: slice,
    best_own: np.ndarray,
    own: np.ndarray,
    captions_per_image: int,
    k: int = 1,
) -> Counts:
    """Counts of a block (image, caption) that stands at these images and captions of the matrix.

    best_own (image,): each of the images' best own score; own (caption,): each of the captions' own score.
    """
    image_of_caption = image_of(np.arange(captions.start, captions.stop), captions_per_image)
    column = np.flatnonzero((image_of_caption >= images.start) & (image_of_caption < images.stop))
    right = image_of_caption[column] - images.start, column
    if (block[right] != own[column]).any():  # then the best answers, too, go by the given own scores
        block = block.copy()
        block[right] = own[column]
    return Counts(
        images,
        captions,
        _wrong(block >= best_own[:, None], right).sum(axis=1),
        _wrong(block >= own, right).sum(axis=0),
        best_answers(block, k, captions.start),
        best_answers(block.T, k, images.start),
    )


def _wrong(reach: np.ndarray, right: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Where a wrong answer reaches the own score (image, caption); right: rows and columns of own pairs."""
    reach[right] = False
    return reach


class RankCounter:
    """Gathers the counts of all blocks."""

    def __init__(self, own: np.ndarray, captions_per_image: int, k: int = 1) -> None:
        """own (caption,): the score of each caption with its own image; k: best answers to keep."""
        self.own, self.per_image, self.k, self.pairs = own, captions_per_image, k, 0
        self.best_own = own.reshape(-1, captions_per_image).max(axis=1)
        self.image_rivals = np.zeros(len(self.best_own), np.int64)
        self.caption_rivals = np.zeros(len(own), np.int64)
        self.image_best = _nothing(len(self.best_own), min(k, len(own)))
        self.caption_best = _nothing(len(own), min(k, len(self.best_own)))

    def add(self, block: np.ndarray, images: slice, captions: slice) -> None:
        """One block (image, caption) of the matrix."""
        limits = self.best_own[images], self.own[captions]
        self.merge(count(block, images, captions, *limits, self.per_image, self.k))

    def merge(self, counts: Counts) -> None:
        """What was counted elsewhere."""
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
        return self._checked(self.image_rivals, len(self.own) - self.per_image)

    @property
    def caption_ranks(self) -> np.ndarray:
        """From 0, among the other images. Raises NaafError as `image_ranks` does."""
        return self._checked(self.caption_rivals, len(self.best_own) - 1)

    def _checked(self, ranks: np.ndarray, wrong: int) -> np.ndarray:
        """Ranks of queries that have so many wrong answers."""
        pairs = len(self.own) * len(self.best_own)
        if self.pairs != pairs or ranks.min() < 0 or ranks.max() > wrong:
            raise NaafError(
                f"ranks {ranks.min()} to {ranks.max()} among {wrong} wrong answers, from {self.pairs:,} of "
                f"{pairs:,} pairs, cannot be right; count each pair once, by one naaflib everywhere"
            )
        return ranks


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
    order = np.lexsort((answer, -scores[query, answer], query))
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
    joined = Best(kept.answers[queries], kept.scores[queries]).joined(new, k)
    kept.answers[queries], kept.scores[queries] = joined.answers, joined.scores
