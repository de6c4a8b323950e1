"""A sweep: what its file asks for, what is there already, and workers that die or are told to stop.

Trainings are real and tiny; the notebooks are stand-ins of a few lines that call what the real ones call.
"""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_notebook

from naaflib.errors import NaafError, UsageError

TINY = {
    "model.dim": 13,
    "model.word_dim": 7,
    "train.batch_size": 17,
    "train.epochs": 2,
    "mining.min_words": 20,
    "train.precision": "float64",  # so that no kernel is compiled
}
SPEC = {"name": "tried", "preset": "scenes", "set": TINY, "notebooks": ["02"], "runs": {"naaf": {}}}
NOTEBOOKS = {
    "02_training": [
        'run: str = ""\ndata: str = ""\npreset: str = ""\nseed: int = 0\nmembers: int = 1\n'
        'settings: str = ""\nglove: str = ""',
        "from pathlib import Path\n"
        "from naaflib import train_members\n"
        "from naaflib.pages.keep import settings_for, words_from\n"
        "chosen = settings_for(Path(data), preset, settings, seed=seed)\n"
        "train_members(data, run, chosen, members, **words_from(chosen, glove=glove))",
    ],
    "03_evaluation": [
        'run: str = ""\ndata: str = ""\nsplit: str = ""\nprotocol: str = "full"',
        "from naaflib.evaluation import evaluate\n"
        "evaluate(run, data, split=split or None, protocol=protocol).sentence()",
    ],
    "07_compare_runs": [
        'run: str = ""\ndata: str = ""\nsplit: str = ""',
        "from pathlib import Path\nPath(run, 'seen.txt').write_text(f'{Path(data).name} {split}')",
    ],
    "08_failing": ['run: str = ""\nseed: int = 0', 'assert not run.endswith("1"), "the seed is 1"'],
}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A project of stand-in notebooks, as NAAF_ROOT names it."""
    root = tmp_path_factory.mktemp("project")
    (root / "notebooks").mkdir()
    (root / "data_manifests").mkdir()
    for name, cells in NOTEBOOKS.items():
        node = new_notebook(
            metadata={
                "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
                "language_info": {"name": "python"},
            }
        )
        node.cells = [new_code_cell(cells[0], metadata={"tags": ["parameters"]}), new_code_cell(cells[1])]
        nbformat.write(node, root / "notebooks" / f"{name}.ipynb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAAF_ROOT", str(root))
        yield root


@pytest.fixture(scope="module")
def data(root, write_split) -> Path:
    folder = root / "tiny"
    for split, images in (("train", 24), ("dev", 10), ("test", 7)):
        write_split(folder, split, images)
    return folder


@pytest.fixture(scope="module")
def source(data, root):
    """A finished run as `naaf train` leaves it. Shared: copy its folder."""
    return trained(data, root / "source")


def trained(data, out, **changes):
    from naaflib.config import preset
    from naaflib.training import train_run

    return train_run(data, out, preset("scenes", TINY | changes), device="cpu")


def write_spec(folder, **content) -> Path:
    path = folder / "spec.yaml"
    path.write_text(yaml.safe_dump(SPEC | content, sort_keys=False))
    return path


def planned(folder, data, **content):
    from naaflib.batch import plan_sweep

    retry = content.pop("retry", False)
    return plan_sweep(write_spec(folder, **content), data=data, out=folder / "out", retry=retry)


def states(plan) -> dict[str, str]:
    return {row.name: row.state for row in plan.rows}


def place(source, folder, name) -> Path:
    """A copy of a finished run where a sweep's folder has it."""
    return Path(shutil.copytree(source.path, folder / "out" / name))


# --- what the file asks for


def test_runs_and_grid_are_variants_and_every_variant_has_every_seed(tmp_path, data):
    plan = planned(
        tmp_path,
        data,
        seeds=[3, 5],
        runs={"naaf": {}, "scan": {"model.method": "scan-t2i"}},
        grid={"mining.alpha": [1, 4], "mining.momentum": [0.5, 0.9]},
    )
    names = ["naaf", "scan", *(f"alpha-{a}_momentum-{m}" for a in (1, 4) for m in (0.5, 0.9))]
    assert [row.name for row in plan.rows] == [f"{name}/{seed}" for name in names for seed in (3, 5)]
    last = plan.rows[-1].planned.settings
    assert (last.mining.alpha, last.mining.momentum, last.train.seed, last.model.dim) == (4.0, 0.9, 5, 13)


def test_a_setting_of_a_variant_wins_over_those_of_all(tmp_path, data):
    plan = planned(tmp_path, data, runs={"wide": {"model.dim": 17}})
    assert plan.rows[0].planned.settings.model.dim == 17


def test_a_named_variant_that_is_a_point_of_the_grid_is_one_run_and_the_table_says_so(tmp_path, data):
    from naaflib.batch.sweep.table import plan_table

    plan = planned(tmp_path, data, grid={"mining.alpha": [1, 2]})
    assert plan.rows[2].name == "alpha-2/0"
    assert plan.rows[2].folder == plan.rows[0].folder == tmp_path / "out/naaf/members/0"
    assert [row.name for row in plan.runs()] == ["naaf/0", "alpha-1/0"]
    assert plan_table(plan)["same run as"].fillna("").tolist() == ["", "", "naaf/0"]


def test_a_grid_may_train_one_point_and_take_weights_for_another(tmp_path, data):
    plan = planned(tmp_path, data, grid={"weights": [None, "naaf"], "model.lambda_intra": [3]})
    assert states(plan) == {
        "naaf/0": "to train",
        "weights-none_lambda_intra-3/0": "to train",
        "weights-naaf_lambda_intra-3/0": "to make",
    }


def test_a_variant_of_weights_is_the_source_with_other_settings_of_inference(tmp_path, data):
    runs = {"wide": {"model.dim": 17}, "plain": {"weights": "wide", "model.lambda_intra": None}}
    plan = planned(tmp_path, data, runs=runs)
    wide, plain = (row.planned for row in plan.rows)
    assert plain.trained == wide.settings
    assert plain.settings.model == wide.settings.model.model_copy(update={"lambda_intra": None})
    assert states(plan) == {"wide/0": "to train", "plain/0": "to make"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sedes": [0]}, "there is no key 'sedes', did you mean 'seeds'?"),
        ({"seeds": ["one"]}, "seeds.0: input should be a valid integer .*'one'"),
        ({"seeds": [1, 1]}, "seeds: one stands there twice"),
        ({"seeds": []}, "seeds is empty; give it something or take it out"),
        ({"seeds": [True]}, "seeds.0: input should be a valid integer .*True"),
        ({"seeds": [1.0]}, "seeds.0: input should be a valid integer .*1.0"),
        ({"seeds": ["1"]}, "seeds.0: input should be a valid integer .*'1'"),
        ({"runs": ["naaf"]}, r"runs is written as `key: value` lines \(given: \['naaf'\]\)"),
        ({"runs": {"a": {"model.dim": True}}}, "a: setting model.dim: neither true nor false fits .*True"),
        (
            {"runs": {"a": {"weights": "a"}}},
            "a: weights: there is no other variant 'a'; name another variant",
        ),
        ({"name": "a/b"}, "name: .*'a/b'"),
        ({"preset": "scene"}, "naaf: there is no preset 'scene', did you mean 'scenes'?"),
        (
            {"runs": {"a": {"mining.alhpa": 1}}},
            "a: there is no setting 'mining.alhpa', did you mean 'mining.alpha'?",
        ),
        ({"runs": {"a": {"mining.alpha": -1}}}, "a: setting mining.alpha: .*greater than 0"),
        ({"runs": {"../a": {}}}, "runs: '../a' cannot name a folder"),
        ({"runs": {}}, "runs: nothing is asked for"),
        ({"runs": {"a": {"train.seed": 3}}}, "a: train.seed is set, but seeds has the seeds"),
        ({"runs": {"naaf": {}, "a": {"weights": "naf"}}}, "a: weights: .*'naf', did you mean 'naaf'?"),
        (
            {"runs": {"naaf": {}, "a": {"weights": "naaf", "mining.alpha": 1}}},
            "a: mining.alpha acts in training too",
        ),
        (
            {"runs": {"n": {}, "a": {"weights": "n", "model.lambda_intra": 3}, "b": {"weights": "a"}}},
            "b: weights: 'a' is not trained itself; name 'n'",
        ),
        (
            {"runs": {"naaf": {}, "a": {"weights": ["naaf"]}}},
            r"a: weights takes the name of another variant as text \(given: \['naaf'\]\); leave it out",
        ),
        (
            {"runs": {"b": {"weights": "a", "model.lambda_intra": 3}, "a": {"weights": None}}},
            r"a: weights takes the name of another variant as text \(given: null\); leave it out",
        ),
        (
            {"runs": {"naaf": {}, "same": {"mining.alpha": 2}}, "seeds": [0, 1]},
            "runs: 'naaf' and 'same' have the same settings, so they are one run; change one of them",
        ),
        ({"grid": {"mining.alpha": [1, 1.0]}}, "grid: 'alpha-1' and 'alpha-1.0' have the same settings"),
        ({"grid": {"mining.alpha": [1]}, "runs": {"alpha-1": {}}}, "runs: 'alpha-1' is also the name"),
        ({"grid": {"mining.alpha": [1, 2, 1]}}, "grid: 'alpha-1' stands there twice; keep one of them"),
        (
            {"grid": {"mining.alpha": [1, "1"], "mining.momentum": [0.5]}},
            "grid: 'alpha-1_momentum-0.5' stands there twice",
        ),
        ({"grid": {"mining.alpha": []}}, "grid: mining.alpha has no value"),
        ({"seeds": 3}, r"seeds is a list, for example \[0, 1, 2\]"),
        ({"runs": {False: {}}}, "runs: a name is read as False; put it in quotes"),
        ({"runs": {"naaf": {}, "a": {"weights": "naaf"}}}, "a: nothing changes; a variant names a setting"),
        (
            {"notebooks": ["02", "03"], "parameters": {"split": "testall"}},
            "has no split 'testall'; its splits: train, dev, test",
        ),
        ({"notebooks": ["77"]}, "no notebook fits '77'"),
        ({"notebooks": ["03"]}, "notebooks: naaf/0 is not trained yet, so add 02_training"),
        ({"notebooks": ["02", "03"], "parameters": {"spilt": "dev"}}, "'spilt', did you mean 'split'?"),
        ({"parameters": {"seed": 3}}, "parameters: 'seed' is not a notebook's to set"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path, data, change, sentence):
    with pytest.raises(UsageError, match=sentence) as caught:
        planned(tmp_path, data, **change)
    assert str(caught.value).startswith(str(tmp_path / "spec.yaml"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("runs: {a: {}, a: {mining.alpha: 1}}", r"at line 1 \(the key 'a' stands there twice\)"),
        ("runs: [", "not valid YAML at line 1"),
        ("{{x}}: 1", r"not valid YAML at line 1 \(a key in brackets; a key is one word\)"),
        ("name: x\nruns: {[a, b]: {}}", r"at line 2 \(a key in brackets"),
        ("runs: {naaf: {[a]: 1}}", r"at line 1 \(a key in brackets"),
        ("runs: {naaf: {? {a: 1} : 1}}", r"at line 1 \(a key in brackets"),
        ("runs: !!map [a]", "not valid YAML at line 1"),
        ("runs: !!bool x", r"not valid YAML \(KeyError\)"),
        ("runs: !!timestamp x", r"not valid YAML \(AttributeError\)"),
        ("- 1", "`key: value` lines"),
        ("name: x", None),
    ],
)
def test_a_file_that_is_no_sweep_is_named(tmp_path, data, text, sentence):
    from naaflib.batch import plan_sweep

    path = tmp_path / "spec.yaml"
    path.write_text(text)
    with pytest.raises(NaafError, match=sentence or "nothing is asked for"):
        plan_sweep(path, data=data)


def test_a_notebook_number_needs_no_quotes(tmp_path, data):
    path = write_spec(tmp_path)
    path.write_text(path.read_text().replace("'02'", "02"))
    assert "- 02\n" in path.read_text()
    from naaflib.batch import plan_sweep

    assert [notebook.name for notebook in plan_sweep(path, data=data).notebooks] == ["02_training"]


def test_a_number_with_an_exponent_is_a_number_as_everywhere_else(tmp_path, data):
    path = write_spec(tmp_path, runs={"a": {"train.learning_rate": "RATE"}})
    path.write_text(path.read_text().replace("RATE", "5e-4"))
    from naaflib.batch import plan_sweep

    plan = plan_sweep(path, data=data)
    assert plan.spec.runs == {"a": {"train.learning_rate": 0.0005}}
    assert plan.rows[0].planned.own == {"train.learning_rate": 0.0005}


def test_the_data_set_must_be_named_and_there(tmp_path):
    with pytest.raises(UsageError, match="the key 'data' is missing"):
        planned(tmp_path, None)
    with pytest.raises(NaafError, match="nowhere does not exist"):
        planned(tmp_path, tmp_path / "nowhere")
    with pytest.raises(NaafError, match=r"spec\.yaml is a file; a data set is a folder"):
        planned(tmp_path, tmp_path / "spec.yaml")
    with pytest.raises(NaafError, match=r"train_ims\.npy is missing, and training reads it"):
        planned(tmp_path, tmp_path, parameters={"split": "dev"}, notebooks=["02", "03"])


def test_a_file_is_no_folder_for_the_runs(tmp_path, data):
    (tmp_path / "out").write_text("")
    with pytest.raises(NaafError, match="out is a file; a sweep needs a folder"):
        planned(tmp_path, data)


def test_a_dry_run_shows_the_table_and_writes_nothing(tmp_path, data, capsys):
    from naaflib.cli import main

    spec = write_spec(tmp_path, runs={"naaf": {}, "scan": {"model.method": "scan-t2i"}}, seeds=[0, 1])
    command = ["sweep", str(spec), "--data", str(data), "--out", str(tmp_path / "out"), "--dry-run", "--json"]
    assert main(command) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["variant"], row["seed"], row["sets"], row["state"]) for row in rows] == [
        ("naaf", 0, "", "to train"),
        ("naaf", 1, "", "to train"),
        ("scan", 0, "model.method scan-t2i", "to train"),
        ("scan", 1, "model.method scan-t2i", "to train"),
    ]
    assert rows[3]["folder"] == "scan/members/1"
    assert not (tmp_path / "out").exists()


# --- what is there already


def test_a_finished_run_is_recognised_under_another_name(tmp_path, data, source):
    place(source, tmp_path, "some/other name")
    plan = planned(tmp_path, data, notebooks=["02", "03"])
    assert plan.rows[0].folder == tmp_path / "out/some/other name"
    assert (plan.rows[0].state, plan.rows[0].notebooks) == (
        "notebooks only",
        ("02_training", "03_evaluation"),
    )


def test_a_run_of_other_settings_under_the_right_name_is_refused(tmp_path, data, source):
    place(source, tmp_path, "naaf/members/0")
    with pytest.raises(NaafError, match=r"naaf/members/0 holds a run of another mining\.alpha than"):
        planned(tmp_path, data, runs={"naaf": {"mining.alpha": 3}})


def test_a_run_is_recognised_by_the_word_vectors_that_it_started_from(tmp_path, data, root):
    from naaflib.config import preset
    from naaflib.training import train_run

    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(f"cat {len(name)} 1 2 3 4 5 {name == 'one':d}\n")
    one, two = ({"glove": str(tmp_path / f"{name}.txt")} for name in ("one", "two"))
    train_run(data, tmp_path / "out/naaf/members/0", preset("scenes", TINY), device="cpu", **one)
    assert states(planned(tmp_path, data, parameters=one)) == {"naaf/0": "notebooks only"}
    for others in (two, {}):
        with pytest.raises(NaafError, match="naaf/members/0 holds a run of other weights or data than"):
            planned(tmp_path, data, parameters=others)


def test_a_damaged_config_is_not_taken_for_other_settings(tmp_path, data, source):
    (place(source, tmp_path, "naaf/members/0") / "config.json").write_text("{")
    with pytest.raises(NaafError, match=r"config\.json is not whole JSON .*; restore or remove it"):
        planned(tmp_path, data)


def test_a_run_on_other_data_under_the_right_name_is_refused(tmp_path, data, source):
    place(source, tmp_path, "naaf/members/0")
    other = Path(shutil.copytree(data, tmp_path / "tiny"))
    (other / "train_caps.txt").write_text((other / "train_caps.txt").read_text().replace("cat", "cow"))
    with pytest.raises(NaafError, match="naaf/members/0 holds a run of other weights or data than"):
        planned(tmp_path, other)


def test_the_same_data_in_another_folder_is_the_same(tmp_path, data, source):
    place(source, tmp_path, "naaf/members/0")
    moved = Path(shutil.copytree(data, tmp_path / "moved"))
    assert states(planned(tmp_path, moved)) == {"naaf/0": "notebooks only"}


def test_a_run_that_started_from_other_weights_is_not_taken_for_it(tmp_path, data, source):
    config = place(source, tmp_path, "elsewhere") / "config.json"
    content = json.loads(config.read_text())
    content["start"]["init"] = "/some/checkpoint"
    config.write_text(json.dumps(content))
    assert states(planned(tmp_path, data)) == {"naaf/0": "to train"}


def test_a_half_trained_run_is_resumed(tmp_path, data):
    from naaflib.runs import Run

    run = trained(data, tmp_path / "out/naaf/members/0", **{"train.epochs": 1})
    settings = run.config["settings"]
    Run.open(run.path).update(settings=settings | {"train": settings["train"] | {"epochs": 2}})
    assert states(planned(tmp_path, data)) == {"naaf/0": "to resume"}


def test_a_variant_whose_source_was_trained_anew_is_refused(tmp_path, data, source):
    from naaflib.training import make_variant

    runs = {"naaf": {}, "flat": {"weights": "naaf", "mining.fixed_boundary": 0.0}}
    folder = place(source, tmp_path, "naaf/members/0")
    variant = make_variant(folder, {"mining.fixed_boundary": 0.0}, tmp_path / "out/flat/members/0")
    assert states(planned(tmp_path, data, runs=runs))["flat/0"] == "done"
    variant.update(weights=variant.config["weights"] | {"sha256": "0"})
    with pytest.raises(NaafError, match="flat/members/0 has other weights than"):
        planned(tmp_path, data, runs=runs)


# --- weights under other settings of inference


def test_a_variant_scores_with_the_changed_settings_and_its_source_is_untouched(tmp_path, data, source):
    import torch

    from naaflib import load_checkpoint
    from naaflib.training import make_variant

    before = source.checkpoint("best").read_bytes()
    run = make_variant(source, {"mining.fixed_boundary": "0.25", "model.lambda_intra": None}, tmp_path / "v")
    model, was = load_checkpoint(run.path), load_checkpoint(source.path)
    assert tuple(model.boundary) == (0.25, 0.25)
    assert model.similarity.lambda_intra is None
    assert run.settings.model == model.settings
    assert torch.equal(model.text_encoder.embed.weight, was.text_encoder.embed.weight)
    assert source.checkpoint("best").read_bytes() == before
    assert run.config["weights"]["settings"] == source.config["settings"]


def test_a_variant_is_validated_with_its_own_settings(tmp_path, data, source):
    from naaflib import load_checkpoint
    from naaflib.evaluation import evaluate
    from naaflib.training import make_variant

    run = make_variant(
        source, {"mining.fixed_boundary": 0.9, "model.relevance_effect": False}, tmp_path / "v"
    )
    history = run.history()
    kept = history[history["rsum"].notna()]
    assert len(kept) == 1 < len(history)
    assert kept["epoch"].item() == source.history().set_index("epoch")["rsum"].idxmax()
    own, before = (evaluate(load_checkpoint(one.path), data, split="dev") for one in (run, source))
    assert kept["rsum"].item() == own.metrics.rsum
    assert not np.allclose(own.scores, before.scores)


@pytest.mark.parametrize("images", [None, 9])
def test_a_variant_keeps_the_dev_scores_if_it_is_validated_on_the_whole_split(
    tmp_path, data, source, images, capsys
):
    from naaflib import load_checkpoint
    from naaflib.cli import main
    from naaflib.evaluation import evaluate
    from naaflib.files import fingerprint
    from naaflib.runs import Run

    run, out = Run.open(place(source, tmp_path, "run")), tmp_path / "v"
    settings = run.config["settings"]
    run.update(settings=settings | {"data": settings["data"] | {"validation_images": images}})
    assert main(["variant", str(run.path), "--set", "mining.fixed_boundary=0.9", "--out", str(out)]) == 0
    if images:
        assert not (out / "scores").exists()
        assert f"first 9 dev images, whose scores are not kept; for `naaf compare`: `naaf evaluate {out}" in (
            capsys.readouterr().err
        )
        return
    made = evaluate(load_checkpoint(out), data, split="dev", device="cpu").scores
    np.testing.assert_array_equal(np.load(out / "scores/dev.npy"), made)
    about = json.loads((out / "scores/dev.json").read_text())
    assert about["checkpoint"] == fingerprint(out / "checkpoints/best.safetensors")


def test_a_variant_of_a_variant_keeps_the_settings_that_trained_the_weights(tmp_path, data, source):
    from naaflib.training import make_variant

    first = make_variant(source, {"model.lambda_intra": None}, tmp_path / "first")
    second = make_variant(first, {"model.lambda_softmax": 9}, tmp_path / "second")
    assert second.config["weights"]["settings"] == source.config["settings"]
    assert (second.settings.model.lambda_intra, second.settings.model.lambda_softmax) == (None, 9.0)


def test_a_variant_is_reused_and_never_trained(tmp_path, data, source):
    from naaflib.training import make_variant, train_members, train_run

    run = make_variant(source, {"model.lambda_intra": None}, tmp_path / "v")
    before = run.checkpoint("best").read_bytes()
    (again,) = train_members(data, run.path, run.settings, 1)
    assert again.path == run.path
    assert run.checkpoint("best").read_bytes() == before
    with pytest.raises(NaafError, match=r"was trained with model\.lambda_intra None, and now 5\.0"):
        train_members(data, run.path, source.settings, 1)
    with pytest.raises(NaafError, match="kind 'variant', not a training"):
        train_run(data, run.path, run.settings, resume=True)


def test_training_settings_and_taken_folders_are_refused(tmp_path, data, source):
    from naaflib.training import make_variant

    with pytest.raises(UsageError, match=r"model\.dim acts in training too"):
        make_variant(source, {"model.dim": 3}, tmp_path / "v")
    with pytest.raises(UsageError, match=r"did you mean 'model\.lambda_intra'"):
        make_variant(source, {"model.lambda_inta": 3}, tmp_path / "v")
    assert not (tmp_path / "v").exists()
    with pytest.raises(NaafError, match="already holds a run"):
        make_variant(source, {"model.lambda_intra": None}, source.path)
    with pytest.raises(UsageError, match=r"inside lies inside .*source, which stays as it is"):
        make_variant(source, {"model.lambda_intra": None}, source.path / "inside")
    assert not (source.path / "inside").exists()


def test_a_boundary_that_was_never_learnt_cannot_come_back(tmp_path, source):
    from naaflib.training import make_variant

    fixed = make_variant(source, {"mining.fixed_boundary": 0.1}, tmp_path / "fixed")
    with pytest.raises(UsageError, match="no learnt boundary to go back to"):
        make_variant(fixed, {"mining.fixed_boundary": None}, tmp_path / "v")


# --- one at a time


@contextmanager
def held(folder):
    """A process that holds a folder until it is killed."""
    code = (
        "import sys; from pathlib import Path; from naaflib.locking import exclusive\n"
        "with exclusive(Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        yield holder


def test_a_folder_is_held_by_one_process_and_free_when_that_ends(tmp_path):
    from naaflib.locking import exclusive

    with held(tmp_path) as holder:
        with pytest.raises(NaafError, match=f"is in use by process {holder.pid} on "), exclusive(tmp_path):
            pass
        holder.kill()
        with exclusive(tmp_path, patience=60):
            assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_where_the_file_system_has_no_locks_nothing_is_held(tmp_path, monkeypatch):
    import fcntl

    from naaflib.locking import exclusive

    def none(_, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with exclusive(tmp_path), exclusive(tmp_path):
        pass


def test_two_sweeps_do_not_share_a_folder(tmp_path, data):
    from naaflib.batch import run_sweep
    from naaflib.locking import exclusive
    from naaflib.runs import Run

    plan = planned(tmp_path, data)
    Run.create(plan.out, "sweep", spec={}, data={})
    (plan.out / "sweep.csv").write_text("of the sweep that runs")
    before = {name: (plan.out / name).read_bytes() for name in ("config.json", "sweep.csv")}
    nothing_to_do = replace(plan, rows=())
    with exclusive(plan.out):
        for second in (plan, nothing_to_do):
            with pytest.raises(NaafError, match="out is in use by process"):
                run_sweep(second, progress=False)
    assert {name: (plan.out / name).read_bytes() for name in before} == before
    assert not (plan.out / ".ticket").exists()


def test_a_run_that_is_being_trained_is_left_alone(tmp_path, data, monkeypatch):
    from naaflib.config import preset
    from naaflib.locking import exclusive
    from naaflib.training import folder as training
    from naaflib.training import train_members

    monkeypatch.setattr(training, "PATIENCE", 0.0)
    folder, settings = tmp_path / "out/naaf/members/0", preset("scenes", TINY)
    with exclusive(folder):
        with pytest.raises(NaafError, match="0 is in use by process"):
            trained(data, folder)
        assert [path.name for path in folder.iterdir()] == [".lock"]
        started(folder, data, settings)
        before = (folder / "config.json").read_bytes()
        with pytest.raises(NaafError, match="0 is in use by process"):
            train_members(data, folder, settings, 1)
        assert (folder / "config.json").read_bytes() == before


def started(folder, data, settings):
    """A run as a process leaves it that dies before its first checkpoint."""
    from naaflib.runs import Run
    from naaflib.training.folder import data_record

    return Run.create(folder, "train", settings=settings.model_dump(), data=data_record(data), start={})


def test_a_worker_that_dies_before_its_first_checkpoint_is_followed(tmp_path, data, source):
    from naaflib.config import preset
    from naaflib.training import train_members

    folder, settings = tmp_path / "out/naaf/members/0", preset("scenes", TINY)
    started(folder, data, settings)
    with held(folder) as holder:
        threading.Timer(1.0, holder.kill).start()  # it dies while it is waited for
        (run,) = train_members(data, folder, settings, 1, device="cpu")
    pd.testing.assert_frame_equal(run.steps(), source.steps())
    assert run.config["start"]["device"] == "cpu"  # the record is the second one's


def test_a_run_with_a_checkpoint_is_never_trained_anew(tmp_path, data, source):
    from naaflib.runs import Run
    from naaflib.training import train_run

    run = Run.open(place(source, tmp_path, "naaf/members/0"))
    before = (run.path / "config.json").read_bytes()
    with pytest.raises(NaafError, match=r"0 already holds a run; .*--resume to continue it"):
        train_run(data, run.path, run.settings, restart=True)
    assert (run.path / "config.json").read_bytes() == before


def test_cores_are_divided_among_the_workers(monkeypatch):
    from naaflib.batch.sweep import cluster as workers

    monkeypatch.setattr(workers, "cores", lambda: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert workers.worker_threads(None, 99) == (6, 2)
    assert workers.worker_threads(5, 99) == (5, 2)
    assert workers.worker_threads(5, 3) == (3, 4)
    assert workers.worker_threads(50, 99) == (50, 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert workers.worker_threads(2, 99) == (2, 1)
    with pytest.raises(UsageError, match="--workers is 0"):
        workers.worker_threads(0, 9)


# --- failures


@pytest.fixture
def job_for(tmp_path):
    """The job that a sweep gives for a row; its ticket is there."""
    from naaflib.batch.sweep.plan import parameters_of
    from naaflib.batch.sweep.task import TICKET, Job

    def make(plan, row):
        plan.out.mkdir(exist_ok=True)
        (plan.out / TICKET).write_text("token")
        return Job(
            name=row.name,
            identity=row.identity,
            folder=str(row.folder),
            notebooks=row.notebooks,
            parameters=parameters_of(plan, row.planned, row.notebooks),
            ticket=str(plan.out / TICKET),
            token="token",
            data=str(plan.data),
            threads=1,
        )

    return make


def test_a_failed_run_is_kept_and_tried_again_only_when_asked(tmp_path, data, source, job_for):
    from naaflib.batch import run_sweep, runs_table
    from naaflib.batch.sweep.task import work

    trained(data, tmp_path / "out/naaf/members/1", **{"train.seed": 1})
    ask = {"notebooks": ["02", "08"], "seeds": [1]}
    plan = planned(tmp_path, data, **ask)
    plan.rows[0].notebooks = ("08_failing",)
    outcome = work(job_for(plan, plan.rows[0]))
    assert outcome.state == "failed"
    assert re.match(r"08_failing stopped at cell 3 .*AssertionError: the seed is 1; ", outcome.error)

    again = planned(tmp_path, data, **ask)
    assert (again.rows[0].state, again.rows[0].error) == ("failed", outcome.error)
    (row,) = runs_table(tmp_path / "out").to_dict("records")
    assert (row["run"], row["state"]) == ("naaf/members/1", f"failed: {outcome.error}")
    assert (row["method"], row["seed"]) == ("naaf", 1)  # what it has is told as of any run
    (tmp_path / "out/naaf/members/1/config.json").rename(tmp_path / "config.json")  # failed before it began
    assert runs_table(tmp_path / "out")["state"].tolist() == [f"failed: {outcome.error}"]
    (tmp_path / "config.json").rename(tmp_path / "out/naaf/members/1/config.json")
    table = run_sweep(again)  # without a worker: nothing is left to do
    assert table["state"].tolist() == ["failed"]
    assert (tmp_path / "out/naaf/members/1/notebooks/08_failing.failed.ipynb").exists()
    assert states(planned(tmp_path, data, **ask, retry=True)) == {"naaf/1": "notebooks only"}
    assert states(planned(tmp_path, data, **ask, set=TINY | {"loss.margin": 0.3}, runs={"x": {}})) == {
        "x/1": "to train"
    }


def test_a_failure_is_of_the_word_vectors_that_it_started_from(tmp_path, data):
    from naaflib.batch.sweep import run as sweep
    from naaflib.batch.sweep.task import note_failure

    for name in ("one", "two"):
        (tmp_path / f"{name}.txt").write_text(f"cat {len(name)} 1 2 3 4 5 {name == 'one':d}\n")
    one, two = ({"parameters": {"glove": str(tmp_path / f"{name}.txt")}} for name in ("one", "two"))
    plan = planned(tmp_path, data, **one)
    note_failure(sweep._Sweep(plan, plan.runs(), None, 1, "token")._job(plan.rows[0], None, 1), "it broke")
    assert states(planned(tmp_path, data, **one)) == {"naaf/0": "failed"}
    assert states(planned(tmp_path, data, **two)) == {"naaf/0": "to train"}


def test_what_failed_is_tried_again_where_scenes_are_rendered_first(tmp_path, data, job_for, monkeypatch):
    from naaflib.batch import run_sweep
    from naaflib.batch.sweep import run as sweep
    from naaflib.batch.sweep.task import note_failure

    def no_workers(*_):
        raise NaafError("a worker is asked for")

    scenes = Path(shutil.copytree(data, tmp_path / "scenes"))
    plan = planned(tmp_path, scenes)
    note_failure(job_for(plan, plan.rows[0]), "it broke")
    assert states(planned(tmp_path, scenes)) == {"naaf/0": "failed"}
    monkeypatch.setattr(sweep, "open_data", lambda folder: Path(shutil.copytree(data, folder)))
    monkeypatch.setattr(sweep, "open_cluster", no_workers)
    shutil.rmtree(scenes)
    assert run_sweep(planned(tmp_path, scenes))["state"].tolist() == ["failed"]
    shutil.rmtree(scenes)
    with pytest.raises(NaafError, match="a worker is asked for"):
        run_sweep(planned(tmp_path, scenes, retry=True))


def test_a_variant_may_be_called_null(tmp_path, data):
    from naaflib.batch import read_sweep
    from naaflib.batch.sweep.table import write_sweep

    plan = planned(tmp_path, data, runs={"null": {}, "NA": {"weights": "null", "model.lambda_intra": None}})
    plan.out.mkdir()
    write_sweep(plan)
    table = read_sweep(plan.out)
    assert table["variant"].tolist() == ["null", "NA"]
    assert table["weights"].fillna("none").tolist() == ["none", "null"]
    assert table["model.lambda_intra"].fillna(-1).tolist() == [5.0, -1.0]
    assert table["rsum"].isna().all()


def test_variants_are_compared_once_two_of_them_are_measured(tmp_path, data):
    from naaflib.batch import compare_variants

    ask = {
        "runs": {"naaf": {}, "scan": {"model.method": "scan-t2i"}},
        "notebooks": ["02", "03"],
        "parameters": {"split": "dev"},
    }
    plan = planned(tmp_path, data, **ask)
    plan.out.mkdir()
    folders = ["naaf/0", "naaf/1", "scan/0"]
    table = pd.DataFrame({"variant": ["naaf", "naaf", "scan"], "folder": folders}).assign(state="done")
    assert compare_variants(plan, table.assign(rsum=[1.0, 2.0, np.nan])) is None
    twin = table.assign(rsum=1.0, folder=["naaf/0", "naaf/1", "naaf/0"])  # a run of two names
    assert compare_variants(plan, twin) is None
    record = compare_variants(plan, table.assign(rsum=1.0))
    assert not record.failed
    assert (plan.out / "seen.txt").read_text() == "tiny dev"


def test_a_job_that_is_cancelled_ends_and_is_no_failure(tmp_path, data, source, job_for):
    from naaflib.batch.sweep.task import work

    place(source, tmp_path, "naaf/members/0")
    plan = planned(tmp_path, data)
    job = job_for(plan, plan.rows[0])
    Path(job.ticket).write_text("another sweep")
    assert work(job).state == "interrupted"
    assert states(planned(tmp_path, data)) == {"naaf/0": "notebooks only"}


def test_a_scheduler_that_does_not_answer_is_one_sentence(tmp_path, data, capsys, monkeypatch):
    from naaflib.cli import main
    from naaflib.evaluation import cluster

    monkeypatch.setattr(cluster, "connect", partial(cluster.connect, patience=0.5))
    spec = write_spec(tmp_path)
    command = ["sweep", str(spec), "--data", str(data), "--out", str(tmp_path / "out")]
    assert main([*command, "--scheduler", "tcp://127.0.0.1:9"]) == 1
    assert "no scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
    assert main([*command, "--scheduler", "tcp://127.0.0.1:9", "--dry-run"]) == 1
    assert "no scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().err
    assert main([*command, "--scheduler", "tcp://127.0.0.1:9", "--workers", "2"]) == 2
    assert "--workers counts workers on this machine" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_dask_is_one_sentence(tmp_path, data, monkeypatch):
    from naaflib.batch import run_sweep
    from naaflib.batch.sweep import cluster as workers

    monkeypatch.setattr(workers, "find_spec", lambda name: None)
    with pytest.raises(NaafError, match=r"a sweep needs dask\.distributed, which is not installed"):
        run_sweep(planned(tmp_path, data), progress=False)


# --- several processes a run


@pytest.fixture
def together(tmp_path, data, job_for):
    """The job of a run that two processes train, so many epochs long."""
    from naaflib.batch.sweep.together import training_arguments

    def make(epochs):
        plan = planned(tmp_path, data, processes=2, set=TINY | {"train.epochs": epochs})
        (row,) = plan.rows
        job = replace(job_for(plan, row), notebooks=())
        return replace(job, processes=2, **training_arguments(plan, row))

    return make


def in_training(job):
    """The processes that train a job's run, once there are steps."""
    steps = Path(job.folder) / "steps.csv"
    wait_for(lambda: steps.is_file() and len(steps.read_text().splitlines()) > 3)
    here = psutil.Process().children(recursive=True)
    return [child for child in here if "train" in child.cmdline() and "RANK" in child.environ()]


@contextmanager
def meanwhile(job, act):
    """Does something to the processes that train a job's run, and sees that they end."""
    found = []

    def wait_and_act():
        found.extend(in_training(job))
        act(found)

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    yield found
    thread.join()
    assert len(found) == 2
    assert not psutil.wait_procs(found, timeout=10)[1]


def test_processes_train_the_run_of_one_even_after_one_of_them_was_killed(tmp_path, data, together):
    from naaflib.batch.sweep.task import work
    from naaflib.model import checkpoint
    from naaflib.runs import Run

    job = together(epochs := 12)
    with meanwhile(job, lambda found: found[-1].kill()):
        outcome = work(job)
    assert outcome.state == "failed"
    sentences = r"one of 2 processes [^;]*|signal 9 killed the processes"
    assert re.fullmatch(f"its training by 2 processes failed: ({sentences})", outcome.error)
    assert Run.open(job.folder).state() == "unfinished"
    assert work(job).error == ""
    run, alone = Run.open(job.folder), trained(data, tmp_path / "alone", **{"train.epochs": epochs})
    assert run.config["start"]["processes"] == 2
    columns = [
        "epoch",
        "step",
        "loss",
        "boundary",
    ]  # rsum may differ where two scores are equal but for rounding
    np.testing.assert_allclose(run.history()[columns], alone.history()[columns], rtol=0, atol=1e-10)
    for which in ("best", "last"):
        one, other = (checkpoint.model_state(checkpoint.read(r.checkpoint(which))[0]) for r in (run, alone))
        for name, value in one.items():
            np.testing.assert_allclose(value, other[name], rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.long
def test_all_processes_of_a_run_end_where_its_sweep_ends(together):
    from naaflib.batch.sweep.task import work
    from naaflib.runs import Run

    job = together(10_000)
    with meanwhile(job, lambda _: Path(job.ticket).unlink()):
        assert work(job).state == "interrupted"
    assert Run.open(job.folder).resumable()


@pytest.mark.long
def test_a_sweep_goes_on_after_a_run_whose_process_was_killed(tmp_path, data):
    from naaflib.batch import run_sweep

    ask = {"processes": 2, "seeds": [0, 1], "set": TINY | {"train.epochs": 40}}
    plan = planned(tmp_path, data, **ask)
    with meanwhile(plan.rows[0], lambda found: found[-1].kill()):
        table = run_sweep(plan, workers=1, progress=False)
    assert table["state"].tolist() == ["failed", "done"]
    assert "reused" in said(plan.rows[1].folder / "notebooks/02_training.ipynb")
    assert (
        run_sweep(planned(tmp_path, data, **ask, retry=True), progress=False)["state"].tolist()
        == ["done"] * 2
    )


def test_a_dry_run_says_how_many_processes_train_a_run(tmp_path, data, source):
    from naaflib.batch.sweep.table import plan_table

    place(source, tmp_path, "naaf/members/0")
    plan = planned(tmp_path, data, processes=3, seeds=[0, 1], runs={"naaf": {}})
    assert plan_table(plan)["processes"].fillna(0).tolist() == [0, 3]
    assert "processes" not in plan_table(planned(tmp_path, data))
    assert plan.rows[1].planned == planned(tmp_path, data, seeds=[1]).rows[0].planned  # no other run


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"processes": 0}, r"processes: input should be greater than or equal to 1 \(given: 0\)"),
        ({"processes": 2.5}, "processes: input should be a valid integer"),
        ({"processes": 99}, "naaf: 99 processes cannot share a batch of 17 pairs; start at most 17"),
        (
            {"processes": 2, "runs": {"slow": {"mining.mode": "sequential"}}},
            "slow: mining.mode sequential goes from caption to caption in one process, and 2 are asked for",
        ),
    ],
)
def test_processes_that_cannot_train_a_run_are_refused_before_any_starts(tmp_path, data, change, sentence):
    with pytest.raises(UsageError, match=sentence):
        planned(tmp_path, data, **change)


def test_cores_and_gpus_are_divided_among_runs_of_several_processes(monkeypatch, capsys):
    from naaflib.batch.sweep import cluster as workers

    monkeypatch.setattr(workers, "cores", lambda: 12)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(workers, "gpus", list)
    assert workers.worker_threads(None, 99, 4) == (3, 4)
    assert workers.worker_threads(3, 99, 4) == (3, 4)
    assert capsys.readouterr().err == ""
    assert workers.worker_threads(None, 99, 16) == (1, 12)
    assert workers.worker_threads(4, 99, 4) == (4, 3)
    assert capsys.readouterr().err.count("processes each share 12 cores") == 2
    workers.check_gpus(9, 9)
    monkeypatch.setattr(workers, "gpus", lambda: list("01234567"))
    assert workers.worker_threads(None, 99, 4) == (2, 6)
    workers.check_gpus(2, 4)
    workers.check_gpus(9, 1)
    with pytest.raises(UsageError, match=r"3 runs at once by 4 processes need 12 GPUs, .* has 8; lower"):
        workers.check_gpus(3, 4)


def test_gpus_are_those_that_the_environment_leaves(monkeypatch):
    import torch

    from naaflib.batch.sweep import cluster as workers

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert workers.gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 3")
    assert workers.gpus() == ["5", "3"]


def test_each_run_gets_gpus_of_its_own(tmp_path, data, monkeypatch):
    from naaflib.batch.sweep import run as sweep

    monkeypatch.setattr(sweep, "gpus", lambda: list("abcd"))
    plan = planned(tmp_path, data, processes=2, seeds=[0, 1, 2])
    running = sweep._Sweep(plan, plan.runs(), None, 1, "token")
    jobs = [running._job(row, None, 2) for row in plan.rows[:2]]
    assert jobs[0].gpus == ("a", "b")
    running.running = {"first": (plan.rows[0], jobs[0])}
    second = running._job(plan.rows[1], None, 2)
    assert second.gpus == ("c", "d")
    running.running = {"second": (plan.rows[1], second)}
    assert running._job(plan.rows[2], None, 2).gpus == ("a", "b")
    assert sweep._Sweep(plan, plan.runs(), None, None, "token").gpus == []  # of a cluster


# --- a real cluster


@pytest.fixture
def cluster(tmp_path, root):
    """A scheduler process and two worker processes on loopback; its address and the workers."""
    file = tmp_path / "scheduler.json"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    dask = [sys.executable, "-m", "dask"]
    host = ["--host", "127.0.0.1"]
    started = [
        subprocess.Popen(
            [*dask, "scheduler", *host, "--port", "0", "--no-dashboard", "--scheduler-file", str(file)],
            **quiet,
        )
    ]
    address = wait_for(
        lambda: file.exists() and file.stat().st_size and json.loads(file.read_text())["address"]
    )
    for number in range(2):
        options = [
            "--nthreads",
            "1",
            "--no-nanny",
            "--no-dashboard",
            "--local-directory",
            str(tmp_path / f"w{number}"),
        ]
        started.append(subprocess.Popen([*dask, "worker", address, *host, *options], **quiet))
    yield address, started[1:]
    for process in reversed(started):
        process.kill()
        process.wait()


def test_a_killed_worker_loses_its_run_only_and_another_one_finishes_it(tmp_path, data, cluster):
    from naaflib.batch import run_sweep
    from naaflib.runs import FINISHED, Run

    address, workers = cluster
    epochs = 80  # so many that the worker dies long before the last one
    ask = {"seeds": [0, 1], "set": TINY | {"train.epochs": epochs}}
    plan = planned(tmp_path, data, **ask)
    folders = [row.folder for row in plan.rows]
    victims = []

    def kill_one_that_trains():
        folder = wait_for(lambda: next((f for f in folders if (f / "history.csv").exists()), None))
        kernel = int(re.search(r"process (\d+) on", (folder / ".lock").read_text())[1])
        above = [process.pid for process in psutil.Process(kernel).parents()]
        victims.extend(worker for worker in workers if worker.pid in above)
        victims[0].send_signal(signal.SIGKILL)

    killer = threading.Thread(target=kill_one_that_trains)
    killer.start()
    table = run_sweep(plan, scheduler=address, progress=False)
    killer.join()
    assert [worker.wait() for worker in victims] == [-signal.SIGKILL]
    assert table["state"].tolist() == ["done", "done"]
    for folder in folders:
        run = Run.open(folder)
        assert run.state() == FINISHED
        assert run.history()["epoch"].tolist() == list(range(1, epochs + 1))
        assert run.steps()["step"].tolist() == list(range(1, len(run.steps()) + 1))
    outputs = [said(folder / "notebooks/02_training.ipynb") for folder in folders]
    assert sorted("resuming" in text for text in outputs) == [False, True]
    saved = pd.read_csv(tmp_path / "out/sweep.csv")
    assert saved["dev_rsum"].tolist() == [Run.open(folder).history()["rsum"].max() for folder in folders]

    again = planned(tmp_path, data, **ask)
    assert states(again) == {"naaf/0": "done", "naaf/1": "done"}
    pd.testing.assert_frame_equal(run_sweep(again), table)  # no worker is asked: there is nothing to do


def said(notebook: Path) -> str:
    cells = nbformat.read(notebook, as_version=4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def wait_for(condition, seconds: float = 300):
    """The condition's value as soon as it holds."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


@pytest.mark.long
def test_an_interrupted_sweep_goes_on_and_variants_follow_their_source(tmp_path, data):
    """On workers of this machine: Ctrl-C in mid-training, then the same command to the end."""
    runs = {"naaf": {}, "flat": {"weights": "naaf", "mining.fixed_boundary": 0.0}}
    spec = write_spec(
        tmp_path, runs=runs, seeds=[0, 1], notebooks=["02", "03", "08"], set=TINY | {"train.epochs": 30}
    )
    out = tmp_path / "out"
    command = [sys.executable, "-m", "naaflib", "sweep", str(spec), "--data", str(data), "--out", str(out)]
    first = subprocess.Popen(
        [*command, "--workers", "2"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: (os.setsid(), signal.signal(signal.SIGINT, signal.SIG_DFL)),
    )
    wait_for(lambda: all((out / f"naaf/members/{seed}/history.csv").exists() for seed in (0, 1)))
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does
    _, messages = first.communicate(timeout=300)
    assert first.returncode == 130
    assert "Traceback" not in messages
    assert "interrupted; the same command goes on where it stopped" in messages
    assert "dashboard: http://127.0.0.1:" in messages
    assert "Warning" not in messages
    assert pd.read_csv(out / "sweep.csv")["state"].tolist() == ["interrupted"] * 2 + ["waiting"] * 2

    second = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    rows = {(row["variant"], row["seed"]): row for row in json.loads(second.stdout)}
    assert second.returncode == 1
    assert {key: row["state"] for key, row in rows.items()} == {
        ("naaf", 0): "done",
        ("naaf", 1): "failed",
        ("flat", 0): "done",
        ("flat", 1): "failed",
    }
    assert "2 of 4 runs failed, naaf/1 first: 08_failing stopped at cell" in second.stderr
    assert rows["flat", 1]["error"] == "naaf/1, whose weights it takes, failed"
    assert "resuming" in said(out / "naaf/members/0/notebooks/02_training.ipynb")
    saved = json.loads((out / "flat/members/0/metrics/test.full.json").read_text())
    assert (rows["flat", 0]["rsum"], rows["flat", 0]["i2t_at_1"]) == (saved["rsum"], saved["i2t"]["at_1"])
    assert rows["flat", 0]["train_seconds"] == 0
