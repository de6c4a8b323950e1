"""NAAF's scores and gradients on a GPU by `triton_kernels`: the table of tiles, one launch a direction.

A tile is up to CAPTIONS captions of one length. A program needs no mask over words, and there is no loop over
groups. The functions have the arguments and results of `autograd.fused_scores` and `fused_gradients`.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..messages import say
from . import triton_kernels
from .axes import Boundary, ByCaption, ByRegion, ByWord, Gram, Groups
from .packed import Constants, block_gradient, block_scores
from .packing import Group

CAPTIONS = 16  # of a tile
FEWEST_REGIONS, MOST_REGIONS = 16, 128  # lanes of a program; the Gram matrix is in shared memory
PRECISION = "ieee"  # of the products with the Gram matrix: float32, never TF32
PART_ELEMENTS = 2**26  # of the Gram matrices' gradients, before they are added up
DTYPES = (torch.float32, torch.bfloat16, torch.float16)  # all are computed with in float32


def takes(cosine: ByRegion) -> bool:
    """Whether the kernels can compute with these cosines."""
    regions = cosine.shape[1]
    near = regions * cosine.stride(1) < 2**31  # offsets within an image are 32-bit
    return cosine.dtype in DTYPES and regions <= MOST_REGIONS and near and usable(cosine.device)


@cache
def usable(device: torch.device) -> bool:
    """Whether the kernels run on the device and are right there; says so once where not."""
    if device.type != "cuda" and not triton_kernels.INTERPRETED:
        return False
    try:
        problem = "" if _agree(device) else "their scores differ from the vectorised form's"
    except Exception as error:  # a compiler, Python's headers, a driver, an old GPU: whatever triton needs
        problem = f"{type(error).__name__}: {error}"
    if problem:
        say(
            f"the triton kernels cannot be used on {device} ({problem}); NAAF's scores are computed without "
            "them, the same but slower. triton needs a C compiler, Python's headers and a GPU of compute "
            "capability 8.0; NAAF_FUSED=0 leaves it out"
        )
    return not problem


def _agree(device: torch.device) -> bool:
    """Whether kernels and vectorised form give about the same for six words in two images of 36 regions."""
    cosine = 0.1 * torch.arange(2.0 * 36 * 6, device=device).sin().view(2, 36, 6)
    gram = (torch.eye(36, device=device) + 0.25).expand(2, 36, 36)
    boundary, intra = torch.linspace(0.0, 0.2, 6, device=device), torch.full((12,), 0.5, device=device)
    how = Constants((Group(2, 3, 0, 0),), 20.0, intra)
    share = torch.ones(2, 3, device=device)
    scores, best, below = tiled_scores(cosine, gram, boundary, how)
    ours = scores, best, *tiled_gradients(share, cosine, gram, boundary, how, below)
    theirs = (
        *block_scores(cosine, gram, boundary, how),
        *block_gradient(share.repeat(1, 2), cosine, gram, boundary, how),
    )
    pairs = zip(ours, theirs, strict=True)
    return all(bool((one - other).abs().max() <= 0.01 * other.abs().max()) for one, other in pairs)


@lru_cache(maxsize=1024)
def tile_table(groups: Groups, device: torch.device) -> Int[Tensor, "tile column"]:
    """A row a tile: words of a caption; from a position's words to the next's; captions; first word; first
    caption; where the first caption's table begins in `packed.intra_attention`."""
    rows = []
    entries = 0
    for g in groups:
        for first in range(0, g.captions, CAPTIONS):
            count = min(CAPTIONS, g.captions - first)
            rows.append([g.length, g.captions, count, g.word + first, g.caption + first, entries + first])
        entries += g.length**2 * g.captions
    return torch.tensor(rows, dtype=torch.int64).view(-1, triton_kernels.COLUMNS.value).to(device)


def tiled_scores(
    cosine: ByRegion, gram: Gram, boundary: Boundary, how: Constants
) -> tuple[ByCaption, ByWord, Bool[Tensor, "image word"]]:
    """`packed.block_scores`, and where the negative effect counts."""
    scores = cosine.new_empty(len(cosine), sum(g.captions for g in how.groups))
    best = cosine.new_empty(len(cosine), cosine.shape[-1])
    below = torch.empty_like(best, dtype=torch.bool)
    intra = boundary if how.intra is None else how.intra  # in training any tensor will do: none is read
    tensors = gram.contiguous(), boundary, intra, scores, best, below.view(torch.uint8)
    _launch(triton_kernels.scores_of_tiles, cosine, scores, tensors, how, INTRA=how.intra is not None)
    return scores, best, below


def tiled_gradients(
    share: ByCaption,
    cosine: ByRegion,
    gram: Gram,
    boundary: Boundary,
    how: Constants,
    below: Bool[Tensor, "image word"],
) -> tuple[ByRegion, Gram]:
    """`packed.block_gradient`. share: the gradient by each caption's score over its length."""
    images, regions, _ = cosine.shape
    by_cosine, by_gram = cosine.new_empty(cosine.shape), torch.zeros_like(gram)
    tiles = len(tile_table(how.groups, cosine.device))
    fit = max(1, PART_ELEMENTS // max(1, tiles * regions**2))
    for start in range(0, images, fit):
        rows = slice(start, start + fit)
        own = share[rows].contiguous()
        parts = torch.empty(len(own), tiles, regions, regions, device=cosine.device)
        tensors = (
            gram[rows].contiguous(),
            boundary,
            own,
            below[rows].view(torch.uint8),
            by_cosine[rows],
            parts,
        )
        _launch(triton_kernels.gradients_of_tiles, cosine[rows], own, tensors, how)
        if how.effects.feature:
            by_gram[rows] = parts.sum(dim=1)
    return by_cosine, by_gram


def _launch(
    kernel: Any,
    cosine: ByRegion,
    by_caption: ByCaption,
    tensors: tuple[Tensor, ...],
    how: Constants,
    **more: bool,
) -> None:
    """Start a program for each image and tile. tensors: the kernel's other arguments, in order."""
    tiles = tile_table(how.groups, cosine.device)
    images, regions, words = cosine.shape
    if not images * len(tiles):
        return
    lanes = max(FEWEST_REGIONS, 1 << (regions - 1).bit_length())
    with _current(cosine.device):
        kernel[(images * len(tiles),)](
            tiles,
            cosine,
            *tensors,
            len(tiles),
            regions,
            words,
            by_caption.shape[1],
            *cosine.stride()[:2],
            float(how.lambda_softmax),
            **{name.upper(): bool(counts) for name, counts in how.effects._asdict().items()},
            **more,
            REGIONS=lanes,
            CAPTIONS=CAPTIONS,
            PRECISION=PRECISION,
            **launch_options(lanes),
        )


def launch_options(lanes: int) -> dict[str, int]:
    """What triton compiles a kernel with, for so many lanes of regions."""
    return {"num_warps": 4 if lanes <= 64 else 16, "num_stages": 1}  # the most registers without a spill


def _current(device: torch.device) -> AbstractContextManager[Any]:
    """triton starts a kernel on the current device, whatever device its tensors are on."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
