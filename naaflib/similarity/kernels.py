"""The equations of `packed`, fused for the CPU: one pass over a block of cosines while it lies in the cache.

Optional (numba); `packed` computes the same without it and is the oracle in the tests. float32 only. The
kernels hold no lock, so images are shared among plain threads. Axes as in `packed`: image, region, word;
a group of captions of one length is a (position, caption) block of words.

Rows are sliced before the loops over words: an index that might be negative, as `first + w` to the compiler,
is looked up from the end if it is, which keeps a loop from being vectorised.
"""

import numpy as np
from numba import njit

from ..messages import say
from . import base

FAST = {"contract", "reassoc", "nsz", "arcp"}  # never nnan or ninf: bad input must stay visible
ABSENT = np.float32(base.ABSENT)  # a region that is padding: weights of 0, for all words
SLOPE, EPSILON, TINY = np.float32(base.SLOPE), np.float32(base.EPSILON), np.float32(base.TINY)
ZERO, ONE, TWO, HALF = np.float32(0.0), np.float32(1.0), np.float32(2.0), np.float32(0.5)
LOWEST, LARGEST_LAMBDA = np.float32(-87.0), 60.0  # exp(87) is float32's limit, in a sum over regions less


def _kept(**options):
    """njit that keeps what it compiles for later processes, where there is a folder that can be written."""

    def compile_(function):
        try:
            return njit(cache=True, fastmath=FAST, **options)(function)
        except RuntimeError:  # neither beside this file, nor in a home, nor in NUMBA_CACHE_DIR
            return njit(fastmath=FAST, **options)(function)

    return compile_


@njit(inline="always", fastmath=FAST)
def _exp(x):
    """exp for float32 arguments up to 88, to 2e-7: 2^k times a polynomial (Cephes' coefficients)."""
    x = max(x, LOWEST)
    k = np.floor(x * np.float32(1.4426950408889634) + HALF)
    f = x - k * np.float32(0.693359375) + k * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * f + np.float32(1.3981999507e-3)
    p = p * f + np.float32(8.3334519073e-3)
    p = p * f + np.float32(4.1665795894e-2)
    p = p * f + np.float32(1.6666665459e-1)
    p = p * f + np.float32(5.0000001201e-1)
    p = p * f * f + f + ONE
    return p * np.int32((np.int32(k) + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(inline="always", fastmath=FAST)
def _leaky(x):
    return x if x > ZERO else x * SLOPE


@_kept()
def _best(cosine, i, first, words, best):
    best[:words] = cosine[i, 0, first : first + words]
    for r in range(1, cosine.shape[1]):
        s = cosine[i, r, first : first + words]
        for w in range(words):
            if s[w] > best[w] or s[w] != s[w]:  # NaN stays
                best[w] = s[w]


@_kept()
def _feature_weight(cosine, i, first, words, best, boundary, lambda_softmax, weight, projection):
    limit = boundary[first : first + words]
    projection[:words] = ZERO
    for r in range(cosine.shape[1]):
        s, own = cosine[i, r, first : first + words], weight[r]
        for w in range(words):
            e = _exp(lambda_softmax * (s[w] - best[w])) if s[w] > limit[w] else ZERO
            own[w] = e
            projection[w] += e * s[w]


@_kept()
def _energy(near, weight, words, energy):
    """w G w (word) of weights (region, word); near (region, region) is G's lower half, doubled.

    Four regions by four, each read once for sixteen products: one by one, it takes twice as long.
    Both have zeros for the regions that a four lacks.
    """
    energy[:words] = ZERO
    for r in range(0, len(near), 4):
        w0, w1, w2, w3 = weight[r], weight[r + 1], weight[r + 2], weight[r + 3]
        for q in range(0, r + 4, 4):
            v0, v1, v2, v3 = weight[q], weight[q + 1], weight[q + 2], weight[q + 3]
            a0, a1, a2, a3 = near[r, q], near[r, q + 1], near[r, q + 2], near[r, q + 3]
            b0, b1, b2, b3 = near[r + 1, q], near[r + 1, q + 1], near[r + 1, q + 2], near[r + 1, q + 3]
            c0, c1, c2, c3 = near[r + 2, q], near[r + 2, q + 1], near[r + 2, q + 2], near[r + 2, q + 3]
            d0, d1, d2, d3 = near[r + 3, q], near[r + 3, q + 1], near[r + 3, q + 2], near[r + 3, q + 3]
            for w in range(words):
                x0, x1, x2, x3 = v0[w], v1[w], v2[w], v3[w]
                energy[w] += (
                    w0[w] * (a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3)
                    + w1[w] * (b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3)
                    + w2[w] * (c0 * x0 + c1 * x1 + c2 * x2 + c3 * x3)
                    + w3[w] * (d0 * x0 + d1 * x1 + d2 * x2 + d3 * x3)
                )


@_kept()
def _count_near(cosine, i, first, words, boundary, rounding, count):
    """How many regions (word) lie so near the boundary."""
    limit = boundary[first : first + words]
    count[:words] = ZERO
    for r in range(cosine.shape[1]):
        s = cosine[i, r, first : first + words]
        for w in range(words):
            count[w] += ONE if abs(s[w] - limit[w]) <= rounding else ZERO


@_kept()
def _caption_sums(values, first, groups, sums):
    """Sums (caption) of values (word) that begin at word `first` over each caption's words."""
    column = 0
    for g in range(len(groups)):
        length, captions = groups[g, 0], groups[g, 1]
        start = groups[g, 2] - first
        to = sums[column : column + captions]
        to[:] = values[start : start + captions]
        for p in range(1, length):
            part = values[start + p * captions : start + (p + 1) * captions]
            for c in range(captions):
                to[c] += part[c]
        column += captions


@_kept()
def _spread_to_words(values, first, groups, spread):
    """Each caption's value (caption) at all its words, which begin at word `first`."""
    column = 0
    for g in range(len(groups)):
        length, captions = groups[g, 0], groups[g, 1]
        start = groups[g, 2] - first
        part = values[column : column + captions]
        for p in range(length):
            to = spread[start + p * captions : start + (p + 1) * captions]
            for c in range(captions):
                to[c] = part[c]
        column += captions


@_kept()
def _propagate(above, first, groups, intra, propagated):
    """The average of eq. 8, as in `naaf.propagated`; `intra` has the weights."""
    propagated[:] = ZERO
    for g in range(len(groups)):
        length, captions, word, _column, table = groups[g]
        start = word - first
        for p in range(length):
            to = propagated[start + p * captions : start + (p + 1) * captions]
            for q in range(length):
                source = above[start + q * captions : start + (q + 1) * captions]
                entry = table + (p * length + q) * captions
                share = intra[entry : entry + captions]
                for c in range(captions):
                    to[c] += share[c] * source[c]


@_kept()
def _relevance_norm(s, first, groups, captions, square, norm):
    """Norm (caption), above 0, of one region's activated cosines s (word) over a caption's words."""
    for w in range(len(s)):
        x = _leaky(s[w])
        square[w] = x * x
    _caption_sums(square, first, groups, norm)
    for c in range(captions):
        norm[c] = np.sqrt(max(norm[c], TINY))


@_kept(nogil=True)
def scores_of_images(
    cosine, gram, boundary, groups, runs, lambda_softmax, effects, intra, rounding, sums, best_out, below_out,
    doubts_out, images,
):  # fmt: skip
    """Sums of the words' effects (image, caption), best cosines and the mismatch decisions (image, word).

    rounding: one number, how far the cosines were moved at most; then doubts_out gets the sums of the words'
    doubts (image, caption), see `packed.block_doubts`. Both empty: the cosines are exact.
    images: the first that is taken, and the end.
    groups: rows of length, captions, first word, first caption, first element of the group's table in
    `intra`, which holds (position, position, caption) tables one after the other; an empty one: training.
    runs: rows of first group, end of groups, first word, words, first caption, captions: groups that are
    reduced together, so that loops over words are long.
    effects: 1 or 0 for the negative effect, that of the features and that of the relevance.
    """
    regions = cosine.shape[1]
    fours = -(-regions // 4) * 4
    widest = runs[:, 3].max() if len(runs) else 0
    weight = np.zeros((fours, widest), np.float32)
    near = np.zeros((fours, fours), np.float32)
    best = np.empty(widest, np.float32)
    projection = np.empty(widest, np.float32)
    energy = np.empty(widest, np.float32)
    mixed = np.empty(widest, np.float32)
    total = np.empty(widest, np.float32)
    weighted = np.empty(widest, np.float32)
    scale = np.empty(widest, np.float32)
    norm = np.empty(widest, np.float32)
    for i in range(images[0], images[1]):
        for r in range(regions):
            near[r, :r] = TWO * gram[i, r, :r]
            near[r, r] = gram[i, r, r]
        for run in range(len(runs)):
            first_group, end, first, words, column, captions = runs[run]
            members = groups[first_group:end]
            _best(cosine, i, first, words, best)
            _feature_weight(cosine, i, first, words, best, boundary, lambda_softmax, weight, projection)
            _energy(near, weight, words, energy)
            total[:words] = ZERO
            weighted[:words] = ZERO
            for r in range(regions):
                s = cosine[i, r, first : first + words]
                if s[0] == ABSENT:
                    continue
                _relevance_norm(s, first, members, captions, mixed, norm)
                for c in range(captions):
                    norm[c] = lambda_softmax / (norm[c] + EPSILON)
                _spread_to_words(norm, first, members, scale)
                for w in range(words):
                    e = _exp(_leaky(s[w]) * scale[w])
                    total[w] += e
                    weighted[w] += e * s[w]
            best_out[i, first : first + words] = best[:words]
            limit = boundary[first : first + words]
            for w in range(words):
                best[w] -= limit[w]
                mixed[w] = best[w]
            if len(intra):
                _propagate(best, first, members, intra, mixed)
            below = below_out[i, first : first + words]
            for w in range(words):
                effect = effects[2] * weighted[w] / total[w]
                effect += effects[0] * best[w] if mixed[w] < ZERO else ZERO
                energy[w] = max(energy[w], projection[w] * projection[w])  # as `base.bounded`
                length_of_attended = np.sqrt(max(energy[w], TINY))
                effect += effects[1] * projection[w] / length_of_attended if energy[w] > ZERO else ZERO
                below[w] = mixed[w] < ZERO
                total[w] = effect
            _caption_sums(total, first, members, norm)
            sums[i, column : column + captions] = norm[:captions]
            if len(rounding):
                _count_near(cosine, i, first, words, boundary, rounding[0], weighted)
                for w in range(words):
                    share = min(ONE, weighted[w] * _exp(-lambda_softmax * max(best[w], ZERO)))
                    undecided = abs(best[w]) if abs(mixed[w]) <= TWO * rounding[0] else ZERO
                    total[w] = effects[1] * share + effects[0] * undecided
                _caption_sums(total, first, members, norm)
                doubts_out[i, column : column + captions] = norm[:captions]


@_kept(nogil=True)
def gradients_of_images(
    share, cosine, gram, boundary, groups, runs, lambda_softmax, effects, below, by_cosine, by_gram, images
):
    """Gradients by cosines and Gram matrices of a run of images; see `packed.block_gradient`.

    share: gradient by each caption's score over its length (image, caption).
    """
    regions = cosine.shape[1]
    widest = runs[:, 3].max() if len(runs) else 0
    weight = np.empty((regions, widest), np.float32)
    mixed = np.empty((regions, widest), np.float32)
    relevance = np.empty((regions, widest), np.float32)
    norms = np.empty((regions, widest), np.float32)
    best = np.empty(widest, np.float32)
    projection = np.empty(widest, np.float32)
    energy = np.empty(widest, np.float32)
    total = np.empty(widest, np.float32)
    weighted = np.empty(widest, np.float32)
    shares = np.empty(widest, np.float32)
    negative = np.empty(widest, np.float32)
    direct = np.empty(widest, np.float32)
    through = np.empty(widest, np.float32)
    norm = np.empty(widest, np.float32)
    scale = np.empty(widest, np.float32)
    by_norm = np.empty(widest, np.float32)
    square = np.empty(widest, np.float32)
    for i in range(images[0], images[1]):
        by_gram[i] = ZERO
        for run in range(len(runs)):
            first_group, end, first, words, column, captions = runs[run]
            members = groups[first_group:end]
            _best(cosine, i, first, words, best)
            _feature_weight(cosine, i, first, words, best, boundary, lambda_softmax, weight, projection)
            energy[:words] = ZERO
            for r in range(regions):
                to, own = mixed[r], weight[r]
                to[:words] = ZERO
                for q in range(regions):
                    near, other = gram[i, r, q], weight[q]
                    for w in range(words):
                        to[w] += near * other[w]
                for w in range(words):
                    energy[w] += own[w] * to[w]
            _spread_to_words(share[i, column : column + captions], first, members, shares)
            for w in range(words):
                energy[w] = max(energy[w], projection[w] * projection[w])  # as `base.bounded`
                inverse = ONE / np.sqrt(energy[w]) if energy[w] > ZERO else ZERO
                direct[w] = effects[1] * shares[w] * inverse
                through[w] = direct[w] * projection[w] * inverse * inverse
                negative[w] = ZERO  # how many regions share the best cosine
            for r in range(regions):
                s, by = cosine[i, r, first : first + words], by_cosine[i, r, first : first + words]
                own, to = weight[r], mixed[r]
                for w in range(words):
                    pull = lambda_softmax * through[w] * to[w]
                    by[w] = own[w] * (direct[w] * (ONE + lambda_softmax * s[w]) - pull)
                    negative[w] += ONE if s[w] == best[w] else ZERO
            for r in range(regions):
                to, own = mixed[r], weight[r]
                for w in range(words):
                    to[w] = own[w] * through[w]
                for q in range(r + 1):
                    other = weight[q]
                    dot = ZERO
                    for w in range(words):
                        dot += to[w] * other[w]
                    by_gram[i, r, q] -= HALF * dot
            mismatched = below[i, first : first + words]
            for w in range(words):
                negative[w] = effects[0] * shares[w] / negative[w] if mismatched[w] else ZERO
            total[:words] = ZERO
            weighted[:words] = ZERO
            for r in range(regions):
                s, by = cosine[i, r, first : first + words], by_cosine[i, r, first : first + words]
                own, activated = norms[r], relevance[r]
                if s[0] == ABSENT:
                    continue
                _relevance_norm(s, first, members, captions, square, own)
                for c in range(captions):
                    norm[c] = lambda_softmax / (own[c] + EPSILON)
                _spread_to_words(norm, first, members, scale)
                for w in range(words):
                    by[w] += negative[w] if s[w] == best[w] else ZERO
                    e = _exp(_leaky(s[w]) * scale[w])
                    activated[w] = e
                    total[w] += e
                    weighted[w] += e * s[w]
            for w in range(words):
                weighted[w] /= total[w]  # the effect
                total[w] = effects[2] * shares[w] / total[w]
            for r in range(regions):
                s, by = cosine[i, r, first : first + words], by_cosine[i, r, first : first + words]
                own, change = norms[r], relevance[r]
                if s[0] == ABSENT:
                    continue
                for w in range(words):
                    e = change[w] * total[w]
                    by[w] += e
                    e *= s[w] - weighted[w]
                    change[w] = e
                    square[w] = e * _leaky(s[w])
                _caption_sums(square, first, members, by_norm)
                for c in range(captions):
                    whole = own[c] + EPSILON
                    norm[c] = lambda_softmax / whole
                    by_norm[c] *= norm[c] / (whole * own[c])
                _spread_to_words(norm, first, members, scale)
                _spread_to_words(by_norm, first, members, square)
                for w in range(words):
                    e = change[w] * scale[w] - _leaky(s[w]) * square[w]
                    by[w] += e if s[w] > ZERO else e * SLOPE
        for r in range(regions):
            for q in range(r):
                by_gram[i, q, r] = by_gram[i, r, q]


if not scores_of_images.stats.cache_path:
    say(
        "the compiled kernels are kept nowhere, as no folder for them can be written: each process compiles "
        "them again, which takes up to a minute; NUMBA_CACHE_DIR names a folder"
    )
