"""A file lock on a folder: two trainings never write into one run, nor two sweeps into one result."""

import errno
import os
import platform
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .errors import NaafError
from .files import make_folder, shown, sweep_partials

FILE = ".lock"
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL)  # of file systems without locks


@contextmanager
def exclusive(folder: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold an exclusive file lock on a folder; the end of the process frees it.

    patience: seconds to wait for another holder. Raises NaafError where it does not end by then, and for a
    file. Where the file system has no locks, nothing is held. What a killed holder left half-written is
    removed.
    """
    if folder.exists() and not folder.is_dir():
        raise NaafError(f"{shown(folder)} is a file; a run needs a folder")
    make_folder(folder)
    path = folder / FILE
    with ExitStack() as held:
        try:
            held.enter_context(FileLock(path, timeout=patience, poll_interval=0.2))
        except Timeout:
            holder = ""
            with suppress(OSError):  # Windows locks what it should read
                holder = path.read_text(encoding="utf-8")
            raise NaafError(
                f"{shown(folder)} is in use by {holder or 'a process'}; wait for its end"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        with suppress(OSError):
            path.write_text(f"process {os.getpid()} on {platform.node()}", encoding="utf-8")
        sweep_partials(folder)
        yield
