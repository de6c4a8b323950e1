"""From a file of captions to words: one caption a line, tokenised as the field's released code does."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from ..errors import NaafError
from ..files import leaves, read_text, shown
from .manifest import layout_path

# word_tokenize splits sentences first; otherwise a full stop inside a line would stay with its word.
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")

LONGEST = 10_000  # letters of a caption: of two million words a matrix of ids needs more than any memory

# Most captions are plain words with a final stop, which need none of NLTK's rules but its contractions.
PLAIN = re.compile(r"[a-z0-9 -]*\.?\s*")
NOT_PLAIN = re.compile(r"--|cannot|gimme|gonna|gotta|lemme|wanna|whaddya|whatcha")


@cache
def _tokenizer():
    from nltk.tokenize import NLTKWordTokenizer  # heavy, and not needed to read files

    return NLTKWordTokenizer()


def tokenize(text: str) -> list[str]:
    """NLTK's words of the lower-cased caption, without `<start>` and `<end>`.

    nltk.word_tokenize without its punkt download: sentences are split before a capital or a digit that
    follows `.`, `!` or `?` and white space. On the real Flickr30K test captions few captions differ from
    punkt's (docs/log.md counts them). Captions of plain words take a short way to the same result.
    Raises NaafError for a text that no caption is long enough for.
    """
    if len(text) > LONGEST:
        raise NaafError(too_long(text))
    return [word for part in SENTENCE_END.split(text) for word in _words(part.lower())]


def too_long(text: str) -> str:
    return f"a text of {len(text):,} letters; a caption has at most {LONGEST:,}: shorten it"


def _words(sentence: str) -> list[str]:
    if PLAIN.fullmatch(sentence) and not NOT_PLAIN.search(sentence):
        return sentence.replace(".", " .").split()
    return _tokenizer().tokenize(sentence)


def read_captions(path: Path) -> list[str]:
    """The captions of a file, one a line, stripped. Raises NaafError for a missing or undecodable file."""
    text = read_text(path, _remedy(path.parent))
    # not splitlines: captions may hold other line separators
    lines = [line.strip() for line in text.removesuffix("\n").split("\n")] if text else []
    for number, line in enumerate(lines, 1):
        if len(line) > LONGEST:
            raise NaafError(f"{shown(path)}, line {number}: {too_long(line)}")
    return lines


def _remedy(folder: Path) -> str:
    """What to do about a file in a folder; one that a person named may lie outside a data set."""
    if any(folder.glob(layout_path(folder, "*", "captions").name)):
        return f"`naaf data verify {shown(folder)}` lists what is"
    return "name a text file that holds a line each"


def read_filled(path: Path) -> list[str]:
    """`read_captions` of a file whose line numbers matter. Raises NaafError for an empty line, and names it.

    One line too many moves all that follows to another image; a lost last line makes the counts right again.
    """
    lines = read_captions(path)
    if "" in lines:
        raise NaafError(
            f"{shown(path)}, line {lines.index('') + 1}: the line is empty; delete it if what follows "
            "belongs one line higher, or write a full stop into it if there is really nothing to say"
        )
    return lines


def read_picture_names(path: Path) -> list[str]:
    """`read_filled` of pictures' paths below images/. Raises NaafError, with the line, for one outside."""
    names = read_filled(path)
    for line, name in enumerate(names, 1):
        if leaves(name):
            raise NaafError(
                f"{shown(path)}, line {line}: {name!r} leads out of images/; write the path below images/"
            )
    return names


def pad(rows: Sequence[Sequence[int] | Sequence[tuple[int, ...]]]) -> tuple[np.ndarray, np.ndarray]:
    """Ragged ids -> (caption, longest) padded with 0, and lengths (caption,).

    Where a word has the ids of its pieces: (caption, longest, most pieces).
    """
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    flat = [word for row in rows for word in row]
    of_words = pad(flat)[0] if flat and isinstance(flat[0], tuple) else np.array(flat, dtype=np.int64)
    padded = np.zeros((len(rows), int(lengths.max(initial=0)), *of_words.shape[1:]), dtype=np.int64)
    padded[np.arange(padded.shape[1]) < lengths[:, None]] = of_words
    return padded, lengths
