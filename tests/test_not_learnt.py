"""Wherever a run is shown, it is said that it has not learnt; the best member on dev stands first.

The bad runs are planted: a history is written, nothing is trained.
"""

import json
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from synthetic_runs import write_group, write_history

from naaflib import pages
from naaflib.batch import results_table, runs_table
from naaflib.errors import NaafError
from naaflib.runs import Run
from naaflib.verdict import verdicts, verdicts_below
from naaflib.viz import curves

GOOD, WEAK, DEAD = 490.0, 380.0, 20.0
FOLDER = Path(__file__).parents[1] / "notebooks"


@pytest.fixture
def data(write_split, tmp_path):
    write_split(tmp_path / "small", "dev", 31)
    return tmp_path / "small"


@pytest.fixture
def group(data, tmp_path):
    """Two scored members of one setting, the first far below the second."""
    folder = write_group(tmp_path / "group", data, seeds=2)
    Run.create(folder, "group")
    for seed, rsum in enumerate((WEAK, GOOD)):
        write_history(folder / "members" / str(seed), rsum)
    return folder


@pytest.fixture
def naaf(capsys):
    from naaflib.cli import main

    def run(*words):
        capsys.readouterr()
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    return run


def about(said: str) -> list[str]:
    """The lines that name a bad run."""
    return [line for line in said.splitlines() if "more than seeds explain" in line]


# ---- which runs are compared


def test_a_run_of_another_setting_may_lie_as_low_as_it_likes(group, data, tmp_path):
    write_group(tmp_path / "scan", data, seeds=1, model__method="scan-t2i")
    scan = Run.open(write_history(tmp_path / "scan" / "members" / "0", WEAK))
    good = Run.open(group / "members" / "1")
    assert verdicts([good, scan]) == verdicts([scan, good]) == []
    shutil.copytree(scan.path, group / "members" / "7")
    assert list(verdicts_below(group)) == [group / "members" / "0"]


def test_runs_of_other_data_are_not_compared(group):
    runs = [Run.open(group / "members" / name) for name in "01"]
    assert len(verdicts(runs)) == 1
    runs[0].update(data={"files": {"train_caps.txt": {"bytes": 1}}})
    assert verdicts(runs) == []


def test_the_order_of_runs_changes_no_sentence(group):
    runs = [Run.open(group / "members" / name) for name in "01"]
    assert verdicts(runs) == verdicts(runs[::-1])


@pytest.mark.parametrize("content", ["", "epoch,loss,rsum\n1,2,3\n2,3,4,5\n", "epoch,loss\n1,2\n", "\n"])
def test_a_damaged_history_is_named_and_stops_no_other_run(group, content):
    path = group / "members" / "1" / "history.csv"
    path.write_text(content)
    with pytest.raises(NaafError, match=r"history\.csv (is damaged|has no column).* restore or remove it"):
        Run.open(path.parent).history()
    states = runs_table(group).set_index("run")["state"]
    assert "history.csv" in states["members/1"]
    assert "history.csv" not in states["members/0"]


# ---- where it is said


def test_a_comparison_of_one_groups_members_judges_them_together(naaf, group):
    status, out, err = naaf("compare", group, "--resamples", 99)
    assert status == 0
    assert len(about(err)) == 1
    assert "group/0" in about(err)[0]
    assert not about(out)


@pytest.mark.parametrize("command", ["compare", "ensemble"])
def test_json_carries_the_warnings_and_stays_json(naaf, trained, scenes, tmp_path, command):
    group = tmp_path / "group"
    for seed, rsum in enumerate((WEAK, GOOD)):
        write_history(shutil.copytree(trained.path, group / "members" / str(seed)), rsum)
    words = (command, group, "--data", scenes, "--split", "dev", "--json")
    status, out, err = naaf(*words)
    assert status == 0
    assert json.loads(out)["warnings"] == [line.removeprefix("warning: ") for line in about(err)] != []
    write_history(group / "members" / "0", GOOD)
    status, out, err = naaf(*words)
    assert json.loads(out)["warnings"] == []
    assert not about(err)


def test_naaf_runs_says_it_in_the_state_below_the_table_and_in_json(naaf, group):
    write_history(group / "members" / "0", DEAD)
    status, out, err = naaf("runs", group)
    assert status == 0
    states = {line.split()[0]: "not well" in line for line in out.splitlines()[1:]}
    assert states == {"group": False, "members/0": True, "members/1": False}
    assert len(err.splitlines()) == 1
    assert "has not learnt" in err
    rows = {row["run"]: row["verdict"] for row in json.loads(naaf("runs", group, "--json")[1])}
    assert "has not learnt" in rows["members/0"]
    assert rows["members/1"] is None


def test_the_report_says_it_before_its_results(group):
    from naaflib.batch import read_record, write_report

    page = write_report(read_record(group)).read_text(encoding="utf-8")
    assert page.index("more than seeds explain") < page.index("<nav")
    write_history(group / "members" / "0", GOOD)
    assert "alert" not in write_report(read_record(group)).read_text(encoding="utf-8")


def test_the_report_says_what_was_trained_on_what(group):
    from naaflib.batch import read_record, write_report
    from naaflib.runs import members

    page = write_report(read_record(group)).read_text(encoding="utf-8")
    commit = members(group)[0].config["environment"]["commit"]
    assert "data small; method naaf; 2 models; preset general, " in page
    assert commit is None or f"commit {commit[:10]}" in page


def test_a_box_in_a_notebook_says_it_and_shows_nothing_where_all_is_well(group):
    box = pages.warning(group, "")
    assert "group/0: its best rsum on dev is 380.0" in box._repr_html_()
    assert "more than seeds explain" in repr(box)
    write_history(group / "members" / "0", GOOD)
    assert pages.warning(group) is None


@pytest.mark.parametrize("number", ["02", "03", "04", "05", "06"])
def test_the_box_stands_above_the_first_result(number):
    (path,) = FOLDER.glob(f"{number}_*.ipynb")
    cells = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
    boxes = [k for k, source in enumerate(cells) if "pages.warning(" in source]
    results = [k for k, source in enumerate(cells) if "pages.keep(" in source]
    assert len(boxes) == 1
    assert boxes[0] < results[0]


# ---- the best member


def test_a_notebook_looks_at_the_best_member_and_says_why(group, capsys):
    assert pages.trained_run(group).name == "group/1"
    assert "group/1: of 2 members the best on dev, rsum 490.0" in capsys.readouterr().out
    assert pages.trained_run(group, 1).name == "group/1"
    assert capsys.readouterr().out == ""
    assert pages.trained_run(group, 0).name == "group/0"
    assert "the best of 2 members is group/1 with 490.0" in capsys.readouterr().out


def test_without_a_record_the_first_member_is_taken(group):
    for path in group.glob("members/*/history.csv"):
        path.unlink()
    assert pages.trained_run(group).name == "group/0"


def test_the_explorer_starts_at_the_best_of_the_first_group(group, data, tmp_path):
    from naaflib.explorer.readers import first_group, named_sources
    from naaflib.runs import best_member

    write_group(tmp_path / "other", data, seeds=1)
    write_history(tmp_path / "other" / "members" / "0", 599.0)
    found = named_sources([group, tmp_path / "other"])
    assert [run.name for run in first_group(found)] == ["group/0", "group/1"]
    assert best_member(first_group(found)) == 1
    assert first_group(named_sources(tmp_path / "other"))[0].name == "other/0"


def test_several_members_are_refused_and_the_best_is_named(group, monkeypatch):
    from naaflib import load_checkpoint

    monkeypatch.chdir(group)
    with pytest.raises(NaafError, match=r"holds 2 members; name one \(.*; best on dev: members/1\)"):
        load_checkpoint(group)


def test_members_of_the_same_setting_are_shown_with_those_asked_for(group, data, capsys):
    first = Run.open(group / "members" / "0")
    assert [run.name for run in pages.alike(group, [first])] == ["group/0", "group/1"]
    assert "asked for now: group/0; from earlier, with the same settings: group/1" in capsys.readouterr().out
    Run.open(group / "members" / "1").update(data={"files": {"dev_caps.txt": {"bytes": 1}}})
    assert [run.name for run in pages.alike(group, [first])] == ["group/0"]
    assert "left out, of other settings or data: group/1" in capsys.readouterr().out


@pytest.mark.parametrize(("members", "member"), [("2", "2"), ("2", "-2"), ("1", "1"), ("3", "best")])
def test_a_member_that_will_not_be_there_is_refused_before_anything_runs(
    naaf, tmp_path, monkeypatch, members, member
):
    monkeypatch.setattr("naaflib.batch.pipeline.run_notebooks", lambda *_, **__: pytest.fail("ran"))
    status, _, err = naaf("run", "--out", tmp_path / "run", "-p", "members", members, "-p", "member", member)
    assert status == 2
    assert f"member {member} would be looked at, counted from 0" in err
    assert not (tmp_path / "run").exists()


# ---- names and numbers


def test_a_model_has_one_name_in_all_tables(group):
    way = {f"at_{k}": 1.0 for k in (1, 5, 10)}
    record = {"split": "dev", "protocol": "full", "i2t": way, "t2i": way, "rsum": 6.0}
    for path in group.glob("members/*"):
        (path / "metrics").mkdir()
        (path / "metrics" / "dev.full.json").write_text(json.dumps(record))
    assert results_table(group)["member"].tolist() == [run.name for run in pages.trained_runs(group)]
    assert results_table(group / "members" / "1")["member"].tolist() == ["group/1"]


@pytest.mark.parametrize(("rsum", "outside"), [(490.0, False), (479.0, True), (501.0, True)])
def test_the_expected_range_is_told_of_the_built_in_data_alone(group, monkeypatch, rsum, outside):
    from naaflib.batch import tables
    from naaflib.data.scenes import dataset as scenes
    from naaflib.files import fingerprint
    from naaflib.metric.published import Expected

    ranges = [(85.0, 80.0, 90.0), (65.0, 60.0, 70.0), (490.0, 480.0, 500.0)]
    monkeypatch.setattr(tables, "EXPECTED", (Expected("scenes", "dev", 60, *ranges),))
    run = Run.open(group / "members" / "1")
    captions = fingerprint(run.data_folder / "dev_caps.txt")["sha256"]
    path = run.metrics_path("dev", "full")
    path.parent.mkdir()
    path.write_text(json.dumps({"rsum": rsum, "captions_sha256": captions}))
    assert tables.expectation(group) == []  # scenes by their name, not by what they hold
    monkeypatch.setattr(scenes, "is_default", lambda folder: True)
    said = tables.expectation(group)
    assert "rsum 490.0 (480.0 to 500.0): mean and range of 60 trainings" in said[0]
    assert (len(said) == 2) == outside
    path.write_text(json.dumps({"rsum": rsum, "captions_sha256": "of others"}))
    assert tables.expectation(group) == []


def test_only_the_set_that_is_rendered_by_default_is_the_default(scenes):
    from naaflib.data.scenes.dataset import is_default

    assert not is_default(scenes)
    assert not is_default(scenes / "missing")


# ---- the training figure


@pytest.mark.parametrize("negatives", ["summed first", "one level"])
def test_the_level_of_equal_scores_is_a_labelled_line_of_the_loss(negatives):
    level = [1612.8, 1612.8, 25.6] if negatives == "summed first" else [25.6] * 3
    history = pd.DataFrame({"epoch": [1, 2, 3], "loss": np.array(level) * [0.9, 0.5, 0.4]})
    from naaflib.viz.style import panels

    ax = curves.loss(panels()[1][0, 0], history, None, level)
    (stairs,) = [patch for patch in ax.patches if hasattr(patch, "get_data")]
    assert stairs.get_data().values.tolist() == level
    assert stairs.get_data().edges.tolist() == [0, 1, 2, 3]
    assert "equal scores" in [text.get_text() for text in ax.get_legend().get_texts()]
    assert (ax.get_yscale() == "log") == (negatives == "summed first")
    low, high = ax.get_ylim()
    assert low <= min(level) <= max(level) <= high


def test_a_training_from_before_the_batch_recalls_is_drawn_without_them():
    from test_viz import history, steps

    assert len(curves.training_figure(history(4), steps(4, 5)).axes) == 4
    kept = steps(4, 5).assign(batch_i2t_at_1=40.0, batch_t2i_at_1=30.0, hardest_weight=0.35)
    figure = curves.training_figure(history(4), kept)
    (panel,) = [ax for ax in figure.axes if "In-batch" in ax.get_title(loc="left")]
    assert [set(line.get_ydata()) for line in panel.lines] == [{40.0}, {30.0}, {35.0}]
