"""Where the project lies, what a relative path means, how a file is read, and written whole.

A file that cannot be used is one sentence: the file, the place in it, the remedy.
"""

import errno
import hashlib
import json
import math
import os
import platform
import re
import stat
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from .errors import NaafError

WHOLE_CHECKSUM = 2**28  # larger files are recognised by their size and their two ends
ENDS = 2**20
BRACKETS = "a key in brackets; a key is one word"
MOST_VALUES = 10**6  # in a YAML file, what its anchors stand for counted as often as they are named
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")  # of a JSON text: a letter in two halves
FLUSH = True  # most tests switch it off: a flush waits for the disk, some milliseconds each
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of writing alone
NO_FLUSH = (  # of a folder, where that is not known
    errno.EINVAL,
    errno.ENOTSUP,
    errno.EBADF,
    errno.EACCES,
    errno.EPERM,
)
HERE = f"{zlib.crc32(platform.node().encode()):08x}"  # tells this machine's partial files from another's
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
    except (ValueError, OSError, RuntimeError):  # elsewhere; a name too long; a loop of links
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


def check_regular(path: Path, remedy: str = "") -> Path:
    """The path of a regular file. Raises NaafError for anything else: a pipe is never read to its end.

    Called before a file is opened.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        target = f"is a link to {os.readlink(path)}, which is missing" if path.is_symlink() else "is missing"
        reason = target
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except ValueError:  # a zero byte
        reason = "is no name of a file"
    else:
        if stat.S_ISREG(mode):
            return path
        reason = "is a folder, not a file" if stat.S_ISDIR(mode) else "is a pipe or a device, not a file"
    raise NaafError(f"{shown(path)} {reason}" + (f"; {remedy}" if remedy else ""))


def read_text(path: Path, remedy: str = "") -> str:
    """A file's text, UTF-8, without a byte order mark. remedy: what to do where it cannot be read."""
    try:
        return check_regular(path, remedy).read_bytes().decode("utf-8-sig")
    except OSError as error:
        end = f"; {remedy}" if remedy else ""
        raise NaafError(f"{shown(path)} cannot be read ({error.strerror}){end}") from None
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
        content = yaml.load(text, Loader)
        if _values(content, {}) > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")
        return content
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # PyYAML lets through what goes wrong in a value that does not fit its tag
        mark = getattr(error, "problem_mark", None)
        line = f" at line {mark.line + 1}" if mark else ""
        plain = str(error) if type(error) is ValueError else ""
        reason = getattr(error, "problem", None) or plain.partition("\n")[0] or type(error).__name__
        raise NaafError(f"{shown(path)}: not valid YAML{line} ({reason}); correct the file") from None


def _values(content: object, known: dict[int, int]) -> int:
    """How many values an object of dicts and lists holds. Raises RecursionError for one that holds itself."""
    if not isinstance(content, dict | list):
        return 1
    if id(content) not in known:
        inside = content.values() if isinstance(content, dict) else content
        known[id(content)] = 1 + sum(_values(one, known) for one in inside)
    return known[id(content)]


@contextmanager
def atomic_path(path: Path, older: Path | None = None) -> Iterator[Path]:
    """A path beside the wanted one to write to; it takes the wanted name when the block ends well.

    A power cut, too, leaves the file as it was or as it is wanted. older: a name for the file as it was.
    """
    partial = _partial(path)
    with blamed(path, partial):
        make_folder(path.parent)
        try:
            yield partial
            put(partial, path, older)
        finally:
            partial.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.stem}.{HERE}-{os.getpid()}.partial{path.suffix}")


@contextmanager
def blamed(path: Path, partial: Path | None = None) -> Iterator[None]:
    """A full disk's error inside, which names no file, names this path; so does one of the partial file."""
    try:
        yield
    except OSError as error:
        unnamed = error.filename is None and error.errno in (None, *FULL)
        if unnamed or error.filename == str(partial):
            error.filename, error.filename2 = str(path), None
        raise


def put(partial: Path, path: Path, older: Path | None = None) -> None:
    """Rename a file or folder that is written: on the disk before it takes the name, and the name after.

    older: a name for the file that has the wanted name now; there is no moment without one.
    """
    if partial.is_dir():
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(16) as waiting:  # the disk takes many flushes together, as one
            list(waiting.map(flush, partial.rglob("*")))
    flush(partial)
    if older is not None and path.exists():
        spare = _partial(older)
        spare.unlink(missing_ok=True)
        try:
            os.link(path, spare)
            os.replace(spare, older)
        except OSError:  # a file system without hard links
            os.replace(path, older)
        spare.unlink(missing_ok=True)  # a rename of two names of one file does nothing
    os.replace(partial, path)
    for folder in dict.fromkeys((path.parent, partial.parent)):
        flush(folder)


def flush(place: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk (fsync).

    Windows and some network file systems do not do it for folders; nothing happens there.
    """
    if not FLUSH:
        return
    folder = place.is_dir()
    try:
        handle = os.open(place, os.O_RDONLY if folder else os.O_RDWR)  # Windows flushes what it may write
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if not (folder and error.errno in NO_FLUSH):
            raise


def make_folder(path: Path) -> None:
    """Make a folder and those that it lies in; the names of new ones are flushed."""
    if path.is_file():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        flush(path.parent)


def sweep_partials(folder: Path) -> None:
    """Remove what writers of this machine that were killed left of `atomic_path` in a folder and below."""
    if os.name != "posix":  # elsewhere signal 0 would end the process that it asks after
        return
    for path in folder.rglob(f".*.{HERE}-*.partial*"):
        found = re.search(rf"\.{HERE}-(\d+)\.partial(\.[^.]*)?$", path.name)
        if found and not _runs(int(found[1])):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True


def write_json(path: Path, content: object) -> None:
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path, missing: str = "", damaged: str = "restore or remove it") -> Any:
    """Raises NaafError for a missing or damaged file, with what to do then."""
    text = read_text(path, missing)
    try:
        return parse_json(text)
    except ValueError as error:
        raise NaafError(f"{shown(path)} is not whole JSON ({error}); {damaged}") from None


def read_object(
    path: Path, keys: Sequence[str] = (), missing: str = "", damaged: str = "restore or remove it"
) -> dict[str, Any]:
    """`read_json` of a file that holds an object with these keys; another shape is a damaged file, too."""
    content = read_json(path, missing, damaged)
    if not isinstance(content, dict):
        raise NaafError(f"{shown(path)} holds no JSON object; {damaged}")
    lost = next((key for key in keys if key not in content), None)
    if lost is not None:
        raise NaafError(f"{shown(path)} has no key {lost!r}; {damaged}")
    return content


def parse_json(text: str) -> Any:
    """The value of a JSON text. Every JSON is read by this. Raises ValueError, which says what is wrong.

    Refused beside what is no JSON: a key written twice, of which one would be lost without a word; NaN and
    Infinity, which are no JSON, and numbers beyond floating point (1e999); brackets nested too deep to read.
    """

    def number(digits: str) -> float:
        if math.isinf(value := float(digits)):
            raise ValueError(f"the number {digits[:20]} is too large")
        return value

    def literal(name: str) -> NoReturn:
        raise ValueError(f"{name} is not a number of JSON")

    try:
        value = json.loads(text, object_pairs_hook=_once, parse_float=number, parse_constant=literal)
        if SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except RecursionError:
        raise ValueError("its brackets are nested too deep") from None
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair, which is no letter") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice[:40]!r} stands in one object twice")
    return found


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
