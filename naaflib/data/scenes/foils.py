"""Foils: captions with exactly one word made wrong, so that they are false even for a lenient viewer."""

from dataclasses import dataclass, replace

from numpy.random import Generator

from .grammar import Caption
from .words import LEXICON, TOTAL, Word, pick_form
from .world import Claim, Scene, referents


@dataclass(frozen=True)
class Foil:
    """A caption made false: caption number `caption` of the split, which speaks of image number `image`, with
    token number `word` (without <start>) changed from `was` to `now`, another word of the same kind."""

    caption: int | str  # a text where the true caption is none of the split's
    image: int
    text: str
    word: int
    was: str
    now: str
    kind: str


@dataclass(frozen=True)
class Swap:
    """The word at `word` is replaced by `now`, which says something else of the same kind."""

    word: int
    now: str


def sample_foils(caption: Caption, scene: Scene, count: int, rng: Generator) -> list[Swap]:
    """Up to so many foils, each of another kind of word, all kinds with the same chance."""
    kinds = sorted({word.kind for word in caption.words if word.kind is not None})
    found: list[Swap] = []
    for k in rng.permutation(len(kinds)):
        swap = _first_false(caption, scene, kinds[k], rng) if len(found) < count else None
        if swap is not None:
            found.append(swap)
    return found


def _first_false(caption: Caption, scene: Scene, kind: str, rng: Generator) -> Swap | None:
    places = [i for i, word in enumerate(caption.words) if word.kind == kind]
    for i in (places[k] for k in rng.permutation(len(places))):
        word = caption.words[i]
        forms = LEXICON[kind, word.frame]
        for value in _in_random_order(list(forms), kind, scene, rng):
            now = pick_form(forms[value], rng)
            claim = exchanged(caption.claim, word, value)
            if _fits(caption, i, now) and referents(claim, scene, generous=True) is None:
                return Swap(i, now)
    return None


def _fits(caption: Caption, place: int, now: str) -> bool:
    """Whether "a" or "an" before the word still does."""
    vowel, was_vowel = now[0] in "aeiou", caption.words[place].text[0] in "aeiou"
    return place == 0 or caption.words[place - 1].text not in ("a", "an") or vowel == was_vowel


def _in_random_order(values: list[str], kind: str, scene: Scene, rng: Generator) -> list[str]:
    """Half of the time those of other objects first: harder to tell from the truth."""
    shuffled = [values[i] for i in rng.permutation(len(values))]
    if rng.random() < 0.5:
        present = {getattr(thing, kind, None) for thing in scene.objects}
        shuffled.sort(key=lambda value: value not in present)
    return shuffled


def exchanged(claim: Claim, word: Word, value: str) -> Claim:
    """The claim that the caption makes when the word says this value instead."""
    if word.kind == "background":
        return replace(claim, background=value)
    if word.kind == "number" and word.index == TOTAL:
        return replace(claim, total=int(value))
    if word.kind in ("relation", "position"):
        field = f"{word.kind}s"
        said = list(getattr(claim, field))
        said[word.index] = (value, *said[word.index][1:])
        return replace(claim, **{field: tuple(said)})
    descriptions = list(claim.descriptions)
    said = descriptions[word.index]
    change = {"count": int(value)} if word.kind == "number" else {str(word.kind): value}
    descriptions[word.index] = replace(said, **change)
    return replace(claim, descriptions=tuple(descriptions))
