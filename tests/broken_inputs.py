"""The corpus of broken inputs: what is broken, how, by which command, and the sentence that answers.

`make_base` writes a tiny data set, a trained run, an index, public benchmarks and other files into a folder;
a case breaks one file of a copy of it and runs a command there. `test_broken_inputs.py` runs all cases.
"""

import base64
import gzip
import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import seeds
from safetensors import safe_open
from safetensors.torch import load_file, save_file

SETTINGS = "train.epochs=1 model.dim=8 model.word_dim=8 train.batch_size=24 mining.min_words=20"
TRAIN = f"train --data data --device cpu --set {SETTINGS} --out out"
REGIONS, DIM = 36, 5  # of the files to convert
Break = Callable[[Path], object]


class Broken(NamedTuple):
    """command: its words, paths relative to the folder. says: a part of the sentence."""

    name: str
    breaks: Break
    command: str
    says: str
    status: int = 1
    warns: bool = False  # the command goes on and says it in a line
    leaves: bool = False  # the fault is met late, when something whole (a run's folder) is written


# --- the base -------------------------------------------------------------------------------------------


def make_base(folder: Path) -> None:
    """Everything that cases break."""
    from naaflib.cli import main
    from naaflib.data.scenes import dataset as built_in
    from naaflib.data.scenes.public_forms import write_public_forms

    here = Path.cwd()
    os.chdir(folder)
    try:
        built_in.build(Path("data"), seed=seeds.shifted(), train=12, dev=6, test=6)
        write_public_forms(Path("data"), Path("forms"))
        for command in (
            f"{TRAIN.removesuffix('out')}run --set train.seed={seeds.shifted()}",
            "evaluate run --device cpu",
            "index run --split test --out index",
        ):
            assert main(command.split()) == 0
    finally:
        os.chdir(here)
    _add_files(folder)


def _add_files(folder: Path) -> None:
    rng = seeds.rng(7)
    scores = rng.normal(size=(6, 30)).astype("float32")
    np.save(folder / "scores.npy", scores)
    np.savez(folder / "scores.npz", scores=scores)
    words = json.loads((folder / "run/vocabulary.json").read_text())["words"]
    vectors = "".join(f"{word} {' '.join(['0.5'] * 8)}\n" for word in words)
    (folder / "glove.txt").write_text(vectors)
    write_zip("glove.zip", "glove.txt", vectors.encode())(folder)
    (folder / "vocab.json").write_text(json.dumps({"words": words}))
    names = [f"{k}.jpg" for k in range(3)]
    table = "".join(f"{name}\ta cat {k}\n" for name in names for k in range(5))
    (folder / "table.tsv").write_text(table)
    sentences = [{"raw": f"a cat {k}"} for k in range(5)]
    images = [{"filename": name, "split": "test", "sentences": sentences} for name in names]
    (folder / "karpathy.json").write_text(json.dumps({"images": images}))
    pictures = sorted(path.name for path in (folder / "data/images").iterdir())[:10]
    own = {name: [f"a cat {k}" for k in range(5)] for name in pictures}
    (folder / "own.json").write_text(json.dumps(own))
    lines = [json.dumps({"image": name, "captions": texts}) for name, texts in own.items()]
    (folder / "own.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "regions.tsv").write_text("".join(map(region_row, names)))
    (folder / "npz").mkdir()
    for name in names:
        np.savez(folder / "npz" / f"{name.removesuffix('.jpg')}.npz", **region_arrays())
    (folder / "ids.txt").write_text("".join(f"{name}\n" for name in names))
    (folder / "spec.yaml").write_text("name: few\nseeds: [0, 1]\ngrid: {model.dim: [8, 16]}\n")
    shutil.copytree(folder / "run", folder / "run2")
    (folder / "image_ids.txt").write_text((folder / "data/test_image_names.txt").read_text())


def region_arrays() -> dict[str, np.ndarray]:
    rng = seeds.rng(5)
    low = rng.uniform(0, 20, size=(REGIONS, 2))
    boxes = np.hstack([low, low + 9]).astype("float32")
    features = rng.normal(size=(REGIONS, DIM)).astype("float32")
    return {"x": features, "bbox": boxes, "image_w": np.array(64), "image_h": np.array(48)}


def region_row(name: str, **changes: object) -> str:
    arrays = region_arrays()
    packed = {key: base64.b64encode(arrays[key].tobytes()).decode() for key in ("bbox", "x")}
    row = {"id": name, "w": 64, "h": 48, "count": REGIONS, "boxes": packed["bbox"], "features": packed["x"]}
    return "\t".join(str(value) for value in {**row, **changes}.values()) + "\n"


# --- ways to break a file -------------------------------------------------------------------------------


def text(name: str, content: str) -> Break:
    return raw(name, content.encode("utf-8", "surrogatepass"))


def raw(name: str, content: bytes) -> Break:
    def breaks(folder: Path) -> None:
        remove(name)(folder)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    return breaks


def remove(name: str) -> Break:
    return lambda folder: (folder / name).unlink(missing_ok=True)


def pipe(name: str) -> Break:
    return lambda folder: (remove(name)(folder), os.mkfifo(folder / name))


def device(name: str) -> Break:
    return link(name, "/dev/zero")


def directory(name: str) -> Break:
    return lambda folder: (remove(name)(folder), (folder / name).mkdir())


def link(name: str, target: str) -> Break:
    return lambda folder: (remove(name)(folder), (folder / name).symlink_to(target))


def loop(name: str) -> Break:
    return link(name, Path(name).name)


def replaced(name: str, was: str, now: str, times: int = 1) -> Break:
    def breaks(folder: Path) -> None:
        before = (folder / name).read_text(encoding="utf-8")
        assert was in before, f"{name} has no {was!r}"
        text(name, before.replace(was, now, times))(folder)

    return breaks


def line(name: str, number: int, content: str) -> Break:
    """Another content of a line, counted from 1."""

    def breaks(folder: Path) -> None:
        lines = (folder / name).read_text(encoding="utf-8").split("\n")
        lines[number - 1] = content
        text(name, "\n".join(lines))(folder)

    return breaks


def cut(name: str, share: float = 0.5) -> Break:
    def breaks(folder: Path) -> None:
        content = (folder / name).read_bytes()
        raw(name, content[: int(len(content) * share)])(folder)

    return breaks


def array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Break:
    """The array of a .npy, changed."""

    def breaks(folder: Path) -> None:
        changed = change(np.load(folder / name))
        (folder / name).unlink()
        np.save(folder / name, changed, allow_pickle=True)

    return breaks


def put(where: object, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(values: np.ndarray) -> np.ndarray:
        values = values.astype("float32")
        values[where] = value
        return values

    return change


def header(name: str, shape: str, descr: str = "<f4") -> Break:
    """A .npy that promises a shape and holds a few bytes."""
    about = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return raw(name, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(about)) + about.encode() + b"\0" * 64)


def record(name: str, change: Callable[[object], object]) -> Break:
    """The value in a JSON file, changed."""

    def breaks(folder: Path) -> None:
        value = json.loads((folder / name).read_text(encoding="utf-8"))
        text(name, json.dumps(change(value)))(folder)

    return breaks


def without(*keys: str) -> Callable[[dict], dict]:
    return lambda value: {key: one for key, one in value.items() if key not in keys}


def weights(change: Callable[[dict], dict], about: Callable[[dict], dict] = dict) -> Break:
    """Tensors and header of the run's best checkpoint, changed."""

    def breaks(folder: Path) -> None:
        path = folder / "run/checkpoints/best.safetensors"
        with safe_open(path, framework="np") as file:
            head = json.loads(file.metadata()["naaf"])
        tensors = {key: one.clone() for key, one in change(load_file(path)).items()}
        path.unlink()
        save_file(
            {key: one.contiguous() for key, one in tensors.items()}, path, {"naaf": json.dumps(about(head))}
        )

    return breaks


def tensor(name: str, change: Callable) -> Break:
    return weights(lambda tensors: {**tensors, f"model.{name}": change(tensors[f"model.{name}"])})


def about(**changes: object) -> Break:
    return weights(dict, lambda head: {**head, **changes})


def write_zip(name: str, inside: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Break:
    def breaks(folder: Path) -> None:
        remove(name)(folder)
        with zipfile.ZipFile(folder / name, "w", method) as archive:
            archive.writestr(inside, content)

    return breaks


def marked_zip(name: str, flag: int = 0, method: int | None = None) -> Break:
    """The zip with a flag (1: encrypted) or a method (9: deflate64) written into its headers."""

    def breaks(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            place = content.find(mark)
            while place >= 0:
                content[place + at] |= flag
                if method is not None:
                    content[place + at + 2] = method
                place = content.find(mark, place + 4)
        raw(name, bytes(content))(folder)

    return breaks


def several(*all_of: Break) -> Break:
    return lambda folder: [breaks(folder) for breaks in all_of]


def nothing(folder: Path) -> None:
    """The command itself is what is broken."""


def png(width: int, height: int) -> bytes:
    """A whole PNG header of that size, with no pixels behind it."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    )


# --- cases ----------------------------------------------------------------------------------------------

DEEP = "[" * 100_000
IN_JSON: dict[str, tuple[str, str]] = {  # what is written, what the sentence says
    "empty": ("", "not whole JSON"),
    "cut": ('{"a": ', "not whole JSON"),
    "nested too deep": (DEEP, "nested too deep"),
    "not-a-number": ('{"a": NaN}', "NaN is not a number of JSON"),
    "infinity": ('{"a": -Infinity}', "-Infinity is not a number of JSON"),
    "1e999": ('{"a": 1e999}', "1e999 is too large"),
    "a key twice": ('{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands in one object twice"),
    "half a letter": ('{"a": "\\ud800"}', "surrogate pair"),
    "two values": ("{} {}", "not whole JSON"),
}
SHAPES = {"a list": "[]", "a number": "3", "null": "null", "a text": '"words"'}
KINDS: dict[str, tuple[Callable[[str], Break], str]] = {  # what stands where a file should
    "a pipe": (pipe, "is a pipe or a device"),
    "a device": (device, "is a pipe or a device"),
    "a folder": (directory, "is a folder"),
    "a loop of links": (loop, "Too many levels of symbolic links"),
    "a broken link": (lambda name: link(name, "gone"), "is a link to gone, which is missing"),
}
LATIN = b'{"a": "\xe9\xff"}'
FOILS = "foils --benchmark sugar-crepe --files forms/sugar_crepe --categories replace_obj --list out.csv"
CONVERT = "data convert regions.tsv --captions table.tsv --split test --out out"
IMPORT = "data import --images data/images --captions own.json --out out"
POINTING = "pointing run --data data --entities forms/flickr30k_entities --device cpu"
EVALUATE = "evaluate run --data data --device cpu"
JUDGE = "judge scores.npy --data data --resamples 40"
EXPLAIN = "explain run --data data --device cpu --image 0 --caption 0"
GLOVE = f"{TRAIN} --glove"
SWEEP = "sweep spec.yaml --data data --out out --dry-run"
JSON_FILES: dict[str, tuple[str, str]] = {  # each file that a command reads, and what it says of other shapes
    "vocab.json": (f"{EVALUATE} --vocabulary vocab.json", "not a vocabulary"),
    "run/config.json": (EVALUATE, "is not a run's config"),
    "forms/sugar_crepe/replace_obj.json": (FOILS, "is not an object of items by their ids"),
    "karpathy.json": (CONVERT.replace("table.tsv", "karpathy.json"), "not one of Karpathy's files"),
    "own.json": (IMPORT, "own.json"),
    "index/index.json": ("search index cat", "not an index that this version reads"),
    "index/parts/0000/part.json": ("search index cat", "part.json"),
    "run/metrics/test.full.json": (EVALUATE, "test.full.json"),
    "run/scores/test.json": (
        "compare run run2 --split test --resamples 40",
        "run does not say what its scores are of",
    ),
    "data/test_links.json": ("pointing run --data data --device cpu", "test_links.json"),
    "data/test_foils.json": ("data public-forms data out", "test_foils.json"),
}


OTHERWISE = {  # a part without its record is one that was never finished
    **{
        ("index/parts/0000/part.json", what): "has no whole part"
        for what in ("a loop of links", "a broken link")
    },
    ("data/test_links.json", "a list"): "0 rows of links do not fit",
    ("scores.npy", "a broken link"): "gone does not exist",
    ("scores.npz", "a broken link"): "gone does not exist",
    ("scores.npy", "a loop of links"): "scores.npy does not exist",
    ("scores.npz", "a loop of links"): "scores.npz does not exist",
    **{
        (name, what): f"{name} is not a file"
        for name in ("scores.npy", "scores.npz")
        for what in KINDS
        if what[2:5] in ("pip", "dev", "fol")
    },
    ("run/checkpoints/best.safetensors", "a folder"): "is not a run",
}
LEGAL = [("data/test_foils.json", "a list")]  # of no foils


def cases() -> Iterator[Broken]:
    yield from _json()
    yield from _arrays()
    yield from _texts()


def _json() -> Iterator[Broken]:
    for name, (command, of_shape) in JSON_FILES.items():
        for what, (content, says) in IN_JSON.items():
            yield Broken(f"{name}: {what}", text(name, content), command, says)
        yield Broken(f"{name}: not UTF-8", raw(name, LATIN), command, "not UTF-8")
        for what, content in SHAPES.items():
            if (name, what) not in LEGAL:
                says = OTHERWISE.get((name, what), of_shape)
                yield Broken(f"{name}: {what}", text(name, content), command, says)
        for what, (kind, says) in KINDS.items():
            yield Broken(f"{name}: {what}", kind(name), command, OTHERWISE.get((name, what), says))


ARRAYS: dict[str, tuple[str, bool]] = {  # each .npy, the command that reads it, and whether it holds regions
    "data/test_ims.npy": (EVALUATE, True),
    "data/train_ims.npy": (TRAIN, True),
    "data/test_ims_bbx.npy": (EVALUATE, True),
    "data/test_ims_size.npy": (EVALUATE, False),
    "scores.npy": (JUDGE, False),
}


def _arrays() -> Iterator[Broken]:
    for name, (command, _) in ARRAYS.items():
        for what, breaks, says in (
            ("empty", raw(name, b""), "not a .npy file"),
            ("text", text(name, "hello"), "not a .npy file"),
            ("cut short", cut(name, 0.95), "cut short"),
            ("a header of 1e15 numbers", header(name, "(10**15, 2, 2)"), "header is damaged"),
            ("promises petabytes", header(name, f"({10**12}, 36, 68)"), "cut short"),
            ("a negative size", header(name, "(-1, 2, 2)"), "header is damaged"),
            ("texts", array(name, lambda values: values.astype(str)), "not plain numbers"),
            ("complex numbers", array(name, lambda values: values.astype(complex)), "not plain numbers"),
            ("one axis", array(name, np.ravel), Path(name).name),
            ("no rows", array(name, lambda values: values[:0]), Path(name).name),
        ):
            yield Broken(f"{name}: {what}", breaks, command, says)
        for what, (kind, says) in KINDS.items():
            yield Broken(f"{name}: {what}", kind(name), command, OTHERWISE.get((name, what), says))
    yield from _numbers()
    yield from _weights()


def _numbers() -> Iterator[Broken]:
    """Silently wrong numbers, were they not refused."""
    features, boxes, sizes = "data/test_ims.npy", "data/test_ims_bbx.npy", "data/test_ims_size.npy"
    for what, change, says in (
        ("NaN", put((2, 3, 1), np.nan), "image 2: its features are not finite"),
        ("infinite", put((2, 3, 1), np.inf), "image 2: its features are not finite"),
        ("times 1e30", lambda values: values.astype("float32") * 1e30, "which no network gives"),
        ("one image of zeros", put(4, 0), "image 4: its features are all zero"),
        ("all zero", lambda values: values * 0, "image 0: its features are all zero"),
        ("whole numbers", lambda values: values.astype(int), "region features are float16 or float32"),
        (
            "another dimension",
            lambda values: values[..., :7],
            "features a region and the model was trained on",
        ),
        ("an image less", lambda values: values[:-1], "captions"),
    ):
        yield Broken(f"features: {what}", array(features, change), EVALUATE, says)
        if what not in ("another dimension",):
            yield Broken(
                f"training features: {what}",
                array("data/train_ims.npy", change), TRAIN, says, leaves=True,
            )  # fmt: skip
    for what, change, says in (
        ("of another count", lambda values: values[:, :-1], "35 boxes an image for 36 regions"),
        ("NaN", put((1, 0, 2), np.nan), "a box of image 1 is not finite"),
        ("infinite", put((1, 0, 2), np.inf), "a box of image 1 is not finite"),
        ("between 0 and 1", lambda values: values / 1e4, "as shares of the picture"),
        ("an image less", lambda values: values[:-1], "5 rows for 6 images"),
        ("of five numbers", lambda values: np.pad(values, ((0, 0), (0, 0), (0, 1))), "(images, regions, 4)"),
    ):
        for command in (EVALUATE, EXPLAIN, POINTING):
            yield Broken(f"boxes {what}: {command.split()[0]}", array(boxes, change), command, says)
    for what, change, says in (
        ("of 0", put((2, 1), 0), "image 2 has the size"),
        ("below 0", put((2, 0), -5), "image 2 has the size"),
        ("NaN", put((2, 0), np.nan), "row 2 is not finite"),
        ("of three numbers", lambda values: np.pad(values, ((0, 0), (0, 1))), "sizes have the shape"),
    ):
        yield Broken(f"sizes {what}", array(sizes, change), EVALUATE, says)
    for what, change, says in (
        ("NaN", put((1, 3), np.nan), "scores.npy"),
        ("infinite", put((1, 3), np.inf), "scores.npy"),
        ("of another size", lambda values: values[:, :-1], "6 x 29"),
        ("with three axes", lambda values: values[None], "a score matrix is images x captions"),
        ("truth values", lambda values: values > 0, "not plain numbers"),
    ):
        yield Broken(f"scores {what}", array("scores.npy", change), JUDGE, says)


def _weights() -> Iterator[Broken]:
    import torch

    best = "run/checkpoints/best.safetensors"
    for what, breaks, says in (
        ("NaN in the boundary", tensor("boundary_pair", lambda t: t * torch.nan), "boundary_pair holds NaN"),
        (
            "NaN in a weight",
            tensor("image_encoder.fc.weight", lambda t: t * torch.nan),
            "holds NaN or infinity",
        ),
        (
            "infinity in a bias",
            tensor("image_encoder.fc.bias", lambda t: t + torch.inf),
            "holds NaN or infinity",
        ),
        ("weights times 1e30", tensor("image_encoder.fc.weight", lambda t: t * 1e30), "a number of size"),
        ("words times 1e30", tensor("text_encoder.embed.weight", lambda t: t * 1e30), "a number of size"),
        ("whole weights", tensor("image_encoder.fc.weight", lambda t: t.int()), "holds int32"),
        ("a whole boundary", tensor("boundary_pair", lambda t: t.long()), "holds int64"),
        ("all weights 0", weights(lambda all_: {k: v * 0 for k, v in all_.items()}), "no direction"),
        ("a weight of another shape", tensor("image_encoder.fc.weight", lambda t: t[:, :5]), "is damaged"),
        ("a weight missing", weights(without("model.image_encoder.fc.bias")), "is damaged"),
        ("no tensors", weights(lambda all_: {}), "is damaged"),
        ("a word less", shortened_vocabulary(), "its vocabulary has"),
        ("a word null", about(vocabulary={"words": [None]}), "'None' stands where a word should"),
        ("no vocabulary", about(vocabulary=3), "is damaged"),
        ("another format", about(format="x"), "not a checkpoint of this library"),
        ("settings a list", about(model=[]), "is damaged"),
        ("1e12 dimensions", about(model={"method": "naaf", "dim": 10**12}), "is damaged"),
        ("1e12 features", about(region_dim=10**12), "is damaged"),
        ("words below 0", about(words=-3), "is damaged"),
        ("a header that is a list", weights(dict, lambda head: {"format": [head]}), "not a checkpoint"),
        ("empty", raw(best, b""), "not a whole checkpoint"),
        ("cut short", cut(best), "not a whole checkpoint"),
        ("a header of 2**62 bytes", raw(best, struct.pack("<Q", 2**62) + b"{}"), "not a whole checkpoint"),
    ):
        yield Broken(f"checkpoint: {what}", breaks, EVALUATE, says)
    for what, (kind, says) in KINDS.items():
        says = OTHERWISE.get((best, what), says)
        yield Broken(f"checkpoint: {what}", kind(best), f"evaluate {best} --data data --device cpu", says)


def shortened_vocabulary() -> Break:
    def less(head: dict) -> dict:
        return {**head, "vocabulary": {"words": head["vocabulary"]["words"][:-1]}}

    return weights(dict, less)


def _texts() -> Iterator[Broken]:
    yield from _captions()
    yield from _vocabularies()
    yield from _packed()
    yield from _tables()
    yield from _public()
    yield from _logs()
    yield from _samples()
    yield from _settings()


def _captions() -> Iterator[Broken]:
    name = "data/test_caps.txt"
    for what, breaks, says in (
        ("empty", text(name, ""), "test_caps.txt"),
        ("an empty line", line(name, 3, ""), "line 3: the line is empty"),
        ("a line of blanks", line(name, 3, " \t "), "line 3: the line is empty"),
        ("a line less", replaced(name, "\n", " "), "29 captions"),
        ("not UTF-8", raw(name, b"a cat\n\xff\xfe\n"), "line 2: not UTF-8"),
        ("two million words", line(name, 2, "a " * 2_000_000), "line 2: a text of 3,999,999 letters"),
        ("a word of 10 MB", line(name, 2, "a" * 10_000_000), "line 2: a text of 10,000,000 letters"),
    ):
        yield Broken(f"captions: {what}", breaks, EVALUATE, says)
        yield Broken(f"captions to judge: {what}", breaks, JUDGE, says)
    for what, (kind, says) in KINDS.items():
        yield Broken(f"captions: {what}", kind(name), EVALUATE, says)
    names = "data/test_image_names.txt"
    for what, (kind, says) in KINDS.items():
        yield Broken(f"image names: {what}", kind(names), EVALUATE, says)
    yield Broken("image names: an empty line", line(names, 2, ""), EVALUATE, "line 2: the line is empty")
    yield Broken("image names: one less", replaced(names, "\n", " "), EVALUATE, "5 rows for 6 images")
    for what, (kind, says) in KINDS.items():
        yield Broken(f"manifest: {what}", kind("data/manifest.yaml"), EVALUATE, says)
    yield Broken(
        "test features missing, captions there", remove("data/test_ims.npy"), EVALUATE,
        "has no test_ims.npy beside it; dev is taken", 0, warns=True,
    )  # fmt: skip
    for what, words, says in (
        ("blank", " ", "no word"),
        ("of letters without end", "a" * 20_000, "a text of 20,000 letters"),
    ):
        yield Broken(f"explained caption {what}", nothing, f"{EXPLAIN[:-1]}{words!r}", says)
    for kind in ("picture", "words", "attention"):
        command, says = (
            f"{EXPLAIN} --figure {kind} --out a.png",
            "has 3,002 words, and a figure shows at most 400",
        )
        yield Broken(f"{kind} of many words", line(name, 1, "ab " * 3000), command, says)


def _vocabularies() -> Iterator[Broken]:
    command, name = JSON_FILES["vocab.json"][0], "vocab.json"
    special = ["<pad>", "<start>", "<end>", "<unk>"]
    for what, content, says in (
        ("null for a word", {"words": [*special, None]}, "'None' stands where a word should"),
        ("{} for a word", {"words": [*special, {}]}, "'{}' stands where a word should"),
        ("a number for a word", {"words": [*special, 3]}, "'3' stands where a word should"),
        ("an empty word", {"words": [*special, ""]}, "'' stands where a word should"),
        ("null in idx2word", {"idx2word": {"0": "<pad>", "1": None}}, "'None' stands where a word should"),
        ("an id that is text", {"word2idx": {"<pad>": "x"}}, "'x' is no id"),
        ("an id of a half", {"word2idx": {"<pad>": 0.5}}, "'0.5' is no id"),
        ("an id below 0", {"word2idx": {"<pad>": -1}}, "'-1' is no id"),
        ("true for an id", {"word2idx": {"<pad>": True}}, "'True' is no id"),
        ("a hole in the ids", {"word2idx": {"<pad>": 0, "a": 7}}, "ids are not 0 to 1"),
        ("one id twice", {"word2idx": {"<pad>": 0, "a": 0}}, "two words share one id"),
        ("a word twice", {"words": [*special, "a", "a"]}, "two words share one"),
        ("no <unk>", {"words": special[:-1]}, "<unk> is missing"),
        ("words in a dict", {"words": {}}, "none of the keys"),
        ("a word less", {"words": [*special, "a"]}, "holds 5 words"),
    ):
        yield Broken(f"vocabulary: {what}", text(name, json.dumps(content)), command, says)
    yield Broken("vocabulary: a pickle", raw(name, b"\x80\x04N."), command, "is not read")


def _packed() -> Iterator[Broken]:
    plain, packed = f"{GLOVE} glove.txt", f"{GLOVE} glove.zip"
    for what, breaks, says in (
        ("empty", text("glove.txt", ""), "holds no vector"),
        ("a line too short", line("glove.txt", 3, "cat 1 2"), "line 3: 2 numbers"),
        ("a line too long", line("glove.txt", 3, "cat" + " 1" * 9), "line 3: 9 numbers"),
        ("a word alone", line("glove.txt", 3, "cat"), "line 3: 0 numbers"),
        ("no number", line("glove.txt", 1, "<pad>" + " x" * 8), "line 1: not a word and 8 numbers"),
        ("NaN", line("glove.txt", 1, "<pad>" + " nan" * 8), "line 1: a number is not finite"),
        ("binary", raw("glove.txt", b"\0" * 99), "holds binary vectors"),
        ("another dimension", text("glove.txt", "<pad> 1 2\n"), "the vectors have 2 dimensions"),
        ("a line without end", text("glove.txt", "a" * 3_000_000), "longer than"),
    ):
        yield Broken(f"GloVe: {what}", breaks, plain, says)
    for what, (kind, says) in KINDS.items():
        yield Broken(f"GloVe: {what}", kind("glove.txt"), plain, says)
    for what, breaks, says in (
        ("encrypted", marked_zip("glove.zip", flag=1), "encrypted"),
        ("deflate64", marked_zip("glove.zip", method=9), "not a whole zip file"),
        ("an unknown method", marked_zip("glove.zip", method=77), "not a whole zip file"),
        ("cut", cut("glove.zip"), "not a whole zip file"),
        ("no text inside", write_zip("glove.zip", "a.bin", b"x"), "holds no .txt or .vec"),
        ("a bomb", write_zip("glove.zip", "a.txt", b"a" * 10**7), "longer than"),
        ("a gzip that is cut", raw("glove.zip", gzip.compress(b"a 1 2\n" * 999)[:20]), "not a whole gzip"),
    ):
        yield Broken(f"GloVe zip: {what}", breaks, packed, says)
    judge = JUDGE.replace("scores.npy", "scores.npz")
    folder = CONVERT.replace("regions.tsv", "npz")
    for name, command in (("scores.npz", judge), ("npz/0.npz", folder)):
        for what, breaks, says in (
            ("empty", raw(name, b""), "not a whole .npz"),
            ("cut", cut(name), "not a whole .npz"),
            ("encrypted", marked_zip(name, flag=1), "encrypted"),
            ("deflate64", marked_zip(name, method=9), "not a whole .npz"),
            ("objects", savez(name, np.array([{}, 1])), ".npz"),
            ("texts", savez(name, np.array(["a"])), "npz"),
        ):
            yield Broken(f"{name}: {what}", breaks, command, says)
        for what, (kind, says) in KINDS.items():
            yield Broken(f"{name}: {what}", kind(name), command, OTHERWISE.get((name, what), says))
    for what, changes, says in (
        ("no boxes", {"bbox": None}, "no bbox or boxes in it"),
        ("a width of 0", {"image_w": np.array(0)}, "image_w and image_h are 0"),
        ("a width that is NaN", {"image_w": np.array(np.nan)}, "image_w and image_h are nan"),
        ("no width", {"image_w": np.array([])}, "image_w holds nothing"),
        ("boxes of NaN", {"bbox": np.full((REGIONS, 4), np.nan)}, "its boxes are not finite"),
        ("boxes of another count", {"bbox": np.ones((3, 4))}, "do not fit 3 boxes"),
        ("features of NaN", {"x": np.full((REGIONS, DIM), np.nan)}, "its features hold NaN"),
        (
            "features of 1e300",
            {"x": np.full((REGIONS, DIM), 1e300)},
            "its features hold NaN, infinity or more",
        ),
    ):
        yield Broken(f"npz: {what}", savez("npz/0.npz", **{**region_arrays(), **changes}), folder, says)


def savez(name: str, *one: np.ndarray, pack: Callable = np.savez, **several: np.ndarray | None) -> Break:
    def breaks(folder: Path) -> None:
        (folder / name).unlink()
        pack(folder / name, *one, **{key: value for key, value in several.items() if value is not None})

    return breaks


def _tables() -> Iterator[Broken]:
    for what, breaks, says in (
        ("empty", text("regions.tsv", ""), "regions.tsv"),
        ("cut", cut("regions.tsv"), "regions.tsv"),
        ("binary", raw("regions.tsv", b"\0" * 99), "not a TSV file"),
        ("a width of 0", text("regions.tsv", region_row("0.jpg", w=0)), "image_w is 0"),
        ("a width of 1e999", text("regions.tsv", region_row("0.jpg", w="1e999")), "image_w is '1e999'"),
        ("no base64", text("regions.tsv", region_row("0.jpg", features="?")), "not base64"),
        ("boxes of another count", text("regions.tsv", region_row("0.jpg", count=35)), "boxes"),
    ):
        yield Broken(f"regions: {what}", breaks, CONVERT, says)
    for what, breaks, says in (
        ("empty", text("table.tsv", ""), "no caption is in it"),
        ("no caption", text("table.tsv", "0.jpg\n"), "line 1"),
        ("not UTF-8", raw("table.tsv", b"0.jpg\t\xff\n"), "not UTF-8"),
        ("too few captions", text("table.tsv", "0.jpg\ta cat\n"), "5 are needed"),
    ):
        yield Broken(f"table: {what}", breaks, CONVERT, says)
    for name, (kind, says) in KINDS.items():
        yield Broken(f"table: {name}", kind("table.tsv"), CONVERT, says)
        if name != "a folder":  # a folder of .npz files is another form
            missing = name in ("a loop of links", "a broken link")
            yield Broken(
                f"regions: {name}", kind("regions.tsv"), CONVERT, "no such file" if missing else says
            )
    lines = IMPORT.replace("own.json", "own.jsonl")
    for what, (content, says) in IN_JSON.items():
        if content:
            says = says.replace("not whole JSON", "not a JSON record")
            yield Broken(
                f"JSON lines: {what}", line("own.jsonl", 2, content), lines, f"line 2: {says[:4]}"[:7]
            )
    yield Broken("JSON lines: a number", line("own.jsonl", 2, "3"), lines, "line 2: not a record")
    first = "test_00000"
    for what, content, says in (
        ("empty", b"", "not a picture that Pillow reads"),
        ("text", b"hello", "not a picture that Pillow reads"),
        ("a bomb", png(60_000, 60_000), "more than 178 megapixels"),
        ("no pixels", png(4, 4), "damaged"),
        ("a side of 0", png(0, 4), "picture"),
    ):
        yield Broken(
            f"picture: {what}", picture(first, content), f"{EXPLAIN} --figure picture --out a.png", says
        )


VARIANT = "variant run --set model.lambda_intra=null --data data --out out"
COMPARE = "compare swept --baseline naaf --split test --resamples 40"
NULS = "holds NULs, as after a power cut"


def _logs() -> Iterator[Broken]:
    """The tables that a run and a sweep keep."""
    for name, few in (("run/history.csv", "epoch,loss,rsum"), ("run/steps.csv", "step,epoch,loss")):
        for what, breaks, says in (
            ("empty", text(name, ""), "is damaged (No columns"),
            ("a header alone", text(name, f"{few}\n"), "has no row with results"),
            ("a tail of NULs", added(name, b"\0" * 99), NULS),
            ("NULs alone", raw(name, b"\0" * 500), f"line 1 {NULS}"),
            ("not UTF-8", added(name, b"\xe9\n"), "is damaged ('utf-8' codec"),
            ("a row too long", added(name, b"1," * 99 + b"1\n"), "is damaged"),
            ("an open quote", added(name, b'"1,2\n'), "is damaged"),
            ("other columns", text(name, "a,b\n1,2\n"), "has no column"),
            ("text for numbers", text(name, f"{few}\nx,x,x\n"), "holds what is no number"),
            ("infinite", text(name, f"{few}\ninf,1,1\n"), "holds what is no number"),
            ("gigabytes", sparse(name, 3 * 2**30), "has 3.0 GiB, which no table here has"),
        ):
            yield Broken(f"{name}: {what}", breaks, VARIANT, says)
        for what, (kind, says) in KINDS.items():
            yield Broken(f"{name}: {what}", kind(name), VARIANT, says)
    no_rsum = text("run/history.csv", "epoch,loss,rsum\n1,1,\n")
    yield Broken("run/history.csv: no rsum", no_rsum, VARIANT, "has no row with results")
    name, says = "swept/sweep.csv", "is no table of a sweep; `naaf sweep` writes it anew"
    for what, content in (
        ("empty", b""), ("NULs", b"\0" * 500), ("a tail of NULs", SWEPT + b"\0" * 99),
        ("not UTF-8", SWEPT + b"\xe9"),
        ("other columns", b"a,b\n1,2\n"), ("a row too long", SWEPT + b"1,2,3,4,5,6,7\n"),
    ):  # fmt: skip
        yield Broken(f"sweep.csv: {what}", several(swept, raw(name, content)), COMPARE, says)
    yield Broken("sweep.csv: gigabytes", several(swept, sparse(name, 3 * 2**30)), COMPARE, says)
    gone = raw(name, SWEPT.replace(b"scan/members/0", b"gone"))
    yield Broken(
        "sweep.csv: a folder that is not there", several(swept, gone), COMPARE, "gone does not exist"
    )
    for part in ("data", "start", "sizes", "weights"):
        breaks = record("run/config.json", lambda value, part=part: {**value, part: [1]})
        yield Broken(f"run/config.json: {part} a list", breaks, EVALUATE, f"{part!r} is not as a run records")
    text_for = record("run/config.json", lambda value: {**value, "sizes": {"chance_rsum": "x"}})
    yield Broken("run/config.json: a size as text", text_for, EVALUATE, "'sizes' is not as a run records")


def _samples() -> Iterator[Broken]:
    name, ten = "run/samples/epoch_00.npz", np.linspace(0, 1, 10)
    for what, breaks in (
        ("empty", raw(name, b"")), ("cut", cut(name)), ("text", text(name, "hello")),
        ("encrypted", marked_zip(name, flag=1)), ("deflate64", marked_zip(name, method=9)),
        ("objects", savez(name, matched=np.array([{}, 1]), mismatched=ten)),
    ):  # fmt: skip
        yield Broken(f"samples: {what}", breaks, VARIANT, "epoch_00.npz is not a whole .npz of numbers")
    for what, arrays in (
        ("nothing matched", {"mismatched": ten}),
        ("other lengths", {"matched": ten, "mismatched": ten[:3]}),
        ("none", {"matched": ten[:0], "mismatched": ten[:0]}),
        ("two axes", {"matched": ten[None], "mismatched": ten[None]}),
        ("texts", {"matched": ten.astype(str), "mismatched": ten.astype(str)}),
        ("NaN", {"matched": ten * np.nan, "mismatched": ten}),
        ("infinite", {"matched": ten, "mismatched": ten + np.inf}),
        ("many boundaries", {"matched": ten, "mismatched": ten, "boundary": ten}),
    ):
        yield Broken(f"samples: {what}", savez(name, **arrays), VARIANT, "as many matched as mismatched")
    bomb = savez(name, matched=np.zeros(2**26), mismatched=ten, pack=np.savez_compressed)
    yield Broken("samples: a bomb", bomb, VARIANT, "matched takes 0.5 GiB, more than 0.25; restore")
    for what, (kind, says) in KINDS.items():
        yield Broken(f"samples: {what}", kind(name), VARIANT, says)


SWEPT = b"variant,seed,state,folder\nnaaf,0,done,naaf/members/0\nscan,0,done,scan/members/0\n"


def swept(folder: Path) -> None:
    """The folder of a sweep of two runs."""
    for run, name in (("run", "naaf"), ("run2", "scan")):
        shutil.copytree(folder / run, folder / "swept" / name / "members/0")
    raw("swept/sweep.csv", SWEPT)(folder)


def added(name: str, content: bytes) -> Break:
    return lambda folder: raw(name, (folder / name).read_bytes() + content)(folder)


def sparse(name: str, size: int) -> Break:
    def breaks(folder: Path) -> None:
        remove(name)(folder)
        with (folder / name).open("wb") as file:
            file.truncate(size)

    return breaks


def picture(stem: str, content: bytes) -> Break:
    def breaks(folder: Path) -> None:
        (path,) = (folder / "data/images").glob(f"{stem}.*")
        raw(str(path.relative_to(folder)), content)(folder)

    return breaks


def _public() -> Iterator[Broken]:
    foils = "forms/sugar_crepe/replace_obj.json"
    item = {"filename": "000000000001.jpg", "caption": "a cat", "negative_caption": "a dog"}
    for what, change, says in (
        ("no foil", without("negative_caption"), "has no 'negative_caption'"),
        ("a blank foil", lambda one: {**one, "negative_caption": " "}, "no text with words"),
        ("a null caption", lambda one: {**one, "caption": None}, "no text with words"),
        ("the caption as foil", lambda one: {**one, "negative_caption": "A cat."}, "the same words"),
        ("a list for an item", lambda one: [], "has no 'filename'"),
        ("a caption without end", lambda one: {**one, "caption": "a " * 2_000_000}, "a text of"),
    ):
        yield Broken(f"foils: {what}", text(foils, json.dumps({"0": change(item)})), FOILS, says)
    valse = "forms/valse/foil-it.json"
    command = "foils --benchmark valse --files forms/valse --categories foil-it --list out.csv"
    for what, votes in (("no votes", {}), ("votes as text", {"caption": "3"}), ("votes null", None)):
        item = {"image_file": "a.jpg", "caption": "a cat", "foil": "a dog", "mturk": votes}
        yield Broken(
            f"VALSE: {what}", text(valse, json.dumps({"a": item})), command, "has no number mturk.caption"
        )
    entities = "forms/flickr30k_entities"
    for what, breaks, says in (
        (
            "no annotations",
            lambda folder: shutil.rmtree(folder / entities / "Annotations"),
            "has no Annotations/",
        ),
        ("an empty sentence file", entity("Sentences", ""), "is empty"),
        ("a broken mark", entity("Sentences", "[/EN#1 a cat\n"), "is no mark of the form"),
        ("a sentence file of two million words", entity("Sentences", "a " * 2_000_000), "letters"),
        ("no XML", entity("Annotations", "<a>"), "not valid XML"),
        ("XML entities", entity("Annotations", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'), "declares"),
        ("XML too deep", entity("Annotations", "<a>" * 100_000), "not valid XML"),
        ("no size", entity("Annotations", "<annotation/>"), "size/width is missing"),
        ("a size of 0", entity("Annotations", sized(0)), "not above 0"),
        ("a size of 1e999", entity("Annotations", sized("1e999")), "not a number"),
    ):
        yield Broken(f"entities: {what}", breaks, POINTING, says)
    for what, content, says in (
        ("no column", "a,b\n", "no column"),
        ("empty", "", "no column"),
        ("an unknown item", "category,id,score_caption,score_foil\nx,y,1,2\n", "line 2"),
        ("a NaN", "category,id,score_caption,score_foil\nreplace_obj,0,nan,2\n", "line 2"),
    ):
        yield Broken(
            f"foil scores: {what}", text("pairs.csv", content),
            FOILS.replace("--list out.csv", "--scores pairs.csv"), says,
        )  # fmt: skip
    for what, content, says in (
        ("empty", "", "holds 0 ids"),
        ("an empty line", "a\n\nb\n", "line 2: the line is empty"),
        ("one id twice", "a\n" * 6, "misses the id"),
        ("too few", "a\n", "holds 1 ids"),
        ("not UTF-8", None, "not UTF-8"),
    ):
        breaks = raw("image_ids.txt", b"\xff\n") if content is None else text("image_ids.txt", content)
        yield Broken(f"ids: {what}", breaks, f"{JUDGE} --ids image_ids.txt", says)
    says = "; name a text file that holds a line each"
    for what, (kind, _) in KINDS.items():
        yield Broken(f"ids: {what}", kind("image_ids.txt"), f"{JUDGE} --ids image_ids.txt", says)


def sized(side: object) -> str:
    return f"<annotation><size><width>{side}</width><height>40</height></size></annotation>"


def entity(part: str, content: str) -> Break:
    """Another content of the first picture's file."""

    def breaks(folder: Path) -> None:
        path = min((folder / "forms/flickr30k_entities" / part).iterdir())
        text(str(path.relative_to(folder)), content)(folder)

    return breaks


def _settings() -> Iterator[Broken]:
    for what, words, says in (
        ("1e12 dimensions", "model.dim=1000000000000", "takes"),
        ("1e12 numbers a word", "model.word_dim=1000000000000", "takes"),
        ("a dimension of 1e999", "model.dim=1e999", "model.dim"),
        ("a dimension of 0", "model.dim=0", "model.dim"),
        ("a learning rate of NaN", "train.learning_rate=nan", "train.learning_rate"),
        ("an infinite lambda", "model.lambda_softmax=inf", "model.lambda_softmax"),
    ):
        yield Broken(f"settings: {what}", nothing, f"train --data data --out out --set {words}", says, 2)
    for what, content, says, status in (
        ("empty", "", "a sweep is written as", 1),
        ("a key twice", "name: a\nname: b\n", "stands there twice", 1),
        ("a key twice below", "name: a\nset: {model.dim: 8, model.dim: 9}\n", "stands there twice", 1),
        ("a grid of millions", grid(8, 20), "runs with all seeds", 2),
        ("a grid of 1e40", grid(40, 10), "runs with all seeds", 2),
        ("a bomb of anchors", laughs(), "more than 1,000,000 values", 1),
        ("itself inside", "name: a\nset: &a {b: *a}\n", "RecursionError", 1),
        ("nested too deep", "name: " + "[" * 5000, "not valid YAML", 1),
        ("NaN", "name: a\ngrid: {train.learning_rate: [.nan]}\n", "train.learning_rate", 2),
        ("1e999", "name: a\ngrid: {model.dim: [1e999]}\n", "model.dim", 2),
        ("a list", "[1, 2]", "a sweep is written as", 1),
        ("a tag", "name: !!python/object/apply:os.system [ls]\n", "not valid YAML", 1),
    ):
        yield Broken(f"sweep: {what}", text("spec.yaml", content), SWEEP, says, status)
    for what, (kind, says) in KINDS.items():
        yield Broken(f"sweep: {what}", kind("spec.yaml"), SWEEP, says)
    manifest = "data/manifest.yaml"
    for what, content, says in (
        ("a key twice", "name: a\nname: b\n", "stands there twice"),
        ("a key twice below", "name: a\nsplits: {test: {images: 1, images: 2}}\n", "stands there twice"),
        ("a list", "[1]", "a manifest is a list of"),
        ("an unknown key", "name: a\nb: 1\n", "correct this entry"),
        ("captions below 0", "name: a\ncaptions_per_image: -1\n", "correct this entry"),
        ("captions infinite", "name: a\ncaptions_per_image: .inf\n", "correct this entry"),
        ("captions of 1e999", "name: a\ncaptions_per_image: 1e999\n", "correct this entry"),
        ("nested too deep", "name: " + "{a: " * 5000, "not valid YAML"),
        ("not UTF-8", None, "not UTF-8"),
    ):
        breaks = raw(manifest, b"\xff") if content is None else text(manifest, content)
        yield Broken(f"manifest: {what}", breaks, EVALUATE, says)
    long, odd = "n" * 300, "caf\udce9"
    for what, command, says in (
        ("a name too long for data", f"evaluate run --data {long} --device cpu", "File name too long"),
        ("a name too long for scores", JUDGE.replace("scores.npy", f"{long}.npy"), "File name too long"),
        ("a name that is not UTF-8", f"evaluate run --data {odd} --device cpu", "does not exist"),
        ("scores of a name that is not UTF-8", JUDGE.replace("scores.npy", f"{odd}.npy"), "does not exist"),
    ):
        yield Broken(what, nothing, command, says)


def grid(axes: int, values: int) -> str:
    return "name: a\ngrid:\n" + "".join(f"  a.b{axis}: {list(range(values))}\n" for axis in range(axes))


def laughs() -> str:
    """A billion values from a few lines."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 9)]
    return "\n".join(lines) + "\n"
