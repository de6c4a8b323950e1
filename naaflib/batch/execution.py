"""Executes one notebook in a subprocess, with a kernel of this interpreter.

A process, because papermill changes the working directory and because batches run notebooks side by side.
The kernel is found through a kernel specification written for the occasion, so no installed one is needed
and none of another environment can be taken by mistake.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..files import project_root, read_json
from ..messages import stream
from .records import Failure

GRACE_SECONDS = 15.0  # for a process to shut its kernel down
ASKED_EVERY = 0.5  # seconds
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, object],
    *,
    timeout: int | None = None,
    progress: bool = True,
    threads: int | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Failure | None:
    """Run a notebook into the output file, saved while it runs; why it stopped, or None when it is whole.

    timeout: seconds that one cell may take. threads: how many it computes with; None: as this process does.
    cancelled: asked now and then; where it is true, Cancelled is raised, after process and kernel have ended.
    """
    with tempfile.TemporaryDirectory(prefix="naaf-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        outcome = scratch / "outcome.json"
        job = {
            "notebook": str(notebook),
            "output": str(output),
            "parameters": dict(parameters),
            "timeout": timeout,
            "progress": progress,
            "scratch": folder,
            "outcome": str(outcome),
        }
        command = [sys.executable, "-m", "naaflib.batch.papermill_process"]
        variables = {**process_variables(scratch), **thread_variables(threads)}
        messages = subprocess.STDOUT if stream() is sys.stdout else None
        status = run_command(command, variables, cancelled, job=json.dumps(job), stderr=messages)
        if not outcome.exists():
            return Failure("Process", f"the process that ran it ended with status {status}")
        failure = read_json(outcome)
        return Failure(**failure) if failure else None


class Cancelled(Exception):
    """What ran is no longer asked for, and was ended."""


def run_command(
    command: list[str],
    variables: Mapping[str, str],
    cancelled: Callable[[], bool] | None = None,
    *,
    job: str = "",
    grace: float = GRACE_SECONDS,
    **streams: Any,
) -> int:
    """Run a command to its end; its status. Its standard input gets the job, and closes where it has to stop.

    grace: seconds from then until it is killed.
    """
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, text=True, env=variables, cwd=project_root(), **streams
    ) as process:
        try:
            with suppress(BrokenPipeError):  # one that could not start says so by its status
                process.stdin.write(job + "\n")
                process.stdin.flush()
            return _end_of(process, cancelled)
        except BaseException:
            process.stdin.close()  # it stops then
            try:
                process.wait(grace)
            except subprocess.TimeoutExpired:
                process.kill()
            raise


def _end_of(process: subprocess.Popen, cancelled: Callable[[], bool] | None) -> int:
    while cancelled is not None:
        try:
            return process.wait(ASKED_EVERY)
        except subprocess.TimeoutExpired:
            if cancelled():
                raise Cancelled from None
    return process.wait()


def end_with_parent(patience: float) -> None:
    """This process ends by SIGTERM when its standard input closes, as `run_command` closes it.

    patience: seconds from then for the end of what it has started.
    """

    def wait() -> None:
        while os.read(0, 4096):  # not sys.stdin.read(): its lock would be held at the interpreter's end
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience)
        os._exit(128 + signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def thread_variables(threads: int | None) -> dict[str, str]:
    """Environment variables that limit the threads of torch, BLAS and numba.

    Waiting threads that spin would take the cores from the other runs.
    """
    if threads is None:
        return {}
    return {**dict.fromkeys(THREADS, str(threads)), "GOMP_SPINCOUNT": "100", "OMP_WAIT_POLICY": "PASSIVE"}


def process_variables(scratch: Path) -> dict[str, str]:
    """The environment of the process and its kernel: this interpreter, this naaflib, no personal settings."""
    from ipykernel.kernelspec import write_kernel_spec

    write_kernel_spec(scratch / "kernels" / "python3", extra_arguments=["--log-level=CRITICAL"])
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {
        **os.environ,
        "NAAF_ROOT": str(project_root()),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "JUPYTER_PATH": str(scratch),
        "JUPYTER_RUNTIME_DIR": str(scratch / "runtime"),
        "IPYTHONDIR": str(scratch / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else the kernel's debugger warns about frozen modules
    }
