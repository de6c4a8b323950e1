"""`judge`: one score matrix of any model, measured under a named protocol."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ...errors import NaafError, UsageError
from ...files import atomic_path, resolve, shown, write_json
from ...metric.intervals import measured
from ...metric.ranks import RankCounter
from ...metric.retrieval import IN_WORDS, RetrievalMetrics, as_array, metrics_of
from ...spreadsheets import write_csv
from .extended import EXTENDED, SITS, Extended, open_extended, text_of
from .findings import Findings
from .formats import check_path, checked, open_source
from .gallery import Gallery, check_record, of_record, open_gallery, order_of, orientation, recorded
from .matrix import ScoreMatrix


@dataclass(frozen=True, repr=False)
class Judgement:
    """What a score matrix comes to.

    table: a row a measure: value, low, high (95 % interval over images), chance. notes: what is odd about the
    matrix, or was done to it, in sentences.
    """

    name: str
    gallery: Gallery
    metrics: RetrievalMetrics
    table: pd.DataFrame
    notes: tuple[str, ...] = ()

    def sentence(self) -> str:
        """What was measured, and rsum."""
        row = self.table.loc["rsum"]
        return (
            f"{self.name}, {self.gallery.sentence()}: rsum {row['value']:.1f} "
            f"({row['low']:.1f} to {row['high']:.1f})"
        )

    def __repr__(self) -> str:
        return "\n".join([self.sentence(), self.table.to_string(float_format="{:.1f}".format), *self.notes])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return f"<p>{escape(self.sentence())}</p>{self.table.to_html(float_format='{:.1f}'.format)}{notes}"

    def readable(self) -> pd.DataFrame:
        """The table for the eye, as texts."""
        rows = [*self.table.iterrows()]
        columns = {
            "value": [_number(row.value, name) for name, row in rows],
            "95 % interval": [f"{_number(row.low, name)} to {_number(row.high, name)}" for name, row in rows],
            "chance": [_number(row.chance, name) for name, row in rows],
        }
        return pd.DataFrame(columns, index=[_text(name) for name in self.table.index])

    def query_table(self) -> pd.DataFrame:
        """A row a query: direction, number, rank of its best right answer (from 1), top answer's number."""
        tables = [
            pd.DataFrame(
                {
                    "direction": way,
                    "query": range(len(found.ranks)),
                    "rank": found.ranks + 1,
                    "top_answer": found.top1,
                }
            )
            for way, found in (("i2t", self.metrics.i2t), ("t2i", self.metrics.t2i))
        ]
        return pd.concat(tables, ignore_index=True)

    def record(self) -> dict[str, Any]:
        """For a program: what was measured, every measure with its interval, the notes."""
        return {
            "scores": self.name,
            "benchmark": self.gallery.name,
            "protocol": self.gallery.protocol,
            "images": self.gallery.images,
            "captions": self.gallery.captions,
            "measures": {
                name: {key: None if np.isnan(value) else float(value) for key, value in row.items()}
                for name, row in self.table.iterrows()
            },
            "notes": list(self.notes),
        }


def judge(
    scores: Any,
    data: str | Path | None = None,
    *,
    benchmark: str | None = None,
    split: str | None = None,
    protocol: str | None = None,
    transpose: bool = False,
    smaller_is_better: bool = False,
    ids: Sequence[str | Path] = (),
    key: str | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    extended: Sequence[str] | None = None,
    sits: str | Path | None = None,
    save: str | Path | None = None,
) -> Judgement:
    """Recalls, ranks and rsum of a score matrix, with 95 % intervals over images.

    scores: (image, caption) or its transpose, which is seen by the shape: an array, a tensor, or a file
    (.npy, .npz, .pt, .h5; key: the array's name in it). What they are of: `benchmark` ("coco-5k", "coco-1k",
    "f30k-1k"), or a data set's folder with a split and a protocol; scores that this library saved know it.
    ids: files of ids (`gallery.order_of`). extended: of coco-5k "eccv", "cxc" and "sits", () for none; None:
    those whose data are here. sits: the file of SITS. save: a .npy for the matrix in the benchmark's order.
    Raises UsageError or NaafError where the scores do not fit, are not finite, or cannot be read.
    """
    about = None
    if isinstance(scores, str | Path):
        check_path(resolve(scores))
        about = recorded(resolve(scores))
    if about and data is benchmark is None:
        if split not in (None, about["split"]):
            raise UsageError(f"{shown(resolve(scores))} holds scores of {about['split']}, not of {split}")
        gallery = of_record(about, protocol or "full")
    else:
        gallery = open_gallery(data, benchmark, split, protocol)
    more, missing = open_extended(gallery, extended, sits)
    matrix, notes = open_matrix(scores, gallery, transpose, smaller_is_better, ids, key)
    metrics, findings = ranked(matrix, gallery, more)
    if save is not None:
        matrix.save(resolve(save))
    table = measured(metrics, gallery.fold, gallery.captions_per_image, resamples=resamples, seed=seed)
    table = pd.concat([table, more.table(gallery.captions_per_image, seed)]).rename_axis("measure")
    notes = (*notes, *findings.notes(metrics, gallery, smaller_is_better), *missing)
    return Judgement(matrix.name, gallery, metrics, table, notes)


def write_judgement(result: Judgement, folder: Path, name: str) -> None:
    """NAME.json and NAME_queries.csv in a folder, each whole or not at all."""
    if folder.exists() and not folder.is_dir():
        raise NaafError(f"{shown(folder)} is a file; results need a folder: take another --out")
    write_json(folder / f"{name}.json", result.record())
    with atomic_path(folder / f"{name}_queries.csv") as partial:
        write_csv(result.query_table(), partial, index=False)


def _number(value: float, measure: str) -> str:
    """Percent and ranks with one digit, a correlation with three; a dash for nothing."""
    if not np.isfinite(value):
        return "-"
    return f"{value:.3f}" if measure.startswith(SITS) else f"{value:.1f}"


def _text(measure: str) -> str:
    """ "i2t_at_1" as "image to text R@1"."""
    if measure.startswith(EXTENDED):
        return text_of(measure)
    way, _, what = measure.partition("_")
    return f"{IN_WORDS[way]} {what.replace('at_', 'R@').replace('_', ' ')}" if way in IN_WORDS else measure


def open_matrix(
    scores: Any,
    gallery: Gallery,
    transpose: bool = False,
    smaller_is_better: bool = False,
    ids: Sequence[str | Path] = (),
    key: str | None = None,
) -> tuple[ScoreMatrix, list[str]]:
    """The matrix in the gallery's order, and what was done to it, in sentences."""
    if isinstance(scores, str | Path):
        path = resolve(scores)
        name, source = shown(path), open_source(path, key)
        check_record(path, gallery)
    else:
        name, source = "the scores", checked("the scores", as_array(scores))
    turned = orientation(name, source.array.shape, gallery, transpose)
    order = order_of([resolve(path) for path in ids], gallery)
    notes = ["its rows are captions: transposed"] if turned and not transpose else []
    if not turned and gallery.captions_per_image == 1:
        notes.append("it is square: rows are taken as images; --transpose if they are captions")
    matrix = ScoreMatrix(name, source, turned, smaller_is_better, order.images, order.captions)
    return matrix, notes


def ranked(
    matrix: ScoreMatrix, gallery: Gallery, more: Extended | None = None
) -> tuple[RetrievalMetrics, Findings]:
    """The ranks of a matrix that is read block by block, and what is odd about it.

    more: further right answers and grades, which see each block too.
    Raises NaafError for scores that are not finite.
    """
    per_image, fold = gallery.captions_per_image, gallery.fold
    own = matrix.own(per_image)
    finite = np.isfinite(own)
    counter = RankCounter(np.where(finite, own, 0), per_image, fold=fold)
    findings = Findings(gallery.images, gallery.captions)
    if more and finite.all():
        more.start(matrix)
    for tile in counter.tiles(*matrix.tile_sizes(fold, per_image)):
        block = matrix.block(tile.images, tile.captions)
        if findings.add(tile, block) and finite.all():
            counter.merge(tile.counts(block))
            for one in more.counters if more else ():
                one.add(block, tile.images, tile.captions)
        matrix.release()
    findings.check(matrix)
    return metrics_of(counter), findings
