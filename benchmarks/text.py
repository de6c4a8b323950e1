"""Text encoders: seconds and memory of a training step, each in a process of its own.

The BERT is random and of MiniLM's size (6 layers, 384 numbers): its speed does not depend on its weights.
"""

import json
import subprocess
import sys
import time

import numpy as np
import torch

from naaflib.config import preset
from naaflib.data.batches import Batch
from naaflib.data.captions import pad
from naaflib.model.bert import Pretrained
from naaflib.model.model import Model
from naaflib.training.loop import Trainer

from .measure import PeakMemory
from .rows import REGIONS, Row, lengths_like_f30k

WORDS = [f"word{number}" for number in range(3000)]
FEATURES, ROUNDS = 256, 3
BERT = {"model.text_encoder": "bert"}
VARIANTS = {
    "Bi-GRU": {},
    "BERT, frozen": {**BERT, "model.freeze_words": True},
    "BERT, fine-tuned": BERT,
    "BERT, fine-tuned, caption_chunk 32": {**BERT, "train.caption_chunk": 32},
}


def text_encoders(quick: bool) -> list[Row]:
    """A training step at D 256 with each text encoder."""
    rows = []
    for batch in (128,) if quick else (128, 512):
        for name, changes in VARIANTS.items():
            call = [sys.executable, "-m", "benchmarks.text", str(batch), json.dumps(changes)]
            found = json.loads(subprocess.run(call, check=True, capture_output=True, text=True).stdout)
            ours = f"{found['seconds']:.2f} s, {found['bytes'] / 1e6:.0f} MB above the model"
            rows.append(Row(f"training step, batch {batch}, D 256: {name}", ours, None, None, ""))
    return rows


def _text_model() -> Pretrained:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS]
    ids = dict(zip(tokens, range(len(tokens)), strict=True))
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
    )
    return Pretrained(BertModel(config, add_pooling_layer=False), tokenizer)


def _step(pairs: int, changes: dict[str, object]) -> dict[str, float]:
    torch.manual_seed(0)
    settings = preset("flickr8k", changes)
    pretrained = _text_model() if settings.model.text_encoder == "bert" else None
    model = Model(settings.model, FEATURES, len(WORDS), None, pretrained).train()
    rng = np.random.default_rng(0)
    lengths = lengths_like_f30k(pairs)
    if pretrained:
        captions = [" ".join(rng.choice(WORDS, int(length) - 2)) for length in lengths]
        tokens = torch.from_numpy(pad([model.text_encoder.ids(caption) for caption in captions])[0])
    else:
        tokens = torch.randint(4, len(WORDS), (pairs, int(lengths.max())))
    batch = Batch(torch.randn(pairs, REGIONS, FEATURES), tokens, lengths, torch.arange(pairs))
    trainer = Trainer(model, settings)
    seconds = []
    with PeakMemory() as memory:
        for _ in range(1 + ROUNDS):
            started = time.perf_counter()
            trainer.step(batch, 2)
            seconds.append(time.perf_counter() - started)
    return {"seconds": float(np.median(seconds[1:])), "bytes": memory.above["RssAnon"]}


if __name__ == "__main__":
    print(json.dumps(_step(int(sys.argv[1]), json.loads(sys.argv[2]))))
