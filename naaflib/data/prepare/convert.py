"""Bottom-up-attention TSV files and captions -> the SCAN layout, streaming: one image in memory at a time.

The TSV columns: image_id, image_w, image_h, num_boxes, boxes, features; the last two are base64 of
little-endian float32, (num_boxes, 4) as x1, y1, x2, y2 in pixels and (num_boxes, dim).

Own images need no TSV. The layout is what any region detector or a grid of a vision network can write:
`{split}_ims.npy`, an array (images, regions, dim) of float32 or float16 with as many regions for every
image, and `{split}_caps.txt` with five consecutive lines an image, none of them empty (another number goes
into the folder's manifest.yaml: `{name: mine, captions_per_image: 1}`). For maps over the pictures add
`{split}_ims_bbx.npy` (images, regions, 4), `{split}_ims_size.npy` (images, 2: width, height),
`{split}_image_names.txt` and the pictures themselves in images/. `naaf data verify` checks the result.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import yaml
from tqdm import tqdm

from ...errors import NaafError, UsageError
from ...files import shown
from ..manifest import CAPTIONS_AN_IMAGE, OWN_MANIFEST, SPLITS, find_manifest, layout_path
from .caption_tables import CaptionedImage, read_captioned_images
from .matches import Matches
from .tsv import RegionRow, long_fields, read_rows

ROLES = ("features", "boxes", "sizes", "names", "captions")
FIELD_REGIONS = 36  # what every published file of the SCAN layout has


@dataclass(frozen=True)
class Converted:
    """What was written, and what the TSV files held besides."""

    folder: Path
    split: str
    images: int
    captions: int
    regions: int
    dim: int
    duplicates: int

    def __str__(self) -> str:
        size = f"{self.images} images x {self.regions} regions x {self.dim}"
        text = f"{shown(self.folder)}: {self.split}: {size}, {self.captions} captions"
        again = f"; {self.duplicates} rows of an image that had come before were passed over"
        return text + (again if self.duplicates else "")


def convert_tsv(
    tsv_files: Sequence[str | os.PathLike[str]],
    captions: str | os.PathLike[str],
    out: str | os.PathLike[str],
    split: str,
    *,
    captions_per_image: int = 5,
    regions: int | None = None,
    dtype: str = "float32",
    images: str | os.PathLike[str] | None = None,
    source_splits: Sequence[str] | None = None,
    id_field: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Converted:
    """Write one split in the order of its captions: features, boxes, sizes, image names, captions.

    captions: Karpathy's dataset_*.json, or a table with a line a caption (image, tab or comma, caption).
    images: a file with an image name a line, which selects and orders (official split lists).
    regions: keep the first so many of each image and refuse fewer; None demands 36 of each.
    source_splits, id_field: other split names, another id field in Karpathy's file (imgid, for instance).

    A row belongs to the image whose id it has exactly; else to the one that its id is a shortened or
    lengthened form of (`image_ids`). An image that comes twice keeps its first whole row. Nothing is
    overwritten unless asked, and the split's files appear only when all are whole. Raises NaafError, which
    names image and line.
    """
    sources, out = [Path(tsv) for tsv in tsv_files], Path(out)
    _check_request(sources, split, dtype, regions, captions_per_image)
    _check_folder(out, split, captions_per_image, overwrite)
    wanted = read_captioned_images(
        Path(captions),
        split,
        captions_per_image=captions_per_image,
        images=None if images is None else Path(images),
        source_splits=source_splits,
        id_field=id_field,
    )
    with _unfinished_files(out, split) as temporary:
        writer = _Writer(temporary, split, wanted, np.dtype(dtype), regions)
        matches = Matches(wanted, Path(captions), id_field)
        _fill(writer, sources, matches, progress)
        writer.finish()
        for role in ROLES:
            os.replace(layout_path(temporary, split, role), layout_path(out, split, role))
    _write_manifest(out, captions_per_image)
    kept, dim = writer.shape
    return Converted(out, split, len(wanted), len(wanted) * captions_per_image, kept, dim, matches.duplicates)


def _check_request(
    sources: list[Path], split: str, dtype: str, regions: int | None, captions_per_image: int
) -> None:
    if split not in SPLITS:
        raise UsageError(f"no split is called {split!r}; the layout has {', '.join(SPLITS)}")
    if dtype not in ("float32", "float16"):
        raise UsageError(f"features cannot be stored as {dtype!r}; choose float32 or float16")
    if captions_per_image < 1 or (regions is not None and regions < 1):
        raise UsageError("captions an image and regions must be at least 1")
    if not sources:
        raise UsageError("no TSV file was named; name at least one")
    for source in sources:
        if not source.is_file():
            raise NaafError(f"{shown(source)}: no such file; name the TSV files with the region features")


def _check_folder(out: Path, split: str, captions_per_image: int, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise NaafError(f"{shown(out)}: is a file; give a folder to write to")
    there = [path for role in ROLES if (path := layout_path(out, split, role)).exists()]
    if there and not overwrite:
        raise NaafError(f"{shown(there[0])}: already there; give another folder or ask to overwrite")
    manifest = find_manifest(out)
    if manifest and manifest.captions_per_image != captions_per_image:
        raise NaafError(
            f"{shown(out)}: manifest {manifest.name} says {manifest.captions_per_image} captions an image,"
            f" not {captions_per_image}; give a folder of another name"
        )


@contextmanager
def _unfinished_files(out: Path, split: str) -> Iterator[Path]:
    """A temporary folder inside out; on failure nothing stays, not even an out that was made for it."""
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{split}-", dir=out) as temporary:
            yield Path(temporary)
    except OSError as error:
        raise NaafError(f"{shown(out)}: cannot be written ({error.strerror or error})") from error
    finally:
        if made and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def _write_manifest(out: Path, captions_per_image: int) -> None:
    """Another number of captions than five must be written down, or the split cannot be read."""
    if captions_per_image != CAPTIONS_AN_IMAGE and find_manifest(out) is None:
        content = {"name": out.resolve().name, "captions_per_image": captions_per_image}
        (out / OWN_MANIFEST).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _fill(writer: "_Writer", sources: list[Path], matches: Matches, progress: bool) -> None:
    """Put every wanted row in its place. Raises NaafError where an image has none."""
    total = len(matches.wanted)
    hidden = not progress
    with long_fields(), tqdm(desc=writer.split, total=total, unit="image", disable=hidden) as bar:
        for row in read_rows(sources):
            place = matches.place(row)
            if place is not None:
                try:
                    content = writer.checked(row)
                except NaafError as error:
                    matches.damaged(place, row, error)
                else:
                    bar.update(matches.filled(place, row))
                    writer.put(place, content)
            if matches.complete:
                break
    matches.check(sources, writer.split)


class _Content(NamedTuple):
    """A row that can be written."""

    features: np.ndarray
    boxes: np.ndarray
    size: tuple[int, int]


class _Writer:
    """The split's files in a temporary folder; the arrays are made when the first image tells their shape."""

    def __init__(
        self,
        folder: Path,
        split: str,
        wanted: list[CaptionedImage],
        dtype: np.dtype,
        regions: int | None,
    ) -> None:
        self.folder, self.split, self.wanted, self.dtype = folder, split, wanted, dtype
        self.regions = regions
        self.shape = (0, 0)
        self._arrays: dict[str, Any] = {}

    def checked(self, row: RegionRow) -> "_Content":
        """What a row holds, as it is written. Raises NaafError for a row that cannot be."""
        boxes, features = row.decode()
        kept = self._kept(row, len(features))
        if self._arrays and features.shape[1] != self.shape[1]:
            before = f"the images before have {self.shape[1]}"
            raise NaafError(f"{row.place}: {features.shape[1]} features a region, {before}")
        with np.errstate(over="ignore", invalid="ignore"):  # the next line speaks of it
            values = features[:kept].astype(self.dtype)
        if not np.isfinite(values).all():
            raise NaafError(
                f"{row.place}: its features hold NaN, infinity or more than {self.dtype} can hold"
            )
        return _Content(values, boxes[:kept], row.size)

    def put(self, place: int, content: "_Content") -> None:
        if not self._arrays:
            self._create(*content.features.shape)
        self._arrays["features"][place] = content.features
        self._arrays["boxes"][place] = content.boxes
        self._arrays["sizes"][place] = content.size

    def _kept(self, row: RegionRow, found: int) -> int:
        if self.regions is None and found != FIELD_REGIONS:
            how = "--regions N keeps the first N of each image"
            raise NaafError(f"{row.place}: {found} regions instead of {FIELD_REGIONS}; {how}")
        if self.regions is not None and found < self.regions:
            raise NaafError(
                f"{row.place}: {found} regions, fewer than the {self.regions} to keep; keep fewer"
            )
        return self.regions or FIELD_REGIONS

    def _create(self, regions: int, dim: int) -> None:
        self.shape = (regions, dim)
        images = len(self.wanted)
        # A memory map on a full disk ends the process with a bus error, without a message.
        needed = images * regions * (dim * self.dtype.itemsize + 16)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise NaafError(
                f"{shown(self.folder.parent)}: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} are free;"
                " make room or write to another folder"
            )
        for role, dtype, shape in (
            ("features", self.dtype, (images, regions, dim)),
            ("boxes", np.dtype("float32"), (images, regions, 4)),
            ("sizes", np.dtype("int32"), (images, 2)),
        ):
            path = layout_path(self.folder, self.split, role)
            self._arrays[role] = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)

    def finish(self) -> None:
        for array in self._arrays.values():
            array.flush()
        self._arrays.clear()
        names = [image.name for image in self.wanted]
        captions = [caption for image in self.wanted for caption in image.captions]
        for role, lines in (("names", names), ("captions", captions)):
            text = "".join(f"{line}\n" for line in lines)
            layout_path(self.folder, self.split, role).write_text(text, encoding="utf-8", newline="\n")
