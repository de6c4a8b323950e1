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

from ..errors import NaafError
from ..project import shown

COLUMNS = ("image_id", "image_w", "image_h", "num_boxes", "boxes", "features")
LONGEST_FIELD = 2**31 - 1  # csv's default limit, 131,072 characters, is less than one image's features


@dataclass(frozen=True)
class RegionRow:
    """One image's row, its base64 still undecoded. place: file, line and image for messages."""

    fields: dict[str, str]
    place: str

    @property
    def image_id(self) -> str:
        return self.fields["image_id"]

    @property
    def size(self) -> tuple[int, int]:
        """Width, height in pixels."""
        return self._number("image_w"), self._number("image_h")

    def decode(self) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (num_boxes, 4) and features (num_boxes, dim) as float32."""
        count = self._number("num_boxes")
        boxes, features = self._floats("boxes"), self._floats("features")
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

    def _floats(self, column: str) -> np.ndarray:
        text = "".join(self.fields[column].split())  # Python 2's encodestring broke lines
        try:
            content = base64.b64decode(text, validate=True)
            return np.frombuffer(content, dtype="<f4")
        except (binascii.Error, ValueError) as error:
            hint = "; it was written as b'...': decode it to ASCII first" if text.startswith("b'") else ""
            reason = f"{column} are not base64 of float32{hint or ', the row is damaged'}"
            raise NaafError(f"{self.place}: {reason}") from error


def read_rows(paths: Iterable[Path]) -> Iterator[RegionRow]:
    """The rows of several files in order, under `long_fields`. A header line may order the columns."""
    for path in paths:
        with path.open(encoding="utf-8", newline="") as stream:
            yield from _rows(path, csv.reader(stream, delimiter="\t"))


def _rows(path: Path, reader: Any) -> Iterator[RegionRow]:
    columns: tuple[str, ...] = COLUMNS
    first = 1
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except (csv.Error, UnicodeDecodeError) as error:
            line = reader.line_num + 1
            raise NaafError(f"{shown(path)}, line {line}: not a TSV file of regions; get it again") from error
        line, first = first, reader.line_num + 1
        if line == 1 and set(row) >= set(COLUMNS):
            columns = tuple(row)
        elif row:
            if len(row) != len(columns):
                needed = f"{len(columns)} columns ({', '.join(columns)})"
                raise NaafError(f"{shown(path)}, line {line}: {len(row)} columns instead of {needed}")
            fields = dict(zip(columns, row, strict=True))
            yield RegionRow(fields, f"{shown(path)}, line {line}, image {fields['image_id']}")


@contextmanager
def long_fields() -> Iterator[None]:
    """csv's limit belongs to the process: it is put back."""
    before = csv.field_size_limit(LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(before)
