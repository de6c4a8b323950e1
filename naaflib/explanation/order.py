"""Foils by word order: a caption's own words in another order (the idea of ARO, Yuksekgonul et al. 2023).

The rules need no tagger. They differ from ARO's, which shuffles nouns and adjectives by part of speech.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations

import numpy as np

from ..data.captions import tokenize
from ..data.public.foils import FoilItem, check_categories
from ..data.splits import Split
from .foils import LISTS, article_fits, in_set_phrase, meanings

Rule = Callable[[list[str], np.random.Generator], list[str] | None]
TRIES = 20  # shuffles until one differs from the caption
LITTLE = frozenset(("a", "an", "the", "and", "or", "with", "in", "of", "is", "are", "wearing", ","))


def all_words(words: list[str], rng: np.random.Generator) -> list[str] | None:
    """Any order."""
    return _other(words, lambda: [words[k] for k in rng.permutation(len(words))])


def neighbours(words: list[str], rng: np.random.Generator) -> list[str] | None:
    """Two different words that stand side by side change places."""
    places = [k for k in range(len(words) - 1) if words[k] != words[k + 1]]
    return _swapped(words, (k := places[rng.integers(len(places))]), k + 1) if places else None


def trigrams(words: list[str], rng: np.random.Generator) -> list[str] | None:
    """Groups of three words in another order; the order within a group stays."""
    groups = _groups(words)
    return _other(words, lambda: [word for k in rng.permutation(len(groups)) for word in groups[k]])


def within_trigrams(words: list[str], rng: np.random.Generator) -> list[str] | None:
    """Each group of three words shuffled; the order of the groups stays."""
    return _other(words, lambda: [group[k] for group in _groups(words) for k in rng.permutation(len(group))])


def listed_words(words: list[str], rng: np.random.Generator) -> list[str] | None:
    """Two words of one kind and number exchanged: "a red dog and a black cat" has another red one."""
    pairs = [pair for pair in combinations(range(len(words)), 2) if _exchangeable(words, *pair)]
    return _swapped(words, *pairs[rng.integers(len(pairs))]) if pairs else None


RULES: dict[str, Rule] = {
    "all-words": all_words,
    "neighbours": neighbours,
    "trigrams": trigrams,
    "within-trigrams": within_trigrams,
    "listed-words": listed_words,
}


def order_foils(split: Split, *, rules: Sequence[str] = (), seed: int = 0) -> list[FoilItem]:
    """Every caption of a split in another order, once a rule of `RULES` (() for all) where it is possible.

    Punctuation at a caption's end stays there. Foils are in lower case, as models read them. A foil depends
    on the seed, the caption's number, its words and the rule. Raises UsageError for an unknown rule.
    """
    check_categories(rules, RULES)
    found = []
    for number, rule in enumerate(RULES):
        for caption, text in enumerate(split.captions if not rules or rule in rules else ()):
            words, end = _without_end(tokenize(text))
            moved = RULES[rule](words, np.random.default_rng([seed, caption, number]))
            foil = None if moved is None else " ".join([*moved, *end])
            if foil is not None and tokenize(foil) == [*moved, *end]:
                image = int(split.image_of(caption))
                about = ("order", rule, str(caption), split.image_name(image), text, foil)
                found.append(FoilItem(*about, exchange=None, image=image))
    return found


def _other(words: list[str], shuffle: Callable[[], list[str]]) -> list[str] | None:
    """The first shuffle that differs from the words; None where none is found."""
    if len(set(words)) < 2:
        return None
    return next((moved for moved in (shuffle() for _ in range(TRIES)) if moved != words), None)


def _swapped(words: list[str], one: int, other: int) -> list[str]:
    moved = list(words)
    moved[one], moved[other] = words[other], words[one]
    return moved


def _groups(words: list[str]) -> list[list[str]]:
    return [words[k : k + 3] for k in range(0, len(words), 3)]


def _without_end(words: list[str]) -> tuple[list[str], list[str]]:
    """The words, and the punctuation after the last of them."""
    last = max((k for k, word in enumerate(words) if any(map(str.isalnum, word))), default=-1)
    return words[: last + 1], words[last + 1 :]


def _exchangeable(words: list[str], one: int, other: int) -> bool:
    """Whether two listed words may change places, and hardly leave the caption true.

    Not where only `LITTLE` words stand between them ("a man and a woman") nor where the words around them are
    the same ("a black dog and a white dog").
    """
    if not _kinds(words[one]) & _kinds(words[other]) or _same_meaning(words[one], words[other]):
        return False
    around = [_around(words, place) for place in (one, other)]
    return (
        not LITTLE.issuperset(words[one + 1 : other])
        and all(mine != yours for mine, yours in zip(*around, strict=True))
        and not any(in_set_phrase(words, place) for place in (one, other))
        and article_fits(words, one, words[other])
        and article_fits(words, other, words[one])
    )


def _around(words: list[str], place: int) -> tuple[str, str]:
    """The nearest word to the left and to the right that is not of `LITTLE`, else the place."""
    left = next((word for word in reversed(words[:place]) if word not in LITTLE), f"<{place}")
    right = next((word for word in words[place + 1 :] if word not in LITTLE), f"{place}>")
    return left, right


@cache
def _kinds(word: str) -> frozenset[tuple[str, str]]:
    """The kinds and numbers that the word lists give a word."""
    found = ((kind, meaning.number_of(word)) for kind in LISTS for meaning in meanings(kind))
    return frozenset((kind, number) for kind, number in found if number is not None)


@cache
def _same_meaning(one: str, other: str) -> bool:
    return any(one in meaning.all and other in meaning.all for kind in LISTS for meaning in meanings(kind))
