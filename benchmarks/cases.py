"""What is measured of training, metrics, data and start: ours beside a plain loop and beside the floor."""

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import naaflib
from naaflib.config import preset
from naaflib.data.batches import Batch, Batches
from naaflib.data.splits import open_split
from naaflib.data.vocabulary import Vocabulary
from naaflib.model.model import Model
from naaflib.similarity.packing import pack
from naaflib.training.loop import Trainer
from naaflib.training.loss import hinge_loss

from . import plain
from .measure import PeakMemory, in_turns, seconds_of
from .rows import REGIONS, Row, lengths_like_f30k, unit


def training_step(quick: bool) -> list[Row]:
    """One step at batch 128, D 1024 on Flickr30K-like captions beside its products and GRU alone, and beside
    loops over captions that score in float64, as the released code does, and in float32."""
    loops = {
        "float64 loop": lambda images, captions, *rest: plain.looped_scores(
            images.double(), captions.double(), *rest
        ).float(),
        "float32 loop": plain.looped_scores,
    }
    return _step_rows("training step, D 1024", 1024, 2048, 8481, "<= 1.5 x its parts, >= 3 x", loops, quick)


def small_training_step(quick: bool) -> list[Row]:
    """The same at Flickr8k's size, beside the padded form."""
    padded = {"padded form": plain.padded_scores}
    return _step_rows("training step, D 256", 256, 256, 2933, ">= 4 x", padded, quick)


def _step_rows(
    what: str,
    dim: int,
    features: int,
    vocabulary: int,
    goal: str,
    others: Mapping[str, Callable[..., Tensor]],
    quick: bool,
) -> list[Row]:
    """One row for each of the other ways to score, all measured in turns."""
    torch.manual_seed(0)
    pairs = 128
    settings = preset("f30k", {"model.dim": dim, "loss.warmup_epochs": 1})
    model = Model(settings.model, features, vocabulary)
    trainer = Trainer(model, settings)
    lengths = lengths_like_f30k(pairs)
    tokens = torch.randint(4, vocabulary, (pairs, int(lengths.max())))
    batch = Batch(torch.randn(pairs, REGIONS, features), tokens, lengths, torch.arange(pairs))
    plainly = {name: partial(plain_step, model, batch, score) for name, score in others.items()}
    seconds = in_turns(
        {"ours": lambda: trainer.step(batch, 1), "parts": _parts(model, batch), **plainly},
        rounds=1 if quick else 5,
        competitors=others,
    )
    return [
        Row(
            f"{what}, batch {pairs}, beside a {name}",
            f"{seconds['ours']:.2f} s",
            seconds["ours"] / seconds["parts"],
            seconds[name] / seconds["ours"],
            f"{goal} the {name}",
        )
        for name in others
    ]


def _parts(model: Model, batch: Batch) -> Callable[[], None]:
    """The floor of a step: its matrix products and its GRU, forward and backward, nothing else."""
    packing = pack(batch.lengths)
    dim = model.settings.dim
    v, u = unit(batch.regions.shape[0] * REGIONS, dim), unit(packing.words, dim)
    grad = torch.randn(len(v), packing.words)
    flat = batch.regions.flatten(0, 1)
    by_output = torch.randn(len(flat), dim)
    weight = model.image_encoder.fc.weight.detach()
    rnn = model.text_encoder.rnn
    embedded = model.text_encoder.embed(batch.tokens).detach()

    def run() -> None:
        _ = flat @ weight.mT, by_output.mT @ flat, v @ u.mT, grad @ u, grad.mT @ v
        states = pack_padded_sequence(
            embedded.requires_grad_(), batch.lengths, batch_first=True, enforce_sorted=False
        )
        padded, _ = pad_packed_sequence(rnn(states)[0], batch_first=True)
        padded.sum().backward()

    return run


def plain_step(model: Model, batch: Batch, score: Callable[..., Tensor]) -> None:
    images = model.image_encoder(batch.regions)
    captions = model.text_encoder(batch.tokens, batch.lengths)
    model.zero_grad(set_to_none=True)
    hinge_loss(score(images, captions, batch.lengths, 0.1), 0.2).backward()


def metrics(quick: bool) -> list[Row]:
    """Recalls and ranks of a large score matrix."""
    images = 1000 if quick else 5000
    scores = np.random.default_rng(0).standard_normal((images, 5 * images), dtype=np.float32)
    with PeakMemory() as memory:
        seconds = in_turns({"ours": lambda: naaflib.retrieval_metrics(scores)}, rounds=3)["ours"]
    used = memory.above["RssAnon"] / scores.nbytes
    return [
        Row(
            f"metrics, {images} x {5 * images}",
            f"{seconds:.2f} s, {used:.2f} x the matrix beside it",
            None,
            None,
            "< 3 s, < 2 x the matrix",
        )
    ]


def start(quick: bool) -> list[Row]:
    """What a user waits for before anything happens."""
    rounds = 3 if quick else 7
    help_, torch_, ours = (
        seconds_of(["-c", code], rounds)
        for code in (
            "import sys; sys.argv = ['naaf', '--help']; from naaflib.cli import main; main()",
            "import torch",
            "import naaflib; naaflib.score_matrix, naaflib.load_checkpoint",
        )
    )
    return [
        Row("start, naaf --help", f"{help_:.2f} s", None, None, "< 0.4 s"),
        Row(
            "start, import naaflib and its model",
            f"{ours:.2f} s = torch + {ours - torch_:.2f} s",
            None,
            None,
            "torch + 0.2 s",
        ),
    ]


def data(quick: bool) -> list[Row]:
    """Training on a sparse file of COCO's shape: memory, and the share of time that waits for data."""
    rows, steps = 113_287, 10 if quick else 60
    with tempfile.TemporaryDirectory(dir=os.environ.get("NAAF_BENCH_DIR")) as name:
        folder = Path(name)
        shape = (rows, REGIONS, 2048)
        features = np.lib.format.open_memmap(folder / "train_ims.npy", "w+", np.float32, shape)
        features[:, 0, 0] = 1.0  # a page an image; the rest are holes, which use no disk
        del features
        words = [f"word{i}" for i in range(200)]
        rng = np.random.default_rng(0)
        text = [" ".join(rng.choice(words, 10)) for _ in range(1000)]
        captions = (text * (rows * 5 // len(text) + 1))[: rows * 5]
        (folder / "train_caps.txt").write_text("\n".join(captions) + "\n")
        split = open_split(folder, "train")
        settings = preset("coco", {"model.dim": 64, "train.batch_size": 256})
        vocabulary = Vocabulary.build(text, 1)
        with PeakMemory() as memory:
            batches = Batches(split, vocabulary.encode, settings.train.batch_size, 0)
            trainer = Trainer(Model(settings.model, 2048, len(vocabulary), vocabulary), settings)
            started = time.perf_counter()
            for index, batch in enumerate(batches.epoch(1)):
                trainer.step(batch, 1)
                if index == steps:
                    break
            seconds = time.perf_counter() - started
    return [
        Row(
            f"training on a 33 GB file, {steps} steps",
            f"{memory.above['RssAnon'] / 2**30:.2f} GB anonymous, "
            f"{memory.above['VmRSS'] / 2**30:.2f} GB in all, "
            f"{100 * batches.waited / seconds:.0f} % of the time waits for data",
            None,
            None,
            "< 1.5 GB anonymous, never waits",
        )
    ]


def explorer(quick: bool) -> list[Row]:
    """One change of the explorer: a pair explained again and its page drawn."""
    from naaflib.data.scenes import dataset as scenes
    from naaflib.explorer import explore

    with tempfile.TemporaryDirectory() as name:
        folder = scenes.build(Path(name) / "scenes", train=20, dev=10, test=10 if quick else 250)
        split = open_split(folder, "test")
        vocabulary = Vocabulary.build(split.captions, 1)
        settings = preset("scenes").model
        widget = explore(Model(settings, split.regions.shape[2], len(vocabulary), vocabulary), split)
        seconds = []
        for step in range(12):
            started = time.perf_counter()
            widget.turn(constants=widget.state.constants._replace(boundary=0.01 * step))
            seconds.append(time.perf_counter() - started)
    return [Row("explorer, one change", f"{1000 * float(np.median(seconds)):.0f} ms", None, None, "< 150 ms")]
