"""CHAN (Pan et al., CVPR 2023): hard assignment, each word to the one region that is nearest to it."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .axes import Boundary, Regions, Words
from .base import Block, Parts, Scores, Similarity, cosines, pooled
from .packed import pooled_words


@dataclass(frozen=True)
class Chan(Similarity):
    """Each word's largest cosine, pooled over the words; no attention is computed."""

    method: ClassVar[str] = "chan"

    pooling: str = "mean"  # or "lse", LogSumExp
    lambda_lse: float = 6.0

    def parts(self, regions: Regions, words: Words, boundary: float = 0.0) -> Parts:
        """A word's weight is 1 for its best region, the first of several, and 0 for the others."""
        cosine = cosines(words, regions)
        effect = cosine.amax(dim=-1)
        places = torch.arange(cosine.shape[-1], device=cosine.device)
        weight = (places == cosine.argmax(dim=-1, keepdim=True)).to(cosine)
        return Parts.of(cosine, weight, effect, pooled(effect, self.pooling, self.lambda_lse))

    def scores(self, block: Block, boundary: Boundary | None, prepared: Tensor | None = None) -> Scores:
        effect = block.cosine.amax(dim=1)
        return Scores(pooled_words(effect, block.groups, self.pooling, self.lambda_lse))
