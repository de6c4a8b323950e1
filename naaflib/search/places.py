"""The images of an index by their place: the data set that each comes from, its vectors, its captions."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..data.splits import Split, open_split
from ..errors import NaafError, UsageError
from ..files import shown
from .index import Index


class Places:
    """All images of an index, one part after the other, with the open splits that they come from."""

    def __init__(self, index: Index) -> None:
        """Raises NaafError where a data set is not there any more, or has another number of images now."""
        self.index = index
        self.splits = [open_split(part.data, part.split, True) for part in index.parts]
        for part, split in zip(index.parts, self.splits, strict=True):
            if len(part.images) != len(split):
                raise NaafError(
                    f"{shown(split.folder)}, {split.name} has {len(split)} images and had {len(part.images)} "
                    f"when {shown(index.folder)} was made; make the index again"
                )
        self.ends = np.cumsum([len(split) for split in self.splits])
        self.of_caption = lru_cache(64)(self._of_caption)

    def __len__(self) -> int:
        return int(self.ends[-1])

    def at(self, place: int) -> tuple[Split, int]:
        """The split of an image and its row there. Raises UsageError for a place outside the index."""
        if not 0 <= place < len(self):
            raise UsageError(
                f"there is no picture {place}; the pictures of the index are 0 to {len(self) - 1}"
            )
        part, row = self._part(place)
        return self.splits[part], row

    def find(self, text: str) -> int:
        """The place of an image by its place or its file's name. Raises UsageError for neither."""
        text, found = text.strip(), []
        for end, split in zip(self.ends, self.splits, strict=True):
            if split.image_names and text in split.image_names:
                found.append(int(end) - len(split) + split.image_names.index(text))
        if len(found) == 1:
            return found[0]
        if not text.isdecimal():
            why = f"{len(found)} pictures are called {text}" if found else f"there is no picture {text!r}"
            raise UsageError(f"{why}; write a number from 0 to {len(self) - 1}")
        self.at(int(text))
        return int(text)

    def regions(self, places: Sequence[int] | np.ndarray) -> Float[Tensor, "image region dim"]:
        """Encoded regions of some images; where parts have other numbers of regions, zeros are padding."""
        rows = []
        for place in places:
            part, row = self._part(int(place))
            rows.append(torch.from_numpy(np.asarray(self.index.parts[part].images[row], np.float32)))
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def _part(self, place: int) -> tuple[int, int]:
        part = int(np.searchsorted(self.ends, place, side="right"))
        return part, place - int(self.ends[part]) + len(self.splits[part])

    def _of_caption(self, text: str) -> frozenset[int]:
        """The images that have this caption."""
        found = set[int]()
        for end, split in zip(self.ends, self.splits, strict=True):
            own = (caption for caption, known in enumerate(split.captions) if known == text)
            found.update(int(end) - len(split) + int(split.image_of(caption)) for caption in own)
        return frozenset(found)
