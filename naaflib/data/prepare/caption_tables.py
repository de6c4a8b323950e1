"""Which images a split has, in which order, with which captions: Karpathy's JSON files or plain tables.

A plain table has a line a caption: image id or file name, a tab or a comma, the caption (`plain_tables`).
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import NaafError, UsageError
from ...files import read_json, shown
from ..captions import read_captions
from .image_ids import ImageIndex
from .plain_tables import read_table

# Karpathy's names; SCAN's COCO train split (113,287 images) is his train and restval together.
KARPATHY_SPLITS = {"train": ("train", "restval"), "dev": ("val",), "testall": ("test",)}
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
    captions_per_image: int,
    images: Path | None,
    source_splits: Sequence[str] | None,
    id_field: str | None,
) -> list[CaptionedImage]:
    """The images of a split in the order of the file, or of the list `images` (a name a line).

    In Karpathy's JSON the split is selected by its name there (source_splits overrides the usual one),
    unless a list of images selects. Of more captions than captions_per_image the first are kept.
    """
    if path.suffix.lower() == ".json":
        chosen = source_splits or KARPATHY_SPLITS.get(split, (split,))
        entries = _entries(path, None if images else chosen)
        found = [_karpathy_image(entry, number, path, id_field) for number, entry in enumerate(entries)]
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
    names = [image.name.replace("\\", "/").rsplit("/", 1)[-1] for image in found]
    if len(set(names)) < len(names):  # two pictures of one name keep their folders, in images/ too
        names = [image.name for image in found]
    return [
        replace(image, name=name, captions=image.captions[:captions_per_image])
        for image, name in zip(found, names, strict=True)
    ]


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


def _selected(found: list[CaptionedImage], listing: Path, path: Path) -> list[CaptionedImage]:
    index = ImageIndex((image.ids for image in found), path)
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
        raw = (str(sentence["raw"]).split() for sentence in entry["sentences"])
        captions = tuple(" ".join(words) for words in raw if words)  # COCO breaks lines
        name = str(entry.get("filename", "")) or ids[0]
    except (KeyError, TypeError, IndexError) as error:
        needed = f"{id_field or ' or '.join(ID_FIELDS)} and sentences with raw"
        raise NaafError(
            f"{shown(path)}: image {number} of the split lacks {needed}; get the file again"
        ) from error
    return CaptionedImage(name, ids, captions)
