"""A model on a split or an index, its encodings kept: a change of a constant costs the equations only.

Images are numbered as in the split, or by their place in the index.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.splits import Split, evaluation_split, open_split
from ..errors import NaafError, UsageError
from ..explanation import Explanation, explain_encoded, matched_samples
from ..explanation.choice import check_image, find_image
from ..files import resolve
from ..model.checkpoint import data_folder, load_checkpoint
from ..model.model import Model
from ..runs import Run, members
from ..search import Hits, Searcher
from ..search.places import Places
from ..similarity import Similarity
from ..similarity.base import Block
from ..similarity.matrix import all_cosines, block_scores
from ..similarity.packing import pack
from .state import Constants, State

CHUNK = 128  # images encoded at a time
SAMPLED = 128  # pairs of the split that this pair is compared with
MOST_WORDS = 60  # of a caption

Source = Run | Model | str | Path


class Reader:
    """One model on one split. Images are encoded when the first ranking needs them, captions one by one."""

    def __init__(self, name: str, model: Model, split: Split):
        self.name, self.model, self.split = name, model, split
        self.words = lru_cache(64)(self._words)
        self.block = lru_cache(4)(self._block)
        self.scores = lru_cache(64)(self._scores)
        similarity = model.similarity
        self.own = Constants(
            model.boundary.inference if similarity.needs_boundary else None,
            **{name: getattr(similarity, name, None) for name in Constants._fields[1:]},
        )

    def __len__(self) -> int:
        return len(self.split)

    def at(self, image: int) -> tuple[Split, int]:
        """The split of an image and its row there. Raises NaafError for an image that is not there."""
        check_image(image, self.split)
        return self.split, image

    def find(self, text: str) -> int:
        """An image by its number or its file's name. Raises NaafError for neither."""
        return find_image(text, self.split)

    def right(self, caption: str) -> frozenset[int]:
        """The images that the data has this caption for."""
        own = (c for c, text in enumerate(self.split.captions) if text == caption)
        return frozenset(self.split.image_of(c) for c in own)

    def regions(self, image: int) -> Tensor:
        """(region, dim)"""
        return self.images[image]

    def explain(self, state: State) -> Explanation:
        """The state's pair under the state's constants. Raises NaafError for what cannot be looked at."""
        count = len(self.model.text_encoder.words(state.caption)) - 2  # without <start> and <end>
        if count > MOST_WORDS:
            raise NaafError(f"the caption has {count} words; the explorer shows up to {MOST_WORDS}")
        split, row = self.at(state.image)
        return explain_encoded(
            self.model,
            split,
            row,
            state.caption,
            regions=self.regions(state.image),
            words=self.words(state.caption),
            similarity=self.similarity(state.constants),
            boundary=state.constants.boundary,
        )

    def similarity(self, constants: Constants) -> Similarity:
        """The model's, with those of the constants that it has."""
        own = self.model.similarity
        return replace(
            own, **{name: value for name, value in constants._asdict().items() if hasattr(own, name)}
        )

    @cached_property
    def images(self) -> Tensor:
        """(image, region, dim) All images of the split."""
        starts = range(0, len(self.split), CHUNK)
        chunks = [np.arange(start, min(start + CHUNK, len(self.split))) for start in starts]
        return torch.cat(
            [self.model.encode_images(torch.from_numpy(self.split.regions.gather(c))) for c in chunks]
        )

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """The split's matched and mismatched words."""
        return matched_samples(self.model, self.split, pairs=SAMPLED)

    @property
    def reach(self) -> tuple[float, float]:
        """The boundaries worth trying: the span of the split's words."""
        both = np.concatenate([self.samples["matched"], self.samples["mismatched"]])
        if not len(both):
            return 0.0, 1.0
        return float(np.floor(20 * both.min()) / 20), float(np.ceil(20 * both.max()) / 20)

    def _words(self, caption: str) -> Tensor:
        words, _ = self.model.encode_texts([caption])
        return words[0]

    @cached_property
    def gram(self) -> Tensor:
        """(image, region, region)"""
        return self.images @ self.images.mT

    @torch.no_grad()
    def _block(self, caption: str) -> Block:
        """All that the caption's scores need, whatever the constants are."""
        return _block_of(self.images, self.gram, self.words(caption))

    def _scores(self, caption: str, constants: Constants) -> np.ndarray:
        """(image,) Scores of the caption with every image; -inf for one that is not scored."""
        return self._of_block(caption, constants)

    @torch.no_grad()
    def _of_block(self, caption: str, constants: Constants) -> np.ndarray:
        block, similarity = self.block(caption), self.similarity(constants)
        return block_scores(similarity, block, constants.boundary).pairs[:, 0].cpu().numpy()


class IndexReader(Reader):
    """A searcher's model on its index. Of more than `limit` images, a caption scores so many candidates."""

    def __init__(self, name: str, searcher: Searcher, limit: int):
        self.places, self.searcher, self.limit = Places(searcher.index), searcher, limit
        with_captions = (split for split in self.places.splits if split.captions)
        super().__init__(name, searcher.model, next(with_captions, self.places.splits[0]))
        self.hits = lru_cache(4)(self._hits)
        self.at, self.find, self.right = self.places.at, self.places.find, self.places.of_caption

    def __len__(self) -> int:
        return len(self.places)

    def regions(self, image: int) -> Tensor:
        return self.places.regions([image])[0]

    def explain(self, state: State) -> Explanation:
        self.hits(state.caption)  # raises for a caption that cannot be searched, before anything is shown
        return super().explain(state)

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """Of the first part that has captions; nothing where none has."""
        if self.split.captions:
            return matched_samples(self.model, self.split, pairs=SAMPLED)
        return dict.fromkeys(("matched", "mismatched"), np.empty(0))

    def _hits(self, caption: str) -> Hits:
        count = min(len(self), self.limit)
        return self.searcher.by_text(caption, count, count if count < len(self) else None)

    def _block(self, caption: str) -> Block:
        images = self.places.regions(self.hits(caption).places)
        return _block_of(images, images @ images.mT, self.words(caption))

    def _scores(self, caption: str, constants: Constants) -> np.ndarray:
        """As the searcher scores; under other constants its candidates are scored anew."""
        hits, scores = self.hits(caption), np.full(len(self), -np.inf, np.float32)
        scores[hits.places] = hits.scores if constants == self.own else self._of_block(caption, constants)
        return scores


def _block_of(images: Tensor, gram: Tensor, words: Tensor) -> Block:
    groups = pack(torch.tensor([len(words)])).to(words.device).groups
    return Block(all_cosines(images, words), gram, words, groups)


def named_sources(run: Source | Sequence[Source]) -> dict[str, Model | Run | Path]:
    """The models that are to be explored, by the names that the explorer shows."""
    sources = [run] if isinstance(run, Run | Model | str | Path) else list(run)
    if not sources:
        raise UsageError("there is no run to explore; name one, such as outputs/demo")
    found: dict[str, Model | Run | Path] = {}
    for source in sources:
        for name, one in _models(source):
            same = sum(known == name or known.startswith(f"{name} (") for known in found)
            found[f"{name} ({same + 1})" if same else name] = one
    return found


def first_group(found: Mapping[str, Model | Run | Path]) -> list[Run]:
    """The first source, if it is a run, and the members of its group; they stand first."""
    sources = list(found.values())
    first = sources[0]
    if not isinstance(first, Run):
        return []
    beside = [one for one in sources if isinstance(one, Run) and one.path.parent == first.path.parent]
    return beside if first.path.parent.name == "members" else [first]


def open_readers(
    found: Mapping[str, Model | Run | Path], data: str | Path | Split | None, split: str | None, limit: int
) -> dict[str, Callable[[], Reader]]:
    """What opens each model, by its name: a model is read when it is first looked at."""
    opened = _split(next(iter(found.values())), data, split).first(limit)
    return {name: _opener(name, one, opened) for name, one in found.items()}


def _opener(name: str, source: Model | Run | Path, split: Split) -> Callable[[], Reader]:
    def read() -> Reader:
        model = source if isinstance(source, Model) else load_checkpoint(getattr(source, "path", source))
        return Reader(name, model, split)

    return lru_cache(1)(read)


def _models(source: Source) -> list[tuple[str, Model | Run | Path]]:
    """Named: a model is itself, a file its checkpoint, a run its trained members."""
    if isinstance(source, Model):
        return [("model", source)]
    path = source.path if isinstance(source, Run) else resolve(source)
    return [(path.stem, path)] if path.is_file() else [(run.name, run) for run in members(path)]


def _split(source: Model | Run | Path, data: str | Path | Split | None, split: str | None) -> Split:
    """The open split, or one of the named folder, or of the folder that the run was made with."""
    if isinstance(data, Split):
        return data
    folder = data_folder(source, data)
    return open_split(folder, split or evaluation_split(folder))
