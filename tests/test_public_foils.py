"""Public foils: files as they are published, word order, the blind baseline, scores from anywhere."""

import json
import os
import shutil
from collections import Counter
from dataclasses import replace
from math import log
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import seeds

import naaflib
from naaflib.data.captions import tokenize
from naaflib.data.public.foils import FORMS, exchanged, read_foils
from naaflib.data.public.pair_scores import read_pair_scores, write_pairs_to_score
from naaflib.data.public.pictures import shortest
from naaflib.data.scenes.dataset import read_foils as read_scene_foils
from naaflib.errors import NaafError, UsageError
from naaflib.explanation import explain, foil_benchmark, foil_detection, order_foils
from naaflib.explanation.benchmark import benchmark_items
from naaflib.explanation.blind import END, UNKNOWN, BlindModel, NGrams, bare
from naaflib.explanation.order import RULES

SHARED = Path(__file__).parents[2] / "shared" / "data" / "benchmarks"
PUBLISHED = Path(os.environ.get("NAAF_BENCHMARKS") or SHARED)
published = pytest.mark.skipif(
    not (PUBLISHED / "sugar_crepe").is_dir(), reason="no copy of the public files; NAAF_BENCHMARKS names one"
)
PICTURE = "000000000013.jpg"
PAIR = ("A cat on a mat", "A dog on a mat.")
CATEGORIES = FORMS["sugar-crepe"].categories


def write_sugar_crepe(folder, pairs, category="replace_obj"):
    """pairs: (picture, caption, foil) of one category; the ids are their numbers."""
    folder.mkdir(exist_ok=True)
    names = ("filename", "caption", "negative_caption")
    content = {str(k): dict(zip(names, pair, strict=True)) for k, pair in enumerate(pairs)}
    (folder / f"{category}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def write_valse(folder, entries, category="foil-it"):
    folder.mkdir(exist_ok=True)
    (folder / f"{category}.json").write_text(json.dumps(entries), encoding="utf-8")
    return folder


# the published files


@published
def test_the_public_files_hold_the_known_counts():
    sugar = read_foils("sugar-crepe", PUBLISHED / "sugar_crepe")
    assert len(sugar) == 7511
    assert sum(item.exchange is not None for item in sugar) == 1900
    train = set((PUBLISHED / "coco" / "train_ids.txt").read_text().split())
    assert sum(str(item.coco_id) in train for item in sugar) == 5830
    assert sum(shortest(item.picture) in train for item in sugar) == 5830
    assert len({item.key for item in sugar}) == 7511
    valse = read_foils("valse", PUBLISHED / "valse")
    assert Counter(item.category for item in valse if item.exchange) == {"foil-it": 926, "relations": 535}


@published
def test_the_one_word_of_a_public_item_is_the_only_token_that_changes():
    """Of all but one, whose word tokenisation splits (dads, mom's)."""
    items = [item for name in FORMS for item in read_foils(name, PUBLISHED / name.replace("-", "_"))]
    one = [item for item in items if item.exchange]
    placed = [item for item in one if item.exchange.word is not None]
    assert len(one) - len(placed) == 1
    for item in placed:
        before, after = tokenize(item.caption), tokenize(item.exchange.text)
        assert [k for k in range(len(after)) if before[k] != after[k]] == [item.exchange.word]


def test_sugar_crepe_is_read_as_published(tmp_path):
    write_sugar_crepe(tmp_path, [(PICTURE, *PAIR), (PICTURE, "A cat.", "A cat and a dog.")])
    one, more = read_foils("sugar-crepe", tmp_path, ["replace_obj"])
    assert (one.category, one.id, one.picture, one.coco_id) == ("replace_obj", "0", PICTURE, 13)
    assert (one.caption, one.foil) == PAIR
    assert (one.exchange.was, one.exchange.now, one.exchange.word) == ("cat", "dog", 1)
    assert one.exchange.text == "A dog on a mat"  # the caption's own end
    assert more.exchange is None


def test_only_items_that_two_annotators_of_three_accept_are_read(tmp_path):
    entries = {
        f"i{votes}": {
            "image_file": "COCO_val2014_000000000013.jpg",
            "caption": PAIR[0],
            "foil": PAIR[1],
            "mturk": {"caption": votes},
        }
        for votes in range(4)
    }
    found = read_foils("valse", write_valse(tmp_path, entries), ["foil-it"])
    assert [item.id for item in found] == ["i2", "i3"]
    assert {item.coco_id for item in found} == {13}


@pytest.mark.parametrize(
    ("caption", "foil", "word"),
    [
        ("a cat", "a dog", 1),
        ("A cat.", "a Dog", 1),
        ("a cat , a tree", "a cat, a bush .", 4),
        ("multi-layer cake at 4:30", "multi - layer pie at 4 : 30.", 1),
    ],
)
def test_punctuation_spacing_and_case_are_no_exchanged_word(caption, foil, word):
    found = exchanged(caption, foil)
    before, after = tokenize(caption), tokenize(found.text)
    assert [k for k in range(len(after)) if before[k] != after[k]] == [found.word] == [word]


@pytest.mark.parametrize("foil", ["A CAT .", "a red cat", "the dog", "cat a"])
def test_none_or_several_changed_words_are_no_exchange(foil):
    assert exchanged("a cat", foil) is None


def test_a_word_that_tokens_split_has_no_place():
    found = exchanged("her dads lap", "her mom's lap")
    assert (found.was, found.now, found.word) == ("dads", "mom's", None)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            '{"0": {"filename": "a.jpg", "cap',
            r"replace_obj.json is not whole JSON .*get it again: naaf data fetch sugar_crepe",
        ),
        ("[]", "replace_obj.json is not an object of items by their ids; get it again"),
        ("{}", "is not an object of items"),
        ('{"7": ["a"]}', "replace_obj.json, item 7 has no 'filename'; get it again"),
        ('{"7": {"filename": "a.jpg", "caption": "a cat"}}', "item 7 has no 'negative_caption'"),
        ('{"7": {"filename": "a.jpg", "caption": 3}}', "item 7: 'caption' is 3 and no text with words"),
        ('{"7": {"filename": "a.jpg", "caption": " . "}}', "item 7: 'caption' is ' . ' and no text"),
        (
            '{"7": {"filename": "a.jpg", "caption": "a cat", "negative_caption": "A cat."}}',
            "item 7: the foil has the same words as the caption",
        ),
    ],
)
def test_a_broken_file_is_one_sentence_with_file_item_and_remedy(tmp_path, content, says):
    (tmp_path / "replace_obj.json").write_text(content)
    with pytest.raises(NaafError, match=says):
        read_foils("sugar-crepe", tmp_path, ["replace_obj"])


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(NaafError, match=r"add_att.json is missing; name its folder \(--files DIR"):
        read_foils("sugar-crepe", tmp_path)
    with pytest.raises(
        UsageError, match="there is no category 'plural'; categories: foil-it, relations, plurals"
    ):
        read_foils("valse", tmp_path, ["plural"])
    with pytest.raises(
        UsageError, match="there is no benchmark 'winoground'; benchmarks: sugar-crepe, valse, or"
    ):
        benchmark_items("winoground")
    write_valse(tmp_path, {"x": {"image_file": "a.jpg", "mturk": {}}})
    with pytest.raises(NaafError, match=r"foil-it.json, item x has no number mturk.caption"):
        read_foils("valse", tmp_path, ["foil-it"])


# word order

TEXTS = (
    "A red dog and a black cat .",
    "A man and a woman .",
    "a black dog runs with a white dog",
    "Two girls see three boys near a tree and a small house .",
    "an orange dog and a red cat",
    "dog",
    "dogs dogs dogs !",
    "A hot dog and a cat sit there .",
)


@pytest.fixture(scope="module")
def few(scenes):
    """Two images with captions as people write them."""
    own = naaflib.open_split(scenes, "test").first(2)
    return replace(own, captions=list(TEXTS), captions_per_image=4)


def orders(split, seed=0, **how):
    return order_foils(split, seed=seeds.shifted(seed), **how)


@pytest.fixture(scope="module")
def many(few):
    """The foils of many seeds, with the words of caption and foil up to the final mark."""
    found = [item for seed in range(30) for item in orders(few, seed)]
    assert {item.category for item in found} == set(RULES)
    return [(item, bare(item.caption), bare(item.foil)) for item in found]


def test_an_order_has_the_captions_words_and_is_another(many):
    for item, before, after in many:
        assert before != after
        assert Counter(before) == Counter(after)
        assert tokenize(item.caption)[len(before) :] == tokenize(item.foil)[len(after) :]  # the final mark


def test_neighbours_and_listed_words_move_two_words(many):
    for item, before, after in many:
        changed = [k for k in range(len(before)) if before[k] != after[k]]
        if item.category == "neighbours":
            assert changed[1] - changed[0] == 1
        if item.category in ("neighbours", "listed-words"):
            one, other = changed
            assert (before[one], before[other]) == (after[other], after[one])


def groups(words):
    return [tuple(words[k : k + 3]) for k in range(0, len(words), 3)]


def test_trigrams_move_whole_and_within_them_words_stay(many):
    for item, before, after in many:
        if item.category == "trigrams":  # the short last group may stand anywhere
            text = " ".join(after)
            assert all(" ".join(group) in text for group in groups(before))
        if item.category == "within-trigrams":
            assert [*map(Counter, groups(before))] == [*map(Counter, groups(after))]


def test_listed_words_change_places_only_where_the_caption_becomes_false(many):
    found = {item.foil for item, _, _ in many if item.category == "listed-words"}
    assert "a black dog and a red cat ." in found
    assert "three girls see two boys near a tree and a small house ." in found
    assert "an orange cat and a red dog" in found  # the animals; "an red" does not fit
    assert not [foil for foil in found for word in ("woman", "white", "hot", "an red") if word in foil]


def test_a_caption_that_has_no_other_order_is_left_out(many):
    assert not [item for item, _, _ in many if item.caption in ("dog", "dogs dogs dogs !")]


def test_an_order_depends_on_the_seed_and_its_own_caption_alone(few):
    assert orders(few, 3) == orders(few, 3)
    assert orders(few, 3) != orders(few, 4)
    assert orders(few.first(1), 3) == [item for item in orders(few, 3) if item.image == 0]
    alone = orders(few, 3, rules=["trigrams"])
    assert alone == [item for item in orders(few, 3) if item.category == "trigrams"]
    with pytest.raises(UsageError, match="no category 'reversed'"):
        orders(few, rules=["reversed"])


# the blind model

LEARNT = (
    "A dog runs on the grass .",
    "The dog runs .",
    "a cat sits on the grass",
    "the cat sits there",
    "zebu",
)


def slow_probability(sequences, symbol, before, order=3):
    """Witten-Bell, from the top down, counting anew each time."""
    padded = [["<start>"] * (order - 1) + [*sequence, END] for sequence in sequences]
    symbols = {s for p in padded for s in p[order - 1 :]} | {END, UNKNOWN}
    below = 1 / len(symbols)
    for length in range(order):
        context = list(before)[len(before) - length :]
        after = [p[k] for p in padded for k in range(order - 1, len(p)) if p[k - length : k] == context]
        if after:
            kinds = len(set(after))
            below = (after.count(symbol) + kinds * below) / (len(after) + kinds)
    return below


@pytest.mark.parametrize("before", [("<start>", "<start>"), ("on", "the"), ("the", "dog"), ("never", "seen")])
def test_probabilities_are_those_of_the_definition_and_sum_to_one(before):
    sequences = [bare(text) for text in LEARNT]
    model = NGrams(sequences)
    found = {symbol: model.probability(symbol, before) for symbol in model.symbols}
    assert sum(found.values()) == pytest.approx(1)
    for symbol, probability in found.items():
        assert probability == pytest.approx(slow_probability(sequences, symbol, before))
    assert model.probability("gnu", before) == found[UNKNOWN]


def test_a_score_is_the_mean_over_words_and_end_and_an_unknown_word_costs_its_spelling():
    model = BlindModel(LEARNT)
    read = [[word if word in model.known else UNKNOWN for word in bare(text)] for text in LEARNT]
    rare = [word for word in ("there", "zebu", "gnu") if word not in model.known]
    assert rare == ["there", "zebu", "gnu"]
    before = ["<start>", "<start>", "the", UNKNOWN]
    steps = zip(["the", UNKNOWN, END], (before[k : k + 2] for k in range(3)), strict=True)
    words = sum(log(slow_probability(read, word, context)) for word, context in steps)
    spelt = [*"gnu", END]
    start = ["<start>", "<start>", *"gnu"]
    letters = sum(log(model.spelling.probability(letter, start[k : k + 2])) for k, letter in enumerate(spelt))
    assert model.score("The gnu !") == pytest.approx((words + letters) / 3)


def test_the_words_order_counts_and_the_final_stop_does_not():
    model = BlindModel(LEARNT)
    assert model.score("the dog runs") == model.score("The dog runs .")
    assert model.score("the dog runs") > model.score("runs the dog")


def test_the_wrong_word_is_the_least_likely_between_its_neighbours():
    model = BlindModel(LEARNT * 5)
    found = model.evidence("a dog sits on the grass .")
    assert len(found) == 7
    assert found[-1] == 0  # a mark is never suspected
    assert found.argmin() in (1, 2)  # dogs run, cats sit
    assert (found < model.evidence("a cat sits on the grass .") + 1e-9)[:3].all()


def test_a_blind_model_without_captions_is_refused():
    with pytest.raises(NaafError, match="has no captions to learn from"):
        BlindModel(["once only"])


# scores from a table


@pytest.fixture
def benchmark(tmp_path):
    """Two categories with the same ids; three pictures, of which the training holds the first."""
    folder = tmp_path / "files"
    pictures = [f"00000000000{k}.jpg" for k in (1, 2, 3)]
    for category in CATEGORIES:
        write_sugar_crepe(folder, [(picture, *PAIR) for picture in pictures], category)
    (tmp_path / "ids.txt").write_text("1\n77\n")
    return folder, read_foils("sugar-crepe", folder, ["add_att", "swap_obj"])


def write_scores(path, items, caption, foil):
    write_pairs_to_score(path, items)
    table = pd.read_csv(path, dtype=str).assign(score_caption=caption, score_foil=foil)
    table.sample(frac=1, random_state=seeds.shifted()).to_csv(path, index=False)
    return path


def judged(benchmark, tmp_path, caption, foil, **how):
    folder, items = benchmark
    scores = write_scores(tmp_path / "pairs.csv", items, caption, foil)
    how = {"categories": ["add_att", "swap_obj"], "files": folder, **how}
    return foil_benchmark("sugar-crepe", scores=scores, **how)


def test_a_score_that_knows_the_truth_is_always_right_and_a_constant_one_never(benchmark, tmp_path):
    table = judged(benchmark, tmp_path, 0.5, 0.25).table().set_index("category")
    assert list(table.index) == ["add_att", "swap_obj", "all"]
    assert list(table["items"]) == [3, 3, 6]
    assert (table[["accuracy", "accuracy_low", "accuracy_high"]] == 100).all(axis=None)
    assert (judged(benchmark, tmp_path, 0.5, 0.5).table()["accuracy"] == 0).all()  # a tie is a miss


def test_pictures_that_the_training_saw_are_told_apart(benchmark, tmp_path):
    right = [1, 0, 0] * 2  # on the picture of the training
    found = judged(benchmark, tmp_path, right, 0.5, train_ids=tmp_path / "ids.txt")
    row = found.table().set_index("category").loc["all"]
    assert (row["seen"], row["seen_items"], row["unseen"], row["unseen_items"]) == (100, 2, 0, 4)
    assert row["accuracy"] == pytest.approx(100 / 3)
    assert not [line for line in found.sentences() if "unknown" in line and "Seen" in line]


def test_one_picture_has_no_interval(tmp_path):
    captions = tmp_path / "captions.txt"
    captions.write_text("a cat on a mat\n" * 2)
    alone = write_sugar_crepe(tmp_path / "one", [(PICTURE, *PAIR)])
    scores = write_scores(tmp_path / "p.csv", read_foils("sugar-crepe", alone, ["replace_obj"]), 1, 0)
    how = {"files": alone, "categories": ["replace_obj"], "captions": captions}
    found = foil_benchmark("sugar-crepe", scores=scores, **how)
    table, words = found.table(), found.words_table()
    assert len(table) == len(words) == 2  # the category and all
    assert (table["accuracy"] == 100).all()
    assert (words["first"] == 100).all()
    assert table[["accuracy_low", "accuracy_high"]].isna().all(axis=None)
    assert words[["auc_low", "first_high"]].isna().all(axis=None)


def test_what_nothing_says_is_called_unknown(benchmark, tmp_path):
    found = judged(benchmark, tmp_path, 1, 0)
    assert [line.partition(":")[0] for line in found.sentences()[1:]] == [
        "Text-only baseline",
        "Seen in training",
    ]
    row = found.table().iloc[-1]
    assert row[["seen", "seen_items", "unseen", "unseen_items", "text_only"]].isna().all()


def test_the_text_only_baseline_stands_beside_the_scores(benchmark, tmp_path):
    captions = tmp_path / "captions.txt"
    captions.write_text("a cat on a mat\n" * 3 + "a dog\n" * 2)
    found = judged(benchmark, tmp_path, 0, 1, captions=captions).table()
    assert (found["text_only"] == 100).all()
    assert (found["accuracy"] == 0).all()
    assert (found["shorter"] == 0).all()
    words = judged(benchmark, tmp_path, 0, 1, captions=captions).words_table()
    assert set(words["reader"]) == {"text-only"}
    assert (words["first"] == 100).all()  # dog, which never stood there
    captions.write_text("a dog on a mat\n" * 3 + "a cat\n" * 2)
    assert (judged(benchmark, tmp_path, 0, 1, captions=captions).table()["text_only"] == 0).all()


def test_scores_are_taken_by_item_whatever_the_order_of_the_rows(benchmark, tmp_path):
    _, items = benchmark
    values = np.arange(6.0)
    path = write_scores(tmp_path / "pairs.csv", items, values, -values)
    np.testing.assert_array_equal(read_pair_scores(path, items), np.stack([values, -values], axis=1))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("category,id,score_caption\n", "has no column 'score_foil' in its first line"),
        ("", "has no column 'id'"),
        (
            "id,score_caption,score_foil\n0,1,2\n",
            "line 2: id 0 is in add_att, swap_obj; add the column category",
        ),
        (
            "category,id,score_caption,score_foil\nadd_att,9,1,2\n",
            "line 2: there is no item add_att 9; `--list",
        ),
        (
            "category,id,score_caption,score_foil\nadd_att,0,nan,2\n",
            "line 2: score_caption is 'nan' and no fin",
        ),
        (
            "category,id,score_caption,score_foil\nadd_att,0,1,inf\n",
            "line 2: score_foil is 'inf' and no finite",
        ),
        (
            "category,id,score_caption,score_foil\nadd_att,0,1,\n",
            "line 2: score_foil is '' and no finite number",
        ),
        (
            "category,id,score_caption,score_foil\nadd_att,0,1\n",
            "line 2: score_foil is '' and no finite number",
        ),
        (
            "category,id,score_caption,score_foil\nadd_att,0,1,2\nadd_att,0,1,2\n",
            "line 3: item add_att 0 stands in line 2 too; delete one",
        ),
        (
            "category,id,score_caption,score_foil\nadd_att,0,1,2\n",
            "lacks 5 of 6 items, first add_att 1; score them too, or name the --categories",
        ),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(benchmark, tmp_path, rows, says):
    _, items = benchmark
    (tmp_path / "pairs.csv").write_text(rows)
    with pytest.raises(NaafError, match=says):
        read_pair_scores(tmp_path / "pairs.csv", items)


# a model


@pytest.fixture(scope="module")
def model(trained):
    return naaflib.load_checkpoint(trained.path).double()


@pytest.fixture(scope="module")
def scene_items(scenes, tmp_path_factory):
    """The foils of the scenes' test split in SugarCrepe's form; all other categories hold one item."""
    split = naaflib.open_split(scenes, "test")
    foils = read_scene_foils(scenes, "test")[::3]
    folder = tmp_path_factory.mktemp("crepe")
    pairs = [(split.image_names[foil.image], split.captions[foil.caption], foil.text) for foil in foils]
    for category in CATEGORIES:
        write_sugar_crepe(folder, pairs if category == "replace_obj" else pairs[:1], category)
    return folder, foils


def of_scenes(model, scene_items, scenes, **how):
    how = {"categories": ["replace_obj"], "files": scene_items[0], "data": scenes, "device": "cpu", **how}
    return foil_benchmark("sugar-crepe", model, **how)


def test_a_models_scores_are_those_of_explain(model, scene_items, scenes):
    found = of_scenes(model, scene_items, scenes).items
    split = naaflib.open_split(scenes, "test")
    assert len(found) == len(scene_items[1])
    for row, foil in list(zip(found.itertuples(), scene_items[1], strict=True))[::5]:
        assert row.score_caption == pytest.approx(explain(model, split, foil.image, foil.caption).score)
        assert row.score_foil == pytest.approx(explain(model, split, foil.image, foil.text).score)
        assert row.right == (row.score_caption > row.score_foil)


def test_the_wrong_word_of_a_public_item_is_found_as_in_the_built_in_foils(model, scene_items, scenes):
    split, foils = naaflib.open_split(scenes, "test"), scene_items[1]
    public, own = of_scenes(model, scene_items, scenes), foil_detection(model, split, foils)
    measures = [name for name in own.found if not name.endswith(("low", "high"))]
    pd.testing.assert_frame_equal(public.words.found[measures], own.found[measures])
    assert public.words.accuracy == own.accuracy
    table = public.words_table().set_index(["category", "reader"])
    assert table.loc[("all", "naaf"), "auc"] == pytest.approx(100 * own.auc)
    blind = table.loc[("all", "text-only")]
    assert blind["items"] == len(foils)
    assert blind["auc"] != table.loc[("all", "naaf"), "auc"]


def test_pictures_are_found_in_every_split_and_those_of_train_count_as_seen(model, scenes, tmp_path):
    named = {split: naaflib.open_split(scenes, split).image_names for split in ("train", "dev", "test")}
    pictures = [names[1] for names in named.values()]
    write_sugar_crepe(tmp_path, [(picture, "a red circle", "a blue circle") for picture in pictures])
    how = {"files": tmp_path, "categories": ["replace_obj"], "data": scenes, "device": "cpu"}
    found = foil_benchmark("sugar-crepe", model, **how)
    assert list(found.items["seen"]) == [True, False, False]
    for row, (split, _) in zip(found.items.itertuples(), named.items(), strict=True):
        pair = explain(model, naaflib.open_split(scenes, split), 1, "a red circle")
        assert row.score_caption == pytest.approx(pair.score)
    dev = foil_benchmark("sugar-crepe", model, split="dev", **how)
    assert list(dev.items["picture"]) == [pictures[1]]
    assert dev.left_out == 2
    assert "Left out: 2 of 3 items" in dev.sentences()[1]


@pytest.mark.parametrize("rows", ["an id an image", "an id a caption"])
def test_pictures_are_found_by_the_layouts_ids(model, scenes, tmp_path, rows):
    data = tmp_path / "data"
    data.mkdir()
    for file in scenes.glob("dev_*"):
        shutil.copy(file, data)
    (data / "dev_image_names.txt").unlink()
    repeat = 1 if rows == "an id an image" else 5
    ids = [str(100 + image) for image in range(10) for _ in range(repeat)]
    (data / "dev_ids.txt").write_text("\n".join(ids) + "\n")
    write_sugar_crepe(tmp_path / "files", [("000000000107.jpg", "a red circle", "a blue circle")])
    how = {"files": tmp_path / "files", "categories": ["replace_obj"], "data": data, "device": "cpu"}
    found = foil_benchmark("sugar-crepe", model, **how).items
    pair = explain(model, naaflib.open_split(scenes, "dev"), 7, "a red circle")
    assert found["score_caption"][0] == pytest.approx(pair.score)
    (data / "dev_ids.txt").write_text("100\n101\n")
    with pytest.raises(NaafError, match=r"dev_ids.txt holds 2 ids for 10 images; it needs an id an image or"):
        foil_benchmark("sugar-crepe", model, **how)
    (data / "dev_ids.txt").unlink()
    with pytest.raises(NaafError, match=r"does not say which picture is which; put SPLIT_ids.txt"):
        foil_benchmark("sugar-crepe", model, **how)


def test_a_data_set_without_the_pictures_is_an_error_with_a_remedy(model, scenes, tmp_path):
    write_sugar_crepe(tmp_path, [(PICTURE, *PAIR)])
    with pytest.raises(
        NaafError, match=r"none of the 1 items' pictures, such as 000000000013.jpg; name a data"
    ):
        of_scenes(model, (tmp_path, []), scenes)


def test_order_of_a_split_needs_no_files(model, scenes):
    found = foil_benchmark("order", model, data=scenes, split="dev", categories=["neighbours"], device="cpu")
    assert set(found.items["category"]) == {"neighbours"}
    assert found.words is None
    assert not found.items["seen"].any()
    assert found.items["picture"].nunique() == 10
    with pytest.raises(UsageError, match="leave --files out"):
        foil_benchmark("order", model, data=scenes, files=scenes)


def test_texts_that_the_model_reads_alike_are_a_tie_and_a_miss(model, scenes, tmp_path):
    names = naaflib.open_split(scenes, "test").image_names
    longer = [(name, f"a {word} circle", f"a {word} square") for name in names for word in ("red", "blue")]
    alike = [(name, "a zeppelin lands", "a dirigible lands") for name in names]  # of as many words
    write_sugar_crepe(
        tmp_path, [pair for two in zip(alike, longer[::2], strict=True) for pair in two] + longer
    )
    found = of_scenes(model, (tmp_path, []), scenes)
    unknown = found.items["was"] == "zeppelin"
    assert unknown.sum() == len(names)
    assert (found.items["score_caption"] == found.items["score_foil"])[unknown].all()
    assert not found.items["right"][unknown].any()
    assert not found.words.foils["right"][unknown.to_numpy()].any()


def test_other_pictures_say_what_the_model_prefers_without_looking(model, scene_items, scenes):
    found = of_scenes(model, scene_items, scenes, other_pictures=True).items
    split, foils = naaflib.open_split(scenes, "test"), scene_items[1]
    images = list(dict.fromkeys(foil.image for foil in foils))
    half = len(images) // 2
    other = dict(zip(images, images[half:] + images[:half], strict=True))
    assert all(image != shown for image, shown in other.items())
    for row, foil in list(zip(found.itertuples(), foils, strict=True))[::5]:
        true, wrong = (
            explain(model, split, other[foil.image], text).score
            for text in (split.captions[foil.caption], foil.text)
        )
        assert row.other_picture == (true > wrong)


def test_who_is_judged_is_named_once(model):
    for how in ({}, {"source": model, "scores": "pairs.csv"}):
        with pytest.raises(UsageError, match="name a run or a checkpoint to judge, or a table of scores"):
            foil_benchmark("order", **how)


# the command line


@pytest.fixture
def naaf(capsys):
    """Run `naaf foils ...`; its exit status, standard output and standard error."""
    from naaflib.cli import main

    def run(*words):
        capsys.readouterr()
        status = main(["foils", *map(str, words)])
        return status, *capsys.readouterr()

    return run


def test_a_listed_table_that_is_filled_in_is_judged(naaf, benchmark, tmp_path):
    folder, _ = benchmark
    asked = ("--benchmark", "sugar-crepe", "--files", folder)
    status, out, _ = naaf(*asked, "--list", tmp_path / "pairs.csv")
    assert (status, "21 items" in out) == (0, True)
    status, _, err = naaf(*asked, "--scores", tmp_path / "pairs.csv")
    assert (status, "line 2: score_caption is '' and no finite number" in err) == (1, True)
    table = pd.read_csv(tmp_path / "pairs.csv").assign(score_caption=1, score_foil=0)
    table.to_csv(tmp_path / "pairs.csv", index=False)
    status, out, _ = naaf(*asked, "--scores", tmp_path / "pairs.csv", "--out", tmp_path / "out", "--json")
    found = json.loads(out)
    assert status == 0
    assert [row["accuracy"] for row in found["rows"]] == [100] * 8
    assert found["rows"][-1]["seen"] is None
    assert found["words"] is None
    assert len(pd.read_csv(tmp_path / "out" / "items.csv")) == 21
    status, out, _ = naaf(*asked, "--scores", tmp_path / "pairs.csv", "--train-ids", tmp_path / "ids.txt")
    assert "100.0 (100.0 to 100.0)" in out
    assert "Text-only baseline: unknown" in out
    assert "Seen in training" not in out


def test_a_run_is_judged_and_its_files_are_whole(naaf, trained, scene_items, scenes, tmp_path):
    asked = (trained.path, "--benchmark", "sugar-crepe", "--files", scene_items[0], "--data", scenes)
    status, out, err = naaf(*asked, "--categories", "replace_obj", "--out", tmp_path / "out")
    assert status == 0
    assert f"naaf on sugar-crepe: {len(scene_items[1])} items" in out
    assert "Which word is wrong" in out
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "items.csv",
        "table.csv",
        "words.csv",
    ]
    assert "words.csv" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--benchmark", "order"], "name one of: a run or a checkpoint, --scores CSV, --list CSV"),
        (["x", "--benchmark", "order", "--list", "p.csv"], "name one of"),
        (["x", "--benchmark", "order", "--seed", "-1"], "--seed is a whole number from 0 on"),
        (
            ["--benchmark", "valse", "--list", "p.csv", "--split", "dev"],
            "--split says where a run's pictures",
        ),
        (["--benchmark", "valse", "--list", "p.csv", "--out", "o"], "--out has no use with --list"),
        (["--benchmark", "vals", "--list", "p.csv"], "there is no benchmark 'vals'; benchmarks: sugar-crepe"),
        (
            ["--benchmark", "order", "--list", "p.csv"],
            "order is made from the captions of a data set; name it",
        ),
        (["--list", "p.csv"], "--benchmark"),
    ],
)
def test_a_wrong_request_is_one_sentence_and_exit_two(naaf, words, says):
    status, out, err = naaf(*words)
    assert (status, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_a_data_set_that_is_not_there_is_not_taken_for_unknown(naaf, benchmark, tmp_path):
    asked = ("--benchmark", "sugar-crepe", "--files", benchmark[0], "--scores", tmp_path / "pairs.csv")
    status, _, err = naaf(*asked, "--data", tmp_path / "nowhere")
    assert status == 1
    assert "nowhere does not exist" in err
