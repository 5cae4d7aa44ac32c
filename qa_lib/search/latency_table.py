"""The latency table: sizes priced by measured layers, and ruled out before any training."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from qa_lib.adjust import Sizes, cost
from qa_lib.errors import AdjustError
from qa_lib.machines import devices
from qa_lib.machines.allocation import MODEL_ACTOR_CPUS
from qa_lib.models.latency import measure_latency
from qa_lib.search.target import Target

if TYPE_CHECKING:
    from qa_lib.config import SearchSettings


# A sum of layers misses what whole models lose, 8 % of a speed-up of 2 in one search: sizes between
# these multiples of the required speed-up are measured as whole models.
_CLOSE = (0.9, 1.25)
TOLERANCE = 0.02
"""By which a measured speed-up may fall short of the one asked for: two builds differ by more."""
_NUM_AT_ONCE = 4  # whole models in memory, beside the parent
_SMALL_VOCABULARY = 1024
_NUM_BUILDS = 3  # of each model: two builds of one shape differ by several percent


@dataclass(frozen=True)
class Entry:
    """Costs of one combination of sizes, known before any model of it is trained.

    Attributes:
        sizes: The sizes.
        latency_ms: Of one window of 384 tokens, summed over measured layers; where whole models
            were measured, the parent's latency divided by the speed-up.
        speedup: Times the parent's speed.
        num_parameters: Of the whole model.
        skipped: Why no trial has these sizes: `too slow`, `dominated`, `outranked`, or empty.
        asked: The speed-up that they were enumerated for; 0 where sizes are drawn.
        divergence: One-shot, from the parent on held-out windows; None where not cut.
    """

    sizes: Sizes
    latency_ms: float
    speedup: float
    num_parameters: int
    skipped: str = ""
    asked: float = 0.0
    divergence: float | None = None

    def row(self) -> dict[str, Any]:
        """Return the entry as plain values."""
        return asdict(self)

    @classmethod
    def from_row(cls, values: dict[str, Any]) -> Entry:
        """Rebuild an entry from `row`, also after a round trip through JSON."""
        return cls(**values | {"sizes": Sizes.from_dict(values["sizes"])})


def measure(config: Any, sizes: Sequence[Sizes], target: Target) -> list[Entry]:
    """Measure a layer of every shape that the sizes have, where the trials will run.

    Args:
        config: The parent's configuration.
        sizes: Of the space.
        target: What to measure on.

    Returns:
        An entry for the parent, then one for each of the sizes.
    """
    sizes = [Sizes.of(config), *sizes]
    milliseconds = run_remotely(predict, config, sizes, target, "sizes")
    return [
        Entry(
            sizes=one,
            latency_ms=round(latency_ms, 4),
            speedup=round(milliseconds[0] / latency_ms, 4),
            num_parameters=cost.num_parameters(one.apply(config)),
        )
        for one, latency_ms in zip(sizes, milliseconds, strict=True)
    ]


def measure_models(config: Any, sizes: Sequence[Sizes], target: Target) -> list[float]:
    """Measure whole models side by side, where trials run, in a process of their own.

    Returns:
        Milliseconds for one window of 384 tokens, in the order of the sizes; medians of several
        builds.
    """
    builds = run_remotely(measure_builds, config, list(sizes), target, "whole models")
    return [median(of_one) for of_one in zip(*builds, strict=True)]


def confirm(
    entries: Sequence[Entry],
    settings: SearchSettings,
    measure_whole: Callable[[list[Sizes]], list[float]],
) -> list[Entry]:
    """Replace the table's speed-ups by those of whole models where they are too close to call.

    Args:
        entries: Of `measure`, the parent's first.
        settings: Where the objective is the front, no speed-up decides and nothing is measured.
        measure_whole: Measures whole models, as `measure_models`: a few at a time, each time beside
            the parent.
    """
    low, high = (share * settings.min_speedup for share in _CLOSE)
    parent, *rest = entries
    close = [entry for entry in rest if low <= entry.speedup <= high]
    confirmed: dict[Sizes, Entry] = {}
    for begin in range(0, len(close) if settings.objective == "f1" else 0, _NUM_AT_ONCE):
        group = close[begin : begin + _NUM_AT_ONCE]
        whole, *others = measure_whole([parent.sizes, *(entry.sizes for entry in group)])
        for entry, latency_ms in zip(group, others, strict=True):
            speedup = round(whole / latency_ms, 4)
            ms = round(parent.latency_ms / speedup, 4)
            confirmed[entry.sizes] = replace(entry, speedup=speedup, latency_ms=ms)
    return [confirmed.get(entry.sizes, entry) for entry in entries]


def rule_out(entries: Sequence[Entry], settings: SearchSettings) -> list[Entry]:
    """Mark the sizes that are not worth a trial.

    With the objective f1, sizes that miss the speed-up are too slow. Sizes are dominated if others
    have every dimension at least as large at no cost: for the front, others that are no slower; for
    f1, others that reach the speed-up too.

    Args:
        entries: Of `measure` or `confirm`, the parent's first, which is never marked.
        settings: With the objective.

    Raises:
        AdjustError: No sizes are left.
    """
    parent, *rest = entries
    constrained = settings.objective == "f1"
    fast = [entry for entry in rest if not constrained or entry.speedup >= settings.min_speedup]
    rivals = fast if constrained else entries

    def reason(entry: Entry) -> str:
        if entry not in fast:
            return "too slow"
        larger = (rival for rival in rivals if _is_larger(rival.sizes, entry.sizes))
        beaten = any(constrained or rival.latency_ms <= entry.latency_ms for rival in larger)
        return "dominated" if beaten else ""

    marked = [parent, *(replace(entry, skipped=reason(entry)) for entry in rest)]
    if all(entry.skipped for entry in marked[1:]):
        fastest = max(rest, key=lambda entry: entry.speedup)
        raise AdjustError(
            f"No sizes of the search space are worth a trial: the fastest have"
            f" {fastest.speedup:.2f}x the parent's speed.",
            "Widen --search.space.num-layers or --search.space.intermediate-size"
            + (", or lower --search.min-speedup." if constrained else "."),
        )
    return marked


def _is_larger(one: Sizes, other: Sizes) -> bool:
    """Say whether sizes include all of others, and more; stock and ragged are not compared."""
    if one == other or (one.blocks is None) != (other.blocks is None):
        return False
    return (
        set(one.layers) >= set(other.layers)
        and one.hidden_size >= other.hidden_size
        and one.num_heads >= other.num_heads
        and one.intermediate_size >= other.intermediate_size
    )


def run_remotely(
    function: Callable[..., Any], config: Any, sizes: Sequence[Sizes], target: Target, what: str
) -> Any:
    """Call a function of a parent's configuration, sizes and a target, as a trial would run.

    The process is a fresh one, with nothing loaded and no memory from before.
    """
    import ray

    print(f"measuring the latency of {len(sizes)} {what} ...", file=sys.stderr, flush=True)
    remote = ray.remote(num_cpus=MODEL_ACTOR_CPUS, num_gpus=target.num_gpus, max_calls=1)(
        _with_all_cores
    )
    return ray.get(remote.remote(function, config, list(sizes), target))


def _with_all_cores(
    function: Callable[..., Any], config: Any, sizes: list[Sizes], target: Target
) -> Any:
    """Use all cores, as a trial does: Ray gives a task one thread."""
    import torch

    torch.set_num_threads(devices.num_local_cpus())
    return function(config, sizes, target)


def predict(config: Any, sizes: Sequence[Sizes], target: Target) -> list[float]:
    """Return milliseconds summed over measured layers, in this process."""
    place = target.place if target.exports else None
    configs = [one.apply(config) for one in sizes]
    return [1e3 * seconds for seconds in cost.predict_latencies(configs, target.name, place)]


def measure_builds(
    config: Any, sizes: Sequence[Sizes], target: Target, num_builds: int = _NUM_BUILDS
) -> list[list[float]]:
    """Build models several times and time them in turns; return milliseconds, build by build."""
    from qa_lib.adjust.architecture import with_vocabulary
    from qa_lib.models import build

    # Looking a token up takes as long in any vocabulary, and a small one is built at once.
    config = with_vocabulary(config, min(config.vocab_size, _SMALL_VOCABULARY))
    builds = []
    for _ in range(num_builds):
        models = {
            str(place): target.place(build(one.apply(config)).eval())
            for place, one in enumerate(sizes)
        }
        builds.append([1e3 * seconds for seconds in measure_latency(models).values()])
        del models  # before the next ones are built
    return builds
