"""An index: a folder of parts, each a split encoded by one model, in float16 and memory-mapped.

A part holds images.npy (image, region, dim), words.npy (word, dim) with lengths.npy (caption,), captions.txt,
names.txt, and the first stage's vectors, stage.images.npy and stage.words.npy. part.json is written last.
`building` writes an index; here it is opened.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NaafError
from ..files import fingerprint, leaves, missing, read_json, read_object, resolve, shown
from ..model.checkpoint import load_checkpoint
from ..model.model import Model

INDEX, PART, STAGE = "index.json", "part.json", "stage.npy"
FORMAT = 2
DAMAGED = "remove this part's folder and index its split again"


@dataclass(frozen=True)
class Part:
    """A split in the index. images (N, R, D), words (W, D), float16; lengths (C,)."""

    folder: Path
    data: Path
    split: str
    captions_per_image: int
    features: dict[str, str | int | float | None] | None  # what made them, where that is recorded
    features_seen: dict[str, Any]  # the fingerprint of their file

    @classmethod
    def open(cls, path: Path) -> "Part":
        """Raises NaafError where a file of the part is not the one that was written."""
        about = read_part(path)
        remedy = f"index {about['data']}, {about['split']} again (naaf index), which replaces this part"
        for name, seen in about["files"].items():
            if leaves(name):
                raise NaafError(f"{shown(path)}: {name!r} leads out of the folder; {DAMAGED}")
            check_file(path.parent / name, seen, remedy)
        own = (about[key] for key in ("split", "captions_per_image", "made_by", "features"))
        return cls(path.parent, Path(about["data"]), *own)

    def array(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="c")  # torch takes no read-only array

    @cached_property
    def images(self) -> np.ndarray:
        return self.array("images")

    @cached_property
    def words(self) -> np.ndarray:
        return self.array("words")

    @cached_property
    def lengths(self) -> np.ndarray:
        return np.load(self.folder / "lengths.npy")

    @cached_property
    def starts(self) -> np.ndarray:
        """The first word (C,) of each caption."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def stage_images(self) -> np.ndarray:
        return self.array("stage.images")

    @cached_property
    def stage_words(self) -> np.ndarray:
        return self.array("stage.words")

    @cached_property
    def names(self) -> list[str]:
        names = self._lines("names")
        if wrong := next(filter(leaves, names), None):
            raise NaafError(f"{shown(self.folder)}: the picture {wrong!r} leads out of images/; {DAMAGED}")
        return names

    @cached_property
    def captions(self) -> list[str]:
        return self._lines("captions")

    def _lines(self, name: str) -> list[str]:
        return (self.folder / f"{name}.txt").read_text(encoding="utf-8").split("\n")[:-1]


class Index:
    """Parts of one model."""

    def __init__(self, folder: Path, record: dict[str, Any], parts: Sequence[Part]) -> None:
        self.folder, self.record, self.parts = folder, record, list(parts)
        self.learnt = read_learnt(folder, record)

    @classmethod
    def open(cls, folder: str | Path) -> "Index":
        """Raises NaafError for a folder that is no index, is damaged, or was made by another format."""
        folder = resolve(folder)
        if folder.is_file():
            raise NaafError(f"{shown(folder)} is a file; an index is a folder that naaf index wrote")
        if not folder.is_dir():
            raise NaafError(f"{missing(folder)}; `naaf index RUN --out {shown(folder)}` makes it")
        record = read_record(folder)
        parts = [Part.open(path) for path in sorted(folder.glob(f"parts/*/{PART}"))]
        if not parts:
            raise NaafError(f"{shown(folder)} has no whole part; run naaf index again, it goes on")
        return cls(folder, record, parts)

    @property
    def images(self) -> int:
        return sum(len(part.images) for part in self.parts)

    @property
    def captions(self) -> int:
        return sum(len(part.lengths) for part in self.parts)

    @property
    def bytes(self) -> int:
        return sum(file.stat().st_size for part in self.parts for file in part.folder.iterdir())

    def model(self) -> Model:
        """The model that made the index. Raises NaafError where its checkpoint is another one now."""
        path = Path(self.record["checkpoint"])
        if not path.is_file():
            raise NaafError(
                f"{shown(self.folder)} was made by {path}, which is not there any more; move the run back "
                "there, or make the index anew"
            )
        if fingerprint(path) != self.record["fingerprint"]:
            raise NaafError(
                f"{shown(path)} has changed since {shown(self.folder)} was made; make the index again"
            )
        return load_checkpoint(path)

    def __str__(self) -> str:
        each = self.bytes / max(self.images, 1) / 1000
        count, own = f"and {self.captions} captions", " with its captions"
        if not self.captions:
            count, own = "without captions", ""
        return (
            f"{shown(self.folder)}: {self.images} images {count} in "
            f"{len(self.parts)} {'part' if len(self.parts) == 1 else 'parts'}, "
            f"{self.bytes / 1e6:.1f} MB, {each:.1f} kB an image{own}"
        )


def read_part(path: Path) -> dict[str, Any]:
    """What part.json says. Raises NaafError where it is damaged."""
    needed = ("data", "split", "captions_per_image", "made_by", "features", "captions", "files")
    about = read_object(path, needed, damaged=DAMAGED)
    if not isinstance(about["data"], str) or not isinstance(about["files"], dict):
        raise NaafError(f"{shown(path)} is not a part of an index; {DAMAGED}")
    return about


def read_record(folder: Path) -> dict[str, Any]:
    """What index.json says. Raises NaafError where it is missing, damaged or of another format."""
    record = read_json(
        folder / INDEX,
        f"{shown(folder)} is no index; `naaf index` makes one",
        damaged="remove it and make the index again",
    )
    needed = {"checkpoint", "fingerprint", "learnt"}
    if not isinstance(record, dict) or record.get("format") != FORMAT or not needed <= set(record):
        raise NaafError(f"{shown(folder / INDEX)}: not an index that this version reads; make it again")
    return record


def read_learnt(folder: Path, record: dict[str, Any]) -> np.ndarray | None:
    """What the first stage learnt, in stage.npy; None: nothing. Raises NaafError where it is damaged."""
    if record["learnt"] is None:
        return None
    check_file(folder / STAGE, record["learnt"], f"make {shown(folder)} again")
    return np.load(folder / STAGE)


def check_file(file: Path, seen: dict[str, object], remedy: str) -> None:
    if not file.is_file() or fingerprint(file) != seen:
        state = "is missing" if not file.is_file() else "is not the file that was written"
        raise NaafError(f"{shown(file)} {state}; {remedy}")
