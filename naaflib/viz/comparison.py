"""Runs compared: differences with their intervals, queries that rose and fell.

Blue and an upward mark: better than the baseline; vermilion and a downward one: worse; an open circle: open.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..metric.retrieval import RECALL_RANKS
from . import style
from .captions import wrap
from .measures import beside_row
from .pictures import Picture, frame, picture
from .ranks import DIRECTIONS
from .style import Number, Values, seaborn, styled

NAMES = {
    **{f"{way}_at_{k}": f"{text} R@{k}" for way, text in DIRECTIONS.items() for k in RECALL_RANKS},
    "rsum": "rsum",
}
VERDICTS = {  # colour, mark, whether it is filled
    "better": (style.MATCHED, "^", True),
    "worse": (style.MISMATCHED, "v", True),
    "open": (style.INK, "o", False),
}
NAME_SIZE = 7.0
FAR = 4.0  # times the upper quartile of the rows' reach: a row that reaches further is cut


@styled
def forest(
    ax: Axes, table: pd.DataFrame, dots: Mapping[str, Values] = {}, *, names: bool = True, room: Number = 1.1
) -> Axes:
    """A row a variant, top to bottom: its difference from the baseline, with intervals, about a zero line.

    table: rows of one measure, the baseline first; columns variant, difference, low, high, images_low,
    images_high, verdict. dots: what each seed's run differs from the baseline's mean, by variant.
    names: whether the rows are named, in `room` inches. A row that reaches far beyond the others, such as a
    variant with a failed seed, is cut at the edge by an arrow, lest the others shrink to dots.
    """
    for k, row in enumerate(table.itertuples()):
        if row.verdict != "baseline":
            _interval(ax, k, row)
        runs = np.asarray(dots.get(row.variant, ()), dtype=float)
        if len(runs) > 1:
            ax.plot(runs, np.full(len(runs), k + 0.27), "o", color="#777777", markersize=2.2, zorder=3)
    ax.axvline(0, color=style.INK, linewidth=0.8, zorder=1)
    ax.set_ylim(len(table) - 0.45, -0.55)
    texts = [f"{name} (baseline)" if k == 0 else str(name) for k, name in enumerate(table["variant"])]
    labels = (
        ["\n".join(wrap(text, room, NAME_SIZE, lines=2)) for text in texts] if names else [""] * len(texts)
    )
    ax.set_yticks(range(len(table)), labels, fontsize=NAME_SIZE, parse_math=False, linespacing=0.95)
    ax.tick_params(axis="y", length=0)
    _cut(ax, table, dots)
    _directions(ax)
    return style.grid_lines(ax, "x")


def _interval(ax: Axes, k: int, row) -> None:
    """Thick: images alone. Thin, with ends: all that the interval covers. The value in the margin."""
    colour, mark, filled = VERDICTS[row.verdict]
    thick = {"linewidth": 4.5, "alpha": 0.3, "solid_capstyle": "butt"}
    ax.plot([row.images_low, row.images_high], [k, k], color=colour, **thick)
    ends = {"marker": "|", "markersize": 5, "markeredgewidth": 1.1}
    ax.plot([row.low, row.high], [k, k], color=colour, linewidth=1.1, **ends)
    face = colour if filled else "white"
    ax.plot(row.difference, k, mark, color=colour, markerfacecolor=face, markersize=5, zorder=4)
    beside_row(ax, k, style.signed(row.difference, 1), colour)


def cut_rows(table: pd.DataFrame) -> pd.Series:
    """Which rows of a forest reach so far beyond the others that they are cut."""
    reach = table[["low", "high", "images_low", "images_high"]].abs().max(axis=1).fillna(0)
    return reach > FAR * max(reach[table["verdict"] != "baseline"].quantile(0.75), 1e-6)


def _cut(ax: Axes, table: pd.DataFrame, dots: Mapping[str, Values]) -> None:
    """Limits by the rows that are not cut, and an arrow where one that is goes on."""
    cut = cut_rows(table)
    if not cut.any():
        return
    kept = table[~cut]
    runs = [np.atleast_1d(dots.get(variant, ())) for variant in kept["variant"]]
    values = np.concatenate([[0.0], *runs, kept[["low", "high"]].to_numpy(float).ravel()])
    low, high = np.nanmin(values), np.nanmax(values)
    room = 0.25 * (high - low)
    low, high = low - room, high + room
    ax.set_xlim(low, high)
    inside = 0.08 * room  # lest an arrow touch the names
    for k, row in enumerate(table.itertuples()):
        colour = VERDICTS.get(row.verdict, (style.INK,))[0]
        ends = ((low + inside, row.low < low, "<"), (high - inside, row.high > high, ">"))
        for place, beyond, mark in ends:
            if cut.iloc[k] and beyond:
                ax.plot(place, k, mark, color=colour, markersize=5, zorder=5)


def _directions(ax: Axes) -> None:
    """Which way is better, over both sides of the zero line, with room for the words on both."""
    low, high = ax.get_xlim()
    reach = max(-low, high, 1e-6)
    low, high = min(low, -0.4 * reach), max(high, 0.4 * reach)
    ax.set_xlim(low, high)
    for x, ha, text in ((-3, "right", "← worse"), (3, "left", "better →")):
        ax.annotate(
            text, (0, 1), xycoords=("data", "axes fraction"), xytext=(x, 2), textcoords="offset points",
            ha=ha, va="bottom", fontsize=6.5, color="#555555",
        )  # fmt: skip


@styled
def forest_figure(
    tables: Mapping[str, pd.DataFrame],
    dots: Mapping[str, Mapping[str, Values]],
    *,
    width: Number = style.PAGE,
    title: str | None = None,
) -> Figure:
    """Forest plots of several measures, three side by side, rows named at the left; all by measure."""
    columns = min(3, len(tables))
    rows, each = -(-len(tables) // columns), 0.29 * max(len(table) for table in tables.values()) + 0.85
    key = 0.55 if width < 5 else 0.2
    figure = style.figure(width, rows * each + key + 0.1 + (0.3 if title else 0), title)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[each] * rows + [key])
    for k, (measure, table) in enumerate(tables.items()):
        ax = figure.add_subplot(grid[k // columns, k % columns])
        forest(ax, table, dots.get(measure, {}), names=k % columns == 0, room=min(1.5, 0.3 * width))
        ax.set_title(NAMES.get(measure, measure), pad=12)
        ax.set_xlabel(f"difference from {table['variant'].iloc[0]}" if columns == 1 else "difference")
    several = any((table["covers"] == "images and seeds").any() for table in tables.values())
    seeds = any(len(np.atleast_1d(runs)) > 1 for group in dots.values() for runs in group.values())
    handles = _legend_entries(set().union(*(table["verdict"] for table in tables.values())), several, seeds)
    if any(cut_rows(table).any() for table in tables.values()):
        handles.append(_entry("goes on", color=style.INK, marker=">", markersize=5))
    below = style.bare(figure.add_subplot(grid[-1, :]))
    ncols = 2 if width < 5 else len(handles)
    style.legend(below, handles=handles, loc="center", ncols=ncols, fontsize=6.5, handletextpad=0.9)
    return figure


def _legend_entries(verdicts: set[str], several: bool, seeds: bool) -> list[Line2D]:
    entries = [
        _entry(name, color=colour, marker=mark, markerfacecolor=colour if filled else "white", markersize=5)
        for name, (colour, mark, filled) in VERDICTS.items()
        if name in verdicts
    ]
    entries.append(_entry("over images", color=style.INK, linestyle="-", linewidth=4.5, alpha=0.3))
    if several:
        entries.append(_entry("over images and seeds", color=style.INK, linestyle="-", linewidth=1.1))
    if seeds:
        entries.append(_entry("one seed", color="#777777", marker="o", markersize=2.2))
    return entries


def _entry(label: str, **look) -> Line2D:
    return Line2D([], [], label=label, **{"linestyle": "none", **look})


@styled
def place_matrix(
    ax: Axes, shares: np.ndarray, ends: Sequence[int], *, before: str, after: str, direction: str
) -> Axes:
    """Percent of queries by place before (rows) and after (columns): blue cells rose, vermilion ones fell.

    shares: (class, class); a class ends at each of `ends`, the last one is open.
    """
    firsts = [1, *(end + 1 for end in ends)]
    labels = [f"{a}" if a == b else f"{a}–{b}" for a, b in zip(firsts, ends, strict=False)] + [f">{ends[-1]}"]
    strength = 0.06 + 0.74 * np.sqrt(shares / max(shares.max(), 1e-6))
    rose = np.tril(np.ones_like(shares), -1) - np.triu(np.ones_like(shares), 1)
    grey = LinearSegmentedColormap.from_list("stayed", ["#FFFFFF", "#777777"])
    for values, mask, colours in (
        (rose * strength, rose == 0, style.diverging()),
        (2 * strength - 1, rose != 0, grey),
    ):
        seaborn().heatmap(
            values, mask=mask, vmin=-1, vmax=1, cmap=colours, annot=shares, fmt=".1f", annot_kws={"size": 7},
            linewidths=2, cbar=False, xticklabels=labels, yticklabels=labels, ax=ax,
        )  # fmt: skip
    ax.tick_params(length=0, rotation=0)
    ax.set_xlabel(f"place, {after}", parse_math=False)
    ax.set_ylabel(f"place, {before}", parse_math=False)
    ax.set_title(DIRECTIONS[direction])
    return ax


@styled
def changes_figure(
    shares: Mapping[str, np.ndarray],
    ends: Sequence[int],
    *,
    before: str,
    after: str,
    notes: Mapping[str, str] = {},
    title: str | None = None,
) -> Figure:
    """Both directions' `place_matrix` side by side, in percent of queries, with a note below each."""
    figure, axes = style.panels(1, len(shares), height=2.9 + (0.3 if title else 0), title=title)
    for ax, (direction, matrix) in zip(axes[0], shares.items(), strict=True):
        place_matrix(ax, matrix, ends, before=before, after=after, direction=direction)
        if direction in notes:
            ax.set_xlabel(f"{ax.get_xlabel()}\n{notes[direction]}", fontsize=7.5, linespacing=1.5)
    return figure


@styled
def changed_queries(
    captions: Sequence[str],
    before: Sequence[Values],
    after: Sequence[Values],
    pictures: Sequence[Sequence[Picture]],
    texts: Sequence[Sequence[str]],
    *,
    names: tuple[str, str],
    candidates: int,
    title: str | None = None,
) -> Figure:
    """A row a caption: its own picture, that picture's places by seed, what stood first before and after.

    before, after: places (from 1), one a seed. pictures, texts: of the own image and of both first answers;
    the text stands where there is no picture. names: of the two variants.
    """
    side, rows = 1.15, len(captions)
    height = rows * (side + 0.3) + 0.35 + (0.3 if title else 0)
    ratios = [side, style.PAGE - 3 * side - 0.6, side, side]
    figure, axes = style.panels(rows, 4, height=height, title=title, width_ratios=ratios)
    for k, row in enumerate(axes):
        for ax, image, text in zip(row[[0, 2, 3]], pictures[k], texts[k], strict=True):
            picture(ax, image, instead=text)
        for ax, places in zip(row[2:], (before[k], after[k]), strict=True):
            frame(ax, bool(np.atleast_1d(places)[0] == 1))
        _place_strip(row[1], captions[k], before[k], after[k], names, candidates)
    heads = ("the caption's image", f"first with {names[0]}", f"first with {names[1]}")
    for ax, head in zip(axes[0, [0, 2, 3]], heads, strict=True):
        lines = "\n".join(wrap(head, side + 0.1, 7, lines=2))
        ax.set_title(lines, fontsize=7, fontweight="normal", loc="center", parse_math=False)
    return figure


def _place_strip(
    ax: Axes, caption: str, before: Values, after: Values, names: tuple[str, str], candidates: int
) -> None:
    """The caption over two rows of dots: the place of its image with both variants, one dot a seed."""
    means = [float(np.exp(np.log(np.asarray(part, dtype=float)).mean())) for part in (before, after)]
    colour = style.MATCHED if means[1] < means[0] else style.MISMATCHED
    ax.annotate(
        "", (means[1], 0), (means[0], 1), arrowprops={"arrowstyle": "->", "color": colour, "linewidth": 1.2}
    )
    for y, places in ((1, before), (0, after)):
        ax.plot(places, np.full(len(np.atleast_1d(places)), y), "o", color=colour, markersize=3.5, alpha=0.8)
    ax.set_xscale("log")
    ax.set(xlim=(0.8, max(candidates, 10) * 1.2), ylim=(-0.6, 1.6))
    ticks = [10**power for power in range(6) if 10**power <= candidates]
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.set_xticks([], minor=True)
    ax.set_yticks([1, 0], ["\n".join(wrap(name, 0.8, 6.5, lines=2)) for name in names], fontsize=6.5)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(f"place of the image: {_places(before)} → {_places(after)}", fontsize=7)
    lines = wrap(caption, 2.7, 7.5, lines=2)
    ax.set_title("\n".join(lines), fontsize=7.5, fontweight="normal", parse_math=False)
    style.grid_lines(ax, "x")


def _places(values: Values) -> str:
    return ", ".join(f"{int(value):,}" for value in np.atleast_1d(values))
