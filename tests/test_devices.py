"""Devices: precision by name, switches that are turned back, and everything computed where it was put.

`far.FarDevice` stands for a GPU: no test here needs one.
"""

import copy
import os
from contextlib import contextmanager
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import seeds
import torch
from far import FAR, FarDevice
from methods import METHODS

from naaflib import devices, open_split
from naaflib.config import TrainSettings, preset
from naaflib.data.batches import Batches
from naaflib.data.vocabulary import Vocabulary
from naaflib.devices import check_precision, pick_device, product_kinds, products, repeatable
from naaflib.errors import UsageError
from naaflib.evaluation import encode_split, score_encoded
from naaflib.evaluation.arithmetic import arithmetic
from naaflib.explanation import explain_pairs, matched_samples, pair_rows
from naaflib.model.encoders import unit
from naaflib.model.model import Model
from naaflib.processes import ALONE
from naaflib.similarity.matrix import score_matrix
from naaflib.similarity.packing import pack
from naaflib.training import folder
from naaflib.training.loop import Trainer

CPU, GPU = torch.device("cpu"), torch.device("cuda")
# how often the program waits for the device in a step of training, at most
WAITS = {"naaf": 8, "scan-t2i": 5, "chan": 4, "vse": 4}
COPIES = 5  # a packing's three tensors, the GRU's order, the boundary


# ---- precision by name


def test_the_setting_offers_the_precisions_that_there_are():
    assert get_args(TrainSettings.model_fields["precision"].annotation) == tuple(devices.PRECISIONS)


def fields():
    """All switches of torch that `products` may turn, as they are."""
    return [getattr(switch.owner, switch.field) for switch in devices._switches()]


@contextmanager
def ampere(monkeypatch, capability=(9, 0)):
    with monkeypatch.context() as patch:
        patch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        yield


@pytest.mark.parametrize("name", devices.PRECISIONS)
def test_float32_products_are_of_one_kind_in_every_library(name, monkeypatch):
    """torch's defaults are not: that is what this mends."""
    before = fields()
    with ampere(monkeypatch):
        kind = "tf32" if name == "tf32" else "ieee"
        assert product_kinds(GPU) == "matmul ieee, GRU tf32, convolution tf32"
        assert product_kinds(GPU, name) == kind
        with products(name):
            assert product_kinds(GPU) == kind
            on = torch.backends
            assert {on.cuda.matmul.fp32_precision, on.cudnn.rnn.fp32_precision} == {kind}
            assert product_kinds(CPU) == "ieee"
    assert fields() == before


def test_switches_are_turned_back_after_an_error_and_inside_of_each_other(monkeypatch):
    def fails():
        with ampere(monkeypatch), products("tf32"):
            with products("float32"):
                assert product_kinds(GPU) == "ieee"
            assert product_kinds(GPU) == "tf32"
            raise KeyError

    before = fields()
    with pytest.raises(KeyError):
        fails()
    assert fields() == before
    with pytest.raises(UsageError, match=r"no precision 'float16'.*float32, tf32"), products("float16"):
        pass


def test_a_torch_before_2_9_has_the_older_switches(monkeypatch):
    on = SimpleNamespace(
        cuda=SimpleNamespace(matmul=SimpleNamespace(allow_tf32=False)), cudnn=SimpleNamespace(allow_tf32=True)
    )
    monkeypatch.setattr(devices, "torch", SimpleNamespace(backends=on, cuda=torch.cuda))
    with ampere(monkeypatch):
        assert product_kinds(GPU) == "matmul ieee, GRU and convolution tf32"
        with products("float32"):
            assert product_kinds(GPU) == "ieee"
            assert not on.cudnn.allow_tf32
        with products("tf32"):
            assert on.cuda.matmul.allow_tf32
        assert (on.cuda.matmul.allow_tf32, on.cudnn.allow_tf32) == (False, True)


def test_float32_is_exact_whatever_the_program_around_has_chosen():
    one, other = (torch.randn(40, 300, generator=seeds.generator(k)) for k in range(2))
    exact = one @ other.mT
    kept = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")  # bfloat16, where the processor has it
    try:
        with products("float32"):
            assert torch.equal(one @ other.mT, exact)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(kept)


def test_a_gpu_without_tf32_says_that_it_has_float32(monkeypatch, capsys):
    with ampere(monkeypatch, (7, 5)), products("tf32"):
        assert product_kinds(GPU) == "ieee"
        check_precision("tf32", GPU)
    assert "tf32 is float32 on cuda" in capsys.readouterr().err
    with ampere(monkeypatch):
        for name in devices.PRECISIONS:
            check_precision(name, GPU)
    for name in ("float32", "float64", "bf16"):
        check_precision(name, CPU)
    assert capsys.readouterr().err == ""
    check_precision("tf32", CPU)
    assert "tf32 is float32 on cpu" in capsys.readouterr().err
    check_precision("fp16", CPU)
    assert "fp16 is made for GPUs" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"train\.precision bf16 needs torch's autocast, which meta lacks"):
        check_precision("bf16", FAR)


def test_what_is_computed_with_is_in_the_record_of_the_arithmetic():
    assert arithmetic("cpu")["float32 products"] == "ieee"
    with pytest.raises(UsageError, match="no precision"):
        arithmetic("cpu", "double")


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_half_vector_has_its_unit_in_float32_and_zero_stays_zero(kind):
    vectors = torch.randn(5, 7, generator=seeds.generator()).to(kind)
    vectors[2] = 0
    found = unit(vectors)
    assert found.dtype == torch.float32
    assert torch.equal(found, unit(vectors.float()))
    assert found[2].eq(0).all()


@pytest.mark.parametrize("precision", ["tf32", "bf16", "fp16"])
def test_a_step_of_any_precision_has_about_float32_s_loss_and_gradients(data, monkeypatch, precision):
    split = open_split(data, "train")
    real = torch.amp.GradScaler  # a scale of its default overflows first
    monkeypatch.setattr(torch.amp, "GradScaler", lambda device, enabled: real(device, 16.0, enabled=enabled))
    losses, norms = [], []
    for name in ("float32", precision):
        model, settings = small_model(split, {"train.precision": name})
        step = Trainer(model, settings).step(next(batches_of(split, model).epoch(1)), 1)
        losses.append(step.loss)
        norms.append(step.grad_norm)
    tolerance = 1e-6 if precision == "tf32" else 0.1
    assert losses[1] == pytest.approx(losses[0], rel=tolerance)
    assert norms[1] == pytest.approx(norms[0], rel=tolerance)


# ---- repeatable


def test_a_gpu_is_repeatable_inside_and_as_it_was_outside():
    def state():
        filled = torch.utils.deterministic.fill_uninitialized_memory
        return torch.get_deterministic_debug_mode(), filled, torch.backends.cudnn.benchmark

    def fails():
        with repeatable(GPU):
            assert state() == (1, False, False)
            raise KeyError

    before = state()
    assert before == (0, True, False)  # torch's own
    torch.backends.cudnn.benchmark = True  # as some programs do
    try:
        with pytest.raises(KeyError):
            fails()
        assert state() == (0, True, True)
        with repeatable(CPU):
            assert state() == (0, True, True)
    finally:
        torch.backends.cudnn.benchmark = False


def test_cublas_finds_its_workspace_before_a_gpu_is_asked_for_anything(monkeypatch):
    name, value = devices.WORKSPACE
    monkeypatch.setattr(
        torch, "empty", lambda *_, **__: pytest.fail("too late") if name not in os.environ else 0
    )
    for given, expected in ((None, value), (":16:8", ":16:8")):
        monkeypatch.delenv(name, raising=False)
        if given:
            monkeypatch.setenv(name, given)
        with pytest.raises(AttributeError):  # of what stands for the tensor
            pick_device("cuda:1")
        assert os.environ[name] == expected
    monkeypatch.undo()
    monkeypatch.delenv(name, raising=False)
    pick_device("cpu")
    assert name not in os.environ


# ---- everything is computed where it was put


def small_model(split, changes=None) -> tuple[Model, object]:
    settings = preset(
        "f30k", {"model.dim": 13, "model.word_dim": 7, "mining.min_words": 3, **(changes or {})}
    )
    words = Vocabulary.build(split.captions, 1)
    seeds.manual_seed(1)
    return Model(settings.model, split.regions.shape[2], len(words), words), settings


def batches_of(split, model):
    return Batches(split, model.text_encoder.ids, 27, seed=seeds.shifted())


KINDS = [{"model.method": method} for method in METHODS] + [
    {"mining.mode": "sequential"},
    {"mining.fixed_boundary": 0.1},
    {"loss.negatives": "adaptive", "loss.exclude_same_image": True, "model.image_encoder": "weight-norm"},
    {"loss.negatives": "sum", "train.caption_chunk": 7, "model.freeze_words": True},
    {"model.method": "scan-t2i", "model.pooling": "lse"},
    {"model.method": "scan-i2t", "model.pooling": "lse"},
]


def trained_steps(trainer, split):
    steps = [trainer.step(batch, 1) for batch in batches_of(split, trainer.model).epoch(1)]
    weights = {name: value.detach().cpu() for name, value in trainer.model.state_dict().items()}
    return [(step.loss, step.grad_norm, *step.recalls) for step in steps], weights


@pytest.mark.parametrize("changes", KINDS, ids=lambda changes: " ".join(map(str, changes.values())))
def test_training_on_another_device_is_the_same_training(data, changes):
    split = open_split(data, "train")
    model, settings = small_model(split, {"train.precision": "float64", **changes})
    model = model.double()
    steps, weights = trained_steps(Trainer(copy.deepcopy(model), settings), split)
    with FarDevice():
        far = model.to(FAR)
        assert far.device == FAR
        far_steps, far_weights = trained_steps(Trainer(far, settings), split)
    np.testing.assert_allclose(far_steps, steps, rtol=1e-9)
    for name, value in weights.items():
        torch.testing.assert_close(far_weights[name], value, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_a_split_is_scored_and_explained_alike_on_another_device(data, method):
    split = open_split(data, "dev")
    model = small_model(split, {"model.method": method})[0].double().eval()
    some = np.arange(0, len(split.captions), 7)

    def found(model):
        scores = score_encoded(model, encode_split(model, split), progress=False)
        rows = pair_rows(explain_pairs(model, split, split.image_of_caption[some], some))
        return scores, rows, matched_samples(model, split)

    scores, rows, samples = found(model)
    with FarDevice():
        far_scores, far_rows, far_samples = found(model.to(FAR))
    np.testing.assert_allclose(far_scores, scores, atol=1e-12)
    pd.testing.assert_frame_equal(far_rows, rows, atol=1e-9)
    for name, value in samples.items():
        np.testing.assert_allclose(far_samples[name], value, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("gradients", [False, True])
def test_a_score_matrix_and_its_gradients_are_alike_on_another_device(method, gradients):
    regions, words, shape = 5, 7, (3, 11)
    tensors = [
        unit(torch.randn(n, m, 13, dtype=torch.float64, generator=seeds.generator(n)))
        for n, m in zip(shape, (regions, words), strict=True)
    ]
    tensors[0][1, 3:] = 0  # padding
    lengths = torch.randint(1, words + 1, (shape[1],), generator=seeds.generator(2))

    def found(images, captions, lengths):
        inputs = [x.detach().requires_grad_(gradients) for x in (images, captions)]
        scores = score_matrix(*inputs, lengths, boundary=0.1, method=method)
        return [scores, *(torch.autograd.grad(scores.square().sum(), inputs) if gradients else ())]

    near = found(*tensors, lengths)
    with FarDevice():
        far = [x.detach().cpu() for x in found(*(x.to(FAR) for x in tensors), lengths.to(FAR))]
    for one, other in zip(near, far, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-9, atol=1e-12)


def test_a_tensor_that_was_made_on_the_cpu_is_refused(monkeypatch):
    """The far device is strict: what it lets pass is worth something."""
    with FarDevice() as device:
        there = torch.arange(6.0, device=FAR)
        for wrong in (lambda x: x + torch.arange(6), lambda x: x.where(torch.arange(6) > 2, 0.0)):
            with pytest.raises(RuntimeError, match="on the same device"):
                wrong(there)
        assert (there + torch.tensor(1.0)).tolist() == [1, 2, 3, 4, 5, 6]
        assert there[torch.tensor([2, 0])].tolist() == [2, 0]
        assert there[[2, 0]].tolist() == [2, 0]
        assert device.copied == 2  # the two indexes
        assert device.waits.total() == 3
        assert bool((there > 4).any())
        assert there[there > 3].tolist() == [4, 5]
        assert device.waits.total() == 6
        packing = pack(torch.tensor([2, 1, 2])).to(FAR)
        wrong = pack(torch.tensor([2, 1, 2]))
        assert packing.unpack(there[:3]).tolist() == wrong.unpack(torch.arange(3.0)).tolist()
        with pytest.raises(RuntimeError, match="on the same device"):
            wrong.unpack(there[:3])


@pytest.mark.parametrize(("device", "readers", "pinned"), [(CPU, 1, False), (GPU, 2, True)])
def test_two_threads_read_for_a_gpu_into_memory_that_it_copies_from(
    data, monkeypatch, device, readers, pinned
):
    split = open_split(data, "train")
    model, settings = small_model(split)
    monkeypatch.setattr(Model, "device", device)
    found = folder._batches(split, model, settings, ALONE)
    assert (found.readers, found.pinned) == (readers, pinned)


# ---- how often the program waits


@pytest.mark.parametrize("method", WAITS)
def test_a_step_waits_for_the_device_no_more_often_than_it_has_to(data, method):
    split = open_split(data, "train")
    model, settings = small_model(split, {"model.method": method})
    with FarDevice() as device:
        trainer = Trainer(model.to(FAR), settings)
        for batch in batches_of(split, model).epoch(1):
            device.waits.clear()
            device.copied = 0
            step = trainer.step(batch, 1)
            trainer.row(1, step.loss, *step.recalls)
            assert device.waits.total() <= WAITS[method], device.waits
            assert device.copied <= COPIES
