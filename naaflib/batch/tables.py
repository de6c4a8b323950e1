"""Tables over run folders: which runs there are and how far they came; what was measured in them."""

import math
from pathlib import Path

import pandas as pd

from ..config import SEED, preset
from ..data.manifest import layout_path
from ..data.scenes import dataset as scenes
from ..errors import NaafError
from ..files import fingerprint, read_json, read_object
from ..metric.published import EXPECTED, Expected
from ..metric.retrieval import MEASURES, named
from ..runs import FAILURE, FINISHED, SWEEP, Run
from ..spreadsheets import read_csv
from ..verdict import verdicts_below

RUN_COLUMNS = ("run", "kind", "method", "data", "seed", "epochs", "best_dev_rsum", "state", "verdict")
RESULT_COLUMNS = ("run", "member", "split", "protocol", *MEASURES)
NOT_WELL = f"{FINISHED}, not well"
MEASURE_COLUMNS = ("run", "member", "measure", "split", "value", "low", "high", "chance")


def runs_table(folder: Path) -> pd.DataFrame:
    """A row a run at or below a folder: run, kind, method, data, seed, epochs, best_dev_rsum, state, verdict.

    run: the path from the folder. epochs: done of planned. An unreadable folder has its reason as state, and
    so has a run that failed in a sweep. verdict: why a run has not learnt; missing where it has.
    """
    bad = verdicts_below(folder)
    rows = [_run_row(path, folder, bad.get(path)) for path in _run_folders(folder)]
    return pd.DataFrame(rows, columns=list(RUN_COLUMNS)).astype({"seed": "Int64"})


def results_table(folder: Path) -> pd.DataFrame:
    """A row a saved result (metrics/<split>.<protocol>.json) at or below a folder: the recalls and rsum.

    member: the model by the name that notebooks and `measures_table` have for it; of an ensemble, the names
    that it joins.
    """
    rows = [_result_row(path, folder) for path in sorted(folder.rglob("metrics/*.json"))]
    return pd.DataFrame([row for row in rows if row], columns=list(RESULT_COLUMNS))


def measures_table(folder: Path) -> pd.DataFrame:
    """A row a measure that a notebook saved (tables/*_results.csv), beside chance; percent.

    member: the model that was measured; none in tables from before it was kept.
    """
    found = [
        read_csv(path, dtype={"member": str}).assign(run=_name(path.parents[1], folder))
        for path in sorted(folder.rglob("tables/*_results.csv"))
    ]
    return (
        pd.concat(found, ignore_index=True).reindex(columns=[*MEASURE_COLUMNS])
        if found
        else pd.DataFrame(columns=[*MEASURE_COLUMNS])
    )


def expectation(folder: Path) -> list[str]:
    """The range of rsum that models with a preset's own settings reach, and which below a folder lie outside.

    Empty where none was trained so, or where nothing was measured (`published.EXPECTED`).
    """
    sentences: list[str] = []
    for expected in EXPECTED:
        runs = [run for run in _trained(folder) if _is_plain(run, expected)]
        if runs:
            sentences.append(expected.sentence())
        for run in runs:
            rsum = read_object(run.metrics_path(expected.split, "full"), ("rsum",))["rsum"]
            if not expected.holds(rsum):
                sentences.append(f"{run.name} lies outside that range: rsum {rsum:.1f}")
    return sentences


def _trained(folder: Path) -> list[Run]:
    return [Run.open(path) for path in _run_folders(folder) if (path / "history.csv").is_file()]


def _is_plain(run: Run, expected: Expected) -> bool:
    """Whether it has the preset's settings but for its seed, on the built-in data, and was measured on them.

    Scenes of another seed or size have the same name, and other results.
    """
    plain = preset(expected.preset, {SEED: run.settings.train.seed})
    started = (run.config.get("start") or {}).get("files")
    path = run.metrics_path(expected.split, "full")
    if run.settings != plain or started or not path.is_file() or not scenes.is_default(run.data_folder):
        return False
    captions = fingerprint(layout_path(run.data_folder, expected.split, "captions"))["sha256"]
    return read_object(path).get("captions_sha256") == captions


def _run_folders(folder: Path) -> list[Path]:
    """The folders that hold a run, or the reason why it failed before it began."""
    files = [*folder.rglob("config.json"), *folder.rglob(FAILURE)]
    return sorted({path.parent for path in files if not _is_hidden(path.relative_to(folder))})


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _run_row(path: Path, folder: Path, verdict: str | None) -> dict[str, object]:
    name = _name(path, folder)
    try:
        failed = _failed_state(path)
        if failed and not (path / "config.json").is_file():
            return {"run": name, **failed}
        run = Run.open(path)
        row = {"run": name, "kind": run.kind, "data": _data_name(run)}
        stated = _training_row(run) if "settings" in run.config else {"state": _group_state(run)}
        if verdict and stated["state"] == FINISHED:
            stated["state"] = NOT_WELL
        return row | stated | failed | {"verdict": verdict}
    except NaafError as error:
        return {"run": name, "state": f"unreadable: {error}"}


def _failed_state(path: Path) -> dict[str, object]:
    """The state of a run that failed in a sweep; nothing of any other."""
    if not (path / FAILURE).is_file():
        return {}
    failure = read_json(path / FAILURE)
    return {"state": f"failed: {failure.get('error') if isinstance(failure, dict) else None}"}


def _training_row(run: Run) -> dict[str, object]:
    settings = run.settings
    return {
        "method": settings.model.method,
        "seed": settings.train.seed,
        "epochs": f"{run.epochs_done or 0}/{settings.train.epochs}",
        "best_dev_rsum": None if math.isnan(run.best_rsum) else run.best_rsum,
        "state": run.state(),
    }


def _data_name(run: Run) -> object:
    data = run.config.get("data") or {}
    return data.get("name") or data.get("data")


def _group_state(run: Run) -> str:
    if run.kind == "sweep":
        states = list(read_csv(path, ["state"])["state"]) if (path := run.path / SWEEP).is_file() else []
        return f"{states.count('done')} of {len(states)} runs done"
    if run.kind != "group":
        return FINISHED
    members = len(list((run.path / "members").glob("*/config.json")))
    return f"{members} members" if members != 1 else "1 member"


def _result_row(path: Path, folder: Path) -> dict[str, object] | None:
    """The row of a result; None for JSON of another kind."""
    content = read_json(path)
    if not isinstance(content, dict) or not {"split", "protocol", "i2t", "t2i", "rsum"} <= set(content):
        return None
    row = {
        "run": _name(path.parents[1], folder),
        "member": _member(path.parents[1], content),
        "split": content["split"],
        "protocol": content["protocol"],
    }
    return row | named(content)


def _member(path: Path, content: dict) -> str:
    joined = [str(name).rpartition("/")[2] for name in content.get("members") or ()]
    return " + ".join(joined) or Run(path.resolve(), {}).name


def _name(path: Path, folder: Path) -> str:
    relative = path.relative_to(folder)
    return str(relative) if relative.parts else path.name
