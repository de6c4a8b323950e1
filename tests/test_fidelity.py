"""The numbers that the authors' code computes. NAAF_REFERENCE names another folder of the same format."""

import math

import numpy as np
import pytest
import torch

import naaflib
from naaflib.config import preset
from naaflib.data.batches import Batch
from naaflib.model.model import Model
from naaflib.similarity.boundary import Boundaries
from naaflib.training.loop import Trainer

# the oracle's names of what a step leaves -> ours
STEP = {
    "loss": lambda step, trainer: step.loss,
    "grad_norm": lambda step, trainer: step.grad_norm,
    "boundary": lambda step, trainer: trainer.model.boundary.training,
    "boundary_safe": lambda step, trainer: trainer.model.boundary.inference,
    "mean_pos": lambda step, trainer: trainer.samples.mean_matched,
    "std_pos": lambda step, trainer: trainer.samples.std_matched,
    "mean_neg": lambda step, trainer: trainer.samples.mean_mismatched,
    "std_neg": lambda step, trainer: trainer.samples.std_mismatched,
}


@pytest.fixture(scope="module")
def scores(reference):
    return dict(np.load(reference / "scores.npz"))


@pytest.fixture(scope="module")
def training(reference):
    return dict(np.load(reference / "training.npz"))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-6)])
def test_scores_are_the_released_code_s(scores, dtype, tolerance):
    images, captions = (torch.tensor(scores[name], dtype=dtype) for name in ("images", "captions"))
    lengths = torch.tensor(scores["lengths"])
    for index, boundary in enumerate(scores["boundaries"].tolist()):
        for name in [name for name in scores if name.endswith(f"_{index}")]:
            how = {"lambda_intra": None} if name.startswith("training") else {}
            if "lambda" in name:
                how["lambda_softmax"] = float(name.split("lambda")[1].split("_")[0])
            ours = naaflib.score_matrix(images, captions, lengths, boundary=boundary, **how)
            np.testing.assert_allclose(ours.numpy(), scores[name], rtol=0, atol=tolerance, err_msg=name)


def test_metrics_are_the_released_code_s(reference):
    oracle = np.load(reference / "metrics_40.npz")
    metrics = naaflib.retrieval_metrics(oracle["scores"])
    for way in ("i2t", "t2i"):
        ours = getattr(metrics, way)
        np.testing.assert_allclose(list(ours.row().values()), oracle[way], rtol=1e-12)
        np.testing.assert_array_equal(ours.ranks, oracle[f"{way}_ranks"])
        np.testing.assert_array_equal(ours.top1, oracle[f"{way}_top1"])


def test_a_released_checkpoint_gives_its_own_numbers(reference):
    oracle = np.load(reference / "checkpoint_io.npz")
    model = naaflib.load_checkpoint(reference / "checkpoint.pth.tar")
    lengths = torch.tensor(oracle["lengths"])
    images = model.encode_images(torch.tensor(oracle["images"]))
    captions = model.encode_captions(torch.tensor(oracle["tokens"]), lengths)
    np.testing.assert_allclose(images.numpy(), oracle["image_embeddings"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(captions.numpy(), oracle["caption_embeddings"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        model.score(images, captions, lengths).numpy(), oracle["scores"], rtol=0, atol=1e-5
    )


@pytest.mark.trains
@pytest.mark.parametrize(
    # From random weights, training doubles a rounding error of 1e-16 every step: after 20 steps two
    # thread counts of one processor differ by up to 7e-10, each from the oracle by 2e-9 to 3.4e-9.
    ("prefix", "rate", "rounding"),
    [("", 4e-4, 1e-9), ("early.", 4e-3, 3e-8)],
    ids=["from a trained state", "from random weights"],
)
def test_sequential_training_is_the_released_code_s(training, prefix, rate, rounding):
    trainer, model = _trainer(training, prefix, rate)
    for number, captions in enumerate(training[f"{prefix}batches"]):
        step = trainer.step(_batch(training, captions), epoch=1)
        for name, read in STEP.items():
            ours, theirs = read(step, trainer), training[f"{prefix}step.{name}"][number]
            ours = 0.0 if math.isnan(ours) else ours  # the oracle writes 0 before the first estimate
            assert ours == pytest.approx(theirs, rel=1e-6), f"step {number}, {name}"
    for name, parameter in _parameters(model).items():
        np.testing.assert_allclose(
            parameter.detach().numpy(),
            training[f"{prefix}final.{name}"],
            rtol=1e-6,
            atol=rounding,
            err_msg=name,
        )


def _trainer(training: dict, prefix: str, rate: float) -> tuple[Trainer, Model]:
    words, word_dim = training[f"{prefix}init.txt_enc.embed.weight"].shape
    dim, features = training[f"{prefix}init.img_enc.fc.weight"].shape
    settings = preset(
        "f30k",
        {
            "model.dim": dim,
            "model.word_dim": word_dim,
            "mining.mode": "sequential",
            "train.learning_rate": rate,
            "train.precision": "float64",
        },
    )
    model = Model(settings.model, features, words).double()
    with torch.no_grad():
        for name, parameter in _parameters(model).items():
            parameter.copy_(torch.tensor(training[f"{prefix}init.{name}"]))
    if not prefix:
        model.boundary = Boundaries(float(training["init.boundary"]), float(training["init.boundary_safe"]))
    return Trainer(model, settings), model


def _parameters(model: Model) -> dict[str, torch.nn.Parameter]:
    """The parameters by the oracle's names."""
    encoders = {"img_enc": model.image_encoder, "txt_enc": model.text_encoder}
    return {
        f"{side}.{name}": p for side, encoder in encoders.items() for name, p in encoder.named_parameters()
    }


def _batch(training: dict, captions: np.ndarray) -> Batch:
    lengths = training["lengths"][captions]
    images = captions // 5
    arrays = training["features"][images], training["tokens"][captions, : lengths.max()], lengths, images
    return Batch(*(torch.tensor(array) for array in arrays))
