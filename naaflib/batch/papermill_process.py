"""The process that runs one notebook with papermill: `python -m naaflib.batch.papermill_process`.

It reads its job as one line of JSON from standard input and writes what came of it to the file that the job
names. Standard input stays open as long as the parent lives; when it closes, the process ends itself, and
nbclient takes the kernel with it: nothing is orphaned when a batch is killed.
"""

import json
import logging
import re
import sys
import time
from dataclasses import asdict
from io import TextIOBase
from pathlib import Path

import nbformat
from tqdm import tqdm

from ..errors import first_line
from ..files import write_json
from ..messages import visible
from .execution import end_with_parent
from .records import Failure

LONGEST_SOCKET = 90  # a unix socket's path ends near 100 characters
BAR_CODES = ("\r", "\x1b[A")  # to the line's begin, a line up
BARS = re.compile(f"({'|'.join(map(re.escape, BAR_CODES))})")
QUIET_SECONDS = 20.0  # between two lines of progress where no terminal shows them


class KernelMessages:
    """What a notebook prints, passed on to the stream while it runs.

    A terminal gets lines above papermill's bar and progress bars as they are; a file whole lines, and
    progress bars now and then. Of control codes only a progress bar's own reach either.
    """

    def __init__(self, stream: TextIOBase):
        self.stream = stream
        self.last = time.monotonic()

    def write(self, text: str) -> None:
        text = "".join(part if part in BAR_CODES else visible(part) for part in BARS.split(text))
        if self.stream.isatty():
            if "\r" in text:
                self.stream.write(text)
            else:
                tqdm.write(text, self.stream, end="")
            return
        for line, end in re.findall(r"([^\r\n]*)(\r\n|\r|\n|$)", text):
            due = time.monotonic() - self.last > QUIET_SECONDS
            if line.strip() and ("\n" in end or due):
                self.stream.write(f"{line.rstrip()}\n")
                self.last = time.monotonic()

    def flush(self) -> None:
        self.stream.flush()


def run_one(job: dict[str, object]) -> Failure | None:
    """Execute the notebook of a job; why it stopped, or None when it is whole."""
    from nbclient.exceptions import CellTimeoutError, DeadKernelError
    from papermill import execute_notebook
    from papermill.exceptions import PapermillExecutionError

    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what it reports stands in the outcome
    output = Path(job["output"])
    messages = KernelMessages(sys.stderr) if job["progress"] else None
    try:
        execute_notebook(
            _literal_path(job["notebook"]),
            _literal_path(output),
            job["parameters"],
            kernel_name="python3",
            language="python",
            progress_bar=_bar(output) if job["progress"] else False,
            stdout_file=messages,
            stderr_file=messages,
            autosave_cell_every=15,
            coalesce_streams=True,
            execution_timeout=job["timeout"],
            config=_transport(Path(job["scratch"])),
        )
    except PapermillExecutionError as error:
        return Failure(error.ename, _last_line(error.evalue), error.cell_index + 1, error.exec_count)
    except CellTimeoutError:
        return Failure("Timeout", f"the cell ran longer than {job['timeout']} s", *_last_started(output))
    except DeadKernelError:
        return Failure("DeadKernel", "the kernel died, perhaps for want of memory", *_last_started(output))
    except (OSError, RuntimeError) as error:  # a full disk, a kernel that does not start
        return Failure(type(error).__name__, first_line(error), *_last_started(output))
    return None


def main() -> None:
    """Read the job, run the notebook, write what came of it."""
    job = json.loads(sys.stdin.readline())
    end_with_parent(10)  # nbclient shuts the kernel down
    failure = run_one(job)
    write_json(Path(job["outcome"]), asdict(failure) if failure else None)  # whole, or not there


def _bar(output: Path) -> dict[str, object] | bool:
    if not sys.stderr.isatty():
        return False
    return {"desc": output.name.split(".")[0], "leave": False}


def _literal_path(path: object) -> str:
    """papermill formats paths with the parameters: braces in a folder's name are doubled to stay."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _transport(scratch: Path):
    """Kernels over IPC: several started at once can collide on TCP ports (papermill's issue 511)."""
    from traitlets.config import Config

    if sys.platform == "win32" or len(str(scratch)) > LONGEST_SOCKET:
        return Config()
    ipc = {"transport": "ipc", "ip": str(scratch / "k")}
    return Config({"KernelManager": ipc, "AsyncKernelManager": ipc})


def _last_line(text: str) -> str:
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return lines[-1] if lines else "without a message"


def _last_started(path: Path) -> tuple[int | None, int | None]:
    """Number and execution count of the last cell that started, from the saved notebook."""
    cells = nbformat.read(path, as_version=4).cells if path.is_file() else []
    started = [
        (number, cell.get("execution_count"))
        for number, cell in enumerate(cells, start=1)
        if cell.cell_type == "code" and cell.metadata.get("papermill", {}).get("start_time")
    ]
    return started[-1] if started else (None, None)


if __name__ == "__main__":
    main()
