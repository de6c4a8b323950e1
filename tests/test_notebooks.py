"""The notebooks, executed in order on a tiny data set, and what their cells call.

They run once in kernels of their own; what differs from that (no run, one member, no pictures) runs
their cells here.
"""

import ast
import json
import re
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import seeds

from naaflib.batch.notebooks import select

pytestmark = pytest.mark.trains
FOLDER = Path(__file__).parents[1] / "notebooks"
SETTINGS = (
    "model.dim=32, model.word_dim=16, train.epochs=2, train.batch_size=16, mining.min_words=20, "
    "loss.warmup_epochs=1"
)
MEMBERS = [str(seeds.shifted(seed)) for seed in (0, 1)]
FIGURES = {
    "01": ["captions", "vocabulary", "images", "feature_norms"],
    "02": ["training", "members"],
    "03": [
        "recalls",
        "ranks",
        "margins",
        "pictures_best",
        "pictures_worst",
        "captions_best",
        "captions_worst",
    ],
    "04": ["ensemble"],
    "05": [
        *("pair1_right", "pair1_tempting", "pair1_unfit", "attention_pair1", "matrix_right", "matrix_unfit"),
        *("pointing", "foils"),
    ],
    "06": ["distributions", "hardest", "epochs", "boundary"],
    "08": ["answers", "first", "attention", "last", "wrong"],
    "09": ["forest", "changes"],
}
TABLES = {
    "01": ["counts", "checks", "coverage"],
    "02": ["best_epochs"],
    "03": ["recalls", "results"],
    "04": ["ensemble"],
    "05": ["pairs", "words_pair1", "results", "evidence", "kinds", "classes"],
    "06": ["separation", "epochs"],
    "08": ["wrong"],
    "09": ["judged", "differences"],
}
NAMES = [notebook.name for notebook in select()]  # all but 07, which compares runs and has tests of its own


@pytest.fixture(scope="module")
def executed(scenes, tmp_path_factory):
    """The record of these notebooks, two members trained."""
    from naaflib.batch import run_notebooks

    parameters = {"data": str(scenes), "settings": SETTINGS, "members": "2", "pairs": "1", "seed": MEMBERS[0]}
    parameters["wrong"] = "a large green circle"  # whether the first text has a foil depends on the seed
    out = tmp_path_factory.mktemp("outputs") / "walk"
    return run_notebooks(None, out, parameters, progress=False, timeout=600)


def outputs(record, name: str) -> list:
    node = nbformat.read(record.out / "notebooks" / f"{name}.ipynb", as_version=4)
    return [output for cell in node.cells if cell.cell_type == "code" for output in cell.outputs]


def texts(output) -> str:
    """All that a reader can read of an output."""
    return "\n".join([output.get("text", ""), *map(str, output.get("data", {}).values())])


def run_cells(name: str, **parameters) -> dict:
    """The notebook's cells one after another in this process, with parameters; the names they leave."""
    names: dict[str, object] = {}
    for cell in nbformat.read(FOLDER / f"{name}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(ast.parse(cell.source), name, "exec"), names)
        if "parameters" in cell.metadata.get("tags", []):
            names |= parameters
    return names


def test_all_notebooks_run_in_their_order(executed):
    assert executed.failed is None, executed.sentence()
    assert [entry.name for entry in executed.notebooks if entry.status == "done"] == NAMES


@pytest.mark.parametrize("number", FIGURES)
def test_a_notebook_leaves_its_figures_and_tables_in_the_run_folder(executed, number):
    for name in FIGURES[number]:
        for suffix in ("png", "pdf"):
            assert (executed.out / "figures" / f"{number}_{name}.{suffix}").stat().st_size > 1000
    for name in TABLES[number]:
        assert len(pd.read_csv(executed.out / "tables" / f"{number}_{name}.csv"))
    others = [path.stem for path in (executed.out / "figures").glob(f"{number}_*.png")]
    assert sorted(others) == sorted(f"{number}_{name}" for name in FIGURES[number])


@pytest.mark.parametrize("name", NAMES)
def test_no_output_holds_an_error_or_a_warning(executed, name):
    for output in outputs(executed, name):
        assert output.output_type != "error"
        assert "Traceback" not in texts(output)
        own = re.sub(r"(?im)^warning: walk/.*$", "", texts(output))  # what is said of runs as tiny as these
        assert "warning" not in own.lower().replace("iopub", "")


def test_progress_and_messages_are_plain_output_and_nothing_stands_in_red(executed):
    """Jupyter shows standard error in red."""
    found = {name: outputs(executed, name) for name in NAMES}
    assert [one.text for some in found.values() for one in some if one.get("name") == "stderr"] == []
    said = "".join(one.text for one in found["02_training"] if one.get("name") == "stdout")
    for message in (f"member {MEMBERS[0]}: training into", "epoch 2: loss", "epoch 2/2: 100%"):
        assert message in said


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_shows_the_figures_that_it_keeps(executed, name):
    shown = [set(output.get("data", {})) for output in outputs(executed, name)]
    figures = [kinds for kinds in shown if kinds == {"image/png", "text/plain"}]
    assert len(figures) == len(FIGURES[name[:2]])


def test_results_stand_beside_their_chance_levels(executed):
    retrieval, words = (pd.read_csv(executed.out / "tables" / f"0{k}_results.csv") for k in (3, 5))
    assert list(retrieval.columns) == list(words.columns)
    results = pd.concat([retrieval, words])
    assert len(results) == 7
    assert results["chance"].between(0.1, 99).all()
    assert results["value"].between(0, 100).all()
    known = results.dropna(subset=["low"])
    assert (known["low"] <= known["value"]).all()
    assert (known["value"] <= known["high"]).all()


def test_the_ensemble_stands_beside_its_members(executed):
    table = pd.read_csv(executed.out / "tables" / "04_ensemble.csv", index_col=0)
    assert list(table.index) == [*(f"walk/{name}" for name in MEMBERS), "ensemble of 2", "chance"]
    assert (executed.out / "ensemble" / "metrics" / "test.full.json").is_file()


def test_parts_of_the_first_pair_add_up_to_its_score(executed):
    words = pd.read_csv(executed.out / "tables" / "05_words_pair1.csv")
    pairs = pd.read_csv(executed.out / "tables" / "05_pairs.csv")
    assert words["effect"].mean() == pytest.approx(pairs["score"][0], abs=2e-3)


def test_an_own_data_set_without_boxes_and_pictures_is_shown_too(executed, scenes, tmp_path):
    """Features and captions are all that a user must have."""
    from naaflib import open_split, pages

    bare, run = tmp_path / "flickr8k_precomp", tmp_path / "walk"
    bare.mkdir()
    for path in scenes.glob("*_ims.npy"):
        shutil.copy(path, bare)
        caps = f"{path.stem.removesuffix('_ims')}_caps.txt"
        shutil.copy(scenes / caps, bare)
    shutil.copytree(executed.out, run)
    names = run_cells("05_attention_maps", data=str(bare), run=str(run), pairs="1")
    assert not names["measured"].table().index.str.startswith("pointing").any()
    assert names["measured"].pointing_figure() is None
    assert set(names["measured"].kinds()["kind"]) == {"colour", "number"}  # of swapped words
    split = open_split(bare, "test")
    assert pages.image_sheet(split, count=1).axes[1].texts[0].get_text() == "0"  # a grid of numbered regions
    result = evaluation(np.eye(len(split)).repeat(5, axis=1), split)
    sheet = pages.query_sheet(result, "t2i", "best", count=1)
    assert split.captions[0][:9] in "".join(t.get_text() for ax in sheet.axes for t in ax.texts)
    assert "does not say which region" in names["measured"].sentence()


def test_a_folder_of_pictures_is_searched_and_only_made_anew_where_it_changed(trained, scenes, tmp_path):
    from naaflib import NaafError
    from naaflib.data.extract.registry import open_extractor
    from naaflib.pages.search import make_wrong, open_search
    from naaflib.runs import Run

    run, photos = shutil.copytree(trained.path, tmp_path / "run"), tmp_path / "photos"
    shutil.copytree(scenes / "images", photos, ignore=lambda _, names: sorted(names)[3:])
    how = {"run": str(run), "pictures": str(photos), "texts": "a large red circle; a small star"}
    with pytest.raises(NaafError, match="features that naaf data extract did not make"):
        run_cells("08_own_pictures", **how)
    config = json.loads((run / "config.json").read_text())
    config["data"]["features"] = open_extractor("pixels").record() | {"grid": None}
    (run / "config.json").write_text(json.dumps(config))

    names = run_cells("08_own_pictures", **how)
    assert names["searcher"].index.images == 3
    assert "3 pictures, each scored" in names["answers"].sentence()
    assert names["first"].score > names["last"].score
    assert make_wrong(names["answers"], "a zebra").after.text == "a zebra"
    swapped = make_wrong(names["answers"]).after  # None where the vocabulary lacks another colour
    assert swapped is None or swapped.text not in ("a large red circle", "a zebra")

    def opened():
        searcher = open_search(Run.open(run), Run.open(run), "", pictures=str(photos))
        return searcher.index.images, (searcher.index.parts[0].folder / "part.json").stat().st_mtime_ns

    before = opened()
    assert opened() == before
    shutil.copy(scenes / "images" / names["first"].image_name, photos / "copy.jpg")
    assert opened()[0] == 4
    assert len(list((run / "search").glob("pictures-*"))) == 1


def test_score_files_of_any_model_are_judged_and_compared(trained, tmp_path, capsys):
    """09 and 07 on a benchmark's files alone, without its captions: queries are told by their numbers."""
    files = {}
    for name, skill in (("weak", 2.0), ("strong", 2.5)):
        scores = seeds.rng(round(10 * skill)).normal(size=(1000, 5000)).astype(np.float32)
        scores[np.arange(5000) // 5, np.arange(5000)] += skill
        files[name] = tmp_path / f"{name}.npy"
        np.save(files[name], scores)
    run = shutil.copytree(trained.path, tmp_path / "run")
    scores = f"{files['weak']}; better={files['strong']}"
    how = {"benchmark": "f30k-1k", "resamples": 100}
    names = run_cells("09_judge_scores", run=str(run), scores=scores, **how)
    judged = pd.read_csv(run / "tables" / "09_judged.csv", index_col=["file", "measure"])
    assert set(judged.index.levels[0]) == {"weak", "better"}
    assert judged.loc[("better", "rsum"), "value"] > judged.loc[("weak", "rsum"), "value"]
    assert "f30k-1k (1,000 images, 5,000 captions)" in capsys.readouterr().out
    seven = run_cells("07_compare_runs", run=str(files["weak"]), runs=f"better={files['strong']}", **how)
    table = pd.read_csv(tmp_path / "comparison" / "tables" / "07_differences.csv")
    assert (
        table["difference"].to_list()[1:]
        == names["differences"].query("measure == 'rsum'")["difference"].to_list()[1:]
    )
    assert seven["texts"] is None
    changed = pd.read_csv(tmp_path / "comparison" / "tables" / "07_changed.csv")
    assert changed["query"].str.fullmatch(r"(image|caption) \d+").all()


def test_one_member_alone_is_said_not_failed(executed, scenes, tmp_path, capsys):
    run = shutil.copytree(executed.out / "members" / MEMBERS[1], tmp_path / "alone")
    run_cells("04_ensemble", data=str(scenes), run=str(run))
    assert "alone stands alone, so there is nothing to join" in capsys.readouterr().out


def test_training_one_member_keeps_what_the_others_left(executed, scenes, tmp_path, capsys):
    run = shutil.copytree(executed.out, tmp_path / "walk")
    first, second = (f"walk/{seed}" for seed in MEMBERS)
    asked = {"settings": SETTINGS, "seed": int(MEMBERS[0]), "members": 1}
    names = run_cells("02_training", data=str(scenes), run=str(run), **asked)
    table = pd.read_csv(run / "tables" / "02_best_epochs.csv", index_col=0)
    assert list(table.index) == [first, second, "chance"]
    assert list(names["histories"]) == [first, second]
    said = f"asked for now: {first}; from earlier, with the same settings: {second}"
    assert said in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES[2:])
def test_without_a_run_the_reader_is_told_what_makes_it(scenes, tmp_path, name, monkeypatch):
    from naaflib import NaafError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        NaafError, match=r"^nothing is not a run yet; run notebook 02_training .*`naaf train --out"
    ):
        run_cells(name, data=str(scenes), run=str(tmp_path / "nothing"))
    assert not list(tmp_path.iterdir())


def test_a_group_that_is_not_trained_yet_is_told_the_same(scenes, tmp_path):
    from naaflib import NaafError
    from naaflib.runs import open_group

    open_group(tmp_path / "run")
    with pytest.raises(NaafError, match="holds no trained run; notebook 02_training"):
        run_cells("03_evaluation", data=str(scenes), run=str(tmp_path / "run"))


def test_missing_scenes_are_rendered_and_other_missing_data_are_not(tmp_path, monkeypatch):
    from naaflib import NaafError, pages
    from naaflib.data.scenes import dataset as scenes

    build = scenes.build
    monkeypatch.setattr(scenes, "build", lambda folder: build(folder, train=1, dev=1, test=1))
    assert (pages.open_data(tmp_path / "scenes") / "train_ims.npy").is_file()
    with pytest.raises(NaafError, match="mine does not exist; `naaf data list`"):
        pages.open_data(tmp_path / "mine")
    with pytest.raises(NaafError, match="`naaf data fetch f30k_precomp`"):
        pages.open_data(tmp_path / "f30k_precomp")


def test_a_member_that_is_not_there_is_named_with_those_that_are(executed):
    from naaflib import NaafError, pages

    assert pages.trained_run(executed.out, 1).name == f"walk/{MEMBERS[1]}"
    for member in (2, -2):
        with pytest.raises(
            NaafError, match=rf"no member {member} in .*0: walk/{MEMBERS[0]}, 1: walk/{MEMBERS[1]}"
        ):
            pages.trained_run(executed.out, member)


def test_settings_win_over_epochs_and_epochs_over_the_preset(scenes):
    from naaflib import pages, preset

    assert pages.settings_for(scenes, seed=3) == preset("scenes", {"train.seed": 3})
    both = pages.settings_for(scenes, "flickr8k", " train.epochs = 2 ,model.dim=8,", epochs=5)
    assert both == preset("flickr8k", {"train.epochs": 2, "model.dim": 8})
    assert pages.settings_for(scenes, epochs=5).train.epochs == 5


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("train.epoch=2", "did you mean 'train.epochs'"),
        ("train.epochs", "settings takes NAME=VALUE"),
        ("train.epochs=2, train.epochs=3", "settings has train.epochs twice"),
    ],
)
def test_a_misspelt_setting_is_refused(scenes, settings, sentence):
    from naaflib import pages
    from naaflib.errors import UsageError

    with pytest.raises(UsageError, match=sentence):
        pages.settings_for(scenes, settings=settings)


def test_data_without_a_preset_of_its_own_gets_the_general_one_and_is_told(tmp_path, capsys):
    from naaflib import pages
    from naaflib.config import preset

    assert pages.settings_for(tmp_path / "holiday") == preset("general")
    assert "preset general, because none is named like" in capsys.readouterr().err


@pytest.mark.parametrize(("captions", "name"), [(4_999, "general-small"), (5_000, "general")])
def test_few_captions_get_a_preset_of_small_batches(tmp_path, capsys, captions, name):
    from naaflib import pages
    from naaflib.config import preset

    (tmp_path / "train_caps.txt").write_text("a dog\n" * captions)
    assert pages.settings_for(tmp_path) == preset(name)
    said = capsys.readouterr().err
    assert f"preset {name}, because none is named like" in said
    assert ("and train has fewer than 5,000 captions" in said) == (name == "general-small")


def evaluation(scores: np.ndarray, split, protocol: str = "full"):
    from naaflib.evaluation import Evaluation, protocol_metrics

    metrics = protocol_metrics(scores, protocol, split.captions_per_image)
    return Evaluation(scores, metrics, protocol, split, "naaf")


def test_chance_is_the_mean_over_random_scores():
    from naaflib import retrieval_metrics
    from naaflib.metric.retrieval import chance_recalls

    images, each = 7, 3
    rng = seeds.rng(0)
    drawn = [
        retrieval_metrics(rng.normal(size=(images, images * each)), each).measures() for _ in range(1500)
    ]
    mean = pd.DataFrame(drawn).mean()
    for name, value in chance_recalls(images, each).items():
        assert mean[name] == pytest.approx(value, abs=1.5 if name != "rsum" else 4), name


def test_a_query_succeeds_where_its_margin_is_positive(scenes):
    from naaflib import open_split, pages

    split = open_split(scenes, "test")
    scores = seeds.rng(1).normal(size=(len(split), len(split.captions)))
    result = evaluation(scores, split)
    for way, margin in pages.margins(result).items():
        np.testing.assert_array_equal(margin > 0, getattr(result.metrics, way).ranks == 0)


def test_margins_of_folds_know_nothing_of_other_folds(scenes, monkeypatch):
    from naaflib import open_split, pages
    from naaflib.pages import results

    split = open_split(scenes, "test")
    scores = seeds.rng(2).normal(size=(len(split), len(split.captions)))
    half, each = len(split) // 2, split.captions_per_image
    whole = evaluation(scores, split)
    first = evaluation(scores[:half, : half * each], split.first(half))
    monkeypatch.setattr(results, "fold_size", lambda protocol, images: half)
    object.__setattr__(whole, "protocol", "coco-1k")
    for way, margin in pages.margins(whole).items():
        other = pages.margins(first)[way]
        np.testing.assert_allclose(margin[: len(other)], other)


def test_a_sheet_shows_the_right_answer_however_far_down(scenes):
    from naaflib.pages.results import _answers

    scores = np.array([0.9, 0.1, 0.8, 0.7, 0.6, 0.5, 0.4])
    shown = _answers(scores, slice(0, 7), [1])
    assert shown["place"].tolist() == [1, 2, 3, 4, 5, 7]
    assert shown["right"].tolist() == [False] * 5 + [True]
    assert list(shown.index) == [0, 2, 3, 4, 5, 1]
    assert len(_answers(scores, slice(0, 7), [2, 6])) == 5


@pytest.mark.parametrize(("direction", "which"), [("t2t", "best"), ("t2i", "nicest")])
def test_a_sheet_of_another_kind_is_refused(scenes, direction, which):
    from naaflib import open_split, pages
    from naaflib.errors import UsageError

    split = open_split(scenes, "test")
    result = evaluation(np.zeros((len(split), len(split.captions))), split)
    with pytest.raises(UsageError, match="i2t or t2i, best or worst"):
        pages.query_sheet(result, direction, which)


def published_rows_of(scenes, tmp_path, images: int):
    from dataclasses import replace

    from naaflib import open_split, pages
    from naaflib.data.features import Regions

    np.save(tmp_path / "test_ims.npy", np.ones((images, 1, 1), np.float32))
    split = replace(
        open_split(scenes, "test"),
        folder=tmp_path / "f30k_precomp",
        captions_per_image=1,
        captions=["a dog"] * images,
        regions=Regions(tmp_path / "test_ims.npy"),
    )
    result = evaluation(np.eye(images), split)
    return pages.recall_table({"mine": result.metrics}, result)


def test_published_rows_stand_beside_a_whole_test_split_only(scenes, tmp_path):
    from naaflib import pages

    whole = published_rows_of(scenes, tmp_path, 1000)
    assert whole.loc["published: Bi-GRU, single", "rsum"] == 491.5
    assert list(whole.index[:2]) == ["mine", "chance"]
    labels = pages.recall_page(whole).axes[0].get_legend_handles_labels()[1]
    assert labels == ["chance", "published"]
    assert list(published_rows_of(scenes, tmp_path, 100).index) == ["mine", "chance"]


@pytest.fixture(scope="module")
def model(executed):
    from naaflib import load_checkpoint

    return load_checkpoint(executed.out / "members" / MEMBERS[0])


def test_pairs_are_taken_by_number_or_by_name(model, scenes):
    from naaflib import open_split, pages

    split = open_split(scenes, "test")
    named = pages.pick_pairs(model, split, f"{split.image_name(3)}:15; 4 : a red star ;")
    assert [(pair.image, pair.caption, pair.text) for pair in named.right] == [
        (3, 15, split.captions[15]),
        (4, None, "a red star"),
    ]
    assert len(pages.pick_pairs(model, split, 4).right) == 4


def test_the_right_caption_is_the_images_own_and_the_wrong_ones_bound_all_others(model, scenes):
    from naaflib import explain, open_split, pages

    split = open_split(scenes, "test")
    found = pages.pick_pairs(model, split, 1)
    image = found.right[0].image
    own = split.captions_of_image(image)
    scores = np.array([explain(model, split, image, caption).score for caption in range(len(split.captions))])
    assert found.right[0].caption in own
    assert found.right[0].score == pytest.approx(scores[own].max())
    others = np.delete(scores, own)
    assert found.tempting[0].score == pytest.approx(others.max())
    assert found.unfit[0].score == pytest.approx(others.min())


@pytest.mark.parametrize("pairs", ["", "3:", ":3", "x:2", "3-4", "-1:0", "99:0", "3:-1", "3:9999"])
def test_pairs_that_are_none_are_refused(model, scenes, pairs):
    from naaflib import open_split, pages
    from naaflib.errors import UsageError

    with pytest.raises(UsageError, match="pairs "):
        pages.pick_pairs(model, open_split(scenes, "test"), pairs)


def test_samples_can_be_taken_on_another_split(executed, scenes):
    from naaflib import pages

    run = pages.trained_run(executed.out)
    before, after = pages.sample_panels(run, scenes, "test").values()
    assert set(before) == {"matched", "mismatched"}
    kept = list(pages.sample_panels(run, scenes).values())[1]
    assert not np.array_equal(after["matched"], kept["matched"])
    hard = pages.hard_samples(run, scenes)
    assert hard["mismatched"].mean() > kept["mismatched"].mean()
    assert len(hard["matched"]) == len(hard["mismatched"])


def test_a_kept_table_has_program_names_in_its_file_and_headings_for_the_eye(tmp_path):
    from naaflib import Run, pages

    run = Run.create(tmp_path / "run", "group")
    table = pd.DataFrame({"i2t_at_1": [1.234, np.nan], "text": ["<start>", "b"]}, index=["a", "b"])
    shown = pages.keep(run, table.rename_axis("model"), "table", digits=1).to_html()
    assert (run.path / "tables" / "table.csv").read_text().splitlines()[0] == "model,i2t_at_1,text"
    for piece in (">i2t R@1<", ">1.2<", ">–<", "&lt;start&gt;", ">model<"):
        assert piece in shown
    assert pages.keep(run, None, "nothing") is None
    assert not (run.path / "tables" / "nothing.csv").exists()


def test_a_kept_figure_is_shown_as_its_file(tmp_path):
    from naaflib import Run, pages
    from naaflib.viz.style import panels

    run = Run.create(tmp_path / "run", "group")
    content, size = pages.keep(run, panels(width=3, height=2)[0], "figure")._repr_png_()
    assert content == (run.figures / "figure.png").read_bytes()
    assert 190 < size["height"] < size["width"] < 330


def test_the_word_classes_of_the_measure_are_those_of_the_scenes():
    from naaflib.pages.measured import CLASSES

    assert (CLASSES["crimson"], CLASSES["hoops"], CLASSES["tiny"], CLASSES["dots"]) == (
        "colour",
        "shape",
        "size",
        "texture",
    )
    assert "left" not in CLASSES


def test_inspection_counts_what_is_in_the_files(scenes):
    from naaflib.data import inspection
    from naaflib.data.vocabulary import Vocabulary

    splits = inspection.open_splits(scenes)
    counts = inspection.counts_table(splits)
    assert counts["images"].to_dict() == {"train": 24, "dev": 10, "test": 10}
    assert (counts["pictures"] == counts["images"]).all()
    tokens = inspection.split_tokens(splits)
    lengths = inspection.caption_lengths(tokens)
    words = inspection.word_counts(tokens)
    assert {name: n.sum() for name, n in lengths.items()} == {name: c.total() for name, c in words.items()}
    coverage = inspection.coverage_table(tokens, Vocabulary.build(splits["train"].captions, 1))
    assert coverage.loc["train", "running words known, %"] == 100
    assert coverage.loc["train", "most frequent unknown"] == "none"
    norms = inspection.feature_norms(splits, images=4)
    assert {norm.shape for norm in norms.values()} == {(4, 36)}


def test_a_verification_is_a_table_of_checks_by_split(scenes):
    from naaflib.data import inspection
    from naaflib.data.prepare.verify import verify

    report = verify(scenes, quick=True)
    table = inspection.checks_table(report)
    assert list(table.columns) == ["train", "dev", "test", "all"]
    assert table.loc["captions", "dev"] == "ok: 50"
    assert inspection.remarks_table(report) is None


def test_no_notebook_is_stored_executed():
    for name in NAMES:
        cells = json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
        assert not any(cell.get("outputs") for cell in cells)
