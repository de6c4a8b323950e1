"""Readers and measures driven with generated files and tensors: a result or a NaafError, nothing else."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from naaflib.data.boxes import read_boxes, read_sizes
from naaflib.data.captions import read_captions, read_filled
from naaflib.data.glove import read_glove
from naaflib.data.manifest import read_manifest
from naaflib.data.npy import open_array, read_objects
from naaflib.data.public.coco import CocoIds
from naaflib.data.public.entity_files import read_annotation, read_sentences
from naaflib.data.public.foils import FORMS, read_foils
from naaflib.data.public.pair_scores import read_pair_scores
from naaflib.data.public.sits import read_sits
from naaflib.data.vocabulary import SPECIAL, Vocabulary
from naaflib.errors import NaafError
from naaflib.evaluation.judging.formats import open_source
from naaflib.evaluation.judging.gallery import read_ids
from naaflib.files import parse_json, read_json, read_yaml
from naaflib.metric.retrieval import retrieval_metrics
from naaflib.npz import read_npz
from naaflib.similarity.matrix import score_matrix

# The same examples in every run: derandomize; the database would bring back another machine's.
FEW = settings(
    max_examples=30, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
WORDS = Vocabulary((*SPECIAL, "a", "cat"))
IDS = CocoIds(np.array([365325, 7]), np.array([732091, 8]))
READERS = {
    "captions": read_captions,
    "names": read_filled,
    "ids": read_ids,
    "vocabulary": Vocabulary.read,
    "manifest": read_manifest,
    "YAML": read_yaml,
    "JSON": read_json,
    "GloVe": lambda path: read_glove(path, WORDS),
    "SITS": lambda path: read_sits(path, IDS),
    "sentences": read_sentences,
    "annotation": read_annotation,
    "pair scores": lambda path: read_pair_scores(path, ()),
    "npy": open_array,
    "npy of objects": read_objects,
    "npz": lambda path: read_npz(path, lambda names: names[0] if names else "none"),
    "boxes": read_boxes,
    "sizes": read_sizes,
    "scores .npy": lambda path: open_source(path.rename(path.with_suffix(".npy"))),
    "scores .npz": lambda path: open_source(path.rename(path.with_suffix(".npz"))),
    "scores .pt": lambda path: open_source(path.rename(path.with_suffix(".pt"))),
}
SEEDS = (  # beginnings that lead a reader further than bytes at random
    b"", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", b"PK\x03\x04",
    b"caption,image,agg_score,sampling_method\n", b"id,score_caption,score_foil\n", b"a 1 2\n", b"\x80\x04",
    b'{"words": [', b'{"idx2word": {"0": "<pad>", ', b"<annotation><size>", b"[/EN#1/people a cat]",
    b"\x1f\x8b", b"name: a\n", b"COCO_val2014:sentid:732091,COCO_val2014_000000365325.jpg,",
)  # fmt: skip
CONTENT = st.builds(lambda start, rest: start + rest, st.sampled_from(SEEDS), st.binary(max_size=200))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def result_or_sentence(call, *arguments):
    """The result; None where there is a NaafError of one line."""
    try:
        return call(*arguments)
    except NaafError as error:
        sentence = str(error)
    assert sentence
    assert "\n" not in sentence
    return None


@pytest.mark.parametrize("name", READERS)
@FEW
@given(content=CONTENT)
@example(content=b"\x00" * 40)
@example(content=b"\xff\xfe" + b"\n" * 30)
@example(content=b"[" * 2_000)
def test_a_reader_gives_a_result_or_a_sentence(name, tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    result_or_sentence(READERS[name], path)


@FEW
@given(value=JSON)
def test_a_vocabulary_of_any_json_is_texts_or_a_sentence(value, tmp_path):
    path = tmp_path / "vocab.json"
    for content in (value, {"words": [*SPECIAL, value]}, {"word2idx": {"<pad>": value}}, {"idx2word": value}):
        path.write_text(json.dumps(content), encoding="utf-8")
        found = result_or_sentence(Vocabulary.read, path)
        assert found is None or all(isinstance(word, str) and word for word in found.words)


@FEW
@given(value=JSON)
def test_foils_of_any_json_are_items_or_a_sentence(value, tmp_path):
    item = {"filename": "a.jpg", "caption": "a cat", "negative_caption": "a dog"}
    for content in (value, {"0": value}, {"0": {**item, "caption": value}}, {"0": item, "1": value}):
        (tmp_path / "add_att.json").write_text(json.dumps(content), encoding="utf-8")
        result_or_sentence(read_foils, next(iter(FORMS)), tmp_path, ["add_att"])


@FEW
@given(value=JSON)
def test_json_that_is_read_is_what_json_can_say(value):
    """What is read goes back into the same text: nothing was lost, and no number is NaN or infinite."""
    text = json.dumps(value)
    try:
        found = parse_json(text)
    except ValueError:
        assert "NaN" in text or "Infinity" in text or "\\ud" in text
        return
    assert json.dumps(found, allow_nan=False) == text


@FEW
@given(
    array=arrays.arrays(
        st.sampled_from(["<f2", "<f4", ">f8", "<i8", "u1", "bool", "<c8", "<U3"]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    )
)
def test_any_array_is_read_as_it_was_written_or_refused(array, tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, array)
    found = result_or_sentence(open_array, path)
    if found is not None:
        np.testing.assert_array_equal(found, array)
    for read in (read_boxes, read_sizes, open_source):
        result_or_sentence(read, path)


SIDES = st.integers(1, 4)
VALUES = st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([math.nan, math.inf, -math.inf, 0.0])


@FEW
@given(data=st.data(), images=SIDES, per_image=SIDES)
def test_metrics_of_any_scores_are_percent_or_a_sentence(data, images, per_image):
    shape = (images, images * per_image)
    scores = data.draw(arrays.arrays(np.float32, shape, elements=VALUES))
    found = result_or_sentence(retrieval_metrics, scores, per_image)
    if found is not None:
        assert 0 <= found.rsum <= 600


@FEW
@given(data=st.data(), method=st.sampled_from(["naaf", "scan-t2i", "scan-i2t", "chan", "vse"]))
def test_scores_of_any_unit_vectors_are_finite_or_a_sentence(data, method):
    images, regions, captions, words, dim = (data.draw(SIDES) for _ in range(5))
    vectors = [
        data.draw(arrays.arrays(np.float32, shape, elements=st.floats(-1, 1, width=32)))
        for shape in ((images, regions, dim), (captions, words, dim))
    ]
    units = [torch.nn.functional.normalize(torch.from_numpy(one), dim=-1) for one in vectors]
    lengths = data.draw(arrays.arrays(np.int64, captions, elements=st.integers(0, words + 1)))
    boundary = data.draw(st.none() | st.floats(-1, 1) | st.just(math.nan))
    try:
        found = score_matrix(*units, torch.from_numpy(lengths), boundary=boundary, method=method)
    except NaafError:
        return
    assert found.shape == (images, captions)
    assert found.isfinite().all()


def test_every_reader_meets_a_pipe_without_waiting(tmp_path):
    import os

    for name, read in READERS.items():
        path = Path(tmp_path / name.replace(" ", "_"))
        os.mkfifo(path)
        assert result_or_sentence(read, path) is None, name
