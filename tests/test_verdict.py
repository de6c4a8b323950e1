"""A run says whether it has learnt, from its record alone: planted failures, and runs that are well."""

import math

import pandas as pd
import pytest

from naaflib.config import preset, replace
from naaflib.data.batches import Batches
from naaflib.data.splits import open_split
from naaflib.data.vocabulary import Vocabulary
from naaflib.model.model import Model
from naaflib.runs import HISTORY, Run
from naaflib.training.folder import train_run
from naaflib.training.loop import Trainer
from naaflib.verdict import equal_scores_loss, is_near_chance, verdicts

CHANCE = 12.7  # of 250 images with five captions each
OLD = {"loss.negatives": "hardest", "train.warmup_steps": 0}


def verdict(run: Run) -> str:
    return "".join(verdicts([run]))


@pytest.fixture
def run(tmp_path):
    """A scenes run of given epochs: rsum on dev, loss and in-batch R@1 (percent) of each."""

    def make(rsum, loss=13.0, recall=75.0, changes=None, name="a") -> Run:
        settings = preset("scenes", {"train.epochs": len(rsum)} | (changes or {}))
        sizes = {"pairs_per_batch": 64, "validation_images": 250, "chance_rsum": CHANCE}
        made = Run.create(tmp_path / name, "train", settings=settings.model_dump(), sizes=sizes)
        rows = pd.DataFrame({"epoch": range(1, len(rsum) + 1), "rsum": rsum}).reindex(columns=[*HISTORY])
        made.save_log("history.csv", rows.assign(loss=loss, batch_i2t_at_1=recall, batch_t2i_at_1=recall))
        made.checkpoint().parent.mkdir()
        made.checkpoint().write_bytes(b"x")
        return made

    return make


def test_a_run_that_learns_is_told_nothing(run):
    assert verdict(run([312.1, 445.8, 463.1, 472.8, 485.7, 492.8])) == ""


def test_a_run_that_has_epochs_left_is_not_judged_yet(run):
    assert verdict(run([20.0], recall=2.0, changes={"train.epochs": 6})) == ""


def test_an_epoch_that_is_a_little_worse_is_no_failure(run):
    assert verdict(run([300.0, 490.0, 470.0])) == ""


def test_near_blind_guessing_it_has_not_learnt(run):
    sentence = verdict(run([34.2, 28.4, 33.0], recall=3.3, changes=OLD))
    assert "it has not learnt: its best rsum on dev is 34.2, where blind guessing gives 12.7" in sentence
    assert sentence.endswith("train anew with loss.negatives=adaptive train.warmup_steps=100")


def test_the_safe_start_is_not_advised_to_a_run_that_had_it(run):
    """It is the learning rate then, or the data."""
    sentence = verdict(run([13.0, 12.0], recall=2.0, changes={"train.learning_rate": 1e-3}))
    assert "train.learning_rate=0.00025" in sentence
    assert "naaf data verify" in sentence
    assert "adaptive" not in sentence


def test_batches_that_find_few_of_their_pairs_have_hardly_learnt(run):
    """As after three epochs at a learning rate of 1."""
    sentence = verdict(run([74.7, 152.4, 163.8], loss=23.7, recall=16.4, changes={"train.learning_rate": 1}))
    assert "it has hardly learnt: in epoch 3 a batch finds 16.4 % of its own pairs" in sentence
    assert "train.learning_rate=0.001" in sentence


def test_the_first_epoch_may_find_few_pairs(run):
    assert verdict(run([141.9], loss=48.2, recall=12.0)) == ""


def test_a_last_epoch_of_equal_scores_is_a_collapse(run):
    sentence = verdict(run([240.0, 200.0, 180.0], loss=25.6, recall=2.0, changes=OLD))
    assert "its training collapsed: in epoch 3 the loss is 25.6, equal scores cost 25.6" in sentence


def test_a_run_that_lost_what_it_had_fell_back(run):
    sentence = verdict(run([200.0, 400.0, 240.0]))
    assert "rsum on dev is 240.0 in the last epoch and was 400.0 in epoch 2, which is kept" in sentence


def test_a_member_far_below_another_is_named(run):
    good, bad = (run([rsum], changes=OLD, name=name) for name, rsum in (("good", 490.0), ("bad", 324.6)))
    assert verdict(bad) == ""  # alone it may be as good as its setting gets
    (sentence,) = verdicts([bad, good])
    assert sentence.startswith("bad: its best rsum on dev is 324.6 and another member's 490.0")


def test_members_that_differ_by_a_seed_are_no_failure(run):
    assert verdicts([run([486.1], name="a"), run([502.6], name="b")]) == []


def test_a_run_from_before_the_columns_is_judged_by_what_it_has(run):
    old = run([200.0, 400.0, 240.0])
    old.save_log("history.csv", old.history().drop(columns=["batch_i2t_at_1", "batch_t2i_at_1"]))
    old.update(sizes={})
    assert "fell back" in verdict(old)


def test_guessing_that_often_hits_raises_no_alarm():
    assert is_near_chance(34.2, CHANCE, 600)
    assert not is_near_chance(400.0, 340.0, 600)  # seven images: well above it, and less than 3 times as much
    assert not is_near_chance(math.nan, CHANCE, 600)
    assert not is_near_chance(34.2, math.nan, 600)


def test_equal_scores_cost_the_margin_for_every_negative_that_counts():
    hardest = preset("scenes", {"loss.negatives": "hardest", "loss.warmup_epochs": 2})
    assert equal_scores_loss(hardest, 64) == pytest.approx(2 * 0.2 * 64)
    assert equal_scores_loss(hardest, 64, epoch=2) == pytest.approx(2 * 0.2 * 64 * 63)
    assert equal_scores_loss(hardest, 64, epoch=3) == pytest.approx(2 * 0.2 * 64)
    summed = replace(hardest, {"loss.negatives": "sum"})
    assert equal_scores_loss(summed, 64) == pytest.approx(2 * 0.2 * 64 * 63)


@pytest.fixture
def data(write_split, tmp_path):
    for split, images in (("train", 40), ("dev", 7)):
        write_split(tmp_path / "data", split, images)
    return tmp_path / "data"


TINY = {"model.dim": 5, "model.word_dim": 3, "train.batch_size": 64, "train.epochs": 1}


def test_a_collapse_in_mid_training_is_said_at_once_and_once(data, tmp_path, monkeypatch, capsys):
    """The running recall falls at the second of three steps, as when the scores become equal there."""
    recalls, step = iter([0.5, 0.01, 0.01]), Trainer.step

    def fallen(trainer, batch, epoch):
        found = step(trainer, batch, epoch)
        trainer.recall = next(recalls)
        trainer.highest_recall = max(trainer.highest_recall, trainer.recall)
        return found

    monkeypatch.setattr(Trainer, "step", fallen)
    train_run(data, tmp_path / "a", preset("scenes", TINY), device="cpu")
    warnings = [line for line in capsys.readouterr().err.splitlines() if "training collapsed" in line]
    assert len(warnings) == 1
    assert "at step 2: a batch finds 1.0 % of its own pairs" in warnings[0]
    assert "equal scores cost 25.6" in warnings[0]


def test_a_training_that_never_left_its_start_has_not_collapsed(data):
    train = open_split(data, "train")
    words = Vocabulary.build(train.captions, 1)
    settings = preset("scenes", TINY)
    trainer = Trainer(Model(settings.model, train.regions.shape[2], len(words), words), settings)
    batch = next(iter(Batches(train, words.encode, 64, 0).epoch(1)))
    trainer.step(batch, 1)
    trainer.highest_recall, trainer.recall = 0.1, 0.02
    assert not trainer.has_collapsed(64)
    trainer.highest_recall = 0.2
    assert trainer.has_collapsed(64)
    assert not trainer.has_collapsed(64)  # said once
