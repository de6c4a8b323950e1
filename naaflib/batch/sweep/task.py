"""One run of a sweep, on whichever worker takes it: weights if it is a variant, then its notebooks.

All that it needs stands in its order, and all that it does lands in the run's folder, which every machine of
the cluster sees. A task is wanted as long as the sweep's ticket (a small file) bears its name: a sweep that
stops takes the ticket away, one that was killed leaves it to the next one, and old tasks end by themselves.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...errors import NaafError
from ...files import write_json
from ...runs import FAILURE
from ..execution import Unwanted, process_variables, run_command, thread_variables
from ..notebooks import first_line
from ..pipeline import run_notebooks

TICKET = ".ticket"
DONE, FAILED, STOPPED = "done", "failed", "interrupted"


@dataclass(frozen=True)
class Order:
    """What a worker is told. source, overrides: of a variant. at_once: runs that share the machine."""

    name: str
    identity: str
    folder: str
    notebooks: tuple[str, ...]
    parameters: dict[str, object]
    ticket: str  # the file
    token: str  # and what it says while the task is wanted
    data: str
    source: str | None = None
    overrides: tuple[str, ...] = ()
    threads: int | None = None  # None: the worker's cores shared by the runs at once
    at_once: int = 1


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    state: str
    error: str = ""


def work(order: Order) -> Outcome:
    """Carry an order out. A failure is an outcome and stays in the run's folder as failure.json."""
    folder = Path(order.folder)
    threads = order.threads or max(1, cores() // order.at_once)
    try:
        if order.source is not None and not (folder / "config.json").is_file():
            _make_variant(order, threads)
        error = _execute(order, folder, threads) if order.notebooks else ""
    except Unwanted:
        return Outcome(STOPPED)
    except (NaafError, OSError) as error:
        return note_failure(order, first_line(error))
    if error:
        return note_failure(order, error)
    (folder / FAILURE).unlink(missing_ok=True)
    return Outcome(DONE)


def _execute(order: Order, folder: Path, threads: int) -> str:
    """Run the notebooks; what went wrong, or nothing."""
    record = run_notebooks(
        order.notebooks,
        folder,
        order.parameters,
        progress=False,
        threads=threads,
        unwanted=lambda: not is_wanted(order),
    )
    return record.sentence() if record.failed else ""


def is_wanted(order: Order) -> bool:
    """Whether the sweep that gave the order still goes on."""
    try:
        return Path(order.ticket).read_text(encoding="utf-8") == order.token
    except OSError:
        return False


def cores() -> int:
    """How many this process may use, a container's limit respected."""
    from dask.system import CPU_COUNT

    return CPU_COUNT


def note_failure(order: Order, error: str) -> Outcome:
    """Keep a failure in the run's folder; it is a failure of exactly this run."""
    write_json(Path(order.folder) / FAILURE, {"name": order.name, "identity": order.identity, "error": error})
    return Outcome(FAILED, error)


def _make_variant(order: Order, threads: int) -> None:
    """In a process of its own, so that a worker needs no torch and keeps no memory."""
    with tempfile.TemporaryDirectory(prefix="naaf-") as scratch, tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-m", "naaflib", "variant", order.source, "--out", order.folder]
        command += ["--data", order.data, *(["--set", *order.overrides] if order.overrides else [])]
        variables = process_variables(Path(scratch)) | thread_variables(threads)
        status = run_command(
            command,
            variables,
            lambda: not is_wanted(order),
            grace=0,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        if status:
            said.seek(0)
            lines = [line.strip() for line in said if line.strip()]
            reason = lines[-1].removeprefix("naaf: ") if lines else f"it ended with status {status}"
            raise NaafError(f"the variant could not be made: {reason}")
