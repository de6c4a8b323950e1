"""Score matrices in files: .npy, .npz, PyTorch tensors (.pt, .pth), HDF5. No code that a file carries is run.

.npy, .pt and HDF5 are read block by block, so they may be larger than memory; an .npz is read whole.
"""

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...data.npy import open_array
from ...errors import NaafError, UsageError, first_line
from ...files import missing, shown
from ...npz import read_npz


class Source(NamedTuple):
    """Numbers on two axes that blocks are read from, and what makes a block of them real numbers."""

    array: Any  # numpy array, memory map or HDF5 data set
    decode: Callable[[np.ndarray], np.ndarray] | None = None  # of types that numpy lacks

    @property
    def kind(self) -> str:
        """The type of a number, for a person."""
        return "bfloat16" if self.decode else str(self.array.dtype)


def check_path(path: Path) -> None:
    """Raises NaafError for what is no file, UsageError for an unknown ending."""
    if path.is_dir():
        raise NaafError(f"{shown(path)} is not a file but a folder; a run's scores are in scores/SPLIT.npy")
    if path.suffix.lower() not in READERS:
        raise UsageError(
            f"{shown(path)}: scores are read from {', '.join(READERS)}; save them as one of these"
        )


def open_source(path: Path, key: str | None = None) -> Source:
    """The matrix in a file. key: its name, where the file holds several arrays.

    Raises UsageError for an unknown ending and for a key that is wrong or has to be given, NaafError for a
    file that is missing, damaged, or holds no numbers on two axes.
    """
    check_path(path)
    if not path.is_file():
        what = f"{shown(path)} is not a file" if path.exists() else missing(path)
        raise NaafError(f"{what}; name the file of a score matrix")
    return READERS[path.suffix.lower()](path, key)


def _npy(path: Path, key: str | None) -> Source:
    _no_key(path, key)
    return checked(path, open_array(path))


def _npz(path: Path, key: str | None) -> Source:
    return checked(path, read_npz(path, lambda names: _pick(path, dict(zip(names, names, strict=True)), key)))


def _tensor(path: Path, key: str | None) -> Source:
    import torch

    def load(mmap: bool) -> Any:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)

    try:
        try:
            content = load(True)
        except RuntimeError:  # written by an old torch: not a zip, so it cannot be mapped
            content = load(False)
    except pickle.UnpicklingError:
        raise NaafError(
            f"{shown(path)} asks to run code, which is refused; save the tensor alone: "
            "torch.save(scores.cpu(), FILE)"
        ) from None
    except Exception:  # a damaged pickle may raise anything
        raise NaafError(f"{shown(path)} is not a whole file of tensors; save it again") from None
    if isinstance(content, Mapping):
        content = _pick(
            path, {str(name): one for name, one in content.items() if hasattr(one, "layout")}, key
        )
    else:
        _no_key(path, key)
    if not isinstance(content, torch.Tensor) or content.layout != torch.strided or content.is_quantized:
        raise NaafError(f"{shown(path)} holds no plain tensor; save it by torch.save(scores.cpu(), FILE)")
    content = content.detach().resolve_conj().resolve_neg()
    if content.dtype == torch.bfloat16:
        return checked(path, content.view(torch.int16).numpy(), bfloat16)
    return checked(path, content.numpy())


def bfloat16(bits: np.ndarray) -> np.ndarray:
    """bfloat16 numbers, given as their 16 bits, as float32: the same bits with 16 zeros behind them."""
    return (bits.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


def _hdf5(path: Path, key: str | None) -> Source:
    try:
        import h5py
    except ImportError:
        raise NaafError(
            f"{shown(path)}: HDF5 files need the package h5py; pip install 'naaflib[hdf5]', or save the "
            "scores as .npy"
        ) from None
    try:
        file = h5py.File(path, "r")
        found: dict[str, Any] = {}
        file.visititems(
            lambda name, item: found.update({name: item} if isinstance(item, h5py.Dataset) else {})
        )
        chosen = file[key] if key in found else _pick(path, found, key)
    except NaafError:
        raise
    except (OSError, RuntimeError, KeyError) as error:
        raise NaafError(
            f"{shown(path)} is not a whole HDF5 file ({first_line(error)}); save it again"
        ) from None
    return checked(path, chosen)


READERS: dict[str, Callable[[Path, str | None], Source]] = {
    ".npy": _npy,
    ".npz": _npz,
    **dict.fromkeys((".pt", ".pth"), _tensor),
    **dict.fromkeys((".h5", ".hdf5"), _hdf5),
}


def _no_key(path: Path, key: str | None) -> None:
    if key is not None:
        raise UsageError(f"{shown(path)} holds one array without a name; leave the key {key!r} out")


def _pick(path: Path, arrays: Mapping[str, Any], key: str | None) -> Any:
    """The array of that name, or the only one."""
    names = ", ".join(arrays) or "none"
    if key is not None and key not in arrays:
        raise UsageError(f"{shown(path)} holds no array {key!r}; its arrays: {names}")
    if key is None and len(arrays) != 1:
        raise UsageError(f"{shown(path)} holds {len(arrays)} arrays ({names}); name one with --key")
    return arrays[key] if key is not None else next(iter(arrays.values()))


def checked(name: Any, array: Any, decode: Callable[[np.ndarray], np.ndarray] | None = None) -> Source:
    """Raises NaafError for what is no matrix of numbers; name: the file, or what else holds it."""
    name = shown(name) if isinstance(name, Path) else name
    if array.dtype.kind not in "fiu":
        raise NaafError(f"{name} holds {array.dtype}, not plain numbers; save it as float32")
    if array.ndim != 2 or 0 in array.shape:
        shape = " x ".join(map(str, array.shape)) or "a single value"
        raise NaafError(f"{name} holds {shape}; a score matrix is images x captions")
    return Source(array, decode)
