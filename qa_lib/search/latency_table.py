"""The table of measured layer latencies, and the sizes that it rules out before any training."""

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

if TYPE_CHECKING:
    from qa_lib.config import SearchSettings


# Layers that are added up leave out what whole models lose, 8 % of a speed-up of 2 in one search:
# sizes whose share of the speed-up asked for lies between these are measured whole.
_CLOSE = (0.9, 1.25)
_AT_ONCE = 4  # whole models in memory, beside the parent
_TIMES = 3  # that each is built and measured: between two builds of one shape lie several percent


@dataclass(frozen=True)
class Entry:
    """What is known of sizes before a model of them is made.

    Attributes:
        sizes: The sizes.
        latency_ms: Of one window of 384 tokens, from the measured latency of a layer; of the
            parent's latency and the speed-up where that is of whole models.
        speedup: How many times the parent's speed that is.
        num_parameters: Of the whole model.
        skipped: Why no trial has these sizes: `too slow`, `dominated`, or nothing.
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
        """Read back what `row` returned, from JSON too."""
        return cls(**values | {"sizes": Sizes.from_dict(values["sizes"])})


def measure(config: Any, sizes: Sequence[Sizes], device: str) -> list[Entry]:
    """Measure, where the trials will run, a layer of each shape that the sizes have.

    Args:
        config: The parent's configuration.
        sizes: All that the space holds.
        device: cpu or cuda.

    Returns:
        An entry for the parent, and for each of the sizes.
    """
    parent = Sizes.of(config)
    milliseconds = _where_trials_run(_predict, config, [parent, *sizes], device)
    return [
        Entry(
            sizes=each,
            latency_ms=round(latency_ms, 4),
            speedup=round(milliseconds[0] / latency_ms, 4),
            num_parameters=cost.num_parameters(each.apply(config)),
        )
        for each, latency_ms in zip([parent, *sizes], milliseconds, strict=True)
    ]


def measure_models(config: Any, sizes: Sequence[Sizes], device: str) -> list[float]:
    """Measure whole models in turns, where the table only adds up layers.

    Returns:
        Milliseconds for one window of 384 tokens, in the order of the sizes: the medians of several
        builds.
    """
    return _where_trials_run(_measure_often, config, list(sizes), device)


def confirm(
    entries: Sequence[Entry],
    settings: SearchSettings,
    compare: Callable[[list[Sizes]], list[float]],
) -> list[Entry]:
    """Put whole models' speed-ups in place of the table's where it is too close to call.

    Args:
        entries: Of `measure`, the parent's first.
        settings: With the objective; for the front no speed-up decides, and nothing is measured.
        compare: Measures whole models: how many times the first one's speed each other has.
    """
    low, high = (share * settings.min_speedup for share in _CLOSE)
    parent, *rest = entries
    close = [each for each in rest if low <= each.speedup <= high]
    if settings.objective != "f1" or not close:
        return list(entries)
    found = compare([parent.sizes, *(each.sizes for each in close)])
    speedups = {each.sizes: speedup for each, speedup in zip(close, found, strict=True)}

    def confirmed(entry: Entry) -> Entry:
        if entry.sizes not in speedups:
            return entry
        speedup = round(speedups[entry.sizes], 4)
        return replace(entry, speedup=speedup, latency_ms=round(parent.latency_ms / speedup, 4))

    return [parent, *map(confirmed, rest)]


def compare_models(config: Any, sizes: list[Sizes], device: str) -> list[float]:
    """Measure whole models where trials run, a few at a time, each time beside the first.

    Returns:
        How many times the first one's speed each other has, by the medians of several builds.
    """
    return _where_trials_run(_compare, config, sizes, device)


def rule_out(entries: Sequence[Entry], settings: SearchSettings) -> list[Entry]:
    """Mark the sizes that are not worth a trial.

    Sizes are too slow where the objective is the F1 at a speed-up that they do not reach. They are
    dominated where others have every dimension at least as large and cost nothing: in the front,
    because they are no slower; at a speed-up, because they reach it too.

    Args:
        entries: Of `measure` or `confirm`, the parent's first, which is never marked.
        settings: With the objective.

    Raises:
        AdjustError: Nothing is left.
    """
    parent, *rest = entries
    constrained = settings.objective == "f1"
    fast = [each for each in rest if not constrained or each.speedup >= settings.min_speedup]
    rivals = fast if constrained else entries

    def reason(entry: Entry) -> str:
        if entry not in fast:
            return "too slow"
        larger = (each for each in rivals if _is_larger(each.sizes, entry.sizes))
        beaten = any(constrained or each.latency_ms <= entry.latency_ms for each in larger)
        return "dominated" if beaten else ""

    marked = [parent, *(replace(entry, skipped=reason(entry)) for entry in rest)]
    if all(entry.skipped for entry in marked[1:]):
        fastest = max(rest, key=lambda entry: entry.speedup)
        raise AdjustError(
            f"No sizes of the search space are worth a trial: the fastest have"
            f" {fastest.speedup:.2f}x the parent's speed.",
            "Widen --search.space.num-layers or --search.space.intermediate-size"
            + (", or ask for a lower --search.min-speedup." if constrained else "."),
        )
    return marked


def _is_larger(one: Sizes, other: Sizes) -> bool:
    """Say whether sizes hold all that others do, and more; stock and ragged are not compared."""
    if one == other or (one.blocks is None) != (other.blocks is None):
        return False
    return (
        set(one.layers) >= set(other.layers)
        and one.hidden_size >= other.hidden_size
        and one.num_heads >= other.num_heads
        and one.intermediate_size >= other.intermediate_size
    )


def _where_trials_run(
    function: Callable[[Any, list[Sizes], str], list[float]],
    config: Any,
    sizes: list[Sizes],
    device: str,
) -> list[float]:
    import ray

    print(f"measuring the latency of {len(sizes)} sizes ...", file=sys.stderr, flush=True)
    remote = ray.remote(function).options(
        num_cpus=MODEL_ACTOR_CPUS, num_gpus=1 if device == "cuda" else 0
    )
    found: list[float] = ray.get(remote.remote(config, sizes, device))
    return found


def _predict(config: Any, sizes: list[Sizes], device: str) -> list[float]:
    _take_all_cores()
    seconds = cost.predict_latencies([each.apply(config) for each in sizes], device)
    return [each * 1e3 for each in seconds]


def _measure(config: Any, sizes: list[Sizes], device: str) -> list[float]:
    from qa_lib.models import build

    _take_all_cores()
    models = {str(number): build(each.apply(config)).eval() for number, each in enumerate(sizes)}
    if device == "cuda":
        models = {name: model.half().to(device) for name, model in models.items()}
    return [seconds * 1e3 for seconds in cost.measure_latency(models).values()]


def _measure_often(config: Any, sizes: list[Sizes], device: str) -> list[float]:
    found = [_measure(config, sizes, device) for _ in range(_TIMES)]
    return [median(of_one) for of_one in zip(*found, strict=True)]


def _compare(config: Any, sizes: list[Sizes], device: str) -> list[float]:
    first, *rest = sizes
    found: list[float] = []
    for begin in range(0, len(rest), _AT_ONCE):
        group = [first, *rest[begin : begin + _AT_ONCE]]
        whole, *others = _measure_often(config, group, device)
        found += [whole / other for other in others]
    return found


def _take_all_cores() -> None:
    """Undo that Ray gives a task one thread: a trial's model has all cores."""
    import torch

    torch.set_num_threads(devices.num_local_cpus())
