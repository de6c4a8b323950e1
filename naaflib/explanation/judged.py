"""Judged foils: rates with intervals by category, beside chance, text-only baselines and unseen pictures."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ..files import atomic_path
from ..metric.detection import image_interval
from ..spreadsheets import write_csv
from .detection import FoilDetection

ALL = "all"
FOUND = ("accuracy", "auc", "average_precision", "first")  # of items with one exchanged word


@dataclass(frozen=True)
class FoilBenchmark:
    """A benchmark's items judged.

    items: a row an item: category, id, picture, seen (whether the training held the picture; None: unknown),
    was and now (None where more than one word differs), score_caption, score_foil, right (the caption scores
    higher; a tie is a miss), text_only (the baseline's right; None without training captions) and shorter
    (the caption has fewer words); where it was asked for, other_picture (right beside another picture).
    words, words_text_only: which word is wrong, of the items with one exchanged word: by the model (None for
    scores from a table) and by the text-only baseline (None without training captions).
    """

    benchmark: str
    scorer: str  # who was judged
    items: pd.DataFrame
    left_out: int  # items whose picture the data set lacks
    words: FoilDetection | None
    words_text_only: FoilDetection | None

    def table(self) -> pd.DataFrame:
        """A row a category and one for all: counts, and percent with 95 % intervals over pictures.

        accuracy and text_only with _low and _high, chance, shorter; unseen and seen, the accuracy on pictures
        outside and inside the training split, with _low, _high and _items; other_picture, with _low and
        _high, where it was asked for. NaN: unknown, or no item; of
        one picture there is no interval.
        """
        groups = dict(iter(self.items.groupby("category", sort=False)))
        return pd.DataFrame([_row(name, rows) for name, rows in {**groups, ALL: self.items}.items()])

    def words_table(self) -> pd.DataFrame | None:
        """Which word is wrong: a row a category and one for all, and of it a row a reader.

        items; accuracy on the caption against the caption with that word exchanged and nothing else, auc,
        average_precision and first, with _low and _high, and their chances; percent.
        """
        readers = {self.scorer: self.words, "text-only": self.words_text_only}
        tables = [_word_rows(name, one) for name, one in readers.items() if one is not None]
        if not tables:
            return None
        order = {name: place for place, name in enumerate([*self.items["category"].unique(), ALL])}
        rows = pd.concat(tables, ignore_index=True)
        return rows.sort_values("category", key=lambda own: own.map(order), kind="stable", ignore_index=True)

    def save(self, folder: Path) -> list[Path]:
        """Write table.csv, items.csv and, where there are such items, words.csv; the files."""
        tables = {"table": self.table(), "items": self.items, "words": self.words_table()}
        files = {folder / f"{name}.csv": table for name, table in tables.items() if table is not None}
        for file, table in files.items():
            with atomic_path(file) as partial:
                write_csv(table, partial, index=False)
        return list(files)

    def sentences(self) -> list[str]:
        """What stands beside the numbers, and what is missing."""
        items, pictures = len(self.items), self.items["picture"].nunique()
        said = [
            f"{self.scorer} on {self.benchmark}: {items:,} items of {pictures:,} pictures. "
            "Percent; 95 % intervals over pictures; a tie is a miss; chance 50."
        ]
        if self.left_out:
            said.append(
                f"Left out: {self.left_out:,} of {self.left_out + items:,} items, whose pictures are not "
                "in the data set."
            )
        if self.items["text_only"].isna().all():
            said.append("Text-only baseline: unknown, there are no training captions (--data, --captions).")
        if self.items["seen"].isna().all():
            said.append(
                "Seen in training: unknown, nothing says which pictures it held (--data, --train-ids)."
            )
        return said


def _row(name: str, rows: pd.DataFrame) -> dict[str, object]:
    """One row of `FoilBenchmark.table`."""
    seen, nobody = rows["seen"], rows[:0]
    known = not seen.isna().any()
    parts = {"unseen": rows[seen.eq(False)], "seen": rows[seen.eq(True)]} if known else {}
    row = {"category": name, "items": len(rows), "images": rows["picture"].nunique()}
    row |= _percent("accuracy", rows, "right") | {"chance": 50.0}
    text_only = nobody if rows["text_only"].isna().any() else rows
    row |= _percent("text_only", text_only, "text_only") | {"shorter": 100 * rows["shorter"].mean()}
    if "other_picture" in rows:
        row |= _percent("other_picture", rows, "other_picture")
    for part in ("unseen", "seen"):
        own = parts.get(part, nobody)
        row |= {f"{part}_items": len(own) if known else np.nan} | _percent(part, own, "right")
    return row


def _percent(name: str, rows: pd.DataFrame, column: str) -> dict[str, float]:
    """A share with its interval; NaN where there is no item, and no interval of one picture."""
    found = (np.nan,) * 3
    if len(rows):
        hit = rows[column].astype(bool)
        several = rows["picture"].nunique() > 1
        found = (hit.mean(), *(image_interval(hit, rows["picture"]) if several else found[1:]))
    return {f"{name}{end}": 100 * value for end, value in zip(("", "_low", "_high"), found, strict=True)}


def _word_rows(name: str, found: FoilDetection) -> pd.DataFrame:
    """The rows of `FoilBenchmark.words_table` of one reader; of one picture there is no interval."""
    low, high = found.interval
    whole = found.found.loc[found.evidence].to_dict() | {
        "kind": ALL,
        "count": found.count,
        "images": found.foils["image"].nunique(),
        "accuracy": found.accuracy,
        "accuracy_low": low,
        "accuracy_high": high,
        "chance_precision": found.chance_precision,
        "chance_first": found.chance_first,
    }
    rows = pd.concat([found.kinds(found.evidence), pd.DataFrame([whole])], ignore_index=True)
    bounds = [f"{measure}{end}" for measure in FOUND for end in ("_low", "_high")]
    rows.loc[rows["images"] == 1, bounds] = np.nan
    shares = [*(f"{measure}{end}" for measure in FOUND for end in ("", "_low", "_high"))]
    shares += ["chance_precision", "chance_first"]
    about = {"category": rows["kind"], "reader": name, "evidence": found.evidence, "items": rows["count"]}
    return pd.DataFrame(about).join(100 * rows[shares])
