"""The analysis of a final evaluation, beyond the means of EM and F1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.config import Settings
from qa_lib.evaluation import metrics
from qa_lib.evaluation.analysis import cases, errors, semantic, table
from qa_lib.evaluation.analysis.calibration import calibrate, no_answer
from qa_lib.evaluation.analysis.intervals import intervals, resampling_unit
from qa_lib.evaluation.analysis.table import Decoded
from qa_lib.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qa_lib.data import Questions
    from qa_lib.evaluation.metrics import Scores

    Floats = NDArray[np.float64]

ANALYSIS = "analysis.json"
_NUM_MISTAKES = 20


def analyse(
    settings: Settings,
    run: RunFolder,
    questions: Questions,
    predictions: Mapping[str, str],
    scored: Scores,
    decoded: Decoded | None = None,
) -> dict[str, Any]:
    """Score answers in every way, and write scores.parquet, errors.csv and analysis.json.

    Args:
        settings: `evaluate.semantic_model` compares meanings; `seed` is for resampling.
        run: Receives the files.
        questions: All of them.
        predictions: Question id to answer text.
        scored: The scores of `metrics.score`.
        decoded: The model's decoding, unless the predictions are from a file.

    Returns:
        Fields for result.json: `semantic` (0 to 100), `intervals` and `interval_unit`, counts of
        what F1 misses; with confidences `calibration_error` and `aurc`; under SQuAD 2.0 rules also
        `best_threshold`, `best_f1`, `best_em_threshold` and `best_em`.

    Raises:
        ModelError: The sentence encoder is not available.
    """
    values = _values(settings, questions.table, predictions, scored)
    rows = table.make(questions.table, predictions, scored.answered, values, decoded)
    table.write(run, rows, settings.evaluate.semantic_model)
    wrong = errors.find(rows)
    run.write_text(errors.ERRORS, errors.to_csv(wrong, questions.table, rows))
    calibration = _calibration(rows, scored)
    threshold = _threshold(questions, scored, decoded)
    apart = cases.missed(values["f1"], values["semantic"]) if "semantic" in values else {}
    analysis = {
        "breakdowns": cases.break_down(questions.table, values),
        "calibration": calibration,
        "no_answer": threshold,
        "mistakes": cases.listed(wrong[:_NUM_MISTAKES], questions.table, rows),
        **_cases(questions.table, rows, apart, settings.seed),
    }
    run.write_json(ANALYSIS, analysis)
    result = _means(questions.table, values, scored, settings.seed)
    result |= {f"num_{name}": len(rows) for name, rows in apart.items()}
    if calibration:
        result |= {"calibration_error": calibration["error"], "aurc": calibration["aurc"]}
    return result | {name: value for name, value in (threshold or {}).items() if name != "curve"}


def _cases(
    questions: pa.Table, rows: pa.Table, apart: Mapping[str, NDArray[np.int64]], seed: int
) -> dict[str, Any]:
    nothing = np.zeros(0, np.int64)
    return {
        "missed": {
            name: cases.listed(apart.get(name, nothing), questions, rows)
            for name in ("right_in_other_words", "right_in_tokens_only")
        },
        "examples": cases.listed(cases.sample(len(rows), seed), questions, rows),
    }


def _means(
    questions: pa.Table, values: Mapping[str, Floats], scored: Scores, seed: int
) -> dict[str, Any]:
    """Return the semantic mean, and the intervals of all means."""
    titles = questions["title"].to_pylist()
    counted = [title for title, counts in zip(titles, scored.counted, strict=True) if counts]
    result: dict[str, Any] = {}
    if "semantic" in values:
        result["semantic"] = float(np.nanmean(values["semantic"]))
    return result | {
        "intervals": intervals({**values, **_by_kind(values, scored)}, titles, seed=seed),
        "interval_unit": resampling_unit(counted),
    }


def _by_kind(values: Mapping[str, Floats], scored: Scores) -> dict[str, Floats]:
    """Return EM and F1 of answerable and of unanswerable questions, as `Scores.summary` names."""
    if scored.version == "1.1":
        return {}
    return {
        f"{prefix}{name}": np.where(chosen, values[name], np.nan)
        for prefix, chosen in (("has_ans_", scored.has_answer), ("no_ans_", ~scored.has_answer))
        for name in ("em", "f1")
    }


def _values(
    settings: Settings, questions: pa.Table, predictions: Mapping[str, str], scored: Scores
) -> dict[str, Floats]:
    """Return each score, 0 to 100, NaN where the rules leave a question out of the mean."""
    values = {"em": scored.em, "f1": scored.f1}
    name = settings.evaluate.semantic_model
    if name is not None:
        golds = pc.struct_field(questions["answers"], "text").to_pylist()
        answers = [predictions.get(key, "") for key in questions["id"].to_pylist()]
        # An exact match scores 1, and no answer equals only itself: the rest is compared.
        todo = [
            row
            for row in np.flatnonzero(scored.answered & (scored.em == 0))
            if answers[row] and golds[row]
        ]
        values["semantic"] = scored.em.copy()
        if todo:
            values["semantic"][todo] = semantic.similarity(
                [answers[row] for row in todo],
                [golds[row] for row in todo],
                semantic.Encoder(name),
            )
    return {name: np.where(scored.counted, 100.0 * of, np.nan) for name, of in values.items()}


def _calibration(rows: pa.Table, scored: Scores) -> dict[str, Any] | None:
    """Return the calibration of the confidences, None without any."""
    confidence = rows["score"].to_numpy(zero_copy_only=False).astype(np.float64)
    chosen = scored.counted & ~np.isnan(confidence)
    return calibrate(confidence[chosen], scored.em[chosen]) if chosen.any() else None


def _threshold(
    questions: Questions, scored: Scores, decoded: Decoded | None
) -> dict[str, Any] | None:
    """Return the best threshold of "no answer", None without a model or under 1.1 rules."""
    if decoded is None or decoded.best_spans is None:
        return None
    ids = questions.table["id"].to_pylist()
    spans = metrics.score(questions.table, dict(zip(ids, decoded.best_spans, strict=True)))
    odds = decoded.answers["null_odds"].to_numpy(zero_copy_only=False).astype(np.float64)
    is_empty = np.array([not text for text in decoded.best_spans])
    return no_answer(odds, spans.em, spans.f1, scored.has_answer, is_empty)
