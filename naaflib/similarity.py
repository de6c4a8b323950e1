"""Score of an (image, caption) pair: equations 6-12 of NAAF, one function an equation, as the paper reads.

Axes, always in this order: image, word, region, dim. Words are those of ONE caption, `<start>` and
`<end>` included. Words and regions have unit norm; cosine is their inner product. These readable forms
explain single pairs and are the oracle of the fast forms in `scoring`, which all pairs go through.

A region that is a zero vector is padding: it takes no part. Its cosines are replaced by `ABSENT`, which no
maximum chooses and no boundary lets pass, and its relevance weight is 0.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import leaky_relu

EPSILON = 1e-8  # the released code adds it to norms
ABSENT = -2.0  # in the place of a cosine, and below every one: the region is padding


class Effects(NamedTuple):
    """Which of a word's three effects count in the score; the paper's ablations leave one out."""

    negative: bool = True  # eq. 9, s_neg
    feature: bool = True  # eq. 10, s_f
    relevance: bool = True  # eq. 11, s_r


ALL_EFFECTS = Effects()


def padding(regions: Float[Tensor, "*image region dim"]) -> Bool[Tensor, "*image region"]:
    """Regions that are padding: zero vectors. An image of nothing else keeps them, with cosines of 0."""
    absent = ~regions.any(dim=-1)
    return absent & ~absent.all(dim=-1, keepdim=True)


def cosines(
    words: Float[Tensor, "*caption word dim"], regions: Float[Tensor, "*image region dim"]
) -> Float[Tensor, "*image word region"]:
    """Each word's cosine with each region, `ABSENT` where the region is padding."""
    return (words @ regions.mT).masked_fill(padding(regions).unsqueeze(-2), ABSENT)


def intra_attention(words: Float[Tensor, "word dim"], lambda_intra: float) -> Float[Tensor, "word word"]:
    """Eq. 8: how much of each word's (row's) mismatch comes from each other word (column); rows sum to 1."""
    return torch.softmax(lambda_intra * words @ words.mT, dim=-1)


def best_similarity(
    cosine: Float[Tensor, "image word region"], boundary: float
) -> Float[Tensor, "image word"]:
    """Eq. 6: each word's largest similarity over the regions, less the boundary; below 0 none matches."""
    return cosine.amax(dim=-1) - boundary


def propagated(
    best: Float[Tensor, "image word"], intra: Float[Tensor, "word word"]
) -> Float[Tensor, "image word"]:
    """Eq. 8: each word's value averaged over its caption's words with their intra-attention."""
    return best @ intra.mT


def negative_effect(
    cosine: Float[Tensor, "image word region"],
    boundary: float,
    intra: Float[Tensor, "word word"] | None = None,
) -> Float[Tensor, "image word"]:
    """Eq. 7-9: a mismatched word's (negative) similarity; 0 for a matched word.

    intra: `intra_attention` at inference, None in training. The released code decides by the propagated
    value and counts the un-propagated one, so an effect can be positive; eq. 9 has the propagated in both.
    """
    best = best_similarity(cosine, boundary)
    decides = best if intra is None else propagated(best, intra)
    return best.where(decides < 0, 0.0)


def feature_weight(
    cosine: Float[Tensor, "image word region"], boundary: float, lambda_softmax: float
) -> Float[Tensor, "image word region"]:
    """Eq. 10's attention: a softmax over the regions above the boundary; a row of 0 where there is none."""
    best = cosine.amax(dim=-1, keepdim=True)  # the largest weight becomes 1: no underflow
    weight = torch.exp(lambda_softmax * (cosine - best)).where(cosine > boundary, 0.0)
    total = weight.sum(dim=-1, keepdim=True)
    return weight / total.where(total > 0, 1.0)


def feature_effect(
    cosine: Float[Tensor, "image word region"],
    gram: Float[Tensor, "image region region"],
    boundary: float,
    lambda_softmax: float,
) -> Float[Tensor, "image word"]:
    """Eq. 10: cosine of each word with its attended region; 0 if no region beats the boundary.

    gram is V V^T per image. With it the attended vector w V is never built: its product with the word
    is w . s, and its squared length is w G w.
    """
    weight = feature_weight(cosine, boundary, lambda_softmax)
    return attended_cosine(weight, cosine, gram)


def attended_cosine(
    weight: Float[Tensor, "image word region"],
    cosine: Float[Tensor, "image word region"],
    gram: Float[Tensor, "image region region"],
) -> Float[Tensor, "image word"]:
    """cos(word, sum of weighted regions); the scale of the weights cancels; 0 where all weights are 0."""
    energy = ((weight @ gram) * weight).sum(dim=-1)
    length = energy.where(energy > 0, 1.0).sqrt()  # sqrt'(0) is infinite: NaN gradients without this
    return (weight * cosine).sum(dim=-1) / length


def relevance_weight(
    cosine: Float[Tensor, "image word region"], lambda_softmax: float
) -> Float[Tensor, "image word region"]:
    """Eq. 11's attention: LeakyReLU (paper: ReLU), normed over the caption's words, softmax over regions."""
    relevance = leaky_relu(cosine, 0.1)
    norm = relevance.norm(dim=-2, keepdim=True) + EPSILON
    logit = lambda_softmax * relevance / norm
    return torch.softmax(logit.masked_fill(cosine == ABSENT, -torch.inf), dim=-1)


def relevance_effect(
    cosine: Float[Tensor, "image word region"], lambda_softmax: float
) -> Float[Tensor, "image word"]:
    """Eq. 11: each word's mean similarity under the relevance weights; the boundary plays no part."""
    return (relevance_weight(cosine, lambda_softmax) * cosine).sum(dim=-1)


def naaf_score(
    regions: Float[Tensor, "image region dim"],
    words: Float[Tensor, "word dim"],
    *,
    boundary: float,
    lambda_softmax: float = 20.0,
    lambda_intra: float | None = 5.0,
    effects: Effects = ALL_EFFECTS,
) -> Float[Tensor, " image"]:
    """Eq. 12: mean over the words of the effects that count. lambda_intra None: as in training."""
    cosine = cosines(words, regions)
    intra = None if lambda_intra is None else intra_attention(words, lambda_intra)
    effect = torch.zeros_like(cosine[..., 0])
    if effects.negative:
        effect = effect + negative_effect(cosine, boundary, intra)
    if effects.feature:
        effect = effect + feature_effect(cosine, regions @ regions.mT, boundary, lambda_softmax)
    if effects.relevance:
        effect = effect + relevance_effect(cosine, lambda_softmax)
    return effect.mean(dim=-1)
