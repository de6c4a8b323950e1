"""After a power cut, a kill, a signal or a full disk, a training goes on to the bits of an undisturbed one.

docs/reliability.md says what is promised, and counts.
"""

import errno
import gc
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import crash_run
import pytest
import seeds
from crash_run import bits, dead_process, of_another_process, recorded, stopped
from crash_states import crash_states, write_tree
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from naaflib import files
from naaflib.cli import main
from naaflib.errors import NaafError
from naaflib.evaluation import evaluate
from naaflib.files import HERE, atomic_path, put
from naaflib.locking import exclusive
from naaflib.messages import progress_bar
from naaflib.runs import FINISHED, UNFINISHED, Run

pytestmark = pytest.mark.trains
FEW = 25  # states in `make test`
# of each start, at least as many as docs/reliability.md counts
STATES = {"fresh": 489, "begun": 483, "ahead": 197, "damaged": 215, "removed": 503}
TRIALS = Path(__file__).parent / "crash_trials.py"


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The bits of the run that was not disturbed."""
    return bits(crash_run.train(data, tmp_path_factory.mktemp("whole") / "run"))


@pytest.fixture
def train(data):
    return lambda out: crash_run.train(data, out)


@pytest.fixture(scope="module")
def ahead(data, tmp_path_factory):
    return stopped(data, tmp_path_factory.mktemp("ahead") / "run")


@pytest.fixture
def run(ahead, tmp_path):
    """A run that was killed in its second epoch, its logs ahead of its last checkpoint."""
    return shutil.copytree(ahead, tmp_path / "run")


@pytest.fixture(scope="module")
def dead():
    return dead_process()


# ---- power cuts


def goes_on(data, tree, place, dead):
    """The bits that a state of the folder leads to."""
    write_tree({of_another_process(name, dead): content for name, content in tree.items()}, place)
    try:
        return bits(crash_run.train(data, place / "run"))
    finally:
        shutil.rmtree(place)


def some(states):
    return states[:: len(states) // FEW + 1]


def test_some_states_that_a_power_cut_may_leave_go_on(data, whole, dead, tmp_path):
    states = crash_states(recorded(data, tmp_path / "recorded", "fresh"))
    assert len(states) > 300
    for tree in some(states):
        assert goes_on(data, tree, tmp_path / "state", dead) == whole


def test_without_flushes_some_states_do_not_go_on(data, whole, dead, tmp_path):
    """What the enumeration is worth: it finds the states that flushes prevent."""
    recorder = recorded(data, tmp_path / "recorded", "fresh")
    recorder.operations = [operation for operation in recorder.operations if operation[0] != "flush"]
    for tree in crash_states(recorder)[::-1][::FEW]:  # the last moments have most to lose
        try:
            if goes_on(data, tree, tmp_path / "state", dead) != whole:
                return
        except NaafError:
            return
    pytest.fail("every state went on")


def trials(data, tmp_path, *words, prefix=()):
    """The counts of tests/crash_trials.py."""
    names = [str(TRIALS.parent), str(TRIALS.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(names)}
    ours = shutil.copytree(data, tmp_path / "data")
    command = [*prefix, sys.executable, str(TRIALS), str(ours), str(tmp_path / "trials"), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout.splitlines()[-1])
    print(*words, counts)  # docs/reliability.md keeps them
    return counts


@pytest.mark.long
@pytest.mark.parametrize("before", crash_run.BEFORE)
def test_every_state_that_a_power_cut_may_leave_goes_on(data, tmp_path, before):
    assert trials(data, tmp_path, "states", before)["states"] >= STATES[before]


# ---- signals


def test_a_signal_at_any_moment_is_one_sentence_that_is_true(data, tmp_path):
    counts = trials(data, tmp_path, "signals", "SIGINT,SIGTERM,SIGKILL", 9, seeds.shifted())
    assert counts["SIGINT"] == counts["SIGTERM"] == counts["SIGKILL"] == 3


@pytest.mark.long
@pytest.mark.parametrize(("names", "count"), [("SIGKILL", 1000), ("SIGINT,SIGTERM", 400)])
def test_a_signal_at_many_moments_never_costs_a_run(data, tmp_path, names, count):
    counts = trials(data, tmp_path, "signals", names, count, seeds.shifted())
    assert sum(counts[name] for name in names.split(",")) == count
    assert counts["whole runs"] > 0


def test_a_bar_that_a_signal_left_half_made_ends_in_silence(monkeypatch):
    """Else a traceback stands below the one sentence."""

    def interrupted(self, *_, **__):
        self.disable = False
        raise SystemExit(143)

    monkeypatch.setattr(tqdm, "__init__", interrupted)
    unraised = []
    monkeypatch.setattr(sys, "unraisablehook", unraised.append)
    with suppress(SystemExit):
        progress_bar(range(3))
    gc.collect()
    assert unraised == []


def test_what_an_interruption_advises_depends_on_what_is_there(data, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **how):
        raise KeyboardInterrupt

    monkeypatch.setattr("naaflib.training.train_run", interrupted)
    words = ["train", "--data", str(data), "--out", str(tmp_path / "run"), "--preset", "scenes"]
    assert main(words) == 130
    assert "interrupted; nothing is half-written; run it again" in capsys.readouterr().err
    Run.create(tmp_path / "run", "train")
    assert main(words) == 130
    assert "interrupted; the same command with --resume continues" in capsys.readouterr().err


# ---- full disks


@pytest.mark.long
def test_a_disk_that_fills_in_any_write_is_one_sentence_and_goes_on(data, tmp_path):
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    counts = trials(data, tmp_path, "full", prefix=("unshare", "-rm"))
    assert counts["full disks"] > 15
    assert counts["checkpoints"] > 3


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_names_the_file_and_not_its_partial_name(tmp_path, code):
    for named in (None, "partial"):
        with (
            pytest.raises(OSError, match=os.strerror(code)) as caught,
            atomic_path(tmp_path / "a.csv") as partial,
        ):
            raise OSError(code, os.strerror(code), *([str(partial)] if named else []))
        assert caught.value.filename == str(tmp_path / "a.csv")
    with pytest.raises(OSError, match="other") as caught, atomic_path(tmp_path / "a.csv"):
        raise OSError(errno.EIO, "other", "features.npy")
    assert caught.value.filename == "features.npy"
    assert not list(tmp_path.iterdir())


def test_a_full_disk_in_a_log_names_the_log(data, tmp_path, monkeypatch):
    run = Run.create(tmp_path / "run", "train")
    monkeypatch.setattr(
        "csv.DictWriter.writerow", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "full"))
    )
    with pytest.raises(OSError, match="full") as caught:
        run.append("steps.csv", ("step",), {"step": 1})
    assert caught.value.filename == str(run.path / "steps.csv")


# ---- what is damaged


def last(run: Path, which: str = "last") -> Path:
    return Run.open(run).checkpoint(which)


def rewrite(path: Path, change) -> None:
    """A checkpoint with other tensors or another header."""
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["naaf"])
    change(tensors, about["progress"])
    save_file(tensors, path, {"naaf": json.dumps(about)})


def drop(kind):
    def change(tensors, progress):
        for name in [name for name in tensors if name.startswith(kind)]:
            del tensors[name]

    return change


CHECKPOINTS = {
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "NULs": lambda path: path.write_bytes(b"\0" * path.stat().st_size),
    "missing": lambda path: path.unlink(),
    "no optimizer": lambda path: rewrite(path, drop("optimizer.")),
    "no random state": lambda path: rewrite(path, drop("random.")),
    "no epoch": lambda path: rewrite(path, lambda tensors, progress: progress.pop("epoch")),
    "no whole step": lambda path: rewrite(path, lambda tensors, progress: progress.update(step=2.5)),
    "no progress": lambda path: rewrite(path, lambda tensors, progress: progress.clear()),
}


@pytest.mark.parametrize("damage", CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(train, whole, run, capsys, damage):
    assert last(run, "previous").is_file()
    damage(last(run))
    assert Run.open(run).state() == UNFINISHED
    assert bits(train(run)) == whole
    said = capsys.readouterr().err
    assert re.search(r"last\.safetensors .*; training goes on from the checkpoint before, at step \d", said)
    assert Run.open(run).state() == FINISHED


def lose(count):
    """A log without its last rows, to the checkpoint or further."""

    def change(path):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:-count]))

    return change


LOGS = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "foreign": lambda path: path.write_text("name,value\na,1\nb,2\nc,3\nd,4\ne,5\nf,6\n"),
    "a foreign row": lambda path: path.write_bytes(path.read_bytes().replace(b"\n1,", b"\nx,", 1)),
    "a row short": lambda path: path.write_bytes(re.sub(rb"(\n1),[^,]*", rb"\1", path.read_bytes())),
    "NULs": lambda path: path.write_bytes(path.read_bytes()[:-300].ljust(path.stat().st_size, b"\0")),
    "not text": lambda path: path.write_bytes(b"\xff\xfe" + path.read_bytes()),
    "rows lost": lose(4),
}


@pytest.mark.parametrize("name", ["steps.csv", "history.csv"])
@pytest.mark.parametrize("damage", LOGS.values(), ids=LOGS)
def test_a_log_that_lacks_what_the_checkpoint_counts_is_refused(train, run, name, damage):
    """Never a silent gap."""
    last(run, "previous").unlink()
    damage(run / name)
    before = (run / name).read_bytes() if (run / name).exists() else None
    with pytest.raises(
        NaafError, match=rf"{name} lacks .*; restore it from a copy, or remove .*checkpoints to"
    ):
        train(run)
    assert ((run / name).read_bytes() if (run / name).exists() else None) == before


def test_a_run_that_was_refused_goes_on_as_its_sentence_says(train, whole, run, tmp_path):
    last(run, "previous").unlink()
    copy = shutil.copytree(run, tmp_path / "copy")
    lose(4)(run / "steps.csv")
    with pytest.raises(NaafError, match="restore it from a copy, or remove"):
        train(run)
    shutil.rmtree(run / "checkpoints")
    assert bits(train(run)) == whole
    assert bits(train(copy)) == whole


def test_rows_that_the_last_checkpoint_counts_and_the_one_before_does_not_are_computed_again(
    train, whole, run, capsys
):
    steps = (run / "steps.csv").read_text().splitlines(keepends=True)
    with safe_open(last(run, "previous"), "pt") as file:
        known = json.loads(file.metadata()["naaf"])["progress"]["step"]
    (run / "steps.csv").write_text("".join(steps[: known + 1]))
    assert bits(train(run)) == whole
    assert f"steps.csv lacks step {known + 1}" in capsys.readouterr().err


@pytest.mark.parametrize("tail", [b"5,2,0.1", b"\0" * 99, b"\n\n", b"x,y\n", b"\xff"])
@pytest.mark.parametrize("name", ["steps.csv", "history.csv"])
def test_what_follows_the_rows_of_the_checkpoint_is_cut(train, whole, run, name, tail):
    with (run / name).open("ab") as file:
        file.write(tail)
    assert bits(train(run)) == whole


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, progress: progress.update(batch=3),
        lambda tensors, progress: progress.update(epoch=1),
        lambda tensors, progress: tensors.update(
            {"optimizer.0.exp_avg": tensors["optimizer.0.step"].clone()}
        ),
        lambda tensors, progress: tensors.update(
            {"optimizer.99.exp_avg": tensors["optimizer.0.exp_avg"].clone()}
        ),
        lambda tensors, progress: tensors.update({"random.cpu": tensors["random.cpu"][:7].clone()}),
        lambda tensors, progress: progress.pop("samples"),
    ],
)
def test_a_checkpoint_that_does_not_fit_its_run_is_refused_with_a_remedy(train, whole, run, change):
    rewrite(last(run), change)
    with pytest.raises(NaafError, match=r"last\.safetensors does not fit its run \(.*remove it to go on"):
        train(run)
    last(run).unlink()
    assert bits(train(run)) == whole


def test_a_run_without_its_best_weights_does_not_go_on_silently(train, run):
    last(run, "best").unlink()
    last(run, "previous").unlink()
    with pytest.raises(NaafError, match=r"best\.safetensors is missing; restore it .*to train anew"):
        train(run)


# ---- what is left over


def test_partial_files_of_dead_processes_of_this_machine_are_swept(tmp_path, dead):
    folder = tmp_path / "run"
    (folder / "scores").mkdir(parents=True)
    names = [f".test.{HERE}-{dead}.partial.npy", f".a.b.{HERE}-{dead}.partial"]
    kept = [
        f".test.{HERE}-{os.getpid()}.partial.npy",  # runs
        f".test.00000000-{dead}.partial.npy",  # another machine's
        f"test.{HERE}-{dead}.partial.npy",
        f".test.{HERE}-{dead}.partial.npy.txt",
        f".test.{dead}.partial.npy",
        "01.partial.ipynb",
    ]
    for name in (*names, *kept):
        (folder / "scores" / name).write_text("x")
    with exclusive(folder):
        assert {path.name for path in (folder / "scores").iterdir()} == set(kept)


def test_an_older_file_keeps_a_name_of_its_own(tmp_path, monkeypatch):
    """Also where the two names are of one file, and on a file system without hard links."""
    path, older = tmp_path / "last", tmp_path / "previous"
    for link in (os.link, None):
        if link is None:
            monkeypatch.setattr(
                os, "link", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links"))
            )
        for number in range(3):
            with atomic_path(path, older) as partial:
                partial.write_text(str(number))
        assert (path.read_text(), older.read_text()) == ("2", "1")
        path.unlink()
        older.unlink()
    monkeypatch.undo()
    path.write_text("0")
    os.link(path, older)
    with atomic_path(path, older) as partial:
        partial.write_text("1")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["last", "previous"]


def test_a_folder_is_flushed_with_all_that_it_holds(tmp_path, monkeypatch):
    flushed = set()
    monkeypatch.setattr(files, "FLUSH", True)
    monkeypatch.setattr(
        os, "fsync", lambda handle: flushed.add(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
    )
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").write_text("x")
    put(tmp_path / "a", tmp_path / "z")
    assert {"a", "b", "c", tmp_path.name} <= flushed


# ---- an evaluation that cannot be saved


@pytest.mark.parametrize("blocked", ["scores", "metrics", "tables"])
def test_an_evaluation_shows_its_recalls_before_it_says_that_it_cannot_save(
    data, train, tmp_path, capsys, blocked
):
    run = train(tmp_path / "run")
    saved = evaluate(run, split="dev", out=tmp_path / "elsewhere")
    (run / blocked).write_text("a file in the way, as good as a folder that may not be written")
    capsys.readouterr()
    assert main(["evaluate", str(run), "--split", "dev"]) == 1
    shown, said = capsys.readouterr()
    assert f"rsum {saved.metrics.rsum:.1f}" in shown
    assert re.search(rf"naaf: this result is not saved: .*{blocked}.*--out", said)
    found = evaluate(run, split="dev")
    assert (found.metrics.i2t.ranks == saved.metrics.i2t.ranks).all()
    assert "not saved" in found.sentence()
