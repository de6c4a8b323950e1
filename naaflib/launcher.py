"""What torchrun tells each process that it starts, by environment variables. Without torch: --help is quick.

Of several processes of one command the first one speaks.
"""

import os
import sys

NUMBER, SIZE = "RANK", "WORLD_SIZE"  # of this process, from 0, and how many there are
VARIABLES = (NUMBER, SIZE, "MASTER_ADDR", "MASTER_PORT")


def asked_for() -> int:
    """How many processes torchrun started; 1 without it."""
    return int(os.environ[SIZE]) if all(name in os.environ for name in VARIABLES) else 1


def hush() -> None:
    """Nothing is heard of a process that is not the first, until `speak`."""
    if asked_for() > 1 and os.environ[NUMBER] != "0":
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 (to its end)


def speak() -> None:
    """Ends `hush`."""
    if sys.stderr.name == os.devnull:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
