"""What torchrun tells each process that it starts, by environment variables. Without torch: --help is quick.

Of several processes of one command the first one speaks.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

from .errors import UsageError
from .messages import say

NUMBER, SIZE = "RANK", "WORLD_SIZE"  # of this process, from 0, and how many there are
TOLD = "NAAF_TOLD"  # a file that is there when a process has told why all end
GOES_ON = "start the same command again, a training with --resume"
PATIENCE = 45.0  # seconds for the processes to end; torch kills them after 30
VARIABLES = (NUMBER, SIZE, "MASTER_ADDR", "MASTER_PORT")


def asked_for() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ[SIZE]) if all(name in os.environ for name in VARIABLES) else 1


def is_first() -> bool:
    """Whether this process writes and speaks."""
    return asked_for() == 1 or os.environ[NUMBER] == "0"


def hush() -> None:
    """Nothing is heard of a process that is not the first, until `speak`."""
    if not is_first():
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (to its end)


def speak() -> None:
    """Ends `hush`, and lets the launcher know that the end is told."""
    if TOLD in os.environ:
        Path(os.environ[TOLD]).touch()
    if sys.stderr.name == os.devnull:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        sys.stderr.write("\n")  # the bar of the first one may stand on the line


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run a command of `naaf` by several processes on this machine, as torchrun does; the exit status.

    They share the cores that torch would use. What they say is all that is said: torchrun's own report of a
    process that failed is a page long.
    """
    import torch
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
    one_machine = {"min_nodes": 1, "max_nodes": 1, "rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
    config = LaunchConfig(nproc_per_node=processes, run_id=uuid4().hex, max_restarts=0, **one_machine)
    with TemporaryDirectory(prefix="naaf-") as scratch:
        told = Path(scratch) / "told"
        os.environ[TOLD] = str(told)
        try:
            elastic_launch(config, sys.executable)("-m", "naaflib", *arguments)
        except SignalException as error:
            return 128 + int(error.sigval)
        except ChildFailedError as error:
            code = error.get_first_failure()[1].exitcode
            if code < 0 and not told.exists():
                say(f"naaf: signal {-code} killed the processes; {GOES_ON}")
            return max(1, code)
    return 0


def check_launch(processes: int) -> bool:
    """Whether so many processes are to be launched. Raises UsageError beside another number by torchrun."""
    if asked_for() not in (1, processes) and processes != 1:
        raise UsageError(
            f"torchrun started {asked_for()} processes, and --processes is {processes}; leave it out"
        )
    return asked_for() < processes
