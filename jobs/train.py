"""Fine-tune a model on all training questions, then score it on all evaluation questions.

    python -m jobs.train
    python -m jobs.train --recipe squad-cpu --data.train-limit 8000
    python -m jobs.train --recipe squad-cpu --dry-run

The run folder gets config.yaml, metrics.jsonl, checkpoints/, ledger.parquet, model/,
predictions.json, result.json and report.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings
    from qa_lib.runs.run_folder import RunFolder


def describe(settings: Settings) -> dict[str, Any]:
    """Return steps, batches and memory of the training."""
    from qa_lib import training
    from qa_lib.data import load_questions

    return training.describe(settings, load_questions(settings.data, "train"))


def run(settings: Settings, folder: RunFolder) -> None:
    """Train, and score the model."""
    from qa_lib import evaluation, training
    from qa_lib.data import load_questions
    from qa_lib.models import card

    questions = load_questions(settings.data, "train", quarantine_dir=folder.path)
    trained = training.fine_tune(settings, folder, questions, judge=evaluation.judge_of(settings))
    folder.write_result(trained, status="running")
    scores = evaluation.evaluate_held_out(settings, folder, folder.url("model"))
    folder.write_result(scores, status="running")
    card.write_card(folder, settings)


def summary(result: dict[str, Any], folder: RunFolder) -> str:
    """Return scores and counts, and what loads the model."""
    from qa_lib import evaluation
    from qa_lib.models import card

    lines = [evaluation.summary(result), card.how_to_load(folder)]
    if "best_step" in result:
        lines.insert(0, _best(result))
    return "\n".join(lines)


def _best(result: dict[str, Any]) -> str:
    """Return which step's model was kept, and a warning where the same articles score it."""
    note = (
        f"kept the model of step {result['best_step']:,}, the best of "
        f"{result['num_evaluations']:,} on held-out articles (F1 {result['best_held_out_f1']:.2f})"
    )
    if result["stopped_early"]:
        note += f"; stopped early, after step {result['steps']:,}"
    if result.get("eval_split") == "holdout":
        note += (
            "\nnote: the source has no eval split, so the scores below are on the articles that "
            "chose the model, and flatter it"
        )
    return note


JOB = Job(
    "train",
    run,
    describe,
    summary,
    scores_answers=True,
    draws_report=True,
    first_groups=("data", "model", "train"),
    first_flags=(
        "train.epochs",
        "train.max_steps",
        "train.learning_rate",
        "train.global_batch",
        "train.num_workers",
        "train.zero_stage",
        "train.precision",
        "train.evaluate_every",
        "train.teacher",
        "seeds",
    ),
)

if __name__ == "__main__":
    JOB.main()
