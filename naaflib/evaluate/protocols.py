"""Protocols by name: which images compete.

"full" ranks the whole split at once; "f30k-1k" is full on exactly 1000 images; "coco-5k" is full on exactly
5000 images and "coco-1k" the mean over its five folds of 1000. They are different numbers: every result
names its own.
"""

from pathlib import Path

import numpy as np

from ..data.splits import evaluation_split
from ..errors import UsageError
from ..metric import Retrieval, RetrievalMetrics, retrieval_metrics

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


def protocol_metrics(scores: np.ndarray, protocol: str, captions_per_image: int = 5) -> RetrievalMetrics:
    """Metrics of scores (image, caption) under a protocol.

    coco-1k: five folds of 1000 images, each ranked on its own; recalls, mean rank and rsum equal the means
    over the folds (they are of one size), the median is over all queries.
    Raises UsageError for an unknown protocol or a number of images that it is not made for.
    """
    check_protocol(protocol, len(scores))
    if protocol != "coco-1k":
        return retrieval_metrics(scores, captions_per_image)
    captions = FOLD * captions_per_image
    folds = [
        retrieval_metrics(
            scores[f * FOLD : (f + 1) * FOLD, f * captions : (f + 1) * captions], captions_per_image
        )
        for f in range(len(scores) // FOLD)
    ]
    i2t = [Retrieval(fold.i2t.ranks, fold.i2t.top1 + f * captions) for f, fold in enumerate(folds)]
    t2i = [Retrieval(fold.t2i.ranks, fold.t2i.top1 + f * FOLD) for f, fold in enumerate(folds)]
    return RetrievalMetrics(_joined(i2t), _joined(t2i))


def _joined(folds: list[Retrieval]) -> Retrieval:
    return Retrieval(np.concatenate([f.ranks for f in folds]), np.concatenate([f.top1 for f in folds]))
