"""SugarCrepe and VALSE as they are published: a caption and its foil for a COCO picture.

SugarCrepe (Hsieh et al. 2023): seven files `{id: {filename, caption, negative_caption}}`. VALSE (Parcalabescu
et al. 2022): `{id: {image_file, caption, foil, mturk}}`; an item is valid where two annotators of three chose
its caption (`mturk.caption` >= 2), and the others are left out, as its authors do.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ...errors import NaafError, UsageError, unknown
from ...files import read_json, shown
from ..captions import LONGEST, tokenize, too_long

WORD = re.compile(r"[a-z0-9']+", re.IGNORECASE)  # what counts as a word in "exactly one word replaced"
COCO_NAME = re.compile(r"(?:COCO_(?:train|val|test)20\d\d_)?(\d{12})\.jpg")
VALID = 2  # of VALSE's three annotators


class Exchange(NamedTuple):
    """The one word in which a foil differs from its caption."""

    was: str  # as the caption spells it
    now: str  # as the foil spells it
    text: str  # the caption with this word exchanged, and nothing else
    word: int | None  # its place among the tokens of both; None where tokenisation splits it


@dataclass(frozen=True)
class FoilItem:
    """A caption that is true of a picture, and one that is not."""

    benchmark: str
    category: str  # the file's name without its ending
    id: str  # distinct within the category
    picture: str  # the picture file's name
    caption: str
    foil: str
    exchange: Exchange | None  # None where more than one word differs
    image: int | None = None  # its number in a split, where it is known

    @property
    def coco_id(self) -> int | None:
        """COCO's number of the picture, where the name holds one."""
        named = COCO_NAME.fullmatch(self.picture)
        return int(named[1]) if named else None

    @property
    def key(self) -> tuple[str, str]:
        return self.category, self.id


class Form(NamedTuple):
    """How a benchmark's files are published."""

    categories: tuple[str, ...]
    picture: str  # the key of the picture file's name
    foil: str  # the key of the foil
    graded: bool  # whether annotators judged each item
    source: str


FORMS = {
    "sugar-crepe": Form(
        ("add_att", "add_obj", "replace_att", "replace_obj", "replace_rel", "swap_att", "swap_obj"),
        "filename",
        "negative_caption",
        graded=False,
        source="naaf data fetch sugar_crepe",
    ),
    "valse": Form(
        ("foil-it", "relations", "plurals"),
        "image_file",
        "foil",
        graded=True,
        source="naaf data fetch valse",
    ),
}


def read_foils(benchmark: str, folder: Path, categories: Sequence[str] = ()) -> list[FoilItem]:
    """The items of a public benchmark, category by category in the order of `FORMS`.

    folder: holds a JSON file a category. categories: some of them; () for all.
    Raises UsageError for an unknown benchmark or category; NaafError for a missing or damaged file, an item
    of another shape, and one whose foil has the words of its caption.
    """
    if benchmark not in FORMS:
        raise unknown("benchmark", benchmark, FORMS)
    form = FORMS[benchmark]
    check_categories(categories, form.categories)
    chosen = [category for category in form.categories if not categories or category in categories]
    return [
        item for category in chosen for item in _items(benchmark, form, folder / f"{category}.json", category)
    ]


def check_categories(asked: Sequence[str], known: Iterable[str]) -> None:
    """Raises UsageError for a category that a benchmark does not have."""
    for category in asked:
        if category not in known:
            raise UsageError(f"there is no category {category!r}; categories: {', '.join(known)}")


def _items(benchmark: str, form: Form, path: Path, category: str) -> Iterator[FoilItem]:
    again = f"get it again: {form.source}"
    content = read_json(
        path,
        f"name its folder (--files DIR), or those that are there (--categories), or get it: {form.source}",
        again,
    )
    if not isinstance(content, dict) or not content:
        raise NaafError(f"{shown(path)} is not an object of items by their ids; {again}")
    for number, entry in content.items():
        where = f"{shown(path)}, item {number if number.isprintable() else repr(number)}"
        if form.graded and _votes(entry, where, again) < VALID:
            continue
        picture, caption, foil = (
            _text(entry, key, where, again) for key in (form.picture, "caption", form.foil)
        )
        if bare_words(caption) == bare_words(foil):
            raise NaafError(
                f"{where}: the foil has the same words as the caption; {again}, or delete the item"
            )
        yield FoilItem(benchmark, category, number, picture, caption, foil, exchanged(caption, foil))


def _votes(entry: object, where: str, again: str) -> int:
    """How many annotators chose the caption."""
    votes = entry.get("mturk") if isinstance(entry, dict) else None
    found = votes.get("caption") if isinstance(votes, dict) else None
    if not isinstance(found, int):
        raise NaafError(f"{where} has no number mturk.caption; {again}")
    return found


def _text(entry: object, key: str, where: str, again: str) -> str:
    if not isinstance(entry, dict) or key not in entry:
        raise NaafError(f"{where} has no {key!r}; {again}")
    value = entry[key]
    if not isinstance(value, str) or not bare_words(value):
        raise NaafError(f"{where}: {key!r} is {value!r} and no text with words; {again}")
    if len(value) > LONGEST:
        raise NaafError(f"{where}: {key!r} is {too_long(value)}")
    return value.strip()


def bare_words(text: str) -> list[str]:
    """Runs of letters, digits and apostrophes, in lower case: without any punctuation."""
    return [word.lower() for word in WORD.findall(text)]


def exchanged(caption: str, foil: str) -> Exchange | None:
    """The one word of `bare_words` in which two texts differ; None where they differ in none or in more.

    Punctuation, spacing and case do not count: SugarCrepe's foils end with a full stop, many of its captions
    do not.
    """
    before, after = ([*WORD.finditer(text)] for text in (caption, foil))
    if len(before) != len(after):
        return None
    pairs = list(zip(before, after, strict=True))
    changed = [k for k, (one, other) in enumerate(pairs) if one[0].lower() != other[0].lower()]
    if len(changed) != 1:
        return None
    was, now = pairs[changed[0]]
    text = caption[: was.start()] + now[0] + caption[was.end() :]
    return Exchange(was[0], now[0], text, changed_token(tokenize(caption), tokenize(text)))


def changed_token(before: Sequence[str], after: Sequence[str]) -> int | None:
    """The place of the one token in which two lists differ; None where they differ otherwise."""
    if len(before) != len(after):
        return None
    changed = [place for place, token in enumerate(after) if token != before[place]]
    return changed[0] if len(changed) == 1 else None
