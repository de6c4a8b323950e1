"""The boundary's laws, and both mining modes against plain loops."""

import math

import numpy as np
import pytest
import seeds
import torch
from scipy.stats import norm

import naaflib
from naaflib.similarity.boundary import Boundaries, Samples, released_boundary, updated
from naaflib.similarity.packing import pack
from naaflib.training.mining import batch_mining, sequential_mining

SITUATIONS = [  # mean_pos, std_pos, mean_neg, std_neg, alpha
    (0.65, 0.17, 0.22, 0.14, 2.0),
    (0.60, 0.10, 0.20, 0.10, 2.0),
    (0.60, 0.10, 0.20, 0.10, 1.0),
    (0.50, 0.20, 0.30, 0.05, 3.0),
    (0.50, 0.05, 0.30, 0.20, 0.5),
]


@pytest.mark.parametrize("case", SITUATIONS)
def test_weighted_densities_cross_at_the_boundary(case):
    mp, sp, mn, sn, alpha = case
    t = naaflib.optimal_boundary(mp, sp, mn, sn, alpha)
    assert alpha * norm.pdf(t, mn, sn) == pytest.approx(norm.pdf(t, mp, sp), rel=1e-9)


@pytest.mark.parametrize("case", SITUATIONS)
def test_no_boundary_nearby_costs_less(case):
    mp, sp, mn, sn, alpha = case

    def cost(t):
        return alpha * norm.sf(t, mn, sn) + norm.cdf(t, mp, sp)

    t = naaflib.optimal_boundary(mp, sp, mn, sn, alpha)
    assert all(cost(t) <= cost(t + step) for step in (-0.05, -1e-3, 1e-3, 0.05))


def lowest(case) -> tuple[float, float]:
    """The cost at the boundary, and the lowest of any, that of taking all words or none included."""
    mp, sp, mn, sn, alpha = case

    def cost(t):
        return alpha * norm.sf(t, mn, sn) + norm.cdf(t, mp, sp)

    ends = (min(mp - 9 * sp, mn - 9 * sn), max(mp + 9 * sp, mn + 9 * sn))
    anywhere = cost(np.linspace(*ends, 20_001)).min()
    return cost(naaflib.optimal_boundary(*case)), min(anywhere, alpha, 1.0)


@pytest.mark.parametrize("case", SITUATIONS)
def test_no_boundary_at_all_costs_less(case):
    found, least = lowest(case)
    assert found <= least + 1e-9


@pytest.mark.parametrize(
    ("case", "cheapest"),
    [
        ((0.4, 0.1, 0.6, 0.2, 2.0), 1.0),  # matched words are the lower ones: none is taken as matched
        ((0.4, 0.2, 0.6, 0.1, 0.5), 0.5),  # all are
        ((0.5, 0.1, 0.3, 0.2, 3.25), 1.0),  # a price too high for any boundary
        ((0.5, 0.2, 0.3, 0.1, 0.3077), 0.3077),  # one too low
    ],
)
def test_a_boundary_can_cost_more_than_none(case, cheapest):
    found, least = lowest(case)
    assert least == pytest.approx(cheapest, abs=1e-6)
    assert found > 1.005 * cheapest


def test_the_least_cost_is_at_the_boundary_or_at_an_end():
    rng = seeds.rng(7)
    for mp, sp, mn, sn, price in rng.uniform((0, 0.03, 0, 0.03, -3), (1, 0.4, 1, 0.4, 3), (200, 5)):
        case = mp, sp, mn, sn, math.exp(price)
        found, least = lowest(case)
        ends = min(1.0, case[-1])
        assert least == pytest.approx(ends if math.isnan(found) else min(found, ends), abs=1e-5)


def test_equal_deviations_give_the_limit():
    t = naaflib.optimal_boundary(0.6, 0.1, 0.2, 0.1, alpha=2.0)
    assert t == pytest.approx(0.4 + 0.01 * math.log(2) / 0.4, rel=1e-12)
    nearly = naaflib.optimal_boundary(0.6, 0.1 + 1e-9, 0.2, 0.1, alpha=2.0)
    assert nearly == pytest.approx(t, abs=1e-7)


@pytest.mark.parametrize("case", [(0.2, 0.1, 0.6, 0.1), (0.4, 0.1, 0.4, 0.1), (0.5, 0.0, 0.2, 0.1)])
def test_where_nothing_crosses_there_is_no_boundary(case):
    assert math.isnan(naaflib.optimal_boundary(*case, alpha=2.0))


def test_boundary_is_not_clipped_and_keeps_precision_where_the_sum_cancels():
    assert naaflib.optimal_boundary(3.0, 0.1, 2.0, 0.1) > 1
    mp, sp, mn, sn = 0.1, 0.3, 0.6, 0.05  # b2 < 0
    t = naaflib.optimal_boundary(mp, sp, mn, sn, alpha=1.0)
    assert norm.pdf(t, mn, sn) == pytest.approx(norm.pdf(t, mp, sp), rel=1e-8)


def test_tensors_go_elementwise_and_numbers_give_a_float():
    alphas = torch.tensor([0.5, 1.0, 2.0, 4.0])
    curve = naaflib.optimal_boundary(0.6, 0.12, 0.2, 0.1, alphas)
    assert curve.dtype == torch.float64
    assert (curve.diff() > 0).all()  # a dearer false match moves the boundary up
    alone = naaflib.optimal_boundary(0.6, 0.12, 0.2, 0.1, 2.0)
    assert isinstance(alone, float)
    assert alone == pytest.approx(curve[2].item())


def test_released_form_agrees_where_both_are_defined():
    mp, sp, mn, sn, alpha = SITUATIONS[0]
    released = released_boundary(Samples(mp, sp, mn, sn), alpha)
    assert released == pytest.approx(naaflib.optimal_boundary(mp, sp, mn, sn, alpha), rel=1e-6)


@pytest.mark.parametrize("samples", [(0.5, 0.0, 0.2, 0.1), (0.5, 0.1, 0.2, 0.0), (0.5, 0.0, 0.2, 0.0)])
def test_a_sample_without_spread_gives_the_released_form_no_boundary_either(samples):
    assert math.isnan(released_boundary(Samples(*samples), 2.0))
    assert math.isnan(naaflib.optimal_boundary(*samples))


@pytest.mark.parametrize(
    ("estimate", "mean", "expected"),
    [
        (0.5, 0.8, (0.7 * 0.5 + 0.3 * 0.4, 0.7 * 0.5 + 0.3 * 0.2)),
        (1.2, 0.8, (0.3 * 0.4, 0.7 * 0.5 + 0.3 * 0.2)),  # outside [0, 1] counts as 0, it is not clamped
        (0.5, 0.1, (0.7 * 0.5 + 0.3 * 0.4, 0.3 * 0.2)),
        (math.nan, 0.8, (0.4, 0.2)),  # no estimate leaves both
    ],
)
def test_running_boundary_takes_seven_tenths_of_the_estimate(estimate, mean, expected):
    new = updated(Boundaries(0.4, 0.2), Samples(mean, 0.1, 0.1, 0.1), estimate, 0.7)
    assert new == pytest.approx(expected)


@pytest.fixture
def batch():
    """Scores (image, caption) of a batch of 7 pairs, its lengths and each word's best cosines."""
    rng = seeds.rng(4)
    lengths = [3, 5, 3, 2, 7, 5, 3]
    right = np.array([1, 0, 1, 1, 1, 1, 0])  # whether the caption's own image scores highest, or lowest
    scores = rng.normal(size=(7, 7)) + 99 * np.diag(2 * right - 1)
    best = [rng.uniform(0, 0.5, size=(7, length)) for length in lengths]
    for caption, own in enumerate(best):
        own[caption] += 0.4  # a word is more similar to its own image, as after some training
    return scores, lengths, best


def packed(batch):
    scores, lengths, best = batch
    packing = pack(torch.tensor(lengths))
    padded = torch.zeros(7, 7, max(lengths), dtype=torch.float64)
    for caption, values in enumerate(best):
        padded[:, caption, : lengths[caption]] = torch.tensor(values)
    words = padded[:, packing.order[packing.caption], packing.position]
    return torch.tensor(scores)[:, packing.order], words, packing


def test_batch_mining_samples_the_words_of_correct_captions(batch):
    scores, _, best = batch
    ours = batch_mining(*packed(batch), Boundaries(0.0, 0.0), alpha=2.0, momentum=1.0, min_words=2)
    right = [c for c in range(7) if scores[:, c].argmax() == c]
    assert 0 < len(right) < 7
    matched = np.concatenate([best[c][c] for c in right])
    mismatched = np.concatenate([best[c][scores[:, c].argmin()] for c in right])
    expected = (matched.mean(), matched.std(ddof=1), mismatched.mean(), mismatched.std(ddof=1))
    assert ours.samples == pytest.approx(expected)
    assert ours.boundaries.training == pytest.approx(max(naaflib.optimal_boundary(*expected), 0.0))


def test_batch_mining_waits_for_enough_words(batch):
    scores, words, packing = packed(batch)
    old = Boundaries(0.3, 0.1)
    total = sum(length for c, length in enumerate(batch[1]) if batch[0][:, c].argmax() == c)
    how = {"alpha": 2.0, "momentum": 0.7}
    assert batch_mining(scores, words, packing, old, **how, min_words=total).boundaries == old
    assert batch_mining(scores, words, packing, old, **how, min_words=total - 1).boundaries != old


def test_the_first_image_wins_a_tie():
    scores = torch.tensor([[1.0, 1.0], [1.0, 1.0]])  # caption 0 is right, caption 1 is not
    packing = pack(torch.tensor([2, 2]))
    words = torch.tensor([[0.9, 0.1, 0.8, 0.2], [0.3, 0.4, 0.5, 0.6]])
    how = {"alpha": 2.0, "momentum": 0.7, "min_words": 1}
    mined = batch_mining(scores, words, packing, Boundaries(0.0, 0.0), **how)
    assert mined.samples.mean_matched == pytest.approx(0.85)


def sequential(batch, min_words, old=(0.4, 0.2)):
    scores, lengths, best = batch
    asked = []

    def score_captions(captions, boundary):
        asked.append((tuple(captions), boundary))
        return torch.tensor(scores)[:, captions]

    mined = sequential_mining(
        score_captions, lambda c: torch.tensor(best[c]), lengths, Boundaries(*old),
        alpha=2.0, momentum=0.7, min_words=min_words,
    )  # fmt: skip
    return mined, asked


def test_sequential_mining_visits_longest_first_and_restarts_at_zero(batch):
    mined, _ = sequential(batch, min_words=10**6)
    assert mined.by_caption.tolist() == [
        0,
        0,
        0,
        0,
        0.4,
        0,
        0,
    ]  # the longest, 4, meets the last batch's boundary
    assert mined.boundaries == (0.0, 0.0)
    assert all(math.isnan(value) for value in mined.samples)


def test_the_caption_that_crosses_triggers_and_exactly_the_limit_does_not(batch):
    scores, lengths, _ = batch
    order = sorted(range(7), key=lambda c: -lengths[c])
    right = [c for c in order if scores[:, c].argmax() == c]
    until_second = lengths[right[0]] + lengths[right[1]]
    crossed, _ = sequential(batch, min_words=until_second - 1)
    exact, _ = sequential(batch, min_words=until_second)
    after = order[order.index(right[1]) + 1]
    assert crossed.by_caption[after] > 0
    assert exact.by_caption[after] == 0  # neither updated nor reset: it was 0 before


def test_sequential_mining_equals_a_plain_walk(batch):
    scores, lengths, best = batch
    t, safe, words = 0.4, 0.2, 0
    matched, mismatched, seen = [], [], {}
    for c in sorted(range(7), key=lambda c: -lengths[c]):
        seen[c] = t
        if scores[:, c].argmax() == c:
            matched.extend(best[c][c])
            mismatched.extend(best[c][scores[:, c].argmin()])
            words += lengths[c]
            if words > 6:
                four = (
                    np.mean(matched),
                    np.std(matched, ddof=1),
                    np.mean(mismatched),
                    np.std(mismatched, ddof=1),
                )
                estimate = released_boundary(Samples(*map(float, four)), 2.0)
                if not math.isnan(estimate):
                    low = four[0] - 3 * four[1]
                    t = 0.7 * (estimate if 0 <= estimate <= 1 else 0) + 0.3 * t
                    safe = 0.7 * (low if 0 <= low <= 1 else 0) + 0.3 * safe
        if words < 6:
            t = safe = 0.0
    mined, _ = sequential(batch, min_words=6)
    assert mined.boundaries == pytest.approx((t, safe))
    assert mined.by_caption.tolist() == pytest.approx([seen[c] for c in range(7)])
