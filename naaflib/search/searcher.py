"""Queries against an index: texts find images, pictures find captions; a hit can be explained.

Scores are the model's own, of vectors stored in float16. With candidates, a first stage picks so many and
their exact scores rank them.
"""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.splits import open_split
from ..errors import NaafError, UsageError
from ..files import fingerprint, resolve, shown
from ..similarity.threads import in_threads
from .candidates import Stage, nearest
from .hits import Hits
from .index import Index, Part
from .outside import described

BLOCK = 500  # captions, or images of a thread, scored at a time


class Searcher:
    """An open index and its model."""

    def __init__(self, index: Index | str | Path, features: str | None = None) -> None:
        """features: how the extractor of new pictures is named now; None: as the index records it.

        Raises NaafError for a damaged index, or one whose model has changed.
        """
        self.index = index if isinstance(index, Index) else Index.open(index)
        self.model = self.index.model()
        self.stage = Stage(self.model, self.index.learnt)
        self.features = features

    @torch.no_grad()
    def by_text(self, text: str, k: int = 10, candidates: int | None = None) -> Hits:
        """The k images that fit a text best. candidates: how many the first stage keeps; None: all."""
        _check(k, candidates)
        if not isinstance(text, str):
            raise UsageError(f"by_text takes a text, not {type(text).__name__}; by_image takes a picture")
        if not any(map(str.isalnum, text)):
            state = f"the query {text!r} has no word" if text.strip() else "the query is empty"
            raise UsageError(f"{state}; write what the pictures should show")
        encoder = self.model.text_encoder
        own = set(encoder.words(text)) - set(encoder.words(""))  # without the marks of start and end
        if not any(encoder.known(word) for word in own):
            raise UsageError(
                f"the model knows no word of {text!r}; ask with words of the captions it has learnt"
            )
        words, lengths = self.model.encode_texts([text])
        places = np.arange(self.index.images)
        if candidates is not None and candidates < len(places):
            query = self.stage.of_captions(words[0], lengths.numpy())[0]
            places = nearest(self.image_vectors, query, candidates)
        boundary, blocks = self.model.boundary.inference, list(self._blocks("images", places))
        scores: list[np.ndarray] = [np.empty(0)] * len(blocks)

        @torch.no_grad()
        def score(block: int) -> None:
            """Of one caption the readable form is the fast one: a few words in many images."""
            parts = self.model.similarity.parts(_images(*blocks[block]), words[0], boundary)
            scores[block] = parts.score.numpy()

        in_threads(score, range(len(blocks)))
        return self._hits(text, "image", places, np.concatenate(scores), k)

    @torch.no_grad()
    def by_image(self, image: int | str | Path, k: int = 10, candidates: int | None = None) -> Hits:
        """The k captions that fit an image best.

        image: a place in the index, the name of an image of the index, or a picture file anywhere, which is
        read and described as the indexed pictures were. Where a text is both, the index's image is meant;
        a Path always means the file. Raises NaafError for a file where the index does not record what
        described its pictures (`outside.described`), UsageError for what is neither.
        """
        _check(k, candidates)
        place = None if isinstance(image, Path) else self._image(image)
        if place is None:
            file = resolve(str(image))
            regions = self.model.encode_images(described(file, self.index.parts, self.features))
            query = f"file {shown(file)}"
        else:
            part, row = self._part("images", place)
            regions, query = _images(part, np.array([row])), f"image {part.names[row]}"
        return self.by_regions(regions, query, k, candidates)

    @torch.no_grad()
    def by_regions(self, regions: Tensor, query: str, k: int = 10, candidates: int | None = None) -> Hits:
        """`by_image` of encoded regions (1, R, D), called `query` in the answer."""
        if not self.index.captions:
            raise UsageError(
                f"{shown(self.index.folder)} has no captions to find: its pictures came without; ask with "
                "a text, or import the pictures with --captions and index them so"
            )
        places = np.arange(self.index.captions)
        if candidates is not None and candidates < len(places):
            vector = self.stage.of_images(regions)[0]
            places = nearest(self.caption_vectors, vector, candidates)
        scores = [
            self.model.score(regions, *_captions(part, rows))[0].numpy()
            for part, rows in self._blocks("words", places)
        ]
        return self._hits(query, "caption", places, np.concatenate(scores), k)

    def explain(self, hits: Hits, rank: int = 1) -> Any:
        """The hit of a rank, from 1, taken apart word by word (`naaflib.explain`), from its data set.

        Raises NaafError where the data set has moved or changed since it was indexed.
        """
        from ..explanation import explain

        if hits.kind != "image":
            raise UsageError("explain takes the hits of a text")
        if not 1 <= rank <= len(hits):
            raise UsageError(f"there is no hit {rank}; the ranks are 1 to {len(hits)}")
        part, row = self._part("images", int(hits.places[rank - 1]))
        if not part.data.is_dir():
            raise NaafError(
                f"{shown(part.data)}, which {shown(self.index.folder)} was made from, is not there any more; "
                "explaining needs its features: move it back, or index it where it is now (naaf "
                "index RUN --data DIR), which renews the path"
            )
        split = open_split(part.data, part.split, without_captions=True)
        if fingerprint(split.regions.path) != part.features_seen:
            raise NaafError(
                f"{shown(split.regions.path)} has changed since {shown(self.index.folder)} was made; "
                "make the index again"
            )
        return explain(self.model, split, image=row, caption=hits.query)

    @cached_property
    def image_vectors(self) -> Tensor:
        """Of the first stage, in memory from the first query that needs them."""
        return torch.cat([torch.from_numpy(part.stage_images).float() for part in self.index.parts])

    @cached_property
    def caption_vectors(self) -> Tensor:
        return torch.cat([torch.from_numpy(part.stage_words).float() for part in self.index.parts])

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        """Where the images of a name, or of a file's base name, stand."""
        found: dict[str, list[int]] = {}
        first = 0
        for part in self.index.parts:
            for row, name in enumerate(part.names, first):
                for key in {name, name.rpartition("/")[2]}:
                    found.setdefault(key, []).append(row)
            first += len(part.names)
        return found

    def _image(self, image: int | str) -> int | None:
        """The place of an image of the index; None where a picture file is meant."""
        if isinstance(image, str):
            found = self._places.get(image, [])
            if len(found) == 1:
                return found[0]
            if not found and resolve(image).exists():
                return None
            raise UsageError(
                f"{len(found)} images are called {image}; give its place, 0 to {self.index.images - 1}"
                if found
                else f"no image of the index is called {image}, and no file either; give a picture file, or "
                f"an image's place, 0 to {self.index.images - 1}"
            )
        if not 0 <= image < self.index.images:
            raise UsageError(f"there is no image {image}; the index has 0 to {self.index.images - 1}")
        return int(image)

    def _blocks(self, side: str, places: np.ndarray) -> Iterator[tuple[Part, np.ndarray]]:
        """Parts and their rows of wanted places, some at a time."""
        first = 0
        for part in self.index.parts:
            size = len(part.images if side == "images" else part.lengths)
            rows = places[slice(*np.searchsorted(places, [first, first + size]))] - first
            first += size
            for start in range(0, len(rows), BLOCK):
                yield part, rows[start : start + BLOCK]

    def _part(self, side: str, place: int) -> tuple[Part, int]:
        part, rows = next(self._blocks(side, np.array([place])))
        return part, int(rows[0])

    def _hits(self, query: str, kind: str, places: np.ndarray, scores: np.ndarray, k: int) -> Hits:
        if not np.isfinite(scores).all():
            raise NaafError(f"{shown(self.index.folder)} holds vectors that are not finite; make it again")
        best = np.lexsort((places, -scores))[:k]  # equal scores in the order of the index
        found = [self._part("images" if kind == "image" else "words", int(place)) for place in places[best]]
        texts = [(part.names if kind == "image" else part.captions)[row] for part, row in found]
        images = [row if kind == "image" else row // part.captions_per_image for part, row in found]
        pictures = [
            path if (path := part.data / "images" / part.names[image]).is_file() else None
            for (part, _), image in zip(found, images, strict=True)
        ]
        return Hits(query, kind, places[best], scores[best], texts, pictures)


def _images(part: Part, rows: np.ndarray) -> Tensor:
    return torch.from_numpy(part.images[rows]).float()


def _captions(part: Part, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Padded words (C, L, D) and lengths (C,)."""
    lengths = part.lengths[rows]
    within = np.arange(lengths.max()) < lengths[:, None]
    caption, position = np.nonzero(within)
    padded = torch.zeros(*within.shape, part.words.shape[1])
    found = torch.from_numpy(part.words[part.starts[rows][caption] + position])
    padded[torch.from_numpy(within)] = found.float()
    return padded, torch.from_numpy(lengths)


def _check(k: int, candidates: int | None) -> None:
    if k < 1:
        raise UsageError(f"{k} answers: ask for at least 1")
    if candidates is not None and candidates < k:
        raise UsageError(f"{k} answers of {candidates} candidates: keep at least as many as are asked for")
