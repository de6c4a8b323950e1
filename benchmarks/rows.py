"""What the cases share: a row of the table, captions of Flickr30K's lengths, unit vectors."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

REGIONS = 36
# Percent of the real Flickr30K test captions with 6, 7, ... 40 words, <start> and <end> counted: mean 15.5.
LENGTHS = (
    0.2, 0.7, 2.3, 4.8, 6.8, 8.8, 8.9, 9.7, 8.8, 8.0, 7.7, 6.6, 5.4, 3.7, 3.5, 2.5, 1.9, 1.7, 1.5, 1.3,
    0.8, 0.6, 0.7, 0.5, 0.4, 0.5, 0.3, 0.2, 0.2, 0.3, 0.0, 0.0, 0.1, 0.1, 0.1,
)  # fmt: skip
SHORTEST = 6


class Row(NamedTuple):
    """One line of the table. ratios: ours to the floor and the loop to ours; None: not measured."""

    what: str
    ours: str
    floor: float | None
    faster_than_loop: float | None
    goal: str

    def line(self, loaded: bool = False) -> str:
        """As the table has it; loaded: others were at work, which slows one side of a ratio more."""
        cells = (
            "" if x is None else "loaded" if loaded else f"{x:.2f}"
            for x in (self.floor, self.faster_than_loop)
        )
        return f"| {self.what} | {self.ours} | {' | '.join(cells)} | {self.goal} |"

    def record(self, loaded: bool = False) -> dict[str, object]:
        """As JSON has it."""
        return (self._replace(floor=None, faster_than_loop=None) if loaded else self)._asdict()


def lengths_like_f30k(captions: int, seed: int = 0) -> Tensor:
    shares = np.array(LENGTHS) / sum(LENGTHS)
    drawn = np.random.default_rng(seed).choice(SHORTEST + np.arange(len(LENGTHS)), captions, p=shares)
    return torch.from_numpy(drawn)


def unit(*shape: int) -> Tensor:
    return nn.functional.normalize(torch.randn(*shape), dim=-1)
