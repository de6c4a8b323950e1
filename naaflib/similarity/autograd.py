"""NAAF's scores as one differentiable function, whichever form computes them.

Forward and backward go through the images block by block: by the fused kernels where numba is installed
(float32 on a CPU), else by the vectorised form of `packed`, the kernels' oracle. The backward pass keeps
the cosines alone and recomputes the rest: autograd would keep a dozen arrays of their size. Neither form can
be differentiated twice, and both refuse it; `similarity.naaf_score` can be.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from types import ModuleType
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import UsageError
from .base import ALL_EFFECTS, Effects, Groups
from .packed import block_gradient, block_scores, caption_lengths, over_words, table_starts

BLOCK_COSINES = 500_000  # cosines reduced at a time on a CPU
RUN_WORDS = 1024  # words of an image that a kernel reduces at a time, or one group that has more


def naaf_scores(
    cosine: Float[Tensor, "image region word"],
    gram: Float[Tensor, "image region region"],
    boundary: Float[Tensor, " word"],
    groups: Groups,
    lambda_softmax: float,
    intra: Tensor | None = None,
    counted: Effects = ALL_EFFECTS,
) -> tuple[Float[Tensor, "image caption"], Float[Tensor, "image word"]]:
    """Scores in packed order, differentiable by cosine and gram; each word's best cosine (no gradient)."""
    apply: Callable[..., tuple[Tensor, Tensor]] = NaafScores.apply
    return apply(cosine, gram, boundary, groups, lambda_softmax, intra, counted)


class NaafScores(torch.autograd.Function):
    """Scores (image, packed caption) and best cosines (image, word) of cosines (image, region, word)."""

    @staticmethod
    def forward(
        ctx: Any,
        cosine: Tensor,
        gram: Tensor,
        boundary: Tensor,
        groups: Groups,
        lambda_softmax: float,
        intra: Tensor | None,
        counted: Effects,
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(cosine, gram, boundary)
        ctx.rest = groups, lambda_softmax, intra, counted
        scores, best, ctx.below = forward_scores(cosine, gram, boundary, *ctx.rest)
        ctx.mark_non_differentiable(best)
        return scores, best

    @staticmethod
    def backward(ctx: Any, by_score: Tensor, _by_best: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph; once_differentiable would miss a plain sum of scores
            raise UsageError(
                "create_graph asks for second derivatives, which NAAF's fast scores do not have, also "
                "with NAAF_FUSED=0; take the readable naaflib.similarity.naaf_score, one caption at a time"
            )
        cosine, gram, boundary = ctx.saved_tensors
        groups, lambda_softmax, intra, counted = ctx.rest
        share = by_score / caption_lengths(groups, by_score)
        if ctx.below is not None:
            fixed = groups, lambda_softmax, counted, ctx.below
            return *fused_gradients(share, cosine, gram, boundary, *fixed), *[None] * 5
        by_cosine, by_gram = torch.empty_like(cosine), torch.empty_like(gram)
        share = over_words(share, groups)
        for rows in image_blocks(cosine):
            by_cosine[rows], by_gram[rows] = block_gradient(
                share[rows], cosine[rows], gram[rows], boundary, groups, lambda_softmax, intra, counted
            )
        return by_cosine, by_gram, *[None] * 5


def forward_scores(
    cosine: Float[Tensor, "image region word"],
    gram: Float[Tensor, "image region region"],
    boundary: Float[Tensor, " word"],
    groups: Groups,
    lambda_softmax: float,
    intra: Tensor | None = None,
    counted: Effects = ALL_EFFECTS,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Scores and best cosines; from the kernels also where the negative effect counts (image, word)."""
    if use_fused(cosine, lambda_softmax):
        return fused_scores(cosine, gram, boundary, groups, lambda_softmax, intra, counted)
    parts = [
        block_scores(cosine[rows], gram[rows], boundary, groups, lambda_softmax, intra, counted)
        for rows in image_blocks(cosine)
    ]
    scores, best = (torch.cat(part) for part in zip(*parts, strict=True))
    return scores, best, None


@cache
def kernels() -> ModuleType | None:
    """The fused kernels, where numba is installed and NAAF_FUSED is not 0."""
    if os.environ.get("NAAF_FUSED") == "0" or find_spec("numba") is None:
        return None
    return import_module(".kernels", __package__)


def use_fused(cosine: Tensor, lambda_softmax: float) -> bool:
    """Whether the kernels take these cosines."""
    module = kernels() if cosine.device.type == "cpu" and cosine.dtype == torch.float32 else None
    return module is not None and lambda_softmax <= module.LARGEST_LAMBDA


def fused_scores(
    cosine: Tensor,
    gram: Tensor,
    boundary: Tensor,
    groups: Groups,
    lambda_softmax: float,
    intra: Tensor | None,
    counted: Effects,
) -> tuple[Tensor, Tensor, Tensor]:
    """block_scores by the kernels, and where the negative effect counts (image, word)."""
    captions = sum(g.captions for g in groups)
    sums = cosine.new_empty(len(cosine), captions)
    best = cosine.new_empty(len(cosine), cosine.shape[-1])
    below = torch.empty(best.shape, dtype=torch.bool)
    inputs = _arrays(cosine, gram, boundary)
    outputs = _arrays(cosine.new_empty(0) if intra is None else intra, sums, best, below)
    constants = *_tables(groups), np.float32(lambda_softmax), np.array(counted, np.float32)
    _share_images("scores_of_images", len(cosine), *inputs, *constants, *outputs)
    return sums / caption_lengths(groups, sums), best, below


def fused_gradients(
    share: Tensor,
    cosine: Tensor,
    gram: Tensor,
    boundary: Tensor,
    groups: Groups,
    lambda_softmax: float,
    counted: Effects,
    below: Tensor,
) -> tuple[Tensor, Tensor]:
    """block_gradient by the kernels; share is (image, caption)."""
    by_cosine, by_gram = cosine.new_empty(cosine.shape), gram.new_empty(gram.shape)  # contiguous
    inputs = _arrays(share, cosine, gram, boundary)
    outputs = _arrays(below, by_cosine, by_gram)
    constants = *_tables(groups), np.float32(lambda_softmax), np.array(counted, np.float32)
    _share_images("gradients_of_images", len(cosine), *inputs, *constants, *outputs)
    return by_cosine, by_gram


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


@lru_cache(maxsize=1024)
def _tables(groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """What a kernel reads of the groups, as rows: length, captions, first word, first caption, first table
    entry; and of the runs that it reduces together: first group, end, first word, words, first caption,
    captions."""
    runs: list[list[int]] = []
    for index, g in enumerate(groups):
        words = g.length * g.captions
        if not runs or runs[-1][3] + words > RUN_WORDS:
            runs.append([index, index, g.word, 0, g.caption, 0])
        runs[-1][1] = index + 1
        runs[-1][3] += words
        runs[-1][5] += g.captions
    rows = [[*g, start] for g, start in zip(groups, table_starts(groups), strict=True)]
    return np.array(rows, np.int64).reshape(-1, 5), np.array(runs, np.int64).reshape(-1, 6)


def _share_images(name: str, images: int, *arguments: object) -> None:
    """Run a kernel on parts of the images, one thread a part; the kernels hold no lock."""
    kernel: Callable[..., None] = getattr(kernels(), name)
    parts = min(torch.get_num_threads(), images)
    edges = np.linspace(0, images, parts + 1).astype(int)
    if parts == 1:
        kernel(*arguments, 0, images)
        return
    jobs = [_threads().submit(kernel, *arguments, *edge) for edge in pairwise(edges)]
    for job in jobs:
        job.result()


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="fused")


def image_blocks(cosine: Float[Tensor, "image region word"]) -> Iterator[slice]:
    """Runs of images whose cosines fit a CPU's cache; a GPU takes all at once."""
    images = len(cosine)
    fit = max(1, BLOCK_COSINES // cosine[0].numel()) if cosine.device.type == "cpu" else images
    return (slice(start, start + fit) for start in range(0, images, fit))
