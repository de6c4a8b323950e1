"""The demo's promise at its full size: minutes, so `make test-long` runs it."""

import pytest

from naaflib import load_checkpoint, preset
from naaflib.data.scenes import dataset as built_in
from naaflib.data.splits import open_split
from naaflib.evaluation import evaluate
from naaflib.explanation import foil_detection, pointing_game
from naaflib.metric.retrieval import chance_recalls
from naaflib.training.folder import train_run


@pytest.mark.long
def test_the_built_in_data_set_is_learnt_and_attention_finds_the_right_region(tmp_path):
    folder = built_in.build(tmp_path / "scenes")
    run = train_run(folder, tmp_path / "run", preset("scenes"))
    result = evaluate(run, folder)
    chance = chance_recalls(result.images)
    assert result.split.name == "test"
    assert result.metrics.i2t.at_1 > 100 * chance["i2t_at_1"]
    assert result.metrics.t2i.at_1 > 100 * chance["t2i_at_1"]

    model, split = load_checkpoint(run.path), open_split(folder, "test")
    pointing = pointing_game(model, split, built_in.read_links(folder, "test"))
    assert pointing.rate > 8 * pointing.chance
    foils = foil_detection(model, split, built_in.read_foils(folder, "test"))
    assert foils.interval[0] > 0.75
