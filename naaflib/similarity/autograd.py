"""NAAF's scores as one differentiable function, whichever form computes them.

Forward and backward are fused kernels where they can be: numba's on a CPU (float32), triton's on a GPU
(`tiled`). Else they go through the images block by block with the vectorised form of `packed`, the kernels'
oracle. The backward pass keeps the cosines alone and recomputes the rest: autograd would keep a dozen arrays
of their size. No form can be differentiated twice, and all refuse it; `similarity.naaf_score` can be.
"""

import os
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from ..errors import UsageError
from .axes import Boundary, ByCaption, ByRegion, ByWord, Gram, Groups
from .packed import (
    Constants,
    block_doubts,
    block_gradient,
    block_scores,
    caption_lengths,
    spread_to_words,
)
from .threads import in_threads

BLOCK_COSINES = 500_000  # cosines reduced at a time on a CPU
RUN_WORDS = 1024  # words of an image that a kernel reduces at a time, or one group that has more


def naaf_scores(cosine: ByRegion, gram: Gram, boundary: Boundary, how: Constants) -> tuple[ByCaption, ByWord]:
    """Scores in packed order, differentiable by cosine and gram; each word's best cosine (no gradient)."""
    apply: Callable[..., tuple[Tensor, Tensor]] = NaafScores.apply
    return apply(cosine, gram, boundary, how)


class NaafScores(torch.autograd.Function):
    """`naaf_scores` with a backward pass of its own."""

    @staticmethod
    def forward(
        ctx: Any, cosine: ByRegion, gram: Gram, boundary: Boundary, how: Constants
    ) -> tuple[ByCaption, ByWord]:
        ctx.save_for_backward(cosine, gram, boundary)
        ctx.how = how
        ctx.form = fused_form(cosine, how.lambda_softmax)
        if ctx.form is None:
            parts = [block_scores(cosine[rows], gram[rows], boundary, how) for rows in image_blocks(cosine)]
            scores, best = (torch.cat(part) for part in zip(*parts, strict=True))
        else:
            scores, best, ctx.below = ctx.form.scores(cosine, gram, boundary, how)
        ctx.mark_non_differentiable(best)
        return scores, best

    @staticmethod
    def backward(ctx: Any, by_score: ByCaption, _by_best: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph; once_differentiable would miss a plain sum of scores
            raise UsageError(
                "create_graph asks for second derivatives, which NAAF's fast scores do not have, also "
                "with NAAF_FUSED=0; take the readable naaflib.similarity.naaf_score, one caption at a time"
            )
        cosine, gram, boundary = ctx.saved_tensors
        groups = ctx.how.groups
        share = by_score / caption_lengths(groups, by_score)
        if ctx.form is not None:
            return *ctx.form.gradients(share, cosine, gram, boundary, ctx.how, ctx.below), None, None
        by_cosine, by_gram = torch.empty_like(cosine), torch.empty_like(gram)
        share = spread_to_words(share, groups)
        for rows in image_blocks(cosine):
            by_cosine[rows], by_gram[rows] = block_gradient(
                share[rows], cosine[rows], gram[rows], boundary, ctx.how
            )
        return by_cosine, by_gram, None, None


class Form(NamedTuple):
    """Fused kernels: what computes `block_scores`, and where the negative effect counts; `block_gradient`."""

    scores: Callable[..., tuple[ByCaption, ByWord, Bool[Tensor, "image word"]]]
    gradients: Callable[..., tuple[ByRegion, Gram]]


def fused_form(cosine: ByRegion, lambda_softmax: float) -> Form | None:
    """The kernels that take these cosines; None: the vectorised form does."""
    on_cpu = cosine.device.type == "cpu"
    gpu = None if on_cpu and os.environ.get("TRITON_INTERPRET") != "1" else gpu_kernels()
    if gpu is not None and gpu.takes(cosine):
        return Form(gpu.tiled_scores, gpu.tiled_gradients)
    cpu = kernels() if on_cpu and cosine.dtype == torch.float32 else None
    if cpu is not None and lambda_softmax <= cpu.LARGEST_LAMBDA:
        return Form(fused_scores, fused_gradients)
    return None


@cache
def kernels() -> ModuleType | None:
    """The fused kernels for a CPU, where numba is installed and NAAF_FUSED is not 0."""
    return _optional("numba", ".kernels")


@cache
def gpu_kernels() -> ModuleType | None:
    """`tiled`, where triton is installed and NAAF_FUSED is not 0."""
    return _optional("triton", ".tiled")


def _optional(package: str, module: str) -> ModuleType | None:
    if os.environ.get("NAAF_FUSED") == "0" or find_spec(package) is None:
        return None
    return import_module(module, __package__)


def fused_scores(
    cosine: ByRegion, gram: Gram, boundary: Boundary, how: Constants
) -> tuple[ByCaption, ByWord, Bool[Tensor, "image word"]]:
    """`block_scores` by the kernels, and where the negative effect counts."""
    return _fused_scores(cosine, gram, boundary, how, None)[:3]


def rough_scores(
    cosine: ByRegion, gram: Gram, boundary: Boundary, how: Constants, near: float
) -> tuple[ByCaption, ByWord, ByCaption]:
    """Scores and best cosines of rounded cosines, and `packed.block_doubts`; no gradient."""
    form = fused_form(cosine, how.lambda_softmax)
    if form is not None and form.scores is fused_scores:
        scores, best, _, doubts = _fused_scores(cosine, gram, boundary, how, near)
        return scores, best, doubts
    scores, best = naaf_scores(cosine, gram, boundary, how)
    parts = [block_doubts(cosine[rows], best[rows], boundary, how, near) for rows in image_blocks(cosine)]
    return scores, best, torch.cat(parts)


def _fused_scores(
    cosine: ByRegion, gram: Gram, boundary: Boundary, how: Constants, near: float | None
) -> tuple[ByCaption, ByWord, Bool[Tensor, "image word"], ByCaption]:
    """near None: the cosines are exact, and the doubts, which no kernel writes then, the scores."""
    lengths = caption_lengths(how.groups, cosine)
    sums = cosine.new_empty(len(cosine), len(lengths))
    best = cosine.new_empty(len(cosine), cosine.shape[-1])
    below = torch.empty(best.shape, dtype=torch.bool)
    intra = cosine.new_empty(0) if how.intra is None else how.intra
    rounding = cosine.new_tensor([] if near is None else [near])
    doubts = sums if near is None else torch.empty_like(sums)
    outputs = intra, rounding, sums, best, below, doubts
    _run_kernel("scores_of_images", (cosine, gram, boundary), how, outputs)
    return sums / lengths, best, below, doubts


def fused_gradients(
    share: ByCaption,
    cosine: ByRegion,
    gram: Gram,
    boundary: Boundary,
    how: Constants,
    below: Bool[Tensor, "image word"],
) -> tuple[ByRegion, Gram]:
    """`block_gradient` by the kernels. share: the gradient by each caption's score over its length."""
    by_cosine, by_gram = cosine.new_empty(cosine.shape), gram.new_empty(gram.shape)  # contiguous
    _run_kernel("gradients_of_images", (share, cosine, gram, boundary), how, (below, by_cosine, by_gram))
    return by_cosine, by_gram


def _run_kernel(name: str, inputs: tuple[Tensor, ...], how: Constants, outputs: tuple[Tensor, ...]) -> None:
    """Run a kernel on parts of the images, one thread a part; the kernels hold no lock."""
    kernel: Callable[..., None] = getattr(kernels(), name)
    before, after = ([t.detach().contiguous().numpy() for t in tensors] for tensors in (inputs, outputs))
    constants = *_tables(how.groups), np.float32(how.lambda_softmax), np.array(how.effects, np.float32)
    parts = min(torch.get_num_threads(), len(before[0]))
    edges = np.linspace(0, len(before[0]), parts + 1).astype(int)
    in_threads(lambda images: kernel(*before, *constants, *after, images), [*pairwise(edges)])


@lru_cache(maxsize=1024)
def _tables(groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """What a kernel reads of the groups, as rows: length, captions, first word, first caption, first table
    entry; and of the runs that it reduces together: first group, end, first word, words, first caption,
    captions."""
    rows: list[list[int]] = []
    runs: list[list[int]] = []
    entries = 0
    for index, g in enumerate(groups):
        words = g.length * g.captions
        rows.append([*g, entries])
        entries += g.length * words
        if not runs or runs[-1][3] + words > RUN_WORDS:
            runs.append([index, index, g.word, 0, g.caption, 0])
        runs[-1][1] = index + 1
        runs[-1][3] += words
        runs[-1][5] += g.captions
    return np.array(rows, np.int64).reshape(-1, 5), np.array(runs, np.int64).reshape(-1, 6)


def image_blocks(cosine: ByRegion) -> Iterator[slice]:
    """Runs of images whose cosines fit a CPU's cache; a GPU takes all at once."""
    images = len(cosine)
    fit = max(1, BLOCK_COSINES // cosine[0].numel()) if cosine.device.type == "cpu" else images
    return (slice(start, start + fit) for start in range(0, images, fit))
