"""The pointing game: how often the region that a word attends to most is one that the word speaks of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..data.public.entities import EntityLinks
from ..data.splits import Split
from ..errors import NaafError
from ..metric.detection import Interval, image_interval
from ..model.model import Model
from .pairs import Explanation, explain_pairs


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

    def by_class(
        self,
        classes: Mapping[str, str] | Sequence[Sequence[str | tuple[str, ...]]],
        other: str = "other",
    ) -> pd.DataFrame:
        """A row a class of words: count, rate, low, high, chance. A word in no class counts as `other`.

        classes: by word; or for every caption, for every word, its class, or a tuple of classes, in each of
        which it counts.
        """
        if isinstance(classes, Mapping):
            named = self.words["word"].map(classes)
        else:
            places = zip(self.words["caption"], self.words["position"], strict=True)
            named = pd.Series(
                [classes[caption][position] or None for caption, position in places], dtype=object
            )
        words = self.words.assign(named=named).explode("named", ignore_index=True)
        rows = {
            name: {
                "count": len(own),
                "rate": float(own["hit"].mean()),
                **dict(zip(("low", "high"), image_interval(own["hit"], own["image"]), strict=True)),
                "chance": float(own["chance"].mean()),
            }
            for name, own in words.groupby(words["named"].fillna(other))
        }
        return pd.DataFrame(rows).T.rename_axis("class").astype({"count": int})


def by_phrase_type(game: PointingGame, entities: EntityLinks) -> pd.DataFrame:
    """A row a type of phrase, the most frequent first.

    Columns: phrases, boxed, reached; words, rate, low, high, chance.
    boxed: phrases that have a box; reached: those whose box a region overlaps enough. Only these have words
    in the game. game: played with `entities.links`.
    """
    rates = game.by_class(entities.types).rename(columns={"count": "words"})
    found = entities.by_type().join(rates)
    return found.assign(words=found["words"].fillna(0).astype(int))


def pointing_game(model: Model, split: Split, links: Sequence[Sequence[Sequence[int]]]) -> PointingGame:
    """Whether each linked word's attention (`Explanation.attention`) is largest at one of its own regions.

    links: for every caption, for every word (`<start>` and `<end>` not counted), the regions that it speaks
    of, empty for none: `scenes.read_links`, or `entity_links(...).links`. Each caption is taken with its own
    image. A word that attends to no region misses.
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
        by_word=_by_word(words),
        words=words,
    )


def _pointed(pair: Explanation, links: Sequence[Sequence[int]]) -> list[dict[str, object]]:
    """A row for each linked word of a pair."""
    words, regions = len(pair.words), int(np.isfinite(pair.cosine[0]).sum())  # padding is no chance
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
        for position, (linked, region) in enumerate(zip(links, pair.attended_region[1:-1], strict=True))
        if linked
    ]


def _by_word(words: pd.DataFrame) -> pd.DataFrame:
    """A row a word, the most frequent first."""
    found = words.groupby("word").agg(count=("hit", "size"), rate=("hit", "mean"), chance=("chance", "mean"))
    return found.reset_index().sort_values(["count", "word"], ascending=[False, True], ignore_index=True)
