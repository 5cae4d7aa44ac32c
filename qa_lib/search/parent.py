"""The model that a search adjusts, trained without the articles that trials are scored on."""

from __future__ import annotations

import sys
from typing import Any

from qa_lib import training
from qa_lib.adjust import Sizes
from qa_lib.config import Settings, TrainSettings
from qa_lib.data import load_questions
from qa_lib.errors import ConfigError, DataError, ModelError
from qa_lib.evaluation import judge_of
from qa_lib.models import has_answering_head, load_config
from qa_lib.runs.run_folder import RESULT, RunFolder

DEFAULT_HOLDOUT = 0.1
FOLDER = "parent"


def with_holdout(settings: Settings) -> Settings:
    """Return settings that hold out articles: a tenth of them if the given ones hold out none."""
    if settings.data.holdout_articles:
        return settings
    print(
        "note: trials are scored on held-out training articles; without --data.holdout-articles,"
        f" {DEFAULT_HOLDOUT:g} of them are held out.",
        file=sys.stderr,
    )
    data = settings.data.model_copy(update={"holdout_articles": DEFAULT_HOLDOUT})
    return settings.model_copy(update={"data": data})


def check_parent(settings: Settings, held_out: tuple[str, ...]) -> None:
    """Reject, before anything heavy, a parent that cannot be adjusted or scored honestly.

    Args:
        settings: `search.parent` is the parent; None if one is to be trained.
        held_out: Titles of the articles that trials are scored on.

    Raises:
        ConfigError: A trial's windows do not fill a batch at its first rung.
        DataError: The parent's result.json does not hold out all of these articles, and the
            settings do not say that this is known.
        AdjustError: Its family cannot be adjusted.
        ModelError: It is not available, or has no head that answers.
    """
    search, batch = settings.search, settings.train.global_batch
    least = batch * (search.reduction_factor ** (search.num_rungs - 1) if search.halving else 1)
    if search.trial_windows < least:
        raise ConfigError(
            f"--search.trial-windows {search.trial_windows} leaves less than one batch of {batch}"
            " for the first rung of training.",
            f"Use --search.trial-windows {least} or more.",
        )
    name = search.parent
    Sizes.of(load_config(name or settings.model.name))
    if name is None:
        return
    if not has_answering_head(name):
        raise ModelError(
            f"{name} has no question-answering head: there is no F1 that a smaller model could"
            " keep.",
            "Give --search.parent a run folder (`make train` makes one), or leave it out: then"
            " --model.name is trained first.",
        )
    recorded = RunFolder(name, "train").read_result().get("holdout_titles") or []
    unknown = len(set(held_out) - set(recorded))
    if unknown and not search.seen_holdout:
        raise DataError(
            f"{name} may have been trained on what trials are scored on: {unknown:,} of the"
            f" {len(held_out):,} held-out articles are not held out in its {RESULT}.",
            "Leave out --search.parent to train one first, or train it with"
            f" --data.holdout-articles {settings.data.holdout_articles:g} on the same"
            " --data.source. --search.seen-holdout takes it as it is.",
        )


def _of_parent(train: TrainSettings) -> TrainSettings:
    """Return how a parent is trained: without what only it teaches, in the recovery."""
    update: dict[str, Any] = {"hidden_weight": 0.0, "relation_weight": 0.0}
    if train.teacher is None:
        update |= {"teacher_only_source": None, "teacher_only_limit": None}
    return train.model_copy(update=update)


def obtain(settings: Settings, run: RunFolder) -> str:
    """Return the parent that the settings name, or train one in the run's `parent/`.

    Training that was stopped continues from its checkpoint.
    """
    if settings.search.parent is not None:
        return settings.search.parent
    trained = RunFolder(run.url(FOLDER), "train")
    result = trained.read_result()
    if result.get("status") == "done":
        return trained.path
    print(
        f"training {settings.model.name} first, for there is no --search.parent."
        f" Another search can use it: --search.parent {trained.path}",
        file=sys.stderr,
    )
    update = {"storage": run.path, "run_name": FOLDER, "resume": bool(result), "overwrite": False}
    settings = settings.model_copy(update=update | {"train": _of_parent(settings.train)})
    with RunFolder.open(settings, "train") as parent:
        parent.tracker = run.tracker.child(FOLDER, {})
        questions = load_questions(settings.data, "train", quarantine_dir=parent.path)
        parent.write_result(
            training.fine_tune(settings, parent, questions, judge=judge_of(settings))
        )
    return trained.path
