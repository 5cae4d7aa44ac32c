"""The facts of a run: every file of its folder, and a note on each that cannot be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from qa_lib.config import yaml_text
from qa_lib.errors import ConfigError
from qa_lib.evaluation import analysis
from qa_lib.runs import json_text, storage
from qa_lib.runs.result_file import lost_writer
from qa_lib.runs.run_folder import CONFIG, METRICS, PLAN, RESULT, TRIALS, RunFolder

if TYPE_CHECKING:
    import pyarrow as pa


def look_up(values: Any, path: str) -> Any:
    """Return a nested value by its dotted path, such as `intervals.f1.0`, or None."""
    for part in path.split("."):
        if isinstance(values, Mapping):
            values = values.get(part)
        elif isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            return None
    return values


@dataclass(frozen=True)
class Facts:
    """The content of a run folder; files that it lacks are empty or None.

    Attributes:
        name: Of the run.
        path: Of its folder.
        result: result.json.
        config: config.yaml, not validated: an earlier version may have written it.
        metrics: A row for each step, in order; the last one of steps that were repeated.
        analysis: analysis.json.
        scores: scores.parquet.
        plan: plan.json.
        trials: The rows of trials.parquet.
        notes: What could not be read.
        is_lost: Whether it says that it is running, and its process is gone; the notes say so.
    """

    name: str
    path: str
    result: dict[str, Any]
    config: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    analysis: dict[str, Any] = field(default_factory=dict)
    scores: pa.Table | None = None
    plan: dict[str, Any] = field(default_factory=dict)
    trials: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_lost: bool = False

    def setting(self, key: str) -> Any:
        """Return a setting by its dotted name, or None."""
        return look_up(self.config, key)

    @property
    def scored_on(self) -> Any:
        """Source of the questions that the scores are of, or None."""
        own = self.setting("data.source")
        is_own = self.result.get("eval_split") == "holdout"
        return own if is_own else self.setting("data.eval_source") or own

    @property
    def job(self) -> str:
        """Name of the job."""
        return str(self.result.get("job"))


def read(run: RunFolder) -> Facts:
    """Read a run folder.

    Raises:
        ConfigError: The folder is not a run's, or its result.json is damaged.
    """
    require_files(run, RESULT)
    result = run.read_result()
    lost = lost_writer(run, result)
    notes = [f"{lost}."] if lost else []
    if result.get("status") == "done" and result.get("num_questions") == 0:
        notes.append(
            f"{run.name} was not evaluated: its source has no eval split, and no articles were held"
            " out."
        )

    def attempt(name: str, parse: Callable[[], Any], empty: Any) -> Any:
        if not run.exists(name):
            return empty
        try:
            content = parse()
            if not isinstance(content, type(empty)) and empty is not None:
                raise ValueError(f"it holds a {type(content).__name__}")
            return content
        except (OSError, ValueError, yaml.YAMLError) as error:
            notes.append(f"{name} cannot be read and is left out: {storage.first_line(error)}")
            return empty

    def parsed(name: str) -> Any:
        return json_text.parse(run.read_text(name))

    return Facts(
        name=run.name,
        path=run.path,
        result=result,
        config=attempt(CONFIG, lambda: yaml_text.parse(run.read_text(CONFIG))[1], {}),
        metrics=attempt(METRICS, lambda: _steps(run.read_metrics()), []),
        analysis=attempt(analysis.ANALYSIS, lambda: parsed(analysis.ANALYSIS), {}),
        scores=attempt(analysis.SCORES, lambda: analysis.read(run), None),
        plan=attempt(PLAN, lambda: parsed(PLAN), {}),
        trials=attempt(TRIALS, lambda: _rows(run, TRIALS), []),
        notes=notes,
        is_lost=bool(lost),
    )


def require_files(run: RunFolder, *names: str) -> None:
    """Check that a folder is a run's.

    Raises:
        ConfigError: One of the files is missing, or may not be looked for.
    """
    for name in names:
        try:
            is_there = run.exists(name)
        except OSError as error:
            raise ConfigError(
                f"{run.path} cannot be read: {storage.first_line(error)}",
                "Give the path or URL of a run that this user may read.",
            ) from None
        if not is_there:
            raise ConfigError(
                f"{run.path} is not a run folder: there is no {name} in it.",
                "Give the path or URL of a run, such as runs/train-quickstart-001.",
            )


def _steps(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for _, row in sorted({row["step"]: row for row in rows if "step" in row}.items())]


def _rows(run: RunFolder, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run.read_parquet(name).to_pylist()
    return rows
