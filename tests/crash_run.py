"""The training that is disturbed: what it starts from, and what has to come of it, the same bits."""

import csv
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import seeds
from crash_states import Recorder

from naaflib import files
from naaflib.config import preset
from naaflib.data.batches import Batches
from naaflib.model import checkpoint
from naaflib.runs import Run
from naaflib.training.folder import train_run

CHANGES = {
    "model.dim": 5,
    "model.word_dim": 3,
    "mining.min_words": 10,
    "train.epochs": 2,
    "train.batch_size": 18,  # three steps an epoch of 11 images
    "train.checkpoint_steps": 2,
    "train.warmup_steps": 0,
    "train.learning_rate": 0.02,
    "train.seed": seeds.shifted(3),
}


class Killed(Exception):
    """A training process that ends where it stands."""


def train(data: Path, out: Path) -> Path:
    """Train as a person does: with --resume where a run was begun."""
    begun = (out / "config.json").is_file()
    return train_run(data, out, preset("scenes", CHANGES), resume=begun, device="cpu").path


def stopped(data: Path, out: Path, batches: int = 6) -> Path:
    """A run that was killed when it read a batch, its logs ahead of its checkpoint."""
    read = []

    def batch(self, captions, real=Batches.batch):
        read.append(captions)
        if len(read) == batches:
            raise Killed
        return real(self, captions)

    try:
        with mock.patch.object(Batches, "batch", batch):
            train(data, out)
    except Killed:
        return out
    raise AssertionError("it was not stopped")


def fresh(data: Path, out: Path) -> None:
    """Nothing is there."""


def begun(data: Path, out: Path) -> None:
    """Stopped before its first checkpoint."""
    stopped(data, out, 1)
    Run.open(out).checkpoint("last").unlink()


def ahead(data: Path, out: Path) -> None:
    stopped(data, out)


def damaged(data: Path, out: Path) -> None:
    """Its last checkpoint is torn."""
    last = Run.open(stopped(data, out)).checkpoint("last")
    last.write_bytes(last.read_bytes()[:999])


def removed(data: Path, out: Path) -> None:
    """As the sentence of a run that cannot go on advises."""
    shutil.rmtree(stopped(data, out) / "checkpoints")


BEFORE = {start.__name__: start for start in (fresh, begun, ahead, damaged, removed)}


def recorded(data: Path, root: Path, before: str) -> Recorder:
    """All operations of a training that starts from what was left before."""
    root.mkdir()
    BEFORE[before](data, root / "run")
    with mock.patch.object(files, "FLUSH", True), Recorder(root) as recorder:
        train(data, root / "run")
    return recorder


def bits(folder: Path) -> dict[str, object]:
    """All that a training leaves, but for the seconds that it took."""
    run, found = Run.open(folder), {}
    for which in ("best", "last"):
        tensors, header = checkpoint.read(run.checkpoint(which))
        header["progress"].pop("seconds")
        found[which] = header, {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    found["steps"] = (folder / "steps.csv").read_bytes()
    rows = csv.DictReader(io.StringIO((folder / "history.csv").read_text()))
    found["history"] = [{name: cell for name, cell in row.items() if name != "seconds"} for row in rows]
    for epoch, samples in run.samples().items():
        found[f"samples {epoch}"] = {name: np.asarray(array).tobytes() for name, array in samples.items()}
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    found["files"] = {name for name in names if not name.startswith("tensorboard/")} - {".lock"}
    return found


def dead_process() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def of_another_process(name: str, dead: int) -> str:
    """A partial file's name as if a process had written it that runs no longer."""
    return name.replace(f"-{os.getpid()}.partial", f"-{dead}.partial")
