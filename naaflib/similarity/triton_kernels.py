"""The equations of `packed` on a GPU: a program takes one image and a tile, up to 16 captions of one length.

Optional (triton); `packed` computes the same without it, the oracle in the tests. They compute in float32.
Axes as in `packed`: image, region, word. A program goes through the positions of its captions' words, with
(region, caption) values in registers, and reads its cosines again for each pass: they are in the cache by
then. No program adds to what another wrote, so results repeat to the bit.

Lanes past the last region or caption hold ABSENT, as a region that is padding. `tl.max` and `tl.maximum` drop
NaN unless told otherwise, and bad input must stay visible.
"""

import os

import triton
import triton.language as tl

from . import base

ABSENT, SLOPE = tl.constexpr(base.ABSENT), tl.constexpr(base.SLOPE)
EPSILON, TINY = tl.constexpr(base.EPSILON), tl.constexpr(base.TINY)
LOWEST = tl.constexpr(-1e30)  # a logit without weight; finite, as inf - inf is NaN
POSITIONS = tl.constexpr(16)  # words of a caption that eq. 8 adds up at a time
COLUMNS = tl.constexpr(6)  # of a row of `tiled.tile_table`
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"  # by numpy, on a CPU: for tests
# Not compiled into a kernel, as triton does with multiples of 16: sizes differ from batch to batch.
SIZES = ["tile_count", "regions", "words", "captions", "by_image", "by_region"]
TENSORS = [
    "tiles",
    "cosine",
    "gram",
    "boundary",
    "intra",
    "score",
    "best",
    "below",
    "share",
    "by_cosine",
    "by_gram",
]


@triton.jit
def _leaky(x):
    return tl.where(x > 0, x, x * SLOPE)


@triton.jit
def _at_least(x, least):
    return tl.maximum(x, least, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _largest(s):
    """Each caption's largest cosine of the regions; NaN where one is NaN."""
    return tl.max(s, 0) + tl.sum(tl.where(s == s, 0.0, s), 0)


@triton.jit
def _norm(square):
    return tl.sqrt(_at_least(square, TINY))


@triton.jit
def _feature_weight(s, largest, limit, lambda_softmax):
    left_out = (s <= limit[None, :]) | (s == ABSENT)
    return tl.where(left_out, 0.0, tl.exp(lambda_softmax * (s - largest[None, :])))


@triton.jit
def _inverse_length(energy, projection):
    """1 / length of the attended vector, which is at least its product with the word, a unit vector."""
    bounded = _at_least(energy, projection * projection)
    return tl.where(bounded > 0, tl.rsqrt(tl.where(bounded > 0, bounded, 1.0)), 0.0)


@triton.jit
def _relevance(s, scale):
    """Attention of eq. 11: weights, their sum over regions, and the mean of the cosines under them."""
    absent = s == ABSENT
    logit = tl.where(absent, LOWEST, _leaky(s) * scale)
    weight = tl.where(absent, 0.0, tl.exp(logit - tl.max(logit, 0)[None, :]))
    total = _at_least(tl.sum(weight, 0), 1.0)  # the largest weight is 1; a lane without a caption has none
    return weight, total, tl.sum(weight * s, 0) / total


@triton.jit
def _relevance_gradient(s, scale, share):
    """Of the relevance effect, by the cosines directly and by the softmax's logits."""
    weight, total, effect = _relevance(s, scale)
    direct = weight * (share / total)[None, :]
    return direct, direct * (s - effect[None, :])


@triton.jit
def _place(tiles, tile_count):
    """This program's image and tile, and the tile's row of the table."""
    image, tile = tl.program_id(0) // tile_count, tl.program_id(0) % tile_count
    row = tiles + tile * COLUMNS
    length, step, count = tl.load(row).to(tl.int32), tl.load(row + 1).to(tl.int32), tl.load(row + 2)
    return image.to(tl.int64), tile, length, step, count, tl.load(row + 3), tl.load(row + 4), tl.load(row + 5)


@triton.jit
def _gram(gram, regions, REGIONS: tl.constexpr):
    """Where the elements of a Gram matrix are, and which lanes they fill."""
    r, q = tl.arange(0, REGIONS)[:, None], tl.arange(0, REGIONS)[None, :]
    return gram + r * regions + q, (r < regions) & (q < regions)


@triton.jit
def _propagated(intra, best, boundary, p, length, step, here, CAPTIONS: tl.constexpr):
    """What the captions' words at position p get from all of them (eq. 8)."""
    result = tl.zeros((CAPTIONS,), tl.float32)
    lane = tl.arange(0, CAPTIONS)[None, :]
    for first in range(0, length, POSITIONS):
        q = (first + tl.arange(0, POSITIONS))[:, None]
        inside = (q < length) & here[None, :]
        value = tl.load(best + q * step + lane, inside, other=0.0).to(tl.float32)
        value -= tl.load(boundary + q * step + lane, inside, other=0.0).to(tl.float32)
        share = tl.load(intra + (p * length + q).to(tl.int64) * step + lane, inside, other=0.0)
        result += tl.sum(share.to(tl.float32) * value, 0)
    return result


@triton.jit(do_not_specialize=SIZES + TENSORS)
def scores_of_tiles(
    tiles, cosine, gram, boundary, intra, score, best, below,
    tile_count, regions, words, captions, by_image, by_region, lambda_softmax,
    NEGATIVE: tl.constexpr, FEATURE: tl.constexpr, RELEVANCE: tl.constexpr, INTRA: tl.constexpr,
    REGIONS: tl.constexpr, CAPTIONS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Scores (image, caption), best cosines and the mismatch decisions (image, word).

    cosine: strides by_image, by_region and 1. intra: `packed.intra_attention`, read where INTRA.
    REGIONS, CAPTIONS: lanes, powers of 2.
    """
    image, _, length, step, count, word, caption, entry = _place(tiles, tile_count)
    cosine += image * by_image + word
    boundary += word
    intra += entry
    best += image * words + word
    below += image * words + word
    r, lane = tl.arange(0, REGIONS), tl.arange(0, CAPTIONS)
    here = lane < count
    at, inside = r[:, None] * by_region + lane[None, :], (r < regions)[:, None] & here[None, :]

    square = tl.zeros((REGIONS, CAPTIONS), tl.float32)
    for p in range(length):
        s = tl.load(cosine + p * step + at, inside, other=ABSENT).to(tl.float32)
        tl.store(best + p * step + lane, _largest(s), here)
        if RELEVANCE:
            x = _leaky(s)
            square += x * x
    scale = lambda_softmax / (_norm(square) + EPSILON)
    tl.debug_barrier()  # from here on each thread reads best cosines that others wrote

    if FEATURE:
        near, filled = _gram(gram + image * regions * regions, regions, REGIONS)
        near = tl.load(near, filled, other=0.0).to(tl.float32)
    total = tl.zeros((CAPTIONS,), tl.float32)
    for p in range(length):
        s = tl.load(cosine + p * step + at, inside, other=ABSENT).to(tl.float32)
        largest = tl.load(best + p * step + lane, here, other=0.0).to(tl.float32)
        limit = tl.load(boundary + p * step + lane, here, other=0.0).to(tl.float32)
        if FEATURE:
            weight = _feature_weight(s, largest, limit, lambda_softmax)
            projection = tl.sum(weight * s, 0)
            energy = tl.sum(weight * tl.dot(near, weight, input_precision=PRECISION), 0)
            total += projection * _inverse_length(energy, projection)
        if RELEVANCE:
            total += _relevance(s, scale)[2]
        decides = largest - limit
        if INTRA:
            decides = _propagated(intra, best, boundary, p, length, step, here, CAPTIONS)
        if NEGATIVE:
            total += tl.where(decides < 0, largest - limit, 0.0)
        tl.store(below + p * step + lane, tl.where(decides < 0, 1, 0), here)
    tl.store(score + image * captions + caption + lane, total / length, here)


@triton.jit(do_not_specialize=SIZES + TENSORS)
def gradients_of_tiles(
    tiles, cosine, gram, boundary, share, below, by_cosine, by_gram,
    tile_count, regions, words, captions, by_image, by_region, lambda_softmax,
    NEGATIVE: tl.constexpr, FEATURE: tl.constexpr, RELEVANCE: tl.constexpr,
    REGIONS: tl.constexpr, CAPTIONS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients by the cosines, and by the Gram matrices each tile's part; see `packed.block_gradient`.

    share: gradient by each caption's score over its length (image, caption). by_gram: (image, tile, region,
    region), written where FEATURE.
    """
    image, tile, length, step, count, word, caption, _ = _place(tiles, tile_count)
    cosine += image * by_image + word
    by_cosine += image * regions * words + word
    boundary += word
    below += image * words + word
    r, lane = tl.arange(0, REGIONS), tl.arange(0, CAPTIONS)
    here = lane < count
    at, inside = r[:, None] * by_region + lane[None, :], (r < regions)[:, None] & here[None, :]
    to = r[:, None] * words + lane[None, :]
    share = tl.load(share + image * captions + caption + lane, here, other=0.0).to(tl.float32)

    if RELEVANCE:
        square = tl.zeros((REGIONS, CAPTIONS), tl.float32)
        for p in range(length):
            x = _leaky(tl.load(cosine + p * step + at, inside, other=ABSENT).to(tl.float32))
            square += x * x
        norm = _norm(square)
        scale = lambda_softmax / (norm + EPSILON)
        by_norm = tl.zeros((REGIONS, CAPTIONS), tl.float32)
        for p in range(length):
            s = tl.load(cosine + p * step + at, inside, other=ABSENT).to(tl.float32)
            by_norm += _relevance_gradient(s, scale, share)[1] * _leaky(s)
        by_norm *= scale / (norm + EPSILON) / norm

    if FEATURE:
        near, filled = _gram(gram + image * regions * regions, regions, REGIONS)
        near = tl.load(near, filled, other=0.0).to(tl.float32)
        by_near = tl.zeros((REGIONS, REGIONS), tl.float32)
    for p in range(length):
        s = tl.load(cosine + p * step + at, inside, other=ABSENT).to(tl.float32)
        largest = _largest(s)
        gradient = tl.zeros((REGIONS, CAPTIONS), tl.float32)
        if FEATURE:
            limit = tl.load(boundary + p * step + lane, here, other=0.0).to(tl.float32)
            weight = _feature_weight(s, largest, limit, lambda_softmax)
            mixed = tl.dot(near, weight, input_precision=PRECISION)
            projection = tl.sum(weight * s, 0)
            inverse = _inverse_length(tl.sum(weight * mixed, 0), projection)
            direct = share * inverse
            through = direct * projection * inverse * inverse
            pull = (lambda_softmax * through)[None, :] * mixed
            gradient += weight * (direct[None, :] * (1.0 + lambda_softmax * s) - pull)
            half = weight * (-0.5 * through)[None, :]
            by_near = tl.dot(half, tl.trans(weight), by_near, input_precision=PRECISION)
        if NEGATIVE:
            at_best = tl.where(s == largest[None, :], 1.0, 0.0)  # a tie shares the gradient
            counts = tl.load(below + p * step + lane, here, other=0) != 0
            gradient += at_best * (tl.where(counts, share, 0.0) / tl.sum(at_best, 0))[None, :]
        if RELEVANCE:
            direct, by_logit = _relevance_gradient(s, scale, share)
            by_active = by_logit * scale - _leaky(s) * by_norm
            gradient += direct + tl.where(s > 0, by_active, by_active * SLOPE)
        tl.store(by_cosine + p * step + to, gradient, inside)
    if FEATURE:
        part, filled = _gram(by_gram + (image * tile_count + tile) * regions * regions, regions, REGIONS)
        tl.store(part, by_near, filled)
