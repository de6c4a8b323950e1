"""Manifests: what a data set consists of, found by name or by folder."""

import hashlib
import os
from pathlib import Path

import pytest

from naaflib.data.manifest import DataFile, Manifest, explain, find_manifest, load, names, read_manifest
from naaflib.data.scenes.dataset import SIZES
from naaflib.data.scenes.features import DIM
from naaflib.errors import NaafError, UsageError

REAL = Path(os.environ.get("NAAF_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "benchmarks"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own, with one manifest."""
    monkeypatch.setenv("NAAF_ROOT", str(tmp_path))
    folder = tmp_path / "data_manifests"
    folder.mkdir()
    (folder / "toys.yaml").write_text("name: toys\ncaptions_per_image: 3\n")
    return tmp_path


def test_every_shipped_manifest_is_called_as_its_file_and_says_where_the_data_come_from():
    assert set(names()) >= {"scenes", "flickr8k_precomp", "f30k_precomp", "coco_precomp"}
    for name in ("scenes", "flickr8k_precomp", "f30k_precomp", "coco_precomp"):
        manifest = load(name)
        assert manifest.name == name
        assert manifest.licence
        assert manifest.source
        assert any("naaf data verify" in step for step in manifest.steps)
        assert {file.role for file in manifest.concrete_files()} >= {"features", "captions", "boxes", "sizes"}


BENCHMARKS = {"sugar_crepe": 7, "valse": 3, "cxc": 1, "coco_ids": 4, "f30k_ids": 4}  # files


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_lists_each_file_with_its_checksum_address_and_licence(name):
    manifest = load(name)
    assert (manifest.name, manifest.kind) == (name, "benchmark")
    assert manifest.licence
    assert manifest.source
    assert any(f"naaf data fetch {name}" in step for step in manifest.steps)
    files = manifest.concrete_files()
    assert len(files) == len({file.sha256 for file in files}) == BENCHMARKS[name]
    assert all(file.required and file.sha256 for file in files)
    without = [file.path for file in files if not file.url]
    assert without == (["id_mapping.json"] if name == "f30k_ids" else [])
    assert all(file.url.endswith("/" + file.path) for file in files if file.url)


@pytest.mark.skipif(not REAL.is_dir(), reason="no copies of the published files here")
@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_checksums_of_benchmarks_are_those_of_the_published_files(name):
    for file in load(name).concrete_files():
        content = (REAL / name.removesuffix("_ids") / file.path).read_bytes()
        assert hashlib.sha256(content).hexdigest() == file.sha256


def test_real_data_sets_have_five_captions_an_image_and_no_invented_checksum_or_address():
    for name in ("flickr8k_precomp", "f30k_precomp", "coco_precomp"):
        manifest = load(name)
        assert manifest.captions_per_image == 5
        for counts in manifest.splits.values():
            assert counts.images is None or counts.captions == 5 * counts.images
        assert not any(file.sha256 or file.url for file in manifest.concrete_files())


def test_the_scenes_are_listed_as_they_are_built():
    scenes = load("scenes")
    assert {split: counts.usual for split, counts in scenes.splits.items()} == SIZES
    assert (scenes.dim, str(scenes.splits["train"])) == (DIM, "1500 by default")


def test_upstream_sizes():
    flickr, coco = load("f30k_precomp").splits, load("coco_precomp").splits
    assert {split: counts.images for split, counts in flickr.items()} == {
        "train": 29000,
        "dev": 1014,
        "test": 1000,
    }
    assert (coco["train"].images, coco["dev"].images, coco["testall"].images) == (113287, 5000, 5000)


def test_a_pattern_becomes_a_file_of_each_split_with_its_numbers():
    manifest = Manifest(
        name="toys",
        regions=7,
        dim=11,
        captions_per_image=3,
        splits={"train": {"images": 5}, "test": {"required": False}},
    )
    files = {file.path: file for file in manifest.concrete_files()}
    assert files["train_ims.npy"].shape == (5, 7, 11)
    assert files["train_caps.txt"].shape == (15,)
    assert files["test_ims.npy"].shape == ("images", 7, 11)
    assert files["train_ims.npy"].required
    assert not files["test_ims.npy"].required
    assert not files["train_ims_bbx.npy"].required
    assert "dev_ims.npy" not in files


def test_an_entry_for_one_file_adds_to_its_pattern():
    url = "https://example.org/train_ims.npy"
    own = DataFile(path="train_ims.npy", url=url, sha256="0" * 64)
    manifest = Manifest(name="toys", splits={"train": {}}, files=(*Manifest(name="x").files, own))
    (file,) = [file for file in manifest.concrete_files() if file.path == "train_ims.npy"]
    assert (file.url, file.sha256) == (url, "0" * 64)
    assert (file.role, file.required, file.split) == ("features", True, "train")


def test_the_manifest_that_scenes_writes_is_accepted(tmp_path):
    (tmp_path / "manifest.yaml").write_text(
        "name: scenes\ntitle: Scenes\ncaptions_per_image: 5\nregions: 36\ndim: 64\nseed: 0\n"
        "splits: {train: {images: 13}, dev: {images: 3}, test: {images: 3}}\nlicence: Apache-2.0\n"
    )
    manifest = find_manifest(tmp_path)
    assert (manifest.name, manifest.seed, manifest.splits["train"].images) == ("scenes", 0, 13)


def test_a_folders_own_manifest_comes_before_the_one_of_its_name(project):
    folder = project / "data" / "toys"
    folder.mkdir(parents=True)
    assert find_manifest(folder).captions_per_image == 3
    (folder / "manifest.yaml").write_text("name: mine\ncaptions_per_image: 2\n")
    assert find_manifest(folder).captions_per_image == 2


def test_a_link_is_known_by_the_name_of_what_it_points_to(project):
    (project / "toys").mkdir()
    (project / "link").symlink_to(project / "toys")
    assert find_manifest(project / "link").name == "toys"


def test_a_folder_that_nobody_describes_has_no_manifest(project):
    assert find_manifest(project) is None


def test_what_a_set_holds_is_one_line_of_its_files_or_of_its_splits():
    assert load("valse").contents() == "benchmark: foil-it.json, plurals.json, relations.json"
    assert load("f30k_precomp").contents().startswith("images: train 29000, dev 1014")


def test_an_unknown_name_is_wrong_use_and_names_the_nearest():
    for wrong in ("f30k", "f30k_precom", "flickr8k"):
        with pytest.raises(UsageError, match=r"did you mean 'f(30k|lickr8k)_precomp'"):
            load(wrong)
    with pytest.raises(UsageError, match=r"known: .*scenes"):
        load("zzz")
    with pytest.raises(UsageError):
        load("../data_manifests/scenes")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name: [unclosed", "not valid YAML at line"),
        ("a: b: c", "not valid YAML at line 1"),
        ("- just\n- a list\n", "key: value"),
        ("", "key: value"),
        ("title: nameless\n", "name: Field required"),
        ("name: x\ncaption_per_image: 5\n", "caption_per_image: Extra inputs"),
        ("name: x\ncaptions_per_image: -1\n", "captions_per_image: .*greater than or equal to 0"),
        ("name: x\nfiles: [{path: ../../escape.npy}]\n", "below the data set's folder"),
        ("name: x\nfiles: [{path: a, sha256: abc}]\n", "sha256"),
        ("name: x\nfiles: [{path: a, url: 'file:///etc/hosts'}]\n", "url"),
        ("name: x\nseed: 2020-13-45\n", "manifest.yaml: "),
        ("name: x\nseed: 1\nseed: 2\n", r"at line 3 \(the key 'seed' stands there twice\)"),
        (b"name: \xff\xfe\n", "not UTF-8"),
        ("name: x\nkind: benchmark\n", "manifest.yaml: files: .*lists each of its files"),
        ("name: x\nkind: benchmark\nfiles: [{path: a}]\nsplits: {dev: {}}\n", "a benchmark has no splits"),
        ("name: x\nkind: bench\n", "kind: "),
    ],
)
def test_a_malformed_manifest_is_one_sentence_with_file_and_place(tmp_path, content, says):
    path = tmp_path / "manifest.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(NaafError, match=says) as error:
        read_manifest(path)
    assert "manifest.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_explain_gives_sizes_licence_and_commands_with_the_folder_filled_in(tmp_path):
    folder = tmp_path / "my data" / "f30k_precomp"
    text = explain(load("f30k_precomp"), folder)
    assert "29000 x 36 x 2048 float32, 8.6 GB" in text
    assert "train_caps.txt         required  145000 lines" in text
    assert f"-d '{folder}'" in text
    assert "kaggle datasets download -d kuanghueilee/scan-features" in text
    assert "Licence: " in text
    assert "{folder}" not in text
    assert "{parent}" not in text
