"""Fine-tune a model on all training questions, then score it on all evaluation questions.

    python -m jobs.train
    python -m jobs.train --recipe squad-cpu --data.train-limit 8000
    python -m jobs.train --recipe squad-cpu --dry-run

The run folder gets config.yaml, metrics.jsonl, checkpoints/, ledger.parquet, model/,
predictions.json, result.json and report.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import _entry

if TYPE_CHECKING:
    from qa_lib.config import Settings


def train(settings: Settings) -> None:
    """Train, evaluate, and say where the result is."""
    from qa_lib import doctor, evaluation, reporting, training
    from qa_lib.data import load_questions
    from qa_lib.models import card
    from qa_lib.runs.run_folder import RunFolder
    from qa_lib.runs.storage import to_json

    if settings.dry_run:
        RunFolder.check(settings, "train")
        print(settings.to_yaml())
        print(
            to_json(training.describe(settings, load_questions(settings.data, "train")), indent=2)
        )
        return
    doctor.require(settings, scores_answers=True)
    with RunFolder.open(settings, "train") as run:
        questions = load_questions(settings.data, "train", quarantine_dir=run.path)
        result = training.fine_tune(settings, run, questions)
        run.write_result(result, status="running")
        result |= evaluation.evaluate_held_out(settings, run, run.url("model"))
        card.write_card(run, settings, result)
        run.write_result(result)
        print(evaluation.summary(result))
        print(card.how_to_load(run))
    print(reporting.draw(run))


if __name__ == "__main__":
    _entry.main("train", train)
