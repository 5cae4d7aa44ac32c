"""The pipeline of an adjustment: prune, prove, recover, score.

`adjust_and_recover` runs it whole. A search takes its parts: it plans and cuts its trials, recovers
them rung by rung, and prunes and recovers its choice.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from qa_lib import evaluation, models
from qa_lib.adjust.extensions import declare_families
from qa_lib.adjust.plan import Plan
from qa_lib.adjust.prune import obtain_plan, write_pruned
from qa_lib.adjust.recovery import ADJUSTED, check_teacher, recover
from qa_lib.adjust.stages import parents_layers, recover_stages
from qa_lib.config import Settings
from qa_lib.data import Questions, load_held_out, load_questions
from qa_lib.errors import ConfigError
from qa_lib.models import card
from qa_lib.models.latency import LATENCY_SHAPES, affordable, latency_device, measure_latency
from qa_lib.runs import storage
from qa_lib.runs.folder import Folder
from qa_lib.runs.progress import QUIET_S, tracked
from qa_lib.runs.result import Adjusted, Evaluated
from qa_lib.runs.result_file import RESULT, read_result
from qa_lib.runs.run_folder import CONFIG, PLAN, RunFolder
from qa_lib.training.task import identity_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qa_lib.training.correspondence import Correspondence

MODEL = "model"  # folder of a run's model at the end


def adjust_and_recover(settings: Settings, run: RunFolder) -> None:
    """Adjust a model, prove it, write it, score it; and distil it where the settings say so.

    Args:
        settings: `model.name` is the parent; `adjust` says what to cut; `train` how to recover.
        run: Receives plan.json, `model/`, and in result.json `Adjusted`, `Evaluated` and, after a
            recovery, `Trained`. A run that holds a plan replays it.

    Raises:
        AdjustError: The model cannot be adjusted as the settings say; nothing is written then.
        ConfigError: A resumed run was begun with other settings.
        TrainError: The recovery has no teacher for what it should teach.
    """
    _check_resumed(settings, run)
    check_teacher(settings)
    declare_families(settings.adjust.families)
    recovers = settings.adjust.recover
    questions, last, match = None, settings, None
    if recovers:
        questions = load_questions(settings.data, "train", quarantine_dir=run.path)
        if settings.adjust.stages > 1:
            last, match = recover_stages(settings, run, questions)
    if recovers and run.resumed and run.exists(PLAN) and run.exists("checkpoints"):
        # Cut, proved and scored before its training began, and not written again: the recovery may
        # yet be refused.
        Plan.read(run).check_parent(models.fingerprint(last.model.name), last.model.name)
    else:
        folder = ADJUSTED if recovers else MODEL
        scores = _prune_and_score(last, run, folder, settings.model.name)
        if not recovers:
            run.write_result(scores, status="running")
        layers = parents_layers(run.result["kept_layers"], run.result.get("stages", []))
        run.write_result(Adjusted(kept_layers=layers), status="running")
    if questions is not None:
        recover_and_score(last, run, questions, first=match)
    card.write_card(
        run, settings, made="adjusted and distilled" if recovers else "adjusted (not retrained)"
    )


def _check_resumed(settings: Settings, run: RunFolder) -> None:
    """Refuse to go on with a run that was to become another model."""
    if not (run.resumed and run.exists(CONFIG)):
        return
    before, now = (_decisive(each, run) for each in (run.read_config(), settings))
    changed = [flag for flag, value in now.items() if before[flag] != value]
    if changed:
        were = "; ".join(f"{flag} {before[flag]}, not {flag} {now[flag]}" for flag in changed)
        raise ConfigError(
            f"{run.path} was begun with other settings: {were}.",
            f"Resume it with the settings in {run.url(CONFIG)}, or start a new run.",
        )


def _decisive(settings: Settings, run: RunFolder) -> dict[str, Any]:
    """Return, by flag, the settings that what a run has already depends on.

    Where it has trained, checkpoints and stages tell by content whether the questions are the same,
    and their sources may be elsewhere now.
    """
    flags = {f"--adjust.{name}": value for name, value in settings.adjust.model_dump().items()}
    stage = run.inside("stages/1")
    has_stage = stage.exists("checkpoints") or stage.read_result().get("status") == "done"
    if has_stage or run.exists(PLAN) or stage.exists(PLAN):
        may_move = {"source", "eval_source"} if has_stage or run.exists("checkpoints") else set()
        data = settings.data.model_dump(exclude={"bad_row_limit", *may_move})
        flags |= {f"--data.{name}": value for name, value in data.items()}
        flags["--seed"] = settings.seed
        if settings.adjust.stages > 1:  # else the plan tells the parent by content, moved or not
            flags["--model.name"] = settings.model.name
    if has_stage:  # of the run's own training, the last, its checkpoints know
        flags |= identity_of(settings)
    return {flag.replace("_", "-"): value for flag, value in flags.items()}


def recover_and_score(
    settings: Settings,
    run: RunFolder,
    questions: Questions,
    *,
    first: Correspondence | None = None,
) -> None:
    """Recover the pruned model of a run, and evaluate it; arguments as of `recover`."""
    run.write_result(recover(settings, run, questions, first=first), status="running")
    scores = evaluation.evaluate_held_out(settings, run, run.url(MODEL))
    run.write_result(scores, status="running")


def compare(settings: Settings, parent: PreTrainedModel, child: PreTrainedModel) -> Adjusted:
    """Measure the costs of the adjusted model and of its parent.

    Latencies are those of a forward pass, the two models in turns: in float32 on a CPU, in float16
    on a GPU. Of slow models a pass has fewer windows, so that all take a minute at most.
    """
    import torch

    pair = {"parent": parent, "child": child}
    device = latency_device(settings.train)
    if device == "cuda":
        pair = {key: copy.deepcopy(model).half().to(device) for key, model in pair.items()}
    latencies = []
    of_one: dict[int, dict[str, float]] = {}  # seconds of the models for one window, by its tokens
    shapes = tracked(LATENCY_SHAPES, "shapes", "measuring latency", quiet_s=QUIET_S)
    for num_windows, num_tokens in shapes:
        num_windows = affordable(num_windows, of_one.get(num_tokens))
        seconds = measure_latency(pair, batch=num_windows, num_tokens=num_tokens)
        of_one.setdefault(num_tokens, seconds)
        latencies.append(
            {
                "windows": num_windows,
                "tokens": min(num_tokens, models.maximum_length(parent.config) or num_tokens),
                "parent_ms": round(seconds["parent"] * 1e3, 3),
                "child_ms": round(seconds["child"] * 1e3, 3),
                "speedup": round(seconds["parent"] / seconds["child"], 3),
            }
        )
    return Adjusted(
        num_parameters=models.num_parameters(child),
        num_parent_parameters=models.num_parameters(parent),
        num_parent_layers=parent.config.num_hidden_layers,
        weight_bytes=_weight_bytes(child),
        parent_weight_bytes=_weight_bytes(parent),
        speedup=latencies[0]["speedup"],
        latencies=latencies,
        latency_device=device,
        latency_threads=torch.get_num_threads(),
    )


def summary(result: dict[str, Any]) -> str:
    """Return the last lines that a job prints."""
    num_tokens = result["latencies"][0]["tokens"]
    lines = [
        f"{result['num_parent_parameters']:,} -> {result['num_parameters']:,} parameters,"
        f" {result['speedup']:.2f}x as fast (1 window of {num_tokens} tokens,"
        f" {result['latency_device']}, {result['latency_threads']} threads)"
    ]
    for title, key in (("before", "f1_before"), ("after surgery", "f1_surgery"), ("now", "f1")):
        if result.get(key) is not None:
            lines.append(f"F1 {title:<13} {result[key]:.2f}")
    return "\n".join(lines)


def _prune_and_score(settings: Settings, run: RunFolder, folder: str, origin: str) -> Evaluated:
    """Write the pruned model into a folder of the run, and its scores and those of `origin`.

    That is the model that is cut, unless it was cut and recovered before.
    """
    run.write_result(*_prune_and_compare(settings, run, folder, origin), status="running")
    before = _parent_score(settings, run, origin)
    run.write_result(
        Adjusted(**{f"{name}_before": before[name] for name in ("f1", "em") if name in before}),
        status="running",
    )
    scores = evaluation.evaluate_held_out(settings, run, run.url(folder), final=folder == MODEL)
    if scores.num_questions:
        surgery = Adjusted(f1_surgery=scores.f1, em_surgery=scores.em)
        run.write_result(surgery, status="running")
    return scores


def _prune_and_compare(
    settings: Settings, run: RunFolder, folder: str, origin: str
) -> tuple[Adjusted, ...]:
    started_s = time.monotonic()
    name = settings.model.name
    parent = models.load(name, seed=settings.seed)
    if not models.has_answering_head(name):
        print(
            f"note: {name} has no question-answering head: units are scored against a random one,"
            " and it will not teach. Fine-tune it first (`make train`).",
            file=sys.stderr,
        )
    plan, texts = obtain_plan(settings, run, parent)
    child, pruned = write_pruned(settings, run, parent, plan, folder, texts=texts)
    whole = parent if name == origin else models.load(origin, seed=settings.seed)
    costs = compare(settings, whole, child)
    rest = Adjusted(
        parent=origin,
        parent_sha256=models.fingerprint(origin),
        vocabulary_size=child.config.vocab_size,
        adjust_seconds=round(time.monotonic() - started_s, 2),
    )
    return pruned, costs, rest


def _parent_score(settings: Settings, run: RunFolder, name: str) -> dict[str, Any]:
    """Return the parent's scores, computed once for all children that are scored alike.

    A parent without a head has none.

    They are addressed by content, beside the teacher's logits: weights, questions, and how windows
    are cut and answers decoded.
    """
    questions = load_held_out(settings.data, quarantine_dir=run.path)
    if questions is None or not models.has_answering_head(name):
        return {}
    data = settings.data
    inputs = [models.fingerprint(name), questions.fingerprint, data.max_length, data.stride]
    inputs.append(settings.evaluate.model_dump_json(exclude={"semantic_model"}))
    inputs.append(settings.train.precision)
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:24]
    cache = Folder(storage.join(settings.storage, "cache", f"score-{key}"))
    scores = read_result(cache)
    if not scores:
        scores = evaluation.evaluate(settings, run, name, questions, final=False).fields()
        cache.write_json(RESULT, scores, indent=2)
    return scores


def _weight_bytes(model: PreTrainedModel) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
