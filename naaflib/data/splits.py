"""One split of a data set folder, and which caption belongs to which image.

captions_per_image consecutive captions (five, unless the manifest says another number) belong to one image
(`ranks.image_of`); a feature file has a row an image or a row a caption (`row_counts` finds out).
"""

import os
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..display import Described
from ..errors import NaafError, UsageError
from ..files import missing, resolve, shown
from ..messages import say
from ..metric.ranks import captions_of, image_of
from ..picture_files import open_picture
from .boxes import check_boxes, check_sizes, read_boxes, read_sizes
from .captions import read_filled, read_picture_names
from .features import Regions
from .manifest import CAPTIONS_AN_IMAGE, SPLIT_FILES, SPLITS, find_manifest, layout_path
from .number_types import READ_AS, other_type
from .row_counts import first_unequal, rows_an_image


@dataclass(frozen=True, repr=False)
class Split(Described):
    """Images with their captions; caption c belongs to image c // captions_per_image."""

    folder: Path
    name: str
    captions: list[str]
    captions_per_image: int
    regions: Regions
    boxes: np.ndarray | None  # (image, region, 4): x1, y1, x2, y2 in pixels
    sizes: np.ndarray | None  # (image, 2): width, height
    image_names: list[str] | None

    def __len__(self) -> int:
        return len(self.regions)

    def facts(self) -> dict[str, object]:
        """Folder and name, images, captions, the shape of an image's regions, whether there are pictures."""
        return {
            "split": f"{shown(self.folder)}, {self.name}",
            "images": f"{len(self):,}",
            "captions": f"{len(self.captions):,}",
            "regions": "{} x {}".format(*self.regions.shape[1:]),
            "boxes": "no" if self.boxes is None else "yes",
            "pictures": "yes" if self.image_path(0) else "no",
        }

    @property
    def image_of_caption(self) -> np.ndarray:
        return self.image_of(np.arange(len(self.captions)))

    def image_of(self, caption: int | np.ndarray) -> int | np.ndarray:
        return image_of(caption, self.captions_per_image)

    @property
    def captions_path(self) -> Path:
        return layout_path(self.folder, self.name, "captions")

    def captions_of_image(self, image: int) -> range:
        own = captions_of(slice(image, image + 1), self.captions_per_image)
        return range(own.start, own.stop)

    def image_path(self, image: int) -> Path | None:
        """The picture, where the folder has it under images/."""
        if self.image_names is None:
            return None
        path = layout_path(self.folder, self.name, "pictures") / self.image_names[image]
        return path if path.is_file() else None

    def picture_size(self, image: int) -> np.ndarray | None:
        """Width and height that boxes count in: as recorded, else the picture file's own."""
        if self.sizes is not None:
            return np.asarray(self.sizes[image])
        if (path := self.image_path(image)) is None:
            return None
        with open_picture(path) as picture:
            return np.array(picture.size)

    def image_name(self, image: int) -> str:
        return self.image_names[image] if self.image_names else f"{self.name} image {image}"

    def first(self, images: int) -> "Split":
        """The split's first images with their captions (upstream validates on 1000 dev images)."""
        if images >= len(self):
            return self
        there = {name: getattr(self, name) for name in ("boxes", "sizes", "image_names")}
        return replace(
            self,
            captions=self.captions[captions_of(slice(0, images), self.captions_per_image)],
            regions=self.regions.first(images),
            **{name: rows[:images] for name, rows in there.items() if rows is not None},
        )


def split_names(folder: str | Path) -> tuple[str, ...]:
    """The splits that a folder holds, in the order train, dev, test, testall.

    A link that leads nowhere is one of them: who opens the split is told so, where another would be taken.
    """
    return tuple(name for name in SPLITS if _is_there(layout_path(resolve(folder), name, "features")))


def _is_there(path: Path) -> bool:
    """Whether anything has the name: a file, or what should be one and is a folder or a broken link."""
    return os.path.lexists(path)


def evaluation_split(folder: str | Path, prefer: tuple[str, ...] = ("test", "dev")) -> str:
    """The split that an evaluation takes when none is named: test, else dev."""
    folder = resolve(folder)
    _check_folder(folder)
    present = split_names(folder)
    if found := [name for name in prefer if name in present]:
        for name in prefer[: prefer.index(found[0])]:
            captions, features = (layout_path(folder, name, role) for role in ("captions", "features"))
            if _is_there(captions):
                say(f"warning: {shown(captions)} has no {features.name} beside it; {found[0]} is taken")
        return found[0]
    if not present:
        remedy = "`naaf data extract` makes it from pictures, `naaf data list` names data sets"
        raise NaafError(f"{shown(folder)} is not a data set: it has no *_ims.npy; {remedy}")
    raise NaafError(
        f"{shown(folder)} holds none of the splits {', '.join(prefer)}; name one of: {', '.join(present)}"
    )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        what = f"{shown(folder)} is not a folder" if folder.exists() else missing(folder)
        raise NaafError(f"{what}; `naaf data list` shows where data sets come from")


def open_split(folder: str | Path, split: str, without_captions: bool = False) -> Split:
    """A split, its features memory-mapped.

    folder: in the SCAN layout (`{split}_ims.npy`, `{split}_caps.txt`; boxes, sizes, names and pictures
    where they exist). without_captions: pictures without captions are opened too; else they are refused.
    Raises NaafError for a missing or damaged file, an empty line where a caption or a name should be, and for
    counts or rows that contradict the number of captions an image.
    """
    folder = resolve(folder)
    _check_folder(folder)
    of = {role: layout_path(folder, split, role) for role in SPLIT_FILES}
    if Path(split).name != split or not (_is_there(of["features"]) or _is_there(of["captions"])):
        present = ", ".join(split_names(folder)) or "none"
        raise UsageError(f"{shown(folder)} has no split {split!r}; its splits: {present}")
    manifest = find_manifest(folder)
    per_image = manifest.captions_per_image if manifest else CAPTIONS_AN_IMAGE
    bare = per_image == 0 and not _is_there(of["captions"])
    if bare and not without_captions:
        raise NaafError(
            f"{shown(folder)} holds pictures without captions, which can be searched (naaf index), but not "
            "learnt from or measured; import them with --captions"
        )
    captions = [] if bare else read_filled(of["captions"])
    rows = Regions(of["features"])
    repeat = 1 if bare else rows_an_image(folder, split, rows.rows, len(captions), per_image)
    _check_numbers(rows)
    regions = Regions(rows.path, repeat)
    names = _optional(of["names"], read_picture_names, len(regions), repeat)
    if names and per_image == 1:
        _check_distinct(of["names"], names)
    boxes = _optional(of["boxes"], read_boxes, len(regions), repeat)
    sizes = _optional(of["sizes"], read_sizes, len(regions), repeat)
    if boxes is not None:
        check_boxes(of["boxes"], boxes, regions.shape[1])
    if sizes is not None:
        check_sizes(of["sizes"], sizes)
    return Split(
        folder=folder,
        name=split,
        captions=captions,
        captions_per_image=per_image,
        regions=regions,
        boxes=boxes,
        sizes=sizes,
        image_names=names,
    )


def _check_numbers(regions: Regions) -> None:
    first = regions.rows[0]
    if first.dtype == np.dtype(READ_AS) and (written := other_type(first.tobytes(), len(first))):
        raise NaafError(
            f"{shown(regions.path)}: its numbers were written as {written} and are read as float32;"
            " make the file again from the numbers as .astype('float32')"
        )


def _check_distinct(path: Path, names: list[str]) -> None:
    """Names that all stand as often say that an image has several rows, wherever these stand."""
    times = set(Counter(names).values())
    if len(times) == 1 and (each := times.pop()) > 1:
        raise NaafError(
            f"{shown(path)} names every image {each} times, where an image has one caption; put the "
            f"captions of an image together and write captions_per_image: {each} in the manifest.yaml"
        )


def _optional(path: Path, read, images: int, repeat: int):
    """A file with a row an image or a row a caption, or None where it is missing."""
    rows = read(path) if _is_there(path) else None
    if rows is None or len(rows) == images:
        return rows
    if len(rows) != images * repeat:
        raise NaafError(
            f"{shown(path)} holds {len(rows)} rows for {images} images; remove the file or get it again"
        )
    different = first_unequal(np.asarray(rows), repeat)
    if different is not None:
        raise NaafError(
            f"{shown(path)}: the {repeat} rows of image {different} differ, those of its features are equal; "
            "bring the file into the order of the features, or remove it"
        )
    return rows[::repeat]
