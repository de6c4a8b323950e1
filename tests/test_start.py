"""How a training starts: rising learning rate, negatives that follow the recall, words that differ."""

import json
import shutil

import numpy as np
import pytest
import seeds
from safetensors.torch import save_file

from naaflib.config import SAFE_START, Settings, preset, replace
from naaflib.data.splits import open_split
from naaflib.data.vocabulary import Vocabulary
from naaflib.model import checkpoint
from naaflib.model.model import Model
from naaflib.runs import BATCH_COLUMNS, Run
from naaflib.training.folder import train_run
from naaflib.verdict import verdicts

pytestmark = pytest.mark.trains

STEPS_AN_EPOCH = 4
SETTINGS = preset(
    "scenes",
    {
        "model.dim": 5,
        "model.word_dim": 3,
        "mining.min_words": 10,
        "train.epochs": 2,
        "train.batch_size": 13,
        "train.decay_epoch": 1,
        "train.warmup_steps": 5,
        "train.learning_rate": 0.02,
        "train.seed": seeds.shifted(),
    },
)


@pytest.fixture(scope="module")
def data(write_split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    for split, images in (("train", 11), ("dev", 7)):
        write_split(folder, split, images)
    return folder


@pytest.fixture(scope="module")
def run(data, tmp_path_factory) -> Run:
    return train_run(data, tmp_path_factory.mktemp("runs") / "a", SETTINGS, device="cpu")


def test_the_learning_rate_rises_linearly_and_decays_by_the_epoch(run):
    rising = [0.2, 0.4, 0.6, 0.8]  # of five warm-up steps, four are in epoch 1
    assert run.steps().learning_rate.tolist() == pytest.approx(
        [0.02 * part for part in rising] + [0.002] * STEPS_AN_EPOCH
    )
    assert run.history().learning_rate.tolist() == pytest.approx([0.016, 0.002])


def test_the_hardest_negatives_weigh_the_root_of_the_running_recall_before_the_step(run):
    steps = run.steps()
    recall = (steps.batch_i2t_at_1 + steps.batch_t2i_at_1) / 200
    running, momentum = 0.0, SETTINGS.loss.recall_momentum
    for weight, now in zip(steps.hardest_weight, recall, strict=True):
        assert weight == pytest.approx(running**0.5, abs=1e-9)
        running = momentum * now + (1 - momentum) * running


def test_an_epoch_s_recalls_are_the_means_of_its_steps(run):
    means = run.steps().groupby("epoch")[["batch_i2t_at_1", "batch_t2i_at_1"]].mean()
    found = run.history().set_index("epoch")[["batch_i2t_at_1", "batch_t2i_at_1"]]
    np.testing.assert_allclose(found, means)


@pytest.mark.parametrize(("negatives", "weight"), [("sum", 0.0), ("hardest", 1.0)])
def test_other_negatives_keep_their_weight(data, tmp_path, negatives, weight):
    changes = {"loss.negatives": negatives, "train.epochs": 1}
    steps = train_run(data, tmp_path / "a", replace(SETTINGS, changes), device="cpu").steps()
    assert (steps.hardest_weight == weight).all()


def parallel(data, word_init: float, seed: int = 0) -> float:
    """Mean cosine of two words of a caption before training, at the scenes preset's sizes."""
    captions = open_split(data, "train").captions
    words = Vocabulary.build(captions, 1)
    seeds.manual_seed(seed)
    model = Model(preset("scenes", {"model.word_init": word_init}).model, 7, len(words), words)
    encoded, lengths = model.encode_texts(captions[::5])
    found = []
    for caption, length in zip(encoded, lengths.tolist(), strict=True):
        cosines = caption[:length] @ caption[:length].T
        found.append((cosines.sum() - length).item() / (length * (length - 1)))
    return float(np.mean(found))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_longer_word_vectors_start_words_apart(data, seed):
    """With the published range the biases of the GRU outweigh word vectors of 64 dimensions."""
    published, chosen = (parallel(data, init, seed) for init in (0.1, preset("scenes").model.word_init))
    assert published > 0.8
    assert chosen < 0.8 * published


def test_word_vectors_fill_their_range(data):
    words = Vocabulary.build(open_split(data, "train").captions, 1)
    weight = Model(preset("scenes", {"model.word_init": 0.3}).model, 7, len(words), words).text_encoder.embed
    assert 0.25 < weight.weight.abs().max().item() <= 0.3


def test_a_record_from_before_the_safe_start_is_read_as_what_it_was():
    """Old run folders have none of the new settings; they were trained without them."""
    record = preset("scenes").model_dump()
    for section, names in (
        ("model", ["word_init"]),
        ("loss", ["recall_momentum"]),
        ("train", ["warmup_steps"]),
    ):
        for name in names:
            del record[section][name]
    record["loss"] |= {"negatives": "hardest", "warmup_epochs": 3}
    settings = Settings.model_validate(record)
    assert (settings.model.word_init, settings.train.warmup_steps) == (0.1, 0)


@pytest.mark.parametrize("name", ["f30k", "coco"])
def test_a_safe_preset_is_the_published_one_with_the_safe_start(name):
    assert preset(f"{name}-safe") == replace(preset(name), SAFE_START)
    assert preset(name).loss.negatives == "hardest"


def test_a_run_from_before_the_new_columns_goes_on(data, run, tmp_path):
    """Its logs, settings and checkpoint know nothing of recall in a batch; the optimizer is not forgotten."""
    old = tmp_path / "old"
    shutil.copytree(run.path, old)
    config = json.loads((old / "config.json").read_text())
    del config["sizes"], config["settings"]["train"]["warmup_steps"], config["settings"]["model"]["word_init"]
    del config["settings"]["loss"]["recall_momentum"]
    config["settings"]["loss"]["negatives"] = "hardest"
    (old / "config.json").write_text(json.dumps(config))
    before = Run.open(old)
    for name, frame in (("history.csv", before.history()), ("steps.csv", before.steps())):
        before.save_log(name, frame.drop(columns=[*BATCH_COLUMNS, "learning_rate"], errors="ignore"))
    path = before.checkpoint("last")
    header = checkpoint.header(path)
    for name in ("recall", "batch_i2t", "batch_t2i"):
        del header["progress"][name]
    save_file(checkpoint.read(path)[0], path, {"naaf": json.dumps(header)})

    assert verdicts([before]) == []
    settings = replace(before.settings, {"train.epochs": 3})
    after = train_run(data, old, settings, resume=True, device="cpu")
    assert after.history().epoch.tolist() == [1, 2, 3]
    assert after.history().batch_i2t_at_1.isna().tolist() == [True, True, False]
    assert after.steps().hardest_weight.iloc[-1] == 1
