"""Ranks and recalls as figures. Ranks count from 0, as `metric` gives them; the axes show places from 1.

A recalls table is a DataFrame with the columns i2t_at_1 ... t2i_at_10 in percent, a row a model.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..metric.retrieval import RECALL_RANKS, RECALLS
from . import style
from .style import Values, styled

DIRECTIONS = {"i2t": "image → text", "t2i": "text → image"}
_AT = np.array([0, 1, 2, 3.5, 4.5, 5.5])  # of the six recalls, on an axis
_LAST_PLACES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


def rank_bins(candidates: int) -> tuple[np.ndarray, list[str]]:
    """Upper ends of nearly logarithmic bins of places 1 ... candidates, and a label for each.

    1, 5 and 10 end a bin, so that the recalls can be read off.
    """
    ends = [last for last in _LAST_PLACES if last < candidates] + [candidates]
    firsts = [1] + [end + 1 for end in ends[:-1]]
    labels = [f"{a}" if a == b else f"{a}–{b}" for a, b in zip(firsts, ends, strict=True)]
    return np.array(ends), labels


@styled
def rank_histogram(ax: Axes, ranks: Values, *, direction: str, candidates: int) -> Axes:
    """Percent of queries by the place of their right answer, bins nearly logarithmic, R@1, R@5, R@10 marked.

    ranks: from 0, one a query; direction "i2t" or "t2i"; candidates: how many answers were ranked.
    """
    ends, labels = rank_bins(candidates)
    places = np.asarray(ranks) + 1
    bins = np.searchsorted(ends, places)
    percent = 100 * np.bincount(bins, minlength=len(ends)) / max(len(places), 1)
    colours = [style.MATCHED if end <= 10 else style.FAINT for end in ends]
    ax.bar(np.arange(len(ends)), percent, width=0.86, color=colours)
    top = max(percent.max(), 1.0)
    for k in RECALL_RANKS:
        if k in ends:
            _mark_recall(ax, int(np.searchsorted(ends, k)) + 0.5, k, 100 * np.mean(places <= k), top)
    ax.set_xticks(np.arange(len(ends)), labels, rotation=40, ha="right", rotation_mode="anchor")
    ax.set(ylabel="queries, %", xlabel=f"place of the right answer among {candidates:,}", ylim=(0, top * 1.4))
    ax.set_title(f"{DIRECTIONS[direction]}, median place {int(np.floor(np.median(places)))}")
    return style.grid_lines(ax)


def _mark_recall(ax: Axes, x: float, k: int, recall: float, top: float) -> None:
    height = top * {1: 1.38, 5: 1.27, 10: 1.16}[k]
    ax.plot([x, x], [0, height], color=style.INK, linewidth=0.7, linestyle=(0, (2, 2)))
    ax.text(x + 0.12, height, f"R@{k} {recall:.1f} %", ha="left", va="top", fontsize=7)


@styled
def recall_bars(
    ax: Axes,
    recalls: Mapping[str, float],
    *,
    chance: Mapping[str, float] | None = None,
    published: Mapping[str, float] | None = None,
) -> Axes:
    """The six recalls as bars with their values; marks for chance and for a published row where given."""
    values = [recalls[name] for name in RECALLS]
    ax.bar(_AT, values, width=0.7, color=[style.MATCHED] * 3 + [style.RELEVANCE] * 3)
    marks = ((chance, style.MISMATCHED, "chance"), (published, style.INK, "published"))
    for level, colour, label in marks:
        if level is not None:
            heights = [level[name] for name in RECALLS]
            ax.hlines(heights, _AT - 0.42, _AT + 0.42, color=colour, linewidth=1.6, label=label)
    for x, value, name in zip(_AT, values, RECALLS, strict=True):
        above = max([value] + [level[name] for level in (chance, published) if level is not None])
        ax.text(x, above + 2, f"{value:.1f}", ha="center", va="bottom", fontsize=7.5)
    _recall_axis(ax)
    if chance is not None or published is not None:
        style.legend(ax, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


@styled
def recall_comparison(ax: Axes, table: pd.DataFrame, highlight: Sequence[str] = ()) -> Axes:
    """Recalls of several models: a dot each, the names in `highlight` (the ensemble) as filled diamonds."""
    others = [name for name in table.index if name not in highlight]
    spread = np.linspace(-0.18, 0.18, len(others)) if len(others) > 1 else [0.0]
    for shift, name in zip(spread, others, strict=False):
        look = {"color": style.FAINT, "markeredgecolor": "#777777", "markersize": 4.5}
        ax.plot(_AT + shift, table.loc[name, list(RECALLS)], "o", **look, label=str(name))
    for name in highlight:
        values = table.loc[name, list(RECALLS)]
        ax.plot(_AT, values, "D", color=style.MATCHED, markersize=5, label=str(name))
        for x, value, above in zip(_AT, values, table[list(RECALLS)].max(), strict=True):
            ax.text(x, above + 3, f"{value:.1f}", ha="center", va="bottom", fontsize=7)
    _recall_axis(ax)
    style.legend(ax, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return style.grid_lines(ax)


def _recall_axis(ax: Axes) -> None:
    ax.set_xticks(_AT, [f"R@{k}" for k in 2 * RECALL_RANKS])
    ax.set(ylabel="queries answered, %", ylim=(0, 106), xlim=(-0.6, 6.1), yticks=range(0, 101, 20))
    for x, text in ((1, DIRECTIONS["i2t"]), (4.5, DIRECTIONS["t2i"])):
        where = {"xycoords": ("data", "axes fraction"), "xytext": (0, -24), "textcoords": "offset points"}
        ax.annotate(text, (x, 0), **where, ha="center", va="top", fontweight="bold", fontsize=7.5)


@styled
def score_margin(ax: Axes, margin: Values, *, direction: str) -> Axes:
    """Score of the right answer less the hardest wrong one; at 0 or below the query fails."""
    margin = np.asarray(margin, dtype=float)
    reach = max(float(np.abs(margin).max()), 1e-6) * 1.02
    edges = np.linspace(-reach, reach, 51)  # an odd number of edges: one of them is 0
    for part, colour in ((margin[margin > 0], style.MATCHED), (margin[margin <= 0], style.MISMATCHED)):
        ax.hist(part, bins=edges, color=colour, alpha=0.85)
    ax.axvline(0, color=style.INK, linewidth=0.8)
    won = 100 * float(np.mean(margin > 0))
    for x, ha, text in ((0.03, "left", f"fails {100 - won:.1f} %"), (0.97, "right", f"succeeds {won:.1f} %")):
        ax.text(x, 0.97, text, transform=ax.transAxes, ha=ha, va="top", fontsize=7.5)
    ax.set(title=DIRECTIONS[direction], xlabel="score margin: right − hardest wrong", ylabel="queries")
    return style.grid_lines(ax)


@styled
def ranks_figure(
    i2t_ranks: Values, t2i_ranks: Values, *, images: int, captions: int, title: str | None = None
) -> Figure:
    """Rank histograms of both directions side by side; ranks from 0."""
    figure, axes = style.panels(1, 2, height=2.7, title=title)
    rank_histogram(axes[0, 0], i2t_ranks, direction="i2t", candidates=captions)
    rank_histogram(axes[0, 1], t2i_ranks, direction="t2i", candidates=images)
    return figure
