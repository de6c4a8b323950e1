"""Every image against every caption, at close to the price of one matrix product.

All cosines of all pairs are one product of regions and words; what follows is elementwise or a reduction
over an image's regions or a caption's words. Axes here, always in this order: image, region, word (packed,
see `packing`), so that a reduction over regions runs along contiguous words. The equations are those of
`similarity` and `scan`, this module's oracle in the tests. There is no loop over captions: the loops run
over blocks of images and over groups of captions of one length.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import leaky_relu

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
from .errors import UsageError
from .packing import Packing, pack
from .similarity import ALL_EFFECTS, EPSILON, Effects

PUBLISHED_LAMBDA = {"naaf": 20.0, "scan-t2i": 9.0, "scan-i2t": 4.0}
BLOCK_WORDS = 2048  # words of a block of cosines
BLOCK_IMAGES = 8
GPU_WORDS, GPU_IMAGES = 32_768, 128


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
            raise UsageError(f"there is no method {self.method!r}; methods: {', '.join(PUBLISHED_LAMBDA)}")
        if self.pooling not in ("mean", "lse"):
            raise UsageError(f"there is no pooling {self.pooling!r}; poolings: mean, lse")
        if not any(self.effects):
            raise UsageError("a score needs one of the three effects at least")

    @property
    def sharpness(self) -> float:
        return PUBLISHED_LAMBDA[self.method] if self.lambda_softmax is None else self.lambda_softmax


def score_matrix(
    images: Tensor,
    captions: Tensor,
    lengths: Tensor,
    *,
    boundary: float | Tensor | None = None,
    method: str = "naaf",
    lambda_softmax: float | None = None,
    lambda_intra: float | None = 5.0,
    pooling: str = "mean",
    lambda_lse: float = 6.0,
    effects: Effects = ALL_EFFECTS,
) -> Float[Tensor, "image caption"]:
    """Scores of all pairs; differentiable by images and captions.

    images: unit regions (N, R, D). captions: unit words (C, L, D), padded; what stands past a caption's
    length is never read. lengths: (C,) words of each caption, 1 to L.
    boundary: t of NAAF, a number or one a caption (C,); only "naaf" needs it.
    method: "naaf" (eq. 6-12), "scan-t2i" or "scan-i2t"; lambda_softmax None: the published 20 | 9 | 4.
    lambda_intra: propagation between words at inference (eq. 8); None: the training-time mask.
    pooling (SCAN): "mean", or "lse" with lambda_lse. effects (NAAF): those that count in a word's score.
    Raises UsageError for an unknown method or pooling, a missing boundary and sizes that do not fit.
    """
    measure = Measure(method, lambda_softmax, lambda_intra, pooling, lambda_lse, effects)
    lengths = torch.as_tensor(lengths)
    _check(images, captions, lengths, measure, boundary)
    if len(images) == 0 or len(captions) == 0:
        return images.new_empty(len(images), len(captions))
    packing = pack(lengths, most_words=BLOCK_WORDS).to(captions.device)
    if isinstance(boundary, Tensor) and boundary.ndim:
        boundary = boundary.to(images)[packing.order]
    words = packing.gather(captions)
    if torch.is_grad_enabled() and (images.requires_grad or words.requires_grad):
        cosine = all_cosines(images, words)
        scores = cosine_scores(cosine, images @ images.mT, words, packing.groups, measure, boundary)
    else:
        scores = Scorer(words, packing, measure, boundary)(images)
    return packing.unpack(scores)


class Scorer:
    """All captions, ready to be scored against any images; no gradients.

    product: the number type of the matrix product; None: the words'. In bfloat16 it takes a fifth of the
    time on a processor made for it, and cosines are off by up to 0.004 (docs/log.md: what that does to rsum).
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
        self.pieces = []
        for columns, captions, groups in packing.pieces(BLOCK_WORDS if self.on_cpu else GPU_WORDS):
            part = words[columns]
            limit = boundary[captions] if isinstance(boundary, Tensor) and boundary.ndim else boundary
            moved = part if product is None else part.to(product)
            self.pieces.append((part, moved, captions, groups, limit, _intra(part, groups, measure)))

    @torch.no_grad()
    def __call__(self, images: Float[Tensor, "image region dim"]) -> Float[Tensor, "image caption"]:
        """Scores, columns in packed order."""
        scores = images.new_empty(len(images), self.captions)
        gram = images @ images.mT
        moved = images if self.product is None else images.to(self.product)
        size = BLOCK_IMAGES if self.on_cpu else GPU_IMAGES
        for words, factor, captions, groups, limit, intra in self.pieces:
            for start in range(0, len(images), size):
                rows = slice(start, start + size)
                cosine = all_cosines(moved[rows], factor).to(images.dtype)
                scores[rows, captions] = cosine_scores(
                    cosine, gram[rows], words, groups, self.measure, limit, intra
                )
        return scores


def all_cosines(
    images: Float[Tensor, "image region dim"], words: Float[Tensor, "word dim"]
) -> Float[Tensor, "image region word"]:
    """One matrix product: every word with every region."""
    return (images.flatten(0, 1) @ words.mT).unflatten(0, images.shape[:2])


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
    return torch.cat(
        [_scan_i2t(cosine[..., g.words], words[g.words], g.length, measure) for g in groups], dim=-1
    )


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
    activated = leaky_relu(cosine, SLOPE)
    norm = activated.square().sum(dim=1, keepdim=True).clamp_min(TINY).sqrt() + EPSILON
    own = words.unflatten(0, (length, -1)).transpose(0, 1)  # caption, position, dim
    by_caption = (2, (length, len(own)))
    logit = (measure.sharpness * activated / norm).unflatten(*by_caption)
    weight = torch.softmax(logit, dim=2).permute(3, 0, 1, 2).flatten(1, 2)  # caption, image-region, position
    similarity = cosine.unflatten(*by_caption).permute(3, 0, 1, 2).flatten(1, 2)
    energy = ((weight @ (own @ own.mT)) * weight).sum(dim=-1)
    inverse_length = energy.where(energy > 0, 1.0).rsqrt() * (energy > 0)
    parts = ((weight * similarity).sum(dim=-1) * inverse_length).unflatten(1, cosine.shape[:2])
    pooled = parts.mean(-1) if measure.pooling == "mean" else _log_sum_exp(parts, -1, measure.lambda_lse)
    return pooled.mT


def _log_sum_exp(values: Tensor, dim: int, sharpness: float) -> Tensor:
    return torch.logsumexp(sharpness * values, dim=dim) / sharpness


def _check(images: Tensor, captions: Tensor, lengths: Tensor, measure: Measure, boundary: object) -> None:
    if measure.method == "naaf" and boundary is None:
        raise UsageError("method 'naaf' needs a boundary; a model has one: model.boundary.inference")
    if images.ndim != 3 or captions.ndim != 3 or images.shape[-1] != captions.shape[-1]:
        raise UsageError(
            f"images {tuple(images.shape)} and captions {tuple(captions.shape)} do not fit: "
            "(N, R, D) and (C, L, D) of one D are needed"
        )
    if lengths.shape != captions.shape[:1]:
        raise UsageError(f"{len(captions)} captions need as many lengths, not {tuple(lengths.shape)}")
    if len(lengths) and (lengths.min() < 1 or lengths.max() > captions.shape[1]):
        raise UsageError(f"a caption's length lies outside 1 to {captions.shape[1]}, the padded width")
