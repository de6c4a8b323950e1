"""Which images a split has, in which order, with which captions: Karpathy's JSON files or plain tables.

A plain table has a line a caption: image id or file name, a tab or a comma, the caption.
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import NaafError, UsageError
from ..project import shown
from .captions import read_captions

# Karpathy's names; SCAN's COCO train split (113,287 images) is his train and restval together.
KARPATHY_SPLITS = {
    "train": ("train", "restval"),
    "dev": ("val",),
    "test": ("test",),
    "testall": ("test",),
}
ID_FIELDS = ("cocoid", "filename")
HEADERS = {"image", "image_id", "image_name", "filename", "file_name", "name", "id"}


@dataclass(frozen=True)
class CaptionedImage:
    """An image under every id that a feature file may call it by, and its captions."""

    name: str
    ids: tuple[str, ...]
    captions: tuple[str, ...]


def aliases(identifier: object) -> tuple[str, ...]:
    """What an image id may be called elsewhere: with or without folder, ending, COCO's prefix and zeros."""
    text = str(identifier).strip()
    base = text.replace("\\", "/").rsplit("/", 1)[-1]
    stem = re.sub(r"\.(jpe?g|png|gif|bmp|webp)$", "", base, flags=re.IGNORECASE)
    number = re.fullmatch(r"(?:COCO_[a-z]+\d*_)?0*(\d+)", stem)
    return tuple(dict.fromkeys((text, base, stem, *((number[1],) if number else ()))))


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
        found = _from_table(path)
    if images is not None:
        found = _selected(found, images, path)
    for image in found:
        if len(image.captions) < captions_per_image:
            raise NaafError(
                f"{shown(path)}: image {image.name} has {len(image.captions)} captions,"
                f" {captions_per_image} are needed; add some or convert with fewer captions an image"
            )
    return [CaptionedImage(i.name, i.ids, i.captions[:captions_per_image]) for i in found]


def index_by_alias(images: Iterable[CaptionedImage], path: Path) -> dict[str, int]:
    """The position of every image by each of its ids; an id that two images share is refused."""
    position: dict[str, int] = {}
    for number, image in enumerate(images):
        for alias in dict.fromkeys(a for identifier in image.ids for a in aliases(identifier)):
            if position.setdefault(alias, number) != number:
                raise NaafError(
                    f"{shown(path)}: two images are called {alias}; give every image a name of its own"
                )
    return position


def find_image(identifier: str, position: dict[str, int]) -> int | None:
    """The position of the image that a feature file calls so, or None where it is not wanted."""
    return next((position[alias] for alias in aliases(identifier) if alias in position), None)


def _selected(found: list[CaptionedImage], listing: Path, path: Path) -> list[CaptionedImage]:
    position = index_by_alias(found, path)
    names = [name for name in read_captions(listing) if name]
    chosen = [(name, find_image(name, position)) for name in names]
    missing = [name for name, place in chosen if place is None]
    if missing:
        raise NaafError(
            f"{shown(listing)}: {len(missing)} images have no captions, the first is {missing[0]}"
        )
    if len({place for _, place in chosen}) < len(chosen):
        raise NaafError(f"{shown(listing)}: an image is listed twice; list every image once")
    return [found[place] for _, place in chosen if place is not None]


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise NaafError(f"{shown(path)}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise NaafError(f"{shown(path)}, line {line}: not UTF-8 text; save the file as UTF-8") from error


def _one_line(text: object) -> str:
    """A caption without line breaks, which COCO's raw sentences hold."""
    return " ".join(str(text).split())


def _from_karpathy(path: Path, splits: Sequence[str] | None, id_field: str | None) -> list[CaptionedImage]:
    try:
        content: Any = json.loads(_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise NaafError(f"{shown(path)}: not whole JSON; get the file again") from error
    entries = content.get("images") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise NaafError(f"{shown(path)}: not one of Karpathy's files (it has no list `images` of records)")
    chosen = [entry for entry in entries if splits is None or entry.get("split") in splits]
    if not chosen:
        present = ", ".join(sorted({str(entry.get("split")) for entry in entries})) or "none"
        wanted = " or ".join(splits or ("any",))
        raise NaafError(f"{shown(path)}: no image is in the split {wanted}; its splits: {present}")
    return [_karpathy_image(entry, number, path, id_field) for number, entry in enumerate(chosen)]


def _karpathy_image(entry: dict[str, Any], number: int, path: Path, id_field: str | None) -> CaptionedImage:
    fields = [id_field] if id_field else [field for field in ID_FIELDS if field in entry]
    try:
        ids = tuple(str(entry[field]) for field in fields)
        captions = tuple(_one_line(sentence["raw"]) for sentence in entry["sentences"])
        name = str(entry.get("filename", "")) or ids[0]
    except (KeyError, TypeError, IndexError) as error:
        needed = f"{id_field or ' or '.join(ID_FIELDS)} and sentences with raw"
        raise NaafError(
            f"{shown(path)}: image {number} of the split lacks {needed}; get the file again"
        ) from error
    return CaptionedImage(name, ids, captions)


def _from_table(path: Path) -> list[CaptionedImage]:
    text = _text(path)
    first = text.split("\n", 1)[0]
    rows = _tab_rows(text) if "\t" in first else _comma_rows(text, path)
    captions: dict[str, list[str]] = {}
    for line, row in rows:
        if line == 1 and row[0].strip().lower() in HEADERS:
            continue
        if len(row) < 2 or not row[0].strip():
            raise NaafError(
                f"{shown(path)}, line {line}: write the image's id or name, a tab, and one caption"
            )
        name = re.sub(r"#\d+$", "", row[0].strip())  # Flickr's token files number the captions: 1.jpg#0
        captions.setdefault(name, []).append(_one_line(row[1]))
    if not captions:
        raise NaafError(f"{shown(path)}: no caption is in it; write a line a caption: image, tab, caption")
    return [CaptionedImage(name.rsplit("/", 1)[-1], (name,), tuple(c)) for name, c in captions.items()]


def _tab_rows(text: str) -> Iterable[tuple[int, list[str]]]:
    """Quotation marks have no meaning between tabs: captions hold them."""
    for line, row in enumerate(text.split("\n"), 1):
        if row.strip():
            yield line, row.rstrip("\r").split("\t", 1)


def _comma_rows(text: str, path: Path) -> Iterable[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            if row:
                yield reader.line_num, row if len(row) < 3 else [row[0], ",".join(row[1:])]
    except csv.Error as error:
        raise NaafError(f"{shown(path)}, line {reader.line_num}: not a CSV file ({error})") from error
