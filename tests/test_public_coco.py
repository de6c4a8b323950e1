"""COCO's ids and right answers from the package eccv-caption, and SITS as it is published."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from naaflib.data.public import coco
from naaflib.data.public.coco import coco_ids, positives
from naaflib.data.public.sits import METHODS, read_sits
from naaflib.errors import NaafError, UsageError

REAL = Path(os.environ.get("NAAF_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "benchmarks"
HEADER = "caption,image,agg_score,sampling_method"


def pair(caption, image, score="3.5", method="c2i_original"):
    return f"COCO_val2014:sentid:{caption},COCO_val2014_{image:012d}.jpg,{score},{method}"


@pytest.fixture(scope="module")
def ids():
    return coco_ids()


@pytest.fixture
def sits(tmp_path, ids):
    """Three pairs: two captions with their images, one with another image."""
    path = tmp_path / "sits_test.csv"
    lines = [
        pair(ids.captions[7], ids.images[1]),
        pair(ids.captions[24999], ids.images[4999], "0"),
        pair(ids.captions[0], ids.images[3], "4.97", "c2i_intrasim"),
    ]
    path.write_text("\n".join([HEADER, *lines]) + "\n")
    return path


def test_there_are_5000_images_with_five_consecutive_captions_each(ids):
    assert (ids.images.shape, ids.captions.shape) == ((5000,), (25000,))
    assert len(set(ids.images.tolist())) == 5000
    assert len(set(ids.captions.tolist())) == 25000


def test_ids_and_places_are_each_others_inverse_and_an_unknown_id_has_none(ids):
    assert ids.rows(ids.images).tolist() == list(range(5000))
    assert ids.columns(ids.captions[::-1]).tolist() == list(range(25000))[::-1]
    assert ids.rows([0, ids.images[3], 10**9]).tolist() == [-1, 3, -1]
    assert ids.columns(-5) == -1


def test_the_package_is_read_and_not_imported(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("eccv_caption")]:
        monkeypatch.delitem(sys.modules, name)
    positives("eccv")
    assert "eccv_caption" not in sys.modules


@pytest.mark.parametrize(
    ("truth", "way", "queries", "pairs"),
    [
        ("cxc", "i2t", 5000, 35585),
        ("cxc", "t2i", 24972, 35585),
        ("eccv", "i2t", 1261, 22550),
        ("eccv", "t2i", 1332, 11279),
    ],
)
def test_right_answers_are_counted_as_published(truth, way, queries, pairs):
    found = getattr(positives(truth), way)
    assert (len(found.query), found.relevant.sum()) == (queries, pairs)
    assert (np.diff(found.query) > 0).all()


def test_right_answers_are_those_of_the_packages_files(ids):
    for truth in ("eccv", "cxc"):
        both = positives(truth)
        for way, file, asked, known in (
            (both.i2t, "image_to_caption", ids.images, ids.captions),
            (both.t2i, "caption_to_image", ids.captions, ids.images),
        ):
            published = json.loads((coco._folder() / f"{truth}_{file}.json").read_text())
            inside = set(known.tolist())
            for i in (0, len(way.query) // 2, len(way.query) - 1):
                right = {int(answer) for answer in published[str(asked[way.query[i]])]}
                ours = known[way.answer[way.first[i] : way.first[i + 1]]].tolist()
                assert set(ours) == right & inside
                assert way.relevant[i] == len(right)


def test_two_image_queries_of_eccv_caption_have_an_absent_caption_each(ids):
    both = positives("eccv")
    asked = both.i2t.query[both.i2t.absent > 0]
    assert set(ids.images[asked].tolist()) == {575916, 421999}
    assert both.i2t.absent.sum() == 2
    assert not both.t2i.absent.any()
    assert not any(way.absent.any() for way in (positives("cxc").i2t, positives("cxc").t2i))


def test_almost_every_own_pair_is_right_under_cxc():
    rows, columns = positives("cxc").pairs
    own = set(columns[columns // 5 == rows].tolist())
    assert len(own) > 24_900


def test_an_unknown_truth_is_wrong_use():
    with pytest.raises(UsageError, match="eccv, cxc"):
        positives("coco")


def test_a_package_that_is_not_installed_is_one_sentence(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NaafError, match=r"pip install naaflib\[benchmarks\]$"):
        coco_ids()


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("coco_test_ids.npy", lambda content: content[:-1]),
        ("coco_test_ids.npy", lambda content: content[:-8] + (1).to_bytes(8, "little")),
        (
            "coco_test_ids.npy",
            lambda content: content[:-48] + content[-8:] + content[-40:-8] + content[-48:-40],
        ),
        ("original_caption_to_image.json", lambda content: content[:-9]),
        ("eccv_image_to_caption.json", lambda content: b"[1, 2]"),
        ("eccv_image_to_caption.json", lambda content: b'{"12": [3]}'),
        ("eccv_caption_to_image.json", None),
    ],
)
def test_a_damaged_package_is_one_sentence_with_the_remedy(tmp_path, monkeypatch, name, damage):
    folder = tmp_path / "data"
    shutil.copytree(coco._folder(), folder)
    if damage:
        (folder / name).write_bytes(damage((folder / name).read_bytes()))
    else:
        (folder / name).unlink()
    monkeypatch.setattr(coco, "_folder", lambda: folder)
    with pytest.raises(NaafError) as error:
        positives("eccv")
    assert name in str(error.value)
    assert "again" in str(error.value) or coco.DAMAGED in str(error.value)


def test_grades_stand_at_their_place_in_the_matrix(sits, ids):
    found = read_sits(sits, ids)
    assert found.row.tolist() == [1, 4999, 3]
    assert found.column.tolist() == [7, 24999, 0]
    assert found.grade.tolist() == [3.5, 0, 4.97]
    assert found.method.tolist() == [METHODS[0], METHODS[0], METHODS[1]]


def test_columns_may_stand_in_another_order(sits, ids):
    rows = [line.split(",") for line in sits.read_text().splitlines()]
    sits.write_text("\r\n".join(",".join([*row[::-1], "more"]) for row in rows))
    assert read_sits(sits, ids).column.tolist() == [7, 24999, 0]


def test_a_cut_at_any_byte_of_the_last_line_is_found(sits, ids):
    content = sits.read_bytes()
    last = len(content.splitlines()[-1])
    for end in range(2, last + 1):
        sits.write_bytes(content[:-end])
        with pytest.raises(NaafError, match=r"sits_test\.csv, line 4: .*naaf data fetch cxc"):
            read_sits(sits, ids)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("agg_score", "score", "line 1: no column agg_score"),
        ("3.5", "good", "line 2: 'good' is no agg_score"),
        ("3.5", "nan", "line 2: 'nan' is no agg_score"),
        ("4.97", "49.7", "line 4: '49.7' is no agg_score"),
        ("sentid:", "sentid:x", "line 2: .* is no caption"),
        (".jpg", ".png", "line 2: .* is no image"),
        ("c2i_intrasim", "i2i_csim", "line 4: 'i2i_csim' is no sampling_method"),
        ("_0000", "_9999", "line 2: image 9999.* is not in COCO's test split"),
    ],
)
def test_a_damaged_file_is_one_sentence_with_its_line(sits, old, new, says, ids):
    sits.write_text(sits.read_text().replace(old, new))
    with pytest.raises(NaafError, match=says) as error:
        read_sits(sits, ids)
    assert "sits_test.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_caption_of_another_split_is_one_sentence(sits, ids):
    sits.write_text(sits.read_text() + pair(48, ids.images[0]) + "\n")
    with pytest.raises(NaafError, match="line 5: caption 48 is not in COCO's test split"):
        read_sits(sits, ids)


def test_an_empty_file_and_a_missing_one_are_one_sentence(sits, ids):
    for content, says in (("", "no column caption"), (HEADER + "\n", "no pairs")):
        sits.write_text(content)
        with pytest.raises(NaafError, match=says):
            read_sits(sits, ids)
    sits.unlink()
    with pytest.raises(NaafError, match="naaf data fetch cxc"):
        read_sits(sits, ids)


@pytest.mark.skipif(not REAL.is_dir(), reason="no copies of the published files here")
def test_the_published_files_are_read_whole(ids):
    image_of = np.loadtxt(REAL / "coco" / "testall_ids.txt", dtype=int)
    assert (ids.images.repeat(5) == image_of).all()
    found = read_sits(REAL / "cxc" / "sits_test.csv", ids)
    assert len(found.grade) == 44_833
    assert (found.method == "c2i_original").sum() == 25_000
    assert ((found.method == "c2i_original") == (found.column // 5 == found.row)).all()
    right = positives("cxc").i2t  # CxC's right answers are the pairs with a grade of 3 or more
    graded = zip(found.row[found.grade >= 3].tolist(), found.column[found.grade >= 3].tolist(), strict=True)
    assert set(graded) == set(zip(right.query[right.line].tolist(), right.answer.tolist(), strict=True))
