"""The model that a search cuts: trained on other articles than those that trials are scored on."""

from __future__ import annotations

import sys

from qa_lib import training
from qa_lib.adjust import Sizes
from qa_lib.config import Settings
from qa_lib.data import load_questions
from qa_lib.errors import ConfigError, DataError
from qa_lib.models import load_config
from qa_lib.runs.run_folder import RESULT, RunFolder

DEFAULT_HOLDOUT = 0.1
FOLDER = "parent"


def with_holdout(settings: Settings) -> Settings:
    """Return the settings with articles held out: a tenth, where the recipe holds out none."""
    if settings.data.holdout_articles:
        return settings
    print(
        f"note: trials are scored on held-out training articles; no --data.holdout-articles is"
        f" given, {DEFAULT_HOLDOUT:g} of them are taken.",
        file=sys.stderr,
    )
    data = settings.data.model_copy(update={"holdout_articles": DEFAULT_HOLDOUT})
    return settings.model_copy(update={"data": data})


def check_parent(settings: Settings, held_out: tuple[str, ...]) -> None:
    """Refuse, before anything heavy, a parent that cannot be adjusted or scored honestly.

    Args:
        settings: With `search.parent`, or without, where one is to be trained.
        held_out: Titles that trials are scored on.

    Raises:
        ConfigError: A trial's windows do not fill a batch at its first rung.
        DataError: The parent's record does not say that it never saw these articles.
        AdjustError: Its family cannot be adjusted.
        ModelError: It cannot be had.
    """
    search, batch = settings.search, settings.train.global_batch
    least = batch * search.reduction_factor ** (search.num_rungs - 1)
    if search.trial_windows < least:
        raise ConfigError(
            f"--search.trial-windows {search.trial_windows} leaves less than one batch of {batch} "
            f"for the first of {search.num_rungs} rungs.",
            f"Use --search.trial-windows {least} or more.",
        )
    name = search.parent
    Sizes.of(load_config(name or settings.model.name))
    if name is None:
        return
    recorded = RunFolder(name, "train").read_result().get("holdout_titles") or []
    if not set(held_out) <= set(recorded):
        unknown = len(set(held_out) - set(recorded))
        raise DataError(
            f"{name} may have been trained on what trials are scored on: {unknown:,} of the"
            f" {len(held_out):,} held-out articles are not held out in its {RESULT}.",
            "Leave out --search.parent, and one is trained first; or train it with"
            f" --data.holdout-articles {settings.data.holdout_articles:g} on the same"
            " --data.source.",
        )


def obtain(settings: Settings, run: RunFolder) -> str:
    """Return the parent: the one that is named, or one trained now, in the run's `parent/`.

    A parent whose training was stopped goes on from its checkpoint.
    """
    if settings.search.parent is not None:
        return settings.search.parent
    place = RunFolder(run.url(FOLDER), "train")
    found = place.read_result()
    if found.get("status") == "done":
        return place.path
    print(
        f"training {settings.model.name} first: no --search.parent is given."
        f" Another search can use it: --search.parent {place.path}",
        file=sys.stderr,
    )
    update = {"storage": run.path, "run_name": FOLDER, "resume": bool(found), "overwrite": False}
    settings = settings.model_copy(update=update)
    with RunFolder.open(settings, "train") as parent:
        questions = load_questions(settings.data, "train", quarantine_dir=parent.path)
        parent.write_result(training.fine_tune(settings, parent, questions))
    return place.path
