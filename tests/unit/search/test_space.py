"""The space, the latency table that rules sizes out, and the settings that are drawn."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from transformers import BertConfig

from qa_lib.adjust import Sizes
from qa_lib.adjust.sizes import check_layers
from qa_lib.config import SearchSettings, SpaceSettings
from qa_lib.errors import AdjustError
from qa_lib.search.halving import Outcome, Trial
from qa_lib.search.latency_table import confirm, rule_out
from qa_lib.search.layer_sets import LayerSets
from qa_lib.search.sampler import _comparable, sample
from qa_lib.search.space import Setting, Space, choices_of, space_of
from tests.support.adjust_models import CONFIGS
from tests.support.trials import PARENT, entry, settings, sizes, trial


def test_sizes_that_are_not_given_are_derived_from_the_parent():
    space = space_of(CONFIGS["bert"](), SpaceSettings())
    assert PARENT not in space.sizes
    assert {len(each.layers) for each in space.sizes} == {2, 3}
    assert {(each.hidden_size, each.num_heads) for each in space.sizes} == {(24, 3), (32, 4)}
    assert {each.intermediate_size for each in space.sizes} == {8, 16, 24}


@pytest.mark.parametrize("of", [space_of, choices_of])
def test_a_derived_width_that_the_family_cannot_express_is_left_out(of):
    """ELECTRA projects embeddings unless they are as wide: half of the width is theirs."""
    config = CONFIGS["electra"]()
    assert config.embedding_size == config.hidden_size // 2
    found = of(config, SpaceSettings())
    sizes = found.sizes if of is space_of else found.streams
    assert {each.hidden_size for each in sizes} == {24, 32}
    with pytest.raises(AdjustError, match="hidden size 16"):
        of(config, SpaceSettings(hidden_size=[16, 32]))


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


@pytest.mark.parametrize("of", [space_of, choices_of])
def test_heads_that_fit_no_hidden_size_are_refused_with_those_that_do(of):
    with pytest.raises(AdjustError, match="num-heads 1 5 fits no hidden size") as caught:
        of(CONFIGS["bert"](), SpaceSettings(hidden_size=[16, 32], num_heads=[1, 5]))
    assert "2 for hidden size 16, 4 for hidden size 32" in caught.value.remedy


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


def test_sets_of_layers_are_those_whose_layers_fit_their_new_places():
    for name, make in CONFIGS.items():
        config = make()
        sets, whole = LayerSets.of(config, ("best",)), Sizes.of(config).layers
        for depth in range(1, len(whole) + 1):
            found = list(sets.of_depth(depth))
            assert found == [each for each in combinations(whole, depth) if fits(config, each)], (
                name
            )
            assert sets.count(depth) == len(found)
            assert all(each in sets for each in found)


def test_a_large_models_sets_of_layers_are_counted_and_not_listed():
    config = BertConfig(num_hidden_layers=24, hidden_size=1024, num_attention_heads=16)
    choices = choices_of(config, SpaceSettings())
    assert choices.num_shapes == len(choices.streams) * (2**24 - 1)
    first = next(choices.sets.of_depth(12))
    assert first == tuple(range(12)) and first in choices.sets


def fits(config, layers: tuple[int, ...]) -> bool:
    try:
        check_layers(config, layers)
    except AdjustError:
        return False
    return True
