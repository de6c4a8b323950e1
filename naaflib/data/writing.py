"""New files of the SCAN layout: written in a temporary folder and moved when they are whole."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from ..errors import NaafError
from ..files import shown
from .manifest import CAPTIONS_AN_IMAGE, OWN_MANIFEST, find_manifest, layout_path, own_manifest


@contextmanager
def temporary_folder(place: Path, wanted: Path) -> Iterator[Path]:
    """A folder in `place` that vanishes at the end. An OSError becomes a sentence on the wanted folder."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        name = f".{wanted.name}."
        with tempfile.TemporaryDirectory(prefix=name, dir=place, ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)
    except OSError as error:
        reason = error.strerror or error
        raise NaafError(f"{shown(wanted)} cannot be written ({reason}); choose another place") from error


def create_arrays(
    folder: Path, split: str, images: int, regions: int, dim: int, dtype: DTypeLike
) -> dict[str, np.memmap]:
    """To be filled: features (image, region, dim) of the type, boxes (image, region, 4), sizes (image, 2)."""
    kinds = {"features": ((regions, dim), dtype), "boxes": ((regions, 4), "<f4"), "sizes": ((2,), "<i4")}
    return {
        role: np.lib.format.open_memmap(layout_path(folder, split, role), "w+", kind, (images, *shape))
        for role, (shape, kind) in kinds.items()
    }


def regions_in_words(counts: np.ndarray) -> str:
    """How many regions images have: "36" where all have as many, else "10 to 100 (mean 36.2)"."""
    if counts.min() == counts.max():
        return str(counts.max())
    return f"{counts.min()} to {counts.max()} (mean {counts.mean():.1f})"


def write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def state_captions(folder: Path, captions_per_image: int) -> None:
    """Another number of captions than five must be written down, or the split cannot be read."""
    if captions_per_image != CAPTIONS_AN_IMAGE and find_manifest(folder) is None:
        write_lines(folder / OWN_MANIFEST, [own_manifest(folder, captions_per_image)])
