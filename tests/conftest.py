"""What several tests share, and the check of all annotations, shapes included, while the tests run.

Fixtures import naaflib when they run: the import hook has to be there first.
"""

import os
from pathlib import Path

import numpy as np
import pytest
import seeds
from jaxtyping import install_import_hook

os.environ["MPLBACKEND"] = "Agg"  # no display is needed, and none is opened

SOURCE = Path(__file__).parents[1] / "naaflib"
UNCHECKED = {  # numba and triton take no wrapped function
    "naaflib.similarity.kernels",
    "naaflib.similarity.triton_kernels",
}
MODULES = (path.relative_to(SOURCE.parent).with_suffix("") for path in SOURCE.rglob("[!_]*.py"))
install_import_hook(sorted({".".join(module.parts) for module in MODULES} - UNCHECKED), "typechecker.check")

NOUNS = ("cat", "dog", "boat", "tree", "house", "lamp", "ball", "bird", "fish", "road", "hill")
FORMS = (
    "A {0} near a {1} .",
    "{1} and {0}",
    "The {0} stands by the {1}, alone.",
    "One {1}. A {0}!",
    "a {0} with an old {1} in the sun",
)


def pytest_addoption(parser):
    parser.addoption("--seed-offset", type=int, default=0, help="added to every seed of the tests (seeds.py)")


def pytest_configure(config):
    seeds.OFFSET = config.getoption("--seed-offset")


def pytest_collection_modifyitems(items):
    for item in items:
        if "trained" in getattr(item, "fixturenames", ()):
            item.add_marker("trains")


def pytest_report_header() -> str:
    return f"seed offset: {seeds.OFFSET}"


@pytest.fixture(autouse=True, scope="session")
def _no_flush():
    """A flush waits some milliseconds for the disk; the tests that need it switch it on."""
    from naaflib import files

    files.FLUSH = False


@pytest.fixture(autouse=True)
def _no_width(monkeypatch):
    """Tables and sentences are as wide as COLUMNS says, which a library may have set."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(scope="session")
def scenes(tmp_path_factory) -> Path:
    """A tiny built-in data set: 24 train, 10 dev and 10 test images."""
    from naaflib.data.scenes import dataset as built_in

    folder = tmp_path_factory.mktemp("data") / "scenes"
    built_in.build(folder, seed=seeds.shifted(), train=24, dev=10, test=10)
    return folder


@pytest.fixture(scope="session")
def reference() -> Path:
    """Numbers that the authors' code computed; NAAF_REFERENCE names another set of the same format."""
    folder = Path(os.environ.get("NAAF_REFERENCE") or Path(__file__).parent / "reference")
    assert folder.is_dir(), f"{folder} is missing: it holds scores.npz, metrics_40.npz, training.npz, ..."
    return folder


@pytest.fixture(scope="session")
def trained(scenes, tmp_path_factory):
    """A run of two short epochs on `scenes`. Shared: write into a copy of its folder only."""
    from naaflib.config import preset
    from naaflib.training.folder import train_run

    tiny = {
        "model.dim": 13,
        "model.word_dim": 7,
        "train.batch_size": 17,
        "train.epochs": 2,
        "mining.min_words": 20,
        "train.seed": seeds.shifted(),
    }
    out = tmp_path_factory.mktemp("runs") / "trained"
    return train_run(scenes, out, preset("scenes", tiny), device="cpu")


@pytest.fixture(scope="session")
def write_split():
    """Writes one split in the SCAN layout, each image's regions like the two nouns of its captions."""
    return _write_split


@pytest.fixture(scope="module")
def data(write_split, tmp_path_factory):
    """A small data set for the tests of a file. Read it only."""
    folder = tmp_path_factory.mktemp("small")
    for split, images in (("train", 11), ("dev", 7), ("test", 5)):
        write_split(folder, split, images)
    return folder


def _write_split(
    folder: Path,
    split: str,
    images: int,
    *,
    per_image=5,
    regions=3,
    dim=11,
    seed=0,
    rows="images",
    dtype="float32",
) -> Path:
    looks = seeds.rng(2).normal(size=(len(NOUNS), dim))  # the same in every split
    rng = seeds.rng(seed, *split.encode())
    shown = np.stack([rng.choice(len(NOUNS), size=2, replace=False) for _ in range(images)])
    features = 0.3 * rng.normal(size=(images, regions, dim))
    features[:, :2] += looks[shown]
    captions = [
        FORMS[k % 5].format(*(NOUNS[noun] for noun in pair)) for pair in shown for k in range(per_image)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    np.save(
        folder / f"{split}_ims.npy",
        features.repeat(per_image if rows == "captions" else 1, axis=0).astype(dtype),
    )
    (folder / f"{split}_caps.txt").write_text(
        "".join(f"{caption}\n" for caption in captions), encoding="utf-8"
    )
    return folder


@pytest.fixture(params=["float64-eager", "float32-eager", "float32-fused"])
def form(request, monkeypatch):
    """A number type, with or without the fused kernels."""
    import torch

    from naaflib.similarity import autograd

    dtype, kind = request.param.split("-")
    if kind == "eager":
        monkeypatch.setattr(autograd, "kernels", lambda: None)
    elif autograd.kernels() is None:
        pytest.skip("numba is not installed: there are no fused kernels to test")
    return getattr(torch, dtype)
