"""What is measured on a GPU: scoring and training. Without one each row says that it was not measured."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from naaflib.config import model_settings, preset
from naaflib.data.batches import Batch
from naaflib.devices import products
from naaflib.evaluation.encoding import CHUNK, Encoded
from naaflib.evaluation.scores import MEMORY, split_scorer
from naaflib.metric.ranks import RankCounter
from naaflib.model.model import Model
from naaflib.training.loop import Trainer

from . import plain
from .cases import plain_step
from .measure import in_turns
from .rows import REGIONS, Row, lengths_like_f30k
from .scores import PER_IMAGE, packed, product

DEVICE = "cuda"
NOT_MEASURED = "not measured (no CUDA device)"
DIM = 1024
SCORING = {  # images, goal
    "F30K 1K": (1000, "< 0.15 s"),
    "COCO 5K": (5000, "< 4 s"),
    "10K x 50K": (10_000, "< 16 s"),
}
TENTH, WHOLE = 10_000, 100_000
TRAINING = {"flickr8k_precomp's sizes": (256, 2933), "F30K's sizes": (2048, 8481)}  # features, vocabulary
PAIRS, STEPS = 128, 20


def gpu_scoring(quick: bool) -> list[Row]:
    """All pairs at D 1024 beside the bare product; bf16 with what float32's recalls cost."""
    rows = []
    for name, (images, goal) in SCORING.items():
        for precision in ("tf32", "bf16"):
            what = f"GPU scoring, {name}, D {DIM}, {precision}"
            if not torch.cuda.is_available():
                rows.append(Row(what, NOT_MEASURED, None, None, goal))
                continue
            if not (quick and images > 1000):
                rows.append(_scored(what, images, precision, goal))
    return rows


def _scored(what: str, images: int, precision: str, goal: str) -> Row:
    model, split = _encoded(images, images)
    with products("tf32"):
        scorer = split_scorer(model, split, precision)
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        factors = split.images.flatten(0, 1).to(kind), split.words.to(kind)
        rows = range(0, images, CHUNK)
        seconds = in_turns(
            {
                "ours": (lambda: sum(len(part) for part in scorer.rows(MEMORY)))
                if precision == "bf16"
                else lambda: [scorer.score(split.images[start : start + CHUNK]) for start in rows],
                "gemm": lambda: product(*factors, rows=REGIONS * CHUNK),
            },
            rounds=3,
        )
    return Row(what, f"{seconds['ours']:.2f} s", seconds["ours"] / seconds["gemm"], None, goal)


def gpu_streaming(quick: bool) -> list[Row]:
    """100,000 x 500,000 to ranks: a tenth of the images against all captions, never a matrix."""
    what = f"GPU, {WHOLE:,} x {PER_IMAGE * WHOLE:,} streamed to ranks, bf16"
    if not torch.cuda.is_available():
        return [Row(what, NOT_MEASURED, None, None, "a measured tenth")]
    if quick:
        return []
    model, split = _encoded(TENTH, WHOLE)
    scorer = split_scorer(model, split, "bf16")

    def tenth() -> None:
        known = scorer.known(slice(0, TENTH), PER_IMAGE)
        rest = np.zeros(
            PER_IMAGE * (WHOLE - TENTH), known.own.dtype
        )  # of images not scored here: any values do
        counter = RankCounter(np.concatenate([known.own, rest]), PER_IMAGE)
        rows, columns = scorer.tiling(MEMORY, PER_IMAGE * WHOLE)
        for tile in counter.tiles(rows, columns):
            if tile.images.stop <= TENTH:
                counter.merge(tile.counts(scorer.scores_of(tile, known.bounds)))

    seconds = in_turns({"tenth": tenth}, rounds=1)["tenth"]
    ours = f"a tenth: {seconds:.0f} s measured, so {10 * seconds:.0f} s"
    return [Row(what, ours, None, None, "a measured tenth")]


def gpu_training(quick: bool) -> list[Row]:
    """Steps per second at batch 128, D 1024, beside a plain loop over captions."""
    rows = []
    for name, (features, vocabulary) in TRAINING.items():
        what, goal = f"GPU training, {name}, D {DIM}, batch {PAIRS}", ">= 20 x the loop"
        if torch.cuda.is_available():
            rows.append(_trained(what, features, vocabulary, goal))
        else:
            rows.append(Row(what, NOT_MEASURED, None, None, goal))
    return rows


def _trained(what: str, features: int, vocabulary: int, goal: str) -> Row:
    torch.manual_seed(0)
    settings = preset("f30k", {"model.dim": DIM, "loss.warmup_epochs": 1})
    model = Model(settings.model, features, vocabulary).to(DEVICE)
    trainer = Trainer(model, settings)
    lengths = lengths_like_f30k(PAIRS)
    tokens = torch.randint(4, vocabulary, (PAIRS, int(lengths.max())))
    batch = Batch(torch.randn(PAIRS, REGIONS, features), tokens, lengths, torch.arange(PAIRS))
    there = replace(batch, regions=batch.regions.to(DEVICE), tokens=tokens.to(DEVICE))
    jobs: dict[str, Callable[[], object]] = {
        "ours": lambda: [trainer.step(batch, 1) for _ in range(STEPS)],
        "plain": lambda: plain_step(model, there, plain.looped_scores),
    }
    with products("tf32"):
        seconds = in_turns(jobs, rounds=3)
    step = seconds["ours"] / STEPS
    return Row(what, f"{1 / step:.1f} steps a second", None, seconds["plain"] / step, goal)


def _encoded(images: int, captioned: int) -> tuple[Model, Encoded]:
    """Random unit vectors on the GPU: some images, and the captions of that many."""
    packing = packed(lengths_like_f30k(PER_IMAGE * captioned)).to(DEVICE)
    model = Model(model_settings(dim=DIM), 4, 4).to(DEVICE)
    regions = _unit(images * REGIONS).unflatten(0, (images, REGIONS))
    return model, Encoded(regions, _unit(packing.words), packing)


def _unit(rows: int, at_once: int = 2**18) -> Tensor:
    """Unit vectors (row, dim), made in place: the largest set fills most of the memory."""
    vectors = torch.empty(rows, DIM, device=DEVICE)
    for start in range(0, rows, at_once):
        part = vectors[start : start + at_once].normal_()
        part /= part.norm(dim=1, keepdim=True)
    return vectors
