"""NAAF's equations for many captions at once, the vectorised form of `naaf`, and its gradient.

Axes, always in this order: image, region, word. The last two have changed places: in the readable form a word
stands before its regions. Here the words are packed (see `packing`), and a reduction over regions runs along
contiguous words. Everything here works on a block of images whose cosines fit the cache; `autograd` goes
through the blocks.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor
from torch.nn.functional import leaky_relu

from ..errors import unknown
from .axes import Boundary, ByCaption, ByRegion, ByWord, Gram, Groups, Words
from .base import ABSENT, ALL_EFFECTS, EPSILON, POOLINGS, SLOPE, TINY, Effects, bounded, inverse_length


def caption_sums(values: Float[Tensor, "*axes word"], groups: Groups) -> Float[Tensor, "*axes caption"]:
    """Sum over the words of each caption."""
    sums = [values[..., g.words].unflatten(-1, (g.length, g.captions)).sum(-2) for g in groups]
    return sums[0] if len(sums) == 1 else torch.cat(sums, dim=-1)


def caption_means(values: Float[Tensor, "*axes word"], groups: Groups) -> Float[Tensor, "*axes caption"]:
    """Mean over the words of each caption."""
    return caption_sums(values, groups) / caption_lengths(groups, values)


def pooled_words(values: ByWord, groups: Groups, pooling: str, lambda_lse: float) -> ByCaption:
    """Mean or LogSumExp over the words of each caption, as `base.pooled`."""
    if pooling == "mean":
        return caption_means(values, groups)
    if pooling == "lse":
        by_caption = [values[:, g.words].unflatten(-1, (g.length, g.captions)) for g in groups]
        return torch.cat([torch.logsumexp(lambda_lse * v, dim=1) / lambda_lse for v in by_caption], dim=-1)
    raise unknown("pooling", pooling, POOLINGS)


def spread_to_words(values: Shaped[Tensor, "*axes caption"], groups: Groups) -> Shaped[Tensor, "*axes word"]:
    """A caption's value at each of its words."""
    ones = [1] * (values.ndim - 1)
    spread = [values[..., g.packed_captions].repeat(*ones, g.length) for g in groups]
    return spread[0] if len(spread) == 1 else torch.cat(spread, dim=-1)


def word_boundary(boundary: float | Tensor, groups: Groups, like: Tensor) -> Boundary:
    """The boundary at each packed word, from one number or one a caption (in packed order)."""
    if isinstance(boundary, Tensor) and boundary.ndim:
        return spread_to_words(boundary.to(like), groups)
    return like.new_full((like.shape[-1],), float(boundary))


def caption_lengths(groups: Groups, like: Tensor) -> Float[Tensor, " caption"]:
    """Words of each caption, in the type of another tensor."""
    return torch.cat([like.new_full((g.captions,), g.length) for g in groups] or [like.new_empty(0)])


def intra_attention(words: Words, groups: Groups, lambda_intra: float) -> Float[Tensor, " entry"]:
    """The weights of eq. 8: a table (position, position, caption) a group, one by one; rows sum to 1."""
    tables = []
    for g in groups:
        own = words[g.words].unflatten(0, (g.length, g.captions)).transpose(0, 1)
        tables.append(torch.softmax(lambda_intra * own @ own.mT, dim=-1).permute(1, 2, 0).flatten())
    return torch.cat(tables)


def propagated(best: ByWord, groups: Groups, intra: Float[Tensor, " entry"]) -> ByWord:
    """Each word's value averaged over its caption's words with the weights of eq. 8."""
    result = torch.empty_like(best)
    tables = intra.split([g.length**2 * g.captions for g in groups])
    for g, table in zip(groups, tables, strict=True):
        table = table.view(g.length, g.length, g.captions).permute(2, 0, 1)
        own = best[:, g.words].unflatten(-1, (g.length, g.captions)).permute(2, 1, 0)  # caption, word, image
        result[:, g.words] = (table @ own).permute(2, 1, 0).flatten(1)
    return result


class Relevance(NamedTuple):
    """The attention of eq. 11 on a block, and what its gradient needs."""

    activated: ByRegion
    norm: Float[Tensor, "image region caption"]  # over the caption's words, without epsilon
    weight: ByRegion  # sums to 1 over regions


def relevance(cosine: ByRegion, groups: Groups, lambda_softmax: float) -> Relevance:
    activated = leaky_relu(cosine, SLOPE)
    norm = caption_sums(activated.square(), groups).clamp_min(TINY).sqrt()
    logit = activated * spread_to_words(lambda_softmax / (norm + EPSILON), groups)
    absent = cosine[..., :1] == ABSENT  # a region is padding for all words or for none
    if bool(absent.any()):
        logit = logit.masked_fill(absent, -torch.inf)
    return Relevance(activated, norm, torch.softmax(logit, dim=1))


class Attended(NamedTuple):
    """The attended region w V of each word, up to the scale of the weights, never built."""

    weight: ByRegion
    gram_weight: ByRegion  # G w
    projection: ByWord  # w . s
    inverse_length: ByWord  # 1 / |w V|; 0 where w V is 0

    @property
    def cosine(self) -> ByWord:
        return self.projection * self.inverse_length


def attended(cosine: ByRegion, weight: ByRegion, gram: Gram) -> Attended:
    gram_weight, projection = gram @ weight, (weight * cosine).sum(dim=1)
    energy = bounded((gram_weight * weight).sum(dim=1), projection)
    return Attended(weight, gram_weight, projection, inverse_length(energy))


def feature_weight(cosine: ByRegion, best: ByWord, boundary: Boundary, lambda_softmax: float) -> ByRegion:
    """exp(lambda (s - best)) over the regions above the boundary, 0 elsewhere."""
    weight = (cosine - best.unsqueeze(1)).mul_(lambda_softmax).exp_()
    return weight.masked_fill_(cosine <= boundary, 0.0)


class Constants(NamedTuple):
    """What the scores of all images of a block share, beside the boundary."""

    groups: Groups
    lambda_softmax: float
    intra: Float[Tensor, " entry"] | None = None  # `intra_attention` at inference; None: in training
    effects: Effects = ALL_EFFECTS  # that count


def mismatched(best: ByWord, boundary: Boundary, how: Constants) -> Bool[Tensor, "image word"]:
    """Where the negative effect counts: eq. 9's condition, on the propagated value at inference."""
    above = best - boundary
    return (above if how.intra is None else propagated(above, how.groups, how.intra)) < 0


def block_scores(
    cosine: ByRegion, gram: Gram, boundary: Boundary, how: Constants
) -> tuple[ByCaption, ByWord]:
    """The scores of eq. 12, and each word's best cosine."""
    best = cosine.amax(dim=1)
    effect = torch.zeros_like(best)
    if how.effects.negative:
        effect += (best - boundary).masked_fill_(~mismatched(best, boundary, how), 0.0)
    if how.effects.feature:
        match = attended(cosine, feature_weight(cosine, best, boundary, how.lambda_softmax), gram)
        effect.addcmul_(match.projection, match.inverse_length)
    if how.effects.relevance:
        effect += (relevance(cosine, how.groups, how.lambda_softmax).weight * cosine).sum(dim=1)
    return caption_means(effect, how.groups), best


def block_doubts(
    cosine: ByRegion, best: ByWord, boundary: Boundary, how: Constants, near: float
) -> ByCaption:
    """How far the scores may jump where cosines are rounded by at most `near`: summed over a caption's words.

    A region so close to the boundary may stand on the other side of it, and then its share of the word's
    attention comes or goes: at most all of it, at most exp(lambda (t - best)) of the best region's. Where the
    propagated value is so close to 0, the negative effect may come or go.
    """
    above = best - boundary
    doubt = torch.zeros_like(best)
    if how.effects.feature:
        count = ((cosine - boundary).abs_() <= near).sum(dim=1)
        doubt += (count * (-how.lambda_softmax * above.clamp_min(0.0)).exp_()).clamp_max_(1.0)
    if how.effects.negative:
        decided = above if how.intra is None else propagated(above, how.groups, how.intra)
        doubt += above.abs().masked_fill_(decided.abs() > 2 * near, 0.0)
    return caption_sums(doubt, how.groups)


def block_gradient(
    share: ByWord, cosine: ByRegion, gram: Gram, boundary: Boundary, how: Constants
) -> tuple[ByRegion, Gram]:
    """Gradients by the cosines and the Gram matrices; share is the gradient by each word's effect.

    The boundary is a constant: no gradient flows into it.
    """
    best = cosine.amax(dim=1)
    gradient, by_gram = torch.zeros_like(cosine), torch.zeros_like(gram)
    if how.effects.feature:
        gradient, by_gram = _feature_gradient(share, cosine, best, gram, boundary, how.lambda_softmax)
    if how.effects.negative:
        at_best = cosine == best.unsqueeze(1)  # a tie shares the gradient, as autograd's amax does
        below = mismatched(best, boundary, how)
        gradient += at_best * (share.masked_fill(~below, 0.0) / at_best.sum(dim=1)).unsqueeze(1)
    if how.effects.relevance:
        gradient += _relevance_gradient(share, cosine, how.groups, how.lambda_softmax)
    return gradient, by_gram


def _feature_gradient(
    share: ByWord, cosine: ByRegion, best: ByWord, gram: Gram, boundary: Boundary, lambda_softmax: float
) -> tuple[ByRegion, Gram]:
    """With w the weights, p = w . s and E = w G w, or p^2 where that is more (`base.bounded`):

    d(p / sqrt E) / ds = w [(1 + lambda s) / sqrt E - lambda p (G w) / E^1.5], d / dG = -p w w^T / (2 E^1.5).
    """
    match = attended(cosine, feature_weight(cosine, best, boundary, lambda_softmax), gram)
    direct = share * match.inverse_length
    through_length = direct * match.projection * match.inverse_length.square()
    by_gram = (match.weight * (-0.5 * through_length).unsqueeze(1)) @ match.weight.mT
    gradient = (cosine * lambda_softmax).add_(1.0).mul_(direct.unsqueeze(1))
    gradient -= match.gram_weight.mul_((lambda_softmax * through_length).unsqueeze(1))
    return gradient.mul_(match.weight), by_gram


def _relevance_gradient(share: ByWord, cosine: ByRegion, groups: Groups, lambda_softmax: float) -> ByRegion:
    """Through the cosines directly, and through the softmax of the activated and normed ones."""
    seen = relevance(cosine, groups, lambda_softmax)
    direct = seen.weight * share.unsqueeze(1)
    effect = (seen.weight * cosine).sum(dim=1, keepdim=True)
    by_logit = direct * (cosine - effect)
    scale = lambda_softmax / (seen.norm + EPSILON)
    by_norm = caption_sums(by_logit * seen.activated, groups) * scale / (seen.norm + EPSILON)
    by_norm /= seen.norm
    by_logit *= spread_to_words(scale, groups)
    by_logit -= seen.activated * spread_to_words(by_norm, groups)
    return direct.add_(by_logit.where(cosine > 0, by_logit * SLOPE))
