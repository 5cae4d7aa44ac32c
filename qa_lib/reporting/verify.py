"""Proving a finished run anew, from its folder alone.

    for finding in verify.verify(RunFolder("runs/mine", "train")):
        print(finding)

Nothing that the run says of itself is believed: files are hashed, the plan is made again from the
questions, the answers are scored again, and the model is loaded by a process that knows nothing of
this suite.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from qa_lib import models, windows
from qa_lib.config import DataSettings, Settings
from qa_lib.data import Questions, Split, load_questions
from qa_lib.errors import CheckpointError, ConfigError, UserError
from qa_lib.evaluation import PREDICTIONS, metrics
from qa_lib.runs import storage
from qa_lib.runs.checkpoints import CheckpointStore
from qa_lib.runs.run_folder import CONFIG, METRICS, RESULT, RunFolder
from qa_lib.training import LEDGER, check_ledger, checkpoints_of, plan_of, read_ledger
from qa_lib.training.batch_plan import BatchPlan

_STOCK_LOAD_S = 300
# Run with the working directory elsewhere, so that nothing of ours can be imported.
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


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        name: The file or folder concerned.
        passed: False where something is wrong; None where it could not be checked.
        detail: What was found.
    """

    name: str
    passed: bool | None
    detail: str

    def __str__(self) -> str:
        """Return a line that begins with ok, WRONG or not checked."""
        verdict = {True: "ok", False: "WRONG", None: "not checked"}[self.passed]
        return f"{verdict:<12}{self.name}: {self.detail}"


class _Wrong(Exception):
    """Something is not what the run says."""


class _NotChecked(Exception):
    """What the check needs is not there."""


def verify(run: RunFolder, source: str | None = None) -> Iterator[Finding]:
    """Check a run folder.

    Args:
        run: Of any job that trains or evaluates.
        source: Where the questions are now; None takes the source that the run was made with.

    Yields:
        A finding for each of: result.json, every checkpoint, ledger.parquet, metrics.jsonl,
        predictions.json, model/.

    Raises:
        ConfigError: The folder is no run.
    """
    result, settings = _read_run(run)
    data = settings.data if source is None else settings.data.model_copy(update={"source": source})
    yield _try(RESULT, partial(_check_status, result))
    yield from _check_checkpoints(run)
    checks: list[tuple[str, Callable[[], str]]] = []
    if run.exists(LEDGER):
        checks.append((LEDGER, partial(_check_history, run, result, settings, data)))
    if run.exists(METRICS) and "steps" in result:
        checks.append((METRICS, partial(_check_metrics, run, result)))
    if run.exists(PREDICTIONS):
        checks.append((PREDICTIONS, partial(_check_scores, run, result, data)))
    if run.exists("model"):
        checks.append(("model", partial(_check_stock_load, run, result)))
    for name, check in checks:
        yield _try(name, check)


def _read_run(run: RunFolder) -> tuple[dict[str, Any], Settings]:
    for name in (RESULT, CONFIG):
        if not run.exists(name):
            raise ConfigError(
                f"{run.path} is no run folder: there is no {name} in it.",
                "Give the path or URL of a run, such as runs/train-quickstart-001.",
            )
    return run.read_result(), run.read_config()


def _try(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except _Wrong as wrong:
        return Finding(name, False, str(wrong))
    except _NotChecked as reason:
        return Finding(name, None, str(reason))
    except KeyError as field:
        return Finding(
            name, None, f"{RESULT} tells of no {field}, which an earlier version left out"
        )
    except (UserError, OSError, ValueError) as error:  # Arrow and JSON raise the last two
        return Finding(name, False, f"it cannot be read: {storage.first_line(error)}")


def _check_status(result: dict[str, Any]) -> str:
    if result.get("status") != "done":
        raise _Wrong(f"the run is {result.get('status')}, not done")
    return f"done in {result['seconds']:,.0f} s"


def _check_checkpoints(run: RunFolder) -> Iterator[Finding]:
    for directory, problem in CheckpointStore(checkpoints_of(run.path)).check_all():
        name = directory.removeprefix(f"{run.root}/")
        yield Finding(name, not problem, problem or "every file matches its SHA-256")


def _check_history(
    run: RunFolder, result: dict[str, Any], settings: Settings, data: DataSettings
) -> str:
    """Compare the ledger with the plan, made anew from the questions where they can be had."""
    ledger = read_ledger(run)
    indices = ledger["window_index"].to_numpy()
    num_windows, num_steps = result["num_train_windows"], result["steps"]
    times = np.bincount(indices, minlength=num_windows)
    if len(times) > num_windows or times.max() - times.min() > 1:
        raise _Wrong(
            f"windows were trained {times.min()} to {times.max()} times, and {len(times)} are "
            f"named where there are {num_windows}"
        )
    try:
        plan = _plan(run, result, settings, data)
    except _NotChecked as reason:
        raise _NotChecked(
            f"each of {num_windows:,} windows was trained {times.min()} to {times.max()} times, "
            f"but whether as planned is unknown: {reason}"
        ) from None
    try:
        check_ledger(ledger, plan, num_steps)
    except AssertionError as error:
        why = str(error) or "an epoch is not every window once"
        raise _Wrong(f"not what was planned: {why}") from None
    found = CheckpointStore(checkpoints_of(run.path)).newest_good(warn=lambda _: None)
    if found is not None and found.meta["plan"] != plan.fingerprint:
        raise _Wrong(f"{found.directory} was written for another plan")
    epochs = num_steps / plan.steps_per_epoch
    return (
        f"{num_steps:,} steps over {num_windows:,} windows, {epochs:.2f} epochs: each window as "
        "planned, exactly once an epoch"
    )


def _plan(
    run: RunFolder, result: dict[str, Any], settings: Settings, data: DataSettings
) -> BatchPlan:
    questions = _load(data, "train")
    if questions.fingerprint != result["train_fingerprint"]:
        raise _NotChecked(f"{data.source} holds other questions than were trained on")
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    tokenizer = models.load_tokenizer(run.url("model"))
    cut = windows.build(questions.table, tokenizer, spec, labels=False, characters=False)
    return plan_of(settings, windows.lengths(cut.table))


def _load(data: DataSettings, split: Split) -> Questions:
    try:
        return load_questions(data, split)
    except UserError as error:
        raise _NotChecked(f"the questions cannot be had: {error.problem}") from None


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
        raise _NotChecked(f"{data.source} holds other questions than were answered")
    scores = metrics.score(questions.table, predictions).summary()
    for name in ("em", "f1"):
        if abs(scores[name] - result[name]) > 1e-6:
            raise _Wrong(f"{name} is {scores[name]:.4f}, and {RESULT} says {result[name]:.4f}")
    return (
        f"EM {scores['em']:.2f}, F1 {scores['f1']:.2f} over {len(questions):,} questions, as "
        f"{RESULT} says"
    )


def _check_stock_load(run: RunFolder, result: dict[str, Any]) -> str:
    told = result.get("model_fingerprint")
    try:
        folder = models.resolve(run.url("model"))
        found = models.fingerprint(folder)
    except UserError as error:
        raise _Wrong(error.problem) from None
    if told not in (None, found):
        raise _Wrong(f"config.json or the weights are not those that {RESULT} tells of")
    if models.is_ragged(folder):
        return _check_ragged_load(folder, result)
    with tempfile.TemporaryDirectory(prefix="qa-verify-") as elsewhere:
        done = subprocess.run(
            [sys.executable, "-c", _STOCK_LOAD, folder],
            cwd=elsewhere,
            capture_output=True,
            text=True,
            timeout=_STOCK_LOAD_S,
        )
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise _Wrong(f"AutoModelForQuestionAnswering does not load it: {last}")
    loaded = json.loads(done.stdout.strip().rpartition("\n")[2])
    if loaded["missing"] or loaded["unexpected"] or not loaded["finite"] or loaded["ours"]:
        raise _Wrong(f"it loads, but {loaded}")
    if loaded["num_parameters"] != result.get("num_parameters", loaded["num_parameters"]):
        raise _Wrong(
            f"it has {loaded['num_parameters']:,} parameters, and {RESULT} says "
            f"{result['num_parameters']:,}"
        )
    return f"{loaded['num_parameters']:,} parameters, loads with transformers and torch alone"


def _check_ragged_load(folder: str, result: dict[str, Any]) -> str:
    """Load what stock transformers cannot: every tensor must be there, of its layer's width."""
    try:
        model = models.load(folder)
        models.load_tokenizer(folder)
    except UserError as error:
        raise _Wrong(error.problem) from None
    if not all(bool(each.isfinite().all()) for each in model.parameters()):
        raise _Wrong("it loads, but a weight is not finite")
    found = models.num_parameters(model)
    if found != result.get("num_parameters", found):
        raise _Wrong(f"it has {found:,} parameters, and {RESULT} says {result['num_parameters']:,}")
    return f"{found:,} parameters, ragged: loads with this suite alone"


def conclude(run: RunFolder, findings: list[Finding]) -> str:
    """Return the verdict on a run as a line.

    Raises:
        CheckpointError: Something is wrong; each file concerned is named.
    """
    wrong = [finding for finding in findings if finding.passed is False]
    if wrong:
        raise CheckpointError(
            f"{run.path} is not what it says: "
            + "; ".join(f"{finding.name}: {finding.detail}" for finding in wrong),
            "Restore the files named from a copy, or make the run again.",
        )
    unchecked = sum(finding.passed is None for finding in findings)
    proved = f"{len(findings) - unchecked} of {len(findings)} checks passed, none failed"
    return f"{run.path}: {proved}"
