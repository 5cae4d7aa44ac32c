"""From a model and questions to the fields of result.json."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from qa_lib import windows
from qa_lib.config import Settings
from qa_lib.data import load_held_out
from qa_lib.evaluation import analysis, metrics, pool
from qa_lib.evaluation.scoring import fields, merge, origin, write_answers
from qa_lib.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from qa_lib.data import Questions


def evaluate(
    settings: Settings,
    run: RunFolder,
    model_name: str,
    questions: Questions,
    *,
    final: bool = True,
) -> dict[str, Any]:
    """Answer every question with a model, score the answers, and write them to the run folder.

    The folder gets `predictions.json` (official form) and `answers.parquet` (a row per question:
    `id`, `answer`, its characters, its `score` among the question's n best, and `null_odds`); under
    SQuAD 2.0 rules also `null_odds.json` (official form). A final evaluation adds what
    `scores.analyse` writes.

    Args:
        settings: How to cut windows and decode; `train.device` and `train.precision` hold here too.
        run: Receives the answers.
        model_name: What `model.load` takes.
        questions: To answer, all of them.
        final: Whether to analyse the scores too; false where the model is one of several on the
            way, and EM and F1 will do.

    Returns:
        Fields for result.json: `em`, `f1`, `num_questions`, `num_windows`, `windows_per_s` (from
        the first forward pass to the last), those of `scores.analyse`, and more.

    Raises:
        ConfigError, ResourceError: The settings do not fit the model, the machine or the cluster.
        ModelError: The model cannot be loaded, or its logits are not finite.
        DataError: No question fits a window.
    """
    from qa_lib import models
    from qa_lib.machines.ray_session import start_ray
    from qa_lib.training import dataset

    _check(settings, model_name, final=final)
    start_ray()
    started = time.monotonic()
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    window_set = dataset.tokenize(questions.table, model_name, spec, offsets=True)
    candidates, facts = pool.read_all(settings, model_name, window_set)
    return {
        **_merge_and_score(settings, run, questions, candidates, final),
        **facts,
        "model_fingerprint": models.fingerprint(model_name),
        "num_eval_too_long": len(window_set.too_long),
        **origin(questions),
        "eval_seconds": round(time.monotonic() - started, 2),
    }


def _merge_and_score(
    settings: Settings, run: RunFolder, questions: Questions, candidates: pa.Table, final: bool
) -> dict[str, Any]:
    answers = merge(candidates, questions, settings.evaluate)
    predictions, answered = write_answers(run, questions, answers)
    scored = metrics.score(questions.table, predictions)
    if not final:
        return fields(scored)
    contexts = questions.table["context"].to_pylist()
    best_spans = answers.best_spans(contexts) if questions.has_unanswerable else None
    decoded = analysis.Decoded(answered, best_spans)
    return fields(scored) | analysis.analyse(settings, run, questions, predictions, scored, decoded)


def evaluate_held_out(
    settings: Settings, run: RunFolder, model_name: str, *, final: bool = True
) -> dict[str, Any]:
    """Evaluate a model that a job has just made, on what it was not trained on.

    That is the `eval` split, and the articles held out where the source has none.

    Returns:
        As `evaluate`, its speed as `eval_windows_per_s`; without any such questions, only
        `num_questions` 0.
    """
    questions = load_held_out(settings.data, quarantine_dir=run.path)
    if questions is None:
        return {"num_questions": 0}
    result = evaluate(settings, run, model_name, questions, final=final)
    result["eval_windows_per_s"] = result.pop("windows_per_s")
    return result


def describe(settings: Settings, questions: Questions) -> dict[str, Any]:
    """Return what evaluating would do, without Ray, reading no file of predictions."""
    if settings.predictions is not None:
        return {"num_questions": len(questions), "predictions": settings.predictions}
    from qa_lib import models

    _check(settings, settings.model.name, final=True)
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    tokenizer = models.load_tokenizer(settings.model.name)
    cut = windows.build(questions.table, tokenizer, spec, labels=False, characters=False)
    return {
        "num_questions": len(questions),
        "num_windows": cut.table.num_rows,
        "num_eval_too_long": len(cut.too_long),
        "mean_window_tokens": round(float(windows.lengths(cut.table).mean()), 1),
        "num_parameters": models.num_parameters(models.load_empty(settings.model.name)),
        "eval_device": pool.device_of(settings),
    }


def _check(settings: Settings, model_name: str, *, final: bool) -> None:
    """Refuse, before Ray starts, what this model cannot do, or a missing sentence encoder."""
    from qa_lib import models

    models.check_length(model_name, settings.data.max_length)
    if final and settings.evaluate.semantic_model is not None:
        analysis.semantic.find(settings.evaluate.semantic_model)
    pool.device_of(settings)
