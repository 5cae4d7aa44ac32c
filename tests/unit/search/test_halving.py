"""The front, and which trials go on."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from qa_lib.search import pareto
from qa_lib.search.halving import Halving, Job, Outcome
from tests.support.trials import BATCH, settings, sizes, trial

POINTS = st.lists(
    st.tuples(st.integers(0, 9).map(float), st.integers(0, 9).map(float)), min_size=1, max_size=25
)


@given(POINTS)
def test_the_front_is_what_no_point_beats(points):
    def beats(one, other):
        return one != other and one[0] >= other[0] and one[1] <= other[1]

    expected = {p for p in points if not any(beats(other, p) for other in points)}
    found = [points[index] for index in pareto.non_dominated(points)]
    assert set(found) == expected and len(found) == len(expected)
    assert found == sorted(found, key=lambda point: point[1])


@given(POINTS)
def test_the_ranking_names_every_point_once_and_the_front_first(points):
    ranked = pareto.ranking(points)
    assert sorted(ranked) == list(range(len(points)))
    best = pareto.non_dominated(points)
    assert set(ranked[: len(best)]) == set(best)


# -- halving


def test_budgets_grow_by_the_reduction_factor_up_to_the_whole():
    assert Halving(settings(num_rungs=3, reduction_factor=2), BATCH).budgets == [0, 10, 20, 40]
    assert Halving(settings(num_rungs=3, halving=False), BATCH).budgets == [0, 40]


def test_the_best_of_a_rung_go_on_once_and_the_parent_never():
    rule = Halving(settings(reduction_factor=2), BATCH)
    trials = [trial(0, 99.0), trial(1, 5.0), trial(2, 9.0), trial(3, 7.0), trial(4, 1.0)]
    assert rule.promotion(trials, running=()) == Job(2, 1)
    assert rule.promotion(trials, running={2}) == Job(3, 1)
    assert rule.promotion(trials, running={2, 3}) is None
    trials[2].outcomes.append(Outcome(20.0, 100, 1.0))
    assert rule.promotion(trials, running={3}) is None
    trials[3].outcomes.append(Outcome(30.0, 100, 1.0))
    assert rule.promotion(trials, running=()) == Job(3, 2)


def test_after_surgery_models_of_one_depth_are_compared_and_once_trained_all_are():
    rule = Halving(settings(reduction_factor=2), BATCH)
    trials = [trial(0, 99.0), trial(1, 50.0, layers=3), trial(2, 49.0, layers=3)]
    trials += [trial(3, 5.0), trial(4, 4.0)]  # they lost a layer
    assert rule.promotion(trials, running=()) == Job(1, 1)
    assert rule.promotion(trials, running={1}) == Job(3, 1)
    assert rule.promotion(trials, running={1, 3}) is None
    for number, f1 in ((1, 60.0), (3, 62.0)):
        trials[number].outcomes.append(Outcome(f1, 100, 1.0))
    assert rule.promotion(trials, running=()) == Job(3, 2)


def test_after_surgery_every_cut_goes_on_once_before_any_goes_on_twice():
    rule = Halving(settings(reduction_factor=2), BATCH)
    again = [trial(number, 50.0, layers=3) for number in (1, 2, 3)]  # one cut, three learning rates
    narrow = trial(4, 20.0, layers=3)
    narrow.setting = replace(narrow.setting, sizes=sizes(3, 24, 8))
    trials = [trial(0, 99.0), *again, narrow, trial(5, 4.0), trial(6, 4.0)]
    earned, running = [], set()
    while (job := rule.promotion(trials, running)) is not None:
        earned.append(job.number)
        running.add(job.number)
    assert earned == [1, 5, 4]


def test_one_that_crashed_takes_no_place():
    rule = Halving(settings(reduction_factor=2), BATCH)
    trials = [trial(0, 99.0), trial(1, 5.0), trial(2, 9.0, error="killed")]
    assert rule.promotion(trials, running=()) is None


def test_without_halving_every_trial_trains_its_whole_budget():
    rule = Halving(settings(halving=False), BATCH)
    trials = [trial(0, 99.0), trial(1, 5.0)]
    assert rule.promotion(trials, running=()) == Job(1, 1)


def test_for_the_front_the_fast_go_on_beside_the_accurate():
    rule = Halving(settings(objective="pareto", reduction_factor=2), BATCH)
    trials = [
        trial(0, 99.0),
        trial(1, 50.0, latency_ms=10.0),
        trial(2, 49.0, latency_ms=10.5),
        trial(3, 48.0, latency_ms=11.0),
        trial(4, 9.0, latency_ms=2.0),
    ]
    first = rule.promotion(trials, running=())
    second = rule.promotion(trials, running={first.number})
    assert {first.number, second.number} == {1, 4}
