"""Whether a row of the feature file is an image or a caption. Equal counts leave that open; rows answer it.

Three things are known: the captions an image has (stated: `captions_per_image` of the folder's manifest, else
five), the numbers of rows and captions (counted), and which rows are equal (read, from a sample of them).

| counted                        | read                                                  | rows of an image |
|--------------------------------|-------------------------------------------------------|------------------|
| captions = rows x stated > rows| nothing                                               | 1                |
| captions = rows                | `stated` equal rows in succession, no image twice     | stated           |

All else is refused: a number of captions is never guessed from the files, because it decides what counts as a
right answer. The sentence says what the rows show, and what to write where.
"""

from itertools import takewhile
from pathlib import Path

import numpy as np

from ..errors import NaafError
from ..files import shown
from .manifest import OWN_MANIFEST, layout_path, own_manifest

COMPARED = 64  # images, spread over the file: a repeated COCO train split has 160 GB
MOST_TIMES = 20  # longest run and most rounds that are looked for


def rows_an_image(folder: Path, split: str, rows: np.ndarray, captions: int, stated: int) -> int:
    """Rows of the feature file that one image has: 1, or `stated` where rows are captions.

    rows: the features, memory-mapped. captions: how many there are. stated: captions an image.
    Raises NaafError where counts or rows contradict what is stated.
    """
    count = len(rows)
    if stated == 0:
        raise NaafError(
            f"{shown(layout_path(folder, split, 'captions'))} holds {captions} captions, and the manifest "
            f"says that there are none; {_statement(folder, captions // count or 1)}"
        )
    if stated > 1 and count * stated == captions:
        return 1
    if count == captions and count and count % stated == 0 and first_unequal(rows, stated) is None:
        images = rows[::stated]
        if run_length(images) == 1 and not period(images):
            return stated
    raise NaafError(_contradiction(folder, split, rows, captions, stated))


def first_unequal(rows: np.ndarray, each: int) -> int | None:
    """The first image, of a sample, whose `each` rows in succession differ; None where none does."""
    images = np.unique(np.linspace(0, len(rows) // each - 1, COMPARED).astype(int))
    return next((int(i) for i in images if not _equal(rows[i * each : (i + 1) * each])), None)


def run_length(rows: np.ndarray) -> int:
    """How many equal rows each image has in succession (a, a, b, b); 1 where the runs differ in length."""
    begin = range(1, min(len(rows), MOST_TIMES))
    each = 1 + sum(1 for _ in takewhile(lambda row: _equal(rows[[0, row]]), begin))
    return each if len(rows) % each == 0 and first_unequal(rows, each) is None else 1


def period(rows: np.ndarray) -> int:
    """After how many rows all images come again (a, b, c, a, b, c: 3); 0 where they do not."""
    if _equal(rows[:2]):
        return 0
    for times in range(MOST_TIMES, 1, -1):
        distance, rest = divmod(len(rows), times)
        places = {0, distance // 2, distance - 1}
        if distance and not rest and all(_equal(rows[[i, i + distance]]) for i in places):
            return distance
    return 0


def _contradiction(folder: Path, split: str, rows: np.ndarray, captions: int, stated: int) -> str:
    """What counts and rows say against the stated number of captions, and what to do, in one sentence."""
    count = len(rows)
    text, features = (layout_path(folder, split, role) for role in ("captions", "features"))
    found = f"{shown(text)} holds {captions} captions and {features.name} {count} rows"
    needed = f"{stated} captions an image need {count * stated} captions"
    if count != captions or not count:
        return (
            f"{found}; {needed} (or a row a caption): one of the two files is cut short or of another "
            f"version, or another number goes into the folder's {OWN_MANIFEST} as captions_per_image"
        )
    if (each := run_length(rows)) > 1:
        return f"{found}, and every image has {each} equal rows in succession; {_statement(folder, each)}"
    if distance := period(rows):
        return (
            f"{found}, and all images come again after {distance} rows; put rows and captions into the order "
            f"np.arange({count}).reshape(-1, {distance}).T.ravel(), so that an image's stand together"
        )
    different = None if count % stated else first_unequal(rows, stated)
    which = "" if different is None else f" (those of image {different} differ)"
    return (
        f"{found}, and not every image has {stated} equal rows{which}; where each has one caption, "
        f"{_statement(folder, 1)}; {needed}, or each row {stated} times in succession"
    )


def _statement(folder: Path, each: int) -> str:
    path = folder / OWN_MANIFEST
    if path.is_file():
        return f"write captions_per_image: {each} in {shown(path)}"
    return f"write {own_manifest(folder, each)} into {shown(path)}"


def _equal(rows: np.ndarray) -> bool:
    same = np.broadcast_to(rows[:1], rows.shape)
    return bool(np.array_equal(rows, same, equal_nan=rows.dtype.kind == "f"))
