"""What a person touches in Python: paths, names, what a result shows of itself."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project's folder with a data set, and the folder where `make lab` opens."""
    import naaflib.files

    for folder in ("naaflib", "notebooks", "data_manifests", "data/mine", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(naaflib.files, "__file__", str(tmp_path / "naaflib" / "project.py"))
    monkeypatch.delenv("NAAF_ROOT", raising=False)
    return tmp_path


@pytest.mark.parametrize("folder", [".", "notebooks"])
def test_a_path_is_the_same_in_the_project_and_in_its_notebooks(project, monkeypatch, folder):
    from naaflib import NaafError, pages
    from naaflib.cli.arguments import path
    from naaflib.files import resolve

    monkeypatch.chdir(project / folder)
    for found in (resolve, path):
        assert found("data/mine") == project / "data/mine"
        assert found("outputs/new") == project / "outputs/new"  # written where the project keeps its own
        assert found("data") == project / "data"
        assert found("page.png") == project / folder / "page.png"  # a bare new name stays here
        assert found("../outputs/new") == project / folder / "../outputs/new"
    assert pages.open_data("data/mine") == project / "data/mine"
    with pytest.raises(NaafError, match=r"outputs/demo is not a run yet"):
        pages.trained_run("outputs/demo")


def test_what_is_in_the_working_directory_comes_first(project, monkeypatch, tmp_path_factory):
    from naaflib.files import resolve

    here = project / "elsewhere"
    (here / "data").mkdir()
    monkeypatch.chdir(here)
    assert resolve("data/mine") == here / "data/mine"
    outside = tmp_path_factory.mktemp("outside")
    monkeypatch.chdir(outside)
    assert resolve("outputs/new") == outside / "outputs/new"
    monkeypatch.setenv("NAAF_ROOT", str(project))
    assert resolve("outputs/new") == project / "outputs/new"


def test_copies_of_the_notebooks_make_their_parent_the_project(project, monkeypatch, tmp_path_factory):
    import naaflib.files
    from naaflib.files import resolve

    own = tmp_path_factory.mktemp("own")
    (own / "notebooks").mkdir()
    monkeypatch.setattr(naaflib.files, "__file__", str(own / "site-packages" / "naaflib" / "files.py"))
    monkeypatch.chdir(own / "notebooks")
    assert resolve("outputs/new") == own / "notebooks" / "outputs/new"  # a stranger's notebooks
    (own / "notebooks" / "02_training.ipynb").write_text("{}")
    assert resolve("outputs/new") == own / "outputs/new"


def test_the_readme_s_python_runs_where_make_lab_opens(trained, scenes, project, monkeypatch):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code = readme.split("```python\n")[1].split("```")[0]
    shutil.copytree(scenes, project / "data" / "scenes")
    shutil.copytree(trained.path, project / "outputs/demo/members/0")
    for folder in (".", "notebooks"):
        monkeypatch.chdir(project / folder)
        names = {}
        exec(code, names)
        assert len(names["pair"].to_frame()) == len(names["pair"].words)


def test_an_error_names_the_folder_that_was_tried(project, monkeypatch):
    import naaflib

    monkeypatch.chdir(project / "notebooks")
    for opened in (naaflib.Run.open, naaflib.load_checkpoint, lambda path: naaflib.open_split(path, "test")):
        with pytest.raises(naaflib.NaafError, match=f"^{project}/outputs/x does not exist; "):
            opened("outputs/x")
        with pytest.raises(naaflib.NaafError, match=f"^x does not exist in {project}/notebooks; "):
            opened("x")


def test_the_package_offers_what_people_look_for_and_loads_none_of_it():
    code = (
        "import sys, naaflib\n"
        "heavy = {'torch', 'numpy', 'pandas', 'matplotlib', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "first = naaflib.evaluate\n"
        "from naaflib import Run, compare, ensemble, evaluate, explain, explore\n"
        "assert all(map(callable, (Run, compare, ensemble, evaluate, explain, explore, naaflib.evaluate)))\n"
        "import naaflib.evaluation.protocols\n"
        "assert callable(naaflib.evaluate) and naaflib.evaluate is evaluate is first\n"
        "from inspect import signature\n"
        "assert [*signature(evaluate).parameters][:2] == ['source', 'data']\n"
        "assert set(naaflib.__all__) <= set(dir(naaflib))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture(scope="module")
def group(trained, tmp_path_factory):
    """A folder of two members, which are the same run twice."""
    from naaflib.runs import open_group

    folder = tmp_path_factory.mktemp("runs") / "group"
    for member in "01":
        shutil.copytree(trained.path, open_group(folder).path / "members" / member)
    return folder


def test_a_text_is_one_group_of_runs(group):
    import naaflib

    alone = naaflib.evaluate(group / "members" / "0")
    joined = naaflib.ensemble(str(group))
    assert len(joined.members) == 2
    assert joined.metrics.rsum == alone.metrics.rsum
    assert naaflib.ensemble(naaflib.Run.open(group)).members == joined.members
    assert naaflib.ensemble([group / "members" / "0", str(group / "members" / "1")]).members == joined.members
    naaflib.evaluate(group / "members" / "1")
    compared = naaflib.compare(str(group))
    assert [variant.name for variant in compared.variants] == ["group/0", "group/1"]
    with pytest.raises(naaflib.NaafError, match="at least two members"):
        naaflib.ensemble(str(group / "members" / "0"))


def test_a_pair_is_named_as_on_the_command_line(trained, scenes):
    import naaflib

    split, model = naaflib.open_split(scenes, "test"), naaflib.load_checkpoint(trained.path)
    name = split.image_names[3]
    for source, data in ((model, split), (trained, scenes), (str(trained.checkpoint()), None)):
        pair = naaflib.explain(source, data, image=name)
        assert (pair.image, pair.caption, pair.own) == (3, 15, True)  # an image's own caption by default
    assert naaflib.explain(trained.path, caption=16).image == 3
    assert naaflib.explain(model, split, 3, 0).own is False
    assert naaflib.explain(model, split, caption="a star").image == 0
    with pytest.raises(naaflib.NaafError, match=r"there is no picture 'x\.jpg'"):
        naaflib.explain(model, split, image="x.jpg")
    with pytest.raises(naaflib.NaafError, match="there is no caption 50; the captions of test are 0 to 49"):
        naaflib.explain(model, split, caption=50)


def test_data_are_those_that_the_run_records_and_moved_ones_get_a_sentence(trained, scenes, tmp_path, capsys):
    import naaflib
    from naaflib.cli import main

    run = naaflib.Run.open(shutil.copytree(trained.path, tmp_path / "run"))
    for words in (["evaluate", run.path], ["explain", run.path, "--image", "3"]):
        assert main([str(word) for word in words]) == 0
        assert "scenes test" in capsys.readouterr().out
    run.update(data={**run.config["data"], "folder": str(tmp_path / "moved")})
    for words in (["evaluate", run.path], ["explain", run.path, "--image", "3"]):
        assert main([str(word) for word in words]) == 1
        message = capsys.readouterr().err
        assert "is not there any more; give the folder where it is now as data (--data DIR)" in message
    model = naaflib.load_checkpoint(run.path)
    with pytest.raises(naaflib.NaafError, match="a model does not record its data set"):
        naaflib.explain(model)
    copy = shutil.copy(run.checkpoint(), tmp_path / "alone.safetensors")
    with pytest.raises(naaflib.NaafError, match=r"alone\.safetensors does not record .*\(--data DIR\)"):
        naaflib.evaluate(copy)
    assert naaflib.evaluate(run, scenes).images == 10


def test_what_a_person_looks_at_is_short(trained, group, scenes):
    import naaflib

    split, model = naaflib.open_split(scenes, "test"), naaflib.load_checkpoint(trained.path)
    result = naaflib.evaluate(trained, scenes)
    text = "a <b>zeppelin</b> " + 60 * "near a large red star "
    found = [
        ("2 of 2", trained),
        ("members", naaflib.Run.open(group)),
        ("50", split),
        ("boundary", model),
        ("scenes test", result),
        ("rsum", result.metrics),
        ("its own", naaflib.explain(model, split, 3)),
        ("zeppelin", naaflib.explain(model, split, 3, text)),
    ]
    for part, one in found:
        assert part in repr(one)
        assert len(repr(one).splitlines()) <= 3
        assert len(repr(one)) < 300 + len(text) * (part == "zeppelin")
        shown = one._repr_html_()
        assert part in shown
        assert "<b>zeppelin" not in shown  # texts of the user's are no markup
        assert len(shown) < (120_000 if part == "zeppelin" else 20_000)
    assert "max-height" in shown  # a long caption's table scrolls
    assert len(repr(result.metrics.t2i)) < 150


def test_a_damaged_run_still_says_which_it_is(trained, tmp_path):
    import naaflib

    run = naaflib.Run.open(shutil.copytree(trained.path, tmp_path / "run"))
    (run.path / "history.csv").write_text("")
    assert "kind train, data scenes, method naaf, seed" in repr(run)
    run.update(settings={"model": 3}, data=[])
    assert repr(run).endswith("kind train)")


def test_a_word_has_the_colour_of_the_figure(trained, scenes):
    import naaflib
    from naaflib.explanation.drawing import coloured_words
    from naaflib.viz.style import MATCHED, MISMATCHED

    pair = naaflib.explain(trained, scenes, 3)
    best = replace(pair, boundary=float(pair.best_cosine.min()) - 1e-3)  # all words are matched
    spans = coloured_words(best).split("</span> ")
    assert MATCHED.lower() in spans[int(pair.best_cosine.argmax())]
    worst = replace(pair, boundary=float(pair.best_cosine.max()) + 1e-3)
    assert MISMATCHED.lower() in coloured_words(worst).split("</span> ")[int(pair.best_cosine.argmin())]


def test_an_explanation_draws_itself(trained, scenes):
    import naaflib
    from naaflib.cli.explaining import PAGES

    pair = naaflib.explain(trained, scenes, image=3)
    for show in PAGES:
        assert pair.figure(show)._repr_png_()[0].startswith(b"\x89PNG")
    words, attention = (len(pair.figure(show).axes) for show in ("words", "attention"))
    assert attention > words  # a panel a word
    with pytest.raises(naaflib.NaafError, match=r"there is no figure 'heat'; figures: picture, words, att"):
        pair.figure("heat")


def test_a_run_draws_the_distributions_that_the_notebook_draws(trained, scenes, tmp_path):
    import naaflib
    from naaflib import pages

    figure = trained.distributions()
    titles = [ax.get_title(loc) for ax in figure.axes for loc in ("left", "center") if ax.get_title(loc)]
    assert titles == list(pages.sample_panels(trained, scenes))
    assert titles[0] == "Before training"
    blue, vermilion = figure.axes[0].get_lines()[:2]
    kept = trained.samples()[0]
    peaks = [line.get_xdata()[line.get_ydata().argmax()] for line in (blue, vermilion)]
    means = [kept[kind].mean() for kind in ("matched", "mismatched")]
    np.testing.assert_allclose(peaks, means, atol=np.ptp(blue.get_xdata()) / 500)
    run = naaflib.Run.open(shutil.copytree(trained.path, tmp_path / "run"))
    shutil.rmtree(run.path / "samples")
    with pytest.raises(naaflib.NaafError, match="samples lacks epoch 0 or"):
        run.distributions()


@pytest.mark.parametrize(("rows", "dtype"), [("images", "float32"), ("captions", "float16")])
def test_regions_are_sliced_as_numpy_does_and_stay_on_disk(write_split, tmp_path, rows, dtype):
    import naaflib

    write_split(tmp_path / "mine", "dev", 7, rows=rows, dtype=dtype)
    split = naaflib.open_split(tmp_path / "mine", "dev")
    whole = np.stack([split.regions[image] for image in range(7)])
    few = split.first(5)
    for key in (slice(None), slice(2, 5), slice(-2, None), slice(None, None, -2), (slice(1, 3), 0), [3, 0]):
        np.testing.assert_array_equal(split.regions[key], whole[key])
        np.testing.assert_array_equal(few.regions[key], whole[:5][key])
    assert isinstance(split.regions[2:5], np.memmap)
    assert np.shares_memory(split.regions[2:5], split.regions.rows)
    for image in (-1, -5, np.int64(-2)):
        np.testing.assert_array_equal(few.regions[image], whole[:5][image])
    for image in (5, -6):  # an image that is not there is not another image
        with pytest.raises(IndexError, match="outside 0 to 4"):
            few.regions[image]


@pytest.mark.trains
def test_a_training_from_the_notebooks_folder_lies_where_notebooks_look(scenes, project, monkeypatch):
    from naaflib import preset, train_run

    if not (project / "data" / "scenes").exists():
        shutil.copytree(scenes, project / "data" / "scenes")
    monkeypatch.chdir(project / "notebooks")
    settings = preset("scenes", {"train.epochs": 1, "model.dim": 8, "model.word_dim": 4})
    run = train_run("data/scenes", "outputs/new", settings)
    assert run.path == project / "outputs" / "new"
    assert run.data_folder == project / "data" / "scenes"
