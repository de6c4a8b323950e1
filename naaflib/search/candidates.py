"""First stages: one vector an image and one a caption; their inner product picks candidates.

A caption's vector is the mean of its words, with a 1 behind it. An image's vector is, by the stage's name,

fitted: the linear function of a word (ridge regression) that comes nearest to what each of some thousand
    prototype words adds to a score with this image. Its inner product with a caption is the mean over the
    caption's words, as the score is. The prototypes are words of captions, each encoded in its own.
mean: the mean region, and 0: the plain baseline.

The same vectors serve text -> image and image -> text.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from ..errors import unknown
from ..model.model import Model
from ..similarity.matrix import all_cosines

FITTED, MEAN = STAGES = ("fitted", "mean")
PROTOTYPES = 2048
RIDGE = 1.0  # beside a sum of PROTOTYPES squares
BLOCK = 20  # images whose cosines are in memory at a time


def learn(name: str, words: Callable[[], Tensor], seed: int) -> np.ndarray | None:
    """The prototypes (prototype, dim), a seeded choice of words (W, D); None: the stage needs none."""
    if name not in STAGES:
        raise unknown("first stage", name, STAGES)
    if name == MEAN:
        return None
    known = words().numpy()
    return known[np.sort(np.random.default_rng(seed).permutation(len(known))[:PROTOTYPES])]


class Stage:
    """The first stage of an index."""

    def __init__(self, model: Model, prototypes: np.ndarray | None) -> None:
        self.model, self.size = model, model.settings.dim + 1
        self.prototypes = None if prototypes is None else torch.from_numpy(prototypes)
        if self.prototypes is not None:
            words = _with_one(self.prototypes).double()
            square = words.mT @ words + RIDGE * torch.eye(self.size, dtype=torch.float64)
            self.fit = torch.linalg.solve(square, words.mT).mT.float()  # (prototype, size)

    def of_captions(
        self, words: Float[Tensor, "word dim"], lengths: np.ndarray
    ) -> Float[Tensor, "caption size"]:
        """Of captions whose words follow one another; lengths: words of each, at least 1."""
        counts = torch.from_numpy(lengths)
        caption = torch.arange(len(counts)).repeat_interleave(counts)
        sums = words.new_zeros(len(counts), words.shape[1]).index_add_(0, caption, words)
        return _with_one(sums / counts[:, None])

    def of_images(self, regions: Float[Tensor, "image region dim"]) -> Float[Tensor, "image size"]:
        """Regions of zeros are padding."""
        if self.prototypes is None:
            there = regions.any(dim=-1).sum(dim=1).clamp(min=1)
            return pad(regions.sum(dim=1) / there[:, None], (0, 1))
        blocks = regions.split(BLOCK)
        return torch.cat([word_effects(block, self.prototypes, self.model) for block in blocks]) @ self.fit


def nearest(vectors: Float[Tensor, "row size"], query: Float[Tensor, " size"], candidates: int) -> np.ndarray:
    """Rows (candidate,), in their order, of the largest inner products."""
    return (vectors @ query).topk(min(candidates, len(vectors))).indices.sort().values.numpy()


@torch.no_grad()
def word_effects(
    regions: Float[Tensor, "image region dim"], words: Float[Tensor, "word dim"], model: Model
) -> Float[Tensor, "image word"]:
    """What each word adds to the score of a caption with an image, whatever the other words are."""
    cosine = all_cosines(regions, words)
    return model.similarity.alone(cosine, regions @ regions.mT, model.boundary.inference)


def _with_one(vectors: Float[Tensor, "row dim"]) -> Float[Tensor, "row size"]:
    return pad(vectors, (0, 1), value=1.0)
