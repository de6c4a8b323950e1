"""Scores of (caption, foil) pairs by anybody's model: a CSV to fill in, and the filled one checked."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ...errors import NaafError
from ...files import atomic_path, read_text, shown
from ...spreadsheets import marked, unmarked
from .foils import FoilItem

SCORES = ("score_caption", "score_foil")
ABOUT = ("category", "id", "picture", "caption", "foil")


def write_pairs_to_score(path: Path, items: Sequence[FoilItem]) -> None:
    """A row an item, with its texts and the name of its picture; the columns of scores are empty."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([*ABOUT, *SCORES])
        rows.writerows([*(marked(getattr(item, name)) for name in ABOUT), "", ""] for item in items)


def read_pair_scores(path: Path, items: Sequence[FoilItem]) -> np.ndarray:
    """(item, 2) The scores of each item's caption and foil, larger for the better match.

    The file: a CSV with the columns id, score_caption, score_foil, and category where an id stands in several
    categories; other columns are not read, and rows may stand in any order. Raises NaafError, which names the
    line, for an unknown or a repeated item and for a score that is no finite number; and where items of the
    wanted categories have no row, since a rate over a part chosen by the model's owner is another number.
    """
    wanted = {item.key: place for place, item in enumerate(items)}
    categories: dict[str, list[str]] = {}
    for category, identifier in wanted:
        categories.setdefault(identifier, []).append(category)
    scores, line_of = np.full((len(items), 2), np.nan), {}
    for line, row in _rows(path):
        where = f"{shown(path)}, line {line}"
        key = _key(row, categories, where)
        if key not in wanted:
            raise NaafError(
                f"{where}: there is no item {' '.join(key)}; `--list FILE` writes those there are"
            )
        if key in line_of:
            raise NaafError(f"{where}: item {' '.join(key)} stands in line {line_of[key]} too; delete one")
        line_of[key] = line
        scores[wanted[key]] = [_number(row, name, where) for name in SCORES]
    missing = [key for key in wanted if key not in line_of]
    if missing:
        raise NaafError(
            f"{shown(path)} lacks {len(missing):,} of {len(items):,} items, first {' '.join(missing[0])}; "
            "score them too, or name the --categories that are scored whole"
        )
    return scores


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Number and cells of every line that is not empty."""
    text = read_text(path, "`naaf foils --benchmark NAME --list FILE` writes the table to fill in")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for name in ("id", *SCORES):
        if name not in (reader.fieldnames or ()):
            raise NaafError(
                f"{shown(path)} has no column {name!r} in its first line; its columns are id, "
                f"{', '.join(SCORES)}, and category where ids repeat"
            )
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise NaafError(f"{shown(path)}, line {reader.line_num}: no CSV ({error}); write it again") from None


def _key(row: dict[str, str | None], categories: dict[str, list[str]], where: str) -> tuple[str, str]:
    identifier, category = (unmarked((row.get(name) or "").strip()) for name in ("id", "category"))
    own = categories.get(identifier, [])
    if not category and len(own) > 1:
        raise NaafError(f"{where}: id {identifier} is in {', '.join(own)}; add the column category")
    return category or (own[0] if own else ""), identifier


def _number(row: dict[str, str | None], name: str, where: str) -> float:
    text = (row[name] or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise NaafError(f"{where}: {name} is {text!r} and no finite number; score the pair again")
    return value
