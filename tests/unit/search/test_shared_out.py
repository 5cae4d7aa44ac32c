"""Sharing out by dynamic programming, against trying everything."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from qa_lib.adjust import Sizes
from qa_lib.search.latency_model import LatencyModel, Point
from qa_lib.search.shared_out import NUM_BUCKETS, Options, Sharer, cheapest, swapped
from tests.support.one_shot import Prices

PARENT = Sizes((0, 1, 2), 32, 4, 64)


def latency() -> LatencyModel:
    """A layer takes 4 ms of attention, 1 for each head, and 8 for its units; the rest takes 2."""
    widths = [Point(32, 4, 4, width, 4.0 + width / 8) for width in (0, 32, 64)]
    heads = [Point(32, 4, heads, 64, heads + 8.0) for heads in (0, 1, 2, 3)]
    return LatencyModel(PARENT, (*widths, *heads), (((32, 4), 2.0),))


def by_trying(costs, times, budget):
    found = [
        (sum(c[i] for c, i in zip(costs, levels, strict=True)), levels)
        for levels in product(*(range(len(cost)) for cost in costs))
        if sum(t[i] for t, i in zip(times, levels, strict=True)) <= budget
    ]
    return min(found)[0] if found else None


@pytest.mark.parametrize("seed", range(20))
def test_the_programme_finds_what_trying_everything_finds(seed: int):
    draw = np.random.default_rng(seed)
    costs = [np.sort(draw.random(4))[::-1] for _ in range(5)]
    # Whole numbers of buckets: rounding up cannot forbid a choice.
    budget = 100.0
    times = [np.sort(draw.integers(1, 4000, 4)) * (budget / NUM_BUCKETS) for _ in range(5)]
    levels = cheapest(costs, times, budget)
    best = by_trying(costs, times, budget + 1e-9)
    assert (levels is None) == (best is None)
    if levels is not None:
        assert sum(c[i] for c, i in zip(costs, levels, strict=True)) == pytest.approx(best)
        assert sum(t[i] for t, i in zip(times, levels, strict=True)) <= budget + 1e-9


def test_a_budget_that_nothing_fits_gives_nothing():
    costs, times = [np.array([1.0, 0.0])] * 2, [np.array([3.0, 5.0])] * 2
    assert cheapest(costs, times, 5.9) is None
    assert cheapest(costs, times, -1.0) is None
    assert cheapest(costs, times, 6.0) == (0, 0)


def test_times_below_zero_count_as_none():
    costs, times = [np.array([1.0, 0.0])] * 2, [np.array([-0.5, 5.0])] * 2
    assert cheapest(costs, times, 5.0) in ((0, 1), (1, 0))

    # No heads, beside all units, take 0.5 ms less than all units take beside all heads.
    points = [Point(32, 4, 4, width, 4.0 + width / 8) for width in (0, 32, 64)]
    points += [Point(32, 4, heads, 64, 7.5 + heads) for heads in (0, 1, 2, 3)]
    noisy = LatencyModel(PARENT, tuple(points), (((32, 4), 2.0),))
    assert Sharer(noisy, Prices(price), seed=0).find(2.5, (0, 1, 2))


def price(sizes: Sizes) -> float:
    """Return a price for each unit and head lost, dear in layer 1."""
    of_layer = {0: 1.0, 1: 5.0, 2: 0.5}
    total = 0.0
    for layer in range(3):
        place = sizes.layers.index(layer) if layer in sizes.layers else None
        heads, width = (0, 0) if place is None else sizes.of_layer(place)
        total += of_layer[layer] * ((4 - heads) * 0.3 + (64 - width) / 64)
    return total


@pytest.mark.parametrize("factor", [0.9, 1.0, 1.1])
def test_units_go_where_they_are_cheap_and_the_budget_holds(factor: float):
    model, score = replace(latency(), factors=(((32, 4), factor),)), Prices(price)
    found = Sharer(model, score, seed=0).find(1.5, (0, 1, 2))
    best = found[0]
    assert best.blocks is not None
    assert 1.5 - 1e-3 <= model.speedup(best) < 1.6
    assert best.of_layer(best.layers.index(1)) == (4, 64)  # the dear layer is whole
    even = model.widest(PARENT, 1.5, range(8, 65, 8))
    assert even is not None and score.of(best) < 0.5 * score.of(even)


@pytest.mark.parametrize("num_layers", [1, 3])
def test_an_only_layer_keeps_attention_and_a_feed_forward_part(num_layers: int):
    parent = replace(PARENT, layers=tuple(range(num_layers)))
    score = Prices(lambda sizes: 4.0 - sizes.of_layer(0)[0])  # heads are dear, units are free
    found = Sharer(replace(latency(), parent=parent), score, seed=0).find(1.5, (0,))
    assert found and all(min(each.of_layer(0)) > 0 for each in found)
    for sizes in score.scored:
        blocks = sizes.blocks
        assert blocks is not None and any(blocks.num_heads) and any(blocks.intermediate_size)


def test_blocks_are_scored_once_for_all_speeds():
    score = Prices(price)
    sharer = Sharer(latency(), score, seed=0)
    for speed in (1.3, 2.0, 1.3):
        sharer.find(speed, (0, 1, 2))
    assert len(score.scored) == len(set(score.scored))


def test_a_swap_takes_one_level_and_spends_its_time():
    levels = ((0, 1, 2), (0, 1, 2))
    costs = (np.array([5.0, 2.0, 0.0]), np.array([1.0, 0.5, 0.0]))
    ms = (np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0]))
    options = Options(levels, costs, ms)
    assert swapped((1, 1), options, budget=2.0) == [(2, 0), (0, 2)]
    assert swapped((0, 0), options, budget=2.0) == []
