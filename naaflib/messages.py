"""Messages and progress bars for the person who waits.

They go to standard error, so that standard output holds results alone. In a notebook they are plain output,
because Jupyter shows standard error in red.

A caption, a file's name or a server's answer may hold a terminal's control codes: `visible` writes them out.
"""

import re
import sys
from collections.abc import Iterable
from functools import cache
from io import TextIOBase
from typing import Any

# All control characters but tab and line feed, and what turns the direction of the text around it (Unicode's
# embeddings, overrides and isolates): a terminal obeys them.
CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    """The text with its control codes written out, as \\x1b and \\u202e; tab and line feed stay."""
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def stream() -> TextIOBase:
    """Where messages go: standard error; a notebook's plain output."""
    return sys.stdout if type(sys.stderr).__module__ == "ipykernel.iostream" else sys.stderr


def say(text: str) -> None:
    """A message on a line of its own, above the progress bars."""
    shown = visible(text).encode("utf-8", "backslashreplace").decode()  # a file's name need not be UTF-8
    try:
        from tqdm import tqdm
    except ImportError:  # without it there are no bars, and this may be what the message says
        print(shown, file=stream())
        return
    tqdm.write(shown, file=stream())


def progress_bar(items: Iterable[Any] | None = None, **how: Any) -> Any:
    """A progress bar over the items; further options are tqdm's."""
    if how.get("desc"):
        how["desc"] = visible(how["desc"])
    return _bar_type()(items, file=stream(), **how)


@cache
def _bar_type() -> Any:
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[misc]  # tqdm has no types, so it is Any to mypy
        def __del__(self) -> None:
            if hasattr(self, "start_t"):  # not where a signal fell into __init__, which sets it last
                super().__del__()

    return Bar
