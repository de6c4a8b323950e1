"""Images with everything that a data set knows of them: the picture, its boxes, its captions."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style
from .attention import region_grid
from .captions import wrap
from .pictures import Picture, picture, placeholder
from .style import Number, Values, styled

_SIDE = 1.75  # inches of a picture


@styled
def pairs_figure(
    captions: Sequence[Sequence[str]],
    pictures: Sequence[Picture],
    *,
    names: Sequence[str],
    norms: Sequence[Values],
    boxes: Sequence[np.ndarray | None],
    sizes: Sequence[Values | None],
    spoken: Sequence[Mapping[str, np.ndarray]] | None = None,
    width: Number = style.PAGE,
    title: str | None = None,
) -> Figure:
    """A row an image: its picture, the boxes of all its regions, its captions.

    norms: lengths of the image's region features, shown as a grid where there are no boxes. spoken: for each
    image the words of its first caption that speak of a region, and that region's box in the picture.
    """
    rows = len(captions)
    height = rows * (_SIDE + 0.2) + (0.3 if title else 0)
    ratios = [_SIDE, _SIDE, width - 2 * _SIDE]
    figure, axes = style.panels(rows, 3, width=width, height=height, title=title, width_ratios=ratios)
    for k, (left, middle, right) in enumerate(axes):
        words = spoken[k] if spoken else {}
        _picture(left, pictures[k], sizes[k], words)
        left.set_xlabel(names[k], fontsize=7, parse_math=False)
        _regions(middle, pictures[k], boxes[k], sizes[k], norms[k])
        _captions(style.bare(right), captions[k], width - 2 * _SIDE - 0.4, bool(words))
    return figure


def _picture(ax: Axes, image: Picture, size: Values | None, words: Mapping[str, np.ndarray]) -> None:
    if image is None:
        placeholder(ax, "no picture file", _SIDE * 0.9)
        return
    colours = [style.SERIES[k % len(style.SERIES)] for k in range(len(words))]
    boxes = np.stack(list(words.values())) if words else None
    picture(ax, image, size=size, boxes=boxes, labels=list(words), colours=colours)


def _regions(ax: Axes, image: Picture, boxes: np.ndarray | None, size: Values | None, norms: Values) -> None:
    if boxes is None:
        region_grid(ax, norms)
        ax.set_xlabel("lengths of the features", fontsize=7)
        return
    pale = None if image is None else (0.5 * image + 127).astype(np.uint8)
    picture(ax, pale, size=size, boxes=np.asarray(boxes), colours=style.INK)
    for patch in ax.patches:
        patch.set(linewidth=0.5, path_effects=[])
    ax.set_xlabel(f"{len(boxes)} regions", fontsize=7)


def _captions(ax: Axes, captions: Sequence[str], width: Number, is_first_spoken: bool) -> None:
    step = 1 / max(len(captions), 5)
    for k, text in enumerate(captions):
        weight = "bold" if is_first_spoken and k == 0 else "normal"
        lines = wrap(text, width / (1.12 if weight == "bold" else 1.0), 7.5, lines=2)
        place = 1 - (k + 0.5) * step
        ax.text(
            0.0, place, "\n".join(lines), va="center", fontsize=7.5, fontweight=weight, parse_math=False
        ).set_in_layout(False)
    ax.set(xlim=(0, 1), ylim=(0, 1))
