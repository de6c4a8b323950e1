"""Scores cut up in any way, and ranks counted block by block: the whole matrix's, to the last bit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import seeds
import torch

from naaflib import open_split, retrieval_metrics
from naaflib.cli import main
from naaflib.cli.models import memory
from naaflib.config import Settings, model_settings
from naaflib.data.vocabulary import Vocabulary
from naaflib.errors import NaafError, UsageError
from naaflib.evaluation import (
    encode_split,
    encoding,
    evaluate,
    protocol_metrics,
    protocols,
    score_encoded,
    scores,
)
from naaflib.evaluation.encoding import Encoded, encode_captions, encode_images
from naaflib.evaluation.scores import split_scorer, streamed_metrics
from naaflib.metric.ranks import RankCounter, best_answers
from naaflib.metric.retrieval import metrics_of
from naaflib.model import checkpoint
from naaflib.model.model import Model
from naaflib.runs import Run
from naaflib.similarity import autograd
from naaflib.similarity.boundary import Boundaries

IMAGES, PER_IMAGE, REGION_DIM = 43, 5, 11
EVERYTHING = slice(0, IMAGES), slice(0, IMAGES * PER_IMAGE)


@pytest.fixture(autouse=True)
def small_grid(monkeypatch):
    monkeypatch.setattr(encoding, "CHUNK", 16)
    monkeypatch.setattr(encoding, "ENCODED", 8)
    monkeypatch.setattr("naaflib.similarity.matrix.BLOCK_IMAGES", 8)


@pytest.fixture(params=["fused", "eager"])
def form(request, monkeypatch):
    if request.param == "eager":
        monkeypatch.setattr(autograd, "kernels", lambda: None)
    elif autograd.kernels() is None:
        pytest.skip("numba is not installed: there are no fused kernels to test")
    return request.param


@pytest.fixture(scope="module")
def data(write_split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("streamed")
    write_split(folder, "train", 11)
    return write_split(folder, "test", IMAGES)


@pytest.fixture(scope="module")
def model(data):
    words = Vocabulary.build(open_split(data, "train").captions, 1)
    seeds.manual_seed(0)
    model = Model(model_settings(dim=7, word_dim=5), REGION_DIM, len(words), words)
    model.boundary = Boundaries(0.2, 0.15)
    return model.eval()


@pytest.fixture
def encoded(model, data, small_grid):
    return encode_split(model, open_split(data, "test"))


@pytest.fixture
def threads():
    """Sets torch's number of threads for a test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def assert_same(found, expected):
    for way in ("i2t", "t2i"):
        ours, theirs = getattr(found, way), getattr(expected, way)
        np.testing.assert_array_equal(ours.ranks, theirs.ranks)
        np.testing.assert_array_equal(ours.top1, theirs.top1)
        np.testing.assert_array_equal(ours.best.answers, theirs.best.answers)
        np.testing.assert_array_equal(ours.best.scores, theirs.best.scores)


# ---- sharded equals unsharded


def test_a_block_is_the_matrix_s_block_to_the_last_bit(model, encoded, form, threads):
    threads(1)
    whole = split_scorer(model, encoded).block(*EVERYTHING)
    for count in (1, 2, 3):
        threads(count)
        scorer = split_scorer(model, encoded)
        for images in (
            slice(0, IMAGES),
            slice(0, 1),
            slice(7, 8),
            slice(8, 16),
            slice(11, 43),
            slice(42, 43),
        ):
            for captions in (EVERYTHING[1], slice(0, 1), slice(80, 160), slice(79, 81), slice(200, 215)):
                np.testing.assert_array_equal(scorer.block(images, captions), whole[images, captions])


def test_a_part_of_a_split_is_encoded_as_the_whole_is(model, data, encoded, threads):
    split = open_split(data, "test")
    for count in (1, 3):
        threads(count)
        for band in (slice(0, 16), slice(16, 43), slice(32, 43)):
            torch.testing.assert_close(
                encode_images(model, split, band), encoded.images[band], rtol=0, atol=0
            )
            captions = slice(band.start * PER_IMAGE, band.stop * PER_IMAGE)
            words, packing = encode_captions(model, split.captions[captions], PER_IMAGE)
            part, columns = encoded.packing.part(captions)
            torch.testing.assert_close(words, encoded.words[columns], rtol=0, atol=0)
            assert packing.groups == part.groups
            for ours, theirs in zip(
                (packing.order, packing.position, packing.caption),
                (part.order, part.position, part.caption),
                strict=True,
            ):
                assert torch.equal(ours, theirs)


def test_a_tile_of_parts_is_the_matrix_s_tile_to_the_last_bit(model, data, encoded, form):
    """What a worker of a cluster does: it sees some images and some captions only."""
    split, whole = open_split(data, "test"), split_scorer(model, encoded).block(*EVERYTHING)
    for images in (slice(0, 16), slice(32, 43)):
        for band in (slice(16, 32), slice(16, 43)):
            captions = slice(band.start * PER_IMAGE, band.stop * PER_IMAGE)
            parts = encode_captions(model, split.captions[captions], PER_IMAGE)
            scorer = split_scorer(model, Encoded(encode_images(model, split, images), *parts))
            found = scorer.block(*(slice(0, size) for size in scorer.shape))
            np.testing.assert_array_equal(found, whole[images, captions])


@pytest.mark.parametrize("memory", [1, 30_000, 1e9])
def test_a_memory_budget_changes_the_blocks_and_not_the_scores(model, encoded, tmp_path, memory):
    whole = score_encoded(model, encoded, progress=False)
    rows = list(scores.score_rows(model, encoded, progress=False, memory=memory))
    assert max(len(part) for part in rows) == {1: 8, 30_000: 8, 1e9: 16}[memory]
    np.testing.assert_array_equal(np.concatenate(rows), whole)
    on_disk = scores.score_to_file(model, encoded, tmp_path / "s.npy", progress=False, memory=memory)
    np.testing.assert_array_equal(on_disk, whole)


# ---- streamed equals whole


@pytest.mark.parametrize("memory", [1, 1e9])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_streamed_ranks_and_answers_are_the_whole_matrix_s(model, encoded, precision, memory):
    whole = score_encoded(model, encoded, False, precision)
    for top in (1, 4, 300):
        found = streamed_metrics(
            model, encoded, PER_IMAGE, precision=precision, memory=memory, top=top, progress=False
        )
        assert_same(found, retrieval_metrics(whole, PER_IMAGE, top))
        i2t, t2i = (np.argsort(-side, axis=1, kind="stable")[:, :top] for side in (whole, whole.T))
        np.testing.assert_array_equal(found.i2t.best.answers, i2t)
        np.testing.assert_array_equal(found.t2i.best.answers, t2i)
        np.testing.assert_array_equal(found.t2i.best.scores, np.take_along_axis(whole.T, t2i, 1))


def test_each_fold_is_streamed_on_its_own(model, encoded, monkeypatch):
    monkeypatch.setitem(protocols.PROTOCOL_IMAGES, "coco-1k", 40)
    monkeypatch.setattr(protocols, "FOLD", 8)
    first = slice(0, 40 * PER_IMAGE)
    packing, columns = encoded.packing.part(slice(0, 48 * PER_IMAGE))
    part = Encoded(encoded.images[:40], encoded.words[columns], packing)
    whole = split_scorer(model, part).block(slice(0, 40), slice(0, packing.captions))[:, first]
    found = streamed_metrics(model, part, PER_IMAGE, protocol="coco-1k", top=3, progress=False)
    assert_same(found, protocol_metrics(whole, "coco-1k", PER_IMAGE, top=3))
    folds = [retrieval_metrics(whole[f : f + 8, 5 * f : 5 * f + 40]) for f in range(0, 40, 8)]
    assert found.rsum == pytest.approx(np.mean([fold.rsum for fold in folds]))
    with pytest.raises(UsageError, match="coco-1k is made for 40 images"):
        streamed_metrics(model, encoded, PER_IMAGE, protocol="coco-1k")


def test_an_evaluation_without_scores_is_the_one_with_them(model, data, tmp_path):
    kept = evaluate(model, data, out=tmp_path / "kept", top=3)
    streamed = evaluate(model, data, out=tmp_path / "streamed", keep_scores=False, memory=30_000, top=3)
    assert kept.scores.shape == (IMAGES, IMAGES * PER_IMAGE)
    assert streamed.scores is None
    assert (streamed.images, streamed.captions) == (kept.images, kept.captions)
    assert_same(streamed.metrics, kept.metrics)
    assert streamed.record() == kept.record()
    assert streamed.sentence() == kept.sentence()
    runs = [Run(tmp_path / name, {"kind": "evaluation"}) for name in ("kept", "streamed")]
    for name in ("metrics/test.full.json", "tables/queries_test_full.csv"):
        first, second = ((run.path / name).read_text() for run in runs)
        assert first == second
    assert not (runs[1].path / "scores").exists()


def test_a_reduced_precision_is_named_in_the_result(model, data):
    found = evaluate(model, data, precision="bf16", keep_scores=False)
    assert found.record()["precision"] == "bf16"
    assert "naaf (bf16 product), " in found.sentence()
    assert "product" not in evaluate(model, data).sentence()


def test_tf32_says_where_it_is_float32(model, data, capsys):
    found = evaluate(model, data, precision="tf32", keep_scores=False)
    assert "precision tf32 is float32 on cpu" in capsys.readouterr().err
    assert_same(found.metrics, evaluate(model, data, keep_scores=False).metrics)


def test_a_score_that_is_not_finite_is_refused_with_its_image(model, encoded):
    images = encoded.images.clone()
    images[29] = float("nan")
    with pytest.raises(NaafError, match="image 29 is not finite"):
        streamed_metrics(model, Encoded(images, encoded.words, encoded.packing), PER_IMAGE, progress=False)


# ---- the command


def test_the_command_streams_and_says_the_same(model, data, tmp_path, capsys):
    settings = Settings(model=model.settings, train={"seed": 0}).model_dump()
    run = Run.create(tmp_path / "run", "train", settings=settings, data={"folder": str(data)})
    checkpoint.save(run.checkpoint("best"), model, {})
    common = ["evaluate", str(run.path), "--data", str(data), "--json", "--precision", "bf16"]
    printed = []
    for options in (["--out", str(tmp_path / "kept")], ["--no-scores", "--memory", "148kB"]):
        assert main([*common, *options]) == 0
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0] == printed[1]
    assert printed[1]["precision"] == "bf16"
    assert not run.scores_path("test").exists()
    for kept in ([], ["--no-scores"]):
        assert main([*common, *kept, "--memory", "27kB"]) == 2
        error = capsys.readouterr().err
        assert "one block of scores, 43 images with 215 captions, takes more than a memory of 27,000" in error
        assert error.endswith("bytes; give it 148kB at least\n")
        assert error.count("\n") == 1
    assert main([*common, "--scheduler", "nowhere"]) == 2
    assert "naaf: 'nowhere' is not a scheduler's address" in capsys.readouterr().err
    assert main([*common, "--scheduler", "nowhere", "--memory", "2GB"]) == 2
    assert "leave it out where a cluster scores" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "size"),
    [("1GB", 1e9), ("500 MB", 5e8), ("1.5gib", 1.5 * 2**30), ("2KiB", 2048), ("7", 7), ("3T", 3e12)],
)
def test_sizes_are_read_as_they_are_written(text, size):
    assert memory(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0GB", "1 giraffe", "1e9", "1,5GB"])
def test_what_is_no_size_is_one_sentence(text, capsys):
    assert main(["evaluate", "run", "--data", "folder", f"--memory={text}"]) == 2
    error = capsys.readouterr().err
    assert f"{text!r} is no size; take for example 500MB or 2GB" in error
    assert error.count("\n") == 1


# ---- counting


@pytest.mark.parametrize("levels", [2, 5, 1000])
@pytest.mark.parametrize("top", [1, 2, 7])
def test_blocks_in_any_order_count_as_the_whole_does(levels, top):
    """Few levels: most scores tie."""
    rng = seeds.rng(levels)
    matrix = rng.integers(-levels, levels, size=(13, 39)).astype("f4")
    own = matrix[np.arange(39) // 3, np.arange(39)]
    tiles = [
        (slice(r, min(r + 5, 13)), slice(c, min(c + 11, 39)))
        for r in range(0, 13, 5)
        for c in range(0, 39, 11)
    ]
    expected = retrieval_metrics(matrix, 3, top)
    for seed in range(3):
        counter = RankCounter(own, 3, top)
        for index in seeds.rng(seed).permutation(len(tiles)):
            counter.add(matrix[tiles[index]], *tiles[index])
        np.testing.assert_array_equal(counter.image_ranks, expected.i2t.ranks)
        np.testing.assert_array_equal(counter.caption_ranks, expected.t2i.ranks)
        for best, other in (
            (counter.image_best, expected.i2t.best),
            (counter.caption_best, expected.t2i.best),
        ):
            np.testing.assert_array_equal(best.answers, other.answers)
            np.testing.assert_array_equal(best.scores, other.scores)


def counted(matrix, own, per_image, top=1):
    """The ranks that tiles of the matrix count against own scores, which another processor may have made."""
    counter = RankCounter(own, per_image, top)
    images, captions = matrix.shape
    for r in range(0, images, 5):
        for c in range(0, captions, 11):
            tile = slice(r, min(r + 5, images)), slice(c, min(c + 11, captions))
            counter.add(matrix[tile], *tile)
    return metrics_of(counter)


@pytest.mark.parametrize("per_image", [1, 3, 5])
@pytest.mark.parametrize("to", [-np.inf, np.inf])
def test_an_own_score_s_last_bit_changes_no_rank_and_no_answer(to, per_image):
    """No two scores are equal: the order of right and wrong is the same with either bits."""
    captions = 13 * per_image
    matrix = seeds.rng(per_image).permutation(13 * captions).reshape(13, captions).astype("f4")
    own = matrix[np.arange(captions) // per_image, np.arange(captions)]
    before, moved = matrix.copy(), np.nextafter(own, np.float32(to))
    for which in (slice(None), slice(None, None, 2), slice(1, None, 2)):
        mixed = own.copy()
        mixed[which] = moved[which]
        found, expected = counted(matrix, mixed, per_image, 3), retrieval_metrics(matrix, per_image, 3)
        for way in ("i2t", "t2i"):
            ours, theirs = getattr(found, way), getattr(expected, way)
            np.testing.assert_array_equal(ours.ranks, theirs.ranks)
            np.testing.assert_array_equal(ours.best.answers, theirs.best.answers)
    np.testing.assert_array_equal(matrix, before)  # a tile is read, never written


@pytest.mark.parametrize("to", [-np.inf, np.inf])
def test_ranks_and_top_answers_go_by_the_same_own_scores(to):
    """All scores tie but for the last bit of the own ones: those are the best answers, or the worst."""
    matrix = np.zeros((13, 39), "f4")
    own = np.nextafter(np.zeros(39, "f4"), np.float32(to))
    found = counted(matrix, own, 3)
    np.testing.assert_array_equal(found.i2t.ranks == 0, found.i2t.top1 // 3 == np.arange(13))
    np.testing.assert_array_equal(found.t2i.ranks == 0, found.t2i.top1 == np.arange(39) // 3)
    assert {found.i2t.ranks.max(), found.t2i.ranks.max()} == ({0} if to > 0 else {36, 12})


@pytest.mark.parametrize("way", ["image_ranks", "caption_ranks"])
def test_counts_that_cannot_be_right_are_refused(way):
    matrix = seeds.rng(3).normal(size=(13, 39))
    whole = slice(0, 13), slice(0, 39)
    own = matrix[np.arange(39) // 3, np.arange(39)]
    right = RankCounter(own, 3).tile(*whole).counts(matrix)
    wrong = [
        replace(right, image_rivals=right.image_rivals * 0 - 1, caption_rivals=right.caption_rivals * 0 - 1),
        replace(right, image_rivals=right.image_rivals + 37, caption_rivals=right.caption_rivals + 13),
    ]
    for parts in ([wrong[0]], [wrong[1]], [], [right, right]):
        counter = RankCounter(own, 3)
        for part in parts:
            counter.merge(part)
        with pytest.raises(NaafError, match=r"ranks .* cannot be right; count each pair once") as refused:
            getattr(counter, way)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("columns", [None, 2])
def test_a_fold_is_ranked_as_if_it_were_alone(columns):
    matrix = seeds.rng(5).integers(0, 9, size=(12, 36)).astype("f4")
    counter = RankCounter(matrix[np.arange(36) // 3, np.arange(36)], 3, k=2, fold=4)
    found = metrics_of(
        counter, (tile.counts(matrix[tile.images, tile.captions]) for tile in counter.tiles(3, columns))
    )
    for first in (0, 4, 8):
        alone = retrieval_metrics(matrix[first : first + 4, 3 * first : 3 * first + 12], 3, top=2)
        for ours, theirs, moved in (
            (found.i2t, alone.i2t, 3 * first),
            (found.t2i, alone.t2i, first),
        ):
            rows = slice(len(ours.ranks) * first // 12, len(ours.ranks) * (first + 4) // 12)
            np.testing.assert_array_equal(ours.ranks[rows], theirs.ranks)
            np.testing.assert_array_equal(ours.best.answers[rows], theirs.best.answers + moved)
            np.testing.assert_array_equal(ours.best.scores[rows], theirs.best.scores)
    assert_same(found, retrieval_metrics(matrix, 3, top=2, fold=4))


def test_images_that_do_not_fill_their_folds_are_refused():
    with pytest.raises(NaafError, match="13 images do not fill folds of 5; take whole folds"):
        retrieval_metrics(np.zeros((13, 39)), 3, fold=5)


def test_an_own_score_that_is_not_finite_is_refused_before_anything_is_counted():
    own = np.zeros(39, "f4")
    own[31] = np.nan
    with pytest.raises(NaafError, match="image 10 is not finite"):
        RankCounter(own, 3)


@pytest.mark.parametrize("levels", [1, 3, 10**6])
@pytest.mark.parametrize("k", [1, 2, 5, 17, 99])
def test_best_answers_are_the_head_of_a_stable_sort(levels, k):
    matrix = seeds.rng(1).integers(0, levels, size=(7, 17)).astype("f4")
    order = np.argsort(-matrix, axis=1, kind="stable")[:, :k]
    found = best_answers(matrix, k, first=100)
    np.testing.assert_array_equal(found.answers, order + 100)
    np.testing.assert_array_equal(found.scores, np.take_along_axis(matrix, order, 1))
