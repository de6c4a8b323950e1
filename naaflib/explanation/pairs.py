"""The score of an image-caption pair attributed to words and regions; the parts add up to the score."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from ..data.captions import tokenize
from ..data.manifest import data_name
from ..data.splits import Split, evaluation_split, open_split
from ..errors import NaafError, unknown
from ..model.checkpoint import data_folder, load_checkpoint
from ..model.model import Model
from ..runs import Run
from ..similarity import Similarity
from ..similarity.base import Parts, pair_parts
from ..similarity.methods import kind_of
from .choice import check_caption, check_image, find_pair

if TYPE_CHECKING:
    from ..viz.style import Figure

CHUNK = 256  # pairs encoded and taken apart at a time
EFFECTS = ("feature_effect", "relevance_effect", "negative_effect")  # of a word; together its `effect`


@dataclass(frozen=True, repr=False)
class Explanation:
    """One pair. Arrays: word, or (word, region); `<start>` and `<end>` are the first and the last word.

    NAAF: `score` is the mean over the words of feature_effect + relevance_effect + negative_effect.
    SCAN with mean pooling: the mean of feature_effect, the only one it has (its attention stands in
    feature_weight). scan-t2i: the word's cosine with what it attends to. scan-i2t: the word's share of the
    regions' cosines, which stand in region_effect. With LogSumExp pooling the effects are what the pooling
    sees, and their mean is not the score.
    """

    image: int
    caption: int | None  # its index in the split; None for a caption given as text
    own: bool | None  # whether the split has the caption for this image; None for a text
    image_name: str
    text: str
    words: tuple[str, ...]
    known: np.ndarray  # whether the vocabulary holds the word; an unknown one is read as <unk>
    method: str
    score: float
    boundary: float | None  # of inference; None for SCAN
    cosine: np.ndarray  # NaN: the region is padding (features of zero) and takes no part
    feature_weight: np.ndarray  # rows sum to 1; a row of 0: no region above the boundary
    relevance_weight: np.ndarray  # rows sum to 1
    feature_effect: np.ndarray
    relevance_effect: np.ndarray
    negative_effect: np.ndarray
    propagated: np.ndarray  # eq. 8: below 0 the word counts as mismatched; NaN for SCAN
    region_effect: np.ndarray  # (region,), scan-i2t only; NaN otherwise, and of padding
    boxes: np.ndarray | None  # (region, 4): x1, y1, x2, y2 in pixels
    size: np.ndarray | None  # width, height of the picture that the boxes count in
    split: Split = field(compare=False)  # that the image is of

    def sentence(self) -> str:
        """What was taken apart and its score, in three lines."""
        whose = "its own" if self.own else "another's"
        own = "" if self.caption is None else f" {self.caption}, {whose}"
        boundary = "" if self.boundary is None else f", boundary {self.boundary:.4f}"
        return (
            f"{data_name(self.split.folder)} {self.split.name}, image {self.image} ({self.image_name})\n"
            f"caption{own}: {self.text}\n"
            f"{self.method}{boundary}, score {self.score:.4f}"
        )

    def __repr__(self) -> str:
        return self.sentence()

    def _repr_html_(self) -> str:
        from .drawing import coloured_words

        table = self.to_frame()[["word", "effect", "best_cosine", "best_region", "attended_region"]]
        rows = table.to_html(index=False, float_format="{:.3f}".format)
        return (
            f"<p>{escape(self.sentence()).replace(chr(10), '<br>')}</p><p>{coloured_words(self)}</p>"
            f'<div style="max-height: 24em; overflow: auto">{rows}</div>'
        )

    def figure(self, show: str = "picture", title: str | None = None) -> "Figure":
        """The pair drawn. show: "picture" (its regions and the words' effects), "words" (the effects beside
        all cosines) or "attention" (where each word looks). Raises UsageError for another.
        """
        from . import drawing

        pages = {
            "picture": partial(drawing.pair_page, self.split),
            "words": drawing.words_page,
            "attention": partial(drawing.attention_page, self.split),
        }
        if show not in pages:
            raise unknown("figure", show, pages)
        return pages[show](self, title)

    @property
    def effects(self) -> tuple[str, ...]:
        """The effects that the method has; the others are 0 for every word."""
        return kind_of(self.method).effects

    @property
    def effect(self) -> np.ndarray:
        """(word,) What each word adds, all parts together."""
        return self.feature_effect + self.relevance_effect + self.negative_effect

    @property
    def attention(self) -> np.ndarray:
        """(word, region) Feature weight plus relevance weight, scaled so that a word's weights sum to 1.

        A row of 0 where neither effect counts, or the only one that does finds no region.
        """
        both = self.feature_weight + self.relevance_weight
        total = both.sum(axis=1, keepdims=True)
        return both / np.where(total > 0, total, 1)

    @property
    def attended_region(self) -> np.ndarray:
        """(word,) The region with the largest attention; -1 for a word that attends to none."""
        weight = self.attention
        return np.where(weight.any(axis=1), weight.argmax(axis=1), -1)

    @property
    def best_region(self) -> np.ndarray:
        """(word,) The region with the largest cosine."""
        return np.nanargmax(self.cosine, axis=1)

    @property
    def best_cosine(self) -> np.ndarray:
        return np.nanmax(self.cosine, axis=1)

    def word_columns(self) -> dict[str, object]:
        """The columns of `to_frame`."""
        names = ("known", *EFFECTS, "effect", "propagated", "best_region", "best_cosine", "attended_region")
        found = {name: getattr(self, name) for name in names}
        return {"word": self.words, **found, "attention": self.attention.max(axis=1)}

    def region_columns(self) -> dict[str, object]:
        """The columns of `regions_frame`."""
        words, regions = self.cosine.shape
        names = ("cosine", "feature_weight", "relevance_weight", "attention")
        columns: dict[str, object] = {
            "word_index": np.repeat(np.arange(words), regions),
            "word": np.repeat(np.array(self.words, dtype=object), regions),
            "region": np.tile(np.arange(regions), words),
            **{name: getattr(self, name).ravel() for name in names},
        }
        if not np.isnan(self.region_effect).all():
            columns["region_effect"] = np.tile(self.region_effect, words)
        if self.boxes is not None:
            columns |= dict(zip(("x1", "y1", "x2", "y2"), np.tile(self.boxes, (words, 1)).T, strict=True))
        return columns

    def to_frame(self) -> pd.DataFrame:
        """One row a word."""
        return pd.DataFrame(self.word_columns())

    def regions_frame(self) -> pd.DataFrame:
        """One row a word and region; boxes where the split has them."""
        return pd.DataFrame(self.region_columns())


def explain(
    model: Model | Run | str | Path,
    split: Split | str | Path | None = None,
    image: int | str | None = None,
    caption: int | str | None = None,
) -> Explanation:
    """One pair taken apart.

    model: a model, a run or its folder, or a checkpoint. split: an open split, or a data set's folder, whose
    test is taken, else dev; None: the folder that the run records. image: its index in the split or its
    file's name; None: the one that the caption is of, the first for a text. caption: its index in the split,
    or any text; None: the image's first.
    Raises NaafError for what cannot be opened, an index or a name that the split lacks, a text without words
    and a model without a vocabulary.
    """
    opened = model if isinstance(model, Model) else load_checkpoint(getattr(model, "path", model))
    if not isinstance(split, Split):
        folder = data_folder(model, split)
        split = open_split(folder, evaluation_split(folder))
    return next(explain_pairs(opened, split, *([one] for one in find_pair(split, image, caption))))


@torch.no_grad()
def explain_encoded(
    model: Model,
    split: Split,
    image: int,
    caption: int | str,
    *,
    regions: Float[Tensor, "region dim"],
    words: Float[Tensor, "word dim"],
    similarity: Similarity | None = None,
    boundary: float | None = None,
) -> Explanation:
    """`explain` of a pair that the model has encoded before.

    similarity, boundary: None for the model's own.
    regions: of the image; words: of the caption, `<start>` and `<end>` included. Raises as `explain` does.
    """
    check_image(image, split)
    similarity = similarity or model.similarity
    boundary = model.boundary.inference if boundary is None else boundary
    parts = Parts(*(value.cpu() for value in pair_parts(similarity, regions, words, boundary)))
    return _explanation(model, split, image, caption, caption_text(split, caption), parts, boundary)


def explain_pairs(
    model: Model, split: Split, images: Sequence[int] | np.ndarray, captions: Sequence[int | str] | np.ndarray
) -> Iterator[Explanation]:
    """The pairs (images[k], captions[k]) in their order, computed in batches of captions of equal length.

    Every caption with its own image: `explain_pairs(model, split, split.image_of_caption,
    range(len(split.captions)))`. Raises NaafError as `explain` does, before the first result.
    """
    if len(images) != len(captions):
        raise NaafError(
            f"{len(images)} images and {len(captions)} captions are no pairs; give as many of each"
        )
    if model.vocabulary is None:
        raise NaafError(
            "this checkpoint came without a vocabulary; name its JSON (--vocabulary) to read captions"
        )
    for image in images:
        check_image(image, split)
    texts = [caption_text(split, caption) for caption in captions]
    return _explained(model, split, images, captions, texts)


def caption_text(split: Split, caption: int | np.integer | str) -> str:
    """A caption of the split, or the text itself. Raises NaafError for none such and a text without words."""
    if not isinstance(caption, str):
        return split.captions[check_caption(caption, split)]
    if not tokenize(caption):
        raise NaafError("the caption has no words; write at least one")
    return caption


def _explained(model: Model, split: Split, images, captions, texts: list[str]) -> Iterator[Explanation]:
    for start in range(0, len(texts), CHUNK):
        rows = slice(start, start + CHUNK)
        some = np.asarray(images[rows], dtype=np.int64)
        parts = chunk_parts(model, split, some, texts[rows])
        for image, caption, text, part in zip(some, captions[rows], texts[rows], parts, strict=True):
            yield _explanation(model, split, int(image), caption, text, part, model.boundary.inference)


@torch.no_grad()
def chunk_parts(model: Model, split: Split, images: np.ndarray, texts: Sequence[str]) -> list[Parts]:
    """The parts of some pairs, in their order; one pass a caption length."""
    used, place = np.unique(images, return_inverse=True)
    regions = model.encode_images(torch.from_numpy(split.regions.gather(used)))
    words, lengths = model.encode_texts(texts)
    one = partial(pair_parts, model.similarity, boundary=model.boundary.inference)
    parts: list[Parts | None] = [None] * len(texts)
    for length in lengths.unique().tolist():
        rows = torch.nonzero(lengths == length).flatten()
        whole = torch.vmap(one)(regions[torch.from_numpy(place)[rows]], words[rows, :length])
        columns = [value.cpu() for value in whole]
        for k, row in enumerate(rows.tolist()):
            parts[row] = Parts(*(column[k] for column in columns))
    return parts


def _explanation(
    model: Model,
    split: Split,
    image: int,
    caption: int | np.integer | str,
    text: str,
    parts: Parts,
    boundary: float,
) -> Explanation:
    words = model.text_encoder.words(text)
    values = {name: value.numpy() for name, value in parts._asdict().items()}
    return Explanation(
        image=image,
        caption=None if isinstance(caption, str) else int(caption),
        own=None if isinstance(caption, str) else int(caption) in split.captions_of_image(image),
        image_name=split.image_name(image),
        text=text,
        words=words,
        known=np.array([model.text_encoder.known(word) for word in words]),
        method=model.settings.method,
        score=float(values.pop("score")),
        boundary=boundary if model.similarity.needs_boundary else None,
        boxes=None if split.boxes is None else np.asarray(split.boxes[image]),
        size=None if split.sizes is None else np.asarray(split.sizes[image]),
        split=split,
        **values,
    )
