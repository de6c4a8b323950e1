"""The hinge loss and the recall within a batch, against loops over queries."""

import numpy as np
import pytest
import seeds
import torch

from naaflib.training.loss import batch_recalls, hinge_loss

MARGIN = 0.2
PAIRS = 7


@pytest.fixture
def scores():
    return torch.from_numpy(seeds.rng(5).normal(0.5, 0.2, (PAIRS, PAIRS)))


def costs(scores, excluded=None):
    """Of every query of both directions: margin + wrong - right of its wrong partners, where positive."""
    for matrix, left_out in ((scores, excluded), (scores.T, None if excluded is None else excluded.T)):
        for query in range(len(matrix)):
            wrong = [
                MARGIN + matrix[query, other].item() - matrix[query, query].item()
                for other in range(len(matrix))
                if other != query and (left_out is None or not left_out[query, other])
            ]
            yield [cost for cost in wrong if cost > 0]


def by_hand(scores, weight, excluded=None):
    found = [cost for cost in costs(scores, excluded) if cost]
    return sum(weight * max(cost) + (1 - weight) * np.mean(cost) for cost in found)


@pytest.fixture
def excluded():
    pairs = torch.zeros(PAIRS, PAIRS, dtype=torch.bool)
    pairs[1, 4] = pairs[4, 1] = True
    return pairs


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("same_image", [False, True])
def test_adaptive_negatives_weigh_the_hardest_against_the_mean_violation(
    scores, excluded, weight, same_image
):
    left_out = excluded if same_image else None
    found = hinge_loss(scores, MARGIN, "adaptive", left_out, weight).item()
    assert found == pytest.approx(by_hand(scores, weight, left_out))


def test_summed_negatives_count_every_violation(scores):
    assert hinge_loss(scores, MARGIN, "sum").item() == pytest.approx(sum(map(sum, costs(scores))))


def test_the_hardest_negatives_are_adaptive_ones_of_weight_1(scores):
    hardest, adaptive = hinge_loss(scores, MARGIN), hinge_loss(scores, MARGIN, "adaptive", None, 1.0)
    assert torch.equal(hardest, adaptive)


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_equal_scores_cost_the_margin_twice_a_pair(weight):
    equal = torch.full((PAIRS, PAIRS), 0.3, dtype=torch.float64)
    assert hinge_loss(equal, MARGIN, "adaptive", None, weight).item() == pytest.approx(2 * MARGIN * PAIRS)


def test_a_batch_without_a_violation_costs_nothing_and_moves_nothing():
    scores = torch.eye(PAIRS, dtype=torch.float64, requires_grad=True)
    loss = hinge_loss(scores, MARGIN, "adaptive", None, 0.5)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(scores.grad, torch.zeros_like(scores))


def test_another_kind_of_negatives_is_refused(scores):
    with pytest.raises(ValueError, match="'random'"):
        hinge_loss(scores, MARGIN, "random")


def test_recall_counts_a_tie_as_a_miss():
    scores = torch.tensor([[3.0, 1.0, 3.0], [0.0, 2.0, 1.0], [0.0, 2.0, 2.5]])
    assert batch_recalls(scores) == (pytest.approx(2 / 3), pytest.approx(1 / 3))


def test_recall_leaves_out_other_captions_of_the_image():
    scores = torch.tensor([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    same = torch.zeros(3, 3, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    assert batch_recalls(scores) == (pytest.approx(1 / 3), pytest.approx(1 / 3))
    assert batch_recalls(scores, same) == (1.0, 1.0)
