"""Where a word looks: heat over the picture from weighted boxes, a plain grid without boxes, and the matrix.

Axes of arrays: word, region. The weights of a word sum to 1, or are all 0 where no region matches it.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from . import style
from .captions import as_shown, match_norm, text_width, wrap
from .pictures import Picture, picture
from .style import Number, Values, styled


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


def region_squares(regions: int, side: Number = 60.0) -> tuple[np.ndarray, tuple[float, float]]:
    """Boxes of a plain grid for regions without boxes (36: 6 x 6, row by row) and the size of the whole."""
    columns = int(np.ceil(np.sqrt(regions)))
    row, column = np.divmod(np.arange(regions), columns)
    boxes = side * np.stack([column, row, column + 1, row + 1], axis=1)
    return boxes, (side * columns, side * (int(row.max()) + 1))


@styled
def word_heat(
    ax: Axes,
    heat: Values,
    *,
    image: Picture = None,
    size: Values,
    vmax: Number = 1.0,
    best: np.ndarray | None = None,
    instead: str = "",
) -> Axes:
    """One word's heat (y, x) over the picture, the picture greyed so that the heat has the colour to itself.

    best: box of its most attended region, outlined. instead: what is written where there is no picture.
    """
    grey = (
        None if image is None else np.repeat(image.mean(axis=2, keepdims=True) / 255 * 0.7 + 0.3, 3, axis=2)
    )
    picture(ax, grey, size=size, instead=instead)
    ax.imshow(
        heat, extent=(0, size[0], size[1], 0), cmap=style.heat(), vmin=0, vmax=vmax, interpolation="bilinear"
    )
    if best is not None:
        x1, y1, x2, y2 = (float(edge) for edge in best)
        outline = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=style.MATCHED, linewidth=1.4)
        outline.set_clip_on(False)
        ax.add_patch(outline)
    ax.set(xlim=(0, size[0]), ylim=(size[1], 0))
    return ax


@styled
def attention_figure(
    words: Sequence[str],
    weight: Values,
    effect: Values,
    *,
    image: Picture = None,
    boxes: np.ndarray | None = None,
    size: Values | None = None,
    known: Values | None = None,
    instead: str = "",
    columns: int = 6,
    limit: int = 18,
    width: Number = style.PAGE,
    title: str | None = None,
) -> Figure:
    """A panel a word, in caption order: its attention over the picture, its effect on the score.

    weight: (word, region). Where there are no boxes the regions stand in a plain grid. instead: what
    the first panel says where there is no picture. More than `limit` words: the first ones are shown, and the
    title says so.
    """
    shown, shown_words = min(len(words), limit), as_shown(words, known)
    boxes, size, image = _canvas(weight.shape[1], boxes, size, image)
    heat = box_heat(np.asarray(weight[:shown]), boxes, size)
    vmax = float(heat.max()) or 1.0
    rows = -(-shown // columns)
    cell = (width - 0.7) / columns
    height = rows * (cell * size[1] / size[0] + 0.2) + (0.35 if title else 0.1)
    note = f"   (first {shown} of {len(words)} words)" if shown < len(words) else ""
    figure, axes = style.panels(rows, columns, width=width, height=height, title=title and title + note)
    for k, ax in enumerate(axes.flat):
        if k >= shown:
            ax.set_axis_off()
            continue
        attends = weight[k].max() > 0
        best = boxes[int(weight[k].argmax())] if attends else None
        said = "" if k else instead
        word_heat(ax, heat[k], image=image, size=size, vmax=vmax, best=best, instead=said)
        _word_title(ax, shown_words[k], float(effect[k]), cell - 0.15)
        if not attends:
            ax.text(
                0.5, 0.03, "no region\nmatches", transform=ax.transAxes, ha="center", va="bottom", fontsize=7
            )
    _heat_bar(figure, axes, vmax)
    return figure


def _canvas(
    regions: int, boxes: np.ndarray | None, size: Values | None, image: Picture
) -> tuple[np.ndarray, Values, Picture]:
    """Boxes and the size they count in; without boxes a plain grid, and then no picture under it."""
    if boxes is None:
        squares, whole = region_squares(regions)
        return squares, whole, None
    if size is None:
        size = (float(boxes[:, 2].max()), float(boxes[:, 3].max()))
    return np.asarray(boxes, dtype=float), size, image


def _word_title(ax: Axes, word: str, effect: float, width: Number) -> None:
    """The word, and its effect at the right end of so many inches; a long word is cut before the number."""
    number = style.signed(effect)
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
def region_grid(ax: Axes, values: Values, *, numbers: bool = True, vmax: Number | None = None) -> Axes:
    """Values of regions in a plain grid, row by row, with the regions' numbers."""
    boxes, size = region_squares(len(values))
    norm = Normalize(0, vmax or max(float(np.max(values)), 1e-6))
    ax.add_patch(Rectangle((0, 0), *size, facecolor="#F2F2F2", edgecolor="none"))
    for k, (x1, y1, x2, _) in enumerate(boxes):
        side = x2 - x1
        ax.add_patch(
            Rectangle((x1, y1), side, side, facecolor=style.heat()(norm(values[k])), edgecolor="white")
        )
        if numbers:
            ax.text(x1 + side / 2, y1 + side / 2, str(k), ha="center", va="center", fontsize=6)
    ax.set(xlim=(0, size[0]), ylim=(size[1], 0), aspect="equal")
    return style.bare(ax)


@styled
def word_region_matrix(
    ax: Axes,
    cosine: Values,
    words: Sequence[str],
    *,
    boundary: Number | None = None,
    mark_best: bool = True,
    scale: bool = True,
) -> Axes:
    """All cosines of a pair, a row a word, a column a region; white is the boundary (without one, the mean),
    grey a region that is padding (NaN).

    mark_best: a dot on each word's best region. scale: a colour bar beside the matrix.
    """
    cosine = np.asarray(cosine, dtype=float)
    centre = float(np.nanmean(cosine)) if boundary is None else boundary
    shown = ax.imshow(cosine, cmap=style.diverging(), norm=match_norm(cosine, centre), aspect="auto")
    if mark_best:
        ax.plot(np.nanargmax(cosine, axis=1), np.arange(len(words)), ".", color=style.INK, markersize=4)
    ax.set_yticks(np.arange(len(words)), words, parse_math=False)
    ax.set_xticks(np.arange(0, cosine.shape[1], 5))
    ax.tick_params(length=0)
    ax.set(xlabel="region")
    ax.spines[:].set_visible(False)
    if scale:
        bar = ax.figure.colorbar(shown, ax=ax, fraction=0.04, pad=0.02)
        name = "mean" if boundary is None else "boundary"
        bar.set_label(f"cosine (white: the {name}, {style.plain(centre)})", fontsize=7)
        bar.outline.set_visible(False)
    return ax
