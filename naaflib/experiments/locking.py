"""A folder that one process at a time writes: two trainings never share a run, nor two sweeps a result."""

import errno
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ..errors import NaafError
from ..project import shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FILE = ".lock"
HELD = (errno.EAGAIN, errno.EACCES)  # other errors: a file system without locks


@contextmanager
def exclusive(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Nobody else who asks for the folder this way has it meanwhile; the end of a process frees it.

    patience: seconds to wait for another. Raises NaafError where it does not end by then, and for a file.
    Where the system or the file system has no locks, nothing is held.
    """
    if folder.exists() and not folder.is_dir():
        raise NaafError(f"{shown(folder)} is a file; a run needs a folder")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / FILE).open("a+", encoding="utf-8") as file:
        end = time.monotonic() + patience
        while not _taken(file):
            if time.monotonic() > end:
                file.seek(0)
                raise NaafError(
                    f"{shown(folder)} is in use by {file.read() or 'a process'}; wait for its end"
                )
            time.sleep(0.2)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}")
        file.flush()
        yield


def _taken(file: TextIO) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in HELD
    return True
