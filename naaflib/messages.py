"""Messages and progress bars for the person who waits.

They go to standard error, so that standard output holds results alone. In a notebook they are plain output,
because Jupyter shows standard error in red.
"""

import sys
from collections.abc import Iterable
from io import TextIOBase
from typing import Any


def stream() -> TextIOBase:
    """Where messages go: standard error; a notebook's plain output."""
    return sys.stdout if type(sys.stderr).__module__ == "ipykernel.iostream" else sys.stderr


def say(text: str) -> None:
    """A message on a line of its own, above the progress bars."""
    from tqdm import tqdm

    shown = text.encode("utf-8", "backslashreplace").decode()  # a file's name need not be UTF-8
    tqdm.write(shown, file=stream())


def progress_bar(items: Iterable[Any] | None = None, **how: Any) -> Any:
    """A progress bar over the items; further options are tqdm's."""
    from tqdm import tqdm

    return tqdm(items, file=stream(), **how)
