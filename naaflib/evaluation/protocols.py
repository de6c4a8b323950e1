"""Protocols by name: which images are ranked together.

"full" ranks the whole split at once; "f30k-1k" is full on exactly 1000 images; "coco-5k" is full on exactly
5000 images and "coco-1k" the mean over its five folds of 1000. They are different numbers: every result
names its own.
"""

from pathlib import Path

import numpy as np

from ..data.splits import evaluation_split
from ..errors import UsageError, unknown
from ..metric.retrieval import RetrievalMetrics, retrieval_metrics

PROTOCOL_IMAGES: dict[str, int | None] = {"full": None, "f30k-1k": 1000, "coco-1k": 5000, "coco-5k": 5000}
PROTOCOLS = tuple(PROTOCOL_IMAGES)
FOLD = 1000


def check_protocol(protocol: str, images: int) -> None:
    """Raises UsageError where the protocol is unknown or not made for so many images."""
    if protocol not in PROTOCOLS:
        raise unknown("protocol", protocol, PROTOCOLS)
    needed = PROTOCOL_IMAGES[protocol]
    if needed is not None and images != needed:
        raise UsageError(
            f"protocol {protocol} is made for {needed} images and the split holds {images}; take full"
        )


def default_split(data: str | Path, protocol: str) -> str:
    """test, else dev; the coco protocols are made for testall."""
    prefer = ("testall", "test", "dev") if protocol.startswith("coco") else ("test", "dev")
    return evaluation_split(data, prefer)


def fold_size(protocol: str, images: int) -> int:
    """How many of a split's images are ranked together. Raises UsageError as `check_protocol` does."""
    check_protocol(protocol, images)
    return FOLD if protocol == "coco-1k" else images


def protocol_metrics(
    scores: np.ndarray, protocol: str, captions_per_image: int = 5, top: int = 1
) -> RetrievalMetrics:
    """Metrics of scores (image, caption) under a protocol.

    coco-1k: five folds of 1000 images, each ranked on its own; recalls, mean rank and rsum equal the means
    over the folds (they are of one size), the median is over all queries. top: best answers to keep.
    Raises UsageError for an unknown protocol or a number of images that it is not made for.
    """
    return retrieval_metrics(scores, captions_per_image, top, fold_size(protocol, len(scores)))
