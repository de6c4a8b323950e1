"""A model's scores of benchmark items whose pictures lie in several splits, and the wrong word of each."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from ..data.captions import tokenize
from ..data.public.foils import FoilItem
from ..data.public.pictures import Place
from ..data.scenes.foils import Foil
from ..data.splits import Split
from ..errors import NaafError
from ..model.model import Model
from .blind import BlindModel
from .detection import FoilDetection, Read, found_foils, read_alike, read_pairs
from .pairs import chunk_parts

CHUNK = 256  # pairs scored at a time


def _by_split(places: Sequence[Place]) -> dict[str, tuple[Split, np.ndarray]]:
    """For each split the items whose pictures it holds, those of one picture side by side."""
    of_split = {split.name: split for split, _ in places}
    rows = {name: [k for k, (split, _) in enumerate(places) if split.name == name] for name in of_split}
    return {
        name: (of_split[name], np.array(sorted(own, key=lambda k: places[k][1])))
        for name, own in rows.items()
    }


def benchmark_scores(model: Model, items: Sequence[FoilItem], places: Sequence[Place]) -> np.ndarray:
    """(item, 2) The model's scores of caption and foil; what it reads alike has one score."""
    scores = np.empty((len(items), 2))
    for split, rows in _by_split(places).values():
        images = [places[k][1] for k in rows for _ in range(2)]
        texts = [text for k in rows for text in (items[k].caption, items[k].foil)]
        keys = read_alike(model, images, texts)
        pairs = list(dict(zip(keys, zip(images, texts, strict=True), strict=True)).items())
        found: dict[Hashable, float] = {}
        for start in range(0, len(pairs), CHUNK):
            some = pairs[start : start + CHUNK]
            own, said = zip(*(pair for _, pair in some), strict=True)
            parts = chunk_parts(model, split, np.array(own), said)
            found |= {key: float(part.score) for (key, _), part in zip(some, parts, strict=True)}
        scores[rows] = np.reshape([found[key] for key in keys], (-1, 2))
    return scores


def other_places(places: Sequence[Place]) -> list[Place]:
    """Another picture of the same items for each item: the one half of all pictures further on.

    Raises NaafError for a single picture.
    """
    key = [(split.name, image) for split, image in places]
    own = dict(zip(key, places, strict=True))
    if len(own) < 2:
        raise NaafError("all items are of one picture, so there is no other one to show")
    pictures = list(own)
    half = len(pictures) // 2
    other = dict(zip(pictures, pictures[half:] + pictures[:half], strict=True))
    return [own[other[one]] for one in key]


def wrong_words(
    items: Sequence[FoilItem], read: Callable[[Sequence[int], Sequence[str]], list[Read]]
) -> FoilDetection | None:
    """Which word is wrong, of the items with one exchanged word; None where there is no such item.

    read: a reader of texts; it takes the items' places in the list and a text for each.
    """
    rows = [k for k, item in enumerate(items) if item.exchange is not None and item.exchange.word is not None]
    if not rows:
        return None
    foils = _one_word_foils([items[k] for k in rows])
    texts = [*(str(foil.caption) for foil in foils), *(foil.text for foil in foils)]
    reads = read([*rows, *rows], texts)  # together: what is read alike is a tie
    return found_foils(foils, reads[: len(foils)], reads[len(foils) :])


def _one_word_foils(items: Sequence[FoilItem]) -> list[Foil]:
    """The captions with one word exchanged and nothing else; the pictures are numbered as they come."""
    number = {picture: k for k, picture in enumerate(dict.fromkeys(item.picture for item in items))}
    return [
        Foil(
            item.caption,
            number[item.picture],
            item.exchange.text,
            item.exchange.word,
            item.exchange.was,
            item.exchange.now,
            item.category,
        )
        for item in items
    ]


def read_by_model(
    model: Model, places: Sequence[Place], rows: Sequence[int], texts: Sequence[str]
) -> list[Read]:
    """Texts as a model reads them beside the pictures at some of the places."""
    found: dict[int, Read] = {}
    of_rows = [places[row] for row in rows]
    for split, own in _by_split(of_rows).values():
        reads = read_pairs(model, split, [of_rows[k][1] for k in own], [texts[k] for k in own])
        found |= dict(zip(own.tolist(), reads, strict=True))
    return [found[k] for k in range(len(texts))]


def read_blindly(blind: BlindModel, _: Sequence[int], texts: Sequence[str]) -> list[Read]:
    """Texts as the text-only baseline reads them."""
    return [Read(tokenize(text), blind.score(text), {"likelihood": blind.evidence(text)}) for text in texts]
