"""Where the project lies, what a relative path means, how a file is read, and written whole.

A file that cannot be used is one sentence: the file, the place in it, the remedy.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import NaafError

WHOLE_CHECKSUM = 2**28  # larger files are recognised by their size and their two ends
ENDS = 2**20
BRACKETS = "a key in brackets; a key is one word"
OUTSIDE = re.compile(r"^[/\\]|^[A-Za-z]:[/\\]|(?:^|[/\\])\.\.(?:[/\\]|$)|\0")
MARKS = ("data_manifests", "notebooks/02_training.ipynb")  # one of them is beside, or in, our own notebooks/


def project_root() -> Path:
    """The folder that holds `notebooks/`, with `data_manifests/` beside it or naaflib's own notebooks in it.

    Looked for in this order: the environment variable NAAF_ROOT, the folder of the installed package's
    source tree, the working directory and its parents; the working directory where none is found.
    """
    if "NAAF_ROOT" in os.environ:
        return Path(os.environ["NAAF_ROOT"]).expanduser().resolve()
    here = Path.cwd()
    for folder in (Path(__file__).resolve().parent.parent, here, *here.parents):
        if (folder / "notebooks").is_dir() and any((folder / mark).exists() for mark in MARKS):
            return folder
    return here


def project_folders(name: str) -> list[Path]:
    """Where `notebooks` or `data_manifests` lie: the project's own folder, then an installed wheel's."""
    places = (project_root() / name, Path(__file__).resolve().parent / name)
    return [place for place in places if place.is_dir()]


def resolve(path: str | os.PathLike[str]) -> Path:
    """The absolute path that a path given by a person means.

    A relative path is taken from the working directory. Inside the project's folder, one whose first part is
    not there is taken from the project's folder: `outputs/demo` and `data/scenes` are the same in the project
    and in its notebooks/, where `make lab` opens. A bare new name (page.png) stays in the working directory.
    Where NAAF_ROOT names the project, the second sentence holds in every working directory.
    """
    path, here, root = Path(path).expanduser(), Path.cwd(), project_root()
    if path.is_absolute() or not path.parts or (here / path.parts[0]).exists():
        return here / path
    inside = "NAAF_ROOT" in os.environ or root in here.parents
    return (root if inside and (len(path.parts) > 1 or (root / path).exists()) else here) / path


def shown(path: str | os.PathLike[str]) -> str:
    """The path as a message shows it: relative to the working directory where it lies below it."""
    path = Path(path)
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)


def leaves(name: str) -> bool:
    """Whether a path that a file names leaves the folder it is taken from: a whole path, or one with "..".

    By the rules of every system, since data sets travel. A symbolic link in the folder is the user's own.
    """
    return OUTSIDE.search(name) is not None


def missing(path: str | os.PathLike[str]) -> str:
    """The beginning of an error: the path, with the working directory where it is shown relative to it."""
    name = shown(path)
    return f"{name} does not exist" + ("" if Path(name).is_absolute() else f" in {Path.cwd()}")


def read_text(path: Path, remedy: str = "") -> str:
    """A file's text, UTF-8, without a byte order mark. remedy: what to do where it cannot be read."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        reason = (
            "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
        )
        raise NaafError(f"{shown(path)} {reason}" + (f"; {remedy}" if remedy else "")) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise NaafError(f"{shown(path)}, line {line}: not UTF-8 text; save the file as UTF-8") from None


def read_yaml(path: Path, remedy: str = "") -> object:
    """A YAML file's content; remedy as of `read_text`.

    5e-4 is a number, as in YAML 1.2. Refused: a key written twice, the first of which would be lost without a
    word, and a key that is no single word.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
                plain = isinstance(key, yaml.ScalarNode)
                if not plain or key.value in seen:
                    why = f"the key {key.value!r} stands there twice" if plain else BRACKETS
                    raise yaml.constructor.ConstructorError(None, None, why, key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    exponent = re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", exponent, list("-+.0123456789"))
    text = read_text(path, remedy)
    try:
        return yaml.load(text, Loader)
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML lets through what goes wrong in a value that does not fit its tag
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or type(error).__name__
        raise NaafError(f"{shown(path)}: not valid YAML{line} ({reason}); correct the file") from None


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path beside the wanted one to write to; it takes the wanted name when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.filename == str(partial):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path, missing: str = "", damaged: str = "restore or remove it") -> Any:
    """Raises NaafError for a missing or damaged file, with what to do then."""
    text = read_text(path, missing)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NaafError(f"{shown(path)} is not whole JSON ({error}); {damaged}") from None


def named(value: str | Path) -> str:
    """The whole path of a file or folder by the rule of `resolve`; a name on a hub as it is."""
    place = resolve(value)
    return str(place.resolve()) if value and place.exists() else str(value)


def fingerprint(path: Path) -> dict[str, object]:
    """Size and SHA-256 of a file; of a large one, of its first and last megabyte."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WHOLE_CHECKSUM:
            digest = hashlib.file_digest(file, "sha256")
        else:
            digest = hashlib.sha256(file.read(ENDS))
            file.seek(-ENDS, os.SEEK_END)
            digest.update(file.read(ENDS))
    return {"bytes": size, "sha256" if size <= WHOLE_CHECKSUM else "sha256_of_ends": digest.hexdigest()}


def checksum(path: Path) -> str:
    """The SHA-256 in a file's `fingerprint`: of a large file that of its two ends."""
    return str(next(value for key, value in fingerprint(path).items() if key != "bytes"))
