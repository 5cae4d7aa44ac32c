"""From spans or a file to answers, and from answers to scores; no Ray, no model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from qa_lib.config import EvaluateSettings, Settings
from qa_lib.errors import DataError
from qa_lib.evaluation import analysis, metrics, spans
from qa_lib.runs import storage
from qa_lib.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from qa_lib.data import Questions

PREDICTIONS, NULL_ODDS, ANSWERS = "predictions.json", "null_odds.json", "answers.parquet"


def score(questions: Questions, predictions: Mapping[str, str]) -> dict[str, Any]:
    """Score answers as `metrics.score` does.

    Returns:
        The means (0 to 100), `num_questions` (all), `rules`, and where predictions are missing or
        superfluous their numbers, the missing ids, and the first superfluous ones.
    """
    return fields(metrics.score(questions.table, predictions))


def fields(scored: metrics.Scores) -> dict[str, Any]:
    """Return what result.json tells of scores: see `score`."""
    result = scored.summary() | {"num_questions": len(scored.em), "rules": scored.version}
    if scored.missing_ids:
        result |= {"num_missing": len(scored.missing_ids), "missing_ids": scored.missing_ids}
    if scored.extra_ids:
        result |= {"num_extra": len(scored.extra_ids), "extra_ids": scored.extra_ids[:20]}
    return result


def origin(questions: Questions) -> dict[str, Any]:
    """Return what result.json tells of the questions that were scored."""
    return {
        "num_eval_quarantined": questions.num_quarantined,
        "eval_split": questions.split,
        "eval_fingerprint": questions.fingerprint,
    }


def score_file(
    settings: Settings, run: RunFolder, questions: Questions, path: str
) -> dict[str, Any]:
    """Score a predictions file, and copy it to the run folder.

    That takes no Ray, and no model but the sentence encoder of the settings.

    Args:
        settings: Name the encoder.
        run: Receives `predictions.json`, and what `scores.analyse` writes.
        questions: That it answers.
        path: Local path or URL of a JSON object of question id to answer text.

    Returns:
        Fields for result.json, among them `missing_ids`, all of them, where there are any.

    Raises:
        DataError: It cannot be read, or holds anything else.
        ModelError: The sentence encoder cannot be had.
    """
    if settings.evaluate.semantic_model is not None:
        analysis.semantic.find(settings.evaluate.semantic_model)
    filesystem, place = storage.resolve(path)
    try:
        with filesystem.open_input_stream(place) as stream:
            content = stream.read()
    except OSError as error:
        raise DataError(
            f"The predictions {path} cannot be read: {storage.first_line(error)}",
            "Give --predictions a JSON file of question id to answer text.",
        ) from None
    predictions = metrics.parse_predictions(content, path)
    scored = metrics.score(questions.table, predictions)
    run.write_text(PREDICTIONS, json.dumps(predictions))
    return {
        **fields(scored),
        **analysis.analyse(settings, run, questions, predictions, scored),
        "predictions": path,
        **origin(questions),
    }


def merge(candidates: pa.Table, questions: Questions, settings: EvaluateSettings) -> spans.Answers:
    """Merge the spans of all windows into one answer per question, by the rules of the data."""
    return spans.merge(
        candidates,
        len(questions),
        n_best=settings.n_best,
        no_answer_threshold=settings.no_answer_threshold if questions.has_unanswerable else None,
    )


def write_answers(
    run: RunFolder, questions: Questions, answers: spans.Answers
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


def summary(result: Mapping[str, Any]) -> str:
    """Say in a few lines what `evaluate` or `score_file` found."""
    if not result["num_questions"]:
        return "nothing was evaluated: the source has no eval split and no articles were held out"
    lines = [
        f"EM {result['em']:.2f}  F1 {result['f1']:.2f}  over {result['total']:,} of "
        f"{result['num_questions']:,} questions (SQuAD {result['rules']} rules)"
    ]
    if "intervals" in result:
        lines.append(_uncertainty(result))
    for prefix, name in (("has_ans_", "answerable"), ("no_ans_", "unanswerable")):
        if f"{prefix}em" in result:
            lines.append(
                f"  {name}: EM {result[f'{prefix}em']:.2f}  F1 {result[f'{prefix}f1']:.2f}  over "
                f"{result[f'{prefix}total']:,}"
            )
    if "num_missing" in result:
        effect = "score 0" if result["rules"] == "1.1" else "are left out of the means"
        lines.append(
            f"  {result['num_missing']:,} questions have no prediction and {effect}: "
            + _some(result["missing_ids"])
        )
    if "num_extra" in result:
        lines.append(
            f"  {result['num_extra']:,} predictions belong to no question: "
            + _some(result["extra_ids"], result["num_extra"])
        )
    return "\n".join(lines)


def _uncertainty(result: Mapping[str, Any]) -> str:
    """Say how sure the scores are, and how near in meaning the answers."""
    ends = {name: f"{low:.2f} to {high:.2f}" for name, (low, high) in result["intervals"].items()}
    line = f"  95 % intervals by {result['interval_unit']}: EM {ends['em']}, F1 {ends['f1']}"
    if "semantic" in result:
        line += f"\n  semantic {result['semantic']:.2f} ({ends['semantic']})"
        num = result["num_right_in_other_words"]
        line += f": {num:,} answers of low F1 are near in meaning"
    if "calibration_error" in result:
        line += (
            f"\n  calibration error {result['calibration_error']:.3f}, AURC {result['aurc']:.3f}"
        )
    if "best_threshold" in result:
        line += (
            f"\n  best F1 {result['best_f1']:.2f} at --evaluate.no-answer-threshold "
            f"{result['best_threshold']!r}"  # rounded, it may answer one question less
        )
    return line


def _some(ids: tuple[str, ...], count: int | None = None, show: int = 10) -> str:
    count = len(ids) if count is None else count
    return ", ".join(ids[:show]) + (f" and {count - show:,} more" if count > show else "")
