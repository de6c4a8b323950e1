"""Every image against every caption, at close to the price of one matrix product.

All cosines of all pairs are one product of regions and words; what follows is a similarity's fast form,
elementwise or a reduction over an image's regions or a caption's words. Axes here, always in this order:
image, region, word (packed, see `packing`). There is no loop over captions: the loops run over blocks of
images and over groups of captions of one length.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import linear, pad

from ..errors import UsageError
from .axes import Boundary, ByCaption, ByRegion, Groups, Regions, Words
from .base import ABSENT, ALL_EFFECTS, Block, Effects, Scores, Similarity, check_constant, padding
from .inputs import as_tensor, check_pairs, checked_boundary, checked_lengths
from .methods import DEFAULT, make
from .packed import word_boundary
from .packing import Packing, pack
from .threads import in_threads

BLOCK_WORDS = 1024  # words of a block of cosines
BLOCK_IMAGES = 20  # a chunk of captions, 200 images, holds whole blocks
GPU_WORDS, GPU_IMAGES = 32_768, 200
CLOSE = 0.05  # of the boundary: where a cosine may change sides by rounding
FEWEST = 16  # rows of a factor of a matrix product


def score_matrix(
    images: Any,
    captions: Any,
    lengths: Any,
    *,
    boundary: Any = None,
    method: str = DEFAULT,
    lambda_softmax: float | None = None,
    lambda_intra: float | None = 5.0,
    pooling: str = "mean",
    lambda_lse: float = 6.0,
    effects: Effects = ALL_EFFECTS,
) -> ByCaption:
    """Scores of all pairs; differentiable once by images and captions.

    Arrays may be numpy's, too; float16 and bfloat16 are scored in float32, and the scores are float32.
    images: unit regions (N, R, D); a zero vector is padding and takes no part. captions: unit words
    (C, L, D), padded, of the images' type and device; what stands past a caption's length is never read.
    lengths: (C,) words of each caption, whole numbers from 1 to L, or a list of them.
    boundary: t of NAAF, a number or one a caption (C,), finite; only "naaf" needs it.
    method: a name in `similarity.METHODS`: "naaf" (eq. 6-12), "scan-t2i", "scan-i2t" and others. It takes
    what it has of these constants: lambda_softmax, None for the published one of each method; lambda_intra,
    propagation between words at inference (eq. 8), None for the training-time mask; pooling, "mean", or "lse"
    with lambda_lse; effects (NAAF), those that count in a word's score.
    Raises UsageError for an unknown method or pooling, a missing boundary, what is out of range or no number,
    sizes, types and devices that do not fit, and second derivatives of "naaf" (see `autograd`).
    """
    if not isinstance(effects, Effects):
        raise UsageError("effects are similarity.Effects: which of NAAF's three effects count")
    constants = {
        "lambda_softmax": lambda_softmax,
        "lambda_intra": lambda_intra,
        "pooling": pooling,
        "lambda_lse": lambda_lse,
        **{f"{name}_effect": bool(value) for name, value in effects._asdict().items()},
    }
    for name, value in constants.items():
        check_constant(name, value, optional=name in ("lambda_softmax", "lambda_intra"))
    return scored(images, captions, lengths, make(method, constants), boundary)


def scored(
    images: Any, captions: Any, lengths: Any, similarity: Similarity, boundary: Any = None
) -> ByCaption:
    """`score_matrix` by a similarity that is there already. Takes and raises the same."""
    images, captions = as_tensor("images", images), as_tensor("captions", captions)
    check_pairs(images, captions)
    lengths = checked_lengths(lengths, captions)
    boundary = checked_boundary(boundary, captions, similarity.method) if similarity.needs_boundary else None
    if len(images) == 0 or len(captions) == 0:
        return images.new_empty(len(images), len(captions))
    packing = pack(lengths, most_words=BLOCK_WORDS).to(captions.device)
    if isinstance(boundary, Tensor):
        boundary = boundary.to(images)[packing.order]
    words = packing.gather(captions)
    if torch.is_grad_enabled() and (images.requires_grad or words.requires_grad):
        cosine = all_cosines(images, words, words_first=similarity.words_first)
        block = Block(cosine, images @ images.mT, words, packing.groups)
        scores = block_scores(similarity, block, boundary).pairs
    else:
        scores = Scorer(words, packing, similarity, boundary)(images)
    return packing.unpack(scores)


def block_images(device: torch.device) -> int:
    """How many images a `Scorer` on the device takes at a time."""
    return BLOCK_IMAGES if device.type == "cpu" else GPU_IMAGES


class Piece(NamedTuple):
    """Some captions, ready to be scored: at most BLOCK_WORDS words."""

    words: Tensor  # (word, dim)
    factor: Tensor  # the same in the product's number type
    captions: slice  # packed
    groups: Groups
    boundary: float | Tensor | None
    prepared: Tensor | None
    shift: Tensor  # (word,) what a reduced product subtracts before it rounds


class Scorer:
    """All captions, ready to be scored against any images; no gradients.

    On a CPU one thread computes the scores of BLOCK_IMAGES images and one piece of the captions, so a score
    depends neither on the number of threads nor on which images are scored in the same call, counted from a
    multiple of BLOCK_IMAGES; nor does it depend on the captions of other chunks of the packing.

    product: the number type of the matrix product; None: the words'. In bfloat16 it takes a third of the time
    on a processor made for it. What is rounded then is s - t, not s: it is most exact at the boundary, where
    a word changes sides (docs/log.md: what that does to rsum).
    """

    def __init__(
        self,
        words: Words,
        packing: Packing,
        similarity: Similarity,
        boundary: float | Tensor | None,
        product: torch.dtype | None = None,
    ) -> None:
        """words and a boundary of one number a caption in packed order."""
        self.captions, self.similarity, self.product = len(packing.order), similarity, product
        self.on_cpu = words.device.type == "cpu"
        self.block = block_images(words.device)
        self.pieces = []
        for columns, captions, groups in packing.pieces(BLOCK_WORDS if self.on_cpu else GPU_WORDS):
            part = words[columns]
            limit = boundary[captions] if isinstance(boundary, Tensor) and boundary.ndim else boundary
            factor = part if product is None else part.to(product)
            at = word_boundary(0.0 if limit is None else limit, groups, part[:, 0])
            shift = at.to(factor.dtype).to(part.dtype)  # a number that the product's type has
            prepared = similarity.prepare(part, groups)
            self.pieces.append(Piece(part, factor, captions, groups, limit, prepared, shift))

    def __call__(self, images: Regions, captions: slice | None = None) -> ByCaption:
        """Scores, columns in packed order; captions: those of a run of whole chunks, packed."""
        return self._scores(images, captions, None)[0]

    def with_doubts(
        self, images: Regions, captions: slice | None, near: float
    ) -> tuple[ByCaption, ByCaption]:
        """Scores, and their doubts (`Similarity.rough_scores`).

        near: how far a cosine near the boundary moves at most.
        """
        return self._scores(images, captions, near)

    @torch.no_grad()
    def _scores(
        self, images: Regions, captions: slice | None, near: float | None
    ) -> tuple[ByCaption, ByCaption]:
        wanted = slice(0, self.captions) if captions is None else captions
        scores = images.new_empty(len(images), wanted.stop - wanted.start)
        doubts = scores if near is None else torch.empty_like(scores)
        gram = images.new_empty(len(images), images.shape[1], images.shape[1])
        moved = images if self.product is None else images.to(self.product)
        absent = padding(images)

        @torch.no_grad()
        def multiply(start: int) -> None:
            own = images[start : start + self.block]
            torch.bmm(own, own.mT, out=gram[start : start + self.block])

        @torch.no_grad()
        def fill(block: tuple[Piece, int]) -> None:
            piece, start = block
            rows = slice(start, start + self.block)
            cosine = _without(_cosines(moved[rows], piece, self.similarity.words_first), absent[rows])
            columns = slice(piece.captions.start - wanted.start, piece.captions.stop - wanted.start)
            own = Block(cosine, gram[rows], piece.words, piece.groups)
            limit = _limit(self.similarity, own, piece.boundary)
            if near is None:
                found = self.similarity.scores(own, limit, piece.prepared)
            else:
                found, jumps = self.similarity.rough_scores(own, limit, piece.prepared, near)
                doubts[rows, columns] = 0.0 if jumps is None else jumps
            scores[rows, columns] = found.pairs

        pieces = [p for p in self.pieces if wanted.start <= p.captions.start < wanted.stop]
        starts = range(0, len(images), self.block)
        self._each(multiply, starts)
        self._each(fill, [(piece, start) for piece in pieces for start in starts])
        return scores, doubts

    def prepared(self) -> Tensor | None:
        """`Similarity.prepare` of all captions."""
        tables = [piece.prepared for piece in self.pieces if piece.prepared is not None]
        return torch.cat(tables) if tables else None

    @torch.no_grad()
    def moved(self, images: Regions, captions: slice) -> float:
        """How far the product's type moves a cosine at most that lies within CLOSE of the boundary.

        captions: those of a run of whole chunks, packed.
        """
        found = [0.0]
        for piece in self.pieces:
            here = captions.start <= piece.captions.start < captions.stop
            if here and piece.boundary is not None and self.similarity.needs_boundary:
                exact = _product(images, piece.words, False)
                rough = _cosines(images.to(piece.factor.dtype), piece, False)
                limit = word_boundary(piece.boundary, piece.groups, exact)
                error = (rough - exact).abs_().masked_fill_((exact - limit).abs_() > CLOSE, 0.0)
                found.append(float(error.max()))
        return max(found)

    def _each(self, work: Callable[[Any], None], blocks: Sequence[Any]) -> None:
        if self.on_cpu:
            in_threads(work, blocks)
        else:
            for block in blocks:
                work(block)


def all_cosines(images: Regions, words: Words, *, words_first: bool = False) -> ByRegion:
    """One matrix product: every word with every region, `ABSENT` with padding.

    words_first: in memory the words come first.
    """
    return _without(_product(images, words, words_first), padding(images))


def _without(cosine: ByRegion, absent: Bool[Tensor, "image region"]) -> ByRegion:
    return cosine.masked_fill(absent.unsqueeze(-1), ABSENT) if bool(absent.any()) else cosine


def _product(images: Regions, words: Words, words_first: bool) -> ByRegion:
    regions = images.flatten(0, 1)
    if words_first:
        product = (_padded(words) @ _padded(regions).mT).mT
    else:
        product = _padded(regions) @ _padded(words).mT
    return product[: len(regions), : len(words)].unflatten(0, images.shape[:2])


def _cosines(images: Regions, piece: Piece, words_first: bool) -> ByRegion:
    """All cosines with a piece's words, in their type, from a product in the images' type."""
    if images.dtype == piece.words.dtype:
        return _product(images, piece.words, words_first)
    above = linear(images.flatten(0, 1), piece.factor, -piece.shift.to(images.dtype))
    return above.to(piece.words.dtype).add_(piece.shift).unflatten(0, images.shape[:2])


def _padded(rows: Float[Tensor, "row dim"]) -> Float[Tensor, "padded dim"]:
    """At least FEWEST rows: BLAS takes other ways with fewer, which round otherwise."""
    return rows if len(rows) >= FEWEST else pad(rows, (0, 0, 0, FEWEST - len(rows)))


def block_scores(
    similarity: Similarity, block: Block, boundary: float | Tensor | None, prepared: Tensor | None = None
) -> Scores:
    """Scores of cosines that are there already; differentiable.

    boundary: a number or one a caption, in packed order. prepared: by the similarity, if it is there already.
    """
    if prepared is None:
        prepared = similarity.prepare(block.words, block.groups)
    return similarity.scores(block, _limit(similarity, block, boundary), prepared)


def _limit(similarity: Similarity, block: Block, boundary: float | Tensor | None) -> Boundary | None:
    """The boundary at each word, for a method that needs one."""
    if not similarity.needs_boundary or boundary is None:
        return None
    return word_boundary(boundary, block.groups, block.cosine)
