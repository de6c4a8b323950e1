"""A split of scenes written in the forms of public benchmarks, so that their readers have known answers.

    sugar_crepe/replace_{obj,att,rel}.json        the split's foils, by the kind of the wrong word
    valse/{foil-it,relations}.json                nouns, relations
    flickr30k_entities/Sentences/, Annotations/   what the words speak of, and where it is

Pictures keep their names. What a form cannot say is lost: which word of a foil is wrong (it is the one that
differs), what an entity is beyond its phrase's type. The types of phrases are shapes (star, circle), since
people and vehicles are not in scenes; a phrase of objects of several shapes has several types.
"""

import json
import os
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from pathlib import Path

from ...errors import NaafError
from ...files import put, resolve, shown
from ..captions import tokenize
from ..public.entities import ARTICLES
from ..public.entity_files import SIDES
from ..splits import Split, evaluation_split, open_split
from ..writing import temporary_folder, write_lines
from .dataset import read_foils, read_mentions, read_scenes
from .foils import Foil
from .words import LEXICON
from .world import Scene

SUGAR_CREPE = {  # its files, and the kinds of foils in each
    "replace_obj": ("shape",),
    "replace_att": ("colour", "size", "texture", "number", "background"),
    "replace_rel": ("relation", "position"),
}
VALSE = {  # its files, what they call their phenomenon, the kinds of foils in each
    "foil-it": ("noun phrases", ("shape",)),
    "relations": ("relations", ("relation", "position")),
}
GROUNDS = {
    form
    for (kind, _), values in LEXICON.items()
    if kind == "background"
    for forms in values.values()
    for form in forms
}
Marks = dict[tuple[int, ...], int]  # the objects that a phrase speaks of -> the entity's id; () is the ground


def write_public_forms(
    folder: str | os.PathLike[str], out: str | os.PathLike[str], split: str | None = None
) -> Path:
    """Writes one split (None: test) of a scenes folder in the public forms below `out`, which is returned.

    Raises NaafError for a folder that is no scenes set, and where `out` already holds something.
    """
    folder, out = resolve(folder), resolve(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise NaafError(f"{shown(out)} is already there; name a new folder")
    opened = open_split(folder, split or evaluation_split(folder))
    foils = read_foils(folder, opened.name)
    with temporary_folder(out.parent, out) as room:
        partial = room / out.name
        for name, content in sugar_crepe(foils, opened).items():
            _write(partial / "sugar_crepe" / f"{name}.json", json.dumps(content, indent=4))
        for name, content in valse(foils, opened).items():
            _write(partial / "valse" / f"{name}.json", json.dumps(content, indent=4))
        _write_entities(partial / "flickr30k_entities", opened)
        put(partial, out)
    return out


def sugar_crepe(foils: Sequence[Foil], split: Split) -> dict[str, dict[str, dict[str, str]]]:
    """For each of SugarCrepe's files, its items {id: {filename, caption, negative_caption}}."""
    files = {}
    for name, kinds in SUGAR_CREPE.items():
        own = [foil for foil in foils if foil.kind in kinds]
        files[name] = {
            str(number): {
                "filename": split.image_name(foil.image),
                "caption": split.captions[foil.caption],
                "negative_caption": foil.text,
            }
            for number, foil in enumerate(own)
        }
    return files


def valse(foils: Sequence[Foil], split: Split) -> dict[str, dict[str, dict[str, object]]]:
    """For each of VALSE's files, its items. classes, classes_foil: the word, and what stands in its place.

    mturk: three viewers out of three hold the caption true, as its grammar guarantees.
    """
    files: dict[str, dict[str, dict[str, object]]] = {}
    for name, (phenomenon, kinds) in VALSE.items():
        files[name] = {
            f"scenes:{split.name}:{number}": {
                "dataset": "scenes",
                "dataset_idx": number,
                "original_split": split.name,
                "linguistic_phenomena": phenomenon,
                "image_file": split.image_name(foil.image),
                "caption": split.captions[foil.caption],
                "classes": foil.was,
                "classes_foil": foil.now,
                "mturk": {"foil": 0, "caption": 3, "other": 0},
                "foil": foil.text,
            }
            for number, foil in enumerate(foils)
            if foil.kind in kinds
        }
    return files


def _write_entities(folder: Path, split: Split) -> None:
    scenes, mentions = read_scenes(split.folder, split.name), read_mentions(split.folder, split.name)
    for image, scene in enumerate(scenes):
        marks: Marks = {}
        lines = [
            marked_sentence(tokenize(split.captions[caption]), mentions[caption], scene, marks)
            for caption in split.captions_of_image(image)
        ]
        name = Path(split.image_name(image))
        _write(folder / "Sentences" / f"{name.stem}.txt", "\n".join(lines))
        _write(folder / "Annotations" / f"{name.stem}.xml", annotation(scene, name.name, marks))


def marked_sentence(
    words: Sequence[str], mentions: Sequence[Sequence[int]], scene: Scene, marks: Marks
) -> str:
    """The caption with its phrases marked; entities that are new get the next id in `marks`.

    A phrase is a run of words that speak of the same objects, with its article; "with" stands in it before
    stripes. Adjectives after "is" are phrases of their own, which Flickr30k Entities has not.
    """
    written: list[str] = []
    at = 0
    while at < len(words):
        first = at + (words[at] in ARTICLES and at + 1 < len(words))
        end, objects = _run(words, mentions, first)
        if end == first:
            written.append(words[at])
            at += 1
            continue
        entity = marks.setdefault(objects, len(marks) + 1)
        types = sorted({scene.objects[k].shape for k in objects}) or ["scene"]
        written.append(f"[/EN#{entity}/{'/'.join(types)} {' '.join(words[at:end])}]")
        at = end
    return " ".join(written)


def _run(words: Sequence[str], mentions: Sequence[Sequence[int]], first: int) -> tuple[int, tuple[int, ...]]:
    """Where the phrase ends that begins at this word, and its objects; `first` where none begins there."""
    objects, end = tuple(mentions[first]), first
    if not objects:
        ground = first > 0 and words[first - 1] == "the" and words[first] in GROUNDS
        return first + ground, ()
    while end < len(words) and tuple(mentions[end]) == objects:
        end += 1
        if words[end : end + 1] == ["with"] and end + 1 < len(words) and tuple(mentions[end + 1]) == objects:
            end += 1
    return end, objects


def annotation(scene: Scene, filename: str, marks: Marks) -> str:
    """The XML of a picture: an object has the ids of all entities that it is part of."""
    root = ElementTree.Element("annotation")
    _add(root, "filename", filename)
    size = ElementTree.SubElement(root, "size")
    for side, value in (("width", scene.width), ("height", scene.height), ("depth", 3)):
        _add(size, side, value)
    for number, thing in enumerate(scene.objects):
        names = [entity for objects, entity in marks.items() if number in objects]
        if names:
            x1, y1, x2, y2 = thing.box
            box = ElementTree.SubElement(_object(root, names), "bndbox")
            for side, value in zip(SIDES, (x1 + 1, y1 + 1, x2, y2), strict=True):  # pixels count from 1
                _add(box, side, value)
    if () in marks:
        ground = _object(root, [marks[()]])
        _add(ground, "scene", 1)
        _add(ground, "nobndbox", 1)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode")


def _object(root: ElementTree.Element, names: Sequence[int]) -> ElementTree.Element:
    element = ElementTree.SubElement(root, "object")
    for name in names:
        _add(element, "name", name)
    return element


def _add(parent: ElementTree.Element, name: str, value: object) -> None:
    ElementTree.SubElement(parent, name).text = str(value)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_lines(path, [text])
