"""Ranks and recalls: the released code's numbers, a plain loop, another library, and the edges."""

import numpy as np
import pytest
import seeds
import torch

from naaflib import retrieval_metrics
from naaflib.errors import NaafError
from naaflib.metric import retrieval

WAYS = ("i2t", "t2i")


def slow_metrics(scores, per_image):
    """method.md's definition, query by query."""
    images, captions = scores.shape
    image_ranks, caption_ranks = [], []
    for image in range(images):
        own = [image * per_image + k for k in range(per_image)]
        best = max(scores[image, caption] for caption in own)
        wrong = [caption for caption in range(captions) if caption not in own]
        image_ranks.append(sum(scores[image, caption] >= best for caption in wrong))
    for caption in range(captions):
        mine = scores[caption // per_image, caption]
        others = [image for image in range(images) if image != caption // per_image]
        caption_ranks.append(sum(scores[image, caption] >= mine for image in others))
    return {"i2t": image_ranks, "t2i": caption_ranks}


def random_scores(images, per_image, seed=0, levels=None):
    """levels: so few different scores that many tie."""
    rng = seeds.rng(seed)
    if levels:
        return rng.integers(-levels, levels, size=(images, images * per_image)).astype("f4") / levels
    return rng.normal(size=(images, images * per_image))


def test_the_released_code_s_numbers_exactly(reference):
    oracle = np.load(reference / "metrics_40.npz")
    found = retrieval_metrics(oracle["scores"])
    for way in WAYS:
        one = getattr(found, way)
        numbers = (one.at_1, one.at_5, one.at_10, one.median_rank, one.mean_rank)
        np.testing.assert_array_equal(numbers, oracle[way])
        np.testing.assert_array_equal(one.ranks, oracle[f"{way}_ranks"])
        np.testing.assert_array_equal(one.top1, oracle[f"{way}_top1"])
    assert found.rsum == pytest.approx(oracle["i2t"][:3].sum() + oracle["t2i"][:3].sum(), abs=1e-9)


@pytest.mark.parametrize("per_image", [1, 2, 5])
@pytest.mark.parametrize("levels", [None, 3])
def test_ranks_are_those_of_a_plain_loop(per_image, levels):
    scores = random_scores(11, per_image, levels=levels)
    found = retrieval_metrics(scores, per_image)
    for way, ranks in slow_metrics(scores, per_image).items():
        assert getattr(found, way).ranks.tolist() == ranks


@pytest.mark.parametrize("block", [1, 56, 3 * 55, 4 * 55 - 1])
def test_blocks_change_nothing(monkeypatch, block):
    scores = random_scores(11, 5, levels=4)
    whole = retrieval_metrics(scores)
    monkeypatch.setattr(retrieval, "BLOCK", block)
    parts = retrieval_metrics(scores)
    for way in WAYS:
        np.testing.assert_array_equal(getattr(parts, way).ranks, getattr(whole, way).ranks)
        np.testing.assert_array_equal(getattr(parts, way).top1, getattr(whole, way).top1)


def test_recalls_count_ranks_below_k_and_medians_are_the_floor_plus_one():
    one = retrieval.Retrieval(np.array([0, 1, 4, 5, 9, 10]), np.zeros(6, int))
    assert (one.at_1, one.at_5, one.at_10) == pytest.approx((100 / 6, 50, 500 / 6))
    assert one.median_rank == 5  # floor(4.5) + 1
    assert one.mean_rank == pytest.approx(29 / 6 + 1)
    assert one.recall(2) == pytest.approx(100 / 3)
    other = retrieval.Retrieval(np.array([0, 1, 3]), np.zeros(3, int))
    assert other.median_rank == 2
    both = retrieval.RetrievalMetrics(one, other)
    recalls = [getattr(way, name) for way in (one, other) for name in ("at_1", "at_5", "at_10")]
    assert both.rsum == pytest.approx(sum(recalls))
    table = both.to_frame()
    assert table.loc["i2t", "at_5"] == 50.0
    assert table.loc["t2i", "median_rank"] == 2
    assert list(table.columns) == ["at_1", "at_5", "at_10", "median_rank", "mean_rank"]
    assert both.to_dict() == {"i2t": one.row(), "t2i": other.row(), "rsum": both.rsum}


def test_a_perfect_model_and_its_opposite():
    images, per_image = 13, 5
    own = np.kron(np.eye(images), np.ones(per_image))
    best = retrieval_metrics(own - 0.5)  # negative scores are scores
    assert best.rsum == 600
    assert [getattr(best, way).mean_rank for way in WAYS] == [1, 1]
    worst = retrieval_metrics(-own)
    assert worst.rsum == 0
    assert worst.i2t.ranks.tolist() == [60] * 13
    assert worst.t2i.ranks.tolist() == [12] * 65


def test_a_tie_is_a_miss():
    found = retrieval_metrics(np.zeros((13, 65)))  # a model that says nothing finds nothing
    assert found.i2t.ranks.tolist() == [60] * 13
    assert found.t2i.ranks.tolist() == [12] * 65
    assert found.rsum == 0
    assert found.i2t.top1.tolist() == [0] * 13  # the first of the best
    assert found.t2i.top1.tolist() == [0] * 65


def test_own_captions_never_push_each_other_down():
    scores = np.zeros((2, 10))
    scores[0, :5] = 3.0  # all five tie with each other
    scores[0, 5:] = [2, 2, 2, 2, 3]  # and with one wrong caption
    scores[1, 5:] = 1.0
    assert retrieval_metrics(scores).i2t.ranks.tolist() == [1, 0]


def test_the_best_of_the_own_captions_counts():
    scores = random_scores(7, 5)
    better = scores.copy()
    better[2, 13] = scores.max() + 1  # its fourth caption
    before, after = retrieval_metrics(scores), retrieval_metrics(better)
    assert after.i2t.ranks[2] == 0
    assert after.i2t.top1[2] == 13
    assert after.t2i.ranks[13] == 0
    assert after.t2i.top1[13] == 2
    others = np.arange(7) != 2
    np.testing.assert_array_equal(before.i2t.ranks[others], after.i2t.ranks[others])


def test_the_order_of_scores_is_all_that_matters():
    scores = random_scores(11, 5)
    for other in (np.exp(scores), 3 * scores - 7, scores - 1e3):
        for way in WAYS:
            first, second = (getattr(retrieval_metrics(one), way) for one in (scores, other))
            np.testing.assert_array_equal(first.ranks, second.ranks)
            np.testing.assert_array_equal(first.top1, second.top1)


@pytest.mark.parametrize("kind", ["bool", "uint8", "uint64", "int8", "float16"])
def test_scores_of_any_number_type_have_the_same_best_answers(kind):
    """-scores means nothing for booleans, and with unsigned numbers 0 comes first."""
    scores = np.maximum(4 * random_scores(11, 5) - 3, 0).astype(kind)  # so few above 0 that 0 is an answer
    found, wanted = (retrieval_metrics(one, top=4) for one in (scores, scores.astype(float)))
    for way in WAYS:
        np.testing.assert_array_equal(getattr(found, way).best.answers, getattr(wanted, way).best.answers)
        np.testing.assert_array_equal(getattr(found, way).ranks, getattr(wanted, way).ranks)
    order = np.argsort(-scores.astype(float), axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(found.i2t.best.answers, order)


def test_the_order_of_images_does_not_matter():
    scores = random_scores(11, 5)
    order = seeds.rng(1).permutation(11)
    captions = (order[:, None] * 5 + np.arange(5)).ravel()
    first, second = retrieval_metrics(scores), retrieval_metrics(scores[order][:, captions])
    np.testing.assert_array_equal(first.i2t.ranks[order], second.i2t.ranks)
    np.testing.assert_array_equal(first.t2i.ranks[captions], second.t2i.ranks)
    assert first.rsum == pytest.approx(second.rsum)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torchmetrics' own
@pytest.mark.parametrize("k", [1, 5, 10])
def test_torchmetrics_hit_rate_agrees_on_positive_scores_without_ties(k):
    from torchmetrics.retrieval import RetrievalHitRate

    images, per_image = 47, 5
    own = np.kron(np.eye(images), np.ones(per_image))
    scores = torch.tensor(np.exp(random_scores(images, per_image) + 0.7 * own))
    right = torch.tensor(own, dtype=torch.bool)
    found = retrieval_metrics(scores)
    for way, preds, target in (("i2t", scores, right), ("t2i", scores.T, right.T)):
        query = torch.arange(len(preds))[:, None].expand_as(preds)
        theirs = RetrievalHitRate(top_k=k)(preds.flatten(), target.flatten(), indexes=query.flatten())
        ours = getattr(found, way).recall(k)
        assert 0 < ours < 100
        assert ours == pytest.approx(100 * theirs.item(), abs=1e-4)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int32])
def test_any_numbers_will_do(kind):
    scores = seeds.rng(3).permutation(7 * 35).reshape(7, 35)
    whole = retrieval_metrics(scores)
    found = retrieval_metrics(scores.astype(kind))
    np.testing.assert_array_equal(found.i2t.ranks, whole.i2t.ranks)
    np.testing.assert_array_equal(found.t2i.ranks, whole.t2i.ranks)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_tensors_are_measured_as_they_are(kind):
    scores = torch.tensor(random_scores(7, 5)).to(kind)
    scores.requires_grad_()
    found, array = retrieval_metrics(scores), retrieval_metrics(scores.detach().double().numpy())
    np.testing.assert_array_equal(found.i2t.ranks, array.i2t.ranks)
    np.testing.assert_array_equal(found.t2i.ranks, array.t2i.ranks)
    assert retrieval_metrics(scores.tolist()).rsum == array.rsum


def test_scores_on_disk_are_read_and_left_alone(tmp_path, monkeypatch):
    scores = random_scores(11, 5)
    np.save(tmp_path / "s.npy", scores)
    monkeypatch.setattr(retrieval, "BLOCK", 200)
    mapped = np.load(tmp_path / "s.npy", mmap_mode="r")
    found = retrieval_metrics(mapped)
    np.testing.assert_array_equal(found.i2t.ranks, retrieval_metrics(scores).i2t.ranks)
    np.testing.assert_array_equal(found.t2i.top1, retrieval_metrics(scores).t2i.top1)
    assert type(found.i2t.ranks) is type(found.t2i.ranks) is np.ndarray
    np.testing.assert_array_equal(np.load(tmp_path / "s.npy"), scores)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (5, 3), (10, 54)])
def test_a_score_that_is_not_finite_is_refused_with_its_image(bad, place, monkeypatch):
    monkeypatch.setattr(retrieval, "BLOCK", 3 * 55)
    scores = random_scores(11, 5)
    scores[place] = bad
    with pytest.raises(NaafError, match=f"image {place[0]} is not finite"):
        retrieval_metrics(scores)


@pytest.mark.parametrize(
    ("shape", "per_image"),
    [
        ((7, 34), 5),
        ((35, 7), 5),
        ((7, 7), 5),
        ((7, 35), 1),
        ((0, 0), 5),
        ((35,), 5),
        ((1, 2, 10), 5),
        ((), 5),
    ],
)
def test_scores_that_do_not_fit_are_refused_with_their_shape(shape, per_image):
    with pytest.raises(NaafError) as refused:
        retrieval_metrics(np.zeros(shape), per_image)
    assert str(shape) in str(refused.value)
    assert f"{per_image} captions an image" in str(refused.value)


def test_one_image_alone_is_always_found():
    found = retrieval_metrics(np.array([[-1.0, 2.0]]), 2)
    assert found.rsum == 600
    assert found.i2t.top1.tolist() == [1]


def test_a_number_that_prints_as_the_range_s_end_lies_in_the_range():
    from naaflib.metric.published import EXPECTED

    for expected in EXPECTED:
        _, low, high = expected.rsum
        assert expected.holds(low - 0.04)
        assert expected.holds(high + 0.04)
        assert not expected.holds(low - 0.06)
        assert not expected.holds(high + 0.06)
