"""Captions by image from a plain table: a line a caption, image id and caption, and what a header names.

Columns stand between tabs, commas, or what else parts a known header (| or ;). A header line names the
columns in any order; without one the first is the image and the rest of the line the caption.
"""

import csv
import re
from pathlib import Path
from typing import NamedTuple

from ...errors import NaafError
from ...files import read_text, shown

# Of an image's headers the first one wins.
IMAGE_HEADERS = ("image_name", "filename", "file_name", "image", "image_id", "name", "id")
CAPTION_HEADERS = ("caption", "captions", "caption_text", "comment", "sentence", "text", "description", "raw")


class Columns(NamedTuple):
    """Where a header puts image and caption, and how many columns it names; 0 columns: there is no header."""

    image: int = 0
    caption: int = 1
    count: int = 0


def read_table(path: Path) -> dict[str, tuple[str, ...]]:
    """The captions of each image, in the file's order. Raises NaafError with the line that is no caption."""
    lines = enumerate(read_text(path).replace("\r\n", "\n").split("\n"), 1)
    filled = [(f"{shown(path)}, line {line}", text) for line, text in lines if text.strip()]
    mark = _mark(filled[0][1] if filled else "")
    columns, numbered = Columns(), True
    captions: dict[str, list[str]] = {}
    for place, text in filled:
        row = _quoted(text, mark, place) if mark in ",;" else text.split(mark)
        if place == filled[0][0] and (found := _header(row, place)):
            columns = found
            continue
        name, caption = _entry(row, columns, mark, place)
        numbered = numbered and len(row) > 2 and row[1].strip().isdecimal()
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
    parted = (mark for mark in "|;" if _known(_labels(first.split(mark))))
    return "\t" if "\t" in first else next(parted, ",")


def _known(labels: list[str]) -> bool:
    return not set(labels).isdisjoint(IMAGE_HEADERS) and not set(labels).isdisjoint(CAPTION_HEADERS)


def _labels(row: list[str]) -> list[str]:
    return [cell.strip().strip('"').strip().lower() for cell in row]


def _header(row: list[str], place: str) -> Columns | None:
    labels = _labels(row)
    if not _known(labels) and labels[0] not in IMAGE_HEADERS:
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
        raise NaafError(f"{place}: write the image's id or name, a tab, and one caption")
    return re.sub(r"#\d+$", "", name), caption  # Flickr's token files number the captions: 1.jpg#0


def _quoted(text: str, mark: str, place: str) -> list[str]:
    """The columns between commas or semicolons, among which quotation marks mean something.

    Line by line: a quotation mark that nothing closes would take the next lines with it.
    """
    try:
        return next(csv.reader([text], delimiter=mark, strict=True))
    except csv.Error as error:
        raise NaafError(
            f"{place}: a quotation mark opens or closes where no column does; write the caption on one line "
            'in quotation marks, each one inside doubled (""), or use tabs, between which they mean nothing'
        ) from error
