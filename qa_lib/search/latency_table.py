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

if TYPE_CHECKING:
    from qa_lib.config import SearchSettings


# A sum of layers misses what whole models lose, 8 % of a speed-up of 2 in one search: sizes between
# these multiples of the required speed-up are measured as whole models.
_CLOSE = (0.9, 1.25)
_NUM_AT_ONCE = 4  # whole models in memory, beside the parent
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
        skipped: Why no trial has these sizes: `too slow`, `dominated`, or empty.
    """

    sizes: Sizes
    latency_ms: float
    speedup: float
    num_parameters: int
    skipped: str = ""

    def row(self) -> dict[str, Any]:
        """Return the entry as plain values."""
        return asdict(self)

    @classmethod
    def from_row(cls, values: dict[str, Any]) -> Entry:
        """Rebuild an entry from `row`, also after a round trip through JSON."""
        return cls(**values | {"sizes": Sizes.from_dict(values["sizes"])})


def measure(config: Any, sizes: Sequence[Sizes], device: str) -> list[Entry]:
    """Measure a layer of every shape that the sizes have, where the trials will run.

    Args:
        config: The parent's configuration.
        sizes: Of the space.
        device: cpu or cuda.

    Returns:
        An entry for the parent, then one for each of the sizes.
    """
    sizes = [Sizes.of(config), *sizes]
    milliseconds = _run_remotely(_predict, config, sizes, device)
    return [
        Entry(
            sizes=one,
            latency_ms=round(latency_ms, 4),
            speedup=round(milliseconds[0] / latency_ms, 4),
            num_parameters=cost.num_parameters(one.apply(config)),
        )
        for one, latency_ms in zip(sizes, milliseconds, strict=True)
    ]


def measure_models(config: Any, sizes: Sequence[Sizes], device: str) -> list[float]:
    """Measure whole models side by side, where trials run.

    Returns:
        Milliseconds for one window of 384 tokens, in the order of the sizes; medians of several
        builds.
    """
    return _run_remotely(_measure_models, config, list(sizes), device)


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


def _run_remotely(
    function: Callable[[Any, list[Sizes], str], list[float]],
    config: Any,
    sizes: list[Sizes],
    device: str,
) -> list[float]:
    """Call a function with the resources of a trial."""
    import ray

    print(f"measuring the latency of {len(sizes)} sizes ...", file=sys.stderr, flush=True)
    remote = ray.remote(function).options(
        num_cpus=MODEL_ACTOR_CPUS, num_gpus=1 if device == "cuda" else 0
    )
    values: list[float] = ray.get(remote.remote(config, sizes, device))
    return values


def _predict(config: Any, sizes: list[Sizes], device: str) -> list[float]:
    _take_all_cores()
    seconds = cost.predict_latencies([one.apply(config) for one in sizes], device)
    return [of_one * 1e3 for of_one in seconds]


def _measure_models(config: Any, sizes: list[Sizes], device: str) -> list[float]:
    from qa_lib.models import build

    _take_all_cores()
    builds = []
    for _ in range(_NUM_BUILDS):
        models = {str(place): build(one.apply(config)).eval() for place, one in enumerate(sizes)}
        if device == "cuda":
            models = {name: model.half().to(device) for name, model in models.items()}
        builds.append(measure_latency(models).values())
        del models  # before the next ones are built
    return [median(of_one) * 1e3 for of_one in zip(*builds, strict=True)]


def _take_all_cores() -> None:
    """Use all cores, as a trial does: Ray gives a task one thread."""
    import torch

    torch.set_num_threads(devices.num_local_cpus())
