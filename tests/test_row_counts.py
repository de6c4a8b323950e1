"""Rows are images or captions: what is stated, counted and read decides it, or a sentence says what to do."""

import re
import shutil

import numpy as np
import pytest
import seeds
import yaml

from naaflib import open_split, retrieval_metrics
from naaflib.config import preset
from naaflib.data.prepare.verify import verify
from naaflib.errors import NaafError
from naaflib.evaluation import evaluate
from naaflib.training.folder import train_run


def state(folder, captions):
    (folder / "manifest.yaml").write_text(f"name: mine\ncaptions_per_image: {captions}\n")


def write_rows(folder, rows, split="test"):
    """Features whose rows are as given, and as many captions, each with its row's number."""
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{split}_ims.npy", rows)
    (folder / f"{split}_caps.txt").write_text("".join(f"caption {row}\n" for row in range(len(rows))))
    return folder


def images(count, regions=3, dim=7):
    return seeds.rng(count).normal(size=(count, regions, dim)).astype("f4")


def refusal(folder, split="test"):
    with pytest.raises(NaafError) as caught:
        open_split(folder, split)
    assert "\n" not in str(caught.value)
    assert f"{split}_caps.txt" in str(caught.value)
    return str(caught.value)


def do_as_told(folder, sentence):
    """Write what the sentence says into the manifest."""
    whole = re.search(r"write (\{.*\}) into .*manifest\.yaml", sentence)
    if whole:
        assert not (folder / "manifest.yaml").exists()
        (folder / "manifest.yaml").write_text(whole[1])
    else:
        (number,) = re.findall(r"write captions_per_image: (\d+) in .*manifest\.yaml", sentence)
        content = yaml.safe_load((folder / "manifest.yaml").read_text())
        (folder / "manifest.yaml").write_text(yaml.safe_dump({**content, "captions_per_image": int(number)}))


@pytest.mark.parametrize("name", ["shop", "a: {b}, c", "f30k_precomp", "7"])
@pytest.mark.parametrize("count", [1, 2, 7, 20, 100])
def test_one_caption_an_image_is_never_five(tmp_path, count, name):
    folder = write_rows(tmp_path / name, images(count))
    sentence = refusal(folder)
    assert f"{count} captions and test_ims.npy {count} rows" in sentence
    do_as_told(folder, sentence)
    split = open_split(folder, "test")
    assert (len(split), split.captions_per_image) == (count, 1)
    assert split.image_of_caption.tolist() == list(range(count))
    np.testing.assert_array_equal(split.regions[count - 1], images(count)[-1])


@pytest.mark.parametrize("each", [2, 3, 4, 5, 10])
@pytest.mark.parametrize("stated", [None, 1, 2, 5])
def test_equal_rows_in_succession_are_the_captions_of_an_image(tmp_path, each, stated):
    rows = images(60 // each).repeat(each, axis=0)
    folder = write_rows(tmp_path / "a", rows)
    if stated:
        state(folder, stated)
    if each != (stated or 5):
        sentence = refusal(folder)
        assert f"{each} equal rows in succession" in sentence
        do_as_told(folder, sentence)
    split = open_split(folder, "test")
    assert len(split) * split.captions_per_image == len(rows)
    for row in range(len(rows)):
        np.testing.assert_array_equal(split.regions[int(split.image_of_caption[row])], rows[row])


@pytest.mark.parametrize("stated", [None, 1, 5])
@pytest.mark.parametrize("times", [2, 5])
def test_images_that_come_round_and_round_are_refused_with_the_order_that_helps(tmp_path, stated, times):
    distinct = images(20 // times)
    folder = write_rows(tmp_path / "a", np.tile(distinct, (times, 1, 1)))
    if stated:
        state(folder, stated)
    sentence = refusal(folder)
    order = np.arange(20).reshape(-1, 20 // times).T.ravel()
    assert f"come again after {20 // times} rows" in sentence
    assert f"np.arange(20).reshape(-1, {20 // times}).T.ravel()" in sentence
    write_rows(folder, np.tile(distinct, (times, 1, 1))[order])
    state(folder, times)
    np.testing.assert_array_equal(
        [open_split(folder, "test").regions[i] for i in range(20 // times)], distinct
    )


def test_pictures_that_share_regions_are_not_one_picture(tmp_path):
    """Products on white: most regions look alike. One region that differs is another picture."""
    rows = np.repeat(images(1), 20, axis=0)
    rows[:, -1, -1] = np.arange(20)
    assert "not every image has 5 equal rows" in refusal(write_rows(tmp_path / "a", rows))


def test_rows_that_repeat_with_a_nan_still_repeat(tmp_path):
    rows = images(4)
    rows[2, 1, 1] = np.nan
    assert len(open_split(write_rows(tmp_path / "a", rows.repeat(5, axis=0)), "test")) == 4


def test_an_image_with_a_row_too_few_and_its_neighbour_with_one_too_many_is_refused(tmp_path):
    rows = images(6).repeat(5, axis=0)
    rows[14] = rows[15]
    assert "not every image has 5 equal rows" in refusal(write_rows(tmp_path / "a", rows))


@pytest.mark.parametrize("rows", ["images", "captions"])
@pytest.mark.parametrize(("split", "count"), [("train", 29), ("dev", 1014), ("test", 1000)])
def test_the_distributions_of_the_field_open_as_before(tmp_path, write_split, rows, split, count):
    """A row an image or a row a caption; upstream validates on the first 5000 captions of dev."""
    folder = write_split(tmp_path / "f30k_precomp", split, count, regions=2, dim=3, rows=rows)
    opened = open_split(folder, split)
    assert (len(opened), len(opened.captions)) == (count, 5 * count)
    assert len(opened.first(1000).captions) == min(5000, 5 * count)


def test_names_and_boxes_in_another_order_than_the_rows_are_refused(tmp_path):
    folder = write_rows(tmp_path / "a", images(4).repeat(5, axis=0))
    names = [f"{k}.jpg" for k in range(4)]
    (folder / "test_image_names.txt").write_text("\n".join(names * 5))
    with pytest.raises(NaafError, match=r"test_image_names\.txt: the 5 rows of image 0 differ"):
        open_split(folder, "test")
    (folder / "test_image_names.txt").write_text("\n".join(np.repeat(names, 5)))
    boxes = np.arange(4 * 3 * 4, dtype="f4").reshape(4, 3, 4)
    np.save(folder / "test_ims_bbx.npy", np.tile(boxes, (5, 1, 1)))
    with pytest.raises(NaafError, match=r"test_ims_bbx\.npy: the 5 rows of image 0 differ"):
        open_split(folder, "test")
    np.save(folder / "test_ims_bbx.npy", boxes.repeat(5, axis=0))
    assert open_split(folder, "test").image_names == names


def test_names_that_repeat_contradict_one_caption_an_image_wherever_they_stand(tmp_path):
    folder = write_rows(tmp_path / "a", images(6))
    state(folder, 1)
    for names in ("abcabc", "aabbcc", "abccba"):
        (folder / "test_image_names.txt").write_text("\n".join(names))
        with pytest.raises(NaafError, match=r"test_image_names\.txt names every image 2 times"):
            open_split(folder, "test")
    (folder / "test_image_names.txt").write_text("\n".join("abcdea"))  # one picture twice is no layout
    assert len(open_split(folder, "test")) == 6


def test_an_empty_line_among_captions_or_names_is_refused_where_it_stands(tmp_path, write_split):
    folder = write_split(tmp_path / "a", "test", 3)
    lines = (folder / "test_caps.txt").read_text().splitlines()
    (folder / "test_caps.txt").write_text("\n".join([*lines[:7], " ", *lines[7:-1]]))
    assert "line 8: the line is empty" in refusal(folder)
    (folder / "test_caps.txt").write_text("\n".join([*lines, "", ""]))
    assert "line 16: the line is empty" in refusal(folder)
    (folder / "test_caps.txt").write_text("\n".join([*lines[:7], ".", *lines[8:]]))
    assert open_split(folder, "test").captions[7] == "."
    (folder / "test_image_names.txt").write_text("a.jpg\n\nb.jpg\n")
    with pytest.raises(NaafError, match=r"test_image_names\.txt, line 2: the line is empty"):
        open_split(folder, "test")


# ---- where the number of captions an image is used


@pytest.fixture
def one_caption(tmp_path, scenes):
    """The scenes with the first caption of each image only."""
    folder = tmp_path / "one"
    folder.mkdir()
    for split in ("train", "dev", "test"):
        images = np.load(scenes / f"{split}_ims.npy")
        images = images[: len(images) // 5 * 5]
        np.save(folder / f"{split}_ims.npy", images)
        lines = (scenes / f"{split}_caps.txt").read_text().splitlines()
        (folder / f"{split}_caps.txt").write_text("\n".join(lines[: 5 * len(images) : 5]))
    return folder


def test_an_evaluation_of_one_caption_an_image_is_refused_or_right(one_caption, scenes, trained):
    with pytest.raises(NaafError, match=r"10 captions and test_ims\.npy 10 rows"):
        evaluate(trained, one_caption, split="test", out=one_caption / "out")
    assert not (one_caption / "out").exists()
    state(one_caption, 1)
    scores = evaluate(trained, scenes, split="test", out=one_caption / "five").scores
    found = evaluate(trained, one_caption, split="test", out=one_caption / "out")
    assert (found.images, found.captions) == (10, 10)
    right = retrieval_metrics(np.ascontiguousarray(scores[:, ::5]), captions_per_image=1)
    np.testing.assert_array_equal(found.metrics.t2i.ranks, right.t2i.ranks)
    np.testing.assert_array_equal(found.metrics.i2t.ranks, right.i2t.ranks)


def test_a_training_on_one_caption_an_image_is_refused_before_a_run_begins(one_caption, tmp_path):
    settings = preset("scenes", {"model.dim": 13, "model.word_dim": 7, "train.epochs": 1})
    with pytest.raises(NaafError, match=r"20 captions and train_ims\.npy 20 rows"):
        train_run(one_caption, tmp_path / "run", settings, device="cpu")
    assert not (tmp_path / "run").exists()
    state(one_caption, 1)
    train_run(one_caption, tmp_path / "run", settings, device="cpu")


def test_what_evaluation_refuses_verify_fails(one_caption, scenes, tmp_path):
    assert "captions_per_image: 1}" in verify(one_caption).failures[0].remedy
    state(one_caption, 1)
    assert verify(one_caption).ok
    shutil.copytree(scenes, tmp_path / "moved")
    path = tmp_path / "moved/test_caps.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:12], "", *lines[12:-1]]))
    assert any("test_caps.txt, line 13" in check.remedy for check in verify(tmp_path / "moved").failures)
