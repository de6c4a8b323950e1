"""What is odd about a score matrix: ties, constant queries, values that are not finite.

Each is counted while the matrix is ranked and is said beside the numbers; values that are not finite are an
error.
"""

from dataclasses import dataclass, field

import numpy as np

from ...errors import NaafError
from ...metric.ranks import Tile, image_of
from ...metric.retrieval import RECALL_RANKS, RetrievalMetrics
from .gallery import Gallery
from .matrix import ScoreMatrix

HALF = 65504  # the largest float16
NEAR_CHANCE = 0.01  # of the way from blind guessing to the best rsum


@dataclass
class Findings:
    """Counts of one matrix, added up tile by tile."""

    images: int
    captions: int
    nan: int = 0
    infinite: int = 0
    first: tuple[int, int] | None = None  # image and caption of a value that is not finite
    image_ties: np.ndarray = field(init=False)  # wrong captions that score as the image's best own one
    caption_ties: np.ndarray = field(init=False)
    _low: dict[str, np.ndarray] = field(init=False)
    _high: dict[str, np.ndarray] = field(init=False)

    def __post_init__(self) -> None:
        sizes = {"image": self.images, "caption": self.captions}
        self.image_ties, self.caption_ties = (np.zeros(size, np.int64) for size in sizes.values())
        self._low = {axis: np.full(size, np.inf) for axis, size in sizes.items()}
        self._high = {axis: np.full(size, -np.inf) for axis, size in sizes.items()}

    def add(self, tile: Tile, block: np.ndarray) -> bool:
        """Count a tile's scores (image, caption); False where no ranks can be told any more."""
        if not np.isfinite(block).all():
            self._not_finite(tile, block)
        if self.first is not None:
            return False
        right = image_of(np.arange(tile.captions.start, tile.captions.stop), tile.captions_per_image)
        row = right - tile.images.start
        column = np.flatnonzero((row >= 0) & (row < len(block)))
        for limit, ties, axis in (
            (tile.best_own[:, None], self.image_ties[tile.images], 1),
            (tile.own, self.caption_ties[tile.captions], 0),
        ):
            equal = block == limit
            equal[row[column], column] = False
            ties += equal.sum(axis=axis)
        for name, place, axis in (("image", tile.images, 1), ("caption", tile.captions, 0)):
            np.minimum(self._low[name][place], block.min(axis=axis), out=self._low[name][place])
            np.maximum(self._high[name][place], block.max(axis=axis), out=self._high[name][place])
        return True

    def _not_finite(self, tile: Tile, block: np.ndarray) -> None:
        nan = np.isnan(block)
        self.nan += int(nan.sum())
        self.infinite += int(np.isinf(block).sum())
        if self.first is None:
            image, caption = np.argwhere(~np.isfinite(block))[0]
            self.first = (tile.images.start + int(image), tile.captions.start + int(caption))

    def check(self, matrix: ScoreMatrix) -> None:
        """Raises NaafError for values that are not finite: no rank can be told beside them."""
        if self.first is None:
            return
        counts = f"{self.nan:,} NaN and {self.infinite:,} infinite scores"
        half = self.infinite and matrix.source.kind == "float16"
        remedy = f"float16 ends at {HALF:,}: save them as float32" if half else "score these pairs again"
        raise NaafError(
            f"{matrix.name} holds {counts}, the first for image {self.first[0]} and caption "
            f"{self.first[1]}, so ranks cannot be told; {remedy}"
        )

    def notes(self, metrics: RetrievalMetrics, gallery: Gallery, distances: bool = False) -> list[str]:
        """Sentences for the person; none where nothing is odd. distances: the scores were taken as such."""
        return [
            *self._of_ties(metrics),
            *self._of_constants(),
            *_of_chance(metrics.rsum, gallery.chance()["rsum"], distances),
        ]

    def _of_ties(self, metrics: RetrievalMetrics) -> list[str]:
        counts = [int((ties > 0).sum()) for ties in (self.image_ties, self.caption_ties)]
        if not any(counts):
            return []
        kindly = 0.0
        for found, ties in ((metrics.i2t, self.image_ties), (metrics.t2i, self.caption_ties)):
            kindly += sum(100 * float(np.mean(found.ranks - ties < k)) for k in RECALL_RANKS)
        return [
            f"a wrong answer ties with the right one for {counts[0]:,} of {self.images:,} images and "
            f"{counts[1]:,} of {self.captions:,} captions; a tie is a miss here, as hits rsum would be "
            f"{kindly:.1f}"
        ]

    def _of_constants(self) -> list[str]:
        said = []
        for name, others in (("image", "captions"), ("caption", "images")):
            constant = np.flatnonzero(self._low[name] == self._high[name])
            if len(constant):
                many = f"{len(constant):,} {name}s score" if len(constant) > 1 else f"1 {name} scores"
                said.append(f"{many} the same with all {others}, the first is {name} {constant[0]}")
        return said


def _of_chance(rsum: float, chance: float, distances: bool) -> list[str]:
    """Distances that are ranked as scores lie below chance, scores in another order at it."""
    if rsum > chance + NEAR_CHANCE * (600 - chance):
        return []
    remedy = "leave --smaller-is-better out" if distances else "naaf judge takes --smaller-is-better"
    return [
        f"rsum {rsum:.1f} is no better than blind guessing ({chance:.1f}): if smaller scores are better, "
        f"{remedy}; if images or captions stand in another order, name both orders with its --ids"
    ]
