"""From a score matrix to ranks to recalls. numpy only.

Axes: image, caption. Caption c belongs to image c // captions_per_image. Ranks count from 0. A tie is a miss:
a wrong answer that scores the same stands before the right one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import NaafError
from .ranks import Best, Counts, RankCounter, image_of

IN_WORDS = {"i2t": "image to text", "t2i": "text to image"}
WAYS = tuple(IN_WORDS)
RECALL_RANKS = (1, 5, 10)  # the k of R@k
RECALLS = tuple(f"{way}_at_{k}" for way in WAYS for k in RECALL_RANKS)  # i2t_at_1 ... t2i_at_10
MEASURES = (*RECALLS, "rsum")
ONE_WAY = (*(f"at_{k}" for k in RECALL_RANKS), "median_rank", "mean_rank")  # the numbers of a `Retrieval`
BLOCK = 2**22  # scores compared at a time


@dataclass(frozen=True, repr=False)
class Retrieval:
    """One direction's results. Recalls are percent of queries with a right answer among the first k.

    The field says R@k; TREC calls it Success@k. (torchmetrics' RetrievalRecall is another quantity.)
    """

    ranks: np.ndarray  # (query,) rank of the best right answer, from 0
    top1: np.ndarray  # (query,) index of the answer that scores highest; of equal ones the first
    best: Best | None = None  # the answers that score highest, as many as were asked for

    def recall(self, k: int) -> float:
        return 100.0 * float(np.mean(self.ranks < k))

    @property
    def at_1(self) -> float:
        return self.recall(1)

    @property
    def at_5(self) -> float:
        return self.recall(5)

    @property
    def at_10(self) -> float:
        return self.recall(10)

    @property
    def median_rank(self) -> float:
        """Counted from 1: floor of the median, plus 1, as the released code prints it."""
        return float(np.floor(np.median(self.ranks)) + 1)

    @property
    def mean_rank(self) -> float:
        """Counted from 1."""
        return float(np.mean(self.ranks) + 1)

    def __repr__(self) -> str:
        return (
            f"R@1/5/10 {self.at_1:.1f} {self.at_5:.1f} {self.at_10:.1f}, median rank {self.median_rank:.0f}, "
            f"mean rank {self.mean_rank:.1f}, {len(self.ranks):,} queries"
        )

    def row(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ONE_WAY}


@dataclass(frozen=True, repr=False)
class RetrievalMetrics:
    """Image-to-text (a query is an image) and text-to-image (a query is a caption)."""

    i2t: Retrieval
    t2i: Retrieval

    @property
    def rsum(self) -> float:
        """The sum of the six recalls."""
        return sum(way.recall(k) for way in (self.i2t, self.t2i) for k in RECALL_RANKS)

    def measures(self) -> dict[str, float]:
        """The six recalls and rsum, by the names of MEASURES."""
        by_name = named(self.to_dict())
        return {name: by_name[name] for name in MEASURES}

    def __repr__(self) -> str:
        return f"i2t {self.i2t}\nt2i {self.t2i}\nrsum {self.rsum:.1f}"

    def _repr_html_(self) -> str:
        return f"{self.to_frame().to_html(float_format='{:.1f}'.format)}rsum <b>{self.rsum:.1f}</b>"

    def to_dict(self) -> dict[str, object]:
        return {"i2t": self.i2t.row(), "t2i": self.t2i.row(), "rsum": self.rsum}

    def to_frame(self) -> Any:
        """A pandas table: a row a direction."""
        import pandas as pd

        return pd.DataFrame({"i2t": self.i2t.row(), "t2i": self.t2i.row()}).T


def named(saved: Mapping[str, Any]) -> dict[str, float]:
    """What `RetrievalMetrics.to_dict` saved, flat: i2t_at_1, ..., t2i_mean_rank, rsum."""
    both = {f"{way}_{name}": value for way in WAYS for name, value in saved[way].items()}
    return {**both, "rsum": saved["rsum"]}


def retrieval_metrics(
    scores: Any, captions_per_image: int = 5, top: int = 1, fold: int | None = None
) -> RetrievalMetrics:
    """Ranks and recalls of scores (image, caption), an array or a tensor; top: best answers to keep.

    The rank of an image is that of its best right caption among the WRONG ones: its own captions never
    push each other down. fold: so many consecutive images are ranked together, with their own captions;
    None: all. Raises NaafError for scores that are not finite or do not fit.
    """
    scores = as_array(scores)
    images, captions = scores.shape if scores.ndim == 2 else (0, 0)
    if not images or captions != images * captions_per_image:
        raise NaafError(
            f"scores {scores.shape} are not (images, captions) with {captions_per_image} captions an image"
        )
    own = np.asarray(scores[image_of(np.arange(captions), captions_per_image), np.arange(captions)])
    counter = RankCounter(own, captions_per_image, top, fold)
    tiles = counter.tiles(max(1, BLOCK // (counter.fold * captions_per_image)))
    return metrics_of(
        counter, (tile.counts(np.asarray(scores[tile.images, tile.captions])) for tile in tiles)
    )


def metrics_of(counter: RankCounter, counts: Iterable[Counts] = ()) -> RetrievalMetrics:
    """The metrics of a matrix whose tiles are counted here, in other processes, or before."""
    for some in counts:
        counter.merge(some)
    return RetrievalMetrics(
        Retrieval(counter.image_ranks, counter.image_best.answers[:, 0], counter.image_best),
        Retrieval(counter.caption_ranks, counter.caption_best.answers[:, 0], counter.caption_best),
    )


def chance_recalls(images: int, captions_per_image: int = 5) -> dict[str, float]:
    """The six recalls, in percent, and their sum, of scores drawn blindly."""
    captions = images * captions_per_image
    i2t = []
    for k in RECALL_RANKS:
        drawn = np.arange(min(k, captions))
        wrong = np.clip(captions - captions_per_image - drawn, 0, None) / (captions - drawn)
        i2t.append(100 * (1 - float(wrong.prod())))
    recalls = [*i2t, *(100 * min(k / images, 1.0) for k in RECALL_RANKS)]
    return dict(zip(MEASURES, [*recalls, sum(recalls)], strict=True))


def as_array(scores: Any) -> np.ndarray:
    """A numpy view of an array or of a tensor on any device."""
    if hasattr(scores, "detach"):
        scores = scores.detach().cpu()
        scores = scores.float() if str(scores.dtype) == "torch.bfloat16" else scores
        return scores.numpy()
    return scores if isinstance(scores, np.ndarray) else np.asarray(scores)


def best_row(history: Any) -> Any:
    """The row of history.csv whose checkpoint is kept as the best; of equal rsums the first."""
    return history.loc[history["rsum"].idxmax()]
