"""Flickr30k Entities and the other public forms: scenes written in them say what scenes say."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import seeds

from naaflib.config import model_settings
from naaflib.data.boxes import OVERLAP, overlap
from naaflib.data.captions import tokenize
from naaflib.data.public.entities import FUNCTION_WORDS, align, entity_links, picture_names
from naaflib.data.public.entity_files import read_annotation, read_sentences
from naaflib.data.scenes.dataset import read_foils, read_links, read_mentions, read_objects
from naaflib.data.scenes.public_forms import SUGAR_CREPE, VALSE, write_public_forms
from naaflib.data.splits import open_split
from naaflib.data.vocabulary import Vocabulary
from naaflib.errors import NaafError, UsageError
from naaflib.explanation import by_phrase_type, pointing_game
from naaflib.model.model import Boundaries, Model

REAL = Path(__file__).parents[2] / "shared" / "data"

SENTENCES = (
    "[/EN#7/people A man 's] and [/EN#8/people/animals two dogs] watch [/EN#0/notvisual it] "
    "in [/EN#9/scene the Yard] .",
    "[/EN#8/animals The Two-Dogs] sit .",
)
ANNOTATION = """<annotation><filename>77.jpg</filename>
<size><width>50</width><height>40</height><depth>3</depth></size>
<object><name>7</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>10</xmax><ymax>20</ymax></bndbox></object>
<object><name>8</name><bndbox><xmin>21</xmin><ymin>1</ymin><xmax>30</xmax><ymax>20</ymax></bndbox></object>
<object><name>8</name><name>7</name>
<bndbox><xmin>41</xmin><ymin>21</ymin><xmax>50</xmax><ymax>40</ymax></bndbox></object>
<object><name>9</name><scene>1</scene><nobndbox>1</nobndbox></object></annotation>"""
LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a0 "lol">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    + "]><annotation>&a11;</annotation>"
)


@pytest.fixture(scope="module")
def public(scenes, tmp_path_factory):
    return write_public_forms(scenes, tmp_path_factory.mktemp("public") / "forms")


@pytest.fixture(scope="module")
def split(scenes):
    return open_split(scenes, "test")


@pytest.fixture(scope="module")
def model(split):
    """Untrained."""
    seeds.manual_seed(0)
    vocabulary = Vocabulary.build(split.captions, min_count=1)
    settings = model_settings(method="naaf", dim=19, word_dim=13)
    model = Model(settings, split.regions.shape[2], len(vocabulary), vocabulary).double()
    model.boundary = Boundaries(0.3, 0.2)
    return model


@pytest.fixture
def entities(public, tmp_path):
    """A copy of the written Entities that a test may damage."""
    return shutil.copytree(public / "flickr30k_entities", tmp_path / "entities")


@pytest.fixture
def tiny(tmp_path):
    """One picture of 100 x 80 with five regions, found by its number, and its two files by hand."""
    folder, own = tmp_path / "tiny", tmp_path / "own"
    for place in (folder, own / "Sentences", own / "Annotations"):
        place.mkdir(parents=True)
    np.save(folder / "test_ims.npy", seeds.rng(1).normal(size=(1, 5, 5)).astype("float32"))
    boxes = [[0, 0, 20, 40], [40, 0, 60, 40], [80, 40, 100, 80], [0, 0, 100, 80], [0, 0, 20, 20]]
    np.save(folder / "test_ims_bbx.npy", np.array([boxes], "float32"))
    np.save(folder / "test_ims_size.npy", np.array([[100, 80]]))
    (folder / "manifest.yaml").write_text("{name: tiny, captions_per_image: 2}")
    (folder / "test_caps.txt").write_text("a man's and two dogs watch it in the yard\nthe two dogs sit\n")
    (folder / "test_ids.txt").write_text("5\n5\n")
    (folder / "id_mapping.json").write_text('{"4": "44.jpg", "5": "77.jpg"}')
    (own / "Sentences" / "77.txt").write_text("\n".join(SENTENCES) + "\n")
    (own / "Annotations" / "77.xml").write_text(ANNOTATION)
    return folder, own


# Scenes written as Entities


def test_links_read_from_the_written_entities_are_the_scenes_own(public, split, scenes):
    found = entity_links(public / "flickr30k_entities", split)
    assert found.links == read_links(scenes, "test")
    assert found.unaligned == ()
    assert found.overlap == OVERLAP
    reached = found.phrases[found.phrases["boxed"]]
    assert reached["reached"].all()
    assert set(found.by_type().query("boxed == 0").index) <= {"scene"}


def test_links_at_another_overlap_are_those_of_the_objects_true_boxes(public, split, scenes):
    found = entity_links(public / "flickr30k_entities", split, overlap=0.8)
    objects, mentions = read_objects(scenes, "test"), read_mentions(scenes, "test")
    for caption, words in enumerate(mentions):
        image = split.image_of(caption)
        share = overlap(split.boxes[image], [thing.box for thing in objects[image]])
        expected = [np.flatnonzero((share[:, own] >= 0.8).any(axis=1)).tolist() for own in words]
        assert found.links[caption] == expected
    unreached = found.phrases[found.phrases["boxed"] & ~found.phrases["reached"]]
    assert len(unreached) > 0
    assert f"{len(unreached):,} are not reachable by these regions" in found.sentence()
    table = found.by_type()
    singles = found.phrases[found.phrases["types"].map(len) == 1]
    for name, own in singles.groupby(singles["types"].map(lambda types: types[0])):
        several = found.phrases["types"].map(lambda types, name=name: len(types) > 1 and name in types)
        both = pd.concat([own, found.phrases[several]])
        assert table.loc[name].tolist() == [len(both), both["boxed"].sum(), both["reached"].sum()]


def test_boxes_that_count_in_other_pixels_give_the_same_links(public, split):
    folder, wider = public / "flickr30k_entities", np.array([4, 2])  # exact in floating point
    other = replace(split, boxes=split.boxes * np.tile(wider, 2), sizes=split.sizes * wider)
    assert entity_links(folder, other).links == entity_links(folder, split).links


def test_the_pointing_game_is_the_one_of_the_scenes_own_links(public, split, scenes, model):
    found = entity_links(public / "flickr30k_entities", split)
    game = pointing_game(model, split, found.links)
    pd.testing.assert_frame_equal(game.words, pointing_game(model, split, read_links(scenes, "test")).words)
    table = by_phrase_type(game, found)
    for name in table.index:
        own = game.words[
            [name in found.types[c][p] for c, p in game.words[["caption", "position"]].to_numpy()]
        ]
        assert table.loc[name, "words"] == len(own)
        if len(own):
            assert table.loc[name, "rate"] == pytest.approx(own["hit"].mean())
            assert table.loc[name, "chance"] == pytest.approx(own["chance"].mean())
            assert table.loc[name, "low"] <= table.loc[name, "rate"] <= table.loc[name, "high"]
    assert table.loc["scene", "words"] == 0
    assert np.isnan(table.loc["scene", "rate"])
    places = game.by_class([["last" if last else "first" for last in words] for words in found.last])
    assert places["count"].sum() == game.count
    assert places.loc["last", "count"] == found.phrases["reached"].sum()  # one a phrase


# What is published


def test_a_picture_is_read_as_it_is_published(tiny):
    folder, own = tiny
    found = entity_links(own, open_split(folder, "test"))
    assert picture_names(open_split(folder, "test")) == ["77"]
    words = [tokenize(line) for line in ("a man's and two dogs watch it in the yard", "the two dogs sit")]
    assert words[0] == ["a", "man", "'s", "and", "two", "dogs", "watch", "it", "in", "the", "yard"]
    # Pixels count from 1 in half the size; the second box is of both; the last region is half of the first.
    man, dogs = [0, 2, 4], [1, 2]
    assert found.links[0] == [[], man, [], [], dogs, dogs, [], [], [], [], []]
    assert found.types[0][4] == ("people", "animals")
    assert found.types[0][7:] == [("notvisual",), (), (), ("scene",)]
    last = [word for word, last in zip(words[0], found.last[0], strict=True) if last]
    assert last == ["man", "dogs", "it", "yard"]
    assert found.links[1] == [[], dogs, dogs, []]
    assert found.phrases["boxed"].tolist() == [True, True, False, False, True]
    assert found.by_type()["phrases"].to_dict() == {"people": 2, "animals": 2, "notvisual": 1, "scene": 1}
    sentence = read_sentences(own / "Sentences" / "77.txt")[0]
    assert sentence.words[:4] == ("A", "man", "'s", "and")
    annotation = read_annotation(own / "Annotations" / "77.xml")
    assert annotation.size.tolist() == [50, 40]
    assert annotation.boxes["8"].tolist() == [[20, 0, 30, 20], [40, 20, 50, 40]]


@pytest.mark.parametrize(
    ("caption", "words", "places"),
    [
        ("a T-Shirt , here .", "A t - shirt here", [0, 1, None, 4, None]),
        ("he cannot", "He can not", [0, 1, 2]),
        ("the café", "The cafe\u0301 !", [0, 1]),
        ('a "big" dog', "a `` big '' dog", [0, None, 2, None, 4]),
        ("a dog", "a cat", None),
        ("a dog runs", "a dog", None),
    ],
)
def test_captions_are_aligned_by_letters_whatever_the_case_and_the_punctuation(caption, words, places):
    assert align(tokenize(caption), words.split()) == places


def test_a_caption_that_is_none_of_its_pictures_sentences_is_left_out_aloud(public, split, capsys):
    folder, captions = public / "flickr30k_entities", list(split.captions)
    captions[7] = captions[7] + " and more"
    captions[8], captions[9] = captions[9], captions[8]
    whole, found = entity_links(folder, split), entity_links(folder, replace(split, captions=captions))
    assert found.unaligned == (7,)
    assert not any(found.links[7])
    assert "1 of 50 captions of test" in capsys.readouterr().err
    assert found.links[8:10] == whole.links[9:7:-1]
    assert found.links[:7] + found.links[10:] == whole.links[:7] + whole.links[10:]


def test_no_function_word_speaks_of_a_box(public, split):
    found = entity_links(public / "flickr30k_entities", split)
    for text, words in zip(split.captions, found.types, strict=True):
        assert not any(
            types for word, types in zip(tokenize(text), words, strict=True) if word in FUNCTION_WORDS
        )


@pytest.mark.skipif(not (REAL / "benchmarks" / "f30k").is_dir(), reason="the real files are not here")
def test_real_captions_are_aligned_with_their_own_words_and_have_a_picture_each(tmp_path):
    for name in ("test_ids.txt", "id_mapping.json"):
        shutil.copy(REAL / "benchmarks" / "f30k" / name, tmp_path)
    shutil.copy(REAL / "f30k_text" / "test_caps.txt", tmp_path)
    np.save(tmp_path / "test_ims.npy", np.ones((1000, 1, 2), "float32"))
    split = open_split(tmp_path, "test")
    names = picture_names(split)
    assert len(set(names)) == len(names) == 1000
    assert all(name.isdigit() for name in names)
    assert not [text for text in split.captions if align(tokenize(text), text.split()) is None]


# Bad input


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: LAUGHS, "declares a document type"),
        (lambda text: text[: len(text) // 2], "not valid XML"),
        (lambda text: text.replace("<width>", "<w>").replace("</width>", "</w>"), "size/width is missing"),
        (lambda text: re.sub("<height>.*?<", "<height>tall<", text), "size/height is 'tall', not a number"),
        (lambda text: re.sub("<height>.*?<", "<height>0<", text), "size is not above 0"),
        (lambda text: re.sub("<xmax>.*?<", "<xmax>0<", text), "object 1: its box ends before it begins"),
        (lambda text: re.sub("<ymin>.*?</ymin>", "", text), "object 1: bndbox/ymin is missing"),
        (lambda text: re.sub("<name>.*?</name>", "", text), "object 1: it has no name"),
        (None, "is missing"),
    ],
)
def test_a_damaged_annotation_is_one_sentence(entities, split, damage, said):
    path = entities / "Annotations" / "test_00003.xml"
    if damage:
        path.write_text(damage(path.read_text()))
    else:
        path.unlink()
    with pytest.raises(NaafError, match=r"test_00003\.xml") as error:
        entity_links(entities, split)
    assert said in str(error.value)
    assert "get Flickr30k Entities again" in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a [/EN#1/people man] .\na [/EN#1 man] .", r"line 2: '\[/EN#1 man\] \.' is no mark"),
        ("a [/EN#1/people man", "line 1"),
        ("a [/EN#1/people [/EN#2/people man]] .", "line 1"),
        ("", "is empty"),
        (None, "is missing"),
    ],
)
def test_a_damaged_sentence_is_one_sentence(entities, split, text, said):
    path = entities / "Sentences" / "test_00004.txt"
    path.unlink() if text is None else path.write_text(text)
    with pytest.raises(NaafError, match=rf"test_00004\.txt.*{said}.*get Flickr30k Entities again"):
        entity_links(entities, split)


def test_what_a_split_lacks_is_said(tiny, tmp_path, public, split):
    folder, own = tiny
    opened = open_split(folder, "test")
    with pytest.raises(UsageError, match=r"above 0 and at most 1, not 1\.5"):
        entity_links(own, opened, overlap=1.5)
    with pytest.raises(NaafError, match="has no Sentences/"):
        entity_links(folder, opened)
    with pytest.raises(NaafError, match=r"add test_ims_size\.npy"):
        entity_links(own, replace(opened, sizes=None))
    with pytest.raises(NaafError, match=r"no boxes of its regions \(test_ims_bbx\.npy\)"):
        entity_links(own, replace(opened, boxes=None))
    for content, said in (
        ("5\n4\n", r"test_ids\.txt, line 2: the captions of an image have one id"),
        ("6\n6\n", r"id_mapping\.json has no picture '6' \(test_ids\.txt, line 1\)"),
        ("5\n5\n5\n", r"test_ids\.txt has 3 lines; test has 1 images and 2 captions"),
    ):
        (folder / "test_ids.txt").write_text(content)
        with pytest.raises(NaafError, match=said):
            entity_links(own, opened)
    (folder / "test_ids.txt").unlink()
    with pytest.raises(NaafError, match=r"add test_image_names\.txt, or test_ids\.txt and id_mapping\.json"):
        entity_links(own, opened)


# The other forms


def differing(first: str, second: str) -> list[int]:
    pairs = zip(tokenize(first), tokenize(second), strict=True)
    return [place for place, (one, other) in enumerate(pairs) if one != other]


def test_every_item_of_the_sugar_crepe_form_has_one_replaced_word_the_foils_own(public, scenes, split):
    foils = read_foils(scenes, "test")
    written = {
        name: json.loads((public / "sugar_crepe" / f"{name}.json").read_text()) for name in SUGAR_CREPE
    }
    assert sum(map(len, written.values())) == len(foils)  # no kind of foil is lost
    for name, kinds in SUGAR_CREPE.items():
        own = [foil for foil in foils if foil.kind in kinds]
        assert len(own) == len(written[name]) > 0
        for foil, item in zip(own, written[name].values(), strict=True):
            assert differing(item["caption"], item["negative_caption"]) == [foil.word]
            assert item["caption"] == split.captions[foil.caption]
            assert split.image_names[foil.image] == item["filename"]


def test_every_item_of_the_valse_form_names_the_replaced_word(public, scenes):
    kinds = {foil.text: foil.kind for foil in read_foils(scenes, "test")}
    for name, (_, own) in VALSE.items():
        items = json.loads((public / "valse" / f"{name}.json").read_text())
        assert items
        for item in items.values():
            (place,) = differing(item["caption"], item["foil"])
            assert tokenize(item["caption"])[place] == item["classes"]
            assert tokenize(item["foil"])[place] == item["classes_foil"]
            assert item["mturk"]["caption"] >= 2
            assert kinds[item["foil"]] in own


# The commands


@pytest.fixture
def naaf(capsys):
    from naaflib.cli import main

    def run(*words):
        capsys.readouterr()
        status = main([str(word) for word in words])
        return status, *capsys.readouterr()

    return run


def test_the_command_tells_what_the_game_tells(naaf, trained, scenes, public, split):
    from naaflib import load_checkpoint

    found = entity_links(public / "flickr30k_entities", split)
    game = pointing_game(load_checkpoint(trained.path), split, found.links)
    own = naaf("pointing", trained.path, "--data", scenes, "--json")
    told = naaf(
        "pointing", trained.path, "--entities", public / "flickr30k_entities", "--json", "--device", "cpu"
    )
    for status, out, _ in (own, told):
        assert status == 0
        assert json.loads(out)["rate"] == pytest.approx(game.rate)
        assert json.loads(out)["words"] == game.count
    by_type = {row["type"]: row for row in json.loads(told[1])["by_type"]}
    assert by_type["scene"]["rate"] is None
    assert by_type["scene"]["phrases"] == by_phrase_type(game, found).loc["scene", "phrases"]
    status, out, _ = naaf(
        "pointing", trained.path, "--entities", public / "flickr30k_entities", "--overlap", "0.8"
    )
    assert status == 0
    assert "not reachable by these regions (no overlap of 0.8 or more)" in out
    assert "last word of its phrase" in out


def test_a_wrong_request_is_one_sentence(naaf, trained, scenes, data, public, tmp_path):
    status, out, err = naaf("pointing", trained.path, "--overlap", "0.7")
    assert (status, out) == (2, "")
    assert "--overlap goes with --entities" in err
    status, out, err = naaf("pointing", trained.path, "--data", data)
    assert (status, out) == (1, "")
    assert "--entities" in err
    assert len(err.splitlines()) == 1
    status, out, err = naaf("data", "public-forms", scenes, public)
    assert (status, out) == (1, "")
    assert "is already there; name a new folder" in err
    status, out, err = naaf("data", "public-forms", data, tmp_path / "new")
    assert (status, out) == (1, "")
    assert "naaf data build scenes" in err
    assert not (tmp_path / "new").exists()
    status, out, _ = naaf("data", "public-forms", scenes, tmp_path / "new", "--split", "dev")
    assert status == 0
    assert out.strip().endswith("new")
    assert len(list((tmp_path / "new" / "flickr30k_entities" / "Annotations").iterdir())) == 10
