"""Sizes enumerated for speeds, ranked, and tried: which come first, which go on."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from transformers import BertConfig

from qa_lib.adjust import Sizes
from qa_lib.adjust.cost import num_parameters
from qa_lib.config import SearchSettings, Settings, SpaceSettings, TrainSettings, parse
from qa_lib.errors import AdjustError, ConfigError
from qa_lib.search import one_shot, rates, results
from qa_lib.search.brackets import Brackets, by_speed
from qa_lib.search.front import Pick, told_of
from qa_lib.search.halving import Outcome, Trial
from qa_lib.search.latency_model import LatencyModel, Point
from qa_lib.search.one_shot import OUTRANKED
from qa_lib.search.search import summary
from qa_lib.search.space import Setting, Space, choices_of
from qa_lib.search.speed import Speedup
from tests.support.one_shot import CONFIG, Prices

PARENT = Sizes.of(CONFIG)


def latency() -> LatencyModel:
    """A whole layer takes 10 ms, without units 4, with three quarters of the stream 7; the rest 2.

    The parent takes 42.
    """
    points = [Point(32, 4, 4, width, 4 + 6 * width / 64) for width in (8, 64)]
    points += [Point(24, 3, 3, width, 3 + 4 * width / 64) for width in (8, 64)]
    return LatencyModel(PARENT, tuple(points), (((32, 4), 2.0), ((24, 3), 1.5)))


def price(sizes: Sizes) -> float:
    """Layers are worth more the later they are, units a little, the stream a lot."""
    lost = sum(1 + layer for layer in range(4) if layer not in sizes.layers)
    return lost + (64 - sizes.intermediate_size) / 64 + (32 - sizes.hidden_size)


def settings(**values) -> SearchSettings:
    space = SpaceSettings(hidden_size=(24, 32))
    return SearchSettings(**{"speeds": (1.5, 2.0), "num_trials": 8, "space": space} | values)


def ranked(score: Prices, **values):
    wish = settings(**values)
    choices = choices_of(CONFIG, wish.space)

    def agree(sizes):
        return [-score.of(each) for each in sizes]

    return one_shot.rank(CONFIG, choices, latency(), wish, score, agree), score


def test_the_latency_model_is_fitted_to_every_stream_before_a_second_of_one():
    wish = settings()
    found = one_shot.anchors(choices_of(CONFIG, wish.space), latency(), (1.5, 2.0), 3)
    assert len(set(found)) == 3
    assert {sizes.hidden_size for sizes in found[:2]} == {24, 32}
    assert all(latency().speedup(sizes) >= 1.5 for sizes in found)
    assert one_shot.anchors(choices_of(CONFIG, wish.space), latency(), (1.5, 2.0), 1) == found[:1]


def test_answers_decide_among_the_least_divergent():
    choices, score = choices_of(CONFIG, settings().space), Prices(price)

    def agree(sizes):
        return [float(len(each.layers) == 2) for each in sizes]

    _, *rest = one_shot.rank(CONFIG, choices, latency(), settings(), score, agree)
    of_speed = [entry for entry in rest if entry.asked == 2.0]
    by_divergence = sorted(entry.divergence for entry in of_speed)
    assert len(of_speed[0].sizes.layers) == 2
    assert {entry.divergence for entry in of_speed[:9]} == set(by_divergence[:9])


def test_every_set_of_layers_gets_the_widest_units_that_are_fast_enough():
    entries, score = ranked(Prices(price))
    parent, *rest = entries
    assert parent.sizes == PARENT and parent.speedup == 1.0
    for entry in rest:
        assert entry.asked <= entry.speedup
        wider = replace(entry.sizes, intermediate_size=entry.sizes.intermediate_size + 8)
        if wider.intermediate_size <= 64:
            assert latency().speedup(wider) < entry.asked
    of_three = {e.sizes.layers for e in rest if e.asked == 1.5 and len(e.sizes.layers) == 3}
    assert of_three == {(0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3)}
    assert len(score.scored) == len(set(score.scored)) == len(rest)


def test_the_best_of_each_speed_are_tried_and_not_all_of_one_shape():
    entries, _ = ranked(Prices(price))
    for speed in (1.5, 2.0):
        of_speed = [entry for entry in entries if entry.asked == speed]
        assert [e.divergence for e in of_speed] == sorted(e.divergence for e in of_speed)
        tried = [entry for entry in of_speed if not entry.skipped]
        assert len(tried) == one_shot.num_sizes(settings()) == 3
        assert tried[0] is of_speed[0]
        shapes = Counter((len(e.sizes.layers), e.sizes.hidden_size) for e in tried)
        assert max(shapes.values()) == 2
        assert {entry.skipped for entry in of_speed} == {"", OUTRANKED}


def test_too_many_candidates_are_ranked_by_their_layers_first():
    entries, score = ranked(Prices(price), num_candidates=24)
    assert len(score.scored) <= 24 + 6
    best = next(entry for entry in entries[1:] if entry.asked == 1.5)
    assert best.divergence == min(
        e.divergence for e in ranked(Prices(price))[0][1:] if e.asked == 1.5
    )
    entries, score = ranked(Prices(price), num_candidates=8)  # not even all sets of layers
    assert entries[1].divergence is not None
    assert len(score.scored) < 24


def test_of_a_large_model_about_as_many_sizes_are_cut_as_are_allowed():
    large = BertConfig(**CONFIG.to_dict() | {"num_hidden_layers": 24})
    parent, wish, cut = Sizes.of(large), settings(num_candidates=600), set()

    def score(sizes):
        cut.update(sizes)
        return [float(24 - len(each.layers)) for each in sizes]

    model = replace(latency(), parent=parent)
    one_shot.rank(large, choices_of(large, wish.space), model, wish, score, score)
    assert len(cut) <= 600


def test_a_speed_that_no_sizes_have_is_told_or_refused(capsys: pytest.CaptureFixture[str]):
    entries, _ = ranked(Prices(price), speeds=(1.5, 90.0))
    one_shot.say_unreached(entries, (1.5, 90.0))
    assert "90x" in capsys.readouterr().err
    with pytest.raises(AdjustError, match="90x is asked for"):
        ranked(Prices(price), speeds=(90.0,))


def test_named_widths_layers_and_heads_bound_the_enumeration():
    space = SpaceSettings(
        intermediate_size=(16, 48), layers=("first",), hidden_size=(24,), num_heads=(3, 4)
    )
    choices = choices_of(CONFIG, space)
    assert choices.widths == (16, 48)
    assert {(each.hidden_size, each.num_heads) for each in choices.streams} == {(24, 3), (24, 4)}
    assert list(choices.sets.of_depth(2)) == [(0, 1)]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ("--search.space.importance taylor magnitude", "one way of scoring"),
        ("--search.speeds 2 3 --search.num-trials 1", "each needs a trial"),
        ("--search.speeds 2 --search.searcher random", "draws sizes of any speed"),
    ],
)
def test_settings_that_a_search_could_not_heed_are_refused(flags: str, says: str):
    with pytest.raises(ConfigError, match=says):
        parse("tune", flags.split())


# -- trials of enumerated sizes


def sizes(number: int) -> Sizes:
    return replace(PARENT, layers=(0, 1), intermediate_size=8 * (1 + number))


def trials(*asked: float) -> list[Trial]:
    parent = Trial(0, Setting(PARENT, "taylor", 1e-3, 0.5), 42.0, 1.0, 1000)
    return [parent] + [
        Trial(
            number,
            Setting(sizes(number), "taylor", 1e-3, 0.5),
            42.0 / speed,
            speed,
            1000,
            asked=speed,
        )
        for number, speed in enumerate(asked, 1)
    ]


def drain(rule: Brackets, of: list[Trial], f1) -> list[tuple[int, int]]:
    ran = []
    while (job := rule.promotion(of, running=[])) is not None:
        trial = of[job.number]
        assert job.rung == trial.rung + 1
        trial.outcomes.append(Outcome(f1(trial, job.rung), 10 * job.rung, 1.0))
        ran.append((job.number, job.rung))
    return ran


def test_half_of_each_speed_goes_on_once_all_have_finished_a_rung():
    rule = Brackets(settings(num_rungs=2), 8)
    every = trials(1.5, 1.5, 1.5, 2.0, 2.0, 2.0)
    ran = drain(rule, every, lambda trial, rung: 10 * rung + trial.number)
    told = rule.num_trials_per_rung(8)  # three sizes and other rates for each speed
    assert told == [2 + sum(r == rung for _, r in ran) for rung in (0, 1, 2)]
    assert ran == [
        *((1, 0), (2, 0), (3, 0), (3, 1), (2, 1), (3, 2)),
        *((4, 0), (5, 0), (6, 0), (6, 1), (5, 1), (6, 2)),
    ]
    assert {speed: rule.best(group).number for speed, group in by_speed(every).items()} == {
        1.5: 3,
        2.0: 6,
    }


def test_a_rung_that_runs_is_waited_for_and_a_crash_leaves_its_place_to_the_next():
    rule = Brackets(settings(num_rungs=1), 8)
    every = trials(1.5, 1.5, 1.5)
    for trial in every[1:]:
        trial.outcomes.append(Outcome(trial.number, 0, 1.0))
    assert rule.promotion(every, running=[3, 2]) is None
    every[3].error = "killed"
    assert rule.promotion(every, running=[]).number == 2
    assert rule.best(every[1:]) is None


def test_rates_are_varied_for_the_best_sizes_and_compete_from_rung_1_on():
    rule = Brackets(settings(num_rungs=2), 8)
    space = Space((), ("taylor",), (1e-4, 1e-2), (0.5, 1.0))
    every = trials(1.5, 1.5)
    assert rates.vary(space, rule, every, 3, seed=0) is None  # nothing is settled
    drain(rule, every, lambda trial, rung: 10 * rung + trial.number)
    setting = rates.vary(space, rule, every, 3, seed=0)
    assert setting is not None and setting.sizes == sizes(2)
    assert 1e-4 <= setting.learning_rate <= 1e-2 and 0.5 <= setting.distill_weight <= 1.0
    assert rates.vary(space, rule, every, 2, seed=0) is None
    other = replace(every[2], number=3, setting=setting, outcomes=[Outcome(2.0, 0, 1.0)])
    every.append(other)
    drain(rule, every, lambda trial, rung: 10 * rung + 9)
    assert other.rung == 2 and rule.best(every[1:]) is other


@pytest.mark.parametrize("num_trials", [6, 7, 8, 9])
def test_trials_that_the_speeds_do_not_divide_are_shared_out_as_well(num_trials: int):
    rule = Brackets(settings(num_rungs=1, num_trials=num_trials, speeds=(1.5, 2.0, 3.0)), 8)
    space = Space((), ("taylor",), (1e-4, 1e-2), (0.5, 1.0))
    every = trials(1.5, 1.5, 2.0, 2.0, 3.0, 3.0)
    drain(rule, every, lambda trial, rung: trial.number)
    while (setting := rates.vary(space, rule, every, num_trials, seed=0)) is not None:
        of_sizes = next(trial for trial in every if trial.setting.sizes == setting.sizes)
        every.append(replace(of_sizes, number=len(every), setting=setting, outcomes=[]))
        drain(rule, every, lambda trial, rung: trial.number)
    shares = sorted(len(group) for group in by_speed(every).values())
    assert sum(shares) == num_trials and shares[-1] - shares[0] <= 1
    assert rule.num_trials_per_rung(num_trials)[0] == num_trials


def test_sizes_begin_speeds_in_turns():
    entries, _ = ranked(Prices(price))
    space = Space((), ("taylor",), (1e-4, 1e-2), (0.5, 1.0))
    found = rates.of_sizes(entries, space, 8)
    assert {each.distill_weight for each in found} == {0.75}
    asked = {entry.sizes: entry.asked for entry in entries}
    assert [asked[each.sizes] for each in found] == [1.5, 2.0] * 3


def test_a_cut_begins_with_a_learning_rate_by_the_root_of_its_divergence_within_the_range():
    entries, _ = ranked(Prices(price))
    admitted = [entry for entry in entries if entry.asked and not entry.skipped][:4]
    for entry, divergence in zip(admitted, (0.01, 0.25, 4.0, 100.0), strict=True):
        entries[entries.index(entry)] = replace(entry, divergence=divergence)
    space = Space((), ("taylor",), (3e-5, 8e-4), (0.5, 1.0))

    def found(global_batch: int) -> list[float]:
        settings = rates.of_sizes(entries, space, global_batch)
        rate = {each.sizes: each.learning_rate for each in settings}
        return [rate[entry.sizes] for entry in admitted]

    assert found(8) == pytest.approx([3e-5, 5e-5, 2e-4, 8e-4])
    assert found(32) == pytest.approx([3e-5, 1e-4, 4e-4, 8e-4])


@pytest.mark.parametrize(
    ("num_windows", "train", "expected"),
    [
        (480, {"epochs": 1}, 1e-4),
        (480, {"epochs": 4}, 2e-4),
        (100, {"epochs": 1}, 1e-4),  # shorter than a trial
        (48_000, {"epochs": 1}, 1e-4 * 10**0.5),
        (48_000, {"epochs": 1, "max_steps": 240, "global_batch": 8}, 2e-4),
        (480, {"epochs": 1, "teacher_only_source": "more", "teacher_only_limit": 1440}, 2e-4),
        (480, {"epochs": 1, "teacher_only_source": "more"}, 1e-4 * 10**0.5),
    ],
)
def test_a_recovery_that_is_longer_than_a_trial_has_a_larger_learning_rate(
    num_windows: int, train: dict[str, Any], expected: float
):
    every = Settings(search=settings(trial_windows=480), train=TrainSettings(**train))
    trial = of_rate(1e-4, 0, 240, 480)
    assert rates.of_recovery(trial, every, num_windows) == pytest.approx(expected)
    assert rates.of_recovery(of_rate(6e-4, 0, 480), every, num_windows) <= 8e-4


def of_rate(rate: float, *num_windows: int) -> Trial:
    outcomes = [Outcome(70.0, windows, 1.0) for windows in num_windows]
    return Trial(1, Setting(sizes(2), "taylor", rate, 0.75), 21.0, 2.0, 1000, outcomes)


def test_a_trial_that_a_budget_ended_early_is_compared_by_the_windows_that_it_had():
    every = Settings(search=settings(trial_windows=480), train=TrainSettings(epochs=1))
    assert rates.of_recovery(of_rate(1e-4, 0, 120), every, 480) == pytest.approx(2e-4)
    assert rates.of_recovery(of_rate(1e-4, 0), every, 480) == pytest.approx(1e-4)


def test_a_speed_up_of_many_decimals_is_that_of_its_trials():
    assert SearchSettings(min_speedup=4 / 3).recovered_speeds == (1.3333,)


def test_the_front_tells_the_sizes_that_were_recovered():
    trial = trials(2.0)[1]
    fitted = replace(trial.setting.sizes, intermediate_size=24)
    trial.outcomes.append(Outcome(70.0, 64, 1.0))
    pick = Pick(2.0, trial.number, fitted, Speedup(2.01, 1.98, 2.05))
    rows = [results.front_row(trial, 1.9)]
    (row,) = told_of(rows, [pick], {trial.number: trial}, {2.0: {"f1_recovered": 68.0}}, CONFIG)
    assert (row["intermediate_size"], row["speedup"], row["f1"]) == (24, 2.01, 70.0)
    assert row["num_parameters"] == num_parameters(fitted.apply(CONFIG))
    assert row["f1_recovered"] == 68.0


def test_a_speed_that_was_missed_is_told_at_the_end():
    trial = trials(2.0)[1]
    trial.outcomes.append(Outcome(70.0, 64, 1.0))
    sizes = trial.setting.sizes
    picks = [
        Pick(2.0, trial.number, sizes, Speedup(1.97, 1.9, 2.0)),
        Pick(5.0, trial.number, sizes, Speedup(3.1, 3.0, 3.2)),
    ]
    front = told_of([], picks, {trial.number: trial}, {}, CONFIG)
    result = {
        **{"front": front, "f1_held_out_parent": 80.0, "chosen_trial": trial.number},
        **{"asked_speedup": 2.0, "chosen_reaches_min_speedup": True, "latencies": [{"tokens": 1}]},
        **{"num_parent_parameters": 2, "num_parameters": 1, "speedup": 2.0},
        **{"latency_device": "cpu", "latency_threads": 2, "search_windows_saved": None},
    }
    said = summary(result)
    assert said.count("none of them reaches") == 1
    assert "none of them reaches the 5x that was asked for: the fastest has 3.10x" in said
