"""Runs compared: variants beside each other, differences with intervals, the queries that changed most."""

import numpy as np
import pandas as pd

from ..data.splits import Split, open_split
from ..errors import NaafError, UsageError
from ..evaluation.comparison.compare import Comparison, compare_runs
from ..evaluation.comparison.differences import spread_table
from ..evaluation.comparison.queries import (
    ENDS,
    gained_and_lost,
    place_shares,
    places,
    query_changes,
    seed_shares,
)
from ..evaluation.comparison.settings import Variant, named_files
from ..evaluation.evaluate import scored_split
from ..evaluation.protocols import default_split
from ..files import resolve, shown
from ..metric.retrieval import MEASURES, RECALLS
from ..runs import Run
from ..viz.comparison import changed_queries, changes_figure, forest_figure
from ..viz.pictures import read_picture
from ..viz.ranks import DIRECTIONS
from ..viz.style import Figure
from .results import in_words

CHANGED = ("direction", "query", "place before", "place after", "all seeds agree")


def open_comparison(
    run: str,
    runs: str = "",
    *,
    baseline: str = "",
    data: str = "",
    split: str = "",
    protocol: str = "full",
    benchmark: str = "",
) -> Comparison:
    """The variants in a folder (a sweep, a group) and in further ones, parted by commas or semicolons.

    Score files stand for runs as in `compare_runs`; semicolons part them where one is NAME=FILE,FILE.
    data: "" leaves runs that are not scored an error.
    """
    further = [part.strip() for part in runs.split(";" if ";" in runs else ",") if part.strip()]
    folder = resolve(baseline) if baseline and resolve(baseline).exists() else None
    return compare_runs(
        [run, *further],
        benchmark=benchmark or None,
        baseline=str(folder) if folder else baseline or None,
        data=resolve(data) if data else None,
        split=split or None,
        protocol=protocol,
    )


def comparison_folder(run: str) -> Run:
    """Where figures and tables go: the folder itself, or comparison/ beside the first of score files."""
    _, files = named_files(run)
    path = files[0].parent / "comparison" if files else resolve(run)
    return Run.open(path) if (path / "config.json").is_file() else Run(path, {"kind": "comparison"})


def compared_split(comparison: Comparison, data: str = "") -> Split | None:
    """The captions and pictures behind the scores. data "": the folder that a run was trained on, if any.

    None: there is none, so queries are numbers. Raises NaafError where the folder holds other captions than
    those scored.
    """
    runs = [run for variant in comparison.variants for run in variant.runs if "data" in run.config]
    if not data and not runs:
        return None
    folder = resolve(data) if data else resolve(runs[0].data_folder)
    split = open_split(folder, comparison.split or default_split(folder, comparison.protocol))
    of_data, scored = scored_split(split), comparison.origin
    if any(scored[key] not in (None, of_data[key]) for key in ("captions", "captions_sha256")):
        raise NaafError(
            f"{shown(folder)} holds other captions of {split.name} than those that were scored; "
            "name the data set that the runs were evaluated on"
        )
    return split


def measures_named(text: str) -> list[str]:
    """ "i2t_at_1, t2i_at_1" as a list; "all" for the six recalls. Raises UsageError for another name."""
    names = [part.strip() for part in text.split(",") if part.strip()]
    names = list(RECALLS) if names == ["all"] else names
    wrong = [name for name in names if name not in MEASURES]
    if wrong or not names:
        raise UsageError(f"measures takes some of {', '.join(MEASURES)} or all, and not {text!r}")
    return names


def picked_variant(comparison: Comparison, name: str = "") -> Variant:
    """The variant that is looked at query by query; "": the first one after the baseline."""
    return comparison.variant(name) if name else comparison.variants[1]


def variants_shown(comparison: Comparison) -> pd.DataFrame:
    """A row a variant for the eye: mean ± standard deviation over its seeds, and rsum's t interval."""
    table = spread_table(comparison)
    rows = {}
    for name, row in table.iterrows():
        cells = {measure: _spread(row[measure], row[f"{measure}_sd"]) for measure in MEASURES}
        low, high = row["rsum_low"], row["rsum_high"]
        interval = "" if np.isnan(low) else f"{low:.0f} to {high:.0f}"
        rows[name] = {"seeds": f"{row['seeds']:.0f}", **cells, "95 % over seeds": interval}
    return unbroken(pd.DataFrame(rows).T.rename_axis("variant"))


def _spread(mean: float, deviation: float) -> str:
    return f"{mean:.1f}" if np.isnan(deviation) else f"{mean:.1f} ± {deviation:.1f}"


def unbroken(table: pd.DataFrame) -> pd.DataFrame:
    """The variants' names as the rows' heads, and cells that no line break parts."""
    columns = {
        name: table[name].str.replace(" ", "\N{NO-BREAK SPACE}") for name in table if name != "variant"
    }
    return pd.DataFrame(columns).set_axis(table.get("variant", table.index))


def forest_page(comparison: Comparison, table: pd.DataFrame) -> Figure:
    """Forest plots of all measures of a table of differences, seeds as small dots."""
    measures = list(dict.fromkeys(table["measure"]))
    seeds = {variant.name: _seed_differences(comparison, variant) for variant in comparison.variants}
    dots = {
        measure: {name: values[:, MEASURES.index(measure)] for name, values in seeds.items()}
        for measure in measures
    }
    tables = {measure: table[table["measure"] == measure] for measure in measures}
    return forest_figure(tables, dots)


def _seed_differences(comparison: Comparison, variant: Variant) -> np.ndarray:
    """Each seed's difference (seed, measure) from the baseline's run of its weights, else from its mean."""
    baseline, values = comparison.baseline, variant.values.mean(axis=1)
    other = None if variant is baseline else variant.counterpart(baseline)
    return values - (baseline.values.mean(axis=(0, 1)) if other is None else other.values.mean(axis=1))


def changes_page(comparison: Comparison, variant: Variant) -> Figure:
    """Which queries rose and fell from the baseline to a variant, beside what a seed alone moves."""
    baseline = comparison.baseline
    shares, notes = {}, {}
    for direction in DIRECTIONS:
        shares[direction] = place_shares(places(baseline, direction), places(variant, direction))
        rose, fell = gained_and_lost(shares[direction])
        notes[direction] = f"{rose:.1f} % rose, {fell:.1f} % fell"
        by_seed = seed_shares(baseline, direction)
        if by_seed is not None:
            notes[direction] += f" (by a seed alone: {gained_and_lost(by_seed)[0]:.1f} % each)"
    return changes_figure(shares, ENDS, before=baseline.name, after=variant.name, notes=notes)


def changed_table(
    comparison: Comparison, variant: Variant, split: Split | None, count: int = 5
) -> pd.DataFrame:
    """The queries that rose most and fell most in each direction, those first on which all seeds agree.

    split None: queries are told by their numbers.
    """
    changes = query_changes(comparison, variant.name)
    rows = []
    for direction, name in DIRECTIONS.items():
        for rose in (True, False):
            chosen = _changed(changes[changes["direction"] == direction], rose).head(count)
            for row in chosen.itertuples():
                query = _query(split, direction, row.query)
                places_of = {"place before": row.before, "place after": row.after}
                rows.append({"direction": name, "query": query, **places_of, "all seeds agree": row.agree})
    return pd.DataFrame(rows, columns=[*CHANGED]).set_index("direction")


def _query(split: Split | None, direction: str, query: int) -> str:
    if split is None:
        return f"{'caption' if direction == 't2i' else 'image'} {query}"
    return (
        split.captions[query]
        if direction == "t2i"
        else f"{split.image_name(query)}: {in_words(split, query)}"
    )


def _changed(changes: pd.DataFrame, rose: bool) -> pd.DataFrame:
    """Rows that rose (or fell), one an image, those on which all seeds agree first, then by size."""
    rows = changes[changes["change"] > 0] if rose else changes[changes["change"] < 0]
    size = rows["change"].abs()
    rows = rows.assign(size=size).sort_values(["agree", "size"], ascending=False, kind="stable")
    return rows.drop_duplicates("image")


def changed_page(
    comparison: Comparison, variant: Variant, split: Split | None, which: str, count: int = 3
) -> Figure | None:
    """Captions whose image rose or fell most: it, its places by seed, the first answers before and after.

    which: "rose" or "fell". First answers are those of each variant's first seed. Images with a picture file
    come first; None where nothing changed that way, and without a split.
    """
    if which not in ("rose", "fell"):
        raise UsageError(f'which is "rose" or "fell", and {which!r} is neither')
    if split is None:
        return None
    changes = query_changes(comparison, variant.name)
    rows = _changed(changes[changes["direction"] == "t2i"], which == "rose")
    seen = rows[[split.image_path(int(image)) is not None for image in rows["image"]]]
    rows = (seen if len(seen) >= count else rows).head(count)
    if rows.empty:
        return None
    pair = (comparison.baseline, variant)
    before, after = (places(one, "t2i")[:, rows["query"]].T for one in pair)
    images = [
        [int(row.image), *(int(one.metrics[0].t2i.top1[row.query]) for one in pair)]
        for row in rows.itertuples()
    ]
    return changed_queries(
        [split.captions[query] for query in rows["query"]],
        list(before),
        list(after),
        [[read_picture(split.image_path(image)) for image in three] for three in images],
        [[in_words(split, image) for image in three] for three in images],
        names=(comparison.baseline.name, variant.name),
        candidates=int(comparison.origin["images"]),
        title=f"Captions whose image {which} most",
    )
