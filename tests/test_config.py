"""Settings: every number once, validated, frozen, and an error that names the setting."""

import json

import pytest
from pydantic import ValidationError

from naaflib.config import METHODS, PRESETS, Settings, names, preset, replace
from naaflib.errors import NaafError, UsageError


def flat(settings: Settings) -> dict[str, object]:
    return {
        f"{section}.{name}": value
        for section, fields in settings.model_dump().items()
        for name, value in fields.items()
    }


def test_defaults_are_the_published_numbers():
    published = {
        "data.min_word_count": 4,
        "data.validation_images": None,
        "model.method": "naaf",
        "model.dim": 1024,
        "model.word_dim": 300,
        "model.word_init": 0.1,
        "model.image_encoder": "linear",
        "model.text_encoder": "bi-gru",
        "model.freeze_words": False,
        "model.lambda_softmax": None,
        "model.lambda_intra": 5.0,
        "model.negative_effect": True,
        "model.feature_effect": True,
        "model.relevance_effect": True,
        "mining.mode": "batch",
        "mining.alpha": 2.0,
        "mining.momentum": 0.7,
        "mining.min_words": 200,
        "mining.fixed_boundary": None,
        "loss.margin": 0.2,
        "loss.negatives": "hardest",
        "loss.recall_momentum": 0.05,
        "loss.warmup_epochs": 0,
        "loss.exclude_same_image": False,
        "train.seed": 3,
        "train.epochs": 20,
        "train.batch_size": 128,
        "train.learning_rate": 5e-4,
        "train.warmup_steps": 0,
        "train.bert_learning_rate": 5e-5,
        "train.bert_warmup_steps": 0,
        "train.decay_epoch": 10,
        "train.decay_factor": 0.1,
        "train.clip": 2.0,
        "train.precision": "float32",
        "train.caption_chunk": 0,
        "train.checkpoint_steps": 0,
    }
    assert flat(Settings(train={"seed": 3})) == published
    assert set(published) <= set(names())


def test_the_presets_of_the_real_sets_are_upstream_s():
    f30k, coco = flat(preset("f30k")), flat(preset("coco"))
    assert f30k == flat(Settings(train={"seed": 0}, data={"validation_images": 1000}))
    assert coco == f30k | {"train.batch_size": 256}


def test_a_run_states_its_seed():
    with pytest.raises(ValidationError, match=r"train\.seed"):
        Settings(train={})
    with pytest.raises(ValidationError, match="train"):
        Settings()


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_survives_its_json(name):
    settings = preset(name)
    assert Settings.model_validate(json.loads(json.dumps(settings.model_dump()))) == settings


@pytest.mark.parametrize("method", METHODS)
def test_every_name_can_be_set_to_its_own_value(method):
    settings = preset("flickr8k", {"model.method": method})
    values = flat(settings)
    assert preset("flickr8k", values) == settings
    assert preset("flickr8k", {name: str(value) for name, value in values.items()}) == settings


def test_every_name_belongs_to_a_method():
    found = [flat(preset("flickr8k", {"model.method": method})) for method in METHODS]
    assert set().union(*found) == set(names())
    assert len(set(names())) == len(names())


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("train.epochs", "3", 3),
        ("train.learning_rate", "1e-3", 1e-3),
        ("loss.exclude_same_image", "true", True),
        ("loss.exclude_same_image", "False", False),
        ("model.lambda_intra", "None", None),
        ("data.validation_images", "null", None),
        ("model.method", "scan-i2t", "scan-i2t"),
        ("mining.momentum", "1", 1.0),
    ],
)
def test_text_from_a_command_line_becomes_a_value(name, text, value):
    found, before = flat(preset("f30k", {name: text})), flat(preset("f30k"))
    assert found[name] == value
    assert type(found[name]) is type(value)
    own = found.keys() & before.keys() - {name}  # of another method, the settings that both have
    assert {key: found[key] for key in own} == {key: before[key] for key in own}


def test_a_record_of_before_each_method_had_its_type_still_reads():
    """Then every run recorded the constants of all methods, at their defaults."""
    every = {"lambda_softmax": None, "lambda_intra": 5.0, "pooling": "mean", "lambda_lse": 6.0}
    every |= dict.fromkeys(("negative_effect", "feature_effect", "relevance_effect"), True)
    for method in ("naaf", "scan-t2i", "scan-i2t"):
        old = {"model": {"method": method, "dim": 7, **every}, "train": {"seed": 0}}
        assert Settings.model_validate(old) == Settings(model={"method": method, "dim": 7}, train={"seed": 0})
    old["model"] |= {"pooling": "lse", "lambda_lse": 5.0}
    assert Settings.model_validate(old).model.lambda_lse == 5.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("train.epochs", "two"),
        ("train.epochs", 0),
        ("train.epochs", "1.5"),
        ("train.epochs", None),
        ("train.epochs", True),  # YAML's yes
        ("mining.alpha", False),
        ("model.lambda_intra", True),
        ("model.method", True),
        ("train.batch_size", 1),
        ("train.seed", -1),
        ("train.seed", 2**63),  # torch has no generator for it
        ("train.learning_rate", 0),
        ("train.learning_rate", float("nan")),
        ("train.learning_rate", "inf"),
        ("train.decay_factor", 1.5),
        ("train.clip", 0),
        ("train.precision", "float16"),
        ("train.checkpoint_steps", -1),
        ("model.method", "clip"),
        ("model.dim", 0),
        ("model.lambda_softmax", 0),
        ("model.lambda_intra", -5),
        ("model.pooling", "max"),
        ("mining.momentum", 0),
        ("mining.momentum", 1.1),
        ("mining.min_words", 1),
        ("mining.alpha", 0),
        ("loss.margin", -0.1),
        ("loss.negatives", "all"),
        ("data.min_word_count", 0),
        ("data.validation_images", 0),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(name, value):
    with pytest.raises(UsageError) as refused:
        preset("f30k", {name: value})
    sentence = str(refused.value)
    assert sentence.startswith(f"setting {name}: ")
    assert f"given: {value!r}" in sentence
    assert "\n" not in sentence
    assert refused.value.exit_status == 2


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("train.epoch", "train.epochs"),
        ("epochs", "train.epochs"),
        ("train.lambda_softmax", "model.lambda_softmax"),
        ("train", None),
        ("", None),
        ("train.epochs.more", "train.epochs"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(wrong, near):
    with pytest.raises(UsageError, match=f"no setting {wrong!r}") as refused:
        preset("scenes", {wrong: 1})
    assert near is None or f"did you mean {near!r}?" in str(refused.value)


def test_an_unknown_preset_is_refused_with_the_nearest_name_and_all():
    with pytest.raises(UsageError, match="did you mean 'f30k'") as refused:
        preset("f30")
    assert all(name in str(refused.value) for name in PRESETS)
    with pytest.raises(NaafError, match=r"no preset 'zzz' \(presets: scenes"):
        preset("zzz")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"model.pooling": "lse"},
            r"setting model.pooling: belongs to model.method scan-.* naaf has no such part",
        ),
        (
            {"loss.negatives": "hardest", "loss.recall_momentum": 0.5},
            "loss.recall_momentum belongs to loss.negatives adaptive",
        ),
        ({"model.lambda_lse": 5}, "model.lambda_lse: belongs to model.method scan-t2i or scan-i2t"),
        (
            {"model.method": "scan-t2i", "model.lambda_lse": 5},
            "model.lambda_lse belongs to model.pooling lse",
        ),
        ({"model.method": "scan-t2i", "mining.alpha": 1}, "mining.alpha belongs to model.method naaf"),
        ({"model.method": "scan-i2t", "mining.momentum": 1}, "mining.momentum belongs to model.method naaf"),
        (
            {"model.method": "scan-i2t", "model.lambda_intra": None},
            "setting model.lambda_intra: belongs to model.method naaf; scan-i2t has no such part",
        ),
    ],
)
def test_a_setting_that_would_change_nothing_is_refused(values, sentence):
    with pytest.raises(UsageError, match=sentence):
        preset("scenes", values)
    lse = preset("scenes", {"model.method": "scan-t2i", "model.pooling": "lse", "model.lambda_lse": 5})
    assert lse.model.lambda_lse == 5
    assert preset("scenes", {"model.method": "scan-t2i", "mining.alpha": 2}).mining.alpha == 2  # the default


def test_scan_has_no_boundary_to_mine_in_sequence():
    with pytest.raises(
        UsageError,
        match=r"combination: mining\.mode sequential belongs to model\.method naaf; scan-t2i has no boundary",
    ):
        preset("f30k", {"model.method": "scan-t2i", "mining.mode": "sequential"})
    assert preset("f30k", {"mining.mode": "sequential"}).mining.mode == "sequential"


def test_settings_are_frozen():
    settings = preset("scenes")
    with pytest.raises(ValidationError, match="frozen"):
        settings.train.epochs = 5
    with pytest.raises(ValidationError, match="frozen"):
        settings.train = settings.train


def test_replacing_changes_a_copy_and_is_checked_again():
    settings = preset("scenes")
    other = replace(settings, {"train.epochs": "7"})
    assert (other.train.epochs, settings.train.epochs) == (7, preset("scenes").train.epochs)
    assert replace(other, {"train.epochs": settings.train.epochs}) == settings
    with pytest.raises(UsageError, match=r"train\.epochs"):
        replace(settings, {"train.epochs": 0})


def test_a_preset_is_not_changed_by_what_was_set_before():
    before = preset("scenes")
    preset("scenes", {"train.epochs": 99, "data.validation_images": 3})
    assert preset("scenes") == before
