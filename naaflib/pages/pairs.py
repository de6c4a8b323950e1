"""Images and captions to look at: picked, taken apart, drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from ..data.captions import tokenize
from ..data.inspection import region_norms
from ..data.scenes import dataset as scenes
from ..data.scenes.maker import record_path
from ..data.splits import Split
from ..errors import NaafError, UsageError
from ..evaluation import Encoded, encode_split, score_encoded, streamed_metrics
from ..evaluation.encoding import encode_captions, encode_images
from ..explanation import Explanation, explain_pairs
from ..explanation.choice import find_caption, find_image
from ..explanation.drawing import attention_page, matrix_page, pair_page, words_page
from ..model.model import Model
from ..viz.inspection import pairs_figure
from ..viz.pictures import read_picture
from ..viz.style import Figure

__all__ = ["attention_page", "matrix_page", "pair_page", "words_page"]

WORDS_COLUMNS = (  # of the table a reader sees
    "word", "feature_effect", "relevance_effect", "negative_effect", "effect",
    "best_cosine", "best_region", "attention",
)  # fmt: skip


def pick_images(split: Split, count: int, seed: int = 0) -> list[int]:
    """So many images by a seed, those with a picture file first."""
    order = np.random.default_rng(seed).permutation(len(split)).tolist()
    return sorted(order, key=lambda image: split.image_path(image) is None)[:count]


def image_sheet(split: Split, count: int = 4, seed: int = 0) -> Figure:
    """Random images with regions and captions; on scenes, the regions that a caption's words speak of."""
    images = pick_images(split, count, seed)
    links = scenes.read_links(split.folder, split.name) if known(split, "links") else None
    norms = [region_norms(split.regions[image]) for image in images]
    there = [np.isfinite(lengths) for lengths in norms]
    return pairs_figure(
        [[split.captions[caption] for caption in split.captions_of_image(image)] for image in images],
        [read_picture(split.image_path(image)) for image in images],
        names=[split.image_name(image) for image in images],
        norms=norms,
        boxes=[
            None if split.boxes is None else split.boxes[i][own] for i, own in zip(images, there, strict=True)
        ],
        sizes=[split.picture_size(image) for image in images],
        spoken=[_spoken(split, image, links) for image in images] if links else None,
    )


def _spoken(split: Split, image: int, links: list[list[list[int]]]) -> Mapping[str, np.ndarray]:
    """The words of an image's first caption that speak of a region, with the first such region's box."""
    caption = split.captions_of_image(image)[0]
    words = zip(tokenize(split.captions[caption]), links[caption], strict=True)
    by_region: dict[int, list[str]] = {}
    for word, regions in words:
        if regions and split.boxes is not None:
            by_region.setdefault(regions[0], []).append(word)
    return {" ".join(names): split.boxes[image][region] for region, names in by_region.items()}


def known(split: Split, what: str) -> bool:
    """Whether the data set has records of "links" or "foils"."""
    return record_path(split.folder, split.name, what).is_file()


@dataclass(frozen=True)
class Pairs:
    """Pairs to look at, taken apart, and their images with wrong captions."""

    split: Split
    right: list[Explanation]
    tempting: list[Explanation]  # with the wrong caption that scores highest
    unfit: list[Explanation]  # with the caption that scores lowest

    def table(self) -> pd.DataFrame:
        """A row a pair: both captions and their scores."""
        rows = [
            {
                "image": right.image_name,
                "caption": right.text,
                "score": right.score,
                "most tempting wrong caption": tempting.text,
                "its score": tempting.score,
            }
            for right, tempting in zip(self.right, self.tempting, strict=True)
        ]
        return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="pair")).round(3)

    def sentence(self) -> str:
        """How many right captions win, and how many words of each kind of caption nothing matches."""
        won = sum(one.score > other.score for one, other in zip(self.right, self.tempting, strict=True))
        said = f"The right caption scores higher in {won} of {len(self.right)} pairs."
        if self.right[0].boundary is None:
            return said
        kinds = {"right": self.right, "most tempting": self.tempting, "least fitting": self.unfit}
        counts = [f"{_unmatched(pairs)} in the {kind} captions" for kind, pairs in kinds.items()]
        return f"{said}\nWords that no region matches: {', '.join(counts)}."


def _unmatched(pairs: list[Explanation]) -> str:
    """How many words lie at or below the boundary, of how many."""
    below = sum(int((pair.best_cosine <= pair.boundary).sum()) for pair in pairs)
    return f"{below} of {sum(len(pair.words) for pair in pairs)}"


class _Chosen(NamedTuple):
    image: int
    caption: int | str | None  # None: the image's own caption that scores highest


def pick_pairs(model: Model, split: Split, pairs: str | int = 3) -> Pairs:
    """Pairs by a parameter: "3" takes so many images, each with its own caption that scores highest.

    "12:60; 40:203; 7:a dog on the grass" names image and caption: the image by its number or its file's name,
    the caption by its number or as any text. Raises UsageError for what the split does not have.
    """
    chosen = _read_pairs(str(pairs), split)
    images = [pair.image for pair in chosen]
    scores = scores_of_images(model, split, images)
    captions: list[int | str] = []
    for row, pair in zip(scores, chosen, strict=True):
        own = split.captions_of_image(pair.image)
        captions.append(own[int(row[own].argmax())] if pair.caption is None else pair.caption)
        row[own] = np.nan
    kinds = (captions, np.nanargmax(scores, axis=1), np.nanargmin(scores, axis=1))
    return Pairs(split, *(list(explain_pairs(model, split, images, chosen)) for chosen in kinds))


def _read_pairs(text: str, split: Split) -> list[_Chosen]:
    if text.strip().isdecimal():
        return [_Chosen(image, None) for image in pick_images(split, max(int(text), 1))]
    found = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        image, sign, caption = (piece.strip() for piece in part.partition(":"))
        if not sign or not image or not caption:
            raise UsageError(
                "pairs takes a number, or image:caption; image:caption; ..., such as 12:60; 40:a red star, "
                f"and {part!r} is neither"
            )
        try:
            found.append(_Chosen(find_image(image, split), find_caption(caption, split)))
        except NaafError as error:
            raise UsageError(f"pairs has {part!r}, but in the split {split.name} {error}") from None
    if not found:
        raise UsageError("pairs is empty; give a number, or image:caption; image:caption; ...")
    return found


def scores_of_images(model: Model, split: Split, images: list[int]) -> np.ndarray:
    """Scores (image, caption) of some images with every caption of the split; no other image is encoded."""
    words, packing = encode_captions(model, split.captions, split.captions_per_image)
    regions = torch.cat([encode_images(model, split, slice(image, image + 1)) for image in images])
    return score_encoded(model, Encoded(regions, words, packing), progress=False)


def retrieved_images(model: Model, split: Split) -> np.ndarray:
    """(caption,) The image that scores highest for each caption; the scores are never whole in memory."""
    return streamed_metrics(model, encode_split(model, split), split.captions_per_image).t2i.top1


def words_table(pair: Explanation) -> pd.DataFrame:
    """What each word adds and where it looks; the mean of `effect` is the score."""
    return pair.to_frame()[list(WORDS_COLUMNS)].round(3)
