"""Pairs taken apart: the parts add up, the order holds, and what is measured equals plain counting."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import seeds
import torch
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

import naaflib
from naaflib.config import model_settings
from naaflib.data.captions import tokenize
from naaflib.data.scenes.dataset import Foil, read_foils, read_links
from naaflib.data.vocabulary import Vocabulary
from naaflib.errors import NaafError
from naaflib.explanation import explain, explain_pairs, foil_detection, matched_samples, pointing_game
from naaflib.metric.detection import area_under_curve, average_precision, image_interval, ranked
from naaflib.model.model import Model
from naaflib.similarity.boundary import Boundaries
from naaflib.similarity.matrix import score_matrix
from naaflib.similarity.naaf import ALL_EFFECTS, Effects, naaf_score

METHODS = ("naaf", "scan-t2i", "scan-i2t")


@pytest.fixture(scope="module")
def split(scenes):
    return naaflib.open_split(scenes, "test")


def new_model(split, method="naaf", boundary=0.2, **settings) -> Model:
    """An untrained model in float64; the last word of the vocabulary's captions stays unknown to it."""
    seeds.manual_seed(0)
    vocabulary = Vocabulary.build(split.captions, min_count=1)
    settings = model_settings(method=method, dim=19, word_dim=13, **settings)
    model = Model(settings, split.regions.shape[2], len(vocabulary), vocabulary).double()
    model.boundary = Boundaries(boundary + 0.1, boundary)
    return model


def split_pair(split, image, caption, method="naaf", **settings):
    """A pair whose boundary lies in the middle of its words' propagated values: some match, some do not."""
    pair = explain(new_model(split, boundary=0.0, **settings), split, image, caption)
    values = np.sort(pair.propagated)  # weights that sum to 1 pass a boundary on as it is
    middle = float(
        values[[len(values) // 2 - 1, len(values) // 2]].mean()
    )  # between two of them, never on one
    return explain(new_model(split, method, middle, **settings), split, image, caption)


def scores(model, split, images, text) -> torch.Tensor:
    regions = model.encode_images(torch.from_numpy(split.regions.gather(images)))
    return model.score(regions, *model.encode_texts([text]))


@pytest.mark.parametrize("boundary", [0.0, 0.3, 0.99])  # 0.99: no region matches any word
@pytest.mark.parametrize("method", METHODS)
def test_words_effects_average_to_the_score(split, method, boundary):
    model = new_model(split, method, boundary)
    for image, caption in ((0, 0), (3, 17), (7, 2)):
        pair = explain(model, split, image, caption)
        score = scores(model, split, np.array([image]), split.captions[caption]).item()
        assert pair.score == pytest.approx(score, abs=1e-12)
        assert pair.effect.mean() == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize("counts", [c for c in product((True, False), repeat=3) if any(c)])
def test_an_effect_that_is_left_out_is_nothing_in_the_parts_and_they_still_add_up(split, counts):
    names = ("negative_effect", "feature_effect", "relevance_effect")
    whole = split_pair(split, 1, 30)
    pair = split_pair(split, 1, 30, **dict(zip(names, counts, strict=True)))
    parts = (pair.negative_effect, pair.feature_effect, pair.relevance_effect)
    full = (whole.negative_effect, whole.feature_effect, whole.relevance_effect)
    for part, before, counted in zip(parts, full, counts, strict=True):
        assert before.any()
        np.testing.assert_allclose(part, before if counted else 0, atol=1e-12)
    model = new_model(split, boundary=whole.boundary, **dict(zip(names, counts, strict=True)))
    score = scores(model, split, np.array([1]), split.captions[30]).item()
    assert pair.score == pytest.approx(score, abs=1e-12)
    assert pair.effect.mean() == pytest.approx(score, abs=1e-12)
    assert pair.feature_weight.any() == counts[1]
    assert pair.relevance_weight.any() == counts[2]


def test_a_word_that_attends_to_nothing_points_nowhere(split):
    only = {"feature_effect": False, "relevance_effect": False}
    pair = split_pair(split, 1, 30, **only)
    assert not pair.attention.any()
    assert set(pair.attended_region) == set(pair.to_frame()["attended_region"]) == {-1}
    everywhere = [
        [[*range(split.regions.shape[2])]] * len(words) for words in attended(new_model(split), split)
    ]
    assert pointing_game(new_model(split, **only), split, everywhere).rate == 0
    assert pointing_game(new_model(split), split, everywhere).rate == 1


def test_parts_are_the_readable_equations(split):
    model = new_model(split)
    pair = explain(model, split, 4, 9)
    words, lengths = model.encode_texts([split.captions[9]])
    regions = model.encode_images(torch.from_numpy(split.regions.gather(np.array([4]))))
    score = naaf_score(regions, words[0, : lengths[0]], boundary=0.2).item()
    assert pair.score == pytest.approx(score, abs=1e-12)
    np.testing.assert_allclose(pair.cosine, (words[0, : lengths[0]] @ regions[0].mT).numpy(), atol=1e-12)


def test_a_word_counts_as_mismatched_where_its_propagated_value_is_negative(split):
    pair = split_pair(split, 1, 30)
    below = pair.propagated < 0
    assert below.any()
    assert not below.all()
    value = pair.best_cosine - pair.boundary
    np.testing.assert_allclose(pair.negative_effect[below], value[below], atol=1e-12)
    assert not pair.negative_effect[~below].any()


def test_without_propagation_the_value_that_decides_is_the_words_own(split):
    pair = split_pair(split, 1, 30, lambda_intra=None)
    np.testing.assert_allclose(pair.propagated, pair.best_cosine - pair.boundary, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_weights_of_a_word_sum_to_one_or_are_zero_and_its_attention_sums_to_one(split, method):
    pair = split_pair(split, 2, 11, method)
    for weight in (pair.feature_weight, pair.relevance_weight):
        total = weight.sum(axis=1)
        assert np.all(np.isclose(total, 1) | (total == 0))
    np.testing.assert_allclose(pair.attention.sum(axis=1), 1)
    if method == "naaf":
        matched = pair.best_cosine > pair.boundary
        np.testing.assert_array_equal(pair.feature_weight.any(axis=1), matched)
        np.testing.assert_array_equal(pair.feature_effect != 0, matched)


def test_scan_i2t_words_share_out_the_regions_cosines(split):
    pair = explain(new_model(split, "scan-i2t"), split, 2, 11)
    assert pair.region_effect.mean() == pytest.approx(pair.score, abs=1e-12)
    assert pair.boundary is None


def test_with_log_sum_exp_the_effects_are_what_the_pooling_sees(split):
    pair = explain(new_model(split, "scan-t2i", pooling="lse", lambda_lse=5.0), split, 2, 11)
    assert pair.score == pytest.approx(np.log(np.exp(5 * pair.effect).sum()) / 5, abs=1e-12)


def test_pairs_come_in_their_order_whatever_their_lengths(split):
    model = new_model(split)
    images, captions = [0, 9, 4, 4, 1], [31, "a red circle", 7, 3, "two"]
    pairs = explain_pairs(model, split, images, captions)
    for pair, image, caption in zip(pairs, images, captions, strict=True):
        alone = explain(model, split, image, caption)
        assert (pair.image, pair.text, pair.words) == (alone.image, alone.text, alone.words)
        np.testing.assert_allclose(pair.effect, alone.effect, atol=1e-12)


def test_a_caption_as_text_equals_the_same_caption_by_index(split):
    model = new_model(split)
    by_index, by_text = explain(model, split, 3, 16), explain(model, split, 3, split.captions[16])
    assert by_text.score == by_index.score
    assert (by_index.caption, by_text.caption) == (16, None)
    assert (by_index.own, by_text.own, explain(model, split, 2, 16).own) == (True, None, False)


def test_an_unknown_word_is_shown_as_written_and_flagged(split):
    pair = explain(new_model(split), split, 0, "A zeppelin")
    frame = pair.to_frame()
    assert list(frame["word"]) == ["<start>", "a", "zeppelin", "<end>"]
    assert list(frame["known"]) == [True, True, False, True]


def test_frames_have_a_row_a_word_and_a_row_a_word_and_region(split):
    pair = explain(new_model(split), split, 5, 8)
    words, regions = pair.to_frame(), pair.regions_frame()
    assert len(words) == len(pair.words)
    assert len(regions) == len(pair.words) * split.regions.shape[1]
    row = regions[(regions["word_index"] == 2) & (regions["region"] == 7)].iloc[0]
    assert row["cosine"] == pair.cosine[2, 7]
    assert row["attention"] == pair.attention[2, 7]
    np.testing.assert_array_equal(row[["x1", "y1", "x2", "y2"]].to_numpy(float), split.boxes[5][7])
    np.testing.assert_allclose(words["effect"].mean(), pair.score, atol=1e-12)


def test_a_split_without_boxes_is_explained_too(split):
    pair = explain(new_model(split), replace(split, boxes=None, sizes=None, image_names=None), 0, 0)
    assert pair.boxes is None
    assert "x1" not in pair.regions_frame()


@pytest.mark.parametrize(
    ("image", "caption", "says"),
    [
        (10, 0, "no picture 10; the pictures of test are 0 to 9"),
        (-1, 0, "no picture -1"),
        (0, 50, "caption 50"),
        (0, -1, "caption -1"),
        (0, " ", "no words"),
    ],
)
def test_what_lies_outside_the_split_is_refused_in_one_sentence(split, image, caption, says):
    with pytest.raises(NaafError, match=says):
        explain(new_model(split), split, image, caption)


def test_a_model_without_vocabulary_asks_for_it(split):
    model = new_model(split)
    model.vocabulary = None
    with pytest.raises(NaafError, match="vocabulary"):
        explain(model, split)


def slow_samples(model, split, images, captions):
    """The two samples of one batch, one pair and one word at a time."""
    matched, mismatched = [], []
    regions = [model.encode_images(torch.from_numpy(split.regions.gather(np.array([i]))))[0] for i in images]
    for own, caption in enumerate(captions):
        words, _ = model.encode_texts([split.captions[caption]])
        how = {"boundary": model.boundary.training, "lambda_intra": None}
        others = [naaf_score(region[None], words[0], **how).item() for region in regions]
        lowest = min((k for k in range(len(images)) if k != own), key=lambda k: others[k])
        for word in words[0]:
            matched.append(max((word @ region).item() for region in regions[own]))
            mismatched.append(max((word @ region).item() for region in regions[lowest]))
    return matched, mismatched


def test_samples_are_the_maxima_in_the_own_and_in_the_lowest_scoring_image(split):
    model = new_model(split)
    fast = matched_samples(model, split, pairs=7, seed=seeds.shifted(3))
    rng = seeds.rng(3)
    images = rng.permutation(len(split))[:7]
    captions = images * split.captions_per_image + rng.integers(split.captions_per_image, size=7)
    matched, mismatched = slow_samples(model, split, images, captions)
    np.testing.assert_allclose(fast["matched"], matched, atol=1e-12)
    np.testing.assert_allclose(fast["mismatched"], mismatched, atol=1e-12)
    assert (float(fast["boundary"]), float(fast["inference_boundary"])) == pytest.approx((0.3, 0.2))


@torch.no_grad()
def test_samples_take_the_image_that_scores_lowest_by_the_effects_that_count(split):
    model, others = new_model(split, negative_effect=False, feature_effect=False), 0
    for seed in range(8):
        samples = matched_samples(model, split, seed=seeds.shifted(seed))
        rng = seeds.rng(seed)
        images = rng.permutation(len(split))
        captions = images * split.captions_per_image + rng.integers(
            split.captions_per_image, size=len(images)
        )
        regions = model.encode_images(torch.from_numpy(split.regions.gather(images)))
        words, lengths = model.encode_texts([split.captions[caption] for caption in captions])

        def mismatched(effects, regions=regions, words=words, lengths=lengths):
            how = {"boundary": model.boundary.training, "lambda_intra": None, "effects": effects}
            scores = score_matrix(regions, words, lengths, **how).fill_diagonal_(torch.inf)
            best = (words @ regions[scores.argmin(dim=0)].mT).amax(dim=-1)
            return torch.cat([row[:length] for row, length in zip(best, lengths, strict=True)]).numpy()

        counted = mismatched(Effects(False, False, True))
        np.testing.assert_allclose(samples["mismatched"], counted, atol=1e-12)
        others += not np.allclose(counted, mismatched(ALL_EFFECTS))
    assert others  # all effects would have taken another image for some


@pytest.mark.parametrize("method", METHODS)
def test_samples_depend_on_the_seed_alone_and_leave_the_random_state(split, method):
    model = new_model(split, method)
    before = torch.get_rng_state()
    first, again, other = (matched_samples(model, split, seed=seeds.shifted(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["matched"], again["matched"])
    assert len(other["matched"]) != len(first["matched"]) or (other["matched"] != first["matched"]).any()
    assert torch.equal(torch.get_rng_state(), before)


def test_one_image_has_no_mismatched_one(split):
    with pytest.raises(NaafError, match="at least 2"):
        matched_samples(new_model(split), split.first(1))


def attended(model, split) -> list[list[int]]:
    """The most attended region of every word of every caption in its own image."""
    pairs = explain_pairs(model, split, split.image_of_caption, range(len(split.captions)))
    return [pair.attention[1:-1].argmax(axis=1).tolist() for pair in pairs]


def test_pointing_game_counts_the_words_whose_attention_lies_in_their_links(split, scenes):
    model, links = new_model(split), read_links(scenes, "test")
    hits = [
        region in own
        for regions, words in zip(attended(model, split), links, strict=True)
        for region, own in zip(regions, words, strict=True)
        if own
    ]
    shares = [len(own) / split.regions.shape[1] for words in links for own in words if own]
    game = pointing_game(model, split, links)
    assert game.count == len(hits) == game.by_word["count"].sum()
    assert game.rate == pytest.approx(np.mean(hits))
    assert game.chance == pytest.approx(np.mean(shares))
    assert game.interval[0] <= game.rate <= game.interval[1]
    assert f"{game.rate:.1%}" in game.sentence()
    classes = game.by_class({"circle": "shape", "red": "colour"})
    assert classes["count"].sum() == game.count
    circle = game.words[game.words["word"] == "circle"]
    assert classes.loc["shape", "rate"] == pytest.approx(circle["hit"].mean())
    assert (classes["low"] <= classes["rate"]).all()
    assert (classes["rate"] <= classes["high"]).all()


def test_pointing_game_is_won_by_links_to_the_attended_region_and_lost_by_links_to_all_others(split):
    model = new_model(split)
    regions = attended(model, split)
    everywhere = set(range(split.regions.shape[1]))
    assert pointing_game(model, split, [[[r] for r in words] for words in regions]).rate == 1
    lost = pointing_game(model, split, [[sorted(everywhere - {r}) for r in words] for words in regions])
    assert lost.rate == 0
    assert lost.chance == pytest.approx(1 - 1 / len(everywhere))


def test_links_that_do_not_fit_are_refused(split):
    model = new_model(split)
    with pytest.raises(NaafError, match="rows of links"):
        pointing_game(model, split, [[[0]]])
    with pytest.raises(NaafError, match="needs links"):
        pointing_game(model, split, [[] for _ in split.captions])
    with pytest.raises(NaafError, match="lists of links"):
        pointing_game(model, split, [[[0]], *([] for _ in split.captions[1:])])


@pytest.mark.parametrize("method", METHODS)
def test_foils_are_counted_one_by_one(split, scenes, method):
    model, foils = new_model(split, method, boundary=0.3), read_foils(scenes, "test")[::9]
    result = foil_detection(model, split, foils)
    right, first, labels, values, before = [], [], [], [], []
    for foil in foils:
        true = explain(model, split, foil.image, foil.caption)
        wrong = explain(model, split, foil.image, foil.text)
        right.append(true.score > wrong.score)
        value, was = (
            (pair.negative_effect if method == "naaf" else pair.effect)[1:-1] for pair in (wrong, true)
        )
        before += was.tolist()
        first.append((value[foil.word] == value.min()) / (value == value.min()).sum())
        labels += [k == foil.word for k in range(len(value))]
        values += value.tolist()
    assert result.count == len(foils)
    assert result.accuracy == pytest.approx(np.mean(right))
    row = result.found.loc[result.evidence]
    assert row["first"] == pytest.approx(np.mean(first))
    score, label = -torch.tensor(values), torch.tensor(labels).int()
    rank = torch.unique(score, return_inverse=True)[1] / len(score)  # torchmetrics wants 0 ... 1
    assert result.auc == pytest.approx(binary_auroc(rank, label).item(), abs=1e-6)
    assert row["average_precision"] == pytest.approx(binary_average_precision(rank, label).item(), abs=1e-6)
    assert result.chance_precision == pytest.approx(np.mean(labels))
    assert row["auc_before"] == pytest.approx(area_under_curve(-np.array(before), np.array(labels)))
    now, was = np.array(values)[labels], np.array(before)[labels]
    assert row["paired"] == pytest.approx(((now < was) + 0.5 * (now == was)).mean())
    assert result.by_kind["count"].sum() == len(foils)
    weighted = np.average(result.by_kind["accuracy"], weights=result.by_kind["count"])
    assert weighted == pytest.approx(result.accuracy)
    assert f"{result.accuracy:.1%}" in result.sentence()


def test_a_foil_that_reads_as_the_true_caption_is_never_told_apart(split):
    """The model knows neither word, so both captions score the same."""
    model = new_model(split)
    strange = replace(split, captions=["a zeppelin lands"] * len(split.captions))
    same = [Foil(c, c // 5, "a dirigible lands", 1, "zeppelin", "dirigible", "none") for c in range(6)]
    assert foil_detection(model, strange, same).accuracy == 0


@pytest.mark.parametrize(
    ("text", "word", "says"),
    [
        ("a red circle", 3, "names word 3 of 'a red circle', which has no such word"),
        ("a red circle", -1, "which has no such word"),
        ("a blue circle indeed", 1, "is not as long as caption 0; a foil replaces one word"),
        ("a blue circle", 2, "names word 2, and differs from caption 0 in word 1; a foil replaces exactly"),
        ("a blue square", 2, "differs from caption 0 in word 1, 2;"),
        ("a red circle", 1, "'a red circle' names word 1, and differs from caption 0 in no word"),
    ],
)
def test_a_foil_that_is_not_its_caption_with_the_named_word_exchanged_is_refused(split, text, word, says):
    own = replace(split, captions=["A red Circle", *split.captions[1:]])
    with pytest.raises(NaafError, match=says):
        foil_detection(new_model(split), own, [Foil(0, 0, text, word, "red", "blue", "colour")])


def test_a_foil_of_no_caption_and_no_foils_are_refused(split):
    with pytest.raises(NaafError, match="there is no caption 50; the captions of test are 0 to 49"):
        foil_detection(new_model(split), split, [Foil(50, 0, "a red circle", 1, "blue", "red", "colour")])
    with pytest.raises(NaafError, match="no foils"):
        foil_detection(new_model(split), split, [])


def test_foils_of_the_scenes_replace_one_word(split, scenes):
    foils = read_foils(scenes, "test")
    assert foils
    for foil in foils:
        true, wrong = tokenize(split.captions[foil.caption]), tokenize(foil.text)
        assert len(true) == len(wrong)
        assert [k for k, word in enumerate(wrong) if word != true[k]] == [foil.word]
        assert (true[foil.word], wrong[foil.word]) == (foil.was, foil.now)


def test_ties_count_half_in_the_area_and_enter_together_in_the_precision():
    score, truth = np.array([2.0, 1.0, 1.0, 0.0]), np.array([False, True, False, False])
    assert area_under_curve(score, truth) == pytest.approx((0 + 0.5 + 1) / 3)
    assert average_precision(score, truth) == pytest.approx(1 / 3)
    assert np.isnan(area_under_curve(score, np.ones(4, bool)))


def test_intervals_of_a_ranking_are_those_of_resampled_images():
    rng = seeds.rng(1)
    image = np.repeat(np.arange(11), 7)
    truth = rng.random(77) < 0.3
    score = np.round(rng.normal(size=77) + truth, 1)  # with ties
    found = ranked(score, truth, image, seed=seeds.shifted(5), resamples=300)
    times = seeds.rng(5).multinomial(11, np.full(11, 1 / 11), size=300)
    drawn = [np.repeat(np.arange(77), row[image]) for row in times]
    for measure, name in ((area_under_curve, "auc"), (average_precision, "average_precision")):
        slow = [measure(score[items], truth[items]) for items in drawn]
        low, high = np.quantile(slow, (0.025, 0.975))
        assert getattr(found, f"{name}_low") == pytest.approx(low, abs=1e-6)
        assert getattr(found, f"{name}_high") == pytest.approx(high, abs=1e-6)
        assert getattr(found, name) == measure(score, truth)


def test_an_interval_over_images_is_wide_where_an_images_words_agree():
    import pandas as pd

    alike = image_interval(pd.Series([True, False] * 8), pd.Series([0, 1] * 8))  # two images
    apart = image_interval(pd.Series([True, False] * 8), pd.Series(range(16)))
    assert alike == (0.0, 1.0)
    assert 0.2 < apart[0] < 0.5 < apart[1] < 0.8
