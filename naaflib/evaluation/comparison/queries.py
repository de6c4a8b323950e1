"""Changes of rank between two variants, query by query: which right answers rose and which fell.

A place is a rank counted from 1. With several seeds the place of a query is the geometric mean over them, and
shares are over all pairs of seeds.
"""

from itertools import permutations

import numpy as np
import pandas as pd

from ...errors import unknown
from ...metric.ranks import image_of
from ...metric.retrieval import WAYS
from .compare import Comparison
from .settings import Variant

ENDS = (1, 5, 10, 50)  # last place of each class but the open one at the end: the recalls can be read off


def places(variant: Variant, direction: str) -> np.ndarray:
    """Place of each query's best right answer: (seed, query). direction: "i2t" or "t2i"."""
    if direction not in WAYS:
        raise unknown("direction", direction, WAYS)
    return np.stack([getattr(metrics, direction).ranks + 1 for metrics in variant.metrics])


def query_changes(comparison: Comparison, name: str) -> pd.DataFrame:
    """A row a query, the largest changes first: place before (the baseline's) and after.

    change: how often the place was halved, log2(before / after); negative where it fell. agree: whether every
    seed of the variant lies on the same side of every seed of the baseline.
    """
    tables = []
    for direction in WAYS:
        before, after = (places(v, direction) for v in (comparison.baseline, comparison.variant(name)))
        mean_before, mean_after = (np.exp(np.log(part).mean(axis=0)) for part in (before, after))
        rose, fell = (before.min(axis=0) > after.max(axis=0)), (before.max(axis=0) < after.min(axis=0))
        columns = {
            "query": np.arange(before.shape[1]),
            "before": mean_before,
            "after": mean_after,
            "change": np.log2(mean_before / mean_after),
            "agree": rose | fell,
        }
        tables.append(pd.DataFrame(columns).assign(direction=direction))
    table = pd.concat(tables, ignore_index=True)
    captions = table["direction"] == "t2i"
    per_image = int(comparison.origin["captions_per_image"])
    table["image"] = np.where(captions, image_of(table["query"], per_image), table["query"])
    table = table.sort_values("change", key=np.abs, ascending=False, kind="stable", ignore_index=True)
    return table[["direction", "query", "image", "before", "after", "change", "agree"]]


def place_shares(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Percent of queries by the class of their place before (rows) and after (columns); classes end at ENDS.

    before, after: places (seed, query); every seed of one is set beside every seed of the other, so that the
    sums of rows and of columns are exactly the mean recalls of both.
    """
    sizes = len(ENDS) + 1
    first, second = (np.searchsorted(ENDS, part) for part in (before, after))
    cells = sizes * first[:, None] + second
    return 100 * np.bincount(cells.ravel(), minlength=sizes**2).reshape(sizes, sizes) / cells.size


def seed_shares(variant: Variant, direction: str) -> np.ndarray | None:
    """What a seed alone changes: `place_shares` between the seeds of one variant; None for one seed."""
    pairs = [*permutations(places(variant, direction)[:, None], 2)]
    return np.mean([place_shares(*pair) for pair in pairs], axis=0) if pairs else None


def gained_and_lost(shares: np.ndarray) -> tuple[float, float]:
    """Percent of queries that moved into a better class, and into a worse one."""
    return float(np.tril(shares, -1).sum()), float(np.triu(shares, 1).sum())
