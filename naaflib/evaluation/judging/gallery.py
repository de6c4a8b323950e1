"""What a score matrix is of: a public benchmark or a data set's split; and ids in another order.

A matrix alone does not say which number it gives: 1,000 images or 5,000, which captions. So one of both is
named, and the matrix has to fit it.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...data.captions import read_filled
from ...data.manifest import CAPTIONS_AN_IMAGE, SPLITS, data_name, find_manifest, layout_path
from ...data.public.pictures import ids_path
from ...data.splits import Split
from ...errors import NaafError, UsageError, unknown
from ...files import fingerprint, missing, read_json, resolve, shown
from ...metric.retrieval import chance_recalls
from ..protocols import PROTOCOL_IMAGES, check_protocol, fold_size

BENCHMARKS = tuple(name for name, images in PROTOCOL_IMAGES.items() if images)
COCO = ("coco-5k", "coco-1k")
SAME = ("split", "images", "captions", "captions_per_image", "captions_sha256")  # of scores of one split


@dataclass(frozen=True)
class Gallery:
    """The images and captions that are ranked, and the protocol."""

    name: str  # "coco-5k"; "scenes test"
    images: int
    captions_per_image: int
    protocol: str
    folder: Path | None = None  # of a data set
    split: str = ""

    @property
    def captions(self) -> int:
        return self.images * self.captions_per_image

    @property
    def captions_path(self) -> Path | None:
        return None if self.folder is None else layout_path(self.folder, self.split, "captions")

    @property
    def fold(self) -> int:
        """Images that are ranked together."""
        return fold_size(self.protocol, self.images)

    def chance(self) -> dict[str, float]:
        """What blind guessing gives."""
        return chance_recalls(self.fold, self.captions_per_image)

    def sentence(self) -> str:
        protocol = "" if self.name == self.protocol else f", protocol {self.protocol}"
        return f"{self.name} ({self.images:,} images, {self.captions:,} captions){protocol}"

    def origin(self) -> dict[str, object]:
        """What tells whether two matrices are of the same images and captions, as `scored_split` does."""
        path = self.captions_path
        return {
            "data": self.name if self.folder is None else data_name(self.folder),
            "split": self.split or None,
            "images": self.images,
            "captions": self.captions,
            "captions_per_image": self.captions_per_image,
            "captions_sha256": None if path is None else fingerprint(path)["sha256"],
        }


def open_gallery(
    data: str | Path | None = None,
    benchmark: str | None = None,
    split: str | None = None,
    protocol: str | None = None,
) -> Gallery:
    """A benchmark by name, or a data set's split (None: testall for COCO's protocols, else test, else dev).

    Of a data set only the captions are read; its features need not be there. Raises UsageError where neither
    or both are named, and for an unknown name.
    """
    if (data is None) == (benchmark is None):
        how = "name" if data is None else "name in one way"
        raise UsageError(
            f"{how} what the scores are of: --benchmark {'|'.join(BENCHMARKS)}, or --data DIR (a data set in "
            "the SCAN layout, of which the captions are enough)"
        )
    if benchmark is not None:
        if benchmark not in BENCHMARKS:
            raise unknown("benchmark", benchmark, BENCHMARKS)
        if split is not None or protocol not in (None, benchmark):
            raise UsageError(
                f"benchmark {benchmark} names its split and protocol; leave --split and --protocol out"
            )
        return Gallery(benchmark, int(PROTOCOL_IMAGES[benchmark] or 0), CAPTIONS_AN_IMAGE, benchmark)
    return _of_split(resolve(data or ""), split, protocol or "full")


def _of_split(folder: Path, split: str | None, protocol: str) -> Gallery:
    if not folder.is_dir():
        raise NaafError(
            f"{shown(folder)} is not a folder" if folder.exists() else f"{missing(folder)}; name a data set"
        )
    there = [name for name in SPLITS if layout_path(folder, name, "captions").is_file()]
    prefer = ("testall", "test", "dev") if protocol in COCO else ("test", "dev", "testall", "train")
    split = split or next((name for name in prefer if name in there), None)
    if split not in there:
        what = f"no split {split!r}" if split else "no captions (SPLIT_caps.txt)"
        raise UsageError(f"{shown(folder)} has {what}; its splits: {', '.join(there) or 'none'}")
    manifest = find_manifest(folder)
    per_image = manifest.captions_per_image if manifest else CAPTIONS_AN_IMAGE
    path = layout_path(folder, split, "captions")
    captions = len(read_filled(path))
    if not captions or per_image == 0 or captions % per_image:
        raise NaafError(
            f"{shown(path)} holds {captions} captions, which are not {per_image} an image; mend it"
        )
    images = captions // per_image
    check_protocol(protocol, images)
    return Gallery(f"{data_name(folder)} {split}", images, per_image, protocol, folder, split)


def of_split(split: Split) -> Gallery:
    """A split that is open."""
    name = f"{data_name(split.folder)} {split.name}"
    return Gallery(name, len(split), split.captions_per_image, "full", split.folder, split.name)


def recorded(scores: Path) -> dict | None:
    """What scores that this library saved are of, by the .json beside them; None for others."""
    path = scores.with_suffix(".json")
    about = read_json(path) if os.path.lexists(path) else None  # a broken link is there, and is refused
    return about if isinstance(about, dict) and all(name in about for name in SAME) else None


def of_record(about: dict, protocol: str = "full") -> Gallery:
    """The gallery of scores that this library saved. Raises UsageError for a protocol that does not fit."""
    check_protocol(protocol, about["images"])
    name = f"{about['data']} {about['split']}"
    return Gallery(name, about["images"], about["captions_per_image"], protocol, split=about["split"])


def check_record(scores: Path, gallery: Gallery) -> None:
    """Raises NaafError where saved scores say that they are of another split or of other captions."""
    about, now = recorded(scores), gallery.origin()
    if about and any(None not in (about[name], now[name]) and about[name] != now[name] for name in SAME):
        raise NaafError(
            f"{shown(scores)} holds scores of split {about['split']!r} of {about['data']!r}, not of "
            f"{gallery.name}, or its captions have changed; name the split that was scored, or score it again"
        )


def orientation(name: str, shape: tuple[int, int], gallery: Gallery, transpose: bool = False) -> bool:
    """Whether scores of this shape are (caption, image). Raises NaafError where they fit neither way.

    A square matrix does not tell: it is taken as (image, caption) unless `transpose` says otherwise.
    """
    wanted = (gallery.images, gallery.captions)
    if transpose and shape != wanted[::-1]:
        right = "it already is; leave --transpose out" if shape == wanted else _fitting(shape, gallery)
        raise NaafError(
            f"{name} holds {_size(shape)}, whose transpose is not {_size(wanted)} (images x captions) of "
            f"{gallery.name}: {right}"
        )
    if transpose or (shape == wanted[::-1] and shape != wanted):
        return True
    if shape != wanted:
        raise NaafError(
            f"{name} holds {_size(shape)}, and {gallery.name} is {_size(wanted)} (images x captions): "
            f"{_fitting(shape, gallery)}"
        )
    return False


def _size(shape: tuple[int, int]) -> str:
    return " x ".join(f"{size:,}" for size in shape)


def _fitting(shape: tuple[int, int], gallery: Gallery) -> str:
    """What such a shape would fit, as a remedy."""
    images, captions = sorted(shape)
    fits = [
        name
        for name in BENCHMARKS
        if (PROTOCOL_IMAGES[name], CAPTIONS_AN_IMAGE * images) == (images, captions)
    ]
    if gallery.folder is not None:
        lines = {
            split: len(read_filled(path))
            for split in SPLITS
            if (path := layout_path(gallery.folder, split, "captions")).is_file()
        }
        of_data = [f"--split {split}" for split, count in lines.items() if count == captions]
        if of_data and images * gallery.captions_per_image == captions:
            return f"it fits {' or '.join(of_data)}"
    if images == captions and images % CAPTIONS_AN_IMAGE == 0:
        return (
            "it is square: if images are repeated once a caption, keep every fifth row "
            f"(scores[::{CAPTIONS_AN_IMAGE}])"
        )
    if fits:
        return f"it fits --benchmark {' or '.join(fits)}"
    return "score every image of it against every caption, or name the --data that it is of"


def read_ids(path: Path) -> list[str]:
    """The ids in a file, one a line. A picture's name and its number are the same id."""
    return [_plain(line) for line in read_filled(path)]


def _plain(identity: str) -> str:
    """COCO_val2014_000000391895.jpg, 000000391895 and 391895 are one id; other names stay as they are."""
    number = re.fullmatch(r"(?:COCO_\w+[:_])?0*(\d+)(?:\.\w+)?", identity.strip())
    return number[1] if number else identity.strip()


@dataclass(frozen=True)
class Order:
    """Where each image and each caption of the gallery stands in the file; None: in the gallery's order."""

    images: np.ndarray | None = None
    captions: np.ndarray | None = None


def order_of(files: Sequence[Path], gallery: Gallery) -> Order:
    """The order that files of ids tell: an id an image (rows), an id a caption (columns), or both.

    An id an image alone: captions follow their images, as many as an image has. An id a caption alone,
    which may be the caption's own or its image's: images follow in the order of their first caption.
    Captions that go by their image's id keep the file's order within an image.
    Raises NaafError for ids that miss one of the gallery's, hold one twice or one too many.
    """
    if not files:
        return Order()
    images, captions = known_ids(gallery)
    per_image = gallery.captions_per_image
    of_images = of_captions = None
    for path in files:
        ids = read_ids(path)
        if len(ids) == gallery.images and of_images is None:
            of_images = _found(path, ids, images)
        elif len(ids) == gallery.captions and of_captions is None:
            of_captions = _caption_places(path, ids, images, captions, per_image)
        else:
            raise NaafError(
                f"{shown(path)} holds {len(ids):,} ids; {gallery.name} has {gallery.images:,} images and "
                f"{gallery.captions:,} captions: give an id for each of the one or of the other, once"
            )
    if of_captions is None and of_images is not None:
        of_captions = (of_images[:, None] * per_image + np.arange(per_image)).ravel()
    if of_images is None and of_captions is not None:
        first = of_captions.reshape(-1, per_image).min(axis=1)
        of_images = np.argsort(np.argsort(first))
    return Order(of_images, of_captions)


def known_ids(gallery: Gallery) -> tuple[list[str], list[str]]:
    """The ids of the gallery's images, and of its captions where they have some.

    Raises NaafError where none are known.
    """
    if gallery.name in COCO:
        from ...data.public.coco import coco_ids

        known = coco_ids()
        return [str(i) for i in known.images], [str(i) for i in known.captions]
    if gallery.folder is None:
        raise NaafError(
            f"the ids of {gallery.name} are not known here; name its data set in place of it, --data DIR "
            "with SPLIT_ids.txt or SPLIT_image_names.txt"
        )
    for path in (
        layout_path(gallery.folder, gallery.split, "names"),
        ids_path(gallery.folder, gallery.split),
    ):
        if path.is_file():
            ids = read_ids(path)
            each = max(1, len(ids) // gallery.images)
            images = ids[::each]
            if len(images) != gallery.images or ids != [one for one in images for _ in range(each)]:
                raise NaafError(
                    f"{shown(path)} holds {len(ids)} ids, not one for each of {gallery.images} images, "
                    "nor one for each of their captions in succession; mend or remove it"
                )
            return images, []
    raise NaafError(
        f"{shown(gallery.folder)} has neither {gallery.split}_image_names.txt nor {gallery.split}_ids.txt, "
        "so --ids cannot be matched with its images; add one of them, or bring the scores into its order"
    )


def _found(path: Path, ids: list[str], known: list[str]) -> np.ndarray:
    """For each known id its line. Raises NaafError where the ids are not the same, each once."""
    line = {identity: number for number, identity in enumerate(ids)}
    lost = next((identity for identity in known if identity not in line), None)
    if lost is not None:
        raise NaafError(
            f"{shown(path)} misses the id {lost}; bring the ids and the scores of one run together"
        )
    if len(line) < len(ids):
        twice = next(identity for identity, times in Counter(ids).items() if times > 1)
        raise NaafError(f"{shown(path)} holds the id {twice} twice; every id stands there once")
    return np.array([line[identity] for identity in known])


def _caption_places(
    path: Path, ids: list[str], images: list[str], captions: list[str], per_image: int
) -> np.ndarray:
    """For each caption of the gallery its line in a file that names captions, or their images."""
    if captions and len(set(ids)) > len(images):  # no image stands there twice: they are the captions' own
        return _found(path, ids, captions)
    times = Counter(ids)
    wrong = next((identity for identity in images if times[identity] != per_image), None)
    if wrong is not None:
        raise NaafError(
            f"{shown(path)} holds the id {wrong} {times[wrong]} times, not {per_image} times; mend it"
        )
    number = {identity: k for k, identity in enumerate(images)}
    of_image = np.array([number[identity] for identity in ids])
    return np.argsort(of_image, kind="stable")
