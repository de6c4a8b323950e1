"""Rates beside their chance levels: one dot a measure with its interval, of one model or of several."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style
from .style import Number, styled

MARKS = (("o", style.MATCHED), ("s", style.SERIES[1]), ("D", style.SERIES[3]))  # a model each


@styled
def rates(ax: Axes, tables: Mapping[str, pd.DataFrame], *, title: str = "") -> Axes:
    """A row a measure, top to bottom, in percent: a dot and a 95 % interval a model, a mark at chance.

    tables: of each model by its name; the index names the rows, the same in all; columns value and chance,
    and where known low and high. The numbers at the right are the models' in their order.
    """
    first = next(iter(tables.values()))
    for k, (name, table) in enumerate(tables.items()):
        _dots(ax, table, MARKS[k % len(MARKS)], (k - (len(tables) - 1) / 2) * 0.28, name)
    rows = range(len(first))
    ax.plot(
        first["chance"], rows, "|", color=style.MISMATCHED, markersize=13 if len(tables) > 1 else 11,
        markeredgewidth=2, label="chance", zorder=1,
    )  # fmt: skip
    for row in rows:
        numbers = "  ".join(f"{table['value'].iloc[row]:.1f}" for table in tables.values())
        beside_row(ax, row, numbers)
    ax.set_yticks(rows, [str(name) for name in first.index], parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.set(xlim=(_lowest(tables) - 2, 102), ylim=(len(first) - 0.5, -0.5), xlabel="%")
    ax.set_title(title)
    return style.grid_lines(ax, "x")


def beside_row(ax: Axes, row: int, text: str, colour: str = style.INK) -> None:
    """A row's numbers, in the margin at its right."""
    where = {"xycoords": ("axes fraction", "data"), "xytext": (4, 0), "textcoords": "offset points"}
    ax.annotate(text, (1, row), **where, va="center", fontsize=7, color=colour)


def _lowest(tables: Mapping[str, pd.DataFrame]) -> float:
    """Where the axis begins: 0, or some way up where nothing lies near it."""
    low = min(float(table[column].min()) for table in tables.values() for column in table if column != "high")
    return 10 * ((low - 3) // 10) if low > 33 else 0.0


def _dots(ax: Axes, table: pd.DataFrame, mark: tuple[str, str], shift: float, name: str) -> None:
    """One model's values, so far below the rows' middles."""
    (shape, colour), rows = mark, np.arange(len(table)) + shift
    if "low" in table:
        ax.hlines(rows, table["low"], table["high"], color=colour, linewidth=2.2, alpha=0.45)
    ax.plot(table["value"], rows, shape, color=colour, markersize=5 if shape == "o" else 4, label=name)


@styled
def rates_figure(
    panels: Mapping[str, Mapping[str, pd.DataFrame]], *, width: Number = style.PAGE, title: str | None = None
) -> Figure:
    """Several of `rates` side by side, each under its name."""
    several = max(len(tables) for tables in panels.values()) > 1
    most = max(len(table) for tables in panels.values() for table in tables.values())
    height = (0.28 if several else 0.2) * most + 1.0 + (0.3 if title else 0)
    figure, axes = style.panels(1, len(panels), width=width, height=height, title=title)
    low = min(map(_lowest, panels.values()))
    for ax, (name, tables) in zip(axes[0], panels.items(), strict=True):
        rates(ax, tables, title=name)
        ax.set_xlim(low - 2, 102)
        if ax is not axes[0, 0] and _rows(ax) == _rows(axes[0, 0]):
            ax.tick_params(labelleft=False)
    style.legend_below(axes[0, 0], ncols=3)
    return figure


def _rows(ax: Axes) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]
