"""What a data set holds, in numbers: counts, words, what a vocabulary covers, lengths of features.

Arrays and tables; `viz.data` and `viz.inspection` draw them. `tokens` are the words of each caption.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NaafError
from ..files import shown
from .captions import tokenize
from .prepare.report import MARKS, Report
from .splits import Split, open_split, split_names
from .vocabulary import Vocabulary

Tokens = list[list[str]]
FILE_NAME = r"^\w+\.\w+, "  # before a file's size: the row says it already


def open_splits(folder: str | Path) -> dict[str, Split]:
    """Every split of a folder by name. Raises NaafError where there is none."""
    found = {name: open_split(folder, name) for name in split_names(folder)}
    if not found:
        raise NaafError(
            f"{shown(folder)} holds no split (train_ims.npy and so on); `naaf data list` says more"
        )
    return found


def counts_table(splits: Mapping[str, Split]) -> Any:
    """A pandas row a split: how much of everything, and whether boxes and pictures are there."""
    import pandas as pd

    rows = {name: _counts(split) for name, split in splits.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("split")


def _counts(split: Split) -> dict[str, object]:
    images, regions, dim = split.regions.shape
    pictures = sum(split.image_path(image) is not None for image in range(images))
    return {
        "images": images,
        "captions": len(split.captions),
        "captions an image": split.captions_per_image,
        "regions an image": regions,
        "features a region": dim,
        "stored as": str(split.regions.rows.dtype),
        "megabytes": round(split.regions.rows.nbytes / 1e6),
        "boxes": "no" if split.boxes is None else "yes",
        "pictures": pictures,
    }


def checks_table(report: Report) -> Any:
    """A verification with a row a check and a column a split: a mark, and what was found."""
    frame = report.to_frame()
    marks = frame["ok"].map(lambda ok: MARKS[None if ok is None else bool(ok)])
    cells = marks + ": " + frame["found"].str.replace(FILE_NAME, "", regex=True)
    rows = frame.apply(lambda check: check["what"].replace(f"{check['split']}_", "", 1), axis=1)
    table = cells.groupby([rows, frame["split"]], sort=False).first().unstack(fill_value="")
    return table.rename_axis(index="check", columns=None)[list(dict.fromkeys(frame["split"]))]


def remarks_table(report: Report) -> Any:
    """The checks that failed or that are worth a remark, with what to do; None where there are none."""
    frame = report.to_frame()
    remarks = frame.loc[frame["remedy"] != "", ["split", "what", "found", "remedy"]].set_index("split")
    return None if remarks.empty else remarks


def split_tokens(splits: Mapping[str, Split]) -> dict[str, Tokens]:
    """The words of every caption of every split."""
    return {name: [tokenize(caption) for caption in split.captions] for name, split in splits.items()}


def caption_lengths(tokens: Mapping[str, Tokens]) -> dict[str, np.ndarray]:
    """Words a caption, `<start>` and `<end>` not counted."""
    return {name: np.array([len(words) for words in captions]) for name, captions in tokens.items()}


def word_counts(tokens: Mapping[str, Tokens]) -> dict[str, Counter[str]]:
    """How often each word occurs, split by split."""
    return {name: Counter(word for words in captions for word in words) for name, captions in tokens.items()}


def coverage_table(tokens: Mapping[str, Tokens], vocabulary: Vocabulary) -> Any:
    """A pandas row a split: how much of its text a vocabulary knows; the rest is read as `<unk>`."""
    import pandas as pd

    rows = {name: _coverage(captions, vocabulary) for name, captions in tokens.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("split")


def _coverage(captions: Tokens, vocabulary: Vocabulary) -> dict[str, object]:
    count = Counter(word for words in captions for word in words)
    known = sum(n for word, n in count.items() if word in vocabulary)
    whole = sum(all(word in vocabulary for word in words) for words in captions)
    missing = [word for word, _ in count.most_common() if word not in vocabulary]
    return {
        "different words": len(count),
        "of them unknown": len(missing),
        "running words known, %": round(100 * known / max(count.total(), 1), 2),
        "captions wholly known, %": round(100 * whole / max(len(captions), 1), 1),
        "most frequent unknown": ", ".join(missing[:5]) or "none",
    }


def feature_norms(splits: Mapping[str, Split], images: int = 300, seed: int = 0) -> dict[str, np.ndarray]:
    """Lengths of the region features of at most so many images a split, (image, region), images by a seed."""
    rows = {
        name: np.random.default_rng(seed).permutation(len(split))[:images] for name, split in splits.items()
    }
    return {name: region_norms(split.regions.gather(rows[name])) for name, split in splits.items()}


def region_norms(features: np.ndarray) -> np.ndarray:
    """Lengths of features (..., region, dim); NaN of a region that is padding."""
    norms = np.linalg.norm(features, axis=-1)
    return np.where(norms > 0, norms, np.nan)
