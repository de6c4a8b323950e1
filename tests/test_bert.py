"""A BERT text encoder: pieces joined to words, training, resuming, cached gradients. Tiny random models."""

import shutil

import numpy as np
import pytest
import seeds
import torch
from text_models import SIZES, save_bert, word_pieces

from naaflib import explain, load_checkpoint
from naaflib.cli import main
from naaflib.config import preset, replace
from naaflib.data.batches import Batches
from naaflib.data.captions import pad, tokenize
from naaflib.data.splits import open_split
from naaflib.errors import NaafError, UsageError
from naaflib.evaluation import evaluate
from naaflib.explanation.foils import swapped_foils
from naaflib.model import bert, checkpoint
from naaflib.model.bert import BertEncoder, Pretrained
from naaflib.model.model import Model
from naaflib.search import Searcher, build_index
from naaflib.training.folder import train_run
from naaflib.training.loop import Trainer
from naaflib.training.rerun import rerun

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.trains

SETTINGS = preset(
    "scenes",
    {
        "model.text_encoder": "bert",
        "model.dim": 5,
        "mining.min_words": 10,
        "train.epochs": 2,
        "train.warmup_steps": 0,
        "train.batch_size": 13,
        "train.learning_rate": 0.02,
        "train.bert_learning_rate": 0.002,
        "train.seed": seeds.shifted(3),
    },
)
CAPTIONS = ("A cat near a boat .", "lamp", "The house stands by the hill, alone.", "", "an old birdhouse 日")


@pytest.fixture(scope="session")
def text_model(tmp_path_factory):
    """Saves a tiny random text model of a kind; its folder."""
    root = tmp_path_factory.mktemp("models")

    def save(kind="bert", **changes):
        path = root / "-".join([kind, *map(str, changes.values())])
        if path.exists():
            return path
        if kind == "bert":
            return save_bert(path, **changes)
        from tokenizers import ByteLevelBPETokenizer

        seeds.manual_seed(5)
        base = ByteLevelBPETokenizer(add_prefix_space=True)
        marks = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        base.train_from_iterator(["a cat near the boat", "lamp"], 300, 1, False, marks)
        base.save_model(str(root))
        tokenizer = transformers.RobertaTokenizerFast(
            vocab=str(root / "vocab.json"), merges=str(root / "merges.txt"), add_prefix_space=True
        )
        config = transformers.RobertaConfig(vocab_size=len(tokenizer), pad_token_id=1, **SIZES)
        transformers.RobertaModel(config).save_pretrained(path)
        tokenizer.save_pretrained(path)
        return path

    return save


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    import socket

    def refuse(*_):
        raise AssertionError("a socket is opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def train(data, text_model):
    def train(out, changes=None, **how):
        how = {"bert": text_model(), **how}
        return train_run(data, out, replace(SETTINGS, changes or {}), device="cpu", **how)

    return train


@pytest.fixture(scope="module")
def tuned(train, tmp_path_factory):
    """Shared: write into a copy of its folder only."""
    return train(tmp_path_factory.mktemp("runs") / "tuned")


def weights(run, which="last"):
    return checkpoint.model_state(checkpoint.read(run.checkpoint(which))[0])


def encoded(encoder, captions):
    tokens, lengths = (torch.from_numpy(a) for a in pad([encoder.ids(caption) for caption in captions]))
    return encoder.encode(tokens, lengths), lengths


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_word_is_the_mean_of_its_pieces_as_transformers_maps_them(text_model, kind):
    path = text_model(kind)
    encoder = BertEncoder(Pretrained.load(path), 5, frozen=False).eval()
    found, lengths = encoded(encoder, CAPTIONS)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path, add_prefix_space=True)
    model = transformers.AutoModel.from_pretrained(path).eval()
    split = 0
    for caption, vectors, length in zip(CAPTIONS, found, lengths, strict=True):
        words = tokenize(caption)
        assert length == len(words) + 2 == len(encoder.words(caption))
        pieces = tokenizer(words, is_split_into_words=True, return_tensors="pt")
        with torch.no_grad():
            states = model(**pieces).last_hidden_state[0]
        places = pieces.word_ids()
        rows = [[0], *([k for k, p in enumerate(places) if p == word] for word in range(len(words)))]
        rows.append([len(places) - 1])
        split += sum(len(row) > 1 for row in rows)
        wanted = torch.stack([encoder.fc(states[row].mean(dim=0)) for row in rows])
        wanted = wanted / wanted.norm(dim=-1, keepdim=True)
        torch.testing.assert_close(vectors[:length], wanted, rtol=0, atol=2e-6)
        assert not vectors[length:].any()
    assert split > 5


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_caption_is_encoded_alike_beside_any_other(text_model, kind):
    encoder = BertEncoder(Pretrained.load(text_model(kind)), 5, frozen=False).eval()
    together, lengths = encoded(encoder, CAPTIONS)
    for caption, vectors, length in zip(CAPTIONS, together, lengths, strict=True):
        torch.testing.assert_close(encoded(encoder, [caption])[0][0], vectors[:length], rtol=0, atol=1e-6)


def test_what_the_tokenizer_cannot_read_is_said(text_model):
    encoder = BertEncoder(Pretrained.load(text_model()), 5, frozen=False)
    assert [encoder.known(word) for word in ("<start>", "cat", "birdhouse", "日")] == [
        True,
        True,
        True,
        False,
    ]
    unknown = word_pieces()["[UNK]"] + 1
    assert encoder.ids("cat 日")[2] == (unknown,)


def test_the_learning_rates_rise_apart(data, text_model):
    """The first step of Adam moves every weight that has a gradient by the learning rate."""
    changes = {"train.warmup_steps": 4, "train.bert_warmup_steps": 10, "train.clip": 1e6}
    settings = replace(SETTINGS, changes)
    split = open_split(data, "train")
    words = folder_words(split)
    seeds.manual_seed(1)
    model = Model(settings.model, 11, len(words), words, Pretrained.load(text_model())).double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trainer = Trainer(model, settings)
    batch = Batches(split, model.text_encoder.ids, 13, 0).batch(np.arange(13))
    trainer.step(batch, 1)
    moved = {name: (value - before[name]).abs().max().item() for name, value in model.state_dict().items()}
    assert moved["text_encoder.fc.weight"] == pytest.approx(0.02 / 4, rel=1e-3)
    assert moved["image_encoder.fc.weight"] == pytest.approx(0.02 / 4, rel=1e-3)
    query = "text_encoder.bert.encoder.layer.1.output.dense.weight"
    assert moved[query] == pytest.approx(0.002 / 10, rel=1e-3)
    assert trainer.row(1, 0.0, 0.0, 0.0)["learning_rate"] == 0.02 / 4


def folder_words(split):
    from naaflib.data.vocabulary import Vocabulary

    return Vocabulary.build(split.captions, 1)


def test_frozen_weights_stay_and_run_without_dropout(train, text_model, tuned, tmp_path):
    frozen = train(tmp_path / "a", {"model.freeze_words": True, "train.bert_learning_rate": 5e-5})
    came = transformers.AutoModel.from_pretrained(text_model()).state_dict()
    for name, value in came.items():
        if "pooler" not in name:
            assert torch.equal(weights(frozen)[f"text_encoder.bert.{name}"], value), name
    layer = "text_encoder.bert.encoder.layer.0.output.dense.weight"
    assert not torch.equal(weights(tuned)[layer], weights(frozen)[layer])
    encoder = load_checkpoint(frozen.path).text_encoder.train()
    assert torch.equal(encoded(encoder, CAPTIONS)[0], encoded(encoder, CAPTIONS)[0])
    encoder = load_checkpoint(tuned.path).text_encoder.train()
    assert not torch.equal(encoded(encoder, CAPTIONS)[0], encoded(encoder, CAPTIONS)[0])


def test_a_stopped_training_goes_on_as_if_it_had_not(train, tuned, data, tmp_path, monkeypatch):
    def stop(trainer, *how, step=Trainer.step):
        if trainer.steps == 6:
            raise KeyboardInterrupt
        return step(trainer, *how)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", stop)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "a", {"train.checkpoint_steps": 1})
    settings = replace(SETTINGS, {"train.checkpoint_steps": 1})
    run = train_run(data, tmp_path / "a", settings, resume=True, device="cpu")
    for name, value in weights(tuned).items():
        assert torch.equal(weights(run)[name], value), name


def test_a_run_needs_nothing_but_its_folder(tuned, data, text_model, tmp_path, monkeypatch):
    """The tokenizer and the text model's shape travel in the checkpoint."""
    run = tmp_path / "run"
    shutil.copytree(tuned.path, run)
    monkeypatch.setattr(Pretrained, "load", None)
    monkeypatch.setattr(transformers.AutoModel, "from_pretrained", None)
    result = evaluate(run, data, split="test")
    assert 0 < result.metrics.rsum <= 600
    explained = explain(run, data, image=1)
    assert explained.words == ("<start>", *tokenize(explained.text), "<end>")
    assert explained.known.all()
    assert explained.score == pytest.approx(evaluate(run, data, split="test").scores[1, 5], abs=1e-5)
    build_index(run, data, out=tmp_path / "index")
    hits = Searcher(tmp_path / "index").by_text(explained.text, k=5)
    assert hits.scores[list(hits.places).index(1)] == pytest.approx(explained.score, abs=2e-3)
    model = load_checkpoint(run)
    swaps = swapped_foils(open_split(data, "test"), model.vocabulary, seed=0)
    assert "bert" in repr(model)
    assert all(len(model.text_encoder.ids(text)) == len(model.text_encoder.words(text)) for text in CAPTIONS)
    assert swaps is not None


def test_a_run_is_repeated_to_the_bit_from_the_same_text_model_alone(tuned, text_model, tmp_path):
    found = rerun(tuned.path, tmp_path / "again")
    assert found["equal"].all(), found
    kept = checkpoint.read(tuned.checkpoint("best"))[0]["bert.config"].numpy().tobytes()
    assert str(text_model()).encode() not in kept  # where it lay is nobody's business
    other = tmp_path / "run"
    shutil.copytree(tuned.path, other)
    config = (other / "config.json").read_text()
    (other / "config.json").write_text(
        config.replace(str(text_model()), str(text_model("bert", initializer_range=0.5)))
    )
    with pytest.raises(NaafError, match="is not what it was"):
        rerun(other, tmp_path / "more")
    (other / "config.json").write_text(config.replace(str(text_model()), "/no/such/folder"))
    with pytest.raises(NaafError, match="started from /no/such/folder, which is not there any more; put it"):
        rerun(other, tmp_path / "more")


# ---- large batches: the activations of a chunk at a time


def gradients(model, settings, batch):
    model.zero_grad()
    seeds.manual_seed(9)
    loss, _, mined = Trainer(model, settings)._loss(batch, "hardest")
    loss.backward()
    return loss, mined, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("chunk", [1, 4, 13])
@pytest.mark.parametrize("encoder", ["bi-gru", "bert"])
def test_chunks_have_the_gradients_of_the_whole_batch(data, text_model, encoder, chunk):
    path = text_model("bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    pretrained = Pretrained.load(path) if encoder == "bert" else None
    settings = replace(SETTINGS, {"model.text_encoder": encoder, "train.bert_learning_rate": 5e-5})
    split = open_split(data, "train")
    words = folder_words(split)
    model = Model(settings.model, 11, len(words), words, pretrained).double().train()
    batch = Batches(split, model.text_encoder.ids, 13, 0).batch(np.arange(13))
    whole = gradients(model, settings, batch)
    calls = []
    with model.text_encoder.register_forward_pre_hook(lambda *_: calls.append(1)):
        parts = gradients(model, replace(settings, {"train.caption_chunk": chunk}), batch)
    assert len(calls) == {1: 2 * 13, 4: 2 * 4, 13: 1}[chunk]  # each chunk once more for its gradient
    torch.testing.assert_close(parts[0], whole[0], rtol=0, atol=1e-10)
    assert parts[1].boundaries == pytest.approx(whole[1].boundaries, abs=1e-10)
    assert parts[2].keys() == whole[2].keys()
    assert len(parts[2]) > 5
    for name, value in whole[2].items():
        torch.testing.assert_close(parts[2][name], value, rtol=0, atol=1e-10, msg=name)


def test_chunks_draw_their_dropout_again(data, text_model):
    """Equal to the same chunks with all activations kept, from the same random state."""
    settings = replace(SETTINGS, {"train.caption_chunk": 4})
    split = open_split(data, "train")
    words = folder_words(split)
    model = Model(settings.model, 11, len(words), words, Pretrained.load(text_model())).double().train()
    batch = Batches(split, model.text_encoder.ids, 13, 0).batch(np.arange(13))
    recomputed = gradients(model, settings, batch)
    forward = model.text_encoder.forward

    def kept(tokens, lengths):
        return torch.cat([forward(*some) for some in zip(tokens.split(4), lengths.split(4), strict=True)])

    model.text_encoder.forward = kept
    plain = gradients(model, replace(settings, {"train.caption_chunk": 0}), batch)
    for name, value in plain[2].items():
        torch.testing.assert_close(recomputed[2][name], value, rtol=0, atol=1e-10, msg=name)
    seeds.manual_seed(10)
    other = Trainer(model, replace(settings, {"train.caption_chunk": 0}))._loss(batch, "hardest")[0]
    assert other != plain[0]


# ---- mistakes


@pytest.mark.parametrize(
    ("changes", "how", "sentence"),
    [
        ({}, {"bert": None}, "name it \\(--bert NAME_OR_FOLDER\\)"),
        ({"model.text_encoder": "bi-gru", "train.bert_learning_rate": 5e-5}, {}, "text_encoder=bert"),
        ({}, {"glove": "glove.txt"}, "text_encoder bert takes no GloVe vectors"),
        ({}, {"bert": "no-such-model"}, "cannot load 'no-such-model'.*copy the model's folder"),
        (
            {},
            {"bert": "no/such/folder"},
            "no/such/folder does not exist.*copy the model's folder",
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_written(train, tmp_path, changes, how, sentence, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # or it tries five times
    monkeypatch.chdir(tmp_path)
    (tmp_path / "glove.txt").write_text("cat 1 2 3\n")
    with pytest.raises(NaafError, match=sentence):
        train(tmp_path / "a", changes, **how)
    assert not (tmp_path / "a").exists()


def test_settings_of_bert_belong_to_it():
    for changes in ({"model.text_encoder": "bi-gru"}, {"model.freeze_words": True}):
        with pytest.raises(
            UsageError, match=r"train\.bert_learning_rate belongs to model\.text_encoder bert"
        ):
            replace(SETTINGS, changes)


def test_a_caption_longer_than_the_model_reads_is_refused(text_model):
    for kind, most in (("bert", 40), ("roberta", 38)):
        encoder = BertEncoder(Pretrained.load(text_model(kind)), 5, frozen=False)
        text = "a " * (most - 2)
        assert torch.isfinite(encoded(encoder, [text])[0]).all()
        with pytest.raises(UsageError, match=f"reads {most} pieces, and the caption 'a a .* has {most + 1}"):
            encoder.ids(text + "a")


def test_models_of_another_kind_and_without_all_weights_are_refused(text_model, tmp_path):
    sizes = {**SIZES, "image_size": 8, "patch_size": 4}
    transformers.ViTConfig(**sizes).save_pretrained(tmp_path / "vit")
    shutil.copytree(text_model(), tmp_path / "torn")
    from safetensors.torch import load_file, save_file

    file = tmp_path / "torn" / "model.safetensors"
    tensors = load_file(file)
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(NaafError, match=r"files lack the weight encoder\.layer\.1\.output\.dense\.weight"):
        Pretrained.load(tmp_path / "torn")
    with pytest.raises(NaafError, match="cannot load"):
        Pretrained.load(tmp_path / "vit")
    transformers.ViTModel(transformers.ViTConfig(**sizes)).save_pretrained(tmp_path / "whole")
    with pytest.raises(NaafError, match="whole is a model of pixel_values, not of texts; name a text model"):
        Pretrained.load(tmp_path / "whole")
    with pytest.raises(NaafError, match=r"^/no/folder does not exist; without a network copy"):
        Pretrained.load("/no/folder")


def test_without_transformers_the_extra_is_named(tuned, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    for call in (lambda: bert.Pretrained.load("x"), lambda: load_checkpoint(tuned.path)):
        with pytest.raises(NaafError, match=r"needs transformers; pip install 'naaflib\[transformers\]'"):
            call()


def test_the_command_line_trains_with_it(data, text_model, tmp_path, capsys):
    wanted = ["model.dim=5", "train.epochs=1", "train.batch_size=13", "model.text_encoder=bert"]
    out = tmp_path / "run"
    call = ["train", "--data", str(data), "--out", str(out), "--bert", str(text_model()), "--set", *wanted]
    assert main(call) == 0
    assert main(["explain", str(out), "--image", "1"]) == 0
    assert "<start>" in capsys.readouterr().out
    assert main(["train", "--data", str(data), "--out", str(out), "--bert", "x", "--resume"]) == 2
    assert "leave out --init" in capsys.readouterr().err
