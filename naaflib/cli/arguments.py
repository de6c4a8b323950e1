"""What the commands share: a parser that teaches, paths, tables and messages.

argparse, because it needs no import of a package: `naaf --help` answers in a tenth of a second.
"""

import argparse
import difflib
import errno
import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..errors import UsageError
from ..files import FULL, resolve, shown
from ..messages import CONTROLS, say, visible

CONTINUES = "nothing is half-written; run it again"
REMEDIES = {  # after the system's own words
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "; name a place that you may use, or allow it"),
    errno.ENOTDIR: "; a part of the path is a file",
}

MOST_COLUMNS = 100  # of help and sentences, however wide the terminal is


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Texts that fit the terminal, and the default of every option that has one and does not name it."""

    def __init__(self, prog: str):
        super().__init__(prog, width=min(shutil.get_terminal_size().columns, MOST_COLUMNS))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Prose is filled; an indented line (table, example) stays one, and goes on where it is too long."""
        text = re.sub(r"(?m)^(\S.*)\n(?=\S)", r"\1 ", text)  # lines of one paragraph
        text = re.sub(r"\\\n\s+|(?<=\S)\n {8,}(?=\S)", lambda gap: " " * (gap[0][0] != "\\"), text)
        return "\n".join(_fitting(line, width) for line in text.split("\n"))

    def _get_help_string(self, action: argparse.Action) -> str | None:
        plain = action.default in (None, False, argparse.SUPPRESS) or action.default == []
        told = plain or "default" in (action.help or "")
        return action.help if told else f"{action.help} (default: %(default)s)"


def _fitting(line: str, width: int) -> str:
    """The line, cut: a command goes on after a backslash, a table in its last column, prose at the left."""
    if len(line) <= width:
        return line
    row = re.match(r"\s+\S.*\s{2,}(# )?|", line)
    start, remark = row[0].removesuffix("# "), row[1] or ""
    is_command = line.startswith("  naaf ") and not start
    hang = (len(start) if 0 < len(start) <= width // 2 else 6 * line.startswith(" ")) * " " + remark
    held = re.sub(r'"[^"]*"', lambda quoted: quoted[0].replace(" ", "\0"), line)
    held = re.sub(r"(--?\S+) (?!-)", "\\1\0", held) if is_command else line  # an option and its value
    how = {"subsequent_indent": hang, "break_long_words": False, "break_on_hyphens": False}
    pieces = textwrap.wrap(held, width - 2 * is_command, **how)
    return (" \\\n" if is_command else "\n").join(pieces).replace("\0", " ")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence with exit status 2, and name what was meant."""

    def __init__(self, **options):
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    @staticmethod
    def mistake(words: Sequence[str]) -> str:
        """What is said to a frequent slip in a command, before argparse finds what it lacks; else ""."""
        return ""

    def parse_known_args(self, args=None, namespace=None):
        """Every command refuses what it does not know itself, where its own options are known."""
        if slip := self.mistake(args or ()):
            self.error(slip)
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._meant(unknown)}")
        return found, unknown

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is None or value in action.choices:
            return
        close = difflib.get_close_matches(str(value), map(str, action.choices), n=2)
        meant = "--help" if value == "help" else repr(close[0]) if len(close) == 1 else ""
        hint = f", did you mean {meant}?" if meant else f" (choose from {', '.join(action.choices)})"
        raise argparse.ArgumentError(action, f"invalid choice: {value!r}{hint}")

    def _meant(self, unknown: list[str]) -> str:
        """The option, the setting or the notebook's parameter that an unknown option is like."""
        if not unknown[0].startswith("--"):
            return ""
        name, sign, value = unknown[0][2:].partition("=")
        value = value if sign else next(iter(unknown[1:2]), "VALUE")
        known, field = self._option_string_actions, name.replace("-", "_")
        if "--set" in known:
            from ..config import names

            settings = {dotted.partition(".")[2]: dotted for dotted in names()}
            if field in settings:
                return f", did you mean --set {settings[field]}={value}?"
        close = difflib.get_close_matches(f"--{name}", known, n=1)
        if close:
            return f", did you mean {close[0]}?"
        return f", did you mean -p {field} {value}?" if "-p" in known else ""


def add_command(commands, name: str, help: str, teaching: str, handler=None, **defaults) -> Parser:
    """Add a command. teaching: its description; what follows a line `examples:` stands below its options."""
    description, _, examples = teaching.partition("\n\nexamples:\n")
    epilog = f"examples:\n{examples}" if examples else None
    parser = commands.add_parser(name, help=help, description=description, epilog=epilog)
    parser.set_defaults(handler=handler, **defaults)
    return parser


def add_tls(parser: argparse.ArgumentParser) -> None:
    """The certificates of a --scheduler; `tls` uses them."""
    files = {
        "ca": "the certificate authority of a tls:// scheduler",
        "cert": "your certificate; without these options, Dask's configuration says",
        "key": "its key, where that is not in the file of --tls-cert",
    }
    for name, what in files.items():
        parser.add_argument(f"--tls-{name}", type=path, metavar="PEM", help=what)


def tls(arguments: argparse.Namespace):
    """A context in which Dask uses them."""
    from ..evaluation.tls import certificates

    return certificates(
        *(getattr(arguments, name) for name in ("scheduler", "tls_ca", "tls_cert", "tls_key"))
    )


def given(arguments: argparse.Namespace, *names: str) -> dict[str, Any]:
    """Some of the arguments, as a function takes them by name."""
    return {name: getattr(arguments, name) for name in names}


def path(text: str) -> Path:
    """A path by the rule of `files.resolve`. An empty one is a slip."""
    if not text:
        raise argparse.ArgumentTypeError("a path is empty")
    return resolve(text)


def os_sentence(error: OSError, again: str = CONTINUES) -> str:
    """What the system could not do: the file, its reason, and the remedy where there is one.

    again: what to do when there is room on a disk.
    """
    reason = error.strerror or " ".join(map(str, error.args)) or type(error).__name__
    reason += f"; make room: {again}" if error.errno in FULL else REMEDIES.get(error.errno, "")
    return f"{shown(error.filename)}: {reason}" if error.filename else reason


def warn(sentences: Iterable[str]) -> None:
    """What a person has to know of the runs that a command read; nothing where all is well."""
    for sentence in sentences:
        say(f"warning: {sentence}")


def show_json(content: object) -> None:
    """A result for a program: standard output; numbers that JSON has no word for become null."""
    escaped = "utf" not in (sys.stdout.encoding or "utf-8").lower()  # a letter that it lacks stays JSON
    text = json.dumps(content, indent=2, ensure_ascii=escaped, default=str)
    print(CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text))  # still the same JSON


def show(text: object, end: str = "\n") -> None:
    """A result for the person, line by line as it is: standard output."""
    print(visible(str(text)), end=end)


def columns() -> int | None:
    """How wide the terminal is, or COLUMNS says; None for a file or a pipe, whose lines stay whole."""
    wanted = sys.stdout.isatty() or "COLUMNS" in os.environ
    return shutil.get_terminal_size().columns if wanted else None


def show_text(text: str) -> None:
    """Sentences for the person, each line cut to the terminal: standard output."""
    width = columns()
    if width is not None:
        text = "\n".join(_fitting(line, min(width, MOST_COLUMNS)) for line in text.split("\n"))
    show(text)


def rows(table) -> list[dict[str, object]]:
    """A table's rows for JSON: null where there is nothing."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def show_table(frame, digits: int = 1) -> None:
    """A result for the person: standard output."""
    show(table_text(frame, digits))


def table_text(frame, digits: int = 1) -> str:
    """A table for the person; columns that the terminal lacks room for stand below."""
    named = frame.index.dtype == object or str(frame.index.dtype) == "str"
    whole = frame.select_dtypes("Int64")  # pandas would print <NA> for what they lack
    frame = frame.assign(
        **{name: whole[name].astype(object).where(whole[name].notna(), "-") for name in whole}
    )
    how = {"float_format": f"{{:.{digits}f}}".format, "na_rep": "-", "line_width": columns()}
    return frame.to_string(index=named, **how)
