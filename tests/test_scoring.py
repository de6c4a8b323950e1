"""Every fast form against the readable one: values and gradients, on edges as well as on random data."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import seeds
import torch
from jaxtyping import TypeCheckError
from methods import POOLED

import naaflib
from naaflib.errors import UsageError
from naaflib.similarity import autograd, matrix, packed
from naaflib.similarity.base import Block, Scores, pair_parts
from naaflib.similarity.boundary import Boundaries
from naaflib.similarity.methods import METHODS, make
from naaflib.similarity.naaf import Naaf, naaf_score
from naaflib.similarity.packing import pack
from naaflib.similarity.threads import in_threads

IMAGES, REGIONS, DIM = 11, 5, 7
LENGTHS = [3, 1, 13, 3, 2, 13, 3, 1, 7]
FORMS = [
    (torch.float64, "eager"),
    (torch.float32, "eager"),
    (torch.float32, "fused"),
    (torch.float32, "runs"),
]


def unit(*shape: int, seed: int) -> torch.Tensor:
    numbers = torch.randn(*shape, dtype=torch.float64, generator=seeds.generator(seed))
    return numbers / numbers.norm(dim=-1, keepdim=True)


@pytest.fixture
def images():
    return unit(IMAGES, REGIONS, DIM, seed=1)


@pytest.fixture
def captions():
    padded = unit(len(LENGTHS), max(LENGTHS), DIM, seed=2)
    for row, length in zip(padded, LENGTHS, strict=True):
        row[length:] = float("nan")  # padding must never be read
    return padded


@pytest.fixture(params=FORMS, ids=lambda form: f"{form[1]}-{str(form[0])[6:]}")
def form(request, monkeypatch):
    """A number type, with or without the fused kernels; "runs": where they reduce few words at a time."""
    dtype, kind = request.param
    if kind == "eager":
        monkeypatch.setattr(autograd, "kernels", lambda: None)
    elif autograd.kernels() is None:
        pytest.skip("numba is not installed: there are no fused kernels to test")
    elif kind == "runs":
        monkeypatch.setattr(autograd, "RUN_WORDS", 7)
        monkeypatch.setattr(autograd, "_tables", autograd._tables.__wrapped__)
    return dtype


def readable(
    images, captions, method="naaf", boundary=0.3, lambda_softmax=None, lambda_intra=None, pooling="mean"
):
    how = {"lambda_softmax": lambda_softmax, "lambda_intra": lambda_intra, "pooling": pooling}
    similarity = make(method, how)
    words = [caption[:length] for caption, length in zip(captions, LENGTHS, strict=True)]
    return torch.stack([similarity.parts(images, one, boundary).score for one in words], dim=1)


def both_gradients(score, images, captions, dtype):
    """Scores and the gradients of a fixed weighted sum of them."""
    images, captions = (x.to(dtype).clone().requires_grad_() for x in (images, captions))
    scores = score(images, captions)
    weight = torch.linspace(-1, 2, scores.numel(), dtype=dtype).view_as(scores)
    (scores * weight).sum().backward()
    return scores.detach(), images.grad, captions.grad


@pytest.mark.parametrize("lambda_softmax", [20.0, 90.0])
@pytest.mark.parametrize("lambda_intra", [None, 5.0])
@pytest.mark.parametrize("boundary", [0.0, 0.3, 0.99])
def test_fast_naaf_equals_the_readable_form(images, captions, form, boundary, lambda_intra, lambda_softmax):
    how = {"boundary": boundary, "lambda_intra": lambda_intra, "lambda_softmax": lambda_softmax}
    slow = both_gradients(lambda v, u: readable(v, u, **how), images, captions, torch.float64)
    lengths = torch.tensor(LENGTHS)
    fast = both_gradients(lambda v, u: naaflib.score_matrix(v, u, lengths, **how), images, captions, form)
    tolerance = 1e-10 if form == torch.float64 else 1e-5
    torch.testing.assert_close(fast[0].double(), slow[0], rtol=0, atol=tolerance)
    # As a whole: where attended regions nearly cancel, float32 has few digits of a single element.
    for ours, theirs in zip(fast[1:], slow[1:], strict=True):
        assert (ours - theirs).norm() < 0.5 * tolerance * lambda_softmax * theirs.norm()


@pytest.mark.parametrize(("method", "pooling"), [how for how in POOLED if how[0] != "naaf"])
def test_the_other_fast_forms_equal_the_readable_ones(images, captions, method, pooling):
    how = {"method": method, "pooling": pooling}
    lengths = torch.tensor(LENGTHS)
    slow = both_gradients(lambda v, u: readable(v, u, **how), images, captions, torch.float64)
    fast = both_gradients(
        lambda v, u: naaflib.score_matrix(v, u, lengths, **how), images, captions, torch.float64
    )
    for ours, theirs in zip(fast, slow, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_without_gradients_the_scores_are_the_same(images, captions, form):
    images, captions, lengths = images.to(form), captions.to(form), torch.tensor(LENGTHS)
    plain = naaflib.score_matrix(images, captions, lengths, boundary=0.2)
    with_gradient = naaflib.score_matrix(images.clone().requires_grad_(), captions, lengths, boundary=0.2)
    torch.testing.assert_close(plain, with_gradient.detach(), rtol=0, atol=1e-6)


def test_a_boundary_a_caption_scores_each_with_its_own(images, captions, form):
    limits = torch.linspace(-0.2, 0.8, len(LENGTHS), dtype=torch.float64)
    lengths = torch.tensor(LENGTHS)
    images, captions = images.to(form), captions.to(form)
    together = naaflib.score_matrix(images, captions, lengths, boundary=limits)
    for index, limit in enumerate(limits.tolist()):
        alone = naaflib.score_matrix(
            images, captions[index : index + 1], lengths[index : index + 1], boundary=limit
        )
        torch.testing.assert_close(together[:, index : index + 1], alone, rtol=0, atol=1e-6)


def test_a_cosine_that_is_no_number_stays_visible(form):
    cosine = torch.full((2, 3, 5), 0.4, dtype=form)
    cosine[0, 0, 1] = cosine[1, 2, 4] = float("nan")
    gram = torch.eye(3, dtype=form).expand(2, 3, 3)
    boundary = torch.zeros(5, dtype=form)
    groups = pack(torch.tensor([2, 3])).groups
    scores, best = autograd.naaf_scores(cosine, gram, boundary, packed.Constants(groups, 20.0))
    assert scores.isnan().tolist() == [[True, False], [False, True]]
    assert best.isnan().nonzero().tolist() == [[0, 1], [1, 4]]


@pytest.mark.parametrize("method", METHODS)
def test_regions_that_are_zero_give_finite_scores_and_gradients(images, captions, form, method):
    images[0] = 0.0
    images[1, 2] = 0.0
    lengths = torch.tensor(LENGTHS)

    def score(v, u):
        return naaflib.score_matrix(v, u, lengths, boundary=0.1, method=method)

    scores, *gradients = both_gradients(score, images, captions.nan_to_num(0.0), form)
    assert scores.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_equally_good_regions_share_the_gradient(form):
    packing = pack(torch.tensor([3]))
    cosine = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.4, 0.5, 0.6]], dtype=form)[
        None
    ].requires_grad_()
    limit = torch.full((3,), 0.9, dtype=form)  # no region matches: each word's best cosine counts
    how = packed.Constants(packing.groups, 20.0)
    autograd.naaf_scores(cosine, torch.eye(3, dtype=form)[None], limit, how)[0].sum().backward()
    torch.testing.assert_close(cosine.grad[0, 1], cosine.grad[0, 2], rtol=1e-5, atol=1e-6)


def test_gradient_is_autograd_s_to_the_last_digits(captions):
    """gradcheck of the own backward pass, cosines and Gram matrices apart."""
    packing = pack(torch.tensor(LENGTHS))
    cosine = 0.9 * torch.rand(2, 3, packing.words, dtype=torch.float64, generator=seeds.generator(3)) - 0.3
    gram = torch.eye(3, dtype=torch.float64).repeat(2, 1, 1)
    limit = torch.full((packing.words,), 0.2, dtype=torch.float64)

    def score(c, g):
        return autograd.naaf_scores(c, (g + g.mT) / 2, limit, packed.Constants(packing.groups, 20.0))[0]

    assert torch.autograd.gradcheck(score, (cosine.requires_grad_(), gram.requires_grad_()))


@pytest.mark.parametrize("most_words", [1, 13, 40, None])
def test_packing_and_unpacking_keep_every_word_and_caption(captions, most_words):
    packing = pack(torch.tensor(LENGTHS), most_words)
    words = packing.gather(captions)
    assert len(words) == sum(LENGTHS)
    assert words.isfinite().all()
    lengths = packed.caption_sums(torch.ones(1, len(words)), packing.groups)
    assert packing.unpack(lengths)[0].tolist() == LENGTHS
    first = packing.unpack(packed.caption_sums(words[:, 0][None] * (packing.position == 0), packing.groups))
    torch.testing.assert_close(first[0], captions[:, 0, 0])


@pytest.mark.parametrize("block", [(1, 1), (3, 14), (100, 10_000)])
def test_sharded_equals_unsharded(images, captions, form, monkeypatch, block):
    """Up to the last bits: a product's depend on its shape. The grid of `evaluation.scores` is exact."""
    images, captions, lengths = images.to(form), captions.to(form), torch.tensor(LENGTHS)
    whole = naaflib.score_matrix(images, captions, lengths, boundary=0.2)
    monkeypatch.setattr(matrix, "BLOCK_IMAGES", block[0])
    monkeypatch.setattr(matrix, "BLOCK_WORDS", block[1])
    sharded = naaflib.score_matrix(images, captions, lengths, boundary=0.2)
    torch.testing.assert_close(sharded, whole, rtol=0, atol=1e-13 if form == torch.float64 else 5e-6)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_pair_s_score_does_not_depend_on_what_is_scored_beside_it(threads):
    """Any images, any captions, any number of threads; up to the last bits, which MKL keeps on some
    processors only."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    images, padded = unit(21, 36, 64, seed=4).float(), unit(97, 40, 64, seed=5).float()
    lengths = 1 + torch.arange(97) * 7 % 40
    whole = naaflib.score_matrix(images, padded, lengths, boundary=0.1)
    rng = seeds.generator(6)
    try:
        for count, those in ((1, 1), (1, 97), (2, 5), (13, 40), (21, 30)):
            rows = torch.randperm(21, generator=rng)[:count]
            columns = torch.randperm(97, generator=rng)[:those]
            part = naaflib.score_matrix(images[rows], padded[columns], lengths[columns], boundary=0.1)
            torch.testing.assert_close(part, whole[rows][:, columns], rtol=0, atol=5e-6)
    finally:
        torch.set_num_threads(before)


def test_a_reduced_product_is_most_exact_at_the_boundary(monkeypatch):
    """It rounds s - t: near t its error is that of the factors' rounding alone."""
    images, words = unit(8, 36, 64, seed=7).float(), unit(200, 64, seed=8).float()  # one block
    packing = pack(torch.full((20,), 10))
    seen = []

    def scores(self, block, *_):
        seen.append(block.cosine)
        return Scores(block.cosine[:, 0, :20])

    monkeypatch.setattr(Naaf, "scores", scores)
    for boundary in (0.0, 0.25):
        matrix.Scorer(words, packing, Naaf(), boundary, torch.bfloat16)(images)
    exact = images.bfloat16().double() @ words.bfloat16().double().mT
    at_zero, at_boundary = (cosine.double() - exact for cosine in seen)
    near = (exact - 0.25).abs() < 0.05
    assert near.sum() > 100
    assert at_boundary[near].abs().max() < 2e-4 < at_zero[near].abs().max()


def test_no_images_or_no_captions_give_an_empty_matrix(images, captions):
    lengths = torch.tensor(LENGTHS)
    assert naaflib.score_matrix(images[:0], captions, lengths, boundary=0.1).shape == (0, len(LENGTHS))
    assert naaflib.score_matrix(images, captions[:0], lengths[:0], boundary=0.1).shape == (IMAGES, 0)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({}, "needs a boundary"),
        ({"method": "nafa"}, "no method 'nafa'"),
        ({"boundary": 0.1, "pooling": "max"}, "no pooling 'max'"),
        ({"boundary": 0.1, "lengths": torch.tensor([14] * len(LENGTHS))}, "outside 1 to 13"),
        ({"boundary": 0.1, "lengths": torch.tensor([0] * len(LENGTHS))}, "outside 1 to 13"),
        ({"boundary": 0.1, "lengths": torch.tensor([1, 2])}, "as many lengths"),
        ({"boundary": 0.1, "images": torch.zeros(2, 3, 5)}, "do not fit"),
    ],
)
def test_a_wrong_call_is_one_sentence(images, captions, how, sentence):
    how = {"images": images, "captions": captions, "lengths": torch.tensor(LENGTHS), **how}
    with pytest.raises(UsageError, match=sentence):
        naaflib.score_matrix(how.pop("images"), how.pop("captions"), how.pop("lengths"), **how)


def changed(array, place, value):
    array = array.clone()
    array[place] = value
    return array


NAN = float("nan")
LIMITS = torch.full((len(LENGTHS),), 0.1)


@pytest.mark.parametrize("given", ["numpy", "big-endian", "read-only", "reversed", "lists"])
def test_arrays_score_as_tensors_do(images, captions, given):
    lengths = torch.tensor(LENGTHS)
    expected = naaflib.score_matrix(images, captions, lengths, boundary=LIMITS.double())
    arrays = [x.numpy().copy() for x in (images, captions, lengths, LIMITS.double())]
    if given == "big-endian":
        arrays = [x.astype(x.dtype.newbyteorder(">")) for x in arrays]
    if given == "reversed":  # strides below 0, which torch does not have
        arrays = [x[::-1].copy()[::-1] for x in arrays]
    if given == "read-only":
        [x.setflags(write=False) for x in arrays]
    if given == "lists":
        arrays[2:] = [x.tolist() for x in arrays[2:]]
    found = naaflib.score_matrix(*arrays[:3], boundary=arrays[3])
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.uint64])
def test_lengths_of_any_whole_number_type_are_lengths(images, captions, kind):
    expected = naaflib.score_matrix(images, captions, torch.tensor(LENGTHS), boundary=0.1)
    found = naaflib.score_matrix(images, captions, np.array(LENGTHS, kind), boundary=np.float32(0.1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"boundary": NAN}, "a boundary must be a finite number"),
        ({"boundary": float("inf")}, "a boundary must be a finite number"),
        ({"boundary": torch.tensor(NAN)}, "a boundary must be a finite number"),
        ({"boundary": changed(LIMITS, 4, NAN)}, "a boundary must be a finite number"),
        ({"boundary": torch.full((5,), 0.1)}, r"boundary \(5,\) does not fit 9 captions"),
        ({"boundary": torch.full((1,), 0.1)}, r"boundary \(1,\) does not fit 9 captions"),
        ({"boundary": LIMITS[:, None]}, r"boundary \(9, 1\) does not fit 9 captions"),
        ({"boundary": torch.ones(9, dtype=torch.bool)}, "a boundary must be a finite number"),
        ({"boundary": True}, "boundary must be a tensor or a numpy array of numbers, not a bool"),
        ({"boundary": "0.1"}, "boundary must be a tensor or a numpy array of numbers, not a str"),
        ({"boundary": Boundaries(0.2, 0.1)}, "boundary must be a tensor .*, not a Boundaries"),
        ({"boundary": LIMITS.clone().requires_grad_()}, r"no gradient .* boundary; give boundary\.detach"),
        ({"lambda_softmax": 0.0}, "lambda_softmax is 0.0; it must be a finite number above 0 or None"),
        ({"lambda_softmax": -20.0}, "lambda_softmax is -20.0; it must be"),
        ({"lambda_softmax": NAN}, "lambda_softmax is nan; it must be"),
        ({"lambda_softmax": float("inf")}, "lambda_softmax is inf; it must be"),
        ({"lambda_intra": 0.0}, "lambda_intra is 0.0; it must be"),
        ({"lambda_intra": -5.0}, "lambda_intra is -5.0; it must be"),
        ({"lambda_intra": NAN}, "lambda_intra is nan; it must be"),
        ({"lambda_lse": 0.0}, "lambda_lse is 0.0; it must be a finite number above 0$"),
        ({"lambda_lse": -6.0, "method": "scan-t2i", "pooling": "lse"}, "lambda_lse is -6.0; it must be"),
        ({"lengths": torch.tensor(LENGTHS).float()}, "whole numbers, not torch.float32"),
        ({"lengths": [3.0, *LENGTHS[1:]]}, "whole numbers, not torch.float64"),
        ({"lengths": torch.tensor(LENGTHS) > 1}, "whole numbers, not torch.bool"),
        ({"lengths": [14, *LENGTHS[1:]]}, "outside 1 to 13"),
        ({"lengths": [-1, *LENGTHS[1:]]}, "outside 1 to 13"),
        ({"lengths": [[3], [1, 2]]}, "lengths must be a tensor .*, not a list"),
        ({"lengths": LENGTHS[1:]}, "9 captions need as many lengths"),
        ({"lengths": 3}, "lengths must be a tensor .*, not a int"),
        ({"images": [[[0.6, 0.8]]]}, "images must be a tensor .*, not a list"),
        ({"images": np.array([["a"]])}, "images must be a tensor .*, not an array of <U1"),
        ({"images": None}, "images must be a tensor .*, not a NoneType"),
        ({"captions": "a dog"}, "captions must be a tensor .*, not a str"),
        ({"images": torch.zeros(2, 0, 7, dtype=torch.float64)}, r"images \(2, 0, 7\) need one region"),
        (
            {"images": torch.zeros(2, 3, 7)},
            "images are float32 on cpu and captions float64 on cpu; both must",
        ),
        ({"images": torch.zeros(2, 3, 7, dtype=torch.int64)}, "images are int64 on cpu and captions float64"),
        (
            {"images": torch.zeros(2, 3, 7, dtype=torch.float64, device="meta")},
            "float64 on meta and captions",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("gradient", [False, True])
def test_what_cannot_be_right_is_one_sentence(images, captions, how, sentence, gradient):
    how = {"images": images, "captions": captions, "lengths": LENGTHS, "boundary": 0.1, **how}
    captions = how.pop("captions")
    captions = (
        captions.clone().requires_grad_() if gradient and isinstance(captions, torch.Tensor) else captions
    )
    with pytest.raises(UsageError, match=sentence) as refused:
        naaflib.score_matrix(how.pop("images"), captions, how.pop("lengths"), **how)
    assert "\n" not in str(refused.value)


def test_an_unknown_name_is_never_another_method_s_score(images, captions):
    with pytest.raises(UsageError, match=f"no method 'scan-i2i'; methods: {', '.join(METHODS)}"):
        naaflib.score_matrix(images, captions, LENGTHS, method="scan-i2i")


@pytest.mark.parametrize("method", ["scan-t2i", "scan-i2t", "chan"])
def test_an_unknown_pooling_is_never_another_one(images, captions, method):
    similarity, words = make(method, {}), captions[0, :3]
    object.__setattr__(similarity, "pooling", "max")
    cosine, groups = matrix.all_cosines(images, words), pack(torch.tensor([3])).groups
    block = Block(cosine, images @ images.mT, words, groups)
    with pytest.raises(UsageError, match="no pooling 'max'; poolings: mean, lse"):
        matrix.block_scores(similarity, block, None)
    with pytest.raises(UsageError, match="no pooling 'max'; poolings: mean, lse"):
        pair_parts(similarity, images[0], words, 0.0)


# ---- derivatives


DERIVED = [
    {"boundary": 0.3},
    {"boundary": 0.3, "lambda_intra": None},
    *({"method": m, "pooling": p} for m in ("scan-t2i", "scan-i2t") for p in ("mean", "lse")),
]


def few(images, captions):
    """Three images and captions, so that every number can be moved in turn."""
    return images[:3].clone().requires_grad_(), captions[:4].nan_to_num(0.0).requires_grad_()


@pytest.mark.parametrize("how", DERIVED, ids=str)
def test_gradients_of_score_matrix_are_the_slopes_of_its_scores(images, captions, how):
    def score(v, u):
        return naaflib.score_matrix(v, u, LENGTHS[:4], **how)

    assert torch.autograd.gradcheck(score, few(images, captions), fast_mode=True)


@pytest.mark.parametrize("how", DERIVED[2:], ids=str)
def test_second_derivatives_of_scan_are_right(images, captions, how):
    def score(v, u):
        return naaflib.score_matrix(v, u, LENGTHS[:4], **how)

    assert torch.autograd.gradgradcheck(score, few(images, captions), fast_mode=True)


@pytest.mark.parametrize("lambda_intra", [None, 5.0])
def test_second_derivatives_of_naaf_are_refused_and_the_readable_form_has_them(
    images, captions, form, lambda_intra
):
    """A plain sum, too, whose gradient by the scores is a constant: once_differentiable lets that through."""
    how = {"boundary": 0.3, "lambda_intra": lambda_intra}
    regions, words = (x.detach().to(form).requires_grad_() for x in few(images, captions))
    for weigh in (torch.sum, lambda scores: scores.square().sum()):
        loss = weigh(naaflib.score_matrix(regions, words, LENGTHS[:4], **how))
        with pytest.raises(
            UsageError, match=r"second derivatives.*; take the readable naaflib\.similarity\.naaf_score"
        ):
            torch.autograd.grad(loss, (regions, words), create_graph=True)
        with pytest.raises(UsageError, match="second derivatives"):
            loss.backward(create_graph=True)
    regions, word = images[:3].clone().requires_grad_(), captions[0, :3].clone().requires_grad_()
    assert torch.autograd.gradgradcheck(lambda v, u: naaf_score(v, u, **how), (regions, word), fast_mode=True)


def test_shared_work_runs_on_one_core_a_thread_and_leaves_torch_as_it_was():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        cores, names = [], set()

        def work(job):
            names.add(threading.current_thread().name)
            cores.append((job, torch.get_num_threads()))

        in_threads(work, range(20))
        assert sorted(cores) == [(job, 1) for job in range(20)]
        assert threading.current_thread().name not in names
        assert torch.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError):
            in_threads(lambda job: 1 // job, [2, 0, 1])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


SCORE = """
import torch, naaflib
from naaflib.similarity import autograd
words = torch.nn.functional.normalize(torch.ones(2, 3, 5), dim=-1)
scores = naaflib.score_matrix(words, words, torch.tensor([3, 2]), boundary=0.5)
assert autograd.kernels() is not None
print(naaflib.__file__, scores.tolist())
"""


def test_the_kernels_run_where_nothing_can_be_written(tmp_path):
    """A read-only installation without a home: the folders for what numba keeps are files here."""
    pytest.importorskip("numba")
    shutil.copytree(Path(naaflib.__file__).parent, tmp_path / "naaflib", ignore=lambda *_: ["__pycache__"])
    (tmp_path / "naaflib" / "similarity" / "__pycache__").write_text("")
    nowhere = {
        name: str(tmp_path / "naaflib" / "__init__.py" / "x")
        for name in ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")
    }
    environment = {**os.environ, **nowhere, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    environment["NAAF_FUSED"] = "1"  # also where the other tests go without the kernels
    how = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run([sys.executable, "-c", SCORE], check=False, **how)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path))
    assert done.stderr.count("\n") == 1
    assert "NUMBA_CACHE_DIR names a folder" in done.stderr


@pytest.mark.parametrize("wrong", [0, 1, 2])
@pytest.mark.parametrize("function", [packed.block_scores, autograd.naaf_scores, autograd.fused_scores])
def test_the_axes_of_the_fast_form_are_checked(function, wrong):
    """An array in the readable form's order, words before regions, does not get through."""
    given = [torch.zeros(2, 3, 5), torch.zeros(2, 3, 3), torch.zeros(5)]
    given[wrong] = torch.zeros(2, 5, 3)
    with pytest.raises(TypeCheckError):
        function(*given, packed.Constants(pack(torch.tensor([2, 3])).groups, 20.0))
