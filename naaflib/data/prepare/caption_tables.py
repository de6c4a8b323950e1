"""Which images a split has, in which order, with which captions: Karpathy's JSON files or plain tables.

A plain table has a line a caption: image id or file name, a tab or a comma, the caption (`plain_tables`).
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import NaafError, UsageError
from ...files import read_json, shown
from ..captions import read_captions
from .image_ids import ImageIndex
from .plain_tables import read_table

# Karpathy's names; SCAN's COCO train split (113,287 images) is his train and restval together.
KARPATHY_SPLITS = {
    "train": ("train", "restval"),
    "dev": ("val",),
    "test": ("test",),
    "testall": ("test",),
}
ID_FIELDS = ("cocoid", "filename")


@dataclass(frozen=True)
class CaptionedImage:
    """An image under every id that a feature file may call it by, and its captions."""

    name: str
    ids: tuple[str, ...]
    captions: tuple[str, ...]


def read_captioned_images(
    path: Path,
    split: str,
    *,
    captions_per_image: int = 5,
    images: Path | None = None,
    source_splits: Sequence[str] | None = None,
    id_field: str | None = None,
) -> list[CaptionedImage]:
    """The images of a split in the order of the file, or of the list `images` (a name a line).

    In Karpathy's JSON the split is selected by its name there (source_splits overrides the usual one),
    unless a list of images selects. Of more captions than captions_per_image the first are kept.
    """
    if path.suffix.lower() == ".json":
        chosen = source_splits or KARPATHY_SPLITS.get(split, (split,))
        found = _from_karpathy(path, None if images else chosen, id_field)
    else:
        if source_splits or id_field:
            raise UsageError(
                f"{shown(path)}: a plain table names no splits or id fields; list its images instead"
            )
        found = [CaptionedImage(name, (name,), captions) for name, captions in read_table(path).items()]
    if images is not None:
        found = _selected(found, images, path)
    for image in found:
        if len(image.captions) < captions_per_image:
            raise NaafError(
                f"{shown(path)}: image {image.name} has {len(image.captions)} captions,"
                f" {captions_per_image} are needed; add some or convert with fewer captions an image"
            )
    names = _file_names(found)
    return [
        CaptionedImage(name, image.ids, image.captions[:captions_per_image])
        for name, image in zip(names, found, strict=True)
    ]


def image_index(images: Sequence[CaptionedImage], path: Path) -> ImageIndex:
    """The images by their ids; an id that two of them share is refused."""
    index = ImageIndex([image.ids for image in images])
    if index.twice:
        raise NaafError(
            f"{shown(path)}: two images are called {index.twice[0]}; give every image an id of its own"
        )
    return index


def fitting_field(path: Path, id_field: str | None, identifiers: Set[str]) -> str | None:
    """The field of Karpathy's file, not the one in use, that holds most of these ids; None: there is none."""
    if path.suffix.lower() != ".json":
        return None
    entries = _entries(path, None)
    names = dict.fromkeys(name for entry in entries for name in entry if name not in ("sentences", "sentids"))
    held = {name: len(identifiers & {str(entry.get(name)) for entry in entries}) for name in names}
    best = max(held, key=lambda name: held[name])
    used = (id_field,) if id_field else ID_FIELDS
    return best if best not in used and 2 * held[best] > len(identifiers) else None


def _file_names(images: Sequence[CaptionedImage]) -> list[str]:
    """Names without folders, as pictures lie in images/, unless two images would then have one name."""
    short = [image.name.replace("\\", "/").rsplit("/", 1)[-1] for image in images]
    return short if len(set(short)) == len(short) else [image.name for image in images]


def _selected(found: list[CaptionedImage], listing: Path, path: Path) -> list[CaptionedImage]:
    index = image_index(found, path)
    names = [name for name in read_captions(listing) if name]
    chosen = {name: index.find(name) for name in names}
    missing = [name for name, places in chosen.items() if not places]
    if missing:
        raise NaafError(
            f"{shown(listing)}: {len(missing)} images have no captions, the first is {missing[0]}"
        )
    for name, places in chosen.items():
        if len(places) > 1:
            fits = " and ".join(found[place].ids[-1] for place in places[:2])
            raise NaafError(f"{shown(listing)}: {name} may be {fits}; write the whole id of the image")
    if len({places[0] for places in chosen.values()}) < len(names):
        raise NaafError(f"{shown(listing)}: an image is listed twice; list every image once")
    return [found[chosen[name][0]] for name in names]


def _from_karpathy(path: Path, splits: Sequence[str] | None, id_field: str | None) -> list[CaptionedImage]:
    entries = _entries(path, splits)
    return [_karpathy_image(entry, number, path, id_field) for number, entry in enumerate(entries)]


def _entries(path: Path, splits: Sequence[str] | None) -> list[dict[str, Any]]:
    content = read_json(path, damaged="get the file again")
    entries = content.get("images") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise NaafError(f"{shown(path)}: not one of Karpathy's files (it has no list `images` of records)")
    chosen = [entry for entry in entries if splits is None or entry.get("split") in splits]
    if not chosen:
        present = ", ".join(sorted({str(entry.get("split")) for entry in entries})) or "none"
        wanted = " or ".join(splits or ("any",))
        raise NaafError(f"{shown(path)}: no image is in the split {wanted}; its splits: {present}")
    return chosen


def _karpathy_image(entry: dict[str, Any], number: int, path: Path, id_field: str | None) -> CaptionedImage:
    fields = [id_field] if id_field else [field for field in ID_FIELDS if field in entry]
    try:
        ids = tuple(str(entry[field]) for field in fields)
        texts = [
            " ".join(str(sentence["raw"]).split()) for sentence in entry["sentences"]
        ]  # COCO breaks lines
        captions = tuple(text for text in texts if text)  # no words are no caption
        name = str(entry.get("filename", "")) or ids[0]
    except (KeyError, TypeError, IndexError) as error:
        needed = f"{id_field or ' or '.join(ID_FIELDS)} and sentences with raw"
        raise NaafError(
            f"{shown(path)}: image {number} of the split lacks {needed}; get the file again"
        ) from error
    return CaptionedImage(name, ids, captions)
