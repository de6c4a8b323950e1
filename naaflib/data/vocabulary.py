"""Words and their ids. A vocabulary travels inside the checkpoint: two released ones of a data set differ."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..errors import NaafError
from ..files import check_regular, parse_json, read_text, shown
from ..messages import say
from .captions import tokenize

PAD, START, END, UNKNOWN = "<pad>", "<start>", "<end>", "<unk>"
SPECIAL = (PAD, START, END, UNKNOWN)
FORM = "it should be a vocabulary JSON"
SAMPLED = 2000  # captions
PICKLES = (b"\x80", b"ccopy_reg", b"(i", b"cvocab")  # how pickles of objects begin, those of Python 2 too
PICKLED = (
    "a pickled vocabulary, which could run any program, is not read; where you trust it, load it with its "
    'own code and write json.dump({"word2idx": vocabulary.word2idx}, open("vocab.json", "w")), then '
    "name vocab.json"
)


@dataclass(frozen=True)
class Vocabulary:
    """The word of each id; holds `<pad>` (id 0), `<start>`, `<end>` and `<unk>`."""

    words: tuple[str, ...]

    def __post_init__(self):
        for word in SPECIAL:
            if word not in self.id:
                raise NaafError(f"not a vocabulary: {word} is missing")
        if self.words[0] != PAD or len(self.id) != len(self.words):
            raise NaafError("not a vocabulary: an id has no word, two words share one, or id 0 is not <pad>")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self.id

    @cached_property
    def id(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words)}

    def encode(self, text: str) -> list[int]:
        """Ids of a caption's words between `<start>` and `<end>`; an unknown word becomes `<unk>`."""
        unknown = self.id[UNKNOWN]
        words = (self.id.get(word, unknown) for word in tokenize(text))
        return [self.id[START], *words, self.id[END]]

    @classmethod
    def build(cls, captions: Iterable[str], min_count: int = 4) -> "Vocabulary":
        """SCAN's rule: the words that occur at least min_count times, after the four special ones.

        Ordered by frequency, then alphabetically: the same captions give the same ids on every machine.
        """
        count = Counter(word for caption in captions for word in tokenize(caption))
        kept = [word for word, n in count.items() if n >= min_count and word not in SPECIAL]
        return cls((*SPECIAL, *sorted(kept, key=lambda word: (-count[word], word))))

    def to_json(self) -> dict[str, object]:
        return {"words": list(self.words)}

    @classmethod
    def from_json(cls, content: object) -> "Vocabulary":
        """Our own form, or either upstream one: `idx2word` (Bi-GRU) or `word2idx` (GloVe)."""
        forms = content if isinstance(content, dict) else {}
        if isinstance(words := forms.get("words"), list):
            return cls(tuple(_word(word) for word in words))
        if isinstance(ids := forms.get("word2idx"), dict):
            pairs = [(index, word) for word, index in ids.items()]
        elif isinstance(words := forms.get("idx2word"), dict):
            pairs = list(words.items())
        else:
            raise NaafError("not a vocabulary: it has none of the keys words, word2idx, idx2word")
        by_id = {_index(index): _word(word) for index, word in pairs}
        if len(by_id) < len(pairs):
            raise NaafError("not a vocabulary: two words share one id")
        if sorted(by_id) != list(range(len(by_id))):
            raise NaafError(f"not a vocabulary: its {len(by_id)} ids are not 0 to {len(by_id) - 1}")
        return cls(tuple(by_id[index] for index in range(len(by_id))))

    @classmethod
    def read(cls, path: Path) -> "Vocabulary":
        """A vocabulary file of any of the forms. Raises NaafError that names the file."""
        path = Path(path)
        if check_regular(path, FORM).read_bytes().startswith(PICKLES):
            raise NaafError(f"{shown(path)}: {PICKLED}")
        text = read_text(path, FORM)
        try:
            content = parse_json(text)
        except ValueError as error:
            raise NaafError(f"{shown(path)} is not whole JSON ({error}); {FORM}") from None
        try:
            return cls.from_json(content)
        except NaafError as error:
            raise NaafError(f"{shown(path)}: {error}") from None


def _word(word: object) -> str:
    if not isinstance(word, str) or not word:
        raise NaafError(f"not a vocabulary: {str(word)[:40]!r} stands where a word should")
    return word


def _index(index: object) -> int:
    """`idx2word` has ids as text, `word2idx` as numbers."""
    if isinstance(index, bool) or not isinstance(index, int | str) or not str(index).isdecimal():
        raise NaafError(f"not a vocabulary: {str(index)[:40]!r} is no id")
    return int(index)


def unknown_share(known: Callable[[str], bool], captions: Sequence[str]) -> float:
    """The share of the captions' running words that are not known, by at most SAMPLED of the captions."""
    some = captions[:: max(1, len(captions) // SAMPLED)]
    count = Counter(word for caption in some for word in tokenize(caption))
    return sum(n for word, n in count.items() if not known(word)) / max(1, count.total())


def warn_of_unknown(known: Callable[[str], bool], captions: Sequence[str], path: Path) -> None:
    """One sentence where a text encoder does not know most words of a file's captions."""
    share = unknown_share(known, captions)
    if share > 0.5:
        say(
            f"{shown(path)}: {share:.0%} of its words are unknown to the model, which reads <unk>; train on "
            "captions of this kind, with blanks between the words and a data.min_word_count that fits their "
            "number"
        )
