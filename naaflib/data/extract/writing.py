"""Pictures of a data set -> features and boxes of every split, in the layout; an interrupted one goes on."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from ...errors import NaafError, UsageError
from ...files import atomic_path, checksum, put, read_json, read_yaml, resolve, shown, write_json
from ...messages import progress_bar, say
from ..captions import read_picture_names
from ..manifest import (
    CAPTIONS_AN_IMAGE,
    OWN_MANIFEST,
    SPLITS,
    data_name,
    differing,
    find_manifest,
    layout_path,
    made_by,
)
from ..pictures import large_pictures, read_upright
from ..writing import regions_in_words
from .base import GRID, Extractor
from .registry import open_extractor

BATCH = 16
PLAN = "plan.json"


@dataclass(frozen=True)
class Extracted:
    """What was written."""

    folder: Path
    extractor: str
    splits: dict[str, int]
    regions: int
    dim: int
    dtype: str
    regions_an_image: np.ndarray  # (image,) of all splits; below `regions` where rows of zeros follow

    def __str__(self) -> str:
        sizes = ", ".join(f"{split} {images}" for split, images in self.splits.items())
        each = self.regions * self.dim * np.dtype(self.dtype).itemsize
        stored = f"{self.regions} regions x {self.dim} {self.dtype}, {each / 1000:.1f} kB an image"
        if self.regions_an_image.min() < self.regions:
            stored = f"regions an image: {regions_in_words(self.regions_an_image)}; with padding {stored}"
        return f"{shown(self.folder)}: {self.extractor}: images: {sizes}; {stored}"


def extract(
    folder: str | Path,
    features: str,
    *,
    grid: int = GRID,
    dtype: str = "float16",
    batch: int = BATCH,
    device: str = "cpu",
    min_score: float | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Extracted:
    """Write features, boxes and sizes of every split whose image names and pictures the folder has.

    features: an extractor by name (`registry`). grid: cells a side, for extractors that pool to a grid.
    dtype: float16 or float32. min_score: a detector keeps the regions that are at least so sure, and always
    the surest; rows of zeros follow. The files appear when all pictures of all splits are done; what an
    interrupted call did is kept in hidden folders, and the same call goes on from there. It describes again
    a picture whose bytes have changed since.
    The manifest records what made the features. Raises NaafError for a picture that cannot be read, by name,
    and where features of another extractor are there already, unless overwrite.
    """
    folder = resolve(folder)
    if dtype not in ("float16", "float32"):
        raise UsageError(f"features cannot be stored as {dtype!r}; choose float16 or float32")
    if batch < 1:
        raise UsageError("a batch holds at least one picture")
    splits = [split for split in SPLITS if layout_path(folder, split, "names").is_file()]
    if not splits or not (folder / "images").is_dir():
        raise NaafError(
            f"{shown(folder)} has no images/ and *_image_names.txt to describe; `naaf data import` makes them"
        )
    extractor = open_extractor(features, grid, device)
    if min_score is not None:
        extractor.keep_sure(min_score)
    made = {**extractor.record(), "grid": grid if features != "pixels" else None}
    _check_present(folder, splits, made, overwrite)
    found = {}
    with large_pictures():
        for split in splits:
            names = read_picture_names(layout_path(folder, split, "names"))
            found[split] = _extract_split(
                folder, split, names, extractor, {**made, "dtype": dtype}, batch, progress
            )
    _publish(folder, splits, made)
    sizes = {split: len(counts) for split, counts in found.items()}
    counts = np.concatenate([*found.values()])
    return Extracted(folder, features, sizes, extractor.regions, extractor.dim, dtype, counts)


def _check_present(folder: Path, splits: list[str], made: dict[str, object], overwrite: bool) -> None:
    there = [path for split in splits if (path := layout_path(folder, split, "features")).exists()]
    before = made_by(folder)
    if there and before != made and not overwrite:
        by = f"by {before['extractor']}" if before else "by another program"
        if before and before["extractor"] == made["extractor"]:
            by += f" with another {differing(before, made)}"
        raise NaafError(
            f"{shown(there[0])}: features made {by} are there; --overwrite replaces those of every split, or "
            "import the pictures into another folder"
        )


def _extract_split(
    folder: Path,
    split: str,
    names: list[str],
    extractor: Extractor,
    made: dict[str, object],
    batch: int,
    progress: bool,
) -> np.ndarray:
    """One split, in a hidden folder that tells how far it is. How many regions each image has."""
    arrays, goes_on = _opened(folder, split, names, extractor, made)
    seen = arrays["seen"]
    done = np.flatnonzero(seen.any(axis=1)) if goes_on else np.array([], int)
    changed = [row for row in done if not np.array_equal(seen[row], _digest(folder, names[row]))]
    if changed:
        first = names[changed[0]]
        say(f"{split}: {len(changed)} pictures have changed and are described again, {first} first")
        seen[changed] = 0
    rest = np.flatnonzero(~seen.any(axis=1))
    with progress_bar(
        total=len(names), initial=len(names) - len(rest), desc=split, unit="image", disable=not progress
    ) as bar:
        for start in range(0, len(rest), batch):
            rows = rest[start : start + batch]
            digests = [_digest(folder, names[row]) for row in rows]  # before the picture is read
            pictures = [_picture(folder, names[row]) for row in rows]
            found, boxes = extractor(pictures)
            with np.errstate(over="ignore"):
                values = found.astype(arrays["features"].dtype)
            if not np.isfinite(values).all():
                bad = rows[np.argwhere(~np.isfinite(values).all(axis=(1, 2)))[0, 0]]
                raise NaafError(f"{names[bad]}: features beyond {made['dtype']}; take --dtype float32")
            arrays["features"][rows], arrays["boxes"][rows] = values, boxes
            arrays["sizes"][rows] = [picture.size for picture in pictures]
            for array in arrays.values():
                array.flush()
            seen[rows] = digests  # last: what they speak of is on the disk
            seen.flush()
            bar.update(len(rows))
    return arrays["boxes"].any(axis=-1).sum(axis=1)


def _opened(
    folder: Path, split: str, names: list[str], extractor: Extractor, made: dict[str, object]
) -> tuple[dict[str, np.memmap], bool]:
    """The arrays of a split in its hidden folder, and whether they are those that an equal call began.

    seen: the SHA-256 of each picture that is described, else zeros.
    """
    work = _work(folder, split)
    plan = json.loads(json.dumps({"made": made, "images": names}))
    shape = (len(names), extractor.regions)
    kinds = {
        "features": (np.dtype(str(made["dtype"])), (*shape, extractor.dim)),
        "boxes": (np.dtype("float32"), (*shape, 4)),
        "sizes": (np.dtype("int32"), (len(names), 2)),
        "seen": (np.dtype("uint8"), (len(names), 32)),
    }
    goes_on = (work / PLAN).is_file() and read_json(work / PLAN) == plan
    if not goes_on:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        needed = sum(kind.itemsize * int(np.prod(size)) for kind, size in kinds.values())
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise NaafError(
                f"{shown(folder)}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} are free; make room"
            )
    arrays = {
        role: np.lib.format.open_memmap(
            work / "seen.npy" if role == "seen" else layout_path(work, split, role),
            mode="r+" if goes_on else "w+",
            dtype=kind,
            shape=size,
        )
        for role, (kind, size) in kinds.items()
    }
    if not goes_on:
        write_json(work / PLAN, plan)  # last: with it the arrays are there
    return arrays, goes_on


def _digest(folder: Path, name: str) -> np.ndarray:
    """The SHA-256 of a picture's file; zeros of one that cannot be read, which `_picture` names."""
    try:
        return np.frombuffer(bytes.fromhex(checksum(folder / "images" / name)), np.uint8)
    except OSError:
        return np.zeros(32, np.uint8)


def _publish(folder: Path, splits: list[str], made: dict[str, object]) -> None:
    """All splits and the record of what made them, once all are whole: two extractors never mix."""
    own = folder / OWN_MANIFEST
    known = find_manifest(folder)
    per_image = known.captions_per_image if known else CAPTIONS_AN_IMAGE
    before = read_yaml(own) if own.is_file() else {"name": data_name(folder), "captions_per_image": per_image}
    for split in splits:
        for role in ("sizes", "boxes", "features"):  # features last: with them the split is there
            put(layout_path(_work(folder, split), split, role), layout_path(folder, split, role))
        shutil.rmtree(_work(folder, split))
    with atomic_path(own) as partial:
        content = {**before, "features": made} if isinstance(before, dict) else {"features": made}
        partial.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _work(folder: Path, split: str) -> Path:
    return folder / f".{split}-features"


def _picture(folder: Path, name: str) -> Image.Image:
    path = folder / "images" / name
    try:
        return read_upright(path)
    except ValueError as error:
        raise NaafError(f"{shown(path)}: {error}; replace the picture, or import again without it") from None
