"""The equations of `effects`, fused for the CPU: one pass over a block of cosines while it lies in the cache.

Optional (numba); `effects` computes the same without it and is the oracle in the tests. float32 only. The
kernels hold no lock, so images are shared among plain threads. Axes as in `effects`: image, region, word;
a group of captions of one length is a (position, caption) block of words.
"""

import numpy as np
from numba import njit

FAST = {"contract", "reassoc", "nsz", "arcp"}  # never nnan or ninf: bad input must stay visible
SLOPE, EPSILON, TINY = np.float32(0.1), np.float32(1e-8), np.float32(1e-30)
ZERO, ONE, TWO, HALF = np.float32(0.0), np.float32(1.0), np.float32(2.0), np.float32(0.5)
LOWEST, LARGEST_LAMBDA = np.float32(-87.0), 60.0  # exp(87) is float32's limit, in a sum over regions less


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


@njit(inline="always", fastmath=FAST)
def _best(cosine, i, first, words, best):
    for w in range(words):
        best[w] = cosine[i, 0, first + w]
    for r in range(1, cosine.shape[1]):
        for w in range(words):
            best[w] = max(best[w], cosine[i, r, first + w])


@njit(inline="always", fastmath=FAST)
def _feature_weight(cosine, i, first, words, best, boundary, sharpness, weight, projection):
    projection[:words] = ZERO
    for r in range(cosine.shape[1]):
        for w in range(words):
            s = cosine[i, r, first + w]
            e = _exp(sharpness * (s - best[w])) if s > boundary[first + w] else ZERO
            weight[r, w] = e
            projection[w] += e * s


@njit(inline="always", fastmath=FAST)
def _relevance_scale(cosine, i, r, first, length, captions, sharpness, norm, square, scale):
    """Norm (caption) of region r's activated cosines over a caption's words; sharpness / norm at each word.

    The loops over all words vectorise; those over the few captions of a length would not.
    """
    words = length * captions
    for w in range(words):
        x = _leaky(cosine[i, r, first + w])
        square[w] = x * x
    for c in range(captions):
        norm[c] = square[c]
    for p in range(1, length):
        for c in range(captions):
            norm[c] += square[p * captions + c]
    for c in range(captions):
        norm[c] = np.sqrt(max(norm[c], TINY))
        scale[c] = sharpness / (norm[c] + EPSILON)
    for p in range(1, length):
        for c in range(captions):
            scale[p * captions + c] = scale[c]


@njit(nogil=True, cache=True, fastmath=FAST)
def scores_of_images(
    cosine, gram, boundary, groups, sharpness, counted, intra, scores, best_out, below_out, start, stop
):
    """Scores (image, caption), best cosines and the mismatch decisions (image, word) of images [start, stop).

    groups: rows of length, captions, first word, first caption, first element of the group's table in
    `intra`, which holds (position, position, caption) tables one after the other; an empty one: training.
    counted: 1 or 0 for the negative effect, that of the features and that of the relevance.
    """
    regions = cosine.shape[1]
    widest = 0
    for g in range(len(groups)):
        widest = max(widest, groups[g, 0] * groups[g, 1])
    weight = np.empty((regions, widest), np.float32)
    best = np.empty(widest, np.float32)
    projection = np.empty(widest, np.float32)
    energy = np.empty(widest, np.float32)
    mixed = np.empty(widest, np.float32)
    total = np.empty(widest, np.float32)
    weighted = np.empty(widest, np.float32)
    norm = np.empty(widest, np.float32)
    scale = np.empty(widest, np.float32)
    for i in range(start, stop):
        for g in range(len(groups)):
            length, captions, first, column, table = groups[g]
            words = length * captions
            _best(cosine, i, first, words, best)
            _feature_weight(cosine, i, first, words, best, boundary, sharpness, weight, projection)
            energy[:words] = ZERO
            for r in range(regions):
                mixed[:words] = ZERO
                for q in range(r):
                    shared = TWO * gram[i, r, q]
                    for w in range(words):
                        mixed[w] += shared * weight[q, w]
                own = gram[i, r, r]
                for w in range(words):
                    energy[w] += weight[r, w] * (mixed[w] + own * weight[r, w])
            total[:words] = ZERO
            weighted[:words] = ZERO
            for r in range(regions):
                _relevance_scale(cosine, i, r, first, length, captions, sharpness, norm, mixed, scale)
                for w in range(words):
                    s = cosine[i, r, first + w]
                    e = _exp(_leaky(s) * scale[w])
                    total[w] += e
                    weighted[w] += e * s
            for w in range(words):
                best_out[i, first + w] = best[w]
                best[w] -= boundary[first + w]
                mixed[w] = best[w]
            if len(intra):
                mixed[:words] = ZERO
                for p in range(length):
                    for q in range(length):
                        entry = table + (p * length + q) * captions
                        for c in range(captions):
                            mixed[p * captions + c] += intra[entry + c] * best[q * captions + c]
            for w in range(words):
                effect = counted[2] * weighted[w] / total[w]
                effect += counted[0] * best[w] if mixed[w] < ZERO else ZERO
                length_of_attended = np.sqrt(max(energy[w], TINY))
                effect += counted[1] * projection[w] / length_of_attended if energy[w] > ZERO else ZERO
                below_out[i, first + w] = mixed[w] < ZERO
                total[w] = effect
            norm[:captions] = ZERO
            for p in range(length):
                for c in range(captions):
                    norm[c] += total[p * captions + c]
            for c in range(captions):
                scores[i, column + c] = norm[c] / np.float32(length)


@njit(nogil=True, cache=True, fastmath=FAST)
def gradients_of_images(
    share, cosine, gram, boundary, groups, sharpness, counted, below, by_cosine, by_gram, start, stop
):
    """Gradients by cosines and Gram matrices of images [start, stop); see effects.block_gradient.

    share: gradient by each caption's score over its length (image, caption).
    """
    regions = cosine.shape[1]
    widest = 0
    for g in range(len(groups)):
        widest = max(widest, groups[g, 0] * groups[g, 1])
    weight = np.empty((regions, widest), np.float32)
    mixed = np.empty((regions, widest), np.float32)
    relevance = np.empty((regions, widest), np.float32)
    best = np.empty(widest, np.float32)
    projection = np.empty(widest, np.float32)
    energy = np.empty(widest, np.float32)
    total = np.empty(widest, np.float32)
    weighted = np.empty(widest, np.float32)
    own = np.empty(widest, np.float32)
    direct = np.empty(widest, np.float32)
    through = np.empty(widest, np.float32)
    norm = np.empty(widest, np.float32)
    scale = np.empty(widest, np.float32)
    by_norm = np.empty(widest, np.float32)
    square = np.empty(widest, np.float32)
    norms = np.empty((regions, widest), np.float32)
    for i in range(start, stop):
        by_gram[i] = ZERO
        for g in range(len(groups)):
            length, captions, first, column, _table = groups[g]
            words = length * captions
            _best(cosine, i, first, words, best)
            _feature_weight(cosine, i, first, words, best, boundary, sharpness, weight, projection)
            energy[:words] = ZERO
            for r in range(regions):
                mixed[r, :words] = ZERO
                for q in range(regions):
                    shared = gram[i, r, q]
                    for w in range(words):
                        mixed[r, w] += shared * weight[q, w]
                for w in range(words):
                    energy[w] += weight[r, w] * mixed[r, w]
            for p in range(length):
                for c in range(captions):
                    own[p * captions + c] = share[i, column + c]
            for w in range(words):
                inverse = ONE / np.sqrt(energy[w]) if energy[w] > ZERO else ZERO
                direct[w] = counted[1] * own[w] * inverse
                through[w] = direct[w] * projection[w] * inverse * inverse
                norm[w] = ZERO  # how many regions share the best cosine
            for r in range(regions):
                for w in range(words):
                    s = cosine[i, r, first + w]
                    by_cosine[i, r, first + w] = weight[r, w] * (
                        direct[w] * (ONE + sharpness * s) - sharpness * through[w] * mixed[r, w]
                    )
                    norm[w] += ONE if s == best[w] else ZERO
            for r in range(regions):
                for w in range(words):
                    mixed[r, w] = weight[r, w] * through[w]
                for q in range(r + 1):
                    dot = ZERO
                    for w in range(words):
                        dot += mixed[r, w] * weight[q, w]
                    by_gram[i, r, q] -= HALF * dot
            for w in range(words):
                norm[w] = counted[0] * own[w] / norm[w] if below[i, first + w] else ZERO
            total[:words] = ZERO
            weighted[:words] = ZERO
            for r in range(regions):
                for w in range(words):
                    by_cosine[i, r, first + w] += norm[w] if cosine[i, r, first + w] == best[w] else ZERO
            for r in range(regions):
                _relevance_scale(cosine, i, r, first, length, captions, sharpness, norm, square, scale)
                for c in range(captions):
                    norms[r, c] = norm[c]
                for w in range(words):
                    s = cosine[i, r, first + w]
                    e = _exp(_leaky(s) * scale[w])
                    relevance[r, w] = e
                    total[w] += e
                    weighted[w] += e * s
            for w in range(words):
                weighted[w] /= total[w]  # the effect
                total[w] = counted[2] * own[w] / total[w]
            for r in range(regions):
                for w in range(words):
                    s = cosine[i, r, first + w]
                    e = relevance[r, w] * total[w]
                    by_cosine[i, r, first + w] += e
                    e *= s - weighted[w]
                    relevance[r, w] = e
                    square[w] = e * _leaky(s)
                by_norm[:captions] = ZERO
                for p in range(length):
                    for c in range(captions):
                        by_norm[c] += square[p * captions + c]
                for c in range(captions):
                    whole = norms[r, c] + EPSILON
                    scale[c] = sharpness / whole
                    by_norm[c] *= scale[c] / (whole * norms[r, c])
                for p in range(1, length):
                    for c in range(captions):
                        scale[p * captions + c] = scale[c]
                        by_norm[p * captions + c] = by_norm[c]
                for w in range(words):
                    s = cosine[i, r, first + w]
                    change = relevance[r, w] * scale[w] - _leaky(s) * by_norm[w]
                    by_cosine[i, r, first + w] += change if s > ZERO else change * SLOPE
        for r in range(regions):
            for q in range(r):
                by_gram[i, q, r] = by_gram[i, r, q]
