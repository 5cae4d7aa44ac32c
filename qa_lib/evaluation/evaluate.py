"""A model, or a file of predictions, to the fields of result.json."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from qa_lib import models, windows
from qa_lib.config import EvaluateSettings, Settings
from qa_lib.data import load_held_out
from qa_lib.errors import DataError
from qa_lib.evaluation import analysis, languages, metrics
from qa_lib.evaluation.answers import Answers, merge_spans
from qa_lib.evaluation.pool import find_all_spans
from qa_lib.machines.actors import device_of
from qa_lib.machines.ray_session import start_ray
from qa_lib.runs import storage
from qa_lib.runs.folder import Folder
from qa_lib.runs.result import Evaluated, Scored
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training import dataset

if TYPE_CHECKING:
    from qa_lib.data import Questions

PREDICTIONS, NULL_ODDS, ANSWERS = "predictions.json", "null_odds.json", "answers.parquet"


def evaluate(
    settings: Settings,
    run: RunFolder,
    model_name: str,
    questions: Questions,
    *,
    final: bool = True,
) -> Evaluated:
    """Answer every question with a model, score the answers, and write them to the run folder.

    The folder gets `predictions.json` (official form) and `answers.parquet` (a row per question:
    `id`, `answer`, its characters, its `score` among the question's n best, and `null_odds`); under
    SQuAD 2.0 rules also `null_odds.json` (official form). A final evaluation adds what
    `analysis.analyse` writes; the threshold of "no answer" it writes beside the model.

    Args:
        settings: How to cut windows and decode; `train.device` and `train.precision` hold here too.
        run: Receives the answers.
        model_name: What `models.load` takes.
        questions: All of them are answered.
        final: Whether to analyse the scores too; False for a model on the way to another, where EM
            and F1 will do.

    Returns:
        Fields for result.json: `em`, `f1`, `num_questions`, `num_windows`, `windows_per_s` (from
        the first forward pass to the last), those of `analysis.analyse`, and more.

    Raises:
        ConfigError, ResourceError: The settings do not fit the model, the machine or the cluster.
        ModelError: The model cannot be loaded, or its logits are not finite.
        DataError: No question fits a window.
    """
    _check(settings, model_name, final=final)
    warn_of_language(questions, settings.evaluate)
    start_ray()
    started = time.monotonic()
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    window_set = dataset.tokenize(questions.table, model_name, spec, offsets=True)
    candidates, facts = find_all_spans(settings, model_name, window_set)
    scored = _merge_and_score(settings, run, questions, candidates, final)
    _keep_threshold(model_name, questions, scored, settings.evaluate)
    return Evaluated(
        **scored,
        **facts,
        model_fingerprint=models.fingerprint(model_name),
        num_eval_too_long=len(window_set.too_long),
        **windows.count_unreachable(
            questions.table,
            models.load_tokenizer(model_name),
            spec,
            settings.evaluate.max_answer_length,
        ),
        **_origin(questions),
        eval_seconds=round(time.monotonic() - started, 2),
    )


def _merge_and_score(
    settings: Settings, run: RunFolder, questions: Questions, candidates: pa.Table, final: bool
) -> dict[str, Any]:
    answers = merge(candidates, questions, settings.evaluate)
    predictions, answered = write_answers(run, questions, answers)
    scored = metrics.score(questions.table, predictions)
    language = settings.evaluate.language
    fields = _fields(scored) | _by_language(questions, scored, predictions, language)
    if not final:
        return fields
    contexts = questions.table["context"].to_pylist()
    best_spans = answers.best_spans(contexts) if questions.has_unanswerable else None
    decoded = analysis.Decoded(answered, best_spans)
    return fields | analysis.analyse(settings, run, questions, predictions, scored, decoded)


def _keep_threshold(
    model_name: str, questions: Questions, scored: Mapping[str, Any], rules: EvaluateSettings
) -> None:
    """Make a threshold of "no answer" a part of the model: the given, else the best for these."""
    if "best_threshold" not in scored:
        return
    best = scored["best_threshold"]
    given = rules.no_answer_threshold
    before = models.num_threshold_questions(model_name)
    if given is None and before > len(questions):
        print(
            f"note: {model_name} keeps its no-answer threshold, found on {before:,} questions; "
            f"--evaluate.no-answer-threshold {best!r} gives it that of these {len(questions):,}.",
            file=sys.stderr,
        )
        return
    threshold = best if given is None else given  # a given one is of others
    found = {
        "f1": scored["best_f1" if given is None else "f1"],
        "num_questions": len(questions),
        "eval_fingerprint": questions.fingerprint,
    }
    if not models.keep_no_answer_threshold(model_name, threshold, **found):
        print(
            f"note: {model_name} cannot be written to, and does not keep the no-answer threshold.",
            file=sys.stderr,
        )


def evaluate_held_out(
    settings: Settings, run: RunFolder, model_name: str, *, final: bool = True
) -> Evaluated:
    """Evaluate a model that a job has just made, on what it was not trained on.

    That is the `eval` split, and the articles held out where the source has none.

    Returns:
        As `evaluate`, its speed as `eval_windows_per_s`; without any such questions, only
        `num_questions` 0.
    """
    questions = load_held_out(settings.data, quarantine_dir=run.path)
    if questions is None:
        return Evaluated(num_questions=0)
    fields = evaluate(settings, run, model_name, questions, final=final).fields()
    return Evaluated(eval_windows_per_s=fields.pop("windows_per_s"), **fields)


def describe(settings: Settings, questions: Questions) -> dict[str, Any]:
    """Preview an evaluation, without Ray and without reading a file of predictions."""
    if settings.predictions is not None:
        return {"num_questions": len(questions), "predictions": settings.predictions}
    _check(settings, settings.model.name, final=True)
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    tokenizer = models.load_tokenizer(settings.model.name)
    cut = windows.build(questions.table, tokenizer, spec, labels=False, characters=False)
    if not cut.table.num_rows:
        raise dataset.no_room(spec)
    return {
        "num_questions": len(questions),
        "num_eval_quarantined": questions.num_quarantined,
        "eval_notes": dict(questions.notes),
        "num_windows": cut.table.num_rows,
        "num_eval_too_long": len(cut.too_long),
        **windows.count_unreachable(
            questions.table, tokenizer, spec, settings.evaluate.max_answer_length
        ),
        "mean_window_tokens": round(float(windows.lengths(cut.table).mean()), 1),
        "num_parameters": models.num_parameters(models.load_empty(settings.model.name)),
        "eval_device": device_of(settings),
    }


def _check(settings: Settings, model_name: str, *, final: bool) -> None:
    """Reject, before Ray starts, a model or windows that cannot be, or a missing encoder."""
    models.check_answers(model_name)
    models.check_length(model_name, settings.data.max_length)
    if final and settings.evaluate.semantic_model is not None:
        analysis.semantic.find(settings.evaluate.semantic_model)
    device_of(settings)


def score(questions: Questions, predictions: Mapping[str, str], language: str = "squad") -> Scored:
    """Score answers as `metrics.score` does, EM and F1 alone, and by `evaluate.language`."""
    scored = metrics.score(questions.table, predictions)
    return Scored(**_fields(scored), **_by_language(questions, scored, predictions, language))


def warn_of_language(questions: Questions, settings: EvaluateSettings) -> None:
    """Say on stderr where SQuAD's rules, which count words between spaces, do not fit the texts."""
    if settings.language == "squad" and languages.lacks_spaces(
        questions.table["context"].to_pylist()
    ):
        print(
            "note: these texts have few spaces, and SQuAD's F1 counts words between spaces: it "
            "equals exact match here. --evaluate.language auto adds the language's own scores.",
            file=sys.stderr,
        )


def _by_language(
    questions: Questions, scored: metrics.Scores, predictions: Mapping[str, str], wish: str
) -> dict[str, Any]:
    """Return the fields of `evaluate.language`, over the questions that SQuAD's means count.

    There are none for SQuAD's rules alone.
    """
    if wish == "squad":
        return {}
    contexts = questions.table["context"].to_pylist()
    table = questions.table.select(["id", "answers"]).filter(pa.array(scored.counted))
    language = languages.detect(contexts) if wish == "auto" else cast(languages.Language, wish)
    golds = pc.struct_field(table["answers"], "text").to_pylist()
    answers = [predictions.get(key) for key in table["id"].to_pylist()]
    em, f1 = languages.score(golds, answers, language)
    return {"language": language, "language_em": em, "language_f1": f1}


def _fields(scored: metrics.Scores) -> dict[str, Any]:
    """Return the fields of `Scored` without an analysis."""
    result = scored.summary() | {"num_questions": len(scored.em), "rules": scored.version}
    if scored.missing_ids:
        result |= {"num_missing": len(scored.missing_ids), "missing_ids": scored.missing_ids}
    if scored.extra_ids:
        result |= {"num_extra": len(scored.extra_ids), "extra_ids": scored.extra_ids[:20]}
    return result


def _origin(questions: Questions) -> dict[str, Any]:
    """Return the fields of result.json about the questions that were scored."""
    return {
        "num_eval_quarantined": questions.num_quarantined,
        "eval_notes": dict(questions.notes),
        "eval_split": questions.split,
        "eval_fingerprint": questions.fingerprint,
    }


def score_file(settings: Settings, run: RunFolder, questions: Questions, path: str) -> Scored:
    """Score a predictions file, and copy it to the run folder.

    This takes no Ray, and no model but the sentence encoder of the settings.

    Args:
        settings: Name the encoder.
        run: Receives `predictions.json`, and what `analysis.analyse` writes.
        questions: What it answers.
        path: Local path or URL of a JSON object of question id to answer text.

    Returns:
        The scores, among them `missing_ids`, all of them, where there are any.

    Raises:
        DataError: The file cannot be read, or is not such an object.
        ModelError: The sentence encoder is not available.
    """
    if settings.evaluate.semantic_model is not None:
        analysis.semantic.find(settings.evaluate.semantic_model)
    try:
        content = Folder(path).read_bytes().to_pybytes()
    except OSError as error:
        raise DataError(
            f"The predictions {path} cannot be read: {storage.first_line(error)}",
            "Give --predictions a JSON file of question id to answer text.",
        ) from None
    predictions = metrics.parse_predictions(content, path)
    warn_of_language(questions, settings.evaluate)
    scored = metrics.score(questions.table, predictions)
    run.write_text(PREDICTIONS, json.dumps(predictions))
    return Scored(
        **_fields(scored),
        **_by_language(questions, scored, predictions, settings.evaluate.language),
        **analysis.analyse(settings, run, questions, predictions, scored),
        predictions=path,
        **_origin(questions),
    )


def merge(candidates: pa.Table, questions: Questions, settings: EvaluateSettings) -> Answers:
    """Merge the spans of all windows into one answer per question, by the rules of the data."""
    return merge_spans(
        candidates,
        len(questions),
        n_best=settings.n_best,
        no_answer_threshold=settings.threshold if questions.has_unanswerable else None,
    )


def write_answers(
    run: RunFolder, questions: Questions, answers: Answers
) -> tuple[dict[str, str], pa.Table]:
    """Write predictions.json, answers.parquet and, for SQuAD 2.0, null_odds.json.

    Returns:
        The predictions, question id to answer text, one for each question; and the other columns
        of answers.parquet.
    """
    ids = questions.table["id"].to_pylist()
    table = answers.table(questions.table["context"].to_pylist())
    predictions = dict(zip(ids, table["answer"].to_pylist(), strict=True))
    assert len(predictions) == len(questions), "a question was answered twice"
    run.write_text(PREDICTIONS, json.dumps(predictions))
    if answers.null_odds is not None:
        odds = dict(zip(ids, answers.null_odds.tolist(), strict=True))
        run.write_text(NULL_ODDS, json.dumps(odds))
    run.write_parquet(ANSWERS, table.add_column(0, "id", questions.table["id"]))
    return predictions, table
