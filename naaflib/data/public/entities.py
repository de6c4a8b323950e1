"""Flickr30k Entities (Plummer et al. 2015): which regions of a split each word of its captions speaks of.

    Sentences/1000092795.txt     a caption a line: [/EN#1/people Two guys] with [/EN#2/bodyparts shaggy hair]
    Annotations/1000092795.xml   the picture's size, and boxes of the entities 1, 2, ...

The captions of a data set in the SCAN layout are those sentences, split into words in another way.
"""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ...errors import NaafError, UsageError
from ...files import read_json, resolve, shown
from ...messages import progress_bar, say
from ..boxes import OVERLAP, overlap
from ..captions import read_filled, tokenize
from ..splits import Split
from .entity_files import Annotation, Sentence, read_annotation, read_sentences

ARTICLES = ("a", "an", "the")
# Of a phrase, all words speak of its box but these: they would say the same of any box.
FUNCTION_WORDS = frozenset(ARTICLES).union(
    ("this", "that", "these", "those", "my", "your", "his", "her", "its", "our", "their", "'s"),
    ("of", "in", "on", "at", "by", "to", "for", "from", "with", "and", "or"),
)


@dataclass(frozen=True)
class EntityLinks:
    """What Flickr30k Entities knows of a split's words; lists are by caption, then by word of `tokenize`."""

    links: list[
        list[list[int]]
    ]  # the regions that show what the word speaks of, as `pointing_game` takes them
    types: list[list[tuple[str, ...]]]  # the types of the word's phrase; () for a word that speaks of none
    last: list[list[bool]]  # whether it is the last of its phrase's words, mostly the head noun
    phrases: pd.DataFrame  # a row a phrase: caption, image, entity, types, boxed, reached (by a region)
    unaligned: tuple[int, ...]  # captions that are none of their picture's sentences: they have no links
    overlap: float  # intersection over union from which a region shows a box

    def sentence(self) -> str:
        boxed, reached = int(self.phrases["boxed"].sum()), int(self.phrases["reached"].sum())
        return (
            f"{len(self.phrases):,} phrases of {len(self.links) - len(self.unaligned):,} captions: {boxed:,} "
            f"have a box; of these {boxed - reached:,} are not reachable by these regions (no overlap of "
            f"{self.overlap:g} or more) and take no part"
        )

    def by_type(self) -> pd.DataFrame:
        """A row a type, the most frequent first: phrases, boxed, reached. One of two types is in both."""
        one = self.phrases.explode("types").groupby("types")
        found = one.agg(phrases=("boxed", "size"), boxed=("boxed", "sum"), reached=("reached", "sum"))
        return found.rename_axis("type").sort_values("phrases", ascending=False, kind="stable")


def entity_links(folder: str | os.PathLike[str], split: Split, overlap: float = OVERLAP) -> EntityLinks:
    """The regions that each word of a split speaks of, by the phrases and boxes of Flickr30k Entities.

    folder: holds Sentences/ and Annotations/. split: with boxes and sizes; its pictures are found by
    {split}_image_names.txt, else by {split}_ids.txt with id_mapping.json. overlap: a region counts for a word
    if its intersection over union with one of the boxes of the word's phrase is at least so large; both are
    brought to the pixels of the split. Captions are aligned by their letters and digits; one that is none of
    its picture's sentences gets no links, and a message says how many.
    Raises NaafError for a missing or damaged file and a split without boxes, UsageError for the overlap.
    """
    folder, found = resolve(folder), _Found(split, overlap)
    _check(folder, split, overlap)
    names = progress_bar(picture_names(split), desc="reading Entities", unit=" pictures", mininterval=1.0)
    for image, name in enumerate(names):
        sentences = read_sentences(folder / "Sentences" / f"{name}.txt")
        annotation = read_annotation(folder / "Annotations" / f"{name}.xml")
        reached = _reached(split, image, annotation, overlap)
        for place, caption in enumerate(split.captions_of_image(image)):
            found.add(caption, image, place, sentences, reached)
    if found.unaligned:
        say(
            f"{len(found.unaligned):,} of {len(split.captions):,} captions of {split.name} are none of their "
            f"picture's sentences and are left out; the first is caption {found.unaligned[0]}: "
            f"{split.captions[found.unaligned[0]]!r}"
        )
    return found.links_of_split()


def _check(folder: Path, split: Split, overlap: float) -> None:
    if not 0 < overlap <= 1:
        raise UsageError(f"the overlap is a share above 0 and at most 1, not {overlap:g}")
    if split.boxes is None:
        raise NaafError(
            f"{shown(split.folder)} has no boxes of its regions ({split.name}_ims_bbx.npy), so no region can "
            "be compared with a box; convert the features again with their boxes"
        )
    for part in ("Sentences", "Annotations"):
        if not (folder / part).is_dir():
            raise NaafError(f"{shown(folder)} has no {part}/; unpack Flickr30k Entities' annotations there")


def picture_names(split: Split) -> list[str]:
    """Each image's name without its ending, such as 1000092795."""
    if split.image_names is not None:
        return [Path(name).stem for name in split.image_names]
    ids, mapping = split.folder / f"{split.name}_ids.txt", split.folder / "id_mapping.json"
    if not (ids.is_file() and mapping.is_file()):
        raise NaafError(
            f"{shown(split.folder)} does not say which pictures {split.name} shows; add "
            f"{split.name}_image_names.txt, or {ids.name} and {mapping.name}"
        )
    rows, names = read_filled(ids), read_json(mapping)
    times = len(rows) // max(1, len(split))
    if len(rows) not in (len(split), len(split.captions)):
        raise NaafError(
            f"{shown(ids)} has {len(rows)} lines; {split.name} has {len(split)} images and "
            f"{len(split.captions)} captions; get the file that belongs to these features"
        )
    for line, number in enumerate(rows):
        if number != rows[line - line % times]:
            raise NaafError(
                f"{shown(ids)}, line {line + 1}: the captions of an image have one id; get it again"
            )
        if not isinstance(names, dict) or not isinstance(names.get(number), str):
            raise NaafError(f"{shown(mapping)} has no picture {number!r} ({ids.name}, line {line + 1})")
    return [Path(names[number]).stem for number in rows[::times]]


def letters(text: str) -> str:
    """The letters and digits of a text without case and accents: what another tokenisation leaves alone."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", text).casefold()))


def align(tokens: Sequence[str], words: Sequence[str]) -> list[int | None] | None:
    """For each token the word that holds its first letter, None for punctuation.

    None for the whole where the letters of the two differ.
    """
    if letters("".join(tokens)) != letters("".join(words)):
        return None
    word_of_letter = [place for place, word in enumerate(words) for _ in letters(word)]
    sizes = [len(letters(token)) for token in tokens]
    starts = np.cumsum([0, *sizes]).tolist()
    return [word_of_letter[start] if size else None for start, size in zip(starts, sizes, strict=False)]


def _reached(split: Split, image: int, annotation: Annotation, least: float) -> dict[str, list[int]]:
    """For each entity with a box, the regions that show one of its boxes."""
    size = split.picture_size(image)
    if size is None or split.boxes is None:
        raise NaafError(
            f"{shown(split.folder)} does not say in which pixels the boxes of {split.name} count; add "
            f"{split.name}_ims_size.npy (width and height of every image)"
        )
    scale = np.tile(np.asarray(size, float) / annotation.size, 2)
    regions = np.asarray(split.boxes[image], float)
    return {
        entity: np.flatnonzero((overlap(regions, boxes * scale) >= least).any(axis=1)).tolist()
        for entity, boxes in annotation.boxes.items()
    }


class _Found:
    """The links of a split in the making."""

    def __init__(self, split: Split, overlap: float):
        self.split, self.overlap = split, overlap
        self.links: list[list[list[int]]] = []
        self.types: list[list[tuple[str, ...]]] = []
        self.last: list[list[bool]] = []
        self.phrases: list[dict[str, object]] = []
        self.unaligned: list[int] = []

    def add(
        self, caption: int, image: int, place: int, sentences: list[Sentence], reached: dict[str, list[int]]
    ) -> None:
        """The next caption; the sentence at its own place is tried first: two may have the same words."""
        tokens = tokenize(self.split.captions[caption])
        self.links.append([[] for _ in tokens])
        self.types.append([() for _ in tokens])
        self.last.append([False for _ in tokens])
        for sentence in (*sentences[place : place + 1], *sentences):
            words = align(tokens, sentence.words)
            if words is not None:
                break
        else:
            self.unaligned.append(caption)
            return
        for number, phrase in enumerate(sentence.phrases):
            own = [
                k for k, word in enumerate(words) if word is not None and sentence.phrase_of[word] == number
            ]
            speaking = [k for k in own if tokens[k] not in FUNCTION_WORDS]
            regions = reached.get(phrase.entity, [])
            for k in speaking:
                self.links[-1][k], self.types[-1][k] = list(regions), phrase.types
                self.last[-1][k] = k == speaking[-1]
            about = {"caption": caption, "image": image, "entity": phrase.entity, "types": phrase.types}
            self.phrases.append(about | {"boxed": phrase.entity in reached, "reached": bool(regions)})

    def links_of_split(self) -> EntityLinks:
        columns = ["caption", "image", "entity", "types", "boxed", "reached"]
        return EntityLinks(
            links=self.links,
            types=self.types,
            last=self.last,
            phrases=pd.DataFrame(self.phrases, columns=columns),
            unaligned=tuple(self.unaligned),
            overlap=self.overlap,
        )
