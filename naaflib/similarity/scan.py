"""SCAN (Lee et al., ECCV 2018): stacked cross attention in both directions.

Axes of the readable form: image, word, region; the words are those of one caption.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from .axes import Boundary, ByCaption, ByRegion, Regions, Words
from .base import (
    ABSENT,
    EPSILON,
    SLOPE,
    TINY,
    Block,
    Parts,
    Scores,
    Similarity,
    attended_cosine,
    bounded,
    cosines,
    inverse_length,
    padding,
    pooled,
    relevance_weight,
)
from .packed import attended, pooled_words, relevance


@dataclass(frozen=True)
class ScanT2i(Similarity):
    """Text-to-image: each word's cosine with the regions that it attends to, pooled over the words."""

    method: ClassVar[str] = "scan-t2i"

    lambda_softmax: float = 9.0  # inverse temperature of the attention; published
    pooling: str = "mean"  # SCAN's AVG, or "lse", its LogSumExp
    lambda_lse: float = 6.0

    def parts(self, regions: Regions, words: Words, boundary: float = 0.0) -> Parts:
        cosine = cosines(words, regions)
        weight = relevance_weight(cosine, self.lambda_softmax)
        effect = attended_cosine(weight, cosine, regions @ regions.mT)
        return Parts.of(cosine, weight, effect, pooled(effect, self.pooling, self.lambda_lse))

    def scores(self, block: Block, boundary: Boundary | None, prepared: Tensor | None = None) -> Scores:
        weight = relevance(block.cosine, block.groups, self.lambda_softmax).weight
        effect = attended(block.cosine, weight, block.gram).cosine
        return Scores(pooled_words(effect, block.groups, self.pooling, self.lambda_lse))


@dataclass(frozen=True)
class ScanI2t(Similarity):
    """Image-to-text: each region's cosine with the words that it attends to, pooled over the regions."""

    method: ClassVar[str] = "scan-i2t"
    words_first: ClassVar[bool] = True

    lambda_softmax: float = 4.0
    pooling: str = "mean"
    lambda_lse: float = 6.0

    def parts(self, regions: Regions, words: Words, boundary: float = 0.0) -> Parts:
        """The parts are the regions' cosines; a region's divides among the words that it attends to.

        A region's cosine is a sum over words, w_ji s_ij / |attended|. A word's effect is the sum of its terms
        over all regions, times words / regions: so the words' mean is the regions' mean, the score.
        """
        cosine, absent = cosines(words, regions), padding(regions)
        regions_first = cosine.masked_fill(absent.unsqueeze(-2), 0.0).mT
        weight = relevance_weight(regions_first, self.lambda_softmax)  # words and regions exchanged
        word_gram = (words @ words.mT).expand(len(cosine), -1, -1)
        by_region = attended_cosine(weight, cosine.mT, word_gram)
        score = pooled(by_region, self.pooling, self.lambda_lse, absent)
        weight = weight.masked_fill(absent.unsqueeze(-1), 0.0)
        terms = weight * cosine.mT  # (image, region, word)
        total = terms.sum(dim=-1)
        share = torch.where(total != 0, by_region / total, 0.0).unsqueeze(-1) * terms
        by_word = share.sum(dim=-2) * cosine.shape[-2] / (~absent).sum(dim=-1, keepdim=True)
        attention = weight.mT / weight.mT.sum(dim=-1, keepdim=True)
        return Parts.of(cosine, attention, by_word, score, by_region.masked_fill(absent, torch.nan))

    def scores(self, block: Block, boundary: Boundary | None, prepared: Tensor | None = None) -> Scores:
        by_length = [
            self._of_one_length(block.cosine[..., g.words], block.words[g.words], g.length)
            for g in block.groups
        ]
        return Scores(torch.cat(by_length, dim=-1))

    def _of_one_length(self, cosine: ByRegion, words: Words, length: int) -> ByCaption:
        by_word = cosine.permute(2, 0, 1).contiguous()  # as it lies in memory, with the words first
        absent = cosine[..., 0] == ABSENT
        activated = leaky_relu(by_word, SLOPE)
        if bool(absent.any()):
            activated = activated.masked_fill(absent, 0.0)
        norm = activated.square().sum(dim=-1, keepdim=True).clamp_min(TINY).sqrt() + EPSILON
        logit = activated * (self.lambda_softmax / norm)
        weight = torch.softmax(logit.unflatten(0, (length, -1)), dim=0)
        weight = weight.flatten(2)  # position, caption, region of an image
        projection = (weight * by_word.unflatten(0, (length, -1)).flatten(2)).sum(dim=0)
        own = words.unflatten(0, (length, -1)).transpose(0, 1)  # caption, position, dim
        weight = weight.transpose(0, 1)
        energy = bounded(((own @ own.mT @ weight) * weight).sum(dim=1), projection)
        parts = (projection * inverse_length(energy)).unflatten(1, cosine.shape[:2])
        padded = absent if bool(absent.any()) else None
        return pooled(parts, self.pooling, self.lambda_lse, padded).mT


CROSS_ATTN = {"t2i": ScanT2i, "i2t": ScanI2t}  # by the option of SCAN's own code
