"""`verify` finds each kind of damage, says what to do, and never raises for damaged data."""

import json
import os
import pickle
import zlib

import numpy as np
import pytest
import seeds

from naaflib.data.boxes import read_boxes, read_sizes
from naaflib.data.npy import open_array, read_objects
from naaflib.data.prepare import split_checks
from naaflib.data.prepare.verify import verify
from naaflib.errors import NaafError

IMAGES, REGIONS, DIM, EACH = 7, 3, 11, 5
WIDTH, HEIGHT = 40, 30


def write_split(folder, split, images=IMAGES, dim=DIM, repeat=1):
    rng = seeds.rng(len(split))
    features = rng.normal(size=(images, REGIONS, dim)).astype("float32")
    np.save(folder / f"{split}_ims.npy", features.repeat(repeat, axis=0))
    captions = [f"caption {c} of {split} image {i}" for i in range(images) for c in range(EACH)]
    (folder / f"{split}_caps.txt").write_text("\n".join(captions))  # no line end at the end: as F30K's own
    boxes = np.tile(np.array([1, 2, WIDTH - 1, HEIGHT], "float32"), (images, REGIONS, 1))
    np.save(folder / f"{split}_ims_bbx.npy", boxes)
    np.save(folder / f"{split}_ims_size.npy", np.tile([WIDTH, HEIGHT], (images, 1)))
    names = [f"{split}_{i}.jpg" for i in range(images)]
    (folder / f"{split}_image_names.txt").write_text("\n".join(names) + "\n")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "toys"
    folder.mkdir()
    write_split(folder, "train")
    write_split(folder, "dev", images=2)
    return folder


def failed(folder, **options):
    """The failed checks as {what: check}, the report's own promises checked on the way."""
    report = verify(folder, **options)
    assert report.ok == (not report.failures)
    for check in report.failures:
        assert check.remedy, check
        assert "\n" not in check.remedy
        assert str(folder.name) in check.remedy
    assert len(report.to_frame()) == len(report.checks)
    json.dumps(report.to_dict())
    assert report.table().count("FAIL") == len(report.failures)
    return {check.what: check for check in report.failures}


def notes(folder):
    return {check.what: check for check in verify(folder).checks if check.ok is None}


def test_a_whole_folder_passes_every_check(folder):
    report = verify(folder)
    assert report.ok
    assert failed(folder) == {}
    checked = {(check.split, check.what) for check in report.checks}
    for what in ("finite values", "captions", "boxes inside", "sizes positive", "image names"):
        assert {("train", what), ("dev", what)} <= checked
    assert "passed" in report.sentence()


def test_verify_changes_nothing(folder):
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    verify(folder)
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}


def test_float16_features_pass(folder):
    np.save(folder / "train_ims.npy", np.load(folder / "train_ims.npy").astype("float16"))
    assert failed(folder) == {}


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(NaafError, match="no such folder"):
        verify(tmp_path / "nowhere")


def test_a_folder_without_any_split_fails(tmp_path):
    assert failed(tmp_path).keys() == {"splits"}


@pytest.mark.parametrize("ending", ["ims.npy", "caps.txt"])
def test_a_missing_file_fails(folder, ending):
    (folder / f"dev_{ending}").unlink()
    (check,) = failed(folder).values()
    assert (check.split, check.found) == ("dev", "missing")
    assert f"dev_{ending}" in check.remedy


def test_a_directory_in_a_files_place_fails(folder):
    for name in ("dev_ims.npy", "dev_caps.txt"):
        (folder / name).unlink()
        (folder / name).mkdir()
    assert failed(folder).keys() == {"features file", "captions file"}


def test_a_cut_short_array_says_how_many_bytes_are_missing(folder):
    path = folder / "train_ims.npy"
    path.write_bytes(path.read_bytes()[:-4])
    check = failed(folder)["features readable"]
    promised, there = 128 + 4 * IMAGES * REGIONS * DIM, 124 + 4 * IMAGES * REGIONS * DIM
    assert f"{promised:,}" in check.remedy
    assert f"{there:,}" in check.remedy


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4',",
        b"\x93NUMPY\x01\x00\x08\x00{'a': 1}",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b"(" * 999,
        b"\x93NUMPY\x03\x00\x01\x00\x00\x00 ",
        b"\x93NUMPY\x07\x00" + b"x" * 99,
        b"<html>this link has expired</html>" * 9,
        b"PK\x03\x04 a zip",
        b"\x93NUMPY\x01\x00" + (200).to_bytes(2, "little")
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 2, 2)}".ljust(199) + b"\n",
        b"\x93NUMPY\x01\x00" + (200).to_bytes(2, "little")
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (2.5,)}".ljust(199) + b"\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("ending", ["ims", "ims_bbx", "ims_size"])
def test_what_is_no_array_fails_without_a_traceback(folder, content, ending):
    (folder / f"dev_{ending}.npy").write_bytes(content)
    (check,) = failed(folder).values()
    assert f"dev_{ending}.npy" in check.remedy


def test_any_single_damaged_byte_of_the_header_leaves_a_report(folder):
    path = folder / "dev_ims.npy"
    whole = path.read_bytes()
    for place in range(0, 128, 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        verify(folder)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda a: a.astype("int32"), "features dtype"),
        (lambda a: a.astype("complex64"), "features readable"),
        (lambda a: a[:, 0], "features shape"),
        (lambda a: a[:0], "features shape"),
        (lambda a: a[:, :, :-1], "dim of all"),
        (lambda a: a[:-1], "captions"),
        (lambda a: a.astype(object), "features readable"),
    ],
)
def test_features_of_another_kind_fail(folder, change, what):
    np.save(folder / "train_ims.npy", change(np.load(folder / "train_ims.npy")))
    assert what in failed(folder)


def test_other_floats_and_orders_are_noted(folder):
    features = np.load(folder / "train_ims.npy")
    np.save(folder / "train_ims.npy", np.asfortranarray(features.astype("float64")))
    assert failed(folder) == {}
    assert notes(folder).keys() == {"features dtype", "order"}
    features[5, 2, 1] = np.nan
    np.save(folder / "train_ims.npy", np.asfortranarray(features))
    assert "row 5, region 2" in failed(folder)["finite values"].remedy


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_value_that_is_not_finite_is_found_and_placed(folder, value, dtype, monkeypatch):
    monkeypatch.setattr(split_checks, "BLOCK_BYTES", 2 * REGIONS * DIM * np.dtype(dtype).itemsize)
    features = np.load(folder / "train_ims.npy").astype(dtype)
    features[5, 2, DIM - 1] = value
    np.save(folder / "train_ims.npy", features)
    check = failed(folder)["finite values"]
    assert "row 5, region 2" in check.remedy
    assert check.found.startswith("1 regions not")


def test_quick_reads_a_sample_and_says_so(folder, monkeypatch):
    monkeypatch.setattr(split_checks, "QUICK_ROWS", 3)
    features = np.load(folder / "train_ims.npy")
    features[1, 0, 0] = np.nan  # rows 0, 3 and 6 are read
    np.save(folder / "train_ims.npy", features)
    found = {check.what: check for check in verify(folder, quick=True).checks if check.split == "train"}
    assert found["finite values"].ok
    assert f"3 of {IMAGES} rows" in found["finite values"].found
    assert not verify(folder).ok
    features[1, 0, 0], features[6, 2, 3] = 0.5, np.nan
    np.save(folder / "train_ims.npy", features)
    assert "row 6, region 2" in failed(folder, quick=True)["finite values"].remedy


def test_zero_regions_are_a_note(folder):
    features = np.load(folder / "train_ims.npy")
    features[4, 1] = 0
    np.save(folder / "train_ims.npy", features)
    assert "row 4, region 1" in notes(folder)["zero regions"].remedy
    assert failed(folder) == {}


def test_an_image_of_zeros_alone_fails(folder):
    features = np.load(folder / "train_ims.npy")
    features[[4, 5]] = 0
    np.save(folder / "train_ims.npy", features)
    check = failed(folder)["empty images"]
    assert check.found == "2"
    assert "row 4 holds zeros only" in check.remedy


def test_rows_may_be_captions_with_every_image_repeated(folder):
    write_split(folder, "train", repeat=EACH)
    report = verify(folder)
    assert report.ok
    (check,) = [c for c in report.checks if c.what == "captions" and c.split == "train"]
    assert (check.ok, check.found) == (True, f"{IMAGES * EACH}, each image {EACH} times")


def test_repeated_rows_that_differ_fail(folder):
    write_split(folder, "train", repeat=EACH)
    features = np.load(folder / "train_ims.npy")
    features[3 * EACH + 4, 0, 0] += 1
    np.save(folder / "train_ims.npy", features)
    assert "those of image 3 differ" in failed(folder)["captions"].remedy


def test_a_caption_too_few_fails_and_names_both_counts(folder):
    path = folder / "train_caps.txt"
    path.write_text(path.read_text().rsplit("\n", 1)[0])
    check = failed(folder)["captions"]
    assert check.found == str(IMAGES * EACH - 1)
    assert check.expected.startswith(str(IMAGES * EACH))


def test_another_number_of_captions_is_right_where_the_manifest_says_so(folder):
    for split, images in (("train", IMAGES), ("dev", 2)):
        (folder / f"{split}_caps.txt").write_text("a caption\n" * images * 2)
    assert "captions" in failed(folder)
    (folder / "manifest.yaml").write_text("name: toys\ncaptions_per_image: 2\n")
    assert failed(folder) == {}


def test_counts_regions_and_dim_must_be_the_manifests(folder):
    manifest = "name: toys\nregions: {}\ndim: {}\nsplits: {{train: {{images: {}}}}}\n"
    (folder / "manifest.yaml").write_text(manifest.format(REGIONS, DIM, IMAGES))
    assert failed(folder) == {}
    (folder / "manifest.yaml").write_text(manifest.format(REGIONS + 1, DIM + 1, IMAGES + 1))
    found = failed(folder)
    assert found.keys() == {"regions", "dim", "images in all"}
    assert found["images in all"].expected == str(IMAGES + 1)


def test_a_split_that_the_manifest_requires_fails_where_it_is_missing_and_an_optional_one_is_noted(folder):
    (folder / "manifest.yaml").write_text("name: toys\nsplits: {train: {}, dev: {}, test: {}}\n")
    assert {check.split for check in verify(folder).failures} == {"test"}
    (folder / "manifest.yaml").write_text(
        "name: toys\nsplits: {train: {}, dev: {}, test: {required: false}}\n"
    )
    assert failed(folder) == {}
    assert "split test" in notes(folder)


def test_a_damaged_manifest_fails_and_the_rest_is_still_checked(folder):
    (folder / "manifest.yaml").write_text("name: [")
    assert failed(folder).keys() == {"manifest"}


def test_captions_that_are_not_utf8_name_their_line(folder):
    lines = (folder / "train_caps.txt").read_bytes().split(b"\n")
    lines[3] = b"un caf\xe9"
    (folder / "train_caps.txt").write_bytes(b"\n".join(lines))
    assert "line 4" in failed(folder)["captions text"].remedy


def test_an_empty_caption_fails_because_it_may_move_all_that_follow(folder):
    lines = (folder / "train_caps.txt").read_text().split("\n")
    lines[2] = "  "
    (folder / "train_caps.txt").write_text("\r\n".join(lines))
    found = failed(folder)
    assert found.keys() == {"empty captions"}
    assert "line 3" in found["empty captions"].remedy
    lines[2] = "."
    (folder / "train_caps.txt").write_text("\r\n".join(lines))
    assert failed(folder) == {}


def test_what_a_split_refuses_fails(folder):
    """Rows that are images, each with one caption; rows that repeat though one caption is stated; names."""
    features = np.load(folder / "train_ims.npy")
    lines = (folder / "train_caps.txt").read_text().split("\n")
    for name in ("ims_bbx.npy", "ims_size.npy", "image_names.txt"):
        (folder / f"train_{name}").unlink()
    np.save(folder / "train_ims.npy", features[:5])
    (folder / "train_caps.txt").write_text("\n".join(lines[:5]))
    remedy = failed(folder)["captions"].remedy
    assert "captions_per_image: 1}" in remedy
    assert "get the file again" not in remedy
    write_split(folder, "train", repeat=EACH)
    for name in ("dev_ims.npy", "dev_caps.txt", "dev_ims_bbx.npy", "dev_ims_size.npy", "dev_image_names.txt"):
        (folder / name).unlink()
    (folder / "manifest.yaml").write_text("name: toys\ncaptions_per_image: 1\n")
    for name in ("ims_bbx.npy", "ims_size.npy", "image_names.txt"):
        (folder / f"train_{name}").unlink()
    assert f"captions_per_image: {EACH}" in failed(folder)["captions"].remedy


def test_pictures_in_subfolders_are_counted(folder):
    (folder / "images/a").mkdir(parents=True)
    (folder / "images/a/0.jpg").write_bytes(b"")
    (folder / "dev_image_names.txt").write_text("a/0.jpg\nb/0.jpg\n")
    (check,) = [c for c in verify(folder).checks if c.what == "pictures" and c.split == "dev"]
    assert (check.expected, check.found) == ("2", "1")


@pytest.mark.parametrize(
    ("box", "what"),
    [
        ([9, 2, 9, 20], "box corners"),
        ([9, 20, 12, 2], "box corners"),
        ([np.nan, 2, 9, 20], "box corners"),
        ([1, 2, WIDTH + 3, 20], "boxes inside"),
        ([1, -3, 9, 20], "boxes inside"),
    ],
)
def test_an_impossible_box_is_found_and_placed(folder, box, what):
    boxes = np.load(folder / "train_ims_bbx.npy")
    boxes[4, 1] = box
    np.save(folder / "train_ims_bbx.npy", boxes)
    found = failed(folder)
    assert found.keys() == {what}
    assert "row 4, region 1" in found[what].remedy


def test_a_box_of_zeros_is_padding(folder):
    boxes = np.load(folder / "train_ims_bbx.npy")
    boxes[4, 1] = 0
    np.save(folder / "train_ims_bbx.npy", boxes)
    assert failed(folder) == {}
    assert "row 4, region 1" in notes(folder)["padding boxes"].remedy


def test_height_before_width_is_recognised(folder):
    np.save(folder / "train_ims_size.npy", np.tile([HEIGHT, WIDTH], (IMAGES, 1)))
    assert "store width first" in failed(folder)["boxes inside"].remedy


@pytest.mark.parametrize(
    ("ending", "array", "what"),
    [
        ("ims_bbx", np.ones((IMAGES, REGIONS, 5), "float32"), "boxes readable"),
        ("ims_bbx", np.tile(np.float32([0, 0, 9, 9]), (IMAGES, REGIONS + 1, 1)), "boxes an image"),
        ("ims_bbx", np.tile(np.float32([0, 0, 9, 9]), (IMAGES - 1, REGIONS, 1)), "boxes"),
        ("ims_size", np.full((IMAGES, 3), 99), "sizes readable"),
        ("ims_size", np.full((IMAGES + 1, 2), 99), "sizes"),
        ("ims_size", np.full((IMAGES, 2), np.nan), "sizes readable"),
        ("ims_size", np.where(np.arange(IMAGES)[:, None] == 2, 0, [WIDTH, HEIGHT]), "sizes positive"),
    ],
)
def test_boxes_and_sizes_of_another_shape_fail(folder, ending, array, what):
    np.save(folder / f"train_{ending}.npy", array)
    assert what in failed(folder)


def test_boxes_and_sizes_may_have_a_row_a_caption(folder):
    write_split(folder, "train", repeat=EACH)
    for ending in ("ims_bbx", "ims_size"):
        path = folder / f"train_{ending}.npy"
        np.save(path, np.load(path).repeat(EACH, axis=0))
        assert failed(folder) == {}


def test_a_name_too_few_fails_and_pictures_are_counted(folder):
    (folder / "images").mkdir()
    for i in range(3):
        (folder / "images" / f"train_{i}.jpg").write_bytes(b"")
    (check,) = [c for c in verify(folder).checks if c.what == "pictures" and c.split == "train"]
    assert (check.ok, check.expected, check.found) == (None, str(IMAGES), "3")
    path = folder / "train_image_names.txt"
    path.write_text(path.read_text().split("\n", 1)[1])
    assert failed(folder).keys() == {"image names"}


def test_an_image_in_two_splits_is_noted_except_test_in_testall(folder):
    (folder / "dev_image_names.txt").write_text("train_3.jpg\nother.jpg\n")
    assert "train_3.jpg" in notes(folder)["shared images"].remedy
    for old in list(folder.iterdir()):
        old.rename(folder / old.name.replace("dev", "test").replace("train", "testall"))
    (folder / "test_image_names.txt").write_text("train_3.jpg\nother.jpg\n")
    assert verify(folder).ok
    assert "shared images" not in notes(folder)


def test_checksums_are_compared_where_the_manifest_has_them(folder):
    import pooch

    path = folder / "train_caps.txt"
    files = "files: [{{path: train_caps.txt, role: captions, split: train, sha256: '{}'}}]\n"
    (folder / "manifest.yaml").write_text("name: toys\n" + files.format(pooch.file_hash(str(path))))
    assert failed(folder) == {}
    assert "sha256 of train_caps.txt" in {check.what for check in verify(folder).checks}
    path.write_text(path.read_text().replace("caption 0", "caption O"))
    assert failed(folder).keys() == {"sha256 of train_caps.txt"}
    assert failed(folder, quick=True) == {}


@pytest.fixture
def benchmark(tmp_path):
    """Files as a benchmark lists them: one optional, neither features nor captions."""
    folder = tmp_path / "foils"
    folder.mkdir()
    (folder / "a.json").write_text('{"0": {"caption": "a cat"}}')
    (folder / "grades.csv").write_text("caption,grade\n1,4.5\n")
    (folder / "manifest.yaml").write_text(
        "name: foils\nkind: benchmark\nfiles:\n- {path: a.json, required: true}\n"
        "- {path: grades.csv, required: true}\n- {path: more.txt}\n"
    )
    return folder


def test_a_whole_benchmark_passes_and_what_is_optional_is_noted(benchmark):
    assert failed(benchmark) == {}
    assert notes(benchmark).keys() == {"more.txt"}


@pytest.mark.parametrize("content", [b'{"0": {"caption": "a c', b"", b"\xff\xfe"])
def test_a_benchmarks_json_must_be_whole_even_where_it_is_looked_at_quickly(benchmark, content):
    (benchmark / "a.json").write_bytes(content)
    assert failed(benchmark, quick=True).keys() == {"a.json"}


def test_a_missing_or_unreadable_file_of_a_benchmark_fails_and_says_how_to_get_it(benchmark):
    (benchmark / "a.json").unlink()
    (benchmark / "grades.csv").write_bytes(b"caf\xe9")
    found = failed(benchmark)
    assert found.keys() == {"a.json", "grades.csv"}
    assert "naaf data fetch foils" in found["a.json"].remedy


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"word2idx": {"a": 0, "b": 0}}', b"\xff\xfe"])
def test_a_damaged_vocabulary_fails(folder, content):
    (folder / "toys_vocab.json").write_bytes(content)
    assert failed(folder).keys() == {"vocabulary toys_vocab.json"}


def test_a_vocabulary_counts_its_words(folder):
    words = {word: i for i, word in enumerate(("<pad>", "<unk>", "<start>", "<end>", "dog"))}
    (folder / "toys.json").write_text(json.dumps({"word2idx": words}))
    assert failed(folder) == {}
    (check,) = [c for c in verify(folder).checks if c.what.startswith("vocabulary")]
    assert check.found == "5 words"


# --- the GSMN distribution's sizes: an object array of dicts ---


def gsmn_sizes(pairs=((640, 480), (500, 375))):
    return np.array([{"image_w": w, "image_h": h} for w, h in pairs], dtype=object)


def save_objects(path, array, protocol):
    """As np.save does, with any protocol of pickle: Python 2 wrote protocol 2."""
    with path.open("wb") as stream:
        header = {"descr": "|O", "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(stream, header)
        pickle.dump(array, stream, protocol=protocol)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_sizes_of_the_gsmn_distribution_are_read(tmp_path, protocol):
    path = tmp_path / "dev_ims_size.npy"
    save_objects(path, gsmn_sizes(), protocol)
    sizes = read_sizes(path)
    assert sizes.dtype.kind == "i"
    assert sizes.tolist() == [[640, 480], [500, 375]]


def test_numpy_numbers_and_byte_keys_in_sizes_are_read(tmp_path):
    path = tmp_path / "dev_ims_size.npy"
    entries = [
        {"image_w": np.int64(640), "image_h": np.float32(480)},
        {b"image_w": 5, b"image_h": 3},
        [7, 2],
        np.array([9, 8]),
    ]
    array = np.empty(len(entries), object)
    array[:] = entries
    save_objects(path, array, 2)
    assert read_sizes(path).tolist() == [[640, 480], [5, 3], [7, 2], [9, 8]]


def test_gsmn_sizes_pass_verification(folder):
    np.save(folder / "train_ims_size.npy", gsmn_sizes([(WIDTH, HEIGHT)] * IMAGES), allow_pickle=True)
    assert failed(folder) == {}


@pytest.mark.parametrize(
    "entry", [{"w": 1, "h": 2}, {"image_w": "wide", "image_h": 2}, 5, None, "ab", [1, 2, 3]]
)
def test_sizes_of_an_unknown_form_name_their_row(tmp_path, entry):
    path = tmp_path / "dev_ims_size.npy"
    array = gsmn_sizes()
    array[1] = entry
    save_objects(path, array, 4)
    with pytest.raises(NaafError, match="row 1"):
        read_sizes(path)


class Trap:
    """A pickle that calls a function when it is opened."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_would_run_code_is_refused_unrun(folder, protocol):
    mark = folder / "was-run"
    for call in (Trap(os.mkdir, str(mark)), Trap(eval, "1 + 1"), Trap(zlib.crc32, b""), Trap(np.load, "x")):
        array = gsmn_sizes([(WIDTH, HEIGHT)] * IMAGES)
        array[0] = call
        save_objects(folder / "train_ims_size.npy", array, protocol)
        assert "not plain data" in failed(folder)["sizes readable"].remedy
        assert not mark.exists()


def test_a_pickle_cannot_change_numpys_own_types(tmp_path):
    path = tmp_path / "dev_ims_size.npy"
    array = np.empty(1, object)
    array[0] = Trap(np.dtype, "f8", False, False)
    save_objects(path, array, 4)
    (dtype,) = read_objects(path)
    assert dtype == np.dtype("f8")
    assert dtype is not np.dtype("f8")


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_cut_short_pickle_is_one_sentence(tmp_path, cut):
    path = tmp_path / "dev_ims_size.npy"
    save_objects(path, gsmn_sizes(), 4)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(NaafError, match=r"dev_ims_size\.npy"):
        read_sizes(path)


def test_boxes_and_arrays_are_memory_maps_that_cannot_be_written(folder):
    boxes = read_boxes(folder / "train_ims_bbx.npy")
    assert isinstance(boxes, np.memmap)
    assert not open_array(folder / "train_ims.npy").flags.writeable
