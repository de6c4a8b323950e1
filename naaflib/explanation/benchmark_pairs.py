"""A model's scores of benchmark items whose pictures lie in several splits, and the wrong word of each."""

from collections.abc import Sequence

import numpy as np

from ..data.captions import tokenize
from ..data.public.foils import FoilItem
from ..data.public.pictures import Place
from ..data.scenes.foils import Foil
from ..data.splits import Split
from ..model.model import Model
from .blind import BlindModel
from .detection import FoilDetection, Read, found_foils, read_pairs
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
    """(item, 2) The model's scores of caption and foil; a pair of several items is scored once."""
    scores = np.empty((len(items), 2))
    for split, rows in _by_split(places).values():
        keys = [(places[k][1], text) for k in rows for text in (items[k].caption, items[k].foil)]
        own = list(dict.fromkeys(keys))
        found: dict[tuple[int, str], float] = {}
        for start in range(0, len(own), CHUNK):
            images, texts = zip(*own[start : start + CHUNK], strict=True)
            parts = chunk_parts(model, split, np.array(images), texts)
            found |= {key: float(part.score) for key, part in zip(own[start:], parts, strict=False)}
        scores[rows] = np.reshape([found[key] for key in keys], (-1, 2))
    return scores


def wrong_words(
    model: Model, blind: BlindModel | None, items: Sequence[FoilItem], places: Sequence[Place]
) -> tuple[FoilDetection | None, FoilDetection | None]:
    """Which word is wrong, by the model and by the text-only baseline; None where no item can say."""
    rows = [k for k, item in enumerate(items) if item.exchange is not None and item.exchange.word is not None]
    if not rows:
        return None, None
    items, places = [items[k] for k in rows], [places[k] for k in rows]
    foils = _one_word_foils(items)
    texts = [foil.caption for foil in foils], [foil.text for foil in foils]
    seen = [_read_by(model, places, own) for own in texts]
    by_model = found_foils(foils, *seen)
    if blind is None:
        return by_model, None
    return by_model, found_foils(foils, *([_blindly(blind, text) for text in own] for own in texts))


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


def _read_by(model: Model, places: Sequence[Place], texts: Sequence[str]) -> list[Read]:
    found: dict[int, Read] = {}
    for split, rows in _by_split(places).values():
        reads = read_pairs(model, split, [places[k][1] for k in rows], [texts[k] for k in rows])
        found |= dict(zip(rows.tolist(), reads, strict=True))
    return [found[k] for k in range(len(texts))]


def _blindly(blind: BlindModel, text: str) -> Read:
    return Read(tokenize(text), blind.score(text), {"likelihood": blind.evidence(text)})
