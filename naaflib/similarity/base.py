"""What a similarity is: the protocol that every method keeps, and what all of them share.

A similarity scores an image, its regions, against a caption, its words; both of unit norm, so that a cosine
is an inner product. A method is one file with one class here, a settings type of the same name in `config`
and a line in `methods`. It has a readable form, `parts`: what each word adds and where it looks, as the paper
writes it, one caption at a time. And it has a fast form, `scores`: many images and captions at once, for
training and evaluation. The tests hold every fast form against its readable one.

Axes of the readable form: image, word, region, dim. Axes of the fast form: image, region, word (packed, see
`packing`), so that a reduction over regions runs along contiguous words.

A region that is a zero vector is padding: it takes no part. Its cosines are replaced by `ABSENT`, which no
maximum chooses and no boundary lets pass, and it gets no weight.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from numbers import Real
from typing import ClassVar, NamedTuple, TypeGuard

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import leaky_relu

from ..errors import UsageError, unknown
from .axes import Boundary, ByCaption, ByRegion, ByWord, Gram, Groups, Regions, Words

EPSILON = 1e-8  # the released code adds it to norms
SLOPE = 0.1  # of LeakyReLU below 0
TINY = 1e-30  # keeps the gradient of a norm finite at 0; far below epsilon squared
ABSENT = -2.0  # in the place of a cosine, and below every one: the region is padding
POOLINGS = ("mean", "lse")


class Effects(NamedTuple):
    """Which of a word's three effects count in the score; the paper's ablations leave one out."""

    negative: bool = True  # eq. 9, s_neg
    feature: bool = True  # eq. 10, s_f
    relevance: bool = True  # eq. 11, s_r


ALL_EFFECTS = Effects()


class Parts(NamedTuple):
    """What each word of a pair adds, and where it looks. A word's weights sum to 1, or are all 0.

    The score is the mean over the words of all their effects, unless the method pools otherwise. A method
    fills what it has; `of` fills the rest.
    """

    cosine: Float[Tensor, "image word region"]
    feature_weight: Float[Tensor, "image word region"]
    relevance_weight: Float[Tensor, "image word region"]
    feature_effect: Float[Tensor, "image word"]
    relevance_effect: Float[Tensor, "image word"]
    negative_effect: Float[Tensor, "image word"]
    propagated: Float[Tensor, "image word"]  # eq. 8; NaN for a method without a boundary
    region_effect: Float[Tensor, "image region"]  # NaN for a method that scores words
    score: Float[Tensor, " image"]

    @classmethod
    def of(
        cls,
        cosine: Float[Tensor, "image word region"],
        weight: Float[Tensor, "image word region"],
        effect: Float[Tensor, "image word"],
        score: Float[Tensor, " image"],
        region_effect: Float[Tensor, "image region"] | None = None,
    ) -> "Parts":
        """The parts of a method with one effect a word and one attention: the feature effect and weight."""
        none, unknown = torch.zeros_like(effect), torch.full_like(effect, torch.nan)
        regions = torch.full_like(cosine[:, 0], torch.nan) if region_effect is None else region_effect
        nowhere = torch.zeros_like(cosine)
        return cls(cosine, weight, nowhere, effect, none, none, unknown, regions, score)


class Block(NamedTuple):
    """Some images and some packed captions, ready to be scored: all that a fast form reads."""

    cosine: ByRegion
    gram: Gram
    words: Words
    groups: Groups  # of the words


class Scores(NamedTuple):
    """best: each word's largest cosine, which the boundary is mined from; None where it has none."""

    pairs: ByCaption  # captions in packed order
    best: ByWord | None = None


@dataclass(frozen=True)
class Similarity(ABC):
    """One method with its constants, the fields of its class; its settings have fields of the same names."""

    method: ClassVar[str]  # the name in settings, `score_matrix` and tables
    needs_boundary: ClassVar[bool] = False  # whether training mines one for it
    words_first: ClassVar[bool] = False  # how cosines lie in memory: True where it reduces over words
    effects: ClassVar[tuple[str, ...]] = ("feature_effect",)  # those of `Parts` that it has

    def __post_init__(self) -> None:
        """Raises UsageError for a constant out of range."""
        for field in fields(self):
            check_constant(field.name, getattr(self, field.name), "None" in str(field.type))

    @property
    def evidence(self) -> tuple[str, ...]:
        """A word's numbers that tell a wrong word, the headline's first: the lower, the likelier wrong."""
        return "effect", "best_cosine"

    def in_training(self) -> "Similarity":
        """The similarity that training scores by."""
        return self

    def prepare(self, words: Words, groups: Groups) -> Tensor | None:
        """What `scores` needs of the captions alone; computed once for all images.

        A table: of each group one number for (position, position, caption), one after the other; or None.
        """
        return None

    def alone(self, cosine: ByRegion, gram: Gram, boundary: float) -> ByWord:
        """What each word adds to a score, about, whatever the other words of its caption are.

        Search picks candidates by it. Its best cosine, unless a method knows better.
        """
        return cosine.amax(dim=1)

    def rough_scores(
        self, block: Block, boundary: Boundary | None, prepared: Tensor | None, near: float
    ) -> tuple[Scores, ByCaption | None]:
        """Scores of cosines that a product of fewer digits has moved, and their doubts; without gradient.

        near: how far it has moved one near the boundary, at most. A doubt is how far a score may jump, times
        the caption's words; None for a method whose scores follow its cosines without a jump.
        """
        return self.scores(block, boundary, prepared), None

    @abstractmethod
    def parts(self, regions: Regions, words: Words, boundary: float = 0.0) -> Parts:
        """The readable form: one caption with each image, differentiable. `vmap` takes it over pairs."""

    @abstractmethod
    def scores(self, block: Block, boundary: Boundary | None, prepared: Tensor | None = None) -> Scores:
        """The fast form, differentiable by the block's tensors. boundary: one a word, where it needs one."""


def check_constant(name: str, value: object, optional: bool = False) -> None:
    """Raises UsageError for a lambda that is no number above 0 (optional: nor None), an unknown pooling."""
    if name == "pooling" and value not in POOLINGS:
        raise unknown("pooling", value, POOLINGS)
    left_out = optional and value is None
    if name.startswith("lambda_") and not left_out and not (is_number(value) and value > 0):
        raise UsageError(f"{name} is {value!r}; it must be a finite number above 0{' or None' * optional}")


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def in_float32(values: Tensor) -> Tensor:
    """float16 and bfloat16 as float32, which scores are computed in: float16 takes EPSILON for 0."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def pair_parts(
    similarity: Similarity,
    regions: Float[Tensor, "region dim"],
    words: Float[Tensor, "word dim"],
    boundary: float,
) -> Parts:
    """The parts of one pair, without the image axis; NaN for the cosines of a region that is padding."""
    absent, regions = padding(regions), in_float32(regions)
    parts = similarity.parts(regions.unsqueeze(0), in_float32(words), boundary)
    one = Parts(*(value.squeeze(0) for value in parts))
    return one._replace(cosine=one.cosine.masked_fill(absent, torch.nan))


def padding(regions: Float[Tensor, "*image region dim"]) -> Bool[Tensor, "*image region"]:
    """Regions that are padding: zero vectors. An image of nothing else keeps them, with cosines of 0."""
    absent = ~regions.any(dim=-1)
    return absent & ~absent.all(dim=-1, keepdim=True)


def cosines(
    words: Float[Tensor, "*caption word dim"], regions: Float[Tensor, "*image region dim"]
) -> Float[Tensor, "*image word region"]:
    """Eq. 6: each word's cosine with each region; `ABSENT` where the region is padding."""
    return (words @ regions.mT).masked_fill(padding(regions).unsqueeze(-2), ABSENT)


def attended_cosine(
    weight: Float[Tensor, "image word region"],
    cosine: Float[Tensor, "image word region"],
    gram: Float[Tensor, "image region region"],
) -> Float[Tensor, "image word"]:
    """cos(word, sum of weighted regions); the scale of the weights cancels; 0 where all weights are 0.

    gram is V V^T per image. With it the attended vector w V is never built: its product with the word
    is w . s, and its squared length is w G w.
    """
    projection = (weight * cosine).sum(dim=-1)
    energy = bounded(((weight @ gram) * weight).sum(dim=-1), projection)
    length = energy.where(energy > 0, 1.0).sqrt()  # sqrt'(0) is infinite: NaN gradients without this
    return projection / length


def bounded(energy: Float[Tensor, "*axes"], projection: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """A vector's squared length, w G w, but at least its squared projection on a unit vector.

    No vector is shorter than its projection. Where regions cancel, w G w loses its digits and would give
    cosines far above 1. The gradient is that of w G w, with the bound as its value.
    """
    most = torch.maximum(energy, projection.square()).detach()
    return most + (energy - energy.detach())  # energy + (most - energy) would round


def relevance_weight(
    cosine: Float[Tensor, "image word region"], lambda_softmax: float
) -> Float[Tensor, "image word region"]:
    """Eq. 11: attention, LeakyReLU (paper: ReLU), normed over the caption's words, softmax over regions.

    The relevance effect is the mean of the cosines under these weights; the boundary plays no part.
    """
    relevance = leaky_relu(cosine, SLOPE)
    norm = relevance.norm(dim=-2, keepdim=True) + EPSILON
    logit = lambda_softmax * relevance / norm
    return torch.softmax(logit.masked_fill(cosine == ABSENT, -torch.inf), dim=-1)


def inverse_length(energy: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """1 / length of a vector of this squared length; 0 of a vector of zeros, or of one that rounding left."""
    some = energy > 0
    return energy.where(some, 1.0).rsqrt() * some  # rsqrt'(0) is infinite: NaN gradients without `where`


def pooled(
    values: Float[Tensor, "*axes part"],
    pooling: str,
    lambda_lse: float,
    absent: Bool[Tensor, "*image part"] | None = None,
) -> Float[Tensor, "*axes"]:
    """AVG ("mean") or LogSumExp ("lse") over words or regions; absent: those that take no part."""
    if pooling == "mean":
        if absent is None:
            return values.mean(dim=-1)
        return values.masked_fill(absent, 0.0).sum(dim=-1) / (~absent).sum(dim=-1)
    if pooling == "lse":
        logit = lambda_lse * (values if absent is None else values.masked_fill(absent, -torch.inf))
        return torch.logsumexp(logit, dim=-1) / lambda_lse
    raise unknown("pooling", pooling, POOLINGS)
