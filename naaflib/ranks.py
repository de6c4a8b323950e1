"""Ranks and best answers of a score matrix that comes in blocks, equal to those of the whole matrix.

numpy only. Axes: image, caption. Caption c belongs to image c // captions_per_image. What a block adds to a
rank is a count of answers that score at least as much as the right one, so the right ones' scores have to be
known first (`own`), each exactly as the matrix has it. Blocks may come in any order; every pair comes once.
"""

from dataclasses import dataclass

import numpy as np


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
    image_rivals: np.ndarray  # (image,) captions of the block that score at least as the image's best own one
    caption_rivals: np.ndarray  # (caption,) images of the block that score at least as the caption's own one
    image_best: Best  # answers counted over the whole matrix
    caption_best: Best


def count(
    block: np.ndarray, images: slice, captions: slice, best_own: np.ndarray, own: np.ndarray, k: int = 1
) -> Counts:
    """Counts of a block (image, caption) that stands at these images and captions of the matrix.

    best_own (image,): each of the images' best own score; own (caption,): each of the captions' own score.
    """
    return Counts(
        images,
        captions,
        np.count_nonzero(block >= best_own[:, None], axis=1),
        np.count_nonzero(block >= own, axis=0),
        best_answers(block, k, captions.start),
        best_answers(block.T, k, images.start),
    )


class RankCounter:
    """Gathers the counts of all blocks."""

    def __init__(self, own: np.ndarray, captions_per_image: int, k: int = 1) -> None:
        """own (caption,): the score of each caption with its own image; k: best answers to keep."""
        self.own, self.per_image, self.k = own, captions_per_image, k
        self.best_own = own.reshape(-1, captions_per_image).max(axis=1)
        self.image_rivals = np.zeros(len(self.best_own), np.int64)
        self.caption_rivals = np.zeros(len(own), np.int64)
        self.image_best = _nothing(len(self.best_own), min(k, len(own)))
        self.caption_best = _nothing(len(own), min(k, len(self.best_own)))

    def add(self, block: np.ndarray, images: slice, captions: slice) -> None:
        """One block (image, caption) of the matrix."""
        self.merge(count(block, images, captions, self.best_own[images], self.own[captions], self.k))

    def merge(self, counts: Counts) -> None:
        """What was counted elsewhere."""
        self.image_rivals[counts.images] += counts.image_rivals
        self.caption_rivals[counts.captions] += counts.caption_rivals
        _keep(self.image_best, counts.images, counts.image_best)
        _keep(self.caption_best, counts.captions, counts.caption_best)

    @property
    def image_ranks(self) -> np.ndarray:
        """From 0, among the WRONG captions: an image's own captions never push each other down."""
        own = self.own.reshape(-1, self.per_image)
        return self.image_rivals - np.count_nonzero(own >= self.best_own[:, None], axis=1)

    @property
    def caption_ranks(self) -> np.ndarray:
        """From 0; a caption's own image has counted itself."""
        return self.caption_rivals - 1


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
