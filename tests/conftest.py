"""What several tests share. Fixtures import naaflib when they run: jaxtyping has to see it first."""

import os
from pathlib import Path

import pytest

os.environ["MPLBACKEND"] = "Agg"  # no display is needed, and none is opened


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
