"""Whether runs differ by more than chance: intervals and p-values, and what each of them covers.

Axes, in this order: seed, image, measure (`metric.MEASURES`). A measure of a run is the mean of a column
over images, in percent, so an image and all its captions stay together and both directions are resampled
together. The gallery stays as it is: other images are asked, against the same candidates.

Two sources of variation, and no interval covers more than it says:
images   the trained models as they are, other images: bootstrap and sign flips (`image_difference`)
seeds    trained anew, these images (`t_interval`)
images and seeds    trained anew, other images (`crossed_difference`)

scipy has no interval over two crossed sources; its distributions and corrections are used.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from ..errors import UsageError, unknown
from .retrieval import RECALL_RANKS, RetrievalMetrics

CORRECTIONS = ("holm", "bh", "none")
BLOCK = 2**22  # weights held at a time
ROUNDING = 1e-9  # sums that differ by less, relative to all that was summed, are ties


def image_measures(metrics: RetrievalMetrics) -> Float[np.ndarray, "image measure"]:
    """What each image adds to the six recalls and to rsum: the columns' means are the metrics.

    An image's share of a text-to-image recall is the mean over its captions.
    """
    images = len(metrics.i2t.ranks)
    columns = [100.0 * (metrics.i2t.ranks < k) for k in RECALL_RANKS]
    columns += [100.0 * (metrics.t2i.ranks < k).reshape(images, -1).mean(axis=1) for k in RECALL_RANKS]
    return np.stack([*columns, np.sum(columns, axis=0)], axis=1)


class Difference(NamedTuple):
    """Of every measure: the difference of the means, its interval, its two-sided p-value."""

    value: Float[np.ndarray, " measure"]
    low: Float[np.ndarray, " measure"]
    high: Float[np.ndarray, " measure"]
    p: Float[np.ndarray, " measure"]


def image_difference(
    difference: Float[np.ndarray, "image measure"],
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Difference:
    """Of paired measures of the same images: percentile bootstrap and permutation over whole images.

    difference: of each image; columns may be of several comparisons, all are resampled alike.
    Identical runs have the interval (0, 0) and p = 1.
    """
    check_request(confidence, resamples, seed)
    means = bootstrap_means(difference, resamples, seed)
    tails = (0.5 - confidence / 2, 0.5 + confidence / 2)
    low, high = np.quantile(means, tails, axis=0)
    return Difference(difference.mean(axis=0), low, high, permutation_p(difference, resamples, seed))


def bootstrap_means(
    values: Float[np.ndarray, "image measure"], resamples: int, seed: int = 0
) -> Float[np.ndarray, "resample measure"]:
    """Means over images drawn with replacement, the same images in every column."""
    images, rng = len(values), np.random.default_rng(seed)
    means = []
    for _, count in _blocks(resamples, images):
        drawn = rng.integers(images, size=(count, images)) + images * np.arange(count)[:, None]
        times = np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images)
        means.append(times.astype(float) @ values / images)
    return np.concatenate(means)


def permutation_p(
    difference: Float[np.ndarray, "image measure"], resamples: int = 10_000, seed: int = 0
) -> Float[np.ndarray, " measure"]:
    """Two-sided p: how often signs thrown for whole images give a mean as far from 0 as the true one.

    All assignments where there are no more than `resamples` of them: then p is exact. Else the true one
    counts as one of the drawn, so p is never 0 (Phipson and Smyth 2010).
    """
    difference = difference[(difference != 0).any(axis=1)]  # a sign on nothing changes nothing
    images, seen = len(difference), np.zeros(difference.shape[1])
    reached = np.abs(difference.sum(axis=0)) - ROUNDING * np.abs(difference).sum(axis=0)
    exact = images < 63 and 2**images <= resamples
    drawn = 2**images if exact else resamples
    for signs in _all_signs(images) if exact else _drawn_signs(images, resamples, seed):
        seen += (np.abs(signs @ difference) >= reached).sum(axis=0)
    return seen / drawn if exact else (seen + 1) / (drawn + 1)


def _all_signs(images: int) -> Iterator[Float[np.ndarray, "resample image"]]:
    for start, count in _blocks(2**images, images):
        numbers = np.arange(start, start + count)
        yield 1.0 - 2.0 * (numbers[:, None] >> np.arange(images) & 1)


def _drawn_signs(images: int, resamples: int, seed: int) -> Iterator[Float[np.ndarray, "resample image"]]:
    rng = np.random.default_rng(seed)
    for _, count in _blocks(resamples, images):
        yield 1.0 - 2.0 * rng.integers(0, 2, size=(count, images), dtype=np.int8)


def _blocks(resamples: int, images: int) -> Iterator[tuple[int, int]]:
    """First and number of the resamples that are held at a time."""
    size = max(1, BLOCK // max(images, 1))
    return ((start, min(size, resamples - start)) for start in range(0, resamples, size))


class Share(NamedTuple):
    """A part of a variance, of each measure, and the degrees of freedom that it was estimated with."""

    variance: np.ndarray
    freedom: int | np.ndarray


def crossed_difference(
    first: Float[np.ndarray, "seed image measure"],
    second: Float[np.ndarray, "other image measure"],
    *,
    paired: bool = False,
    seed_variance: Share | None = None,
    confidence: float = 0.95,
) -> Difference:
    """Of two settings with two seeds or more each: a t interval that covers both images and seeds.

    Every seed is asked the same images, so images and seeds are crossed. The variance of the difference is
    that of its images' means plus those of its seeds' means, less their interaction, which both contain;
    degrees of freedom by Satterthwaite. It is never shorter than Student's of images or of seeds alone: else
    two seeds that happen to lie close take the degrees of the images, and 90 % are covered. A bootstrap of
    two or three seeds would be too short, too: it leaves 1 / seeds of their variance out and knows no t.
    paired: seed k of both are the same trained weights.
    seed_variance: of one run over seeds, pooled from many settings; None: each setting's own (Welch).
    """
    check_request(confidence)
    groups = [first - second] if paired else [first, -second]
    if min(len(group) for group in groups) < 2 or first.shape[1] < 2:
        raise UsageError(
            "an interval over images and seeds needs two images and two seeds or more of each setting"
        )
    value = sum(group.mean(axis=(0, 1)) for group in groups)
    images = _share(sum(group.mean(axis=0) for group in groups))
    seeds = [_share(group.mean(axis=1)) for group in groups]
    if seed_variance is not None and not paired:
        times = sum(1 / len(group) for group in groups)
        seeds = [Share(seed_variance.variance * times, seed_variance.freedom)]
    both = [_interaction(group) for group in groups]
    of_seeds = sum(part.variance for part in seeds)
    variance = images.variance + of_seeds - sum(part.variance for part in both)
    # an estimate by subtraction may fall below what is there
    variance = np.maximum(variance, np.maximum(images.variance, of_seeds))
    whole = Share(variance, _satterthwaite(variance, [images, *seeds, *both]))
    shares = whole, images, Share(of_seeds, sum(part.freedom for part in seeds))
    found = [_t_difference(value, share, confidence) for share in shares]
    low, high = np.min([one.low for one in found], axis=0), np.max([one.high for one in found], axis=0)
    return Difference(value, low, high, np.max([one.p for one in found], axis=0))


def pooled_seed_variance(groups: Sequence[np.ndarray]) -> Share:
    """The variance of one run over seeds, of each measure, if it is the same in all settings.

    groups: (seed, image, measure) each, of settings trained apart. Few seeds of many settings then tell more
    than their own alone; where one setting is less steady than the others, its interval is too short.
    """
    runs = [group.mean(axis=1) for group in groups]
    freedom = sum(len(group) - 1 for group in runs)
    if not freedom:
        raise UsageError("a variance over seeds needs two seeds or more of a setting")
    return Share(sum(((group - group.mean(axis=0)) ** 2).sum(axis=0) for group in runs) / freedom, freedom)


def _share(values: np.ndarray) -> Share:
    """Of the mean of independent values."""
    return Share(values.var(axis=0, ddof=1) / len(values), len(values) - 1)


def _satterthwaite(variance: np.ndarray, parts: Sequence[Share]) -> np.ndarray:
    """Degrees of freedom of a variance that is made of these parts."""
    spread = sum(part.variance**2 / part.freedom for part in parts)
    freedom = np.maximum(variance**2 / np.where(spread > 0, spread, 1.0), min(part.freedom for part in parts))
    return np.where(spread > 0, freedom, np.inf)


def _interaction(group: np.ndarray) -> Share:
    """What is left when the means of seeds and of images are taken out."""
    seeds, images = group.shape[:2]
    left = group - group.mean(axis=0) - group.mean(axis=1, keepdims=True) + group.mean(axis=(0, 1))
    freedom = (seeds - 1) * (images - 1)
    return Share((left**2).sum(axis=(0, 1)) / max(freedom, 1) / (seeds * images), max(freedom, 1))


def _t_difference(value: np.ndarray, share: Share, confidence: float) -> Difference:
    error = np.sqrt(share.variance)
    reach = stats.t.ppf(0.5 + confidence / 2, share.freedom) * error
    ratio = np.divide(np.abs(value), error, out=np.where(value == 0, 0.0, np.inf), where=error > 0)
    return Difference(value, value - reach, value + reach, 2 * stats.t.sf(ratio, share.freedom))


class Spread(NamedTuple):
    """Over seeds: the mean, the standard deviation of one run, and a t interval of the mean."""

    mean: float
    deviation: float
    low: float
    high: float


def t_interval(runs: Any, confidence: float = 0.95) -> Spread:
    """What seeds alone change on these images. NaN where one seed cannot tell."""
    runs = np.asarray(runs, dtype=float)
    if len(runs) < 2:
        return Spread(float(runs.mean()), np.nan, np.nan, np.nan)
    mean, deviation = float(runs.mean()), float(runs.std(ddof=1))
    reach = float(stats.t.ppf(0.5 + confidence / 2, len(runs) - 1)) * deviation / len(runs) ** 0.5
    return Spread(mean, deviation, mean - reach, mean + reach)


def corrected(p: Any, correction: str = "holm") -> np.ndarray:
    """p-values of one family, corrected for their number.

    "holm" bounds the chance of a single false finding; "bh" (Benjamini and Hochberg) the expected share of
    false findings among the findings; "none" leaves them. Raises UsageError for another name, and for what
    is no p-value.
    """
    p = np.asarray(p, dtype=float)
    if correction not in CORRECTIONS:
        raise unknown("correction", correction, CORRECTIONS)
    for number, value in enumerate(p):
        if not 0 <= value <= 1:
            raise UsageError(f"p-value {number + 1} of {len(p)} is {value:g}; it must lie between 0 and 1")
    if correction == "none" or not len(p):
        return p
    if correction == "bh":
        return np.asarray(stats.false_discovery_control(p, method="bh"))
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    result = np.empty(len(p))
    result[order] = np.minimum(stepped, 1.0)
    return result


def check_request(confidence: float, resamples: int = 10_000, seed: int = 0) -> None:
    """Raises UsageError for values that mean nothing."""
    if not 0 < confidence < 1:
        raise UsageError(f"a confidence lies between 0 and 1, for example 0.95, and {confidence} does not")
    least = math.ceil(2 / (1 - confidence))  # one beyond either end of the interval
    if resamples < least:
        raise UsageError(
            f"an interval of {100 * confidence:g} % takes {least} resamples at least, not {resamples}"
        )
    if seed < 0:
        raise UsageError(f"a seed is 0 or more, and {seed} is not")
