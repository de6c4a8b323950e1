"""NAAF's GPU kernels: run by triton's interpreter against the vectorised form, and compiled for two GPUs.

`make test-triton` installs triton and runs them. The interpreter takes milliseconds a word: cases are tiny.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from functools import cache, partial
from pathlib import Path

import pytest
import seeds
import torch
from torch.nn.functional import normalize

import naaflib
from naaflib.similarity import autograd, packed
from naaflib.similarity.base import ALL_EFFECTS, Effects
from naaflib.similarity.matrix import all_cosines
from naaflib.similarity.packing import pack

pytest.importorskip("triton", reason="triton is not installed: make test-triton")
interpreted = pytest.mark.skipif(
    os.environ.get("TRITON_INTERPRET") != "1", reason="TRITON_INTERPRET=1 was not set: make test-triton"
)
pytestmark = pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")  # numpy's, of NaN

IMAGES, REGIONS, DIM = 2, 7, 5
LENGTHS = (3, 1, 2, 3, *[1] * 17)  # a tile has 16 captions
CUT = 6  # words: the captions of length 1 are in three groups


@pytest.fixture(autouse=True)
def _faster(monkeypatch):
    """The interpreter prepares triton's language again for each function call: half of its time."""
    from triton.runtime import interpreter

    ready = set()

    def call(function, *arguments, **more):
        if function.fn.__module__ not in ready:
            interpreter._patch_lang(function.fn)
            ready.add(function.fn.__module__)
        return function.rewrite()(*arguments, **more)

    monkeypatch.setattr(interpreter.InterpretedFunction, "__call__", call)


@pytest.fixture
def tiled():
    from naaflib.similarity import tiled

    return tiled


def unit(*shape: int, seed: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, generator=seeds.generator(seed)), dim=-1)


def alike(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> bool:
    """As a whole: where attended regions nearly cancel, float32 has few digits of a gradient's element."""
    return bool((one - other).norm() <= tolerance * other.norm())


class Case:
    """Cosines of random images and captions, ready for either form."""

    def __init__(self, lengths=LENGTHS, images=IMAGES, regions=REGIONS, cut=CUT):
        self.packing = pack(torch.tensor(lengths), most_words=cut)
        self.images = unit(images, regions, DIM, seed=1)
        self.words = unit(self.packing.words, DIM, seed=2)
        self.boundary = torch.full((self.packing.words,), 0.3)
        self.share = torch.randn(images, len(lengths), generator=seeds.generator(3))

    def how(self, intra=5.0, lambda_softmax=20.0, effects=ALL_EFFECTS):
        groups = self.packing.groups
        table = None if intra is None else packed.intra_attention(self.words, groups, intra)
        return packed.Constants(groups, lambda_softmax, table, effects)

    def check(self, tiled, how, cosine=None, tolerance=1e-6):
        """Both forms agree, the vectorised one in float64."""
        cosine = all_cosines(self.images, self.words) if cosine is None else cosine
        gram = self.images @ self.images.mT
        scores, best, below = tiled.tiled_scores(cosine, gram, self.boundary, how)
        ours = tiled.tiled_gradients(self.share, cosine, gram, self.boundary, how, below)

        wide = cosine.double(), gram.double(), self.boundary.double()
        constants = how._replace(intra=None if how.intra is None else how.intra.double())
        expected, largest = packed.block_scores(*wide, constants)
        shares = packed.spread_to_words(self.share.double(), how.groups)
        theirs = packed.block_gradient(shares, *wide, constants)
        assert below.dtype == torch.bool
        assert torch.equal(below, packed.mismatched(largest, wide[2], constants))
        torch.testing.assert_close(best.double(), largest, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(scores.double(), expected, rtol=0, atol=tolerance, equal_nan=True)
        for one, other in zip(ours, theirs, strict=True):
            assert torch.equal(one.isnan(), other.isnan())
            assert alike(one.nan_to_num(), other.nan_to_num(), 100 * tolerance)


@interpreted
@pytest.mark.parametrize("lambda_softmax", [4.0, 20.0, 90.0])
@pytest.mark.parametrize("intra", [None, 5.0])
def test_kernels_equal_the_vectorised_form(tiled, intra, lambda_softmax):
    case = Case()
    case.check(tiled, case.how(intra, lambda_softmax), tolerance=1e-6 * max(1, lambda_softmax / 20))


@interpreted
@pytest.mark.parametrize("effects", [Effects(*(i == j for j in range(3))) for i in range(3)], ids=str)
def test_each_effect_alone(tiled, effects):
    case = Case(lengths=(3, 1, 3))
    case.check(tiled, case.how(effects=effects))


@interpreted
@pytest.mark.parametrize("effects", [Effects(*(i != j for j in range(3))) for i in range(3)], ids=str)
def test_each_effect_left_out_in_training(tiled, effects):
    case = Case(lengths=(3, 1, 3))
    case.check(tiled, case.how(intra=None, effects=effects))


@interpreted
@pytest.mark.parametrize("regions", [1, 10, 36, 100])
def test_any_number_of_regions(tiled, regions):
    case = Case(lengths=(2, 1), images=1, regions=regions)
    case.check(tiled, case.how(), tolerance=3e-6)


@interpreted
def test_more_words_than_are_propagated_at_a_time(tiled):
    from naaflib.similarity.triton_kernels import POSITIONS

    at_a_time = POSITIONS.value
    case = Case(lengths=(2 * at_a_time + 3,), images=1)
    case.boundary[at_a_time:] = 3.0  # the first words match, the whole caption does not
    case.check(tiled, case.how())


@interpreted
@pytest.mark.parametrize("boundary", [0.99, 0.0, -5.0])
def test_no_region_many_or_all_above_the_boundary(tiled, boundary):
    case = Case(lengths=(3, 1))
    case.boundary[:] = boundary
    case.check(tiled, case.how(lambda_softmax=2.0))


@interpreted
def test_a_boundary_for_each_caption(tiled):
    case = Case()
    of_captions = torch.rand(len(LENGTHS), generator=seeds.generator(4))
    case.boundary = packed.word_boundary(of_captions, case.packing.groups, case.words[:, 0])
    case.check(tiled, case.how())


@interpreted
def test_regions_that_are_padding_and_images_of_nothing(tiled):
    case = Case(lengths=(3, 1), images=3)
    case.images[0, 4:] = 0  # padding
    case.images[1] = 0  # an image of nothing keeps its regions, with cosines of 0
    case.images[2, 0] = 0
    case.check(tiled, case.how())


@interpreted
def test_cosines_below_0_beside_padding(tiled):
    case = Case(lengths=(3,), images=1)
    case.images[0, 0] = 0
    cosine = all_cosines(case.images, case.words)
    cosine[:, 1:] = -cosine[:, 1:].abs()
    cosine[:, 1:, 1:] *= 0.01  # the first word has the lowest logits there can be, below those of padding
    case.check(tiled, case.how(lambda_softmax=90.0), cosine, tolerance=5e-6)


@interpreted
@pytest.mark.parametrize("intra", [None, 5.0])
def test_regions_that_are_alike_share_the_gradient(tiled, intra):
    case = Case(lengths=(3, 1))
    case.images[:, 4:] = case.images[:, :3]
    cosine = all_cosines(case.images, case.words)
    cosine[:, 4:] = cosine[:, :3]  # whatever way the product took
    cosine[:, 3, 1] = 0  # of a caption with more words
    case.check(tiled, case.how(intra), cosine)


@interpreted
@pytest.mark.parametrize("effects", [ALL_EFFECTS, Effects(True, False, False)], ids=str)
@pytest.mark.parametrize("intra", [None, 5.0])
def test_nan_is_where_the_vectorised_form_has_it(tiled, intra, effects):
    case = Case(lengths=(3, 3, 2))
    cosine = all_cosines(case.images, case.words)
    cosine[0, 2, 1] = torch.nan
    cosine[1, :, 4] = torch.nan
    case.check(tiled, case.how(intra, effects=effects), cosine)


@interpreted
def test_attended_regions_that_cancel_leave_what_is_like_the_word(tiled):
    images = torch.tensor([[[1e-4, 1.0, 0.0], [1e-4, -1.0, 0.0]]])
    word = torch.tensor([[1.0, 0.0, 0.0]])
    how = packed.Constants(pack(torch.tensor([1])).groups, 20.0, None, Effects(False, True, False))
    cosine, gram, limit = all_cosines(images, word), images @ images.mT, torch.zeros(1)
    scores, _, below = tiled.tiled_scores(cosine, gram, limit, how)
    assert scores.item() == pytest.approx(1, abs=1e-6)
    for gradient in tiled.tiled_gradients(torch.ones(1, 1), cosine, gram, limit, how, below):
        assert gradient.isfinite().all()


@interpreted
def test_gradients_repeat_to_the_bit_however_many_images_are_taken_at_once(tiled, monkeypatch):
    case = Case(lengths=(2, 1, 1))
    cosine, gram, how = all_cosines(case.images, case.words), case.images @ case.images.mT, case.how()
    below = tiled.tiled_scores(cosine, gram, case.boundary, how)[2]
    at_once = tiled.tiled_gradients(case.share, cosine, gram, case.boundary, how, below)
    monkeypatch.setattr(tiled, "PART_ELEMENTS", 1)
    one_by_one = tiled.tiled_gradients(case.share, cosine, gram, case.boundary, how, below)
    assert all(torch.equal(one, other) for one, other in zip(at_once, one_by_one, strict=True))


@interpreted
def test_cosines_may_be_columns_of_more(tiled):
    case = Case(lengths=(3, 1))
    cosine = all_cosines(case.images, case.words)
    wide = torch.full((IMAGES, REGIONS + 2, cosine.shape[-1] + 3), torch.nan)
    wide[:, 2:, : cosine.shape[-1]] = cosine
    case.check(tiled, case.how(), wide[:, 2:, : cosine.shape[-1]])


@interpreted
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_cosines_are_computed_with_in_float32(tiled, dtype):
    case = Case(lengths=(3, 1))
    case.check(tiled, case.how(), all_cosines(case.images, case.words).to(dtype), tolerance=1e-2)


def test_every_word_and_caption_is_in_one_tile_with_its_own_weights(tiled):
    packing = pack(torch.tensor((*LENGTHS, *[2] * 18)))
    words, captions, entries = Counter(), Counter(), {}
    tiles = tiled.tile_table(packing.groups, torch.device("cpu")).tolist()
    for length, step, count, word, caption, entry in tiles:
        assert 0 < count <= tiled.CAPTIONS
        words.update(word + p * step + c for p in range(length) for c in range(count))
        captions.update(range(caption, caption + count))
        entries |= {caption + c: entry + c for c in range(count)}
    assert words == Counter(range(packing.words))
    assert captions == Counter(range(packing.captions))
    sizes = [g.length**2 * g.captions for g in packing.groups]
    for g, table in zip(packing.groups, torch.arange(sum(sizes)).split(sizes), strict=True):
        of_first_words = table[: g.captions].tolist()  # for themselves, as `packed.intra_attention` has them
        assert of_first_words == [entries[g.caption + c] for c in range(g.captions)]


def scored(dtype=torch.float32):
    """Scores of `score_matrix` and gradients by images and captions."""
    images = unit(IMAGES, REGIONS, DIM, seed=1).to(dtype).requires_grad_()
    padded = unit(3, 3, DIM, seed=2).to(dtype).requires_grad_()
    scores = naaflib.score_matrix(images, padded, [3, 1, 3], boundary=0.3)
    scores.square().sum().backward()
    return scores.detach(), images.grad, padded.grad


@interpreted
def test_scores_and_gradients_of_the_library_come_from_the_kernels(tiled, monkeypatch):
    assert tiled.usable(torch.device("cpu"))
    started, launch = [], tiled._launch
    monkeypatch.setattr(tiled, "_launch", lambda kernel, *given, **more: (
        started.append(kernel.__name__), launch(kernel, *given, **more)
    ))  # fmt: skip
    ours = scored()
    assert started == ["scores_of_tiles", "gradients_of_tiles"]
    assert all(alike(one, other, 1e-4) for one, other in zip(ours, scored(torch.float64), strict=True))
    assert len(started) == 2  # float64 is the vectorised form's


def test_naaf_fused_0_leaves_the_kernels_out(monkeypatch):
    assert autograd.gpu_kernels.__wrapped__() is not None
    monkeypatch.setenv("NAAF_FUSED", "0")
    assert autograd.gpu_kernels.__wrapped__() is None


def failing(right, *given):
    raise RuntimeError("Failed to find C compiler.")


def wrong(right, *given):
    scores, *others = right(*given)
    return scores + 1, *others


@interpreted
@pytest.mark.parametrize(("kernels", "reason"), [(failing, "C compiler."), (wrong, "differ from")])
def test_kernels_that_fail_or_are_wrong_are_left_out_which_is_said_once(
    tiled, monkeypatch, capsys, kernels, reason
):
    ours = scored()
    monkeypatch.setattr(autograd, "kernels", lambda: None)
    monkeypatch.setattr(tiled, "usable", cache(tiled.usable.__wrapped__))
    monkeypatch.setattr(tiled, "tiled_scores", partial(kernels, tiled.tiled_scores))
    assert all(alike(one, other, 1e-4) for one, other in zip(ours, scored(), strict=True))
    scored()
    assert capsys.readouterr().err.count(reason) == 1


def test_without_a_gpu_the_kernels_take_nothing(tiled, monkeypatch):
    monkeypatch.setattr(tiled.triton_kernels, "INTERPRETED", False)
    monkeypatch.setattr(tiled, "usable", tiled.usable.__wrapped__)
    assert not tiled.takes(torch.zeros(2, 3, 5))


def test_kernels_compile_for_gpus_with_few_spills_and_within_their_shared_memory(tmp_path):
    """For compute capability 8.0 and 9.0, by the ptxas that triton brings; 36 regions have 64 lanes."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, Path(__file__).with_name("compile_triton.py")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kernels = json.loads(done.stdout)
    assert len(kernels) == 2 * 4 * 3
    for made in kernels:
        assert made["spilled"] <= {64: 0, 128: 256}.get(made["lanes"], 16), made  # bytes a thread
        assert made["shared"] <= 99 * 1024, made  # also on capability 8.6 and 8.9
