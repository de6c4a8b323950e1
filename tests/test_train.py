"""Training: the same seed is the same run, a stopped run continues as if it never stopped, settings act."""

import csv
import json
import math
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import seeds
import torch

from naaflib import load_checkpoint
from naaflib.batch import runs_table
from naaflib.config import preset, replace
from naaflib.data.batches import Batches
from naaflib.data.splits import open_split
from naaflib.data.vocabulary import Vocabulary, unknown_share
from naaflib.errors import NaafError, UsageError
from naaflib.evaluation import evaluate, validation_metrics
from naaflib.evaluation.comparison.settings import _members
from naaflib.metric.retrieval import Retrieval, RetrievalMetrics, chance_recalls
from naaflib.model import checkpoint
from naaflib.model.model import Model
from naaflib.runs import FINISHED, HISTORY, NO_CHECKPOINT, STEPS, UNFINISHED, Run
from naaflib.similarity.boundary import Boundaries, Samples, optimal_boundary, updated
from naaflib.training import folder, loop
from naaflib.training.folder import train_members, train_run
from naaflib.training.loop import fit
from naaflib.training.rerun import rerun
from naaflib.verdict import verdicts

pytestmark = pytest.mark.trains
STEPS_AN_EPOCH = 4  # 55 captions in batches of 13; 3 are left out
EPOCHS = 3
SETTINGS = preset(
    "scenes",
    {
        "model.dim": 5,
        "model.word_dim": 3,
        "mining.min_words": 10,
        "loss.negatives": "hardest",
        "loss.warmup_epochs": 1,
        "train.epochs": EPOCHS,
        "train.warmup_steps": 0,  # so few steps would all be slow
        "train.batch_size": 13,
        "train.learning_rate": 0.02,
        "train.decay_epoch": 2,
        "train.seed": seeds.shifted(3),
    },
)


CHINESE = (
    "一只黑色的猫坐在窗边",
    "两条狗在草地上奔跑",
    "孩子们在海滩上玩",
    "山上有一座老房子",
    "红色的船停在港口",
)


class Killed(Exception):
    """A training process that ends where it stands."""


@pytest.fixture(scope="module")
def train(data):
    """train_run on `data` with SETTINGS, some replaced; the run."""

    def train(out, changes=None, **how) -> Run:
        return train_run(data, out, replace(SETTINGS, changes or {}), device="cpu", **how)

    return train


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    """The run that never stopped. Read it only."""
    return train(tmp_path_factory.mktemp("runs") / "whole")


def tensors(run, which="best"):
    return checkpoint.read(run.checkpoint(which))[0]


def weights(run, which="last"):
    return {name: value for name, value in tensors(run, which).items() if name.startswith("model.")}


def same_tensors(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_same_run(one: Run, other: Run):
    """Bit by bit: checkpoints with all that they hold, the log of steps, history but for seconds, samples."""
    for which in ("best", "last"):
        assert same_tensors(tensors(one, which), tensors(other, which))
        first, second = (checkpoint.header(run.checkpoint(which)) for run in (one, other))
        assert first["progress"].pop("seconds") >= 0
        assert second["progress"].pop("seconds") >= 0
        assert first == second
    assert (one.path / "steps.csv").read_bytes() == (other.path / "steps.csv").read_bytes()
    history = [run.history().drop(columns="seconds") for run in (one, other)]
    assert history[0].equals(history[1])
    first, second = one.samples(), other.samples()
    assert list(first) == list(second)
    for epoch in first:
        assert first[epoch].keys() == second[epoch].keys()
        assert all(np.array_equal(first[epoch][name], second[epoch][name]) for name in first[epoch])


# ---- what a run leaves


def test_history_has_a_row_an_epoch(whole):
    history, steps = whole.history(), whole.steps()
    assert list(history.columns) == list(HISTORY)
    assert history.epoch.tolist() == [1, 2, 3]
    assert history.step.tolist() == [4, 8, 12]
    assert history.learning_rate.tolist() == pytest.approx([0.02, 0.02, 0.002])  # decayed after two epochs
    assert (history.seconds > 0).all()
    recalls = [f"{way}_at_{k}" for way in ("i2t", "t2i") for k in (1, 5, 10)]
    np.testing.assert_allclose(history[recalls].sum(axis=1), history.rsum)
    for _, row in history.iterrows():
        own = steps[steps.epoch == row.epoch]
        assert row.loss == pytest.approx(own.loss.mean())
        assert row.boundary == own.boundary.iloc[-1]
        assert row.inference_boundary == own.inference_boundary.iloc[-1]
        assert row.mean_matched == own.mean_matched.iloc[-1]


def test_steps_have_a_row_a_step(whole):
    steps = whole.steps()
    assert list(steps.columns) == list(STEPS)
    assert steps.step.tolist() == list(range(1, 13))
    assert steps.epoch.tolist() == [1] * 4 + [2] * 4 + [3] * 4
    assert (steps.loss > 0).all()
    assert (steps.grad_norm > 0).all()
    assert (steps.boundary > 0).any()  # something was mined
    known = steps.dropna()
    assert (known.std_matched > 0).all()
    assert known.mean_matched.mean() > known.mean_mismatched.mean()


def test_the_boundary_of_a_step_is_the_last_one_moved_to_its_samples(whole):
    mining, old, before = SETTINGS.mining, Boundaries(0.0, 0.0), Samples()
    for row in whole.steps().itertuples():
        samples = Samples(*(getattr(row, name) for name in Samples._fields))
        if not np.array_equal(samples, before, equal_nan=True):
            estimate = optimal_boundary(*samples, mining.alpha)
            old, before = updated(old, samples, estimate, mining.momentum), samples
        assert (row.boundary, row.inference_boundary) == pytest.approx(old, abs=1e-9)


def test_samples_are_kept_before_training_and_after_every_epoch(whole):
    samples = whole.samples()
    assert list(samples) == [0, 1, 2, 3]
    shapes = {(len(sample["matched"]), len(sample["mismatched"])) for sample in samples.values()}
    assert len(shapes) == 1  # the same words every time
    assert float(samples[0]["boundary"]) == 0
    history = whole.history().set_index("epoch")
    for epoch in (1, 2, 3):
        assert float(samples[epoch]["boundary"]) == pytest.approx(history.boundary[epoch], abs=1e-12)
    assert not np.array_equal(samples[0]["matched"], samples[3]["matched"])


def test_a_run_records_what_repeats_it(whole, data):
    config = json.loads((whole.path / "config.json").read_text())
    assert whole.settings == SETTINGS
    assert config["kind"] == "train"
    assert config["data"]["folder"] == str(data.resolve())
    assert set(config["data"]["files"]) == {"train_ims.npy", "train_caps.txt", "dev_ims.npy", "dev_caps.txt"}
    words = Vocabulary.from_json(json.loads((whole.path / "vocabulary.json").read_text()))
    assert words == Vocabulary.build(open_split(data, "train").captions, 1)
    assert list((whole.path / "tensorboard").iterdir())
    assert not list(whole.path.rglob("*partial*"))


def test_the_last_row_is_what_the_last_checkpoint_scores(whole, data):
    found = validation_metrics(load_checkpoint(whole.checkpoint("last")), open_split(data, "dev"))
    assert found.rsum == pytest.approx(whole.history().rsum.iloc[-1])


def test_a_dev_split_may_be_validated_in_part(train, whole, data, tmp_path):
    run = train(tmp_path / "a", {"data.validation_images": 3, "train.epochs": 1})
    found = validation_metrics(load_checkpoint(run.checkpoint("last")), open_split(data, "dev").first(3))
    assert found.rsum == pytest.approx(run.history().rsum.iloc[0])
    assert len(run.samples()[0]["matched"]) < len(whole.samples()[0]["matched"])
    assert_steps_equal(run, whole, 4)  # and trains alike


def assert_steps_equal(one, other, count, columns=("loss", "grad_norm")):
    names = list(columns)
    assert one.steps()[names][:count].equals(other.steps()[names][:count])


# ---- the seed


def test_the_same_seed_is_the_same_run(train, whole, tmp_path):
    torch.manual_seed(99)  # whatever happened before
    np.random.seed(99)  # noqa: NPY002  # whatever happened to the state that code of others uses
    assert_same_run(train(tmp_path / "again"), whole)


def test_another_seed_is_another_run(train, whole, tmp_path):
    other = train(tmp_path / "other", {"train.seed": seeds.shifted(4), "train.epochs": 1})
    first = whole.steps().iloc[0], other.steps().iloc[0]
    assert first[0].loss != first[1].loss
    assert not np.array_equal(whole.samples()[0]["matched"], other.samples()[0]["matched"])


# ---- resuming


def kill(monkeypatch, place, count):
    """From now on the count-th call of something that training does ends it, before it is done."""
    owner, name = {
        "reading a batch": (Batches, "batch"),
        "validating": (folder, "validation_metrics"),
        "observing": (folder, "matched_samples"),
        "saving a checkpoint": (checkpoint, "save"),
        "logging": (Run, "append"),
    }[place]
    calls, real = [], getattr(owner, name)

    def dying(*args, **kwargs):
        calls.append(name)
        if len(calls) == count:
            raise Killed(f"{place}, call {count}")
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, dying)


@pytest.mark.parametrize(
    ("every", "place", "count"),
    [
        (0, "observing", 1),  # before training
        (0, "reading a batch", 1),
        (0, "reading a batch", 4),
        (0, "reading a batch", 5),  # the second epoch's first
        (0, "reading a batch", 11),
        (0, "validating", 2),
        (0, "observing", 4),
        (0, "saving a checkpoint", 2),  # the first epoch's best, then its last
        (0, "saving a checkpoint", 3),
        (0, "saving a checkpoint", 4),
        (0, "saving a checkpoint", 5),
        (1, "reading a batch", 2),
        (1, "reading a batch", 10),
        (1, "validating", 1),
        (1, "saving a checkpoint", 6),
        (3, "reading a batch", 4),
        (3, "reading a batch", 8),
        (3, "logging", 9),
        (3, "validating", 3),
        (5, "observing", 3),
    ],
)
def test_a_stopped_run_continues_exactly(train, whole, tmp_path, monkeypatch, every, place, count):
    with monkeypatch.context() as patch:
        kill(patch, place, count)
        with pytest.raises(Killed):
            train(tmp_path / "a", {"train.checkpoint_steps": every})
    assert not list(tmp_path.rglob("*partial*"))
    run = train(tmp_path / "a", {"train.checkpoint_steps": every}, resume=True)
    assert_same_run(run, whole)


def test_a_run_that_is_stopped_again_and_again_arrives(train, whole, tmp_path, monkeypatch):
    every, stops = {"train.checkpoint_steps": 1}, 0
    while True:
        try:
            with monkeypatch.context() as patch:
                kill(patch, "reading a batch", 3)
                run = train(tmp_path / "a", every, resume=stops > 0)
            break
        except Killed:
            stops += 1
    assert stops == 5
    assert_same_run(run, whole)


@pytest.mark.parametrize(
    "changes",
    [
        {"train.precision": "bf16"},
        {"train.precision": "fp16"},
        {"train.precision": "float64"},
        {"mining.mode": "sequential"},
        {"model.method": "scan-t2i"},
        {"model.freeze_words": True},
        {"model.image_encoder": "weight-norm", "loss.negatives": "sum", "loss.exclude_same_image": True},
    ],
    ids=lambda changes: " ".join(map(str, changes.values())),
)
def test_every_kind_of_training_continues(train, tmp_path, monkeypatch, changes):
    changes = changes | {"train.epochs": 2, "train.checkpoint_steps": 3}
    never_stopped = train(tmp_path / "whole", changes)
    with monkeypatch.context() as patch:
        kill(patch, "reading a batch", 8)
        with pytest.raises(Killed):
            train(tmp_path / "a", changes)
    assert_same_run(train(tmp_path / "a", changes, resume=True), never_stopped)


def test_what_was_logged_after_the_checkpoint_is_cut(train, whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill(patch, "observing", 3)
        with pytest.raises(Killed):
            train(tmp_path / "a", {"train.checkpoint_steps": 3})
    run = Run.open(tmp_path / "a")
    assert checkpoint.header(run.checkpoint("last"))["progress"]["step"] == 6
    assert len(run.steps()) == 8
    assert len(run.history()) == 2
    with monkeypatch.context() as patch:
        kill(patch, "reading a batch", 1)
        with pytest.raises(Killed):
            train(tmp_path / "a", {"train.checkpoint_steps": 3}, resume=True)
    assert_steps_equal(run, whole, 6, STEPS)
    assert len(run.steps()) == 6
    assert len(run.history()) == 1
    assert list(run.samples()) == [0, 1]


def test_more_epochs_may_be_asked_for_afterwards(train, whole, tmp_path):
    short = train(tmp_path / "a", {"train.epochs": 2})
    assert len(short.history()) == 2
    longer = train(tmp_path / "a", resume=True)
    assert_same_run(longer, whole)
    assert Run.open(tmp_path / "a").settings.train.epochs == EPOCHS


def test_a_finished_run_is_left_as_it_is(train, tmp_path):
    run = train(tmp_path / "a", {"train.epochs": 1})
    before = content(run.path)
    train(tmp_path / "a", {"train.epochs": 1}, resume=True)
    assert content(run.path) == before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train.seed", seeds.shifted(4)),
        ("train.learning_rate", 0.03),
        ("train.checkpoint_steps", 2),
        ("model.dim", 7),
        ("model.lambda_intra", None),
        ("mining.alpha", 1.0),
        ("loss.margin", 0.3),
        ("data.min_word_count", 2),
    ],
)
def test_only_the_number_of_epochs_may_change(train, whole, name, value):
    before = content(whole.path)
    with pytest.raises(NaafError, match=rf"whole was trained with {name} .* only train\.epochs may change"):
        train(whole.path, {name: value, "train.epochs": 9}, resume=True)
    assert content(whole.path) == before


def test_other_data_does_not_continue_a_run(whole, data, tmp_path):
    for name in ("train_caps.txt", "dev_ims.npy"):
        other = tmp_path / name
        other.mkdir()
        for path in data.iterdir():
            (other / path.name).write_bytes(path.read_bytes())
        if name.endswith("txt"):
            text = (other / name).read_text().replace("cat", "cow")
            (other / name).write_text(text)
        else:
            np.save(other / name, np.load(other / name) + 1)
        before = content(whole.path)
        with pytest.raises(NaafError, match=rf"{name} is not what .*whole was trained on"):
            train_run(other, whole.path, SETTINGS, resume=True, device="cpu")
        assert content(whole.path) == before


def test_a_copy_of_the_data_elsewhere_continues_a_run(train, whole, data, tmp_path):
    train(tmp_path / "a", {"train.epochs": 1})
    for path in data.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    run = train_run(tmp_path, tmp_path / "a", SETTINGS, resume=True, device="cpu")
    assert_same_run(run, whole)


def test_what_cannot_be_resumed_is_named(train, tmp_path, monkeypatch):
    with pytest.raises(NaafError, match="a does not exist"):
        train(tmp_path / "a", resume=True)
    Run.create(tmp_path / "group", "group")
    with pytest.raises(NaafError, match="kind 'group', not a training"):
        train(tmp_path / "group", resume=True)


@pytest.mark.parametrize("again", [{}, {"resume": True}])
def test_what_stopped_before_its_first_checkpoint_is_trained_anew(
    train, glove, tmp_path, monkeypatch, capsys, again
):
    """With what it started from; the same command goes on, with and without --resume."""
    one = {"train.epochs": 1}
    with monkeypatch.context() as patch:
        kill(patch, "saving a checkpoint", 1)
        with pytest.raises(Killed):
            train(tmp_path / "early", one, glove=glove)
    run = train(tmp_path / "early", one, **(again or {"glove": glove}))
    assert "early stopped before its first checkpoint; training anew" in capsys.readouterr().err
    assert_steps_equal(run, train(tmp_path / "whole", one, glove=glove), STEPS_AN_EPOCH, STEPS)
    before = content(tmp_path / "whole")
    (tmp_path / "whole" / "checkpoints" / "last.safetensors").unlink()
    with pytest.raises(NaafError, match="whole already holds a run"):
        train(tmp_path / "whole", one)  # its best model is there
    assert len(content(tmp_path / "whole")) == len(before) - 1


def test_a_folder_that_holds_a_run_is_refused_and_left_alone(train, whole):
    before = content(whole.path)
    with pytest.raises(NaafError, match=r"whole already holds a run; .*--resume"):
        train(whole.path)
    assert content(whole.path) == before


# ---- the best epoch


def ranked(percent: int) -> RetrievalMetrics:
    """Metrics with all six recalls at so many percent."""
    one = Retrieval(np.array([0] * percent + [99] * (100 - percent)), np.zeros(100, int))
    return RetrievalMetrics(one, one)


@pytest.mark.parametrize(
    ("percents", "best"), [([20, 50, 30, 50], 2), ([10, 20, 30, 40], 4), ([0, 0, 0, 0], 1), ([9, 8, 7, 6], 1)]
)
def test_the_best_checkpoint_is_the_first_epoch_of_the_best_rsum(data, tmp_path, percents, best):
    settings = replace(SETTINGS, {"train.epochs": 4})
    split = open_split(data, "train")
    words = Vocabulary.build(split.captions, 1)
    seeds.manual_seed(0)
    model = Model(settings.model, split.regions.shape[2], len(words), words)
    run = Run.create(tmp_path / "a", "train", settings=settings.model_dump())
    answers, after = iter(percents), []

    def validate(model):
        after.append({name: value.clone() for name, value in model.state_dict().items()})
        assert not model.training
        return ranked(next(answers))

    batches = Batches(split, words.encode, settings.train.batch_size, settings.train.seed)
    fit(run, model, batches, settings, validate=validate, observe=lambda model: {"matched": np.zeros(2)})
    found = load_checkpoint(run.checkpoint("best")).state_dict()
    assert [same_tensors(found, one) for one in after] == [epoch == best for epoch in (1, 2, 3, 4)]
    assert same_tensors(load_checkpoint(run.checkpoint("last")).state_dict(), after[-1])
    assert run.history().rsum.tolist() == pytest.approx([6 * percent for percent in percents])


def test_switches_of_torch_are_on_while_a_run_is_trained_and_validated_alone(train, tmp_path, monkeypatch):
    seen, devices = [], []

    def validated(model, real=folder.validation_metrics, **how):
        seen.append(torch.backends.cuda.matmul.fp32_precision)
        return real(model, **how)

    @contextmanager
    def repeatable(device):
        devices.append(device.type)
        yield
        devices.append("done")

    monkeypatch.setattr(folder, "validation_metrics", validated)
    monkeypatch.setattr(loop, "repeatable", repeatable)
    before = torch.backends.cuda.matmul.fp32_precision
    for precision, kind in (("float32", "ieee"), ("tf32", "tf32")):
        train(tmp_path / precision, {"train.precision": precision, "train.epochs": 1})
        assert seen.pop() == kind
        assert torch.backends.cuda.matmul.fp32_precision == before
    assert devices == ["cpu", "done"] * 2


def test_a_model_that_is_resumed_takes_everything_from_the_checkpoint(train, data, tmp_path):
    """Also one of other weights and boundaries."""
    run = train(tmp_path / "a")
    other = load_checkpoint(run.checkpoint("best"))
    other.boundary = Boundaries(0.9, 0.8)
    split = open_split(data, "train")
    batches = Batches(split, other.text_encoder.ids, SETTINGS.train.batch_size, SETTINGS.train.seed)
    trainer = loop.Trainer(other, SETTINGS)
    loop._restore(run, trainer, len(batches))
    assert trainer.boundary == other.boundary == load_checkpoint(run.checkpoint("last")).boundary


# ---- settings act


def test_warm_up_counts_every_negative_first(train, whole, tmp_path):
    summed = train(tmp_path / "sum", {"loss.negatives": "sum", "loss.warmup_epochs": 0})
    hardest = train(tmp_path / "hard", {"loss.warmup_epochs": 0, "train.epochs": 1})
    assert_steps_equal(whole, summed, STEPS_AN_EPOCH)
    assert whole.steps().loss[STEPS_AN_EPOCH] < summed.steps().loss[STEPS_AN_EPOCH]
    assert hardest.steps().loss[0] < whole.steps().loss[0]


@pytest.fixture(scope="module")
def one_image(data, write_split, tmp_path_factory):
    """A train split of five captions of one image."""
    folder = write_split(tmp_path_factory.mktemp("one"), "train", 1)
    return write_split(folder, "dev", 3)


def test_captions_of_one_image_can_be_no_negatives_of_each_other(one_image, tmp_path):
    def train_one(name, exclude):
        return train_run(
            one_image, tmp_path / name, replace(SETTINGS, {"loss.exclude_same_image": exclude}), device="cpu"
        )

    left, excluded = train_one("left", False), train_one("excluded", True)
    assert (left.steps().loss > 0).all()
    assert (excluded.steps()[["loss", "grad_norm"]] == 0).all(axis=None)
    assert not np.array_equal(left.samples()[0]["matched"], left.samples()[3]["matched"])
    np.testing.assert_array_equal(excluded.samples()[0]["matched"], excluded.samples()[3]["matched"])


@pytest.fixture
def glove(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("cat 1 2 3\nzebra 4 5 6\na -1 -2 -3\n")
    return path


def embedding(run, which="last"):
    return weights(run, which)["model.text_encoder.embed.weight"]


def test_words_can_start_from_glove_and_stay_there(train, glove, tmp_path, capsys):
    one_epoch = {"train.epochs": 1}
    frozen = one_epoch | {"model.freeze_words": True}
    random, started = train(tmp_path / "a", frozen), train(tmp_path / "b", frozen, glove=glove)
    assert "GloVe vectors for 2 of" in capsys.readouterr().err
    words = load_checkpoint(started.path).vocabulary
    found = [words.id["cat"], words.id["a"]]
    assert embedding(started)[found].tolist() == [[1, 2, 3], [-1, -2, -3]]
    others = [index for index in range(len(words)) if index not in found]
    assert torch.equal(embedding(started)[others], embedding(random)[others])
    tuned = train(tmp_path / "c", one_epoch, glove=glove)
    assert not torch.equal(embedding(tuned)[found], embedding(started)[found])
    np.testing.assert_allclose(embedding(tuned)[found], embedding(started)[found], atol=0.3)
    for run in (frozen_run := started), tuned:
        same = torch.equal(embedding(run)[others], embedding(random)[others])
        assert same == (run is frozen_run)
        rnn = "model.text_encoder.rnn.weight_ih_l0"
        assert not torch.equal(weights(run)[rnn], weights(random)[rnn])


def test_glove_of_another_dimension_is_refused_before_anything_is_written(train, glove, tmp_path):
    with pytest.raises(NaafError, match=r"vectors have 3 dimensions and model\.word_dim is 4; .*word_dim=3"):
        train(tmp_path / "a", {"model.word_dim": 4}, glove=glove)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_products_train_float32_weights_a_little_differently(train, whole, tmp_path, precision):
    run = train(tmp_path / "a", {"train.precision": precision})
    kinds = {value.dtype for name, value in weights(run).items() if "boundary" not in name}
    assert kinds == {torch.float32}
    assert run.steps().loss[0] != whole.steps().loss[0]
    assert run.steps().loss[0] == pytest.approx(whole.steps().loss[0], rel=0.05)
    assert np.isfinite(run.steps().loss).all()


def test_a_step_of_fp16_whose_gradients_overflow_is_left_out_and_the_next_ones_are_scaled_less(
    train, tmp_path, monkeypatch
):
    """Resumed in between, too: the scale belongs to the checkpoint, which has no optimizer state then."""
    start = 2.0**40  # the first steps overflow
    scalers = []

    def scaler(device, enabled, real=torch.amp.GradScaler):
        scalers.append(real(device, init_scale=start, enabled=enabled))
        return scalers[-1]

    monkeypatch.setattr(torch.amp, "GradScaler", scaler)
    changes = {"train.precision": "fp16", "train.checkpoint_steps": 1}
    never_stopped = train(tmp_path / "whole", changes)
    norms, left_out = never_stopped.steps().grad_norm, ~np.isfinite(never_stopped.steps().grad_norm)
    assert left_out[:2].all()
    assert scalers[0].get_scale() == start / 2 ** left_out.sum()
    assert (norms[~left_out] > 0).all()
    with monkeypatch.context() as patch:
        kill(patch, "reading a batch", 4)  # one batch is read ahead of the step
        with pytest.raises(Killed):
            train(tmp_path / "a", changes)
    assert 1 <= checkpoint.header(Run.open(tmp_path / "a").checkpoint("last"))["progress"]["step"] <= 3
    assert_same_run(train(tmp_path / "a", changes, resume=True), never_stopped)


def test_tf32_says_that_a_cpu_has_float32_and_trains_so(train, whole, tmp_path, capsys):
    run = train(tmp_path / "a", {"train.precision": "tf32", "train.epochs": 1})
    assert "train.precision tf32 is float32 on cpu" in capsys.readouterr().err
    assert_steps_equal(run, whole, STEPS_AN_EPOCH)
    record = json.loads((run.path / "config.json").read_text())
    assert record["settings"]["train"]["precision"] == "tf32"
    assert record["start"]["float32_products"] == "ieee"


def test_float64_is_float64_from_end_to_end(train, whole, tmp_path):
    run = train(tmp_path / "a", {"train.precision": "float64", "train.epochs": 1})
    assert {value.dtype for value in weights(run).values()} == {torch.float64}
    assert load_checkpoint(run.path).image_encoder.fc.bias.dtype == torch.float64
    assert run.steps().loss[0] == pytest.approx(whole.steps().loss[0], rel=1e-4)


@pytest.mark.parametrize("method", ["scan-t2i", "scan-i2t"])
@pytest.mark.parametrize("pooling", ["mean", "lse"])
def test_scan_trains_without_a_boundary(train, data, tmp_path, method, pooling):
    run = train(tmp_path / "a", {"model.method": method, "model.pooling": pooling, "train.epochs": 2})
    steps = run.steps()
    assert np.isfinite(steps.loss).all()
    assert (steps.loss > 0).all()
    assert (steps[["boundary", "inference_boundary"]] == 0).all(axis=None)
    assert steps[["mean_matched", "std_matched", "mean_mismatched", "std_mismatched"]].isna().all(axis=None)
    model = load_checkpoint(run.checkpoint("last"))
    assert (model.settings.method, model.settings.pooling) == (method, pooling)
    rsum = validation_metrics(model, open_split(data, "dev")).rsum
    assert rsum == pytest.approx(run.history().rsum.iloc[-1])


def test_training_lowers_the_loss_and_finds_the_captions_that_it_saw(train, data, tmp_path):
    run = train(tmp_path / "a", {"train.epochs": 12, "train.decay_epoch": 12, "loss.negatives": "sum"})
    history = run.history()
    assert history.loss.iloc[-1] < 0.7 * history.loss.iloc[0]
    seen = open_split(data, "train")
    found = validation_metrics(load_checkpoint(run.checkpoint("last")), seen)
    assert found.rsum > 1.5 * chance_recalls(len(seen), seen.captions_per_image)["rsum"]


def test_sequential_mining_trains_from_the_same_start(train, whole, tmp_path):
    run = train(tmp_path / "a", {"mining.mode": "sequential", "mining.min_words": 2})
    assert np.isfinite(run.steps()[["loss", "grad_norm", "boundary"]]).all(axis=None)
    assert run.samples()[0]["matched"].tolist() == whole.samples()[0]["matched"].tolist()
    assert (run.steps().boundary > 0).any()


def test_sequential_mining_begins_each_batch_at_zero_and_batch_mining_at_the_last_boundary(
    train, start, tmp_path
):
    waiting = {"mining.min_words": 10**6, "train.epochs": 1}  # too few words are sampled for an estimate
    for mode, boundary in (("batch", 1 / 3), ("sequential", 0)):
        run = train(tmp_path / mode, waiting | {"mining.mode": mode}, init=start)
        assert (run.steps().boundary == boundary).all()


def test_without_enough_words_the_boundary_stays(train, tmp_path):
    run = train(tmp_path / "a", {"mining.min_words": 10**6, "train.epochs": 1})
    assert (run.steps()[["boundary", "inference_boundary"]] == 0).all(axis=None)


def test_a_loss_that_is_not_finite_ends_training_in_one_sentence(data, tmp_path, monkeypatch):
    """Readers refuse numbers that would overflow, so the loss itself is made to."""
    loss = loop.hinge_loss
    monkeypatch.setattr(loop, "hinge_loss", lambda *args, **how: loss(*args, **how) * float("inf"))
    with pytest.raises(NaafError, match=r"not finite; lower train\.learning_rate"):
        train_run(data, tmp_path / "a", SETTINGS, device="cpu")


def test_small_data_and_small_batches_will_do(one_image, tmp_path):
    run = train_run(one_image, tmp_path / "a", replace(SETTINGS, {"train.batch_size": 2}), device="cpu")
    assert len(run.steps()) == 2 * EPOCHS


# ---- starting from a checkpoint


@pytest.fixture
def start(tmp_path, data):
    """A checkpoint with a vocabulary and a boundary of its own."""
    words = Vocabulary(("<pad>", "<unk>", "<start>", "<end>", "cat", "dog", "a", "and"))
    seeds.manual_seed(11)
    model = Model(SETTINGS.model, 11, len(words), words)
    model.boundary = Boundaries(1 / 3, 2 / 7)
    checkpoint.save(tmp_path / "start.safetensors", model, {})
    return tmp_path / "start.safetensors"


def test_a_run_can_start_from_a_checkpoint(train, data, start, tmp_path):
    held = {"train.learning_rate": 1e-30, "mining.min_words": 10**6, "train.epochs": 1}
    run = train(tmp_path / "a", held, init=start)
    first, last = load_checkpoint(start), load_checkpoint(run.checkpoint("last"))
    assert last.vocabulary == first.vocabulary
    assert last.boundary == first.boundary  # to the last bit
    for name, weight in first.state_dict().items():
        torch.testing.assert_close(last.state_dict()[name], weight, rtol=0, atol=1e-25)
    assert (run.steps().boundary == 1 / 3).all()
    assert (run.steps().inference_boundary == 2 / 7).all()
    assert run.history().rsum[0] == validation_metrics(first, open_split(data, "dev")).rsum
    assert json.loads((run.path / "config.json").read_text())["start"]["init"] == str(start)


def test_a_run_can_start_from_a_run(train, whole, tmp_path):
    run = train(tmp_path / "a", {"train.learning_rate": 1e-30, "train.epochs": 1}, init=whole.path)
    best, last = weights(whole, "best"), weights(run)
    for weight in (best, last):
        del weight["model.boundary_pair"]  # mined again
    assert same_tensors(best, last)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model.dim": 7}, r"model\.dim 5"),
        ({"model.word_dim": 4}, r"model\.word_dim 3"),
        ({"model.image_encoder": "weight-norm"}, r"model\.image_encoder linear"),
    ],
)
def test_a_start_of_another_shape_is_refused(train, start, tmp_path, changes, reason):
    with pytest.raises(NaafError, match=rf"start\.safetensors has {reason}"):
        train(tmp_path / "a", changes, init=start)
    assert not (tmp_path / "a").exists()


def test_a_start_of_other_features_is_refused(start, write_split, tmp_path):
    for split in ("train", "dev"):
        write_split(tmp_path / "wide", split, 3, dim=13)
    with pytest.raises(NaafError, match=r"start\.safetensors has 11 features a region"):
        train_run(tmp_path / "wide", tmp_path / "a", SETTINGS, init=start, device="cpu")


def test_a_vocabulary_can_be_given(train, tmp_path):
    words = ["<pad>", "<unk>", "<start>", "<end>", "cat", "dog"]
    path = tmp_path / "vocab.json"
    path.write_text(json.dumps({"word2idx": {word: index for index, word in enumerate(words)}}))
    run = train(tmp_path / "a", {"train.epochs": 1}, vocabulary=path)
    assert load_checkpoint(run.path).vocabulary.words == tuple(words)
    assert len(embedding(run)) == 6


# ---- how far a run is: one answer


@pytest.mark.parametrize("epoch", [1, EPOCHS])
def test_a_kill_between_history_row_and_checkpoint_is_unfinished_everywhere(
    data, whole, tmp_path, monkeypatch, capsys, epoch
):
    def dying(run, trainer, position, which):
        if which == "last" and position.epoch > epoch:
            raise Killed
        save(run, trainer, position, which)

    save = loop._save
    folder = tmp_path / "group" / "members" / str(SETTINGS.train.seed)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_save", dying)
        with pytest.raises(Killed):
            train_members(data, tmp_path / "group", SETTINGS, 1, device="cpu")
    run = Run.open(folder)
    assert run.history()["epoch"].max() == epoch  # the row is there, and is_trained
    assert run.is_trained
    assert (run.state(), run.epochs_done) == (UNFINISHED, epoch - 1)
    (row,) = runs_table(folder).to_dict("records")
    assert (row["state"], row["epochs"]) == (UNFINISHED, f"{epoch - 1}/{EPOCHS}")
    run.update(sizes={"chance_rsum": 500.0})  # as good as blind guessing, were it judged
    assert verdicts([run]) == []
    with pytest.raises(NaafError, match="is not trained to its end"):
        rerun(folder, tmp_path / "again", data)
    left_out = []
    assert _members(tmp_path / "group", left_out) == []
    assert left_out == [f"{run.name}: epoch {epoch - 1} of {EPOCHS}"]
    (run,) = train_members(data, tmp_path / "group", SETTINGS, 1, device="cpu")
    assert "resuming" in capsys.readouterr().err
    assert run.state() == FINISHED
    assert_same_run(run, whole)


def test_a_finished_run_stays_so_without_its_last_checkpoint(whole, tmp_path):
    """checkpoints/last is three times as large as best, and only resuming needs it."""
    run = Run.open(shutil.copytree(whole.path, tmp_path / "a"))
    run.checkpoint("last").unlink()
    assert run.state() == FINISHED
    run.save_log("history.csv", run.history().head(EPOCHS - 1))
    assert run.state() == NO_CHECKPOINT  # there is nothing to go on from


def test_a_run_without_its_last_checkpoint_is_not_trained_anew_silently(data, whole, tmp_path):
    longer = replace(SETTINGS, {"train.epochs": EPOCHS + 1})
    folder = tmp_path / "group" / "members" / str(SETTINGS.train.seed)
    shutil.copytree(whole.path, folder)
    Run.open(folder).checkpoint("last").unlink()
    before = content(folder)
    with pytest.raises(NaafError, match="already holds a run"):
        train_members(data, tmp_path / "group", longer, 1, device="cpu")
    assert before.items() <= content(folder).items()


# ---- members


def test_members_are_runs_of_consecutive_seeds(train, whole, data, tmp_path, capsys):
    settings = replace(SETTINGS, {"train.epochs": 1})
    runs = train_members(data, tmp_path / "group", settings, 2, device="cpu")
    chosen = [seeds.shifted(3), seeds.shifted(4)]
    assert [run.path for run in runs] == [tmp_path / "group" / "members" / str(seed) for seed in chosen]
    assert [run.settings.train.seed for run in runs] == chosen
    assert_steps_equal(runs[0], whole, STEPS_AN_EPOCH, STEPS)
    assert "training into" in capsys.readouterr().err
    before = content(tmp_path)
    again = train_members(data, tmp_path / "group", settings, 2, device="cpu")
    assert [run.path for run in again] == [run.path for run in runs]
    assert content(tmp_path) == before  # nothing is retrained
    assert capsys.readouterr().err.count("reused") == 2
    with pytest.raises(NaafError, match=rf"members/{chosen[0]} was trained with loss\.margin"):
        train_members(data, tmp_path / "group", replace(settings, {"loss.margin": 0.3}), 2, device="cpu")
    assert content(tmp_path) == before


def test_an_unfinished_member_is_resumed(whole, data, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        kill(patch, "reading a batch", 7)
        with pytest.raises(Killed):
            train_members(data, tmp_path / "group", SETTINGS, 1, device="cpu")
    (run,) = train_members(data, tmp_path / "group", SETTINGS, 1, device="cpu")
    assert "resuming" in capsys.readouterr().err
    assert_same_run(run, whole)


def test_a_member_that_started_from_other_words_is_not_taken(data, glove, tmp_path, capsys):
    """One that stopped goes on; the words that it started from are in its checkpoint."""
    settings = replace(SETTINGS, {"train.epochs": 1})
    train_members(data, tmp_path / "group", settings, 1, device="cpu", glove=glove)
    again = {"device": "cpu", "glove": glove}
    train_members(data, tmp_path / "group", settings, 1, **again)
    assert "reused" in capsys.readouterr().err
    with pytest.raises(NaafError, match=r"started from glove .*glove\.txt, and now none is asked for"):
        train_members(data, tmp_path / "group", settings, 1, device="cpu")
    glove.write_text("cat 3 2 1\n")
    with pytest.raises(NaafError, match="started from glove"):
        train_members(data, tmp_path / "group", settings, 1, **again)


def test_a_member_that_stopped_goes_on_with_its_words(data, glove, tmp_path, monkeypatch, capsys):
    again = {"device": "cpu", "glove": glove}
    with monkeypatch.context() as patch:
        kill(patch, "reading a batch", 7)
        with pytest.raises(Killed):
            train_members(data, tmp_path / "group", SETTINGS, 1, **again)
    train_members(data, tmp_path / "group", SETTINGS, 1, **again)
    assert "resuming" in capsys.readouterr().err


def test_at_least_one_member_is_trained(data, tmp_path):
    with pytest.raises(UsageError, match="members is 0"):
        train_members(data, tmp_path / "group", SETTINGS, 0)
    assert not (tmp_path / "group").exists()


# ---- wrong input: nothing is written


@pytest.mark.parametrize("missing", ["train_ims.npy", "train_caps.txt", "dev_ims.npy", "dev_caps.txt"])
def test_missing_data_is_named_before_anything_is_written(data, tmp_path, missing):
    for path in data.iterdir():
        if path.name != missing:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(NaafError, match=missing if "caps" in missing else "needs the splits train and dev"):
        train_run(tmp_path, tmp_path / "a", SETTINGS, device="cpu")
    assert not (tmp_path / "a").exists()


def test_splits_of_different_features_are_named(data, write_split, tmp_path):
    write_split(tmp_path / "b", "train", 3, dim=11)
    write_split(tmp_path / "b", "dev", 3, dim=7)
    with pytest.raises(NaafError, match="train has 11 features a region, dev 7"):
        train_run(tmp_path / "b", tmp_path / "a", SETTINGS, device="cpu")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    "how", [{"glove": "gone.txt"}, {"init": "gone.safetensors"}, {"vocabulary": "gone.json"}]
)
def test_a_missing_start_is_named_before_anything_is_written(train, tmp_path, how):
    ((option, name),) = how.items()
    with pytest.raises(NaafError, match=f"{name} is missing"):
        train(tmp_path / "a", **{option: tmp_path / name})
    assert not (tmp_path / "a").exists()


def test_an_unknown_device_is_refused(data, tmp_path):
    for device in ("cuda:99", "abacus"):
        with pytest.raises(UsageError, match=f"{device!r}"):
            train_run(data, tmp_path / "a", SETTINGS, device=device)
    assert not (tmp_path / "a").exists()


def test_a_file_is_no_run_folder(train, tmp_path):
    (tmp_path / "a").write_text("mine")
    with pytest.raises(NaafError, match="a is a file"):
        train(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "mine"


def test_csv_files_are_plain(whole):
    """Readable without pandas: a header, numbers, no empty line."""
    with (whole.path / "history.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == HISTORY
    assert all(math.isfinite(float(value)) for row in rows for value in row)


# ---- words


def chinese(folder, write_split, blanks: bool, images: int = 11):
    """Captions of Chinese, the letters parted by blanks or not; each caption once with a number."""
    for split, count in (("train", images), ("dev", 7)):
        write_split(folder, split, count)
        letters = " " if blanks else ""
        lines = [letters.join(CHINESE[k % 5] + split[0] + str(k)) for k in range(5 * count)]
        (folder / f"{split}_caps.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("case", ["no blanks", "too few"])
def test_a_vocabulary_without_words_is_refused_before_anything_is_written(tmp_path, write_split, case):
    if case == "no blanks":
        data = chinese(tmp_path / "data", write_split, blanks=False)
    else:
        data, _ = write_split(tmp_path / "data", "train", 1), write_split(tmp_path / "data", "dev", 7)
    changes = {"data.min_word_count": 50 if case == "too few" else 4}
    remedy = r"train_caps\.txt: no word occurs \d+ times.*data\.min_word_count=1.*blanks between the words"
    with pytest.raises(NaafError, match=remedy):
        train_run(data, tmp_path / "run", replace(SETTINGS, changes), device="cpu")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("blanks", "told"), [(False, True), (True, False)])
def test_training_says_in_one_sentence_that_most_words_are_unknown(
    tmp_path, write_split, capsys, blanks, told
):
    """Without blanks every caption of train is a word, which dev does not have."""
    data = chinese(tmp_path / "data", write_split, blanks)
    changes = {"data.min_word_count": 1, "train.epochs": 1}
    run = train_run(data, tmp_path / "run", replace(SETTINGS, changes), device="cpu")
    said = capsys.readouterr().err
    assert said.count("unknown to the model") == told
    assert ("dev_caps.txt: 100% of its words are unknown" in said) == told
    evaluate(run, data, split="dev")
    assert ("dev_caps.txt: 100% of its words are unknown" in capsys.readouterr().err) == told


def test_a_share_of_unknown_words_counts_running_words():
    known = Vocabulary(("<pad>", "<start>", "<end>", "<unk>", "a", "cat")).__contains__
    assert unknown_share(known, ["a cat", "a dog runs", "A cat"]) == pytest.approx(2 / 7)
    assert unknown_share(known, ["a dog"] * 10_000) == 0.5
    assert unknown_share(known, []) == unknown_share(known, [""]) == 0
