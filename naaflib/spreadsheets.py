"""CSV tables that no spreadsheet program takes for formulas (CSV injection), and read back as they were.

A caption or a folder may be called =HYPERLINK(...), and a spreadsheet runs such a cell when it is opened. An
apostrophe before a text that begins like a formula makes it a text there; numbers stay, negative ones too.
"""

import csv
import re
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import NaafError, first_line
from .files import check_regular, shown

if TYPE_CHECKING:
    import pandas as pd

Cell = TypeVar("Cell")
MOST_BYTES = 2**30
REMEDY = "restore or remove it"
SIGNS = "=+\\-@\t\r\n＝＋－＠"  # those of full width too, as OWASP lists them
FORMULA = re.compile(f"'*[{SIGNS}]")
MARKED = re.compile(f"''*[{SIGNS}]")


def marked(cell: Cell) -> Cell | str:
    """A text that begins like a formula with an apostrophe before it; anything else as it is."""
    if isinstance(cell, str) and FORMULA.match(cell) and not is_number(cell):
        return f"'{cell}"
    return cell


def unmarked(cell: Cell) -> Cell | str:
    """The text that `marked` was given."""
    return cell[1:] if isinstance(cell, str) and MARKED.match(cell) else cell


def write_csv(frame: "pd.DataFrame", where: Any, **how: Any) -> None:
    """A pandas table as CSV; texts, row and column heads marked. how: pandas' options."""
    heads = {"columns": marked} | ({"index": marked} if how.get("index", True) else {})
    found: list[bool] = []

    def change(cell: Cell) -> Cell | str:
        if isinstance(cell, str) and "\r" in cell:
            found.append(True)
        return marked(cell)

    table = _texts(frame, change).rename(**dict.fromkeys(heads, change))
    if found:  # a carriage return begins a line, for csv's reader and for a spreadsheet, unless it is quoted
        how["quoting"] = csv.QUOTE_NONNUMERIC
    table.to_csv(where, **how)


def read_csv(path: Path, needed: Iterable[str] = (), remedy: str = REMEDY, **how: Any) -> "pd.DataFrame":
    """A table that `write_csv` wrote, or an older one without marks. how: pandas' options.

    Raises NaafError, with the remedy, for a file that is damaged, too large or lacks a needed column.
    """
    import pandas as pd

    size = check_regular(path, remedy).stat().st_size
    if size > MOST_BYTES:
        raise NaafError(f"{shown(path)} has {size / 2**30:.1f} GiB, which no table here has; {remedy}")
    content = path.read_bytes()
    if b"\0" in content:  # pandas would pass over them
        line = content[: content.index(b"\0")].count(b"\n") + 1
        raise NaafError(f"{shown(path)} is damaged (line {line} holds NULs, as after a power cut); {remedy}")
    try:
        frame = pd.read_csv(BytesIO(content), **how)
    except (ValueError, OverflowError) as error:  # empty, not UTF-8, rows of unequal lengths, another type
        raise NaafError(f"{shown(path)} is damaged ({first_line(error)}); {remedy}") from None
    heads = {"columns": unmarked} | ({"index": unmarked} if "index_col" in how else {})
    frame = _texts(frame, unmarked).rename(**heads)
    lacks = next((column for column in needed if column not in frame), None)
    if lacks:
        raise NaafError(f"{shown(path)} has no column {lacks!r}; {remedy}")
    return frame


def _texts(frame: "pd.DataFrame", change: Any) -> "pd.DataFrame":
    """The table with its columns of texts changed cell by cell."""
    import pandas as pd

    frame = frame.copy(deep=False)
    for place, kind in enumerate(frame.dtypes):
        if not (pd.api.types.is_numeric_dtype(kind) or pd.api.types.is_datetime64_any_dtype(kind)):
            frame.isetitem(place, frame.iloc[:, place].map(change, na_action="ignore"))
    return frame


def is_number(text: str) -> bool:
    """Whether a text is what Python reads as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
