"""The run folder: where a job leaves its settings, metrics and result, locally or by URL.

    with RunFolder.open(settings, "train") as run:
        run.append_metrics({"step": 1, "loss": 5.9})
        run.write_result(Evaluated(f1=77.1, em=68.0))

RUNS/NAME/ holds config.yaml (resolved settings), result.json, metrics.jsonl, and what the job adds:
model/, predictions.json, report.html, checkpoints. The `status` in result.json is running, done,
failed or interrupted.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from qa_lib.config import Settings
from qa_lib.errors import UserError
from qa_lib.runs import provenance, run_names, storage
from qa_lib.runs.folder import Folder
from qa_lib.runs.result import Ran, Section, Status
from qa_lib.runs.run_names import CONFIG, RESULT

METRICS = "metrics.jsonl"
PLAN, TRIALS = "plan.json", "trials.parquet"  # of an adjustment, of a search


class RunFolder(Folder):
    """One run's folder; only one process may append metrics.

    Attributes:
        job: Name of the job that the run belongs to.
        resumed: True where `open` continued an existing run.
    """

    def __init__(self, path: str, job: str) -> None:
        """Attach to a folder by path or URL, without touching it."""
        super().__init__(path)
        self.job = job
        self.resumed = False
        self._start_s, self._started_at = time.time(), provenance.now()
        self._earlier_s = 0.0  # seconds that earlier attempts took
        self._result: dict[str, Any] = {}
        self._metrics = storage.LineLog(self.filesystem, self.at(METRICS))

    @classmethod
    def open(cls, settings: Settings, job: str) -> RunFolder:
        """Create, continue or replace the run folder that the settings name.

        Without a run name it is JOB-RECIPE-NNN, the next free one; with `resume`, the newest one.

        Raises:
            ConfigError: The name is taken, there is nothing to resume, what would be replaced is
                no run folder, or the storage cannot be written.
        """
        path = run_names.choose(settings, job)
        with run_names.storage_errors(settings):
            run = cls(path or run_names.create_next(settings, job), job)
            if path and settings.overwrite:
                run.remove()
            run.make()
            if settings.resume:
                run.resumed = True
                run._result = run.read_result()
                run._earlier_s = float(run._result.get("seconds") or 0.0)
            run.write_config(settings)
            run.write_result(status="running")
        return run

    @staticmethod
    def check(settings: Settings, job: str) -> None:
        """Refuse the names that `open` would refuse, and create nothing: for ``--dry-run``."""
        run_names.choose(settings, job)

    def __enter__(self) -> RunFolder:
        """Return the folder; leaving the block records how the job ended."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Record done, failed or interrupted; drop a new folder that a user's error left empty."""
        if error is None:
            if self._result.get("status") == "running":
                self.write_result()
            return
        status: Status = "failed" if isinstance(error, Exception) else "interrupted"
        with suppress(OSError):  # a full disk must not hide the error that is being raised
            if isinstance(error, UserError) and not self.resumed and self._is_empty():
                self.remove()  # the corrected command may use the name again
            else:
                self.write_result(Ran(error=storage.first_line(error)), status=status)

    def write_config(self, settings: Settings) -> None:
        """Write config.yaml, which can be used as a recipe."""
        self.write_text(CONFIG, settings.to_yaml())

    def read_config(self) -> Settings:
        """Return the settings that the run was made with."""
        return Settings.from_yaml(self.read_text(CONFIG))

    @property
    def result(self) -> dict[str, Any]:
        """The fields of result.json as written last by this process."""
        return dict(self._result)

    def write_result(self, *sections: Section, status: Status = "done") -> None:
        """Add sections to result.json, and what `Ran` says of the run itself."""
        if status in ("running", "done"):
            self._result.pop("error", None)
        ran = Ran(
            job=self.job,
            run_name=self.name,
            status=status,
            seconds=round(self._earlier_s + time.time() - self._start_s, 3),
            started_at=self._started_at,
            host=platform.node(),
            hardware=provenance.hardware(),
            command=provenance.command(),
            commit=provenance.commit(),
            versions=provenance.versions(),
        )
        for section in (*sections, ran):
            self._result |= section.fields()
        self.flush_metrics()
        self.write_json(RESULT, self._result, indent=2)

    def read_result(self) -> dict[str, Any]:
        """Return result.json, or nothing if there is none yet.

        Raises:
            ConfigError: The file is damaged.
        """
        return run_names.read_result(self)

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl; in object stores it appears within ten seconds."""
        self._metrics.append(values)

    def flush_metrics(self) -> None:
        """Write the metrics that an object store does not have yet.

        `write_result` does it too. A worker that appends must do it itself before it ends.
        """
        self._metrics.flush()

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl, without one that a crash cut short."""
        return self._metrics.read()

    def _is_empty(self) -> bool:
        return {entry.base_name for entry in self.entries()} <= {CONFIG, RESULT}
