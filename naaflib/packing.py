"""Captions of equal length side by side, so that scoring needs no padding and no mask.

A packed word axis runs over groups of captions of one length, shortest first; within a group over the
positions; and for each position over the group's captions. A group's words are a dense
(position, caption) block, and a sum over the words of a caption is a sum over a block's first axis,
which vectorises over captions.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Group(NamedTuple):
    """Captions of one length: columns [word, word + length * captions) of a packed word axis."""

    length: int
    captions: int
    word: int  # first packed word
    caption: int  # first packed caption

    @property
    def words(self) -> slice:
        return slice(self.word, self.word + self.length * self.captions)

    @property
    def packed_captions(self) -> slice:
        return slice(self.caption, self.caption + self.captions)


@dataclass(frozen=True)
class Packing:
    """Where each word of a padded batch stands on the packed axis."""

    groups: tuple[Group, ...]
    order: Tensor  # (caption,) the original index of each packed caption
    position: Tensor  # (word,) position within its caption
    caption: Tensor  # (word,) the packed caption that the word belongs to

    @property
    def words(self) -> int:
        return len(self.caption)

    def to(self, device: torch.device | str) -> "Packing":
        return Packing(self.groups, self.order.to(device), self.position.to(device), self.caption.to(device))

    def gather(self, padded: Float[Tensor, "caption length dim"]) -> Float[Tensor, "word dim"]:
        """The words of a padded batch on the packed axis."""
        return padded[self.order[self.caption], self.position]

    def unpack(self, packed: Tensor) -> Tensor:
        """Values (..., packed caption) in the captions' original order."""
        original = torch.empty_like(self.order)
        original[self.order] = torch.arange(len(original), device=original.device)
        return packed.index_select(-1, original)

    def pieces(self, most_words: int) -> "list[tuple[slice, slice, tuple[Group, ...]]]":
        """Runs of whole groups with at most so many words (one group at least): words, captions, groups.

        The groups of a piece count from the piece's own first word and caption.
        """
        runs: list[list[Group]] = []
        for group in self.groups:
            if runs and group.words.stop - runs[-1][0].word <= most_words:
                runs[-1].append(group)
            else:
                runs.append([group])
        return [_piece(run) for run in runs]


def pack(lengths: Tensor, most_words: int | None = None) -> Packing:
    """The packing of captions of these lengths (caption,), each at least 1; equal lengths keep their order.

    most_words: a length with more words than this is cut into several groups (of one caption at least).
    """
    device, lengths = lengths.device, lengths.cpu()
    order = torch.argsort(lengths, stable=True)
    groups, position, caption = [], [], []
    word = first = 0
    for length, count in zip(
        *(part.tolist() for part in torch.unique(lengths, return_counts=True)), strict=True
    ):
        most = count if most_words is None else max(1, most_words // length)
        for start in range(0, count, most):
            captions = min(most, count - start)
            groups.append(Group(length, captions, word, first))
            position.append(torch.arange(length).repeat_interleave(captions))
            caption.append(torch.arange(first, first + captions).repeat(length))
            word, first = word + length * captions, first + captions
    return Packing(tuple(groups), order, torch.cat(position), torch.cat(caption)).to(device)


def _piece(run: list[Group]) -> tuple[slice, slice, tuple[Group, ...]]:
    first, last = run[0], run[-1]
    groups = tuple(Group(g.length, g.captions, g.word - first.word, g.caption - first.caption) for g in run)
    return (
        slice(first.word, last.words.stop),
        slice(first.caption, last.packed_captions.stop),
        groups,
    )
