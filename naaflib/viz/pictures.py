"""Pictures with boxes, grids of pictures, and retrieval results as contact sheets.

A picture is an array (height, width, 3) or None where its file is missing: then a plain panel stands in its
place, with a few words. Boxes are (x1, y1, x2, y2) in pixels of a picture of `size` (width, height).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

from . import style
from .captions import wrap
from .style import Number, Values, styled

Picture = np.ndarray | None


def read_picture(path: str | Path | None, largest: int = 400) -> Picture:
    """The picture file as an array, its longer side at most `largest` pixels; None for None."""
    if path is None:
        return None
    from PIL import Image

    with Image.open(path) as image:
        image = image.convert("RGB")
        image.thumbnail((largest, largest))
        return np.asarray(image)


def no_picture(names: Sequence[str] | None, image: int) -> str:
    """What is written where an image's picture is missing; names: the files', None where there are none."""
    return "the data set has no pictures" if names is None else f"no picture\n{names[image]}"


@styled
def picture(
    ax: Axes,
    image: Picture,
    *,
    size: Values | None = None,
    boxes: np.ndarray | None = None,
    labels: Sequence[str] | None = None,
    colours: Sequence[str] | str = style.ACCENT,
    title: str = "",
    instead: str = "",
) -> Axes:
    """A picture and boxes over it; the boxes' pixels count in a picture of `size` (default: the array's).

    instead: what is written where there is no picture.
    """
    width, height = _extent(image, size, boxes)
    if image is None:
        ax.add_patch(Rectangle((0, 0), width, height, facecolor="#F2F2F2", edgecolor="none", zorder=-1))
        _write(ax, instead, width / height)
    else:
        ax.imshow(image, extent=(0, width, height, 0), interpolation="antialiased")
    corners: list[tuple[float, float]] = []
    for k, box in enumerate([] if boxes is None else boxes):
        colour = colours if isinstance(colours, str) else colours[k]
        near = [abs(x - box[0]) < width / 6 and abs(y - box[1]) < height / 20 for x, y in corners].count(True)
        _box(ax, box, colour, labels[k] if labels is not None else "", below=near)
        corners.append((box[0], box[1]))
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    if title:
        ax.set_title(title, fontweight="normal", fontsize=8, parse_math=False)
    return style.bare(ax)


def _write(ax: Axes, text: str, ratio: float) -> None:
    """A few words amid Axes that will be so many times as wide as high."""
    across, down = np.divide(ax.bbox.size, ax.figure.dpi)
    lines = [part for line in text.split("\n") for part in wrap(line, 0.95 * min(across, down * ratio), 6.5)]
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


def _box(ax: Axes, box: np.ndarray, colour: str, label: str, below: int) -> None:
    """A box, its label in its upper left corner, below so many labels that stand there already."""
    x1, y1, x2, y2 = (float(edge) for edge in box)
    halo = [withStroke(linewidth=2.6, foreground="white", alpha=0.7)]
    ax.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=1.3, path_effects=halo)
    )
    if label:
        ax.annotate(
            label,
            (x1, y1),
            xytext=(2, -2 - 11 * below),
            textcoords="offset points",
            va="top",
            fontsize=6.5,
            color="white",
            parse_math=False,
            bbox={"boxstyle": "square,pad=0.2", "facecolor": colour, "edgecolor": "none"},
        )


@styled
def placeholder(ax: Axes, text: str, width: Number = 1.2) -> Axes:
    """What stands where a picture is missing: a square panel with a few words, `width` inches wide."""
    ax.add_patch(Rectangle((0, 0), 1, 1, facecolor="#F2F2F2", edgecolor="none"))
    lines = wrap(text, width - 0.1, 6.5, lines=max(int(width * 72 / 9.5), 1))
    ax.text(
        0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=6.5, color="#555555", parse_math=False
    ).set_in_layout(False)
    ax.set(xlim=(0, 1), ylim=(1, 0), aspect="equal")
    return style.bare(ax)


@styled
def frame(ax: Axes, right: bool) -> Axes:
    """Mark a right answer: a thick green frame and the word, so that it does not rest on the colour alone."""
    if right:
        for spine in ax.spines.values():
            spine.set(visible=True, color=style.RIGHT, linewidth=3)
        ax.text(
            0.97,
            0.04,
            "right",
            transform=ax.transAxes,
            ha="right",
            fontsize=6.5,
            color="white",
            bbox={"boxstyle": "square,pad=0.25", "facecolor": style.RIGHT, "edgecolor": "none"},
        )
    return ax


@styled
def picture_grid(
    pictures: Sequence[Picture],
    captions: Sequence[str],
    *,
    columns: int = 4,
    width: Number = style.PAGE,
    lines: int = 3,
    title: str | None = None,
) -> Figure:
    """Pictures in rows with a caption of at most so many lines under each."""
    cell = width / columns
    rows = -(-len(pictures) // columns)
    height = rows * (cell * 0.92 + 0.14 * lines + 0.1) + (0.3 if title else 0)
    figure, axes = style.panels(rows, columns, width=width, height=height, title=title)
    for k, ax in enumerate(axes.flat):
        style.bare(ax)
        if k < len(pictures):
            _picture_or_text(ax, pictures[k], "no picture file", cell)
            ax.set_xlabel("\n".join(wrap(captions[k], cell - 0.15, 7, lines)), fontsize=7, parse_math=False)
    return figure


def _picture_or_text(ax: Axes, image: Picture, text: str, width: Number) -> None:
    if image is None:
        placeholder(ax, text, width * 0.9)
    else:
        picture(ax, image)


@styled
def retrieved_pictures(
    queries: Sequence[str],
    pictures: Sequence[Sequence[Picture]],
    right: Values,
    scores: Values,
    *,
    names: Sequence[Sequence[str]] | None = None,
    places: Values | None = None,
    answer_places: Sequence[Sequence[int]] | None = None,
    width: Number = style.PAGE,
    title: str | None = None,
) -> Figure:
    """Contact sheet text to image: each query caption over its best pictures, the right one framed.

    right, scores: (query, picture). names: what to write where there is no picture. places: place (from 1) of
    the right picture, said after the query. answer_places: place of each picture; by default 1, 2, ...
    """
    columns = max(len(row) for row in pictures)
    cell = width / columns
    texts = [_query(text, None if places is None else places[k], width) for k, text in enumerate(queries)]
    heights = [cell + 0.2 + 0.15 * len(text) for text in texts]
    figure = style.figure(width, sum(heights) + (0.3 if title else 0), title)
    blocks = figure.subfigures(len(queries), 1, height_ratios=heights, squeeze=False)[:, 0]
    for k, block in enumerate(blocks):
        axes = block.subplots(1, columns, squeeze=False)[0]
        block.suptitle("\n".join(texts[k]), x=0.01, ha="left", fontsize=8, parse_math=False)
        for j, ax in enumerate(axes):
            style.bare(ax)
            if j < len(pictures[k]):
                _picture_or_text(ax, pictures[k][j], names[k][j] if names else "no picture file", cell)
                place = j + 1 if answer_places is None else answer_places[k][j]
                ax.set_xlabel(f"{place}.  {scores[k][j]:.3f}", fontsize=7)
                frame(ax, bool(right[k][j]))
    return figure


def _query(text: str, place: Number | None, width: Number) -> list[str]:
    found = "" if place is None else f"(right picture at place {place:,})".replace(" ", "\N{NO-BREAK SPACE}")
    return wrap(f"“{text}” {found}".rstrip(), width - 0.3, 8, lines=3)


@styled
def retrieved_captions(
    pictures: Sequence[Picture],
    captions: Sequence[Sequence[str]],
    right: Values,
    scores: Values,
    *,
    names: Sequence[str] | None = None,
    places: Values | None = None,
    answer_places: Sequence[Sequence[int]] | None = None,
    width: Number = style.PAGE,
    title: str | None = None,
) -> Figure:
    """Contact sheet image to text: each query picture beside its best captions, the right ones marked.

    places: place (from 1) of the first right caption. answer_places: place of each; by default 1, 2, ...
    """
    side = 1.35
    rows = len(pictures)
    figure, axes = style.panels(
        rows,
        2,
        width=width,
        height=rows * (side + 0.2) + (0.3 if title else 0),
        title=title,
        width_ratios=[side, width - side],
    )
    for k, (left, beside) in enumerate(axes):
        _picture_or_text(left, pictures[k], names[k] if names else "no picture file", side)
        if places is not None:
            left.set_xlabel(f"first right one at place {places[k]:,}", fontsize=7)
        numbers = range(1, len(captions[k]) + 1) if answer_places is None else answer_places[k]
        _caption_list(style.bare(beside), captions[k], numbers, right[k], scores[k], width - side - 1.2)
    return figure


def _caption_list(
    ax: Axes,
    captions: Sequence[str],
    places: Sequence[int],
    right: Values,
    scores: Values,
    width: Number,
    size: Number = 7.5,
) -> None:
    """Numbered captions; a right one is bold, green and has a tick."""
    step = 1 / max(len(captions), 5)
    for k, text in enumerate(captions):
        y = 1 - (k + 0.5) * step
        colour = style.RIGHT if right[k] else style.INK
        shown = "\n".join(wrap(text, width / (1.1 if right[k] else 1.0), size, lines=2))
        weight = "bold" if right[k] else "normal"
        common = {
            "va": "center",
            "fontsize": size,
            "color": colour,
            "fontweight": weight,
            "parse_math": False,
        }
        ax.text(0.0, y, "✓" if right[k] else "", **common)
        ax.text(0.03, y, f"{places[k]}.  {scores[k]:.3f}", **common)
        ax.text(0.18, y, shown, linespacing=1.05, **common).set_in_layout(False)
    ax.set(xlim=(0, 1), ylim=(0, 1))
