"""Reading .npy files that may be damaged: a memory map or one sentence, and pickles only of plain data.

numpy's own reader reports damage in many ways and needs `allow_pickle=True`, which runs whatever a file
says, for arrays of objects. Here an object array may consist of numbers, texts, lists and dicts only.
"""

import io
import math
import mmap
import os
import pickle
import re
import tokenize
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..errors import NaafError
from ..files import shown


@dataclass(frozen=True)
class Header:
    """What a .npy file says of itself, and how many bytes there really are."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool
    offset: int
    file_size: int

    @property
    def promised_size(self) -> int:
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def describe(self) -> str:
        return f"{' x '.join(map(str, self.shape)) or 'a single value'} {self.dtype}"


def read_header(path: str | os.PathLike[str]) -> Header:
    """The header of a .npy file; a NaafError says what is wrong with it."""
    path = Path(path)
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of headers that Python 2 wrote
            shape, fortran_order, dtype = _parse_header(stream)
            header = Header(shape, dtype, fortran_order, stream.tell(), path.stat().st_size)
    except OSError as error:
        raise NaafError(f"{shown(path)}: cannot be read ({error.strerror or error})") from error
    except (ValueError, EOFError, SyntaxError, TypeError, KeyError, tokenize.TokenError) as error:
        raise NaafError(f"{shown(path)}: not a .npy file or its header is damaged; get it again") from error
    except (MemoryError, RecursionError, OverflowError) as error:
        raise NaafError(f"{shown(path)}: the header of this .npy file is damaged; get it again") from error
    if any(size < 0 for size in shape):
        raise NaafError(f"{shown(path)}: its header holds a negative size {shape}; get it again")
    return header


def _parse_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError("version 3.0 serves field names only, which no file of this layout has")


def open_array(path: str | os.PathLike[str]) -> np.ndarray:
    """A numeric array, memory-mapped and read-only. A NaafError names the file and what is wrong with it."""
    path = Path(path)
    header = read_header(path)
    if header.dtype.hasobject or header.dtype.kind not in "fiu":
        raise NaafError(f"{shown(path)}: holds {header.dtype}, not plain numbers; save it as a numeric array")
    if header.file_size < header.promised_size:
        raise NaafError(
            f"{shown(path)}: cut short: its header promises {header.describe()} ="
            f" {header.promised_size:,} bytes, {header.file_size:,} are there; copy or download it again"
        )
    order = "F" if header.fortran_order else "C"
    if 0 in header.shape:
        return np.empty(header.shape, header.dtype, order)
    return np.memmap(path, header.dtype, mode="r", offset=header.offset, shape=header.shape, order=order)


def release(array: np.ndarray) -> None:
    """Give the pages of a memory map back to the system: a walk through 33 GB then needs one block."""
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)


def read_objects(path: str | os.PathLike[str]) -> list[Any]:
    """The elements of an object array that holds plain data only; any other pickle is refused unread."""
    path = Path(path)
    header = read_header(path)
    if not header.dtype.hasobject:
        raise NaafError(f"{shown(path)}: holds {header.describe()}, where Python objects were expected")
    with path.open("rb") as stream:
        stream.seek(header.offset)
        content = io.BytesIO(stream.read())
    try:
        array = _PlainUnpickler(content, encoding="latin1").load()  # latin1: files that Python 2 wrote
    except Exception as error:  # a damaged pickle may raise anything, as pickle's documentation says
        reason = str(error) if isinstance(error, pickle.UnpicklingError) else "damaged"
        raise NaafError(f"{shown(path)}: its Python objects cannot be read ({reason})") from error
    if not isinstance(array, np.ndarray) or array.dtype != object:
        raise NaafError(f"{shown(path)}: does not hold the array that its header promises; get it again")
    return list(array) if array.ndim else [array.item()]


class _PlainUnpickler(pickle.Unpickler):
    """Rebuilds numpy arrays and scalars of simple types; dicts, lists, texts and numbers ask for nothing."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray"):
            if name == "_reconstruct":
                return np.empty(0, object).__reduce__()[0]
            if name == "scalar":
                return np.float64(0).__reduce__()[0]
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return lambda spec, *_: _simple_dtype(spec)
        if (module, name) == ("_codecs", "encode"):  # how protocol 2 writes bytes
            return lambda text, _encoding: text.encode("latin1")
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not plain data")


def _simple_dtype(spec: object) -> np.dtype:
    """A copy of its own: a pickle sets the byte order of what it gets, and numpy's originals are shared."""
    if not isinstance(spec, str) or not re.fullmatch(r"[<>|=]?[biufOSU]\d{1,4}", spec):
        raise pickle.UnpicklingError(f"it asks for the type {spec!r}, which is not plain data")
    return np.dtype(spec, copy=True)
