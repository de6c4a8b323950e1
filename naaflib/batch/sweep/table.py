"""sweep.csv: a row a run of a sweep, rewritten whole as runs finish."""

import os
from pathlib import Path

import numpy as np
import pandas as pd

from ...config import SEED, flat, names
from ...errors import NaafError
from ...evaluation import default_split
from ...files import atomic_path, read_json, shown
from ...metric.retrieval import MEASURES, ONE_WAY, WAYS, best_row, named
from ...runs import SWEEP, VARIANT, Run
from ...spreadsheets import read_csv, write_csv
from ..records import read_record
from .plan import DONE, TO_EXECUTE, TO_RESUME, TO_TRAIN, Plan, Row

DEV = tuple(f"dev_{name}" for name in MEASURES)
BOTH_WAYS = tuple(f"{way}_{name}" for way in WAYS for name in ONE_WAY)
RESULTS = ("epoch", *DEV, "split", "protocol", *BOTH_WAYS, "rsum", "train_seconds", "seconds")


def varying(plan: Plan) -> list[str]:
    """The settings in which the sweep's runs differ, by dotted name; the seed is a column of its own."""
    rows = [flat(row.planned.settings) for row in plan.rows]
    every = [name for name in names() if name != SEED]  # a method lacks another's: None
    return [name for name in every if len({row.get(name) for row in rows}) > 1]


def plan_table(plan: Plan) -> pd.DataFrame:
    """The sweep as it is before it starts: variant, seed, what it sets, weights, state, folder; and where a
    variant is a run of two names, the other one; where several processes train a run, how many."""
    several = ["processes"] if plan.spec.processes > 1 else []
    twins = ["same run as"] if any(row.same_as for row in plan.rows) else []
    columns = ["variant", "seed", "sets", "weights", "state", *several, *twins, "folder"]
    own = [
        {
            "sets": _sets(row),
            "same run as": row.same_as and row.same_as.name,
            "processes": plan.spec.processes if row.state in (TO_TRAIN, TO_RESUME) else None,
        }
        for row in plan.rows
    ]
    rows = [_about(row, [], plan.out) | more for row, more in zip(plan.rows, own, strict=True)]
    table = pd.DataFrame(rows, columns=columns).fillna(np.nan)  # a column of None prints as such
    return table.astype(dict.fromkeys(several, "Int64"))


def _sets(row: Row) -> str:
    return ", ".join(
        f"{name} {'null' if value is None else value}" for name, value in row.planned.own.items()
    )


def sweep_table(plan: Plan) -> pd.DataFrame:
    """The sweep with its results so far, read from the run folders; the columns of sweep.csv."""
    varied = varying(plan)
    columns = ["variant", "seed", "state", *varied, "weights", *RESULTS, "folder", "error"]
    rows = [_about(row, varied, plan.out) | _results(plan, row.same_as or row) for row in plan.rows]
    return pd.DataFrame(rows, columns=columns)


def write_sweep(plan: Plan) -> pd.DataFrame:
    """Write OUT/sweep.csv anew, whole or not at all; the table."""
    table = sweep_table(plan)
    with atomic_path(plan.out / SWEEP) as partial:
        write_csv(table, partial, index=False)
    return table


def read_sweep(out: str | Path) -> pd.DataFrame:
    """The table of a sweep's folder. Raises NaafError where there is none."""
    path = Path(out) / SWEEP
    if not os.path.lexists(path):
        raise NaafError(f"{shown(path)} is missing: `naaf sweep SPEC.yaml --out {shown(out)}` writes it")
    kinds = {"variant": str, "folder": str, "weights": str, "error": str}
    needed, again = ("variant", "seed", "state", "folder"), "the sweep's command writes it anew"
    empty = {"keep_default_na": False, "na_values": [""]}  # "null" can be a name
    return read_csv(path, needed, again, dtype=kinds, **empty)


def _about(row: Row, varied: list[str], out: Path) -> dict[str, object]:
    settings, run = flat(row.planned.settings), row.same_as or row
    return {
        "variant": row.planned.variant,
        "seed": row.planned.seed,
        **{name: settings.get(name) for name in varied},
        "weights": row.planned.weights,
        "state": run.state,
        "folder": _below(run.folder, out),
        "error": run.error or None,
    }


def _below(folder: Path, out: Path) -> str:
    return folder.relative_to(out).as_posix() if folder.is_relative_to(out) else str(folder)


def _results(plan: Plan, row: Row) -> dict[str, object]:
    """What a run came to, as far as it came."""
    if row.state not in (DONE, TO_EXECUTE) or not (row.folder / "config.json").is_file():
        return {}
    run = Run.open(row.folder)
    return _training(run) | _evaluation(plan, run) | {"seconds": round(read_record(run.path).seconds, 1)}


def _training(run: Run) -> dict[str, object]:
    history = run.history()
    best = best_row(history)
    seconds = 0.0 if run.kind == VARIANT else float(history["seconds"].sum())
    return {
        "epoch": int(best["epoch"]),
        **{f"dev_{name}": best[name] for name in MEASURES},
        "train_seconds": round(seconds, 1),
    }


def _evaluation(plan: Plan, run: Run) -> dict[str, object]:
    """The result that notebook 03 saved, under the split and protocol that the sweep asks for."""
    protocol = str(plan.spec.parameters.get("protocol", "full"))
    split = str(plan.spec.parameters.get("split") or default_split(plan.data, protocol))
    path = run.metrics_path(split, protocol)
    if not path.is_file():
        return {}
    return {"split": split, "protocol": protocol, **named(read_json(path))}
