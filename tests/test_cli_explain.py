"""`naaf explain` and the tables behind it: parts add up, files are whole, a mistake is one sentence."""

import json
import shutil
import sys
import weakref
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import seeds

import naaflib
from naaflib.cli import main
from naaflib.cli.explaining import WORD_COLUMNS
from naaflib.explanation import explain, explain_pairs, pair_rows, tables, write_pairs

TINY = ["train.epochs=1", "model.dim=8", "model.word_dim=8", "train.batch_size=24", "mining.min_words=20"]
TINY.append(f"train.seed={seeds.shifted()}")


@pytest.fixture(scope="module")
def runs(trained, scenes, tmp_path_factory):
    """A run of each method."""
    from naaflib.cli import main

    folder, found = tmp_path_factory.mktemp("methods"), {"naaf": trained.path}
    for method in ("scan-t2i", "scan-i2t"):
        words = ["train", "--data", scenes, "--out", folder / method, "--preset", "scenes"]
        assert main([str(word) for word in (*words, "--set", *TINY, f"model.method={method}")]) == 0
        found[method] = folder / method
    return found


@pytest.fixture
def naaf(capsys, scenes):
    """Run `naaf explain RUN --data scenes ...`; its exit status, standard output and standard error."""
    from naaflib.cli import main

    def run(*words):
        capsys.readouterr()
        source, *rest = map(str, words)
        status = main(["explain", source, "--data", str(scenes), *rest])
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def model(trained):
    return naaflib.load_checkpoint(trained.path).double()


@pytest.fixture(scope="module")
def split(scenes):
    return naaflib.open_split(scenes, "test")


@pytest.mark.parametrize("method", ["naaf", "scan-t2i", "scan-i2t"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_every_pair_of_a_split_adds_up_to_its_score_in_the_file(naaf, runs, split, tmp_path, method, suffix):
    read = pd.read_csv
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is optional: pip install pyarrow")
        read = pd.read_parquet
    file = tmp_path / f"words.{suffix}"
    status, out, _ = naaf(runs[method], "--all", "--out", file)
    assert status == 0
    table = read(file)
    assert f"{len(table):,} rows of {len(split.captions)} pairs" in out
    by_caption = table.groupby("caption")
    np.testing.assert_allclose(by_caption["effect"].mean(), by_caption["score"].first(), atol=1e-6)
    assert by_caption["image"].first().tolist() == split.image_of_caption.tolist()
    assert table["own"].all()
    captions = by_caption["word"].agg(list)
    pair = explain(naaflib.load_checkpoint(runs[method]), split, 3, 16)
    assert tuple(captions[16]) == pair.words
    own = table[table["caption"] == 16]
    np.testing.assert_allclose(own["best_cosine"], pair.best_cosine, atol=1e-5)
    most = pair.attention[np.arange(len(pair.words)), own["attended_region"]]
    np.testing.assert_allclose(most, pair.attention.max(axis=1), atol=1e-5)


def test_retrieved_pairs_are_those_that_retrieval_puts_first(naaf, runs, split, tmp_path):
    status, out, _ = naaf(runs["naaf"], "--all", "retrieved", "--json", "--out", tmp_path / "words.csv")
    assert status == 0
    table = pd.read_csv(tmp_path / "words.csv")
    result = json.loads(out)
    assert (result["pairs"], result["files"][0]["rows"]) == (len(split.captions), len(table))
    model = naaflib.load_checkpoint(runs["naaf"])
    regions = model.encode_images(np_tensor(split.regions.gather(np.arange(len(split)))))
    scores = model.score(regions, *model.encode_texts(split.captions))
    first = table.groupby("caption").first()
    best = scores.amax(dim=0).numpy()
    np.testing.assert_allclose(scores.numpy()[first["image"], first.index], best, atol=1e-5)
    np.testing.assert_allclose(first["score"], best, atol=1e-5)
    assert first["own"].tolist() == (first["image"] == split.image_of_caption).tolist()


def test_retrieved_pairs_come_from_saved_scores_of_the_same_weights_alone(naaf, trained, scenes, tmp_path):
    run = shutil.copytree(trained.path, tmp_path / "run")
    assert main(["evaluate", str(run), "--data", str(scenes), "--split", "test"]) == 0
    path = run / "scores" / "test.npy"
    scores = np.load(path)
    scores[4] = 9  # every caption retrieves image 4, in the saved scores alone
    np.save(path, scores)
    command = (run, "--all", "retrieved", "--out", tmp_path / "words.csv")
    _, _, err = naaf(*command)
    assert "retrieved by the run's saved scores of test" in err
    assert set(pd.read_csv(tmp_path / "words.csv")["image"]) == {4}
    about = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**about, "checkpoint": "another"}))
    _, _, err = naaf(*command)
    assert "saved scores" not in err
    assert set(pd.read_csv(tmp_path / "words.csv")["image"]) != {4}


def test_pairs_are_taken_apart_once_for_all_files(naaf, runs, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "naaflib.explanation.explain_pairs", lambda *given: calls.append(given) or explain_pairs(*given)
    )
    files = [tmp_path / "first.csv", tmp_path / "second.csv"]
    status, out, _ = naaf(runs["naaf"], "--all", "--json", "--out", *files, files[0])  # one of them twice
    assert status == 0
    assert len(calls) == 1
    assert files[0].read_bytes() == files[1].read_bytes()
    rows = len(pd.read_csv(files[0]))
    assert [(one["file"], one["rows"]) for one in json.loads(out)["files"][:2]] == [
        (str(file), rows) for file in files
    ]
    assert sorted(tmp_path.iterdir()) == files


def np_tensor(array):
    import torch

    return torch.from_numpy(array)


def test_one_pair_is_a_row_a_word_on_the_screen_and_in_json(naaf, runs, split):
    status, out, _ = naaf(runs["naaf"], "--caption", 16)
    assert status == 0
    pair = explain(naaflib.load_checkpoint(runs["naaf"]), split, 3, 16)
    head, rows, *_ = out.split("\n\n")
    assert f"test, image 3 ({split.image_names[3]})" in head
    assert f"score {pair.score:.4f}: the mean of the column effect" in head
    lines = rows.splitlines()
    shown = [word if known else f"{word}?" for word, known in zip(pair.words, pair.known, strict=True)]
    assert [line.split()[0] for line in lines[1:]] == shown
    assert lines[0].split()[:4] == ["feature", "relevance", "negative", "effect"]
    record = json.loads(naaf(runs["naaf"], "--image", split.image_names[3], "--caption", 16, "--json")[1])
    assert [row["word"] for row in record["words"]] == list(pair.words)
    assert np.mean([row["effect"] for row in record["words"]]) == pytest.approx(record["score"], abs=1e-6)


def test_a_score_comes_with_its_rank_and_that_of_the_image_s_own_caption(naaf, trained, split, tmp_path):
    run = shutil.copytree(trained.path, tmp_path / "run")
    model = naaflib.load_checkpoint(run)
    regions = model.encode_images(np_tensor(split.regions.gather(np.array([3]))))
    scores = model.score(regions, *model.encode_texts(split.captions))[0].numpy()
    order = np.argsort(-scores).tolist()
    own = next(caption for caption in order if caption // 5 == 3)
    other = next(caption for caption in order[20:] if caption // 5 != 3)
    for caption in (own, other):
        status, out, _ = naaf(run, "--image", 3, "--caption", caption)
        assert status == 0
        assert f"rank {order.index(caption) + 1} of 50 captions for this image; " in out
        best = f"its best own caption, {own}, has rank {order.index(own) + 1}, score {scores[own]:.4f}\n"
        assert (best in out) == (caption == other)
        assert ("; the best of its own\n" in out) == (caption == own)
    record = json.loads(naaf(run, "--image", 3, "--caption", "a red star", "--json")[1])
    assert record["rank"] == 1 + int((scores > record["score"]).sum())
    assert (record["captions"], record["own_caption"]) == (50, own)
    assert record["own_score"] == pytest.approx(scores[own], abs=1e-5)
    assert main(["evaluate", str(run), "--split", "test"]) == 0
    saved = np.load(run / "scores" / "test.npy")
    saved[3] = -saved[3]  # the run's own scores are taken where there are some
    np.save(run / "scores" / "test.npy", saved)
    assert f"rank {50 - order.index(other)} of 50" in naaf(run, "--image", 3, "--caption", other)[1]


def test_what_is_printed_fits_the_terminal(naaf, runs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for words in (["--caption", 16], ["--caption", 16, "--regions"]):
        _, out, _ = naaf(runs["naaf"], *words)
        assert max(map(len, out.splitlines())) <= 80
    assert "attention" in naaf(runs["naaf"], "--caption", 16)[1].split("\n\n")[1].splitlines()[0]  # one block


def test_scan_shows_the_columns_that_it_has(naaf, runs):
    _, out, _ = naaf(runs["scan-t2i"], "--caption", 0)
    assert out.split("\n\n")[1].splitlines()[0].split() == [
        "effect",
        "cosine",
        "region",
        "attends",
        "attention",
    ]


def test_a_question_mark_is_explained_where_there_is_one(naaf, runs):
    cases = product((("a zeppelin", True), ("a star", False)), ([], ["--regions"]))
    for (caption, explained), options in cases:
        _, out, _ = naaf(runs["naaf"], "--image", 2, "--caption", caption, *options)
        assert ("?" in out) == explained
        assert (
            out.endswith("\nA word with a question mark is unknown to the model, which reads <unk>.\n")
            == explained
        )


def test_help_says_which_printed_column_is_which_of_the_files(model, split, capsys):
    with pytest.raises(SystemExit):
        main(["explain", "--help"])
    lines = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    columns = explain(model, split, 0, 0).word_columns()
    assert set(WORD_COLUMNS) | {"word", "known", "propagated"} == set(columns)
    assert ["-", "propagated"] in lines  # in files alone: where it is below 0, mismatch is too
    assert all([shown, name] in lines for name, shown in WORD_COLUMNS.items())


def test_with_regions_there_is_a_row_a_word_and_region(naaf, runs, split, tmp_path):
    words = ("--image", 2, "--caption", "a zeppelin", "--regions", "--out", tmp_path / "regions.csv")
    status, out, _ = naaf(runs["naaf"], *words)
    assert status == 0
    regions = split.regions.shape[1]
    assert len(out.split("\n\n")[1].splitlines()) == 1 + 4 * regions
    table = pd.read_csv(tmp_path / "regions.csv")
    assert len(table) == 4 * regions
    assert table["caption"].isna().all()
    np.testing.assert_array_equal(table[["x1", "y1", "x2", "y2"]][:regions], split.boxes[2])
    shares = table.groupby("word_index")["attention"].sum()
    np.testing.assert_allclose(shares, 1, atol=1e-5)


@pytest.mark.parametrize("figure", ["picture", "words", "attention"])
def test_a_figure_is_written_beside_a_table(naaf, runs, tmp_path, figure):
    files = [tmp_path / name for name in ("page.png", "page.pdf", "page.svg", "words.csv")]
    status, _, err = naaf(runs["naaf"], "--caption", 7, "--figure", figure, "--out", *files)
    assert status == 0
    assert all(file.stat().st_size > 500 for file in files)
    assert all(f"wrote {file}" in err for file in files)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ([], 2, "name a pair with --image and --caption, or every caption with --all"),
        (["--all", "--caption", "3", "--out", "x.csv"], 2, "name a pair"),
        (["--all"], 2, "--all goes to a table"),
        (["--all", "--out", "x.png"], 2, "a figure shows one pair"),
        (["--caption", "3", "--out", "x.xlsx"], 2, ".parquet for a table, .png, .pdf or .svg for a figure"),
        (["--caption", "3", "--figure", "words"], 2, "needs a file to draw into; name one with --out"),
        (["--caption", "3", "--figure", "words", "--out", "x.csv"], 2, "--figure words needs a file"),
        (["--image", "3", "--caption", "-1"], 1, "there is no caption '-1'; write a number from 0 to 49"),
        (["--image", "3", "--caption", "4.5 !"], 1, "there is no caption '4.5 !'"),
        (["--caption", "a star"], 2, "belongs to no image; name one with --image"),
        (["--caption", "50"], 1, "there is no caption 50; the captions of test are 0 to 49"),
        (["--image", "nothing.jpg"], 1, "there is no picture 'nothing.jpg'; write a number from 0 to 9"),
        (["--image", "3", "--caption", " "], 1, "the caption has no words"),
        (["--caption", "3", "--split", "other"], 2, "no split 'other'"),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    naaf, runs, tmp_path, monkeypatch, words, status, says
):
    monkeypatch.chdir(tmp_path)
    found, out, err = naaf(runs["naaf"], *words)
    assert found == status
    assert out == ""
    assert err.startswith("naaf: ")
    assert says in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_parquet_without_pyarrow_is_refused_before_anything_is_read(naaf, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    status, _, err = naaf(tmp_path / "no_run", "--all", "--out", tmp_path / "x.parquet")
    assert status == 2
    assert "needs pyarrow, which is not installed; pip install pyarrow, or name a .csv file" in err


def test_a_run_of_several_members_names_them(naaf, runs, tmp_path):
    for member in "01":
        shutil.copytree(runs["naaf"], tmp_path / "group" / "members" / member)
    (tmp_path / "group" / "config.json").write_text('{"kind": "group"}')
    status, _, err = naaf(tmp_path / "group", "--caption", 3)
    assert status == 1
    assert "holds 2 members; name one" in err


def test_a_table_is_written_block_by_block(model, split, tmp_path, monkeypatch):
    """However many pairs there are, a few are in memory."""
    monkeypatch.setattr(tables, "BLOCK", 4)
    made, most = [], []

    def pairs():
        for pair in explain_pairs(model, split, split.image_of_caption, range(len(split.captions))):
            copy = replace(pair)
            made.append(weakref.ref(copy))
            most.append(sum(one() is not None for one in made))
            yield copy
            del copy

    written = write_pairs(tmp_path / "words.csv", pairs())
    assert len(most) == len(split.captions)
    assert max(most) <= 9  # the block being gathered, the one that was written last, and the next
    table = pd.read_csv(tmp_path / "words.csv")
    assert len(table) == written
    whole = pair_rows(explain_pairs(model, split, split.image_of_caption, range(len(split.captions))))
    pd.testing.assert_frame_equal(table, whole, check_dtype=False, check_exact=True)
    by_caption = table.groupby("caption")
    np.testing.assert_allclose(by_caption["effect"].mean(), by_caption["score"].first(), atol=1e-12)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_table_that_was_interrupted_leaves_what_stood_there(model, split, tmp_path, monkeypatch, suffix):
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow is optional: pip install pyarrow")
    monkeypatch.setattr(tables, "BLOCK", 2)
    file = tmp_path / f"words.{suffix}"
    file.write_text("as it was")

    def interrupted():
        yield from explain_pairs(model, split, [0, 1, 2], [0, 5, 10])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs([file, tmp_path / "other.csv"], interrupted())
    assert file.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [file]


def test_texts_and_captions_stand_in_one_table(model, split):
    rows = pair_rows(explain_pairs(model, split, [0, 3], ["a star", 16]))
    texts, own = rows[rows["image"] == 0], rows[rows["image"] == 3]
    assert texts["caption"].isna().all()
    assert texts["own"].isna().all()
    assert own["caption"].tolist() == [16] * len(own)
    assert own["own"].all()
