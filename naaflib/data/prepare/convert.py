"""Bottom-up-attention TSV or .npz files and captions -> the SCAN layout: one image in memory at a time.

Own images need no TSV: any region detector, or a grid of a vision network, can write the layout's files
(docs/data.md). `naaf data verify` checks the result.
"""

import os
import shutil
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from errno import ENOSPC
from pathlib import Path

import numpy as np

from ...errors import NaafError, UsageError
from ...files import put, shown
from ...messages import progress_bar
from ..manifest import CAPTIONS_AN_IMAGE, SPLIT_FILES, SPLITS, find_manifest, layout_path
from ..writing import create_arrays, regions_in_words, state_captions, temporary_folder, write_lines
from .archives import read_archives
from .caption_tables import CaptionedImage, read_captioned_images
from .matches import Matches
from .tsv import RegionRow, read_rows

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
    regions_an_image: np.ndarray  # (image,) below `regions` where rows of zeros follow

    def __str__(self) -> str:
        size = f"{self.images} images x {self.regions} regions x {self.dim}"
        text = f"{shown(self.folder)}: {self.split}: {size}, {self.captions} captions"
        if self.regions_an_image.min() < self.regions:
            text += f"; regions an image: {regions_in_words(self.regions_an_image)}, then rows of zeros"
        again = f"; {self.duplicates} rows of an image that had come before were passed over"
        return text + (again if self.duplicates else "")


def convert_tsv(
    tsv_files: Sequence[str | os.PathLike[str]],
    captions: str | os.PathLike[str],
    out: str | os.PathLike[str],
    split: str,
    *,
    captions_per_image: int = CAPTIONS_AN_IMAGE,
    regions: int | None = None,
    pad: bool = False,
    dtype: str = "float32",
    images: str | os.PathLike[str] | None = None,
    source_splits: Sequence[str] | None = None,
    id_field: str | None = None,
    overwrite: bool = False,
    progress: bool = False,
) -> Converted:
    """Write one split in the order of its captions: features, boxes, sizes, image names, captions.

    tsv_files: TSV files, or folders with an .npz an image (`archives`).
    captions: Karpathy's dataset_*.json, or a table with a line a caption (image, tab or comma, caption).
    images: a file with an image name a line, which selects and orders (official split lists).
    regions: keep the first so many of each image and refuse fewer; None demands 36 of each.
    pad: an image with fewer than `regions` has rows of zeros after them, which take no part in anything.
    source_splits, id_field: other split names, another id field in Karpathy's file (imgid, for instance).

    A row belongs to the image whose id it has exactly; else to the one that its id is a shortened or
    lengthened form of (`image_ids`). An image that comes twice keeps its first whole row. Nothing is
    overwritten unless asked, and the split's files appear only when all are whole. Raises NaafError, which
    names image and line.
    """
    sources, out = [Path(tsv) for tsv in tsv_files], Path(out)
    _check_request(sources, split, dtype, regions, captions_per_image)
    if pad and regions is None:
        raise UsageError("--pad fills up to --regions N; give N, the most regions that an image may have")
    _check_folder(out, split, captions_per_image, overwrite)
    wanted = read_captioned_images(
        Path(captions),
        split,
        captions_per_image=captions_per_image,
        images=None if images is None else Path(images),
        source_splits=source_splits,
        id_field=id_field,
    )
    with temporary_folder(out if out.exists() else out.parent, out) as temporary:
        writer = _Writer(temporary, split, wanted, np.dtype(dtype), regions, pad)
        matches = Matches(wanted, Path(captions), id_field)
        _fill(writer, sources, matches, progress)
        writer.finish()
        out.mkdir(exist_ok=True)
        for role in SPLIT_FILES:
            put(layout_path(temporary, split, role), layout_path(out, split, role))
        state_captions(out, captions_per_image)
    kept, dim = writer.shape
    texts = len(wanted) * captions_per_image
    return Converted(out, split, len(wanted), texts, kept, dim, matches.duplicates, writer.counts)


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
        if not source.exists():
            raise NaafError(f"{shown(source)}: no such file; name the TSV files with the region features")


def _check_folder(out: Path, split: str, captions_per_image: int, overwrite: bool) -> None:
    if out.exists() and not out.is_dir():
        raise NaafError(f"{shown(out)}: is a file; give a folder to write to")
    there = [path for role in SPLIT_FILES if (path := layout_path(out, split, role)).exists()]
    if there and not overwrite:
        raise NaafError(f"{shown(there[0])}: already there; give another folder or ask to overwrite")
    manifest = find_manifest(out)
    if manifest and manifest.captions_per_image != captions_per_image:
        raise NaafError(
            f"{shown(out)}: manifest {manifest.name} says {manifest.captions_per_image} captions an image,"
            f" not {captions_per_image}; give a folder of another name"
        )


def _rows(sources: list[Path]) -> Generator[RegionRow, None, None]:
    for source in sources:
        yield from read_archives(source) if source.is_dir() else read_rows([source])


def _fill(writer: "_Writer", sources: list[Path], matches: Matches, progress: bool) -> None:
    """Put every wanted row in its place. Raises NaafError where an image has none."""
    bar = progress_bar(desc=writer.split, total=len(matches.wanted), unit="image", disable=not progress)
    with bar, closing(_rows(sources)) as rows:
        for row in rows:
            place = matches.place(row)
            if place is not None:
                try:
                    writer.put(place, row)
                except NaafError as error:
                    matches.damaged(place, row, error)
                else:
                    bar.update(matches.filled(place, row))
            if matches.complete:
                break
    matches.check(sources, writer.split)


@dataclass
class _Writer:
    """The split's files in a temporary folder; the arrays are made when the first image tells their shape."""

    folder: Path
    split: str
    wanted: list[CaptionedImage]
    dtype: np.dtype
    regions: int | None
    pad: bool = False
    shape: tuple[int, int] = (0, 0)
    arrays: dict[str, np.memmap] = field(default_factory=dict)
    counts: np.ndarray = field(init=False)  # regions of each image

    def __post_init__(self) -> None:
        self.counts = np.zeros(len(self.wanted), int)

    def put(self, place: int, row: RegionRow) -> None:
        """Write what a row holds. Raises NaafError, and writes nothing, for a row that cannot be."""
        boxes, features = row.decode()
        size, found = row.size, len(features)
        if self.regions is None and found != FIELD_REGIONS:
            how = "--regions N keeps the first N of each image"
            raise row.error(f"{found} regions instead of {FIELD_REGIONS}; {how}")
        if self.regions is not None and found < self.regions and not self.pad:
            raise row.error(f"{found} regions, fewer than the {self.regions} to keep; keep fewer, or --pad")
        kept = self.regions or FIELD_REGIONS
        if self.arrays and features.shape[1] != self.shape[1]:
            raise row.error(f"{features.shape[1]} features a region, the images before have {self.shape[1]}")
        with np.errstate(over="ignore", invalid="ignore"):  # the next line speaks of it
            values = features[:kept].astype(self.dtype)
        if not np.isfinite(values).all():
            raise row.error(f"its features hold NaN, infinity or more than {self.dtype} can hold")
        if not self.arrays:
            self._create(kept, values.shape[1])
        self.counts[place] = len(values)
        self.arrays["sizes"][place] = size
        for role, content in (("features", values), ("boxes", boxes[:kept])):
            self.arrays[role][place, : len(values)] = content
            self.arrays[role][place, len(values) :] = 0  # a row of a shortened id may have come before

    def _create(self, regions: int, dim: int) -> None:
        """Raises OSError on a full disk: there a memory map ends the process, without a message."""
        self.shape = (regions, dim)
        needed = len(self.wanted) * regions * (dim * self.dtype.itemsize + 16)
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            raise OSError(ENOSPC, f"{needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} are free")
        self.arrays = create_arrays(self.folder, self.split, len(self.wanted), regions, dim, self.dtype)

    def finish(self) -> None:
        for array in self.arrays.values():
            array.flush()
        self.arrays.clear()
        captions = (caption for image in self.wanted for caption in image.captions)
        write_lines(layout_path(self.folder, self.split, "captions"), captions)
        write_lines(layout_path(self.folder, self.split, "names"), (image.name for image in self.wanted))
