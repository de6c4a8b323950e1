"""A text-only baseline: which of two captions, and which word, an n-gram model finds unlikely without seeing.

Trigrams with Witten-Bell smoothing over `bare` words of training captions. A word that they do not hold, or
hold once, is an unknown word: its probability is that of an unknown word here times that of its spelling,
by character trigrams of the words that stand once. So neither text gains from being unknown.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from math import log

import numpy as np

from ..data.captions import tokenize
from ..errors import NaafError

ORDER = 3
START, END, UNKNOWN = "<start>", "<end>", "<unk>"
Context = tuple[Hashable, ...]


class NGrams:
    """Interpolated n-grams with Witten-Bell smoothing: probabilities of the next symbol.

    A context hands the share distinct / (distinct + count) of its mass down to the next shorter one: the
    more different symbols have followed it, the more. Below the empty context all symbols are alike.
    """

    def __init__(self, sequences: Iterable[Sequence[str]], order: int = ORDER) -> None:
        self.order = order
        self.following: dict[Context, Counter[str]] = {}
        for sequence in sequences:
            symbols = [*[START] * (order - 1), *sequence, END]
            for place in range(order - 1, len(symbols)):
                for length in range(order):
                    context = tuple(symbols[place - length : place])
                    self.following.setdefault(context, Counter())[symbols[place]] += 1
        self.total = {context: counts.total() for context, counts in self.following.items()}
        self.symbols = frozenset((*self.following.get((), ()), END, UNKNOWN))

    def probability(self, symbol: str, before: Sequence[str]) -> float:
        """Of a symbol after those before it; over `symbols` it sums to 1. One that is not among them counts
        as UNKNOWN."""
        symbol = symbol if symbol in self.symbols else UNKNOWN
        found = 1 / len(self.symbols)
        for length in range(self.order):
            context = tuple(before[len(before) - length :])
            counts = self.following.get(context)
            if counts is None:
                break
            found = (counts[symbol] + len(counts) * found) / (self.total[context] + len(counts))
        return found

    def logs(self, sequence: Sequence[str]) -> list[float]:
        """The log probability of each symbol and of END after the ones before it."""
        symbols = [*[START] * (self.order - 1), *sequence, END]
        places = range(self.order - 1, len(symbols))
        return [log(self.probability(symbols[k], symbols[k - self.order + 1 : k])) for k in places]


class BlindModel:
    """Finds captions and words likely or unlikely by their text alone."""

    def __init__(self, captions: Iterable[str]) -> None:
        """captions: of the training split. Raises NaafError where they hold no word twice."""
        texts = [bare(text) for text in captions]
        times = Counter(word for text in texts for word in text)
        self.known = frozenset(word for word, count in times.items() if count > 1)
        if not self.known:
            raise NaafError("the text-only baseline has no captions to learn from; give it more of them")
        read = [self._read(text) for text in texts]
        self.forward = NGrams(read)
        self.backward = NGrams(text[::-1] for text in read)
        self.spelling = NGrams([*word] for word in times if word not in self.known)

    def _read(self, words: Sequence[str]) -> list[str]:
        return [word if word in self.known else UNKNOWN for word in words]

    def _spelt(self, words: Sequence[str]) -> np.ndarray:
        """(word,) What the spelling of an unknown word takes away; 0 for a known one."""
        return np.array([0.0 if word in self.known else sum(self.spelling.logs([*word])) for word in words])

    def score(self, text: str) -> float:
        """The mean log probability of the words and of the end.

        The mean, because the sum of a longer text is lower for its length alone, and an added word would be
        a wrong word.
        """
        words = bare(text)
        if not words:
            raise NaafError(f"the caption {text!r} has no words; write at least one")
        return float(sum(self.forward.logs(self._read(words))) + self._spelt(words).sum()) / (len(words) + 1)

    def evidence(self, text: str) -> np.ndarray:
        """(token,) log probability of each token after the two before it, plus that before the two after it.

        0, as for a certain word, where the token is punctuation.
        """
        tokens = tokenize(text)
        words = [token for token in tokens if _is_bare(token)]
        read = self._read(words)
        both = np.array(self.forward.logs(read)[:-1]) + np.array(self.backward.logs(read[::-1])[:-1])[::-1]
        found = np.zeros(len(tokens))
        found[[_is_bare(token) for token in tokens]] = both + self._spelt(words)
        return found


def bare(text: str) -> list[str]:
    """The tokens of a text without those that are punctuation."""
    return [token for token in tokenize(text) if _is_bare(token)]


def _is_bare(token: str) -> bool:
    return any(map(str.isalnum, token))
