"""From features and word ids to unit vectors; all initialisation.

The parameter names (fc, embed, rnn) are the released code's, so that its checkpoints load by name.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from ..data.captions import tokenize
from ..data.vocabulary import END, START, Vocabulary
from ..errors import NaafError
from ..similarity.base import EPSILON, in_float32


def unit(vectors: Float[Tensor, "*axes dim"]) -> Float[Tensor, "*axes dim"]:
    """Vectors divided by their L2 norm, in float32 at least; a zero vector stays zero."""
    vectors = in_float32(vectors)  # autocast's float16 has no EPSILON: 0 / 0
    return vectors / (torch.linalg.vector_norm(vectors, dim=-1, keepdim=True) + EPSILON)


class ImageEncoder(nn.Module):
    """One linear layer, then unit norm. weight_normed: the layer's weight is a direction and a length."""

    def __init__(self, region_dim: int, dim: int, weight_normed: bool = False):
        super().__init__()
        self.fc = nn.Linear(region_dim, dim)
        if weight_normed:
            self.fc = weight_norm(self.fc, dim=None)
        else:
            nn.init.xavier_uniform_(self.fc.weight)
            nn.init.zeros_(self.fc.bias)

    def forward(self, regions: Float[Tensor, "image region feature"]) -> Float[Tensor, "image region dim"]:
        """Unit vectors; a zero vector for a region whose features are all zero, which is padding."""
        return unit(self.fc(regions)) * regions.any(dim=-1, keepdim=True)


class TextEncoder(nn.Module):
    """From a caption to unit vectors, one a word: what a text encoder is, and the words that it reads.

    Another encoder is a subclass with a `forward`, and where its words are not these, with `words`, `ids` and
    `known` of its own. vocabulary: None for a released checkpoint loaded without its JSON.
    """

    draws = True  # whether training draws random numbers (dropout): what they are depends on all captions

    def __init__(self, vocabulary: Vocabulary | None = None):
        super().__init__()
        self.vocabulary = vocabulary

    def words(self, text: str) -> tuple[str, ...]:
        """The caption as the model reads it, `<start>` and `<end>` included: one vector each."""
        return START, *tokenize(text), END

    def ids(self, text: str) -> Sequence[int] | Sequence[tuple[int, ...]]:
        """The id of each of `words`, or the ids of its pieces; 0 is padding. Raises NaafError without a
        vocabulary.
        """
        if self.vocabulary is None:
            raise NaafError(
                "this checkpoint has no vocabulary; name its JSON (--vocabulary) to read captions"
            )
        return self.vocabulary.encode(text)

    def known(self, word: str) -> bool:
        """Whether the model has a vector for the word, or reads `<unk>`."""
        return self.vocabulary is not None and word in self.vocabulary

    def pretrained_parameters(self) -> list[nn.Parameter]:
        """Weights that come trained and go on learning, at a rate of their own (train.bert_learning_rate)."""
        return []

    def stored(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of the encoder beside its weights and vocabulary."""
        return {}

    def facts(self) -> dict[str, object]:
        """What a model says of its text encoder."""
        return {"vocabulary": "none"} if self.vocabulary is None else {}

    @torch.no_grad()
    def encode(
        self, ids: Int[Tensor, "caption length *piece"], lengths: Int[Tensor, " caption"]
    ) -> Float[Tensor, "caption length dim"]:
        """`forward` without gradients, on the encoder's device."""
        return self(ids.to(next(self.parameters()).device), lengths)


class GruEncoder(TextEncoder):
    """Word vectors, a one-layer bidirectional GRU, the mean of its directions, unit norm.

    word_init: the word vectors start uniform in +- this. With the published 0.1 the GRU's biases outweigh
    them, and all words of a caption start nearly parallel.
    """

    draws = False

    def __init__(
        self, words: int, word_dim: int, dim: int, word_init: float, vocabulary: Vocabulary | None = None
    ):
        super().__init__(vocabulary)
        self.embed = nn.Embedding(words, word_dim)
        nn.init.uniform_(self.embed.weight, -word_init, word_init)
        self.rnn = nn.GRU(word_dim, dim, num_layers=1, batch_first=True, bidirectional=True)

    def facts(self) -> dict[str, object]:
        return {"words": f"{self.embed.num_embeddings:,}", **super().facts()}

    def forward(
        self, tokens: Int[Tensor, "caption length"], lengths: Int[Tensor, " caption"]
    ) -> Float[Tensor, "caption length dim"]:
        """Captions in any order, padded to any width; zero past each caption's length."""
        packed = pack_padded_sequence(
            self.embed(tokens), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        states = self.rnn(packed)[0]
        # the order is undone below: torch would fetch it from a GPU, and wait
        longest_first = PackedSequence(states.data, states.batch_sizes)
        padded, _ = pad_packed_sequence(longest_first, batch_first=True, total_length=tokens.shape[1])
        forward, backward = padded.index_select(0, states.unsorted_indices).chunk(2, dim=-1)
        return unit((forward + backward) / 2)
