"""Own pictures become a data set: any captions file, any broken picture, no copy in two splits."""

import csv
import json
import os

import numpy as np
import pytest
import seeds
from PIL import Image

from naaflib.cli import main
from naaflib.data.captions import read_filled
from naaflib.data.manifest import find_manifest, layout_path
from naaflib.data.pictures import read_upright
from naaflib.data.prepare.image_captions import read_image_captions
from naaflib.data.prepare.own_pictures import import_pictures
from naaflib.errors import NaafError

WIDTH, HEIGHT = 11, 7


def noise(number, size=(WIDTH, HEIGHT)):
    return Image.fromarray(seeds.rng(number).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(10):
        noise(number).save(folder / f"{number}.png")
    return folder


def names(folder, split):
    return read_filled(layout_path(folder, split, "names"))


def left_out(folder):
    with (folder / "left_out.csv").open(newline="") as file:
        return {row["image"]: (row["reason"], row["detail"]) for row in csv.DictReader(file)}


def table(path, captions=2, images=range(10), split=None):
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "caption", *([] if split is None else ["split"])])
        for image in images:
            for k in range(captions):
                rows.writerow(
                    [f"{image}.png", f"picture {image}, {k}", *([] if split is None else [split(image)])]
                )
    return path


WANTED = [("a.jpg", ("a cat", "a grey cat"), "train"), ("b.jpg", ("two dogs", "dogs"), "val")]
FORMS = {
    "t.csv": "image,caption,split\na.jpg,a cat,train\nb.jpg,two dogs,val\n"
    "a.jpg,a grey cat,train\nb.jpg,dogs,val\n",
    "t.tsv": "split\tfilename\tcomment\ntrain\ta.jpg\ta cat\ntrain\ta.jpg\ta grey cat\n"
    "val\tb.jpg\ttwo dogs\nval\tb.jpg\tdogs\n",
    "lists.csv": 'raw,split,filename\n"[""a cat"", ""a grey cat""]",train,a.jpg\n'
    '"[""two dogs"",""dogs""]",val,b.jpg\n',
    "l.jsonl": '{"image": "a.jpg", "caption": ["a cat", "a grey cat"], "split": "train"}\n\n'
    '{"image": "b.jpg", "caption": "two dogs", "split": "val"}\n'
    '{"image": "b.jpg", "caption": "dogs", "split": "val"}\n',
    "dataset_x.json": json.dumps(
        {
            "images": [
                {"filename": name, "split": split, "sentences": [{"raw": text} for text in texts]}
                for name, texts, split in (("a.jpg", ["a\n cat", "a grey cat"], "train"), WANTED[1])
            ]
        }
    ),
}
WITHOUT_SPLIT = {
    "r.token": "a.jpg#0\ta cat\na.jpg#1\ta grey cat\nb.jpg#0\ttwo dogs\nb.jpg#1\tdogs\n",
    "n.json": json.dumps({"a.jpg": ["a cat", "a grey cat"], "b.jpg": ["two dogs", "dogs"]}),
    "r.json": json.dumps(
        [
            {"file_name": "a.jpg", "captions": ["a cat", "a grey cat"]},
            {"file_name": "b.jpg", "captions": ["two dogs", "dogs"]},
        ]
    ),
    "captions_x.json": json.dumps(
        {
            "images": [{"id": 7, "file_name": "a.jpg"}, {"id": 3, "file_name": "b.jpg"}],
            "annotations": [
                {"image_id": 7, "caption": "a cat"},
                {"image_id": 3, "caption": "two dogs"},
                {"image_id": 7, "caption": "a grey cat\n"},
                {"image_id": 3, "caption": "dogs"},
            ],
        }
    ),
}


@pytest.mark.parametrize("name", [*FORMS, *WITHOUT_SPLIT])
def test_every_form_of_captions_file_says_the_same(tmp_path, name):
    path = tmp_path / name
    path.write_text({**FORMS, **WITHOUT_SPLIT}[name])
    wanted = WANTED if name in FORMS else [(image, captions, None) for image, captions, _ in WANTED]
    assert [tuple(one) for one in read_image_captions(path)] == wanted


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("x.json", "[1, 2]", "record 0: not a record"),
        ("x.json", '[{"image": "a.jpg"}]', "record 0: it needs an image and a caption; its fields: image"),
        ("x.json", '"a"', "neither records nor images by name"),
        ("x.json", "{", "not whole JSON"),
        ("x.json", '{"images": [{"id": 1}], "annotations": []}', "'file_name' is missing"),
        ("x.jsonl", '{"image": "a.jpg", "caption": "b"}\n{"image"\n', "line 2: not a JSON record"),
        ("x.jsonl", '{"image": "a.jpg", "caption": {"x": 1}}\n', "line 1: its captions are not texts"),
        ("x.csv", "image,caption,split\na,b,train\na,c,dev\n", "line 3: a is in the splits train and dev"),
        ("x.csv", "", "no caption is in it"),
    ],
)
def test_another_file_is_one_sentence_with_the_place(tmp_path, name, text, says):
    (tmp_path / name).write_text(text)
    with pytest.raises(NaafError, match=says.replace("(", r"\(")) as error:
        read_image_captions(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_split_field_that_is_not_there_is_refused(tmp_path):
    for name in ("t.csv", "l.jsonl"):
        (tmp_path / name).write_text(FORMS[name])
        with pytest.raises(NaafError, match="fold"):
            read_image_captions(tmp_path / name, "fold")


def test_a_folder_and_a_table_become_three_splits(images, tmp_path):
    result = import_pictures(images, table(tmp_path / "c.csv"), tmp_path / "out", seed=seeds.shifted())
    assert result.splits == {"train": 8, "dev": 1, "test": 1}
    assert result.captions_per_image == find_manifest(tmp_path / "out").captions_per_image == 2
    everything = [name for split in result.splits for name in names(tmp_path / "out", split)]
    assert sorted(everything) == sorted(path.name for path in images.iterdir())
    for split in result.splits:
        captions = read_filled(layout_path(tmp_path / "out", split, "captions"))
        assert captions == [
            f"picture {name[0]}, {k}" for name in names(tmp_path / "out", split) for k in range(2)
        ]
        assert (np.load(layout_path(tmp_path / "out", split, "sizes")) == (WIDTH, HEIGHT)).all()
        for name in names(tmp_path / "out", split):
            assert (tmp_path / "out" / "images" / name).read_bytes() == (images / name).read_bytes()


def test_the_same_seed_gives_the_same_splits(images, tmp_path):
    path = table(tmp_path / "c.csv")
    for out in ("a", "b"):
        import_pictures(images, path, tmp_path / out, splits="5/3/2", seed=seeds.shifted(3))
    for split, count in (("train", 5), ("dev", 3), ("test", 2)):
        assert names(tmp_path / "a", split) == names(tmp_path / "b", split)
        assert len(names(tmp_path / "a", split)) == count


def test_splits_by_column_and_by_file_are_kept(images, tmp_path):
    split_of = lambda image: ("train", "restval", "val", "test", "other")[image % 5]  # noqa: E731
    result = import_pictures(images, table(tmp_path / "c.csv", split=split_of), tmp_path / "a")
    assert result.splits == {"train": 4, "dev": 2, "test": 2}
    assert left_out(tmp_path / "a")["4.png"] == ("a split that is not train, dev or test", "other")
    listing = tmp_path / "splits.tsv"
    listing.write_text("".join(f"{image}.png\t{'dev' if image < 3 else 'train'}\n" for image in range(9)))
    result = import_pictures(images, table(tmp_path / "d.csv"), tmp_path / "b", splits=str(listing))
    assert result.splits == {"train": 6, "dev": 3}
    assert names(tmp_path / "b", "dev") == ["0.png", "1.png", "2.png"]
    assert left_out(tmp_path / "b")["9.png"] == ("no split", "")


def test_copies_of_a_picture_never_stand_in_two_splits(images, tmp_path):
    for number in range(5, 10):  # five pictures, each under two names
        (images / f"{number}.png").write_bytes((images / f"{number - 5}.png").read_bytes())
    path = table(tmp_path / "c.csv")
    for seed in range(20):
        out = tmp_path / f"ratio{seed}"
        result = import_pictures(images, path, out, splits="4/4/2", seed=seeds.shifted(seed))
        assert sum(result.splits.values()) == 10
        for split in result.splits:
            kept = {int(name[0]) for name in names(out, split)}
            assert {(number + 5) % 10 for number in kept} == kept
    named = table(tmp_path / "d.csv", split=lambda image: "train" if image < 5 else "test")
    result = import_pictures(images, named, tmp_path / "named")
    assert result.splits == {"test": 5}
    assert left_out(tmp_path / "named")["0.png"] == ("the same picture is in another split", "test")


def test_captions_an_image_is_the_number_that_keeps_most(images, tmp_path):
    path = tmp_path / "c.jsonl"
    counts = [5, 5, 5, 5, 5, 5, 5, 4, 1, 7]
    records = [
        {"image": f"{n}.png", "caption": [f"{n} {k}" for k in range(count)]} for n, count in enumerate(counts)
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    result = import_pictures(images, path, tmp_path / "out")
    assert result.captions_per_image == 5  # 8 x 5, where 4 would keep 9 x 4
    assert result.more_captions == 2
    assert left_out(tmp_path / "out") == {
        "7.png": ("fewer than 5 captions", "4"),
        "8.png": ("fewer than 5 captions", "1"),
    }
    assert import_pictures(images, path, tmp_path / "one", captions_per_image=1).left_out == {}


def odd_pictures(folder):
    """Pictures of every awkward kind, with the size and the top left pixel that a person sees."""
    red = Image.new("RGB", (12, 8), "white")
    red.paste("red", (0, 0, 6, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    red.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif, quality=95)
    red.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    red.convert("L").save(folder / "grey.png")
    clear = red.convert("RGBA")
    clear.putpixel((11, 7), (0, 0, 0, 0))
    clear.save(folder / "clear.png")
    palette = red.convert("P")
    palette.info["transparency"] = palette.getpixel((11, 7))
    palette.save(folder / "palette.png", transparency=palette.getpixel((11, 7)))
    Image.fromarray(np.asarray(red.convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")
    unit = Image.fromarray(np.asarray(red.convert("L")).astype(np.float32) / 255)
    unit.save(folder / "unit.tif")  # floats from 0 to 1
    red.save(folder / "moving.gif", save_all=True, append_images=[Image.new("RGB", (12, 8), "blue")])
    red.save(folder / "named.png", format="JPEG", quality=95)
    red.save(folder / "scan.tif")
    grey = (76, 76, 76)
    seen = dict.fromkeys(
        ("turned.jpg", "cmyk.jpg", "clear.png", "palette.png", "moving.gif", "named.png", "scan.tif"),
        (254, 0, 0),
    )
    return {**seen, "grey.png": grey, "deep.png": grey, "unit.tif": grey}


def test_awkward_pictures_are_stored_as_people_see_them(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    seen = odd_pictures(folder)
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(json.dumps({"image": name, "caption": "a picture"}) for name in seen))
    result = import_pictures(folder, path, tmp_path / "out", splits="8/1/1")
    assert result.left_out == {}
    for split in result.splits:
        sizes = np.load(layout_path(tmp_path / "out", split, "sizes"))
        for name, size in zip(names(tmp_path / "out", split), sizes, strict=True):
            with Image.open(tmp_path / "out" / "images" / name) as picture:  # as the figures read it
                assert picture.size == tuple(size) == (12, 8), name
                assert picture.mode in ("RGB", "L")
                pixels = np.asarray(picture.convert("RGB"), int)
            source = next(one for one in seen if one.split(".")[0] == name.split(".")[0])
            np.testing.assert_allclose(pixels[1, 1], seen[source], atol=25, err_msg=name)
            np.testing.assert_allclose(pixels[6, 10], (255, 255, 255), atol=25, err_msg=name)


def test_broken_pictures_are_left_out_and_named(images, tmp_path):
    noise(0, (64, 64)).save(images / "0.png")
    (images / "0.png").write_bytes((images / "0.png").read_bytes()[:2000])
    (images / "1.png").write_text("no picture")
    (images / "2.png").unlink()
    bomb = bytearray((images / "3.png").read_bytes())
    bomb[16:24] = (50_000).to_bytes(4, "big") * 2  # a header of 2500 megapixels
    import zlib

    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    (images / "3.png").write_bytes(bomb)
    (images / "4.png").write_bytes(b"")
    for name, value in (("5.png", np.nan), ("6.png", -1.0)):
        Image.fromarray(np.full((9, 9), value, np.float32)).save(images / name, format="TIFF")
    (images / "folder.png").mkdir()
    result = import_pictures(images, table(tmp_path / "c.csv"), tmp_path / "out")
    assert sum(result.splits.values()) == 3
    assert result.without_captions == 0
    found = left_out(tmp_path / "out")
    assert found["0.png"][0] == found["3.png"][0] == "the picture cannot be read"
    assert "damaged" in found["0.png"][1]
    assert found["1.png"][1] == found["4.png"][1] == "not a picture that Pillow reads"
    assert found["2.png"] == ("no picture", "")
    assert "megapixels" in found["3.png"][1]
    assert found["5.png"][1] == found["6.png"][1] == "damaged (values that are not finite, or below 0)"
    assert "left out: 6 images: the picture cannot be read" in str(result)


def test_large_pictures_are_stored_smaller(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a", "b"):
        Image.new("L", (10_500, 10_000), ord(name)).save(folder / f"{name}.png")  # 105 megapixels
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"a.png": "one", "b.png": "two"}))
    import_pictures(folder, path, tmp_path / "out", splits="1/1")
    for split in ("train", "dev"):
        assert max(np.load(layout_path(tmp_path / "out", split, "sizes"))[0]) == 2048


def test_pictures_that_no_caption_names_are_told(images, tmp_path):
    result = import_pictures(images, table(tmp_path / "c.csv", images=range(7)), tmp_path / "out")
    assert result.without_captions == 3
    assert "left out: 3 pictures that the captions file does not name" in str(result)


def test_pictures_without_captions_become_one_split_to_search(images, tmp_path):
    (images / "broken.jpg").write_bytes(b"none")
    (images / "notes.txt").write_text("no picture")
    result = import_pictures(images, None, tmp_path / "out")
    assert result.splits == {"test": 10}
    assert "no captions an image" in str(result)
    assert names(tmp_path / "out", "test") == [f"{number}.png" for number in range(10)]
    assert not layout_path(tmp_path / "out", "test", "captions").exists()
    assert find_manifest(tmp_path / "out").captions_per_image == 0
    assert [*left_out(tmp_path / "out")] == ["broken.jpg"]


def test_pictures_are_found_by_path_then_by_name(tmp_path):
    folder = tmp_path / "photos"
    for sub in ("x", "y"):
        (folder / sub).mkdir(parents=True)
    for number, place in enumerate(("x/1.png", "y/1.png", "x/2.png", "y/3.png")):
        noise(number).save(folder / place)
    path = tmp_path / "c.json"
    path.write_text(
        json.dumps({"x/1.png": "a", "y/1.png": "b", "2.png": "c", "3": "d", "1.png": "e", "../1.png": "f"})
    )
    result = import_pictures(folder, path, tmp_path / "out", splits="2/2")
    assert {name for split in result.splits for name in names(tmp_path / "out", split)} == {
        "x/1.png",
        "y/1.png",
        "2.png",
        "3.png",
    }
    assert left_out(tmp_path / "out")["1.png"][0] == "several pictures have this name"
    for split in result.splits:
        assert all((tmp_path / "out" / "images" / name).is_file() for name in names(tmp_path / "out", split))


def test_a_name_that_leads_out_of_the_folder_stays_inside(images, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({f"../photos/{number}.png": "x" for number in range(10)}))
    import_pictures(images, path, tmp_path / "out")
    stored = {name for split in ("train", "dev", "test") for name in names(tmp_path / "out", split)}
    assert all(".." not in name and (tmp_path / "out" / "images" / name).is_file() for name in stored)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--images", "nowhere", "--captions", "c.csv", "--out", "o"], "nowhere does not exist"),
        (["--images", "photos", "--captions", "none.csv", "--out", "o"], "none.csv is missing"),
        (["--images", "photos", "--out", "o", "--splits", "80/10/10"], "there are no splits"),
        (["--images", "photos", "--captions", "c.csv", "--out", "photos"], "not an empty folder"),
        (
            ["--images", "photos", "--captions", "c.csv", "--out", "o", "--splits", "80/0/20"],
            "leaves train or dev",
        ),
        (
            ["--images", "photos", "--captions", "c.csv", "--out", "o", "--splits", "fold"],
            "no column is called fold",
        ),
        (["--images", "photos", "--captions", "w.csv", "--out", "o"], "no image is left (1 x no picture)"),
        (
            ["--images", "photos", "--captions", "c.csv", "--out", "o", "--captions-per-image", "0"],
            "at least 1",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(
    images, tmp_path, monkeypatch, capsys, arguments, says
):
    monkeypatch.chdir(tmp_path)
    table(tmp_path / "c.csv")
    (tmp_path / "w.csv").write_text("image,caption\nz.png,a\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["data", "import", *arguments]) in (1, 2)
    error = capsys.readouterr().err.strip().split("\n")[-1]
    assert says in error
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_an_upright_read_never_warns_and_closes_its_file(images):
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for path in images.iterdir():
        assert read_upright(path).mode == "RGB"
    assert not before or len(os.listdir("/proc/self/fd")) == before
