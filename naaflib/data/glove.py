"""GloVe vectors for the words of a vocabulary, from a `glove.*.txt` or its `.zip`."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import NaafError
from ..project import shown
from .vocabulary import Vocabulary


class Vectors(NamedTuple):
    """Vectors (found word, dim) and the ids of the words that have one."""

    ids: np.ndarray
    values: np.ndarray


def read_glove(path: Path, vocabulary: Vocabulary) -> Vectors:
    """The vectors of the vocabulary's words; a word that the file lacks is left out.

    A line is a word and its numbers; GloVe 840B holds a few words with a space, so the numbers are
    counted from the end. Raises NaafError for a missing, empty or malformed file.
    """
    found: dict[int, np.ndarray] = {}
    dim = 0
    with _lines(Path(path)) as lines:
        for number, line in enumerate(lines, start=1):
            parts = line.rstrip("\n").split(" ")
            if not dim:
                dim = len(parts) - 1
                if dim == 1:  # a word2vec header: counts and dimension
                    dim = 0
                    continue
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
            if len(found[index]) != dim:
                raise NaafError(
                    f"{shown(path)}, line {number}: {len(found[index])} numbers where others have {dim}"
                )
    if not found:
        raise NaafError(f"{shown(path)} holds no vector for any of the vocabulary's {len(vocabulary)} words")
    ids = np.array(sorted(found))
    return Vectors(ids, np.stack([found[index] for index in ids]))


@contextmanager
def _lines(path: Path) -> Iterator[io.TextIOBase]:
    if not path.is_file():
        raise NaafError(f"{shown(path)} is missing; GloVe files are at nlp.stanford.edu/projects/glove")
    if path.suffix != ".zip":
        with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
            yield lines
        return
    try:
        with zipfile.ZipFile(path) as archive:
            inside = [name for name in archive.namelist() if name.endswith(".txt")]
            if len(inside) != 1:
                raise NaafError(f"{shown(path)} holds {len(inside)} .txt files; unpack it and name one")
            with archive.open(inside[0]) as raw:
                yield io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline="\n")
    except zipfile.BadZipFile:
        raise NaafError(f"{shown(path)} is not a whole zip file; download it again") from None
