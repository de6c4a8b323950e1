"""One split of a data set folder, and which caption belongs to which image.

The only place that knows the layout's rule: captions_per_image consecutive captions (five, unless the
manifest says another number) belong to one image; a feature file has a row an image or a row a caption.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import NaafError, UsageError
from ..project import shown
from .boxes import read_boxes, read_sizes
from .captions import read_captions
from .features import Regions
from .manifest import find_manifest

SPLITS = ("train", "dev", "test", "testall")


@dataclass(frozen=True)
class Split:
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

    @property
    def image_of_caption(self) -> np.ndarray:
        return np.arange(len(self.captions)) // self.captions_per_image

    @property
    def captions_path(self) -> Path:
        return self.folder / f"{self.name}_caps.txt"

    def captions_of_image(self, image: int) -> range:
        return range(image * self.captions_per_image, (image + 1) * self.captions_per_image)

    def image_path(self, image: int) -> Path | None:
        """The picture, where the folder has it under images/."""
        if self.image_names is None:
            return None
        path = self.folder / "images" / self.image_names[image]
        return path if path.is_file() else None

    def picture_size(self, image: int) -> np.ndarray | None:
        """Width and height that boxes count in: as recorded, else the picture file's own."""
        if self.sizes is not None:
            return np.asarray(self.sizes[image])
        path = self.image_path(image)
        if path is None:
            return None
        from PIL import Image

        with Image.open(path) as picture:
            return np.array(picture.size)

    def image_name(self, image: int) -> str:
        return self.image_names[image] if self.image_names else f"{self.name} image {image}"

    def first(self, images: int) -> "Split":
        """The split's first images with their captions (upstream validates on 1000 dev images)."""
        if images >= len(self):
            return self
        return replace(
            self,
            captions=self.captions[: images * self.captions_per_image],
            regions=self.regions.first(images),
            boxes=None if self.boxes is None else self.boxes[:images],
            sizes=None if self.sizes is None else self.sizes[:images],
            image_names=None if self.image_names is None else self.image_names[:images],
        )


def split_names(folder: str | Path) -> tuple[str, ...]:
    """The splits that a folder holds, in the order train, dev, test, testall."""
    return tuple(name for name in SPLITS if (Path(folder) / f"{name}_ims.npy").is_file())


def evaluation_split(folder: str | Path, prefer: tuple[str, ...] = ("test", "dev")) -> str:
    """The split that an evaluation takes when none is named: test, else dev."""
    _check_folder(Path(folder))
    present = split_names(folder)
    for name in prefer:
        if name in present:
            return name
    if not present:
        raise NaafError(f"{shown(folder)} is not a data set: it has no *_ims.npy; `naaf data list` helps")
    raise NaafError(
        f"{shown(folder)} holds none of the splits {', '.join(prefer)}; name one of: {', '.join(present)}"
    )


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise NaafError(f"{shown(folder)} is not a folder; `naaf data list` shows where data sets come from")


def open_split(folder: str | Path, split: str) -> Split:
    """A split, its features memory-mapped.

    folder: in the SCAN layout (`{split}_ims.npy`, `{split}_caps.txt`; boxes, sizes, names and pictures
    where they exist). Raises NaafError for a missing or damaged file and for counts that do not fit.
    """
    folder = Path(folder)
    _check_folder(folder)
    files = [folder / f"{split}_ims.npy", folder / f"{split}_caps.txt"]
    if Path(split).name != split or not any(file.is_file() for file in files):
        present = ", ".join(split_names(folder)) or "none"
        raise UsageError(f"{shown(folder)} has no split {split!r}; its splits: {present}")
    manifest = find_manifest(folder)
    per_image = manifest.captions_per_image if manifest else 5
    captions = read_captions(folder / f"{split}_caps.txt")
    regions = Regions(folder / f"{split}_ims.npy")
    repeat = _repeat(folder, split, len(regions), len(captions), per_image)
    regions = Regions(regions.path, repeat)
    names_file = folder / f"{split}_image_names.txt"
    return Split(
        folder=folder,
        name=split,
        captions=captions,
        captions_per_image=per_image,
        regions=regions,
        boxes=_optional(folder / f"{split}_ims_bbx.npy", read_boxes, len(regions), repeat),
        sizes=_optional(folder / f"{split}_ims_size.npy", read_sizes, len(regions), repeat),
        image_names=_optional(names_file, read_captions, len(regions), repeat),
    )


def _repeat(folder: Path, split: str, rows: int, captions: int, per_image: int) -> int:
    """How many rows an image has: 1, or captions_per_image where rows are captions."""
    if rows * per_image == captions:
        return 1
    if rows == captions and rows % per_image == 0:
        return per_image
    raise NaafError(
        f"{shown(folder / f'{split}_caps.txt')} holds {captions} captions and {split}_ims.npy {rows} rows; "
        f"{per_image} captions an image need {rows * per_image} captions (or a row a caption); "
        "another number goes into the folder's manifest.yaml as captions_per_image"
    )


def _optional(path: Path, read, images: int, repeat: int):
    """A file with a row an image or a row a caption, or None where it is missing."""
    if not path.is_file():
        return None
    rows = read(path)
    if len(rows) == images:
        return rows
    if len(rows) == images * repeat:
        return rows[::repeat]
    raise NaafError(
        f"{shown(path)} holds {len(rows)} rows for {images} images; remove the file or get it again"
    )
