"""NAAF (Zhang et al., CVPR 2022): the equations of its score, one function an equation, as the paper reads.

Axes, always in this order: image, word, region, dim. Words are those of ONE caption, `<start>` and
`<end>` included. The fast form computes the same from packed captions (see `packed` and `autograd`), with
regions before words. docs/method.md lists all equations.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import leaky_relu

from ..errors import UsageError
from . import packed
from .autograd import naaf_scores, rough_scores
from .axes import Boundary, ByCaption, ByRegion, ByWord, Gram, Groups, Regions, Words
from .base import (
    ABSENT,
    ALL_EFFECTS,
    EPSILON,
    SLOPE,
    Block,
    Effects,
    Parts,
    Scores,
    Similarity,
    attended_cosine,
    cosines,
    in_float32,
    relevance_weight,
)

TYPICAL = 12.0  # words of a caption, for a word alone


@dataclass(frozen=True)
class Naaf(Similarity):
    """Words that match add their attended cosines; words that match no region subtract (eq. 12)."""

    method: ClassVar[str] = "naaf"
    needs_boundary: ClassVar[bool] = True
    effects: ClassVar[tuple[str, ...]] = ("feature_effect", "relevance_effect", "negative_effect")

    lambda_softmax: float = 20.0  # inverse temperature of both attentions; published
    lambda_intra: float | None = 5.0  # eq. 8, at inference; None: no propagation, as in training
    negative_effect: bool = True  # whether eq. 9 counts, and so on: the paper's ablations
    feature_effect: bool = True
    relevance_effect: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any(self.kept_effects):
            raise UsageError("a score needs one of the three effects at least")

    @property
    def kept_effects(self) -> Effects:
        return Effects(self.negative_effect, self.feature_effect, self.relevance_effect)

    @property
    def evidence(self) -> tuple[str, ...]:
        """best_cosine less the boundary ranks like best_cosine."""
        others = ("best_cosine", "propagated", "feature_effect", "relevance_effect")
        if self.negative_effect:
            return "negative_effect", *others, "effect"
        return "effect", *others, "negative_effect"

    def in_training(self) -> Similarity:
        """Without the propagation of eq. 8, which the released code has at inference only."""
        return replace(self, lambda_intra=None)

    def parts(self, regions: Regions, words: Words, boundary: float = 0.0) -> Parts:
        """Eq. 12: the score is the mean over the words of the effects that count.

        An effect that does not count is 0, and so are the weights that it would have been made by.
        """
        cosine, gram = cosines(words, regions), regions @ regions.mT
        intra = None if self.lambda_intra is None else intra_attention(words, self.lambda_intra)
        best = best_similarity(cosine, boundary)
        by_feature = by_relevance = torch.zeros_like(cosine)
        negative = feature = relevance = torch.zeros_like(best)
        if self.negative_effect:
            negative = negative_effect(cosine, boundary, intra)
        if self.feature_effect:
            by_feature = feature_weight(cosine, boundary, self.lambda_softmax)
            feature = attended_cosine(by_feature, cosine, gram)
        if self.relevance_effect:
            by_relevance = relevance_weight(cosine, self.lambda_softmax)
            relevance = (by_relevance * cosine).sum(dim=-1)
        return Parts(
            cosine=cosine,
            feature_weight=by_feature,
            relevance_weight=by_relevance,
            feature_effect=feature,
            relevance_effect=relevance,
            negative_effect=negative,
            propagated=best if intra is None else propagated(best, intra),
            region_effect=torch.full_like(cosine[:, 0], torch.nan),
            score=(negative + feature + relevance).mean(dim=-1),
        )

    def alone(self, cosine: ByRegion, gram: Gram, boundary: float) -> ByWord:
        """Effects of words that meet no others: a word's own mismatch decides (eq. 8 is left out), and the
        relevance of eq. 11 is normed by what TYPICAL of these words have on average.
        """
        best = cosine.amax(dim=1)
        effect, limit = torch.zeros_like(best), torch.full_like(best[0], boundary)
        if self.negative_effect:
            effect += (best - limit).clamp_max(0.0)
        if self.feature_effect:
            weight = packed.feature_weight(cosine, best, limit, self.lambda_softmax)
            effect += packed.attended(cosine, weight, gram).cosine
        if self.relevance_effect:
            relevance = leaky_relu(cosine, SLOPE)
            norm = (TYPICAL * relevance.square().mean(dim=2, keepdim=True)).sqrt() + EPSILON
            logit = (self.lambda_softmax * relevance / norm).masked_fill(cosine == ABSENT, -torch.inf)
            effect += (torch.softmax(logit, dim=1) * cosine).sum(dim=1)
        return effect

    def prepare(self, words: Words, groups: Groups) -> Tensor | None:
        """`packed.intra_attention`; no gradient flows into it."""
        if self.lambda_intra is None:
            return None
        return packed.intra_attention(words.detach(), groups, self.lambda_intra)

    def scores(self, block: Block, boundary: Boundary | None, prepared: Tensor | None = None) -> Scores:
        return Scores(*naaf_scores(*self._inputs(block, boundary, prepared)))

    def rough_scores(
        self, block: Block, boundary: Boundary | None, prepared: Tensor | None, near: float
    ) -> tuple[Scores, ByCaption]:
        """A region that crosses the boundary comes or goes (`packed.block_doubts`)."""
        scores, best, doubts = rough_scores(*self._inputs(block, boundary, prepared), near)
        return Scores(scores, best), doubts

    def _inputs(
        self, block: Block, boundary: Boundary | None, prepared: Tensor | None
    ) -> tuple[ByRegion, Gram, Boundary, packed.Constants]:
        if boundary is None:
            raise UsageError("method 'naaf' needs a boundary; a model has one: model.boundary.inference")
        how = packed.Constants(block.groups, self.lambda_softmax, prepared, self.kept_effects)
        return block.cosine, block.gram, boundary, how


def naaf_score(
    regions: Float[Tensor, "image region dim"],
    words: Float[Tensor, "word dim"],
    *,
    boundary: float,
    lambda_softmax: float = 20.0,
    lambda_intra: float | None = 5.0,
    effects: Effects = ALL_EFFECTS,
) -> Float[Tensor, " image"]:
    """The readable score of one caption with each image; differentiable any number of times.

    Of float16 and bfloat16 the score is float32.
    """
    similarity = Naaf(lambda_softmax, lambda_intra, *effects)
    return similarity.parts(in_float32(regions), in_float32(words), boundary).score


def intra_attention(words: Float[Tensor, "word dim"], lambda_intra: float) -> Float[Tensor, "word word"]:
    """How much of each word's (row's) mismatch comes from each other word (column); rows sum to 1."""
    return torch.softmax(lambda_intra * words @ words.mT, dim=-1)


def best_similarity(
    cosine: Float[Tensor, "image word region"], boundary: float
) -> Float[Tensor, "image word"]:
    """Eq. 7: each word's largest similarity over the regions, less the boundary; below 0 none matches."""
    return cosine.amax(dim=-1) - boundary


def propagated(
    best: Float[Tensor, "image word"], intra: Float[Tensor, "word word"]
) -> Float[Tensor, "image word"]:
    """Eq. 8: each word's value averaged over its caption's words with their `intra_attention`."""
    return best @ intra.mT


def negative_effect(
    cosine: Float[Tensor, "image word region"],
    boundary: float,
    intra: Float[Tensor, "word word"] | None = None,
) -> Float[Tensor, "image word"]:
    """Eq. 9: a mismatched word's (negative) similarity; 0 for a matched word.

    intra: `intra_attention` at inference, None in training. The released code decides by the propagated
    value and counts the un-propagated one, so an effect can be positive; eq. 9 has the propagated in both.
    """
    best = best_similarity(cosine, boundary)
    decides = best if intra is None else propagated(best, intra)
    return best.where(decides < 0, 0.0)


def feature_weight(
    cosine: Float[Tensor, "image word region"], boundary: float, lambda_softmax: float
) -> Float[Tensor, "image word region"]:
    """Eq. 10: attention, a softmax over the regions above the boundary; a row of 0 where there is none.

    The feature effect is the word's cosine with what it attends to, `attended_cosine`.
    """
    best = cosine.amax(dim=-1, keepdim=True)  # the largest weight becomes 1: no underflow
    weight = torch.exp(lambda_softmax * (cosine - best)).where(cosine > boundary, 0.0)
    total = weight.sum(dim=-1, keepdim=True)
    return weight / total.where(total > 0, 1.0)
