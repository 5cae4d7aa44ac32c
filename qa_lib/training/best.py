"""The best model of a run on held-out articles: where it is, and what checkpoints know of it."""

from __future__ import annotations

from typing import Any

from qa_lib.errors import CheckpointError
from qa_lib.runs.checkpoints import Checkpoint
from qa_lib.runs.folder import Folder

EVALUATIONS = "evaluations"
"""Key of a checkpoint's notes that holds the evaluations so far."""


def best_folder(step: int) -> str:
    """Return the folder, in the run's, of a model that was the best at its step."""
    return f"best/step-{step:09d}"


def best_of(evaluations: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the last evaluation that was the best so far, or None."""
    return next((entry for entry in reversed(evaluations) if entry["best"]), None)


def check_best(run: Folder, found: Checkpoint) -> None:
    """Check that the best model that a checkpoint knows of is there.

    Raises:
        CheckpointError: It is not.
    """
    best = best_of(found.meta.get(EVALUATIONS, []))
    if best is not None and not run.exists(best_folder(best["step"])):
        raise CheckpointError(
            f"{run.url(best_folder(best['step']))}, the best model so far, is missing.",
            "Put it back, or start a new run.",
        )
