"""Notebook files and their parameters: found, selected, copied; each parameter's value in its type.

A notebook's parameters are the assignments of its one cell tagged `parameters`. They are read as Python's
syntax tree: papermill's own reader loses a default that holds "=", as 02's `settings` does. Nothing is
executed, so a misspelt name or a value of the wrong type is refused before the first notebook starts.
"""

import ast
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import nbformat
from pydantic import FiniteFloat, TypeAdapter

from ..config import is_none, nearest
from ..errors import NaafError, UsageError, first_line
from ..files import project_folders, project_root, shown

MISSING = object()
COMPARISON = "07_compare_runs"  # compares many runs: executed only where it is named
KINDS = {"bool": bool, "int": int, "float": FiniteFloat, "str": str}
KINDS |= {kind.__name__: kind for kind in (list, tuple, dict)}
EXAMPLES = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "text"}


@dataclass(frozen=True)
class Parameter:
    """One assignment of a parameters cell. kind: one of KINDS; None: any value."""

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
    """The numbered notebooks of the project, else those of an installed wheel, in their order.

    Raises NaafError where there is none.
    """
    for folder in project_folders("notebooks"):
        if found := sorted(folder.glob("[0-9]*.ipynb")):
            return found
    raise NaafError(
        f"{shown(project_root() / 'notebooks')} holds no notebook: run from the project's folder, or let "
        "NAAF_ROOT name it"
    )


def copy_notebooks(folder: Path) -> list[Path]:
    """Copy the notebooks into a folder, to be edited; where they are now.

    Raises NaafError, before anything is copied, where the folder holds one of them already.
    """
    copies = [folder / path.name for path in available()]
    if folder.resolve() == available()[0].parent.resolve():
        raise NaafError(
            f"{shown(folder)} holds the notebooks themselves; open them there (jupyter lab {shown(folder)}), "
            "or name another folder for copies"
        )
    taken = next((copy for copy in copies if copy.exists()), folder if folder.is_file() else None)
    if taken:
        raise NaafError(f"{shown(taken)} is there already; name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    return [Path(shutil.copyfile(*pair)) for pair in zip(available(), copies, strict=True)]


def select(wanted: str | Iterable[str] | None = None) -> list[Notebook]:
    """The notebooks that a selection names, in their order: "01-04", "02", "03,05", a name.

    None: all but the comparison of runs.
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
    names = sorted({name for notebook in notebooks for name in notebook.parameters})
    for name in [name for name in values if name not in names]:
        hint = nearest(name, names) or ";"
        raise UsageError(
            f"no selected notebook has a parameter {name!r}{hint} there are: {', '.join(names) or 'none'}"
        )
    return {
        notebook.name: {
            name: convert(value, notebook.parameters[name])
            for name, value in known([notebook], values).items()
        }
        for notebook in notebooks
    }


def known(notebooks: Iterable[Notebook], values: Mapping[str, object]) -> dict[str, object]:
    """Those of the values that one of the notebooks has a parameter for."""
    names = {name for notebook in notebooks for name in notebook.parameters}
    return {name: value for name, value in values.items() if name in names}


def convert(value: object, parameter: Parameter) -> object:
    """The value in the parameter's type: text as typed on a command line, or a Python value that fits."""
    kind = parameter.kind
    if parameter.optional and is_none(value):
        return None
    if kind is None:
        return str(value) if isinstance(value, Path) else value
    try:
        if kind not in EXAMPLES:  # a container, as Python writes it
            found = ast.literal_eval(value) if isinstance(value, str) else value
            return TypeAdapter(KINDS[kind]).validate_python(found)
        if isinstance(value, str | Path | Real):  # as text, which is no truth value where a number is wanted
            return TypeAdapter(KINDS[kind]).validate_strings(str(value))
    except (ValueError, SyntaxError, TypeError):
        pass
    wanted = EXAMPLES.get(kind, f"a Python {kind}")
    raise UsageError(f"parameter {parameter.name} takes {wanted}, not {str(value)!r}")


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
    kind = next((word for word in words if word in KINDS), None)
    if kind is None and type(default).__name__ in KINDS:
        kind = type(default).__name__
    return Parameter(name, kind, default is None or "none" in words or "optional" in words, default)
