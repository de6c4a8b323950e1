"""Captions of equal length side by side, so that scoring needs no padding and no mask.

A packed word axis runs over groups of captions of one length, shortest first; within a group over the
positions; and for each position over the group's captions. A group's words are a dense
(position, caption) block, and a sum over the words of a caption is a sum over a block's first axis,
which vectorises over captions. Where captions are packed in chunks, each chunk is packed as if it were
alone: its words lie together, whatever stands before and after it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
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


class Chosen(NamedTuple):
    """Some captions on a packed axis of their own."""

    groups: tuple[Group, ...]
    order: Tensor  # (caption,) which of the chosen stands at each place
    words: Tensor  # (word,) where each word stands on the whole axis
    entries: Tensor  # (entry,) the same of tables that a group has for (position, position, caption)


@dataclass(frozen=True)
class Packing:
    """Where each word of a padded batch stands on the packed axis."""

    groups: tuple[Group, ...]
    order: Tensor  # (caption,) the original index of each packed caption
    position: Tensor  # (word,) position within its caption
    caption: Tensor  # (word,) the packed caption that the word belongs to
    chunk: int  # captions of a chunk; the last chunk may hold fewer

    @property
    def words(self) -> int:
        return len(self.caption)

    @property
    def captions(self) -> int:
        return len(self.order)

    @property
    def lengths(self) -> np.ndarray:
        """Words of each packed caption."""
        return self._places[0]

    def to(self, device: torch.device | str) -> "Packing":
        moved = {name: getattr(self, name).to(device) for name in ("order", "position", "caption")}
        return replace(self, **moved)

    def part(self, captions: slice) -> "tuple[Packing, slice]":
        """The packing of a run of whole chunks, as if they were alone, and its words."""
        groups = [g for g in self.groups if captions.start <= g.caption < captions.stop]
        columns, packed, moved = _piece(groups)
        return Packing(
            moved,
            self.order[packed] - packed.start,
            self.position[columns],
            self.caption[columns] - packed.start,
            self.chunk,
        ), columns

    def gather(self, padded: Float[Tensor, "caption length dim"]) -> Float[Tensor, "word dim"]:
        """The words of a padded batch on the packed axis."""
        return padded[self.order[self.caption], self.position]

    def unpack(self, packed: Tensor) -> Tensor:
        """Values (..., packed caption) in the captions' original order."""
        return packed.index_select(-1, torch.argsort(self.order))

    def chosen(self, captions: np.ndarray) -> "Chosen":
        """Some packed captions side by side, shorter ones first, on a packed axis of their own."""
        length, first, step, entry = self._places
        order = np.argsort(length[captions], kind="stable")
        captions = captions[order]
        values, counts = np.unique(length[captions], return_counts=True)
        groups: list[Group] = []
        words, entries, start = [order[:0]], [order[:0]], (0, 0)
        for size, count in zip(values.tolist(), counts.tolist(), strict=True):
            groups.append(Group(size, count, *start))
            start = groups[-1].words.stop, groups[-1].packed_captions.stop
            own = captions[groups[-1].packed_captions]
            place = np.arange(size**2)[:, None] * step[own]
            words.append((place[:size] + first[own]).ravel())
            entries.append((place + entry[own]).ravel())
        found = (torch.from_numpy(part) for part in (order, np.concatenate(words), np.concatenate(entries)))
        return Chosen(tuple(groups), *(part.to(self.order.device) for part in found))

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Of each packed caption: its length, its first word, the steps between its words, its first entry in
        a table of all pairs of a caption's words."""
        rows, entries = [], 0
        for g in self.groups:
            rows.append([g.length, g.word - g.caption, g.captions, entries - g.caption])
            entries += g.length**2 * g.captions
        captions = [g.captions for g in self.groups]
        length, word, step, entry = np.repeat(np.array(rows, np.int64).reshape(-1, 4), captions, axis=0).T
        number = np.arange(len(length))
        return length.copy(), word + number, step.copy(), entry + number

    def pieces(self, most_words: int) -> "list[tuple[slice, slice, tuple[Group, ...]]]":
        """Runs of whole groups of one chunk with at most so many words (one group at least).

        Each with its words, its captions, and its groups, which count from the piece's own first word and
        caption.
        """
        runs: list[list[Group]] = []
        for group in self.groups:
            same_chunk = group.caption % self.chunk != 0
            if same_chunk and group.words.stop - runs[-1][0].word <= most_words:
                runs[-1].append(group)
            else:
                runs.append([group])
        return [_piece(run) for run in runs]


def pack(lengths: Tensor, most_words: int | None = None, chunk: int | None = None) -> Packing:
    """The packing of captions of these lengths (caption,), each at least 1; equal lengths keep their order.

    most_words: a length with more words than this is cut into several groups (of one caption at least).
    chunk: captions packed together; None: all.
    """
    device, lengths = lengths.device, lengths.cpu()
    chunk = max(1, len(lengths)) if chunk is None else chunk
    base = int(lengths.max()) + 1
    key = torch.arange(len(lengths)) // chunk * base + lengths  # by chunk, then by length
    groups, position, caption = [], [], []
    word = first = 0
    for value, count in zip(*(x.tolist() for x in torch.unique(key, return_counts=True)), strict=True):
        length = value % base
        most = count if most_words is None else max(1, most_words // length)
        for start in range(0, count, most):
            captions = min(most, count - start)
            groups.append(Group(length, captions, word, first))
            position.append(torch.arange(length).repeat_interleave(captions))
            caption.append(torch.arange(first, first + captions).repeat(length))
            word, first = word + length * captions, first + captions
    order = torch.argsort(key, stable=True)
    return Packing(tuple(groups), order, torch.cat(position), torch.cat(caption), chunk).to(device)


def _piece(run: Sequence[Group]) -> tuple[slice, slice, tuple[Group, ...]]:
    first, last = run[0], run[-1]
    groups = tuple(Group(g.length, g.captions, g.word - first.word, g.caption - first.caption) for g in run)
    return (
        slice(first.word, last.words.stop),
        slice(first.caption, last.packed_captions.stop),
        groups,
    )
