"""`naaf`: the library's functions from a shell. Nothing is computed here.

Handlers import what they call when they are called, so that `naaf --help` answers at once. Results go to
standard output, messages to standard error; the exit status is 0 (done), 1 (failed) or 2 (wrong use).
"""

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import NaafError, UsageError, first_line
from ..launcher import asked_for, hush
from ..messages import say
from . import (
    batches,
    comparing,
    datasets,
    explaining,
    foils,
    judging,
    models,
    pointing,
    searching,
    sweeps,
)
from .arguments import CONTINUES, Parser, os_sentence

DESCRIPTION = """\
A workbench for image-text matching with the Negative-Aware Attention Framework (NAAF):
data sets, training, evaluation, ensembles, and notebooks that show why a pair matched."""

EXAMPLES = """\
start here:
  naaf run --out outputs/demo -p members 2       the built-in data set through all notebooks
  naaf data list                                 the data sets and what they are made of
  naaf train --data data/scenes --out outputs/first
  naaf evaluate outputs/first
  naaf COMMAND --help                            what a command does, with examples

exit status: 0 done, 1 failed, 2 wrong use"""

TERMINATED = 128 + signal.SIGTERM
TOGETHER = ("train", "evaluate")  # what several processes do together (`torchrun -m naaflib train ...`)


def build_parser() -> Parser:
    """The whole command line."""
    parser = Parser(prog="naaf", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    measuring = (judging, explaining, pointing, foils)
    for group in (datasets, models, *measuring, searching, batches, sweeps, comparing):
        group.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit status. An error of the user's is one sentence; a bug keeps its traceback."""
    arguments = argparse.Namespace()
    hush()
    if argv is None:  # a scheduler's way to stop a job: end what was started, keep the record
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
        sys.stdout.reconfigure(errors="backslashreplace")  # a letter that the terminal lacks
    try:
        arguments = build_parser().parse_args(argv)
        arguments.given = sys.argv[1:] if argv is None else list(argv)
        if arguments.version:
            return _print_version()
        if arguments.command is None:
            build_parser().print_help(sys.stderr)
            return 2
        if asked_for() > 1 and arguments.command not in TOGETHER:
            raise UsageError(f"naaf {arguments.command} is one process; start it without torchrun")
        status = arguments.handler(arguments)
        sys.stdout.flush()
        return status
    except NaafError as error:
        say(f"naaf: {error}")
        return error.exit_status
    except KeyboardInterrupt:
        say(f"\nnaaf: interrupted; {_advice(arguments)}")
        return 130
    except SystemExit as end:
        if end.code == TERMINATED:
            say(f"\nnaaf: terminated; {_advice(arguments)}")
        raise
    except BrokenPipeError:  # the reader of standard output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        say(f"naaf: {os_sentence(error, _advice(arguments))}")
        return 1
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "naaflib"):
            raise
        say(f"naaf: {_missing_sentence(package)}")
        return 1
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        say(f"naaf: not enough memory ({first_line(error)}); lower train.batch_size, model.dim or --memory")
        return 1


def _is_out_of_memory(error: Exception) -> bool:
    """torch raises a RuntimeError for the CPU, and one of its own for a GPU; it is not imported for that."""
    texts = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, MemoryError) or any(text in str(error) for text in texts)


def _advice(arguments: argparse.Namespace) -> str:
    """What to do after an interruption."""
    advice = getattr(arguments, "advice", CONTINUES)
    return advice if isinstance(advice, str) else advice(arguments)


def _missing_sentence(package: str) -> str:
    """What to do where a package that naaf needs is not there."""
    here, python = Path(__file__).parents[2], shlex.quote(sys.executable)
    tree = (here / "pyproject.toml").is_file()
    what = f"-e {shlex.quote(str(here))}" if tree else "naaflib"
    return (
        f"the Python package {package} is not installed for {sys.executable}; activate the environment where "
        f"naaf is installed, or install what it needs: {python} -m pip install {what}"
    )


def _print_version() -> int:
    from .. import __version__

    source = Path(__file__).parents[2] / "pyproject.toml"
    if __version__ == "0" and source.is_file():  # run from a source tree that was never installed
        import tomllib

        version = tomllib.loads(source.read_text(encoding="utf-8"))["project"]["version"]
        print(f"naaf {version} ({source.parent}, not installed)")
    else:
        print(f"naaf {__version__}")
    return 0
