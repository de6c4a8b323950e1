"""Pictures with boxes, and retrieval results as contact sheets.

A picture is an array (height, width, 3) or None where its file is missing: then a plain panel stands in its
place, with a few words. Boxes are (x1, y1, x2, y2) in pixels of a picture of `size` (width, height).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from ..picture_files import open_picture
from . import style
from .captions import wrap
from .style import Number, Values, styled

Picture = np.ndarray | None


@dataclass(frozen=True)
class Canvas:
    """A picture with the boxes of all its regions."""

    image: Picture
    boxes: np.ndarray
    size: Values
    instead: str = ""  # what is written where there is no picture


def region_squares(regions: int) -> Canvas:
    """A plain grid for regions without boxes: 36 stand 6 x 6, row by row."""
    side, columns = 60.0, int(np.ceil(np.sqrt(regions)))
    row, column = np.divmod(np.arange(regions), columns)
    boxes = side * np.stack([column, row, column + 1, row + 1], axis=1)
    return Canvas(None, boxes, boxes[:, 2:].max(axis=0), "no boxes: regions row by row")


def read_picture(path: str | Path | None, largest: int = 400) -> Picture:
    """The picture file as an array, its longer side at most `largest` pixels; None for None.

    Raises NaafError for a damaged file.
    """
    if path is None:
        return None
    with open_picture(Path(path)) as image:
        image = image.convert("RGB")
        image.thumbnail((largest, largest))
        return np.asarray(image)


def no_picture(names: Sequence[str] | None, image: int) -> str:
    """What is written where an image's picture is missing; names: the files', None where there are none."""
    return "the data set has no pictures" if names is None else f"no picture {names[image]}"


@styled
def picture(
    ax: Axes,
    image: Picture,
    *,
    size: Values | None = None,
    boxes: np.ndarray | None = None,
    labels: Sequence[str] | None = None,
    colours: Sequence[str] | str = style.ACCENT,
    instead: str = "",
) -> Axes:
    """A picture and boxes over it; the boxes' pixels count in a picture of `size` (default: the array's).

    instead: what is written where there is no picture, on a plain panel.
    """
    width, height = _extent(image, size, boxes)
    if image is None:
        ax.add_patch(Rectangle((0, 0), width, height, facecolor="#F2F2F2", edgecolor="none", zorder=-1))
        if instead:
            _write(ax, instead, width / height)
    else:
        ax.imshow(image, extent=(0, width, height, 0), interpolation="antialiased")
    corners: list[tuple[float, float]] = []
    for k, box in enumerate([] if boxes is None else boxes):
        colour = colours if isinstance(colours, str) else colours[k]
        x1, y1, x2, y2 = map(float, box)
        halo = [withStroke(linewidth=2.6, foreground="white", alpha=0.7)]
        outline = {"fill": False, "edgecolor": colour, "linewidth": 1.3}
        ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, **outline, path_effects=halo))
        if labels is not None:
            corner = (x2 if x1 + x2 > width else x1, y1)  # the label grows into the picture
            near = [abs(x - corner[0]) < width / 6 and abs(y - y1) < height / 20 for x, y in corners]
            _label(ax, labels[k], corner, colour, left=x1 + x2 > width, below=near.count(True))
            corners.append(corner)
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    return style.bare(ax)


def _write(ax: Axes, text: str, ratio: float) -> None:
    """A few words amid Axes that will be so many times as wide as high; what has no room is cut."""
    across, down = np.divide(ax.bbox.size, ax.figure.dpi)
    width = 0.95 * min(across, down * ratio)
    lines = wrap(text, width, 6.5, lines=max(int(9 * width / ratio), 1))
    ax.text(
        0.5, 0.5, "\n".join(lines), transform=ax.transAxes, ha="center", va="center", fontsize=6.5,
        color="#555555", zorder=5, path_effects=[withStroke(linewidth=2, foreground="white", alpha=0.9)],
        parse_math=False,
    ).set_in_layout(False)  # fmt: skip


def _extent(image: Picture, size: Values | None, boxes: np.ndarray | None) -> tuple[float, float]:
    if size is not None:
        return float(size[0]), float(size[1])
    if image is not None:
        return float(image.shape[1]), float(image.shape[0])
    if boxes is not None and len(boxes):
        return float(np.max(boxes[:, 2])), float(np.max(boxes[:, 3]))
    return 1.0, 1.0


def _label(ax: Axes, text: str, corner: tuple[float, float], colour: str, *, left: bool, below: int) -> None:
    """A label at a box's upper corner, below so many labels that stand there already; left: it ends there."""
    ax.annotate(
        text, corner, xytext=(-2 if left else 2, -2 - 11 * below), textcoords="offset points",
        ha="right" if left else "left", va="top", fontsize=6.5, color="white", parse_math=False,
        bbox={"boxstyle": "square,pad=0.2", "facecolor": colour, "edgecolor": "none"},
    )  # fmt: skip


@styled
def frame(ax: Axes, right: bool) -> Axes:
    """Mark a right answer: a thick green frame and the word, so that it does not rest on the colour alone."""
    if right:
        ax.spines[:].set(visible=True, color=style.RIGHT, linewidth=3)
        ax.text(
            0.97, 0.04, "right", transform=ax.transAxes, ha="right", fontsize=6.5, color="white",
            bbox={"boxstyle": "square,pad=0.25", "facecolor": style.RIGHT, "edgecolor": "none"},
        )  # fmt: skip
    return ax


@styled
def retrieved_pictures(
    queries: Sequence[str],
    pictures: Sequence[Sequence[Picture]],
    right: Values,
    scores: Values,
    *,
    names: Sequence[Sequence[str]],
    places: Sequence[int | None] | np.ndarray,
    answer_places: Sequence[Sequence[int]],
    title: str | None = None,
) -> Figure:
    """Contact sheet text to image: each query caption over its best pictures, the right one framed.

    right, scores: (query, picture). names: what to write where there is no picture. places: place (from 1) of
    the right picture, said after the query; None for a query without one. answer_places: place of each
    picture.
    """
    columns = max(len(row) for row in pictures)
    texts = [_query(text, place) for text, place in zip(queries, places, strict=True)]
    heights = [style.PAGE / columns + 0.2 + 0.15 * len(text) for text in texts]
    figure = style.figure(height=sum(heights) + (0.3 if title else 0), title=title)
    blocks = figure.subfigures(len(queries), 1, height_ratios=heights, squeeze=False)[:, 0]
    for k, block in enumerate(blocks):
        axes = block.subplots(1, columns, squeeze=False)[0]
        block.suptitle("\n".join(texts[k]), x=0.01, ha="left", fontsize=8, parse_math=False)
        for ax in axes[len(pictures[k]) :]:
            style.bare(ax)
        for j, image in enumerate(pictures[k]):
            picture(axes[j], image, instead=names[k][j])
            axes[j].set_xlabel(f"{answer_places[k][j]}.  {scores[k][j]:.3f}", fontsize=7)
            frame(axes[j], bool(right[k][j]))
    return figure


def _query(text: str, place: Number | None) -> list[str]:
    found = "" if place is None else f"(right picture at place {place:,})".replace(" ", "\N{NO-BREAK SPACE}")
    return wrap(f"“{text}” {found}", style.PAGE - 0.3, 8, lines=3)


@styled
def retrieved_captions(
    pictures: Sequence[Picture],
    captions: Sequence[Sequence[str]],
    right: Values,
    scores: Values,
    *,
    names: Sequence[str],
    places: Values,
    answer_places: Sequence[Sequence[int]],
    title: str | None = None,
) -> Figure:
    """Contact sheet image to text: each query picture beside its best captions, the right ones marked.

    names: what to write where there is no picture. places: place (from 1) of the first right caption.
    answer_places: place of each.
    """
    side, rows = 1.35, len(pictures)
    height, ratios = rows * (side + 0.2) + (0.3 if title else 0), [side, style.PAGE - side]
    figure, axes = style.panels(rows, 2, height=height, title=title, width_ratios=ratios)
    for k, (left, beside) in enumerate(axes):
        picture(left, pictures[k], instead=names[k])
        left.set_xlabel(f"first right one at place {places[k]:,}", fontsize=7)
        numbers = [f"{p}.  {s:.3f}" for p, s in zip(answer_places[k], scores[k], strict=True)]
        caption_list(beside, captions[k], style.PAGE - side - 1.2, right[k], numbers)
    return figure


@styled
def caption_list(
    ax: Axes, captions: Sequence[str], width: Number, strong: Values, numbers: Sequence[str] = ()
) -> Axes:
    """Captions below each other, each of at most two lines so many inches wide, the strong ones bold.

    numbers: what stands before each; then the strong ones are right answers, green with a tick.
    """
    step = 1 / max(len(captions), 5)
    for k, text in enumerate(captions):
        y, colour = 1 - (k + 0.5) * step, style.RIGHT if numbers and strong[k] else style.INK
        look = {"va": "center", "fontsize": 7.5, "color": colour, "parse_math": False}
        look["fontweight"] = "bold" if strong[k] else "normal"
        shown = "\n".join(wrap(text, width / (1.12 if strong[k] else 1.0), 7.5, lines=2))
        ax.text(0.18 if numbers else 0.0, y, shown, linespacing=1.05, **look).set_in_layout(False)
        if numbers:
            ax.text(0.0, y, "✓" if strong[k] else "", **look)
            ax.text(0.03, y, numbers[k], **look)
    ax.set(xlim=(0, 1), ylim=(0, 1))
    return style.bare(ax)
