"""Ids of the COCO test split in the SCAN order, and its extended right answers: ECCV Caption and CxC.

All of it lies in the package eccv-caption 0.1.0 (Chun et al. 2022; MIT). Its files are read without importing
it: the import warns where ujson is not installed, and brings nothing but its own metrics.

Counted: CxC has 5000 image queries and 24,972 caption queries with 35,585 pairs each way; ECCV Caption has
1,261 image queries with 22,550 pairs and 1,332 caption queries with 11,279. Two image queries of ECCV Caption
(575916, 421999) name one caption each that is not among the 25,000 (144675, 467259). Such an absent caption
can never be found. It counts in R all the same, as in the package's own numbers.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import NaafError, unknown
from ...files import read_json, shown
from ...metric.positives import BothWays, Positives
from ..manifest import CAPTIONS_AN_IMAGE
from ..npy import open_array

PACKAGE = "eccv_caption"
TRUTHS = ("eccv", "cxc")
Place = Callable[[Any], np.ndarray]
DAMAGED = "reinstall it: pip install --force-reinstall eccv-caption"


@dataclass(frozen=True)
class CocoIds:
    """Which image stands in which row, and which caption in which column."""

    images: np.ndarray  # (5000,) COCO's image ids
    captions: np.ndarray  # (25000,) COCO's annotation ids; five consecutive captions are one image's

    def rows(self, images: Any) -> np.ndarray:
        """The rows of image ids; -1 for an image that is not there."""
        return _places(self.images, images)

    def columns(self, captions: Any) -> np.ndarray:
        """The columns of annotation ids; -1 for a caption that is not there."""
        return _places(self.captions, captions)


def coco_ids() -> CocoIds:
    """Of the test split, in the order of SCAN's testall_ids.txt. Raises NaafError without the package."""
    path = _folder() / "coco_test_ids.npy"
    captions = np.array(open_array(path))
    image_of = _read("original_caption_to_image.json")
    try:
        images = np.array([image_of[caption][0] for caption in captions.tolist()])
    except LookupError as error:
        raise NaafError(
            f"{shown(path)}: a caption has no image in the package ({error}); {DAMAGED}"
        ) from error
    first = images[::CAPTIONS_AN_IMAGE]
    if not np.array_equal(images, first.repeat(CAPTIONS_AN_IMAGE)):
        raise NaafError(f"{shown(path)}: five consecutive captions are not one image's; {DAMAGED}")
    return CocoIds(first, captions)


def positives(truth: str) -> BothWays:
    """The right answers of "eccv" or "cxc", as rows and columns of a matrix in the SCAN order.

    Raises UsageError for another name and NaafError without the package.
    """
    if truth not in TRUTHS:
        raise unknown("set of right answers", truth, TRUTHS)
    ids = coco_ids()
    return BothWays(
        i2t=_positives(f"{truth}_image_to_caption.json", ids.rows, ids.columns),
        t2i=_positives(f"{truth}_caption_to_image.json", ids.columns, ids.rows),
    )


def _positives(name: str, query_place: Place, answer_place: Place) -> Positives:
    """A file's right answers by their places instead of their ids; queries rise."""
    answers_of = _read(name)
    ids = np.fromiter(answers_of, np.int64, len(answers_of))
    query = query_place(ids)
    if (query < 0).any():
        what = f"query {ids[query < 0][0]} is none of the test split"
        raise NaafError(f"{shown(_folder() / name)}: {what}; {DAMAGED}")
    order = np.argsort(query)
    answers = [sorted(set(answers_of[one])) for one in ids[order].tolist()]
    places = answer_place([answer for some in answers for answer in some])
    return Positives.of(query[order], np.array([len(some) for some in answers]), places)


def _places(known: np.ndarray, asked: Any) -> np.ndarray:
    asked = np.asarray(asked, np.int64)
    order = np.argsort(known)
    place = order[np.minimum(np.searchsorted(known, asked, sorter=order), len(known) - 1)]
    return np.where(known[place] == asked, place, -1)


def _read(name: str) -> dict[int, list[int]]:
    path = _folder() / name
    content = read_json(path, DAMAGED, DAMAGED)
    try:
        return {int(query): [int(answer) for answer in answers] for query, answers in content.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise NaafError(f"{shown(path)}: not lists of ids by id; {DAMAGED}") from error


def _folder() -> Path:
    """Where the installed package has its data; the package is looked for and not imported."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise NaafError(
            "COCO's ids and the right answers of ECCV Caption and CxC come with the package eccv-caption, "
            "which is not installed: pip install naaflib[benchmarks]"
        )
    return Path(found.submodule_search_locations[0]) / "data"
