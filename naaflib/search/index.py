"""An index: a folder of parts, each a split encoded by one model, in float16 and memory-mapped.

A part holds images.npy (image, region, dim), words.npy (word, dim) with lengths.npy (caption,), captions.txt,
names.txt, and the first stage's vectors, stage.images.npy and stage.words.npy. part.json is written last.
"""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..data.splits import Split, evaluation_split, open_split
from ..data.writing import write_lines
from ..errors import NaafError, UsageError
from ..evaluation.evaluate import check_extractor, check_regions
from ..files import fingerprint, missing, read_json, resolve, shown, write_json
from ..messages import progress_bar
from ..model.checkpoint import data_folder, load_checkpoint, one_member
from ..model.model import Model
from ..runs import Run
from .candidates import first_stage

BLOCK = 200  # images encoded between two marks of progress
INDEX, PART = "index.json", "part.json"
FORMAT = 1


@dataclass(frozen=True)
class Part:
    """A split in the index. images (N, R, D), words (W, D), float16; lengths (C,)."""

    folder: Path
    data: Path
    split: str
    captions_per_image: int

    def array(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")

    @cached_property
    def images(self) -> np.ndarray:
        return self.array("images")

    @cached_property
    def words(self) -> np.ndarray:
        return self.array("words")

    @cached_property
    def lengths(self) -> np.ndarray:
        return self.array("lengths")

    def lines(self, name: str) -> list[str]:
        return (self.folder / f"{name}.txt").read_text(encoding="utf-8").split("\n")[:-1]


class Index:
    """Parts of one model."""

    def __init__(self, folder: Path, record: dict[str, Any], parts: Sequence[Part]) -> None:
        self.folder, self.record, self.parts = folder, record, list(parts)

    @classmethod
    def open(cls, folder: str | Path) -> "Index":
        """Raises NaafError for a folder that is no index, is damaged, or was made by another format."""
        folder = resolve(folder)
        if not folder.is_dir():
            raise NaafError(f"{missing(folder)}; `naaf index RUN --out {shown(folder)}` makes it")
        record = read_json(folder / INDEX, f"{shown(folder)} is no index; `naaf index` makes one")
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise NaafError(f"{shown(folder / INDEX)}: not an index that this version reads; make it again")
        parts = []
        for path in sorted(folder.glob(f"parts/*/{PART}")):
            about = read_json(path, damaged="remove this part's folder and add it again")
            for name, seen in about["files"].items():
                file = path.parent / name
                if not file.is_file() or fingerprint(file) != seen:
                    state = "is missing" if not file.is_file() else "is not the file that was written"
                    raise NaafError(f"{shown(file)} {state}; remove {shown(path.parent)} and add it again")
            parts.append(Part(path.parent, Path(about["data"]), about["split"], about["captions_per_image"]))
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
                f"{shown(self.folder)} was made by {path}, which is not there any more; make it anew"
            )
        if fingerprint(path) != self.record["fingerprint"]:
            raise NaafError(
                f"{shown(path)} has changed since {shown(self.folder)} was made; make the index again"
            )
        return load_checkpoint(path)

    def __str__(self) -> str:
        each = self.bytes / max(self.images, 1) / 1000
        return (
            f"{shown(self.folder)}: {self.images} images and {self.captions} captions in "
            f"{len(self.parts)} {'part' if len(self.parts) == 1 else 'parts'}, "
            f"{self.bytes / 1e6:.1f} MB, {each:.1f} kB an image with its captions"
        )


def build_index(
    source: Run | str | Path,
    data: str | Path | None = None,
    *,
    out: str | Path,
    split: str | None = None,
    stage: str = "cells",
    progress: bool = False,
) -> Index:
    """Encode a split and add it to the index `out`, which is made where it is not there.

    source: a run, its folder or a checkpoint. data: the data set; None: the one that the run records. split:
    None: test, else dev. stage: vectors of the first stage, "cells" or "mean". An interrupted call goes on.
    Raises NaafError for an index of another model, and for a split that is in it already.
    """
    path = source.path if isinstance(source, Run) else resolve(source)
    run = one_member(path) if path.is_dir() else None
    checkpoint = run.checkpoint() if run else path
    model = load_checkpoint(run.path if run else checkpoint)
    folder = data_folder(run or checkpoint, data)
    opened = open_split(folder, split or evaluation_split(folder), without_captions=True)
    check_regions(opened, model)
    check_extractor(run, opened.folder)
    out = resolve(out)
    record = {
        "format": FORMAT,
        "checkpoint": str(checkpoint.resolve()),
        "fingerprint": fingerprint(checkpoint),
        "method": model.settings.method,
        "dim": model.settings.dim,
        "stage": stage,
    }
    first_stage(stage, model.settings.dim)
    if (out / INDEX).is_file():
        before = read_json(out / INDEX, damaged="remove it and make the index again")
        if before["fingerprint"] != record["fingerprint"] or before["stage"] != stage:
            raise NaafError(
                f"{shown(out)} is an index of another model or first stage; give --out another folder"
            )
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise NaafError(f"{shown(out)} is neither an index nor an empty folder; give --out another one")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / INDEX, record)
    _add(out, opened, model, stage, progress)
    return Index.open(out)


def _add(out: Path, split: Split, model: Model, stage: str, progress: bool) -> None:
    about = {
        "data": str(split.folder),
        "split": split.name,
        "captions_per_image": split.captions_per_image,
        "captions": fingerprint(split.captions_path) if split.captions else None,
        "features": fingerprint(split.regions.path),
    }
    known = [read_json(path) for path in out.glob(f"parts/*/{PART}")]
    if any(all(one[key] == about[key] for key in ("captions", "features")) for one in known):
        raise UsageError(f"{shown(split.folder)}, {split.name} is in {shown(out)} already")
    work = out / ".part"
    state = work / "state.json"
    before = read_json(state) if state.is_file() else {}
    goes_on = before.get("about") == about
    if not goes_on:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    encoder = first_stage(stage, model.settings.dim)
    with torch.no_grad():
        one = encoder.of_words(torch.zeros(1, 1, model.settings.dim)).shape[1]
    ids = [model.text_encoder.ids(caption) for caption in split.captions]
    lengths = np.array([len(row) for row in ids], np.int64)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    images, per_image, dim = len(split), split.captions_per_image, model.settings.dim
    shapes = {
        "images": (images, split.regions.shape[1], dim),
        "words": (int(ends[-1]), dim),
        "stage.images": (images, one),
        "stage.words": (len(ids), one),
    }
    arrays = {
        name: np.lib.format.open_memmap(
            work / f"{name}.npy", mode="r+" if goes_on else "w+", dtype=np.float16, shape=shape
        )
        for name, shape in shapes.items()
    }
    first = int(before["done"]) if goes_on else 0
    with (
        torch.no_grad(),
        progress_bar(total=images, initial=first, desc="encoding", unit="image", disable=not progress) as bar,
    ):
        for start in range(first, images, BLOCK):
            rows = slice(start, min(start + BLOCK, images))
            regions = model.encode_images(
                torch.from_numpy(split.regions.gather(np.arange(rows.start, rows.stop)))
            )
            arrays["images"][rows] = regions.numpy()
            arrays["stage.images"][rows] = encoder.of_regions(regions).numpy()
            own = slice(rows.start * per_image, rows.stop * per_image)
            if per_image:
                states, there = model.encode_texts(split.captions[own])
                packed = np.concatenate(
                    [row[:length] for row, length in zip(states.numpy(), there.tolist(), strict=True)]
                )
                arrays["words"][ends[own.start] : ends[own.stop]] = packed
                arrays["stage.words"][own] = encoder.of_words(states).numpy()
            for array in arrays.values():
                array.flush()
            split.regions.release()
            write_json(state, {"about": about, "done": rows.stop})
            bar.update(rows.stop - rows.start)
    del arrays
    np.save(work / "lengths.npy", lengths)
    for name, lines in (
        ("captions", split.captions),
        ("names", [split.image_name(i) for i in range(images)]),
    ):
        write_lines(work / f"{name}.txt", lines)
    state.unlink()
    files = {path.name: fingerprint(path) for path in sorted(work.iterdir())}
    write_json(work / PART, {**about, "files": files})
    place = out / "parts" / f"{len(known):04d}"
    place.parent.mkdir(exist_ok=True)
    os.replace(work, place)
