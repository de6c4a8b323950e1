"""Score matrices judged: a run's beside a planted better one, or files of any models."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..data.npy import open_array
from ..errors import UsageError
from ..evaluation import evaluate
from ..evaluation.comparison.compare import Comparison, compare_runs
from ..evaluation.comparison.settings import named_files
from ..evaluation.judging.judge import Judgement, judge
from ..files import atomic_path, resolve
from ..metric.ranks import image_of
from ..runs import Run
from .keep import open_data, trained_run

PLANTED = 0.3  # standard deviations of all scores, which a planted model adds to each right pair


class Judged(NamedTuple):
    """Each file's judgement by its name, and all of them compared, where there are several."""

    judgements: dict[str, Judgement]
    comparison: Comparison


def judge_files(
    scores: str,
    run: str = "",
    *,
    data: str = "",
    benchmark: str = "",
    split: str = "",
    protocol: str = "full",
    resamples: int = 10_000,
) -> Judged:
    """Files judged and compared, the first as the baseline.

    scores: two or more of FILE or NAME=FILE,FILE (seeds of a setting), parted by semicolons; empty: the
    run's own scores on the data's split, made where they are missing, and a planted better model.
    """
    sources = [part.strip() for part in scores.split(";") if part.strip()]
    sources = sources or own_and_planted(run, data, split, protocol)
    how = {"benchmark": benchmark or None, "split": split or None}
    folder = None if benchmark else open_data(data)
    groups = dict(_named(source) for source in sources)
    judgements = {
        name if len(files) == 1 else f"{name}, {k}": judge(
            file, folder, protocol=None if benchmark else protocol, resamples=resamples, **how
        )
        for name, files in groups.items()
        for k, file in enumerate(files)
    }
    return Judged(judgements, compare_runs(sources, data=folder, protocol=protocol, **how))


def _named(source: str) -> tuple[str, list[Path]]:
    name, files = named_files(source)
    if not files:
        raise UsageError(f"{source!r} is no file of scores; name .npy, .npz, .pt or .h5 files")
    return name or files[0].stem, files


def own_and_planted(run: str, data: str, split: str, protocol: str) -> list[str]:
    """A run's scores, and the same with PLANTED added to each right pair: better by construction."""
    trained = trained_run(run)
    result = evaluate(trained, open_data(data), split=split or None, protocol=protocol, reuse=True)
    own = trained.scores_path(result.split.name)
    planted = Run.open(resolve(run)).path / "judged" / f"planted_{result.split.name}.npy"
    matrix = np.array(open_array(own))
    captions = np.arange(matrix.shape[1])
    matrix[image_of(captions, result.split.captions_per_image), captions] += PLANTED * matrix.std()
    with atomic_path(planted) as partial:
        np.save(partial, matrix)
    return [f"{trained.name}={own}", f"planted={planted}"]


def judged_rows(judged: Judged) -> pd.DataFrame:
    """A row a file and measure: value, low, high, chance."""
    tables = [result.table.assign(file=name) for name, result in judged.judgements.items()]
    return pd.concat(tables).reset_index()[["file", "measure", *tables[0].columns.drop("file")]]


def judged_table(judged: Judged) -> pd.DataFrame:
    """The same for the eye: a row a measure, a column a file, and chance."""
    columns = {name: _cells(result) for name, result in judged.judgements.items()}
    first = next(iter(judged.judgements.values())).readable()
    return pd.DataFrame({**columns, "chance": first["chance"]}).rename_axis("measure")


def _cells(result: Judgement) -> pd.Series:
    table = result.readable()
    joined = table["value"] + " (" + table["95 % interval"] + ")"
    return joined.str.replace(" ", "\N{NO-BREAK SPACE}")


def notes(judged: Judged) -> str:
    """What was measured, and what is odd about each file, a line each."""
    first = next(iter(judged.judgements.values()))
    said = [f"{name}: {note}" for name, one in judged.judgements.items() for note in one.notes]
    return "\n".join([first.gallery.sentence(), *said])
