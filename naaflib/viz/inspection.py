"""Images with everything that a data set knows of them: the picture, its boxes, its captions."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from . import style
from .attention import region_grid
from .pictures import Picture, caption_list, picture
from .style import Values, styled

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
) -> Figure:
    """A row an image: its picture, the boxes of all its regions, its captions.

    norms: lengths of the image's region features, shown as a grid where there are no boxes; NaN: padding.
    spoken: for each
    image the words of its first caption that speak of a region, and that region's box in the picture.
    """
    rows, room = len(captions), style.PAGE - 2 * _SIDE
    ratios = [_SIDE, _SIDE, room]
    figure, axes = style.panels(rows, 3, height=rows * (_SIDE + 0.2), width_ratios=ratios)
    for k, (left, middle, right) in enumerate(axes):
        words, image, own = spoken[k] if spoken else {}, pictures[k], boxes[k]
        named = {"boxes": np.stack([*words.values()]), "labels": [*words]} if words else {}
        colours = style.cycle(len(words))
        picture(left, image, size=sizes[k], **named, colours=colours, instead="no picture file")
        left.set_xlabel(names[k], fontsize=7, parse_math=False)
        if own is None:
            region_grid(middle, norms[k]).set_xlabel("lengths of the features", fontsize=7)
        else:
            pale = None if image is None else (0.5 * image + 127).astype(np.uint8)
            picture(middle, pale, size=sizes[k], boxes=own, colours=style.INK)
            for patch in middle.patches:
                patch.set(linewidth=0.5, path_effects=[])
            middle.set_xlabel(f"{len(own)} regions", fontsize=7)
        strong = [bool(words) and place == 0 for place in range(len(captions[k]))]
        caption_list(right, captions[k], room - 0.4, strong)
    return figure
