"""Captions by image from a plain table: a line a caption, image id and caption, and what a header names.

Columns stand between tabs, commas, or what else parts a known header (| or ;). A header line names the
columns in any order; without one the first is the image and the rest of the line the caption.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ...errors import NaafError
from ...files import read_text, shown

IMAGE_HEADERS = (
    "image_name",
    "filename",
    "file_name",
    "image",
    "image_id",
    "name",
    "id",
)  # the first one wins
CAPTION_HEADERS = ("caption", "captions", "caption_text", "comment", "sentence", "text", "description", "raw")
FORM = "write the image's id or name, a tab, and one caption"


class Columns(NamedTuple):
    """Where a header puts image and caption, and how many columns it names; 0 columns: there is no header."""

    image: int = 0
    caption: int = 1
    count: int = 0


def read_table(path: Path) -> dict[str, tuple[str, ...]]:
    """The captions of each image, in the file's order. Raises NaafError with the line that is no caption."""
    lines = read_text(path).replace("\r\n", "\n").split("\n")
    first = next((line for line, text in enumerate(lines, 1) if text.strip()), 1)
    mark = _mark(lines[first - 1])
    columns, numbered = Columns(), True
    captions: dict[str, list[str]] = {}
    for line, row in _rows(lines, mark, path):
        if line == first and (found := _header(row, f"{shown(path)}, line {line}")):
            columns = found
            continue
        name, caption = _entry(row, columns, mark, f"{shown(path)}, line {line}")
        numbered = numbered and not columns.count and len(row) > 2 and row[1].strip().isdecimal()
        captions.setdefault(name, []).append(caption)
    if not captions:
        raise NaafError(f"{shown(path)}: no caption is in it; write a line a caption: image, tab, caption")
    if numbered and not columns.count:
        raise NaafError(
            f"{shown(path)}: the second of three columns holds numbers; name the columns in a first line: "
            f"image{mark}number{mark}caption"
        )
    return {name: tuple(texts) for name, texts in captions.items()}


def _mark(first: str) -> str:
    """What stands between the columns."""
    parted = (mark for mark in "|;" if _known(first.split(mark)))
    return "\t" if "\t" in first else next(parted, ",")


def _known(row: list[str]) -> bool:
    names = {_label(cell) for cell in row}
    return bool(names & set(IMAGE_HEADERS) and names & set(CAPTION_HEADERS))


def _label(cell: str) -> str:
    return cell.strip().strip('"').strip().lower()


def _header(row: list[str], place: str) -> Columns | None:
    labels = [_label(cell) for cell in row]
    if not _known(row) and labels[0] not in IMAGE_HEADERS:
        return None
    image = next(labels.index(name) for name in IMAGE_HEADERS if name in labels)
    named = [labels.index(name) for name in CAPTION_HEADERS if name in labels]
    others = [column for column in range(len(labels)) if column != image]
    if not named and len(others) != 1:
        raise NaafError(
            f"{place}: no column of {', '.join(labels)} is known to hold captions; call it caption"
        )
    return Columns(image, (named or others)[0], len(labels))


def _entry(row: list[str], columns: Columns, mark: str, place: str) -> tuple[str, str]:
    """Image and caption of a row. A caption in the last column may hold the mark that parts the columns."""
    last = columns.caption == max(columns.count, 2) - 1
    if columns.count and (len(row) < columns.count or (len(row) > columns.count and not last)):
        raise NaafError(
            f"{place}: {len(row)} columns where the first line names {columns.count}; "
            "put a caption that holds the mark between columns into quotation marks"
        )
    name = row[columns.image].strip()
    caption = mark.join(row[columns.caption :]) if last else row[columns.caption]
    caption = " ".join(caption.split())
    if not name or not caption:
        raise NaafError(f"{place}: {FORM}")
    return re.sub(r"#\d+$", "", name), caption  # Flickr's token files number the captions: 1.jpg#0


def _rows(lines: list[str], mark: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers, from 1, and columns. Quotation marks mean something between commas and semicolons."""
    for line, text in enumerate(lines, 1):
        if text.strip():
            yield (
                line,
                _quoted(text, mark, f"{shown(path)}, line {line}") if mark in ",;" else text.split(mark),
            )


def _quoted(text: str, mark: str, place: str) -> list[str]:
    """The columns of one line. A quotation mark that nothing closes would take the next lines with it."""
    try:
        return next(csv.reader([text], delimiter=mark, strict=True))
    except csv.Error as error:
        raise NaafError(
            f"{place}: a quotation mark opens or closes where no column does; write the caption on one "
            "line in "
            'quotation marks, each one inside doubled (""), or use tabs, between which they have no meaning'
        ) from error
