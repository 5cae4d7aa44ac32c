"""Sizes near the speeds asked for, cut in one shot, and ranked by divergence from the parent.

With refitted cuts, what sizes are worth shows before any training. So sizes are enumerated, not
drawn: for a speed, a residual stream and a set of layers the latency model leaves one width of the
feed-forward parts, the widest that is fast enough. Each is cut and scored on held-out windows.

Where there are too many, sets of layers are ranked first, with nothing else cut, and the best of
every depth go on. Which sets those are hardly depends on the speed: all speeds share the ranking.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, zip_longest
from typing import TYPE_CHECKING, Any

from qa_lib.adjust import Sizes, cost
from qa_lib.errors import AdjustError
from qa_lib.search.latency_model import LatencyModel, Stream
from qa_lib.search.latency_table import Entry
from qa_lib.search.space import Choices

if TYPE_CHECKING:
    from qa_lib.config import SearchSettings

Score = Callable[[Sequence[Sizes]], list[float]]
"""Returns the divergence of each of some sizes, cut and refitted."""

Layers = tuple[int, ...]

_TOO_FAST = 1.2  # beyond so many times the speed asked for, a wider model of more layers is there
_BEAM = 4  # most sets of layers of which subsets are ranked, where not all sets can be
_OF_ANSWERS = 3  # so many times the sizes that are tried are compared by their answers
_OF_ONE_SHAPE = 2  # at most every second trial of a speed has one depth and residual stream
OUTRANKED = "outranked"


@dataclass(frozen=True)
class Candidate:
    """Sizes for a speed."""

    asked: float
    sizes: Sizes

    @property
    def shape(self) -> tuple[int, int]:
        """Depth and width of the residual stream."""
        return len(self.sizes.layers), self.sizes.hidden_size


def rank(
    config: Any,
    choices: Choices,
    latency: LatencyModel,
    settings: SearchSettings,
    score: Score,
    agree: Score,
    ragged: Callable[[float, dict[int, list[Layers]]], list[Sizes]] | None = None,
) -> list[Entry]:
    """Enumerate sizes for every speed, score them, and mark all but the best of each speed.

    Args:
        config: The parent's configuration.
        choices: What sizes are made of.
        latency: The latency model.
        settings: Speeds, number of trials, most candidates.
        score: Returns the divergence of sizes from the parent.
        agree: Returns how far their answers are the parent's.
        ragged: Finds ragged sizes for a speed, given the best sets of layers by depth.

    Returns:
        An entry for the parent, then those of all candidates, best first: by divergence, and those
        of the least by their answers. A divergence also counts how sure a model is, which a cut
        changes and a short training mends.

    Raises:
        AdjustError: No sizes reach any of the speeds.
    """
    speeds = settings.asked_speeds
    shapes = {speed: list(_shapes(choices, latency, speed)) for speed in speeds}
    sets = _layer_sets(choices, latency.parent, shapes, settings.num_candidates, score)
    every: dict[Candidate, None] = {}
    for speed in speeds:
        if choices.stock:
            for sizes in shapes[speed]:
                for layers in sets.get(len(sizes.layers), []):
                    every[Candidate(speed, replace(sizes, layers=layers))] = None
        if ragged is not None:
            every |= {Candidate(speed, sizes): None for sizes in ragged(speed, sets)}
    if not every:
        raise _unreachable(choices, latency, speeds)
    candidates = _without_repeats(every)
    divergences = score([candidate.sizes for candidate in candidates])
    found = _ranked_by_answers(
        sorted(zip(candidates, divergences, strict=True), key=lambda each: each[1]),
        _OF_ANSWERS * num_sizes(settings),
        agree,
    )
    kept = _best(found, num_sizes(settings))
    return [
        _entry(config, latency, Candidate(0.0, latency.parent), None, ""),
        *(
            _entry(config, latency, candidate, divergence, "" if candidate in kept else OUTRANKED)
            for candidate, divergence in found
        ),
    ]


def anchors(
    choices: Choices, latency: LatencyModel, speeds: Sequence[float], most: int
) -> list[Sizes]:
    """Return sizes near the speeds, to fit a latency model to: each stream's before a second one.

    Of a speed and a stream, those of the depth in the middle.
    """
    by_stream: dict[Stream, list[Sizes]] = defaultdict(list)
    for speed in speeds:
        near: dict[Stream, list[Sizes]] = defaultdict(list)
        for sizes in _shapes(choices, latency, speed):
            near[sizes.hidden_size, sizes.num_heads].append(sizes)
        for stream, of_one in near.items():
            by_stream[stream].append(of_one[len(of_one) // 2])
    turns = zip_longest(*by_stream.values())
    found = [sizes for turn in turns for sizes in turn if sizes is not None]
    return list(dict.fromkeys(found))[:most]


def num_sizes(settings: SearchSettings) -> int:
    """Return how many sizes of a speed are recovered: three quarters of its trials.

    The others try other rates for the best of them.
    """
    per_speed = settings.num_trials // len(settings.asked_speeds)
    return max(1, -(-3 * per_speed // 4))


def _shapes(choices: Choices, latency: LatencyModel, speed: float) -> Iterable[Sizes]:
    """Return the widest sizes of each depth and stream that reach a speed, of the first layers."""
    reached = []
    for stream in choices.streams:
        for depth in choices.depths:
            shape = replace(stream, layers=latency.parent.layers[:depth])
            sizes = latency.widest(shape, speed, choices.widths)
            if sizes is not None and sizes != latency.parent:
                reached.append(sizes)
    near = [sizes for sizes in reached if latency.speedup(sizes) <= _TOO_FAST * speed]
    return near or sorted(reached, key=latency.speedup)[:1]


def _layer_sets(
    choices: Choices,
    parent: Sizes,
    shapes: dict[float, list[Sizes]],
    most: int,
    score: Score,
) -> dict[int, list[Layers]]:
    """Return the sets of layers to combine with widths, by depth, the best first."""
    cells = Counter(len(sizes.layers) for of_speed in shapes.values() for sizes in of_speed)
    counts = {depth: choices.sets.count(depth) for depth in cells}
    if sum(cells[depth] * counts[depth] for depth in cells) <= most:
        return {depth: list(choices.sets.of_depth(depth)) for depth in cells}
    half = most // 2  # of the cuts go into this ranking
    if sum(counts.values()) <= half:
        ranked = {
            depth: _ranked(parent, list(choices.sets.of_depth(depth)), score) for depth in cells
        }
    else:
        ranked = _beam(choices, parent, min(cells), half, score)
    share = max(1, half // sum(cells.values()))
    return {depth: ranked[depth][:share] for depth in cells}


def _beam(
    choices: Choices, parent: Sizes, least: int, most: int, score: Score
) -> dict[int, list[Layers]]:
    """Rank sets of layers, of each depth those that lack one layer of the best ones of the next.

    As many of the best are followed as cost about `most` cuts, or one.
    """
    of_one = sum(range(least + 1, len(parent.layers) + 1))
    width = max(1, min(_BEAM, most // max(1, of_one)))
    best: list[Layers] = [parent.layers]
    ranked = {len(parent.layers): best}
    for depth in range(len(parent.layers) - 1, least - 1, -1):
        shorter = {kept[:gone] + kept[gone + 1 :] for kept in best for gone in range(len(kept))}
        allowed = sorted(each for each in shorter if len(each) == depth and each in choices.sets)
        allowed = allowed or list(islice(choices.sets.of_depth(depth), width))
        ranked[depth] = _ranked(parent, allowed, score)
        best = ranked[depth][:width] or best
    return ranked


def _ranked(parent: Sizes, sets: Sequence[Layers], score: Score) -> list[Layers]:
    if len(sets) < 2:
        return list(sets)
    values = score([replace(parent, layers=layers) for layers in sets])
    return [layers for _, layers in sorted(zip(values, sets, strict=True))]


def _ranked_by_answers(
    found: Sequence[tuple[Candidate, float]], most: int, agree: Score
) -> list[tuple[Candidate, float]]:
    """Order the first candidates of each speed by their answers; the others stay behind them."""
    by_speed: dict[float, list[tuple[Candidate, float]]] = defaultdict(list)
    for each in found:
        by_speed[each[0].asked].append(each)
    first = {speed: ranked[:most] for speed, ranked in by_speed.items()}
    judged = [candidate for of_speed in first.values() for candidate, _ in of_speed]
    agreements = dict(zip(judged, agree([each.sizes for each in judged]), strict=True))
    return [
        each
        for speed in sorted(by_speed)
        for each in (
            *sorted(first[speed], key=lambda each: -agreements[each[0]]),
            *by_speed[speed][most:],
        )
    ]


def _without_repeats(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Let sizes that serve two speeds stand for the higher one."""
    by_sizes = {each.sizes: each for each in sorted(candidates, key=lambda each: each.asked)}
    return list(by_sizes.values())


def _best(found: Sequence[tuple[Candidate, float]], count: int) -> set[Candidate]:
    """Return the best of each speed; of one shape no more than its share, if there are others."""
    kept: set[Candidate] = set()
    of_shape: Counter[Any] = Counter()
    by_speed: dict[float, list[Candidate]] = defaultdict(list)
    for candidate, _ in found:
        by_speed[candidate.asked].append(candidate)
    for speed, ranked in by_speed.items():
        chosen = []
        for candidate in ranked:
            if of_shape[speed, candidate.shape] < max(1, -(-count // _OF_ONE_SHAPE)):
                of_shape[speed, candidate.shape] += 1
                chosen.append(candidate)
        chosen += [candidate for candidate in ranked if candidate not in chosen]
        kept |= set(chosen[:count])
    return kept


def _entry(
    config: Any, latency: LatencyModel, candidate: Candidate, divergence: float | None, skipped: str
) -> Entry:
    sizes = candidate.sizes
    return Entry(
        sizes=sizes,
        latency_ms=round(latency.ms(sizes), 4),
        speedup=round(latency.speedup(sizes), 4),
        num_parameters=cost.num_parameters(sizes.apply(config)),
        skipped=skipped,
        asked=candidate.asked,
        divergence=divergence,
    )


def _unreachable(choices: Choices, latency: LatencyModel, speeds: Sequence[float]) -> AdjustError:
    smallest = [
        replace(
            stream, layers=stream.layers[: choices.depths[0]], intermediate_size=choices.widths[0]
        )
        for stream in choices.streams
    ]
    fastest = max(map(latency.speedup, smallest))
    return AdjustError(
        f"No sizes of the search space are worth a trial: the fastest have {fastest:.2f}x the"
        f" parent's speed, and {min(speeds):g}x is asked for.",
        "Widen --search.space.num-layers or --search.space.intermediate-size, or lower"
        " --search.min-speedup or --search.speeds.",
    )


def say_unreached(entries: Sequence[Entry], speeds: Sequence[float]) -> None:
    """Name the speeds that no sizes reach."""
    missing = [speed for speed in speeds if not any(entry.asked >= speed for entry in entries)]
    if missing:
        names = ", ".join(f"{speed:g}x" for speed in missing)
        print(f"note: no sizes of the space reach {names}.", file=sys.stderr)
