"""`naaf compare`."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from ..errors import UsageError
from ..files import shown
from ..messages import say
from .arguments import add_command, columns, given, path, rows, show, show_json, show_text, warn
from .models import PROTOCOLS

COMPARE = """\
Compare runs on the same images: the difference of each from the baseline, its interval, its p-value corrected
for their number, and whether it is better, worse or open.

RUN is a run folder, a group (a folder with members/: its members are the seeds of one setting), a sweep, or a
folder that holds such. The first is the baseline; of one group alone the members stand beside each other.
RUN can also be a score matrix of any model, a file as `naaf judge` reads it, or NAME=FILE,FILE for the seeds
of one setting. Name --benchmark or --data for files that stand without runs.

What an interval covers is said below the table:
  images             one run a setting: these trained models, asked other images. Paired bootstrap, and a
                     permutation test by sign flips; an image stays together with all its captions, in both
                     directions. Another seed may give another result.
  images and seeds   two seeds or more of both settings: trained anew and asked other images. A t interval
                     over both sources, never shorter than Student's over one of them, and its p-value; the
                     interval over images alone stands beside it. Of two seeds a 95 % interval is long and
                     covers up to 99 %.
Seeds that share their trained weights (a switch at inference alone) are compared in pairs. --pool-seeds takes
the variance over seeds as one for all settings: narrower with few seeds, right where it is nearly so.

examples:
  naaf compare outputs/naaf outputs/scan --split dev
  naaf compare outputs/claims --baseline naaf --measure all --table outputs/claims.csv outputs/claims.tex
  naaf compare outputs/seed0 outputs/seed1 outputs/scan0 outputs/scan1 --seeds-together
  naaf compare outputs/first outputs/second --data data/scenes
  naaf compare a.npy b.npy --benchmark coco-5k
  naaf compare outputs/naaf theirs=seed0.npy,seed1.npy --split test"""


class Measures:
    """What --measure takes, imported when it is asked for: `naaf --help` answers without numpy."""

    def __iter__(self) -> Iterator[str]:
        from ..metric.retrieval import MEASURES

        return iter((*MEASURES, "all"))


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's command to the command line."""
    what = "differences between runs, with intervals"
    add = add_command(commands, "compare", what, COMPARE, compare).add_argument
    add("runs", type=source, nargs="+", metavar="RUN", help="runs, groups, sweeps, or score files")
    add("--baseline", metavar="RUN", help="a folder or a name in the table; by default the first")
    add("--seeds-together", action="store_true", help="runs that differ in train.seed alone are one setting")
    add("--split", metavar="NAME", help="by default the first that all runs are scored on")
    add("--protocol", choices=PROTOCOLS, default="full", help="what is scored against what")
    add(
        "--data",
        type=path,
        metavar="DIR",
        help="evaluate runs that are not scored yet on it; files are of it",
    )
    add("--benchmark", metavar="NAME", help="what score files are of: coco-5k, coco-1k or f30k-1k")
    add("--device", default="auto", metavar="NAME", help="for that: cpu, cuda, cuda:1, ...")
    add(
        "--measure", nargs="+", choices=Measures(), default=["rsum"], metavar="NAME",
        help="%(choices)s; every row counts in the correction (default: rsum)",
    )  # fmt: skip
    add("--correction", choices=("holm", "bh", "none"), default="holm", help="for many comparisons")
    add(
        "--pool-seeds", action="store_true", help="one variance over seeds for all settings, not each its own"
    )
    add("--confidence", type=float, default=0.95, metavar="SHARE", help="of the intervals")
    add("--resamples", type=int, default=10_000, metavar="N", help="bootstraps, permutations")
    add("--seed", type=int, default=0, metavar="N", help="of the resampling")
    table = "write it as .csv or .tex (booktabs)"
    add("--table", type=path, nargs="+", default=[], metavar="FILE", help=table)
    add("--json", action="store_true", help="the result as JSON")


def source(text: str) -> Path | str:
    """A path, or NAME=FILE,FILE as it is."""
    return text if "=" in text and not path(text).exists() else path(text)


def compare(arguments: argparse.Namespace) -> int:
    _check_files(arguments.table)
    from ..evaluation.comparison.compare import compare_runs
    from ..evaluation.comparison.differences import coverage_note, difference_table, readable_differences
    from ..metric.significance import check_request
    from ..verdict import verdicts

    check_request(arguments.confidence, arguments.resamples, arguments.seed)
    asked = ("data", "split", "protocol", "baseline", "seeds_together", "device", "benchmark")
    comparison = compare_runs(arguments.runs, **given(arguments, *asked))
    statistics = given(arguments, "confidence", "correction", "pool_seeds")
    resampling = given(arguments, "resamples", "seed")
    measures = [*Measures()][:-1] if "all" in arguments.measure else list(dict.fromkeys(arguments.measure))
    table = difference_table(comparison, measures, **statistics, **resampling)
    readable, note = readable_differences(table, arguments.confidence), coverage_note(table, **statistics)
    for reason in comparison.left_out:
        say(f"left out: {reason}")
    for odd in comparison.notes:
        say(odd)
    for file in arguments.table:
        _write(file, table, readable, f"{comparison.sentence()}\n{note}")
    sentences = verdicts([run for variant in comparison.variants for run in variant.runs])
    if arguments.json:
        show_json({**_record(comparison, table, note), "warnings": sentences})
    else:
        show_text(comparison.sentence())
        if not arguments.baseline:
            show_text(
                f"{comparison.baseline.name} is the baseline as the first found; --baseline RUN takes another"
            )
        show(f"\n{_aligned(readable)}\n")
        show_text(note)
    warn(sentences)
    return 0


def _aligned(readable) -> str:
    """Names to the left, numbers to the right."""
    from ..evaluation.comparison.differences import TEXTS

    left = {name: readable[name].map(len).max() for name in readable.columns if name in TEXTS}
    padded = readable.assign(**{name: readable[name].str.ljust(width) for name, width in left.items()})
    return padded.rename(columns={name: name.ljust(width) for name, width in left.items()}).to_string(
        index=False, line_width=columns()
    )


def _check_files(files: list[Path]) -> None:
    for file in files:
        if file.suffix not in (".csv", ".tex"):
            raise UsageError(f"--table {shown(file)} is neither .csv nor .tex, so its format is not known")


def _write(file: Path, table, readable, note: str) -> None:
    from ..evaluation.comparison.differences import latex_table
    from ..files import atomic_path
    from ..spreadsheets import write_csv

    with atomic_path(file) as partial:
        if file.suffix == ".csv":
            write_csv(table, partial, index=False)
        else:
            partial.write_text(latex_table(readable, note), encoding="utf-8")


def _record(comparison, table, note: str) -> dict[str, object]:
    """What --json prints: numbers in full, null where there is none."""
    return {
        **comparison.origin,
        "protocol": comparison.protocol,
        "baseline": comparison.baseline.name,
        "left_out": list(comparison.left_out),
        "notes": list(comparison.notes),
        "note": note,
        "rows": rows(table),
    }
