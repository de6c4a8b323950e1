"""Rows of bottom-up-attention TSV files, decoded only where they are wanted."""

import base64
import binascii
import csv
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import NaafError
from ...files import check_regular, shown
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

    def error(self, text: str) -> NaafError:
        return NaafError(f"{self.place}: {text}")

    @property
    def size(self) -> tuple[int, int]:
        """Width, height in pixels."""
        return self._number("image_w"), self._number("image_h")

    def decode(self) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (num_boxes, 4) and features (num_boxes, dim) as float32.

        Raises NaafError for a damaged row, and for numbers of another type than little-endian float32.
        """
        if self.damage:
            raise self.error(self.damage)
        count = self._number("num_boxes")
        boxes, features = self._floats("boxes", count), self._floats("features", count)
        if boxes.size != count * 4:
            raise self.error(f"boxes hold {boxes.size} numbers, {count} boxes need {count * 4}")
        if not features.size or features.size % count:
            raise self.error(f"{features.size} numbers of features do not fit {count} boxes")
        if not np.isfinite(boxes).all():
            raise self.error("its boxes are not finite; extract this image again")
        return boxes.reshape(count, 4), features.reshape(count, -1)

    def _number(self, column: str) -> int:
        text = self.fields[column]
        try:
            number = int(float(text))
        except (ValueError, OverflowError) as error:
            raise self.error(f"{column} is {text[:20]!r}, not a number; get the file again") from error
        if number < 1:
            raise self.error(f"{column} is {number}; it must be at least 1")
        return number

    def _floats(self, column: str, count: int) -> np.ndarray:
        text = "".join(self.fields[column].split())  # Python 2's encodestring broke lines
        try:
            content = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            bytes_text = "; it was written as b'...': decode it to ASCII first"
            hint = bytes_text if text.startswith("b'") else ", the row is damaged"
            raise self.error(f"{column} are not base64 of float32{hint}") from error
        widths = {8: TYPES["<f2"], 32: TYPES["<f8"]} if column == "boxes" else {}  # a box has four numbers
        if written := widths.get(len(content) / count) or other_type(content, count):
            raise self.error(
                f"its {column} were written as {written} and are read as little-endian float32;"
                f" write all boxes and features with .astype('{READ_AS}')"
            )
        if len(content) % np.dtype(READ_AS).itemsize:
            raise self.error(f"{column} are not base64 of float32, the row is damaged")
        return np.frombuffer(content, dtype=READ_AS)


def read_rows(paths: Iterable[Path]) -> Generator[RegionRow, None, None]:
    """The rows of several files in order. A header line may order the columns.

    A damaged row is yielded with its damage, and the reading goes on: perhaps nobody asks for its image.
    Raises NaafError for a binary file.
    """
    before = csv.field_size_limit(LONGEST_FIELD)  # it belongs to the process: the end puts it back
    try:
        for path in paths:
            with check_regular(path, "name the TSV file").open("rb") as start:
                if b"\0" in start.read(PROBE):  # a binary file may hold no line end at all
                    raise NaafError(f"{shown(path)}, line 1: not a TSV file of regions; get it again")
            with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
                yield from _rows(path, csv.reader(stream, delimiter="\t"))
    finally:
        csv.field_size_limit(before)


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
            fields, damage = dict(zip(columns, row, strict=False)), ""
            if len(row) == 1:
                damage = "not a row of a TSV file of regions; get the file again"
            elif len(row) != len(columns):
                wanted = f"{len(columns)} columns ({', '.join(columns)})"
                damage = f"{len(row)} columns instead of {wanted}; get the file again"
            image = "" if damage else f", image {fields['image_id']}"
            yield RegionRow(fields, f"{shown(path)}, line {line}{image}", damage)
