"""A smaller model out of a bigger one: adjust, prove, score, and distil back what was lost.

    result = recover.adjust_and_recover(settings, run)

The run folder gets plan.json, `model/`, and, where the model is recovered, `adjusted/`: the model
right after surgery, from which the training starts.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pyarrow as pa

from qa_lib import adjust, card, evaluate, squad, storage, train, windows
from qa_lib import model as models
from qa_lib.config import Settings
from qa_lib.errors import AdjustError
from qa_lib.progress import Progress
from qa_lib.run import RunFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from qa_lib.adjust.calibrate import Batch
    from qa_lib.adjust.plan import Indices

PLAN = "plan.json"
_T = TypeVar("_T")
_QUIET_S = 5.0
_LATENCY_SHAPES = ((1, 384), (1, 128), (32, 384), (32, 128))  # (windows, tokens)


def describe(settings: Settings) -> str:
    """Return the table of what would become of the model's dimensions, groups and costs.

    Raises:
        AdjustError: The model cannot be adjusted so.
    """
    parent = models.load(settings.model.name, seed=settings.seed)
    dimensions = adjust.trace(parent)
    replayed = _read_plan(settings)
    if replayed:
        sizes = replayed.keep.sizes
    else:
        kept = _vocabulary(settings, parent, _corpus(settings))
        sizes = _sizes(settings, parent, _LazyWindows(settings), kept)
    return adjust.table(parent.config, dimensions, sizes)


def adjust_and_recover(settings: Settings, run: RunFolder) -> dict[str, Any]:
    """Adjust a model, prove it, write it, score it; and distil it where the settings say so.

    Args:
        settings: `model.name` is the parent; `adjust` says what to cut; `train` how to recover.
        run: Receives plan.json and `model/`. A run that holds a plan replays it.

    Returns:
        Fields for result.json: the scores before, right after surgery and at the end, parameters,
        bytes, latencies, what was proved, and where recovered those of `train.fine_tune`.

    Raises:
        AdjustError: The model cannot be adjusted so; nothing is written.
    """
    started = time.monotonic()
    name = settings.model.name
    folder = "adjusted" if settings.adjust.recover else "model"
    parent = models.load(name, seed=settings.seed)
    child, result = _cut(settings, run, parent, folder)
    result |= compare(settings, parent, child)
    result["adjust_seconds"] = round(time.monotonic() - started, 2)
    run.write_result(result, status="running")
    del parent, child

    result |= _named(_parent_score(settings, run), "before")
    run.write_result(result, status="running")
    final = evaluate.evaluate_held_out(
        settings, run, run.url(folder), final=not settings.adjust.recover
    )
    result |= _named(final, "surgery")
    if settings.adjust.recover:
        run.write_result(result, status="running")
        student = settings.model_copy(
            update={
                "model": settings.model.model_copy(update={"name": run.url(folder)}),
                "train": settings.train.model_copy(update={"teacher": _teacher(settings)}),
            }
        )
        questions = squad.load(settings.data, "train", quarantine_dir=run.path)
        result |= train.fine_tune(student, run, questions)
        run.write_result(result, status="running")
        final = evaluate.evaluate_held_out(settings, run, run.url("model"))
    result |= final
    made = "adjusted and distilled" if settings.adjust.recover else "adjusted (not retrained)"
    card.write_card(run, settings, result, made=made)
    return result


def compare(settings: Settings, parent: PreTrainedModel, child: PreTrainedModel) -> dict[str, Any]:
    """Measure what the adjusted model costs beside its parent.

    Latencies are those of a forward pass, the two models in turns: in float32 on a CPU, in float16
    on a GPU.

    Returns:
        `num_parameters`, `weight_bytes` and the parent's; `num_parent_layers`; `latencies`
        (windows, tokens, and each model's milliseconds), `latency_device`, `latency_threads`; and
        `speedup`, that of one window of 384 tokens.
    """
    import torch

    pair = {"parent": parent, "child": child}
    on_gpu = settings.train.device != "cpu" and torch.cuda.is_available()
    device = "cuda" if on_gpu else "cpu"
    if on_gpu:
        pair = {key: copy.deepcopy(model).half().to(device) for key, model in pair.items()}
    latencies = []
    for num_windows, num_tokens in _shown(_LATENCY_SHAPES, "shapes", "measuring latency"):
        seconds = adjust.measure_latency(pair, batch=num_windows, num_tokens=num_tokens)
        latencies.append(
            {
                "windows": num_windows,
                "tokens": num_tokens,
                "parent_ms": round(seconds["parent"] * 1e3, 3),
                "child_ms": round(seconds["child"] * 1e3, 3),
                "speedup": round(seconds["parent"] / seconds["child"], 3),
            }
        )
    counts = {key: models.num_parameters(model) for key, model in pair.items()}
    return {
        "num_parameters": counts["child"],
        "num_parent_parameters": counts["parent"],
        "num_parent_layers": parent.config.num_hidden_layers,
        "weight_bytes": _weight_bytes(child),
        "parent_weight_bytes": _weight_bytes(parent),
        "speedup": latencies[0]["speedup"],
        "latencies": latencies,
        "latency_device": device,
        "latency_threads": torch.get_num_threads(),
    }


def summary(result: dict[str, Any]) -> str:
    """Return the lines that a job ends with."""
    lines = [
        f"{result['num_parent_parameters']:,} -> {result['num_parameters']:,} parameters,"
        f" {result['speedup']:.2f}x as fast (1 window of 384 tokens,"
        f" {result['latency_device']}, {result['latency_threads']} threads)"
    ]
    for title, key in (("before", "f1_before"), ("after surgery", "f1_surgery"), ("now", "f1")):
        if result.get(key) is not None:
            lines.append(f"F1 {title:<13} {result[key]:.2f}")
    return "\n".join(lines)


def _cut(
    settings: Settings, run: RunFolder, parent: PreTrainedModel, folder: str
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """Make or read the plan, show the table, cut, prove, and only then write."""
    dimensions = adjust.trace(parent)
    if not _has_head(settings.model.name):
        print(
            f"note: {settings.model.name} has no question-answering head: units are scored against"
            " a random one, and it will not teach. Fine-tune it first (`make train`).",
            file=sys.stderr,
        )
    parent_sha256 = models.fingerprint(settings.model.name)
    plan = _read_plan(settings, run)
    if plan is None:
        batches = _LazyWindows(settings, run)
        texts = _corpus(settings, run)
        kept = _vocabulary(settings, parent, texts)
        sizes = _sizes(settings, parent, batches, kept)
        print(adjust.table(parent.config, dimensions, sizes), flush=True)
        plan = adjust.make_plan(
            parent,
            sizes,
            batches,
            parent_sha256=parent_sha256,
            vocabulary=kept,
            method=settings.adjust.importance,
            folds=settings.adjust.fold,
            seed=settings.seed,
        )
    else:
        texts = None
        plan.check_parent(parent_sha256, settings.model.name)
        print(adjust.table(parent.config, dimensions, plan.keep.sizes), flush=True)
    child = adjust.apply(parent, plan)
    proof = adjust.prove(parent, child, plan)
    tokenizer, vocabulary = _shorten(settings, plan, texts)
    write_model(run, child, tokenizer, folder)
    run.write_text(PLAN, plan.to_json())
    sizes = plan.keep.sizes
    return child, {
        "parent": settings.model.name,
        "parent_sha256": plan.parent_sha256,
        "kept_layers": list(sizes.layers),
        "hidden_size": sizes.hidden_size,
        "num_heads": sizes.num_heads,
        "intermediate_size": sizes.intermediate_size,
        "vocabulary_size": child.config.vocab_size,
        "proof": vars(proof) | vocabulary,
    }


def _corpus(settings: Settings, run: RunFolder | None = None) -> pa.StringArray | None:
    """Return the texts whose tokens stay, each once, where the settings ask for a vocabulary."""
    if settings.adjust.vocabulary is None:
        return None
    questions = squad.load(settings.data, "train", quarantine_dir=run.path if run else None)
    columns = [questions.table[name].unique() for name in ("question", "context")]
    return pa.concat_arrays([column.cast(pa.string()) for column in columns])


def _vocabulary(
    settings: Settings, parent: PreTrainedModel, texts: pa.StringArray | None
) -> Indices | None:
    """Return the tokens to keep, or None for all."""
    if texts is None:
        return None
    tokenizer = models.load_tokenizer(settings.model.name)
    return adjust.vocabulary.used(tokenizer, texts, parent.config)


def _shorten(
    settings: Settings, plan: adjust.Plan, texts: pa.StringArray | None
) -> tuple[PreTrainedTokenizerFast, dict[str, int]]:
    """Return the tokenizer of the adjusted model, and what was proved of it.

    A replayed plan has no corpus at hand, on which it was proved when it was made.
    """
    tokenizer, kept = models.load_tokenizer(settings.model.name), plan.keep.vocabulary
    if kept is None:
        return tokenizer, {}
    short = adjust.vocabulary.shorten(tokenizer, kept)
    if texts is None:
        return short, {}
    return short, {"num_tokens": adjust.vocabulary.check(tokenizer, short, kept, texts)}


class _LazyWindows(Sequence["Batch"]):
    """Calibration windows that are drawn when the first one is needed.

    Replaying a plan, or sizes that are given, need no questions at all.
    """

    def __init__(self, settings: Settings, run: RunFolder | None = None) -> None:
        self._settings, self._run = settings, run
        self._drawn: list[Batch] | None = None

    def _batches(self) -> list[Batch]:
        if self._drawn is None:
            settings = self._settings
            questions = squad.load(
                settings.data, "train", quarantine_dir=self._run.path if self._run else None
            )
            self._drawn = adjust.draw_windows(
                questions.table,
                models.load_tokenizer(settings.model.name),
                windows.WindowSpec(settings.data.max_length, settings.data.stride),
                num_windows=settings.adjust.calibration_windows,
                seed=settings.seed,
            )
        return self._drawn

    def __getitem__(self, index: Any) -> Any:
        return self._batches()[index]

    def __iter__(self) -> Iterator[Batch]:
        return _shown(self._batches(), "batches", "calibrating")

    def __len__(self) -> int:
        return len(self._batches())


def _sizes(
    settings: Settings, parent: PreTrainedModel, batches: Sequence[Batch], kept: Indices | None
) -> adjust.Sizes:
    wish = settings.adjust
    count = None if kept is None else len(kept)
    if wish.target_speedup is not None or wish.target_parameters is not None:
        return adjust.find(parent, wish, batches, vocabulary_size=count, seed=settings.seed)
    sizes = replace(adjust.resolve(parent.config, wish), vocabulary_size=count)
    if sizes == adjust.Sizes.of(parent.config):
        raise AdjustError(
            "Nothing is to be adjusted: every size is the model's own.",
            "Pass a size, for example --adjust.intermediate-size"
            f" {sizes.intermediate_size // 2}, or --adjust.target-speedup 2.0.",
        )
    return sizes


def _read_plan(settings: Settings, run: RunFolder | None = None) -> adjust.Plan | None:
    """Return the plan that the settings name, or that a resumed run has already made."""
    if run is not None and run.resumed and run.exists(PLAN):
        return adjust.Plan.from_json(run.read_text(PLAN), run.url(PLAN))
    name = settings.adjust.plan
    if name is None:
        return None
    filesystem, path = storage.resolve(name)
    try:
        with filesystem.open_input_stream(path) as stream:
            text = stream.readall().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AdjustError(
            f"The plan {name} cannot be read: {storage.first_line(error)}.",
            f"Pass the {PLAN} of a run of `make adjust`.",
        ) from None
    return adjust.Plan.from_json(text, name)


def write_model(run: RunFolder, child: PreTrainedModel, tokenizer: Any, folder: str) -> None:
    """Write a stock checkpoint into a folder of the run, wherever that is."""
    from pyarrow import fs

    with tempfile.TemporaryDirectory() as local:
        models.save(child, tokenizer, local)
        target = f"{run.root}/{folder}"
        run.filesystem.create_dir(target, recursive=True)
        fs.copy_files(str(Path(local)), target, fs.LocalFileSystem(), run.filesystem)


def _teacher(settings: Settings) -> str | None:
    """Return who teaches the recovery: the parent, unless its head is a random one.

    A teacher without weight in the loss is not asked.
    """
    if not settings.train.distill_weight:
        return None
    name = settings.train.teacher or settings.model.name
    return name if settings.train.teacher or _has_head(name) else None


def _parent_score(settings: Settings, run: RunFolder) -> dict[str, Any]:
    """Return the parent's scores, computed once for all children that are scored alike.

    They are addressed by content, beside the teacher's logits: weights, questions, and how windows
    are cut and answers decoded.
    """
    splits = [split for split in squad.splits(settings.data) if split != "train"]
    if not splits:
        return {}
    questions = squad.load(settings.data, splits[0], quarantine_dir=run.path)
    name, data = settings.model.name, settings.data
    decides = [models.fingerprint(name), questions.fingerprint, data.max_length, data.stride]
    decides += [
        settings.evaluate.model_dump_json(exclude={"semantic_model"}),
        settings.train.precision,
    ]
    key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:24]
    cache = RunFolder(f"{settings.storage}/cache/score-{key}", run.job)
    found = cache.read_result()
    if not found:
        found = evaluate.evaluate(settings, run, name, questions, final=False)
        cache.filesystem.create_dir(cache.root, recursive=True)
        cache.write_text("result.json", storage.to_json(found, indent=2))
    return found


def _shown(items: Sequence[_T], unit: str, title: str) -> Iterator[_T]:
    """Yield items, and show how far the work on them has come."""
    with Progress(len(items), unit, title, quiet_s=_QUIET_S) as progress:
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(done)


def _has_head(name: str) -> bool:
    """Say whether a checkpoint holds a question-answering head, not an encoder alone."""
    from safetensors import safe_open

    for file in Path(models.resolve(name)).glob("*.safetensors"):
        with safe_open(file, framework="numpy") as tensors:
            if any(key.startswith("qa_outputs.") for key in tensors.keys()):
                return True
    return False


def _weight_bytes(model: PreTrainedModel) -> int:
    return sum(each.numel() * each.element_size() for each in model.state_dict().values())


def _named(result: dict[str, Any], moment: str) -> dict[str, Any]:
    return {f"{key}_{moment}": result[key] for key in ("f1", "em") if key in result}
