"""What attention and mismatch are worth, measured against the truth that the built-in scenes know.

Every rate stands beside its chance level and a 95 % interval; the interval resamples images, since the words
of one image are not independent.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from ..data.captions import tokenize
from ..data.scenes import Foil
from ..data.splits import Split
from ..errors import NaafError
from ..model import Model
from .pairs import Explanation, explain_pairs

Interval = tuple[float, float]
EVIDENCE = ("mismatch_effect", "effect", "best_cosine")  # of a word; the lower, the more likely it is wrong
RESAMPLES = 2000


@dataclass(frozen=True)
class PointingGame:
    """How often the region that a word attends to most is one that the word speaks of. Shares in 0 ... 1."""

    rate: float
    interval: Interval
    chance: float  # a region picked blindly: the mean share of an image's regions that a word is linked to
    count: int  # words
    by_word: pd.DataFrame  # word, count, rate, chance; the most frequent first
    words: pd.DataFrame  # one row a linked word: caption, image, position, word, region, hit, chance

    def sentence(self) -> str:
        return (
            f"the most attended region is right for {self.rate:.1%} of {self.count:,} linked words "
            f"(95 % interval {self.interval[0]:.1%} to {self.interval[1]:.1%}; chance {self.chance:.1%})"
        )


def pointing_game(model: Model, split: Split, links: Sequence[Sequence[Sequence[int]]]) -> PointingGame:
    """Whether each linked word's attention (`Explanation.attention`) is largest at one of its own regions.

    links: for every caption, for every word (`<start>` and `<end>` not counted), the regions that it speaks
    of, empty for none; `scenes.read_links` reads them. Each caption is taken with its own image.
    Raises NaafError for links that do not fit the captions.
    """
    if len(links) != len(split.captions):
        raise NaafError(
            f"{len(links)} rows of links do not fit the {len(split.captions)} captions of {split.name}"
        )
    chosen = [caption for caption, words in enumerate(links) if any(words)]
    if not chosen:
        raise NaafError(f"no word of split {split.name} is linked to a region; the pointing game needs links")
    rows: list[dict[str, object]] = []
    for pair in explain_pairs(model, split, split.image_of_caption[chosen], chosen):
        rows += _pointed(pair, links[pair.caption])
    words = pd.DataFrame(rows)
    return PointingGame(
        rate=float(words["hit"].mean()),
        interval=image_interval(words["hit"], words["image"]),
        chance=float(words["chance"].mean()),
        count=len(words),
        by_word=_by(words, "word", rate=("hit", "mean"), chance=("chance", "mean")),
        words=words,
    )


def _pointed(pair: Explanation, links: Sequence[Sequence[int]]) -> list[dict[str, object]]:
    """A row for each linked word of a pair."""
    words, regions = pair.cosine.shape
    if len(links) != words - 2:
        raise NaafError(f"caption {pair.caption} has {words - 2} words and {len(links)} lists of links")
    return [
        {
            "caption": pair.caption,
            "image": pair.image,
            "position": position,
            "word": pair.words[position + 1],
            "region": int(region),
            "hit": int(region) in linked,
            "chance": len(set(linked)) / regions,
        }
        for position, (linked, region) in enumerate(
            zip(links, pair.attention[1:-1].argmax(axis=1), strict=True)
        )
        if linked
    ]


@dataclass(frozen=True)
class FoilDetection:
    """Captions with exactly one wrong word: is the word found, and is the caption told from the true one?

    found: a row a kind of evidence (`mismatch_effect`, `effect`: all parts, `best_cosine`), columns auc
    (chance 0.5), average_precision (chance: `chance_precision`), first (how often the wrong word has the
    lowest value of its caption; a tie counts its share; chance: `chance_first`).
    """

    accuracy: float  # how often the true caption scores higher than the foil; a tie is a miss
    interval: Interval
    count: int  # foils
    evidence: str  # the headline's: mismatch_effect for NAAF, effect for SCAN, which has no mismatch
    found: pd.DataFrame
    chance_precision: float  # share of wrong words among all words of the foils
    chance_first: float  # mean of 1 / words
    by_kind: pd.DataFrame  # kind, count, accuracy, first (by the headline's evidence)
    words: pd.DataFrame  # one row a word of a foil
    foils: pd.DataFrame  # one row a foil: caption, image, kind, score_true, score_foil, right, first

    @property
    def auc(self) -> float:
        """Of the headline's evidence at finding the wrong word among all words of all foils."""
        return float(self.found.loc[self.evidence, "auc"])

    def sentence(self) -> str:
        row = self.found.loc[self.evidence]
        return (
            f"{self.evidence} finds the wrong word with AUC {row['auc']:.3f} (chance 0.5), first in its "
            f"caption {row['first']:.1%} (chance {self.chance_first:.1%}); the true caption beats its foil "
            f"in {self.accuracy:.1%} of {self.count:,} pairs (95 % interval {self.interval[0]:.1%} to "
            f"{self.interval[1]:.1%}; chance 50.0%)"
        )


def foil_detection(model: Model, split: Split, foils: Sequence[Foil]) -> FoilDetection:
    """How well the model finds the wrong word of each foil, and tells the foil from the true caption.

    foils: as `scenes.read_foils` reads them, or your own. `<start>` and `<end>` are no candidates.
    Raises NaafError for foils that do not fit the split.
    """
    if not foils:
        raise NaafError(f"there are no foils for split {split.name}; nothing can be measured")
    for foil in foils:
        if not 0 <= foil.word < len(tokenize(foil.text)):
            raise NaafError(f"a foil names word {foil.word} of {foil.text!r}, which has no such word")
    own = sorted({(foil.image, foil.caption) for foil in foils})
    pairs = explain_pairs(model, split, *(list(column) for column in zip(*own, strict=True)))
    true = {key: pair.score for key, pair in zip(own, pairs, strict=True)}
    wrong = explain_pairs(model, split, [foil.image for foil in foils], [foil.text for foil in foils])
    words, rows = [], []
    for index, (foil, pair) in enumerate(zip(foils, wrong, strict=True)):
        score = true[foil.image, foil.caption]
        words.append(_foil_words(index, foil, pair))
        scored = {"score_true": score, "score_foil": pair.score, "right": score > pair.score}
        rows.append(asdict(foil) | scored)
    joined = {name: np.concatenate([part[name] for part in words]) for name in words[0]}
    return _detection(pd.DataFrame(joined), pd.DataFrame(rows), model.settings.method)


def _foil_words(index: int, foil: Foil, pair: Explanation) -> dict[str, np.ndarray]:
    """The columns of a foil's words."""
    words = np.array(pair.words[1:-1], dtype=object)
    place = {"foil": np.full(len(words), index), "word": words, "wrong": np.arange(len(words)) == foil.word}
    return place | {name: getattr(pair, name)[1:-1] for name in EVIDENCE}


def _detection(words: pd.DataFrame, foils: pd.DataFrame, method: str) -> FoilDetection:
    evidence = "mismatch_effect" if method == "naaf" else "effect"
    first = {name: _first(words, name) for name in EVIDENCE}
    found = pd.DataFrame(
        {
            name: {
                "auc": area_under_curve(-words[name], words["wrong"]),
                "average_precision": average_precision(-words[name], words["wrong"]),
                "first": float(first[name].mean()),
            }
            for name in EVIDENCE
        }
    ).T
    foils = foils.assign(first=first[evidence].to_numpy())
    return FoilDetection(
        accuracy=float(foils["right"].mean()),
        interval=image_interval(foils["right"], foils["image"]),
        count=len(foils),
        evidence=evidence,
        found=found,
        chance_precision=float(words["wrong"].mean()),
        chance_first=float((1 / words.groupby("foil").size()).mean()),
        by_kind=_by(foils, "kind", accuracy=("right", "mean"), first=("first", "mean")),
        words=words,
        foils=foils,
    )


def _first(words: pd.DataFrame, evidence: str) -> pd.Series:
    """For each foil: 1 where the wrong word alone has the lowest value, 1 / n where n share it, else 0."""
    lowest = words[evidence] == words.groupby("foil")[evidence].transform("min")
    hit = (lowest & words["wrong"]).groupby(words["foil"]).any()
    return hit / lowest.groupby(words["foil"]).sum()


def area_under_curve(score: np.ndarray | pd.Series, truth: np.ndarray | pd.Series) -> float:
    """Share of (true, false) pairs with the true one scored higher; a tie counts half. NaN for one class."""
    score, truth = np.asarray(score, dtype=float), np.asarray(truth, dtype=bool)
    pairs = int(truth.sum()) * int((~truth).sum())
    return (
        mannwhitneyu(score[truth], score[~truth], method="asymptotic").statistic / pairs
        if pairs
        else float("nan")
    )


def average_precision(score: np.ndarray | pd.Series, truth: np.ndarray | pd.Series) -> float:
    """Mean precision at each true item's score, equal scores entering together."""
    score, truth = np.asarray(score, dtype=float), np.asarray(truth, dtype=bool)
    values = np.unique(score)[::-1]
    level = np.searchsorted(-values, -score)
    hits = np.bincount(level, weights=truth, minlength=len(values))
    seen = np.bincount(level, minlength=len(values))
    return float((hits * hits.cumsum() / seen.cumsum()).sum() / truth.sum())


def image_interval(hit: pd.Series, image: pd.Series, seed: int = 0) -> Interval:
    """95 % interval of a mean: percentiles over resamples of whole images."""
    by_image = hit.astype(float).groupby(image.to_numpy()).agg(["sum", "size"]).to_numpy()
    rng = np.random.default_rng(seed)
    times = rng.multinomial(len(by_image), np.full(len(by_image), 1 / len(by_image)), size=RESAMPLES)
    hits, counts = (times @ by_image).T
    low, high = np.quantile(hits / counts, (0.025, 0.975))
    return float(low), float(high)


def _by(frame: pd.DataFrame, key: str, **columns: tuple[str, str]) -> pd.DataFrame:
    """A row a value of `key`, the most frequent first."""
    table = frame.groupby(key).agg(count=(key, "size"), **columns).reset_index()
    return table.sort_values(["count", key], ascending=[False, True], ignore_index=True)
