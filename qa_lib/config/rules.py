"""The rules between settings: what each field allows alone, but not together with another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qa_lib.config.adjusting import AdjustSettings, SearchSettings
    from qa_lib.config.schema import AnswerSettings, Settings
    from qa_lib.config.training import DataSettings, TrainSettings


def conflicts(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (settings concerned, message) for every rule between fields that is broken."""
    if settings.resume and settings.overwrite:
        yield ("resume", "overwrite"), "--resume and --overwrite exclude each other"
    if settings.run_name in (".", ".."):
        yield ("run_name",), f"run_name {settings.run_name!r} is not a name: use letters and digits"
    if settings.model.max_memory is not None and settings.model.placement != "auto":
        yield (
            ("model.max_memory", "model.placement"),
            f"model.max_memory needs model.placement auto, not {settings.model.placement}",
        )
    yield from _data_conflicts(settings.data)
    yield from _train_conflicts(settings.train)
    yield from _answer_conflicts(settings.answer)
    yield from _adjust_conflicts(settings.adjust)
    yield from _search_conflicts(settings.search)


def _data_conflicts(data: DataSettings) -> Iterator[tuple[tuple[str, ...], str]]:
    if data.stride >= data.max_length:
        yield (
            ("data.stride", "data.max_length"),
            f"data.stride ({data.stride}) must be smaller than data.max_length "
            f"({data.max_length}), or windows would never advance",
        )


def _train_conflicts(train: TrainSettings) -> Iterator[tuple[tuple[str, ...], str]]:
    batch, workers = train.global_batch, train.num_workers
    if batch % workers:
        nearest = max(workers, round(batch / workers) * workers)
        yield (
            ("train.global_batch", "train.num_workers"),
            f"train.global_batch ({batch}) must divide over train.num_workers ({workers}): "
            f"the nearest batch that does is {nearest}",
        )
    elif train.micro_batch != "auto" and (batch // workers) % train.micro_batch:
        share = batch // workers
        fitting = max(n for n in range(1, train.micro_batch + 1) if share % n == 0)
        yield (
            ("train.micro_batch", "train.global_batch", "train.num_workers"),
            f"train.micro_batch ({train.micro_batch}) must divide a worker's share of the global "
            f"batch ({batch} / {workers} = {share}): {fitting} does",
        )
    if train.precision == "fp16" and train.device == "cpu":
        yield (
            ("train.precision", "train.device"),
            "train.precision fp16 needs a GPU: on train.device cpu use fp32 or bf16",
        )
    if train.offload_optimizer and train.zero_stage == 0:
        yield (
            ("train.offload_optimizer", "train.zero_stage"),
            "train.offload_optimizer needs train.zero_stage 1, 2 or 3",
        )


def _answer_conflicts(answer: AnswerSettings) -> Iterator[tuple[tuple[str, ...], str]]:
    if (answer.input is None) != (answer.output is None):
        yield (
            ("answer.input", "answer.output"),
            "answer.input and answer.output belong together: give both or neither",
        )
    if answer.input is not None and (answer.question or answer.context):
        yield (
            ("answer.input", "answer.question", "answer.context"),
            "answer.input excludes answer.question and answer.context: its lines hold both",
        )
    if answer.question is not None and answer.context is None:
        yield ("answer.question", "answer.context"), "answer.question needs answer.context"


def _adjust_conflicts(adjust: AdjustSettings) -> Iterator[tuple[tuple[str, ...], str]]:
    drops = ("drop_attention", "drop_feed_forward")
    sizes = ("num_layers", "keep_layers", "intermediate_size", "hidden_size", "num_heads", *drops)
    ways = {
        "sizes": [name for name in sizes if getattr(adjust, name) is not None],
        "targets": [
            name
            for name in ("target_speedup", "target_parameters")
            if getattr(adjust, name) is not None
        ],
        "plan": ["plan"] if adjust.plan is not None else [],
    }
    given = [f"adjust.{names[0]}" for names in ways.values() if names]
    if len(given) > 1:
        yield tuple(given), f"{' and '.join(given)} exclude each other: each decides the sizes"
    if len(ways["targets"]) > 1:
        yield (
            ("adjust.target_speedup", "adjust.target_parameters"),
            "adjust.target_speedup and adjust.target_parameters exclude each other",
        )
    for name, says in (("vocabulary", "which tokens stay"), ("ragged", "what layers keep")):
        if ways["plan"] and getattr(adjust, name):
            yield (
                ("adjust.plan", f"adjust.{name}"),
                f"adjust.plan and adjust.{name} exclude each other: a plan says {says}",
            )
    layers = adjust.keep_layers
    if layers is not None and list(layers) != sorted(set(layers)):
        yield ("adjust.keep_layers",), "adjust.keep_layers must rise, each layer named once"
    if layers is not None and not layers:
        yield ("adjust.keep_layers",), "adjust.keep_layers must name at least one layer"
    if layers is not None and adjust.num_layers not in (None, len(layers)):
        yield (
            ("adjust.num_layers", "adjust.keep_layers"),
            f"adjust.num_layers ({adjust.num_layers}) contradicts adjust.keep_layers "
            f"({len(layers)} layers)",
        )
    for name in drops:
        if getattr(adjust, name) is not None and not adjust.ragged:
            yield (
                (f"adjust.{name}", "adjust.ragged"),
                f"adjust.{name} needs adjust.ragged: no stock model has layers that differ",
            )
    hidden, heads = adjust.hidden_size, adjust.num_heads
    if hidden is not None and heads is not None and hidden % heads and not adjust.ragged:
        yield (
            ("adjust.hidden_size", "adjust.num_heads"),
            f"adjust.num_heads ({heads}) must divide adjust.hidden_size ({hidden}): the nearest "
            f"size that it divides is {max(heads, round(hidden / heads) * heads)}",
        )


def _search_conflicts(search: SearchSettings) -> Iterator[tuple[tuple[str, ...], str]]:
    for name in ("learning_rate", "distill_weight"):
        low, high = getattr(search.space, name)
        if low > high:
            yield (
                (f"search.space.{name}",),
                f"search.space.{name} must name the lower bound first: {high:g} {low:g}",
            )
