"""Tables of a comparison: differences with confidence intervals and p-values, spreads over seeds, LaTeX.

A row says what its interval and p-value cover. "images": the trained models as they are, asked other images.
"images and seeds": the settings trained anew and asked other images; both settings need two seeds or more.
"""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from ...errors import unknown
from ...metric.retrieval import MEASURES
from ...metric.significance import (
    Difference,
    Share,
    corrected,
    crossed_difference,
    image_difference,
    pooled_seed_variance,
    t_interval,
)
from .compare import Comparison
from .settings import Variant

IMAGES, BOTH = "images", "images and seeds"
COLUMNS = (
    "variant", "measure", "seeds", "mean", "sd", "difference", "low", "high", "p", "p_corrected", "verdict",
    "covers", "images_low", "images_high", "images_p",
)  # fmt: skip
TEXTS = ("variant", "measure", "verdict", "covers")  # columns that LaTeX sets to the left
MATHS = str.maketrans({"±": r"$\pm$", "<": "$<$", "–": "--"})  # what LaTeX's text fonts lack


def difference_table(
    comparison: Comparison,
    measures: Sequence[str] = ("rsum",),
    *,
    confidence: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
    correction: str = "holm",
    pool_seeds: bool = False,
) -> pd.DataFrame:
    """A row a measure and variant, the baseline first: mean and sd over seeds, difference, interval, p.

    p_corrected counts every comparison of the table; the verdict (better, worse, open) follows it at the
    level 1 - confidence. images_low, images_high, images_p always cover images alone. pool_seeds: take the
    variance over seeds as the same in all variants that were trained apart.
    Raises UsageError for an unknown measure or correction.
    """
    places = [_place(measure) for measure in measures]
    others = comparison.variants[1:]
    options = {"confidence": confidence, "resamples": resamples, "seed": seed}
    by_images = image_difference(_image_means(comparison, places), **options)
    pooled = _pooled(comparison, places) if pool_seeds else None
    rows = []
    for number, variant in enumerate(others):
        own = slice(number * len(places), (number + 1) * len(places))
        images = Difference(*(part[own] for part in by_images))
        found, covers = _headline(comparison.baseline, variant, places, images, confidence, pooled)
        rows += _rows(variant, measures, places, found, images, covers)
    table = pd.DataFrame(rows)
    table["p_corrected"] = corrected(table["p"], correction)
    verdicts = zip(table["difference"], table["p_corrected"], strict=True)
    table["verdict"] = [_verdict(*row, 1 - confidence) for row in verdicts]
    zero = pd.DataFrame(_rows(comparison.baseline, measures, places, None, None, ""), columns=table.columns)
    whole = pd.concat([zero.astype(table.dtypes.to_dict()), table])
    order = whole["measure"].map(list(measures).index).argsort(kind="stable")
    return whole.iloc[order][[*COLUMNS]].reset_index(drop=True)


def _image_means(comparison: Comparison, places: list[int]) -> np.ndarray:
    """What each image adds to the differences of all variants side by side, the mean over their seeds."""

    def mean(variant: Variant) -> np.ndarray:
        return variant.values[..., places].mean(axis=0)

    baseline, *others = comparison.variants
    return np.concatenate(
        [mean(variant) - mean(variant.counterpart(baseline) or baseline) for variant in others], axis=1
    )


def _place(measure: str) -> int:
    if measure not in MEASURES:
        raise unknown("measure", measure, MEASURES)
    return MEASURES.index(measure)


def _headline(
    baseline: Variant,
    variant: Variant,
    places: list[int],
    images: Difference,
    confidence: float,
    pooled: Share | None,
) -> tuple[Difference, str]:
    """The difference with all that these runs can tell of, and what that is."""
    if min(len(baseline.runs), len(variant.runs)) < 2:
        return images, IMAGES
    counterpart = variant.counterpart(baseline)
    both = crossed_difference(
        variant.values[..., places],
        (counterpart or baseline).values[..., places],
        paired=counterpart is not None,
        seed_variance=pooled,
        confidence=confidence,
    )
    return both, BOTH


def _pooled(comparison: Comparison, places: list[int]) -> Share:
    """Over all variants of two seeds or more; several looks at the same weights count once."""
    apart: list[Variant] = []
    for variant in comparison.variants:
        if len(variant.runs) > 1 and not any(variant.counterpart(other) for other in apart):
            apart.append(variant)
    return pooled_seed_variance([variant.values[..., places] for variant in apart])


def _rows(
    variant: Variant,
    measures: Sequence[str],
    places: list[int],
    found: Difference | None,
    images: Difference | None,
    covers: str,
) -> list[dict[str, object]]:
    rows = []
    for k, (measure, place) in enumerate(zip(measures, places, strict=True)):
        spread = t_interval(variant.values[..., place].mean(axis=1))
        row = {"variant": variant.name, "measure": measure, "seeds": len(variant.runs)}
        row |= {"mean": spread.mean, "sd": spread.deviation, "verdict": "baseline", "covers": covers}
        if found is not None and images is not None:
            row |= {"difference": found.value[k], "low": found.low[k], "high": found.high[k], "p": found.p[k]}
            row |= {"images_low": images.low[k], "images_high": images.high[k], "images_p": images.p[k]}
        rows.append(row)
    return rows


def _verdict(difference: float, p: float, level: float) -> str:
    if p >= level:
        return "open"
    return "better" if difference > 0 else "worse"


def spread_table(comparison: Comparison, confidence: float = 0.95) -> pd.DataFrame:
    """A row a variant: number of seeds; mean and standard deviation of every measure over seeds.

    rsum_low, rsum_high: a t interval of the mean rsum, these images, other seeds.
    """
    rows = {}
    for variant in comparison.variants:
        runs = variant.values.mean(axis=1)
        spreads = {name: t_interval(runs[:, k], confidence) for k, name in enumerate(MEASURES)}
        row: dict[str, float] = {"seeds": len(runs)}
        for name, spread in spreads.items():
            row |= {name: spread.mean, f"{name}_sd": spread.deviation}
        rows[variant.name] = row | {"rsum_low": spreads["rsum"].low, "rsum_high": spreads["rsum"].high}
    return pd.DataFrame(rows).T.rename_axis("variant").astype({"seeds": int})


def readable_differences(table: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """The table for the eye, numbers as text; intervals over images alone stand beside those over both."""
    level = f"{100 * confidence:g} % interval"
    columns = {"variant": table["variant"]}
    if table["measure"].nunique() > 1:
        columns["measure"] = table["measure"].str.replace("_at_", " R@")
    columns["seeds"] = table["seeds"].astype(str)
    columns["value" if "measure" in columns else str(table["measure"].iloc[0])] = [
        f"{mean:.1f}" + ("" if np.isnan(sd) else f" ± {sd:.1f}")
        for mean, sd in zip(table["mean"], table["sd"], strict=True)
    ]
    columns["difference"] = ["–" if np.isnan(value) else signed(value, 1) for value in table["difference"]]
    columns[level] = _intervals(table["low"], table["high"])
    if (table["covers"] == BOTH).any():
        columns["images alone"] = _intervals(table["images_low"], table["images_high"])
    columns |= {"p": table["p"].map(_p_text), "p corrected": table["p_corrected"].map(_p_text)}
    columns["verdict"] = table["verdict"]
    if table.loc[table["covers"] != "", "covers"].nunique() > 1:
        columns["covers"] = table["covers"]
    return pd.DataFrame(columns)


def signed(value: float, digits: int) -> str:
    """+0.3, -0.2, and no sign on nothing."""
    return f"{value:+.{digits}f}" if round(value, digits) else f"{0:.{digits}f}"


def _intervals(low: pd.Series, high: pd.Series) -> list[str]:
    pairs = zip(low, high, strict=True)
    return ["–" if np.isnan(a) else f"{signed(a, 1)} to {signed(b, 1)}" for a, b in pairs]


def _p_text(p: float) -> str:
    return "–" if np.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def coverage_note(
    table: pd.DataFrame, *, confidence: float = 0.95, correction: str = "holm", pool_seeds: bool = False
) -> str:
    """What the intervals and p-values of a table cover, in sentences."""
    compared = table[table["verdict"] != "baseline"]
    level = f"{100 * confidence:g} %"
    kinds = {
        IMAGES: "images (bootstrap and sign flips of whole images with all captions), not other seeds",
        BOTH: "images and seeds: t intervals for settings trained anew and asked other images",
    }
    said = [f"The {level} intervals cover {kinds[k]}." for k in kinds if (compared["covers"] == k).any()]
    if pool_seeds:
        said.append(
            "The variance over seeds is one for all settings that were trained apart, pooled from them."
        )
    means = table[table["verdict"] == "baseline"].set_index("measure")["mean"]
    off = (compared["mean"] - compared["measure"].map(means) - compared["difference"]).abs() > 1e-6
    if off.any():
        names = ", ".join(compared.loc[off, "variant"].unique())
        said.append(
            f"Compared with the seeds of the baseline whose weights they take, not with all: {names}."
        )
    by = {"holm": "Holm", "bh": "Benjamini and Hochberg"}.get(correction)
    p = f"p corrected by {by}" if by else "p, uncorrected,"
    count = f"{len(compared)} comparison{'s' if len(compared) != 1 else ''}"
    said.append(f"Verdicts: {p} for {count}, at {1 - confidence:.3g}; each interval stands for itself.")
    return "\n".join(said)


def latex_table(readable: pd.DataFrame, note: str = "") -> str:
    """A readable table for LaTeX's booktabs: numbers to the right, the note as a comment above."""
    kinds = "".join("l" if name in TEXTS else "r" for name in readable.columns)
    styler = Styler(readable.astype(str)).hide(axis="index")
    styler = styler.format(_maths, escape="latex").format_index(escape="latex", axis="columns")
    comment = "".join(f"% {line}\n" for line in note.splitlines())
    return comment + styler.to_latex(column_format=kinds, hrules=True)


def _maths(escaped: str) -> str:
    """A minus before a number is one."""
    return re.sub(r"(?<![\w-])-(?=\d)", "$-$", escaped.translate(MATHS))
