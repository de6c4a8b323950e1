"""One vector for a set of vectors, so that an inner product of two approximates the score of a pair.

mean: the mean of a set. Its inner product is the mean over all pairs of a word and a region.
cells: the construction of MUVERA (Dhulipala et al. 2024, arXiv 2405.19504). Random hyperplanes cut the space
into cells. Words are summed in their cell and regions averaged in theirs, an empty cell of an image takes the
region that lies nearest by hyperplanes. A word so meets the regions that lie near it: the inner product
approximates the sum over words of the best region. Repetitions lower its noise, random signs its length.
The inner product is the same from both sides: the same vectors serve text -> image and image -> text.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..errors import UsageError


class Cells(NamedTuple):
    """The same for all sets: hyperplanes (repetition, dim, bit), signs (repetition, dim, projected)."""

    planes: Tensor
    signs: Tensor

    @classmethod
    def make(
        cls, dim: int, bits: int = 4, repetitions: int = 16, projected: int = 16, seed: int = 0
    ) -> "Cells":
        """2**bits cells of `projected` numbers each, `repetitions` times."""
        rng = np.random.default_rng(seed)
        planes = rng.normal(size=(repetitions, dim, bits))
        signs = rng.choice((-1.0, 1.0), size=(repetitions, dim, projected)) / projected**0.5
        return cls(torch.tensor(planes, dtype=torch.float32), torch.tensor(signs, dtype=torch.float32))

    @property
    def size(self) -> int:
        return self.signs.shape[0] * 2 ** self.planes.shape[2] * self.signs.shape[2]

    def of_words(self, words: Float[Tensor, "caption word dim"]) -> Float[Tensor, "caption size"]:
        """Sums in cells, divided by the number of words. Words of zeros are padding."""
        there = words.any(dim=-1)
        sums, _ = self._summed(words, there)
        return (sums / there.sum(dim=1).clamp(min=1)[:, None, None, None]).flatten(1)

    def of_regions(self, regions: Float[Tensor, "image region dim"]) -> Float[Tensor, "image size"]:
        """Means in cells; an empty cell takes the nearest region by hyperplanes. Zeros are padding."""
        there = regions.any(dim=-1)
        sums, counts = self._summed(regions, there)
        means = sums / counts.clamp(min=1)[..., None]
        cells = torch.arange(2 ** self.planes.shape[2])
        for repetition in range(len(self.planes)):
            cell = self._cell(regions, repetition)
            apart = _bits_apart(cell[:, None, :], cells[None, :, None])  # (image, cell, region)
            nearest = apart.masked_fill(~there[:, None, :], 99).argmin(dim=-1)
            projected = regions @ self.signs[repetition]
            filled = projected.gather(1, nearest[..., None].expand(-1, -1, projected.shape[-1]))
            empty = counts[:, repetition] == 0
            means[:, repetition] = torch.where(empty[..., None], filled, means[:, repetition])
        return means.flatten(1)

    def _cell(self, vectors: Float[Tensor, "set one dim"], repetition: int) -> Tensor:
        """The cell (set, one) of each vector: its side of each hyperplane is one bit."""
        bits = (vectors @ self.planes[repetition]) > 0
        return (bits * 2 ** torch.arange(bits.shape[-1])).sum(dim=-1)

    def _summed(
        self, vectors: Float[Tensor, "set one dim"], there: Bool[Tensor, "set one"]
    ) -> tuple[Float[Tensor, "set repetition cell projected"], Float[Tensor, "set repetition cell"]]:
        cells = 2 ** self.planes.shape[2]
        sums, counts = [], []
        for repetition in range(len(self.planes)):
            cell = (
                torch.nn.functional.one_hot(self._cell(vectors, repetition), cells).to(vectors)
                * there[..., None]
            )
            sums.append(torch.einsum("soc,sop->scp", cell, vectors @ self.signs[repetition]))
            counts.append(cell.sum(dim=1))
        return torch.stack(sums, dim=1), torch.stack(counts, dim=1)


class Means:
    """The mean of a set of unit vectors: the plain baseline."""

    def of_words(self, words: Float[Tensor, "caption word dim"]) -> Float[Tensor, "caption dim"]:
        return _mean(words)

    def of_regions(self, regions: Float[Tensor, "image region dim"]) -> Float[Tensor, "image dim"]:
        return _mean(regions)


def first_stage(name: str, dim: int) -> "Cells | Means":
    """The first stage by name: "cells" or "mean"."""
    if name == "cells":
        return Cells.make(dim)
    if name == "mean":
        return Means()
    raise UsageError(f"there is no first stage {name!r}; stages: cells, mean")


def _mean(vectors: Float[Tensor, "set one dim"]) -> Float[Tensor, "set dim"]:
    return vectors.sum(dim=1) / vectors.any(dim=-1).sum(dim=1).clamp(min=1)[:, None]


def _bits_apart(a: Tensor, b: Tensor) -> Tensor:
    """The number of bits in which two numbers differ."""
    different, count = a ^ b, torch.zeros_like(a ^ b)
    while bool(different.any()):
        count += different & 1
        different = different >> 1
    return count
