"""A reduced product with float32's recalls: what is computed again, and that it is enough."""

import numpy as np
import pytest
import seeds
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from methods import POOLED

from naaflib.config import model_settings
from naaflib.evaluation import encoding, rescoring, scores
from naaflib.evaluation.rescoring import Exact, RoughScorer
from naaflib.evaluation.scores import score_encoded, split_scorer, streamed_metrics
from naaflib.metric.ranks import undecided
from naaflib.metric.retrieval import RECALL_RANKS, retrieval_metrics
from naaflib.model.model import Model
from naaflib.similarity import autograd
from naaflib.similarity.base import Block
from naaflib.similarity.boundary import Boundaries
from naaflib.similarity.matrix import Scorer, all_cosines
from naaflib.similarity.naaf import Naaf
from naaflib.similarity.packed import Constants, block_doubts
from naaflib.similarity.packing import pack

PER_IMAGE, DIM, REGIONS = 5, 24, 9
METHODS = sorted({method for method, _ in POOLED})


@pytest.fixture(autouse=True)
def small_grid(monkeypatch):
    monkeypatch.setattr(encoding, "CHUNK", 20)
    monkeypatch.setattr("naaflib.similarity.matrix.BLOCK_IMAGES", 10)


def unit(rng, *shape):
    return torch.nn.functional.normalize(torch.from_numpy(rng.standard_normal(shape)).float(), dim=-1)


def encoded(rng, images, likeness=0.0):
    """Random unit vectors; words are like a region of their own image, more or less."""
    regions = unit(rng, images, REGIONS, DIM)
    lengths = torch.from_numpy(rng.integers(3, 12, images * PER_IMAGE))
    packing = pack(lengths, 64, encoding.CHUNK * PER_IMAGE)
    image = packing.order[packing.caption] // PER_IMAGE
    like = regions[image, torch.from_numpy(rng.integers(0, REGIONS, len(image)))]
    words = torch.nn.functional.normalize(unit(rng, len(image), DIM) + likeness * like, dim=-1)
    return encoding.Encoded(regions, words, packing)


def model(method="naaf", boundary=0.25):
    made = Model(model_settings(method=method, dim=DIM), 4, 4)
    made.boundary = Boundaries(boundary, boundary)
    return made


# ---- what decides a recall


@given(seed=st.integers(0, 2**16), k=st.sampled_from(RECALL_RANKS), spread=st.floats(0.01, 3.0))
@settings(max_examples=60, derandomize=True, deadline=None)
def test_what_is_computed_again_decides_every_recall(seed, k, spread):
    """Whatever moves a score, within its margin: with the undecided ones right, ranks below k are right."""
    rng = seeds.rng(seed)
    exact = rng.standard_normal((16, 16 * PER_IMAGE))
    margin = rng.exponential(spread, exact.shape)
    side = rng.choice([-1.0, 1.0], exact.shape) if seed % 2 else rng.uniform(-1, 1, exact.shape)
    column = np.arange(exact.shape[1])
    own = exact[column // PER_IMAGE, column]
    rough = exact + 0.999 * margin * side
    again = undecided(rough, margin, own.reshape(16, PER_IMAGE).max(axis=1), own, k)
    mended = np.where(again, exact, rough)
    mended[column // PER_IMAGE, column] = own
    right, found = retrieval_metrics(exact, PER_IMAGE), retrieval_metrics(mended, PER_IMAGE)
    for way in ("i2t", "t2i"):
        expected, ranks = (getattr(metrics, way).ranks for metrics in (right, found))
        np.testing.assert_array_equal(np.minimum(ranks, k), np.minimum(expected, k))


def test_nothing_is_computed_again_of_a_query_that_is_decided():
    scores_, margin = np.tile(np.arange(20.0), (4, 1)), np.full((4, 20), 0.5)
    again = undecided(scores_, margin, np.full(4, 3.0), np.full(20, 100.0), 10)
    assert not again.any()  # sixteen captions lie above each image's own score, and no image near a caption's
    assert undecided(scores_, margin, np.full(4, 12.0), np.full(20, 100.0), 10)[:, 12].all()


# ---- recalls are float32's


@pytest.mark.parametrize(
    ("method", "precision", "likeness"),
    [
        *(("naaf", precision, likeness) for precision in ("bf16", "fp16") for likeness in (0.0, 0.4, 1.5)),
        *((method, "bf16", 0.4) for method in METHODS if method != "naaf"),
    ],
)
def test_recalls_are_those_of_float32(method, precision, likeness):
    pairs, made = encoded(seeds.rng(3), 130 if method == "naaf" else 45, likeness), model(method)
    exact, mended = (score_encoded(made, pairs, False, kind) for kind in ("float32", precision))
    assert not np.array_equal(exact, mended)
    right, found = retrieval_metrics(exact, PER_IMAGE), retrieval_metrics(mended, PER_IMAGE)
    assert found.measures() == right.measures()
    for way in ("i2t", "t2i"):
        expected, ranks = (np.minimum(getattr(m, way).ranks, 10) for m in (right, found))
        np.testing.assert_array_equal(ranks, expected)


def test_without_computing_again_recalls_change(monkeypatch):
    """The control: such data do tell a reduced product from float32's."""
    pairs, made = encoded(seeds.rng(3), 130, 0.4), model()
    exact = retrieval_metrics(score_encoded(made, pairs, False), PER_IMAGE)
    monkeypatch.setattr(rescoring, "undecided", lambda scores, *_: np.zeros(scores.shape, bool))
    rough = retrieval_metrics(score_encoded(made, pairs, False, "bf16"), PER_IMAGE)
    assert not np.array_equal(np.minimum(exact.t2i.ranks, 10), np.minimum(rough.t2i.ranks, 10))


def test_streamed_ranks_are_those_of_the_matrix():
    pairs, made = encoded(seeds.rng(4), 110, 0.4), model()
    whole = retrieval_metrics(score_encoded(made, pairs, False, "bf16"), PER_IMAGE, 7)
    found = streamed_metrics(made, pairs, PER_IMAGE, precision="bf16", memory=1, top=7, progress=False)
    for way in ("i2t", "t2i"):
        np.testing.assert_array_equal(getattr(found, way).ranks, getattr(whole, way).ranks)
        np.testing.assert_array_equal(getattr(found, way).best.answers, getattr(whole, way).best.answers)


def test_a_score_that_moved_beyond_its_margin_is_said(monkeypatch, capsys):
    monkeypatch.setattr(rescoring, "ERRORS", 0.1)
    monkeypatch.setattr(rescoring, "CROSSING", 0.0)
    score_encoded(model(), encoded(seeds.rng(5), 130, 0.4), False, "bf16")
    assert "a score has moved by more than its margin" in capsys.readouterr().err


# ---- hardly a score moves by more than its margin


def test_a_score_in_a_hundred_thousand_moves_by_more_than_its_margin():
    """At most two: regions that nearly cancel make an attended vector short, and its direction moves far."""
    pairs, made = encoded(seeds.rng(6), 200, 0.7), model()
    rough, everything = split_scorer(made, pairs, "bf16"), (slice(0, 200), slice(0, 200 * PER_IMAGE))
    assert isinstance(rough, RoughScorer)
    bounds = rough.known(everything[0], PER_IMAGE).bounds
    found, doubts = rough._rough(*everything, bounds.near)
    moved = np.abs(found - split_scorer(made, pairs).block(*everything)) * rough.words
    smooth = rescoring.ERRORS * bounds.error
    assert (moved > smooth + doubts).sum() <= 4
    assert (moved > smooth).sum() > 400  # doubts are needed: 0 to 1 and 1,800 to 2,000 in five draws


@pytest.mark.parametrize("intra", [None, 5.0])
@pytest.mark.parametrize("padded", [False, True])
def test_doubts_by_the_kernels_are_the_vectorised_ones(intra, padded):
    if autograd.kernels() is None:
        pytest.skip("numba is not installed: there are no fused kernels to test")
    rng = seeds.rng(7)
    packing, regions = pack(torch.from_numpy(rng.integers(1, 9, 40))), unit(rng, 6, REGIONS, DIM)
    if padded:
        regions[1:3, 4:] = 0.0
    words = unit(rng, packing.words, DIM)
    similarity = Naaf(lambda_intra=intra)
    block = Block(all_cosines(regions, words), regions @ regions.mT, words, packing.groups)
    best, boundary = block.cosine.amax(dim=1), torch.full((packing.words,), 0.3)
    prepared = similarity.prepare(words, packing.groups)
    how = Constants(packing.groups, 20.0, prepared)
    for near in (0.0, 0.01, 0.3):
        expected = block_doubts(block.cosine, best, boundary, how, near)
        found, doubts = similarity.rough_scores(block, boundary, prepared, near)
        torch.testing.assert_close(doubts, expected)
        exact = similarity.scores(block, boundary, prepared)
        torch.testing.assert_close(found.pairs, exact.pairs, rtol=0, atol=0)
        torch.testing.assert_close(found.best, exact.best, rtol=0, atol=0)


def test_doubts_count_what_may_cross_the_boundary():
    packing = pack(torch.tensor([2]))
    cosine = torch.tensor([[[0.301, 0.9], [0.1, 0.301], [-0.5, 0.0]]])
    how = Constants(packing.groups, 20.0)
    doubts = block_doubts(cosine, cosine.amax(dim=1), torch.full((2,), 0.3), how, 0.002)
    whole, part = np.exp(-20 * 0.001), np.exp(-20 * 0.6)  # the best region may go; another beside a good one
    assert doubts.item() == pytest.approx(whole + part + 0.001, abs=1e-5)  # its mismatch may come


# ---- pairs by themselves


@pytest.mark.parametrize(("method", "pooling"), POOLED)
def test_pairs_by_themselves_score_as_in_the_matrix(method, pooling):
    rng = seeds.rng(8)
    pairs, made = encoded(rng, 30, 0.4), model(method)
    whole = Scorer(pairs.words, pairs.packing, made.similarity, 0.25)(pairs.images).numpy()
    image, caption = np.nonzero(rng.random(whole.shape) < 0.1)
    exact = Exact(pairs, Scorer(pairs.words, pairs.packing, made.similarity, 0.25), 0.25)
    np.testing.assert_allclose(exact(image, caption), whole[image, caption], rtol=0, atol=2e-6)
    order = pairs.packing.order.numpy()
    packed = np.argsort(order)
    own = exact.own(slice(0, 30), packed)
    np.testing.assert_allclose(own, whole[np.arange(150) // 5, packed], rtol=0, atol=2e-6)


def test_chosen_captions_keep_their_words():
    rng = seeds.rng(9)
    lengths = torch.from_numpy(rng.integers(1, 9, 90))
    packing = pack(lengths, 32, 30)
    for count in (1, 7, 90):
        captions = rng.permutation(90)[:count]
        groups, order, columns, entries = packing.chosen(captions)
        table = torch.cat(
            [
                packing.caption.new_tensor(range(g.captions)).repeat(g.length**2) + g.caption
                for g in packing.groups
            ]
        )
        assert torch.equal(
            table[entries],
            torch.cat(
                [torch.from_numpy(captions)[order][g.packed_captions].repeat(g.length**2) for g in groups]
            ),
        )
        assert sum(g.captions for g in groups) == count
        assert [g.length for g in groups] == sorted({g.length for g in groups})
        for g in groups:
            own = columns[g.words].reshape(g.length, g.captions)
            for place, words in zip(order[g.packed_captions], own.T, strict=True):
                expected = torch.nonzero(packing.caption == captions[place])[:, 0]
                assert torch.equal(words, expected[torch.argsort(packing.position[expected])])
                assert (
                    len(words) == packing.lengths[captions[place]] == lengths[packing.order[captions[place]]]
                )


def test_a_tile_needs_its_memory(monkeypatch):
    monkeypatch.setattr(encoding, "CHUNK", 200)
    cpu = torch.device("cpu")
    scores.check_memory(80e6, 5000, 5, cpu, "bf16", streamed=True)
    with pytest.raises(Exception, match="1000 images with 25,000 captions"):
        scores.check_memory(80e6, 5000, 5, cpu, "bf16")
