"""Foil detection: AUC of a word's evidence at finding the one wrong word; true caption against its foil."""

from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..data.captions import tokenize
from ..data.scenes.dataset import Foil
from ..data.splits import Split
from ..errors import NaafError
from ..metric.detection import Interval, area_under_curve, image_interval, ranked
from ..model.model import Model
from .pairs import Explanation, caption_text, explain_pairs


@dataclass(frozen=True)
class FoilDetection:
    """Captions with exactly one wrong word: is the word found, and is the caption told from the true one?

    found: a row a number that each word has (`effect`: all of a word's parts), columns
    auc, average_precision  of the number among all words of all foils (chance: 0.5, `chance_precision`)
    first                   how often the wrong word has its caption's lowest value; a tie counts its share
                            (chance: `chance_first`)
    paired                  how often the value fell where the word was made wrong; a tie counts half
                            (chance: 0.5)
    each with a 95 % interval (..._low, ..._high), and
    auc_before              auc of the same places in the true captions: what the kind of word alone gives
    """

    accuracy: float  # how often the true caption scores higher than the foil; a tie is a miss
    interval: Interval
    count: int  # foils
    evidence: str  # the headline's: the first of the similarity's evidence
    found: pd.DataFrame
    chance_precision: float  # share of wrong words among all words of the foils
    chance_first: float  # mean of 1 / words
    words: pd.DataFrame  # one row a word of a foil; ..._before: its value in the true caption
    foils: pd.DataFrame  # one row a foil: caption, image, kind, score_true, score_foil, right, first
    _kinds: dict[str, pd.DataFrame] = field(default_factory=dict, repr=False)  # kept: intervals take seconds

    @property
    def auc(self) -> float:
        """Of the headline's evidence at finding the wrong word among all words of all foils."""
        return float(self.found.loc[self.evidence, "auc"])

    def sentence(self) -> str:
        row = self.found.loc[self.evidence]
        return (
            f"{self.evidence} finds the wrong word with AUC {row['auc']:.3f} (95 % interval "
            f"{row['auc_low']:.3f} to {row['auc_high']:.3f}; chance 0.5), first in its "
            f"caption {row['first']:.1%} (chance {self.chance_first:.1%}); the true caption beats its foil "
            f"in {self.accuracy:.1%} of {self.count:,} pairs (95 % interval {self.interval[0]:.1%} to "
            f"{self.interval[1]:.1%}; chance 50.0%)"
        )

    @property
    def by_kind(self) -> pd.DataFrame:
        return self.kinds(self.evidence)

    def kinds(self, evidence: str) -> pd.DataFrame:
        """A row a kind of wrong word, the most frequent first: kind, count, images, accuracy with interval,
        the measures of `found` for this evidence, chance_precision, chance_first."""
        if evidence not in self._kinds:
            self._kinds[evidence] = self._of_kinds(evidence)
        return self._kinds[evidence].copy()

    def _of_kinds(self, evidence: str) -> pd.DataFrame:
        kind = self.foils["kind"].to_numpy()
        rows = []
        for name in sorted(set(kind)):
            foils, words = self.foils[kind == name], self.words[kind[self.words["foil"]] == name]
            about = {"kind": name, "count": len(foils), "images": foils["image"].nunique()}
            accuracy = _share("accuracy", foils["right"], foils["image"])
            rows.append(about | accuracy | _found(words, evidence) | _chances(words))
        return pd.DataFrame(rows).sort_values(["count", "kind"], ascending=[False, True], ignore_index=True)


class Read(NamedTuple):
    """A caption as somebody reads it beside its image."""

    words: Sequence[str]
    score: float
    values: dict[str, np.ndarray]  # by the name of a number that each word has: (word,)


def foil_detection(model: Model, split: Split, foils: Sequence[Foil]) -> FoilDetection:
    """How well the model finds the wrong word of each foil, and tells the foil from the true caption.

    foils: as `scenes.read_foils` reads them, `swapped_foils` makes them, or your own. `<start>` and `<end>`
    are no candidates. Raises NaafError for a foil that is not its caption with one word, the one
    that it names, exchanged.
    """
    check_foils(foils, split)
    images = [foil.image for foil in foils]
    captions = [*(foil.caption for foil in foils), *(foil.text for foil in foils)]
    reads = read_pairs(model, split, [*images, *images], captions)
    return found_foils(foils, reads[: len(foils)], reads[len(foils) :])


def read_pairs(
    model: Model, split: Split, images: Sequence[int], captions: Sequence[int | str]
) -> list[Read]:
    """The pairs (images[k], captions[k]) as the model reads them, without `<start>` and `<end>`.

    What the model reads alike, unknown words for instance, is read once: it is a tie, whatever the rounding.
    """
    keys = read_alike(model, images, texts := [caption_text(split, caption) for caption in captions])
    first = dict(zip(reversed(keys), reversed(range(len(keys))), strict=True))
    own = [*first.values()]
    pairs = explain_pairs(model, split, [images[k] for k in own], [captions[k] for k in own])
    evidence = model.similarity.evidence
    found = {key: (pair.score, _values(pair, evidence)) for key, pair in zip(first, pairs, strict=True)}
    return [
        Read(model.text_encoder.words(text)[1:-1], *found[key]) for key, text in zip(keys, texts, strict=True)
    ]


def read_alike(model: Model, images: Sequence[int], texts: Sequence[str]) -> list[Hashable]:
    """For each pair a key; two pairs have the same where the model reads the same text beside one image."""
    ids = {text: tuple(model.text_encoder.ids(text)) for text in dict.fromkeys(texts)}
    return [(image, ids[text]) for image, text in zip(images, texts, strict=True)]


def found_foils(foils: Sequence[Foil], true: Sequence[Read], wrong: Sequence[Read]) -> FoilDetection:
    """The measures of foils that somebody has read, and of their true captions.

    Intervals resample the numbers in `Foil.image`. The headline's evidence is the first of a `Read`'s values.
    """
    words, rows = [], []
    for index, (foil, one, other) in enumerate(zip(foils, true, wrong, strict=True)):
        before = {f"{name}_before": value for name, value in one.values.items()}
        words.append(_foil_words(index, foil, other.words) | other.values | before)
        scored = {"score_true": one.score, "score_foil": other.score, "right": one.score > other.score}
        rows.append(asdict(foil) | scored)
    joined = {name: np.concatenate([part[name] for part in words]) for name in words[0]}
    return _detection(pd.DataFrame(joined), pd.DataFrame(rows), tuple(wrong[0].values))


def check_foils(foils: Sequence[Foil], split: Split) -> None:
    """Raises NaafError unless each foil is its caption with one word, the one that it names, exchanged."""
    if not foils:
        raise NaafError(f"there are no foils for split {split.name}; nothing can be measured")
    for foil in foils:
        wrong = tokenize(foil.text)
        if not 0 <= foil.word < len(wrong):
            raise NaafError(f"a foil names word {foil.word} of {foil.text!r}, which has no such word")
        own = isinstance(foil.caption, str) or 0 <= foil.caption < len(split.captions)
        if not own:
            continue  # `explain_pairs` names it
        true = tokenize(foil.caption if isinstance(foil.caption, str) else split.captions[foil.caption])
        if len(true) != len(wrong):
            raise NaafError(
                f"the foil {foil.text!r} is not as long as caption {foil.caption!r}; a foil replaces one word"
            )
        changed = [place for place, word in enumerate(wrong) if word != true[place]]
        if changed != [foil.word]:
            raise NaafError(
                f"the foil {foil.text!r} names word {foil.word}, and differs from caption {foil.caption!r} "
                f"in {_listed(changed)}; a foil replaces exactly the word that it names"
            )


def _listed(places: list[int]) -> str:
    return f"word {', '.join(map(str, places))}" if places else "no word"


def _foil_words(index: int, foil: Foil, said: Sequence[str]) -> dict[str, np.ndarray]:
    """Which word of which foil: the columns beside the evidence."""
    words = np.array(said, dtype=object)
    about = {"foil": np.full(len(words), index), "image": np.full(len(words), foil.image)}
    return about | {"word": words, "wrong": np.arange(len(words)) == foil.word}


def _values(pair: Explanation, evidence: Sequence[str]) -> dict[str, np.ndarray]:
    return {name: getattr(pair, name)[1:-1] for name in evidence}


def _detection(words: pd.DataFrame, foils: pd.DataFrame, evidence: Sequence[str]) -> FoilDetection:
    foils = foils.assign(first=_first(words, evidence[0]).to_numpy())
    return FoilDetection(
        accuracy=float(foils["right"].mean()),
        interval=image_interval(foils["right"], foils["image"]),
        count=len(foils),
        evidence=evidence[0],
        found=pd.DataFrame({name: _found(words, name) for name in evidence}).T,
        words=words,
        foils=foils,
        **_chances(words),
    )


def _found(words: pd.DataFrame, evidence: str) -> dict[str, float]:
    """One row of `FoilDetection.found`."""
    row = ranked(-words[evidence], words["wrong"], words["image"])._asdict()
    image = words.groupby("foil")["image"].first()
    for name, hit in (("first", _first(words, evidence)), ("paired", _paired(words, evidence))):
        row |= _share(name, hit, image)
    return row | {"auc_before": area_under_curve(-words[f"{evidence}_before"], words["wrong"])}


def _share(name: str, hit: pd.Series, image: pd.Series) -> dict[str, float]:
    low, high = image_interval(hit, image)
    return {name: float(hit.mean()), f"{name}_low": low, f"{name}_high": high}


def _first(words: pd.DataFrame, evidence: str) -> pd.Series:
    """For each foil: 1 where the wrong word alone has the lowest value, 1 / n where n share it, else 0."""
    lowest = words[evidence] == words.groupby("foil")[evidence].transform("min")
    hit = (lowest & words["wrong"]).groupby(words["foil"]).any()
    return hit / lowest.groupby(words["foil"]).sum()


def _paired(words: pd.DataFrame, evidence: str) -> pd.Series:
    """For each foil: 1 where the wrong word's value lies below the replaced one's, half on a tie."""
    wrong = words[words["wrong"]].set_index("foil")
    now, before = wrong[evidence], wrong[f"{evidence}_before"]
    return (now < before) + 0.5 * (now == before)


def _chances(words: pd.DataFrame) -> dict[str, float]:
    return {
        "chance_precision": float(words["wrong"].mean()),
        "chance_first": float((1 / words.groupby("foil").size()).mean()),
    }
