"""A run repeated from its record: equal to the last digit, or refused, or the first difference named."""

import json
import shutil
from pathlib import Path

import pytest
import seeds

from naaflib.errors import NaafError

pytestmark = pytest.mark.trains
NAMES = [str(seeds.shifted(seed)) for seed in (0, 1)]
FIRST, SECOND = (f"members/{name}" for name in NAMES)
TINY = {
    "train.seed": seeds.shifted(),
    "model.dim": 13,
    "model.word_dim": 7,
    "train.batch_size": 17,
    "train.epochs": 2,
    "mining.min_words": 20,
    "train.precision": "float64",  # so that no kernel is compiled
}


@pytest.fixture(scope="module")
def data(tmp_path_factory, write_split) -> Path:
    folder = tmp_path_factory.mktemp("data") / "tiny"
    for split, images in (("train", 24), ("dev", 10), ("test", 7)):
        write_split(folder, split, images)
    return folder


@pytest.fixture(scope="module")
def group(data, tmp_path_factory) -> Path:
    """Two members, the first of them evaluated. Shared: change a copy only."""
    from naaflib.config import preset
    from naaflib.evaluation import evaluate
    from naaflib.training import train_members

    out = tmp_path_factory.mktemp("runs") / "group"
    first, _ = train_members(data, out, preset("scenes", TINY), 2, device="cpu")
    evaluate(first, data)
    return out


@pytest.fixture
def copied(group, tmp_path) -> Path:
    """A copy of the first member, to be changed."""
    return Path(shutil.copytree(group / FIRST, tmp_path / "run"))


def rerun(*arguments, **options):
    from naaflib.training.rerun import rerun

    return rerun(*arguments, **options)


def change_config(run: Path, **content) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | content))


def test_every_member_of_a_group_is_the_same_again(group, tmp_path):
    table, trained = rerun(group, tmp_path / "again"), ("weights", "history.csv", "steps.csv")
    assert table["equal"].all()
    assert list(zip(table["run"], table["what"], strict=True)) == [
        *((f"group/{NAMES[0]}", what) for what in (*trained, "metrics/test.full.json")),
        *((f"group/{NAMES[1]}", what) for what in trained),
    ]
    assert {path.name for path in (tmp_path / "again/members").iterdir()} == set(NAMES)


def test_a_variant_is_trained_and_made_anew(group, data, tmp_path):
    from naaflib.evaluation import evaluate
    from naaflib.training import make_variant

    run = make_variant(group / FIRST, {"mining.fixed_boundary": 0.2}, tmp_path / "variant")
    evaluate(run, data, split="dev")
    table = rerun(run.path, tmp_path / "again")
    assert table["what"].tolist() == ["weights", "history.csv", "steps.csv", "metrics/dev.full.json"]
    assert table["equal"].all()
    assert (tmp_path / "again/weights/checkpoints/last.safetensors").exists()


def test_a_run_that_started_from_another_is_repeated_from_it(group, data, tmp_path):
    from naaflib.runs import Run
    from naaflib.training import train_run

    start = Path(shutil.copytree(group / SECOND, tmp_path / "start"))
    run = train_run(data, tmp_path / "run", Run.open(start).settings, init=start, device="cpu")
    assert rerun(run.path, tmp_path / "again")["equal"].all()
    (start / "checkpoints/best.safetensors").write_bytes(run.checkpoint("best").read_bytes())
    with pytest.raises(NaafError, match=r"start, from which \S+/run started, is not what it was"):
        rerun(run.path, tmp_path / "once more")


def test_threads_and_device_are_recorded_and_used(group, data, copied, tmp_path, monkeypatch):
    import torch

    start = json.loads((group / FIRST / "config.json").read_text())["start"]
    assert (start["device"], start["threads"]) == ("cpu", torch.get_num_threads())
    seen = {}

    def stop(*arguments, device, **options):
        seen.update(threads=torch.get_num_threads(), device=device)
        raise NaafError("seen")

    monkeypatch.setattr("naaflib.training.rerun.train_run", stop)
    change_config(copied, start=start | {"threads": 3})
    before = torch.get_num_threads()
    with pytest.raises(NaafError, match="seen"):
        rerun(copied, tmp_path / "again")
    assert seen == {"threads": 3, "device": "cpu"}
    assert torch.get_num_threads() == before


def test_an_evaluation_is_repeated_in_its_precision(copied, data, tmp_path):
    from naaflib.evaluation import evaluate

    evaluate(copied, data, precision="bf16")
    table = rerun(copied, tmp_path / "again").set_index("what")
    assert table.loc["metrics/test.full.json", "first difference"] == ""
    assert json.loads((tmp_path / "again/metrics/test.full.json").read_text())["precision"] == "bf16"


def test_a_record_without_a_precision_is_of_float32(copied, tmp_path):
    path = copied / "metrics/test.full.json"
    record = json.loads(path.read_text())
    del record["precision"]
    path.write_text(json.dumps(record))
    assert rerun(copied, tmp_path / "again")["equal"].all()


def test_the_same_data_may_lie_in_a_folder_of_another_name(copied, data, tmp_path):
    moved = shutil.copytree(data, tmp_path / "moved")
    assert rerun(copied, tmp_path / "again", data=moved)["equal"].all()
    assert json.loads((tmp_path / "again/metrics/test.full.json").read_text())["data"] == "moved"


def test_the_first_difference_is_named(copied, tmp_path, capsys):
    from naaflib.cli import main

    lines = (copied / "history.csv").read_text().splitlines()
    values = lines[2].split(",")
    lines[2] = ",".join([values[0], values[1], "1.5", *values[3:]])
    (copied / "history.csv").write_text("\n".join(lines) + "\n")
    metrics = json.loads((copied / "metrics/test.full.json").read_text())
    was = metrics["t2i"]["at_5"]
    metrics["t2i"]["at_5"] = was + 1
    (copied / "metrics/test.full.json").write_text(json.dumps(metrics))
    change_config(copied, environment={"python": "3.1", "libraries": {"torch": "0.4"}})
    assert main(["rerun", str(copied)]) == 1
    said = capsys.readouterr()
    assert f"run is not the same again: history.csv, row 2, loss: 1.5 was, {values[2]} now" in said.err
    assert "python 3.1 then, " in said.err
    assert "torch 0.4 then, " in said.err
    assert f"t2i.at_5: {was + 1} was, {was} now" in said.out


def test_other_weights_are_a_difference(group, copied):
    from naaflib.runs import Run
    from naaflib.training.rerun import compare_repetition

    other = Run.open(group / SECOND)
    shutil.copy(other.checkpoint("best"), copied / "checkpoints")
    table = compare_repetition(Run.open(group / FIRST), Run.open(copied), other.data_folder)
    found = dict(zip(table["what"], table["equal"], strict=True))
    assert found == {
        "weights": False,
        "history.csv": True,
        "steps.csv": True,
        "metrics/test.full.json": False,
    }


def test_a_row_too_many_is_a_difference(group, copied):
    from naaflib.runs import Run
    from naaflib.training.rerun import compare_repetition

    with (copied / "steps.csv").open("a") as file:
        file.write((copied / "steps.csv").read_text().splitlines()[-1] + "\n")
    run = Run.open(group / FIRST)
    table = compare_repetition(run, Run.open(copied), run.data_folder).set_index("what")
    assert table.loc["steps.csv", "first difference"] == "row 15 is in one of them only"


@pytest.mark.parametrize("file", ["dev_caps.txt", "test_ims.npy"])
def test_changed_data_are_refused_before_anything_is_trained(data, copied, tmp_path, file):
    other = Path(shutil.copytree(data, tmp_path / "other"))
    content = bytearray((other / file).read_bytes())
    content[-2] ^= 1
    (other / file).write_bytes(content)
    with pytest.raises(NaafError, match=rf"other/{file} is not what \S+/run was (trained|evaluated) on"):
        rerun(copied, tmp_path / "again", data=other)
    assert not (tmp_path / "again").exists()


def test_what_cannot_be_repeated_is_refused(copied, group, data, tmp_path):
    from naaflib.config import replace
    from naaflib.runs import Run

    with pytest.raises(NaafError, match="already holds a run; name a fresh folder"):
        rerun(copied, group)
    with pytest.raises(NaafError, match=r"again lies inside \S+/run, which stays as it is"):
        rerun(copied, copied / "again")
    with pytest.raises(NaafError, match=r"nowhere, the data of \S+/run, does not exist"):
        rerun(copied, tmp_path / "again", data=tmp_path / "nowhere")
    Run.create(tmp_path / "joined", "ensemble")
    with pytest.raises(NaafError, match="joined is a run of kind 'ensemble'; rerun what it was made from"):
        rerun(tmp_path / "joined", tmp_path / "again")
    run = Run.open(copied)
    longer = replace(run.settings, {"train.epochs": run.settings.train.epochs + 1})
    run.update(settings=longer.model_dump())
    with pytest.raises(NaafError, match="run is not trained to its end"):
        rerun(copied, tmp_path / "again")


def test_the_repetition_is_kept_only_when_asked(copied, tmp_path, capsys, monkeypatch):
    import tempfile

    from naaflib.cli import main

    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    assert main(["rerun", str(copied)]) == 0
    assert not list(scratch.iterdir())
    assert main(["rerun", str(copied), "--keep"]) == 0
    (kept,) = scratch.glob("naaf-rerun-*/run")
    assert f"the repetition: {kept}" in capsys.readouterr().err
    assert (kept / "config.json").is_file()
