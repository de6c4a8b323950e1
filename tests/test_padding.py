"""Regions whose features are all zero are padding: whatever is computed is the same without them."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import seeds
import torch
from methods import POOLED

import naaflib
from naaflib.config import model_settings, preset
from naaflib.data.batches import Batches
from naaflib.data.captions import tokenize
from naaflib.data.inspection import feature_norms
from naaflib.data.splits import open_split
from naaflib.data.vocabulary import Vocabulary
from naaflib.evaluation.encoding import encode_split
from naaflib.evaluation.scores import PRECISIONS, score_encoded
from naaflib.explanation import explain, matched_samples
from naaflib.explanation.pointing import pointing_game
from naaflib.model.model import Model
from naaflib.pages.pairs import attention_page, image_sheet, matrix_page, pair_page, words_page
from naaflib.search.candidates import Stage
from naaflib.similarity.boundary import Boundaries
from naaflib.similarity.methods import METHODS, make
from naaflib.training.loop import Trainer

IMAGES, REGIONS, DIM = 3, 5, 7
LENGTHS = [3, 1, 11, 3, 2]
PLACES = [0, 1, 4, 4]  # before which region a padding one is put: first, two in the middle, before the last
REAL = np.array([1, 3, 4])  # where a split's three regions stand among the four of padding


def unit(*shape: int, seed: int) -> torch.Tensor:
    numbers = torch.randn(*shape, dtype=torch.float64, generator=seeds.generator(seed))
    return numbers / numbers.norm(dim=-1, keepdim=True)


def padded(regions: torch.Tensor) -> torch.Tensor:
    """The images with zeros among their regions."""
    return torch.from_numpy(np.insert(regions.numpy(), PLACES, 0.0, axis=1))


def kept(regions: torch.Tensor) -> torch.Tensor:
    """What `padded` put in taken out again."""
    places = [place + index for index, place in enumerate(PLACES)]
    return torch.from_numpy(np.delete(regions.numpy(), places, axis=1))


@pytest.fixture
def images():
    """The last image's regions look away from every word: its largest cosine is below 0."""
    regions = unit(IMAGES, REGIONS, DIM, seed=1)
    regions[2, :, 0] = -9.0
    return regions / regions.norm(dim=-1, keepdim=True)


@pytest.fixture
def captions():
    words = unit(len(LENGTHS), max(LENGTHS), DIM, seed=2)
    words[..., 0] = words[..., 0].abs() + 1.0
    return words / words.norm(dim=-1, keepdim=True)


def readable(images, captions, method, pooling, boundary):
    similarity = make(method, {"pooling": pooling})
    words = [caption[:length] for caption, length in zip(captions, LENGTHS, strict=True)]
    return torch.stack([similarity.parts(images, one, boundary).score for one in words], dim=1)


def fast(images, captions, method, pooling, boundary):
    how = {"method": method, "pooling": pooling, "boundary": boundary}
    return naaflib.score_matrix(images, captions, torch.tensor(LENGTHS), **how)


def with_gradients(score, images, captions, *how):
    images, captions = images.clone().requires_grad_(), captions.clone().requires_grad_()
    scores = score(images, captions, *how)
    (scores * torch.linspace(-1, 2, scores.numel(), dtype=scores.dtype).view_as(scores)).sum().backward()
    return scores.detach(), images.grad, captions.grad


def check_close(found, expected, tolerance=1e-10):
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("boundary", [-0.4, 0.0, 0.3])
@pytest.mark.parametrize(("method", "pooling"), POOLED)
def test_the_readable_form_is_the_same_without_padding(images, captions, method, pooling, boundary):
    how = method, pooling, boundary
    scores, by_image, by_caption = with_gradients(readable, padded(images), captions, *how)
    expected = with_gradients(readable, images, captions, *how)
    check_close((scores, kept(by_image), by_caption), expected)


@pytest.mark.parametrize("boundary", [-0.4, 0.0, 0.3])
@pytest.mark.parametrize(("method", "pooling"), POOLED)
def test_every_fast_form_is_the_readable_one_with_padding(images, captions, form, method, pooling, boundary):
    how = method, pooling, boundary
    slow = with_gradients(readable, padded(images), captions, *how)
    quick = with_gradients(fast, padded(images).to(form), captions.to(form), *how)
    tolerance = 1e-10 if form == torch.float64 else 3e-5
    check_close(quick, slow, tolerance)
    assert not quick[1][padded(images).eq(0).all(-1)].any()  # nothing reaches the padding
    with torch.no_grad():
        check_close([fast(padded(images).to(form), captions.to(form), *how)], slow[:1], tolerance)


@pytest.mark.parametrize(("method", "pooling"), POOLED)
def test_one_region_that_is_left_is_the_image(images, captions, form, method, pooling):
    alone = images.clone()
    alone[:, [0, 1, 3, 4]] = 0.0
    how = method, pooling, 0.1
    found = with_gradients(fast, alone.to(form), captions.to(form), *how)
    expected = with_gradients(readable, images[:, 2:3], captions, *how)
    found = found[0], found[1][:, 2:3], found[2]
    check_close(found, expected, 1e-10 if form == torch.float64 else 3e-5)


@pytest.mark.parametrize(("method", "pooling"), POOLED)
def test_an_image_of_padding_alone_scores_as_cosines_of_zero_do(images, captions, form, method, pooling):
    images[1] = 0.0
    how = method, pooling, 0.25
    scores, *gradients = with_gradients(fast, images.to(form), captions.to(form), *how)
    check_close([scores], [readable(images, captions, *how)], 1e-10 if form == torch.float64 else 3e-5)
    assert all(gradient.isfinite().all() for gradient in gradients)
    if method == "naaf":
        torch.testing.assert_close(scores[1], torch.full_like(scores[1], -0.25))


@pytest.fixture(scope="module")
def folders(write_split, tmp_path_factory):
    """A data set, and the same with padding among its regions."""
    plain, more = (tmp_path_factory.mktemp(name) for name in ("plain", "padded"))
    for split, count in (("train", 11), ("dev", 7)):
        write_split(plain, split, count)
        features = torch.from_numpy(np.load(plain / f"{split}_ims.npy"))
        at = [0, 1, 3, 3]
        np.save(more / f"{split}_ims.npy", np.insert(features.numpy(), at, 0.0, axis=1))
        (more / f"{split}_caps.txt").write_bytes((plain / f"{split}_caps.txt").read_bytes())
        boxes = np.tile(np.float32([[1, 2, 9, 8], [0, 0, 5, 5], [3, 1, 9, 9]]), (count, 1, 1))
        np.save(plain / f"{split}_ims_bbx.npy", boxes)
        np.save(more / f"{split}_ims_bbx.npy", np.insert(boxes, at, 0.0, axis=1))
        for folder in (plain, more):
            np.save(folder / f"{split}_ims_size.npy", np.full((count, 2), 10))
    return plain, more


def new_model(split, method="naaf", boundary=0.1, **settings) -> Model:
    seeds.manual_seed(0)
    vocabulary = Vocabulary.build(split.captions, min_count=1)
    made = model_settings(method=method, dim=19, word_dim=13, **settings)
    model = Model(made, split.regions.shape[2], len(vocabulary), vocabulary)
    torch.nn.init.normal_(model.image_encoder.fc.bias)  # a trained model has one: zeros have a direction
    model.boundary = Boundaries(boundary, boundary)
    return model


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("method", METHODS)
def test_padding_changes_no_score_of_a_split(folders, method, precision):
    splits = [open_split(folder, "dev") for folder in folders]
    model = new_model(splits[0], method)
    plain, more = (score_encoded(model, encode_split(model, s), False, precision) for s in splits)
    np.testing.assert_allclose(more, plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("mode", ["batch", "sequential", *(m for m in METHODS if m != "naaf")])
def test_padding_changes_no_step_of_training(folders, mode):
    """Loss, gradients and what is mined, in float64."""
    changes = {"mining.min_words": 3, "train.batch_size": 29, "model.dim": 19, "model.word_dim": 13}
    changes |= {"model.method": mode} if mode in METHODS else {"mining.mode": mode}
    settings = preset("scenes", changes)
    left = []
    for folder in folders:
        split = open_split(folder, "train")
        model = new_model(split, settings.model.method).double()
        trainer = Trainer(model, settings)
        batch = next(Batches(split, model.text_encoder.ids, 29, 0).epoch(1))
        step = trainer.step(batch, 1)
        gradients = [parameter.grad for parameter in model.parameters()]
        left.append([torch.tensor([step.loss, *trainer.samples, *model.boundary]), *gradients])
    assert mode in METHODS or left[0][0].isfinite().all()  # words were sampled
    for more, plain in zip(left[1], left[0], strict=True):
        torch.testing.assert_close(more, plain, rtol=1e-6, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_padding_adds_nothing_to_the_first_gradient(folders, method, precision):
    """A new model has no bias, so padding is encoded as zeros, where the slope of a norm is 1e8."""
    changes = {"train.batch_size": 29, "model.dim": 19, "model.word_dim": 13, "train.precision": precision}
    norms = []
    for folder in folders:
        split = open_split(folder, "train")
        model = new_model(split, method)
        torch.nn.init.zeros_(model.image_encoder.fc.bias)
        trainer = Trainer(model, preset("scenes", {**changes, "model.method": method}))
        norms.append(trainer.step(next(Batches(split, model.text_encoder.ids, 29, 0).epoch(1)), 1).grad_norm)
    assert norms[1] == pytest.approx(norms[0], rel=1e-3)


def test_padding_changes_no_sample_of_similarities(folders):
    splits = [open_split(folder, "dev") for folder in folders]
    model = new_model(splits[0])
    plain, more = (matched_samples(model, split) for split in splits)
    for kind in ("matched", "mismatched"):
        np.testing.assert_allclose(more[kind], plain[kind], atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_pair_with_padding_is_taken_apart_as_without_it(folders, method):
    splits = [open_split(folder, "dev") for folder in folders]
    model = new_model(splits[0], method).double()
    plain, more = (explain(model, split, 3, 17) for split in splits)
    assert more.score == pytest.approx(plain.score, abs=1e-12)
    np.testing.assert_allclose(more.effect, plain.effect, atol=1e-12)
    real = REAL
    np.testing.assert_allclose(more.cosine[:, real], plain.cosine, atol=1e-12)
    np.testing.assert_allclose(more.attention[:, real], plain.attention, atol=1e-12)
    assert not np.delete(more.attention, real, axis=1).any()
    assert np.isnan(np.delete(more.cosine, real, axis=1)).all()
    np.testing.assert_array_equal(more.best_region, real[plain.best_region])
    there = plain.attended_region >= 0
    np.testing.assert_array_equal(more.attended_region, np.where(there, real[plain.attended_region], -1))
    for page in (words_page, matrix_page):
        assert page(more)._repr_png_()


@pytest.mark.parametrize("method", METHODS)
def test_a_text_of_one_s_own_is_taken_apart_as_without_padding(folders, method):
    """So a caption with a wrong word, too."""
    splits = [open_split(folder, "dev") for folder in folders]
    model = new_model(splits[0], method).double()
    plain, more = (explain(model, split, 5, "a cat near an unheard-of boat") for split in splits)
    np.testing.assert_allclose(more.effect, plain.effect, atol=1e-12)
    np.testing.assert_allclose(more.best_cosine, plain.best_cosine, atol=1e-12)


def test_the_pointing_game_is_the_same_without_padding(folders):
    splits = [open_split(folder, "dev") for folder in folders]
    model = new_model(splits[0]).double()
    links = [[[k % 3] for k, _ in enumerate(tokenize(caption))] for caption in splits[0].captions]
    moved = [[[int(REAL[region]) for region in word] for word in words] for words in links]
    plain, more = (pointing_game(model, *both) for both in zip(splits, (links, moved), strict=True))
    assert (more.rate, more.chance, more.count) == (plain.rate, plain.chance, plain.count)


@pytest.mark.parametrize("stage", ["fitted", "mean"])
@pytest.mark.parametrize("method", METHODS)
def test_the_first_stage_of_search_is_the_same_without_padding(images, method, stage):
    model = Model(model_settings(method=method, dim=DIM, word_dim=3), 4, 5)
    model.boundary = Boundaries(0.1, 0.1)
    prototypes = unit(20, DIM, seed=3).float().numpy() if stage == "fitted" else None
    encoder = Stage(model, prototypes)
    plain, more = (encoder.of_images(some.float()) for some in (images, padded(images)))
    assert plain.any()
    torch.testing.assert_close(more, plain)


def boxes_drawn(figure):
    return [patch for ax in figure.axes for patch in ax.patches if not patch.get_fill()]


def test_no_padding_is_drawn(folders):
    split = open_split(folders[1], "dev")
    model = new_model(split)
    for image in range(3):
        pair = explain(model, split, image)
        drawn = boxes_drawn(pair_page(split, pair)) + boxes_drawn(attention_page(split, pair))
        assert drawn
        assert all(box.get_width() > 0 for box in drawn)
        plt.close("all")
    sheet = image_sheet(split, 2)
    assert len([box for box in boxes_drawn(sheet) if box.get_width() > 0]) == len(boxes_drawn(sheet)) == 2 * 3
    plt.close("all")
    without = image_sheet(replace(split, boxes=None), 1)
    assert sorted(text.get_text() for text in without.axes[1].texts) == ["1", "3", "4"]
    plt.close("all")
    assert np.isfinite(feature_norms({"dev": split})["dev"]).sum() == len(split) * 3
