"""A pair that was taken apart, drawn: what `Explanation.figure` returns and a notebook shows of it."""

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.splits import Split
from ..errors import NaafError
from ..viz import style
from ..viz.attention import attention_figure, word_region_matrix
from ..viz.captions import as_shown, ink_on, match_norm
from ..viz.pairs import pair_figure, words_figure
from ..viz.pictures import Canvas, Picture, no_picture, read_picture, region_squares
from ..viz.style import Figure

if TYPE_CHECKING:
    from .pairs import Explanation

MOST_WORDS = 400  # in a figure; the time grows with their square


def pair_page(split: Split, pair: "Explanation", title: str | None = None) -> Figure:
    """The caption in colours, the picture with the telling words' regions, a bar a word."""
    return pair_figure(_drawable(pair), canvas(split, pair), title)


def attention_page(split: Split, pair: "Explanation", title: str | None = None) -> Figure:
    """Where each word looks; `<start>` and `<end>` are left out."""
    return attention_figure(_drawable(pair), canvas(split, pair), title)


def matrix_page(pair: "Explanation", title: str | None = None) -> Figure:
    """All cosines of the pair, a row a word."""
    figure, axes = style.panels(height=0.17 * len(_drawable(pair).words) + 0.9, title=title)
    word_region_matrix(axes[0, 0], pair)
    return figure


def words_page(pair: "Explanation", title: str | None = None) -> Figure:
    """The pair without its picture: the caption in colours, a bar a word, every word against every region."""
    return words_figure(_drawable(pair), title)


def _drawable(pair: "Explanation") -> "Explanation":
    """The pair. Raises NaafError where a caption has more words than a figure can show."""
    if len(pair.words) > MOST_WORDS:
        raise NaafError(
            f"the caption has {len(pair.words):,} words, and a figure shows at most {MOST_WORDS}; take the "
            "table of its words (`naaf explain --out words.csv`), or a shorter caption"
        )
    return pair


def canvas(
    split: Split, pair: "Explanation", read: Callable[[Path | None], Picture] = read_picture
) -> Canvas:
    """The picture under a pair, its boxes and the size that they count in; without boxes, plain squares."""
    if pair.boxes is None:
        return region_squares(pair.cosine.shape[1])
    size = split.picture_size(pair.image)
    return Canvas(
        read(split.image_path(pair.image)),
        pair.boxes,
        pair.boxes[:, 2:].max(axis=0) if size is None else size,
        no_picture(split.image_names, pair.image),
    )


def coloured_words(pair: "Explanation") -> str:
    """HTML: the caption, each word on the colour that `pair_page` gives it."""
    norm, colours = match_norm(pair.best_cosine, pair.boundary), style.diverging()
    spans = []
    for word, value in zip(as_shown(pair.words, pair.known), pair.best_cosine, strict=True):
        fill = colours(norm(value))
        look = f"background: {style.to_hex(fill)}; color: {style.to_hex(ink_on(fill))}; padding: 1px 3px"
        spans.append(f'<span style="{look}">{escape(word)}</span>')
    return " ".join(spans)
