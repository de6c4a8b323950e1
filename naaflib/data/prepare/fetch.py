"""Download what a manifest gives a direct address for; for all else, say the exact steps.

An interrupted download leaves NAME.part beside the file and is continued there by a Range request. A file
that is there and right is not fetched again; a damaged one stays until the new one is whole and checked.
"""

import logging
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pooch
import requests
from requests import Response
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from ...errors import NaafError
from ...files import project_root, resolve, shown
from ..manifest import DataFile, Manifest, explain, load

FRUITLESS_CONNECTIONS = 3  # in a row, each ending no further than the last: the download is given up
PAUSE = 1.0  # seconds before the next connection, for each fruitless one
TIMEOUT = (10, 60)  # seconds to connect, seconds of silence
CHUNK = 2**18


@dataclass(frozen=True)
class Fetched:
    """What was done: `present`, `downloaded` or `replaced` by file, and the steps for what has no address."""

    folder: Path
    outcomes: dict[str, str]
    steps: str

    def __str__(self) -> str:
        lines = [f"{outcome:<10}  {shown(self.folder / path)}" for path, outcome in self.outcomes.items()]
        return "\n".join([*lines, self.steps]) if self.steps else "\n".join(lines) + "\n"


def fetch(
    name: str | Manifest, folder: str | os.PathLike[str] | None = None, *, progress: bool = True
) -> Fetched:
    """Bring a data set into a folder (default: data/NAME of the project) as far as addresses are known.

    Prints nothing but progress on stderr; the result's text is for the user. Raises UsageError for an
    unknown name, NaafError for a download that failed (it can be continued) or a wrong checksum.
    """
    manifest = name if isinstance(name, Manifest) else load(name)
    folder = project_root() / "data" / manifest.name if folder is None else resolve(folder)
    files = manifest.concrete_files()
    outcomes = {file.path: _fetch_file(file, folder, progress) for file in files if file.url}
    missing = [f for f in files if f.required and not f.url and not (folder / f.path).exists()]
    return Fetched(folder, outcomes, explain(manifest, folder) if missing or not outcomes else "")


def _fetch_file(file: DataFile, folder: Path, progress: bool) -> str:
    target = folder / file.path
    was_there = target.is_file()
    if was_there and file.sha256 is None:
        return "present, unchecked"
    if was_there and pooch.file_hash(str(target), alg="sha256") == file.sha256:
        return "present"
    if was_there:
        message = f"{shown(target)} is damaged (wrong sha256); it is replaced once the new file is whole"
        tqdm.write(message, file=sys.stderr)
    _make_folder(target.parent)
    _retrieve(file, target, progress)
    return "replaced" if was_there else "downloaded"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NaafError(f"{shown(folder)}: cannot be made ({error.strerror}); give another folder") from error


def _retrieve(file: DataFile, target: Path, progress: bool) -> None:
    """Download and check; a continued file with a wrong checksum is fetched once more from its beginning."""
    part = Part(target)
    known_hash = f"sha256:{file.sha256}" if file.sha256 else None
    for last_try in (False, True):
        continued = part.size > 0
        try:
            with _quiet_pooch():
                downloader = ResumingDownloader(part, progress)
                pooch.retrieve(file.url, known_hash, target.name, target.parent, downloader=downloader)
            return
        except NaafError:
            raise
        except ValueError as error:  # pooch: the checksum differs; it has removed the new file
            if last_try or not continued:
                raise NaafError(
                    f"{file.url}: the downloaded file has another sha256 than the manifest says;"
                    f" {shown(target)} was left as it was, tell whoever keeps the file"
                ) from error
        except OSError as error:
            raise NaafError(f"{shown(target)}: cannot be written ({error.strerror or error})") from error


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    """pooch's log lines speak of caches and hashes that a user here never sees."""
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


class Part:
    """The unfinished file NAME.part, with the server's mark of its version in NAME.part.version."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + ".part")
        self._version = target.with_name(target.name + ".part.version")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def version(self) -> str:
        return self._version.read_text(encoding="utf-8") if self._version.is_file() else ""

    def begin(self, response: Response) -> None:
        """Forget what was there and remember which version of the file comes now."""
        self.path.write_bytes(b"")
        etag = response.headers.get("ETag", "")
        mark = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")
        self._version.write_text(mark, encoding="utf-8")

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self._version.unlink(missing_ok=True)

    def move_to(self, path: Path) -> None:
        os.replace(self.path, path)
        self._version.unlink(missing_ok=True)


class ResumingDownloader:
    """A pooch downloader: it continues NAME.part and hands the whole file over.

    Where the server names a version (ETag or Last-Modified), a file that changed meanwhile is begun anew;
    where it names none, the manifest's checksum finds it.
    """

    def __init__(self, part: Part, progress: bool) -> None:
        self.part, self.progress = part, progress

    def __call__(self, url: str, output_file: Any, _pooch: Any, check_only: bool = False) -> None:
        furthest, fruitless = self.part.size, 0
        while True:
            try:
                self._continue(url)
                break
            except requests.RequestException as error:
                fruitless = 0 if self.part.size > furthest else fruitless + 1
                furthest = max(furthest, self.part.size)
                if fruitless >= FRUITLESS_CONNECTIONS:
                    raise NaafError(self._broken(url, error)) from error
                time.sleep(PAUSE * fruitless)
        self.part.move_to(Path(output_file))

    def _broken(self, url: str, error: Exception) -> str:
        if not self.part.size:
            return f"{url}: nothing could be downloaded ({type(error).__name__}); check address and network"
        return (
            f"{url}: the connection broke off after {self.part.size:,} bytes ({type(error).__name__});"
            f" run the command again, it continues {shown(self.part.path)}"
        )

    def _continue(self, url: str) -> None:
        """One connection: from the end of the part where the server can, else from the beginning."""
        start = self.part.size
        headers = {"Accept-Encoding": "identity"}  # a compressed answer has other byte positions
        if start:
            headers["Range"] = f"bytes={start}-"
            if self.part.version:
                headers["If-Range"] = self.part.version
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # nothing after the part's end
                if _total(response) != start:
                    self.part.discard()
                    raise requests.ConnectionError("the unfinished file does not fit the server's")
                return
            if response.status_code >= 400:
                raise NaafError(f"{url}: the server answers {response.status_code} {response.reason}")
            if response.status_code != 206 or _first_byte(response) != start:
                start = 0
                self.part.begin(response)
            self._receive(response, start)

    def _receive(self, response: Response, start: int) -> None:
        length = response.headers.get("Content-Length")
        total = start + int(length) if length and length.isdigit() else None
        _check_space(self.part.target, (total or start) - start)
        name, hidden = self.part.target.name, not self.progress
        bar = tqdm(desc=name, total=total, initial=start, unit="B", unit_scale=True, disable=hidden)
        try:
            with self.part.path.open("ab") as stream, bar:
                # read1 hands over what has come; iter_content would lose the chunk that a break cuts short.
                while chunk := response.raw.read1(CHUNK):
                    stream.write(chunk)
                    bar.update(len(chunk))
        except HTTPError as error:
            raise requests.ConnectionError(str(error)) from error
        if total is not None and self.part.size != total:
            raise requests.ConnectionError(f"{self.part.size} of {total} bytes came")


def _total(response: Response) -> int | None:
    """The whole file's size from `Content-Range: bytes */SIZE` or `bytes FIRST-LAST/SIZE`."""
    found = re.search(r"/(\d+)$", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _first_byte(response: Response) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _check_space(target: Path, needed: int) -> None:
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise NaafError(
            f"{shown(target)}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free;"
            " make room or give another folder"
        )
