"""Checks of one split: files, features, captions, and that they belong together.

Nothing here raises for damaged data: a check says it.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...messages import progress_bar
from ..captions import read_captions, read_filled
from ..features import LARGEST
from ..manifest import Manifest, SplitCounts, layout_path
from ..npy import open_array, read_header, release
from ..row_counts import rows_an_image
from ..splits import open_split
from .picture_checks import check_names, check_pictures
from .report import CheckLog, Places

BLOCK_BYTES = 2**26
QUICK_ROWS = 512


class SplitChecks:
    """Runs the checks of one split in order and keeps what later checks, also across splits, need."""

    def __init__(self, folder: Path, split: str, manifest: Manifest, *, quick: bool, progress: bool) -> None:
        self.folder, self.split, self.manifest = folder, split, manifest
        self.quick, self.progress = quick, progress
        self.log = CheckLog(split)
        self.features: np.ndarray | None = None
        self.captions: int | None = None
        self.images: int | None = None
        self.names: list[str] = []

    def run(self, *, opens: bool) -> None:
        """opens: check also that evaluation and training would refuse nothing else."""
        self._files()
        self._features()
        self._captions()
        if self.features is not None and self.captions is not None:
            self._pairing(self.features, self.captions)
        if self.features is not None:
            self._values(self.features)
        rows, regions = (None, None) if self.features is None else self.features.shape[:2]
        lengths = tuple(dict.fromkeys(n for n in (self.images, rows) if n is not None))
        check_pictures(self.log, self.folder, lengths, regions)
        self.names = check_names(self.log, self.folder, lengths)
        whole = self.captions is not None or not self.manifest.captions_per_image
        if opens and not self.log.failed and self.features is not None and whole:
            self.log.read("opens", "as a split", open_split, self.folder, self.split, True)

    def path(self, role: str) -> Path:
        return layout_path(self.folder, self.split, role)

    def _files(self) -> None:
        fetch = f"missing; `naaf data fetch {self.manifest.name}` says where it comes from"
        remedy = fetch if self.manifest.steps else "missing; every split of the SCAN layout has this file"
        if layout_path(self.folder, self.split, "names").is_file() and (self.folder / "images").is_dir():
            remedy = "missing; `naaf data extract` makes it from the pictures"
        for file in self.manifest.concrete_files():
            path = self.folder / file.path
            what = file.path if file.role == "other" else f"{file.role} file"
            if file.split == self.split and path.is_file():
                found = f"{file.path}, {tqdm.format_sizeof(path.stat().st_size)}B"
                self.log.add(what, True, "present", found, path)
            elif file.split == self.split and file.required:
                self.log.add(what, False, file.path, "missing", path, remedy)

    def _features(self) -> None:
        path = self.path("features")
        if not path.is_file():
            return
        array = self.log.read("features readable", "a whole .npy file", open_array, path)
        if array is None:
            return
        usable: bool | None = array.dtype.kind == "f"
        if usable and array.dtype not in (np.dtype("float32"), np.dtype("float16")):
            usable = None
        remedy = "save it again with .astype('float32')"
        self.log.add("features dtype", usable, "float32, float16", array.dtype, path, remedy)
        three = array.ndim == 3 and array.size > 0
        shape = " x ".join(map(str, array.shape))
        self.log.add("features shape", three, "images x regions x dim", shape, path, "it needs three axes")
        if three and usable is not False:
            self.features = array
            self._against_manifest(array, path)

    def _against_manifest(self, array: np.ndarray, path: Path) -> None:
        for what, found in (("regions", array.shape[1]), ("dim", array.shape[2])):
            expected = getattr(self.manifest, what)
            if expected is not None:
                remedy = f"not the features that manifest {self.manifest.name} describes; get them again"
                self.log.add(what, found == expected, expected, found, path, remedy)
        if read_header(path).fortran_order:
            remedy = "slow to read by image; save it again with np.ascontiguousarray"
            self.log.add("order", None, "C", "Fortran", path, remedy)

    def _captions(self) -> None:
        path = self.path("captions")
        captions = self.log.read("captions text", "UTF-8", read_captions, path) if path.is_file() else None
        if captions is not None:
            self.captions = len(captions)
            self.log.add("captions text", True, "UTF-8", "UTF-8", path)
            self.log.read("empty captions", "none", read_filled, path)

    def _pairing(self, features: np.ndarray, captions: int) -> None:
        """Rows are images, or captions where a distribution repeats every image."""
        rows, each = len(features), self.manifest.captions_per_image
        repeated = rows == captions and each > 1 and rows % each == 0
        self.images = rows // each if repeated else rows
        what, expected = "captions", f"{rows * each} ({each} an image)"
        found = f"{captions}, each image {each} times" if repeated else captions
        source = self.folder, self.split, features, captions, each
        if self.log.read(what, expected, rows_an_image, *source, found=found):
            self.log.add(what, True, expected, found, self.path("captions"))
        self._counts(self.images, captions)

    def _counts(self, images: int, captions: int) -> None:
        counts = self.manifest.splits.get(self.split, SplitCounts())
        for what, number in (("images", images), ("captions", captions)):
            expected = getattr(counts, what)
            if expected is not None:
                remedy = (
                    f"{self.split} holds {number} {what} in all, manifest {self.manifest.name} says "
                    f"{expected}; get the data again, or give a data set of your own another folder name"
                )
                self.log.add(f"{what} in all", number == expected, expected, number, self.folder, remedy)

    def _values(self, features: np.ndarray) -> None:
        """NaN and infinity by image and region, block by block: 33 GB never stand in memory."""
        path = self.path("features")
        unusable, zero, empty = Places(), Places(), Places()
        seen = 0
        for rows in self._blocks(features):
            block = np.asarray(features[rows])
            seen += len(block)
            unusable.add(~(np.abs(block) <= np.float32(LARGEST)).all(axis=-1), rows)
            zero.add(~block.any(axis=-1), rows)
            empty.add(~block.any(axis=(1, 2)), rows)
            release(features)
        extent = f"{unusable}, of {seen} of {len(features)} rows"
        too_large = f"a number beyond {LARGEST:.0e}"
        remedy = f"{unusable.first} holds NaN, infinity or {too_large}; compute these features again"
        self.log.add("finite values", not unusable.count, "all", extent, path, remedy)
        if zero.count:
            remedy = f"{zero.first} holds zeros only; such a region is padding and takes no part"
            left = features.shape[1] - zero.count / seen
            found = f"{zero.count}; {left:.1f} of {features.shape[1]} regions an image are left"
            self.log.add("zero regions", None, "none", found, path, remedy)
        if empty.count:
            remedy = f"{empty.first} holds zeros only: an image without regions; compute it again"
            self.log.add("empty images", False, "none", empty.count, path, remedy)

    def _blocks(self, features: np.ndarray) -> Iterator[np.ndarray]:
        """Row numbers, in blocks of about 64 MB; with `quick` of 512 rows spread over the file."""
        rows = np.arange(len(features))
        if self.quick:
            rows = np.unique(np.linspace(0, len(features) - 1, QUICK_ROWS).astype(int))
        size = max(1, BLOCK_BYTES // features[0].nbytes)
        starts = range(0, len(rows), size)
        what, hidden = f"{self.split} features", not self.progress
        for start in progress_bar(starts, desc=what, unit="block", disable=hidden):
            yield rows[start : start + size]
