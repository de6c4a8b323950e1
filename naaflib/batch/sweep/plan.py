"""The plan of a sweep: its runs, and which of them exist already, recognised by their records, not by names.

A run is the one that is asked for if settings, data (checksums) and, where it takes another run's weights,
that run's settings are equal. It may lie anywhere below the sweep's folder.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...config import SEED, Settings, changed, preset
from ...data.manifest import preset_of
from ...data.splits import split_names
from ...errors import NaafError, UsageError
from ...files import named, project_root, read_json, resolve, shown
from ...model import checkpoint
from ...pages.keep import check_data, words_from
from ...runs import FAILURE, FINISHED, TRAIN, UNFINISHED, VARIANT, Run
from ...training.folder import data_record, start_fingerprint
from ..notebooks import Notebook, fill, known, select
from ..records import read_record
from .spec import Planned, Spec, expand, placed, read_spec
from .task import DONE, FAILED

OWN = ("run", "data", "preset", "members", "seed", "epochs", "settings")  # parameters that the sweep gives
COVERED = ("data", "preset", "settings", "members", "glove", "bert")
TRAINING = "02_training"  # the notebook that trains; another run's weights leave it nothing to do
TO_TRAIN, TO_RESUME, TO_MAKE, TO_EXECUTE = "to train", "to resume", "to make", "notebooks only"


@dataclass
class Row:
    """One run of a sweep and how far it is. same_as: the row of the very same run under another name."""

    planned: Planned
    folder: Path
    state: str
    notebooks: tuple[str, ...]  # that are still to be executed
    error: str = ""
    source: "Row | None" = None
    same_as: "Row | None" = None
    identity: str = ""  # see `identity`

    @property
    def name(self) -> str:
        return self.planned.name

    @property
    def weights_of(self) -> "Row | None":
        """The run whose weights this one takes."""
        return self.source and (self.source.same_as or self.source)


@dataclass(frozen=True)
class Plan:
    """A sweep expanded and compared with what its folder holds."""

    spec: Spec
    file: Path
    data: Path
    out: Path
    notebooks: tuple[Notebook, ...]
    data_files: Mapping[str, object]
    retry: bool = False  # what failed is to run again
    rows: tuple[Row, ...] = field(default=())

    @property
    def preset(self) -> str:
        return self.spec.preset or preset_of(self.data)

    @property
    def words(self) -> dict[str, str]:
        """The files of word vectors and of a text model that its parameters name."""
        return {name: named(str(self.spec.parameters.get(name) or "")) for name in ("glove", "bert")}

    def runs(self) -> list[Row]:
        """The rows that are runs of their own."""
        return [row for row in self.rows if row.same_as is None]


def plan_sweep(
    file: str | Path, *, data: str | Path | None = None, out: str | Path | None = None, retry: bool = False
) -> Plan:
    """Read a sweep's YAML, expand it, find what is done. Writes nothing.

    data, out: win over the file's. retry: what failed is to run again. Raises NaafError for a file that
    cannot be used, and where a run's folder holds another one.
    """
    file = Path(file)
    spec = read_spec(file)
    folder = _data_folder(spec, file, data)
    with placed(shown(file)):
        planned, notebooks = expand(spec, folder), select(spec.notebooks)
        fill(notebooks, spec.parameters)
        own = next((name for name in spec.parameters if name in OWN), None)
        if own:
            raise UsageError(f"parameters: {own!r} is not a notebook's to set here; the sweep gives it")
    files = data_record(folder)["files"] if folder.is_dir() else {}
    split = spec.parameters.get("split")
    if split and folder.is_dir() and split not in split_names(folder):
        where, present = f"{shown(file)}: parameters", ", ".join(split_names(folder))
        raise UsageError(f"{where}: {shown(folder)} has no split {split!r}; its splits: {present}")
    target = Path(out).absolute() if out is not None else project_root() / "outputs" / spec.name
    if target.exists() and not target.is_dir():
        raise NaafError(f"{shown(target)} is a file; a sweep needs a folder: take another --out")
    plan = Plan(spec, file, folder, target, tuple(notebooks), files, retry)
    plan = replace(plan, rows=tuple(_rows(plan, planned)))
    untrained = next((row for row in plan.rows if row.state in (TO_TRAIN, TO_RESUME)), None)
    if untrained and TRAINING not in [notebook.name for notebook in notebooks]:
        raise UsageError(f"{shown(file)}: notebooks: {untrained.name} is not trained yet, so add {TRAINING}")
    return plan


def identity(
    settings: Settings,
    files: Mapping[str, object],
    trained: Settings | None,
    start: Mapping[str, object] = {},
) -> str:
    """Hash of what makes two runs the same: settings, data, and the settings of another run's weights.

    start: checksums of the word vectors or the text model that it started from.
    """
    content = [settings.model_dump(), files, trained.model_dump() if trained else None]
    content += [dict(start)] if start else []
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def identity_of(run: Run) -> str | None:
    """A run's identity by its record; None where it started from other weights or words than its settings."""
    start = run.config.get("start") or {}
    if run.kind not in (TRAIN, VARIANT) or any(start.get(name) for name in ("init", "vocabulary")):
        return None
    weights = run.config.get("weights")
    trained = Settings.model_validate(weights["settings"]) if weights else None
    return identity(run.settings, run.config["data"]["files"], trained, start.get("files") or {})


def parameters_of(plan: Plan, one: Planned, names: Sequence[str]) -> dict[str, object]:
    """What some notebooks of a run are given; `fill` hands each what it knows."""
    own = changed(preset(plan.preset, {SEED: one.seed}), one.settings)
    given = {
        "data": str(plan.data),
        "preset": plan.preset,
        "settings": ", ".join(f"{setting}={value}" for setting, value in own.items()),
        "seed": one.seed,
        "members": 1,
        **plan.spec.parameters,
    }
    return known([notebook for notebook in plan.notebooks if notebook.name in names], given)


def _data_folder(spec: Spec, file: Path, data: str | Path | None) -> Path:
    if data is None and spec.data is None:
        raise UsageError(
            f"{shown(file)}: the key 'data' is missing; add it, or name the data set with --data"
        )
    folder = Path(data).absolute() if data is not None else resolve(spec.data)
    check_data(folder)
    return folder


def _rows(plan: Plan, planned: Sequence[Planned]) -> list[Row]:
    found, failures = _found(plan.out), _failures(plan.out)
    prints = {name: start_fingerprint(name, value) for name, value in plan.words.items() if value}
    rows: dict[tuple[str, int], Row] = {}
    first: dict[str, Row] = {}
    for one in sorted(planned, key=lambda one: one.weights is not None):  # sources before what needs them
        words = words_from(one.trained or one.settings, **plan.words)
        key = identity(one.settings, plan.data_files, one.trained, {name: prints[name] for name in words})
        source = rows[one.weights, one.seed] if one.weights else None
        if key in first:
            row = Row(one, first[key].folder, first[key].state, (), source=source, same_as=first[key])
        else:
            row = _row(plan, one, found.get(key, []), source)
            failed = failures.get(key)
            if failed and row.state != DONE and not plan.retry:
                row.folder, row.state, row.error = failed[0], FAILED, failed[1]
            row.identity, first[key] = key, row
        rows[one.variant, one.seed] = row
    return [rows[one.variant, one.seed] for one in planned]


def _row(plan: Plan, one: Planned, found: list[Run], source: Row | None) -> Row:
    expected = plan.out / one.variant / "members" / str(one.seed)
    ordered = sorted(found, key=lambda run: (run.state() != FINISHED, run.path != expected, str(run.path)))
    if not ordered and (expected / "config.json").is_file():
        raise NaafError(
            f"{shown(expected)} holds a run of {_otherwise(expected, one)} than {shown(plan.file)} "
            f"asks for; rename the variant, remove the folder or take another --out"
        )
    if not ordered:
        names = _notebook_names(plan, one)
        return Row(one, expected, TO_TRAIN if source is None else TO_MAKE, names, source=source)
    run = ordered[0]
    if source is not None:
        _check_weights(run, source)
    if run.state() != FINISHED:
        state = TO_RESUME if run.state() == UNFINISHED else TO_TRAIN
        return Row(one, run.path, state, _notebook_names(plan, one))
    row = Row(one, run.path, DONE, (), source=source)
    row.notebooks = _unfinished(plan, row)
    row.state = TO_EXECUTE if row.notebooks else DONE
    return row


def _otherwise(folder: Path, one: Planned) -> str:
    """How the run of a folder differs from the planned one."""
    run = Run.open(folder)
    names = list(changed(run.settings, one.settings)) if "settings" in run.config else []
    return f"another {', '.join(names)}" if names else "other weights or data"


def _check_weights(run: Run, source: Row) -> None:
    best = source.folder / "checkpoints" / "best.safetensors"
    if (
        source.state in (DONE, TO_EXECUTE)
        and checkpoint.weights_digest(best) != run.config["weights"]["sha256"]
    ):
        raise NaafError(
            f"{shown(run.path)} has other weights than {shown(source.folder)}, which was trained anew; "
            "remove it and run again"
        )


def _notebook_names(plan: Plan, one: Planned) -> tuple[str, ...]:
    names = [notebook.name for notebook in plan.notebooks]
    return tuple(name for name in names if one.weights is None or name != TRAINING)


def _unfinished(plan: Plan, row: Row) -> tuple[str, ...]:
    """The notebooks that this finished run was not executed with, parameters (data aside) included."""
    names = _notebook_names(plan, row.planned)
    chosen = [notebook for notebook in plan.notebooks if notebook.name in names]
    wanted = fill(chosen, parameters_of(plan, row.planned, names))
    done = {
        entry.name: _compared(entry.parameters)
        for entry in read_record(row.folder).notebooks
        if entry.status == "done" and entry.file and (row.folder / entry.file).is_file()
    }
    return tuple(name for name in names if done.get(name) != _compared(wanted[name]))


def _compared(values: Mapping[str, object]) -> dict[str, object]:
    """The parameters without the place of the data and what the run's identity covers."""
    return {name: value for name, value in values.items() if name not in COVERED}


def _found(out: Path) -> dict[str, list[Run]]:
    """The runs below a folder by their identity; what cannot be read is not a finished run."""
    found: dict[str, list[Run]] = {}
    for config in sorted(out.rglob("config.json")) if out.is_dir() else ():
        try:
            run = Run.open(config.parent)
            key = identity_of(run)
        except (NaafError, ValueError, LookupError, TypeError):
            continue
        if key is not None:
            found.setdefault(key, []).append(run)
    return found


def _failures(out: Path) -> dict[str, tuple[Path, str]]:
    """Where runs failed, and why, by their identity."""
    found = {}
    for path in sorted(out.rglob(FAILURE)) if out.is_dir() else ():
        content = read_json(path)
        if isinstance(content, dict):
            found[str(content.get("identity"))] = (path.parent, str(content.get("error")))
    return found
