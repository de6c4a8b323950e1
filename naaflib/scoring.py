"""Every image against every caption, at close to the price of one matrix product.

All cosines of all pairs are one product of regions and words; what follows is elementwise or a reduction
over an image's regions or a caption's words. Axes here, always in this order: image, region, word (packed,
see `packing`), so that a reduction over regions runs along contiguous words. The equations are those of
`similarity` and `scan`, this module's oracle in the tests. There is no loop over captions: the loops run
over blocks of images and over groups of captions of one length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import leaky_relu, linear, pad

from .differentiable import naaf_scores
from .effects import (
    SLOPE,
    TINY,
    Groups,
    attended,
    caption_lengths,
    caption_sums,
    intra_attention,
    relevance,
    word_boundary,
)
from .errors import UsageError, unknown
from .inputs import as_tensor, check_pairs, checked_boundary, checked_lengths, is_number
from .packing import Packing, pack
from .similarity import ABSENT, ALL_EFFECTS, EPSILON, Effects, padding
from .threads import in_threads

PUBLISHED_LAMBDA = {"naaf": 20.0, "scan-t2i": 9.0, "scan-i2t": 4.0}
POOLINGS = ("mean", "lse")
BLOCK_WORDS = 1024  # words of a block of cosines
BLOCK_IMAGES = 20  # a chunk of captions, 200 images, holds whole blocks
GPU_WORDS, GPU_IMAGES = 32_768, 200
FEWEST = 16  # rows of a factor of a matrix product


@dataclass(frozen=True)
class Measure:
    """Which similarity, and its constants. Checked here, once."""

    method: str = "naaf"
    lambda_softmax: float | None = None  # None: the published 20 | 9 | 4
    lambda_intra: float | None = 5.0  # NAAF's propagation at inference; None: the training-time mask
    pooling: str = "mean"
    lambda_lse: float = 6.0
    effects: Effects = ALL_EFFECTS  # NAAF only: which of a word's effects count

    def __post_init__(self) -> None:
        if self.method not in PUBLISHED_LAMBDA:
            raise unknown("method", self.method, PUBLISHED_LAMBDA)
        if self.pooling not in POOLINGS:
            raise unknown("pooling", self.pooling, POOLINGS)
        for name, default in (("lambda_softmax", True), ("lambda_intra", True), ("lambda_lse", False)):
            value = getattr(self, name)
            if not (default and value is None) and not (is_number(value) and value > 0):
                raise UsageError(
                    f"{name} is {value!r}; it must be a finite number above 0{' or None' * default}"
                )
        if not isinstance(self.effects, Effects) or not any(self.effects):
            raise UsageError("a score needs one of the three effects at least, as similarity.Effects")

    @property
    def sharpness(self) -> float:
        return PUBLISHED_LAMBDA[self.method] if self.lambda_softmax is None else self.lambda_softmax

    @property
    def word_major(self) -> bool:
        """Which order of the cosines in memory suits it: SCAN i2t reduces over a caption's words."""
        return self.method == "scan-i2t"


def score_matrix(
    images: Any,
    captions: Any,
    lengths: Any,
    *,
    boundary: Any = None,
    method: str = "naaf",
    lambda_softmax: float | None = None,
    lambda_intra: float | None = 5.0,
    pooling: str = "mean",
    lambda_lse: float = 6.0,
    effects: Effects = ALL_EFFECTS,
) -> Float[Tensor, "image caption"]:
    """Scores of all pairs; differentiable once by images and captions.

    Arrays may be numpy's, too. images: unit regions (N, R, D); a zero vector is padding and takes no part.
    captions: unit words (C, L, D), padded, of the images' type and device; what stands past a caption's
    length is never read. lengths: (C,) words of each caption, whole numbers from 1 to L, or a list of them.
    boundary: t of NAAF, a number or one a caption (C,), finite; only "naaf" needs it.
    method: "naaf" (eq. 6-12), "scan-t2i" or "scan-i2t"; lambda_softmax None: the published 20 | 9 | 4.
    lambda_intra: propagation between words at inference (eq. 8); None: the training-time mask.
    pooling (SCAN): "mean", or "lse" with lambda_lse. effects (NAAF): those that count in a word's score.
    Raises UsageError for an unknown method or pooling, a missing boundary, what is out of range or no number,
    sizes, types and devices that do not fit, and second derivatives of "naaf" (see `differentiable`).
    """
    measure = Measure(method, lambda_softmax, lambda_intra, pooling, lambda_lse, effects)
    images, captions = as_tensor("images", images), as_tensor("captions", captions)
    check_pairs(images, captions)
    lengths = checked_lengths(lengths, captions)
    boundary = checked_boundary(boundary, captions) if method == "naaf" else None
    if len(images) == 0 or len(captions) == 0:
        return images.new_empty(len(images), len(captions))
    packing = pack(lengths, most_words=BLOCK_WORDS).to(captions.device)
    if isinstance(boundary, Tensor):
        boundary = boundary.to(images)[packing.order]
    words = packing.gather(captions)
    if torch.is_grad_enabled() and (images.requires_grad or words.requires_grad):
        cosine = all_cosines(images, words, word_major=measure.word_major)
        scores = cosine_scores(cosine, images @ images.mT, words, packing.groups, measure, boundary)
    else:
        scores = Scorer(words, packing, measure, boundary)(images)
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
    intra: Tensor | None
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
        words: Float[Tensor, "word dim"],
        packing: Packing,
        measure: Measure,
        boundary: float | Tensor | None,
        product: torch.dtype | None = None,
    ) -> None:
        """words and a boundary of one number a caption in packed order."""
        self.captions, self.measure, self.product = len(packing.order), measure, product
        self.on_cpu = words.device.type == "cpu"
        self.block = block_images(words.device)
        self.pieces = []
        for columns, captions, groups in packing.pieces(BLOCK_WORDS if self.on_cpu else GPU_WORDS):
            part = words[columns]
            limit = boundary[captions] if isinstance(boundary, Tensor) and boundary.ndim else boundary
            factor = part if product is None else part.to(product)
            at = word_boundary(0.0 if limit is None else limit, groups, part[:, 0])
            shift = at.to(factor.dtype).to(part.dtype)  # a number that the product's type has
            intra = _intra(part, groups, measure)
            self.pieces.append(Piece(part, factor, captions, groups, limit, intra, shift))

    @torch.no_grad()
    def __call__(
        self, images: Float[Tensor, "image region dim"], captions: slice | None = None
    ) -> Float[Tensor, "image caption"]:
        """Scores, columns in packed order; captions: those of a run of whole chunks, packed."""
        wanted = slice(0, self.captions) if captions is None else captions
        scores = images.new_empty(len(images), wanted.stop - wanted.start)
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
            cosine = _without(_cosines(moved[rows], piece, self.measure), absent[rows])
            columns = slice(piece.captions.start - wanted.start, piece.captions.stop - wanted.start)
            scores[rows, columns] = cosine_scores(
                cosine, gram[rows], piece.words, piece.groups, self.measure, piece.boundary, piece.intra
            )

        pieces = [p for p in self.pieces if wanted.start <= p.captions.start < wanted.stop]
        starts = range(0, len(images), self.block)
        self._each(multiply, starts)
        self._each(fill, [(piece, start) for piece in pieces for start in starts])
        return scores

    def _each(self, work: Callable[[Any], None], blocks: Sequence[Any]) -> None:
        if self.on_cpu:
            in_threads(work, blocks)
        else:
            for block in blocks:
                work(block)


def all_cosines(
    images: Float[Tensor, "image region dim"], words: Float[Tensor, "word dim"], *, word_major: bool = False
) -> Float[Tensor, "image region word"]:
    """One matrix product: every word with every region, `ABSENT` with padding.

    word_major: in memory the words come first.
    """
    return _without(_product(images, words, word_major), padding(images))


def _without(
    cosine: Float[Tensor, "image region word"], absent: Bool[Tensor, "image region"]
) -> Float[Tensor, "image region word"]:
    return cosine.masked_fill(absent.unsqueeze(-1), ABSENT) if bool(absent.any()) else cosine


def _product(
    images: Float[Tensor, "image region dim"], words: Float[Tensor, "word dim"], word_major: bool
) -> Float[Tensor, "image region word"]:
    regions = images.flatten(0, 1)
    if word_major:
        product = (_padded(words) @ _padded(regions).mT).mT
    else:
        product = _padded(regions) @ _padded(words).mT
    return product[: len(regions), : len(words)].unflatten(0, images.shape[:2])


def _cosines(
    images: Float[Tensor, "image region dim"], piece: Piece, measure: Measure
) -> Float[Tensor, "image region word"]:
    """All cosines with a piece's words, in their type, from a product in the images' type."""
    if images.dtype == piece.words.dtype:
        return _product(images, piece.words, measure.word_major)
    above = linear(images.flatten(0, 1), piece.factor, -piece.shift.to(images.dtype))
    return above.to(piece.words.dtype).add_(piece.shift).unflatten(0, images.shape[:2])


def _padded(rows: Float[Tensor, "row dim"]) -> Float[Tensor, "padded dim"]:
    """At least FEWEST rows: BLAS takes other ways with fewer, which round otherwise."""
    return rows if len(rows) >= FEWEST else pad(rows, (0, 0, 0, FEWEST - len(rows)))


def cosine_scores(
    cosine: Float[Tensor, "image region word"],
    gram: Float[Tensor, "image region region"],
    words: Float[Tensor, "word dim"],
    groups: Groups,
    measure: Measure,
    boundary: float | Tensor | None,
    intra: Tensor | None = None,
) -> Float[Tensor, "image caption"]:
    """Scores of cosines that are there already; differentiable."""
    if measure.method == "naaf":
        if intra is None:
            intra = _intra(words, groups, measure)
        limit = word_boundary(0.0 if boundary is None else boundary, groups, cosine)
        return naaf_scores(cosine, gram, limit, groups, measure.sharpness, intra, measure.effects)[0]
    if measure.method == "scan-t2i":
        weight = relevance(cosine, groups, measure.sharpness).weight
        return _pooled_words(attended(cosine, weight, gram).cosine, groups, measure)
    if measure.method == "scan-i2t":
        by_length = [_scan_i2t(cosine[..., g.words], words[g.words], g.length, measure) for g in groups]
        return torch.cat(by_length, dim=-1)
    raise unknown("method", measure.method, PUBLISHED_LAMBDA)


def _intra(words: Tensor, groups: Groups, measure: Measure) -> Tensor | None:
    if measure.method != "naaf" or measure.lambda_intra is None:
        return None
    return intra_attention(words.detach(), groups, measure.lambda_intra)


def _pooled_words(
    values: Float[Tensor, "image word"], groups: Groups, measure: Measure
) -> Float[Tensor, "image caption"]:
    if measure.pooling == "mean":
        return caption_sums(values, groups) / caption_lengths(groups, values)
    by_caption = [values[:, g.words].unflatten(-1, (g.length, g.captions)) for g in groups]
    return torch.cat([_log_sum_exp(value, 1, measure.lambda_lse) for value in by_caption], dim=-1)


def _scan_i2t(
    cosine: Float[Tensor, "image region word"],
    words: Float[Tensor, "word dim"],
    length: int,
    measure: Measure,
) -> Float[Tensor, "image caption"]:
    """Captions of one length: each region's cosine with the words it attends to, pooled over regions."""
    by_word = cosine.permute(2, 0, 1).contiguous()  # as it lies in memory, if it is word-major
    absent = cosine[..., 0] == ABSENT
    activated = leaky_relu(by_word, SLOPE)
    if bool(absent.any()):
        activated = activated.masked_fill(absent, 0.0)
    norm = activated.square().sum(dim=-1, keepdim=True).clamp_min(TINY).sqrt() + EPSILON
    logit = activated * (measure.sharpness / norm)
    weight = torch.softmax(logit.unflatten(0, (length, -1)), dim=0).flatten(2)  # position, caption, region
    projection = (weight * by_word.unflatten(0, (length, -1)).flatten(2)).sum(dim=0)
    own = words.unflatten(0, (length, -1)).transpose(0, 1)  # caption, position, dim
    weight = weight.transpose(0, 1)
    energy = ((own @ own.mT @ weight) * weight).sum(dim=1)
    inverse_length = energy.where(energy > 0, 1.0).rsqrt() * (energy > 0)
    parts = (projection * inverse_length).unflatten(1, cosine.shape[:2])
    return _pooled_regions(parts, absent, measure).mT


def _pooled_regions(
    parts: Float[Tensor, "caption image region"], absent: Bool[Tensor, "image region"], measure: Measure
) -> Float[Tensor, "caption image"]:
    some = bool(absent.any())
    if measure.pooling == "mean":
        if not some:
            return parts.mean(-1)
        return parts.masked_fill(absent, 0.0).sum(-1) / (~absent).sum(-1)
    parts = parts.masked_fill(absent, -torch.inf) if some else parts
    return _log_sum_exp(parts, -1, measure.lambda_lse)


def _log_sum_exp(values: Tensor, dim: int, sharpness: float) -> Tensor:
    return torch.logsumexp(sharpness * values, dim=dim) / sharpness
