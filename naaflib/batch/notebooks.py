"""The notebooks as a batch sees them: which ones, with which parameters, each value in its type.

A notebook's parameters are the assignments of its one cell tagged `parameters`. Nothing is executed to read
them, so a misspelt name or a value of the wrong type is refused before the first notebook starts.
"""

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import nbformat

from ..config import nearest
from ..errors import NaafError, UsageError
from ..files import project_root, shown

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
NONE = ("none", "null")
MISSING = object()
COMPARISON = "07_compare_runs"  # of many runs: no part of the walk through one, only where it is named


@dataclass(frozen=True)
class Parameter:
    """One assignment of a parameters cell. kind: bool, int, float, str, list, tuple, dict; None: any text."""

    name: str
    kind: str | None
    optional: bool  # None is a value too
    default: object  # MISSING where the cell computes it


@dataclass(frozen=True)
class Notebook:
    """A notebook of the project and what its parameters cell takes."""

    path: Path
    parameters: Mapping[str, Parameter]

    @property
    def name(self) -> str:
        return self.path.stem


def available() -> list[Path]:
    """The project's numbered notebooks, in their order. Raises NaafError where there is none."""
    folder = project_root() / "notebooks"
    found = sorted(folder.glob("[0-9]*.ipynb"))
    if not found:
        raise NaafError(
            f"{shown(folder)} holds no notebook: run from the project's folder, or let NAAF_ROOT name it"
        )
    return found


def select(wanted: str | Iterable[str] | None = None) -> list[Notebook]:
    """The notebooks that a selection names, in their order: "01-04", "02", "03,05", a name.

    None: the walk through one run, all but the comparison of many.
    """
    paths = available()
    if wanted is None:
        return [read(path) for path in paths if path.stem != COMPARISON]
    parts = [
        part for part in re.split(r"[,\s]+", wanted if isinstance(wanted, str) else ",".join(wanted)) if part
    ]
    chosen = {path for part in parts for path in _matching(part, paths)}
    if not chosen:
        raise UsageError("no notebook is selected: name some, for example 01-06 or 03,05")
    return [read(path) for path in sorted(chosen)]


def read(path: Path) -> Notebook:
    """A notebook and its parameters. Raises NaafError where the file or its parameters cell is unusable."""
    try:
        node = nbformat.read(path, as_version=4)
    except (OSError, ValueError, nbformat.reader.NotJSONError) as error:
        raise NaafError(f"{shown(path)} cannot be read as a notebook: {first_line(error)}") from None
    tagged = [cell for cell in node.cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise NaafError(f"{shown(path)} has {len(tagged)} cells tagged 'parameters' and needs exactly one")
    try:
        found = list(_assignments(tagged[0].source))
    except SyntaxError as error:
        raise NaafError(f"{shown(path)}: line {error.lineno} of the parameters cell is not Python") from None
    return Notebook(path, {parameter.name: parameter for parameter in found})


def fill(notebooks: Iterable[Notebook], values: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """The values that each notebook is given, by its name: those it knows, in its types.

    Raises UsageError for a name that no notebook knows and for a value that does not fit its type.
    """
    notebooks = list(notebooks)
    known = sorted({name for notebook in notebooks for name in notebook.parameters})
    for name in values:
        if name not in known:
            hint = nearest(name, known) or ";"
            raise UsageError(
                f"no selected notebook has a parameter {name!r}{hint} there are: {', '.join(known) or 'none'}"
            )
    return {
        notebook.name: {
            name: convert(value, notebook.parameters[name])
            for name, value in values.items()
            if name in notebook.parameters
        }
        for notebook in notebooks
    }


def convert(value: object, parameter: Parameter) -> object:
    """The value in the parameter's type: text as typed on a command line, or a Python value that fits."""
    if parameter.optional and (value is None or str(value).lower() in NONE):
        return None
    try:
        return _READERS[parameter.kind](value)
    except (ValueError, SyntaxError, TypeError):
        raise _misfit(value, parameter) from None


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind where it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _matching(part: str, paths: list[Path]) -> list[Path]:
    numbers = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
    if numbers:
        low, high = int(numbers[1]), int(numbers[2] or numbers[1])
        found = [path for path in paths if low <= _number(path) <= high]
    else:
        found = [path for path in paths if path.stem == part.removesuffix(".ipynb")]
    if not found:
        names = [path.stem for path in paths]
        raise UsageError(
            f"no notebook fits {part!r}{nearest(part, names) or ';'} notebooks: {', '.join(names)}"
        )
    return found


def _number(path: Path) -> int:
    return int(re.match(r"\d+", path.stem)[0])


def _assignments(source: str) -> Iterable[Parameter]:
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield _parameter(statement.target.id, ast.unparse(statement.annotation), statement.value)
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    yield _parameter(target.id, "", statement.value)


def _parameter(name: str, annotation: str, value: ast.expr | None) -> Parameter:
    try:
        default = ast.literal_eval(value) if value is not None else MISSING
    except ValueError:
        default = MISSING
    words = re.findall(r"\w+", annotation.lower())
    kind = next((word for word in words if word in _READERS), None)
    if kind is None and type(default).__name__ in _READERS:
        kind = type(default).__name__
    return Parameter(name, kind, default is None or "none" in words or "optional" in words, default)


def _bool(value: object) -> bool:
    word = str(value).lower()
    if isinstance(value, bool | str) and word in TRUE + FALSE:
        return word in TRUE
    raise ValueError(value)


def _int(value: object) -> int:
    if isinstance(value, bool | float):
        raise ValueError(value)
    return int(value)  # type: ignore[call-overload]  # anything else raises TypeError, which is caught


def _float(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]  # as above
    if isinstance(value, bool) or not isfinite(number):
        raise ValueError(value)
    return number


def _text(value: object) -> str:
    if isinstance(value, str | int | float | Path):
        return str(value)
    raise ValueError(value)


def _literal(kind: type):
    def read_literal(value: object) -> object:
        read_value = ast.literal_eval(value) if isinstance(value, str) else value
        if not isinstance(read_value, kind):
            raise ValueError(value)
        return read_value

    return read_literal


_READERS = {
    "bool": _bool,
    "int": _int,
    "float": _float,
    "str": _text,
    "list": _literal(list),
    "tuple": _literal(tuple),
    "dict": _literal(dict),
    None: lambda value: str(value) if isinstance(value, Path) else value,
}
_EXAMPLES = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}


def _misfit(value: object, parameter: Parameter) -> UsageError:
    wanted = _EXAMPLES.get(parameter.kind, f"a Python {parameter.kind}")
    return UsageError(f"parameter {parameter.name} takes {wanted}, not {str(value)!r}")
