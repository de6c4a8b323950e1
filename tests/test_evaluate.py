"""Evaluation: every pair once, the protocol by its name, ensembles of what belongs together."""

import json
import shutil

import numpy as np
import pytest
import seeds
import torch

import naaflib
from naaflib import load_checkpoint, open_split, retrieval_metrics
from naaflib.config import model_settings
from naaflib.data.vocabulary import Vocabulary
from naaflib.devices import pick_device
from naaflib.errors import NaafError, UsageError
from naaflib.evaluation import (
    PROTOCOLS,
    check_protocol,
    default_split,
    encode_split,
    ensemble,
    evaluate,
    protocol_metrics,
    score_encoded,
    score_rows,
    validation_metrics,
)
from naaflib.files import read_json
from naaflib.model import checkpoint
from naaflib.model.model import Model
from naaflib.runs import Run, open_group
from naaflib.similarity.boundary import Boundaries

REGION_DIM = 11


def new_model(folder, seed=0, **settings) -> Model:
    words = Vocabulary.build(open_split(folder, "train").captions, 1)
    seeds.manual_seed(seed)
    model = Model(model_settings(dim=7, word_dim=5, **settings), REGION_DIM, len(words), words)
    model.boundary = Boundaries(0.2, 0.15)
    return model.eval()


@pytest.fixture(scope="module")
def model(data):
    return new_model(data)


def new_run(path, model, data) -> Run:
    """A run folder with a model, as training leaves it."""
    from naaflib.config import Settings

    settings = Settings(model=model.settings, train={"seed": 0})
    run = Run.create(path, "train", settings=settings.model_dump(), data={"folder": str(data)})
    checkpoint.save(run.checkpoint("best"), model, {})
    return run


@pytest.fixture
def run(tmp_path, model, data):
    return new_run(tmp_path / "run", model, data)


def test_the_public_names_are_functions_whatever_was_imported_before():
    for name in naaflib.__all__:
        assert callable(getattr(naaflib, name)), name


# ---- scores


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"lambda_intra": None, "lambda_softmax": 9.0},
        {"method": "scan-t2i"},
        {"method": "scan-i2t", "pooling": "lse"},
        {"image_encoder": "weight-norm"},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())) or "default",
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_are_the_model_s_scores_of_everything_at_once(data, settings, dtype):
    model = new_model(data, **settings).to(dtype)
    model.boundary = Boundaries(0.2, 0.15)
    split = open_split(data, "dev")
    images = model.encode_images(torch.from_numpy(split.regions.gather(np.arange(len(split)))))
    expected = model.score(images, *model.encode_texts(split.captions)).numpy()
    found = score_encoded(model, encode_split(model, split), progress=False)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12 if dtype == torch.float64 else 2e-6)
    metrics = validation_metrics(model, split)
    assert metrics.rsum == retrieval_metrics(found).rsum


def test_rows_come_in_blocks_and_chunks_of_captions_change_nothing(data, model, monkeypatch):
    from naaflib.evaluation import encoding

    monkeypatch.setattr("naaflib.similarity.matrix.BLOCK_IMAGES", 8)
    split = open_split(data, "train")
    whole = score_encoded(model, encode_split(model, split), progress=False)
    monkeypatch.setattr(encoding, "CHUNK", 3)
    encoded = encode_split(model, split)
    assert [len(rows) for rows in score_rows(model, encoded, progress=False)] == [8, 3]
    np.testing.assert_allclose(score_encoded(model, encoded, progress=False), whole, rtol=0, atol=2e-6)


def test_a_column_is_a_caption_in_the_split_s_order(data, model):
    split = open_split(data, "dev")
    scores = evaluate(model, data, split="dev").scores
    image = model.encode_images(torch.from_numpy(split.regions[3])[None])
    for caption in (0, 13, 34):
        one = model.score(image, *model.encode_texts([split.captions[caption]]))
        assert scores[3, caption] == pytest.approx(one.item(), abs=2e-6)


def test_bf16_products_are_close(data, model):
    encoded = encode_split(model, open_split(data, "dev"))
    exact, rough = (score_encoded(model, encoded, False, precision) for precision in ("float32", "bf16"))
    np.testing.assert_allclose(rough, exact, atol=0.1)
    assert not np.array_equal(rough, exact)
    with pytest.raises(UsageError, match="no precision 'float16'"):
        score_encoded(model, encoded, False, "float16")


def test_the_inference_boundary_is_used(data):
    model = new_model(data)
    first = evaluate(model, data, split="dev").scores
    model.boundary = Boundaries(0.9, 0.15)
    np.testing.assert_array_equal(evaluate(model, data, split="dev").scores, first)
    model.boundary = Boundaries(0.2, 0.4)
    assert not np.allclose(evaluate(model, data, split="dev").scores, first)


# ---- protocols


def test_coco_1k_is_the_mean_over_five_folds():
    rng = seeds.rng(0)
    per_image, fold = 2, 1000
    scores = np.zeros((5 * fold, 5 * fold * per_image), "f4")  # what is outside the folds is never looked at
    folds = []
    for f in range(5):
        block = rng.normal(size=(fold, fold * per_image)).astype("f4")
        block += (1 + f) * np.kron(np.eye(fold, dtype="f4"), np.ones(per_image, "f4"))
        scores[f * fold : (f + 1) * fold, f * fold * per_image : (f + 1) * fold * per_image] = block
        folds.append(retrieval_metrics(block, per_image))
    found = protocol_metrics(scores, "coco-1k", per_image)
    for way in ("i2t", "t2i"):
        for name in ("at_1", "at_5", "at_10", "mean_rank"):
            mean = np.mean([getattr(getattr(one, way), name) for one in folds])
            assert getattr(getattr(found, way), name) == pytest.approx(mean, rel=1e-12)
        ranks = np.concatenate([getattr(one, way).ranks for one in folds])
        np.testing.assert_array_equal(getattr(found, way).ranks, ranks)
        assert getattr(found, way).median_rank == np.floor(np.median(ranks)) + 1
    assert found.rsum == pytest.approx(np.mean([one.rsum for one in folds]))
    assert 20 < found.i2t.at_1 < 99
    top = found.i2t.top1  # counted over the whole split
    assert all((top[f * fold : (f + 1) * fold] // (fold * per_image) == f).all() for f in range(5))
    hits = top // per_image == np.arange(5 * fold)
    assert 100 * hits.mean() == pytest.approx(found.i2t.at_1)
    answers = found.t2i.top1 == np.arange(5 * fold * per_image) // per_image
    assert 100 * answers.mean() == pytest.approx(found.t2i.at_1)


def test_full_and_f30k_1k_rank_everything():
    rng = seeds.rng(1)
    scores = rng.normal(size=(1000, 2000)).astype("f4") + 3 * np.kron(np.eye(1000), np.ones(2)).astype("f4")
    whole = retrieval_metrics(scores, 2)
    for protocol in ("full", "f30k-1k"):
        found = protocol_metrics(scores, protocol, 2)
        np.testing.assert_array_equal(found.i2t.ranks, whole.i2t.ranks)
        np.testing.assert_array_equal(found.t2i.ranks, whole.t2i.ranks)


@pytest.mark.parametrize(
    ("protocol", "images"), [("f30k-1k", 999), ("f30k-1k", 1014), ("coco-1k", 1000), ("coco-5k", 4999)]
)
def test_a_protocol_is_made_for_its_number_of_images(protocol, images):
    with pytest.raises(UsageError, match=f"{protocol} is made for [15]000 .* holds {images}"):
        check_protocol(protocol, images)
    check_protocol("full", images)


def test_protocols_have_names():
    assert PROTOCOLS == ("full", "f30k-1k", "coco-1k", "coco-5k")
    check_protocol("f30k-1k", 1000)
    check_protocol("coco-1k", 5000)
    check_protocol("coco-5k", 5000)
    with pytest.raises(UsageError, match="no protocol 'flickr'; protocols: full, f30k-1k"):
        check_protocol("flickr", 1000)


def test_a_split_of_another_size_is_refused_before_it_is_scored(data, run, monkeypatch):
    monkeypatch.setattr(Model, "encode_images", None)
    for protocol in ("f30k-1k", "coco-1k", "coco-5k"):
        with pytest.raises(UsageError, match=f"{protocol} is made for"):
            evaluate(run, data, protocol=protocol)
    assert not (run.path / "scores").exists()


def test_the_split_is_test_else_dev_and_testall_for_coco(data, write_split, tmp_path):
    assert default_split(data, "full") == "test"
    assert default_split(data, "coco-1k") == "test"
    folder = write_split(tmp_path / "a", "dev", 2)
    assert default_split(folder, "full") == "dev"
    write_split(folder, "testall", 2)
    assert default_split(folder, "full") == "dev"
    assert default_split(folder, "coco-5k") == "testall"
    with pytest.raises(NaafError, match="is not a data set"):
        default_split(tmp_path, "full")
    write_split(tmp_path / "b", "train", 2)
    with pytest.raises(NaafError, match="none of the splits test, dev; name one of: train"):
        default_split(tmp_path / "b", "full")


# ---- what an evaluation says and keeps


def test_a_result_names_its_split_and_protocol(data, model):
    found = evaluate(model, data)
    assert (found.images, found.captions) == (5, 25)
    assert found.split.name == "test"
    sentence = found.sentence()
    rsum = f"rsum {found.metrics.rsum:.1f}"
    for part in ("test", "5 images", "25 captions", "protocol full", rsum, "naaf"):
        assert part in sentence
    assert "\n" not in sentence


def test_a_result_on_the_split_that_chose_the_best_epoch_says_so(data, model):
    test, dev = (evaluate(model, data, split=name) for name in ("test", "dev"))
    assert not test.chose_best_epoch
    assert "chose the best epoch" not in test.sentence()
    assert dev.chose_best_epoch
    assert "chose the best epoch" in dev.sentence()
    assert dev.record()["chose_best_epoch"] is True


def test_every_query_has_a_row(data, model):
    found = evaluate(model, data, split="dev")
    split, table = found.split, found.query_table()
    assert len(table) == 7 + 35
    i2t, t2i = (table[table.direction == way].set_index("query") for way in ("i2t", "t2i"))
    np.testing.assert_array_equal(i2t["rank"], found.metrics.i2t.ranks + 1)  # a person counts from 1
    np.testing.assert_array_equal(t2i["rank"], found.metrics.t2i.ranks + 1)
    for image in range(7):
        best = int(found.scores[image].argmax())
        assert i2t.top_answer[image] == best
        assert i2t.top_text[image] == split.captions[best]
        assert i2t.own_text[image] == split.captions[5 * image]
        assert i2t.query_text[image] == f"dev image {image}"
    for caption in (0, 17, 34):
        best = int(found.scores[:, caption].argmax())
        assert t2i.query_text[caption] == split.captions[caption]
        assert t2i.top_text[caption] == f"dev image {best}"
        assert t2i.own_text[caption] == f"dev image {caption // 5}"


def test_a_run_keeps_its_scores_metrics_and_queries(data, run):
    found = evaluate(run, data)
    np.testing.assert_array_equal(np.load(run.scores_path("test")), found.scores)
    record = read_json(run.metrics_path("test", "full"))
    assert record == json.loads(json.dumps(found.record()))
    assert record["rsum"] == found.metrics.rsum
    what = [record[name] for name in ("split", "protocol", "images", "captions")]
    assert what == ["test", "full", 5, 25]
    import pandas as pd

    table = pd.read_csv(run.path / "tables" / "queries_test_full.csv")
    assert table["rank"].tolist() == found.query_table()["rank"].tolist()
    assert not list(run.path.rglob("*partial*"))


def test_every_name_of_a_model_gives_the_same_scores(data, run, model, tmp_path):
    expected = evaluate(model, data).scores
    for source in (run, run.path, str(run.path), run.checkpoint("best"), load_checkpoint(run.path)):
        np.testing.assert_array_equal(evaluate(source, data).scores, expected)
    group = open_group(tmp_path / "group")
    shutil.copytree(run.path, group.path / "members" / "0")
    np.testing.assert_array_equal(evaluate(group.path, data).scores, expected)
    shutil.copytree(run.path, group.path / "members" / "1")
    with pytest.raises(NaafError, match="group holds 2 members"):
        evaluate(group.path, data)


def test_a_checkpoint_writes_only_where_it_is_told(data, run, tmp_path):
    before = sorted(path.as_posix() for path in run.path.rglob("*"))
    evaluate(run.checkpoint("best"), data)
    found = evaluate(run, data, split="dev", out=tmp_path / "elsewhere")
    assert sorted(path.as_posix() for path in run.path.rglob("*")) == before
    np.testing.assert_array_equal(np.load(tmp_path / "elsewhere" / "scores" / "dev.npy"), found.scores)
    assert (tmp_path / "elsewhere" / "metrics" / "dev.full.json").is_file()


def test_the_trained_run_evaluates_to_its_best_epoch(trained, scenes, tmp_path):
    found = evaluate(trained, scenes, split="dev", out=tmp_path)
    assert found.metrics.rsum == pytest.approx(trained.history().rsum.max())
    assert "scenes dev (10 images, 50 captions)" in found.sentence()


# ---- wrong input


def copied(data, folder):
    shutil.copytree(data, folder)
    return folder


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_one_sentence(data, run, tmp_path, bad):
    folder = copied(data, tmp_path / "bad")
    features = np.load(folder / "test_ims.npy")
    features[3, 1, 2] = bad
    np.save(folder / "test_ims.npy", features)
    with pytest.raises(NaafError, match=r"test_ims\.npy, image 3: its features are not finite") as refused:
        evaluate(run, folder)
    assert "\n" not in str(refused.value)
    assert not (run.path / "scores").exists()
    assert not (run.path / "metrics").exists()


def test_another_feature_dimension_is_one_sentence(data, run, write_split, tmp_path):
    folder = write_split(tmp_path / "wide", "test", 3, dim=13)
    with pytest.raises(NaafError, match=r"test_ims\.npy has 13 features a region .* trained on 11"):
        evaluate(run, folder)
    assert not (run.path / "scores").exists()


def test_another_number_of_regions_is_fine(run, write_split, tmp_path):
    folder = write_split(tmp_path / "more", "test", 3, regions=4)
    assert evaluate(run, folder, out=tmp_path / "out").scores.shape == (3, 15)


def test_a_model_without_a_vocabulary_is_one_sentence(data, model):
    bare = Model(model.settings, REGION_DIM, len(model.vocabulary))
    with pytest.raises(NaafError, match=r"no vocabulary; name its JSON \(--vocabulary\)"):
        evaluate(bare, data)


def test_what_is_not_there_is_named(data, run, tmp_path):
    with pytest.raises(UsageError, match="no split 'train2'"):
        evaluate(run, data, split="train2")
    with pytest.raises(NaafError, match="gone"):
        evaluate(run, tmp_path / "gone")
    with pytest.raises(NaafError, match="gone does not exist"):
        evaluate(tmp_path / "gone", data)
    with pytest.raises(NaafError, match="is not a run"):
        evaluate(data, data)
    with pytest.raises(UsageError, match="cannot use the device 'abacus'"):
        evaluate(run, data, device="abacus")


def test_the_device_is_the_cpu_where_there_is_no_other():
    assert pick_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        assert pick_device("auto") == torch.device("cpu")
        with pytest.raises(UsageError, match="cannot use the device 'cuda'"):
            pick_device("cuda")
    with pytest.raises(UsageError, match="cannot use the device 'meta'"):
        pick_device("meta")


# ---- ensembles


@pytest.fixture
def two(tmp_path, data, run):
    return [run, new_run(tmp_path / "other", new_model(data, seed=1, lambda_softmax=9.0), data)]


def test_an_ensemble_is_the_mean_of_the_scores(data, two):
    scores = [evaluate(one, data).scores for one in two]
    found = ensemble(two)
    mean = np.mean(np.stack(scores).astype("f8"), axis=0)
    np.testing.assert_allclose(found.scores, mean, rtol=0, atol=1e-7)
    assert found.metrics.rsum == retrieval_metrics(found.scores).rsum
    assert "ensemble of 2" in found.sentence()
    assert len(found.members) == 2
    again = ensemble([two[1], two[0]])
    np.testing.assert_allclose(again.scores, found.scores, rtol=0, atol=1e-7)


def test_members_may_be_runs_folders_or_saved_scores(data, two):
    expected = ensemble(two, split="dev")
    saved = [one.scores_path("dev") for one in two]
    assert all(path.is_file() for path in saved)  # made where they were missing
    assert np.load(saved[0]).shape == (7, 35)
    paths = [one.path for one in two]
    for sources in (paths, [str(path) for path in paths], saved, [str(saved[0]), two[1]]):
        found = ensemble(sources, data=data, split="dev")
        np.testing.assert_array_equal(found.scores, expected.scores)


def test_saved_scores_are_used_and_old_ones_made_anew(data, two):
    expected = ensemble(two).scores
    path = two[0].scores_path("test")
    np.save(path, np.load(path) + 1)  # another file shows that it is read
    np.testing.assert_allclose(ensemble(two).scores, expected + 0.5, atol=1e-6)
    checkpoint.save(two[0].checkpoint("best"), new_model(data, seed=7), {})
    expected = np.mean([evaluate(one.checkpoint("best"), data).scores for one in two], axis=0)
    np.testing.assert_allclose(ensemble(two).scores, expected, rtol=0, atol=1e-7)


def test_scores_are_reused_only_for_what_made_them(data, run, tmp_path):
    folder = copied(data, tmp_path / "changing")
    first = np.array(evaluate(run, folder).scores)  # a copy: they are mapped from the file

    def marked():
        """Whether an evaluation takes the saved scores, which a mark tells apart."""
        path = run.scores_path("test")
        np.save(path, np.load(path) + 1)
        found = evaluate(run, folder, reuse=True).scores
        return bool(np.allclose(found, np.load(path)) and np.abs(found - first).min() > 0.9)

    assert marked()
    assert not np.allclose(evaluate(run, folder).scores, first + 1)  # not asked for: scored anew
    for path in (folder / "test_ims.npy", folder / "test_caps.txt", run.checkpoint("best")):
        if path.suffix == ".npy":
            np.save(path, np.load(path) * np.float32(0.999))
        elif path.suffix == ".txt":
            path.write_text(path.read_text().replace("sun", "rain"))
        else:
            checkpoint.save(path, new_model(data, seed=8), {})
        first = evaluate(run.checkpoint("best"), folder).scores
        assert not marked(), path.name
        assert marked(), path.name


def test_rounded_scores_of_an_earlier_version_are_not_reused(data, run):
    """They had the rounded product's recalls."""
    expected = np.array(evaluate(run, data, precision="bf16").scores)
    path = run.scores_path("test")
    about = path.with_suffix(".json")
    for old in (False, True):
        np.save(path, expected + 1)
        if old:
            about.write_text(json.dumps({**read_json(about), "recalls": None}))
        found = evaluate(run, data, precision="bf16", reuse=True).scores
        np.testing.assert_allclose(found, expected + (not old), atol=1e-6)


def test_the_scores_of_another_run_are_not_overwritten(data, two):
    for source in (two[0], two[0].checkpoint("best")):
        with pytest.raises(NaafError, match="other holds another run"):
            evaluate(source, data, out=two[1].path)
    assert not (two[1].path / "scores").exists()
    evaluate(two[0], data, out=two[0].path)
    assert two[0].scores_path("test").is_file()


def test_more_members_count_alike(data, two, tmp_path):
    three = [*two, new_run(tmp_path / "third", new_model(data, seed=2), data)]
    scores = np.stack([evaluate(one, data).scores for one in three]).astype("f8")
    np.testing.assert_allclose(ensemble(three).scores, scores.mean(axis=0), rtol=0, atol=1e-7)


def test_an_ensemble_gets_a_run_of_its_own_that_names_its_members(data, two, tmp_path):
    found = ensemble(two, out=tmp_path / "both")
    run = Run.open(tmp_path / "both")
    assert run.kind == "ensemble"
    assert run.config["members"] == list(found.members)
    np.testing.assert_array_equal(np.load(run.scores_path("test")), found.scores)
    record = read_json(run.metrics_path("test", "full"))
    assert record["members"] == list(found.members)
    assert record["rsum"] == found.metrics.rsum
    ensemble(two, split="dev", out=tmp_path / "both")  # another split beside it
    assert run.metrics_path("test", "full").is_file()
    assert run.metrics_path("dev", "full").is_file()
    with pytest.raises(NaafError, match="other holds a run of kind 'train'"):
        ensemble(two, out=two[1].path)


def test_members_of_other_splits_or_captions_are_refused(data, two, tmp_path):
    for one in two:
        evaluate(one, data, split="dev")
        evaluate(one, data, split="test")
    mixed = [two[0].scores_path("test"), two[1].scores_path("dev")]
    with pytest.raises(NaafError, match=r"dev\.npy holds scores of split 'dev'.*not of .* test"):
        ensemble(mixed, data=data, split="test")
    other = copied(data, tmp_path / "others")
    text = (other / "test_caps.txt").read_text().replace("cat", "cow").replace("dog", "fox")
    (other / "test_caps.txt").write_text(text)
    two[1].metrics_path("test", "full").unlink()  # with these, evaluate would refuse
    two[1].scores_path("test").with_suffix(".json").unlink()
    evaluate(two[1], other)
    with pytest.raises(
        NaafError, match=r"test\.npy holds scores of split 'test' of 'others', not of .* test"
    ):
        ensemble([one.scores_path("test") for one in two], data=data)


def test_saved_scores_of_another_shape_are_refused(data, two, tmp_path):
    evaluate(two[0], data)
    for shape, text in (((7, 35), "5 x 25"), ((5, 26), "5 x 25"), ((25,), "images x captions")):
        np.save(tmp_path / "bare.npy", np.zeros(shape, "f4"))
        with pytest.raises(NaafError, match=rf"bare\.npy holds {shape[0]}.* {text}"):
            ensemble([two[0], tmp_path / "bare.npy"])


def test_what_holds_no_scores_is_named(data, two, tmp_path):
    (tmp_path / "text.npy").write_text("hello")
    with (tmp_path / "zip.npy").open("wb") as file:
        np.savez(file, a=np.zeros((5, 25)))
    np.save(tmp_path / "objects.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    for name in ("text.npy", "zip.npy", "objects.npy", "gone.npy"):
        with pytest.raises(NaafError, match=name) as refused:
            ensemble([two[0], tmp_path / name])
        assert "\n" not in str(refused.value)
    scores = np.array(evaluate(two[0], data).scores)
    scores[2, 3] = np.nan
    np.save(tmp_path / "nan.npy", scores)
    with pytest.raises(NaafError, match="image 2 is not finite"):
        ensemble([two[0], tmp_path / "nan.npy"])
    with pytest.raises(NaafError, match="is not a run"):
        ensemble([two[0], data])


def test_an_ensemble_has_members(data, two, tmp_path):
    for sources in ([], two[:1]):
        with pytest.raises(UsageError, match="at least two members"):
            ensemble(sources)
    np.save(tmp_path / "a.npy", np.zeros((5, 25)))
    with pytest.raises(UsageError, match="add --data"):
        ensemble([tmp_path / "a.npy", tmp_path / "b.npy"])


def test_a_member_counts_once(data, two, tmp_path):
    evaluate(two[0], data)
    saved = two[0].scores_path("test")
    group = open_group(tmp_path / "group")
    (group.path / "members").mkdir()
    (group.path / "members" / "0").symlink_to(two[0].path)
    for sources in ([two[0], str(two[0].path)], [saved, two[1], saved], [two[0], group.path]):
        with pytest.raises(UsageError, match="is a member twice; name each member once"):
            ensemble(sources, data=data)


def test_an_ensemble_keeps_to_the_protocol(two):
    with pytest.raises(UsageError, match="f30k-1k is made for 1000 images"):
        ensemble(two, protocol="f30k-1k")


def test_results_of_another_data_set_never_replace_a_run_s_own(trained, scenes, tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    shutil.copytree(trained.path, run)
    shutil.copytree(scenes, other)
    captions = other / "test_caps.txt"
    captions.write_text(captions.read_text().replace("circle", "disc").replace("square", "box"))
    (other / "manifest.yaml").write_text(
        (other / "manifest.yaml").read_text().replace("name: scenes", "name: other")
    )
    evaluate(run, scenes, split="test")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(NaafError, match="holds the result of another data set, scenes; give --out a folder"):
        evaluate(run, other, split="test")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    evaluate(run, other, split="test", out=tmp_path / "elsewhere")
    evaluate(run, scenes, split="test")
    shutil.rmtree(run / "metrics")  # the scores alone are kept, too
    with pytest.raises(NaafError, match=r"scores/test\.json holds the result of another data set, scenes"):
        evaluate(run, other, split="test")
