"""One pair on one page: the coloured caption, the picture with the regions of some words, a bar a word."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import style
from .attention import word_region_matrix
from .captions import as_shown, caption_height, coloured_caption, effect_bars, match_norm, text_width
from .pictures import Picture, picture
from .style import Number, Values, styled

_MOST_BOXES = 4


@styled
def pair_figure(
    words: Sequence[str],
    *,
    best_cosine: Values,
    best_region: Values,
    feature_effect: Values,
    relevance_effect: Values,
    negative_effect: Values,
    boundary: Number | None = None,
    known: Values | None = None,
    image: Picture = None,
    boxes: np.ndarray | None = None,
    size: Values | None = None,
    instead: str = "",
    boxed: Sequence[int] | None = None,
    width: Number = style.PAGE,
    title: str | None = None,
) -> Figure:
    """Why a caption and a picture match, or where they do not; the arrays are those of an `Explanation`.

    Words are coloured by their best cosine, white at the boundary (without one: at the caption's mean).
    boxed: words (indexes) whose best region is drawn; by default up to four words with effects above the
    others, of four letters or more, each with another region. Without boxes the bars stand alone. instead:
    what is written where there is no picture.
    """
    best_cosine = np.asarray(best_cosine, dtype=float)
    centre = float(best_cosine.mean()) if boundary is None else float(boundary)
    norm, across = match_norm(best_cosine, centre), width - 0.3
    heights = [
        1.15 * caption_height(as_shown(words, known), across),
        0.1,
        max(2.0, 0.155 * len(words) + 0.9),
    ]
    figure = style.figure(width, sum(heights) + 0.5 + (0.3 if title else 0), title)
    grid = figure.add_gridspec(3, 2, height_ratios=heights, width_ratios=[1, 1.35])
    coloured_caption(figure.add_subplot(grid[0, :]), words, best_cosine, width=across, norm=norm, known=known)
    _colour_key(figure.add_subplot(grid[1, :]), norm, "mean" if boundary is None else "boundary")
    beside = figure.add_subplot(grid[2, :] if boxes is None else grid[2, 1])
    effect_bars(beside, words, feature_effect, relevance_effect, negative_effect, known=known)
    if boxes is not None:
        total = sum(
            np.asarray(part, dtype=float) for part in (feature_effect, relevance_effect, negative_effect)
        )
        chosen = _telling_words(words, total, np.asarray(best_region)) if boxed is None else list(boxed)
        colours = [style.SERIES[k % len(style.SERIES)] for k in range(len(chosen))]
        own = np.asarray(boxes)[np.asarray(best_region)[chosen]]
        left, labels = figure.add_subplot(grid[2, 0]), [words[k] for k in chosen]
        picture(left, image, size=size, boxes=own, labels=labels, colours=colours, instead=instead)
    return figure


@styled
def words_figure(
    words: Sequence[str],
    *,
    cosine: np.ndarray,
    feature_effect: Values,
    relevance_effect: Values,
    negative_effect: Values,
    boundary: Number | None = None,
    known: Values | None = None,
    width: Number = style.PAGE,
    title: str | None = None,
) -> Figure:
    """A pair without its picture: the coloured caption, a bar a word, and beside it the word's cosines.

    cosine: (word, region), NaN for padding. One scale colours caption and matrix, white at the boundary
    (without one: at the mean of all cosines); a dot marks each word's best region.
    """
    cosine = np.asarray(cosine, dtype=float)
    centre = float(np.nanmean(cosine)) if boundary is None else float(boundary)
    norm, shown = match_norm(cosine, centre), as_shown(words, known)
    labels = max(text_width(word, 7) for word in shown) / 72  # the caption begins where the bars do
    across = width - 0.4 - labels
    heights = [
        1.25 * caption_height(shown, across) + 0.05,
        0.1,
        max(1.6, 0.16 * len(words) + 0.6),
    ]
    figure = style.figure(width, sum(heights) + 0.75 + (0.3 if title else 0), title)
    grid = figure.add_gridspec(3, 2, height_ratios=heights, width_ratios=[1.25, 1])
    coloured_caption(
        figure.add_subplot(grid[0, :]), words, np.nanmax(cosine, axis=1), width=across, norm=norm, known=known
    )
    name = "mean" if boundary is None else "boundary"
    _colour_key(figure.add_subplot(grid[1, :]), norm, name, "cosine; a word's largest in the caption")
    bars, matrix = (figure.add_subplot(grid[2, column]) for column in (0, 1))
    effect_bars(bars, words, feature_effect, relevance_effect, negative_effect, known=known)
    word_region_matrix(matrix, cosine, words, boundary=centre, scale=False)
    matrix.set_title("cosine of each word with each region", fontweight="normal", fontsize=8)
    matrix.set_yticks([])
    bars.set_ylim(matrix.get_ylim())
    return figure


def _telling_words(words: Sequence[str], total: np.ndarray, best_region: np.ndarray) -> list[int]:
    """Longer words by effect, one a region."""
    chosen: list[int] = []
    for k in np.argsort(-total, kind="stable"):
        new = best_region[k] not in best_region[chosen]
        if len(words[k]) >= 4 and words[k].isalpha() and new and len(chosen) < _MOST_BOXES:
            chosen.append(int(k))
    return chosen


def _colour_key(ax: Axes, norm: TwoSlopeNorm, centre_name: str, coloured: str = "largest cosine") -> None:
    """A thin scale: what the colours mean."""
    figure = ax.figure
    figure.colorbar(ScalarMappable(norm, style.diverging()), cax=ax, orientation="horizontal")
    ax.spines[:].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(7))
    ax.tick_params(labelsize=6.5, length=2)
    low, high = ("mismatched", "matched") if centre_name == "boundary" else ("low", "high")
    middle = f"{coloured} (white: the {centre_name}, {style.plain(norm.vcenter)})"
    ax.set_xlabel(f"{low}  ←  {middle}  →  {high}", fontsize=7)
