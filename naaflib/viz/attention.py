"""Where a word looks: heat over the picture from weighted boxes, a plain grid, and the word x region matrix.

Axes of arrays: word, region. The weights of a word sum to 1, or are all 0 where no region matches it.
"""

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from . import style
from .captions import LONGEST_WORD, Pair, as_shown, match_norm, text_width, wrap
from .pictures import Canvas, Picture, picture, region_squares
from .style import Number, Values, styled

_COLUMNS = 6
_MOST_WORDS = 18


def box_heat(weight: Values, boxes: np.ndarray, size: Values, cells: int = 160) -> np.ndarray:
    """Attention at each point of the picture, (word, y, x): the summed weight of the boxes that cover it.

    cells: points along the picture's longer side.
    """
    width, height = float(size[0]), float(size[1])
    scale = cells / max(width, height)
    x = (np.arange(max(round(width * scale), 1)) + 0.5) / scale
    y = (np.arange(max(round(height * scale), 1)) + 0.5) / scale
    in_x = (boxes[:, 0, None] <= x) & (x < boxes[:, 2, None])
    in_y = (boxes[:, 1, None] <= y) & (y < boxes[:, 3, None])
    return np.einsum("wr,ry,rx->wyx", weight, in_y.astype(float), in_x.astype(float), optimize=True)


@styled
def word_heat(
    ax: Axes, heat: Values, weight: Values, canvas: Canvas, vmax: Number, colours: Colormap
) -> Axes:
    """One word's heat (y, x) over the picture, and a blue frame around its most attended region."""
    picture(ax, canvas.image, size=canvas.size, instead=canvas.instead)
    width, height = canvas.size
    over = {"extent": (0, width, height, 0), "cmap": colours, "interpolation": "bilinear"}
    ax.imshow(heat, vmin=0, vmax=vmax, **over)
    if np.any(weight):
        x1, y1, x2, y2 = (float(edge) for edge in canvas.boxes[int(np.argmax(weight))])
        outline = {"fill": False, "edgecolor": style.MATCHED, "linewidth": 1.4, "clip_on": False}
        halo = [withStroke(linewidth=2.8, foreground="white", alpha=0.7)]  # on blue too
        ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **outline, path_effects=halo))
    ax.set(xlim=(0, width), ylim=(height, 0))
    return ax


@styled
def attention_figure(pair: Pair, canvas: Canvas, title: str | None = None) -> Figure:
    """A panel a word, in caption order: its attention over the grey picture, its effect on the score.

    `<start>` and `<end>` are left out. Of more than 18 words the first are shown, and the title says so.
    """
    words = list(zip(as_shown(pair.words, pair.known), pair.attention, pair.effect, strict=True))[1:-1]
    shown = words[:_MOST_WORDS]
    heat = box_heat(np.stack([weight for _, weight, _ in shown]), canvas.boxes, canvas.size)
    vmax = float(heat.max()) or 1.0
    rows, cell = -(-len(shown) // _COLUMNS), (style.PAGE - 0.7) / _COLUMNS
    height = rows * (cell * canvas.size[1] / canvas.size[0] + 0.2) + (0.35 if title else 0.1)
    note = f"   (first {len(shown)} of {len(words)} words)" if len(shown) < len(words) else ""
    figure, axes = style.panels(rows, _COLUMNS, height=height, title=title and title + note)
    canvas = replace(canvas, image=_greyed(canvas.image))
    for k, (word, weight, effect) in enumerate(shown):
        ax = word_heat(axes.flat[k], heat[k], weight, canvas, vmax, style.heat())
        canvas = replace(canvas, instead="")  # said once
        _word_title(ax, word, float(effect), cell - 0.15)
        if not np.any(weight):
            nothing = {"transform": ax.transAxes, "ha": "center", "va": "bottom", "fontsize": 7}
            ax.text(0.5, 0.03, "no region\nmatches", **nothing)
    for ax in axes.flat[len(shown) :]:
        ax.set_axis_off()
    _heat_bar(figure, axes, vmax)
    return figure


def _greyed(image: Picture) -> Picture:
    """Pale and grey, so that in a small panel the heat has the colour to itself."""
    if image is None:
        return None
    return np.repeat(image.mean(axis=2, keepdims=True) / 255 * 0.7 + 0.3, 3, axis=2)


def _word_title(ax: Axes, word: str, effect: float, width: Number) -> None:
    """The word, and its effect at the right end of so many inches; a long word is cut before the number."""
    number, word = style.signed(effect), style.short(word, LONGEST_WORD)
    colour = {"+": style.MATCHED, "−": style.MISMATCHED}.get(number[0], style.INK)
    room, shown = 72 * width - text_width(number, 6.5) - 4, word
    while text_width(shown, 8, "bold") > room and len(shown) > 2:
        shown = shown.removesuffix("…")[:-1] + "…"
    ax.set_title(shown, fontsize=8, pad=3, parse_math=False)
    ax.set_title(number, loc="right", fontsize=6.5, color=colour, fontweight="normal", pad=3)


def _heat_bar(figure: Figure, axes: np.ndarray, vmax: Number) -> None:
    mappable = ScalarMappable(Normalize(0, vmax), style.heat())
    bar = figure.colorbar(mappable, ax=axes, fraction=0.03, pad=0.01, aspect=30, shrink=0.9)
    texts = ("attention of the boxes over a point", "blue: the strongest box")
    lines = [line for text in texts for line in wrap(text, 0.8 * figure.get_figheight(), 7)]
    bar.set_label("\n".join(lines), fontsize=7)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=6.5)


@styled
def region_grid(ax: Axes, values: Values) -> Axes:
    """Values of regions in a plain grid, row by row, with the regions' numbers; none of padding (NaN)."""
    grid, norm = region_squares(len(values)), Normalize(0, max(float(np.nanmax(values)), 1e-6))
    picture(ax, None, size=grid.size)
    for k in np.flatnonzero(np.isfinite(values)):
        x1, y1, x2, y2 = grid.boxes[k]
        fill = style.heat()(norm(values[k]))
        ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, facecolor=fill, edgecolor="white"))
        ax.text((x1 + x2) / 2, (y1 + y2) / 2, str(k), ha="center", va="center", fontsize=6)
    return ax


@styled
def word_region_matrix(ax: Axes, pair: Pair, *, scale: bool = True) -> Axes:
    """All cosines of a pair, a row a word, a column a region, a dot on each word's best region.

    White is the boundary (without one, the mean), grey a region that is padding (NaN). scale: a colour bar
    beside the matrix.
    """
    norm = match_norm(pair.cosine, pair.boundary)
    shown = ax.imshow(pair.cosine, cmap=style.diverging(), norm=norm, aspect="auto")
    ax.plot(pair.best_region, np.arange(len(pair.words)), ".", color=style.INK, markersize=4)
    ax.set_yticks(np.arange(len(pair.words)), [style.short(word, LONGEST_WORD) for word in pair.words])
    ax.set_xticks(np.arange(0, pair.cosine.shape[1], 5))
    ax.tick_params(length=0)
    ax.set(xlabel="region")
    ax.spines[:].set_visible(False)
    if scale:
        bar = ax.figure.colorbar(shown, ax=ax, fraction=0.04, pad=0.02)
        name = "mean" if pair.boundary is None else "boundary"
        bar.set_label(f"cosine (white: the {name}, {style.plain(norm.vcenter)})", fontsize=7)
        bar.outline.set_visible(False)
    return ax
