"""Comparing runs: intervals cover what they say, p-values are exact where they can be, runs have names."""

import ast
import itertools
import json
import re
import shutil
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import nbformat
import numpy as np
import pandas as pd
import pytest
import seeds
from matplotlib import image
from matplotlib.transforms import Bbox
from scipy import stats
from synthetic_runs import write_group, write_run

from naaflib.errors import NaafError, UsageError
from naaflib.evaluation.comparison import queries
from naaflib.evaluation.comparison.compare import compare_runs
from naaflib.evaluation.comparison.differences import (
    IMAGES,
    coverage_note,
    difference_table,
    latex_table,
    readable_differences,
    spread_table,
)
from naaflib.files import read_json, write_json
from naaflib.metric.retrieval import MEASURES, retrieval_metrics
from naaflib.metric.significance import (
    bootstrap_means,
    corrected,
    crossed_difference,
    image_difference,
    image_measures,
    permutation_p,
    pooled_seed_variance,
    t_interval,
)
from naaflib.pages import comparison as pages
from naaflib.runs import Run
from naaflib.viz import comparison as viz
from naaflib.viz import style

RNG = seeds.rng(0)


@pytest.fixture(scope="module")
def data(write_split, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "small"
    for split, images in (("train", 7), ("dev", 31), ("test", 29)):
        write_split(folder, split, images)
    return folder


@pytest.fixture(scope="module")
def sweep(data, tmp_path_factory):
    """Three variants of three seeds, the last far better; a plain folder of groups."""
    folder = tmp_path_factory.mktemp("runs") / "sweep"
    for name, skill in (("a", 1.5), ("b_2", 1.6), ("far", 4.0)):
        write_group(folder / name, data, skill=skill)
    return folder


@pytest.fixture(scope="module")
def compared(sweep):
    return compare_runs([sweep])


# ---- resampling


def test_what_images_add_has_the_metrics_as_its_mean():
    metrics = retrieval_metrics(RNG.normal(size=(13, 39)), captions_per_image=3)
    means = dict(zip(MEASURES, image_measures(metrics).mean(axis=0), strict=True))
    for way, name in itertools.product(("i2t", "t2i"), ("at_1", "at_5", "at_10")):
        assert means[f"{way}_{name}"] == pytest.approx(getattr(getattr(metrics, way), name))
    assert means["rsum"] == pytest.approx(metrics.rsum)


def test_an_image_answers_for_its_own_captions():
    right = np.eye(2).repeat(2, axis=1)
    scores = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])  # image 0 is first for every caption
    assert image_measures(retrieval_metrics(right, 2))[:, 3].tolist() == [100, 100]
    assert image_measures(retrieval_metrics(scores, 2))[:, 3].tolist() == [100, 0]


def test_identical_runs_differ_by_exactly_nothing():
    found = image_difference(np.zeros((17, 7)), resamples=50)
    for part in (found.value, found.low, found.high):
        assert (part == 0).all()
    assert (found.p == 1).all()


def test_every_column_is_resampled_by_the_same_images():
    values = RNG.normal(size=(19, 2))
    means = bootstrap_means(np.column_stack([values, values.sum(axis=1)]), resamples=300)
    np.testing.assert_allclose(means[:, 0] + means[:, 1], means[:, 2])


def test_bootstrap_means_vary_as_a_mean_does():
    values = RNG.exponential(size=(41, 1))
    means = bootstrap_means(values, resamples=20_000)[:, 0]
    assert means.mean() == pytest.approx(values.mean(), abs=4 * means.std() / 141)
    assert means.var() == pytest.approx(values.var() / 41, rel=0.05)


def test_the_interval_is_scipys_percentile_bootstrap():
    values = RNG.choice([-100.0, 0.0, 100.0], size=(97, 1), p=[0.1, 0.7, 0.2])
    ours = image_difference(values, resamples=20_000, confidence=0.9)
    theirs = stats.bootstrap(
        (values[:, 0],), np.mean, n_resamples=20_000, confidence_level=0.9, method="percentile", rng=1
    ).confidence_interval
    assert (ours.low[0], ours.high[0]) == pytest.approx(tuple(theirs), abs=1.1)  # one step of the mean


def test_a_seed_gives_the_same_interval_again_and_another_seed_another():
    values = RNG.normal(size=(23, 1))
    first, again, other = (
        image_difference(values, resamples=99, seed=seeds.shifted(seed)) for seed in (3, 3, 4)
    )
    assert first.low == again.low
    assert first.low != other.low


def test_blocks_do_not_change_what_is_drawn(monkeypatch):
    values = RNG.normal(size=(23, 2))
    whole = bootstrap_means(values, 100), permutation_p(values[:9], 1000)
    monkeypatch.setattr("naaflib.metric.significance.BLOCK", 23 * 7)
    parts = bootstrap_means(values, 100), permutation_p(values[:9], 1000)
    np.testing.assert_allclose(parts[0], whole[0])
    np.testing.assert_array_equal(parts[1], whole[1])


def test_a_permutation_p_of_few_images_is_that_of_all_signs():
    values = np.array([0.1, 0.2, -0.3, 0.4, 0.0, 0.7, -0.1])  # 0.1 + 0.2 - 0.3 is not 0 in binary
    sums = [abs(np.dot(signs, values)) for signs in itertools.product((1, -1), repeat=7)]
    wanted = np.mean([total >= abs(values.sum()) - 1e-12 for total in sums])
    assert permutation_p(values[:, None], resamples=128)[0] == pytest.approx(wanted, abs=1e-15)
    theirs = stats.permutation_test((values,), np.mean, permutation_type="samples", n_resamples=np.inf).pvalue
    assert permutation_p(values[:, None], resamples=128)[0] == pytest.approx(theirs)


def test_thousands_of_images_may_differ():
    assert permutation_p(np.ones((5000, 1)), 20).tolist() == [1 / 21]


def test_sums_that_differ_by_rounding_alone_are_ties():
    counts = np.array([[-8.0], [-9.0], [-6.0], [6.0], [3.0], [8.0]])  # in tenths, equal sums differ in binary
    assert permutation_p(counts / 10, 64) == permutation_p(counts, 64)


def test_a_drawn_permutation_p_is_near_the_exact_one_and_never_zero():
    values = RNG.normal(0.4, 1, size=(12, 1))
    exact, drawn = permutation_p(values, 4096)[0], permutation_p(values, 4000)[0]
    assert drawn == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 4000) ** 0.5)
    assert permutation_p(np.full((60, 1), 5.0), 99)[0] == 0.01


def test_images_without_a_difference_leave_the_p_value_as_it_is():
    values = RNG.normal(size=(8, 2))
    padded = np.vstack([values, np.zeros((50, 2))])
    np.testing.assert_array_equal(permutation_p(padded, 256), permutation_p(values, 256))


# ---- seeds


def test_without_spread_over_seeds_it_is_the_paired_t_test_over_images():
    first, second = RNG.normal(size=(2, 1, 37, 1))
    found = crossed_difference(first.repeat(3, axis=0), second.repeat(2, axis=0), confidence=0.9)
    wanted = stats.ttest_rel(first[0, :, 0], second[0, :, 0])
    assert found.p[0] == pytest.approx(wanted.pvalue)
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(wanted.confidence_interval(0.9)))


def test_without_spread_over_images_it_is_welchs_t_test_over_seeds():
    first, second = RNG.normal(1, 1, size=(3, 1, 1)), RNG.normal(0, 3, size=(4, 1, 1))
    found = crossed_difference(first.repeat(11, axis=1), second.repeat(11, axis=1))
    wanted = stats.ttest_ind(first[:, 0, 0], second[:, 0, 0], equal_var=False)
    assert found.p[0] == pytest.approx(wanted.pvalue)
    assert (found.low[0], found.high[0]) == pytest.approx(tuple(wanted.confidence_interval(0.95)))


def test_seeds_in_pairs_cancel_what_they_share():
    shared = RNG.normal(0, 50, size=(3, 1, 1))
    first, second = (shared + RNG.normal(size=(3, 23, 1)) for _ in range(2))
    wide, narrow = (crossed_difference(first, second, paired=paired) for paired in (False, True))
    assert narrow.high - narrow.low < 0.1 * (wide.high - wide.low)
    assert narrow.value == pytest.approx(wide.value)


def test_no_difference_at_all_is_no_finding():
    same = RNG.normal(size=(3, 13, 2))
    found = crossed_difference(same, same, paired=True)
    assert (found.p == 1).all()
    assert (found.low == found.high).all()


def test_its_variance_is_that_of_the_two_way_layout():
    """Mean squares of images, of seeds, and of what both leave, as analysis of variance has them."""
    seeds, images = 5, 7
    runs = RNG.normal(size=(seeds, images)) + 9 * np.arange(seeds)[:, None] + 9 * np.arange(images)
    by_image = seeds * ((runs.mean(axis=0) - runs.mean()) ** 2).sum()
    by_seed = images * ((runs.mean(axis=1) - runs.mean()) ** 2).sum()
    left = ((runs - runs.mean()) ** 2).sum() - by_image - by_seed
    freedoms = np.array([images - 1, seeds - 1, (images - 1) * (seeds - 1)])
    squares = np.array([by_image, by_seed, left]) / freedoms / (seeds * images)
    variance = squares[0] + squares[1] - squares[2]
    freedom = variance**2 / (squares**2 / freedoms).sum()
    found = crossed_difference(runs[..., None], np.zeros((seeds, images, 1)), paired=True)
    assert variance > squares.max()  # else a floor would hide it
    assert found.high[0] - found.value[0] == pytest.approx(stats.t.ppf(0.975, freedom) * variance**0.5)


def test_independent_runs_that_happen_to_be_equal_have_the_interval_of_their_seeds():
    """What is left is the spread over seeds, and one degree of freedom is the least there can be."""
    for _ in range(20):
        same = RNG.normal(size=(2, 13, 1))
        found = crossed_difference(same, same)
        error = same.mean(axis=1).std(ddof=1)
        assert found.value == 0
        assert 1.96 * error < found.high[0] < 1.001 * stats.t.ppf(0.975, 1) * error


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("members", [2, 3, 6])
@pytest.mark.parametrize("spreads", [(1, 1, 1), (0, 5, 20), (2, 10, 30), (0, 0, 10)])
def test_the_interval_over_images_and_seeds_covers_what_it_says(spreads, members, paired):
    """Spreads of seeds, of images, of both together: the parts that two equal settings are drawn from.

    Each of 1500 measures is a draw.
    """
    rng = seeds.rng(1)
    shapes = (2, members, 1, 1500), (2, 1, 29, 1500), (2, members, 29, 1500)
    first, second = sum(rng.normal(0, spread, shape) for spread, shape in zip(spreads, shapes, strict=True))
    found = crossed_difference(first, second, paired=paired)
    covered = ((found.low <= 0) & (found.high >= 0)).mean()
    assert 0.925 <= covered <= 0.998  # 0.95 to 0.99 over many draws; their standard deviation is 0.006


def test_images_and_seeds_together_leave_no_less_open_than_either_alone():
    """Two seeds that lie close have one degree of freedom, whatever the images have; so have two images."""
    close, apart = np.array([0.5, -0.5]), RNG.permutation(np.linspace(-8, 8, 23))
    for by_seed, by_image in ((close, apart), (apart, close)):
        gap = (3 + by_seed[:, None] + by_image)[..., None]
        found = crossed_difference(gap, np.zeros_like(gap), paired=True)
        for alone in (by_seed, by_image):
            wanted = stats.ttest_1samp(3 + alone, 0)
            low, high = wanted.confidence_interval(0.95)
            assert found.low[0] <= low + 1e-9
            assert found.high[0] >= high - 1e-9
            assert found.p[0] >= wanted.pvalue - 1e-9


def test_a_pooled_variance_over_seeds_is_students_t_test_with_all_settings():
    """Without spread over images: the difference of two means, its variance from four settings."""
    groups = [RNG.normal(size=(size, 1, 1)).repeat(11, axis=1) for size in (3, 2, 4, 2)]
    pooled = pooled_seed_variance(groups)
    squares = sum(((group[:, 0, 0] - group[:, 0, 0].mean()) ** 2).sum() for group in groups)
    assert pooled.freedom == 7
    assert pooled.variance[0] == pytest.approx(squares / 7)
    found = crossed_difference(groups[0], groups[1], seed_variance=pooled)
    reach = stats.t.ppf(0.975, 7) * (squares / 7 * (1 / 3 + 1 / 2)) ** 0.5
    assert found.high[0] - found.value[0] == pytest.approx(reach)
    two = crossed_difference(groups[0], groups[2], seed_variance=pooled_seed_variance([groups[0], groups[2]]))
    assert two.p[0] == pytest.approx(stats.ttest_ind(groups[0][:, 0, 0], groups[2][:, 0, 0]).pvalue)
    with pytest.raises(UsageError, match="needs two seeds or more of a setting"):
        pooled_seed_variance([groups[0][:1]])


def test_a_mean_over_seeds_has_students_interval():
    runs = np.array([300.0, 305.0, 298.0])
    found = t_interval(runs, 0.9)
    wanted = stats.ttest_1samp(runs, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx(tuple(wanted))
    assert found.deviation == pytest.approx(np.std(runs, ddof=1))
    assert np.isnan(t_interval([300.0])[1:]).all()


def test_an_interval_over_seeds_needs_two_of_both():
    with pytest.raises(UsageError, match="two images and two seeds or more of each setting"):
        crossed_difference(np.zeros((3, 5, 1)), np.zeros((1, 5, 1)))


def test_holm_multiplies_the_smallest_by_all_and_never_falls_back():
    np.testing.assert_allclose(corrected([0.04, 0.01, 0.03, 0.9]), [0.09, 0.04, 0.09, 0.9])
    assert corrected([0.6, 0.7]).max() == 1
    p = RNG.uniform(size=9)
    np.testing.assert_allclose(corrected(p, "bh"), stats.false_discovery_control(p))
    assert (corrected(p) >= corrected(p, "bh")).all()
    np.testing.assert_array_equal(corrected(p, "none"), p)
    with pytest.raises(UsageError, match="no correction 'bonferroni'; corrections: holm, bh, none"):
        corrected(p, "bonferroni")


@pytest.mark.parametrize("wrong", [float("nan"), 1.2, -0.1])
@pytest.mark.parametrize("correction", ["holm", "bh", "none"])
def test_what_is_no_p_value_is_refused(wrong, correction):
    with pytest.raises(UsageError, match=f"p-value 2 of 3 is {wrong:g}; it must lie between 0 and 1"):
        corrected([0.0, wrong, 1.0], correction)


@pytest.mark.parametrize(
    "wrong", [{"confidence": 95}, {"confidence": 0.0}, {"resamples": 0}, {"seed": -1}], ids=str
)
def test_values_that_mean_nothing_are_refused(wrong):
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        image_difference(np.zeros((3, 1)), **wrong)


# ---- which runs belong together


def test_a_folder_of_groups_is_a_variant_a_group(compared):
    assert [variant.name for variant in compared.variants] == ["a", "b_2", "far"]
    assert [variant.seeds for variant in compared.variants] == [[0, 1, 2]] * 3
    assert compared.variants[0].values.shape == (3, 31, 7)
    assert compared.split == "dev"


def test_the_members_of_one_group_alone_stand_beside_each_other(sweep):
    found = compare_runs([sweep / "a"])
    assert [variant.name for variant in found.variants] == ["a/0", "a/1", "a/2"]


def test_runs_and_groups_can_be_named_one_by_one_and_the_baseline_is_first(sweep):
    asked = [sweep / "far", sweep / "a" / "members" / "1"]
    assert [v.name for v in compare_runs(asked).variants] == ["far", "a/1"]
    assert [v.name for v in compare_runs(asked, baseline="a/1").variants] == ["a/1", "far"]
    assert [v.name for v in compare_runs(asked, baseline=str(sweep / "b_2")).variants] == [
        "b_2",
        "far",
        "a/1",
    ]
    for wrong in ("nothing", str(sweep)):
        with pytest.raises(UsageError, match="the baseline"):
            compare_runs(asked, baseline=wrong)


def test_a_sweeps_table_says_where_its_runs_lie(data, tmp_path):
    for name in ("x/members/0", "x/members/1", "y/members/0"):
        write_run(tmp_path / name, data, seed=int(name[-1]), skill=1 + (name[0] == "y"))
    rows = [
        ("second", 0, "done", "y/members/0"),
        ("first", 0, "done", "x/members/0"),
        ("first", 1, "done", "x/members/1"),
        ("first", 2, "failed", "x/members/2"),
        ("twin", 0, "done", "x/members/0"),
        ("twin", 1, "done", "x/members/1"),
    ]
    pd.DataFrame(rows, columns=["variant", "seed", "state", "folder"]).to_csv(
        tmp_path / "sweep.csv", index=False
    )
    found = compare_runs([tmp_path], baseline="first")
    assert [(v.name, v.seeds) for v in found.variants] == [("first", [0, 1]), ("second", [0])]
    assert found.left_out == ("first, seed 2: failed", "twin: the same run as first")
    assert difference_table(found)["covers"].tolist() == ["", IMAGES]


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n"])
def test_a_table_that_is_no_sweeps_is_named(tmp_path, content):
    (tmp_path / "sweep.csv").write_text(content)
    with pytest.raises(NaafError, match="is no table of a sweep"):
        compare_runs([tmp_path])


def test_a_variant_may_be_named_null(data, tmp_path):
    for name in ("x", "y"):
        write_run(tmp_path / name, data)
    text = "variant,seed,state,folder\nnull,0,done,x\nNA,0,done,y\n"
    (tmp_path / "sweep.csv").write_text(text)
    assert [variant.name for variant in compare_runs([tmp_path]).variants] == ["null", "NA"]


def test_members_that_are_not_trained_to_their_end_are_left_out_with_the_reason(sweep, tmp_path):
    folder = shutil.copytree(sweep, tmp_path / "sweep")
    shutil.rmtree(folder / "a" / "members" / "2" / "scores")
    late = folder / "b_2" / "members" / "1"
    pd.DataFrame({"epoch": [1, 2], "loss": 1.0, "rsum": 9.0}).to_csv(late / "history.csv", index=False)
    found = compare_runs([folder])
    assert [len(variant.runs) for variant in found.variants] == [2, 2, 3]
    assert found.left_out == ("a/2: not trained", "b_2/1: epoch 2 of 6")


def test_runs_that_differ_in_their_seed_alone_are_joined_where_it_is_asked(data, tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / f"plain{seed}", data, seed=seed)
        write_run(tmp_path / f"alpha{seed}", data, seed=seed, skill=1, mining__alpha=4)
    folders = sorted(tmp_path.iterdir())
    assert len(compare_runs(folders).variants) == 4
    found = compare_runs(folders, seeds_together=True)
    assert [(v.name, v.seeds) for v in found.variants] == [("alpha0", [0, 1]), ("plain0", [0, 1])]
    backwards = compare_runs(folders[::-1], seeds_together=True)
    assert [v.seeds for v in backwards.variants] == [[0, 1], [0, 1]]


def test_members_of_other_settings_or_of_one_seed_are_no_seeds_of_one_setting(data, tmp_path):
    for number, (seed, alpha) in enumerate([(0, 2), (1, 4)]):
        write_run(tmp_path / "mixed" / "members" / str(number), data, seed=seed, mining__alpha=alpha)
        write_run(tmp_path / "twice" / "members" / str(number), data, skill=number, seed=5)
    with pytest.raises(NaafError, match=r"differ in mining\.alpha, so they are no seeds of one setting"):
        compare_runs([tmp_path / "mixed", tmp_path / "twice"])
    with pytest.raises(NaafError, match="twice holds two runs of one seed"):
        compare_runs([tmp_path / "twice", tmp_path / "mixed" / "members" / "0"])


def test_two_folders_of_one_name_are_told_apart_and_one_folder_twice_is_refused(data, tmp_path):
    for parent in ("p", "q"):
        write_run(tmp_path / parent / "run", data)
    both = [tmp_path / "p" / "run", tmp_path / "q" / "run"]
    assert [variant.name for variant in compare_runs(both).variants] == ["p/run", "q/run"]
    with pytest.raises(UsageError, match="p/run is given twice"):
        compare_runs([both[0], both[0]])


# ---- what can be compared


def test_other_images_are_refused(data, sweep, write_split, tmp_path):
    other = write_split(tmp_path / "other", "dev", 31, seed=1)
    run = write_run(tmp_path / "run", other)
    with pytest.raises(NaafError, match=r"members/0 holds scores of dev .* other images or captions"):
        compare_runs([sweep / "a", run])


def test_scores_of_different_products_are_refused(data, tmp_path):
    for skill, name in enumerate("ab"):
        write_run(tmp_path / name, data, skill=skill)
    about = tmp_path / "b" / "scores" / "dev.json"
    write_json(about, {**read_json(about), "precision": "bf16"})
    with pytest.raises(NaafError, match=r"float32 product and .* with bf16; evaluate both with one"):
        compare_runs([tmp_path / "a", tmp_path / "b"])


def test_a_run_without_scores_names_what_makes_them(data, tmp_path):
    group, run = write_group(tmp_path / "a", data), write_run(tmp_path / "run", data, split="test")
    for path in (*group.glob("members/*"), run):
        best = Run.open(path).checkpoint("best")
        best.parent.mkdir()
        best.touch()
    given = rf"--data {re.escape(str(data))} --split dev"
    with pytest.raises(
        NaafError,
        match=rf"run has no scores \(dev\): `naaf evaluate \S*run {given}` makes them, or {given} here$",
    ):
        compare_runs([group, run])
    with pytest.raises(
        NaafError,
        match=r"a/members/0 has no scores \(test\), the first of 3 such runs: `naaf .* here for all of them$",
    ):
        compare_runs([group, run], split="test")


def test_a_run_with_neither_scores_nor_weights_is_to_be_left_out(data, sweep, tmp_path):
    run = write_run(tmp_path / "run", data, split="test")
    with pytest.raises(NaafError, match=r"run has no scores \(dev\) and no checkpoint .*; leave it out$"):
        compare_runs([sweep / "a", run], data=data, split="dev")


def test_one_setting_alone_is_no_comparison(data, tmp_path):
    run = write_run(tmp_path / "run", data)
    with pytest.raises(NaafError, match="takes two settings or more, and run alone is there"):
        compare_runs([run])
    with pytest.raises(NaafError, match="does not exist"):
        compare_runs([tmp_path / "nothing", run])


def test_trained_runs_are_evaluated_where_the_data_are_given(trained, scenes, tmp_path):
    """Two looks at the same weights: the seeds are pairs; new weights make old scores useless."""
    first, second = (shutil.copytree(trained.path, tmp_path / name) for name in ("first", "second"))
    for run in (first, second):
        shutil.rmtree(run / "scores", ignore_errors=True)
    found = compare_runs([first, second], data=scenes, split="dev")
    assert difference_table(found)["difference"].tolist()[1:] == [0]
    assert found.baseline.counterpart(found.variants[1])
    assert compare_runs([first, second]).origin == found.origin
    shutil.copy(second / "checkpoints" / "last.safetensors", second / "checkpoints" / "best.safetensors")
    about = json.loads((second / "scores" / "dev.json").read_text())
    about["checkpoint"]["sha256"] = "0"
    (second / "scores" / "dev.json").write_text(json.dumps(about))
    with pytest.raises(NaafError, match="second has scores of an earlier checkpoint"):
        compare_runs([first, second])


def test_seeds_with_the_same_weights_are_taken_in_pairs(sweep, monkeypatch):
    found = compare_runs([sweep / "a", sweep / "b_2"])
    assert found.baseline.counterpart(found.variants[1]) is None  # there is no checkpoint at all
    apart = difference_table(found).iloc[1]
    monkeypatch.setattr("naaflib.evaluation.comparison.settings._same_encoders", lambda one, other: True)
    paired = difference_table(found).iloc[1]
    values = [variant.values[..., -1:] for variant in found.variants]
    wanted = crossed_difference(values[1], values[0], paired=True)
    assert paired["low"] == pytest.approx(wanted.low[0])
    assert paired["low"] != pytest.approx(apart["low"])


def test_looks_at_some_seeds_weights_are_compared_with_those_seeds(data, tmp_path, monkeypatch):
    for seed in (0, 1, 2):
        write_run(tmp_path / "all" / "members" / str(seed), data, seed=seed, skill=1 + seed)
    write_run(tmp_path / "some" / "members" / "2", data, seed=2, skill=3)
    monkeypatch.setattr("naaflib.evaluation.comparison.settings._same_encoders", lambda one, other: True)
    found = compare_runs([tmp_path / "all", tmp_path / "some"])
    table = difference_table(found)
    assert table.loc[1, ["difference", "low", "high"]].tolist() == [0, 0, 0]
    assert table.loc[1, "verdict"] == "open"
    assert "whose weights they take, not with all: some." in coverage_note(table)
    assert pages._seed_differences(found, found.variants[1]) == pytest.approx(0.0)
    monkeypatch.setattr("naaflib.evaluation.comparison.settings._same_encoders", lambda one, other: False)
    apart = difference_table(compare_runs([tmp_path / "all", tmp_path / "some"]))
    assert apart.loc[1, "difference"] == pytest.approx(apart.loc[1, "mean"] - apart.loc[0, "mean"])
    assert apart.loc[1, "difference"] > 1
    assert "not with all" not in coverage_note(apart)


# ---- tables


def test_differences_are_those_of_the_metrics_and_the_verdict_follows_the_corrected_p(compared):
    table = difference_table(compared, MEASURES, resamples=999)
    assert table["measure"].tolist() == [name for name in MEASURES for _ in range(3)]
    rsum = table[table["measure"] == "rsum"].set_index("variant")
    for variant in compared.variants:
        mean = np.mean([metrics.rsum for metrics in variant.metrics])
        assert rsum.loc[variant.name, "mean"] == pytest.approx(mean)
        if variant is not compared.baseline:
            assert rsum.loc[variant.name, "difference"] == pytest.approx(mean - rsum.loc["a", "mean"])
    others = table[table["verdict"] != "baseline"]
    np.testing.assert_allclose(others["p_corrected"], corrected(others["p"]))
    assert (others["images_low"] < others["difference"]).all()
    assert ((others["p_corrected"] < 0.05) == (others["verdict"] != "open")).all()
    assert difference_table(compared)["verdict"].tolist() == ["baseline", "open", "better"]


def test_single_runs_cover_images_alone_and_the_note_says_so(sweep):
    pair = compare_runs([sweep / "far" / "members" / "0", sweep / "a" / "members" / "0"])
    table = difference_table(pair, resamples=499)
    assert table["covers"].tolist() == ["", IMAGES]
    assert table["verdict"].tolist() == ["baseline", "worse"]
    assert (
        table[["low", "high", "p"]].iloc[1].tolist()
        == table[["images_low", "images_high", "images_p"]].iloc[1].tolist()
    )
    assert "not other seeds" in coverage_note(table)
    assert "images alone" not in readable_differences(table)


def test_pooled_seeds_count_looks_at_the_same_weights_once(compared, monkeypatch):
    apart = difference_table(compared, resamples=99)
    pooled = difference_table(compared, resamples=99, pool_seeds=True)
    values = [variant.values[..., -1:] for variant in compared.variants]
    wanted = crossed_difference(values[2], values[0], seed_variance=pooled_seed_variance(values))
    assert pooled["low"][2] == pytest.approx(wanted.low[0])
    assert pooled["low"][2] != pytest.approx(apart["low"][2])
    monkeypatch.setattr(
        "naaflib.evaluation.comparison.settings._same_encoders",
        lambda one, other: "far" not in f"{one.path} {other.path}",
    )
    two = difference_table(compared, resamples=99, pool_seeds=True)
    wanted = crossed_difference(
        values[2], values[0], seed_variance=pooled_seed_variance([values[0], values[2]])
    )
    assert two["low"][2] == pytest.approx(wanted.low[0])


def test_an_unknown_measure_or_variant_is_refused(compared):
    with pytest.raises(UsageError, match="no measure 'recall'; measures: i2t_at_1"):
        difference_table(compared, ["recall"])
    with pytest.raises(UsageError, match="no variant 'c'; variants: a, b_2, far"):
        compared.variant("c")


def test_spreads_are_over_seeds(compared):
    table = spread_table(compared)
    runs = [metrics.rsum for metrics in compared.variants[1].metrics]
    assert table.loc["b_2", "rsum_sd"] == pytest.approx(np.std(runs, ddof=1))
    assert table.loc["b_2", "rsum_low"] < table.loc["b_2", "rsum"] < table.loc["b_2", "rsum_high"]
    assert table["seeds"].tolist() == [3, 3, 3]


def test_latex_has_a_cell_a_column_and_no_letter_that_it_would_trip_over(compared):
    table = readable_differences(difference_table(compared, resamples=99))
    lines = latex_table(table, "100 % of it").splitlines()
    assert lines[0] == "% 100 % of it"
    assert lines[1] == rf"\begin{{tabular}}{{l{'r' * (table.shape[1] - 2)}l}}"
    rows = [line for line in lines if line.endswith(r"\\")]
    assert len(rows) == 4
    assert {row.count(" & ") for row in rows} == {table.shape[1] - 1}
    assert rows[2].startswith(r"b\_2 & 3 & ")
    assert r"95 \% interval" in rows[0]
    odd = pd.DataFrame({"variant": ["a-1 & ~^\\{}$#"], "difference": ["-1.5 ± 2"], "p": ["<0.001 –"]})
    assert latex_table(odd).splitlines()[4] == (
        r"a-1 \& \textasciitilde \textasciicircum \textbackslash \{\}\$\# & $-$1.5 $\pm$ 2 & $<$0.001 -- \\"
    )


# ---- query by query


def test_sums_of_the_place_matrix_are_the_recalls_of_both(compared):
    for direction in ("i2t", "t2i"):
        before, after = (queries.places(v, direction) for v in (compared.baseline, compared.variants[2]))
        shares = queries.place_shares(before, after)
        for sums, places in ((shares.sum(axis=1), before), (shares.sum(axis=0), after)):
            for k, end in enumerate((1, 5, 10)):
                assert sums[: k + 1].sum() == pytest.approx(100 * np.mean(places <= end))
        rose, fell = queries.gained_and_lost(shares)
        assert rose > fell  # far is better than the baseline


def test_a_run_beside_itself_changes_nothing():
    places = RNG.integers(1, 99, size=(1, 41))
    shares = queries.place_shares(places, places)
    assert queries.gained_and_lost(shares) == (0, 0)
    assert shares.trace() == pytest.approx(100)


def test_what_a_seed_moves_is_the_same_up_and_down(compared, sweep):
    shares = queries.seed_shares(compared.baseline, "t2i")
    np.testing.assert_allclose(shares, shares.T)
    assert (
        queries.seed_shares(compare_runs([sweep / "a" / "members" / "0", sweep / "far"]).baseline, "t2i")
        is None
    )


def test_queries_are_ordered_by_how_often_their_place_was_halved(compared):
    table = queries.query_changes(compared, "far")
    assert len(table) == 31 + 155
    assert (table["change"].abs().diff().dropna() <= 0).all()
    np.testing.assert_allclose(table["before"] / table["after"], 2 ** table["change"])
    captions = table[table["direction"] == "t2i"]
    np.testing.assert_array_equal(captions["image"], captions["query"] // 5)
    row = captions[captions["agree"]].iloc[0]
    before, after = (
        queries.places(v, "t2i")[:, row["query"]] for v in (compared.baseline, compared.variants[2])
    )
    assert (before.min() > after.max()) if row["change"] > 0 else (before.max() < after.min())
    assert row["before"] == pytest.approx(stats.gmean(before))


# ---- figures and the notebook's calls


def uncut(figure) -> bool:
    """Whether an inch of paper around the page stays white."""
    width, height = figure.get_size_inches()
    buffer = BytesIO()
    figure.savefig(buffer, dpi=60, bbox_inches=Bbox([[-1, -1], [width + 1, height + 1]]))
    buffer.seek(0)
    drawn = image.imread(buffer)[..., :3].min(axis=2) < 0.9
    assert drawn[61:-61, 61:-61].any()
    drawn[59:-59, 59:-59] = False
    return not drawn.any()


@pytest.mark.parametrize("width", [style.COLUMN, style.PAGE])
def test_a_forest_names_every_variant_and_is_not_cut(compared, width):
    table = difference_table(compared, resamples=99)
    table.loc[1, "variant"] = "a very long name of a variant without $the$ negative effect"
    figure = viz.forest_figure({"rsum": table}, {"rsum": {"a": [-1.0, 0.0, 1.0]}}, width=width)
    assert uncut(figure)
    texts = " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))
    for words in ("a (baseline)", "far", "← worse", "better →", "over images and seeds", "one seed"):
        assert words in texts
    marks = [line.get_marker() for line in figure.axes[0].lines]
    assert (marks.count("^"), marks.count("v")) == (1, 0)


def test_a_variant_with_a_failed_seed_does_not_shrink_the_others_to_dots():
    names = ["naaf", *"abcdefgh"]
    table = pd.DataFrame(
        {"variant": names, "difference": 0.0, "verdict": "open", "covers": "images and seeds"}
    )
    table = table.assign(low=-3.0, high=4.0, images_low=-2.0, images_high=2.0)
    table.loc[0, "verdict"] = "baseline"
    plain = viz.forest_figure({"rsum": table}, {})
    table.loc[8, ["difference", "low", "high", "images_low"]] = [-160.0, -700.0, 400.0, -170.0]
    figure = viz.forest_figure({"rsum": table}, {"rsum": {"a": [-9.0, 1.0], "h": [-400.0, 0.0]}})
    assert uncut(figure)
    marks = [[line.get_marker() for line in page.axes[0].lines] for page in (plain, figure)]
    assert [(found.count("<"), found.count(">")) for found in marks] == [(0, 0), (1, 1)]
    low, high = figure.axes[0].get_xlim()
    assert -20 < low < -9 < 4 < high < 20  # the dot of a row that is not cut counts
    words = [" ".join(t.get_text() for t in page.findobj(mpl.text.Text)) for page in (plain, figure)]
    assert ["goes on" in said for said in words] == [False, True]
    assert "−160.0" in words[1]


def test_a_forest_of_all_measures_stands_in_rows_of_three(compared):
    figure = pages.forest_page(compared, difference_table(compared, MEASURES, resamples=99))
    assert uncut(figure)
    *plots, _key = figure.axes
    assert len(plots) == 7
    for ax in plots:
        low, high = ax.get_xlim()
        assert low < 0 < high


def test_the_place_matrix_prints_its_shares(compared):
    figure = pages.changes_page(compared, compared.variants[2])
    assert uncut(figure)
    shares = queries.place_shares(
        *(queries.places(v, "i2t") for v in (compared.baseline, compared.variants[2]))
    )
    texts = {tuple(map(int, text.get_position()[::-1])): text.get_text() for text in figure.axes[0].texts}
    assert texts == {place: f"{share:.1f}" for place, share in np.ndenumerate(shares)}
    assert "by a seed alone" in figure.axes[0].get_xlabel()


def test_cells_of_queries_that_rose_are_blue_and_of_those_that_fell_vermilion():
    ends = (1, 5, 10)
    figure, axes = style.panels()
    shares = np.full((4, 4), 100 / 16)
    ax = viz.place_matrix(axes[0, 0], shares, ends, before="a", after="b", direction="t2i")
    style.png(figure)
    moved, stayed = (mesh.get_facecolors().reshape(4, 4, 4) for mesh in ax.collections)
    red, _, blue, _ = np.moveaxis(moved, -1, 0)
    rose, fell = np.tril_indices(4, -1), np.triu_indices(4, 1)
    assert (blue[rose] > red[rose]).all()
    assert (blue[fell] < red[fell]).all()
    assert np.ptp(stayed[..., :3].diagonal(), axis=0).max() < 1e-9  # grey


def test_captions_that_changed_are_shown_with_and_without_pictures(compared, scenes, tmp_path):
    """The small data set has no pictures: words stand for them; scenes have."""
    split = pages.compared_split(compared)
    page = pages.changed_page(compared, compared.variants[2], split, "rose")
    assert uncut(page)
    assert "“" in page.axes[0].texts[0].get_text()
    for name, skill in (("p", 0.5), ("q", 2.0)):
        write_run(tmp_path / name, scenes, skill=skill)
    pictured = compare_runs([tmp_path / "p", tmp_path / "q"])
    page = pages.changed_page(pictured, pictured.variants[1], pages.compared_split(pictured), "rose", count=2)
    assert uncut(page)
    assert [len(ax.images) for ax in page.axes] == [1, 0, 1, 1] * 2
    with pytest.raises(UsageError, match='"rose" or "fell"'):
        pages.changed_page(pictured, pictured.variants[1], split, "better")


def test_nothing_changed_makes_no_page(sweep, data, tmp_path):
    twin = shutil.copytree(sweep / "a" / "members" / "0", tmp_path / "twin")
    found = compare_runs([sweep / "a" / "members" / "0", twin])
    split = pages.compared_split(found)
    assert pages.changed_page(found, found.variants[1], split, "rose") is None
    assert pages.changed_table(found, found.variants[1], split).empty


def test_changed_queries_are_one_an_image_and_named_by_their_text(compared):
    split, variant = pages.compared_split(compared), compared.variants[2]
    table, changed = (
        pages.changed_table(compared, variant, split, count=2),
        queries.query_changes(compared, "far"),
    )
    rose = table[table["place after"] < table["place before"]]
    for direction, name in (("i2t", "image → text"), ("t2i", "text → image")):
        first = pages._changed(changed[changed["direction"] == direction], rose=True).head(2)
        assert first["image"].is_unique
        for row, query in zip(first.itertuples(), rose.loc[name, "query"], strict=True):
            text = split.captions[row.query if direction == "t2i" else 5 * row.image]
            named = f"{split.image_name(row.image)}: “{text}”"
            assert query == (text if direction == "t2i" else named)


def test_other_captions_than_those_scored_are_refused(compared, write_split, tmp_path):
    other = write_split(tmp_path / "other", "dev", 31, seed=1)
    with pytest.raises(NaafError, match="holds other captions of dev than those that were scored"):
        pages.compared_split(compared, str(other))


def test_a_notebooks_parameters_name_further_runs_measures_and_a_variant(sweep):
    found = pages.open_comparison(
        str(sweep / "a"), f"{sweep / 'b_2'}, {sweep / 'far' / 'members' / '0'}", baseline=str(sweep / "b_2")
    )
    assert [variant.name for variant in found.variants] == ["b_2", "a", "far/0"]
    assert pages.picked_variant(found).name == "a"
    assert pages.picked_variant(found, "far/0").name == "far/0"
    assert pages.measures_named("rsum , i2t_at_1") == ["rsum", "i2t_at_1"]
    assert pages.measures_named("all") == list(MEASURES[:-1])
    with pytest.raises(UsageError, match="not 'recall'"):
        pages.measures_named("recall")
    assert pages.comparison_folder(str(sweep)).path == sweep
    shown = pages.variants_shown(found)
    assert shown.loc["far/0", "95 % over seeds"] == ""
    assert " ±\N{NO-BREAK SPACE}" not in shown.loc["a", "rsum"]


FIGURES = [f"07_{name}" for name in ("changes", "details", "fell", "forest", "rose")]
TABLES = [f"07_{name}" for name in ("changed", "details", "differences", "variants")]
NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "07_compare_runs.ipynb"


def kept(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the figures and of the tables in a folder."""
    patterns = ("figures/*.png", "tables/*.csv")
    return tuple(sorted(path.stem for path in folder.glob(pattern)) for pattern in patterns)


def test_the_notebooks_cells_leave_their_figures_and_tables_in_the_folder(sweep, tmp_path, capsys):
    folder = shutil.copytree(sweep, tmp_path / "sweep")
    shutil.rmtree(folder / "a" / "members" / "2" / "scores")
    names: dict[str, object] = {}
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            exec(compile(ast.parse(cell.source), NOTEBOOK.stem, "exec"), names)
        if "parameters" in cell.metadata.get("tags", []):
            names |= {"run": str(folder), "resamples": 99}
    assert kept(folder) == (FIGURES, TABLES)
    assert (
        "differences from a; this split chose the best epochs\nleft out: a/2: not trained"
        in capsys.readouterr().out
    )


@pytest.mark.long
def test_the_notebook_runs_by_papermill_into_the_folder_of_runs(sweep, tmp_path):
    from naaflib.batch import run_notebooks

    folder = shutil.copytree(sweep, tmp_path / "sweep")
    record = run_notebooks(NOTEBOOK.stem, folder, {"resamples": 99}, progress=False, timeout=600)
    assert record.failed is None, record.sentence()
    assert kept(folder) == (FIGURES, TABLES)
    outputs = [
        o
        for cell in nbformat.read(folder / "notebooks" / NOTEBOOK.name, 4).cells
        for o in cell.get("outputs", [])
    ]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == len(FIGURES)
    assert not any(output.output_type == "error" or output.get("name") == "stderr" for output in outputs)
