"""Foils of any captions: exactly one word made wrong, never by a word that might still be right."""

from dataclasses import replace

import numpy as np
import pytest
import seeds

import naaflib
from naaflib.data.captions import tokenize
from naaflib.data.vocabulary import Vocabulary
from naaflib.errors import UsageError
from naaflib.explanation import swapped_foils, swapped_text
from naaflib.explanation.foils import LISTS, meanings

CAPTIONS = (
    "Two dogs run after a red ball .",
    "A puppy and another dog play on green grass",
    "The brown dogs chase an orange toy!",
    "two animals outside",
    "A poodle near a man",
    "A man in an orange jacket rides an elephant .",
    "A guy and his hot dog",
    "The woman watches a boy with 2 cats",
    "A lady with three birds , one of them white",
    "somebody",
)


@pytest.fixture(scope="module")
def split(scenes):
    """Two images with captions as people write them."""
    return replace(naaflib.open_split(scenes, "test").first(2), captions=list(CAPTIONS))


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary.build(
        [*CAPTIONS, *(" ".join(m.singular | m.plural) for kind in LISTS for m in meanings(kind))], min_count=1
    )


def meaning_of(word, kind):
    return next(m for m in meanings(kind) if word in m.singular | m.plural)


@pytest.fixture(scope="module")
def many(split, vocabulary):
    """The foils of many seeds."""
    found = [
        foil for seed in range(40) for foil in swapped_foils(split, vocabulary, seed=seeds.shifted(seed))
    ]
    assert {foil.kind for foil in found} == set(LISTS)
    return found


def test_a_foil_differs_from_its_caption_in_the_one_word_that_it_names(split, many):
    for foil in many:
        true, wrong = tokenize(split.captions[foil.caption]), tokenize(foil.text)
        assert [k for k in range(len(true)) if true[k] != wrong[k]] == [foil.word]
        assert len(true) == len(wrong)
        assert (true[foil.word], wrong[foil.word]) == (foil.was, foil.now)
        assert foil.image == foil.caption // split.captions_per_image


def test_the_new_word_is_of_the_same_kind_and_number_and_of_another_meaning(many):
    for foil in many:
        was, now = meaning_of(foil.was, foil.kind), meaning_of(foil.now, foil.kind)
        assert was.number_of(foil.was) == now.number_of(foil.now)
        assert foil.now not in was.all
        assert foil.was not in now.all


def test_no_word_of_the_new_meaning_occurs_in_any_caption_of_the_image(split, many):
    for foil in many:
        said = {
            word
            for caption in split.captions_of_image(foil.image)
            for word in tokenize(split.captions[caption])
        }
        assert said.isdisjoint(meaning_of(foil.now, foil.kind).all)
    persons = {(foil.was, foil.now) for foil in many if foil.kind == "person"}
    assert {was for was, _ in persons} == {"man"}  # of image 0; image 1 speaks of men and women
    assert {now for _, now in persons} <= {"woman", "girl", "lady"}
    assert not any(foil.now in ("red", "yellow") for foil in many if foil.was == "orange")


def test_a_typed_text_gets_one_wrong_word_that_no_caption_of_the_picture_has(vocabulary):
    text, said = "a man and a red dog", ["a small blue cat", "two black horses"]
    for seed in range(20):
        wrong, was, now = swapped_text(text, vocabulary, said=said, seed=seeds.shifted(seed))
        before, after = tokenize(text), tokenize(wrong)
        assert [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1]] == [(was, now)]
        assert now not in {"blue", "navy", "cat", "black", "horse"}
    assert swapped_text("on the left of it", vocabulary) is None


def new_words(split, vocabulary, word, kind, draws=15):
    """All words that it becomes where no caption of the image says anything else; without an article."""
    alone = replace(split.first(1), captions=[f"the {word} ones"] * draws, captions_per_image=draws)
    return {foil.now for foil in swapped_foils(alone, vocabulary, kinds=[kind])}


@pytest.mark.parametrize("kind", LISTS)
def test_a_word_never_becomes_one_that_its_own_or_the_other_list_calls_near(split, vocabulary, kind):
    for own in meanings(kind):
        for word in own.singular | own.plural:
            new = new_words(split, vocabulary, word, kind)
            assert new
            assert new.isdisjoint(own.all)
            assert all(word not in meaning_of(now, kind).all for now in new)


def test_what_lies_between_two_colours_keeps_them_apart(split, vocabulary):
    def new(word):
        return new_words(split, vocabulary, word, "colour", 99)

    assert new("white").isdisjoint({"beige", "tan"})
    assert new("brown").isdisjoint({"orange", "golden", "gold", "red"})
    assert new("red").isdisjoint({"brown", "tan", "golden"})
    assert new("green").isdisjoint({"blue", "navy"})  # what is teal is either
    assert {"white", "black"} <= new("brown") & new("red") & new("green")


def test_the_article_before_the_new_word_still_fits(split, many):
    before = {(tokenize(foil.text)[foil.word - 1], foil.now) for foil in many if foil.word}
    assert {now for article, now in before if article == "an"} <= {"elephant", "orange"}
    assert not {now for article, now in before if article == "a"} & {"elephant", "orange"}


def test_a_word_of_a_phrase_that_means_something_else_stays(many):
    assert not [foil for foil in many if "hot" in tokenize(foil.text)]


def test_foils_depend_on_the_seed_and_on_their_own_image_alone(split, vocabulary):
    foils = swapped_foils(split, vocabulary, seed=seeds.shifted(3))
    assert swapped_foils(split, vocabulary, seed=seeds.shifted(3)) == foils
    assert swapped_foils(split, vocabulary, seed=seeds.shifted(4)) != foils
    assert swapped_foils(split.first(1), vocabulary, seed=seeds.shifted(3)) == [
        foil for foil in foils if foil.image == 0
    ]
    colours = [foil for foil in foils if foil.kind == "colour"]
    assert swapped_foils(split, vocabulary, seed=seeds.shifted(3), kinds=["colour"]) == colours


def test_only_words_that_the_model_knows_are_exchanged(split):
    known = {"red", "blue", "dogs", "cows"}
    foils = [foil for seed in range(9) for foil in swapped_foils(split, known, seed=seeds.shifted(seed))]
    assert {(foil.was, foil.now) for foil in foils} == {("red", "blue"), ("dogs", "cows")}


def test_a_kind_without_a_list_is_refused(split, vocabulary):
    with pytest.raises(UsageError, match="no word list 'planet'; word lists: colour, number, animal, person"):
        swapped_foils(split, vocabulary, kinds=["planet"])


@pytest.mark.parametrize("kind", LISTS)
def test_a_listed_word_has_one_meaning_and_one_number(kind):
    exchanged = [word for m in meanings(kind) for word in (*m.singular, *m.plural)]
    assert len(exchanged) == len(set(exchanged))
    for meaning in meanings(kind):
        assert meaning.also.isdisjoint(meaning.singular | meaning.plural)
    assert all(np.array([len(tokenize(word)) for word in exchanged]) == 1)
