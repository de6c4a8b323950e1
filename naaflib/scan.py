"""SCAN (Lee et al., ECCV 2018), the baseline: stacked cross attention in both directions.

Axes as in `similarity`: image, word, region; the words are those of one caption. The same Gram identity
holds: the attended vector is never built.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import leaky_relu

from .errors import unknown
from .similarity import ABSENT, EPSILON, attended_cosine, cosines, padding, relevance_weight


def word_cosine(
    cosine: Float[Tensor, "image word region"],
    gram: Float[Tensor, "image region region"],
    lambda_softmax: float,
) -> Float[Tensor, "image word"]:
    """Text-to-image: cosine of each word with the regions it attends to."""
    return attended_cosine(relevance_weight(cosine, lambda_softmax), cosine, gram)


def region_weight(
    cosine: Float[Tensor, "image word region"], lambda_softmax: float
) -> Float[Tensor, "image region word"]:
    """Image-to-text attention: LeakyReLU, normed over the image's regions, softmax over words."""
    relevance = leaky_relu(cosine, 0.1).masked_fill(cosine == ABSENT, 0.0).mT
    norm = relevance.norm(dim=-2, keepdim=True) + EPSILON
    return torch.softmax(lambda_softmax * relevance / norm, dim=-1)


def region_cosine(
    cosine: Float[Tensor, "image word region"],
    word_gram: Float[Tensor, "word word"],
    lambda_softmax: float,
) -> Float[Tensor, "image region"]:
    """Image-to-text: cosine of each region with the words it attends to. word_gram is U U^T."""
    weight = region_weight(cosine, lambda_softmax)
    return attended_cosine(weight, cosine.mT, word_gram.expand(len(cosine), -1, -1))


def pooled(
    values: Float[Tensor, "image part"],
    pooling: str,
    lambda_lse: float,
    absent: Bool[Tensor, "image part"] | None = None,
) -> Float[Tensor, " image"]:
    """AVG ("mean") or LogSumExp ("lse") over words or regions; absent: those that take no part."""
    left_out = torch.zeros_like(values, dtype=torch.bool) if absent is None else absent
    if pooling == "mean":
        return values.masked_fill(left_out, 0.0).sum(dim=-1) / (~left_out).sum(dim=-1)
    if pooling == "lse":
        return torch.logsumexp((lambda_lse * values).masked_fill(left_out, -torch.inf), dim=-1) / lambda_lse
    raise unknown("pooling", pooling, ("mean", "lse"))


def scan_score(
    regions: Float[Tensor, "image region dim"],
    words: Float[Tensor, "word dim"],
    *,
    direction: str,
    lambda_softmax: float,
    pooling: str = "mean",
    lambda_lse: float = 6.0,
) -> Float[Tensor, " image"]:
    """The score of one caption with each image; direction is "t2i" or "i2t"."""
    cosine = cosines(words, regions)
    if direction == "t2i":
        parts = word_cosine(cosine, regions @ regions.mT, lambda_softmax)
        return pooled(parts, pooling, lambda_lse)
    if direction == "i2t":
        parts = region_cosine(cosine, words @ words.mT, lambda_softmax)
        return pooled(parts, pooling, lambda_lse, padding(regions))
    raise unknown("direction", direction, ("t2i", "i2t"))
