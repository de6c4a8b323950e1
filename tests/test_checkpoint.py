"""Checkpoints: ours come back bit by bit, released ones give the authors' numbers, nothing else is read."""

import argparse
import importlib
import io
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import seeds
import torch

from naaflib import load_checkpoint
from naaflib.config import model_settings, preset
from naaflib.data.vocabulary import Vocabulary
from naaflib.errors import NaafError
from naaflib.model import checkpoint
from naaflib.model.model import Model
from naaflib.runs import Run, open_group
from naaflib.similarity.boundary import Boundaries

WORDS = Vocabulary(("<pad>", "<start>", "<end>", "<unk>", "a", "dog", "cat", "runs", "sleeps"))
REGION_DIM, DIM, WORD_DIM = 11, 7, 5


@pytest.fixture
def model():
    seeds.manual_seed(1)
    model = Model(model_settings(dim=DIM, word_dim=WORD_DIM), REGION_DIM, len(WORDS), WORDS)
    model.boundary = Boundaries(1 / 3, 2 / 7)  # no float32 holds them
    return model.eval()


def outputs(model):
    """Everything that a model computes, for fixed input."""
    rng = seeds.generator(2)
    images = model.encode_images(torch.randn(4, 3, REGION_DIM, generator=rng))
    tokens = torch.randint(len(WORDS), (6, 5), generator=rng)
    lengths = torch.tensor([5, 3, 1, 4, 5, 2])
    captions = model.encode_captions(tokens, lengths)
    return images, captions, model.score(images, captions, lengths)


def assert_same(first, second):
    for one, other in zip(outputs(first), outputs(second), strict=True):
        assert torch.equal(one, other)
    assert first.boundary == second.boundary


# ---- ours


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"image_encoder": "weight-norm"},
        {"method": "scan-t2i", "pooling": "lse", "lambda_softmax": 3.5},
        {"method": "scan-i2t", "pooling": "lse", "lambda_lse": 4.0},
        {"lambda_intra": None, "lambda_softmax": 9.0, "freeze_words": True},
    ],
    ids=lambda settings: " ".join(map(str, settings.values())) or "default",
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_comes_back_bit_by_bit(tmp_path, settings, dtype):
    settings = model_settings(dim=DIM, word_dim=WORD_DIM, **settings)
    model = Model(settings, REGION_DIM, len(WORDS), WORDS).to(dtype)
    model.boundary = Boundaries(1 / 3, 2 / 7)
    checkpoint.save(tmp_path / "a.safetensors", model, {})
    found = load_checkpoint(tmp_path / "a.safetensors")
    assert_same(model, found)
    assert found.settings == model.settings
    assert found.vocabulary == WORDS
    assert found.region_dim == REGION_DIM
    assert not found.training
    for (name, one), (other_name, other) in zip(
        model.state_dict().items(), found.state_dict().items(), strict=True
    ):
        assert name == other_name
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    assert found.text_encoder.embed.weight.requires_grad != settings.freeze_words


def test_a_checkpoint_says_what_it_is_without_its_tensors(tmp_path, model):
    extra = {"optimizer.0.step": torch.tensor(3.0)}
    checkpoint.save(tmp_path / "a.safetensors", model, {"epoch": 4, "best": 1 / 3}, extra)
    about = checkpoint.header(tmp_path / "a.safetensors")
    assert about["progress"] == {"epoch": 4, "best": 1 / 3}
    assert about["words"] == len(WORDS)
    tensors, same = checkpoint.read(tmp_path / "a.safetensors")
    assert same == about
    assert tensors["optimizer.0.step"] == 3
    assert_same(model, load_checkpoint(tmp_path / "a.safetensors"))  # extras are no part of the model


def test_a_failing_save_leaves_the_old_checkpoint(tmp_path, model, monkeypatch):
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, model, {})
    before = path.read_bytes()

    write = Path.write_bytes

    def disk_full(file, content):
        write(file, content[: len(content) // 2])
        raise OSError("no space left")

    monkeypatch.setattr(Path, "write_bytes", disk_full)
    with pytest.raises(OSError) as raised:
        checkpoint.save(path, model, {})
    assert raised.value.args == ("no space left",)
    assert raised.value.filename == str(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_run_stands_for_its_best_checkpoint(tmp_path, model):
    group = open_group(tmp_path / "group")
    for seed in (0, 1):
        run = Run.create(group.path / "members" / str(seed), "train", settings=preset("scenes").model_dump())
        checkpoint.save(run.checkpoint("best"), model, {})
    assert_same(model, load_checkpoint(run.path))
    assert_same(model, load_checkpoint(str(run.path)))
    with pytest.raises(NaafError, match=r"group holds 2 members; name one .*members/0.*members/1.*ensemble"):
        load_checkpoint(group.path)
    shutil.rmtree(run.path)
    assert_same(model, load_checkpoint(group.path))


def test_the_trained_run_loads(trained):
    model = load_checkpoint(trained.path)
    best = trained.history().sort_values(["rsum", "epoch"], ascending=[False, True]).iloc[0]
    assert model.boundary.training == pytest.approx(best.boundary, abs=1e-12)
    assert model.boundary.inference == pytest.approx(best.inference_boundary, abs=1e-12)
    words = json.loads((trained.path / "vocabulary.json").read_text())
    assert Vocabulary.from_json(words) == model.vocabulary


def test_a_checkpoint_is_as_readable_as_any_file(tmp_path, model):
    checkpoint.save(tmp_path / "a.safetensors", model, {})
    (tmp_path / "plain").write_text("")
    modes = [(tmp_path / name).stat().st_mode for name in ("a.safetensors", "plain")]
    assert modes[0] == modes[1]


def test_a_cut_file_of_ours_is_named(tmp_path, model):
    checkpoint.save(tmp_path / "whole.safetensors", model, {})
    whole = (tmp_path / "whole.safetensors").read_bytes()
    path = tmp_path / "cut.safetensors"
    for size in (0, 1, 7, 8, 9, 500, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(NaafError, match=r"cut\.safetensors is not a whole checkpoint"):
            load_checkpoint(path)


def test_a_file_of_another_program_or_version_is_named(tmp_path, model):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "a.safetensors"
    save_file({"x": torch.zeros(2)}, path)
    with pytest.raises(NaafError, match=r"a\.safetensors is a safetensors file, but not a checkpoint"):
        load_checkpoint(path)
    checkpoint.save(path, model, {})
    tensors, about = load_file(path), checkpoint.header(path)
    changes = [
        {"format": "naaf-checkpoint-99"},
        {"model": about["model"] | {"unknown": 1}},
        {"model": about["model"] | {"dim": DIM + 1}},
        {"vocabulary": {"words": ["a"]}},
        {"region_dim": "many"},
    ]
    for change in changes:
        save_file(tensors, path, metadata={"naaf": json.dumps(about | change)})
        with pytest.raises(NaafError, match=r"a\.safetensors is .*(version|not a checkpoint)") as refused:
            load_checkpoint(path)
        assert "\n" not in str(refused.value)
    save_file(tensors, path, metadata={"naaf": json.dumps({k: v for k, v in about.items() if k != "words"})})
    with pytest.raises(NaafError, match="version"):
        load_checkpoint(path)
    del tensors["model.image_encoder.fc.bias"]
    save_file(tensors, path, metadata={"naaf": json.dumps(about)})
    with pytest.raises(NaafError, match="version"):
        load_checkpoint(path)


def test_what_is_not_there_is_named(tmp_path):
    for name in ("gone.safetensors", "gone.pth.tar", "gone"):
        with pytest.raises(NaafError, match=f"{name} (is missing|does not exist)"):
            load_checkpoint(tmp_path / name)
    with pytest.raises(NaafError, match="is not a run"):
        load_checkpoint(tmp_path)
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(NaafError, match=r"folder\.safetensors"):
        load_checkpoint(tmp_path / "folder.safetensors")


# ---- released


def released(path, source, *, legacy=False, options=None, prefix="", **changes):
    """Writes a model as the authors' code does."""
    states = []
    for part in (source.image_encoder, source.text_encoder):
        state = {prefix + name: value for name, value in part.state_dict().items()}
        for ours, theirs in (("original0", "weight_g"), ("original1", "weight_v")):
            name = f"{prefix}fc.parametrizations.weight.{ours}"
            if name in state:
                value = state.pop(name)
                state[f"{prefix}fc.{theirs}"] = value.squeeze() if ours == "original0" else value
        states.append(state)
    opt = {
        "data_name": "f30k_precomp",
        "lambda_softmax": 20.0,
        "thres": source.boundary.training,
        "thres_safe": source.boundary.inference,
        "no_imgnorm": False,
        "no_txtnorm": False,
        "using_intra_info": True,
        "logger_name": "./runs/runX/log",
        **(options or {}),
    }
    content = {"epoch": 7, "model": states, "best_rsum": 507.9, "Eiters": 1234}
    content |= {"opt": argparse.Namespace(**opt)} | changes
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


def test_the_authors_checkpoint_gives_their_numbers(reference):
    oracle = np.load(reference / "checkpoint_io.npz")
    model = load_checkpoint(reference / "checkpoint.pth.tar")
    lengths = torch.tensor(oracle["lengths"])
    images = model.encode_images(torch.tensor(oracle["images"]))
    captions = model.encode_captions(torch.tensor(oracle["tokens"]), lengths)
    scores = model.score(images, captions, lengths)
    for ours, name in ((images, "image_embeddings"), (captions, "caption_embeddings"), (scores, "scores")):
        np.testing.assert_allclose(ours.numpy(), oracle[name], rtol=0, atol=1e-5)
    for row, length in enumerate(lengths.tolist()):
        assert not captions[row, length:].any()
    order = torch.randperm(len(lengths), generator=seeds.generator(0))
    shuffled = model.encode_captions(torch.tensor(oracle["tokens"])[order], lengths[order])
    np.testing.assert_allclose(shuffled.numpy(), captions[order].numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("encoder", ["linear", "weight-norm"])
def test_a_released_file_is_the_model_that_it_was(tmp_path, legacy, prefix, encoder):
    model = Model(model_settings(dim=DIM, word_dim=WORD_DIM, image_encoder=encoder), REGION_DIM, len(WORDS))
    model.boundary = Boundaries(1 / 3, 2 / 7)
    found = load_checkpoint(released(tmp_path / "a.pth.tar", model, legacy=legacy, prefix=prefix))
    assert_same(model, found)
    assert found.vocabulary is None
    assert found.settings.image_encoder == encoder


def test_a_weight_normed_layer_is_length_times_direction(tmp_path, model):
    rng = seeds.rng(0)
    g, v = np.float32(2.5), rng.normal(size=(DIM, REGION_DIM)).astype("f4")
    bias = rng.normal(size=DIM).astype("f4")
    image = {"fc.bias": torch.tensor(bias), "fc.weight_g": torch.tensor(g), "fc.weight_v": torch.tensor(v)}
    path = released(tmp_path / "a.pth.tar", model, model=[image, model.text_encoder.state_dict()])
    regions = rng.normal(size=(2, 3, REGION_DIM)).astype("f4")
    raw = regions @ (g * v / np.sqrt((v**2).sum())).T + bias
    expected = raw / np.linalg.norm(raw, axis=-1, keepdims=True)
    found = load_checkpoint(path).encode_images(torch.tensor(regions))
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


def test_the_options_of_a_released_file_count(tmp_path, model):
    changed = {"lambda_softmax": 9.0, "using_intra_info": False, "thres_safe": 0.05}
    found = load_checkpoint(released(tmp_path / "a.pth.tar", model, options=changed))
    assert found.settings.lambda_softmax == 9
    assert found.settings.lambda_intra == 5  # the released test code propagates, whatever the option says
    assert found.boundary == (model.boundary.training, 0.05)
    assert not torch.allclose(outputs(found)[2], outputs(model)[2])
    assert_same(load_checkpoint(released(tmp_path / "b.pth.tar", model)), model)


@pytest.mark.parametrize(
    "best", [np.float64(507.9), np.float32(5.3), np.int64(508), np.bool_(True)], ids=repr
)
@pytest.mark.parametrize("home", ["numpy._core", "numpy.core"])  # numpy 2 and 1
def test_numpy_numbers_beside_the_tensors_do_not_hinder(tmp_path, model, best, home):
    options = {"thres": best, "thres_safe": best}
    path = released(tmp_path / "a.pth.tar", model, legacy=True, best_rsum=best, options=options)
    content = path.read_bytes()
    assert b"numpy._core.multiarray\nscalar" in content
    path.write_bytes(content.replace(b"numpy._core.multiarray\n", f"{home}.multiarray\n".encode()))
    assert load_checkpoint(path).boundary == (float(best), float(best))


SCAN = {  # a checkpoint of SCAN's own code (Lee et al., 2018): no boundary, a cross attention
    "cross_attn": "t2i",
    "raw_feature_norm": "clipped_l2norm",
    "agg_func": "LogSumExp",
    "bi_gru": True,
    "num_layers": 1,
    "lambda_lse": 5.0,
    "lambda_softmax": 4.0,
}


@pytest.mark.parametrize("direction", ["t2i", "i2t"])
@pytest.mark.parametrize("pooling", ["LogSumExp", "Mean"])
def test_scan_s_own_checkpoint_is_that_method(tmp_path, direction, pooling):
    changes = {"pooling": "lse", "lambda_lse": 5.0} if pooling == "LogSumExp" else {}
    how = {"method": f"scan-{direction}", "lambda_softmax": 4.0, **changes}
    scan = Model(model_settings(dim=DIM, word_dim=WORD_DIM, **how), REGION_DIM, len(WORDS))
    options = argparse.Namespace(**{**SCAN, "cross_attn": direction, "agg_func": pooling})
    found = load_checkpoint(released(tmp_path / "scan.pth.tar", scan, opt=options))
    assert_same(found, scan)
    assert found.settings == scan.settings
    assert found.boundary == (0, 0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cross_attn", "both"),
        ("raw_feature_norm", "softmax"),
        ("agg_func", "Max"),
        ("bi_gru", False),
        ("num_layers", 2),
    ],
)
def test_another_kind_of_scan_is_named_with_a_way_on(tmp_path, model, name, value):
    path = released(tmp_path / "scan.pth.tar", model, opt=argparse.Namespace(**{**SCAN, name: value}))
    with pytest.raises(
        NaafError, match=rf"scan\.pth\.tar is a checkpoint of SCAN with {name} {value}.*naaf train"
    ):
        load_checkpoint(path)


def test_a_checkpoint_of_neither_method_says_what_it_lacks(tmp_path, model):
    path = released(tmp_path / "vse.pth.tar", model, opt=argparse.Namespace(max_violation=True))
    with pytest.raises(NaafError, match=r"lack thres_safe.* lack cross_attn"):
        load_checkpoint(path)


@pytest.mark.parametrize("random", [0, 2])
def test_glove_vectors_of_a_released_file_stand_before_its_random_ones(tmp_path, model, random):
    text = model.text_encoder.state_dict()
    whole = text.pop("embed.weight")
    text["embed.glove.weight"] = whole[:, : WORD_DIM - random]
    if random:
        text["embed.embed.weight"] = whole[:, WORD_DIM - random :]
    path = released(tmp_path / "a.pth.tar", model, model=[model.image_encoder.state_dict(), text])
    assert_same(load_checkpoint(path), model)


# ---- the vocabulary of a released file


def vocabulary_file(folder, words):
    path = folder / "vocab.json"
    path.write_text(json.dumps({"word2idx": {word: index for index, word in enumerate(words)}}))
    return path


def test_a_released_file_reads_text_with_its_vocabulary_only(tmp_path, model):
    path = released(tmp_path / "a.pth.tar", model)
    with pytest.raises(NaafError, match="no vocabulary"):
        load_checkpoint(path).encode_texts(["a dog"])
    found = load_checkpoint(path, vocabulary_file(tmp_path, WORDS.words))
    words, lengths = found.encode_texts(["a dog", "a cat runs"])
    expected, _ = model.encode_texts(["a dog", "a cat runs"])
    assert torch.equal(words, expected)
    assert lengths.tolist() == [4, 5]


@pytest.mark.parametrize("words", [WORDS.words[:-1], (*WORDS.words, "more")])
def test_a_vocabulary_of_another_size_is_refused(tmp_path, model, words):
    path = released(tmp_path / "a.pth.tar", model)
    with pytest.raises(NaafError, match=rf"vocab\.json holds {len(words)} words and .*a\.pth\.tar .* on 9"):
        load_checkpoint(path, vocabulary_file(tmp_path, words))


def test_our_checkpoint_keeps_its_own_vocabulary(tmp_path, model):
    checkpoint.save(tmp_path / "a.safetensors", model, {})
    assert_same(model, load_checkpoint(tmp_path / "a.safetensors", vocabulary_file(tmp_path, WORDS.words)))
    other = (*WORDS.words[:-2], *WORDS.words[:-3:-1])  # two words changed places
    with pytest.raises(NaafError, match=r"carries its own vocabulary.*vocab\.json is another"):
        load_checkpoint(tmp_path / "a.safetensors", vocabulary_file(tmp_path, other))
    with pytest.raises(NaafError, match=r"gone\.json is missing"):
        load_checkpoint(tmp_path / "a.safetensors", tmp_path / "gone.json")


# ---- what is refused


class Call:
    """Pickled, a call of a function; unpickled by plain pickle, the call is made."""

    def __init__(self, name, *arguments):
        self.call = name, arguments

    def __reduce__(self):
        (module, _, function), arguments = self.call[0].rpartition("."), self.call[1]
        return getattr(importlib.import_module(module), function), arguments


class Own:
    """A class of a user's own, as a research checkpoint may hold it."""

    def __init__(self):
        self.lr = 0.1


def attacks(mark):
    touch = f"touch {mark}"
    return {
        "os.system": Call("os.system", touch),
        "subprocess": Call("subprocess.check_output", ["touch", str(mark)]),
        "eval": Call("builtins.eval", f"open({str(mark)!r}, 'w')"),
        "open": Call("io.open", str(mark), "w"),
        "numpy": Call("numpy.memmap", str(mark), "float32", "w+", 0, (1,)),
        "torch.load": Call("torch.load", str(mark)),
        "runpy": Call("runpy.run_path", str(mark)),
        "attrgetter": Call("operator.attrgetter", "system"),
        "own class": Own(),
        "scalar": np.array([Call("os.system", touch)], dtype=object),
    }


@pytest.mark.parametrize("name", list(attacks("x")))
@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle"])
def test_a_pickle_that_wants_more_is_refused_unread(tmp_path, model, name, form):
    mark, path = tmp_path / "mark", tmp_path / "a.pth.tar"
    attack = attacks(mark)[name]
    if form == "plain pickle":
        path.write_bytes(pickle.dumps({"opt": attack}, protocol=2))
    else:
        released(path, model, legacy=form == "legacy", options={"extra": attack})
    with pytest.raises(NaafError, match=r"is not read: its pickle wants \S+, which could run") as refused:
        load_checkpoint(path)
    assert "\n" not in str(refused.value)
    assert not mark.exists()


def test_loading_leaves_no_door_open(tmp_path, model):
    path = released(tmp_path / "a.pth.tar", model)
    before = set(torch.serialization.get_safe_globals())
    load_checkpoint(path)
    assert set(torch.serialization.get_safe_globals()) == before
    assert argparse.Namespace not in before


@pytest.mark.parametrize("legacy", [False, True])
def test_a_cut_released_file_is_named(tmp_path, model, legacy):
    whole = released(tmp_path / "whole.pth.tar", model, legacy=legacy).read_bytes()
    path = tmp_path / "cut.pth.tar"
    for size in (0, 1, 2, 50, 300, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(NaafError, match=r"cut\.pth\.tar is (not a whole|not read|no)") as refused:
            load_checkpoint(path)
        assert "\n" not in str(refused.value)


def as_bytes(save, *content) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is text\n",
        b'{"words": []}',
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        as_bytes(np.save, np.zeros((3, 4))),
        as_bytes(lambda file, a: np.savez(file, a=a), np.zeros(3)),
        bytes(1000),
    ],
    ids=["text", "json", "png", "npy", "npz", "zeros"],
)
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "some.file"
    path.write_bytes(content)
    with pytest.raises(NaafError, match=r"some\.file is (not|no)") as refused:
        load_checkpoint(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": None}, "TypeError"),
        ({"model": [{}]}, "ValueError"),
        ({"model": [{}, {}]}, "KeyError"),
        ({"model": [torch.zeros(2), torch.zeros(2)]}, "AttributeError"),
        ({"opt": {"thres_safe": 0.1}}, "TypeError"),
        ({"opt": argparse.Namespace()}, "thres_safe"),
        ({"opt": argparse.Namespace(thres_safe=0.1, no_txtnorm=True)}, "without unit norm"),
        ({"opt": argparse.Namespace(thres_safe=0.1, lambda_softmax=-1)}, "lambda_softmax|ValidationError"),
        ({"opt": argparse.Namespace(thres_safe=None)}, "TypeError"),
    ],
)
def test_a_checkpoint_of_another_project_is_named(tmp_path, model, changes, reason):
    path = released(tmp_path / "a.pth.tar", model, **changes)
    with pytest.raises(NaafError, match=rf"pth\.tar is no released NAAF checkpoint .*({reason})") as refused:
        load_checkpoint(path)
    assert "\n" not in str(refused.value)


def test_a_bare_state_or_list_is_named(tmp_path, model):
    for content in (model.state_dict(), [1, 2], torch.zeros(3), {"model": [{}, {}]}):
        torch.save(content, tmp_path / "a.pth")
        with pytest.raises(NaafError, match=r"a\.pth is no released NAAF checkpoint"):
            load_checkpoint(tmp_path / "a.pth")


def test_encoders_that_do_not_fit_each_other_are_named(tmp_path, model):
    other = Model(model_settings(dim=DIM + 1, word_dim=WORD_DIM), REGION_DIM, len(WORDS))
    states = [model.image_encoder.state_dict(), other.text_encoder.state_dict()]
    path = released(tmp_path / "a.pth.tar", model, model=states)
    with pytest.raises(NaafError, match=r"a\.pth\.tar is no released NAAF checkpoint"):
        load_checkpoint(path)
