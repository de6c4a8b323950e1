"""Captions by image from whatever file people have: tables, JSON, JSON lines, Karpathy's and COCO's files.

A record or a row names an image, its captions and, if it likes, the image's split.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import NaafError
from ...files import parse_json, read_json, read_text, shown
from .plain_tables import CAPTION_HEADERS, IMAGE_HEADERS, SPLIT_HEADERS, read_rows

FORMS = (
    "a table (image, caption), JSON or JSON lines of records with image and caption, "
    "Karpathy's dataset_*.json, or COCO's captions_*.json"
)


class ImageCaptions(NamedTuple):
    """An image by the name that the file has for it, its captions, and the split that the file names."""

    name: str
    captions: tuple[str, ...]
    split: str | None


class _Entry(NamedTuple):
    place: str
    name: str
    captions: tuple[str, ...]
    split: str | None


def read_image_captions(path: Path, split_field: str | None = None) -> list[ImageCaptions]:
    """Every image of the file once, in the file's order, with all its captions that are not empty.

    split_field: the column or field that holds the split; None: split, partition or subset, where it is
    there. Raises NaafError for a file of another form, and for an image with two different splits.
    """
    kind = path.suffix.lower()
    if kind == ".json":
        entries = list(_from_json(read_json(path, damaged=f"give {FORMS}"), path, split_field))
    elif kind in (".jsonl", ".ndjson"):
        entries = _from_records(_json_lines(path), path, split_field)
    else:
        entries = [
            _Entry(row.place, row.image, _listed(row.caption), row.split)
            for row in read_rows(path, split_field)
        ]
    captions: dict[str, list[str]] = {}
    splits: dict[str, str | None] = {}
    for entry in entries:
        captions.setdefault(entry.name, []).extend(text for text in entry.captions if text)
        if splits.setdefault(entry.name, entry.split) != entry.split:
            both = f"{splits[entry.name]} and {entry.split}"
            raise NaafError(f"{entry.place}: {entry.name} is in the splits {both}; leave it in one")
    if not captions:
        raise NaafError(f"{shown(path)}: no image with a caption is in it; give {FORMS}")
    return [ImageCaptions(name, tuple(texts), splits[name]) for name, texts in captions.items()]


def _listed(cell: str) -> tuple[str, ...]:
    """The captions of a table's cell; some published tables hold a JSON list of all captions in one."""
    if cell.startswith('["'):
        try:
            return tuple(_line(text) for text in parse_json(cell))
        except (ValueError, AttributeError):  # no JSON, or not of texts
            pass
    return (cell,)


def _from_json(content: Any, path: Path, split_field: str | None) -> Iterable[_Entry]:
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        return _from_coco(content, path)
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        content = content["images"]  # Karpathy's: records with sentences
    elif isinstance(content, dict):
        content = [{"image": name, "captions": texts} for name, texts in content.items()]
    if not isinstance(content, list):
        raise NaafError(f"{shown(path)}: neither records nor images by name; give {FORMS}")
    return _from_records(
        ((f"{shown(path)}, record {n}", one) for n, one in enumerate(content)), path, split_field
    )


def _json_lines(path: Path) -> Iterable[tuple[str, Any]]:
    for number, text in enumerate(read_text(path).splitlines(), 1):
        if text.strip():
            place = f"{shown(path)}, line {number}"
            try:
                yield place, parse_json(text)
            except ValueError as error:
                raise NaafError(f"{place}: not a JSON record ({error}); correct the line") from None


def _from_coco(content: dict[str, Any], path: Path) -> Iterable[_Entry]:
    """COCO's captions: images with id and file_name, annotations with image_id and caption."""
    try:
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        for number, one in enumerate(content["annotations"]):
            place = f"{shown(path)}, annotation {number}"
            yield _Entry(place, names[one["image_id"]], (_line(one["caption"]),), None)
    except (KeyError, TypeError) as error:
        raise NaafError(
            f"{shown(path)}: {error} is missing; COCO's captions are a list `images` (id, file_name) and a "
            "list `annotations` (image_id, caption)"
        ) from None


def _from_records(records: Iterable[tuple[str, Any]], path: Path, split_field: str | None) -> list[_Entry]:
    entries = [_record(place, record, split_field) for place, record in records]
    if split_field and all(entry.split is None for entry in entries):
        raise NaafError(f"{shown(path)}: no record has the field {split_field}; name the field of the split")
    return entries


def _record(place: str, record: Any, split_field: str | None) -> _Entry:
    if not isinstance(record, dict):
        raise NaafError(f"{place}: not a record with image and caption; give {FORMS}")
    name = next((record[field] for field in ("filename", *IMAGE_HEADERS) if record.get(field)), None)
    texts = next((record[field] for field in ("sentences", *CAPTION_HEADERS) if field in record), None)
    if not isinstance(name, str | int) or texts is None:
        raise NaafError(
            f"{place}: it needs an image and a caption; its fields: {', '.join(map(str, record))}"
        )
    name = f"{record['filepath']}/{name}" if record.get("filepath") else str(name)  # Karpathy's COCO
    texts = [one.get("raw") if isinstance(one, dict) else one for one in _many(texts)]
    if not all(isinstance(text, str) for text in texts):
        raise NaafError(f"{place}: its captions are not texts; correct the record")
    fields = (split_field,) if split_field else SPLIT_HEADERS
    split = next((str(record[field]) for field in fields if record.get(field) is not None), None)
    return _Entry(place, name, tuple(_line(text) for text in texts), split)


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _line(text: str) -> str:
    return " ".join(text.split())
