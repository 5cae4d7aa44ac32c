"""Score a model, or a file of predictions, on all evaluation questions.

    python -m jobs.evaluate --model.name runs/train-quickstart-001
    python -m jobs.evaluate --model.name runs/train-squad-cpu-001 --data.source ~/squad
    python -m jobs.evaluate --predictions predictions.json --data.source ~/squad

The run folder gets result.json (EM, F1, semantic score, intervals, counts, speed), scores.parquet
and analysis.json (docs/guide/scores.md), predictions.json in the official form, for SQuAD 2.0
null_odds.json, answers.parquet and report.html.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings
    from qa_lib.runs.run_folder import RunFolder


def describe(settings: Settings) -> dict[str, Any]:
    """Return what would be scored, and by how many actors."""
    from qa_lib import evaluation
    from qa_lib.data import load_questions

    return evaluation.describe(settings, load_questions(settings.data, "eval"))


def run(settings: Settings, folder: RunFolder) -> None:
    """Score the model, or the file of predictions."""
    from qa_lib import evaluation
    from qa_lib.data import load_questions
    from qa_lib.runs.result_file import lost_run

    questions = load_questions(settings.data, "eval", quarantine_dir=folder.path)
    if settings.predictions is not None:
        scores = evaluation.score_file(settings, folder, questions, settings.predictions)
    else:
        lost = lost_run(settings.model.name)
        if lost:
            print(f"note: {lost}.", file=sys.stderr)
        scores = evaluation.evaluate(settings, folder, settings.model.name, questions)
    folder.write_result(scores, status="running")


def summary(result: dict[str, Any], folder: RunFolder) -> str:
    """Return the scores, and where all figures are."""
    from qa_lib import evaluation

    return f"{evaluation.summary(result)}\n{folder.url('result.json')} holds every figure"


JOB = Job(
    "evaluate",
    run,
    describe,
    summary,
    needs_doctor=lambda settings: settings.predictions is None,  # a file is scored without Ray
    draws_report=True,
    reads_runs_of=("train", "adjust", "tune", "export"),
    first_groups=("evaluate",),
    first_flags=(
        "data.eval_source",
        "predictions",
        "evaluate.batch_size",
        "evaluate.no_answer_threshold",
        "evaluate.language",
        "evaluate.semantic_model",
        "model.placement",
        "train.device",
        "train.precision",
    ),
)

if __name__ == "__main__":
    JOB.main()
