"""Foils of real captions: one word replaced by another of its kind that is wrong for the picture.

The word lists are small and written by hand. A line is a meaning: its singular forms, its plural forms, and
words that are never exchanged but speak of the same thing, or so nearly that a lenient viewer might agree.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..data.captions import tokenize
from ..data.scenes.dataset import Foil
from ..data.splits import Split
from ..errors import unknown

LISTS = {
    "colour": """
        red maroon crimson       | | orange pink brown tan golden
        orange                   | | red yellow tan
        yellow gold golden       | | orange blond blonde tan
        green                    | | turquoise teal lime
        blue navy                | | turquoise teal purple
        purple violet            | | pink blue lavender
        pink                     | | red purple
        brown tan beige          | | golden orange khaki
        black                    | | dark
        white                    | | light beige cream
        grey gray silver         | | metallic
    """,
    "number": """
        | two   | 2 both couple pair twins
        | three | 3 trio
        | four  | 4
        | five  | 5
        | six   | 6
        | seven | 7
        | eight | 8
    """,
    "animal": """
        dog puppy       | dogs puppies      | pup poodle terrier greyhound collie retriever hound labrador \
            husky dalmatian rottweiler shepherd pug beagle bulldog dachshund boxer
        cat kitten      | cats kittens      | feline
        horse pony      | horses ponies     | foal colt stallion mule donkey
        cow bull        | cows bulls        | calf cattle steer ox longhorn
        goat            | goats             | sheep lamb lambs ram
        bird duck goose swan seagull parrot pigeon eagle chicken | \
            birds ducks geese swans seagulls parrots pigeons eagles chickens | gull gulls hawk owl crane
        elephant        | elephants         |
        bear            | bears             | panda
        monkey          | monkeys           | ape gorilla chimpanzee
        rabbit          | rabbits           | bunny bunnies hare
        squirrel        | squirrels         | chipmunk
        turtle          | turtles           | tortoise
        frog            | frogs             | toad
        snake           | snakes            | serpent
        camel           | camels            | llama
        pig             | pigs              | hog boar piglet
        tiger           | tigers            | lion lions leopard
        zebra           | zebras            |
        giraffe         | giraffes          |
        butterfly       | butterflies       | moth
    """,
    "person": """
        man boy guy     | men boys guys     | gentleman gentlemen male males he him his father dad son \
            brother husband groom king boyfriend grandfather
        woman girl lady | women girls ladies | female females she her hers mother mom daughter sister wife \
            bride queen girlfriend grandmother
    """,
}
APART = (
    "hot dog",
    "hot dogs",
    "bull dog",
    "sheep dog",
    "teddy bear",
    "teddy bears",
    "white water",
    "guinea pig",
)


@dataclass(frozen=True)
class Meaning:
    """Words that may speak of the same thing: none is ever put in the place of another."""

    singular: frozenset[str]  # also what has no number: colours
    plural: frozenset[str]
    also: frozenset[str]

    @property
    def all(self) -> frozenset[str]:
        return self.singular | self.plural | self.also

    def number_of(self, word: str) -> str | None:
        """ "singular", "plural", or None for a word that is not exchanged."""
        return next((number for number in ("singular", "plural") if word in getattr(self, number)), None)


@cache
def meanings(kind: str) -> tuple[Meaning, ...]:
    """The meanings of a kind of words. Raises UsageError for an unknown kind."""
    if kind not in LISTS:
        raise unknown("word list", kind, LISTS)
    lines = [line for line in LISTS[kind].splitlines() if line.strip()]
    return tuple(Meaning(*(frozenset(part.split()) for part in line.split("|"))) for line in lines)


def swapped_foils(
    split: Split, vocabulary: Container[str], *, seed: int = 0, kinds: Sequence[str] = tuple(LISTS)
) -> list[Foil]:
    """Foils of a split's captions: one for each kind of word that a caption has, where one is possible.

    The new word has the number of the old one and fits the article before it; the vocabulary knows both; no
    word of the new one's meaning occurs in any caption of the image or is near the old word (a teal shirt is
    green to one viewer and blue to another). A caption's foils depend on the seed, its place in the split,
    its image's captions and the vocabulary, on nothing else.
    """
    listed, number = {kind: meanings(kind) for kind in kinds}, list(LISTS)
    found = []
    for image in range(len(split)):
        own = split.captions_of_image(image)
        words = {caption: tokenize(split.captions[caption]) for caption in own}
        said = frozenset().union(*words.values())
        for caption in own:
            for kind in kinds:
                rng = np.random.default_rng([seed, caption, number.index(kind)])
                swap = _swap(words[caption], said, listed[kind], vocabulary, rng)
                if swap is not None:
                    found.append(Foil(caption, image, *swap, kind))
    return found


def swapped_text(
    text: str, vocabulary: Container[str], *, said: Sequence[str] = (), seed: int = 0
) -> tuple[str, str, str] | None:
    """A text with one word replaced by another of its kind: the new text, the word before and after.

    said: other texts that are true of the picture; no word that they have takes the place. None where no word
    of the text is in the lists.
    """
    words, rng = tokenize(text), np.random.default_rng(seed)
    true = frozenset(words).union(*map(tokenize, said))
    swaps = (_swap(words, true, meanings(kind), vocabulary, rng) for kind in LISTS)
    found = next(filter(None, swaps), None)
    return found and (found[0], found[2], found[3])


def _swap(
    words: list[str],
    said: frozenset[str],
    listed: Sequence[Meaning],
    vocabulary: Container[str],
    rng: np.random.Generator,
) -> tuple[str, int, str, str] | None:
    """The foil's text, the place of its wrong word, the word before and after; None where there is none."""
    places = [
        place for place, word in enumerate(words) if word in vocabulary and not in_set_phrase(words, place)
    ]
    for place in (places[k] for k in rng.permutation(len(places))):
        choices = _candidates(words, place, said, listed, vocabulary)
        if choices:
            forms = choices[int(rng.integers(len(choices)))]  # first a meaning, then one of its words
            now = forms[int(rng.integers(len(forms)))]
            text = " ".join([*words[:place], now, *words[place + 1 :]])
            if tokenize(text) == [*words[:place], now, *words[place + 1 :]]:
                return text, place, words[place], now
    return None


def _candidates(
    words: Sequence[str],
    place: int,
    said: frozenset[str],
    listed: Sequence[Meaning],
    vocabulary: Container[str],
) -> list[list[str]]:
    """The words that may stand here, a list a meaning."""
    own = next((meaning for meaning in listed if meaning.number_of(words[place])), None)
    if own is None:
        return []
    number, taken = own.number_of(words[place]), said | own.also
    fitting = (
        [
            word
            for word in sorted(getattr(meaning, number))
            if word in vocabulary and article_fits(words, place, word)
        ]
        for meaning in listed
        if not meaning.all & taken
    )
    return [forms for forms in fitting if forms]


def article_fits(words: Sequence[str], place: int, now: str) -> bool:
    """Whether "a" or "an" before the word still does."""
    before = words[place - 1] if place else ""
    return before not in ("a", "an") or (before == "an") == (now[0] in "aeiou")


def in_set_phrase(words: Sequence[str], place: int) -> bool:
    """Whether the word belongs to a phrase that means something else."""
    around = {" ".join(words[place - 1 : place + 1]), " ".join(words[place : place + 2])}
    return not around.isdisjoint(APART)
