"""Protocols by name: which images compete.

"full" ranks the whole split at once; "f30k-1k" is full on exactly 1000 images; "coco-5k" is full on exactly
5000 images and "coco-1k" the mean over its five folds of 1000. They are different numbers: every result
names its own.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.splits import evaluation_split
from ..errors import UsageError
from ..metric.ranks import Best
from ..metric.retrieval import Retrieval, RetrievalMetrics, retrieval_metrics

PROTOCOL_IMAGES: dict[str, int | None] = {"full": None, "f30k-1k": 1000, "coco-1k": 5000, "coco-5k": 5000}
PROTOCOLS = tuple(PROTOCOL_IMAGES)
FOLD = 1000


def check_protocol(protocol: str, images: int) -> None:
    """Raises UsageError where the protocol is unknown or not made for so many images."""
    if protocol not in PROTOCOLS:
        raise UsageError(f"there is no protocol {protocol!r}; protocols: {', '.join(PROTOCOLS)}")
    needed = PROTOCOL_IMAGES[protocol]
    if needed is not None and images != needed:
        raise UsageError(
            f"protocol {protocol} is made for {needed} images and the split holds {images}; take full"
        )


def default_split(data: str | Path, protocol: str) -> str:
    """test, else dev; the coco protocols are made for testall."""
    prefer = ("testall", "test", "dev") if protocol.startswith("coco") else ("test", "dev")
    return evaluation_split(data, prefer)


def folds(protocol: str, images: int) -> list[slice]:
    """The runs of images that are ranked each on its own."""
    if protocol != "coco-1k":
        return [slice(0, images)]
    return [slice(start, start + FOLD) for start in range(0, images, FOLD)]


def protocol_metrics(
    scores: np.ndarray, protocol: str, captions_per_image: int = 5, top: int = 1
) -> RetrievalMetrics:
    """Metrics of scores (image, caption) under a protocol.

    coco-1k: five folds of 1000 images, each ranked on its own; recalls, mean rank and rsum equal the means
    over the folds (they are of one size), the median is over all queries. top: best answers to keep.
    Raises UsageError for an unknown protocol or a number of images that it is not made for.
    """
    check_protocol(protocol, len(scores))
    if protocol != "coco-1k":
        return retrieval_metrics(scores, captions_per_image, top)
    parts = folds(protocol, len(scores))
    found = [
        retrieval_metrics(
            scores[fold, fold.start * captions_per_image : fold.stop * captions_per_image],
            captions_per_image,
            top,
        )
        for fold in parts
    ]
    return joined(found, parts, captions_per_image)


def joined(
    found: Sequence[RetrievalMetrics], parts: Sequence[slice], captions_per_image: int
) -> RetrievalMetrics:
    """The metrics of all folds as one; answers count over the whole split."""
    i2t = [_moved(m.i2t, fold.start * captions_per_image) for m, fold in zip(found, parts, strict=True)]
    t2i = [_moved(m.t2i, fold.start) for m, fold in zip(found, parts, strict=True)]
    return RetrievalMetrics(_joined(i2t), _joined(t2i))


def _moved(one: Retrieval, first: int) -> Retrieval:
    return Retrieval(one.ranks, one.top1 + first, Best(one.best.answers + first, one.best.scores))


def _joined(parts: list[Retrieval]) -> Retrieval:
    ranks, top1 = (np.concatenate([getattr(part, name) for part in parts]) for name in ("ranks", "top1"))
    answers, scores = (
        np.concatenate([getattr(part.best, name) for part in parts]) for name in ("answers", "scores")
    )
    return Retrieval(ranks, top1, Best(answers, scores))
