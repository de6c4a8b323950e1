"""The paper's ablations are settings: scoring, its gradient, training and inference all respect them."""

from itertools import product

import pytest
import seeds
import torch

import naaflib
from naaflib.config import preset, replace
from naaflib.errors import UsageError
from naaflib.model.model import similarity_of
from naaflib.similarity import autograd
from naaflib.similarity.base import Block, Effects
from naaflib.similarity.boundary import Boundaries
from naaflib.similarity.matrix import all_cosines
from naaflib.similarity.naaf import Naaf, naaf_score
from naaflib.similarity.packing import pack
from naaflib.training.folder import train_run
from naaflib.training.mining import mine_in_order, sequential_mining

pytestmark = pytest.mark.trains
SOME = [Effects(*switches) for switches in product((True, False), repeat=3) if any(switches)]
LENGTHS = [4, 2, 7, 4, 1]
SETTINGS = preset(
    "scenes",
    {
        "model.dim": 5,
        "model.word_dim": 3,
        "mining.min_words": 2,  # so that every batch or nearly every one moves the boundary
        "loss.warmup_epochs": 0,
        "train.warmup_steps": 0,  # so few steps would all be slow
        "train.epochs": 2,
        "train.batch_size": 13,
        "train.learning_rate": 0.02,
        "train.seed": seeds.shifted(),
    },
)


def unit(*shape: int, seed: int) -> torch.Tensor:
    numbers = torch.randn(*shape, dtype=torch.float64, generator=seeds.generator(seed))
    return numbers / numbers.norm(dim=-1, keepdim=True)


def scores_and_gradients(score, dtype, *inputs):
    own = [tensor.to(dtype).clone().requires_grad_() for tensor in inputs]
    scores = score(*own)
    (scores * torch.linspace(-1, 2, scores.numel(), dtype=dtype).view_as(scores)).sum().backward()
    return scores.detach().double(), *(tensor.grad.double() for tensor in own)


def readable(images, captions, effects):
    columns = [
        naaf_score(images, caption[:length], boundary=0.2, effects=effects)
        for caption, length in zip(captions, LENGTHS, strict=True)
    ]
    return torch.stack(columns, dim=1)


@pytest.fixture(params=["eager-float64", "eager-float32", "fused-float32"])
def dtype(request, monkeypatch):
    form, _, dtype = request.param.partition("-")
    if form == "eager":
        monkeypatch.setattr(autograd, "kernels", lambda: None)
    elif autograd.kernels() is None:
        pytest.skip("numba is not installed: there are no fused kernels to test")
    return getattr(torch, dtype)


@pytest.mark.parametrize("effects", SOME, ids=str)
def test_every_choice_of_effects_equals_the_readable_form_with_its_gradient(dtype, effects):
    images, captions = unit(6, 5, 7, seed=1), unit(len(LENGTHS), max(LENGTHS), 7, seed=2)
    lengths = torch.tensor(LENGTHS)
    slow = scores_and_gradients(lambda v, u: readable(v, u, effects), torch.float64, images, captions)

    def fast(v, u):
        return naaflib.score_matrix(v, u, lengths, boundary=0.2, effects=effects)

    tolerance = 1e-10 if dtype == torch.float64 else 1e-4
    for ours, theirs in zip(scores_and_gradients(fast, dtype, images, captions), slow, strict=True):
        assert (ours - theirs).norm() < tolerance * theirs.norm()


def test_the_effects_of_a_score_add_up(dtype):
    images, captions = unit(6, 5, 7, seed=1).to(dtype), unit(len(LENGTHS), max(LENGTHS), 7, seed=2).to(dtype)

    def score(*effects):
        return naaflib.score_matrix(
            images, captions, torch.tensor(LENGTHS), boundary=0.2, effects=Effects(*effects)
        )

    parts = score(True, False, False) + score(False, True, False) + score(False, False, True)
    torch.testing.assert_close(parts, score(True, True, True), rtol=0, atol=2e-6)


def test_a_setting_is_the_similarity_of_training_and_inference():
    settings = replace(SETTINGS, {"model.feature_effect": False, "model.lambda_intra": None})
    similarity = similarity_of(settings.model)
    assert similarity.kept_effects == Effects(feature=False)
    assert similarity.lambda_intra is None


@pytest.fixture(scope="module")
def data(write_split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    for split, images in (("train", 11), ("dev", 7)):
        write_split(folder, split, images)
    return folder


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    return train_run(data, tmp_path_factory.mktemp("runs") / "whole", SETTINGS)


@pytest.mark.parametrize(
    "changes",
    [
        {"model.negative_effect": False},
        {"model.feature_effect": False},
        {"model.relevance_effect": False},
        {"mining.fixed_boundary": 0.4},
        {"mining.alpha": 4},
    ],
    ids=str,
)
def test_each_switch_trains_another_model(whole, data, tmp_path, changes):
    run = train_run(data, tmp_path / "run", replace(SETTINGS, changes))
    assert run.history().loss.tolist() != whole.history().loss.tolist()
    assert naaflib.load_checkpoint(run.path).settings == run.settings.model


@pytest.mark.parametrize("effects", SOME, ids=str)
def test_mining_in_order_scores_with_the_effects_that_count(effects):
    lengths = [4, 2, 7, 4, 1, 3, 6, 5, 3, 5]
    images = unit(len(lengths), 5, 23, seed=1)
    near = images[:, torch.arange(max(lengths)) % 5] + unit(len(lengths), max(lengths), 23, seed=50)
    captions = near / near.norm(dim=-1, keepdim=True)  # near their image's regions: all rank first, as a rule
    packing, old = pack(torch.tensor(lengths)), Boundaries(0.3, 0.1)
    rules = {"alpha": 2.0, "momentum": 0.7, "min_words": 5}
    similarity, packed = Naaf(3.0, None, *effects), packing.gather(captions)
    block = Block(all_cosines(images, packed), images @ images.mT, packed, packing.groups)
    mined = mine_in_order(block, packing, similarity, old, **rules)

    words = [caption[:length] for caption, length in zip(captions, lengths, strict=True)]

    def score_captions(chosen, boundary):
        how = {"boundary": boundary, "lambda_softmax": 3.0, "lambda_intra": None, "effects": effects}
        return torch.stack([naaf_score(images, words[caption], **how) for caption in chosen], dim=1)

    def best_of(caption):
        return (words[caption] @ images.mT).amax(dim=-1)

    plain = sequential_mining(score_captions, best_of, lengths, old, **rules)
    assert len(set(plain.by_caption.tolist())) > 5  # the boundary moves
    torch.testing.assert_close(mined.by_caption, plain.by_caption, rtol=1e-12, atol=1e-12)
    assert mined.samples == pytest.approx(plain.samples, rel=1e-12)
    assert mined.boundaries == pytest.approx(plain.boundaries, rel=1e-12)


def test_a_fixed_boundary_never_moves_and_its_samples_are_kept(whole, data, tmp_path):
    run = train_run(data, tmp_path / "run", replace(SETTINGS, {"mining.fixed_boundary": 0.4}))
    steps = run.steps()
    assert set(steps.boundary) == set(steps.inference_boundary) == {0.4}
    assert steps.mean_matched.notna().any()
    assert naaflib.load_checkpoint(run.path).boundary == (0.4, 0.4)
    assert set(whole.steps().boundary) != {0.4}


def test_a_fixed_boundary_wins_over_that_of_the_weights_to_start_from(whole, data, tmp_path):
    settings = replace(SETTINGS, {"mining.fixed_boundary": -0.1, "train.epochs": 1})
    run = train_run(data, tmp_path / "run", settings, init=whole.path)
    assert naaflib.load_checkpoint(run.path).boundary == (-0.1, -0.1)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mining.fixed_boundary": 0.1, "mining.mode": "sequential"}, "nothing to move"),
        ({"mining.fixed_boundary": 2}, "mining.fixed_boundary"),
        (
            dict.fromkeys(("model.negative_effect", "model.feature_effect", "model.relevance_effect"), False),
            "one of",
        ),
        ({"model.method": "scan-t2i", "model.feature_effect": False}, "model.feature_effect: belongs to"),
        ({"model.method": "scan-i2t", "mining.fixed_boundary": 0}, "mining.fixed_boundary belongs to"),
    ],
)
def test_switches_that_contradict_each_other_are_refused(changes, sentence):
    with pytest.raises(UsageError, match=sentence):
        replace(SETTINGS, changes)


def test_a_score_of_no_effect_is_refused():
    with pytest.raises(UsageError, match="one of the three effects"):
        naaflib.score_matrix(
            torch.ones(1, 1, 2), torch.ones(1, 1, 2), torch.ones(1), boundary=0, effects=Effects(0, 0, 0)
        )
