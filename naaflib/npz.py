"""Reading .npz files that may be damaged, encrypted or decompression bombs: arrays or one sentence."""

import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from .errors import NaafError, first_line
from .files import check_regular, shown

DAMAGED = (  # of zip and gzip; RuntimeError: encrypted, NotImplementedError: packed by another method
    zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError,
    RuntimeError, NotImplementedError,
)  # fmt: skip
MOST_BYTES = 2**35


def read_npz(path: Path, pick: Callable[[list[str]], str], most: int = MOST_BYTES) -> np.ndarray:
    """One array of an .npz, read whole. pick: which, of the names there are. Raises as `read_arrays`."""
    (array,) = read_arrays(path, lambda names: [pick(names)], most).values()
    return array


def read_arrays(
    path: Path, pick: Callable[[list[str]], Iterable[str]], most: int = MOST_BYTES, remedy: str = ""
) -> dict[str, np.ndarray]:
    """Arrays of an .npz by their names, read whole. pick: which, of the names there are. remedy: what to do
    where they cannot be read; by default to save them again.

    Raises NaafError for a file that is damaged, encrypted or packed in a way that Python does not unpack,
    that holds objects, or one of whose arrays takes more than `most` bytes, as that of a decompression bomb.
    """
    check_regular(path, remedy)
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in archive.infolist()}
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            found = {}
            for name in pick(file.files):
                if sizes[name] > most:
                    raise NaafError(
                        f"{shown(path)}: {name} takes {sizes[name] / 2**30:.1f} GiB, more than "
                        f"{most / 2**30:.2g}; {remedy or 'save it as .npy, which is not read whole'}"
                    )
                found[name] = file[name]
            return found
    except (*DAMAGED, OSError, ValueError, KeyError, TypeError, MemoryError, SyntaxError) as error:
        if isinstance(error, NaafError):
            raise
        raise NaafError(
            f"{shown(path)} is not a whole .npz of numbers ({first_line(error)}); {remedy or 'save it again'}"
        ) from None
