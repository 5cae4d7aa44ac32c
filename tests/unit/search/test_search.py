"""The search without Ray: what is worth a trial, which trials go on, what the journal holds."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.search import Searcher

from qa_lib.adjust import Sizes
from qa_lib.config import SearchSettings, SpaceSettings
from qa_lib.errors import AdjustError, CheckpointError
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search import pareto, results
from qa_lib.search.display import Display
from qa_lib.search.halving import Halving, Job, Outcome, Trial
from qa_lib.search.journal import JOURNAL, Journal
from qa_lib.search.latency_table import Entry, confirm, rule_out
from qa_lib.search.sampler import _comparable, sample
from qa_lib.search.searcher import RungSearcher
from qa_lib.search.space import Setting, Space, space_of
from tests.support.adjust_models import CONFIGS

PARENT = Sizes((0, 1, 2), 32, 4, 24)
BATCH = 8


def sizes(layers: int = 3, hidden: int = 32, inner: int = 24) -> Sizes:
    return Sizes(tuple(range(layers)), hidden, hidden // 8, inner)


def entry(each: Sizes, latency_ms: float) -> Entry:
    return Entry(each, latency_ms, round(12.0 / latency_ms, 3), num_parameters=1000)


def trial(
    number: int,
    *f1: float,
    latency_ms: float = 10.0,
    error: str | None = None,
    layers: int = 2,
) -> Trial:
    setting = Setting(sizes(layers), "taylor", 1e-4 * number, 0.5)
    outcomes = [Outcome(value, 100 * rung, 1.0) for rung, value in enumerate(f1)]
    return Trial(number, setting, latency_ms, 12.0 / latency_ms, 1000, outcomes, error)


def settings(**values) -> SearchSettings:
    return SearchSettings(**{"trial_windows": 320, "objective": "f1"} | values)


# -- the space and the table


def test_sizes_that_are_not_given_are_derived_from_the_parent():
    space = space_of(CONFIGS["bert"](), SpaceSettings())
    assert PARENT not in space.sizes
    assert {len(each.layers) for each in space.sizes} == {2, 3}
    assert {(each.hidden_size, each.num_heads) for each in space.sizes} == {(24, 3), (32, 4)}
    assert {each.intermediate_size for each in space.sizes} == {8, 16, 24}


def test_layers_are_the_first_or_spread_from_first_to_last():
    space = space_of(CONFIGS["bert"](), SpaceSettings(num_layers=[2], layers=["first", "spread"]))
    assert {each.layers for each in space.sizes} == {(0, 1), (0, 2)}


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"num_layers": [2, 4]}, "--search.space.num-layers"),
        ({"hidden_size": [30]}, "--search.space.hidden-size 32"),
        ({"intermediate_size": [48]}, "--search.space.intermediate-size 24"),
        (
            {"num_layers": [3], "hidden_size": [32], "intermediate_size": [24]},
            "nothing to search",
        ),
    ],
)
def test_what_the_parent_cannot_become_is_refused_by_the_searchs_own_flag(values, says):
    with pytest.raises(AdjustError) as caught:
        space_of(CONFIGS["bert"](), SpaceSettings(**values))
    assert says in str(caught.value)
    assert "--adjust." not in str(caught.value)


def test_ragged_sizes_stand_beside_the_stock_ones():
    space = space_of(CONFIGS["bert"](), SpaceSettings(num_layers=[3], ragged=[False, True]))
    kinds = {(each.intermediate_size, each.blocks is not None) for each in space.sizes}
    # At the parent's own width there is nothing to share out.
    assert kinds == {(8, False), (16, False), (24, False), (8, True), (16, True)}
    settings = [Setting(each, "taylor", 1e-4, 0.5) for each in space.sizes]
    for each in settings:
        assert Setting.from_dict(json.loads(json.dumps(each.to_dict()))) == each
    admitted = [each for each in space.sizes if each.blocks is not None]
    for seed in range(3):
        drawn = sample(space, admitted, [], objective="f1", searcher="optuna", seed=seed)
        assert drawn.row()["ragged"] and drawn.sizes in admitted
    table = [entry(PARENT, 12.0), *(entry(each, 6.0) for each in space.sizes)]
    kept = [each.sizes for each in rule_out(table, SearchSettings())[1:] if not each.skipped]
    assert {each.blocks is not None for each in kept} == {False, True}, "one rules the other out"


def test_at_a_speed_up_only_the_largest_sizes_that_reach_it_are_tried():
    table = [
        entry(PARENT, 12.0),
        entry(sizes(3, 32, 8), 8.0),  # 1.5x
        entry(sizes(2, 32, 16), 5.0),  # 2.4x
        entry(sizes(2, 32, 8), 4.0),  # smaller in every dimension than the one above
        entry(sizes(3, 24, 8), 6.0),  # 2x; wider or deeper than the others, so it stays
    ]
    marked = rule_out(table, settings(min_speedup=2.0))
    assert [each.skipped for each in marked] == ["", "too slow", "", "dominated", ""]


def test_for_the_front_only_what_is_smaller_and_no_faster_is_left_out():
    table = [
        entry(PARENT, 12.0),
        entry(sizes(3, 24, 24), 12.5),  # smaller than the parent, and slower
        entry(sizes(2, 32, 24), 8.0),
        entry(sizes(2, 32, 8), 7.0),
    ]
    marked = rule_out(table, settings(objective="pareto"))
    assert [each.skipped for each in marked] == ["", "dominated", "", ""]


def test_the_parent_itself_rules_nothing_out_at_a_speed_up_of_one():
    marked = rule_out([entry(PARENT, 12.0), entry(sizes(2), 8.0)], settings(min_speedup=1.0))
    assert [each.skipped for each in marked] == ["", ""]


def test_a_speed_up_that_nothing_reaches_is_refused_with_what_is_reached():
    table = [entry(PARENT, 12.0), entry(sizes(2), 8.0)]
    with pytest.raises(AdjustError, match="1.50x"):
        rule_out(table, settings(min_speedup=4.0))


def test_a_speed_up_that_is_close_to_call_is_that_of_whole_models():
    table = [
        entry(PARENT, 12.0),
        entry(sizes(3), 8.0),  # 1.5x: far from 2
        entry(sizes(2, 32, 24), 6.2),  # 1.94x, and whole 2.1x
        entry(sizes(2, 24, 24), 5.7),  # 2.11x, and whole 1.9x
        entry(sizes(2, 24, 8), 4.0),  # 3x: far from 2
    ]
    measured = []

    def measure_whole(whole: list[Sizes]) -> list[float]:
        measured.extend(whole)
        return [20.0, 20.0 / 2.1, 20.0 / 1.9]

    found = confirm(table, settings(min_speedup=2.0), measure_whole)
    assert measured == [table[0].sizes, table[2].sizes, table[3].sizes]
    assert [each.speedup for each in found] == pytest.approx([1.0, 1.5, 2.1, 1.9, 3.0])
    assert found[2].latency_ms == pytest.approx(12.0 / 2.1, abs=1e-4)
    marked = rule_out(found, settings(min_speedup=2.0))
    assert [each.skipped for each in marked] == ["", "too slow", "", "too slow", "dominated"]
    assert confirm(table, settings(objective="pareto", min_speedup=2.0), measure_whole) == table


# -- the front


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


# -- the sampler


SPACE = Space(
    (sizes(2), sizes(3, 24), sizes(2, 24, 8)), ("taylor", "magnitude"), (1e-4, 1e-3), (0, 1)
)


@pytest.mark.parametrize("searcher", ["optuna", "random"])
@pytest.mark.parametrize("objective", ["pareto", "f1"])
def test_proposals_are_admitted_and_the_same_for_the_same_trials(searcher, objective):
    trials = [trial(0, 99.0)]
    admitted = {sizes(2), sizes(3, 24)}

    def draw() -> Setting:
        return sample(SPACE, admitted, trials, objective=objective, searcher=searcher, seed=1)

    for number in range(1, 12):
        setting = draw()
        assert setting == draw()
        assert setting.sizes in admitted
        assert 1e-4 <= setting.learning_rate <= 1e-3
        outcomes = [Outcome(float(number), 0, 1.0)]
        trials.append(Trial(number, setting, 10.0 - number / 10, 1.2, 1000, outcomes))
    assert len({t.setting for t in trials}) == len(trials)


def test_tpe_learns_where_the_f1_is_high():
    def mean_rate(searcher: str) -> float:
        trials = [trial(0, 99.0)]
        for number in range(1, 24):
            setting = sample(
                SPACE, set(SPACE.sizes), trials, objective="f1", searcher=searcher, seed=0
            )
            f1 = 50 + 10 * np.log(setting.learning_rate)
            trials.append(Trial(number, setting, 10.0, 1.2, 1000, [Outcome(f1, 0, 1.0)]))
        return float(np.mean([each.setting.learning_rate for each in trials[12:]]))

    assert mean_rate("optuna") > 1.5 * mean_rate("random")


def test_a_cut_that_was_left_behind_is_not_made_again():
    def draw(*trials: Trial) -> Setting:
        return sample(
            SPACE, {sizes(2), sizes(3, 24)}, trials, objective="f1", searcher="optuna", seed=0
        )

    stopped = [
        Trial(n, Setting(each, way, 1e-3, 0.5), 10.0, 1.2, 1000, [Outcome(9.0, 0, 1.0)])
        for n, (each, way) in enumerate(
            [(sizes(2), "taylor"), (sizes(2), "magnitude"), (sizes(3, 24), "taylor")], start=1
        )
    ]
    left = (sizes(3, 24), "magnitude")
    found = draw(trial(0, 99.0), *stopped)
    assert (found.sizes, found.importance) == left
    stopped[0].outcomes.append(Outcome(20.0, 100, 1.0))
    last = Trial(4, Setting(*left, 1e-3, 0.5), 10.0, 1.2, 1000, [Outcome(8.0, 0, 1.0)])
    found = draw(trial(0, 99.0), *stopped, last)
    assert (found.sizes, found.importance) == (sizes(2), "taylor")


def test_only_figures_of_one_budget_are_compared():
    low = [trial(number, 1.0 * number) for number in range(1, 9)]
    high = [trial(number, 1.0, 50.0 + number) for number in range(9, 15)]
    assert [f1 for _, f1 in _comparable([trial(0, 99.0), *low, *high])] == [
        f1 for f1 in range(59, 65)
    ]
    assert len(_comparable([*low, *high[:5]])) == 13


# -- the journal and the searcher


def journal_of(folder: Path) -> Journal:
    folder.mkdir(exist_ok=True)
    return Journal(RunFolder(str(folder), "tune"))


def begun(folder: Path, num_trials: int = 0) -> Journal:
    journal = journal_of(folder)
    journal.begin({"--seed": 0})
    journal.measured([entry(PARENT, 12.0), entry(sizes(2), 8.0)])
    journal.proposed(Setting(PARENT, "taylor", 1e-4, 0.5))
    for number in range(1, num_trials + 1):
        journal.proposed(Setting(sizes(2), "taylor", 1e-4 * number, 0.5))
    return journal


def test_the_journal_gives_back_all_but_a_line_that_was_cut_short(tmp_path: Path):
    journal = begun(tmp_path / "run", num_trials=2)
    journal.finished(1, 0, Outcome(40.0, 0, 1.5))
    journal.finished(1, 0, Outcome(41.0, 0, 1.5))  # told of twice
    journal.crashed(2, "it is\nover")
    with open(tmp_path / "run" / JOURNAL, "a") as file:
        file.write('{"event": "finished", "number": 1, "ru')
    again = journal_of(tmp_path / "run")
    assert again.trials == journal.trials
    assert again.entries == journal.entries
    assert [t.error for t in again.trials] == [None, None, "it is\nover"]
    again.finished(1, 1, Outcome(50.0, 64, 2.0))
    assert journal_of(tmp_path / "run").trials[1].outcomes[1].f1 == 50.0


def test_a_search_is_not_resumed_as_another_one(tmp_path: Path):
    begun(tmp_path / "run")
    again = journal_of(tmp_path / "run")
    again.begin({"--seed": 0})
    with pytest.raises(CheckpointError, match="--seed 0, not --seed 1"):
        again.begin({"--seed": 1})


def searcher_of(journal: Journal, rule: Halving, **values) -> RungSearcher:
    def setting() -> Setting:
        return Setting(sizes(2), "taylor", 1e-4 * len(journal.trials), 0.5)

    return RungSearcher(journal, rule, setting, settings(**{"num_trials": 8} | values), BATCH)


def drain(searcher: RungSearcher, journal: Journal, rule: Halving) -> list[tuple[int, int]]:
    """Run every rung that is suggested, one at a time."""
    ran = []
    while (config := searcher.suggest("one")) != Searcher.FINISHED:
        number, rung = config["number"], config["rung"]
        windows = rule.budgets[rung] * BATCH
        journal.finished(number, rung, Outcome(10.0 * rung + number, windows, 1.0))
        searcher.on_trial_complete("one")
        ran.append((number, rung))
    return ran


def test_a_whole_search_runs_each_rung_once_and_a_resumed_one_what_is_left(tmp_path: Path):
    rule = Halving(settings(), BATCH)
    journal = begun(tmp_path / "whole")
    whole = drain(searcher_of(journal, rule), journal, rule)
    assert len(set(whole)) == len(whole)
    assert sum(rung == 0 for _, rung in whole) == 9
    assert sum(rung == 2 for _, rung in whole) >= 2

    stopped = begun(tmp_path / "stopped")
    searcher = searcher_of(stopped, rule)
    for _ in range(5):
        config = searcher.suggest("one")
        windows = rule.budgets[config["rung"]] * BATCH
        value = 10.0 * config["rung"] + config["number"]
        stopped.finished(config["number"], config["rung"], Outcome(value, windows, 1.0))
        searcher.on_trial_complete("one")
    killed = searcher.suggest("one")  # and the driver dies before its result arrives
    again = journal_of(tmp_path / "stopped")
    rest = drain(searcher_of(again, rule), again, rule)
    assert rest[0] == (killed["number"], killed["rung"])
    assert rest == whole[5:]
    assert again.trials == journal.trials


def test_nothing_begins_beyond_the_window_budget_or_the_deadline(tmp_path: Path):
    rule = Halving(settings(halving=False), BATCH)
    journal = begun(tmp_path / "windows")
    drain(searcher_of(journal, rule, window_budget=3 * 320 + 319), journal, rule)
    assert sum(each.outcomes[-1].num_windows for each in journal.trials) == 3 * 320
    journal = begun(tmp_path / "late")
    assert drain(searcher_of(journal, rule, time_budget_s=1e-9), journal, rule) == []


def test_while_a_rung_runs_there_is_waiting_not_an_end(tmp_path: Path):
    rule = Halving(settings(), BATCH)
    journal = begun(tmp_path / "run")
    searcher = searcher_of(journal, rule, num_trials=1)
    assert searcher.suggest("parent")["number"] == 0
    assert searcher.suggest("first")["number"] == 1
    assert searcher.suggest("none") is None


# -- results


def test_rank_correlations_are_those_of_the_ranks():
    one = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert results.spearman(one, one**3) == 1.0
    assert results.spearman(one, -one) == -1.0
    # Kendall and Gibbons' example of tied ranks, by hand: ranks 0.5 0.5 2 3 4 against 0 1 2 3 4.
    assert results.spearman(np.array([1.0, 1.0, 3.0, 4.0, 5.0]), one) == pytest.approx(0.9747, 1e-4)
    assert results.spearman(one[:2], one[:2]) is None
    assert results.spearman(one, np.ones(5)) is None


def test_the_choice_is_the_best_f1_at_the_speed_up_else_the_fastest():
    trials = [
        trial(0, 99.0),
        trial(1, 9.0, 60.0, latency_ms=8.0),
        trial(2, 9.0, 50.0, latency_ms=4.0),
        trial(3, 9.0, 55.0, latency_ms=5.0),
        trial(4, 9.0, 52.0, latency_ms=6.0),  # slower and worse than the third
        trial(5, 80.0, latency_ms=2.0),  # better, but after surgery only
    ]
    found = results.front_of(trials)
    assert [each.number for each in found] == [2, 3, 1]
    speedups = {1: 1.5, 2: 3.0, 3: 2.0}
    assert results.choose(found, speedups, 2.0) == (trials[3], True)
    assert results.choose(found, speedups, 1.0) == (trials[1], True)
    assert results.choose(found, speedups, 2.5) == (trials[2], True)
    assert results.choose(found, speedups, 5.0) == (trials[2], False)
    assert results.front_of([trial(0, 99.0), trial(1, error="out of memory")]) == []


def test_rows_and_facts_count_what_was_trained_and_what_was_saved(tmp_path: Path):
    rule = Halving(settings(trial_windows=320, num_rungs=2), BATCH)
    journal = begun(tmp_path / "run")
    drain(searcher_of(journal, rule), journal, rule)
    journal.trials[1].error = "killed"
    rows = results.rows(journal.trials, rule)
    assert [row["status"] for row in rows][:2] == ["parent", "crashed"]
    assert {row["status"] for row in rows[2:]} == {"stopped", "finished"}
    assert all(row[f"f1_rung_{row['rung']}"] == row["f1"] for row in rows)
    found = results.facts(journal.trials, rule, {}, dict.fromkeys(range(9), 1.5))
    assert found["search_windows_full_budgets"] == 8 * 320
    assert found["search_windows"] == sum(row["num_windows"] for row in rows)
    assert 0 < found["search_windows_saved"] < 1
    results.write_tables(RunFolder(str(tmp_path / "run"), "tune"), rows)
    lines = (tmp_path / "run" / results.TRIALS_CSV).read_text().splitlines()
    assert len(lines) == 1 + len(rows)


# -- what is shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream_class", [io.StringIO, Terminal])
def test_a_search_shows_its_trials_and_the_time_left(stream_class, tmp_path: Path):
    stream = stream_class()
    trials = [trial(0, 50.0), trial(1, 3.0, 10.0, 20.0), trial(2, 1.0), trial(3, error="killed")]
    rule = Halving(settings(), BATCH)
    run = RunFolder(str(tmp_path), "tune")
    with Display(run, trials, rule, num_trials=8, num_concurrent=2, stream=stream) as display:
        # Rung 0 of 6 more, rung 1 of 3 more, rung 2 of 1 more, a second each, two at a time.
        assert display.seconds_left() == 5.0
        display.started(trials[1])
        display.ended(trials[1])
        display.started(trials[2])
        display.ended(trials[3])
    shown = stream.getvalue()
    assert "20.00" in shown and "1.20x" in shown and "crashed" in shown and "0:05 left" in shown
    assert ("running" in shown) == stream.isatty()
    assert list((tmp_path / "tensorboard" / "trial-001").glob("events.*"))
