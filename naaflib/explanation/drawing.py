"""A pair that was taken apart, drawn: what `Explanation.figure` returns and a notebook shows of it."""

from html import escape
from typing import TYPE_CHECKING

from ..data.splits import Split
from ..viz import style
from ..viz.attention import attention_figure, region_squares, word_region_matrix
from ..viz.captions import as_shown, ink_on, match_norm
from ..viz.pairs import pair_figure, words_figure
from ..viz.pictures import Picture, no_picture, read_picture
from ..viz.style import Figure

if TYPE_CHECKING:
    from .pairs import Explanation


def pair_page(split: Split, pair: "Explanation", title: str | None = None) -> Figure:
    """The caption in colours, the picture with the telling words' regions, a bar a word."""
    return pair_figure(
        pair.words,
        best_cosine=pair.best_cosine,
        best_region=pair.best_region,
        feature_effect=pair.feature_effect,
        relevance_effect=pair.relevance_effect,
        negative_effect=pair.negative_effect,
        boundary=pair.boundary,
        known=pair.known,
        **_canvas(split, pair),
        title=title,
    )


def attention_page(split: Split, pair: "Explanation", title: str | None = None) -> Figure:
    """Where each word looks; `<start>` and `<end>` are left out."""
    words = slice(1, -1)
    return attention_figure(
        pair.words[words],
        pair.attention[words],
        pair.effect[words],
        known=pair.known[words],
        **_canvas(split, pair),
        title=title,
    )


def matrix_page(pair: "Explanation", title: str | None = None) -> Figure:
    """All cosines of the pair, a row a word."""
    figure, axes = style.panels(height=0.17 * len(pair.words) + 0.9, title=title)
    word_region_matrix(axes[0, 0], pair.cosine, pair.words, boundary=pair.boundary)
    return figure


def words_page(pair: "Explanation", title: str | None = None) -> Figure:
    """The pair without its picture: the caption in colours, a bar a word, every word against every region."""
    return words_figure(
        pair.words,
        cosine=pair.cosine,
        feature_effect=pair.feature_effect,
        relevance_effect=pair.relevance_effect,
        negative_effect=pair.negative_effect,
        boundary=pair.boundary,
        known=pair.known,
        title=title,
    )


def _canvas(split: Split, pair: "Explanation") -> dict[str, object]:
    """The picture under a pair, its boxes and the size that they count in; without boxes, plain squares."""
    if pair.boxes is None:
        squares, whole = region_squares(pair.cosine.shape[1])
        said = "no boxes: regions row by row"
        return {"image": None, "boxes": squares, "size": whole, "instead": said}
    image: Picture = read_picture(split.image_path(pair.image))
    said = no_picture(split.image_names, pair.image)
    return {"image": image, "boxes": pair.boxes, "size": split.picture_size(pair.image), "instead": said}


def coloured_words(pair: "Explanation") -> str:
    """HTML: the caption, each word on the colour that `pair_page` gives it."""
    centre = float(pair.best_cosine.mean()) if pair.boundary is None else pair.boundary
    norm, colours = match_norm(pair.best_cosine, centre), style.diverging()
    spans = []
    for word, value in zip(as_shown(pair.words, pair.known), pair.best_cosine, strict=True):
        fill = colours(norm(value))
        look = f"background: {style.to_hex(fill)}; color: {style.to_hex(ink_on(fill))}; padding: 1px 3px"
        spans.append(f'<span style="{look}">{escape(word)}</span>')
    return " ".join(spans)
