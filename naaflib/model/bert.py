"""A text encoder of transformers (BERT, RoBERTa, DistilBERT, MiniLM, ...) whose words are those of Bi-GRU.

The caption is cut into the same words as for Bi-GRU. The model's tokenizer cuts each word into pieces; a
word's vector is the mean of its pieces' last hidden states, then one linear layer and unit norm. The marks
that the tokenizer sets before and after a caption (`[CLS]`, `[SEP]`) are `<start>` and `<end>`.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..data.captions import tokenize
from ..data.vocabulary import Vocabulary
from ..errors import NaafError, UsageError
from ..files import parse_json
from ..pretrained import load_transformers, weights_digest
from .encoders import TextEncoder, unit

CONFIG, TOKENIZER = "bert.config", "bert.tokenizer"  # tensors of a checkpoint: JSON as bytes
REMEDY = (
    "without a network copy the model's folder (config.json, tokenizer.json, model.safetensors) here and "
    "name it: --bert FOLDER"
)
QUOTED = 60  # characters of a caption in a sentence
COUNTED_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "data2vec-text")


class Pretrained(NamedTuple):
    """A text model and its tokenizer (of the library tokenizers, which transformers brings)."""

    model: Any
    tokenizer: Any

    @classmethod
    def load(cls, name: str | Path) -> "Pretrained":
        """By the name on the hub, or from a folder with config, tokenizer.json and weights.

        Raises NaafError without transformers, for a model that is not there, and for one of another kind.
        """
        transformers = _transformers()
        model = load_transformers(transformers.AutoModel, str(name), REMEDY, optional="pooler")
        if model.main_input_name != "input_ids":
            raise NaafError(f"{name} is a model of {model.main_input_name}, not of texts; name a text model")
        tokenizer = load_transformers(transformers.AutoTokenizer, str(name), REMEDY, add_prefix_space=True)
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise NaafError(f"{name}: its tokenizer has no tokenizer.json, from which word pieces are read")
        return cls(_encoder(model, name), backend)._checked(name)

    def _checked(self, name: object) -> "Pretrained":
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        places = self.tokenizer.encode(["a"], is_pretokenized=True).word_ids
        if places[0] is not None or places[-1] is not None or len(places) < 3:
            raise NaafError(
                f"{name}: its tokenizer sets no mark before and after a text, as BERT's does; name a model "
                "of BERT's kind"
            )
        return self

    def stored(self) -> dict[str, Tensor]:
        """What a checkpoint keeps beside the weights, so that nothing else is needed to read captions."""
        config = self.model.config.to_dict()
        config.pop("_name_or_path", None)  # where it came from: another machine has another place
        texts = {CONFIG: json.dumps(config, sort_keys=True), TOKENIZER: self.tokenizer.to_str()}
        return {
            name: torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)
            for name, text in texts.items()
        }

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> "Pretrained":
        """The same model, its weights still random, and tokenizer."""
        transformers = _transformers()
        from tokenizers import Tokenizer

        config, tokenizer = (tensors[name].numpy().tobytes().decode("utf-8") for name in (CONFIG, TOKENIZER))
        values = parse_json(config)
        known = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
        return cls(_encoder(transformers.AutoModel.from_config(known)), Tokenizer.from_str(tokenizer))

    def digest(self) -> str:
        """SHA-256 of the weights."""
        return weights_digest(self.model)


class BertEncoder(TextEncoder):
    """Pieces of a caption's words -> the text model -> means over each word -> linear -> unit norm.

    frozen: the text model's weights stay as they came, and it runs without dropout. `ids` are tuples of piece
    ids, one more than the tokenizer's, so that 0 is padding.
    """

    def __init__(self, pretrained: Pretrained, dim: int, frozen: bool, vocabulary: Vocabulary | None = None):
        super().__init__(vocabulary)
        self.pretrained, self.frozen = pretrained, frozen
        self.draws = not frozen  # dropout
        self.bert = pretrained.model.requires_grad_(not frozen)
        config = pretrained.model.config
        self.fc = nn.Linear(config.hidden_size, dim)
        nn.init.xavier_uniform_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)
        self.filler = int(getattr(config, "pad_token_id", None) or 0)
        # RoBERTa counts places from the padding's id on
        offset = self.filler + 1 if config.model_type in COUNTED_FROM_PADDING else 0
        self.longest = int(getattr(config, "max_position_embeddings", 0) or 0) - offset

    def train(self, mode: bool = True) -> "BertEncoder":
        """As usual, but a frozen text model has no dropout."""
        super().train(mode)
        self.bert.train(mode and not self.frozen)
        return self

    def ids(self, text: str) -> list[tuple[int, ...]]:
        """The piece ids of each of `words`. Raises UsageError for a caption longer than the model reads."""
        tokenizer, words = self.pretrained.tokenizer, tokenize(text)
        encoding = tokenizer.encode(words, is_pretokenized=True)
        found: list[list[int]] = [[] for _ in range(len(words) + 2)]
        for piece, place in zip(encoding.ids, _places(encoding.word_ids, len(words)), strict=True):
            found[place].append(piece + 1)
        pieces = [tuple(own or [self._unknown + 1]) for own in found]
        total = sum(map(len, pieces))
        if 0 < self.longest < total:
            raise UsageError(
                f"the text model reads {self.longest} pieces, and the caption {text[:QUOTED]!r}... has "
                f"{total}; shorten it"
            )
        return pieces

    @property
    def _unknown(self) -> int:
        """The piece of what the tokenizer cannot read; padding's where it reads everything."""
        token = getattr(self.pretrained.tokenizer.model, "unk_token", None)
        found = None if token is None else self.pretrained.tokenizer.token_to_id(token)
        return self.filler if found is None else int(found)

    def known(self, word: str) -> bool:
        """Whether the tokenizer has pieces for the word."""
        if word in self.words(""):
            return True
        pieces = self.pretrained.tokenizer.encode([word], is_pretokenized=True).ids[1:-1]
        return bool(pieces) and self._unknown not in pieces

    def pretrained_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.bert.parameters() if parameter.requires_grad]

    def stored(self) -> dict[str, Tensor]:
        return self.pretrained.stored()

    def facts(self) -> dict[str, object]:
        config, frozen = self.pretrained.model.config, ", frozen" if self.frozen else ""
        pieces = f"{self.pretrained.tokenizer.get_vocab_size():,} pieces"
        return {"text encoder": f"{config.model_type}, {pieces}{frozen}", **super().facts()}

    def forward(
        self, tokens: Int[Tensor, "caption length piece"], lengths: Int[Tensor, " caption"]
    ) -> Float[Tensor, "caption length dim"]:
        """Captions in any order, padded to any width; zero past each caption's length."""
        there = (tokens > 0).flatten(1)
        pieces = there.sum(dim=1)
        order = (~there).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(pieces.max())]
        mask = there.gather(1, order)
        ids = (tokens.flatten(1).gather(1, order) - 1).masked_fill(~mask, self.filler)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = self.bert(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        word = torch.arange(tokens.shape[1], device=tokens.device)
        own = (order // tokens.shape[2])[:, None, :] == word[:, None]  # (caption, word, piece)
        own = (own & mask[:, None, :]).to(states)
        means = own @ states / own.sum(dim=-1, keepdim=True).clamp(min=1)
        return unit(self.fc(means)) * own.any(dim=-1, keepdim=True)


def _places(word_ids: Iterable[int | None], words: int) -> list[int]:
    """The word of each piece, `<start>` 0, the caption's words from 1, `<end>` last."""
    found, seen = [], False
    for word in word_ids:
        seen = seen or word is not None
        found.append(word + 1 if word is not None else (words + 1 if seen else 0))
    if not seen:  # an empty caption: the first mark is the start, the rest the end
        found = [0 if place == 0 else words + 1 for place in range(len(found))]
    return found


def _encoder(model: Any, name: object = "the checkpoint") -> nn.Module:
    """The model without what no word vector needs."""
    config = model.config
    if getattr(config, "is_encoder_decoder", False) or not hasattr(config, "hidden_size"):
        raise NaafError(f"{name} is a {config.model_type}; a text encoder of BERT's kind is needed")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    return model.eval()


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise NaafError(
            "a BERT text encoder needs transformers; pip install 'naaflib[transformers]' brings it"
        ) from None
    return transformers
