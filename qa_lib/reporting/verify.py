"""Verification of a finished run, from its folder alone.

    for finding in verify.verify(RunFolder("runs/mine", "train")):
        print(finding)

It trusts no record of the run: files are hashed, the batch plan is made again from the questions,
answers are scored again, and the model is loaded by a process that knows nothing of this suite.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from qa_lib import models, windows
from qa_lib.config import DataSettings, Settings
from qa_lib.data import Questions, Split, load_questions, load_unlabelled
from qa_lib.doctor import Finding
from qa_lib.errors import CheckpointError, UserError
from qa_lib.evaluation import PREDICTIONS, metrics
from qa_lib.reporting import inner_runs
from qa_lib.reporting.facts import require_files
from qa_lib.runs import storage
from qa_lib.runs.checkpoints import CheckpointStore
from qa_lib.runs.result_file import lost_writer
from qa_lib.runs.run_folder import CONFIG, METRICS, RESULT, RunFolder
from qa_lib.training import LEDGER, check_ledger, checkpoints_of, plan_of, read_ledger, teacher_only
from qa_lib.training.sources import SOURCES, content_sha256

_STOCK_LOAD_S = 300
# Runs in another working directory, where nothing of this suite can be imported.
_STOCK_LOAD = """
import json, sys
import torch
from transformers import AutoModelForQuestionAnswering, AutoTokenizer
model, loading = AutoModelForQuestionAnswering.from_pretrained(
    sys.argv[1], use_safetensors=True, output_loading_info=True
)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
inputs = tokenizer("Who built it?", "Ann built the bridge in 1890.", return_tensors="pt")
with torch.inference_mode():
    output = model.eval()(**inputs)
finite = bool(output.start_logits.isfinite().all() and output.end_logits.isfinite().all())
print(json.dumps({
    "missing": sorted(loading["missing_keys"]),
    "unexpected": sorted(loading["unexpected_keys"]),
    "finite": finite,
    "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
    "ours": sorted({"qa_lib", "jobs", "ray", "deepspeed"} & set(sys.modules)),
}))
"""


class _Wrong(Exception):
    """The run and its record differ."""


class _NotChecked(Exception):
    """The check lacks something that it needs."""


_MAKERS = ("train", "adjust", "tune", "export")  # jobs whose runs hold a model
_SOURCES = (("data", "source"), ("data", "eval_source"), ("train", "teacher_only_source"))


def verify(run: RunFolder, moved: Settings | None = None) -> Iterator[Finding]:
    """Check a run folder, and the runs that were made in it on the way.

    Args:
        run: Of any job that trains or evaluates.
        moved: Names, as sources of its questions, those that are elsewhere now; the others are
            where the run found them.

    Yields:
        A finding on each of result.json, every checkpoint, ledger.parquet, metrics.jsonl,
        predictions.json, model/: good, fault (also where result.json says that there was one), or
        note where it could not be checked. Checkpoints may be pruned. The same on the runs
        inside (`inner_runs.names`).

    Raises:
        ConfigError: The folder is not a run's.
    """
    require_files(run, RESULT, CONFIG)
    yield from _check_all(run, run.read_config(), moved or Settings())


def _check_all(run: RunFolder, config: Settings, moved: Settings) -> Iterator[Finding]:
    yield from _check_run(run, _with_sources(config, moved))
    for name in inner_runs.names(run, config):
        inner = RunFolder(run.url(name), run.job)
        if not inner.exists(RESULT):
            yield Finding(name, "fault", f"its {RESULT} is missing")
            continue
        own = inner.read_config() if inner.exists(CONFIG) else config  # a stage has the run's
        for found in _check_all(inner, own, moved):
            yield replace(found, what=f"{name}/{found.what}")


def _check_run(run: RunFolder, settings: Settings) -> Iterator[Finding]:
    result, data = run.read_result(), settings.data
    yield _try(RESULT, partial(_check_status, run, result))
    yield from _check_checkpoints(run)
    trained = "steps" in result
    scored = "f1" in result and bool(result.get("num_questions"))
    made = result.get("job") in _MAKERS and result.get("status") == "done"
    checks: list[tuple[str, bool, Callable[[], str]]] = [
        (LEDGER, trained, partial(_check_history, run, result, settings, data)),
        (METRICS, trained, partial(_check_metrics, run, result)),
        (PREDICTIONS, scored, partial(_check_scores, run, result, data)),
        ("model", made, partial(_check_stock_load, run, result)),
    ]
    for name, is_due, check in checks:
        if run.exists(name):
            yield _try(name, check)
        elif is_due:
            yield Finding(name, "fault", "it is missing")


def _with_sources(settings: Settings, moved: Settings) -> Settings:
    """Return the settings with the sources that are elsewhere now."""
    for group, name in _SOURCES:
        source = getattr(getattr(moved, group), name)
        if source != getattr(getattr(Settings(), group), name):
            old = getattr(settings, group)
            settings = settings.model_copy(update={group: old.model_copy(update={name: source})})
    return settings


def _try(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, "good", check())
    except _Wrong as wrong:
        return Finding(name, "fault", str(wrong))
    except _NotChecked as reason:
        return Finding(name, "note", f"not checked: {reason}")
    except KeyError as field:  # an earlier version left it out
        return Finding(name, "note", f"not checked: {RESULT} has no {field}")
    except (UserError, OSError, ValueError) as error:  # Arrow and JSON raise the last two
        return Finding(name, "fault", f"it cannot be read: {storage.first_line(error)}")


def _check_status(run: RunFolder, result: dict[str, Any]) -> str:
    lost = lost_writer(run, result)
    if lost:
        raise _Wrong(lost)
    if result.get("status") != "done":
        raise _Wrong(f"the run is {result.get('status')}, not done")
    return f"done in {result['seconds']:,.0f} s"


def _check_checkpoints(run: RunFolder) -> Iterator[Finding]:
    for directory, problem in CheckpointStore(checkpoints_of(run.path)).check_all():
        name = directory.removeprefix(f"{run.root}/")
        if problem:
            yield Finding(name, "fault", problem)
        else:
            yield Finding(name, "good", "every file matches its SHA-256")


def _check_history(
    run: RunFolder, result: dict[str, Any], settings: Settings, data: DataSettings
) -> str:
    """Compare the ledger with the batch plan, made again if the questions are available."""
    ledger = read_ledger(run)
    indices = ledger["window_index"].to_numpy()
    num_windows, num_steps = result["num_train_windows"], result["steps"]
    times = np.bincount(indices, minlength=num_windows)
    if len(times) > num_windows or times.max() - times.min() > 1:
        raise _Wrong(
            f"windows were trained {times.min()} to {times.max()} times, and it names {len(times)} "
            f"of {num_windows}"
        )
    try:
        cut = _cut(run, result, settings, data)
    except _NotChecked as reason:
        raise _NotChecked(
            f"each of {num_windows:,} windows was trained {times.min()} to {times.max()} times, "
            f"but not whether as planned: {reason}"
        ) from None
    plan = plan_of(settings, windows.lengths(cut))
    try:
        check_ledger(ledger, plan, num_steps)
    except AssertionError as error:
        cause = str(error) or "an epoch is not every window once"
        raise _Wrong(f"it differs from the batch plan: {cause}") from None
    newest = CheckpointStore(checkpoints_of(run.path)).newest_good(warn=lambda _: None)
    if newest is not None:
        if newest.meta["plan"] != plan.fingerprint:
            raise _Wrong(f"{newest.directory} was written for another batch plan")
        recorded = newest.meta.get(SOURCES)
        if recorded is not None and recorded["windows"] != content_sha256([cut]):
            raise _Wrong(f"{newest.directory} was trained on other windows than these questions")
    epochs = num_steps / plan.steps_per_epoch
    return (
        f"{num_steps:,} steps over {num_windows:,} windows, {epochs:.2f} epochs: each window as "
        f"planned, exactly once an epoch, on {_proved(data.source, result['train_fingerprint'])}"
    )


def _cut(
    run: RunFolder, result: dict[str, Any], settings: Settings, data: DataSettings
) -> pa.Table:
    """Cut the training questions into windows again."""
    questions = _load(data, "train")
    if questions.fingerprint != result["train_fingerprint"]:
        raise _NotChecked(f"{data.source} holds other questions than the run trained on")
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    tokenizer = models.load_tokenizer(run.url("model"))
    cut = windows.build(questions.table, tokenizer, spec, characters=False).table
    if settings.train.teacher_only_source is None:
        return cut
    more = _unlabelled(result, settings, data, questions)
    first_row = len(questions)
    added = windows.build(more.table, tokenizer, spec, first_row=first_row, characters=False).table
    pairs = ((cut, True), (added, False))
    return pa.concat_tables(
        [part for table, known in pairs for part in teacher_only.marked([table], is_labelled=known)]
    )


def _unlabelled(
    result: dict[str, Any], settings: Settings, data: DataSettings, questions: Questions
) -> Questions:
    """Load the questions that only the teacher taught."""
    train = settings.train
    source = train.teacher_only_source
    assert source is not None
    try:
        found = load_unlabelled(data, source, questions, limit=train.teacher_only_limit).questions
    except UserError as error:
        raise _NotChecked(error.problem) from None
    if found.fingerprint != result["teacher_only_fingerprint"]:
        raise _NotChecked(f"{source} holds other questions than the run trained on")
    return found


def _proved(source: str, fingerprint: str) -> str:
    """Name the questions that were proved, by source and by content."""
    return f"the questions of {source} with SHA-256 {fingerprint[:12]}..."


def _load(data: DataSettings, split: Split) -> Questions:
    try:
        return load_questions(data, split)
    except UserError as error:
        raise _NotChecked(f"the questions are not available: {error.problem}") from None


def _check_metrics(run: RunFolder, result: dict[str, Any]) -> str:
    steps = [row["step"] for row in run.read_metrics() if "step" in row]
    missing = sorted(set(range(1, result["steps"] + 1)) - set(steps))
    if missing:
        raise _Wrong(f"{len(missing)} steps are missing, the first is {missing[0]}")
    return f"{result['steps']:,} steps, {len(steps) - len(set(steps)):,} of them redone"


def _check_scores(run: RunFolder, result: dict[str, Any], data: DataSettings) -> str:
    predictions = metrics.parse_predictions(run.read_text(PREDICTIONS), PREDICTIONS)
    questions = _load(data, result.get("eval_split", "eval"))
    if questions.fingerprint != result.get("eval_fingerprint"):
        raise _NotChecked(f"{questions.source} holds other questions than the run answered")
    scores = metrics.score(questions.table, predictions).summary()
    for name in ("em", "f1"):
        if abs(scores[name] - result[name]) > 1e-6:
            raise _Wrong(f"{name} is {scores[name]:.4f}, and {RESULT} says {result[name]:.4f}")
    return (
        f"EM {scores['em']:.2f}, F1 {scores['f1']:.2f} over {len(questions):,} questions, as "
        f"{RESULT} says, on {_proved(questions.source, questions.fingerprint)}"
    )


def _check_stock_load(run: RunFolder, result: dict[str, Any]) -> str:
    try:
        folder = models.resolve(run.url("model"))
        fingerprint = models.fingerprint(folder)
    except UserError as error:
        raise _Wrong(error.problem) from None
    if result.get("model_fingerprint") not in (None, fingerprint):
        raise _Wrong(f"config.json or the weights are not those of {RESULT}")
    if models.is_ragged(folder):
        return _check_ragged_load(folder, result)
    with tempfile.TemporaryDirectory(prefix="qa-verify-") as elsewhere:
        try:
            done = subprocess.run(
                [sys.executable, "-c", _STOCK_LOAD, folder],
                cwd=elsewhere,
                capture_output=True,
                text=True,
                timeout=_STOCK_LOAD_S,
            )
        except subprocess.TimeoutExpired:
            raise _NotChecked(f"it did not load within {_STOCK_LOAD_S} s") from None
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise _Wrong(f"AutoModelForQuestionAnswering does not load it: {last}")
    loaded = json.loads(done.stdout.strip().rpartition("\n")[2])
    if loaded["missing"] or loaded["unexpected"] or not loaded["finite"] or loaded["ours"]:
        raise _Wrong(f"it loads, but {loaded}")
    count = _check_count(loaded["num_parameters"], result)
    return f"{count}, loads with transformers and torch alone"


def _check_ragged_load(folder: str, result: dict[str, Any]) -> str:
    """Load a model that stock transformers cannot, with every tensor as wide as its layer."""
    try:
        model = models.load(folder)
        models.load_tokenizer(folder)
    except UserError as error:
        raise _Wrong(error.problem) from None
    if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
        raise _Wrong("it loads, but a weight is not finite")
    count = _check_count(models.num_parameters(model), result)
    return f"{count}, ragged: loads with this suite only"


def _check_count(count: int, result: dict[str, Any]) -> str:
    if count != result.get("num_parameters", count):
        raise _Wrong(f"it has {count:,} parameters, and {RESULT} says {result['num_parameters']:,}")
    return f"{count:,} parameters"


def conclude(run: RunFolder, findings: list[Finding]) -> str:
    """Return the verdict on a run as a line.

    Raises:
        CheckpointError: A check failed; the message names every file concerned.
    """
    faults = [finding for finding in findings if finding.verdict == "fault"]
    if faults:
        raise CheckpointError(
            f"Verification of {run.path} failed: "
            + "; ".join(f"{fault.what}: {fault.message}" for fault in faults),
            "Restore these files from a copy, or make the run again.",
        )
    num_passed = sum(finding.verdict == "good" for finding in findings)
    return f"{run.path}: {num_passed} of {len(findings)} checks passed, none failed"
