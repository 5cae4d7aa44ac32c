"""The run folder: where a job leaves its settings, metrics and result, locally or by URL.

    with RunFolder.open(settings, "train") as run:
        run.append_metrics({"step": 1, "loss": 5.9})
        run.write_result(Evaluated(f1=77.1, em=68.0))

RUNS/NAME/ holds config.yaml (resolved settings), result.json, metrics.jsonl, and what the job adds:
model/, predictions.json, report.html, checkpoints. The `status` in result.json is running, done,
failed or interrupted.
"""

from __future__ import annotations

import atexit
import platform
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from qa_lib.config import Settings, versions
from qa_lib.errors import ConfigError, DataError, UserError
from qa_lib.runs import lock, provenance, replacing, run_names, storage, trackers, tracking
from qa_lib.runs.folder import Folder
from qa_lib.runs.result import Ran, Section, Status
from qa_lib.runs.result_file import RESULT, lost_writer, read_result

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
PLAN, PLAN_TENSORS = "plan.json", "plan.safetensors"  # of an adjustment
TRIALS = "trials.parquet"  # of a search

_OF_EVERY_RUN = {CONFIG, RESULT, lock.LOCK, trackers.IDS, trackers.CURVES}
_RESUMABLE = {"checkpoints", "parent", "search.jsonl", "stages"}


class RunFolder(Folder):
    """One run's folder; only one process may append metrics, and `open` lets one process write.

    Attributes:
        job: Name of the job that the run belongs to.
        resumed: True where `open` continued an existing run.
        tracker: Told what the run does; whoever opens the folder may set it.
    """

    def __init__(self, path: str, job: str) -> None:
        """Attach to a folder by path or URL, without touching it."""
        super().__init__(path)
        self.job = job
        self.resumed = False
        self.tracker = tracking.Tracker()
        self._start_s, self._started_at = time.time(), provenance.now()
        self._earlier_s = 0.0  # seconds that earlier attempts took
        self._result: dict[str, Any] = {}
        self._waiting: Settings | None = None  # of a run that has not begun
        self._replaces = False  # whether `open` moved an older run aside
        self._lock: lock.Lock | None = None
        self._metrics = storage.LineLog(self.filesystem, self.at(METRICS))

    @classmethod
    def open(cls, settings: Settings, job: str) -> RunFolder:
        """Create, continue or replace the run folder that the settings name.

        Without a run name it is JOB-RECIPE-NNN, the next free one; with `resume`, the newest one.

        Raises:
            ConfigError: The name is taken, another process writes the run, there is nothing to
                resume, what would be replaced is no run of this job or read by it, or the storage
                cannot be written.
        """
        path = run_names.choose(settings, job)
        with run_names.storage_errors(settings):
            run = cls(path or run_names.create_next(settings, job), job)
            if settings.overwrite and run.exists(RESULT):
                replacing.move_aside(run)
                run._replaces = True
            try:
                run._start(settings)
            except BaseException as error:
                if "status" in run._result and not run.resumed:
                    run.__exit__(type(error), error, None)
                else:
                    run._give_up()
                raise
        return run

    def _start(self, settings: Settings) -> None:
        """Take the lock; begin a new run, or read what a resumed one has."""
        self.make()
        lost = lost_writer(self, self.read_result())
        self._lock = lock.take(self)
        atexit.register(self._end_at_exit)
        if lost:
            print(f"note: {lost}. It goes on from what it has stored.", file=sys.stderr)
        if settings.resume:
            self.resumed = True
            self._result = self.read_result()
            self._earlier_s = float(self._result.get("seconds") or 0.0)
            self._result["status"] = "running"
        elif self.exists(RESULT):  # a command that started together with this one was faster
            raise run_names.in_use(self)
        self._waiting = settings
        if not self.resumed:
            self.begin()
        self._lock.keep()

    def inside(self, name: str) -> RunFolder:
        """Return the run in a folder of this one, whose lock it shares.

        Where this one goes on, so does the other: what its result.json has stays.
        """
        inner = RunFolder(self.url(name), self.job)
        inner._lock = self._lock
        if self.resumed:
            inner.resumed = True
            inner._result = inner.read_result()
            inner._earlier_s = float(inner._result.get("seconds") or 0.0)
        return inner

    def begin(self) -> None:
        """Write config.yaml and the status `running`; nothing if that is done.

        `open` does it for a new run. A resumed run is as it was until the job has checked that it
        can go on, and calls this: a refusal must change nothing.
        """
        if self._waiting is not None:
            settings, self._waiting = self._waiting, None
            self.write_result(status="running")
            self.write_config(settings)

    @staticmethod
    def check(settings: Settings, job: str) -> None:
        """Refuse the names that `open` would refuse, and create nothing: for ``--dry-run``."""
        run_names.choose(settings, job)

    def __enter__(self) -> RunFolder:
        """Return the folder; leaving the block records how the job ended."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Record done, failed or interrupted; drop a new folder that a user's error left empty.

        A replaced run goes for good when this one is done, and comes back where this one failed
        without anything that --resume could continue.
        """
        try:
            if error is None:
                if self._result.get("status") == "running":
                    self.write_result()
                with suppress(OSError):
                    replacing.remove_replaced(self)
            elif self._lock is None or not self._lock.is_lost:
                with suppress(OSError):  # it must not hide the error that is being raised
                    self._end_badly(error)
        finally:
            self._release()

    def _end_badly(self, error: BaseException) -> None:
        if self._waiting is not None and self.resumed:
            return  # it has not begun again: it stays as it was
        status: Status = "failed" if isinstance(error, Exception) else "interrupted"
        if self._replaces and not self._is_worth_keeping(error):
            self.tracker.close(status)
            self._give_up()
            print(f"note: {self.path} is again the run that was there before.", file=sys.stderr)
        elif isinstance(error, UserError) and not self.resumed and self._is_empty():
            self.tracker.close(status)
            self._release()
            self.remove()  # the corrected command may use the name again
        else:
            self._write_ending(error, status)
            if replacing.holds_replaced(self):
                print(f"note: {replacing.describe(self)}", file=sys.stderr)

    def _write_ending(self, error: BaseException, status: Status) -> None:
        """Write how the job ended, on a full disk in the room of the file that is there."""
        try:
            self.write_result(Ran(error=storage.first_line(error)), status=status)
            return
        except OSError as cannot:
            problem = storage.first_line(cannot)
        local = storage.is_local(self.path)
        for result in (self._result, self.read_result() | {"status": status}):
            content = (storage.to_json(result, indent=2) + "\n").encode()
            if local and storage.overwrite(self.at(RESULT), content):
                return
        state = self.read_result().get("status", "not there yet")
        print(f"note: {RESULT} cannot be written; it is {state}: {problem}", file=sys.stderr)

    def _give_up(self) -> None:
        """Let go of the folder; the run that it was to replace comes back.

        Not where another command was faster: the folder is that one's now.
        """
        is_own = self._lock is not None or not self.exists(lock.LOCK)
        self._release()
        if self._replaces and is_own:
            replacing.put_back(self)

    def _release(self) -> None:
        if self._lock is not None:
            atexit.unregister(self._end_at_exit)
            self._lock.release()
            self._lock = None

    def _end_at_exit(self) -> None:
        """Record the end of a job that was interrupted before it entered or left its block."""
        if self._result.get("status") == "running":
            self.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        self._release()

    def __getstate__(self) -> dict[str, Any]:
        """Pickle all but the lock and the tracker, which stay with the process that opened it."""
        return self.__dict__ | {"_lock": None, "tracker": tracking.Tracker()}

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
        """Add sections to result.json, and what `Ran` says of the run itself.

        Until a resumed run has begun again, "running" is not written.

        Raises:
            ConfigError: Another process believed this one dead, and writes the run now.
        """
        self.refuse_if_lost()
        if status in ("running", "done"):
            self._result.pop("error", None)
        ran = Ran(
            schema_version=versions.SCHEMA_VERSION,
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
        if self._waiting is not None and status == "running":
            return
        if self._waiting is not None:
            self.write_config(self._waiting)
            self._waiting = None
        self.flush_metrics()
        self.write_json(RESULT, self._result, indent=2)

    def refuse_if_lost(self) -> None:
        """Raise ConfigError if another process believed this one dead, and writes the run now."""
        if self._lock is not None and self._lock.is_lost:
            raise ConfigError(
                f"{self.path} was taken over by {lock.read(self) or 'another command'}, for this"
                " process had not renewed its lock.",
                "Let the other one go on.",
            )

    def read_result(self) -> dict[str, Any]:
        """Return result.json, or nothing if there is none yet.

        Raises:
            ConfigError: The file is damaged.
        """
        return read_result(self)

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
        return {entry.base_name for entry in self.entries()} <= _OF_EVERY_RUN

    def _is_worth_keeping(self, error: BaseException) -> bool:
        """Say whether a failed run holds what --resume continues, or the rows its error names."""
        names = [entry.base_name for entry in self.entries()]
        if isinstance(error, DataError) and any(name.startswith("quarantine") for name in names):
            return True
        return not _RESUMABLE.isdisjoint(names)
