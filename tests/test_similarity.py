"""The equations against the paper in loops, and their laws. Sizes are distinct primes."""

import math

import pytest
import seeds
import torch

from naaflib.similarity import naaf
from naaflib.similarity.base import attended_cosine, relevance_weight
from naaflib.similarity.methods import make

IMAGES, WORDS, REGIONS, DIM = 2, 3, 5, 7
BOUNDARIES = (0.0, 0.3, 0.99)  # at 0.99 no region qualifies


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    numbers = torch.randn(*shape, dtype=torch.float64, generator=seeds.generator(seed))
    return numbers / numbers.norm(dim=-1, keepdim=True)


@pytest.fixture
def regions():
    return unit(IMAGES, REGIONS, DIM, seed=1)


@pytest.fixture
def words():
    return unit(WORDS, DIM, seed=2)


def paper_score(v, u, boundary, lambda_softmax=20.0, lambda_intra=None) -> float:
    """Equations 6-12 for one image and one caption, word by word and region by region."""
    cosine = [[float(word @ region) for region in v] for word in u]
    best = [max(row) - boundary for row in cosine]
    total = 0.0
    for i, row in enumerate(cosine):
        decides = best[i]
        if lambda_intra is not None:
            weight = [math.exp(lambda_intra * float(u[i] @ other)) for other in u]
            decides = sum(w * b for w, b in zip(weight, best, strict=True)) / sum(weight)
        total += best[i] if decides < 0 else 0.0
        kept = [(j, s) for j, s in enumerate(row) if s > boundary]
        if kept:
            attended = sum(math.exp(lambda_softmax * s) * v[j] for j, s in kept)
            total += float(u[i] @ attended / attended.norm())
        relevance = []
        for j in range(len(v)):
            column = [s if s > 0 else 0.1 * s for s in (cosine[k][j] for k in range(len(u)))]
            relevance.append(column[i] / (math.sqrt(sum(x * x for x in column)) + 1e-8))
        weight = [math.exp(lambda_softmax * x) for x in relevance]
        total += sum(w * s for w, s in zip(weight, row, strict=True)) / sum(weight)
    return total / len(u)


@pytest.mark.parametrize("lambda_intra", [None, 5.0])
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_score_is_the_paper_in_loops(regions, words, boundary, lambda_intra):
    ours = naaf.naaf_score(regions, words, boundary=boundary, lambda_intra=lambda_intra)
    theirs = [paper_score(v, words, boundary, lambda_intra=lambda_intra) for v in regions]
    torch.testing.assert_close(ours, torch.tensor(theirs, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_gram_identity_equals_the_attended_vector(regions, words, boundary):
    cosine = words @ regions.mT
    weight = naaf.feature_weight(cosine, boundary, 20.0)
    attended = weight @ regions
    slow = torch.nan_to_num((attended * words).sum(-1) / attended.norm(dim=-1))
    fast = attended_cosine(weight, cosine, regions @ regions.mT)
    torch.testing.assert_close(fast, slow)


def test_weights_sum_to_one_or_are_zero(regions, words):
    cosine = words @ regions.mT
    boundary = cosine.amax(dim=-1).median().item()  # one of the words' largest: it does not match
    weight = naaf.feature_weight(cosine, boundary, 20.0)
    matches = (cosine > boundary).any(-1)
    assert matches.any()
    assert not matches.all()
    torch.testing.assert_close(weight.sum(-1), matches.double())
    torch.testing.assert_close(relevance_weight(cosine, 20.0).sum(-1), torch.ones(IMAGES, WORDS).double())


def test_one_barely_matching_region_still_counts_in_full():
    word = torch.tensor([[1.0, 0.0]])
    region = torch.tensor([[[0.5, math.sqrt(0.75)]]])
    cosine = word @ region.mT
    weight = naaf.feature_weight(cosine, 0.5 - 1e-6, 200.0)
    effect = attended_cosine(weight, cosine, region @ region.mT)
    assert effect.item() == pytest.approx(0.5)


def test_a_word_exactly_on_the_boundary_neither_matches_nor_mismatches():
    cosine = torch.tensor([[[0.25, 0.5]]])
    assert naaf.negative_effect(cosine, 0.5).item() == 0
    assert naaf.feature_weight(cosine, 0.5, 20.0).sum() == 0


def test_negative_effect_keeps_the_released_code_s_sign():
    """The propagated value decides, the un-propagated one counts: it can be positive."""
    cosine = torch.tensor([[[0.6], [0.0]]])
    intra = torch.tensor([[0.1, 0.9], [0.0, 1.0]])
    effect = naaf.negative_effect(cosine, 0.5, intra)
    torch.testing.assert_close(effect, torch.tensor([[0.1, -0.5]]))


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_gradient_is_finite_when_no_region_matches(regions, words, boundary):
    regions.requires_grad_()
    words.requires_grad_()
    naaf.naaf_score(regions, words, boundary=boundary).sum().backward()
    assert regions.grad.isfinite().all()
    assert words.grad.isfinite().all()


@pytest.mark.parametrize("pooling", ["mean", "lse"])
@pytest.mark.parametrize("direction", ["t2i", "i2t"])
def test_scan_is_stacked_cross_attention_in_loops(regions, words, direction, pooling):
    ours = make(f"scan-{direction}", {"lambda_softmax": 9.0, "pooling": pooling}).parts(regions, words).score
    for image, v in enumerate(regions):
        query, context = (words, v) if direction == "t2i" else (v, words)
        table = query @ context.mT
        relevance = torch.where(table > 0, table, 0.1 * table)
        relevance = relevance / (relevance.norm(dim=0, keepdim=True) + 1e-8)
        parts = []
        for row, q in zip(relevance, query, strict=True):
            attended = torch.softmax(9.0 * row, dim=0) @ context
            parts.append(q @ attended / attended.norm())
        parts = torch.stack(parts)
        slow = parts.mean() if pooling == "mean" else torch.log(torch.exp(6.0 * parts).sum()) / 6.0
        torch.testing.assert_close(ours[image], slow)
