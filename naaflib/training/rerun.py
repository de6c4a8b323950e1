"""A run repeated from its record, and compared with it: weights, history, steps and metrics, exactly.

On one machine and its CPU the same record gives the same numbers. Seconds are the only thing left out.
"""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import zip_longest
from pathlib import Path

import pandas as pd
import torch

from ..config import Settings, changed
from ..data.manifest import layout_path
from ..errors import NaafError
from ..evaluation import evaluate
from ..files import fingerprint, read_json, read_object, resolve, shown
from ..messages import say
from ..model import checkpoint
from ..runs import FINISHED, TRAIN, VARIANT, Run, check_apart, environment, members, open_group
from .folder import check_data, start_fingerprint, train_run
from .variants import make_variant

NOT_COMPARED = ("seconds",)
COLUMNS = ("run", "what", "equal", "first difference")


def rerun(source: str | Path, out: str | Path, data: str | Path | None = None) -> pd.DataFrame:
    """Repeat a run (of a group: every member) into the folder `out`, and compare.

    data: where the data set is now; by default where the record says. A variant is trained and made anew, its
    training under out/weights. Returns a row a comparison: run, what, equal, first difference.
    Raises NaafError, before anything is trained, where the record or what it names cannot be repeated.
    """
    whole, out = Run.open(source), resolve(out)
    if whole.kind not in (TRAIN, VARIANT, "group"):
        raise NaafError(f"{shown(whole.path)} is a run of kind {whole.kind!r}; rerun what it was made from")
    runs = members(source)
    if (out / "config.json").exists():
        raise NaafError(f"{shown(out)} already holds a run; name a fresh folder")
    check_apart(out, whole)
    folders = [resolve(data) if data is not None else run.data_folder for run in runs]
    for run, folder in zip(runs, folders, strict=True):
        _check(run, folder)
    if whole.kind == "group":
        group = open_group(out)
        places = [group.path / "members" / run.path.name for run in runs]
    else:
        places = [out]
    found = []
    for run, folder, place in zip(runs, folders, places, strict=True):
        say(f"repeating {run.name}")
        with _threads(run):
            found.append(compare_repetition(run, _repeat(run, folder, place), folder))
    return pd.concat(found, ignore_index=True)


def compare_repetition(was: Run, now: Run, data: Path) -> pd.DataFrame:
    """A run and its repetition: a row for weights, history, steps and each saved metric.

    What the first one was evaluated on, the second one is evaluated on as well.
    """
    rows = [_row(was, "weights", _weights(was, now))]
    rows += [
        _row(was, name, _logs(was.path / name, now.path / name)) for name in ("history.csv", "steps.csv")
    ]
    for path in sorted((was.path / "metrics").glob("*.json")):
        record = {
            "precision": "float32",
            **read_object(path, ("split", "protocol", "data")),
        }  # as first written
        how = {name: record[name] for name in ("split", "protocol", "precision")}
        evaluate(now, data, device=_device(was), **how)
        repeated = read_json(now.metrics_path(record["split"], record["protocol"]))
        repeated["data"] = record["data"]  # the folder's name; captions_sha256 says which data they are
        rows.append(_row(was, f"metrics/{path.name}", _difference(record, repeated)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def changes_since(run: Run) -> list[str]:
    """What of the environment is not as it was recorded: a reason why results may differ."""
    was, now = run.config.get("environment") or {}, environment()
    pairs = [(name, was.get(name), now[name]) for name in ("python", "processor", "commit")]
    pairs.append(("processes", (run.config.get("start") or {}).get("processes", 1), 1))
    versions = was.get("libraries") or {}
    pairs += [(name, versions.get(name), version) for name, version in now["libraries"].items()]
    return [f"{name} {before} then, {after} now" for name, before, after in pairs if before != after]


def _check(run: Run, data: Path) -> None:
    """Whether everything that the run was made from is there, unchanged."""
    if run.state() != FINISHED:
        raise NaafError(f"{shown(run.path)} is not trained to its end; `naaf train --resume` goes on with it")
    if not data.is_dir():
        raise NaafError(f"{shown(data)}, the data of {shown(run.path)}, does not exist; name it with --data")
    check_data(run, data)
    for path in (run.path / "scores").glob("*.json"):
        features = layout_path(data, path.stem, "features")
        if read_object(path).get("features") != (fingerprint(features) if features.is_file() else None):
            raise NaafError(f"{shown(features)} is not what {shown(run.path)} was evaluated on; restore it")
    start = run.config.get("start") or {}
    for name, file in (start.get("files") or {}).items():
        path = Path(start[name])
        there = path.exists() or (name == "bert" and not path.is_absolute())  # a name on the hub
        if name != "vocabulary" and not there:
            raise NaafError(
                f"{shown(run.path)} started from {path}, which is not there any more; put it back there"
            )
        if name != "vocabulary" and start_fingerprint(name, start[name]) != file:
            raise NaafError(
                f"{shown(path)}, from which {shown(run.path)} started, is not what it was; restore it"
            )


def _repeat(run: Run, data: Path, out: Path) -> Run:
    start = run.config.get("start") or {}
    if run.kind == VARIANT:
        trained = Settings.model_validate(run.config["weights"]["settings"])
        source = _train(run, trained, start, data, out / "weights")
        overrides = changed(trained, run.settings)
        return make_variant(source, overrides, out, data=data, device=_device(run))
    return _train(run, run.settings, start, data, out)


def _train(run: Run, settings: Settings, start: dict, data: Path, out: Path) -> Run:
    return train_run(
        data,
        out,
        settings,
        init=start.get("init"),
        glove=start.get("glove"),
        bert=start.get("bert"),
        vocabulary=run.path / "vocabulary.json",
        device=_device(run),
    )


def _device(run: Run) -> str:
    return str((run.config.get("start") or {}).get("device") or "auto")


@contextmanager
def _threads(run: Run) -> Iterator[None]:
    """As many threads as the run had: the order of sums depends on them."""
    before = torch.get_num_threads()
    torch.set_num_threads((run.config.get("start") or {}).get("threads") or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _row(run: Run, what: str, difference: str) -> dict[str, object]:
    return {"run": run.name, "what": what, "equal": not difference, "first difference": difference}


def _weights(was: Run, now: Run) -> str:
    first, second = (checkpoint.read(run.checkpoint("best"))[0] for run in (was, now))
    for name in sorted(first | second):
        if name not in first or name not in second or not torch.equal(first[name], second[name]):
            return name.removeprefix("model.")
    return ""


def _logs(was: Path, now: Path) -> str:
    with was.open(newline="", encoding="utf-8") as first, now.open(newline="", encoding="utf-8") as second:
        for line, (old, new) in enumerate(
            zip_longest(csv.DictReader(first), csv.DictReader(second)), start=1
        ):
            if old is None or new is None:
                return f"row {line} is in one of them only"
            for name, value in old.items():
                if name not in NOT_COMPARED and new.get(name) != value:
                    return f"row {line}, {name}: {value} was, {new.get(name)} now"
    return ""


def _difference(was: object, now: object, place: str = "") -> str:
    """Where two records differ first."""
    if isinstance(was, dict) and isinstance(now, dict):
        keys = [*was, *(key for key in now if key not in was)]
        parts = (_difference(was.get(key), now.get(key), f"{place}.{key}".strip(".")) for key in keys)
        return next(filter(None, parts), "")
    return "" if was == now else f"{place}: {was} was, {now} now"
