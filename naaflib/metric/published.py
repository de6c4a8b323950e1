"""The results that the paper and its users report, to set beside one's own.

Zhang et al., CVPR 2022, tables 1 and 2; the last Flickr30K row is what the released checkpoint gives. COCO
1K is the mean over five folds. Rsums stand as printed: some differ by 0.1 from their recalls' sum.
"""

from typing import NamedTuple

from .retrieval import MEASURES


class Published(NamedTuple):
    """One row of a table; recalls in percent."""

    data: str
    protocol: str
    text: str  # the text encoder
    model: str
    measures: tuple[float, ...]  # in the order of metric.MEASURES


class Expected(NamedTuple):
    """What trainings of a preset's settings came to on a split: number, then (mean, lowest, highest)."""

    preset: str
    split: str
    trainings: int
    i2t_at_1: tuple[float, float, float]
    t2i_at_1: tuple[float, float, float]
    rsum: tuple[float, float, float]

    def sentence(self) -> str:
        """In one line."""
        r1 = " / ".join(_range(values) for values in (self.i2t_at_1, self.t2i_at_1))
        return (
            f"expected of one model with the settings of preset {self.preset} on {self.split}: R@1 {r1}, "
            f"rsum {_range(self.rsum)}: mean and range of {self.trainings} trainings"
        )

    def holds(self, rsum: float) -> bool:
        """Whether a model's rsum lies within the range, as far as both are printed."""
        return self.rsum[1] <= round(rsum, 1) <= self.rsum[2]


def _range(values: tuple[float, float, float]) -> str:
    mean, low, high = values
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"


EXPECTED = (  # docs/starts.csv
    Expected("scenes", "test", 60, (80.0, 76.0, 85.6), (53.3, 50.8, 55.3), (498.2, 492.3, 504.6)),
)

F30K, COCO = ("f30k_precomp", "f30k-1k"), ("coco_precomp", "coco-1k")
ROWS = (
    Published(*F30K, "Bi-GRU", "single", (75.9, 93.6, 97.7, 55.5, 81.0, 87.9, 491.5)),
    Published(*F30K, "Bi-GRU", "ensemble", (78.3, 94.1, 97.7, 58.9, 83.3, 89.0, 501.3)),
    Published(*COCO, "Bi-GRU", "single", (76.8, 95.2, 98.2, 61.3, 90.6, 96.0, 518.2)),
    Published(*COCO, "Bi-GRU", "ensemble", (78.9, 96.0, 98.7, 63.1, 90.8, 96.5, 524.0)),
    Published(*F30K, "GloVe", "single", (79.6, 96.3, 98.3, 59.3, 83.9, 90.2, 507.6)),
    Published(*F30K, "GloVe", "ensemble", (81.9, 96.1, 98.3, 61.0, 85.3, 90.6, 513.2)),
    Published(*F30K, "GloVe", "released checkpoint", (80.6, 95.4, 98.0, 60.0, 83.9, 89.9, 507.9)),
    Published(*COCO, "GloVe", "single", (78.1, 96.1, 98.6, 63.5, 89.6, 95.3, 521.2)),
    Published(*COCO, "GloVe", "ensemble", (80.5, 96.5, 98.8, 64.1, 90.7, 96.5, 527.2)),
)


def published_rows(data: str, protocol: str, split: str = "test"):
    """A pandas table of the rows that are comparable with a result; empty where nothing was published.

    On Flickr30K's 1000 test images protocol full is f30k-1k under another name.
    """
    import pandas as pd

    same = "f30k-1k" if data == "f30k_precomp" and protocol == "full" else protocol
    rows = [
        (*row[:-1], *row.measures)
        for row in ROWS
        if (row.data, row.protocol) == (data, same) and split in ("test", "testall")
    ]
    return pd.DataFrame(rows, columns=[*Published._fields[:-1], *MEASURES])
