"""The parts of one pair's score: NAAF's three effects, SCAN's cosines, by `similarity` and `scan`.

Axes: word, region; `<start>` and `<end>` are words. Many pairs of one caption length go by `torch.vmap`.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from .. import scan, similarity
from ..errors import unknown
from ..scoring import PUBLISHED_LAMBDA, Measure
from ..similarity import cosines, padding


class Parts(NamedTuple):
    """What each word of a pair adds, and where it looks. A word's weights sum to 1, or are all 0.

    A region that is padding has no cosine (NaN) and no weight.

    Below, while the equations run, every array has an image axis of one in front.
    """

    cosine: Float[Tensor, "word region"]
    feature_weight: Float[Tensor, "word region"]
    relevance_weight: Float[Tensor, "word region"]
    feature_effect: Float[Tensor, " word"]
    relevance_effect: Float[Tensor, " word"]
    mismatch_effect: Float[Tensor, " word"]
    propagated: Float[Tensor, " word"]
    region_effect: Float[Tensor, " region"]
    score: Float[Tensor, ""]


def pair_parts(
    regions: Float[Tensor, "region dim"], words: Float[Tensor, "word dim"], measure: Measure, boundary: float
) -> Parts:
    """The parts of one image and one caption, both of unit norm."""
    cosine, absent = (value.unsqueeze(0) for value in (cosines(words, regions), padding(regions)))
    gram = (regions @ regions.mT).unsqueeze(0)
    if measure.method == "naaf":
        parts = _naaf(cosine, gram, words, measure, boundary)
    elif measure.method == "scan-t2i":
        parts = _text_to_image(cosine, gram, measure)
    elif measure.method == "scan-i2t":
        parts = _image_to_text(cosine, words @ words.mT, measure, absent)
    else:
        raise unknown("method", measure.method, PUBLISHED_LAMBDA)
    *by_pair, score = parts._replace(cosine=parts.cosine.masked_fill(absent.unsqueeze(-2), torch.nan))
    return Parts(*(value.squeeze(0) for value in by_pair), score.squeeze(0))


def _naaf(cosine: Tensor, gram: Tensor, words: Tensor, measure: Measure, boundary: float) -> Parts:
    """An effect that the measure leaves out is 0, and so are the weights that it would have been made by."""
    intra = None if measure.lambda_intra is None else similarity.intra_attention(words, measure.lambda_intra)
    best = similarity.best_similarity(cosine, boundary)
    counts, nowhere, nothing = measure.effects, torch.zeros_like(cosine), torch.zeros_like(best)
    weight, relevance_weight, feature, relevance, mismatch = nowhere, nowhere, nothing, nothing, nothing
    if counts.feature:
        weight = similarity.feature_weight(cosine, boundary, measure.sharpness)
        feature = similarity.attended_cosine(weight, cosine, gram)
    if counts.relevance:
        relevance_weight = similarity.relevance_weight(cosine, measure.sharpness)
        relevance = (relevance_weight * cosine).sum(dim=-1)
    if counts.negative:
        mismatch = similarity.negative_effect(cosine, boundary, intra)
    return Parts(
        cosine,
        weight,
        relevance_weight,
        feature,
        relevance,
        mismatch,
        best if intra is None else similarity.propagated(best, intra),
        torch.full_like(cosine[:, 0], torch.nan),
        (feature + relevance + mismatch).mean(dim=-1),
    )


def _text_to_image(cosine: Tensor, gram: Tensor, measure: Measure) -> Parts:
    """SCAN t2i: a word's cosine with its attended vector; there is no relevance, no mismatch, no boundary."""
    effect = scan.word_cosine(cosine, gram, measure.sharpness)
    weight = similarity.relevance_weight(cosine, measure.sharpness)
    score = scan.pooled(effect, measure.pooling, measure.lambda_lse)
    return _scan_parts(cosine, weight, effect, torch.full_like(cosine[:, 0], torch.nan), score)


def _image_to_text(cosine: Tensor, word_gram: Tensor, measure: Measure, absent: Tensor) -> Parts:
    """SCAN i2t: the parts are the regions' cosines; a region's divides among the words that it attends to.

    A region's cosine is a sum over words, w_ji s_ij / |attended|. A word's effect is the sum of its terms
    over all regions, times words / regions: so the words' mean is the regions' mean, the score.
    """
    effect = scan.region_cosine(cosine, word_gram, measure.sharpness)
    weight = scan.region_weight(cosine, measure.sharpness).masked_fill(absent.unsqueeze(-1), 0.0)
    terms = weight * cosine.mT  # (image, region, word)
    total = terms.sum(dim=-1)
    share = torch.where(total != 0, effect / total, 0.0).unsqueeze(-1) * terms
    by_word = share.sum(dim=-2) * cosine.shape[-2] / (~absent).sum(dim=-1, keepdim=True)
    attention = weight.mT / weight.mT.sum(dim=-1, keepdim=True)
    score = scan.pooled(effect, measure.pooling, measure.lambda_lse, absent)
    effect = effect.masked_fill(absent, torch.nan)
    return _scan_parts(cosine, attention, by_word, effect, score)


def _scan_parts(
    cosine: Tensor, weight: Tensor, effect: Tensor, region_effect: Tensor, score: Tensor
) -> Parts:
    none, nowhere = torch.zeros_like(effect), torch.zeros_like(cosine)
    unknown = torch.full_like(effect, torch.nan)
    return Parts(cosine, weight, nowhere, effect, none, none, unknown, region_effect, score)
