"""The explorer's page: one pair, one of its words, and where its cosines lie among those of the split.

The page is drawn anew for every move of a slider. So the Axes are placed by hand, in inches (a layout engine
takes longer than all the drawing), there are few of them, and the live page's key is drawn once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from . import style
from .attention import box_heat, word_heat
from .captions import Pair, as_shown, caption_height, coloured_caption, match_norm, stacked_effects, wrap
from .pictures import Canvas, Picture, frame, picture
from .style import NotebookFigure, Number, Values, styled

WIDTH = 9.6
DPI = 100  # of the live explorer
PICTURE = 4.4  # the picture's longest side
COSINES = (5.65, 2.0)  # left edge and width of the words' cosines; the words stand left of it
EFFECTS = (7.85, 1.65)
ROW = (0.126, 0.2)  # height of a word's row: few words fill the picture's height
SPLIT = 4.2  # rows that the split's histograms take
TOP, AXIS = 0.3, 0.42  # titles above the rows, numbers below them
SCALE = 0.3  # of the attention, under the picture
KEY = 0.5
THUMB = 1.3
CHOSEN = "#F1ECD9"  # behind the chosen word


@dataclass(frozen=True)
class Retrieved:
    """The pictures that score highest for the caption, best first; the shown one last if it is not there."""

    pictures: Sequence[Picture]
    texts: Sequence[str]  # what stands where there is no picture file
    places: Sequence[int | None]  # from 1; None: not ranked
    scores: Sequence[float]
    right: Sequence[bool]
    shown: Sequence[bool]


@dataclass(frozen=True)
class Page:
    """What is drawn."""

    pair: Pair
    canvas: Canvas
    chosen: int  # the word whose regions are shown
    overlay: bool  # whether its attention lies over the picture
    matched: Values  # the split's samples
    mismatched: Values
    title: str
    sentence: str  # about the chosen word
    retrieved: Retrieved | None = None

    @property
    def row(self) -> float:
        """Height of a word's row in inches."""
        return float(np.clip(0.75 * PICTURE / (len(self.pair.words) + SPLIT), *ROW))


@styled
def draw(page: Page) -> NotebookFigure:
    """The page as a figure; with a retrieval result it holds all that the live explorer shows around it too.

    That is title, caption, the sentence about the word, the key and the retrieved pictures.
    """
    whole, size = page.retrieved is not None, np.asarray(page.canvas.size, dtype=float)
    sentence = wrap(page.sentence, PICTURE, 7.5, lines=6) if whole else []
    shown = PICTURE * size / size.max()
    above = 0.32 + caption_height(page.pair, WIDTH - 0.2) if whole else 0.0
    rows = page.row * (len(page.pair.words) + SPLIT)
    middle = TOP + max(rows + AXIS, shown[1] + SCALE + 0.15 * len(sentence))
    figure = style.figure(WIDTH, above + middle + (KEY + THUMB + 0.62 if whole else 0.0))
    figure.set_layout_engine("none")
    _looks(figure, page, 0.1, above + TOP, shown)
    _words(figure, page, above + TOP, rows)
    if page.retrieved is not None:
        _head(figure, page)
        draw_key(figure, page.pair.boundary is not None, above + middle + KEY)
        below = style.bare(_axes(figure, 0.1, above + TOP + shown[1] + SCALE, PICTURE, 0.1))
        below.text(0, 1, "\n".join(sentence), va="top", fontsize=7.5, linespacing=1.35, parse_math=False)
        _retrieved(figure, page.retrieved, above + middle + KEY)
    return figure


@styled
def live_png(page: Page) -> bytes:
    """The page over its key as the bytes of a PNG file, in less than half the time of `savefig`."""
    from PIL import Image

    buffer = BytesIO()
    pixels = np.vstack([_pixels(draw(page)), _key(page.pair.boundary is not None)])
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


@lru_cache(2)
def _key(with_boundary: bool) -> np.ndarray:
    figure = style.figure(WIDTH, KEY)
    draw_key(figure, with_boundary, KEY)
    return _pixels(figure)


def _pixels(figure: NotebookFigure) -> np.ndarray:
    """The figure drawn once; `savefig` draws twice."""
    figure.set_layout_engine("none")
    figure.set_dpi(DPI)
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]


def _axes(figure: NotebookFigure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes by inches from the figure's upper left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def _looks(figure: NotebookFigure, page: Page, left: Number, top: Number, size: np.ndarray) -> None:
    """The picture in its colours, `size` inches; over it the chosen word's attention, below it the scale."""
    pair, canvas = page.pair, page.canvas
    ax = _axes(figure, left, top, *size)
    if not page.overlay:
        picture(ax, canvas.image, size=canvas.size, instead=canvas.instead).set_title("the picture")
        return
    heat = box_heat(pair.attention, canvas.boxes, canvas.size, cells=100)
    strongest = max(float(heat.max()), 1e-6)
    word_heat(ax, heat[page.chosen], pair.attention[page.chosen], canvas, strongest, style.veil())
    ax.set_title(f"where “{style.short(pair.words[page.chosen], 30)}” looks", parse_math=False)
    inch, (across, down) = max(canvas.size) / PICTURE, canvas.size
    bar = (0, 0.7 * inch, down + 0.21 * inch, down + 0.1 * inch)
    ax.imshow(np.linspace(0, 1, 64)[None], extent=bar, cmap=style.veil(), clip_on=False)
    said = f"attention of the boxes: 0 (veiled) to {strongest:.2f}; blue: the strongest"
    ax.text(0.76 * inch, down + 0.155 * inch, said, va="center_baseline", fontsize=7)
    ax.set(xlim=(0, across), ylim=(down, 0))


def _words(figure: NotebookFigure, page: Page, top: Number, height: Number) -> None:
    """A row a word: its cosine, with the split's below, and what it adds to the score."""
    count = len(page.pair.words)
    last = height / page.row - 0.5  # the axes reach from row -0.5 to here
    cosines = _axes(figure, COSINES[0], top, COSINES[1], height)
    effects = _axes(figure, EFFECTS[0], top, EFFECTS[1], page.row * count)
    word_cosines(cosines, page)
    split_cosines(cosines, page, last)
    cosines.set(xlim=_reach(page), ylim=(last, -0.5), xlabel="cosine")
    cosines.set_title("largest cosine with a region")
    stacked_effects(effects, page.pair)
    effects.set(ylim=(count - 0.5, -0.5), xlabel="effect on the score")
    effects.set_title("effect of each word")
    for ax in (cosines, effects):
        ax.axhspan(page.chosen - 0.5, page.chosen + 0.5, color=CHOSEN, zorder=0)
        ax.set_yticks([])
        ax.locator_params(axis="x", nbins=5)
    cosines.spines["left"].set_visible(False)


def _reach(page: Page) -> tuple[float, float]:
    values, boundary = [page.pair.best_cosine, page.matched, page.mismatched], page.pair.boundary
    if boundary is not None:
        values += [[boundary], boundary + np.asarray(page.pair.propagated)]
    values = [value for value in values if np.size(value)]
    low, high = (float(edge([edge(value) for value in values])) for edge in (np.min, np.max))
    room = 0.03 * max(high - low, 1e-6)
    return low - room, high + room


def word_cosines(ax: Axes, page: Page) -> Axes:
    """A row a word: its largest cosine (dot), after propagation (mark), and its way from the boundary."""
    pair = page.pair
    rows, best, boundary = np.arange(len(pair.words)), np.asarray(pair.best_cosine), pair.boundary
    colours = [style.INK] * len(best)
    if boundary is not None:
        colours = [style.MATCHED if value > boundary else style.MISMATCHED for value in best]
        ax.hlines(rows, boundary, best, colors=colours, linewidth=1.1, alpha=0.6)
        ax.axvline(boundary, color=style.BOUNDARY, linewidth=1.2)
        moved = boundary + np.asarray(pair.propagated)
        ax.scatter(moved, rows, s=34, marker="|", color=style.INK, linewidth=1.1, zorder=3)
    ax.scatter(best, rows, s=20, color=colours, zorder=4)
    for row, word in enumerate(as_shown(pair.words, pair.known)):  # texts: a tick costs ten times as much
        ax.annotate(
            style.short(word, 15), (0, row), xycoords=("axes fraction", "data"),
            xytext=(-5, 0), textcoords="offset points", ha="right", va="center_baseline", fontsize=7.5,
            fontweight="bold" if row == page.chosen else "normal", parse_math=False, annotation_clip=False,
        )  # fmt: skip
    return ax


def split_cosines(ax: Axes, page: Page, base: Number) -> Axes:
    """The split's matched and mismatched words, histograms on the line `base`; a tick a word of the pair.

    Nothing where there are no samples: pictures without captions.
    """
    both = np.concatenate([page.matched, page.mismatched])
    if not len(both):
        return ax
    bins = np.linspace(both.min(), max(both.max(), both.min() + 1e-6), 41)
    counts = [np.histogram(sample, bins, density=True)[0] for sample in (page.matched, page.mismatched)]
    scale = (SPLIT - 0.5) / float(np.max(counts))
    for count, colour in zip(counts, (style.MATCHED, style.MISMATCHED), strict=True):
        ax.stairs(base - scale * count, bins, baseline=base, fill=True, color=colour, alpha=0.35)
    best = np.asarray(page.pair.best_cosine)
    ax.vlines(best, base - 0.5, base, color=style.INK, linewidth=0.7)
    ax.vlines(best[page.chosen], base - 1.8, base, color=style.INK, linewidth=1.8)
    return ax


def draw_key(figure: NotebookFigure, with_boundary: bool, bottom: Number) -> None:
    """What the marks and colours of a page mean, `bottom` inches from the figure's upper edge."""
    mark = {"color": style.INK, "linestyle": ""}
    entries = [
        Line2D([], [], marker="o", markersize=4, label="word of this pair", **mark),
        Line2D([], [], marker="|", markersize=7, label="word after propagation", **mark),
        Line2D([], [], color=style.BOUNDARY, linewidth=1.2, label="boundary"),
        Patch(color=style.MATCHED, alpha=0.35, label="matched words of the split"),
        Patch(color=style.MISMATCHED, alpha=0.35, label="mismatched words of the split"),
        Patch(color=style.FEATURES, label="feature effect"),
        Patch(color=style.RELEVANCE, label="relevance effect"),
        Patch(color=style.MISMATCHED, label="negative effect"),
        Line2D([], [], **mark, marker="o", markersize=3.5, markerfacecolor="white", label="word's total"),
        Line2D([], [], color=style.INK, linewidth=0.9, linestyle=(0, (2, 2)), label="score"),
    ]
    if not with_boundary:  # SCAN: one effect a word, no mismatch
        entries[5].set_label("effect")
        del entries[7], entries[6], entries[2], entries[1]
    place = (0.5, 1 - float(bottom) / figure.get_figheight())
    look = {"ncols": 5, "columnspacing": 1.6, "handletextpad": 0.5, "labelspacing": 0.3}
    figure.legend(handles=entries, loc="lower center", bbox_to_anchor=place, **look)


def _head(figure: NotebookFigure, page: Page) -> None:
    ax = style.bare(_axes(figure, 0.1, 0.05, WIDTH - 0.2, 0.2))
    ax.text(0, 0.5, page.title, va="center", fontsize=9, fontweight="bold", parse_math=False)
    ax = _axes(figure, 0.1, 0.3, WIDTH - 0.2, 0.2)
    norm = match_norm(page.pair.best_cosine, page.pair.boundary)
    coloured_caption(ax, page.pair, norm, WIDTH - 0.2)


def _retrieved(figure: NotebookFigure, found: Retrieved, top: Number) -> None:
    ax = style.bare(_axes(figure, 0.1, top, WIDTH - 0.2, 0.22))
    ax.text(0, 0.5, "The pictures that score highest for this caption", va="center", fontweight="bold")
    step = (WIDTH - 0.2) / max(len(found.scores), 6)
    for k, image in enumerate(found.pictures):
        ax = _axes(figure, 0.1 + k * step, top + 0.26, step - 0.12, THUMB - 0.1)
        picture(ax, image, instead=found.texts[k]).set_anchor("N")
        shown = ", shown" if found.shown[k] else ""
        place = f"{found.places[k]:,}." if found.places[k] else "–"
        ax.set_xlabel(f"{place}  {style.plain(found.scores[k], 3)}{shown}", fontsize=7)
        frame(ax, found.right[k])
