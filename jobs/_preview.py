"""What --dry-run prints: a page for people, every setting and figure for scripts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qa_lib.config import Settings

MORE = "--dry-run json prints every setting and figure"
_NO_EVALUATION = (
    "none to score (name some with --data.eval-source, or hold some out: "
    "--data.holdout-articles 0.1)"
)


def is_page(settings: Settings) -> bool:
    """Say whether to print a page: scripts that read what --dry-run prints have no terminal."""
    return settings.dry_run == "page" or (settings.dry_run is True and sys.stdout.isatty())


def page(settings: Settings, job: str, plan: dict[str, Any]) -> str:
    """Return what a job would do, a line for each matter; figures of no line follow by name.

    Args:
        settings: Of the job.
        job: Its name.
        plan: What it described.
    """
    plan = dict(plan)
    model = "" if "runs" in plan else f", model {settings.model.name}"
    lines = [("job", f"{job}, recipe {settings.recipe}{model}")]
    lines += [(name, text) for name, write in _LINES if (text := write(settings, plan))]
    rest = {name: value for name, value in plan.items() if value and name != "device"}
    lines += [(name.replace("_", " "), _text(value)) for name, value in rest.items()]
    width = max(len(name) for name, _ in lines) + 2
    return "\n".join([*(f"{name:<{width}}{text}" for name, text in lines), "", MORE])


def _questions(settings: Settings, plan: dict[str, Any]) -> str:
    parts = []
    if "num_train_questions" in plan:
        parts.append(f"{plan.pop('num_train_questions'):,} to train on")
    for name in ("num_questions", "num_eval_questions"):
        if name in plan:
            number = plan.pop(name)
            parts.append(f"{number:,} to score" if number else _NO_EVALUATION)
    for name, words in (
        ("num_teacher_only_questions", "for the teacher alone"),
        ("num_too_long", "too long to train on"),
        ("num_eval_too_long", "too long to score"),
        ("num_quarantined", "to train on in quarantine"),
        ("num_eval_quarantined", "to score in quarantine"),
    ):
        if number := plan.pop(name, 0):
            parts.append(f"{number:,} {words}")
    if plan.get("num_golds_in_no_window"):
        parts.append(f"{plan['num_golds_in_no_window']:,} whose answer is in no window")
    for name in ("num_golds_in_no_window", "num_golds_too_long"):
        plan.pop(name, None)
    return ", ".join(parts)


def _windows(settings: Settings, plan: dict[str, Any]) -> str:
    counts = [plan.pop(name) for name in ("num_train_windows", "num_windows") if name in plan]
    if not counts:
        return ""
    return f"{counts[0]:,}, {plan.pop('mean_window_tokens'):g} tokens on average"


def _steps(settings: Settings, plan: dict[str, Any]) -> str:
    if "steps" not in plan:
        return ""
    return f"{plan.pop('steps'):,} optimizer steps of {settings.train.global_batch} windows"


def _model(settings: Settings, plan: dict[str, Any]) -> str:
    return f"{plan.pop('num_parameters'):,} parameters" if "num_parameters" in plan else ""


def _workers(settings: Settings, plan: dict[str, Any]) -> str:
    if "world_size" not in plan:
        return ""
    plan.pop("cpus_per_worker", None)
    return (
        f"{plan.pop('world_size')} on {plan['device']}, ZeRO {settings.train.zero_stage}, "
        f"{plan.pop('precision')}, micro-batch {plan.pop('micro_batch')}"
    )


def _memory(settings: Settings, plan: dict[str, Any]) -> str:
    if "state_bytes_per_rank" not in plan:
        return ""
    from qa_lib.reporting.pages.text import num_bytes

    state = sum(plan.pop("state_bytes_per_rank").values())
    window = plan.pop("activation_bytes_per_window")
    return f"{num_bytes(state)} of training state a worker, and {num_bytes(window)} a window"


def _time(settings: Settings, plan: dict[str, Any]) -> str:
    if "estimated_train_seconds" not in plan:
        return ""
    how = "by steps taken here" if plan["device"] == "cpu" else "by arithmetic"
    extra = "start, teacher and scoring" if settings.train.teacher else "start and scoring"
    seeds = f", for each of {settings.seeds} seeds" if settings.seeds > 1 else ""
    took = duration(plan["estimated_train_seconds"])
    return f"{took} of training{seeds}, {how}; {extra} extra"


def _cost(settings: Settings, plan: dict[str, Any]) -> str:
    seconds = plan.pop("estimated_train_seconds", None)
    if seconds is None or settings.cluster.gpu == "none" or plan["device"] == "cpu":
        return ""
    from cluster.submit import cost

    return cost(settings, settings.seeds * seconds / 3600).removeprefix("cost ")


_LINES = (
    ("questions", _questions),
    ("windows", _windows),
    ("steps", _steps),
    ("size", _model),
    ("workers", _workers),
    ("memory", _memory),
    ("time", _time),
    ("cost", _cost),
)


def duration(seconds: float) -> str:
    """Return a time as a person would say it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(each) for each in value)
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
