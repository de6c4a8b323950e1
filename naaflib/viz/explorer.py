"""The explorer's page: one pair, one of its words, and where its cosines lie among those of the split.

The page is drawn anew for every move of a slider. So the Axes are placed by hand, in inches (a layout engine
takes longer than all the drawing), there are few of them, and what does not change is drawn once: the key.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from . import style
from .attention import box_heat, region_squares, word_heat
from .captions import as_shown, caption_height, coloured_caption, match_norm, stacked_effects, wrap
from .pictures import Picture, frame, picture, placeholder
from .style import NotebookFigure, Number, Values, styled

WIDTH = 9.0
DPI = 100  # of the live explorer
PICTURE = 2.8  # the picture's longest side
COSINES = (4.0, 2.35)  # left edge and width of the words' cosines; the words stand left of it
EFFECTS = (6.6, 2.25)
ROW = 0.158  # height of a word's row; less for more words than fill so many inches
FULL = 3.2
SPLIT = 4.2  # rows that the split's histograms take
TOP, AXIS = 0.3, 0.42  # titles above the rows, numbers below them
KEY = 0.62
THUMB = 1.3
CHOSEN = "#F1ECD9"  # behind the chosen word


@dataclass(frozen=True)
class Retrieved:
    """The pictures that score highest for the caption, best first; the shown one last if it is not there."""

    pictures: Sequence[Picture]
    texts: Sequence[str]  # what stands where there is no picture file
    places: Sequence[int]  # from 1
    scores: Sequence[float]
    right: Sequence[bool]
    shown: Sequence[bool]


@dataclass(frozen=True)
class Page:
    """What is drawn. Arrays of words are those of an `Explanation`; attention: (word, region)."""

    words: Sequence[str]
    known: Values
    chosen: int  # the word whose regions are shown
    best_cosine: Values
    attention: np.ndarray
    feature_effect: Values
    relevance_effect: Values
    negative_effect: Values
    propagated: Values
    boundary: Number | None
    image: Picture
    instead: str  # what is written where there is no picture
    boxes: np.ndarray | None
    size: Values | None
    matched: Values  # the split's samples
    mismatched: Values
    title: str
    sentence: str  # about the chosen word
    retrieved: Retrieved | None = None

    @property
    def row(self) -> float:
        """Height of a word's row in inches."""
        return float(np.clip(FULL / len(self.words), 0.8 * ROW, ROW))


def word_norm(best_cosine: Values, boundary: Number | None) -> TwoSlopeNorm:
    """Of the words' colours: white at the boundary, without one at the caption's mean."""
    centre = float(np.mean(best_cosine)) if boundary is None else boundary
    return match_norm(best_cosine, centre)


@styled
def draw(page: Page) -> NotebookFigure:
    """The page as a figure; with a retrieval result it holds all that the live explorer shows around it too.

    That is title, caption, the sentence about the word, the key and the retrieved pictures.
    """
    whole = page.retrieved is not None
    above = 0.32 + caption_height(as_shown(page.words, page.known), WIDTH - 0.2) if whole else 0.0
    middle = TOP + max(page.row * (len(page.words) + SPLIT), 2.4) + AXIS
    below = KEY + THUMB + 0.62 if whole else 0.0
    figure = style.figure(WIDTH, above + middle + below)
    figure.set_layout_engine("none")
    _looks(figure, page, above + TOP, middle - TOP)
    _words(figure, page, above + TOP, middle - TOP - AXIS)
    if page.retrieved is not None:
        _head(figure, page)
        draw_key(_axes(figure, 3.0, above + middle, WIDTH - 3.05, KEY), page.boundary is not None)
        _retrieved(figure, page.retrieved, above + middle + KEY)
    return figure


@styled
def key_figure(with_boundary: bool) -> NotebookFigure:
    """What the marks and colours of a page mean, on a figure of its own."""
    figure = style.figure(WIDTH - 3.0, KEY - 0.05)
    figure.set_layout_engine("none")
    draw_key(figure.add_axes((0, 0, 1, 1)), with_boundary)
    return figure


@styled
def quick_png(figure: NotebookFigure, dpi: int = DPI) -> bytes:
    """The figure as the bytes of a PNG file, in half the time of `savefig`, which draws twice."""
    from PIL import Image

    figure.set_dpi(dpi)
    figure.canvas.draw()
    buffer = BytesIO()
    Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3]).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _axes(figure: NotebookFigure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes by inches from the figure's upper left corner."""
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def _looks(figure: NotebookFigure, page: Page, top: float, height: float) -> None:
    """The chosen word's attention over the picture; on a whole page a sentence about the word under it."""
    weight = np.asarray(page.attention[page.chosen], dtype=float)
    boxes, size, image = page.boxes, page.size, page.image
    if boxes is None:
        (boxes, size), image = region_squares(len(weight)), None
    elif size is None:
        size = (float(boxes[:, 2].max()), float(boxes[:, 3].max()))
    scale = min(PICTURE, height) / max(float(size[0]), float(size[1]))
    ax = _axes(figure, 0.1, top, scale * float(size[0]), scale * float(size[1]))
    heat = box_heat(weight[None], np.asarray(boxes, dtype=float), size, cells=100)[0]
    best = boxes[int(weight.argmax())] if weight.any() else None
    strongest = 1.0 if page.boxes is not None else max(float(heat.max()), 1e-6)
    said = "" if page.boxes is None else page.instead
    word_heat(ax, heat, image=image, size=size, vmax=strongest, best=best, instead=said)
    note = "" if page.boxes is not None else " (regions, row by row)"
    ax.set_title(f"where “{_short(page.words[page.chosen], 20)}” looks{note}", parse_math=False)
    if page.retrieved is not None:
        ax.annotate(
            "\n".join(wrap(page.sentence, PICTURE, 7.5, lines=6)), (0, 0), xycoords="axes fraction",
            xytext=(0, -5), textcoords="offset points", va="top", fontsize=7.5, linespacing=1.35,
            parse_math=False, annotation_clip=False,
        )  # fmt: skip


def _short(word: str, most: int) -> str:
    return word if len(word) <= most else word[: most - 1] + "…"


def _words(figure: NotebookFigure, page: Page, top: float, height: float) -> None:
    """A row a word: its cosine, with the split's below, and what it adds to the score."""
    last = height / page.row - 0.5  # the axes reach from row -0.5 to here
    cosines = _axes(figure, COSINES[0], top, COSINES[1], height)
    effects = _axes(figure, EFFECTS[0], top, EFFECTS[1], page.row * len(page.words))
    word_cosines(cosines, page)
    split_cosines(cosines, page, last)
    cosines.set(xlim=_reach(page), ylim=(last, -0.5), xlabel="cosine")
    cosines.set_title("largest cosine with a region")
    stacked_effects(effects, page.feature_effect, page.relevance_effect, page.negative_effect)
    effects.set(ylim=(len(page.words) - 0.5, -0.5), xlabel="effect on the score")
    effects.set_title("what each word adds to the score")
    for ax in (cosines, effects):
        ax.axhspan(page.chosen - 0.5, page.chosen + 0.5, color=CHOSEN, zorder=0)
        ax.set_yticks([])
        ax.locator_params(axis="x", nbins=5)
    cosines.spines["left"].set_visible(False)


def _reach(page: Page) -> tuple[float, float]:
    values = [page.best_cosine, page.matched, page.mismatched]
    if page.boundary is not None:
        values += [[page.boundary], page.boundary + np.asarray(page.propagated)]
    low, high = (float(edge([edge(value) for value in values])) for edge in (np.min, np.max))
    room = 0.03 * max(high - low, 1e-6)
    return low - room, high + room


def word_cosines(ax: Axes, page: Page) -> Axes:
    """A row a word: its largest cosine (dot), after propagation (mark), and its way from the boundary."""
    rows, best = np.arange(len(page.words)), np.asarray(page.best_cosine, dtype=float)
    colours = [style.INK] * len(best)
    if page.boundary is not None:
        colours = [style.MATCHED if value > page.boundary else style.MISMATCHED for value in best]
        ax.hlines(rows, page.boundary, best, colors=colours, linewidth=1.1, alpha=0.6)
        ax.axvline(page.boundary, color=style.BOUNDARY, linewidth=1.2)
        moved = page.boundary + np.asarray(page.propagated, dtype=float)
        ax.scatter(moved, rows, s=34, marker="|", color=style.INK, linewidth=1.1, zorder=3)
    ax.scatter(best, rows, s=20, color=colours, zorder=4)
    for row, word in enumerate(as_shown(page.words, page.known)):  # texts: a tick costs ten times as much
        ax.annotate(
            _short(word, 15), (0, row), xycoords=("axes fraction", "data"),
            xytext=(-5, 0), textcoords="offset points", ha="right", va="center_baseline", fontsize=7.5,
            fontweight="bold" if row == page.chosen else "normal", parse_math=False, annotation_clip=False,
        )  # fmt: skip
    return ax


def split_cosines(ax: Axes, page: Page, base: Number) -> Axes:
    """The split's matched and mismatched words, histograms on the line `base`; a tick a word of the pair."""
    low = min(np.min(page.matched), np.min(page.mismatched))
    high = max(np.max(page.matched), np.max(page.mismatched))
    bins = np.linspace(low, max(high, low + 1e-6), 41)
    counts = [np.histogram(sample, bins, density=True)[0] for sample in (page.matched, page.mismatched)]
    scale = (SPLIT - 0.5) / max(float(count.max()) for count in counts)
    for count, colour in zip(counts, (style.MATCHED, style.MISMATCHED), strict=True):
        ax.stairs(base - scale * count, bins, baseline=base, fill=True, color=colour, alpha=0.35)
    best = np.asarray(page.best_cosine, dtype=float)
    ax.vlines(best, base - 0.5, base, color=style.INK, linewidth=0.7)
    ax.vlines(best[page.chosen], base - 1.8, base, color=style.INK, linewidth=1.8)
    return ax


def draw_key(ax: Axes, with_boundary: bool) -> Axes:
    """What the marks and colours of a page mean."""
    mark = {"color": style.INK, "linestyle": ""}
    entries = [
        Line2D([], [], marker="o", markersize=4, label="word of this pair", **mark),
        Line2D([], [], marker="|", markersize=7, label="word after propagation", **mark),
        Line2D([], [], color=style.BOUNDARY, linewidth=1.2, label="boundary"),
        Patch(color=style.MATCHED, alpha=0.35, label="matched words of the split"),
        Patch(color=style.MISMATCHED, alpha=0.35, label="mismatched words of the split"),
        Patch(color=style.FEATURES, label="effect of features"),
        Patch(color=style.RELEVANCE, label="effect of relevance"),
        Patch(color=style.MISMATCHED, label="effect of mismatch"),
        Line2D([], [], **mark, marker="o", markersize=3.5, markerfacecolor="white", label="word's total"),
        Line2D([], [], color=style.INK, linewidth=0.9, linestyle=(0, (2, 2)), label="score: their mean"),
    ]
    if not with_boundary:  # SCAN: one effect a word, no mismatch
        entries[5].set_label("effect")
        del entries[7], entries[6], entries[2], entries[1]
    style.legend(ax, handles=entries, loc="center", ncols=4, columnspacing=1.6)
    return style.bare(ax)


def _head(figure: NotebookFigure, page: Page) -> None:
    ax = style.bare(_axes(figure, 0.1, 0.05, WIDTH - 0.2, 0.2))
    ax.text(0, 0.5, page.title, va="center", fontsize=9, fontweight="bold", parse_math=False)
    ax = _axes(figure, 0.1, 0.3, WIDTH - 0.2, 0.2)
    norm = word_norm(page.best_cosine, page.boundary)
    coloured_caption(ax, page.words, page.best_cosine, width=WIDTH - 0.2, norm=norm, known=page.known)


def _retrieved(figure: NotebookFigure, found: Retrieved, top: float) -> None:
    ax = style.bare(_axes(figure, 0.1, top, WIDTH - 0.2, 0.22))
    ax.text(0, 0.5, "The pictures that score highest for this caption", va="center", fontweight="bold")
    step = (WIDTH - 0.2) / max(len(found.scores), 6)
    for k, image in enumerate(found.pictures):
        ax = _axes(figure, 0.1 + k * step, top + 0.26, step - 0.12, THUMB - 0.1)
        if image is None:
            placeholder(ax, found.texts[k], THUMB - 0.1)
        else:
            picture(ax, image)
        ax.set_anchor("N")
        shown = ", shown" if found.shown[k] else ""
        ax.set_xlabel(f"{found.places[k]:,}.  {style.plain(found.scores[k], 3)}{shown}", fontsize=7)
        frame(ax, found.right[k])
