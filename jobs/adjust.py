"""Cut a model's layers and widths, with every tensor that depends on them, and recover accuracy.

    python -m jobs.adjust --model.name runs/train-quickstart-001 --adjust.intermediate-size 768
    python -m jobs.adjust --model.name runs/mine --adjust.num-layers 4 --adjust.recover
    python -m jobs.adjust --model.name runs/mine --adjust.target-speedup 2.0 --dry-run

The run folder gets plan.json, model/ (loads with stock transformers, unless --adjust.ragged),
predictions.json, report.html and result.json (scores before, after surgery and at the end;
parameters, bytes, latencies).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings
    from qa_lib.runs.run_folder import RunFolder


def describe(settings: Settings) -> str:
    """Return the table of sizes, before and after, and a note on stages that there cannot be."""
    from qa_lib import models
    from qa_lib.adjust import prune, recovery, stages

    recovery.check_teacher(settings)
    sizes = prune.describe(settings)
    notes = stages.left_out(models.load_config(settings.model.name), settings.adjust)
    return "\n\n".join([sizes, *notes])


def run(settings: Settings, folder: RunFolder) -> None:
    """Adjust the model, and recover its accuracy where the settings say so."""
    from qa_lib import training
    from qa_lib.adjust import pipeline

    training.check_models(settings)
    pipeline.adjust_and_recover(settings, folder)


def summary(result: dict[str, Any], folder: RunFolder) -> str:
    """Return sizes, latencies and scores, and what loads the model."""
    from qa_lib.adjust import pipeline
    from qa_lib.models import card

    return f"{pipeline.summary(result)}\n{card.how_to_load(folder)}"


JOB = Job(
    "adjust",
    run,
    describe,
    summary,
    scores_answers=True,
    draws_report=True,
    reads_runs_of=("train",),
    first_groups=("adjust",),
    first_flags=(
        "adjust.num_layers",
        "adjust.intermediate_size",
        "adjust.hidden_size",
        "adjust.target_speedup",
        "adjust.target_parameters",
        "adjust.vocabulary",
        "adjust.recover",
        "adjust.ragged",
        "train.epochs",
        "train.learning_rate",
    ),
)

if __name__ == "__main__":
    JOB.main()
