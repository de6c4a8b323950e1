"""COCO's test images beyond recalls: right answers that people added (ECCV Caption, CxC), grades (SITS)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...data.public.coco import TRUTHS, positives
from ...data.public.sits import Grades, read_sits
from ...errors import NaafError, UsageError, unknown
from ...files import resolve
from ...metric.grades import spearman_table
from ...metric.intervals import COLUMNS
from ...metric.positives import CXC_MEASURES, ECCV_MEASURES, BothWays, PositiveCounter, means
from ...metric.retrieval import IN_WORDS
from .gallery import Gallery
from .matrix import ScoreMatrix

SITS = "sits"
EXTENDED = (*TRUTHS, SITS)
MEASURES = {"eccv": ECCV_MEASURES, "cxc": CXC_MEASURES}
NEEDS = "coco-5k"
SITS_FILE = "data/cxc/sits_test.csv"  # where `naaf data fetch cxc` puts it


class Extended:
    """What is known beyond a benchmark's own captions, and what a matrix's blocks add to it."""

    def __init__(self, truths: dict[str, BothWays], grades: Grades | None) -> None:
        self.truths, self.grades = truths, grades
        self.counters: list[PositiveCounter] = []
        self.graded = np.empty(0)

    def start(self, matrix: ScoreMatrix) -> None:
        """Read the scores that the blocks are compared with. Without counters where one is not finite."""
        wanted = [truth.pairs for truth in self.truths.values()]
        wanted += [(self.grades.row, self.grades.column)] if self.grades else []
        if not wanted:
            return
        scores = matrix.pairs(*(np.concatenate(places) for places in zip(*wanted, strict=True)))
        if not np.isfinite(scores).all():
            return  # whoever reads the blocks says where
        parts = np.split(scores, np.cumsum([len(rows) for rows, _ in wanted])[:-1])
        self.counters = [
            PositiveCounter(truth, own, *matrix.shape)
            for truth, own in zip(self.truths.values(), parts, strict=False)
        ]
        self.graded = parts[-1]

    def table(self, captions_per_image: int, seed: int = 0) -> pd.DataFrame:
        """A row a measure, as `metric.intervals.measured` has them; SITS is Spearman's rho, -1 to 1."""
        rows = {}
        for name, counter in zip(self.truths, self.counters, strict=True):
            for row in means(counter.ranks, MEASURES[name], captions_per_image, seed).itertuples():
                rows[f"{name}_{row.way}_{row.measure}"] = (row.value, row.low, row.high, np.nan)
        if self.grades:
            found = spearman_table(
                self.graded, self.grades.grade, self.grades.row, self.grades.method, seed=seed
            )
            for row in found.itertuples():
                rows[f"{SITS}_{row.group}"] = (row.spearman, row.low, row.high, 0.0)
        return pd.DataFrame.from_dict(rows, orient="index", columns=[*COLUMNS], dtype=float)


def open_extended(
    gallery: Gallery, asked: Sequence[str] | None, sits: str | Path | None = None
) -> tuple[Extended, list[str]]:
    """What of EXTENDED is asked for; and for a benchmark that has them, what is not here, in sentences.

    asked None: all that are here. sits: the file of grades; None: SITS_FILE. Raises UsageError for an
    unknown name and for another benchmark, NaafError for what is asked for by name and is not here.
    """
    for name in asked or ():
        if name not in EXTENDED:
            raise unknown("extended measure", name, EXTENDED)
    if gallery.name != NEEDS:
        if asked or sits:
            names = ", ".join(asked or (SITS,))
            raise UsageError(f"{names}: the judgements are of --benchmark {NEEDS}, not of {gallery.name}")
        return Extended({}, None), []
    found: dict[str, Any] = {}
    missing: dict[str, None] = {}
    for name in EXTENDED if asked is None else asked:
        try:
            found[name] = _grades(sits) if name == SITS else positives(name)
        except NaafError as error:
            if asked is not None or (name == SITS and sits is not None):
                raise
            missing[str(error)] = None
    grades = found.pop(SITS, None)
    return Extended(found, grades), [f"not measured: {sentence}" for sentence in missing]


def _grades(sits: str | Path | None) -> Grades:
    path = resolve(sits or SITS_FILE)
    if sits is None and not path.is_file():
        raise NaafError(f"SITS needs {SITS_FILE}, human grades of pairs; naaf data fetch cxc brings it")
    return read_sits(path)


def text_of(measure: str) -> str:
    """ "eccv_i2t_map_at_r" as a person reads it."""
    name, _, rest = measure.partition("_")
    if name == SITS:
        return {"all": "SITS rho, all pairs", "c2i_original": "SITS rho, own pairs"}.get(
            rest, "SITS rho, other pairs"
        )
    way, _, what = rest.partition("_")
    kinds = {"map_at_r": "mAP@R", "r_precision": "R-Precision"}
    titles = {"eccv": "ECCV Caption", "cxc": "CxC"}
    return f"{titles[name]} {IN_WORDS[way]} {kinds.get(what) or what.replace('at_', 'R@')}"
