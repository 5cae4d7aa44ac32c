"""The recovery: a cut model trained on, taught by its parent."""

from __future__ import annotations

from qa_lib import models, training
from qa_lib.adjust.correspondence import composed, correspondence
from qa_lib.adjust.plan import Plan
from qa_lib.config import Settings, TrainSettings
from qa_lib.data import Questions
from qa_lib.evaluation import judge_of
from qa_lib.runs.result import Trained
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training import teacher_only
from qa_lib.training.correspondence import Correspondence

ADJUSTED = "adjusted"  # folder of a run's model right after surgery


def check_teacher(settings: Settings) -> None:
    """Check, before anything is cut, that a recovery has the teacher that its settings need.

    Args:
        settings: As of `recover`; without `adjust.recover` nothing is checked.

    Raises:
        TrainError: There is no teacher for what it should teach.
    """
    if settings.adjust.recover:
        teacher_only.check(_taught(settings))


def recover(
    settings: Settings,
    run: RunFolder,
    questions: Questions,
    *,
    last_step: int | None = None,
    first: Correspondence | None = None,
) -> Trained:
    """Train the pruned model of a run, taught by its parent.

    Args:
        settings: `model.name` is the model that was cut, and the teacher unless `train.teacher`
            names another; `train` says how to train.
        run: Holds `adjusted/` and its plan; receives `model/`.
        questions: To train on.
        last_step: As of `training.fine_tune`.
        first: Where the states of `model.name` are in the teacher, if it was itself cut from it.

    Returns:
        What `training.fine_tune` returns.
    """
    model = settings.model.model_copy(update={"name": run.url(ADJUSTED)})
    train = _taught(settings)
    student = settings.model_copy(update={"model": model, "train": train})
    match = match_of(settings, run, first) if train.teaches_inside else None
    judge = judge_of(student) if last_step is None else None
    return training.fine_tune(
        student, run, questions, last_step=last_step, match=match, judge=judge
    )


def match_of(settings: Settings, run: RunFolder, first: Correspondence | None) -> Correspondence:
    """Return where the states of a run's pruned model are; arguments as of `recover`."""
    found = correspondence(models.load_config(settings.model.name), Plan.read(run))
    return found if first is None else composed(first, found)


def _taught(settings: Settings) -> TrainSettings:
    """Return how the recovery trains, its teacher included."""
    return settings.train.model_copy(update={"teacher": _teacher(settings)})


def _teacher(settings: Settings) -> str | None:
    """Return the teacher of the recovery: the parent, unless its head is random.

    A teacher without weight in the loss is not computed.
    """
    train = settings.train
    if not train.distill_weight and not train.teaches_inside:
        return None
    if train.teacher is not None:
        return train.teacher
    return settings.model.name if models.has_answering_head(settings.model.name) else None
