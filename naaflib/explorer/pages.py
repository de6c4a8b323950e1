"""From numbers to what is drawn, and to the sentences beside it. Nothing here knows a widget."""

from collections.abc import Iterable, Sequence
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
    """All pictures for a caption, or those of a large index that its first stage keeps."""

    scores: np.ndarray  # (image,) -inf for a picture that is not scored
    order: np.ndarray  # images that are ranked, the one that scores highest first
    right: frozenset[int]  # the images that the data has this caption for; none for one of your own

    def place(self, image: int) -> int | None:
        """From 1; None for a picture that is not ranked."""
        found = np.flatnonzero(self.order == image)
        return int(found[0]) + 1 if len(found) else None

    def best(self, images: Iterable[int]) -> int:
        """The one of some images that stands first."""
        return min(images, key=lambda image: self.place(image) or len(self.scores) + 1)

    def strip(self, image: int) -> list[int]:
        """The first pictures; in the last place the given one where it is not among them."""
        first = self.order[:STRIP].tolist()
        return first if image in first else [*first[:-1], image]


def rank(reader: Reader, state: State, pair: Explanation) -> Ranking:
    """The state's pictures; its own, where it is not among the candidates, has its score but no place."""
    scores = reader.scores(state.caption, state.constants)
    order = np.argsort(-scores, kind="stable")[: np.isfinite(scores).sum()]
    if not np.isfinite(scores[state.image]):
        scores = scores.copy()
        scores[state.image] = pair.score
    return Ranking(scores, order, reader.right(state.caption))


def page(reader: Reader, state: State, pair: Explanation, ranking: Ranking | None = None) -> Page:
    """What `viz.explorer.draw` takes; the retrieval result where a ranking is given."""
    return Page(
        pair,
        canvas(pair.split, pair, read),
        state.word,
        state.overlay,
        reader.samples["matched"],
        reader.samples["mismatched"],
        title=f"{state.model}: {said(state, pair)}",
        sentence=about_word(pair, state.word),
        retrieved=None if ranking is None else retrieved(reader, ranking, state.image),
    )


def retrieved(reader: Reader, ranking: Ranking, image: int) -> Retrieved:
    images = ranking.strip(image)
    rows = [reader.at(one) for one in images]
    return Retrieved(
        pictures=[read(split.image_path(row)) for split, row in rows],
        texts=[instead(split, row) for split, row in rows],
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
    ranked, images, place = len(ranking.order), len(ranking.scores), ranking.place(image)
    among = f"of {images:,}" if ranked == images else f"among {ranked:,} candidates of {images:,}"
    here = f"place {place:,} {among}" if place else f"not {among}"
    here = f"{here} for this caption"
    if not ranking.right:
        return f"{here}; the caption is your own, so no picture is the right one"
    if image in ranking.right:
        return f"{here}, and it is the right one"
    first = ranking.place(ranking.best(ranking.right))
    return f"{here}; the right one " + (f"has place {first:,}" if first else "is not among them")


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


def thumbnails(reader: Reader, images: Sequence[int]) -> list[bytes | str]:
    """JPEGs, and one of the image's captions where there is no picture file."""
    rows = [reader.at(image) for image in images]
    paths = [split.image_path(row) for split, row in rows]
    return [instead(*row) if path is None else _jpeg(path) for row, path in zip(rows, paths, strict=True)]


def label(place: int | None, score: float) -> str:
    """Place and score of a picture in the strip."""
    return f"{place:,}.  {plain(score, 3)}" if place else f"–  {plain(score, 3)}"


def instead(split: Split, image: int) -> str:
    """What stands where there is no picture file."""
    own = split.captions_of_image(image)
    return f"“{split.captions[own[0]]}”" if own else split.image_name(image)


@lru_cache(64)
def _jpeg(path: Path) -> bytes:
    from PIL import Image

    buffer = BytesIO()
    small = Image.fromarray(read(path))
    small.thumbnail((SMALL, SMALL))
    small.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
