"""What the commands share: a parser that teaches, paths, tables and messages."""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from ..errors import UsageError
from ..project import resolve

CONTINUES = "nothing is half-written; run it again"


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Texts as they are written, and the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        plain = action.default in (None, False, argparse.SUPPRESS) or action.default == []
        return (
            action.help
            if plain or "%(default)" in (action.help or "")
            else f"{action.help} (default: %(default)s)"
        )


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence with exit status 2."""

    def __init__(self, **options):
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def path(text: str) -> Path:
    """A path by the rule of `project.resolve`. An empty one is a slip."""
    if not text:
        raise argparse.ArgumentTypeError("a path is empty")
    return resolve(text)


def overrides(assignments: list[str]) -> dict[str, str]:
    """["train.epochs=5", ...] as a mapping; config.preset checks names and values."""
    pairs = [assignment.partition("=") for assignment in assignments]
    for assignment, (name, sign, _) in zip(assignments, pairs, strict=True):
        if not sign or not name:
            raise UsageError(
                f"--set takes NAME=VALUE, for example train.epochs=5, and {assignment!r} is none"
            )
    found: dict[str, str] = {}
    for name, _, value in pairs:
        if name.strip() in found:
            raise UsageError(f"--set has {name.strip()} twice; give it one value")
        found[name.strip()] = value.strip()
    return found


def say(message: str) -> None:
    """A message for the person: standard error."""
    print(message, file=sys.stderr, flush=True)


def warn(sentences: Iterable[str]) -> None:
    """What a person has to know of the runs that a command read; nothing where all is well."""
    for sentence in sentences:
        say(f"warning: {sentence}")


def show_json(content: object) -> None:
    """A result for a program: standard output; numbers that JSON has no word for become null."""
    escaped = "utf" not in (sys.stdout.encoding or "utf-8").lower()  # a letter that it lacks stays JSON
    print(json.dumps(content, indent=2, ensure_ascii=escaped, default=str))


def show_table(frame) -> None:
    """A result for the person: standard output."""
    named = frame.index.dtype == object or str(frame.index.dtype) == "str"
    whole = frame.select_dtypes("Int64")  # pandas would print <NA> for what they lack
    frame = frame.assign(
        **{name: whole[name].astype(object).where(whole[name].notna(), "-") for name in whole}
    )
    print(frame.to_string(index=named, float_format="{:.1f}".format, na_rep="-"))
