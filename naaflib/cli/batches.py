"""`naaf run`, `naaf runs`, `naaf notebooks`."""

import argparse
from pathlib import Path

from ..errors import NaafError, UsageError
from ..files import named, shown
from ..messages import say
from .arguments import add_command, path, rows, show, show_json, show_table, show_text, warn

RUN = """\
Execute the notebooks in their order with papermill and gather them in OUT/report.html.

Each parameter goes to the notebooks that have it; a name that none has, or a value of the wrong type, is
refused before anything runs. The first failing cell ends the batch; its notebook stays: NAME.failed.ipynb.
Run it again with the same --out and it goes on: a trained run is reused, never retrained silently.

examples:
  naaf run --out outputs/demo -p members 2
  naaf run --out outputs/flickr8k -p data data/flickr8k_precomp -p preset flickr8k
  naaf run --out outputs/f30k -p data data/f30k_precomp -p preset f30k -p protocol f30k-1k
  naaf run --out outputs/demo --notebooks 05-06 -p split dev
  naaf run --out outputs/quick --notebooks 02,03 -p settings train.epochs=2,train.seed=3

parameters: the tagged cell of each notebook in notebooks/ lists its own; data (a path from here), preset,
members, seed, epochs, settings and split are the usual ones"""

RUNS = """\
List the runs below a folder: method, data, settings in short, best rsum on the dev split, and state.

A run that ended without having learnt is "finished, not well", and why stands below the table.

examples:
  naaf runs
  naaf runs outputs/demo --json"""

NOTEBOOKS = """\
Copy the notebooks into a folder, to edit them or to run them in JupyterLab.

`naaf run` takes the notebooks in notebooks/ of the project or of the working directory, and where there are
none, those that are installed with naaflib.

examples:
  naaf notebooks notebooks
  naaf notebooks ../tried-out"""

PATH_PARAMETERS = ("data", "pictures", "glove", "bert")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add this module's commands to the command line."""
    advice = "the same command goes on, and reuses what is trained"
    add = add_command(
        commands, "run", "all notebooks into a run folder", RUN, run, advice=advice
    ).add_argument
    add("--notebooks", metavar="WHICH", help="01-04, 02, 03,05 or names; by default all but 07")
    add("--out", type=path, required=True, metavar="RUN", help="run folder to write")
    add(
        "-p", dest="parameters", nargs="+", action="append", default=[], metavar=("NAME VALUE", "NAME VALUE"),
        help="parameters of the notebooks",
    )  # fmt: skip
    add("--cell-timeout", type=int, metavar="SECONDS", help="time that one cell may take")

    add = add_command(commands, "runs", "the runs so far", RUNS, runs).add_argument
    add("folder", type=path, nargs="?", default="outputs", metavar="DIR", help="where to look")
    add("--json", action="store_true", help="the table as JSON")

    add = add_command(commands, "notebooks", "copies of the notebooks", NOTEBOOKS, notebooks).add_argument
    add("folder", type=path, metavar="DIR", help="folder to write; no file is replaced")


def run(arguments: argparse.Namespace) -> int:
    from ..batch import expectation, measures_table, results_table, run_notebooks
    from ..verdict import verdicts_below

    parameters = _parameters(arguments.parameters)
    _check_values(parameters, arguments.out)
    record = run_notebooks(arguments.notebooks, arguments.out, parameters, timeout=arguments.cell_timeout)
    sentences = verdicts_below(arguments.out).values()
    report = f"report: {shown(arguments.out / 'report.html')}"
    if record.failed:
        warn(sentences)
        say(report)
        raise NaafError(record.sentence())
    say(record.sentence())
    warn(sentences)
    for table in (results_table(arguments.out), measures_table(arguments.out)):
        if not table.empty:
            show_table(table)
    for sentence in expectation(arguments.out):
        show_text(sentence)
    show(report)
    return 0


def _check_values(parameters: dict[str, object], out: Path) -> None:
    """Mistakes that a notebook would find only after others have run for minutes."""
    from ..pages.keep import SCENES, check_data, settings_for
    from ..runs import BEST_MEMBER

    data = Path(str(parameters.get("data", SCENES)))
    check_data(data)
    settings_for(data, str(parameters.get("preset") or "scenes"), str(parameters.get("settings", "")))
    fresh = not (out / "config.json").is_file()
    member, trained = str(parameters.get("member", BEST_MEMBER)), str(parameters.get("members", "1"))
    is_there = member.isdecimal() and trained.isdecimal() and int(member) < int(trained)
    if fresh and trained.isdecimal() and member != str(BEST_MEMBER) and not is_there:
        only = "one alone is" if trained == "1" else f"{trained} are"
        raise UsageError(
            f"member {member} would be looked at, counted from 0, but {only} trained; "
            "for more add -p members N"
        )


def runs(arguments: argparse.Namespace) -> int:
    from ..batch import runs_table

    if not arguments.folder.is_dir():
        raise NaafError(f"{shown(arguments.folder)} is not a folder: name the one that holds your runs")
    table = runs_table(arguments.folder)
    if arguments.json:
        show_json(rows(table))
    elif table.empty:
        say(f"no runs below {shown(arguments.folder)}: naaf train or naaf run makes one")
    else:
        show_table(table.drop(columns="verdict"))
    warn(table["verdict"].dropna())
    return 0


def notebooks(arguments: argparse.Namespace) -> int:
    from ..batch.notebooks import copy_notebooks

    for copy in copy_notebooks(arguments.folder):
        show(shown(copy))
    say(f"they open in JupyterLab: jupyter lab {shown(arguments.folder)}")
    return 0


def _parameters(groups: list[list[str]]) -> dict[str, str]:
    """Names to values; a path that exists by the rule of `files.resolve` is made absolute."""
    if any(len(words) % 2 for words in groups):
        raise UsageError("-p takes names and values in turn, for example -p members 2 -p split dev")
    found: dict[str, str] = {}
    for name, value in (words[i : i + 2] for words in groups for i in range(0, len(words), 2)):
        if name in found:
            raise UsageError(f"the parameter {name!r} is given twice: keep one of them")
        found[name] = named(value) if name in PATH_PARAMETERS else value
    return found
