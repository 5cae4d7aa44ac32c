"""The end of a search: the chosen model recovered in full, and evaluated once."""

from __future__ import annotations

from typing import Any

from qa_lib import adjust, evaluation, models, training
from qa_lib.adjust import Plan, pipeline
from qa_lib.config import Settings
from qa_lib.data import Questions
from qa_lib.models import card
from qa_lib.runs.run_folder import PLAN, RunFolder
from qa_lib.search.space import Setting
from qa_lib.search.tuner import TUNE

_ADJUSTED = "adjusted"


def recover_chosen(
    settings: Settings, run: RunFolder, setting: Setting, questions: Questions
) -> dict[str, Any]:
    """Distil the parent into the chosen model with the recipe's whole training, and evaluate it.

    Args:
        settings: `model.name` and `train.teacher` are the parent.
        run: Holds the plan; receives `model/`.
        setting: The chosen one.
        questions: To train on.

    Returns:
        Fields for result.json.
    """
    name = settings.model.name
    whole = models.load(name, seed=settings.seed)
    plan = Plan.from_json(run.read_text(PLAN), run.url(PLAN))
    child = adjust.apply(whole, plan)
    result = pipeline.sizes_of(plan) | {"proof": vars(adjust.prove(whole, child, plan))}
    result |= pipeline.compare(settings, whole, child)
    pipeline.write_model(run, child, models.load_tokenizer(name), _ADJUSTED)
    run.write_result(result, status="running")
    student = settings.model_copy(
        update={
            "model": settings.model.model_copy(update={"name": run.url(_ADJUSTED)}),
            "train": settings.train.model_copy(
                update={
                    "learning_rate": setting.learning_rate,
                    "distill_weight": setting.distill_weight,
                }
            ),
        }
    )
    result |= training.fine_tune(student, run, questions)
    run.write_result(result, status="running")
    result |= evaluation.evaluate_held_out(settings, run, run.url("model"))
    card.write_card(run, settings, result, made="adjusted by a search, and distilled")
    return result


def clean(run: RunFolder) -> None:
    """Remove what only a search in progress needs: checkpoints of trials, Tune's own files."""
    for trial in run.entries("trials"):
        run.remove(f"trials/{trial.base_name}/checkpoints")
    run.remove(TUNE)
