"""The methods beside NAAF and SCAN, against their definitions; the registry and the settings agree."""

import ast
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import seeds
import torch
from methods import POOLED

import naaflib
from naaflib import config, open_split
from naaflib.config import preset
from naaflib.errors import UsageError
from naaflib.evaluation import evaluate
from naaflib.explanation import foil_detection, swapped_foils
from naaflib.similarity.base import Similarity
from naaflib.similarity.methods import METHODS, make
from naaflib.training.folder import train_run

LENGTHS = [3, 1, 6, 3]


def unit(*shape, seed):
    numbers = torch.randn(*shape, dtype=torch.float64, generator=seeds.generator(seed))
    return numbers / numbers.norm(dim=-1, keepdim=True)


@pytest.fixture
def images():
    return unit(4, 5, 9, seed=0)


@pytest.fixture
def captions():
    return unit(len(LENGTHS), max(LENGTHS), 9, seed=1)


def in_loops(images, captions, score):
    scores = [[score(v, u[:n]) for u, n in zip(captions, LENGTHS, strict=True)] for v in images]
    return torch.tensor(scores, dtype=torch.float64)


def test_chan_is_the_mean_of_each_word_s_best_cosine(images, captions):
    expected = in_loops(images, captions, lambda v, u: sum(max(w @ r for r in v) for w in u) / len(u))
    found = naaflib.score_matrix(images, captions, LENGTHS, method="chan")
    torch.testing.assert_close(found, expected)
    pooled = naaflib.score_matrix(images, captions, LENGTHS, method="chan", pooling="lse", lambda_lse=3.0)
    expected = in_loops(
        images, captions, lambda v, u: sum(torch.exp(3 * max(w @ r for r in v)) for w in u).log() / 3
    )
    torch.testing.assert_close(pooled, expected)


def test_vse_is_the_cosine_of_the_means(images, captions):
    def cosine(v, u):
        return torch.nn.functional.cosine_similarity(v.mean(dim=0), u.mean(dim=0), dim=0)

    found = naaflib.score_matrix(images, captions, LENGTHS, method="vse")
    torch.testing.assert_close(found, in_loops(images, captions, cosine))


def test_the_registry_and_the_settings_name_the_same_methods_and_constants():
    assert list(METHODS) == list(config.METHODS)
    base = config.ModelSettings.model_fields.keys()
    for method, kind in METHODS.items():
        assert kind.method == method
        assert {field.name for field in fields(kind)} == config.METHODS[method].model_fields.keys() - base
        assert kind.needs_boundary == config.METHODS[method].has_boundary
        constants = config.model_settings(method=method).model_dump()
        assert make(method, constants) == kind()  # the published constants in both places


SOURCES = Path(naaflib.__file__).parent
REGISTRY = "similarity/methods.py"
# naaf is also the name of the command and of the header in a checkpoint, and `naaf_score` is public
ANOTHER_NAAF = {"cli/__init__.py", "model/checkpoint.py", "runs.py", "similarity/__init__.py"}


def words_of_code(path):
    """Identifiers, imports and quoted strings of a file, each with its enclosing class; no docstrings."""

    def walk(node, inside):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            names = (getattr(child, name, None) for name in ("id", "attr", "name", "asname", "arg", "module"))
            found = [*names, child.value if isinstance(child, ast.Constant) else None]
            yield from ((word.rpartition(".")[2], inside) for word in found if isinstance(word, str))
            yield from walk(child, child.name if isinstance(child, ast.ClassDef) else inside)

    return set(walk(ast.parse(path.read_text("utf-8")), ""))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_s_name_stands_in_its_own_file_its_settings_type_and_the_registry_only(method):
    kind, settings = METHODS[method], config.METHODS[method].__name__
    own = kind.__module__.removeprefix("naaflib.").replace(".", "/") + ".py"
    names = {method, method.replace("-", "_"), kind.__name__, settings}
    found = {
        (path.relative_to(SOURCES).as_posix(), word, inside)
        for path in SOURCES.rglob("*.py")
        for word, inside in words_of_code(path)
        if word in names
    }
    allowed = {own, REGISTRY, *(ANOTHER_NAAF if method == "naaf" else ())}
    elsewhere = [where for where in found if where[0] not in allowed]
    assert [where for where in elsewhere if where[0] != "config.py" or settings not in where[1:]] == []
    assert {own, REGISTRY, "config.py"} <= {path for path, *_ in found}


def test_no_file_compares_a_method_s_name():
    texts = {path: path.read_text("utf-8") for path in SOURCES.rglob("*.py")}
    assert [path for path, text in texts.items() if "method ==" in text or "method !=" in text] == []


@pytest.mark.parametrize(("method", "pooling"), POOLED)
def test_the_parts_add_up_to_the_score(images, captions, method, pooling):
    similarity = make(method, {"pooling": pooling})
    parts = similarity.parts(images, captions[2], 0.1)
    effect = parts.feature_effect + parts.relevance_effect + parts.negative_effect
    if pooling == "mean":
        torch.testing.assert_close(effect.mean(dim=-1), parts.score)
    single = len(similarity.effects) == 1
    assert parts.relevance_effect.any() != single
    for weight in (parts.feature_weight, parts.relevance_weight):
        total = weight.sum(dim=-1)
        torch.testing.assert_close(total, total.round())
    assert set(similarity.evidence) <= {*parts._fields, "effect", "best_cosine"}


def test_a_method_that_the_registry_lacks_is_refused(images, captions):
    with pytest.raises(UsageError, match="no method 'third'; methods: naaf"):
        naaflib.score_matrix(images, captions, LENGTHS, method="third")


def test_a_similarity_without_its_forms_cannot_be_made():
    class Half(Similarity):
        method = "half"

    with pytest.raises(TypeError, match="parts"):
        Half()


@pytest.fixture(scope="module")
def data(write_split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("small")
    for split, images in (("train", 23), ("dev", 11)):
        write_split(folder, split, images)
    return folder


@pytest.mark.trains
@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_evaluates_streams_and_explains(data, tmp_path, method):
    small = {"model.dim": 16, "model.word_dim": 8, "train.epochs": 2, "train.batch_size": 23}
    settings = preset("scenes", {**small, "model.method": method, "mining.min_words": 5})
    run = train_run(data, tmp_path / "run", settings)
    model, split = naaflib.load_checkpoint(run.path), open_split(data, "dev")
    assert model.settings == settings.model
    whole = evaluate(run.path, data, split="dev")
    streamed = evaluate(run.path, data, split="dev", keep_scores=False)
    np.testing.assert_array_equal(whole.metrics.i2t.ranks, streamed.metrics.i2t.ranks)
    pair = naaflib.explain(model, split, 3, 16)
    assert pair.score == pytest.approx(float(whole.scores[3, 16]), abs=1e-5)
    assert pair.effect.mean() == pytest.approx(pair.score, abs=1e-5)
    assert (pair.boundary is not None) == METHODS[method].needs_boundary
    found = foil_detection(model, split, swapped_foils(split, set(model.vocabulary.words), seed=0))
    assert found.evidence == model.similarity.evidence[0]
