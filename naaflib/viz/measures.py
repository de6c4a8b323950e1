"""Rates beside their chance levels: one dot a measure with its interval, and the same by class of word."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style
from .style import styled


@styled
def rates(ax: Axes, table: pd.DataFrame, *, title: str = "") -> Axes:
    """A row a measure, top to bottom, in percent: a dot, its 95 % interval, a mark at the chance level.

    table: the index names the rows; columns value and chance, and where known low and high.
    """
    for k, (_, row) in enumerate(table.iterrows()):
        if "low" in table and pd.notna(row["low"]):
            ax.plot([row["low"], row["high"]], [k, k], color=style.MATCHED, linewidth=2.2, alpha=0.45)
        ax.plot(row["value"], k, "o", color=style.MATCHED, markersize=5, label=None if k else "model")
        ax.plot(
            row["chance"],
            k,
            "|",
            color=style.MISMATCHED,
            markersize=11,
            markeredgewidth=2,
            label=None if k else "chance",
        )
        ax.annotate(
            f"{row['value']:.1f}",
            (1, k),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
        )
    ax.set_yticks(range(len(table)), [str(name) for name in table.index], parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.set(xlim=(-2, 102), ylim=(len(table) - 0.5, -0.5), xlabel="%")
    ax.set_title(title)
    return style.grid_lines(ax, "x")


@styled
def rates_figure(tables: dict[str, pd.DataFrame], title: str | None = None) -> Figure:
    """Several tables of rates side by side, each under its name."""
    most = max(len(table) for table in tables.values())
    figure, axes = style.panels(1, len(tables), height=0.2 * most + 1.0 + (0.3 if title else 0), title=title)
    for ax, (name, table) in zip(axes[0], tables.items(), strict=True):
        rates(ax, table, title=name)
    style.legend_below(axes[0, 0], ncols=2)
    return figure
