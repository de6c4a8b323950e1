"""Spearman correlation with human grades: scipy as the oracle, for the value and for every resample."""

import numpy as np
import pandas as pd
import pytest
import seeds
from scipy.stats import spearmanr

from naaflib.errors import NaafError
from naaflib.metric.detection import times_drawn
from naaflib.metric.grades import ALL, spearman, spearman_table

PAIRS, IMAGES = 211, 23


@pytest.fixture
def graded():
    """Scores and grades that agree in part, both with many ties; images with few and with many pairs."""
    rng = seeds.rng()
    image = np.sort(rng.integers(0, IMAGES, PAIRS) ** 2 // IMAGES)
    grades = rng.integers(0, 11, PAIRS) / 2
    scores = np.round(grades + rng.normal(0, 2, PAIRS))
    return scores, grades, image


def slow_interval(scores, grades, image, seed, resamples):
    """Every pair repeated as often as its image was drawn."""
    names, place = np.unique(image, return_inverse=True)
    values = []
    for times in times_drawn(seeds.rng(seed), len(names), resamples):
        rows = np.repeat(np.arange(len(scores)), times[place])
        values.append(spearmanr(scores[rows], grades[rows]).statistic)
    return np.quantile(values, (0.025, 0.975))


def test_value_and_interval_are_scipys_on_the_resampled_rows(graded):
    found = spearman(*graded, seed=seeds.shifted(3), resamples=50)
    assert found.value == pytest.approx(spearmanr(*graded[:2]).statistic)
    assert (found.low, found.high) == pytest.approx(tuple(slow_interval(*graded, 3, 50)))
    assert found.low < found.value < found.high


def test_any_rising_transformation_of_the_scores_changes_nothing(graded):
    scores, grades, image = graded
    assert spearman(np.exp(scores), grades, image) == pytest.approx(spearman(scores, grades, image))
    assert spearman(-scores, grades, image).value == pytest.approx(-spearman(scores, grades, image).value)


def test_the_order_of_the_pairs_changes_nothing(graded):
    order = seeds.rng(1).permutation(PAIRS)
    shuffled = [column[order] for column in graded]
    assert spearman(*shuffled) == pytest.approx(spearman(*graded))


def test_images_that_repeat_one_another_widen_the_interval():
    """The same pairs as 4 images and as 400: fewer independent pieces of evidence."""
    rng = seeds.rng(2)
    image = np.repeat(np.arange(4), 100)
    scores, grades = rng.normal(size=400) + image, rng.normal(size=400) + image
    few, many = spearman(scores, grades, image), spearman(scores, grades, np.arange(400))
    assert few.value == many.value
    assert few.high - few.low > many.high - many.low


def test_perfect_agreement_is_one_and_equal_scores_have_no_correlation(graded):
    _, grades, image = graded
    assert spearman(2 * grades + 1, grades, image) == pytest.approx((1, 1, 1))
    assert np.isnan(spearman(np.ones(PAIRS), grades, image)).all()


def test_a_score_that_is_not_finite_is_refused_with_its_pair(graded):
    scores, grades, image = graded
    scores[17] = np.nan
    with pytest.raises(NaafError, match="score of pair 17"):
        spearman(scores, grades, image)


def test_the_table_has_a_row_for_all_pairs_and_one_a_group(graded):
    group = np.where(np.arange(PAIRS) % 3, "other", "own")
    table = spearman_table(*graded, group, resamples=20).set_index("group")
    assert table.index.tolist() == [ALL, "other", "own"]
    for name, mask in ((ALL, np.ones(PAIRS, bool)), ("own", group == "own"), ("other", group == "other")):
        scores, grades, image = (column[mask] for column in graded)
        assert table.loc[name, "pairs"] == mask.sum()
        assert table.loc[name, "images"] == pd.Series(image).nunique()
        found = tuple(table.loc[name, ["spearman", "low", "high"]])
        assert found == pytest.approx(spearman(scores, grades, image, resamples=20))
