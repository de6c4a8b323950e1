"""One run of a sweep, on whichever worker takes it: another run's weights, if it takes them; then notebooks.

A job holds all that it needs, and all that it does lands in the run's folder, which every machine of the
cluster sees. The sweep's file `.ticket` holds a token. A job is cancelled when its token stands there no
longer: a sweep that stops removes the file, and the next one after a killed one writes its own.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...errors import NaafError, first_line
from ...files import write_json
from ...runs import FAILURE
from ..execution import Cancelled, process_variables, run_command, thread_variables
from ..pipeline import run_notebooks

TICKET = ".ticket"
PATIENCE = 60.0  # seconds for a killed worker to let go of a run
DONE, FAILED, STOPPED = "done", "failed", "interrupted"


@dataclass(frozen=True)
class Job:
    """What a worker is given. at_once: runs that share the machine.

    source, overrides: the run whose weights it takes, and what it sets otherwise.
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
    """In a process of its own, so that a worker needs no torch and keeps no memory."""
    with tempfile.TemporaryDirectory(prefix="naaf-") as scratch, tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, "-m", "naaflib", "variant", job.source, "--out", job.folder]
        command += ["--data", job.data, *(["--set", *job.overrides] if job.overrides else [])]
        variables = process_variables(Path(scratch)) | thread_variables(threads)
        streams = {"stdout": subprocess.DEVNULL, "stderr": said}
        status = run_command(command, variables, job.is_cancelled, grace=0, **streams)
        if status:
            said.seek(0)
            lines = [line.strip() for line in said if line.strip()]
            reason = lines[-1].removeprefix("naaf: ") if lines else f"it ended with status {status}"
            raise NaafError(f"the variant could not be made: {reason}")
