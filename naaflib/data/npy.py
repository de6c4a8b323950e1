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
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import NaafError
from ..files import check_regular, shown

HEADERS = {  # 3.0 serves names of fields only, which no file of this layout has
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
NO_HEADER = (ValueError, EOFError, SyntaxError, TypeError, KeyError, tokenize.TokenError)
TOO_MUCH = (MemoryError, RecursionError, OverflowError)  # of Python's parser
RECONSTRUCT, SCALAR = np.empty(0, object).__reduce__()[0], np.float64(0).__reduce__()[0]
PLAIN = {  # what a pickle of plain data asks for: numpy's arrays, scalars and types; bytes of protocol 2
    **{(f"numpy.{core}.multiarray", "_reconstruct"): RECONSTRUCT for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): SCALAR for core in ("core", "_core")},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): lambda spec, *_: _simple_dtype(spec),
    ("_codecs", "encode"): lambda text, _encoding: text.encode("latin1"),
}


class Header(NamedTuple):
    """What a .npy file says of itself, and where its numbers begin."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype
    offset: int


def read_header(path: str | os.PathLike[str]) -> Header:
    """The header of a .npy file; a NaafError says what is wrong with it."""
    path = check_regular(Path(path), "get it again")
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy warns of headers that Python 2 wrote
            parts = HEADERS[np.lib.format.read_magic(stream)](stream)
            header = Header(*parts, stream.tell())
            if any(size < 0 for size in header.shape):
                raise ValueError("a negative size")
    except OSError as error:
        raise NaafError(f"{shown(path)}: cannot be read ({error.strerror or error})") from error
    except NO_HEADER + TOO_MUCH as error:
        raise NaafError(f"{shown(path)}: not a .npy file or its header is damaged; get it again") from error
    return header


def open_array(path: str | os.PathLike[str]) -> np.ndarray:
    """A numeric array, memory-mapped and read-only. A NaafError names the file and what is wrong with it."""
    path = Path(path)
    shape, fortran_order, dtype, offset = read_header(path)
    if dtype.hasobject or dtype.kind not in "fiu":
        raise NaafError(f"{shown(path)}: holds {dtype}, not plain numbers; save it as a numeric array")
    promised, there = offset + math.prod(shape) * dtype.itemsize, path.stat().st_size
    if there < promised:
        size = " x ".join(map(str, shape)) or "a single value"
        raise NaafError(
            f"{shown(path)}: cut short: its header promises {size} {dtype} = {promised:,} bytes, {there:,} "
            "are there; copy or download it again"
        )
    order = "F" if fortran_order else "C"
    if 0 in shape:
        return np.empty(shape, dtype, order)
    return np.memmap(path, dtype, mode="r", offset=offset, shape=shape, order=order)


def release(array: np.ndarray) -> None:
    """Give a memory map's pages back to the system: they are read again where they are needed again.

    A walk through 33 GB then needs one block.
    """
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)


def read_objects(path: str | os.PathLike[str]) -> list[Any]:
    """The elements of an object array that holds plain data only; any other pickle is refused unread."""
    path = Path(path)
    offset = read_header(path).offset  # says what is no file, before it is read
    content = io.BytesIO(path.read_bytes()[offset:])
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
        if (module, name) not in PLAIN:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not plain data")
        return PLAIN[module, name]


def _simple_dtype(spec: object) -> np.dtype:
    """A copy of its own: a pickle sets the byte order of what it gets, and numpy's originals are shared."""
    if not isinstance(spec, str) or not re.fullmatch(r"[<>|=]?[biufOSU]\d{1,4}", spec):
        raise pickle.UnpicklingError(f"it asks for the type {spec!r}, which is not plain data")
    return np.dtype(spec, copy=True)
