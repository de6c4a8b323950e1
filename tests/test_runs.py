"""The run folder: whole files or none, opened wherever it lies, cut back to a checkpoint."""

import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from naaflib.config import preset
from naaflib.errors import NaafError
from naaflib.files import atomic_path, fingerprint, read_json, write_json
from naaflib.runs import HISTORY, STEPS, Run, members, open_group


def new_run(path, **content) -> Run:
    return Run.create(path, "train", settings=preset("scenes").model_dump(), **content)


def trained(path) -> Run:
    """A run that looks trained from outside."""
    run = new_run(path)
    run.checkpoint("best").parent.mkdir()
    run.checkpoint("best").write_bytes(b"x")
    return run


def files(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "er" / "a.txt"
    with atomic_path(path) as partial:
        partial.write_text("new")
        assert partial.parent == path.parent
        assert partial.suffix == path.suffix  # np.save and matplotlib look at it
        assert not path.exists()
    assert path.read_text() == "new"
    assert files(path.parent) == ["a.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail_halfway():
        with atomic_path(path) as partial:
            partial.write_text("half")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        fail_halfway()
    assert path.read_text() == "old"
    assert files(tmp_path) == ["a.txt"]


def test_a_place_that_refuses_is_named_and_not_the_file_beside_it(tmp_path):
    with pytest.raises(PermissionError) as refused, atomic_path(tmp_path / "page.png") as partial:
        raise PermissionError(13, "Permission denied", str(partial))
    assert refused.value.filename == str(tmp_path / "page.png")


def test_json_is_read_as_it_was_written(tmp_path):
    content = {"a": [1, 2.5, None], "b": {"ü": "mu\u2028"}}
    write_json(tmp_path / "a.json", content)
    assert read_json(tmp_path / "a.json") == content


def test_json_that_no_other_program_reads_is_not_written(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert read_json(tmp_path / "a.json") == {"a": 1}
    assert files(tmp_path) == ["a.json"]


def test_a_missing_or_damaged_json_is_named(tmp_path):
    with pytest.raises(NaafError, match=r"gone\.json is missing"):
        read_json(tmp_path / "gone.json")
    whole, text = " is not whole JSON", ", line 1: not UTF-8 text"
    for content, says in ((b"", whole), (b'{"a": ', whole), (b"\xff\xfe", text)):
        (tmp_path / "cut.json").write_bytes(content)
        with pytest.raises(NaafError, match=rf"cut\.json{says}"):
            read_json(tmp_path / "cut.json")


def test_a_fingerprint_is_the_size_and_sha256(tmp_path):
    content = bytes(range(251)) * 17
    (tmp_path / "a").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    assert fingerprint(tmp_path / "a") == {"bytes": 251 * 17, "sha256": digest}


def test_a_large_file_is_known_by_its_size_and_both_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("naaflib.files.WHOLE_CHECKSUM", 100)
    monkeypatch.setattr("naaflib.files.ENDS", 7)
    content = bytearray(range(101))
    (tmp_path / "a").write_bytes(content)
    first = fingerprint(tmp_path / "a")
    ends = hashlib.sha256(content[:7] + content[-7:]).hexdigest()
    assert first == {"bytes": 101, "sha256_of_ends": ends}
    for place, seen in ((0, True), (6, True), (94, True), (100, True)):
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / "a").write_bytes(changed)
        assert (fingerprint(tmp_path / "a") != first) == seen
    (tmp_path / "a").write_bytes(content[:100])
    digest = hashlib.sha256(content[:100]).hexdigest()
    assert fingerprint(tmp_path / "a") == {"bytes": 100, "sha256": digest}  # up to this size read whole


def test_a_new_run_states_its_kind_and_what_computed_it(tmp_path):
    run = Run.create(tmp_path / "a", "ensemble", members=["b", "c"])
    assert run.kind == "ensemble"
    assert run.config["members"] == ["b", "c"]
    environment = run.config["environment"]
    assert environment["libraries"]["torch"].startswith("2.")
    assert {"python", "platform", "processor", "cores", "commit"} <= set(environment)
    assert files(tmp_path / "a") == ["config.json"]


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(tmp_path):
    new_run(tmp_path / "a")
    before = (tmp_path / "a" / "config.json").read_bytes()
    with pytest.raises(NaafError, match="already holds a run"):
        Run.create(tmp_path / "a", "group")
    assert (tmp_path / "a" / "config.json").read_bytes() == before


def test_a_run_needs_a_folder(tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(NaafError, match="a is a file"):
        Run.create(tmp_path / "a", "train")
    assert (tmp_path / "a").read_text() == "mine"


def test_a_moved_run_opens_as_it_was(tmp_path):
    run = trained(tmp_path / "here" / "a")
    run.append("steps.csv", STEPS, {"step": 1, "epoch": 1, "loss": 0.5})
    shutil.move(run.path, tmp_path / "there")
    moved = Run.open(str(tmp_path / "there"))
    assert moved.config == run.config
    assert moved.settings == preset("scenes")
    assert moved.is_trained
    assert moved.checkpoint() == tmp_path / "there" / "checkpoints" / "best.safetensors"
    assert moved.steps().loss.tolist() == [0.5]


def test_what_is_not_a_run_is_named_with_the_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    for name, reason in (("gone", "does not exist"), ("empty", "is not a run"), ("file", "is a file")):
        with pytest.raises(NaafError, match=f"{name} .*{reason}.*naaf train"):
            Run.open(tmp_path / name)
    for content in ("[]", "{}", '"kind"', "{"):
        (tmp_path / "empty" / "config.json").write_text(content)
        with pytest.raises(NaafError, match=r"config\.json"):
            Run.open(tmp_path / "empty")


def test_a_run_without_settings_says_so(tmp_path):
    with pytest.raises(NaafError, match="kind 'group', which has no settings"):
        _ = Run.create(tmp_path / "a", "group").settings


@pytest.mark.parametrize(
    ("changes", "place"),
    [({"epochs": "x"}, r"train\.epochs"), ({"new": 1}, r"train\.new"), ({"seed": -1}, "seed")],
)
def test_settings_that_are_damaged_or_of_another_version_are_named(tmp_path, changes, place):
    run = new_run(tmp_path / "a")
    run.config["settings"]["train"] |= changes
    run.update()
    with pytest.raises(
        NaafError, match=rf"config\.json: settings\.{place}|settings\.train\.{place}"
    ) as refused:
        _ = Run.open(run.path).settings
    assert "\n" not in str(refused.value)


def test_an_update_is_kept(tmp_path):
    run = new_run(tmp_path / "a")
    run.update(members=["b"], kind="ensemble")
    assert Run.open(run.path).config == run.config
    assert Run.open(run.path).kind == "ensemble"


def test_tables_of_training_are_read_as_they_were_logged(tmp_path):
    run = new_run(tmp_path / "a")
    rows = [{name: float(step + place) for place, name in enumerate(HISTORY)} for step in (1, 2)]
    for row in rows:
        run.append("history.csv", HISTORY, row)
    assert list(run.history().columns) == list(HISTORY)
    assert run.history().to_dict("records") == rows
    with pytest.raises(NaafError, match=r"steps\.csv is missing.*naaf train"):
        run.steps()
    with pytest.raises(ValueError, match="fields not in fieldnames"):
        run.append("steps.csv", STEPS, {"stepp": 1})


def test_rows_after_the_checkpoint_are_cut(tmp_path):
    run = new_run(tmp_path / "a")
    for step in range(1, 12):
        run.append("steps.csv", STEPS, {"step": step, "epoch": 1 + (step - 1) // 5, "loss": step / 7})
    for epoch in (1, 2):
        run.append("history.csv", HISTORY, {"epoch": epoch, "step": 5 * epoch, "loss": 1, "rsum": 7})
    steps, history = (run.path / "steps.csv").read_text(), (run.path / "history.csv").read_text()
    run.cut_after(11, 2)
    assert (run.path / "steps.csv").read_text() == steps
    assert (run.path / "history.csv").read_text() == history
    run.cut_after(9, 1)
    assert run.steps().step.tolist() == list(range(1, 10))
    assert steps.startswith((run.path / "steps.csv").read_text())  # what stays keeps its bytes
    assert run.history().epoch.tolist() == [1]
    with pytest.raises(NaafError, match=r"steps\.csv lacks step 10, .* the checkpoint is at step 10"):
        run.cut_after(10, 0)
    assert run.history().epoch.tolist() == [1]  # nothing is cut then
    run.cut_after(0, 0)
    assert not list(run.path.glob("*.csv"))
    run.append("steps.csv", STEPS, {"step": 1, "epoch": 1, "loss": 0.25})
    assert run.steps().loss.tolist() == [0.25]


def test_samples_of_epochs_that_are_cut_go_too(tmp_path):
    run = new_run(tmp_path / "a")
    for epoch in range(3):
        run.save_samples(epoch, dict.fromkeys(("matched", "mismatched"), np.arange(3.0)))
    run.append("history.csv", HISTORY, {"epoch": 1, "step": 5, "loss": 1})
    run.append("history.csv", HISTORY, {"epoch": 2, "step": 10})
    run.cut_after(0, 1)
    assert list(run.samples()) == [0, 1]
    run.cut_after(0, 0)
    assert list(run.samples()) == [0]  # before training


def test_samples_come_back_in_the_order_of_epochs(tmp_path):
    run = new_run(tmp_path / "a")
    assert run.samples() == {}
    for epoch in (100, 9, 0, 11):
        pair = dict.fromkeys(("matched", "mismatched"), np.arange(3.0) + epoch)
        run.save_samples(epoch, pair | {"boundary": np.float64(epoch / 7)})
    (run.path / "samples/epoch_11 (copy).npz").write_text("not a training's")
    found = run.samples()
    assert list(found) == [0, 9, 11, 100]
    for epoch, sample in found.items():
        np.testing.assert_array_equal(sample["matched"], np.arange(3.0) + epoch)
        assert sample["boundary"] == epoch / 7


def test_figures_and_tables_are_kept_where_the_report_looks(tmp_path):
    from matplotlib.figure import Figure

    run = new_run(tmp_path / "a")
    figure = Figure(figsize=(1, 1))
    figure.subplots().plot([0, 1])
    path = run.save_figure(figure, "curve")
    assert path == run.path / "figures" / "curve.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert (run.path / "figures" / "curve.pdf").read_bytes().startswith(b"%PDF")
    table = run.save_table(pd.DataFrame({"a": [1, 2]}), "numbers")
    assert table == run.path / "tables" / "numbers.csv"
    assert pd.read_csv(
        table,
    ).a.tolist() == [1, 2]
    assert run.scores_path("dev") == run.path / "scores" / "dev.npy"
    assert run.metrics_path("dev", "full") == run.path / "metrics" / "dev.full.json"


def test_a_run_stands_for_itself_and_a_group_for_its_members(tmp_path):
    single = trained(tmp_path / "single")
    assert [run.path for run in members(single.path)] == [single.path]
    group = open_group(tmp_path / "group")
    for seed in (10, 9, 2):
        trained(group.path / "members" / str(seed))
    new_run(group.path / "members" / "3")  # not trained yet
    found = members(group.path)
    assert [run.path.name for run in found] == ["2", "9", "10"]
    assert [run.name for run in found] == ["group/2", "group/9", "group/10"]
    assert single.name == "single"


def test_a_folder_without_a_trained_run_is_refused(tmp_path):
    new_run(tmp_path / "single")
    open_group(tmp_path / "group")
    for name in ("single", "group"):
        with pytest.raises(NaafError, match=f"{name} holds no trained run"):
            members(tmp_path / name)
    (tmp_path / "group" / "sweep.csv").write_text("")
    with pytest.raises(NaafError, match="group holds a sweep; name one of its runs"):
        members(tmp_path / "group")


def test_a_group_is_made_once(tmp_path):
    first = open_group(tmp_path / "a")
    assert first.kind == "group"
    before = json.loads((tmp_path / "a" / "config.json").read_text())
    assert open_group(tmp_path / "a").config == before


def test_a_damaged_table_is_named_and_hides_no_other_run(tmp_path):
    from naaflib.batch import measures_table, runs_table

    Run.create(tmp_path / "swept", "sweep", spec={}, data={})
    new_run(tmp_path / "a")
    (tmp_path / "swept/sweep.csv").write_bytes(b"variant,state\nnaaf,done\n" + b"\0" * 9)
    states = runs_table(tmp_path).set_index("run")["state"]
    assert set(states.index) == {"a", "swept"}
    assert "sweep.csv is damaged (line 3 holds NULs" in states["swept"]
    (tmp_path / "a/tables").mkdir()
    (tmp_path / "a/tables/03_results.csv").write_bytes(b"measure,value\n\xff,1\n")
    with pytest.raises(NaafError, match=r"03_results\.csv is damaged \('utf-8' codec"):
        measures_table(tmp_path)
