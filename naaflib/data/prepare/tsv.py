"""Rows of bottom-up-attention TSV files, decoded only where they are wanted."""

import base64
import binascii
import csv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import NaafError
from ...files import shown
from ..number_types import READ_AS, TYPES, other_type

COLUMNS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
PROBE = 4096  # bytes
LONGEST_FIELD = 2**31 - 1  # csv's default limit, 131,072 characters, is less than one image's features


@dataclass(frozen=True)
class RegionRow:
    """One image's row, its base64 still undecoded.

    place: file, line and image for messages. damage: why its columns cannot be told apart; the image_id is
    then the best guess or empty, and everything else raises NaafError.
    """

    fields: dict[str, str]
    place: str
    damage: str = ""

    @property
    def image_id(self) -> str:
        return self.fields.get("image_id", "").strip()

    @property
    def size(self) -> tuple[int, int]:
        """Width, height in pixels."""
        return self._number("image_w"), self._number("image_h")

    def decode(self) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (num_boxes, 4) and features (num_boxes, dim) as float32.

        Raises NaafError for a damaged row, and for numbers of another type than little-endian float32.
        """
        if self.damage:
            raise NaafError(f"{self.place}: {self.damage}")
        count = self._number("num_boxes")
        boxes, features = self._floats("boxes", count), self._floats("features", count)
        if boxes.size != count * 4:
            raise NaafError(f"{self.place}: boxes hold {boxes.size} numbers, {count} boxes need {count * 4}")
        if not features.size or features.size % count:
            raise NaafError(f"{self.place}: {features.size} numbers of features do not fit {count} boxes")
        if not np.isfinite(boxes).all():
            raise NaafError(f"{self.place}: its boxes are not finite; extract this image again")
        return boxes.reshape(count, 4), features.reshape(count, -1)

    def _number(self, column: str) -> int:
        try:
            number = int(float(self.fields[column]))
        except (ValueError, OverflowError) as error:
            text = self.fields[column][:20]
            raise NaafError(
                f"{self.place}: {column} is {text!r}, not a number; get the file again"
            ) from error
        if number < 1:
            raise NaafError(f"{self.place}: {column} is {number}; it must be at least 1")
        return number

    def _floats(self, column: str, count: int) -> np.ndarray:
        text = "".join(self.fields[column].split())  # Python 2's encodestring broke lines
        try:
            content = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            hint = "; it was written as b'...': decode it to ASCII first" if text.startswith("b'") else ""
            reason = f"{column} are not base64 of float32{hint or ', the row is damaged'}"
            raise NaafError(f"{self.place}: {reason}") from error
        written = _box_type(content, count) if column == "boxes" else None
        written = written or other_type(content, count)
        if written:
            raise NaafError(
                f"{self.place}: its {column} were written as {written} and are read as little-endian float32;"
                f" write all boxes and features with .astype('{READ_AS}')"
            )
        if len(content) % np.dtype(READ_AS).itemsize:
            raise NaafError(f"{self.place}: {column} are not base64 of float32, the row is damaged")
        return np.frombuffer(content, dtype=READ_AS)


def _box_type(content: bytes, count: int) -> str | None:
    """A box has four numbers: its bytes say how wide they are."""
    return {count * 4 * 2: TYPES["<f2"], count * 4 * 8: TYPES["<f8"]}.get(len(content))


def read_rows(paths: Iterable[Path]) -> Iterator[RegionRow]:
    """The rows of several files in order, under `long_fields`. A header line may order the columns.

    A damaged row is yielded with its damage, and the reading goes on: perhaps nobody asks for its image.
    Raises NaafError for a binary file.
    """
    for path in paths:
        with path.open("rb") as start:
            if b"\0" in start.read(PROBE):  # a binary file may hold no line end at all
                raise NaafError(f"{shown(path)}, line 1: not a TSV file of regions; get it again")
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            yield from _rows(path, csv.reader(stream, delimiter="\t"))


def _rows(path: Path, reader: Any) -> Iterator[RegionRow]:
    columns: tuple[str, ...] = COLUMNS
    last = 0
    while True:
        line = last + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            row = [""]
        last = reader.line_num
        if line == 1 and set(row) >= set(COLUMNS):
            columns = tuple(row)
        elif row:
            fields, damage = dict(zip(columns, row, strict=False)), _damage(row, columns)
            image = "" if damage else f", image {fields['image_id']}"
            yield RegionRow(fields, f"{shown(path)}, line {line}{image}", damage)


def _damage(row: list[str], columns: tuple[str, ...]) -> str:
    if len(row) == len(columns):
        return ""
    if len(row) == 1:
        return "not a row of a TSV file of regions; get the file again"
    return f"{len(row)} columns instead of {len(columns)} columns ({', '.join(columns)}); get the file again"


@contextmanager
def long_fields() -> Iterator[None]:
    """csv's limit belongs to the process: it is put back."""
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
