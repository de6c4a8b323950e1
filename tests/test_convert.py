"""Bottom-up TSV files and captions become the layout, or one sentence and no file."""

import base64
import csv
import json

import numpy as np
import pytest
import seeds

from naaflib.data.prepare.convert import convert_tsv
from naaflib.data.prepare.image_ids import aliases
from naaflib.data.prepare.verify import verify
from naaflib.data.splits import open_split
from naaflib.errors import NaafError, UsageError

REGIONS, DIM = 36, 7
NAMES = ["b.jpg", "a.jpg", "c.jpg"]


def encode(array):
    return base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()


def features_of(name, regions=REGIONS, dim=DIM):
    rng = seeds.rng(sum(name.encode()))
    return rng.normal(size=(regions, dim)).astype("float32")


def boxes_of(regions=REGIONS):
    low = np.arange(regions, dtype="float32")[:, None] * [1, 0.5]
    return np.hstack([low, low + np.array([9.25, 5])]).astype("float32")


def row(name, regions=REGIONS, dim=DIM, size=(64, 48), **changes):
    fields = {
        "image_id": name,
        "image_w": size[0],
        "image_h": size[1],
        "num_boxes": regions,
        "boxes": encode(boxes_of(regions)),
        "features": encode(features_of(name, regions, dim)),
    }
    return {**fields, **changes}


def write_tsv(path, rows, header=False):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        if header:
            writer.writerow(rows[0].keys())
        writer.writerows([r.values() for r in rows])
    return path


def caption(name, k):
    return f'a "{name[0]}", seen {k}'


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "captions.txt"
    path.write_text("".join(f"{name}#{k}\t{caption(name, k)}\n" for name in NAMES for k in range(5)))
    return path


@pytest.fixture
def tsv(tmp_path):
    """In another order than the captions, with an image that nobody asks for."""
    return write_tsv(tmp_path / "regions.tsv", [row(name) for name in ("c.jpg", "z.jpg", "b.jpg", "a.jpg")])


def refused(says, tmp_path, *arguments, error=NaafError, **options):
    """The conversion fails with one sentence and leaves nothing behind."""
    before = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")}
    with pytest.raises(error, match=says) as caught:
        convert_tsv(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} == before
    return str(caught.value)


def test_a_split_is_written_in_the_order_of_its_captions(tmp_path, tsv, table):
    out = tmp_path / "own"
    result = convert_tsv([tsv], table, out, "dev")
    assert (result.images, result.captions, result.regions, result.dim) == (3, 15, REGIONS, DIM)
    assert "3 images x 36 regions x 7" in str(result)
    features = np.load(out / "dev_ims.npy")
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, [features_of(name) for name in NAMES])
    np.testing.assert_array_equal(np.load(out / "dev_ims_bbx.npy"), [boxes_of()] * 3)
    np.testing.assert_array_equal(np.load(out / "dev_ims_size.npy"), [[64, 48]] * 3)
    assert (out / "dev_image_names.txt").read_text().split() == NAMES
    expected = [caption(name, k) for name in NAMES for k in range(5)]
    assert (out / "dev_caps.txt").read_text() == "".join(f"{line}\n" for line in expected)
    assert {path.name for path in out.iterdir()} == {
        f"dev_{ending}"
        for ending in ("ims.npy", "ims_bbx.npy", "ims_size.npy", "image_names.txt", "caps.txt")
    }


def test_what_was_converted_verifies_and_opens(tmp_path, tsv, table):
    convert_tsv([tsv], table, tmp_path / "own", "dev")
    report = verify(tmp_path / "own")
    assert report.ok, report.table()
    split = open_split(tmp_path / "own", "dev")
    np.testing.assert_array_equal(split.regions[2], features_of("c.jpg"))
    assert split.captions[5] == caption("a.jpg", 0)


def test_several_files_a_header_and_another_column_order(tmp_path, table):
    one = write_tsv(tmp_path / "one.tsv", [row("a.jpg")])
    turned = [dict(reversed(row(name).items())) for name in ("b.jpg", "c.jpg")]
    two = write_tsv(tmp_path / "two.tsv", turned, header=True)
    convert_tsv([one, two], table, tmp_path / "own", "dev")
    np.testing.assert_array_equal(
        np.load(tmp_path / "own/dev_ims.npy"), [features_of(name) for name in NAMES]
    )


def test_a_field_longer_than_csvs_limit_is_read_and_the_limit_put_back(tmp_path, table):
    dim = 1 + 131_072 // (REGIONS * 4)
    tsv = write_tsv(tmp_path / "regions.tsv", [row(name, dim=dim) for name in NAMES])
    before = csv.field_size_limit(131_072)
    assert convert_tsv([tsv], table, tmp_path / "own", "dev").dim == dim
    assert csv.field_size_limit() == 131_072
    write_tsv(tsv, [row("a.jpg", dim=dim, num_boxes=0)])
    refused("num_boxes is 0", tmp_path, [tsv], table, tmp_path / "x", "dev")
    assert csv.field_size_limit(before) == 131_072


def test_float16_halves_the_file(tmp_path, tsv, table):
    convert_tsv([tsv], table, tmp_path / "own", "dev", dtype="float16")
    features = np.load(tmp_path / "own/dev_ims.npy")
    assert features.dtype == np.float16
    np.testing.assert_array_equal(features[0], features_of("b.jpg").astype("float16"))


def test_an_image_that_comes_twice_keeps_its_first_row(tmp_path, table):
    rows = [row("a.jpg"), row("b.jpg"), row("a.jpg", features=encode(features_of("x"))), row("c.jpg")]
    result = convert_tsv([write_tsv(tmp_path / "r.tsv", rows)], table, tmp_path / "own", "dev")
    assert result.duplicates == 1
    assert "1 rows" in str(result)
    np.testing.assert_array_equal(np.load(tmp_path / "own/dev_ims.npy")[1], features_of("a.jpg"))


def test_regions_keeps_the_first_of_each_image_and_refuses_fewer(tmp_path, table):
    counts = {"a.jpg": 40, "b.jpg": 36, "c.jpg": 12}
    tsv = write_tsv(tmp_path / "r.tsv", [row(name, regions=count) for name, count in counts.items()])
    message = refused("line 1, image a.jpg: 40 regions", tmp_path, [tsv], table, tmp_path / "own", "dev")
    assert "--regions" in message
    refused("line 3, image c.jpg: 12 regions", tmp_path, [tsv], table, tmp_path / "own", "dev", regions=13)
    assert "--pad" in refused(
        "line 3, image c.jpg: 12 regions", tmp_path, [tsv], table, tmp_path / "own", "dev", regions=13
    )
    assert convert_tsv([tsv], table, tmp_path / "own", "dev", regions=11).regions == 11
    features = np.load(tmp_path / "own/dev_ims.npy")
    np.testing.assert_array_equal(features[1], features_of("a.jpg", 40)[:11])
    np.testing.assert_array_equal(np.load(tmp_path / "own/dev_ims_bbx.npy")[1], boxes_of(40)[:11])


COUNTS = {"a.jpg": 40, "b.jpg": 36, "c.jpg": 12}


def archives(folder, turned=False):
    """A file an image, as detectors write them; turned: features (dim, region)."""
    folder.mkdir()
    for name, count in COUNTS.items():
        features = features_of(name, count)
        np.savez_compressed(
            folder / f"{name}.npz",
            **{"features" if turned else "x": features.T if turned else features},
            **{"boxes" if turned else "bbox": boxes_of(count)},
            image_w=64,
            image_h=np.array([48]),
            info=np.array({"objects": []}, dtype=object),  # never read: it would be a pickle
        )
    return folder


@pytest.mark.parametrize("kind", ["tsv", "npz", "npz turned"])
def test_images_with_fewer_regions_are_filled_with_zeros_where_asked(tmp_path, table, kind):
    if kind == "tsv":
        short = row("c", regions=30)  # of a shortened id, and replaced
        rows = [short, *(row(name, regions=count) for name, count in COUNTS.items())]
        source = write_tsv(tmp_path / "r.tsv", rows)
    else:
        source = archives(tmp_path / "npz", kind == "npz turned")
    result = convert_tsv([source], table, tmp_path / "own", "dev", regions=40, pad=True)
    assert "3 images x 40 regions x 7" in str(result)
    assert "regions an image: 12 to 40 (mean 29.3), then" in str(result)
    split = open_split(tmp_path / "own", "dev")
    for place, name in enumerate(NAMES):
        count = COUNTS[name]
        np.testing.assert_array_equal(split.regions[place][:count], features_of(name, count))
        np.testing.assert_array_equal(split.boxes[place][:count], boxes_of(count))
        assert not split.regions[place][count:].any()
        assert not split.boxes[place][count:].any()
    np.testing.assert_array_equal(split.sizes, [[64, 48]] * 3)
    report = verify(tmp_path / "own")
    assert report.ok, report.table()


def test_padding_needs_the_number_to_fill_up_to(tmp_path, tsv, table):
    refused("give N", tmp_path, [tsv], table, tmp_path / "own", "dev", pad=True, error=UsageError)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"x": None}, "a.jpg.npz: no x or features in it, but bbox, image_w"),
        ({"bbox": np.zeros((3, 5))}, r"its boxes have the shape \(3, 5\)"),
        ({"x": np.zeros((4, 7))}, r"features of the shape \(4, 7\) do not fit 3 boxes"),
        ({"bbox": np.full((3, 4), np.nan)}, "its boxes are not finite"),
        ({"x": np.full((3, 7), np.inf)}, "its features hold NaN"),
        ({"x": np.array(["a", "b", "c"])}, "x or features holds <U1, not numbers"),
        ({"x": np.array([{}, 1, 2], dtype=object)}, "not a whole .npz"),
        ({"image_w": 0}, "image_w and image_h are 0 and 48"),
    ],
)
def test_a_damaged_archive_is_one_sentence(tmp_path, content, says):
    (tmp_path / "npz").mkdir()
    whole = {"x": np.ones((3, 7)), "bbox": boxes_of(3), "image_w": 64, "image_h": 48} | content
    np.savez(tmp_path / "npz/a.jpg.npz", **{key: value for key, value in whole.items() if value is not None})
    captions = tmp_path / "c.txt"
    captions.write_text("a.jpg\ta cat\n")
    how = {"captions_per_image": 1, "regions": 3}
    refused(says, tmp_path, [tmp_path / "npz"], captions, tmp_path / "own", "dev", **how)


def test_a_file_that_is_no_archive_and_a_folder_without_any_are_refused(tmp_path, table):
    (tmp_path / "npz").mkdir()
    refused("no .npz file is in it", tmp_path, [tmp_path / "npz"], table, tmp_path / "own", "dev")
    for name in NAMES:
        (tmp_path / f"npz/{name}.npz").write_bytes(b"PK no archive")
    refused("b.jpg.npz is not a whole .npz", tmp_path, [tmp_path / "npz"], table, tmp_path / "own", "dev")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"features": "not base64!"}, "features are not base64"),
        ({"features": encode(np.zeros(9))[:-3]}, "features are not base64"),
        ({"features": "AAAAAAA="}, "features are not base64 of float32"),  # five bytes
        ({"features": f"b'{encode(np.zeros(9))}'"}, "decode it to ASCII"),
        ({"features": encode(np.zeros(REGIONS * DIM + 1))}, "do not fit 36 boxes"),
        ({"features": ""}, "do not fit 36 boxes"),
        ({"features": encode(np.zeros((REGIONS, DIM + 1)))}, "8 features a region"),
        ({"features": encode(np.full((REGIONS, DIM), np.nan))}, "NaN"),
        ({"boxes": encode(np.zeros((REGIONS - 1, 4)))}, "36 boxes need 144"),
        ({"boxes": encode(np.full((REGIONS, 4), np.inf))}, "boxes are not finite"),
        ({"num_boxes": "many"}, "num_boxes is 'many'"),
        ({"num_boxes": 0}, "num_boxes is 0"),
        ({"image_w": -4}, "image_w is -4"),
        ({"image_h": "nan"}, "image_h is 'nan'"),
    ],
)
def test_a_damaged_row_names_file_line_and_image(tmp_path, table, changes, says):
    rows = [row("b.jpg"), row("a.jpg", **changes), row("c.jpg")]
    tsv = write_tsv(tmp_path / "r.tsv", rows)
    message = refused(says, tmp_path, [tsv], table, tmp_path / "own", "dev")
    assert "r.tsv, line 2, image a.jpg" in message


def test_a_row_cut_off_or_a_file_of_another_kind_names_its_line(tmp_path, tsv, table):
    cut = tmp_path / "cut.tsv"
    text = tsv.read_text()
    cut.write_text(text[: text.index("\tAA", text.index("b.jpg"))])
    refused("cut.tsv, line 3: ", tmp_path, [cut], table, tmp_path / "own", "dev")
    cut.write_bytes(b"\x80\xff\x00binary")
    refused("cut.tsv, line 1: not a TSV", tmp_path, [cut], table, tmp_path / "own", "dev")


def test_more_than_float16_can_hold_is_refused(tmp_path, table):
    rows = [row(name, features=encode(np.full((REGIONS, DIM), 1e5))) for name in NAMES]
    tsv = write_tsv(tmp_path / "r.tsv", rows)
    refused("more than float16 can hold", tmp_path, [tsv], table, tmp_path / "own", "dev", dtype="float16")


def test_missing_images_are_counted_and_the_first_named(tmp_path, table):
    tsv = write_tsv(tmp_path / "r.tsv", [row("b.jpg")])
    refused("2 of 3 images of dev .* first is a.jpg", tmp_path, [tsv], table, tmp_path / "own", "dev")


def test_nothing_is_overwritten_unless_asked(tmp_path, tsv, table):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/dev_caps.txt").write_text("mine\n")
    refused("dev_caps.txt: already there", tmp_path, [tsv], table, tmp_path / "own", "dev")
    assert (tmp_path / "own/dev_caps.txt").read_text() == "mine\n"
    convert_tsv([tsv], table, tmp_path / "own", "train")  # another split is no obstacle
    convert_tsv([tsv], table, tmp_path / "own", "dev", overwrite=True)
    assert (tmp_path / "own/dev_caps.txt").read_text().startswith("a ")


def test_a_failed_overwrite_leaves_the_old_split(tmp_path, tsv, table):
    convert_tsv([tsv], table, tmp_path / "own", "dev")
    before = (tmp_path / "own/dev_ims.npy").read_bytes()
    bad = write_tsv(tmp_path / "bad.tsv", [row("b.jpg"), row("a.jpg", boxes="?")])
    refused("base64", tmp_path, [bad], table, tmp_path / "own", "dev", overwrite=True)
    assert (tmp_path / "own/dev_ims.npy").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"split": "validation"}, "train, dev, test, testall"),
        ({"dtype": "float64"}, "float32 or float16"),
        ({"regions": 0}, "at least 1"),
        ({"captions_per_image": 0}, "at least 1"),
        ({"tsv_files": []}, "name at least one"),
        ({"source_splits": ["val"]}, "list its images instead"),
    ],
)
def test_a_wrong_request_is_wrong_use(tmp_path, tsv, table, options, says):
    request = {"tsv_files": [tsv], "captions": table, "out": tmp_path / "own", "split": "dev", **options}
    refused(says, tmp_path, error=UsageError, **request)


def test_missing_files_and_a_file_as_folder_are_refused(tmp_path, tsv, table):
    refused("no such file", tmp_path, [tmp_path / "no.tsv"], table, tmp_path / "own", "dev")
    refused("is missing", tmp_path, [tsv], tmp_path / "no.txt", tmp_path / "own", "dev")
    refused("is a file", tmp_path, [tsv], table, table, "dev")


def test_another_number_of_captions_is_written_down_for_the_reader(tmp_path, tsv, table):
    out = tmp_path / "own"
    convert_tsv([tsv], table, out, "dev", captions_per_image=2)
    assert open_split(out, "dev").captions == [caption(name, k) for name in NAMES for k in range(2)]
    refused("says 2 captions an image", tmp_path, [tsv], table, out, "train", captions_per_image=3)
    refused(
        "a.jpg|b.jpg has 5 captions, 6 are",
        tmp_path,
        [tsv],
        table,
        tmp_path / "x",
        "dev",
        captions_per_image=6,
    )


def test_a_list_of_images_selects_and_orders(tmp_path, tsv, table):
    listing = tmp_path / "dev.txt"
    listing.write_text("c.jpg\n\nb.jpg\n")
    convert_tsv([tsv], table, tmp_path / "own", "dev", images=listing)
    assert (tmp_path / "own/dev_image_names.txt").read_text().split() == ["c.jpg", "b.jpg"]
    for names, says in (("c.jpg\nq.jpg\n", "first is q.jpg"), ("c.jpg\nc.jpg\n", "listed twice")):
        listing.write_text(names)
        refused(says, tmp_path, [tsv], table, tmp_path / "x", "dev", images=listing)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no caption"),
        ("image\tcaption\n", "no caption"),
        ("a.jpg\ta dog\nonly-a-name\n", "line 2"),
        ("a.jpg\ta dog\n\tno name\n", "line 2"),
        (b"a.jpg\tcaf\xe9\n", "line 1: not UTF-8"),
        ("d/a.jpg\tone\ne/a.jpg\tother\n", "has 1 captions"),
    ],
)
def test_a_damaged_caption_table_names_its_line(tmp_path, tsv, text, says):
    path = tmp_path / "bad.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(says, tmp_path, [tsv], path, tmp_path / "own", "dev")


def test_two_images_of_one_name_are_refused(tmp_path, tsv):
    path = tmp_path / "twice.txt"
    path.write_text("d/a.jpg\tone\ne/a.jpg\tother\n")
    refused(
        "two images are called a.jpg", tmp_path, [tsv], path, tmp_path / "own", "dev", captions_per_image=1
    )


def test_a_comma_table_has_a_header_quotes_and_commas(tmp_path, tsv):
    path = tmp_path / "captions.csv"
    lines = [f'{name},"{k}: he said ""hi"", and left"' for name in NAMES for k in range(5)]
    path.write_text("\ufeffimage,caption\r\n" + "\r\n".join(lines), encoding="utf-8")
    convert_tsv([tsv], path, tmp_path / "own", "dev")
    assert open_split(tmp_path / "own", "dev").captions[6] == '1: he said "hi", and left'


# --- Karpathy's files ---


def karpathy(tmp_path, images):
    path = tmp_path / "dataset_coco.json"
    path.write_text(json.dumps({"images": images, "dataset": "coco"}))
    return path


def entry(number, split, captions=5):
    return {
        "cocoid": number,
        "imgid": number % 10,
        "filename": f"COCO_val2014_{number:012d}.jpg",
        "split": split,
        "sentences": [{"raw": f"caption {k} of\n {number} ", "tokens": ["x"]} for k in range(captions)],
    }


@pytest.fixture
def coco(tmp_path):
    return karpathy(
        tmp_path, [entry(42, "val"), entry(391895, "train"), entry(7, "restval", 7), entry(15, "test")]
    )


@pytest.mark.parametrize(
    ("split", "numbers"), [("train", [391895, 7]), ("dev", [42]), ("test", [15]), ("testall", [15])]
)
def test_a_split_of_karpathys_file_by_the_fields_name(tmp_path, coco, split, numbers):
    tsv = write_tsv(tmp_path / "r.tsv", [row(str(n)) for n in (7, 15, 42, 391895)])
    convert_tsv([tsv], coco, tmp_path / "own", split)
    own = open_split(tmp_path / "own", split)
    assert own.image_names == [f"COCO_val2014_{n:012d}.jpg" for n in numbers]
    assert own.captions == [
        f"caption {k} of {n}" for n in numbers for k in range(5)
    ]  # of seven the first five
    np.testing.assert_array_equal(own.regions[0], features_of(str(numbers[0])))


def test_other_split_names_and_id_fields_can_be_given(tmp_path, coco):
    tsv = write_tsv(tmp_path / "r.tsv", [row("2"), row("5")])
    convert_tsv([tsv], coco, tmp_path / "own", "train", source_splits=["train"], id_field="imgid")
    np.testing.assert_array_equal(np.load(tmp_path / "own/train_ims.npy")[0], features_of("5"))


@pytest.mark.parametrize(
    ("identifier", "also"),
    [
        ("COCO_val2014_000000391895.jpg", "391895"),
        ("000000391895", "391895"),
        ("images/1000268201_693b08cb0e.jpg", "1000268201_693b08cb0e"),
        ("a\\b.PNG", "b.PNG"),
        (391895, "391895"),
    ],
)
def test_an_image_id_is_known_by_its_other_names(identifier, also):
    assert also in aliases(identifier)


def test_ids_that_only_look_alike_stay_apart():
    assert not set(aliases("12_a.jpg")) & set(aliases("a.jpg"))
    assert not set(aliases("10.jpg")) & set(aliases("1.jpg"))
    assert not set(aliases("x.tar")) & set(aliases("x.jpg"))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "not whole JSON"),
        ("[]", "not one of Karpathy's"),
        ('{"images": [1]}', "not one of Karpathy's"),
        ('{"images": [{"split": "train"}]}', "split val; its splits: train"),
        ('{"images": [{"split": "val", "filename": "a.jpg"}]}', "image 0 of the split lacks"),
        ('{"images": [{"split": "val", "sentences": []}]}', "image 0 of the split lacks"),
        (
            '{"images": [{"split": "val", "filename": "a.jpg", "sentences": [{"raw": "x"}]}]}',
            "has 1 captions",
        ),
    ],
)
def test_a_damaged_json_is_one_sentence(tmp_path, tsv, content, says):
    path = tmp_path / "dataset.json"
    path.write_text(content)
    refused(says, tmp_path, [tsv], path, tmp_path / "own", "dev")


def test_progress_goes_to_stderr_only(tmp_path, tsv, table, capsys):
    convert_tsv([tsv], table, tmp_path / "own", "dev", progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "3/3" in err


# --- columns and quotation marks of plain tables ---


def converted(tmp_path, tsv, text, name="captions.csv", captions_per_image=5, **options):
    """The captions that a table's text gives the split, or the NaafError."""
    (tmp_path / name).write_bytes(text.encode())
    convert_tsv(
        [tsv], tmp_path / name, tmp_path / "own", "dev", captions_per_image=captions_per_image, **options
    )
    return open_split(tmp_path / "own", "dev").captions


@pytest.mark.parametrize(
    ("header", "form"),
    [
        ("image_name,comment_number,comment", "{name},{k},{text}"),
        ("image_name| comment_number| comment", "{name}| {k}| {text}"),
        ("image;number;caption", "{name};{k};{text}"),
        ("image_name\tcomment_number\tcomment", "{name}\t{k}\t{text}"),
        ('"image","caption","split"', '{name},"{text}",val'),
        ("caption\timage", "{text}\t{name}"),
        ("id,image_id,caption", "9{k},{name},{text}"),
        ("Image,Words", "{name},{text}"),
        ("\ufeff\nimage,caption", "{name},{text}"),
    ],
)
def test_a_header_says_which_column_is_the_caption(tmp_path, tsv, header, form):
    lines = [form.format(name=name, k=k, text=f"{k} of {name[0]}") for name in NAMES for k in range(5)]
    found = converted(tmp_path, tsv, "\r\n".join([header, *lines]))
    assert found == [f"{k} of {name[0]}" for name in NAMES for k in range(5)]


def test_commas_in_the_last_column_belong_to_the_caption(tmp_path, tsv):
    for header in ("", "image,caption\n"):
        lines = [f'{name},seen {k}, red, and "{name[0]}"' for name in NAMES for k in range(5)]
        found = converted(tmp_path, tsv, header + "\n".join(lines), overwrite=True)
        assert found[6] == 'seen 1, red, and "a"'


@pytest.mark.parametrize("mark", [",", "\t"])
def test_a_column_of_numbers_without_a_header_is_refused_with_the_header_that_helps(tmp_path, tsv, mark):
    lines = [f"{name}{mark}{k}{mark}seen" for name in NAMES for k in range(5)]
    with pytest.raises(NaafError, match="the second of three columns holds numbers") as caught:
        converted(tmp_path, tsv, "\n".join(lines))
    header = str(caught.value).rsplit("first line: ", 1)[1]
    assert converted(tmp_path, tsv, "\n".join([header, *lines])) == ["seen"] * 15


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (
            ["image,caption,split", "b.jpg,red, and blue,val"],
            "line 2: 4 columns where the first line names 3",
        ),
        (["image,number,caption", "b.jpg,one"], "line 2: 2 columns where the first line names 3"),
        (
            ["image,number,words", "b.jpg,1,one"],
            "line 1: no column of image, number, words .*call it caption",
        ),
        (["image,caption", "b.jpg,"], "line 2: write"),
        (["b.jpg,one", 'b.jpg,"two', "a.jpg,three", 'c.jpg,four" or five'], "line 2: a quotation mark"),
        (["b.jpg,one", 'b.jpg,"two" or three'], "line 2: a quotation mark"),
        (["b.jpg,one", '"b.jpg,two'], "line 2: a quotation mark"),
    ],
)
def test_a_line_that_does_not_say_what_its_caption_is_is_refused(tmp_path, tsv, lines, says):
    path = tmp_path / "captions.csv"
    path.write_text("\n".join(lines))
    refused(f"captions.csv, {says}", tmp_path, [tsv], path, tmp_path / "own", "dev", captions_per_image=1)


def test_quotation_marks_mean_nothing_between_tabs(tmp_path, tsv):
    lines = [f'{name}\t"{k}' for name in NAMES for k in range(5)]
    assert converted(tmp_path, tsv, "\n".join(lines))[:2] == ['"0', '"1']


# --- whose a row is ---


def convert_names(tmp_path, wanted, rows):
    """One caption each for the wanted names, rows (id, look): the looks that the images get."""
    path, out = tmp_path / "captions.txt", tmp_path / "own"
    path.write_text("".join(f"{name}\ta caption\n" for name in wanted))
    tsv = write_tsv(tmp_path / "r.tsv", [row(i, features=encode(features_of(look))) for i, look in rows])
    convert_tsv([tsv], path, out, "dev", captions_per_image=1)
    looks = {look: features_of(look) for _, look in rows}
    return [
        next(look for look, features in looks.items() if np.array_equal(features, found))
        for found in np.load(out / "dev_ims.npy")
    ]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("wanted", "rows", "looks"),
    [
        (["Market/1.png"], [("CUHK/1.png", "x"), ("Market/1.png", "y")], ["y"]),
        (["Market/1.png"], [("1.png", "x"), ("Market/1.png", "y")], ["y"]),
        (["Market/1.png"], [("1", "x"), ("CUHK/1.png", "y")], ["x"]),
        (["1.png"], [("data/1.png", "x"), ("1.png", "y"), ("001.png", "z")], ["y"]),
        (["a/1.png", "b/1.png"], [("b/1.png", "x"), ("a/1.png", "y")], ["y", "x"]),
        (["a/1.png", "b/1.png"], [("b/1", "x"), ("data/a/1.png", "y")], ["y", "x"]),
        (["1.png", "a/1.png"], [("1.png", "x"), ("a/1.png", "y")], ["x", "y"]),
        (["001.png", "1.png"], [("001.png", "x"), ("1.png", "y")], ["x", "y"]),
        (["a\\1.png"], [("a/1.png", "x"), ("b/1.png", "y")], ["x"]),
    ],
)
def test_the_exact_id_wins_over_a_shortened_one_in_any_order(tmp_path, wanted, rows, looks, turned):
    assert convert_names(tmp_path, wanted, rows[::-1] if turned else rows) == looks


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("wanted", "rows", "says"),
    [
        (["Market/1.png"], [("CUHK/1.png", "x")], "1 of 1 images of dev have no regions"),
        (["1.png"], [("a/1.png", "x"), ("b/1.png", "y")], r"image 1\.png: its id fits two rows"),
        (["a/1.png"], [("1.png", "x"), ("1", "y")], r"image a/1\.png: its id fits two rows"),
        (["a/1.png", "b/1.png"], [("1.png", "x"), ("a/1.png", "y")], r"two images are called 1\.png \(a/1"),
    ],
)
def test_a_shortened_id_that_fits_two_is_refused(tmp_path, wanted, rows, says, turned):
    with pytest.raises(NaafError, match=says):
        convert_names(tmp_path, wanted, rows[::-1] if turned else rows)
    assert not (tmp_path / "own").exists()


def test_images_of_one_file_name_keep_their_folders_and_their_pictures(tmp_path):
    convert_names(tmp_path, ["a/1.png", "b/1.png"], [("b/1.png", "x"), ("a/1.png", "y")])
    for folder in "ab":
        (tmp_path / "own/images" / folder).mkdir(parents=True)
        (tmp_path / "own/images" / folder / "1.png").write_bytes(b"")
    split = open_split(tmp_path / "own", "dev")
    assert split.image_names == ["a/1.png", "b/1.png"]
    assert split.image_path(1) == tmp_path / "own/images/b/1.png"


def test_a_list_of_images_names_each_exactly(tmp_path):
    path, listing = tmp_path / "captions.txt", tmp_path / "dev.txt"
    path.write_text("a/1.png\tone\nb/1.png\tother\n")
    tsv = write_tsv(tmp_path / "r.tsv", [row("a/1.png"), row("b/1.png")])
    listing.write_text("b/1.png\n")
    convert_tsv([tsv], path, tmp_path / "own", "dev", captions_per_image=1, images=listing)
    assert open_split(tmp_path / "own", "dev").captions == ["other"]
    listing.write_text("1.png\n")
    refused(
        r"dev\.txt: 1\.png may be a/1\.png and b/1\.png",
        tmp_path,
        [tsv],
        path,
        tmp_path / "x",
        "dev",
        captions_per_image=1,
        images=listing,
    )


def test_ids_of_another_kind_are_shown_with_the_field_that_holds_them(tmp_path):
    path = karpathy(tmp_path, [{**entry(100 + n, "val"), "imgid": n} for n in range(4)])
    tsv = write_tsv(tmp_path / "r.tsv", [row(str(n)) for n in range(4)])
    message = refused("--id-field imgid", tmp_path, [tsv], path, tmp_path / "own", "dev")
    assert "the captions call the first 100, the TSV calls its first 0" in message
    assert "other TSV files" not in message
    convert_tsv([tsv], path, tmp_path / "own", "dev", id_field="imgid")
    np.testing.assert_array_equal(open_split(tmp_path / "own", "dev").regions[3], features_of("3"))
    tsv = write_tsv(tmp_path / "r.tsv", [row(str(100 + n)) for n in range(4)])
    refused("--id-field cocoid", tmp_path, [tsv], path, tmp_path / "x", "dev", id_field="imgid")


def test_ids_of_another_kind_in_a_table_are_shown_side_by_side(tmp_path, table):
    tsv = write_tsv(tmp_path / "r.tsv", [row("7"), row("8"), row("9")])
    message = refused("3 of 3 images of dev", tmp_path, [tsv], table, tmp_path / "own", "dev")
    assert "the captions call the first b.jpg, the TSV calls its first 7" in message


# --- damaged rows, and rows of other number types ---


@pytest.mark.parametrize("name", ["z.jpg", "a.jpg"])
@pytest.mark.parametrize(
    "damage",
    [
        {"features": "?"},
        {"features": encode(np.full((REGIONS, DIM), np.nan))},
        {"boxes": ""},
        {"num_boxes": 12},
        {"image_w": "?"},
        "a column too few",
        "not UTF-8",
    ],
    ids=lambda damage: damage if isinstance(damage, str) else "-".join(damage),
)
@pytest.mark.parametrize("first", [True, False])
def test_a_damaged_row_that_nothing_depends_on_stops_nothing(tmp_path, table, name, damage, first):
    """Of an image that nobody asks for, or of one that has a whole row further up or down."""
    rows = [row(name, **damage) if isinstance(damage, dict) else row(name)]
    whole = [row(each) for each in NAMES]
    tsv = write_tsv(tmp_path / "r.tsv", rows + whole if first else whole + rows)
    lines = tsv.read_bytes().splitlines(keepends=True)
    place = 0 if first else len(lines) - 1
    if damage == "a column too few":
        lines[place] = lines[place].rsplit(b"\t", 1)[0] + b"\n"
    elif damage == "not UTF-8":
        lines[place] = lines[place].replace(b"AA", b"\xff\xfe", 1)
    tsv.write_bytes(b"".join(lines))
    convert_tsv([tsv], table, tmp_path / "own", "dev")
    np.testing.assert_array_equal(np.load(tmp_path / "own/dev_ims.npy"), [features_of(n) for n in NAMES])


def test_a_row_without_an_id_is_told_where_an_image_is_missing(tmp_path, table):
    tsv = write_tsv(tmp_path / "r.tsv", [row(name) for name in NAMES])
    lines = tsv.read_text().splitlines()
    tsv.write_text("\n".join([lines[0], lines[1].rsplit("\t", 1)[1], lines[2]]))
    refused("r.tsv, line 2: not a row", tmp_path, [tsv], table, tmp_path / "own", "dev")


def test_many_damaged_rows_are_told_before_the_whole_file_is_read(tmp_path, monkeypatch):
    from naaflib.data.prepare import matches

    monkeypatch.setattr(matches, "MOST_DAMAGED", 3)
    names = [f"{k}.jpg" for k in range(7)]
    path = tmp_path / "captions.txt"
    path.write_text("".join(f"{name}\tone\n" for name in names))
    tsv = write_tsv(tmp_path / "r.tsv", [row(name, features="?") for name in names])
    refused("r.tsv, line 3", tmp_path, [tsv], path, tmp_path / "own", "dev", captions_per_image=1)


@pytest.mark.parametrize("column", ["features", "boxes"])
@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("<f2", "float16"),
        ("<f8", "float64"),
        (">f4", "big-endian float32"),
        (">f2", "float16"),
        (">f8", "float64"),
        ("<i4", "int32"),
    ],
)
def test_numbers_of_another_type_are_named_with_the_type_that_is_read(tmp_path, table, column, code, named):
    def written(name):
        values = {"features": 9 * features_of(name, dim=16), "boxes": boxes_of()}[column]
        return base64.b64encode(np.abs(values).astype(code).tobytes()).decode()

    tsv = write_tsv(tmp_path / "r.tsv", [row(name, dim=16, **{column: written(name)}) for name in NAMES])
    message = refused(named, tmp_path, [tsv], table, tmp_path / "own", "dev")
    assert f"line 1, image b.jpg: its {column} were written as" in message
    assert "astype('<f4')" in message
