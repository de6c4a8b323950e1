"""Encoders and boundary joined: what a checkpoint holds and what every use of a trained model calls."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..config import ModelSettings
from ..data.captions import pad
from ..data.glove import Vectors
from ..data.vocabulary import Vocabulary
from ..devices import memory_bytes
from ..display import Described
from ..errors import NaafError, UsageError
from ..similarity import Similarity
from ..similarity.boundary import Boundaries
from ..similarity.matrix import scored
from ..similarity.methods import make
from .bert import BertEncoder, Pretrained
from .encoders import GruEncoder, ImageEncoder, TextEncoder

WEIGHT_BYTES = 4  # float32


def similarity_of(settings: ModelSettings) -> Similarity:
    """The similarity that settings ask for, at inference."""
    return make(settings.method, settings.model_dump())


class Model(Described, nn.Module):
    """encode_images, encode_captions and score are for use (no gradients); training calls the encoders.

    vocabulary: None for a released checkpoint loaded without its JSON; then only ids can be encoded.
    """

    def __init__(
        self,
        settings: ModelSettings,
        region_dim: int,
        words: int,
        vocabulary: Vocabulary | None = None,
        pretrained: Pretrained | None = None,
    ):
        """words: how many the Bi-GRU has vectors for. pretrained: the text model of the encoder `bert`."""
        super().__init__()
        _check_size(settings, region_dim, words)
        self.settings, self.region_dim = settings, region_dim
        self.image_encoder = ImageEncoder(region_dim, settings.dim, settings.image_encoder == "weight-norm")
        self.text_encoder = _text_encoder(settings, words, vocabulary, pretrained)
        self.register_buffer("boundary_pair", torch.zeros(2, dtype=torch.float64))

    def facts(self) -> dict[str, object]:
        """Method, dimensions, vocabulary, boundaries of NAAF, number of parameters and device."""
        found: dict[str, object] = {
            "method": self.settings.method,
            "dim": self.settings.dim,
            "region features": self.region_dim,
            **self.text_encoder.facts(),
        }
        if self.similarity.needs_boundary:
            found["boundary"] = "{:.4f} (inference {:.4f})".format(*self.boundary)
        parameters = sum(parameter.numel() for parameter in self.parameters())
        return {**found, "parameters": f"{parameters:,}", "device": self.device}

    @property
    def vocabulary(self) -> Vocabulary | None:
        return self.text_encoder.vocabulary

    @vocabulary.setter
    def vocabulary(self, vocabulary: Vocabulary | None) -> None:
        self.text_encoder.vocabulary = vocabulary

    @property
    def boundary(self) -> Boundaries:
        """The running boundaries, .training and .inference, as floats; both 0 for a method without."""
        return Boundaries(*self.boundary_pair.tolist())

    @boundary.setter
    def boundary(self, pair: Boundaries) -> None:
        self.boundary_pair = torch.tensor(pair, dtype=torch.float64, device=self.device)  # never float32

    @property
    def similarity(self) -> Similarity:
        """As it scores at inference."""
        return similarity_of(self.settings)

    @property
    def device(self) -> torch.device:
        return self.boundary_pair.device

    def set_vectors(self, vectors: Vectors) -> None:
        """Put pretrained word vectors in place. Raises NaafError where their dimension is another, and for
        an encoder without any.
        """
        if not isinstance(self.text_encoder, GruEncoder):
            raise NaafError(f"model.text_encoder {self.settings.text_encoder} takes no GloVe vectors")
        dim = vectors.values.shape[1]
        if dim != self.settings.word_dim:
            raise NaafError(
                f"the vectors have {dim} dimensions and model.word_dim is {self.settings.word_dim}; "
                f"add --set model.word_dim={dim}"
            )
        weight = self.text_encoder.embed.weight
        with torch.no_grad():
            weight[torch.from_numpy(vectors.ids)] = torch.from_numpy(vectors.values).to(weight)

    @torch.no_grad()
    def encode_images(self, regions: Tensor) -> Float[Tensor, "image region dim"]:
        """Features (N, R, F) -> unit regions (N, R, D). Raises NaafError for another feature dimension."""
        if regions.ndim != 3 or regions.shape[-1] != self.region_dim:
            raise NaafError(
                f"features {tuple(regions.shape)} do not fit: the model was trained on {self.region_dim} "
                "features a region; evaluate it on the data set that it was trained on"
            )
        units = self.image_encoder(regions.to(self.image_encoder.fc.bias))
        _check_directions(units, regions.to(units.device).any(dim=-1), "a region of an image")
        return units

    def encode_captions(
        self, tokens: Int[Tensor, "caption length *piece"], lengths: Int[Tensor, " caption"]
    ) -> Float[Tensor, "caption length dim"]:
        """Ids of words (C, L) or pieces (C, L, P), lengths (C,), captions in any order -> unit words
        (C, L, D), 0 past a length.
        """
        units = self.text_encoder.encode(tokens, lengths)
        within = torch.arange(units.shape[1], device=units.device) < lengths.to(units.device)[:, None]
        _check_directions(units, within, "a word")
        return units

    def encode_texts(self, texts: Sequence[str]) -> tuple[Float[Tensor, "caption length dim"], Tensor]:
        """Captions as text -> unit words and lengths. Raises NaafError where the model has no vocabulary."""
        tokens, lengths = (torch.from_numpy(a) for a in pad([self.text_encoder.ids(text) for text in texts]))
        return self.encode_captions(tokens, lengths), lengths

    @torch.no_grad()
    def score(self, images: Tensor, captions: Tensor, lengths: Tensor) -> Float[Tensor, "image caption"]:
        """Inference scores of encoded images and captions, with the model's own boundary and settings."""
        return scored(images, captions, lengths, self.similarity, self.boundary.inference)


def _check_directions(units: Tensor, wanted: Tensor, what: str) -> None:
    """Raises NaafError where a wanted vector is no unit vector: overflow makes it 0, and scores with it.

    units (..., dim); wanted (...).
    """
    squares = units.square().sum(dim=-1)
    if bool((wanted & ~(squares > 0)).any()):
        raise NaafError(
            f"the model gives {what} no direction, because its numbers leave the range of "
            f"{str(units.dtype).removeprefix('torch.')}; its weights are damaged, or the features of "
            "another kind"
        )


def _check_size(settings: ModelSettings, region_dim: int, words: int) -> None:
    """Raises UsageError for weights that this machine's memory cannot hold."""
    dim, word_dim = settings.dim, settings.word_dim
    count = region_dim * dim + words * word_dim + 6 * dim * (word_dim + dim)
    memory = memory_bytes()
    if WEIGHT_BYTES * count > memory:
        raise UsageError(
            f"a model of model.dim {dim:,} and model.word_dim {word_dim:,} for {region_dim:,} features and "
            f"{words:,} words takes {WEIGHT_BYTES * count / 2**30:,.0f} GiB, this machine has "
            f"{memory / 2**30:,.0f}; lower them"
        )


def _text_encoder(
    settings: ModelSettings, words: int, vocabulary: Vocabulary | None, pretrained: Pretrained | None
) -> TextEncoder:
    if settings.text_encoder == "bert":
        if pretrained is None:
            raise NaafError(
                "model.text_encoder bert starts from a pretrained text model; name it (--bert NAME_OR_FOLDER)"
            )
        return BertEncoder(pretrained, settings.dim, settings.freeze_words, vocabulary)
    if pretrained is not None:
        raise NaafError(
            "a pretrained text model is for model.text_encoder bert; --set model.text_encoder=bert"
        )
    encoder = GruEncoder(words, settings.word_dim, settings.dim, settings.word_init, vocabulary)
    encoder.embed.weight.requires_grad_(not settings.freeze_words)
    return encoder
