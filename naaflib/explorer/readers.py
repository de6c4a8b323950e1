"""A model on a split, its encodings kept, so that a change of a constant costs the equations only."""

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
from ..explanation.choice import check_image
from ..files import resolve
from ..model.checkpoint import data_folder, load_checkpoint
from ..model.model import Model
from ..runs import Run, members
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
        self.cosines = lru_cache(4)(self._cosines)
        self.scores = lru_cache(64)(self._scores)
        similarity = model.similarity
        self.own = Constants(
            model.boundary.inference if similarity.needs_boundary else None,
            **{name: getattr(similarity, name, None) for name in Constants._fields[1:]},
        )

    def explain(self, state: State) -> Explanation:
        """The state's pair under the state's constants. Raises NaafError for what cannot be looked at."""
        count = len(self.model.text_encoder.words(state.caption)) - 2  # without <start> and <end>
        if count > MOST_WORDS:
            raise NaafError(f"the caption has {count} words; the explorer shows up to {MOST_WORDS}")
        check_image(state.image, self.split)
        return explain_encoded(
            self.model,
            self.split,
            state.image,
            state.caption,
            regions=self.images[state.image],
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
        return float(np.floor(20 * both.min()) / 20), float(np.ceil(20 * both.max()) / 20)

    def _words(self, caption: str) -> Tensor:
        words, _ = self.model.encode_texts([caption])
        return words[0]

    @cached_property
    def gram(self) -> Tensor:
        """(image, region, region)"""
        return self.images @ self.images.mT

    def _cosines(self, caption: str) -> Tensor:
        """(image, region, word) All cosines of the caption with the split, whatever the constants are."""
        return all_cosines(self.images, self.words(caption))

    @torch.no_grad()
    def _scores(self, caption: str, constants: Constants) -> np.ndarray:
        """(image,) Scores of the caption with every image."""
        words = self.words(caption)
        groups = pack(torch.tensor([len(words)])).to(words.device).groups
        block = Block(self.cosines(caption), self.gram, words, groups)
        scores = block_scores(self.similarity(constants), block, constants.boundary).pairs
        return scores[:, 0].cpu().numpy()


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
