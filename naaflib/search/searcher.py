"""Queries against an index: texts find images, pictures find captions; a hit can be explained.

Scores are the model's own, of vectors stored in float16. With candidates, a first stage picks so many and
their exact scores rank them.
"""

from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.splits import open_split
from ..errors import NaafError, UsageError
from ..files import shown
from .candidates import first_stage
from .index import Index, Part

BLOCK = 500  # images or captions scored at a time


@dataclass(frozen=True, repr=False)
class Hits:
    """The best answers to a query, best first: place in the index, score, name or caption."""

    query: str
    kind: str  # "image" or "caption": what was found
    places: np.ndarray
    scores: np.ndarray
    texts: list[str]
    pictures: list[Path | None]

    def __len__(self) -> int:
        return len(self.places)

    def to_frame(self) -> Any:
        """A pandas row a hit: rank from 1, score, place in the index, name of the image or caption."""
        import pandas as pd

        rows = {
            "rank": range(1, len(self) + 1),
            "score": self.scores,
            "place": self.places,
            self.kind: self.texts,
        }
        return pd.DataFrame(rows)

    def __repr__(self) -> str:
        both = zip(self.scores, self.texts, strict=True)
        lines = [f"{rank}. {score:.3f}  {text}" for rank, (score, text) in enumerate(both, 1)]
        return "\n".join([self.query, *lines])

    def _repr_html_(self) -> str:
        """A table with the pictures, where they are there."""
        from base64 import b64encode

        cells = []
        for score, text, picture in zip(self.scores, self.texts, self.pictures, strict=True):
            image = ""
            if picture is not None:
                kind = "jpeg" if picture.suffix.lower() in (".jpg", ".jpeg") else "png"
                content = b64encode(picture.read_bytes()).decode()
                image = f'<img height="120" src="data:image/{kind};base64,{content}">'
            cells.append(f"<tr><td>{score:.3f}</td><td>{image}</td><td>{escape(text)}</td></tr>")
        return f"<p>{escape(self.query)}</p><table>{''.join(cells)}</table>"


class Searcher:
    """An open index and its model."""

    def __init__(self, index: Index | str | Path) -> None:
        """Raises NaafError for a damaged index, or one whose model has changed."""
        self.index = index if isinstance(index, Index) else Index.open(index)
        self.model = self.index.model()
        self.stage = first_stage(self.index.record["stage"], self.model.settings.dim)

    def by_text(self, text: str, k: int = 10, candidates: int | None = None) -> Hits:
        """The k images that fit a text best. candidates: how many the first stage keeps; None: all."""
        _check(k, candidates)
        encoder = self.model.text_encoder
        own = set(encoder.words(text)) - set(encoder.words(""))  # without the marks of start and end
        if not any(encoder.known(word) for word in own):
            raise UsageError(
                f"the model knows no word of {text!r}; ask with words of the captions it has learnt"
            )
        words, lengths = self.model.encode_texts([text])
        places = self._kept("images", self.stage.of_words(words)[0], self.index.images, candidates)
        scores = np.concatenate(
            [
                self.model.score(self._images(part, rows), words, lengths)[:, 0].numpy()
                for part, rows in self._blocks("images", places)
            ]
            or [np.empty(0, np.float32)]
        )
        return self._hits(text, "image", places, scores, k)

    def by_image(self, image: int | str, k: int = 10, candidates: int | None = None) -> Hits:
        """The k captions that fit an image of the index best; image: its place, or its name."""
        _check(k, candidates)
        if not self.index.captions:
            raise UsageError(f"{shown(self.index.folder)} has no captions to find: its pictures came without")
        place = self._image(image)
        part, row = self._part("images", place)
        regions = self._images(part, np.array([row]))
        places = self._kept("words", self.stage.of_regions(regions)[0], self.index.captions, candidates)
        scores = np.concatenate(
            [
                self.model.score(regions, *self._captions(part, rows))[0].numpy()
                for part, rows in self._blocks("words", places)
            ]
        )
        return self._hits(f"image {part.lines('names')[row]}", "caption", places, scores, k)

    def explain(self, hits: Hits, rank: int = 1) -> Any:
        """The hit of a rank, from 1, taken apart word by word (`naaflib.explain`), from its data set."""
        from ..explanation import explain

        if hits.kind != "image":
            raise UsageError("explain takes the hits of a text")
        if not 1 <= rank <= len(hits):
            raise UsageError(f"there is no hit {rank}; the ranks are 1 to {len(hits)}")
        part, row = self._part("images", int(hits.places[rank - 1]))
        return explain(self.model, open_split(part.data, part.split, True), image=row, caption=hits.query)

    def _image(self, image: int | str) -> int:
        if isinstance(image, str):
            names = [name for part in self.index.parts for name in part.lines("names")]
            found = [place for place, name in enumerate(names) if image in (name, Path(name).name)]
            if len(found) != 1:
                many = f"{len(found)} images are" if found else "no image of the index is"
                raise UsageError(
                    f"{many} called {image}; give its place, 0 to {len(names) - 1}, or index its split"
                )
            return found[0]
        if not 0 <= image < self.index.images:
            raise UsageError(f"there is no image {image}; the index has 0 to {self.index.images - 1}")
        return int(image)

    def _kept(self, side: str, query: Tensor, total: int, candidates: int | None) -> np.ndarray:
        """Places (candidate,) that the first stage keeps, in the order of the index; all without one."""
        if candidates is None or candidates >= total:
            return np.arange(total)
        near = np.concatenate(
            [
                (torch.from_numpy(np.asarray(rows, np.float32)) @ query).numpy()
                for part in self.index.parts
                for rows in _split(part.array(f"stage.{side}"))
            ]
        )
        return np.sort(np.argpartition(-near, candidates)[:candidates])

    def _blocks(self, side: str, places: np.ndarray):
        """Parts and their rows of wanted places, some at a time."""
        first = 0
        for part in self.index.parts:
            size = len(part.images if side == "images" else part.lengths)
            rows = places[(places >= first) & (places < first + size)] - first
            first += size
            for start in range(0, len(rows), BLOCK):
                yield part, rows[start : start + BLOCK]

    def _part(self, side: str, place: int) -> tuple[Part, int]:
        part, rows = next(self._blocks(side, np.array([place])))
        return part, int(rows[0])

    def _images(self, part: Part, rows: np.ndarray) -> Tensor:
        return torch.from_numpy(np.asarray(part.images[rows], np.float32))

    def _captions(self, part: Part, rows: np.ndarray) -> tuple[Tensor, Tensor]:
        lengths = np.asarray(part.lengths[rows])
        ends = np.cumsum(part.lengths)
        padded = np.zeros((len(rows), int(lengths.max()), part.words.shape[1]), np.float32)
        for place, row in enumerate(rows):
            padded[place, : lengths[place]] = part.words[ends[row] - lengths[place] : ends[row]]
        return torch.from_numpy(padded), torch.from_numpy(lengths)

    def _hits(self, query: str, kind: str, places: np.ndarray, scores: np.ndarray, k: int) -> Hits:
        best = np.lexsort((places, -scores))[:k]  # equal scores in the order of the index
        if not np.isfinite(scores[best]).all():
            raise NaafError("the index holds vectors that are not finite; make it again")
        side = "images" if kind == "image" else "words"
        found = [self._part(side, int(place)) for place in places[best]]
        texts = [part.lines("names" if kind == "image" else "captions")[row] for part, row in found]
        images = [row if kind == "image" else row // part.captions_per_image for part, row in found]
        pictures = [
            path if (path := part.data / "images" / part.lines("names")[image]).is_file() else None
            for (part, _), image in zip(found, images, strict=True)
        ]
        return Hits(query, kind, places[best], scores[best], texts, pictures)


def _split(rows: np.ndarray, size: int = 20_000):
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _check(k: int, candidates: int | None) -> None:
    if k < 1 or (candidates is not None and candidates < k):
        of = "" if candidates is None else f" of {candidates} candidates"
        raise UsageError(f"{k} answers{of}: ask for at least 1, and no more than there are candidates")
