"""One notebook in a process of its own, with the kernel of this very interpreter.

A process, because papermill changes the working directory and because batches run notebooks side by side.
The kernel is found through a kernel specification written for the occasion, so no installed one is needed
and none of another environment can be taken by mistake.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..project import project_root
from .records import Failure

GRACE_SECONDS = 15.0  # for a worker to shut its kernel down


def execute(
    notebook: Path,
    output: Path,
    parameters: Mapping[str, object],
    *,
    timeout: int | None = None,
    progress: bool = True,
) -> Failure | None:
    """Run a notebook into the output file, saved while it runs; why it stopped, or None when it is whole.

    timeout: seconds that one cell may take. An interruption ends the worker and its kernel, then goes on up.
    """
    with tempfile.TemporaryDirectory(prefix="naaf-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        outcome = scratch / "outcome.json"
        order = {
            "notebook": str(notebook),
            "output": str(output),
            "parameters": dict(parameters),
            "timeout": timeout,
            "progress": progress,
            "scratch": folder,
            "outcome": str(outcome),
        }
        status = _work(json.dumps(order), _environment(scratch))
        if not outcome.exists():
            return Failure("Worker", f"the process that ran it ended with status {status}")
        failure = json.loads(outcome.read_text(encoding="utf-8"))
        return Failure(**failure) if failure else None


def _work(order: str, environment: Mapping[str, str]) -> int:
    command = [sys.executable, "-m", "naaflib.experiments.worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, text=True, env=environment, cwd=project_root()
    ) as worker:
        try:
            with suppress(BrokenPipeError):  # a worker that could not start says so by its status
                worker.stdin.write(order + "\n")
                worker.stdin.flush()
            return worker.wait()
        except BaseException:
            worker.stdin.close()  # the worker takes that as the order to stop
            try:
                worker.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                worker.kill()
            raise


def _environment(scratch: Path) -> dict[str, str]:
    """The variables of the worker and its kernel: this interpreter, this naaflib, no personal settings."""
    kernel = scratch / "kernels" / "python3"
    kernel.mkdir(parents=True)
    specification = {
        "argv": [
            sys.executable,
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
            "--log-level=CRITICAL",
        ],
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
    }
    (kernel / "kernel.json").write_text(json.dumps(specification), encoding="utf-8")
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
