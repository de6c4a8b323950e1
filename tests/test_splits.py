"""Splits: which caption belongs to which image, whatever the files' rows are; batches of them."""

import dataclasses
import json
import shutil
import threading
from collections.abc import Sequence

import numpy as np
import pytest
import seeds
import torch

from naaflib.data.batches import Batches, epoch_batches
from naaflib.data.features import Regions
from naaflib.data.splits import evaluation_split, open_split, split_names
from naaflib.data.vocabulary import Vocabulary
from naaflib.errors import NaafError, UsageError


@pytest.fixture
def folder(tmp_path, write_split):
    """7 train images with boxes, sizes and names, 3 dev images without."""
    folder = write_split(tmp_path / "small", "train", 7)
    write_split(folder, "dev", 3)
    np.save(folder / "train_ims_bbx.npy", np.arange(7 * 3 * 4, dtype="f4").reshape(7, 3, 4))
    np.save(folder / "train_ims_size.npy", np.stack([np.arange(7) + 300, np.arange(7) + 200], axis=1))
    (folder / "train_image_names.txt").write_text("".join(f"{k}.jpg\n" for k in range(7)))
    return folder


def change(path, edit):
    np.save(path, edit(np.load(path)))


# ---- features


def test_features_are_float32_whatever_is_stored(tmp_path):
    values = seeds.rng(0).normal(size=(5, 3, 7))
    for dtype in ("float16", "float32", "float64"):
        np.save(tmp_path / "f.npy", values.astype(dtype))
        regions = Regions(tmp_path / "f.npy")
        assert regions.shape == (5, 3, 7)
        assert len(regions) == 5
        assert regions[2].dtype == np.float32
        np.testing.assert_array_equal(regions[2], values[2].astype(dtype).astype("f4"))


def test_gathered_images_keep_the_order_that_was_asked_for(tmp_path):
    values = np.arange(5 * 3 * 2, dtype="f4").reshape(5, 3, 2)
    np.save(tmp_path / "f.npy", values)
    np.save(tmp_path / "rows.npy", values.repeat(5, axis=0))
    asked = np.array([3, 0, 3, 4, 1])
    for regions in (Regions(tmp_path / "f.npy"), Regions(tmp_path / "rows.npy", repeat=5)):
        np.testing.assert_array_equal(regions.gather(asked), values[asked])
        regions.release()  # the pages come back when they are read again
        np.testing.assert_array_equal(regions.gather(asked[::-1]), values[asked[::-1]])
        assert regions.gather(np.array([], dtype=int)).shape == (0, 3, 2)
        assert len(regions.first(2)) == 2
        assert len(regions.first(99)) == 5


def test_an_image_that_is_not_there_is_an_error_not_another_image(tmp_path):
    np.save(tmp_path / "f.npy", np.zeros((4, 3, 2), "f4"))
    for image in (-5, 4):
        with pytest.raises(IndexError):
            Regions(tmp_path / "f.npy")[image]
    with pytest.raises(IndexError):  # rows that were computed are never counted from the end
        Regions(tmp_path / "f.npy").gather(np.array([0, -1]))
    with pytest.raises(IndexError):
        Regions(tmp_path / "f.npy").first(2)[2]


@pytest.mark.parametrize("bad", [[np.nan], [np.inf], [-np.inf], [np.inf, -np.inf]])
def test_the_image_whose_features_are_not_finite_is_named(tmp_path, bad):
    values = np.ones((6, 3, 7), "f4")
    values[4, 1, : len(bad)] = bad
    np.save(tmp_path / "dev_ims.npy", values.repeat(5, axis=0))
    regions = Regions(tmp_path / "dev_ims.npy", repeat=5)
    with pytest.raises(NaafError, match=r"dev_ims\.npy, image 4: .* not finite; .*naaf data verify"):
        regions.gather(np.array([5, 4, 0]))
    assert regions.gather(np.array([5, 3])).min() == 1  # the others can be used


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (1e14, ""),
        (-1e16, "reach 1e.16"),
        (np.inf, "are not finite"),
        (np.nan, "are not finite"),
        (0, "are all zero"),
    ],
)
def test_features_that_would_make_scores_zero_are_refused(tmp_path, value, says):
    features = np.ones((4, 3, 5), np.float32)
    features[2] = value
    np.save(tmp_path / "f.npy", features)
    regions = Regions(tmp_path / "f.npy")
    np.testing.assert_array_equal(regions[1], features[1])
    if not says:
        np.testing.assert_array_equal(regions[2], features[2])
        return
    with pytest.raises(NaafError, match=f"image 2: its features {says}"):
        regions.gather(np.array([3, 2, 0]))


@pytest.mark.parametrize(
    "content",
    [
        np.zeros((4, 3), "f4"),
        np.zeros((4, 3, 2, 1), "f4"),
        np.zeros((4, 3, 2), "i4"),
        np.zeros((4, 3, 2), bool),
        np.float32(0),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_an_array_of_another_kind_is_no_features(folder, content):
    np.save(folder / "train_ims.npy", content)
    with pytest.raises(NaafError, match=r"train_ims\.npy"):
        open_split(folder, "train")


def test_a_damaged_file_is_named(folder):
    path = folder / "train_ims.npy"
    whole = path.read_bytes()
    for content in (b"", b"not features", whole[:-4], whole[:50], b"\x93NUMPY"):
        path.write_bytes(content)
        with pytest.raises(NaafError, match=r"train_ims\.npy"):
            open_split(folder, "train")
    with path.open("wb") as file:
        np.savez(file, features=np.zeros((7, 3, 11), "f4"))  # an archive under the name of an array
    with pytest.raises(NaafError, match=r"train_ims\.npy"):
        open_split(folder, "train")


# ---- splits


def test_five_consecutive_captions_belong_to_an_image(folder):
    split = open_split(folder, "train")
    assert len(split) == 7
    assert split.captions_per_image == 5
    assert len(split.captions) == 35
    assert split.image_of_caption.tolist() == [k // 5 for k in range(35)]
    for image in range(7):
        own = split.captions_of_image(image)
        assert [int(split.image_of_caption[caption]) for caption in own] == [image] * 5
    assert [caption for image in range(7) for caption in split.captions_of_image(image)] == list(range(35))


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_rows_may_be_captions(tmp_path, write_split, dtype):
    write_split(tmp_path / "a", "dev", 7, dtype=dtype)
    write_split(tmp_path / "b", "dev", 7, dtype=dtype, rows="captions")
    for folder, rows in ((tmp_path / "a", 1), (tmp_path / "b", 5)):
        np.save(folder / "dev_ims_bbx.npy", np.arange(7 * 3 * 4.0).reshape(7, 3, 4).repeat(rows, axis=0))
        np.save(folder / "dev_ims_size.npy", np.arange(1, 15).reshape(7, 2).repeat(rows, axis=0))
        names = np.repeat([f"{k}.jpg" for k in range(7)], rows)
        (folder / "dev_image_names.txt").write_text("\n".join(names))
    images, captions = (open_split(tmp_path / name, "dev") for name in "ab")
    assert np.load(tmp_path / "b" / "dev_ims.npy").shape[0] == 35
    assert len(images) == len(captions) == 7
    assert images.captions == captions.captions
    assert images.image_names == captions.image_names
    np.testing.assert_array_equal(images.boxes, captions.boxes)
    np.testing.assert_array_equal(images.sizes, captions.sizes)
    for image in range(7):
        np.testing.assert_array_equal(images.regions[image], captions.regions[image])
    np.testing.assert_array_equal(images.first(3).regions[2], captions.first(3).regions[2])


def test_boxes_an_image_also_serve_rows_that_are_captions(tmp_path, write_split):
    folder = write_split(tmp_path / "a", "dev", 7, rows="captions")
    boxes = np.arange(7 * 3 * 4.0).reshape(7, 3, 4)
    np.save(folder / "dev_ims_bbx.npy", boxes)
    np.testing.assert_array_equal(open_split(folder, "dev").boxes, boxes)


def test_a_manifest_may_say_another_number_of_captions(tmp_path, write_split):
    folder = write_split(tmp_path / "a", "dev", 7, per_image=3)
    with pytest.raises(NaafError, match=r"21 captions.*7 rows.*35 captions.*captions_per_image"):
        open_split(folder, "dev")
    (folder / "manifest.yaml").write_text("name: mine\ncaptions_per_image: 3\n")
    split = open_split(folder, "dev")
    assert split.captions_per_image == 3
    assert split.captions_of_image(2) == range(6, 9)
    write_split(folder, "test", 2, per_image=3, rows="captions")
    assert len(open_split(folder, "test")) == 2


@pytest.mark.parametrize("captions", [0, 1, 7, 34, 36])
def test_a_count_that_does_not_fit_is_named_with_what_would(folder, captions):
    (folder / "train_caps.txt").write_text("a cat\n" * captions)
    if captions == 7:  # seven rows of seven captions are no images either: 7 is not divisible by 5
        assert 7 % 5
    with pytest.raises(NaafError, match=rf"train_caps\.txt holds {captions} captions .* 7 rows.*35 captions"):
        open_split(folder, "train")


def test_a_split_without_images_is_refused(folder):
    np.save(folder / "train_ims.npy", np.zeros((0, 3, 11), "f4"))
    (folder / "train_caps.txt").write_text("")
    with pytest.raises(NaafError, match=r"train_(ims\.npy|caps\.txt)"):
        open_split(folder, "train")


def test_extras_that_do_not_fit_are_named(folder):
    change(folder / "train_ims_bbx.npy", lambda boxes: boxes[:6])
    with pytest.raises(NaafError, match=r"train_ims_bbx\.npy holds 6 rows for 7 images"):
        open_split(folder, "train")
    change(folder / "train_ims_bbx.npy", lambda boxes: boxes[..., :3])
    with pytest.raises(NaafError, match=r"train_ims_bbx\.npy"):
        open_split(folder, "train")
    (folder / "train_ims_bbx.npy").unlink()
    (folder / "train_image_names.txt").write_text("one.jpg\n")
    with pytest.raises(NaafError, match=r"train_image_names\.txt holds 1 rows for 7 images"):
        open_split(folder, "train")


def test_extras_are_optional(folder):
    split = open_split(folder, "dev")
    assert split.boxes is None
    assert split.sizes is None
    assert split.image_names is None
    assert split.image_path(0) is None
    assert split.image_name(2) == "dev image 2"
    full = open_split(folder, "train")
    assert full.boxes.shape == (7, 3, 4)
    assert full.sizes[2].tolist() == [302, 202]  # width, height
    assert full.image_name(2) == "2.jpg"


def test_a_picture_is_found_by_its_name(folder):
    (folder / "images").mkdir()
    (folder / "images" / "2.jpg").write_bytes(b"")
    split = open_split(folder, "train")
    assert split.image_path(2) == folder / "images" / "2.jpg"
    assert split.image_path(1) is None


def test_a_missing_file_split_or_folder_is_named(folder, tmp_path):
    with pytest.raises(UsageError, match=r"no split 'test'; its splits: train, dev"):
        open_split(folder, "test")
    for elsewhere in ("../small/train", "small/train", ".."):
        with pytest.raises(UsageError, match="no split"):
            open_split(folder, elsewhere)
    for call in (lambda path: open_split(path, "test"), evaluation_split):
        with pytest.raises(NaafError, match="gone does not exist"):
            call(tmp_path / "gone")
    (folder / "dev_caps.txt").unlink()
    with pytest.raises(NaafError, match=r"dev_caps\.txt is missing"):
        open_split(folder, "dev")
    (folder / "train_ims.npy").unlink()
    with pytest.raises(NaafError, match=r"train_ims\.npy"):
        open_split(folder, "train")


def test_splits_are_listed_in_the_order_of_use(folder, write_split):
    for name in ("testall", "test"):
        write_split(folder, name, 2)
    assert split_names(folder) == ("train", "dev", "test", "testall")
    assert evaluation_split(folder) == "test"
    shutil.move(folder / "test_ims.npy", folder / "gone.npy")
    assert split_names(str(folder)) == ("train", "dev", "testall")
    assert evaluation_split(folder) == "dev"
    with pytest.raises(NaafError, match=r"none of the splits test.*train, dev, testall"):
        evaluation_split(folder, ("test",))


def test_the_first_images_keep_their_captions_boxes_and_names(folder):
    split = open_split(folder, "train")
    first = split.first(3)
    assert len(first) == 3
    assert first.captions == split.captions[:15]
    assert first.boxes.shape == (3, 3, 4)
    assert first.sizes.shape == (3, 2)
    assert first.image_names == ["0.jpg", "1.jpg", "2.jpg"]
    np.testing.assert_array_equal(first.regions.gather(np.arange(3)), split.regions.gather(np.arange(3)))
    assert first.image_of_caption.max() == 2
    assert split.first(7) is split
    assert split.first(99) is split


def test_scenes_open_like_any_other_folder(scenes):
    split = open_split(scenes, "dev")
    assert (len(split), len(split.captions)) == (10, 50)
    assert split.regions[9].shape == split.regions.shape[1:]
    assert split.boxes.shape == (10, 36, 4)
    assert all(split.image_path(image).is_file() for image in range(10))
    assert len(json.loads((scenes / "dev_links.json").read_text())) == 50


# ---- batches


@pytest.fixture
def batches(folder):
    split = open_split(folder, "train")
    return Batches(split, Vocabulary.build(split.captions, 1).encode, batch_size=11, seed=seeds.shifted(5))


@pytest.mark.parametrize(
    ("captions", "size", "count"), [(35, 11, 3), (35, 7, 5), (35, 35, 1), (35, 99, 1), (2, 2, 1)]
)
def test_an_epoch_sees_a_caption_once_at_most(captions, size, count):
    found = epoch_batches(captions, size, seed=seeds.shifted(1), epoch=1)
    assert [len(batch) for batch in found] == [min(size, captions)] * count
    seen = np.concatenate(found)
    assert len(set(seen.tolist())) == len(seen)
    assert set(seen.tolist()) <= set(range(captions))


def test_the_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        return np.concatenate(epoch_batches(35, 11, seeds.shifted(seed), epoch)).tolist()

    assert order(1, 2) == order(1, 2)
    orders = [order(seed, epoch) for seed in (0, 1, 2) for epoch in (1, 2, 3)]
    assert len({tuple(one) for one in orders}) == 9
    assert set().union(*orders) == set(range(35))  # what an epoch leaves out, another takes


def test_a_row_of_a_batch_is_an_image_and_one_of_its_captions(batches):
    split = batches.split
    texts = {tuple(ids): caption for caption, ids in zip(split.captions, batches.tokens, strict=True)}
    count = 0
    for batch in batches.epoch(1):
        count += 1
        assert len(batch.regions) == len(batch.tokens) == len(batch.lengths) == len(batch.images) == 11
        assert batch.tokens.shape[1] == batch.lengths.max()
        for row in range(11):
            image, length = int(batch.images[row]), int(batch.lengths[row])
            np.testing.assert_array_equal(batch.regions[row].numpy(), split.regions[image])
            own = [split.captions[caption] for caption in split.captions_of_image(image)]
            assert texts[tuple(batch.tokens[row, :length].tolist())] in own
            assert not batch.tokens[row, length:].any()
    assert count == len(batches) == 3


def test_an_epoch_goes_on_where_it_stopped(batches):
    whole = list(batches.epoch(2))
    for first in range(4):
        rest = list(batches.epoch(2, first))
        assert len(rest) == 3 - first
        for one, other in zip(rest, whole[first:], strict=True):
            assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in vars(one))


class Watched(Regions):
    """Features that every other thread waits for, and that one batch of images has none of."""

    def __init__(self, real: Regions, broken: Sequence[int] = ()):
        super().__init__(real.path, real.repeat, real.images)
        self.broken, self.started, self.finished, self.overtaken = list(broken), [], [], threading.Event()

    def gather(self, images, into=None):
        self.started.append(images)
        if len(self.started) % 2 == 1:
            self.overtaken.clear()
            self.overtaken.wait(0.05)  # until the batch after it is read, if another thread reads that
        if images.tolist() == self.broken:
            raise NaafError("broken")
        found = super().gather(images, into)
        self.finished.append(images)
        self.overtaken.set()
        return found


@pytest.mark.parametrize("readers", [1, 2, 3])
def test_batches_come_in_order_whoever_reads_them_and_no_more_than_asked_for(batches, readers):
    batches.batch_size = 3
    whole = list(batches.epoch(3))
    batches.split = dataclasses.replace(batches.split, regions=Watched(batches.split.regions))
    batches.readers, watched = readers, batches.split.regions
    for taken, (one, other) in enumerate(zip(batches.epoch(3), whole, strict=True), start=1):
        assert len(watched.started) <= taken + readers + 1
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in vars(one))
    assert len(watched.finished) == len(whole)


def test_pinned_batches_are_the_same(batches, monkeypatch):
    """torch pins memory only where a GPU is; here it is asked to."""
    whole, asked = list(batches.epoch(3)), []

    def empty(*shape, pin_memory=False, real=torch.empty, **how):
        asked.append(pin_memory)
        return real(*shape, **how).fill_(torch.nan)

    monkeypatch.setattr(torch, "empty", empty)
    batches.pinned = True
    for one, other in zip(batches.epoch(3), whole, strict=True):
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in vars(one))
    assert asked == [True] * len(whole)


@pytest.mark.parametrize("readers", [1, 2])
def test_an_epoch_that_is_left_leaves_no_thread_and_reads_nothing_more(batches, readers, monkeypatch):
    asked, leave, real = [], threading.Event(), batches.batch

    def batch(captions):
        asked.append(captions)
        if len(asked) > 1:
            leave.wait(10)
        return real(captions)

    monkeypatch.setattr(batches, "batch", batch)
    batches.batch_size, batches.readers = 3, readers
    epoch = batches.epoch(1)
    next(epoch)
    threading.Timer(0.1, leave.set).start()  # those that are being read end by themselves
    epoch.close()
    assert len(asked) <= 1 + readers
    assert not any(thread.name.startswith("batches") for thread in threading.enumerate())


def test_a_batch_that_is_too_large_takes_all_captions(folder):
    split = open_split(folder, "dev")
    batches = Batches(split, Vocabulary.build(split.captions, 1).encode, batch_size=128, seed=seeds.shifted())
    (batch,) = batches.epoch(1)
    assert len(batches) == 1
    assert sorted(batch.images.tolist()) == split.image_of_caption.tolist()


@pytest.mark.parametrize("readers", [1, 2])
def test_a_broken_feature_reaches_the_trainer_as_one_sentence(folder, readers):
    def edit(features):
        features[:, 0, 0] = np.nan
        return features

    change(folder / "train_ims.npy", edit)
    split = open_split(folder, "train")
    ids = Vocabulary.build(split.captions, 1).encode
    batches = Batches(split, ids, batch_size=11, seed=seeds.shifted(), readers=readers)
    with pytest.raises(NaafError, match=r"train_ims\.npy, image \d: its features are not finite"):
        list(batches.epoch(1))


@pytest.mark.parametrize("readers", [1, 2])
def test_a_reader_s_error_comes_in_its_turn(batches, readers):
    second = list(batches.epoch(1))[1].images.tolist()
    batches.split = dataclasses.replace(batches.split, regions=Watched(batches.split.regions, second))
    batches.readers = readers
    epoch = batches.epoch(1)
    next(epoch)
    with pytest.raises(NaafError, match="broken"):
        next(epoch)
