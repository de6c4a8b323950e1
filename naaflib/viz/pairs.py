"""One pair on one page: the coloured caption, a bar a word, and beside it the picture or all cosines."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.ticker import MaxNLocator

from . import style
from .attention import word_region_matrix
from .captions import Pair, as_shown, caption_height, coloured_caption, effect_bars, match_norm, text_width
from .pictures import Canvas, picture
from .style import Number, styled

_MOST_BOXES = 4
_FUNCTION_WORDS = """
    a an the this that these those some any each every both all another other
    and or but nor as if than so not no there here while where when who whom which what
    about above across after against along among around at away before behind below beneath beside between by
    down during for from in inside into near of off on onto out outside over past through to together toward
    towards under up upon with within without
    i you he she it we they me him her us them my your his its our their himself herself itself themselves
    is are was were be been being do does did has have had can could will would may might
"""


@styled
def pair_figure(pair: Pair, canvas: Canvas, title: str | None = None) -> Figure:
    """Why a caption and a picture match, or where they do not.

    Words are coloured by their largest cosine, white at the boundary (without one: at the caption's mean). In
    the picture stand the best regions (largest cosine) of up to four matched words, those with the largest
    effects, each with another region. Function words get no box.
    """
    norm, body = match_norm(pair.best_cosine, pair.boundary), max(2.0, 0.155 * len(pair.words) + 0.9)
    figure, grid = _page(pair, norm, "largest cosine", style.PAGE - 0.3, body, [1, 1.35], title)
    effect_bars(figure.add_subplot(grid[2, 1]), pair)
    chosen = _telling_words(pair)
    picture(
        figure.add_subplot(grid[2, 0]),
        canvas.image,
        size=canvas.size,
        boxes=canvas.boxes[np.asarray(pair.best_region)[chosen]],
        labels=[pair.words[k] for k in chosen],
        colours=style.cycle(len(chosen)),
        instead=canvas.instead,
    )
    return figure


@styled
def words_figure(pair: Pair, title: str | None = None) -> Figure:
    """A pair without its picture: the coloured caption, a bar a word, and beside it the word's cosines.

    One scale colours caption and matrix, white at the boundary (without one: at the mean of all cosines).
    """
    norm, shown = match_norm(pair.cosine, pair.boundary), as_shown(pair.words, pair.known)
    labels = max(text_width(word, 7) for word in shown) / 72  # the caption begins where the bars do
    body, coloured = max(1.6, 0.16 * len(shown) + 0.6) + 0.25, "cosine; a word's largest in the caption"
    figure, grid = _page(pair, norm, coloured, style.PAGE - 0.4 - labels, body, [1.25, 1], title)
    bars, matrix = (figure.add_subplot(grid[2, column]) for column in (0, 1))
    effect_bars(bars, pair)
    word_region_matrix(matrix, pair, scale=False)
    matrix.set_title("cosine of each word with each region", fontweight="normal", fontsize=8)
    matrix.set_yticks([])
    bars.set_ylim(matrix.get_ylim())
    return figure


def _page(
    pair: Pair,
    norm: TwoSlopeNorm,
    coloured: str,
    across: Number,
    body: Number,
    ratios: list[float],
    title: str | None,
) -> tuple[Figure, GridSpec]:
    """A page that begins with the caption, `across` inches wide, and the key of its colours; its grid."""
    heights = [1.25 * caption_height(pair, across), 0.1, body]
    figure = style.figure(height=sum(heights) + 0.5 + (0.3 if title else 0), title=title)
    grid = figure.add_gridspec(3, 2, height_ratios=heights, width_ratios=ratios)
    coloured_caption(figure.add_subplot(grid[0, :]), pair, norm, across)
    _colour_key(figure.add_subplot(grid[1, :]), norm, coloured, is_boundary=pair.boundary is not None)
    return figure, grid


def _telling_words(pair: Pair) -> list[int]:
    """Matched words but function words, by effect, one a region."""
    chosen: list[int] = []
    for k in np.argsort(-np.asarray(pair.effect), kind="stable"):
        word, region = pair.words[k], pair.best_region[k]
        new = region not in np.asarray(pair.best_region)[chosen]
        matched = pair.boundary is None or pair.best_cosine[k] > pair.boundary
        telling = word[0].isalnum() and word not in _FUNCTION_WORDS.split()
        if matched and telling and new and len(chosen) < _MOST_BOXES:
            chosen.append(int(k))
    return chosen


def _colour_key(ax: Axes, norm: TwoSlopeNorm, coloured: str, *, is_boundary: bool) -> None:
    """A thin scale: what the colours mean."""
    ax.figure.colorbar(ScalarMappable(norm, style.diverging()), cax=ax, orientation="horizontal")
    ax.spines[:].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(7))
    ax.tick_params(labelsize=6.5, length=2)
    low, high, centre = ("mismatched", "matched", "boundary") if is_boundary else ("low", "high", "mean")
    middle = f"{coloured} (white: the {centre}, {style.plain(norm.vcenter)})"
    ax.set_xlabel(f"{low}  ←  {middle}  →  {high}", fontsize=7)
