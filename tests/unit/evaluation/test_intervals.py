"""Intervals cover what they say, on data that is clustered; the paired test is exact."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from benchmarks._evidence import coverage, draw_articles
from qa_lib.errors import DataError
from qa_lib.evaluation.analysis import compare, compare_tables, intervals
from qa_lib.evaluation.analysis.intervals import expanded_tail, resampling_unit


@pytest.mark.parametrize("num_articles", [12, 48])
def test_intervals_by_article_cover_the_true_mean_as_often_as_they_say(num_articles):
    # 400 simulations: three standard errors are 0.033.
    assert 0.917 <= coverage(num_articles, "article", 400) <= 0.983


def test_intervals_by_question_would_be_too_narrow():
    assert coverage(48, "question", 100) < 0.8


def test_an_interval_of_many_equal_clusters_is_that_of_the_normal_theory():
    rng = np.random.default_rng(0)
    values = rng.normal(50, 10, 4000)
    titles = [str(row) for row in range(4000)]
    low, high = intervals({"f1": values}, titles, num_resamples=4000)["f1"]
    half = 1.96 * values.std() / np.sqrt(4000)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


@pytest.mark.parametrize("num_clusters", [5, 12, 48])
def test_the_percentiles_are_those_of_students_interval(num_clusters):
    """A normal mean's percentiles, so expanded, are Student's interval of few observations."""
    tail = expanded_tail(num_clusters)
    v = num_clusters - 1
    # A bootstrapped mean deviates by s * sqrt(v / n) / sqrt(n), s being the sample's own.
    half = -stats.norm.ppf(tail) * np.sqrt(v / num_clusters)
    assert stats.t.cdf(half, v) == pytest.approx(0.975, abs=1e-9)
    assert half == pytest.approx({5: 2.7764, 12: 2.2010, 48: 2.0117}[num_clusters], abs=1e-4)
    assert expanded_tail(1) == 0 and expanded_tail(100_000) == pytest.approx(0.025, abs=1e-4)


def test_clusters_are_those_of_what_counts():
    """Answers to one article only have no articles to draw, whatever the others are called."""
    values = np.array([0.0, 1.0] * 20 + [np.nan] * 20)
    titles = ["a"] * 40 + ["b"] * 20
    scores = {"em": values, "no_ans_em": np.append(np.full(40, np.nan), np.ones(20))}
    found = intervals(scores, titles)
    low, high = found["em"]
    assert 0.25 < low < 0.45 and 0.55 < high < 0.75
    assert found["no_ans_em"] == (1, 1) and list(found) == list(scores)
    same = compare(np.zeros(60), values, titles)
    assert (same.unit, same.num_units, (same.low, same.high)) == ("question", 40, found["em"])


def test_what_does_not_count_changes_nothing():
    right, titles = draw_articles(np.random.default_rng(1), 20)
    with_gaps = np.concatenate([right, np.full(30, np.nan)])
    longer = [*titles, *titles[:30]]
    assert intervals({"em": with_gaps}, longer) == intervals({"em": right}, titles)
    assert intervals({"em": np.full(3, np.nan)}, ["a", "b", "c"]) == {}


def test_a_single_article_is_resampled_by_question():
    assert resampling_unit(["one"] * 5) == "question" and resampling_unit(["a", "b"]) == "article"
    low, high = intervals({"em": np.array([0.0, 1.0] * 50)}, ["one"] * 100)["em"]
    assert 0.35 < low < 0.45 and 0.55 < high < 0.65
    assert intervals({"em": np.ones(1)}, ["one"])["em"] == (1.0, 1.0)


# Articles a, b, c, d; summed differences 3, 1, -2 and 2: their sum is 4.
TITLES = ["a", "a", "b", "b", "c", "d"]
FIRST = np.array([0.0, 1.0, 5.0, 2.0, 7.0, 1.0])
SECOND = np.array([2.0, 2.0, 4.0, 4.0, 5.0, 3.0])


def test_the_paired_test_counts_the_sign_assignments_by_hand():
    # Of +-3 +-1 +-2 +-2, the sums of 4 or more are 8, 6, 4 and 4 (either 2 negative), and the same
    # below 0: the all-positive one, that without the 1, and two without a 2. 8 of 16.
    found = compare(FIRST, SECOND, TITLES)
    assert found.p_value == 8 / 16
    assert found.difference == pytest.approx(4 / 6)
    assert (found.num_questions, found.num_units, found.unit) == (6, 4, "article")
    assert found.low < found.difference < found.high
    swapped = compare(SECOND, FIRST, TITLES)
    assert swapped.p_value == found.p_value and swapped.difference == -found.difference


def test_exact_and_random_sign_flips_agree_with_enumeration():
    rng = np.random.default_rng(3)
    for num_articles in (9, 18):
        titles = [f"{number:02}" for number in range(num_articles)]
        differences = rng.normal(0.5, 1, num_articles)
        observed = abs(differences.sum())
        signs = np.array(list(itertools.product((-1, 1), repeat=num_articles)))
        expected = (np.abs(signs @ differences) >= observed - 1e-9).mean()
        found = compare(np.zeros(num_articles), differences, titles)
        assert found.p_value == pytest.approx(expected, abs=0.015 if num_articles > 16 else 1e-12)


def test_equal_systems_do_not_differ_and_clearly_better_ones_do():
    right, titles = draw_articles(np.random.default_rng(2), 40)
    same = compare(right, right, titles)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    better = compare(right, np.ones_like(right), titles)
    assert better.p_value == pytest.approx(1 / 10_001) and better.low > 0


def test_the_paired_test_rejects_a_true_hypothesis_as_rarely_as_it_says():
    rng = np.random.default_rng(11)
    rejected = 0
    for seed in range(300):
        sizes = rng.integers(5, 20, 20)
        titles = np.repeat(np.arange(20), sizes).astype(str).tolist()
        shift = np.repeat(rng.normal(0, 1, 20), sizes)  # articles favour one system or the other
        second = shift + rng.normal(0, 1, len(shift))
        found = compare(
            np.zeros(len(shift)), second, titles, num_sign_flips=400, num_resamples=10, seed=seed
        )
        rejected += found.p_value <= 0.05
    # Of 300 at 0.05: three standard errors are 0.038.
    assert 0.01 < rejected / 300 < 0.09


def table_of(ids: list[str], em: list[float], semantic: list[float | None]) -> pa.Table:
    columns = {"em": em, "f1": em, "semantic": pa.array(semantic, pa.float64())}
    return pa.table({"id": ids, "title": [key[0] for key in ids], **columns})


def test_runs_are_compared_on_the_questions_that_both_have_whatever_their_order():
    first = table_of(["a1", "b1", "c1"], [0.0, 100.0, 50.0], [None, None, None])
    second = table_of(["c1", "x1", "b1"], [100.0, 0.0, 100.0], [1.0, 2.0, 3.0])
    found = compare_tables(first, second)
    assert found.keys() == {"em", "f1"}
    assert found["em"].difference == 25 and found["em"].num_questions == 2
    with pytest.raises(DataError, match="no question in common"):
        compare_tables(first, table_of(["x1"], [0.0], [None]))
