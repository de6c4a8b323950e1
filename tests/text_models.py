"""Tiny random text models of transformers, which tests save and load."""

from pathlib import Path

import seeds

SIZES = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 40,
}


def word_pieces() -> dict[str, int]:
    letters = [chr(letter) for letter in range(ord("a"), ord("z") + 1)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "the", "cat", "near", "bird", "##house", "."]
    tokens += [letter for letter in letters if letter != "a"] + [f"##{letter}" for letter in letters]
    return dict(zip(tokens, range(len(tokens)), strict=True))


def save_bert(path: Path, **changes: object) -> Path:
    """A BERT and its tokenizer; changes: of its config."""
    import transformers

    seeds.manual_seed(5)
    tokenizer = transformers.BertTokenizerFast(vocab=word_pieces())
    config = transformers.BertConfig(vocab_size=len(word_pieces()), **{**SIZES, **changes})
    transformers.BertModel(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
