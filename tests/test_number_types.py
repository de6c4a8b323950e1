"""The type that numbers were written as shows in their spread; plain float32 is never taken for another."""

import numpy as np
import pytest
import seeds

from naaflib import open_split
from naaflib.data.number_types import TYPES, other_type
from naaflib.data.prepare.verify import verify
from naaflib.errors import NaafError

REGIONS = 36


def features(kind, dim, seed=0):
    rng = seeds.rng(seed)
    normal = rng.normal(size=(REGIONS, dim))
    return {
        "normal": normal,
        "rectified": np.maximum(normal, 0),
        "sparse": np.maximum(normal - np.quantile(normal, 0.85), 0),  # the same count for every seed
        "exponential": rng.exponential(size=normal.shape),
        "unit length": normal / np.linalg.norm(normal, axis=1, keepdims=True),
        "narrow": rng.uniform(0.5, 1.5, size=normal.shape),
        "small": 1e-3 * normal,
        "large": 1e3 * normal,
        "padded": np.where(np.arange(REGIONS)[:, None] < REGIONS // 2, normal, 0),
    }[kind]


KINDS = ("normal", "rectified", "sparse", "exponential", "unit length", "narrow", "small", "large", "padded")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [4, 7, 64, 2048])
def test_float32_is_float32_however_it_came_about(kind, dim):
    for seed in range(7):
        values = features(kind, dim, seed)
        exact = values.astype("<f4")
        rounded = (exact.view("<u4") & 0xFFFF0000).view("<f4")  # bfloat16, widened
        for written in (exact, values.astype("f2").astype("<f4"), rounded):
            assert other_type(written.tobytes(), REGIONS) is None


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((REGIONS, 8)),
        np.ones((REGIONS, 8)),
        np.eye(REGIONS, 64),
        np.arange(REGIONS * 8).reshape(REGIONS, 8) // 3,
        seeds.rng(0).dirichlet(np.full(1600, 0.05), size=REGIONS),  # probabilities of classes
        np.full((REGIONS, 8), np.nan),
    ],
    ids=("zeros", "ones", "one-hot", "counts", "probabilities", "nan"),
)
def test_unusual_float32_is_left_alone(values):
    assert other_type(values.astype("<f4").tobytes(), REGIONS) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [8, 16, 256])
@pytest.mark.parametrize("code", ["<f2", "<f8", ">f4", ">f2", ">f8"])
def test_another_type_is_recognised(kind, dim, code):
    values = features(kind, dim)
    assert other_type(values.astype(code).tobytes(), REGIONS) == TYPES[code]
    assert other_type(values.astype("f4").astype(code).tobytes(), REGIONS) == TYPES[code]


@pytest.mark.parametrize("nonzero", [0, 1, 4, 8, 15, 16, 17, 24, 32, 128])
def test_float32_with_few_numbers_that_are_not_zero_is_float32(nonzero):
    for seed in range(25):
        values = features("exponential", 4, seed).ravel()
        values[seeds.rng(seed, 1).permutation(values.size)[nonzero:]] = 0
        for written in (values.astype("<f4"), values.astype("f2").astype("<f4")):
            assert other_type(written.tobytes(), REGIONS) is None


def test_a_few_numbers_say_nothing():
    assert other_type(features("normal", 3)[:10].astype("<f2").tobytes(), 10) is None


def test_features_that_an_earlier_conversion_read_wrongly_do_not_open(tmp_path):
    wrong = [np.frombuffer(features("normal", 16, seed).astype("<f2").tobytes(), "<f4") for seed in range(3)]
    np.save(tmp_path / "test_ims.npy", np.stack(wrong).reshape(3, REGIONS, 8))
    (tmp_path / "test_caps.txt").write_text("a caption\n" * 15)
    with pytest.raises(NaafError, match=r"test_ims\.npy: its numbers were written as float16"):
        open_split(tmp_path, "test")
    assert "float16" in verify(tmp_path).failures[0].remedy
