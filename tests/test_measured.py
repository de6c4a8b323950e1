"""What notebooks measure: the same captions for both models, beside chance, on any data."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import seeds

import naaflib
from naaflib.config import model_settings
from naaflib.data.vocabulary import Vocabulary
from naaflib.errors import NaafError
from naaflib.evaluation import evaluate
from naaflib.explanation import foil_detection, swapped_foils
from naaflib.model.model import Model
from naaflib.pages import margins, measure_words, query_sheet
from naaflib.runs import Run
from naaflib.similarity.boundary import Boundaries


@pytest.fixture(scope="module")
def split(scenes):
    return naaflib.open_split(scenes, "test")


@pytest.fixture(scope="module")
def bare(split, tmp_path_factory):
    """The same features and captions without links and foils: somebody's own data."""
    folder = tmp_path_factory.mktemp("own")
    for name in ("test_ims.npy", "test_caps.txt"):
        shutil.copy(split.folder / name, folder)
    return naaflib.open_split(folder, "test")


def new_model(split, method="naaf", **settings) -> Model:
    seeds.manual_seed(0)
    vocabulary = Vocabulary.build(split.captions, min_count=1)
    made = model_settings(method=method, dim=19, word_dim=13, **settings)
    model = Model(made, split.regions.shape[2], len(vocabulary), vocabulary)
    model.boundary = Boundaries(0.3, 0.2)
    return model.eval()


@pytest.fixture(scope="module")
def both(split):
    return measure_words(new_model(split), split, new_model(split, "scan-t2i"))


def test_two_models_stand_in_one_table_with_chance_last(both):
    table = both.evidence()
    assert table.index[-1] == "chance"
    assert {name.split(":")[0] for name in table.index[:-1]} == {"naaf", "scan-t2i"}
    assert table.loc["chance", ["auc", "paired"]].tolist() == [50, 50]
    for one in both.models:
        row = table.loc[f"{one.name}: effect"]
        assert row["auc"] == pytest.approx(100 * one.foils.found.loc["effect", "auc"], abs=0.01)
        assert row["auc_low"] <= row["auc"] <= row["auc_high"]
    classes = both.classes()
    assert classes["count"].sum() == sum(one.pointing.count for one in both.models)
    assert set(both.kinds()["model"]) == {"naaf", "scan-t2i"}


def test_the_results_of_a_run_are_its_own_model_alone(both, split):
    alone = measure_words(new_model(split), split)
    pd.testing.assert_frame_equal(both.table(), alone.table())
    assert list(alone.evidence().index[:-1]) == list(alone.foils.found.index)
    assert (both.table()["low"] <= both.table()["value"]).all()


def test_two_models_of_one_method_keep_their_names_apart(bare):
    measured = measure_words(new_model(bare), bare, new_model(bare))
    assert [one.name for one in measured.models] == ["naaf (1)", "naaf (2)"]


def test_of_other_data_foils_are_made_of_words_that_both_models_know(bare):
    other = new_model(bare, "scan-i2t")
    words = [word for word in other.vocabulary.words if word not in ("red", "blue", "green")]
    other.vocabulary = Vocabulary((*words, "filler", "fill", "full"))
    measured = measure_words(new_model(bare), bare, other)
    assert measured.swapped
    assert measured.pointing is None
    assert measured.classes() is None
    assert measured.pointing_figure() is None
    foils = [one.foils.foils for one in measured.models]
    assert foils[0]["text"].tolist() == foils[1]["text"].tolist()
    assert not set(foils[0]["now"]) & {"red", "blue", "green"}
    assert "no pointing game" in measured.sentence().replace("\n", " ")


def test_swapped_foils_are_measured_as_any_foils_are(bare):
    model = new_model(bare)
    measured = measure_words(model, bare, seed=seeds.shifted(5))
    direct = foil_detection(model, bare, swapped_foils(bare, model.vocabulary, seed=seeds.shifted(5)))
    assert measured.foils.accuracy == direct.accuracy
    pd.testing.assert_frame_equal(measured.foils.found, direct.found)


def test_without_anything_to_measure_there_are_no_tables_and_a_sentence_says_so(bare, tmp_path):
    silent = replace(bare, captions=["somebody does something"] * len(bare.captions))
    measured = measure_words(new_model(bare), silent)
    assert measured.table() is measured.evidence() is measured.kinds() is measured.foils_figure() is None
    assert "no captions in which a colour" in measured.sentence().replace("\n", " ")
    assert measured.save(Run(tmp_path, {})) == "none: nothing could be measured"
    assert not list(tmp_path.iterdir())


def test_all_numbers_by_kind_and_class_are_kept(both, tmp_path):
    assert both.save(Run(tmp_path, {})) == "tables/05_kinds.csv, tables/05_classes.csv"
    kinds = pd.read_csv(tmp_path / "tables" / "05_kinds.csv")
    naaf = kinds[(kinds["model"] == "naaf") & (kinds["evidence"] == "effect")]
    assert naaf["count"].sum() == both.foils.count
    weighted = np.average(naaf["accuracy"], weights=naaf["count"])
    assert weighted == pytest.approx(100 * both.foils.accuracy, abs=0.01)


def test_where_the_mismatched_effect_is_left_out_the_whole_effect_takes_its_place(split):
    measured = measure_words(new_model(split, negative_effect=False), split)
    assert measured.foils.evidence == "effect"
    assert any("effect at the wrong word" in name for name in measured.table().index)


@pytest.mark.parametrize("made", [margins, lambda result: query_sheet(result, "t2i", "best")])
def test_what_needs_scores_says_so_where_an_evaluation_kept_none(split, scenes, made):
    result = evaluate(new_model(split), scenes, split="test", keep_scores=False)
    with pytest.raises(NaafError, match=r"of test kept no scores, .*; evaluate with keep_scores=True"):
        made(result)
