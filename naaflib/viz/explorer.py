"""The explorer's page: one pair, one of its words, and where its cosines lie among those of the split.

The Axes are placed by hand, in inches: a layout engine would take longer than all the drawing, and the page
is drawn anew for every move of a slider.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from . import style
from .attention import box_heat, region_squares, word_heat
from .captions import as_shown, caption_height, coloured_caption, effect_bars, match_norm, wrap
from .pictures import Picture, frame, picture, placeholder
from .style import Number, NotebookFigure, Values, styled

WIDTH = 9.0
PICTURE = 2.75  # the longest side of the picture
NAMES = 4.02  # right edge of the words; left of it they have 1.1 inches
COSINES = (4.1, 2.3)  # left edge and width of the words' cosines
EFFECTS = (6.62, 2.26)  # left edge and width of the words' effects
ROW = 0.158  # height of a word
TOP, BELOW = 0.34, 1.62  # above the rows: titles; below them: the split's cosines and the legends
THUMB = 1.3
CHOSEN = "#F1ECD9"  # behind the chosen word


@dataclass(frozen=True)
class Retrieved:
    """The pictures that score highest for the caption, the best first, and the shown one if it is not there."""

    pictures: Sequence[Picture]
    texts: Sequence[str]  # what stands where there is no picture file
    places: Sequence[int]  # from 1
    scores: Sequence[float]
    right: Sequence[bool]
    shown: Sequence[bool]


@dataclass(frozen=True)
class Page:
    """What is drawn. Arrays of words are those of an `Explanation`; weights: (word, region)."""

    words: Sequence[str]
    known: Values
    chosen: int  # the word whose regions are shown
    best_cosine: Values
    attention: np.ndarray
    feature_effect: Values
    relevance_effect: Values
    mismatch_effect: Values
    propagated: Values
    boundary: Number | None
    image: Picture
    boxes: np.ndarray | None
    size: Values | None
    matched: Values  # the split's samples
    mismatched: Values
    title: str
    sentence: str  # about the chosen word
    retrieved: Retrieved


@styled
def draw(page: Page, *, whole: bool = True) -> NotebookFigure:
    """The page as a figure. whole: with what the live explorer shows beside it: title, caption, retrieval."""
    rows = max(ROW * len(page.words), 1.95)
    caption = caption_height(as_shown(page.words, page.known), WIDTH - 0.2) + 0.42 if whole else 0.0
    strip = THUMB + 0.72 if whole else 0.0
    figure = style.figure(WIDTH, caption + TOP + rows + BELOW + strip)
    figure.set_layout_engine("none")
    if whole:
        _head(figure, page)
        _retrieved(figure, page.retrieved, caption + TOP + rows + BELOW)
    _looks(figure, page, caption + TOP, rows + BELOW - 0.1)
    _words(figure, page, caption + TOP, rows)
    return figure


def _axes(figure: NotebookFigure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes by inches from the figure's upper left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def _head(figure: NotebookFigure, page: Page) -> None:
    ax = style.bare(_axes(figure, 0.1, 0.06, WIDTH - 0.2, 0.2))
    ax.text(0, 0.5, page.title, va="center", fontsize=9, fontweight="bold", parse_math=False)
    ax = _axes(figure, 0.1, 0.3, WIDTH - 0.2, 0.2)
    coloured_caption(
        ax, page.words, page.best_cosine, width=WIDTH - 0.2, norm=_norm(page), known=page.known
    )


def _norm(page: Page):
    cosine = np.asarray(page.best_cosine, dtype=float)
    return match_norm(cosine, float(cosine.mean()) if page.boundary is None else page.boundary)


def _looks(figure: NotebookFigure, page: Page, top: float, height: float) -> None:
    """The chosen word's attention over the picture, and a sentence about the word under it."""
    weight = np.asarray(page.attention[page.chosen], dtype=float)
    boxes, size, image = page.boxes, page.size, page.image
    if boxes is None:
        (boxes, size), image = region_squares(len(weight)), None
    elif size is None:
        size = (float(boxes[:, 2].max()), float(boxes[:, 3].max()))
    scale = min(PICTURE, height - 0.6) / max(float(size[0]), float(size[1]))
    ax = _axes(figure, 0.1, top, scale * float(size[0]), scale * float(size[1]))
    heat = box_heat(weight[None], np.asarray(boxes, dtype=float), size, cells=100)[0]
    best = boxes[int(weight.argmax())] if weight.any() else None
    word_heat(ax, heat, image=image, size=size, vmax=max(float(heat.max()), 1e-6), best=best)
    ax.set_title(f"“{page.words[page.chosen]}” looks at", loc="left", parse_math=False)
    lines = wrap(page.sentence, PICTURE, 7.5, lines=5)
    ax.annotate(
        "\n".join(lines), (0, 0), xycoords="axes fraction", xytext=(0, -5), textcoords="offset points",
        va="top", fontsize=7.5, linespacing=1.35, parse_math=False, annotation_clip=False,
    )  # fmt: skip


def _words(figure: NotebookFigure, page: Page, top: float, rows: float) -> None:
    """A row a word: its cosine among the split's, and what it adds to the score."""
    cosines = _axes(figure, COSINES[0], top, COSINES[1], rows)
    effects = _axes(figure, EFFECTS[0], top, EFFECTS[1], rows)
    split = _axes(figure, COSINES[0], top + rows + 0.06, COSINES[1], 0.62)
    reach = _reach(page)
    word_cosines(cosines, page)
    split_cosines(split, page)
    for ax in (cosines, split):
        ax.set_xlim(*reach)
    parts = (page.feature_effect, page.relevance_effect, page.mismatch_effect)
    effect_bars(effects, page.words, *parts, known=page.known)
    effects.set_yticks([])
    for ax in (cosines, effects):
        ax.axhspan(page.chosen - 0.5, page.chosen + 0.5, color=CHOSEN, zorder=0)
        ax.set_ylim(len(page.words) - 0.4, -0.6)


def _reach(page: Page) -> tuple[float, float]:
    values = [page.best_cosine, page.matched, page.mismatched]
    if page.boundary is not None:
        values += [[page.boundary], page.boundary + np.asarray(page.propagated)]
    low, high = (float(edge(np.concatenate([np.ravel(v) for v in values]))) for edge in (np.min, np.max))
    room = 0.04 * max(high - low, 1e-6)
    return low - room, high + room


@styled
def word_cosines(ax: Axes, page: Page) -> Axes:
    """A row a word: its largest cosine (dot), after propagation (mark), and how far it is from the boundary."""
    rows, best = np.arange(len(page.words)), np.asarray(page.best_cosine, dtype=float)
    colours = [style.INK] * len(best)
    if page.boundary is not None:
        colours = [style.MATCHED if value > page.boundary else style.MISMATCHED for value in best]
        ax.hlines(rows, page.boundary, best, colors=colours, linewidth=1.1, alpha=0.6)
        ax.axvline(page.boundary, color=style.BOUNDARY, linewidth=1.2)
        moved = page.boundary + np.asarray(page.propagated, dtype=float)
        ax.scatter(moved, rows, s=34, marker="|", color=style.INK, linewidth=1.1, zorder=3)
    ax.scatter(best, rows, s=20, color=colours, zorder=4)
    ax.set_title("largest cosine with a region")
    shown = [word if len(word) <= 15 else word[:14] + "…" for word in as_shown(page.words, page.known)]
    ax.set_yticks(rows, shown, parse_math=False)
    ax.get_yticklabels()[page.chosen].set_fontweight("bold")
    ax.tick_params(length=0, labelbottom=False)
    ax.spines["bottom"].set_visible(False)
    return ax


@styled
def split_cosines(ax: Axes, page: Page) -> Axes:
    """Histograms of the split's matched and mismatched words, the boundary, and a tick a word of this pair."""
    low = min(np.min(page.matched), np.min(page.mismatched))
    high = max(np.max(page.matched), np.max(page.mismatched))
    bins = np.linspace(low, max(high, low + 1e-6), 41)
    top = 0.0
    for sample, colour in ((page.matched, style.MATCHED), (page.mismatched, style.MISMATCHED)):
        density = np.histogram(sample, bins, density=True)[0]
        ax.stairs(density, bins, fill=True, color=colour, alpha=0.35)
        top = max(top, float(density.max()))
    ax.vlines(page.best_cosine, 0, 0.14 * top, color=style.INK, linewidth=0.7)
    ax.vlines(page.best_cosine[page.chosen], 0, 0.5 * top, color=style.INK, linewidth=1.8)
    if page.boundary is not None:
        ax.axvline(page.boundary, color=style.BOUNDARY, linewidth=1.2)
    ax.set(ylim=(0, 1.08 * top), yticks=[], xlabel="cosine")
    ax.spines["left"].set_visible(False)
    style.legend_below(ax, 27, handles=_legend(page), ncols=2, columnspacing=1.0, fontsize=6.5)
    return ax


def _legend(page: Page) -> list[Line2D]:
    band = {"linewidth": 5, "alpha": 0.35}
    entries = [
        Line2D([], [], color=style.MATCHED, label="split: matched", **band),
        Line2D([], [], color=style.MISMATCHED, label="split: mismatched", **band),
        Line2D([], [], color=style.INK, linestyle="", marker="o", markersize=4, label="word of this pair"),
    ]
    if page.boundary is not None:
        entries += [
            Line2D([], [], color=style.INK, linestyle="", marker="|", markersize=7, label="word, propagated"),
            Line2D([], [], color=style.BOUNDARY, linewidth=1.2, label="boundary"),
        ]
    return entries


def _retrieved(figure: NotebookFigure, found: Retrieved, top: float) -> None:
    ax = style.bare(_axes(figure, 0.1, top, WIDTH - 0.2, 0.22))
    ax.text(0, 0.5, "Pictures that score highest for this caption", va="center", fontweight="bold", fontsize=8.5)
    step = (WIDTH - 0.2) / max(len(found.scores), 6)
    for k, image in enumerate(found.pictures):
        ax = _axes(figure, 0.1 + k * step, top + 0.26, min(THUMB, step - 0.08), THUMB)
        if image is None:
            placeholder(ax, found.texts[k], THUMB)
        else:
            picture(ax, image)
        ax.set_anchor("NW")
        shown = ", shown" if found.shown[k] else ""
        ax.set_xlabel(f"{found.places[k]:,}.  {style.plain(found.scores[k], 3)}{shown}", fontsize=7)
        frame(ax, found.right[k])
