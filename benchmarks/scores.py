"""What is measured of scoring: all pairs on the CPU, their memory, and ranks without a matrix."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from naaflib.config import model_settings
from naaflib.evaluation import Encoded, score_encoded, score_to_file, streamed_metrics
from naaflib.evaluation.encoding import CHUNK
from naaflib.evaluation.rescoring import RoughScorer
from naaflib.metric.retrieval import retrieval_metrics
from naaflib.model.model import Model
from naaflib.similarity.matrix import BLOCK_WORDS, Scorer
from naaflib.similarity.naaf import Naaf
from naaflib.similarity.packing import Packing, pack

from . import plain
from .measure import PeakMemory, in_turns
from .rows import REGIONS, Row, lengths_like_f30k, unit

PER_IMAGE = 5
BUDGET = 2.0**28  # bytes for blocks of scores


def packed(lengths: Tensor) -> Packing:
    """As an evaluation packs its captions."""
    return pack(lengths, BLOCK_WORDS, CHUNK * PER_IMAGE)


def encoded(images: int, dim: int) -> tuple[Model, Encoded]:
    """An untrained model and random unit vectors: Flickr30K's lengths, five captions an image."""
    packing = packed(lengths_like_f30k(PER_IMAGE * images))
    model = Model(model_settings(dim=dim), 4, 4)
    return model, Encoded(unit(images, REGIONS, dim), unit(packing.words, dim), packing)


def scoring(quick: bool) -> list[Row]:
    """All pairs on the CPU, D 1024, beside the bare matrix product and a float64 loop on a slice."""
    torch.manual_seed(0)
    images, captions, dim = (128, 640, 1024) if quick else (1000, 5000, 1024)
    v, lengths = unit(images, REGIONS, dim), lengths_like_f30k(captions)
    packing = packed(lengths)
    words = unit(packing.words, dim)
    part = min(32, images)
    slice_lengths = lengths[:32]
    padded = unit(32, int(slice_lengths.max()), dim).double()
    loop_images = v[:part].double()
    ours = Scorer(words, packing, Naaf(), 0.1)
    half = RoughScorer(Encoded(v, words, packing), Naaf(), 0.1, torch.bfloat16)
    factors = [x.bfloat16() for x in (v.flatten(0, 1), words)]
    seconds = in_turns(
        {
            "ours": lambda: ours(v),
            "gemm": lambda: product(v.flatten(0, 1), words),
            "ours bf16": lambda: np.concatenate(list(half.rows(BUDGET))),
            "gemm bf16": lambda: product(*factors),
            "loop": lambda: plain.looped_scores(loop_images, padded, slice_lengths, 0.1),
        },
        rounds=2,
        competitors=["loop"],
    )
    scale = images * packing.words / (part * int(slice_lengths.sum()))
    size = f"{images} x {captions}, D {dim}"
    return [
        Row(
            f"scoring, float32, {size}",
            f"{seconds['ours']:.2f} s",
            seconds["ours"] / seconds["gemm"],
            seconds["loop"] * scale / seconds["ours"],
            "<= 1.25 x the product, >= 10 x the float64 loop",
        ),
        Row(
            f"scoring, bf16 product and float32's recalls, {size}",
            f"{seconds['ours bf16']:.2f} s = {seconds['ours bf16'] / seconds['ours']:.2f} x float32; "
            f"{half.again // 3 / (images * captions):.2%} of the pairs again",
            seconds["ours bf16"] / seconds["gemm bf16"],
            seconds["loop"] * scale / seconds["ours bf16"],
            "<= 0.6 x float32, with AMX 0.4",
        ),
    ]


def product(regions: Tensor, words: Tensor, rows: int = 36 * 128) -> None:
    """The floor: every cosine once, in blocks that fit memory, thrown away."""
    out = regions.new_empty(min(rows, len(regions)), len(words))
    for start in range(0, len(regions), rows):
        part = regions[start : start + rows]
        torch.mm(part, words.mT, out=out[: len(part)])


def scoring_memory(quick: bool) -> list[Row]:
    """Memory beside the embeddings while scores go to a file, under a budget."""
    torch.manual_seed(0)
    images, dim = (500, 64) if quick else (5000, 64)
    model, split = encoded(images, dim)
    with tempfile.TemporaryDirectory() as folder, PeakMemory() as memory:
        started = time.perf_counter()
        score_to_file(model, split, Path(folder) / "scores.npy", progress=False, memory=BUDGET)
        seconds = time.perf_counter() - started
    return [
        Row(
            f"scoring into a .npy, {images} x {PER_IMAGE * images}, D {dim}, budget {BUDGET / 2**30:.2f} GB",
            f"{memory.above['VmRSS'] / 2**30:.2f} GB beside the embeddings, {seconds:.0f} s",
            None,
            None,
            "<= 1 GB",
        )
    ]


def streaming(quick: bool) -> list[Row]:
    """Ranks and ten best answers without a matrix, beside the matrix and its metrics; equal, or it fails."""
    torch.manual_seed(0)
    images, dim = (400, 64) if quick else (2000, 64)
    model, split = encoded(images, dim)
    found: dict[str, object] = {}

    def whole() -> None:
        found["whole"] = retrieval_metrics(score_encoded(model, split, progress=False), PER_IMAGE, top=10)

    def streamed() -> None:
        found["streamed"] = streamed_metrics(model, split, PER_IMAGE, memory=BUDGET, top=10, progress=False)

    with PeakMemory() as memory:
        streamed()
    seconds = in_turns({"whole": whole, "streamed": streamed}, rounds=1 if quick else 3)
    for way in ("i2t", "t2i"):
        one, other = (getattr(metrics, way) for metrics in found.values())
        assert np.array_equal(one.ranks, other.ranks)
        assert np.array_equal(one.best.answers, other.best.answers)
    ratio = seconds["streamed"] / seconds["whole"]
    return [
        Row(
            f"ranks and 10 best answers without a matrix, {images} x {PER_IMAGE * images}, D {dim}",
            f"{seconds['streamed']:.2f} s = {ratio:.2f} x with the matrix, equal; "
            f"{memory.above['RssAnon'] / 2**20:.0f} MB",
            None,
            None,
            "equal",
        )
    ]
