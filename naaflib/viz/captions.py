"""A caption as a figure: its words coloured from mismatched to matched, and what each adds to the score."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import TwoSlopeNorm
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from . import style
from .style import Number, Values, styled

LONGEST_WORD = 60  # letters of a word in a figure
_PAD = 2.5  # points between a word and the edge of its coloured box


@runtime_checkable
class Pair(Protocol):
    """What figures read of a pair that was taken apart, an `Explanation`. Arrays: word, or (word, region)."""

    words: Sequence[str]
    known: Values  # whether the model knows the word
    boundary: float | None
    cosine: np.ndarray  # NaN: the region is padding
    best_cosine: Values
    best_region: Values
    attention: np.ndarray
    feature_effect: Values
    relevance_effect: Values
    negative_effect: Values
    effect: Values  # their sum
    score: float
    propagated: Values


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
    word = style.short(word, LONGEST_WORD)
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


def as_shown(words: Sequence[str], known: Values) -> list[str]:
    """The words, cut where they are very long, a question mark after each that the model does not know."""
    cut = [style.short(word, LONGEST_WORD) for word in words]
    return [word if fine else f"{word}?" for word, fine in zip(cut, known, strict=True)]


def caption_height(pair: Pair, width: Number, size: Number = 9.0) -> float:
    """Inches that `coloured_caption` needs."""
    return (flow(as_shown(pair.words, pair.known), width, size)[-1][0] + 1) * 1.9 * size / 72


def match_norm(values: Values, boundary: Number | None) -> TwoSlopeNorm:
    """Colours of equal strength at equal distance from the boundary (without one: from the mean)."""
    centre = float(np.nanmean(values) if boundary is None else boundary)
    reach = max(float(np.nanmax(np.abs(np.asarray(values) - centre), initial=0.0)), 1e-6)
    return TwoSlopeNorm(centre, centre - reach, centre + reach)


@styled
def coloured_caption(ax: Axes, pair: Pair, norm: TwoSlopeNorm, width: Number, size: Number = 9.0) -> Axes:
    """The words in running text `width` inches wide from the Axes' upper left corner, each on its colour.

    Blue: its largest cosine lies above the norm's centre; vermilion: below. A word that the model does not
    know is in italics with a question mark.
    """
    shown = as_shown(pair.words, pair.known)
    places = flow(shown, width, size)
    for word, value, fine, (line, x) in zip(shown, pair.best_cosine, pair.known, places, strict=True):
        fill = style.diverging()(norm(value))
        ax.annotate(
            word, (0, 1), xycoords="axes fraction", xytext=(x + _PAD, -(1.9 * line + 0.95) * size),
            textcoords="offset points", fontsize=size, va="center_baseline", color=ink_on(fill),
            fontstyle="normal" if fine else "italic", parse_math=False, annotation_clip=False,
            bbox={"boxstyle": f"square,pad={_PAD / size}", "facecolor": fill, "edgecolor": "none"},
        ).set_in_layout(False)  # fmt: skip
    return style.bare(ax)


def ink_on(fill: tuple[float, float, float, float]) -> str:
    """Black or white, whichever can be read on this colour."""
    return "white" if float(np.dot(fill[:3], (0.299, 0.587, 0.114))) < 0.5 else style.INK


@styled
def effect_bars(ax: Axes, pair: Pair) -> Axes:
    """A row a word, top to bottom: what it adds to the score."""
    stacked_effects(ax, pair)
    rows = np.arange(len(pair.words))
    ax.set_yticks(rows, as_shown(pair.words, pair.known), parse_math=False)
    ax.tick_params(axis="y", length=0)
    ax.set(ylim=(len(rows) - 0.4, -0.6), xlabel="effect on the score")
    is_mean = np.isclose(np.mean(pair.effect), pair.score, atol=1e-4)  # LogSumExp pooling is none
    how = "the mean of" if is_mean else "pooled from"
    title = f"score {style.plain(pair.score, 3)}: {how} the words' totals"
    ax.set_title(title, fontweight="normal", fontsize=8)
    style.legend_below(ax, ncols=2)
    return style.grid_lines(ax, "x")


def stacked_effects(ax: Axes, pair: Pair) -> Axes:
    """Bars from 0, a row a word, a dot at each total, and a line at the score."""
    rows = np.arange(len(pair.words))
    alone = not (np.any(pair.relevance_effect) or np.any(pair.negative_effect))  # SCAN has one effect
    parts = (
        (pair.feature_effect, style.FEATURES, "effect" if alone else "feature effect"),
        (pair.relevance_effect, style.RELEVANCE, "relevance effect"),
        (pair.negative_effect, style.MISMATCHED, "negative effect"),
    )
    right, left = np.zeros(len(rows)), np.zeros(len(rows))
    for values, colour, label in parts:
        effect = np.asarray(values, dtype=float)
        if not effect.any():
            continue
        bars = _bars(np.where(effect >= 0, right, left), effect, rows)
        ax.add_collection(PolyCollection(bars, color=colour, linewidth=0, label=label), autolim=False)
        right, left = right + effect.clip(min=0), left + effect.clip(max=0)
    look = {"color": "white", "markeredgecolor": style.INK, "markersize": 3.5}
    ax.plot(right + left, rows, "o", **look, label="word's total")
    low, high = min(left.min(), pair.score, 0.0), max(right.max(), pair.score, 0.0)
    room = 0.04 * max(high - low, 1e-6)  # a dot at a bar's end needs some
    ax.set_xlim(low - room * (low < 0), high + room)
    ax.axvline(0, color=style.INK, linewidth=0.7)
    ax.axvline(pair.score, color=style.INK, linewidth=0.9, linestyle=(0, (2, 2)), label="score")
    return ax


def _bars(start: np.ndarray, length: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Corners (row, corner, xy) of bars: one collection is drawn several times as fast as `barh`."""
    low, high, end = rows - 0.35, rows + 0.35, start + length
    corners = [np.stack(xy, axis=-1) for xy in ((start, low), (end, low), (end, high), (start, high))]
    return np.stack(corners, axis=1)
