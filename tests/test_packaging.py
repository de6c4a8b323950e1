"""pip, conda and the pinned set ask for the same packages; what is installed can be cited and found."""

import ast
import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import nbconvert
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
CONDA_NAMES = {
    "torch": "pytorch",
    "matplotlib": "matplotlib-base",
    "dask": "dask-core",
}  # PyPI's name: conda-forge's, where they differ


PIP_ONLY = {"eccv-caption"}  # conda-forge has none: extra "benchmarks"
IMPORT_NAMES = {"pillow": "PIL", "pyyaml": "yaml", "ipython": "IPython"}  # where they are not PyPI's
NOT_IMPORTED = {"jupyterlab", "bokeh", "tensorboard", "urllib3"}  # dashboard, SummaryWriter, requests
COME_WITH = {
    "llvmlite": "numba",
    "pydantic_core": "pydantic",
    "tokenizers": "transformers",
}  # one release of it for each of the other


def imported(*folders: str) -> set[str]:
    """The packages that the Python files of some folders import, the standard library aside."""
    names: set[str] = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add(str(node.module).partition(".")[0])
    return names - sys.stdlib_module_names - {"naaflib"}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(*extras: str) -> dict[str, str]:
    """Name to range, of the dependencies and of some extras."""
    optional = project()["optional-dependencies"]
    lines = [*project()["dependencies"], *(line for extra in extras for line in optional[extra])]
    return {Requirement(line).name: str(Requirement(line).specifier) for line in lines}


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def test_conda_and_pip_ask_for_the_same_packages_in_the_same_ranges():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    named = [line for line in environment["dependencies"] if isinstance(line, str)]
    conda = {m[1]: m[2] for m in (re.fullmatch(r"([\w-]+)(.*)", line) for line in named)}
    assert conda.pop("python") == project()["requires-python"]
    assert conda.pop("pip") == ""
    asked = {name: bounds for name, bounds in requirements("fast", "test").items() if name not in PIP_ONLY}
    assert conda == {CONDA_NAMES.get(name, name): bounds for name, bounds in asked.items()}


def test_what_the_library_imports_is_asked_for():
    extras = ("fast", "triton", "parquet", "onnx", "transformers", "timm", "hdf5")
    declared = {IMPORT_NAMES.get(name, name) for name in requirements(*extras)}
    assert imported("naaflib") - COME_WITH.keys() <= declared


def test_what_is_asked_for_is_imported_or_its_user_is_named():
    declared = {IMPORT_NAMES.get(name, name) for name in requirements()}
    assert declared - imported("naaflib") == NOT_IMPORTED


def test_conda_installs_the_project_itself_last_with_what_conda_forge_lacks():
    last = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]
    assert last == {"pip": ["-e .[benchmarks]"]}


RUNNING = ("fast", "triton", "parquet", "onnx", "transformers", "benchmarks", "hdf5", "tls")
EXTRAS = (*RUNNING, "test", "lint", "browser")
UNPINNED = ("timm",)  # it brings torchvision, and which one fits depends on how torch was installed


def test_every_extra_is_pinned_or_said_not_to_be():
    assert set(project()["optional-dependencies"]) == {*EXTRAS, *UNPINNED}


@pytest.mark.parametrize("extras", [(), *((extra,) for extra in EXTRAS)])
def test_every_requirement_is_pinned_to_a_version_in_its_range(extras):
    pinned = pins()
    for name, bounds in requirements(*extras).items():
        assert canonicalize_name(name) in pinned, f"constraints.txt has no {name}"
        assert pinned[canonicalize_name(name)] in Requirement(f"{name}{bounds}").specifier


def test_torch_is_pinned_to_the_release_that_the_numbers_were_made_with():
    assert pins()["torch"] == "2.13.0"


def test_pins_are_plain_releases_of_an_index():
    for name, version in pins().items():
        assert re.fullmatch(r"\d+(\.\w+)*", version), f"{name}=={version} is not on a package index"
    assert "naaflib" not in pins()


def test_ranges_are_open_upwards():
    for name, bounds in requirements(*EXTRAS, *UNPINNED).items():
        assert re.fullmatch(r">=[\d.]+", bounds), f"{name}{bounds}"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The `naaf` of an environment that has the wheel, built from this tree, and the packages of this one."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [
        "wheel",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--wheel-dir",
        str(folder),
        str(ROOT),
    ]
    subprocess.run([*pip, *wheel], check=True)
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    place = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    packages = [path for path in sys.path if path.endswith("-packages")]  # of this environment
    Path(place.stdout.strip(), "packages.pth").write_text("\n".join(packages))
    (file,) = folder.glob("*.whl")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", file], check=True)
    return python.with_name("naaf")


@pytest.mark.long
def test_a_wheel_carries_manifests_and_notebooks_and_runs_them_anywhere(installed, scenes, tmp_path):
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "NAAF_ROOT")}
    variables["JUPYTER_PATH"] = str(Path(nbconvert.__file__).parents[4] / "share" / "jupyter")

    def naaf(*words) -> str:
        command = [installed, *map(str, words)]
        done = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = [line.partition(":")[0] for line in naaf("data", "list").splitlines() if line[0] != " "]
    assert listed == sorted(path.stem for path in (ROOT / "data_manifests").glob("*.yaml"))
    inspect = ("run", "--out", "out", "--notebooks", "01", "-p", "data", scenes)
    naaf(*inspect)
    assert "What is in the data?" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")

    own = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert naaf("notebooks", "notebooks").splitlines() == [f"notebooks/{path.name}" for path in own]
    copies = [tmp_path / "notebooks" / path.name for path in own]
    assert [copy.read_bytes() for copy in copies] == [path.read_bytes() for path in own]
    copies[0].write_text(copies[0].read_text("utf-8").replace("What is in the data?", "Edited"), "utf-8")
    naaf(*inspect)
    assert "Edited" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_the_command_and_the_package_have_the_versions_that_citation_and_project_state():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project()["version"]
    assert citation["license"] == project()["license"] == "Apache-2.0"
    assert project()["scripts"] == {"naaf": "naaflib.cli:main"}


def test_the_papers_are_cited():
    references = yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]
    naaf, scan = references
    assert (naaf["year"], naaf["start"], naaf["end"]) == (2022, 15661, 15670)
    assert [author["family-names"] for author in naaf["authors"]] == ["Zhang", "Mao", "Wang", "Zhang"]
    assert [author["family-names"] for author in scan["authors"]] == ["Lee", "Chen", "Hua", "Hu", "He"]


def test_the_licence_is_whole():
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text
