"""From a parent to a smaller model that is scored, and distilled where the settings say so."""

from __future__ import annotations

import copy
import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from qa_lib import adjust, evaluation, models, training
from qa_lib.adjust.prune import cut, describe, sizes_of, write_model
from qa_lib.config import Settings
from qa_lib.data import load_held_out, load_questions
from qa_lib.models import card
from qa_lib.runs.folder import Folder
from qa_lib.runs.progress import QUIET_S, tracked
from qa_lib.runs.run_folder import RunFolder
from qa_lib.runs.run_names import RESULT, read_result

__all__ = ["adjust_and_recover", "compare", "describe", "sizes_of", "summary", "write_model"]

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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
    child, result = cut(settings, run, parent, folder)
    result |= compare(settings, parent, child)
    result["adjust_seconds"] = round(time.monotonic() - started, 2)
    run.write_result(result, status="running")
    del parent, child

    result |= _named(_parent_score(settings, run), "before")
    run.write_result(result, status="running")
    final = evaluation.evaluate_held_out(
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
        questions = load_questions(settings.data, "train", quarantine_dir=run.path)
        result |= training.fine_tune(student, run, questions)
        run.write_result(result, status="running")
        final = evaluation.evaluate_held_out(settings, run, run.url("model"))
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
    for num_windows, num_tokens in tracked(
        adjust.LATENCY_SHAPES, "shapes", "measuring latency", quiet_s=QUIET_S
    ):
        seconds = adjust.measure_latency(pair, batch=num_windows, num_tokens=num_tokens)
        latencies.append(
            {
                "windows": num_windows,
                "tokens": min(num_tokens, models.maximum_length(parent.config) or num_tokens),
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


def _teacher(settings: Settings) -> str | None:
    """Return who teaches the recovery: the parent, unless its head is a random one.

    A teacher without weight in the loss is not asked.
    """
    if not settings.train.distill_weight:
        return None
    name = settings.train.teacher or settings.model.name
    return name if settings.train.teacher or models.has_answering_head(name) else None


def _parent_score(settings: Settings, run: RunFolder) -> dict[str, Any]:
    """Return the parent's scores, computed once for all children that are scored alike.

    They are addressed by content, beside the teacher's logits: weights, questions, and how windows
    are cut and answers decoded.
    """
    questions = load_held_out(settings.data, quarantine_dir=run.path)
    if questions is None:
        return {}
    name, data = settings.model.name, settings.data
    decides = [models.fingerprint(name), questions.fingerprint, data.max_length, data.stride]
    decides += [
        settings.evaluate.model_dump_json(exclude={"semantic_model"}),
        settings.train.precision,
    ]
    key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()[:24]
    cache = Folder(f"{settings.storage}/cache/score-{key}")
    found = read_result(cache)
    if not found:
        found = evaluation.evaluate(settings, run, name, questions, final=False)
        cache.write_json(RESULT, found, indent=2)
    return found


def _weight_bytes(model: PreTrainedModel) -> int:
    return sum(each.numel() * each.element_size() for each in model.state_dict().values())


def _named(result: dict[str, Any], moment: str) -> dict[str, Any]:
    return {f"{key}_{moment}": result[key] for key in ("f1", "em") if key in result}
