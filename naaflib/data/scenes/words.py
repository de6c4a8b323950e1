"""The words of the scenes' captions, and a draft that keeps what each word says beside the claim so far.

Two forms of one kind and one frame can stand in each other's place: a foil exchanges them. The first form
of a value is the common one, the others are its synonyms.
"""

from dataclasses import dataclass, field, replace

from numpy.random import Generator

from .world import Claim, Description

ONE_ONLY = ("plus", "rhombus")  # nouns whose plurals are seldom read
LEXICON: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("shape", "one"): {
        "circle": ("circle", "disc"),
        "square": ("square", "box"),
        "triangle": ("triangle",),
        "star": ("star",),
        "heart": ("heart",),
        "cross": ("cross", "plus"),
        "diamond": ("diamond", "rhombus"),
        "hexagon": ("hexagon",),
        "ring": ("ring", "hoop"),
        "moon": ("moon", "crescent"),
    },
    ("colour", "adjective"): {
        "red": ("red", "crimson"),
        "orange": ("orange",),
        "yellow": ("yellow", "golden"),
        "green": ("green", "emerald"),
        "turquoise": ("turquoise", "teal"),
        "blue": ("blue", "cobalt"),
        "purple": ("purple", "violet"),
        "pink": ("pink", "rosy"),
        "brown": ("brown", "chocolate"),
        "grey": ("grey", "gray"),
        "white": ("white",),
        "black": ("black",),
    },
    ("size", "adjective"): {"small": ("small", "little", "tiny"), "large": ("large", "big", "huge")},
    ("texture", "adjective"): {
        "plain": ("plain", "solid"),
        "striped": ("striped", "stripy"),
        "dotted": ("dotted", "spotted"),
        "checkered": ("checkered", "chequered"),
    },
    ("texture", "with"): {"striped": ("stripes",), "dotted": ("dots", "spots"), "checkered": ("checks",)},
    ("relation", "of"): {"left": ("left",), "right": ("right",)},
    ("relation", "bare"): {
        "above": ("above", "over"),
        "below": ("below", "under", "beneath"),
        "inside": ("inside", "within"),
        "around": ("around", "surrounding"),
        "beside": ("beside",),
    },
    ("position", "side"): {"left": ("left",), "right": ("right",)},
    ("position", "end"): {"top": ("top",), "bottom": ("bottom",)},
    ("number", "count"): {"2": ("two",), "3": ("three",), "4": ("four",), "5": ("five",)},
    ("background", "on"): {
        "grass": ("grass", "lawn"),
        "sand": ("sand", "beach"),
        "snow": ("snow",),
        "table": ("table", "boards"),
        "paper": ("paper", "page"),
        "water": ("water",),
    },
    ("background", "in"): {
        "sky": ("sky", "clouds"),
        "night": ("dark", "night"),
        "water": ("water", "sea"),
        "grass": ("grass", "meadow"),
        "snow": ("snow",),
    },
}
LEXICON["shape", "many"] = {
    shape: tuple(noun + ("es" if noun[-1] in "sx" else "s") for noun in nouns if noun not in ONE_ONLY)
    for shape, nouns in LEXICON["shape", "one"].items()
}
ANY_SHAPE = {"one": ("shape", "object", "thing"), "many": ("shapes", "objects", "things")}
TOTAL = -1  # the index of a number word that counts everything


def pick_form(forms: tuple[str, ...], rng: Generator) -> str:
    """One of the value's words: mostly the common one."""
    return forms[int(rng.integers(len(forms)))] if rng.random() < 0.45 else forms[0]


@dataclass(frozen=True)
class Word:
    """One token. about: the description it belongs to. kind, frame, index: what it says; None: nothing."""

    text: str
    about: int | None = None
    kind: str | None = None
    frame: str = ""
    index: int = 0


@dataclass
class Draft:
    """A caption in the making: its words, and the claim that they make."""

    rng: Generator
    words: list[Word] = field(default_factory=list)
    claim: Claim = field(default_factory=Claim)

    def say(self, text: str) -> "Draft":
        """Words that say nothing of their own."""
        self.words.extend(Word(token) for token in text.split())
        return self

    def choose(self, *options: str) -> "Draft":
        return self.say(options[int(self.rng.integers(len(options)))])

    def form(self, kind: str, frame: str, value: str, index: int = 0, about: int | None = None) -> None:
        """A word for the value: mostly the common one."""
        self.words.append(Word(pick_form(LEXICON[kind, frame][value], self.rng), about, kind, frame, index))

    def phrase(self, said: Description, article: str = "a", *, tail: bool = False) -> int:
        """A noun phrase, and its description's index. tail: the texture may follow, as in "with stripes"."""
        index = len(self.claim.descriptions)
        self.claim = replace(self.claim, descriptions=(*self.claim.descriptions, said))
        frame = "one" if said.count is None else "many"
        start = len(self.words)
        after = tail and said.texture not in (None, "plain") and self.rng.random() < 0.3
        if said.count is not None:
            self.form("number", "count", str(said.count), index, index)
        self._adjectives(said, index, without_texture=after)
        if said.shape is not None:
            self.form("shape", frame, said.shape, index, index)
        else:
            any_shape = ANY_SHAPE[frame]
            self.words.append(Word(any_shape[int(self.rng.integers(len(any_shape)))], index))
        if after and said.texture is not None:
            self.say("with").form("texture", "with", said.texture, index, index)
        if said.count is None:
            vowel = self.words[start].text[0] in "aeiou"
            self.words.insert(start, Word("an" if article == "a" and vowel else article))
        return index

    def _adjectives(self, said: Description, index: int, *, without_texture: bool) -> None:
        order = ["size", "colour", "texture"] if self.rng.random() < 0.35 else ["size", "texture", "colour"]
        for kind in order:
            value = getattr(said, kind)
            if value is not None and not (kind == "texture" and without_texture):
                self.form(kind, "adjective", value, index, index)

    def predicate(self, kind: str, value: str, index: int) -> None:
        """One more attribute of a description, said after its noun."""
        said = list(self.claim.descriptions)
        said[index] = replace(said[index], **{kind: value})
        self.claim = replace(self.claim, descriptions=tuple(said))
        self.form(kind, "adjective", value, index, index)

    def relate(self, name: str, first: int, second: int) -> None:
        """The relation between two descriptions, in words."""
        index = len(self.claim.relations)
        self.claim = replace(self.claim, relations=(*self.claim.relations, (name, first, second)))
        if name in ("left", "right"):
            self.choose("to the", "to the", "on the", "").form("relation", "of", name, index)
            self.say("of")
        elif name == "beside" and self.rng.random() < 0.4:
            self.say("next to")
        else:
            self.form("relation", "bare", name, index)

    def place(self, name: str, about: int) -> None:
        """Where in the picture the description stands."""
        index = len(self.claim.positions)
        self.claim = replace(self.claim, positions=(*self.claim.positions, (name, about)))
        if name in ("left", "right"):
            self.say("on the").form("position", "side", name, index)
            self.choose("", "side")
        else:
            self.say("at the").form("position", "end", name, index)
            self.choose("", "of the picture")

    def ground(self, background: str) -> "Draft":
        """The background, in words."""
        self.claim = replace(self.claim, background=background)
        frames = [frame for frame in ("on", "in") if background in LEXICON["background", frame]]
        frame = frames[int(self.rng.integers(len(frames)))]
        self.say(f"{frame} the").form("background", frame, background)
        return self

    def total(self, count: int) -> None:
        """The number of all objects, in words."""
        self.claim = replace(self.claim, total=count)
        self.choose("only", "exactly", "just").form("number", "count", str(count), TOTAL)
        self.choose(*ANY_SHAPE["many"])
