"""Ragged sizes for a speed: each layer's heads and units by dynamic programming.

Every block (a layer's attention or feed-forward part) is cut alone to each of some sizes, and costs
what the whole model then diverges from the parent. Under a latency budget the sum of these costs,
weighted by block, is minimised exactly. Costs of single blocks do not quite add up: the weights are
searched, by the divergence of whole models; then units move between blocks at equal time.

Source: Kurtic et al. 2023, ZipLM, section 3.2; Frantar and Alistarh 2022, SPDY, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from qa_lib.adjust import Sizes
from qa_lib.models.ragged import Blocks
from qa_lib.search.latency_model import LatencyModel, head_steps

Score = Callable[[Sequence[Sizes]], list[float]]

NUM_BUCKETS = 10_000
_WIDTH_STEPS = (0.0, 0.0625, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875)
_ROUND_TO = 8
_NUM_RANDOM, _NUM_LOCAL = 12, 12  # weightings tried: at random, and near the best so far
_SWAPS_AT_ONCE, _MOST_SWAPS = 8, 4


@dataclass(frozen=True)
class Options:
    """What blocks can be cut to, ascending, and what each costs.

    Attributes:
        levels: By block, the heads or units that it can keep; the last is all.
        costs: Divergence with only that block cut so, falling along the levels; zero for all.
        ms: Milliseconds of the block.
    """

    levels: tuple[tuple[int, ...], ...]
    costs: tuple[np.ndarray, ...]
    ms: tuple[np.ndarray, ...]


def cheapest(
    costs: Sequence[np.ndarray], times: Sequence[np.ndarray], budget: float
) -> tuple[int, ...] | None:
    """Choose a level of every block: the lowest sum of costs within a budget of time.

    Times are rounded up to buckets, so that the budget holds.

    Args:
        costs: By block, the cost of each level.
        times: By block, the time of each level; one below zero counts as none.
        budget: Most time of all blocks.

    Returns:
        The chosen levels; None if even the fastest are too slow.
    """
    if budget <= 0:
        return None
    buckets = [
        np.ceil(np.maximum(each, 0.0) / budget * NUM_BUCKETS - 1e-9).astype(int) for each in times
    ]
    best = np.zeros(NUM_BUCKETS + 1)  # by time left: the lowest cost of the blocks so far
    choices = []
    for cost, taken in zip(costs, buckets, strict=True):
        options = np.full((len(cost), NUM_BUCKETS + 1), np.inf)
        for level, (price, steps) in enumerate(zip(cost, taken, strict=True)):
            if steps <= NUM_BUCKETS:
                options[level, steps:] = best[: NUM_BUCKETS + 1 - steps] + price
        choices.append(options.argmin(0))
        best = options.min(0)
    if not np.isfinite(best[-1]):
        return None
    left, levels = NUM_BUCKETS, []
    for choice, taken in zip(reversed(choices), reversed(buckets), strict=True):
        levels.append(int(choice[left]))
        left -= int(taken[levels[-1]])
    return tuple(reversed(levels))


class Sharer:
    """Finds ragged sizes; what a block's cut costs is scored once for all speeds."""

    def __init__(self, latency: LatencyModel, score: Score, *, seed: int) -> None:
        """Take the latency model and what scores sizes."""
        self._latency, self._score = latency, score
        self._generator = np.random.default_rng(seed)
        self._known: dict[Sizes, float] = {}
        self._options: Options | None = None

    def find(self, speed: float, layers: tuple[int, ...], *, most: int = 2) -> list[Sizes]:
        """Return the best ragged sizes for a speed with these layers of the parent, best first."""
        options = self._of_layers(layers)
        base = replace(self._latency.parent, layers=layers)
        rest = self._latency.sum_ms(base) - sum(float(ms[-1]) for ms in options.ms)
        budget = self._latency.most_sum_ms(base, speed) - rest

        def solve(weights: np.ndarray) -> tuple[int, ...] | None:
            costs = [weight * cost for weight, cost in zip(weights, options.costs, strict=True)]
            return cheapest(costs, options.ms, budget)

        found: dict[tuple[int, ...], float] = {}

        def judge(solutions: Sequence[tuple[int, ...] | None]) -> None:
            new = {one for one in solutions if one is not None and one not in found}
            sizes = {one: _sized(base, options, one) for one in sorted(new)}
            usable = {one: each for one, each in sizes.items() if each is not None}
            found.update(zip(usable, self._values(list(usable.values())), strict=True))

        self._search_weights(len(options.levels), solve, judge, found)
        self._swap(options, budget, judge, found)
        best = sorted(found, key=lambda one: found[one])[:most]
        return [sized for one in best if (sized := _sized(base, options, one)) is not None]

    def _search_weights(
        self,
        num_blocks: int,
        solve: Callable[[np.ndarray], tuple[int, ...] | None],
        judge: Callable[[Sequence[tuple[int, ...] | None]], None],
        found: dict[tuple[int, ...], float],
    ) -> None:
        """Try equal weights, random ones, and changes of a tenth of the best ones."""
        draw = self._generator
        tried = [np.ones(num_blocks), *draw.uniform(0.0, 1.0, (_NUM_RANDOM, num_blocks))]
        solutions = [solve(weights) for weights in tried]
        judge(solutions)
        if not found:
            return
        for _ in range(2):
            known = [(found[s], i) for i, s in enumerate(solutions) if s is not None and s in found]
            best = tried[min(known)[1]]
            for _ in range(_NUM_LOCAL // 2):
                changed = draw.random(num_blocks) < max(0.1, 1.5 / num_blocks)
                tried.append(np.where(changed, draw.uniform(0.0, 1.0, num_blocks), best))
                solutions.append(solve(tried[-1]))
            judge(solutions)

    def _swap(
        self,
        options: Options,
        budget: float,
        judge: Callable[[Sequence[tuple[int, ...] | None]], None],
        found: dict[tuple[int, ...], float],
    ) -> None:
        """Move a step from one block to another while whole models get nearer to the parent."""
        for _ in range(_MOST_SWAPS if found else 0):
            best = min(found, key=lambda one: found[one])
            swaps = [one for one in swapped(best, options, budget) if one not in found]
            judge(swaps[:_SWAPS_AT_ONCE])
            if min(found, key=lambda one: found[one]) == best:
                return

    def _of_layers(self, layers: tuple[int, ...]) -> Options:
        """Return the options of the blocks of these layers."""
        if self._options is None:
            self._options = self._measured()
        every, count = self._options, len(self._latency.parent.layers)
        places = [*layers, *(count + layer for layer in layers)]
        least = _least(layers)
        used = [[at for at, level in enumerate(every.levels[i]) if level >= least] for i in places]
        return Options(
            tuple(every.levels[i][at[0] :] for i, at in zip(places, used, strict=True)),
            tuple(every.costs[i][at[0] :] for i, at in zip(places, used, strict=True)),
            tuple(every.ms[i][at[0] :] for i, at in zip(places, used, strict=True)),
        )

    def _measured(self) -> Options:
        """Score every block of the parent at every level, all others whole."""
        parent = self._latency.parent
        whole, stream = parent.intermediate_size, (parent.hidden_size, parent.num_heads)
        least = _least(parent.layers)
        heads = tuple(each for each in head_steps(parent) if each >= least)
        steps = {round(whole * part / _ROUND_TO) * _ROUND_TO for part in _WIDTH_STEPS}
        widths = (*sorted(each for each in steps - {whole} if each >= least), whole)
        count = len(parent.layers)
        levels = (heads,) * count + (widths,) * count
        cuts = [
            _one_block(parent, block, level)
            for block, of_block in enumerate(levels)
            for level in of_block[:-1]
        ]
        values = iter(self._values(cuts))
        costs = []
        for of_block in levels:
            raw = [next(values) for _ in of_block[:-1]] + [0.0]
            costs.append(np.maximum.accumulate(raw[::-1])[::-1])  # more is never worse
        all_units = self._latency.layer_ms(stream, parent.num_heads, whole)
        no_units = self._latency.layer_ms(stream, parent.num_heads, 0)
        attention = [
            no_units - all_units + self._latency.layer_ms(stream, each, whole) for each in heads
        ]
        units = [
            self._latency.layer_ms(stream, parent.num_heads, each) - no_units for each in widths
        ]
        # Differences of measurements: noise can take those of nearly nothing below zero.
        ms = [np.maximum(each, 0.0) for each in (attention, units)]
        return Options(levels, tuple(costs), (ms[0],) * count + (ms[1],) * count)

    def _values(self, sizes: Sequence[Sizes]) -> list[float]:
        new = [one for one in dict.fromkeys(sizes) if one not in self._known]
        self._known.update(zip(new, self._score(new) if new else [], strict=True))
        return [self._known[one] for one in sizes]


def swapped(levels: tuple[int, ...], options: Options, budget: float) -> list[tuple[int, ...]]:
    """Return neighbours: one block a level lower, another as many higher as the time allows.

    Those whose costs, unweighted, say that they gain the most come first.
    """
    spent = sum(float(ms[at]) for ms, at in zip(options.ms, levels, strict=True))
    found: dict[tuple[int, ...], float] = {}
    for lower, higher in product(range(len(levels)), repeat=2):
        if lower == higher or levels[lower] == 0:
            continue
        left = budget - spent + float(np.diff(options.ms[lower])[levels[lower] - 1])
        ms = options.ms[higher]
        reachable = [
            at for at in range(levels[higher] + 1, len(ms)) if ms[at] - ms[levels[higher]] <= left
        ]
        if reachable:
            new = list(levels)
            new[lower], new[higher] = levels[lower] - 1, reachable[-1]
            found[tuple(new)] = sum(float(c[at]) for c, at in zip(options.costs, new, strict=True))
    return sorted(found, key=lambda one: found[one])


def _least(layers: tuple[int, ...]) -> int:
    """Return the fewest heads and units that a layer can keep: an only layer keeps some of both."""
    return 1 if len(layers) == 1 else 0


def _one_block(parent: Sizes, block: int, level: int) -> Sizes:
    """Return the parent's sizes with one block cut."""
    count = len(parent.layers)
    heads, widths = [parent.num_heads] * count, [parent.intermediate_size] * count
    (heads if block < count else widths)[block % count] = level
    return replace(
        parent, intermediate_size=max(widths), blocks=Blocks(tuple(heads), tuple(widths))
    )


def _sized(base: Sizes, options: Options, chosen: tuple[int, ...]) -> Sizes | None:
    """Return the sizes of chosen levels; layers that keep neither block go.

    None if no layer keeps an attention, or none a feed-forward part.
    """
    kept = [of_block[at] for of_block, at in zip(options.levels, chosen, strict=True)]
    count = len(base.layers)
    layers = [
        (layer, heads, width)
        for layer, heads, width in zip(base.layers, kept[:count], kept[count:], strict=True)
        if heads or width
    ]
    if not any(heads for _, heads, _ in layers) or not any(width for *_, width in layers):
        return None
    names, heads, widths = zip(*layers, strict=True)
    return replace(base, layers=names, intermediate_size=max(widths), blocks=Blocks(heads, widths))
