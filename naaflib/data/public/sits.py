"""Human grades of image-caption pairs: SITS of Crisscrossed Captions (Parekh et al. 2021), `sits_test.csv`.

As published: caption `COCO_val2014:sentid:732091` (the number is COCO's annotation id), image
`COCO_val2014_000000365325.jpg` (COCO's image id), agg_score 0 to 5 (the mean of several people), and
sampling_method: c2i_original is a caption with its own image, c2i_intrasim one with another image.
"""

import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import NaafError
from ...files import read_text, shown
from .coco import CocoIds, coco_ids

COLUMNS = ("caption", "image", "agg_score", "sampling_method")
METHODS = ("c2i_original", "c2i_intrasim")
CAPTION = re.compile(r"COCO_val2014:sentid:(\d{1,12})")
IMAGE = re.compile(r"COCO_val2014_(\d{12})\.jpg")
REMEDY = "get it again: naaf data fetch cxc"


@dataclass(frozen=True)
class Grades:
    """Graded pairs by their place in a score matrix in the SCAN order."""

    row: np.ndarray  # (pair,) image
    column: np.ndarray  # (pair,) caption
    grade: np.ndarray  # (pair,) 0 to 5
    method: np.ndarray  # (pair,) how the pair was sampled: one of METHODS


def read_sits(path: str | os.PathLike[str], ids: CocoIds | None = None) -> Grades:
    """All pairs of a file, in its order; ids: default those of the COCO test split.

    Raises NaafError for a missing or damaged file, with its line. A file that ends too early at the end of a
    line is told by its checksum only (`naaf data verify`).
    """
    path, ids = Path(path), ids or coco_ids()
    header, *rows = [line.split(",") for line in read_text(path, REMEDY).splitlines()] or [[""]]
    if absent := [name for name in COLUMNS if name not in header]:
        raise NaafError(f"{shown(path)}, line 1: no column {absent[0]}; {REMEDY}")
    if not rows:
        raise NaafError(f"{shown(path)}: no pairs after line 1; {REMEDY}")
    order = [header.index(name) for name in COLUMNS]
    pairs = [_pair(path, number, row, len(header), order) for number, row in enumerate(rows, start=2)]
    captions, images, grades, methods = (np.array(column) for column in zip(*pairs, strict=True))
    row, column = ids.rows(images), ids.columns(captions)
    for what, number, place in (("image", images, row), ("caption", captions, column)):
        if (place < 0).any():
            line = int(np.argmax(place < 0))
            raise NaafError(
                f"{shown(path)}, line {line + 2}: {what} {number[line]} is not in COCO's test split; {REMEDY}"
            )
    return Grades(row, column, grades, methods)


def _pair(path: Path, number: int, row: list[str], fields: int, order: list[int]) -> tuple[Any, ...]:
    """Annotation id, image id, grade, sampling method of one line."""
    if len(row) != fields:
        what = f"{len(row)} of {fields} fields, the file is cut or damaged"
        raise NaafError(f"{shown(path)}, line {number}: {what}; {REMEDY}")
    texts = [row[column] for column in order]
    values = [read(text) for read, text in zip(READERS, texts, strict=True)]
    for name, text, value in zip(COLUMNS, texts, values, strict=True):
        if value is None:
            raise NaafError(f"{shown(path)}, line {number}: {text!r} is no {name}; {REMEDY}")
    return tuple(values)


def _number(pattern: re.Pattern[str], text: str) -> int | None:
    found = pattern.fullmatch(text)
    return int(found[1]) if found else None


def _grade(text: str) -> float | None:
    try:
        grade = float(text)
    except ValueError:
        return None
    return grade if 0 <= grade <= 5 else None


READERS = (  # of COLUMNS; None for a text that none of them is
    partial(_number, CAPTION),
    partial(_number, IMAGE),
    _grade,
    lambda text: text if text in METHODS else None,
)
