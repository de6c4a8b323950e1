"""From numbers to what is drawn, and to the sentences beside it. Nothing here knows a widget."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np

from ..data.splits import Split
from ..explanation import Explanation
from ..explanation.drawing import canvas
from ..viz.explorer import Page, Retrieved
from ..viz.pictures import Picture, read_picture
from ..viz.style import plain, signed
from .readers import Reader
from .state import State

STRIP = 6  # pictures of the retrieval result
LARGE, SMALL = 660, 260  # pixels of a longer side, the picture's and a thumbnail's: sharp on a fine screen


@lru_cache(64)
def read(path: Path | None) -> Picture:
    return read_picture(path, LARGE)


@dataclass(frozen=True)
class Ranking:
    """All pictures for a caption."""

    scores: np.ndarray  # (image,)
    order: np.ndarray  # images, the one that scores highest first
    right: frozenset[int]  # the images that the split has this caption for; none for one of your own

    def place(self, image: int) -> int:
        """From 1."""
        return int(np.flatnonzero(self.order == image)[0]) + 1

    def strip(self, image: int) -> list[int]:
        """The first pictures; in the last place the given one where it is not among them."""
        first = self.order[:STRIP].tolist()
        return first if image in first else [*first[:-1], image]


def rank(reader: Reader, state: State) -> Ranking:
    scores = reader.scores(state.caption, state.constants)
    split = reader.split
    right = (split.image_of(c) for c, text in enumerate(split.captions) if text == state.caption)
    return Ranking(scores, np.argsort(-scores, kind="stable"), frozenset(right))


def page(reader: Reader, state: State, pair: Explanation, ranking: Ranking | None = None) -> Page:
    """What `viz.explorer.draw` takes; the retrieval result where a ranking is given."""
    return Page(
        pair,
        canvas(reader.split, pair, read),
        state.word,
        state.overlay,
        reader.samples["matched"],
        reader.samples["mismatched"],
        title=f"{state.model}: {said(state, pair)}",
        sentence=about_word(pair, state.word),
        retrieved=None if ranking is None else retrieved(reader.split, ranking, state.image),
    )


def retrieved(split: Split, ranking: Ranking, image: int) -> Retrieved:
    images = ranking.strip(image)
    return Retrieved(
        pictures=[read(split.image_path(one)) for one in images],
        texts=[instead(split, one) for one in images],
        places=[ranking.place(one) for one in images],
        scores=[float(ranking.scores[one]) for one in images],
        right=[one in ranking.right for one in images],
        shown=[one == image for one in images],
    )


def said(state: State, pair: Explanation) -> str:
    """The picture, the score and the constants in one line."""
    softmax = state.constants.lambda_softmax
    constants = [] if softmax is None else [f"λ softmax {softmax:g}"]
    if pair.boundary is not None:
        intra = state.constants.lambda_intra
        constants.insert(0, f"boundary {plain(pair.boundary, 3)}")
        constants.append("no propagation" if intra is None else f"λ intra {intra:g}")
    under = f" ({', '.join(constants)})" if constants else ""
    return f"{pair.image_name}, score {plain(pair.score, 3)}{under}"


def about_place(ranking: Ranking, image: int) -> str:
    """Where the picture stands for the caption, and where the right one."""
    here = f"place {ranking.place(image):,} of {len(ranking.order):,} for this caption"
    if not ranking.right:
        return f"{here}; the caption is your own, so no picture is the right one"
    if image in ranking.right:
        return f"{here}, and it is the right one"
    return f"{here}; the right one has place {min(map(ranking.place, ranking.right)):,}"


def about_word(pair: Explanation, word: int) -> str:
    """One word in sentences: how near it comes, what it looks at, what it adds."""
    best, region = float(pair.best_cosine[word]), int(pair.best_region[word])
    attended = int(pair.attended_region[word])
    near = f"Largest cosine {plain(best, 3)}, with region {region}"
    if pair.boundary is not None:
        side = "above" if best > pair.boundary else "below"
        near += f": {abs(best - pair.boundary):.3f} {side} the boundary"
    parts = {name.removesuffix("_effect"): float(getattr(pair, name)[word]) for name in pair.effects}
    terms = [f"{name} {signed(value, 3)}" for name, value in parts.items() if value != 0]
    split_up = f" ({', '.join(terms)})" if len(parts) > 1 and terms else ""
    total = f"It adds {signed(pair.effect[word], 3)}{split_up}"
    looks = f"{pair.attention[word, attended]:.0%} of its attention is on region {attended}"
    sentences = [near, looks if attended >= 0 else "It attends to no region"]
    if pair.propagated[word] < 0:
        sentences.append("After propagation it lies below, so it counts as mismatched")
    elif pair.boundary is not None and best <= pair.boundary:
        sentences.append("After propagation it lies above, so no mismatch counts")
    if not pair.known[word]:
        sentences.append("The model does not know the word and reads <unk>")
    return ". ".join([*sentences, total]) + "."


def telling_word(pair: Explanation) -> int:
    """The longer word that adds most: a noun, as a rule; of a caption without longer words, the first."""
    long = [len(word) >= 4 and word.isalpha() for word in pair.words]
    return int(np.where(long, pair.effect, -np.inf).argmax()) if any(long) else 1


def thumbnails(split: Split, images: Sequence[int]) -> list[bytes | str]:
    """JPEGs, and one of the image's captions where there is no picture file."""
    paths = [split.image_path(image) for image in images]
    return [
        instead(split, image) if path is None else _jpeg(path)
        for image, path in zip(images, paths, strict=True)
    ]


def instead(split: Split, image: int) -> str:
    """What stands where there is no picture file."""
    return f"“{split.captions[split.captions_of_image(image)[0]]}”"


@lru_cache(64)
def _jpeg(path: Path) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    small = Image.fromarray(read(path))
    small.thumbnail((SMALL, SMALL))
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
