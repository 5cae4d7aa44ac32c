"""Score a model, or a file of predictions, on all evaluation questions.

    python -m jobs.evaluate --model.name runs/train-quickstart-001
    python -m jobs.evaluate --model.name runs/train-squad-cpu-001 --data.source ~/squad
    python -m jobs.evaluate --predictions predictions.json --data.source ~/squad

The run folder gets result.json (EM, F1, semantic score, intervals, counts, speed), scores.parquet
and analysis.json (docs/guide/scores.md), predictions.json in the official form, for SQuAD 2.0
null_odds.json, answers.parquet and report.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import _entry

if TYPE_CHECKING:
    from qa_lib.config import Settings


def evaluate(settings: Settings) -> None:
    """Score, and say where the result is."""
    from qa_lib import doctor, evaluation, reporting
    from qa_lib.data import load_questions
    from qa_lib.runs.run_folder import RunFolder
    from qa_lib.runs.storage import to_json

    if settings.dry_run:
        RunFolder.check(settings, "evaluate")
        print(settings.to_yaml())
        print(
            to_json(evaluation.describe(settings, load_questions(settings.data, "eval")), indent=2)
        )
        return
    if settings.predictions is None:  # a file is scored without Ray
        doctor.require(settings)
    with RunFolder.open(settings, "evaluate") as run:
        questions = load_questions(settings.data, "eval", quarantine_dir=run.path)
        if settings.predictions is not None:
            result = evaluation.score_file(settings, run, questions, settings.predictions)
        else:
            result = evaluation.evaluate(settings, run, settings.model.name, questions)
        run.write_result(result)
        print(evaluation.summary(result))
        print(f"{run.url('result.json')} holds every figure")
    print(reporting.draw(run))


if __name__ == "__main__":
    _entry.main("evaluate", evaluate)
