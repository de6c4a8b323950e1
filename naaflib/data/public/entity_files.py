"""The two files that Flickr30k Entities has of a picture, read as they are published."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...errors import NaafError
from ...files import read_text, shown
from ..captions import LONGEST, too_long

MARK = re.compile(r"\[/EN#([^\s/\[\]]+)((?:/[^\s/\[\]]+)+)\s([^\[\]]*\S)\s*\]")
SIDES = ("xmin", "ymin", "xmax", "ymax")
AGAIN = "get Flickr30k Entities again"


class Phrase(NamedTuple):
    """Some words in a row that speak of one entity. types: people, clothing, ...; mostly one."""

    entity: str
    types: tuple[str, ...]


@dataclass(frozen=True)
class Sentence:
    """One caption. phrase_of: for each word the number of its phrase, None outside of all."""

    words: tuple[str, ...]
    phrase_of: tuple[int | None, ...]
    phrases: tuple[Phrase, ...]


class Annotation(NamedTuple):
    """The boxes of one picture's entities, in its pixels. An entity without a box is not among them."""

    size: Float[np.ndarray, "2"]  # width, height
    boxes: dict[str, Float[np.ndarray, "_ 4"]]  # x1, y1, x2, y2 of each


def read_sentences(path: Path) -> list[Sentence]:
    """The sentences of one picture, with their phrases. Raises NaafError: file, line, remedy."""
    text = read_text(path, AGAIN)
    if not text.strip():
        raise NaafError(f"{shown(path)} is empty; {AGAIN}")
    lines = text.removesuffix("\n").split("\n")  # not splitlines: see `read_captions`
    return [_sentence(line, f"{shown(path)}, line {number}") for number, line in enumerate(lines, 1)]


def _sentence(line: str, place: str) -> Sentence:
    if len(line) > LONGEST:
        raise NaafError(f"{place}: {too_long(line)}")
    words: list[str] = []
    phrase_of: list[int | None] = []
    phrases: list[Phrase] = []
    at = 0
    for mark in (*MARK.finditer(line), None):
        between = line[at : mark.start() if mark else None]
        if "[/EN" in between:
            broken = between[between.index("[/EN") :][:40]
            raise NaafError(f"{place}: {broken!r} is no mark of the form [/EN#id/type words]; {AGAIN}")
        words += between.split()
        phrase_of += [None] * (len(words) - len(phrase_of))
        if mark:
            words += mark[3].split()
            phrase_of += [len(phrases)] * (len(words) - len(phrase_of))
            phrases.append(Phrase(mark[1], tuple(mark[2][1:].split("/"))))
            at = mark.end()
    return Sentence(tuple(words), tuple(phrase_of), tuple(phrases))


def read_annotation(path: Path) -> Annotation:
    """The size of one picture and the boxes of its entities. Raises NaafError: file, element, remedy.

    A pixel's number counts from 1 and xmax, ymax are the last ones inside, as in PASCAL VOC: the box reaches
    from xmin - 1 to xmax.
    """
    root = _parse(path)
    size = np.array([_number(root, f"size/{side}", f"{shown(path)}") for side in ("width", "height")])
    if size.min() <= 0:
        raise NaafError(f"{shown(path)}: the picture's size is not above 0; {AGAIN}")
    boxes: dict[str, list[list[float]]] = {}
    for number, element in enumerate(root.findall("object"), 1):
        place = f"{shown(path)}, object {number}"
        names = [(name.text or "").strip() for name in element.findall("name")]
        if not names or "" in names:
            raise NaafError(f"{place}: it has no name (the id of its entity); {AGAIN}")
        if element.find("bndbox") is None:  # a scene, or an entity that nobody can draw a box around
            continue
        x1, y1, x2, y2 = (_number(element, f"bndbox/{side}", place) for side in SIDES)
        if x2 < x1 or y2 < y1:
            raise NaafError(f"{place}: its box ends before it begins; {AGAIN}")
        for name in names:
            boxes.setdefault(name, []).append([x1 - 1, y1 - 1, x2, y2])
    return Annotation(size, {name: np.array(own) for name, own in boxes.items()})


def _parse(path: Path) -> ElementTree.Element:
    """The root of an XML file that declares nothing: entities can grow a small file to gigabytes."""
    text = read_text(path, AGAIN)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise NaafError(
            f"{shown(path)}: it declares a document type or entities, which no such file has; {AGAIN}"
        )
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        raise NaafError(f"{shown(path)}: not valid XML ({error}); {AGAIN}") from None


def _number(element: ElementTree.Element, name: str, place: str) -> float:
    text = element.findtext(name)
    try:
        value = float(text or "")
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        what = "is missing" if text is None else f"is {text.strip()[:40]!r}, not a number"
        raise NaafError(f"{place}: {name} {what}; {AGAIN}")
    return value
