"""The notebooks as one batch into a run folder: `naaf run`, and a cell of a sweep.

OUT/notebooks/   NAME.ipynb, executed; NAME.partial.ipynb while it runs, NAME.failed.ipynb where it failed
OUT/pipeline.json, OUT/report.html    what was done, and all of it on one page
"""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import put, shown, write_json
from ..locking import exclusive
from ..messages import say
from .execution import execute
from .notebooks import Notebook, fill, select
from .records import FILE, NotebookRecord, Record, read_record
from .report import write_report

OUT_PARAMETER = "run"  # every notebook finds its run folder under this name


def run_notebooks(
    notebooks: str | Iterable[str] | None,
    out: str | os.PathLike[str],
    parameters: Mapping[str, object],
    *,
    progress: bool = True,
    patience: float = 0.0,
    **how: Any,
) -> Record:
    """Execute notebooks in their order, up to the first that fails, and write the report.

    notebooks: None for all but 07, or a selection: "01-04" or "03,05". out: a run folder, made if missing;
    it reaches the notebooks as their parameter `run`. Every parameter goes to the notebooks that know it.
    how: timeout, threads, cancelled, as `execute` takes them. 02_training reuses a trained run that the
    folder holds. Raises, before anything runs, UsageError, and NaafError where another batch runs there and
    does not end within `patience` seconds.
    """
    chosen, folder = select(notebooks), Path(out).expanduser().absolute()
    if OUT_PARAMETER in parameters:
        raise UsageError(f"the parameter {OUT_PARAMETER!r} is the output folder: give it as --out")
    values = fill(chosen, parameters)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{shown(folder)} is a file: name a folder for the run")
    with exclusive(folder / "notebooks", patience):  # the folder's own lock is for its training
        record = replace(read_record(folder), selected=tuple(notebook.name for notebook in chosen))
        for notebook in chosen:
            record = record.with_notebook(NotebookRecord(notebook.name, parameters=values[notebook.name]))
        for number, notebook in enumerate(chosen, start=1):
            record = _run(notebook, record, progress=progress, **how)
            if progress:
                done = record.entry(notebook.name)
                said = "failed after " if done.error else ""
                say(f"[{number}/{len(chosen)}] {done.name}: {said}{done.seconds:.1f} s")
            if record.failed:
                break
        write_report(record)
    return record


def _run(notebook: Notebook, record: Record, **how: Any) -> Record:
    """Execute one notebook; the new record, which is also written to `pipeline.json` at every change."""
    folder = record.out / "notebooks"
    partial, whole, stopped = (folder / f"{notebook.name}{end}.ipynb" for end in (".partial", "", ".failed"))
    entry = replace(record.entry(notebook.name), status="running")
    _write(record.with_notebook(entry))
    parameters = dict(entry.parameters)
    if OUT_PARAMETER in notebook.parameters:
        parameters[OUT_PARAMETER] = str(record.out)
    start = time.monotonic()
    try:
        error = execute(notebook.path, partial, parameters, **how)
    except BaseException:
        _write(record.with_notebook(replace(entry, status="interrupted", seconds=_since(start))))
        raise
    stopped.unlink(missing_ok=True)
    kept = stopped if error else whole
    if partial.exists():
        put(partial, kept)
    record = record.with_notebook(
        replace(
            entry,
            status="failed" if error else "done",
            seconds=_since(start),
            error=error,
            file=str(kept.relative_to(record.out)) if kept.exists() else None,
        )
    )
    _write(record)
    return record


def _since(start: float) -> float:
    return round(time.monotonic() - start, 2)


def _write(record: Record) -> None:
    write_json(record.out / FILE, record.to_dict())
