"""Run folders that an earlier version wrote, before the library was rearranged, open and give its numbers.

tests/old_runs holds them as that version left them (see make.py there): scores, metrics and tables of its
evaluation, its explanation of every caption, and the steps of its own continuation.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import naaflib
from naaflib.cli import main
from naaflib.evaluation import compare_runs, difference_table, evaluate, saved_scores
from naaflib.explanation import explain_pairs, pair_rows
from naaflib.files import read_json
from naaflib.runs import FINISHED, Run

OLD = Path(__file__).parent / "old_runs"
DATA = OLD / "data"
METHODS = {"naaf": "naaf", "scan": "scan-t2i"}
ROUNDING = {"rtol": 1e-4, "atol": 1e-5}  # float32; another processor adds in another order


@pytest.fixture
def outputs(tmp_path):
    """The folder in which the old runs lie, to write into."""
    return shutil.copytree(OLD, tmp_path / "outputs", ignore=shutil.ignore_patterns("data", "*.py"))


@pytest.fixture(params=METHODS)
def run(request, outputs):
    return Run.open(outputs / request.param)


def test_an_old_run_opens_with_the_settings_that_it_was_trained_with(run):
    settings = run.settings
    assert settings.model.method == METHODS[run.name]
    recorded = run.config["settings"]
    for section, values in settings.model_dump().items():
        since = {name: value for name, value in values.items() if name not in recorded[section]}
        assert values == {name: recorded[section][name] for name in values if name not in since} | since
        assert not any(getattr(settings, section).is_set(name) for name in since)
    assert settings.model.lambda_softmax == {"naaf": 15, "scan": 8}[run.name]
    assert run.state() == FINISHED
    assert run.best_rsum == run.history()["rsum"].max()
    assert list(run.sample_panels()) == ["Before training", f"After epoch {run.best_epoch}, the best"]


def test_an_old_run_is_measured_as_it_was(run, tmp_path):
    found = evaluate(run, DATA, out=tmp_path / "again")
    np.testing.assert_allclose(found.scores, np.load(run.scores_path("test")), **ROUNDING)
    then = read_json(run.metrics_path("test", "full"))
    assert json.loads(json.dumps(found.record())) == then
    table = pd.read_csv(run.path / "tables" / "queries_test_full.csv")
    pd.testing.assert_frame_equal(found.query_table(), table, check_dtype=False)


def test_scores_that_an_old_run_kept_are_used_again(run):
    split = naaflib.open_split(DATA, "test")
    kept = np.load(run.scores_path("test"))
    np.testing.assert_array_equal(saved_scores(run, split), kept)
    assert evaluate(run, DATA, reuse=True).record() == read_json(run.metrics_path("test", "full"))


def test_an_old_run_is_explained_as_it_was(run, outputs):
    model, split = naaflib.load_checkpoint(run.path), naaflib.open_split(DATA, "test")
    every = range(len(split.captions))
    found = pair_rows(explain_pairs(model, split, split.image_of_caption, every))
    then = pd.read_csv(outputs / f"{run.name}-words.csv")
    then = then.rename(columns={"mismatch_effect": "negative_effect"})
    pd.testing.assert_frame_equal(found, then[found.columns], check_dtype=False, **ROUNDING)


def test_old_runs_are_compared_by_the_scores_that_they_kept(outputs):
    rsums = [read_json(outputs / name / "metrics" / "test.full.json")["rsum"] for name in METHODS]
    table = difference_table(compare_runs([outputs / name for name in METHODS]), resamples=99)
    assert table["variant"].tolist() == list(METHODS)
    assert table["mean"].tolist() == pytest.approx(rsums)
    assert table["difference"][1] == pytest.approx(rsums[1] - rsums[0])


def test_old_runs_are_listed(outputs, capsys):
    assert main(["runs", str(outputs), "--json"]) == 0
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    assert set(rows) == set(METHODS)
    for name, method in METHODS.items():
        assert (rows[name]["method"], rows[name]["epochs"]) == (method, "6/6")
        assert rows[name]["state"].startswith(FINISHED)  # whether it has learnt is another question


def test_an_old_run_goes_on_from_its_last_checkpoint(run, outputs):
    first = (run.path / "history.csv").read_text().splitlines()
    words = ["--data", str(DATA), "--out", str(run.path), "--resume", "--set", "train.epochs=7"]
    assert main(["train", *words]) == 0
    assert (run.path / "history.csv").read_text().splitlines()[:7] == first
    assert Run.open(run.path).state() == FINISHED
    assert run.history()["epoch"].tolist() == [1, 2, 3, 4, 5, 6, 7]
    then, now = pd.read_csv(outputs / f"{run.name}-continued.csv"), run.steps()
    assert now[["step", "epoch", "learning_rate"]].equals(then[["step", "epoch", "learning_rate"]])
    next_step = now["epoch"].searchsorted(7)  # its loss is of the weights and the order that the run kept
    columns = ["loss", "boundary", "inference_boundary", "grad_norm"]
    for name in columns:
        np.testing.assert_allclose(now[name][next_step], then[name][next_step], **ROUNDING)


def test_an_old_run_says_where_its_data_were(run):
    with pytest.raises(naaflib.NaafError, match=r"was made with the data set in /elsewhere/data, which"):
        evaluate(run)
