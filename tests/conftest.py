"""What several tests share, and the check of all annotations, shapes included, while the tests run.

Fixtures import naaflib when they run: the import hook has to be there first.
"""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

os.environ["MPLBACKEND"] = "Agg"  # no display is needed, and none is opened

SOURCE = Path(__file__).parents[1] / "naaflib"
UNCHECKED = {
    "__init__",
    "__main__",
    "__pycache__",
    "fused",
}  # numba compiles fused; it takes no wrapped function
install_import_hook(
    [f"naaflib.{path.stem}" for path in SOURCE.iterdir() if path.stem not in UNCHECKED], "typechecker.check"
)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> Path:
    """A tiny built-in data set: 24 train, 10 dev and 10 test images."""
    from naaflib.data import scenes as built_in

    folder = tmp_path_factory.mktemp("data") / "scenes"
    built_in.build(folder, seed=0, train=24, dev=10, test=10)
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """Numbers that the authors' code computed; NAAF_REFERENCE names another set of the same format."""
    folder = Path(os.environ.get("NAAF_REFERENCE") or Path(__file__).parent / "reference")
    assert folder.is_dir(), f"{folder} is missing: it holds scores.npz, metrics_40.npz, training.npz, ..."
    return folder
