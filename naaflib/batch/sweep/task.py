"""One run of a sweep, on whichever worker takes it: another run's weights, if it takes them, or a training
by several processes; then notebooks.

A job holds all that it needs, and all that it does lands in the run's folder, which every machine of the
cluster sees. The sweep's file `.ticket` holds a token. A job is cancelled when its token stands there no
longer: a sweep that stops removes the file, and the next one after a killed one writes its own.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import NaafError, first_line
from ...files import write_json
from ...launcher import GOES_ON
from ...launcher import PATIENCE as TO_END
from ...runs import FAILURE, Run
from ..execution import Cancelled, process_variables, run_command, thread_variables
from ..pipeline import run_notebooks

TICKET = ".ticket"
PATIENCE = 60.0  # seconds for a killed worker to let go of a run
TOGETHER = "naaflib.batch.sweep.together"
DONE, FAILED, STOPPED = "done", "failed", "interrupted"


@dataclass(frozen=True)
class Job:
    """What a worker is given. at_once: runs that share the machine.

    source, overrides: the run whose weights it takes, and what it sets otherwise. training: the arguments of
    `naaf` where several processes train it, on these gpus, and what a new training starts from; (): the
    notebooks train.
    """

    name: str
    identity: str
    folder: str
    notebooks: tuple[str, ...]
    parameters: dict[str, object]
    ticket: str  # the file
    token: str  # and what it holds until the job is cancelled
    data: str
    source: str | None = None
    overrides: tuple[str, ...] = ()
    threads: int | None = None  # None: the worker's cores shared by the runs at once
    at_once: int = 1
    processes: int = 1
    training: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()

    def is_cancelled(self) -> bool:
        """Whether the sweep that gave the job has ended."""
        try:
            return Path(self.ticket).read_text(encoding="utf-8") != self.token
        except OSError:
            return True


@dataclass(frozen=True)
class Outcome:
    """What came of a run."""

    state: str
    error: str = ""


def work(job: Job) -> Outcome:
    """Do a job. A failure is an outcome and stays in the run's folder as failure.json."""
    folder = Path(job.folder)
    threads = job.threads or max(1, cores() // job.at_once)
    try:
        if job.source is not None and not (folder / "config.json").is_file():
            _make_variant(job, threads)
        if job.training:
            _train(job, folder, max(1, threads // job.processes))
        if job.notebooks:
            _execute(job, folder, threads)
    except Cancelled:
        return Outcome(STOPPED)
    except (NaafError, OSError) as error:
        return note_failure(job, first_line(error))
    (folder / FAILURE).unlink(missing_ok=True)
    return Outcome(DONE)


def _execute(job: Job, folder: Path, threads: int) -> None:
    """Run the notebooks. Raises NaafError where one fails."""
    how = {"progress": False, "patience": PATIENCE, "threads": threads, "cancelled": job.is_cancelled}
    record = run_notebooks(job.notebooks, folder, job.parameters, **how)
    if record.failed:
        raise NaafError(record.sentence())


def cores() -> int:
    """How many this process may use, a container's limit respected."""
    from dask.system import CPU_COUNT

    return CPU_COUNT


def note_failure(job: Job, error: str) -> Outcome:
    """Keep a failure in the run's folder; it is a failure of exactly this run."""
    write_json(Path(job.folder) / FAILURE, {"name": job.name, "identity": job.identity, "error": error})
    return Outcome(FAILED, error)


def _make_variant(job: Job, threads: int) -> None:
    command = ["-m", "naaflib", "variant", job.source, "--out", job.folder, "--data", job.data]
    command += ["--set", *job.overrides] if job.overrides else []
    _run_apart(command, thread_variables(threads), job.is_cancelled, "the variant could not be made", grace=0)


def _train(job: Job, folder: Path, threads: int) -> None:
    """From its last checkpoint, where it has one."""
    begun = (folder / "config.json").is_file() and Run.open(folder).resumable()
    arguments = [*job.training, *(["--resume"] if begun else job.start)]
    variables = thread_variables(threads) | ({"CUDA_VISIBLE_DEVICES": ",".join(job.gpus)} if job.gpus else {})
    given = json.dumps({"processes": job.processes, "arguments": arguments})
    what = f"its training by {job.processes} processes failed"
    _run_apart(["-m", TOGETHER], variables, job.is_cancelled, what, job=given, grace=TO_END)


def _run_apart(
    command: list[str], variables: dict[str, str], cancelled: Callable[[], bool], failed: str, **how: Any
) -> None:
    """In a process of its own, so that a worker needs no torch and keeps no memory.

    Raises NaafError where it fails, with what it said.
    """
    told = {"encoding": "utf-8", "errors": "replace"}
    with tempfile.TemporaryDirectory(prefix="naaf-") as scratch, tempfile.TemporaryFile("w+", **told) as said:
        whole = process_variables(Path(scratch)) | variables
        streams = {"stdout": subprocess.DEVNULL, "stderr": said}
        status = run_command([sys.executable, *command], whole, cancelled, **how, **streams)
        if status:
            said.seek(0)
            lines = [line.strip() for line in said if line.strip()]
            lines = [line for line in lines if line.startswith("naaf: ")] or lines[-1:]
            reason = lines[0].removeprefix("naaf: ") if lines else f"it ended with status {status}"
            raise NaafError(f"{failed}: {reason.removesuffix(f'; {GOES_ON}')}")
