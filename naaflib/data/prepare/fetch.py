"""Download what a manifest gives a direct address for; for all else, say the exact steps.

pooch downloads: a file takes its name when it is whole and its checksum is right. A file that is there and
right is not fetched again. Without a checksum, nothing comes over an unencrypted connection (http://), where
anybody on the way can put another file in its place, and what comes over https:// is called unchecked.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pooch
import requests

from ...errors import NaafError
from ...files import project_root, resolve, shown
from ...messages import progress_bar, say
from ..manifest import DataFile, Manifest, explain, load

RETRIES = 2  # after a broken connection or a wrong checksum
TIMEOUT = (10, 60)  # seconds to connect, seconds of silence
CHUNK = 2**18
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class Fetched:
    """What was done: `present`, `downloaded` or `replaced` by file, and the steps for what has no address."""

    folder: Path
    outcomes: dict[str, str]
    steps: str

    def __str__(self) -> str:
        width = max(map(len, self.outcomes.values()), default=0)
        lines = [
            f"{outcome:<{width}}  {shown(self.folder / path)}" for path, outcome in self.outcomes.items()
        ]
        return "\n".join([*lines, self.steps])


class Unencrypted(Exception):
    """An address that may not be read without a checksum, such as one that a server sends us on to."""


def fetch(
    name: str | Manifest, folder: str | os.PathLike[str] | None = None, *, progress: bool = True
) -> Fetched:
    """Bring a data set into a folder (default: data/NAME of the project) as far as addresses are known.

    Prints nothing but progress on stderr; the result's text is for the user. Raises UsageError for an
    unknown name, NaafError for a download that failed or has a wrong checksum.
    """
    manifest = name if isinstance(name, Manifest) else load(name)
    folder = project_root() / "data" / manifest.name if folder is None else resolve(folder)
    files = manifest.concrete_files()
    outcomes = {file.path: _fetch_file(file, folder, progress) for file in files if file.url}
    missing = [f for f in files if f.required and not f.url and not (folder / f.path).exists()]
    return Fetched(folder, outcomes, explain(manifest, folder) if missing or not outcomes else "")


def _check_address(url: str, sha256: str | None) -> None:
    """Raises Unencrypted for http:// of another machine where no checksum tells a wrong file."""
    parts = urlsplit(url)
    if parts.scheme == "http" and sha256 is None and parts.hostname not in LOOPBACK:
        raise Unencrypted(url)


def _fetch_file(file: DataFile, folder: Path, progress: bool) -> str:
    target = folder / file.path
    was_there = target.is_file()
    if was_there and file.sha256 is None:
        return "present, unchecked"
    if was_there and pooch.file_hash(str(target), alg="sha256") == file.sha256:
        return "present"
    if was_there:
        say(f"{shown(target)} is damaged (wrong sha256); it is replaced once the new file is whole")

    def download(url: str, output: Any, store: Any) -> None:
        with progress_bar(desc=target.name, total=1, unit="B", unit_scale=True, disable=not progress) as bar:
            hooks = {"response": lambda answer, **_: _check_address(answer.url, file.sha256)}
            how = {"chunk_size": CHUNK, "timeout": TIMEOUT, "hooks": hooks}
            pooch.HTTPDownloader(progressbar=bar, **how)(url, output, store)

    registry, urls = {file.path: file.sha256}, {file.path: file.url}
    store = pooch.create(folder, "", registry=registry, urls=urls, retry_if_failed=RETRIES)
    level = pooch.get_logger().level
    pooch.get_logger().setLevel(logging.ERROR)  # its lines speak of caches that a user here never sees
    try:
        _check_address(str(file.url), file.sha256)
        store.fetch(file.path, downloader=download)
    except Unencrypted as error:
        raise NaafError(
            f"{error}: the connection is not encrypted and the manifest has no sha256, so a wrong file would "
            f"not be noticed; write its sha256 or an https:// address for {file.path} into the manifest"
        ) from None
    except requests.RequestException as error:
        answer = error.response
        why = type(error).__name__ if answer is None else f"the server answers {answer.status_code}"
        raise NaafError(
            f"{file.url}: nothing whole could be downloaded ({why}); check address and network, then run the "
            "command again"
        ) from error
    except ValueError as error:  # the checksum differs; pooch has removed the new file
        raise NaafError(
            f"{file.url}: the downloaded file has another sha256 than the manifest says;"
            f" {shown(target)} was left as it was, tell whoever keeps the file"
        ) from error
    except OSError as error:
        raise NaafError(
            f"{shown(target)} cannot be written ({error.strerror or error}); make room or give another folder"
        ) from error
    finally:
        pooch.get_logger().setLevel(level)
    if file.sha256 is None:
        say(
            f"{shown(target)} is not checked: the manifest has no sha256 for it; what came has "
            f"{pooch.file_hash(str(target), alg='sha256')}, to compare with what its source says"
        )
        return "downloaded, unchecked"
    return "replaced" if was_there else "downloaded"
