"""The command line: it teaches, it refuses in one sentence, and it does what the library does."""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import seeds

TINY = ["train.epochs=1", "model.dim=8", "model.word_dim=8", "train.batch_size=24"]
TINY.append(f"train.seed={seeds.shifted()}")


@pytest.fixture
def naaf(capsys):
    """Run a command; its exit status, standard output and standard error."""
    from naaflib.cli import main

    def run(*words):
        capsys.readouterr()
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def run_folder(scenes, tmp_path_factory):
    """A run that `naaf train` made."""
    from naaflib.cli import main

    out = tmp_path_factory.mktemp("runs") / "first"
    assert (
        main(["train", "--data", str(scenes), "--out", str(out), "--preset", "scenes", "--set", *TINY]) == 0
    )
    return out


def refused(result, status: int, *parts: str) -> None:
    """Exit status, one line on standard error with these parts, nothing on standard output."""
    found, out, err = result
    assert found == status
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("naaf: ")]
    assert len(lines) == 1
    assert "Traceback" not in err
    for part in parts:
        assert part in lines[0]


def commands(parser, words=()):
    """Every command's words and parser."""
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield from commands(child, (*words, name))


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom naaflib.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit as end: assert end.code == 0\n"
        "heavy = {'torch', 'numpy', 'pandas', 'matplotlib', 'pydantic'} & set(sys.modules)\n"
        "sys.exit(f'{heavy} was imported' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_every_command_teaches():
    from naaflib.cli import build_parser

    found = list(commands(build_parser()))
    assert len(found) == 26
    for words, parser in found:
        text = parser.format_help()
        assert parser.description, words
        options = [a for a in parser._actions if not isinstance(a, argparse._SubParsersAction)]
        assert all(option.help for option in options), words
        if words not in {("data", "list")}:
            assert "naaf " + " ".join(words) in parser.epilog or not words, words
        assert "None" not in text
        assert "False" not in text


def test_help_names_presets_splits_and_protocols_as_they_are():
    from naaflib.cli import build_parser, models
    from naaflib.config import PRESETS
    from naaflib.evaluation import PROTOCOLS

    assert models.PROTOCOLS == PROTOCOLS
    train = dict(commands(build_parser()))[("train",)].format_help()
    assert all(name in train for name in PRESETS)


def test_defaults_are_shown_once(monkeypatch):
    from naaflib.cli import build_parser

    monkeypatch.setenv("COLUMNS", "80")
    found = {words: parser.format_help() for words, parser in commands(build_parser())}
    assert "(default: 1500)" in found["data", "build"]
    assert " ".join(found["compare",].split()).count("(default: rsum)") == 1
    assert not any("['" in text for text in found.values())


@pytest.mark.parametrize("width", [80, 66, 200])
def test_help_fits_the_terminal_and_its_examples_can_be_copied(monkeypatch, width):
    from naaflib.cli import build_parser

    found = list(commands(build_parser()))
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.setattr("naaflib.cli.arguments.MOST_COLUMNS", 1000)
    whole = {words: words and examples(parser.format_help()) for words, parser in found}
    monkeypatch.undo()
    monkeypatch.setenv("COLUMNS", str(width))
    for words, parser in found:
        text = parser.format_help()
        assert max(map(len, text.splitlines())) <= min(width, 100)
        assert not words or examples(text) == whole[words]  # naaf --help has a table


def examples(text: str) -> list[list[str]]:
    """The commands of a help text as the shell would read them."""
    lines = text.replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("  naaf ")]


def test_no_command_is_wrong_use(naaf):
    status, out, err = naaf()
    assert (status, out) == (2, "")
    assert "naaf run --out outputs/demo" in err


def test_the_version_is_the_package_s(naaf):
    import naaflib

    assert naaf("--version") == (0, f"naaf {naaflib.__version__}\n", "")


def without_packages(*words):
    """A command by a Python that has its standard library alone."""
    command = [sys.executable, "-S", "-m", "naaflib", *words]
    environment = {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "package"),
    [(["runs"], "pandas"), (["train", "--data", "d", "--out", "o"], "pandas"), (["sweep", "s"], "numpy")],
)
def test_a_package_that_is_missing_is_one_sentence(words, package):
    done = without_packages(*words)
    assert (done.returncode, done.stdout) == (1, "")
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"naaf: the Python package {package} is not installed for {sys.executable};")
    assert f"-m pip install -e {Path(__file__).parents[1]}" in sentence


def test_without_packages_the_help_and_what_is_wrong_are_told_all_the_same():
    assert "start here:" in without_packages("--help").stdout
    wrong = without_packages("train")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "are required: --data, --out" in wrong.stderr


def test_the_version_of_a_source_tree_that_is_not_installed():
    tree = Path(__file__).parents[1]
    project = tomllib.loads((tree / "pyproject.toml").read_text())["project"]
    assert without_packages("--version").stdout == f"naaf {project['version']} ({tree}, not installed)\n"


def test_a_folder_after_resume_leads_on_to_the_command_that_goes_on(naaf, trained, scenes):
    status, out, err = naaf("train", "--resume", trained.path)
    assert (status, out) == (2, "")
    assert f"naaf train --data {scenes} --out {trained.path} --resume (see" in err


@pytest.mark.parametrize(
    ("words", "status", "parts"),
    [
        (["evalute"], 2, ["invalid choice: 'evalute', did you mean 'evaluate'?"]),
        (["eval"], 2, ["did you mean 'evaluate'?"]),
        (["help"], 2, ["invalid choice: 'help', did you mean --help?"]),
        (["frobnicate"], 2, ["invalid choice: 'frobnicate' (choose from data, train, "]),
        (["train", "--data", "d", "--out", "x", "--epochs", "5"], 2, ["did you mean --set train.epochs=5?"]),
        (["train", "--data", "d", "--out", "x", "--batch-size=8"], 2, ["--set train.batch_size=8?"]),
        (["train", "--data", "d", "--out", "x", "--vocab", "v"], 2, ["did you mean --vocabulary?"]),
        (["run", "--out", "x", "--epochs", "5"], 2, ["did you mean -p epochs 5?", "naaf run --help"]),
        (["evaluate", "x", "--epochs", "5"], 2, ["unrecognized arguments: --epochs 5 (see naaf evaluate"]),
        (["data", "fetch", "flickr30k"], 2, ["did you mean 'f30k_precomp'"]),
        (["data", "fetch", "MS-COCO"], 2, ["did you mean 'coco_precomp'"]),
        (["train", "--out", "x"], 2, ["required: --data", "naaf train --help"]),
        (["train", "--resume", "x"], 2, ["--out names it: naaf train --data DIR --out x --resume (see"]),
        (
            ["foils", "--benchmark", "sugarcrepe"],
            2,
            ["there is no benchmark 'sugarcrepe'; benchmarks: sugar-"],
        ),
        (["train", "--data", "SCENES", "--out", "x", "--preset", "sceens"], 2, ["did you mean 'scenes'"]),
        (
            ["train", "--data", "SCENES", "--out", "x", "--set", "train.epoch=3"],
            2,
            ["did you mean 'train.epochs'"],
        ),
        (
            ["train", "--data", "SCENES", "--out", "x", "--set", "train.epochs"],
            2,
            ["NAME=VALUE", "'train.epochs'"],
        ),
        (
            ["train", "--data", "SCENES", "--out", "x", "--set", "train.seed=1", "train.seed=2"],
            2,
            ["--set has train.seed twice"],
        ),
        (
            [
                "train",
                "--data",
                "SCENES",
                "--out",
                "x",
                "--set",
                "train.precision=bf16",
                "--precision",
                "fp16",
            ],
            2,
            ["train.precision twice; give it one value"],
        ),
        (
            ["train", "--data", "SCENES", "--out", "x", "--precision", "half"],
            2,
            ["setting train.precision: input should be 'float32', 'tf32', 'bf16', 'fp16' or 'float64'"],
        ),
        (
            ["train", "--data", "SCENES", "--out", "x", "--set", "train.epochs=many"],
            2,
            ["train.epochs", "'many'"],
        ),
        (["train", "--data", "nowhere", "--out", "x", "--preset", "f30k"], 1, ["nowhere"]),
        (["train", "--data", "nowhere", "--out", "x"], 1, ["nowhere"]),
        (["train", "--data", "SCENES", "--out", "x", "--resume"], 1, ["x does not exist"]),
        (["evaluate", "SCENES", "--data", "SCENES"], 1, ["is not a run"]),
        (["evaluate", "nothing.pth.tar", "--data", "SCENES"], 1, ["nothing.pth.tar"]),
        (
            ["evaluate", "x", "--data", "SCENES", "--protocol", "coco"],
            2,
            ["invalid choice: 'coco'", "coco-1k"],
        ),
        (["ensemble", "SCENES", "SCENES"], 1, ["is not a run"]),
        (["data", "verify", "nowhere"], 1, ["nowhere"]),
        (["data", "fetch", "f30k"], 2, ["did you mean 'f30k_precomp'"]),
        (["data", "build", "scenes", "x", "--train", "-1"], 2, ["train"]),
        (["data", "convert", "no.tsv", "--captions", "c", "--split", "dev", "--out", "x"], 1, ["no.tsv"]),
        (["runs", "nowhere"], 1, ["nowhere", "not a folder"]),
        (["run", "--out", "x", "-p", "seed"], 2, ["names and values in turn"]),
        (["run", "--out", "x", "-p", "seed", "1", "-p", "seed", "2"], 2, ["'seed' is given twice"]),
        (["run", "--out", "x", "--notebooks", "77"], 2, ["'77'"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_is_one_sentence_and_writes_nothing(
    naaf, scenes, tmp_path, monkeypatch, words, status, parts
):
    monkeypatch.chdir(tmp_path)
    refused(naaf(*(scenes if word == "SCENES" else word for word in words)), status, *parts)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_a_sentence(naaf, run_folder, scenes, tmp_path):
    (tmp_path / "file").write_text("")
    status, out, err = naaf("evaluate", run_folder, "--data", scenes, "--out", tmp_path / "file" / "x")
    assert status == 1
    assert "rsum" in out  # the result is not lost with its file
    told = err.strip().splitlines()[-1]
    assert told.startswith("naaf: this result is not saved: ")
    assert "file: Not a directory; a part of the path is a file" in told
    refused(
        naaf("evaluate", run_folder, "--data", scenes, "--out", tmp_path / "file"), 1, "is a file; scores and"
    )


def test_a_bug_keeps_its_traceback(naaf, monkeypatch, scenes):
    monkeypatch.setattr("naaflib.data.prepare.verify.verify", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        naaf("data", "verify", scenes)


def test_an_interruption_is_one_line_that_says_how_to_go_on(naaf, monkeypatch, scenes, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("naaflib.training.folder.train_run", interrupted)
    status, out, err = naaf("train", "--data", scenes, "--out", tmp_path / "x", "--preset", "scenes")
    assert (status, out) == (130, "")
    assert err.strip() == "naaf: interrupted; nothing is half-written; run it again"
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "config.json").write_text("{}")
    _, _, err = naaf("train", "--data", scenes, "--out", tmp_path / "x", "--preset", "scenes")
    assert err.strip() == "naaf: interrupted; the same command with --resume continues"


def test_a_reader_that_has_seen_enough_is_no_error():
    code = "from naaflib.cli import main; import sys; sys.exit(main(['data', 'list', '--json']))"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=closed, stderr=subprocess.PIPE, check=False
        )
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.fixture(scope="module")
def chinese(write_split, tmp_path_factory):
    """A run on captions of Chinese words, and its data."""
    from naaflib.cli import main

    data = write_split(tmp_path_factory.mktemp("data"), "train", 11)
    write_split(data, "dev", 7)
    for path in data.glob("*_caps.txt"):
        path.write_text(path.read_text("utf-8").replace("cat", "猫").replace("the", "这个"), "utf-8")
    how = ["--set", *TINY, "data.min_word_count=1"]
    assert main(["train", "--data", str(data), "--out", str(data / "run"), "--preset", "scenes", *how]) == 0
    return data


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("options", [[], ["--json"], ["--regions"]], ids=["table", "json", "regions"])
def test_a_letter_that_the_terminal_lacks_is_written_by_its_number(chinese, encoding, options):
    words = ["explain", chinese / "run", "--data", chinese, "--split", "dev", "--image", "0", *options]
    command = [sys.executable, "-m", "naaflib", *map(str, words), "--caption", "这个 猫"]
    how = {"env": {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}, "check": False}
    done = subprocess.run(command, capture_output=True, **how)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.decode(encoding)
    if options == ["--json"]:
        assert json.loads(shown)["text"] == "这个 猫"
    else:
        assert ("猫" if encoding == "utf-8" else r"\u732b") in shown


def test_the_known_data_sets_are_listed(naaf):
    from naaflib.data.manifest import names

    _, out, _ = naaf("data", "list")
    status, listed, err = naaf("data", "list", "--json")
    assert (status, err) == (0, "")
    assert [entry["name"] for entry in json.loads(listed)] == list(names())
    assert all(f"{name}: " in out for name in names())


def test_a_data_set_is_built_where_the_shell_stands_and_verified(naaf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = ["--train", "6", "--dev", "5", "--test", "5"]
    assert naaf("data", "build", "scenes", "small", "--seed", "3", *sizes)[:2] == (0, "small\n")
    status, out, _ = naaf("data", "verify", "small", "--json")
    assert status == 0
    assert json.loads(out)["ok"] is True
    (tmp_path / "small" / "dev_caps.txt").write_text("one caption\n")
    status, out, _ = naaf("data", "verify", "small")
    assert status == 1
    assert "dev_caps.txt" in out


def test_a_run_is_trained_and_a_second_training_into_it_is_refused(naaf, run_folder, scenes):
    before = (run_folder / "history.csv").read_bytes()
    refused(
        naaf("train", "--data", scenes, "--out", run_folder, "--preset", "scenes"), 1, "already holds a run"
    )
    assert (run_folder / "history.csv").read_bytes() == before


def test_the_preset_is_the_one_named_like_the_data_and_is_said(naaf, scenes, tmp_path):
    status, out, err = naaf("train", "--data", scenes, "--out", tmp_path / "x", "--set", *TINY)
    assert status == 0
    assert "preset scenes, named like the data set" in err
    assert "finished" in out


def test_a_resumed_run_brings_its_own_settings(naaf, run_folder, scenes, tmp_path):
    copied = tmp_path / "copy"
    shutil.copytree(run_folder, copied)
    before = (copied / "history.csv").read_bytes()
    assert naaf("train", "--data", scenes, "--out", copied, "--resume")[0] == 0
    assert (copied / "history.csv").read_bytes() == before
    assert naaf("train", "--data", scenes, "--out", copied, "--resume", "--set", "train.epochs=2")[0] == 0
    assert (copied / "history.csv").read_bytes().startswith(before)
    refused(
        naaf("train", "--data", scenes, "--out", copied, "--resume", "--set", "model.dim=9"), 1, "model.dim"
    )


def test_an_evaluation_names_split_and_protocol_and_is_json_for_programs(naaf, run_folder, scenes):
    status, out, _ = naaf("evaluate", run_folder, "--data", scenes)
    assert status == 0
    assert "test" in out
    assert "protocol full" in out
    status, out, _ = naaf("evaluate", run_folder, "--data", scenes, "--split", "dev", "--json")
    result = json.loads(out)
    assert (result["split"], result["protocol"], result["chose_best_epoch"]) == ("dev", "full", True)
    saved = json.loads((run_folder / "metrics" / "dev.full.json").read_text())
    assert saved == result


def test_a_protocol_of_another_size_is_refused(naaf, run_folder, scenes):
    refused(
        naaf("evaluate", run_folder, "--data", scenes, "--protocol", "f30k-1k"), 2, "f30k-1k", "1000 images"
    )


def test_an_ensemble_of_a_run_and_its_copy_has_its_recalls(naaf, run_folder, scenes, tmp_path):
    alone = json.loads(naaf("evaluate", run_folder, "--data", scenes, "--json")[1])
    out, copy = tmp_path / "joined", shutil.copytree(run_folder, tmp_path / "copy")
    status, text, _ = naaf("ensemble", run_folder, copy, "--data", scenes, "--out", out, "--json")
    assert status == 0
    joined = json.loads(text)
    assert (joined["i2t"], joined["t2i"]) == (alone["i2t"], alone["t2i"])
    assert len(joined["members"]) == 2
    assert json.loads(naaf("runs", out, "--json")[1])[0]["kind"] == "ensemble"


def test_a_folder_of_members_stands_for_its_members(naaf, run_folder, scenes, tmp_path):
    from naaflib.runs import open_group

    group = open_group(tmp_path / "group")
    for seed in ("0", "1"):
        shutil.copytree(run_folder, group.path / "members" / seed)
    status, out, _ = naaf("ensemble", group.path, "--data", scenes, "--json")
    assert status == 0
    assert len(json.loads(out)["members"]) == 2
    table = {row["run"]: row for row in json.loads(naaf("runs", tmp_path, "--json")[1])}
    assert table["group"]["state"] == "2 members"
    assert table["group/members/1"]["epochs"] == "1/1"


def test_runs_are_listed_with_method_data_and_state(naaf, run_folder):
    status, out, _ = naaf("runs", run_folder.parent, "--json")
    (row,) = json.loads(out)
    assert status == 0
    assert (row["run"], row["method"], row["data"], row["epochs"]) == ("first", "naaf", "scenes", "1/1")
    assert row["state"].startswith("finished")  # one epoch may be too few to learn
    assert 0 <= row["best_dev_rsum"] <= 600


def test_what_a_run_lacks_is_a_dash(naaf, run_folder, tmp_path):
    from naaflib.runs import open_group

    group = open_group(tmp_path / "group")
    shutil.copytree(run_folder, group.path / "members" / "0")
    _, out, _ = naaf("runs", tmp_path)
    assert "<NA>" not in out
    (line,) = (line.split() for line in out.splitlines() if line.split()[1] == "group")
    assert line == ["group", "group", "-", "-", "-", "-", "-", "1", "member"]


def test_a_damaged_run_is_listed_as_such(naaf, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text("{")
    status, out, _ = naaf("runs", tmp_path, "--json")
    assert status == 0
    assert json.loads(out)[0]["state"].startswith("unreadable: ")


def test_paths_among_the_parameters_are_taken_from_the_working_directory(tmp_path, monkeypatch):
    from naaflib.cli.batches import _parameters

    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    assert _parameters([["data", "mine", "split", "mine"]]) == {
        "data": str(tmp_path / "mine"),
        "split": "mine",
    }
    assert _parameters([["data", "data/scenes"], ["seed", "-1"]]) == {"data": "data/scenes", "seed": "-1"}


def test_notebooks_are_copied_out_and_nothing_is_replaced(naaf, tmp_path, monkeypatch):
    from naaflib.batch.notebooks import available

    monkeypatch.chdir(tmp_path)
    status, out, err = naaf("notebooks", "mine")
    assert status == 0
    assert [tmp_path / line for line in out.splitlines()] == sorted((tmp_path / "mine").iterdir())
    assert [path.read_bytes() for path in available()] == [
        path.read_bytes() for path in sorted((tmp_path / "mine").iterdir())
    ]
    assert "jupyter lab mine" in err
    (tmp_path / "taken").mkdir()
    edited = tmp_path / "taken" / available()[2].name
    edited.write_text("edited")
    refused(naaf("notebooks", "taken"), 1, f"taken/{edited.name} is there already; name another folder")
    assert [path.read_text() for path in (tmp_path / "taken").iterdir()] == ["edited"]
    (tmp_path / "file").write_text("")
    refused(naaf("notebooks", "file"), 1, "file is there already; name another folder")
    own = str(available()[0].parent)
    refused(naaf("notebooks", own), 1, "holds the notebooks themselves; open them there")


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        (("preset", "scenez"), "did you mean 'scenes'"),
        (("settings", "train.epoch=2"), "did you mean 'train.epochs'"),
        (("data", "nowhere"), "does not exist"),
        (("member", "2"), "add -p members N"),
    ],
)
def test_a_wrong_value_is_refused_before_any_notebook_runs(naaf, tmp_path, parameters, sentence):
    status, _, said = naaf("run", "--out", tmp_path / "run", "-p", *parameters)
    assert status in (1, 2)
    assert sentence in said
    assert not (tmp_path / "run").exists()
