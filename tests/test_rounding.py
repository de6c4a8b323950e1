"""What rounding must not do to a score: regions that cancel, half precision, zeros."""

import numpy as np
import pytest
import seeds
import torch
from methods import POOLED

import naaflib
from naaflib.model.encoders import unit
from naaflib.similarity import autograd, naaf_score, packed
from naaflib.similarity.base import Effects, attended_cosine, pair_parts
from naaflib.similarity.methods import METHODS, make
from naaflib.similarity.packing import pack

FEATURE = Effects(False, True, False)  # NAAF's effect that is a cosine
HALF = (torch.float16, torch.bfloat16)


def units(*shape: int, seed: int) -> torch.Tensor:
    numbers = torch.randn(*shape, dtype=torch.float64, generator=seeds.generator(seed))
    return numbers / numbers.norm(dim=-1, keepdim=True)


def cancelling(items: int, dim: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Unit vectors (item, 1, dim), and pairs (item, 4, dim) of nearly opposite ones."""
    vectors, away = units(items, 1, dim, seed=1), units(items, 2, dim, seed=2)
    away = away - (away @ vectors.mT) * vectors
    tilt = torch.logspace(-7, -2, items, dtype=torch.float64)[:, None, None]
    pairs = torch.cat([away, -away], dim=1) + tilt * vectors
    return vectors, pairs / pairs.norm(dim=-1, keepdim=True)


def all_scores(method, images, captions):
    """Scores of one caption an image by the fast form, without and with gradients, and the readable."""
    lengths = [captions.shape[1]] * len(captions)
    how = {"boundary": 0.0, "method": method, "effects": FEATURE}
    plain = naaflib.score_matrix(images, captions, lengths, **how)
    images, captions = images.clone().requires_grad_(), captions.clone().requires_grad_()
    with_gradient = naaflib.score_matrix(images, captions, lengths, **how)
    with_gradient.sum().backward()
    assert images.grad.isfinite().all()
    assert captions.grad.isfinite().all()
    constants = {f"{name}_effect": value for name, value in FEATURE._asdict().items()}
    similarity = make(method, constants)
    readable = [similarity.parts(images, words, 0.0).score for words in captions]
    return plain.diagonal(), with_gradient.detach().diagonal(), torch.stack(readable, 1).detach().diagonal()


@pytest.mark.parametrize("method", METHODS)
def test_no_score_of_cosines_passes_one_where_vectors_cancel(form, method):
    """Its squared length, w G w, has lost its digits, and a vector is never shorter than its projection."""
    one, pairs = (vectors.to(form) for vectors in cancelling(50))
    for images, captions in ((pairs, one), (one, pairs)):
        for scores in all_scores(method, images, captions):
            assert scores.abs().max() <= 1 + 1e-6


@pytest.mark.parametrize("method", ["naaf", "scan-t2i"])
def test_regions_that_cancel_but_for_the_word_have_its_direction(form, method):
    regions = torch.tensor([[[1e-4, 1, 0], [1e-4, -1, 0]]], dtype=form)
    regions = regions / regions.norm(dim=-1, keepdim=True)
    for scores in all_scores(method, regions, torch.tensor([[[1.0, 0, 0]]], dtype=form)):
        torch.testing.assert_close(scores, torch.ones(1, dtype=form))


def test_every_form_has_the_gradient_of_the_bound_too(form):
    """Gram matrices too small for their cosines, so that the bound decides for every word."""
    rng = seeds.rng(3)
    cosine = torch.from_numpy(rng.uniform(0.2, 0.9, (2, 3, 5))).to(form).requires_grad_()
    gram = torch.from_numpy(1e-3 * (np.eye(3) + rng.uniform(0, 1, (2, 1, 1)))).to(form).requires_grad_()
    how = packed.Constants(pack(torch.tensor([5])).groups, 20.0, None, FEATURE)
    share = torch.from_numpy(rng.normal(size=2)).to(form)

    def gradients(scores):
        return torch.autograd.grad(scores @ share, (cosine, gram))

    fast, _ = autograd.naaf_scores(cosine, gram, torch.full((5,), 0.1, dtype=form), how)
    words_first = cosine.mT
    weight = torch.exp(20.0 * (words_first - words_first.detach().amax(dim=-1, keepdim=True)))
    readable = attended_cosine(weight, words_first, gram).mean(dim=-1)
    torch.testing.assert_close(fast[:, 0], readable)
    torch.testing.assert_close(fast[:, 0], torch.ones_like(readable))
    for ours, theirs in zip(gradients(fast[:, 0]), gradients(readable), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", HALF, ids=str)
@pytest.mark.parametrize(("method", "pooling"), POOLED)
def test_half_precision_is_scored_in_float32(method, pooling, kind):
    """With a region of zeros and an image of nothing else: float16 takes 1e-8 for 0."""
    images, captions, lengths = units(3, 5, 7, seed=4).to(kind), units(2, 4, 7, seed=5).to(kind), [4, 2]
    images[0, 1] = images[1] = 0.0
    how = {"boundary": 0.1, "method": method, "pooling": pooling}
    wanted = naaflib.score_matrix(images.float(), captions.float(), lengths, **how)
    assert wanted.isfinite().all()
    found = naaflib.score_matrix(images, captions, lengths, **how)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)
    regions = images.clone().requires_grad_()
    naaflib.score_matrix(regions, captions, lengths, **how).sum().backward()
    assert regions.grad.dtype == kind
    assert regions.grad.isfinite().all()
    pair = [pair_parts(make(method, {"pooling": pooling}), regions, captions[0], 0.1) for regions in images]
    scores = torch.stack([parts.score for parts in pair])
    expected = naaflib.score_matrix(images, captions[:1], lengths[:1], **how, lambda_intra=5.0)[:, 0]
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


def test_the_readable_score_and_numpy_s_half_precision_are_float32_too():
    images, words = units(3, 5, 7, seed=4).half(), units(4, 7, seed=5).half()
    images[0] = 0.0
    found = naaf_score(images, words, boundary=0.1)
    arrays = images.numpy(), words[None].numpy(), [4]
    torch.testing.assert_close(found[:, None], naaflib.score_matrix(*arrays, boundary=0.1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [*HALF, torch.float32], ids=str)
def test_a_vector_of_zeros_keeps_them_in_every_number_type(kind):
    vectors = torch.tensor([[0.0, 0.0], [300.0, -400.0]], dtype=kind)
    torch.testing.assert_close(unit(vectors), torch.tensor([[0.0, 0.0], [0.6, -0.8]]))
