"""What a person touches in Python: paths, names, what a result shows of itself."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project's folder with a data set, and the folder where `make lab` opens."""
    import naaflib.project

    for folder in ("naaflib", "notebooks", "data_manifests", "data/mine", "elsewhere"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(naaflib.project, "__file__", str(tmp_path / "naaflib" / "project.py"))
    monkeypatch.delenv("NAAF_ROOT", raising=False)
    return tmp_path


@pytest.mark.parametrize("folder", [".", "notebooks"])
def test_a_path_is_the_same_in_the_project_and_in_its_notebooks(project, monkeypatch, folder):
    from naaflib import NaafError
    from naaflib import walkthrough as walk
    from naaflib.cli.arguments import path
    from naaflib.project import resolve

    monkeypatch.chdir(project / folder)
    for found in (resolve, path):
        assert found("data/mine") == project / "data/mine"
        assert found("outputs/new") == project / "outputs/new"  # written where the project keeps its own
        assert found("data") == project / "data"
        assert found("page.png") == project / folder / "page.png"  # a bare new name stays here
        assert found("../outputs/new") == project / folder / "../outputs/new"
    assert walk.open_data("data/mine") == project / "data/mine"
    with pytest.raises(NaafError, match=r"outputs/demo is not a run yet"):
        walk.trained_run("outputs/demo")


def test_what_is_in_the_working_directory_comes_first(project, monkeypatch, tmp_path_factory):
    from naaflib.project import resolve

    here = project / "elsewhere"
    (here / "data").mkdir()
    monkeypatch.chdir(here)
    assert resolve("data/mine") == here / "data/mine"
    outside = tmp_path_factory.mktemp("outside")
    monkeypatch.chdir(outside)
    assert resolve("outputs/new") == outside / "outputs/new"
    monkeypatch.setenv("NAAF_ROOT", str(project))
    assert resolve("outputs/new") == project / "outputs/new"


def test_the_readme_s_python_runs_where_make_lab_opens(trained, scenes, project, monkeypatch):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    code = readme.split("## In Python\n\n```python\n")[1].split("```")[0]
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
