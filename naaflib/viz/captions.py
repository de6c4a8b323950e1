"""A caption as a figure: its words coloured from mismatched to matched, and what each adds to the score."""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from . import style
from .style import Number, Values, styled

_PAD = 2.5  # points between a word and the edge of its coloured box


@lru_cache(maxsize=4096)
def text_width(text: str, size: Number = 8.0, weight: str = "normal") -> float:
    """Width of a line of text in points, the blanks around its letters included."""
    font = FontProperties(family=style.FONTS, weight=weight, size=size)
    measure = text_to_path.get_text_width_height_descent
    with style.house_style():
        between, bars = (measure(line, font, ismath=False)[0] for line in (f"|{text}|", "||"))
    return float(between - bars)


def wrap(text: str, width: Number, size: Number = 8.0, lines: int | None = None) -> list[str]:
    """The text in lines no wider than `width` inches; with too few `lines` the last ends in an ellipsis.

    A punctuation mark stays with the word before it; a word wider than a line is cut.
    """
    rows: list[str] = []
    for word in re.sub(r" ([.,;:!?]+)(?= |$)", "\N{NO-BREAK SPACE}\\1", text).split(" "):
        for piece in _pieces(word, width, size):
            longer = f"{rows[-1]} {piece}" if rows else piece
            if rows and text_width(longer, size) <= 72 * width:
                rows[-1] = longer
            else:
                rows.append(piece)
    if lines is not None and len(rows) > lines:
        last = rows[lines - 1]
        while " " in last and text_width(last + " …", size) > 72 * width:
            last = last.rsplit(" ", 1)[0]
        rows = [*rows[: lines - 1], last + " …"]
    return rows


def _pieces(word: str, width: Number, size: Number) -> list[str]:
    """The word, cut where it is wider than a line."""
    fit = len(word)
    while fit > 1 and text_width(word[:fit], size) > 72 * width:
        fit -= 1
    return [word] if fit >= len(word) else [word[:fit], *_pieces(word[fit:], width, size)]


def flow(words: Sequence[str], width: Number, size: Number = 9.0) -> list[tuple[int, float]]:
    """Line and left edge (points) of each word, set like running text `width` inches wide."""
    places: list[tuple[int, float]] = []
    line, x = 0, 0.0
    for word in words:
        advance = text_width(word, size) + 2 * _PAD
        if x > 0 and x + advance > 72 * width:
            line, x = line + 1, 0.0
        places.append((line, x))
        x += advance + 2.0
    return places


def as_shown(words: Sequence[str], known: Values | None = None) -> list[str]:
    """The words, a question mark after each that the model does not know."""
    known = [True] * len(words) if known is None else known
    return [word if fine else f"{word}?" for word, fine in zip(words, known, strict=True)]


def caption_height(shown: Sequence[str], width: Number, size: Number = 9.0) -> float:
    """Inches that `coloured_caption` needs for words `as_shown`."""
    return (flow(shown, width, size)[-1][0] + 1) * 1.9 * size / 72 if len(shown) else 0.0


def match_norm(values: Values, centre: Number) -> TwoSlopeNorm:
    """Colours of equal strength at equal distance from the centre, whichever side is longer."""
    reach = max(float(np.nanmax(np.abs(np.asarray(values) - centre), initial=0.0)), 1e-6)
    return TwoSlopeNorm(centre, centre - reach, centre + reach)


@styled
def coloured_caption(
    ax: Axes,
    words: Sequence[str],
    values: Values,
    *,
    width: Number,
    centre: Number = 0.0,
    norm: Normalize | None = None,
    known: Values | None = None,
    size: Number = 9.0,
) -> Axes:
    """The words in running text `width` inches wide from the Axes' upper left corner, each on its colour.

    values: one a word; blue above `centre`, vermilion below. A word that the model does not know is in
    italics with a question mark.
    """
    norm = norm or match_norm(values, centre)
    shown = as_shown(words, known)
    known = [True] * len(words) if known is None else known
    for word, value, fine, (line, x) in zip(shown, values, known, flow(shown, width, size), strict=True):
        fill = style.diverging()(norm(value))
        ax.annotate(
            word,
            (0, 1),
            xycoords="axes fraction",
            xytext=(x + _PAD, -(1.9 * line + 0.95) * size),
            textcoords="offset points",
            fontsize=size,
            va="center_baseline",
            color=ink_on(fill),
            fontstyle="normal" if fine else "italic",
            parse_math=False,
            annotation_clip=False,
            bbox={"boxstyle": f"square,pad={_PAD / size}", "facecolor": fill, "edgecolor": "none"},
        ).set_in_layout(False)
    return style.bare(ax)


def ink_on(fill: tuple[float, float, float, float]) -> str:
    """Black or white, whichever can be read on this colour."""
    return "white" if float(np.dot(fill[:3], (0.299, 0.587, 0.114))) < 0.5 else style.INK


@styled
def effect_bars(
    ax: Axes,
    words: Sequence[str],
    feature_effect: Values,
    relevance_effect: Values,
    negative_effect: Values,
    *,
    known: Values | None = None,
) -> Axes:
    """A row a word, top to bottom: what it adds to the score. The mean of the totals (dots) is the score."""
    total = stacked_effects(ax, feature_effect, relevance_effect, negative_effect)
    ax.set_yticks(np.arange(len(words)), as_shown(words, known), parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.set(ylim=(len(words) - 0.4, -0.6), xlabel="effect on the score")
    ax.set_title(
        f"score {style.plain(total.mean(), 3)}: the mean of the words' totals",
        fontweight="normal",
        fontsize=8,
    )
    style.legend_below(ax, ncols=2)
    return style.grid_lines(ax, "x")


def stacked_effects(
    ax: Axes, feature_effect: Values, relevance_effect: Values, negative_effect: Values
) -> np.ndarray:
    """Bars from 0, a row a word, and a dot at each total; returns the totals."""
    rows = np.arange(len(feature_effect))
    alone = not (np.any(relevance_effect) or np.any(negative_effect))  # SCAN has one effect
    parts = (
        (feature_effect, style.FEATURES, "effect" if alone else "matched, features"),
        (relevance_effect, style.RELEVANCE, "matched, relevance"),
        (negative_effect, style.MISMATCHED, "mismatched"),
    )
    right, left = np.zeros(len(rows)), np.zeros(len(rows))
    for effect, colour, label in parts:
        effect = np.nan_to_num(np.asarray(effect, dtype=float))
        if not effect.any():
            continue
        bars = _bars(np.where(effect >= 0, right, left), effect, rows)
        ax.add_collection(PolyCollection(bars, color=colour, linewidth=0, label=label), autolim=False)
        right, left = right + effect.clip(min=0), left + effect.clip(max=0)
    total = right + left
    ax.plot(total, rows, "o", color="white", markeredgecolor=style.INK, markersize=3.5, label="word's total")
    low, high = min(left.min(), 0.0), max(right.max(), 0.0)
    room = 0.04 * max(high - low, 1e-6)  # a dot at a bar's end needs some
    ax.set_xlim(low - room * (low < 0), high + room)
    ax.axvline(0, color=style.INK, linewidth=0.7)
    ax.axvline(total.mean(), color=style.INK, linewidth=0.9, linestyle=(0, (2, 2)), label="score")
    return total


def _bars(start: np.ndarray, length: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Corners (row, corner, xy) of bars: one collection is drawn several times as fast as `barh`."""
    low, high, end = rows - 0.35, rows + 0.35, start + length
    corners = [np.stack(xy, axis=-1) for xy in ((start, low), (end, low), (end, high), (start, high))]
    return np.stack(corners, axis=1)
