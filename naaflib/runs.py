"""The run folder: settings, environment, history, metrics. Written so that a crash leaves whole files.

outputs/<run>/ holds config.json, vocabulary.json, checkpoints/{best,last}.safetensors (while it trains, the
one before as previous), history.csv, steps.csv, samples/epoch_NN.npz, tensorboard/, scores/<split>.npy,
metrics/<split>.<protocol>.json, figures/, tables/, notebooks/ and report.html. Several seeds stand side by
side as members/<seed>/.
"""

import csv
import math
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from .config import Settings
from .display import Described
from .errors import NaafError, UsageError
from .files import (
    atomic_path,
    blamed,
    check_regular,
    flush,
    missing,
    parse_json,
    project_root,
    read_json,
    resolve,
    shown,
    write_json,
)
from .metric.retrieval import MEASURES, best_row
from .npz import read_arrays
from .spreadsheets import REMEDY, read_csv, write_csv

if TYPE_CHECKING:
    import pandas as pd

    from .viz.style import Figure

# batch_..._at_1: recall within a training batch, percent; hardest_weight: of the hardest negatives, 0 to 1.
BATCH_COLUMNS = ("batch_i2t_at_1", "batch_t2i_at_1", "hardest_weight")
HISTORY = (
    "epoch", "step", "loss", *BATCH_COLUMNS, "boundary", "inference_boundary",
    "mean_matched", "std_matched", "mean_mismatched", "std_mismatched",
    *MEASURES,
    "seconds", "learning_rate",
)  # fmt: skip
STEPS = (
    "step", "epoch", "loss", *BATCH_COLUMNS, "grad_norm", "learning_rate", "boundary", "inference_boundary",
    "mean_matched", "std_matched", "mean_mismatched", "std_mismatched",
)  # fmt: skip
LOGS = {"history.csv": ("epoch", HISTORY), "steps.csv": ("step", STEPS)}  # what counts the rows, and columns
PARTS = ("settings", "data", "start", "sizes", "weights", "environment")  # of config.json: objects
LIBRARIES = ("torch", "numpy", "pandas", "matplotlib", "papermill", "nltk")
SWEEP = "sweep.csv"  # in a sweep's folder: a row a run
TRAIN, VARIANT = "train", "variant"  # kinds of runs that have weights: their own, another run's
FINISHED, UNFINISHED, NO_CHECKPOINT = "finished", "unfinished", "no checkpoint yet"  # see Run.state
NEWEST = ("last", "previous")  # checkpoints to go on from, the newest first
COUNTS = {"epoch": 1, "batch": 0, "step": 0}  # in them, and the least that each can be
SAMPLES = re.compile(r"epoch_(\d+)\.npz")  # another name is not a training's
PAIR = ("matched", "mismatched")  # a word's two similarities
MOST_OF_SAMPLES = 2**28  # bytes of an array
CHECKPOINT_FORMAT = "naaf-checkpoint-1"
FAILURE = "failure.json"  # in a run's folder: why a sweep could not finish it


def environment() -> dict[str, object]:
    """What computed a result: versions, processor, commit."""
    versions: dict[str, str | None] = dict.fromkeys(("naaflib", *LIBRARIES))
    for name in versions:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    git = subprocess.run(
        ["git", "-C", str(project_root()), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "libraries": versions,
        "commit": git.stdout.strip() or None,
    }


def checkpoint_header(path: Path) -> dict:
    """What a checkpoint of ours says about itself, without reading its tensors."""
    check_regular(path, "train first, or name another checkpoint")
    try:
        with safe_open(path, framework="np") as file:
            content = parse_json((file.metadata() or {}).get("naaf", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise NaafError(
            f"{shown(path)} is not a whole checkpoint ({error}); restore it, or train its run again"
        ) from None
    if not isinstance(content, dict) or content.get("format") != CHECKPOINT_FORMAT:
        raise NaafError(f"{shown(path)} is a safetensors file, but not a checkpoint of this library")
    return content


def checkpoint_progress(path: Path) -> dict:
    """Where a training stood when it wrote a checkpoint: epoch and batch in it, steps, sums."""
    progress = checkpoint_header(path).get("progress")
    if not isinstance(progress, dict) or not all(
        isinstance(progress.get(name), int) and progress[name] >= least for name, least in COUNTS.items()
    ):
        raise NaafError(f"{shown(path)} does not say where its training stood; restore it")
    return progress


class Run(Described):
    """A run folder. `Run.create` makes one, `Run.open` opens one; a moved folder still opens."""

    def __init__(self, path: Path, config: Mapping[str, object]):
        self.path, self.config = path, dict(config)

    @classmethod
    def create(cls, path: str | Path, kind: str, *, anew: bool = False, **content: object) -> "Run":
        """A new run of a kind: TRAIN, VARIANT, "group" (members side by side), "ensemble" or "sweep".

        Raises NaafError where the folder already holds a run, unless it is to begin anew.
        """
        path = Path(path)
        if not anew:
            check_free(path)
        if path.exists() and not path.is_dir():
            raise NaafError(f"{shown(path)} is a file; a run needs a folder")
        config = {"kind": kind, **content, "environment": environment()}
        write_json(path / "config.json", config)
        return cls(path, config)

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """path: as `files.resolve` takes it. Raises NaafError where it is not a run folder."""
        path = resolve(path)
        if not os.path.lexists(path / "config.json"):
            kind = "is not a run (it has no config.json)" if path.is_dir() else "is a file, not a run folder"
            what = f"{shown(path)} {kind}" if path.exists() else missing(path)
            raise NaafError(f"{what}; `naaf runs` lists the runs, `naaf train` makes one")
        config = read_json(path / "config.json")
        if not isinstance(config, dict) or "kind" not in config:
            raise NaafError(f"{shown(path / 'config.json')} is not a run's config; {REMEDY}")
        parts = {name: config[name] for name in PARTS if config.get(name) is not None}
        wrong = next((name for name, part in parts.items() if not isinstance(part, dict)), None)
        if wrong or any(not isinstance(size, int | float) for size in parts.get("sizes", {}).values()):
            place = wrong or "sizes"
            raise NaafError(f"{shown(path / 'config.json')}: {place!r} is not as a run records it; {REMEDY}")
        return cls(path, config)

    @property
    def kind(self) -> str:
        return str(self.config["kind"])

    @property
    def name(self) -> str:
        """What a table calls the run: its folder, a member with its group."""
        group = f"{self.path.parents[1].name}/" if self.path.parent.name == "members" else ""
        return group + self.path.name

    def facts(self) -> dict[str, object]:
        """Folder, kind, data set and, of a trained run, method, seed, epochs and the best rsum on dev."""
        found: dict[str, object] = {"folder": shown(self.path), "kind": self.kind}
        data = self.config.get("data")
        if isinstance(data, dict):
            found["data"] = data.get("name", data.get("data"))
        if (self.path / "members").is_dir():
            found["members"] = len(member_folders(self.path))
        with suppress(NaafError):
            settings = self.settings
            found |= {"method": settings.model.method, "seed": settings.train.seed}
            if self.epochs_done:
                epochs = f"{self.epochs_done} of {settings.train.epochs}"
                found |= {"epochs": epochs, "best dev rsum": f"{self.best_rsum:.1f}"}
        return found

    @property
    def settings(self) -> Settings:
        if "settings" not in self.config:
            raise NaafError(
                f"{shown(self.path)} is a run of kind {self.kind!r}, which has no settings of its own"
            )
        try:
            return Settings.model_validate(self.config["settings"])
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in ("settings", *first["loc"]))
            raise NaafError(
                f"{shown(self.path / 'config.json')}: {place}: {first['msg']}; correct or restore it"
            ) from None

    @property
    def data_folder(self) -> Path:
        """The data set's folder as it was then. Raises NaafError where it is not recorded."""
        data = self.config.get("data")
        if not isinstance(data, dict) or "folder" not in data:
            raise NaafError(f"{shown(self.path)} does not record its data set; name it with --data")
        return Path(data["folder"])

    def update(self, **content: object) -> None:
        self.config.update(content)
        write_json(self.path / "config.json", self.config)

    def checkpoint(self, which: str = "best") -> Path:
        return self.path / "checkpoints" / f"{which}.safetensors"

    @property
    def is_trained(self) -> bool:
        """Whether it has weights to use; training may not be at its end (`state`)."""
        return self.checkpoint("best").is_file()

    def resumable(self) -> Path | None:
        """The checkpoint that `--resume` goes on from; None where there is none.

        It is the last one or, where that is missing or damaged, the one before. Raises NaafError where none
        is whole.
        """
        reason = None
        for path in map(self.checkpoint, NEWEST):
            if path.is_file():
                try:
                    checkpoint_progress(path)
                    return path
                except NaafError as error:
                    reason = reason or error
        if reason is not None:
            raise self.lost(reason)
        return None

    def lost(self, reason: NaafError) -> NaafError:
        """The error of a training that cannot go on, for a reason whose own remedy is left out."""
        folder, what = shown(self.checkpoint().parent), str(reason).partition(";")[0]
        return NaafError(f"{what}; restore it from a copy, or remove {folder} to train anew")

    @property
    def epochs_done(self) -> int | None:
        """Epochs trained, validated and saved; None where nothing is recorded.

        The last checkpoint counts: a process killed before it was written leaves a row too many in
        history.csv. That table counts where there is no last checkpoint, as beside another run's weights.
        """
        if path := self.resumable():
            return checkpoint_progress(path)["epoch"] - 1
        if not (self.path / "history.csv").is_file():
            return None
        return int(max(self.history()["epoch"], default=0))

    def state(self) -> str:
        """How far a run of kind TRAIN or VARIANT is.

        FINISHED: every epoch of its settings is saved; VARIANT has nothing to train. UNFINISHED: `--resume`
        goes on from a checkpoint. NO_CHECKPOINT: it stopped before the first one, and starts anew.
        Raises NaafError for other kinds of runs and for a record that is damaged.
        """
        done = self.settings.train.epochs if self.kind == VARIANT else self.epochs_done
        if self.is_trained and done is not None and done >= self.settings.train.epochs:
            return FINISHED
        return UNFINISHED if self.resumable() else NO_CHECKPOINT

    def scores_path(self, split: str) -> Path:
        return self.path / "scores" / f"{split}.npy"

    def metrics_path(self, split: str, protocol: str) -> Path:
        return self.path / "metrics" / f"{split}.{protocol}.json"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    def save_figure(self, figure: "Figure", name: str) -> Path:
        """A matplotlib figure as figures/<name>.png and .pdf; the picture's path."""
        for suffix in (".pdf", ".png"):
            path = self.figures / f"{name}{suffix}"
            with atomic_path(path) as partial:
                figure.savefig(partial, dpi=200, bbox_inches="tight")
        return path

    def save_table(self, frame: "pd.DataFrame", name: str) -> Path:
        """A pandas table as tables/<name>.csv; an index that only counts is left out."""
        import pandas as pd

        path = self.path / "tables" / f"{name}.csv"
        with atomic_path(path) as partial:
            write_csv(frame, partial, index=not isinstance(frame.index, pd.RangeIndex))
        return path

    def history(self) -> "pd.DataFrame":
        """A pandas row an epoch."""
        return self._frame("history.csv")

    @property
    def best_rsum(self) -> float:
        """The highest rsum on the validation split; NaN where none was logged.

        Raises NaafError for a damaged history.csv.
        """
        return float(self.history()["rsum"].max()) if (self.path / "history.csv").is_file() else math.nan

    def steps(self) -> "pd.DataFrame":
        """A pandas row a training step."""
        return self._frame("steps.csv")

    def save_log(self, name: str, frame: "pd.DataFrame") -> None:
        """A pandas frame as history.csv or steps.csv."""
        with atomic_path(self.path / name) as partial:
            frame.to_csv(partial, index=False)

    def _frame(self, name: str) -> "pd.DataFrame":
        path = self.path / name
        if not os.path.lexists(path):
            raise NaafError(
                f"{shown(path)} is missing: {shown(self.path)} has not been trained; `naaf train` does it"
            )
        key, columns = LOGS[name]
        needed = {"history.csv": ("epoch", "loss", "rsum"), "steps.csv": ("step", "epoch", "loss")}[name]
        frame = read_csv(path, needed)
        for column in frame.columns.intersection(columns) if len(frame) else ():
            values = frame[column]
            if values.dtype.kind not in "iuf" or (column == key and not np.isfinite(values).all()):
                raise NaafError(f"{shown(path)}: column {column!r} holds what is no number; {REMEDY}")
        if frame.empty or ("rsum" in needed and not np.isfinite(frame["rsum"].max())):
            raise NaafError(f"{shown(path)} has no row with results; {REMEDY}")
        return frame

    def append(self, name: str, columns: tuple[str, ...], row: Mapping[str, object]) -> None:
        """One more row of history.csv or steps.csv."""
        path = self.path / name
        begun = path.is_file() and path.stat().st_size > 0
        with blamed(path), path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            if not begun:
                writer.writeheader()
            writer.writerow(row)

    def flush_logs(self) -> None:
        """The logs on the disk, as a checkpoint needs that counts their rows."""
        for name in LOGS:
            if (self.path / name).is_file():
                with blamed(self.path / name):
                    flush(self.path / name)
        flush(self.path)

    def cut_after(self, step: int, epoch: int) -> None:
        """Drop what was logged after a step and an epoch: rows, and samples of later epochs.

        Raises NaafError, before anything is dropped, where a row up to there is missing or damaged.
        """
        kept = {
            name: self.first_rows(name, count)
            for name, count in (("history.csv", epoch), ("steps.csv", step))
        }
        for name, rows in kept.items():
            path = self.path / name
            text = "".join(",".join(row) + "\n" for row in rows).encode()
            if not rows:
                path.unlink(missing_ok=True)
            elif path.read_bytes() != text:
                with atomic_path(path) as partial:
                    partial.write_bytes(text)
        for made, samples in self.sample_files().items():
            if made > epoch:
                samples.unlink()

    def first_rows(self, name: str, count: int) -> list[list[str]]:
        """The first rows of a log, cells as text, below those of its header; [] for none.

        Columns that an earlier version did not write are empty. Raises NaafError where a row is missing or
        damaged.
        """
        if count == 0:
            return []
        path, (key, columns) = self.path / name, LOGS[name]
        content = path.read_bytes() if path.is_file() else b""
        header, *lines = content.decode("utf-8", "replace").split("\n")[:-1] or [
            ""
        ]  # what ends without one is torn
        there = header.strip().split(",")
        rows = [list(columns)]
        known = {"epoch", "step", "loss"} <= set(there)
        for number, line in zip(range(1, count + 1), lines if known else (), strict=False):
            row = dict(zip(there, cells := line.strip().split(","), strict=False))
            if len(cells) != len(there) or not _counts(row, key, number):
                break
            rows.append([row.get(column, "") for column in columns])
        if len(rows) <= count:
            raise NaafError(
                f"{shown(path)} lacks {key} {len(rows)}, or its row is damaged, and the checkpoint is at "
                f"{key} {count}"
            )
        return rows

    def sample_files(self) -> dict[int, Path]:
        named = [(SAMPLES.fullmatch(path.name), path) for path in (self.path / "samples").glob("epoch_*.npz")]
        return dict(sorted((int(found[1]), path) for found, path in named if found))

    def save_samples(self, epoch: int, samples: Mapping[str, np.ndarray]) -> None:
        with atomic_path(self.path / "samples" / f"epoch_{epoch:02d}.npz") as partial:
            np.savez_compressed(partial, **samples)

    def samples(self) -> dict[int, dict[str, np.ndarray]]:
        """Matched and mismatched similarities of a fixed set of pairs by epoch; 0 is before training.

        Raises NaafError for a damaged file.
        """
        return {epoch: _samples(path) for epoch, path in self.sample_files().items()}

    @property
    def best_epoch(self) -> int:
        """The epoch whose checkpoint the run kept as its best. Raises NaafError for a run without history."""
        return int(best_row(self.history())["epoch"])

    def sample_panels(self) -> dict[str, dict[str, np.ndarray]]:
        """Samples of dev before training, without a boundary, and at the best epoch, by their titles.

        Raises NaafError where the run has not been trained or its samples are gone.
        """
        kept, best = self.samples(), self.best_epoch
        if not {0, best} <= set(kept):
            raise NaafError(
                f"{shown(self.path / 'samples')} lacks epoch 0 or {best}; restore it, or train the run anew"
            )
        before = {name: kept[0][name] for name in PAIR}
        return {"Before training": before, f"After epoch {best}, the best": kept[best]}

    def distributions(self) -> "Figure":
        """Matched against mismatched similarities of dev, before training and at the best epoch, with fits
        and boundaries; notebook 06 explains it. Raises NaafError as `sample_panels` does.
        """
        from .viz.distributions import distribution_figure

        return distribution_figure(self.sample_panels(), alpha=self.settings.mining.alpha)


def _samples(path: Path) -> dict[str, np.ndarray]:
    """A file of samples, checked: a figure would draw anything."""
    found = read_arrays(path, lambda names: names, MOST_OF_SAMPLES, REMEDY)
    pair, single = np.empty((2, 0)), [one for name, one in found.items() if name not in PAIR]
    with suppress(KeyError, ValueError):  # one is missing, or of another length
        pair = np.stack([found[name] for name in PAIR])
    numbers = all(one.dtype.kind == "f" for one in found.values()) and not any(map(np.ndim, single))
    if not (numbers and pair.ndim == 2 and pair.size and np.isfinite(pair).all()):
        raise NaafError(
            f"{shown(path)} does not hold as many matched as mismatched similarities, all of them finite; "
            f"{REMEDY}"
        )
    return found


def members(path: str | Path) -> list[Run]:
    """The trained runs of a folder: itself, or its members by seed. Raises NaafError where there is none."""
    path = resolve(path)
    if (path / "config.json").is_file() or not (path / "members").is_dir():
        run = Run.open(path)
        if run.is_trained:
            return [run]
    trained = [run for run in map(Run.open, member_folders(path)) if run.is_trained]
    if not trained and (path / SWEEP).is_file():
        raise NaafError(f"{shown(path)} holds a sweep; name one of its runs (`naaf runs {shown(path)}`)")
    if not trained:
        raise NaafError(f"{shown(path)} holds no trained run; notebook 02_training or `naaf train` makes one")
    return trained


def member_folders(path: Path) -> list[Path]:
    """The runs side by side in a group, by seed."""
    found = (config.parent for config in path.glob("members/*/config.json"))
    return sorted(found, key=lambda folder: (len(folder.name), folder.name))


def as_paths(sources: "Run | str | Path | Iterable[Run | str | Path]") -> list[Path]:
    """Runs and folders as paths; one alone, a text too, is a list of one."""
    alone = isinstance(sources, Run | str | Path)
    return [one.path if isinstance(one, Run) else resolve(one) for one in ([sources] if alone else sources)]


BEST_MEMBER = -1  # where a member is asked for: `best_member`


def best_member(runs: Sequence[Run]) -> int:
    """Which of some trained runs has the highest rsum on the validation split; the first one of a tie."""
    rsums = [run.best_rsum for run in runs]
    return max(range(len(runs)), key=lambda k: -math.inf if math.isnan(rsums[k]) else rsums[k])


def check_free(path: Path) -> None:
    """Raises NaafError where a folder holds a run already."""
    if (path / "config.json").exists():
        raise NaafError(f"{shown(path)} already holds a run; take another --out, or --resume to continue it")


def check_apart(out: Path, run: Run) -> None:
    """Raises UsageError for a folder inside a run's, to which nothing of another run belongs."""
    if run.path.resolve() in out.resolve().parents:
        raise UsageError(
            f"{shown(out)} lies inside {shown(run.path)}, which stays as it is; name another folder"
        )


def open_group(path: str | Path) -> Run:
    """The folder that holds members, notebooks and a report: opened, or made where there is none."""
    path = Path(path)
    return Run.open(path) if (path / "config.json").is_file() else Run.create(path, "group")


def _counts(row: Mapping[str, str], key: str, number: int) -> bool:
    """Whether a log's row is the one of this number, and holds numbers alone, or nothing."""
    try:
        for cell in row.values():
            float(cell or 0)
        return int(row[key]) == number
    except ValueError:
        return False
