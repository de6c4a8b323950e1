"""Word vectors for a vocabulary: GloVe's or fastText's text form, plain, in a `.zip` or in a `.gz`."""

import gzip
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import NaafError, first_line
from ..files import check_regular, shown
from ..npz import DAMAGED
from ..spreadsheets import is_number
from .vocabulary import Vocabulary

LONGEST_LINE = 2**20  # letters
PEEKED = 4096  # bytes in which a binary file shows a zero


class Vectors(NamedTuple):
    """Vectors (found word, dim) and the ids of the words that have one."""

    ids: np.ndarray
    values: np.ndarray


def read_glove(path: Path, vocabulary: Vocabulary) -> Vectors:
    """The vectors of the vocabulary's words; a word that the file lacks is left out.

    A line is a word and its numbers; GloVe 840B holds a few words with a space, so the numbers are
    counted from the end. fastText's lines end in a blank, and its first one counts words and dimensions.
    Raises NaafError for a missing, empty, binary or malformed file.
    """
    found: dict[int, np.ndarray] = {}
    dim = 0
    with _lines(Path(path)) as lines:
        for number, line in enumerate(_short(lines, path), start=1):
            parts = line.rstrip(" \t\r\n").replace("\t", " ").split(" ")
            if not dim and len(parts) == 2:  # a word2vec header: counts and dimension
                continue
            dim = dim or len(parts) - 1
            _check_count(parts, dim, f"{shown(path)}, line {number}")
            word = " ".join(parts[:-dim])
            index = vocabulary.id.get(word)
            if index is None or index in found:
                continue
            try:
                found[index] = np.array(parts[-dim:], dtype=np.float32)
            except ValueError:
                raise NaafError(f"{shown(path)}, line {number}: not a word and {dim} numbers") from None
            if not np.isfinite(found[index]).all():
                raise NaafError(f"{shown(path)}, line {number}: a number is not finite; get the file again")
    if not found:
        raise NaafError(f"{shown(path)} holds no vector for any of the vocabulary's {len(vocabulary)} words")
    ids = np.array(sorted(found))
    return Vectors(ids, np.stack([found[index] for index in ids]))


def _check_count(parts: list[str], dim: int, place: str) -> None:
    """Raises NaafError for a line with fewer numbers than the first, or with more.

    A word may hold blanks, but no published one holds a number behind a blank.
    """
    surplus = parts[1:-dim] if len(parts) > dim + 1 else ()
    if len(parts) <= dim or any(is_number(part) for part in surplus):
        found = len(parts) - 1 if len(parts) <= dim else dim + sum(map(is_number, surplus))
        raise NaafError(f"{place}: {found} numbers, where the first line has {dim}; get the file again")


def _short(lines: io.TextIOBase, path: Path) -> Iterator[str]:
    """The lines. Raises NaafError for one that never ends: some packed kilobytes can hold gigabytes."""
    number = 1
    while line := lines.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise NaafError(
                f"{shown(path)}, line {number}: longer than {LONGEST_LINE:,} letters; no vector is"
            )
        yield line
        number += 1


@contextmanager
def _lines(path: Path) -> Iterator[io.TextIOBase]:
    check_regular(path, "GloVe files are at nlp.stanford.edu/projects/glove")
    with path.open("rb") as file:
        kind = {b"PK": "zip", b"\x1f\x8b": "gzip"}.get(file.peek(2)[:2], "text")
        try:
            with _unpacked(path, file, kind) as raw:
                if b"\0" in raw.peek(PEEKED)[:PEEKED]:
                    raise NaafError(
                        f"{shown(path)} holds binary vectors, and text is read (a word and its numbers a "
                        "line); take the .vec or .txt file of the same source, or write one with gensim's "
                        "save_word2vec_format(name, binary=False)"
                    )
                yield io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline="\n")
        except DAMAGED as error:
            raise NaafError(
                f"{shown(path)} is not a whole {kind} file that can be unpacked here ({first_line(error)}); "
                "download it again, or unpack it and name the text file"
            ) from None


def _unpacked(path: Path, file: io.BufferedReader, kind: str) -> Any:
    """The bytes of the text in the file."""
    if kind == "text":
        return file
    if kind == "gzip":
        return gzip.GzipFile(fileobj=file)
    archive = zipfile.ZipFile(file)
    inside = [name for name in archive.namelist() if name.endswith((".txt", ".vec"))]
    if not inside:
        raise NaafError(f"{shown(path)} holds no .txt or .vec file, which word vectors are read from")
    if len(inside) > 1:
        raise NaafError(f"{shown(path)} holds {len(inside)} .txt files; unpack it and name one")
    return archive.open(inside[0])
