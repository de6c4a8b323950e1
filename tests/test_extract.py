"""Features of own pictures: every extractor, an interrupted call, and no mixture of two."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import seeds
import torch
from PIL import Image

from naaflib.cli import main
from naaflib.data.captions import read_filled
from naaflib.data.extract import registry, writing
from naaflib.data.extract.base import Extractor, grid_boxes
from naaflib.data.extract.writing import extract
from naaflib.data.manifest import find_manifest, layout_path
from naaflib.data.prepare.own_pictures import import_pictures
from naaflib.data.prepare.verify import verify
from naaflib.data.splits import open_split
from naaflib.data.writing import regions_in_words
from naaflib.errors import NaafError, UsageError


@pytest.fixture
def folder(tmp_path):
    """A data set of 20 pictures without features."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(20):
        pixels = seeds.rng(number).integers(0, 255, (40 + number, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"{number}.png")
    captions = tmp_path / "captions.json"
    captions.write_text(
        json.dumps({f"{number}.png": [f"picture {number}", "a picture"] for number in range(20)})
    )
    import_pictures(photos, captions, tmp_path / "mine", seed=seeds.shifted())
    return tmp_path / "mine"


class Numbers(Extractor):
    """An extractor that counts its pictures, and stops after some."""

    regions, dim = 2, 3

    def __init__(self, stop_after=1000, name="numbers"):
        self.seen, self.stop_after, self.name = 0, stop_after, name

    def record(self):
        return {"extractor": self.name, "revision": None, "sha256": None, "preprocessing": ""}

    def __call__(self, pictures):
        if self.seen >= self.stop_after:
            raise KeyboardInterrupt
        self.seen += len(pictures)
        sums = np.array([np.asarray(picture, np.float64).mean() for picture in pictures], np.float32)
        boxes = np.stack([grid_boxes(picture.size, 1).repeat(2, 0) for picture in pictures])
        return np.tile(sums[:, None, None], (1, 2, 3)), boxes


def use(monkeypatch, extractor):
    monkeypatch.setattr(writing, "open_extractor", lambda *how: extractor)
    return extractor


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_pixels_need_nothing_and_pass_every_check(folder):
    result = extract(folder, "pixels")
    assert (result.regions, result.dim) == (36, 128)
    report = verify(folder)
    assert report.ok, report.table()
    split = open_split(folder, "train")
    assert split.regions.rows.dtype == np.float16
    np.testing.assert_array_equal(split.boxes[:, 0, 2:], split.sizes)  # the first box is the whole picture
    assert find_manifest(folder).features["extractor"] == "pixels"
    flat = split.regions.gather(np.arange(len(split))).reshape(len(split), -1)
    assert len(np.unique(flat, axis=0)) == len(split)  # another picture, other features


@pytest.mark.parametrize("stop_after", [0, 4, 8, 16, 18])
def test_an_interrupted_extraction_goes_on_and_ends_with_the_same_bytes(
    folder, tmp_path, monkeypatch, stop_after
):
    use(monkeypatch, Numbers(stop_after))
    before = files(folder)
    with pytest.raises(KeyboardInterrupt):
        extract(folder, "x", batch=2)
    assert files(folder) == before  # nothing half-written can be taken for a data set
    rest = use(monkeypatch, Numbers())
    extract(folder, "x", batch=2)
    assert rest.seen == 20 - stop_after
    once = files(folder)
    use(monkeypatch, Numbers())
    extract(folder, "x", batch=2, overwrite=True)
    assert files(folder) == once
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_picture_that_changed_since_it_was_described_is_described_again(folder, monkeypatch, capsys):
    """Of the same size, under the same name and time: its bytes tell."""
    use(monkeypatch, Numbers(8))
    with pytest.raises(KeyboardInterrupt):
        extract(folder, "x", batch=2)
    split = "train"
    name = read_filled(layout_path(folder, split, "names"))[3]
    path = folder / "images" / name
    before = path.stat()
    with Image.open(path) as picture:
        turned = picture.transpose(Image.Transpose.ROTATE_180)
    path.unlink()  # a link to the photo
    turned.point(lambda value: value // 2).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    rest = use(monkeypatch, Numbers())
    extract(folder, "x", batch=2)
    assert rest.seen == 20 - 8 + 1
    assert (
        f"{split}: 1 pictures have changed and are described again, {name} first" in capsys.readouterr().err
    )
    once = files(folder)
    use(monkeypatch, Numbers())
    extract(folder, "x", batch=2, overwrite=True)
    assert files(folder) == once


def test_what_another_extractor_began_is_not_continued(folder, monkeypatch):
    use(monkeypatch, Numbers(4))
    with pytest.raises(KeyboardInterrupt):
        extract(folder, "x", batch=2)
    other = use(monkeypatch, Numbers(name="others"))
    extract(folder, "x", batch=2)
    assert other.seen == 20


def test_features_of_another_extractor_stay_unless_asked(folder, monkeypatch):
    extract(folder, "pixels")
    before = files(folder)
    use(monkeypatch, Numbers())
    with pytest.raises(NaafError, match="made by pixels are there; --overwrite"):
        extract(folder, "x")
    assert files(folder) == before
    extract(folder, "x", overwrite=True)
    assert find_manifest(folder).features["extractor"] == "numbers"
    assert open_split(folder, "dev").regions.shape[1:] == (2, 3)


def test_a_picture_that_broke_since_is_named(folder):
    name = layout_path(folder, "train", "names").read_text().split("\n")[3]
    (folder / "images" / name).unlink()
    (folder / "images" / name).write_bytes(b"no picture")
    with pytest.raises(NaafError, match=f"{name}: not a picture"):
        extract(folder, "pixels")


def test_numbers_that_float16_cannot_hold_are_refused(folder, monkeypatch):
    huge = use(monkeypatch, Numbers())
    call = huge.__call__
    monkeypatch.setattr(
        Numbers, "__call__", lambda self, pictures: (call(pictures)[0] * 1e6, call(pictures)[1])
    )
    with pytest.raises(NaafError, match="beyond float16; take --dtype float32"):
        extract(folder, "x")
    extract(folder, "x", dtype="float32")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--features", "vgg"], "there are no features 'vgg'"),
        (["--features", "pixels:x"], "there are no features 'pixels:x'"),
        (["--features", "onnx:none.onnx"], "none.onnx does not exist"),
        (["--features", "pixels", "--grid", "0"], "has no region"),
        (["--features", "pixels", "--batch", "0"], "at least one picture"),
    ],
)
def test_a_mistake_is_one_sentence(folder, capsys, arguments, says):
    if arguments[1].startswith("onnx"):
        pytest.importorskip("onnxruntime")
    assert main(["data", "extract", str(folder), *arguments]) in (1, 2)
    assert says in capsys.readouterr().err


def test_a_folder_without_pictures_says_what_makes_them(tmp_path):
    with pytest.raises(NaafError, match="naaf data import"):
        extract(tmp_path, "pixels")


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    def none(*_):
        raise ModuleNotFoundError("No module named 'transformers'", name="transformers")

    monkeypatch.setattr(registry, "import_module", none)
    with pytest.raises(NaafError, match=r"need transformers; pip install 'naaflib\[transformers\]'"):
        registry.open_extractor("transformers:x")


def test_pixels_take_no_grid(folder):
    with pytest.raises(UsageError, match="pixels has 36 boxes of its own; leave --grid out"):
        extract(folder, "pixels", grid=4)


def test_a_model_refuses_features_of_another_extractor_by_name(folder, tmp_path, monkeypatch, capsys):
    use(monkeypatch, Numbers())
    extract(folder, "x")
    tiny = ["model.dim=8", "model.word_dim=4", "train.epochs=1", "train.batch_size=8", "mining.min_words=5"]
    tiny += ["data.min_word_count=1", f"train.seed={seeds.shifted()}"]
    run = tmp_path / "run"
    assert main(["train", "--data", str(folder), "--out", str(run), "--set", *tiny]) == 0
    assert main(["evaluate", str(run)]) == 0
    use(monkeypatch, Numbers())
    extract(folder, "x", grid=3, overwrite=True)
    assert main(["evaluate", str(run)]) == 1
    assert (
        "trained on those by the same extractor with another grid (6, now 3); extract"
        in capsys.readouterr().err
    )
    use(monkeypatch, Numbers(name="others"))  # of the same width
    extract(folder, "x", overwrite=True)
    for words in (["evaluate", str(run)], ["index", str(run), "--out", str(tmp_path / "index")]):
        assert main(words) == 1
        error = capsys.readouterr().err
        assert "has features by others, and" in error
        assert "was trained on those by numbers; extract these again" in error


# ---- transformers: tiny random models, saved here; no socket is opened


@pytest.fixture
def offline(monkeypatch):
    import socket

    def refused(*_, **__):
        raise AssertionError("a test must not open a connection")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def tiny(kind, path):
    """A random model of some kind with 4 x 4 cells, in a folder."""
    t = pytest.importorskip("transformers")
    seeds.manual_seed(1)
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    text |= {"vocab_size": 9, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
    made = {
        "vit": lambda: t.ViTModel(t.ViTConfig(**SMALL, intermediate_size=64)),
        "dinov2": lambda: t.Dinov2Model(t.Dinov2Config(**SMALL)),
        "dinov2-registers": lambda: t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**SMALL)),
        "clip": lambda: t.CLIPModel(
            t.CLIPConfig(vision_config={**SMALL, "intermediate_size": 64}, text_config=text)
        ),
        "siglip": lambda: t.SiglipModel(
            t.SiglipConfig(vision_config={**SMALL, "intermediate_size": 64}, text_config=text)
        ),
        "swin": lambda: t.SwinModel(
            t.SwinConfig(
                image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
            )
        ),
        "convnext": lambda: t.ConvNextModel(
            t.ConvNextConfig(hidden_sizes=[8, 16], depths=[1, 1], num_stages=2)
        ),
    }[kind]()
    made.save_pretrained(path)
    t.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(path)
    return path


KINDS = ["vit", "dinov2", "dinov2-registers", "clip", "siglip", "swin", "convnext"]


@pytest.mark.parametrize("kind", KINDS)
def test_patch_tokens_are_pooled_to_a_grid_and_prefix_tokens_dropped(tmp_path, offline, kind):
    extractor = registry.open_extractor(f"transformers:{tiny(kind, tmp_path / kind)}", grid=4)
    picture = Image.fromarray(seeds.rng(5).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    features, boxes = extractor([picture, picture.transpose(Image.Transpose.ROTATE_180)])
    assert features.shape == (2, 16, extractor.dim)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(boxes[0], grid_boxes((32, 32), 4))
    cells = extractor.model(pixel_values=extractor.pixels([picture])).last_hidden_state
    wanted = cells.flatten(2).transpose(1, 2) if cells.ndim == 4 else cells[:, -16:]
    np.testing.assert_allclose(features[0], wanted[0].detach().numpy(), rtol=1e-4, atol=1e-5)
    coarse = registry.open_extractor(f"transformers:{tmp_path / kind}", grid=2)([picture])[0]
    means = features[0].reshape(2, 2, 2, 2, -1).mean(axis=(1, 3)).reshape(4, -1)
    np.testing.assert_allclose(coarse[0], means, rtol=1e-4, atol=1e-5)


def test_a_cell_sees_its_own_part_of_the_picture(tmp_path, offline):
    """A convolution has no way to look elsewhere: what changes in a corner changes that corner's region."""
    extractor = registry.open_extractor(f"transformers:{tiny('convnext', tmp_path / 'm')}", grid=2)
    plain = Image.new("RGB", (64, 32), "grey")
    for region, corner in enumerate([(0, 0), (48, 0), (0, 24), (48, 24)]):
        marked = plain.copy()
        marked.paste("red", (*corner, corner[0] + 16, corner[1] + 8))
        features, boxes = extractor([plain, marked])
        changed = np.abs(features[1] - features[0]).sum(axis=-1)
        assert changed.argmax() == region
        box = boxes[1, region]
        assert box[0] <= corner[0] < box[2]
        assert box[1] <= corner[1] < box[3]


@pytest.fixture
def detector(tmp_path, offline):
    """The folder of a tiny DETR with 20 queries."""
    t = pytest.importorskip("transformers")
    seeds.manual_seed(2)
    backbone = t.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1], out_features=["stage4"]
    )
    small = {
        f"{side}_{name}": 16 if name == "ffn_dim" else 1
        for side in ("encoder", "decoder")
        for name in ("layers", "ffn_dim", "attention_heads")
    }
    config = t.DetrConfig(
        use_timm_backbone=False, use_pretrained_backbone=False, backbone=None, backbone_config=backbone,
        d_model=16, num_queries=20, num_labels=5, **small,
    )  # fmt: skip
    t.DetrForObjectDetection(config).save_pretrained(tmp_path / "detr")
    t.DetrImageProcessor(size={"shortest_edge": 64, "longest_edge": 64}).save_pretrained(tmp_path / "detr")
    return tmp_path / "detr"


def test_a_detector_gives_its_surest_queries_with_their_boxes(detector):
    extractor = registry.open_extractor(f"transformers:{detector}", grid=3)
    picture = Image.fromarray(seeds.rng(5).integers(0, 255, (30, 80, 3), dtype=np.uint8))
    features, boxes = extractor([picture])
    assert features.shape == (1, 9, 16)
    assert (boxes >= 0).all()
    assert (boxes[..., 2:] <= (80, 30)).all()
    assert (boxes[..., 2:] > boxes[..., :2]).all()
    found = extractor.model(pixel_values=extractor.pixels([picture]))
    sure = found.logits.softmax(-1)[0, :, :-1].amax(-1)
    best = sure.sort(descending=True).indices[:9]
    np.testing.assert_allclose(
        features[0], found.last_hidden_state[0, best].detach().numpy(), rtol=1e-4, atol=1e-5
    )
    extractor.model.config.num_labels = found.logits.shape[-1]  # as of detectors without a class "no object"
    best = found.logits[0].amax(-1).sort(descending=True).indices[:9]
    states = found.last_hidden_state[0, best].detach().numpy()
    np.testing.assert_allclose(extractor([picture])[0][0], states, rtol=1e-4, atol=1e-5)
    with pytest.raises(UsageError, match="finds 20 regions"):
        registry.open_extractor(f"transformers:{detector}", grid=5)


def test_a_detector_keeps_what_it_is_sure_of_and_pads_with_zeros(detector, folder):
    extractor = registry.open_extractor(f"transformers:{detector}", grid=3)
    pictures = [Image.fromarray(seeds.rng(k).integers(0, 255, (30, 80, 3), dtype=np.uint8)) for k in range(3)]
    whole, places = extractor(pictures)
    logits = extractor.model(pixel_values=extractor.pixels(pictures)).logits
    score = logits.softmax(-1)[..., :-1].amax(-1).sort(descending=True).values[:, :9].detach().numpy()
    limit = float(np.median(score))
    extractor.keep_sure(limit)
    features, boxes = extractor(pictures)
    kept = score >= limit
    kept[:, 0] = True
    assert not kept.all()
    np.testing.assert_array_equal(features, whole * kept[..., None])
    np.testing.assert_array_equal(boxes, places * kept[..., None])
    assert extractor.record()["min_score"] == limit
    extractor.keep_sure(0.999)  # nothing is so sure: the surest stays
    np.testing.assert_array_equal(extractor(pictures)[0].any(axis=-1).sum(axis=1), [1, 1, 1])
    for wrong in (0.0, 1.0, -1.0):
        with pytest.raises(UsageError, match="a score lies between 0 and 1"):
            extractor.keep_sure(wrong)
    with pytest.raises(UsageError, match="--min-score chooses regions of a detector"):
        extract(folder, "pixels", min_score=0.5)
    result = extract(folder, f"transformers:{detector}", grid=3, min_score=limit, dtype="float32")
    counts = np.concatenate(
        [np.load(layout_path(folder, s, "features")).any(-1).sum(1) for s in ("train", "dev", "test")]
    )
    np.testing.assert_array_equal(result.regions_an_image, counts)
    said = f"regions an image: {regions_in_words(counts)}; with padding 9 regions"
    assert (said in str(result)) == (counts.min() < 9)
    assert find_manifest(folder).features["min_score"] == limit
    report = verify(folder)
    assert report.ok, report.table()


def test_the_regions_of_yolos_are_its_detection_tokens(tmp_path, offline):
    """Its last states hold the patches, too."""
    t = pytest.importorskip("transformers")
    seeds.manual_seed(4)
    small = {**SMALL, "image_size": [32, 32], "intermediate_size": 16, "num_detection_tokens": 7}
    t.YolosForObjectDetection(t.YolosConfig(**small, num_labels=3)).save_pretrained(tmp_path)
    t.YolosImageProcessor(size={"shortest_edge": 32, "longest_edge": 32}).save_pretrained(tmp_path)
    extractor = registry.open_extractor(f"transformers:{tmp_path}", grid=2)
    picture = Image.fromarray(seeds.rng(5).integers(0, 255, (30, 80, 3), dtype=np.uint8))
    features, _ = extractor([picture])
    with torch.no_grad():
        found = extractor.model(pixel_values=extractor.pixels([picture]))
    states = found.last_hidden_state[0, -7:]
    torch.testing.assert_close(extractor.model.class_labels_classifier(states), found.logits[0])
    best = found.logits[0].softmax(-1)[:, :-1].amax(-1).sort(descending=True).indices[:4]
    np.testing.assert_allclose(features[0], states[best].numpy(), rtol=1e-4, atol=1e-5)


@pytest.fixture
def vit(tmp_path, offline):
    return tiny("vit", tmp_path / "vit")


def without_preprocessor(vit):
    (vit / "preprocessor_config.json").unlink()


def cut_short(vit):
    path = vit / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def without_a_weight(vit):
    from safetensors.torch import load_file, save_file

    tensors = load_file(vit / "model.safetensors")
    del tensors["layernorm.weight"]
    save_file(tensors, vit / "model.safetensors", {"format": "pt"})


def of_text(vit):
    from transformers import BertConfig, BertModel

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertModel(BertConfig(**small, intermediate_size=8, vocab_size=9)).save_pretrained(vit)


def of_grey_pictures(vit):
    from transformers import ViTConfig, ViTModel

    ViTModel(ViTConfig(**SMALL, intermediate_size=8, num_channels=1)).save_pretrained(vit)


def of_another_size(vit):
    from transformers import ViTImageProcessor

    ViTImageProcessor(size={"height": 48, "width": 48}).save_pretrained(vit)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (without_preprocessor, r"preprocessor_config.json file\); without a network copy"),
        (cut_short, "cannot load .*vit.* header"),
        (without_a_weight, r"files lack the weight layernorm\.weight, which would be random"),
        (of_text, "vit is a model of input_ids, not of pictures; name a vision model"),
        (of_grey_pictures, "cannot take an RGB picture of 32 x 32 .*Expected 1 but got 3"),
        (of_another_size, "cannot take an RGB picture of 48 x 48"),
    ],
)
def test_a_model_that_cannot_describe_pictures_is_one_sentence(vit, change, says):
    change(vit)
    with pytest.raises(NaafError, match=says) as error:
        registry.open_extractor(f"transformers:{vit}", grid=2)
    assert "\n" not in str(error.value)


def test_a_grid_finer_than_the_model_is_refused(tmp_path, offline):
    with pytest.raises(UsageError, match="4 x 4 cells; give --grid 4 or less"):
        registry.open_extractor(f"transformers:{tiny('vit', tmp_path / 'vit')}", grid=6)


def test_other_weights_are_another_extractor(tmp_path, offline):
    path = tiny("vit", tmp_path / "vit")
    first = registry.open_extractor(f"transformers:{path}", grid=2).record()
    assert registry.open_extractor(f"transformers:{path}", grid=2).record() == first
    from transformers import ViTModel

    model = ViTModel.from_pretrained(path)
    with torch.no_grad():
        model.layernorm.bias[0] += 1e-3
    model.save_pretrained(path)
    assert registry.open_extractor(f"transformers:{path}", grid=2).record()["sha256"] != first["sha256"]


def test_a_model_that_is_not_here_says_what_to_copy(tmp_path, offline, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # or it tries five times
    for name in ("nobody/nothing", tmp_path):
        with pytest.raises(NaafError, match=r"copy the model's folder \(config.json") as error:
            registry.open_extractor(f"transformers:{name}")
        assert "\n" not in str(error.value)


# ---- ONNX


def onnx_model(path, size=(16, 16), batch="n", inputs=1, kind="FLOAT", channels=3, last=False, flat=False):
    """The mean of each channel over 4 x 4 pixels, as a map. size: rows, columns. last: channels are last."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    number = getattr(TensorProto, kind)
    shape = [batch, *size, channels] if last else [batch, channels, *size]
    taken = [helper.make_tensor_value_info(f"pixels{k or ''}", number, shape) for k in range(inputs)]
    nodes = [helper.make_node("AveragePool", ["before"], ["after"], kernel_shape=[4, 4], strides=[4, 4])]
    first, final = ("Transpose", "Transpose") if last else ("Identity", "Flatten" if flat else "Identity")
    orders = [{"perm": [0, 3, 1, 2]}, {"perm": [0, 2, 3, 1]}] if last else [{}, {}]
    if kind == "UINT8":
        first, orders[0], number = "Cast", {"to": TensorProto.FLOAT}, TensorProto.FLOAT
    nodes.insert(0, helper.make_node(first, ["pixels"], ["before"], **orders[0]))
    nodes.append(helper.make_node(final, ["after"], ["map"], **orders[1]))
    given = helper.make_tensor_value_info("map", number, [batch, None] if flat else [batch, None, None, None])
    graph = helper.make_graph(nodes, "means", taken, [given])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    "how",
    [
        {"batch": 1},
        {"batch": 2},
        {"kind": "FLOAT16"},
        {"last": True},
        {"last": True, "batch": 1, "kind": "FLOAT16"},
        {"size": (8, 24)},
        {"size": (None, None)},
    ],
)
def test_every_form_of_onnx_model_gives_the_same_means(tmp_path, how):
    pictures = [
        Image.fromarray(np.full((size, 24, 3), seeds.rng(size).integers(0, 255, 3), np.uint8))
        for size in (24, 16, 8)
    ]
    extractor = registry.open_extractor(f"onnx:{onnx_model(tmp_path / 'm.onnx', **how)}", grid=2)
    features, boxes = extractor(pictures)
    colours = np.stack([np.asarray(picture)[0, 0] / 255 for picture in pictures])
    wanted = (colours - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    tolerance = 5e-3 if "kind" in how else 1e-5
    np.testing.assert_allclose(features, np.tile(wanted[:, None], (1, 4, 1)), atol=tolerance)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(boxes[:, -1, 2:], [picture.size for picture in pictures])


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"inputs": 2}, r"takes 2 inputs \(pixels, pixels1\), pictures are one"),
        ({"channels": 1}, r"takes tensor\(float\) \['n', 1, 16, 16\]; float pictures"),
        ({"kind": "UINT8"}, r"takes tensor\(uint8\)"),
        ({"flat": True}, r"gives \(1, 48\); a map"),
    ],
)
def test_an_onnx_model_of_something_else_is_one_sentence(tmp_path, how, says):
    with pytest.raises(NaafError, match=f"m.onnx: {says}") as error:
        registry.open_extractor(f"onnx:{onnx_model(tmp_path / 'm.onnx', **how)}", grid=2)
    assert "\n" not in str(error.value)


def test_an_onnx_model_gives_the_means_of_its_map(tmp_path):
    extractor = registry.open_extractor(f"onnx:{onnx_model(tmp_path / 'm.onnx')}", grid=2)
    pixels = seeds.rng(6).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    features, boxes = extractor([Image.fromarray(pixels)])
    wanted = (pixels / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
    wanted = wanted.reshape(2, 8, 2, 8, 3).mean(axis=(1, 3)).reshape(4, 3)
    np.testing.assert_allclose(features[0], wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(boxes[0], grid_boxes((16, 16), 2))
    with pytest.raises(UsageError, match="4 x 4 cells"):
        registry.open_extractor(f"onnx:{tmp_path / 'm.onnx'}", grid=6)


@pytest.mark.parametrize("grid", [2, 3])
def test_pooling_to_a_grid_is_torch_s(grid):
    pytest.importorskip("onnxruntime")
    from naaflib.data.extract.onnx import _pooled

    cells = seeds.rng(7).normal(size=(2, 7, 5, 3)).astype(np.float32)
    torch_s = torch.nn.functional.adaptive_avg_pool2d(torch.tensor(cells).permute(0, 3, 1, 2), grid)
    np.testing.assert_allclose(
        _pooled(cells, grid), torch_s.flatten(2).transpose(1, 2).numpy(), rtol=1e-5, atol=1e-6
    )


def test_an_onnx_model_that_fails_as_it_runs_is_one_sentence(tmp_path):
    extractor = registry.open_extractor(f"onnx:{onnx_model(tmp_path / 'm.onnx')}", grid=2)
    extractor.preprocessing = replace(extractor.preprocessing, size=(20, 16))  # not what the file says
    with pytest.raises(NaafError, match="onnxruntime cannot run it") as error:
        extractor([Image.new("RGB", (9, 9))])
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_model_is_one_sentence(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "m.onnx").write_text("no model")
    with pytest.raises(NaafError, match="onnxruntime cannot read it") as error:
        registry.open_extractor(f"onnx:{tmp_path / 'm.onnx'}")
    assert "\n" not in str(error.value)


# ---- timm: not installed with the tests' packages, because its torchvision must fit the torch that is there


@pytest.fixture
def timm(offline):
    """Skips where timm, or the torchvision under it, cannot be imported."""
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm cannot be imported: {error}")
    return timm


def timm_folder(timm, name, path):
    """A random model in a folder, as timm reads it from its hub."""
    seeds.manual_seed(3)
    timm.models.save_for_hf(timm.create_model(name, pretrained=False), path, safe_serialization=True)
    return path


@pytest.mark.parametrize("name", ["test_vit", "test_vit4", "test_convnext", "test_resnet"])
def test_a_timm_model_gives_the_means_of_its_last_map(timm, tmp_path, name):
    path = timm_folder(timm, name, tmp_path / "m")
    extractor = registry.open_extractor(f"timm:{path}", grid=1)
    picture = Image.fromarray(seeds.rng(5).integers(0, 255, (30, 80, 3), dtype=np.uint8))
    features, boxes = extractor([picture, picture.transpose(Image.Transpose.ROTATE_180)])
    np.testing.assert_array_equal(boxes[0], [[0, 0, 80, 30]])
    width, height = extractor.preprocessing.size
    known = timm.data.resolve_model_data_config(extractor.model)
    assert known["input_size"] == (3, height, width)
    how = Image.Resampling[known["interpolation"].upper()]  # bilinear of the ResNet
    square = np.asarray(picture.resize((width, height), how), np.float32) / 255
    pixels = torch.tensor((square - known["mean"]) / known["std"], dtype=torch.float32).permute(2, 0, 1)
    with torch.no_grad():
        whole = extractor.model.forward_features(pixels[None])
    prefix = getattr(extractor.model, "num_prefix_tokens", 0)
    wanted = whole[:, prefix:].mean(1) if whole.ndim == 3 else whole.mean((2, 3))
    np.testing.assert_allclose(features[0, 0], wanted[0], rtol=1e-3, atol=1e-4)
    record = extractor.record()
    assert record["extractor"] == "timm:m"
    assert record["preprocessing"].startswith(f"{width} x {height}, {known['interpolation']}, no crop, mean ")
    assert registry.open_extractor(f"timm:local-dir:{path}", grid=1).record() == record


def test_a_timm_cell_sees_its_own_part_of_the_picture(timm, tmp_path):
    extractor = registry.open_extractor(f"timm:{timm_folder(timm, 'test_resnet', tmp_path / 'm')}", grid=2)
    plain = Image.new("RGB", (64, 32), "grey")
    for region, corner in enumerate([(0, 0), (48, 0), (0, 24), (48, 24)]):
        marked = plain.copy()
        marked.paste("red", (*corner, corner[0] + 16, corner[1] + 8))
        features, _ = extractor([plain, marked])
        assert np.abs(features[1] - features[0]).sum(axis=-1).argmax() == region


def test_a_timm_model_that_is_not_here_says_what_to_copy(timm, tmp_path):
    for name in ("nobody", "hf-hub:nobody/nothing", "test_vit", tmp_path):
        with pytest.raises(NaafError, match=r"copy the model's folder \(config.json, model") as error:
            registry.open_extractor(f"timm:{name}")
        assert "\n" not in str(error.value)
    with pytest.raises(UsageError, match="give --grid"):
        registry.open_extractor(f"timm:{timm_folder(timm, 'test_vit', tmp_path / 'm')}", grid=50)


def test_a_torchvision_of_another_torch_is_one_sentence(monkeypatch):
    def broken(name, package=None):
        if name == "torchvision":
            raise RuntimeError("operator torchvision::nms does not exist")
        raise ModuleNotFoundError("Could not import module 'AutoImageProcessor'.")  # transformers hides why

    monkeypatch.setattr(registry, "import_module", broken)
    with pytest.raises(
        NaafError, match=r"nms does not exist\); install the torchvision that belongs to this"
    ):
        registry.open_extractor("transformers:x")


# ---- pictures of every size, by every extractor


@pytest.mark.parametrize("kind", ["pixels", "transformers", "onnx"])
def test_pictures_of_any_size_and_mode_have_finite_features_and_boxes_inside(tmp_path, offline, kind):
    """One pixel, a line of 5000, two colours, transparent, turned by EXIF; stored by import or not."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for name, size, mode in (
        ("dot", (1, 1), "RGB"),
        ("tall", (1, 5000), "RGB"),
        ("wide", (5000, 1), "L"),
        ("bits", (9, 7), "1"),
        ("clear", (9, 7), "RGBA"),
        ("palette", (9, 7), "P"),
    ):
        Image.new(mode, size, 1).save(photos / f"{name}.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("CMYK", (9, 7)).save(photos / "turned.jpg", exif=exif)
    captions = tmp_path / "captions.json"
    captions.write_text(json.dumps({path.name: "a picture" for path in photos.iterdir()}))
    import_pictures(photos, captions, tmp_path / "mine", splits="1/1")
    model = {
        "pixels": lambda: "pixels",
        "transformers": lambda: f"transformers:{tiny('vit', tmp_path / 'vit')}",
        "onnx": lambda: f"onnx:{onnx_model(tmp_path / 'm.onnx')}",
    }[kind]()
    grid = {} if kind == "pixels" else {"grid": 2}
    extract(tmp_path / "mine", model, **grid)
    report = verify(tmp_path / "mine")
    assert report.ok, report.table()
    for path in (tmp_path / "mine/images").iterdir():  # as a hand-made folder may hold them
        source = next(one for one in photos.iterdir() if one.stem == path.stem)
        path.unlink()
        path.write_bytes(source.read_bytes())
    before = files(tmp_path / "mine")
    extract(tmp_path / "mine", model, **grid, overwrite=True)
    after = files(tmp_path / "mine")
    assert before["train_ims_size.npy"] == after["train_ims_size.npy"]
    assert before["train_ims_bbx.npy"] == after["train_ims_bbx.npy"]
