"""The run folder: where a job leaves its settings, metrics and result, locally or by URL.

    with RunFolder.open(settings, "train") as run:
        run.append_metrics({"step": 1, "loss": 5.9})
        run.write_result({"f1": 77.1, "em": 68.0})

RUNS/NAME/ holds config.yaml (resolved settings), result.json, metrics.jsonl, and what the job adds:
model/, predictions.json, report.html, checkpoints. result.json always tells the state of the run:
`status` is running, done, failed or interrupted.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from qa_lib.config import Settings
from qa_lib.errors import ConfigError, UserError
from qa_lib.runs import storage

CONFIG, RESULT, METRICS = "config.yaml", "result.json", "metrics.jsonl"
PLAN, TRIALS = "plan.json", "trials.parquet"  # of an adjustment, of a search

Status = Literal["running", "done", "failed", "interrupted"]

_LIBRARIES = (
    "torch",
    "ray",
    "deepspeed",
    "transformers",
    "tokenizers",
    "accelerate",
    "datasets",
    "pyarrow",
    "numpy",
)
_FIRST_CONTACT_S = 2.0  # a bucket that cannot be reached is reported before anything starts


class RunFolder:
    """One run's folder.

    Instances can be pickled and used in other processes; only one process may append metrics.

    Attributes:
        path: Absolute local path, or URL.
        filesystem: The pyarrow filesystem that holds it.
        root: Path of the folder inside `filesystem`.
        job: Name of the job that the run belongs to.
        resumed: True where `open` continued an existing run.
    """

    def __init__(self, path: str, job: str, retry_for_s: float = storage.RETRY_FOR_S) -> None:
        """Attach to a folder by path or URL, without touching it."""
        self.filesystem, self.root = storage.resolve(path, retry_for_s)
        self.path = self.root if storage.is_local(path) else path.rstrip("/")
        self.job = job
        self.resumed = False
        self._start_s = time.time()
        self._earlier_s = 0.0  # seconds that earlier attempts took
        self._result: dict[str, Any] = {}
        self._metrics = storage.LineLog(self.filesystem, f"{self.root}/{METRICS}")

    # -- opening

    @classmethod
    def open(cls, settings: Settings, job: str) -> RunFolder:
        """Create, continue or replace the run folder that the settings name.

        Without a run name it is JOB-RECIPE-NNN, the next free one; with `resume`, the newest one.

        Raises:
            ConfigError: The name is taken, there is nothing to resume, what would be replaced is
                no run folder, or the storage cannot be written.
        """
        name = _chosen_name(settings, job)
        with _storage_errors(settings):
            if name is None:
                run = cls(_create_next(settings, job), job)
            else:
                run = cls(_join(settings, name), job)
                if settings.overwrite and run.exists():
                    run.filesystem.delete_dir(run.root)
                run.filesystem.create_dir(run.root, recursive=True)
            if settings.resume:
                run.resumed = True
                run._result = run.read_result()
                run._earlier_s = float(run._result.get("seconds") or 0.0)
            run.write_config(settings)
            run.write_result({}, status="running")
        return run

    @staticmethod
    def check(settings: Settings, job: str) -> None:
        """Refuse the names that `open` would refuse, and create nothing: for ``--dry-run``."""
        _chosen_name(settings, job)

    def __enter__(self) -> RunFolder:
        """Return the folder; leaving the block records how the job ended."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Record done, failed or interrupted; drop a new folder that a user's error left empty."""
        if error is None:
            if self._result.get("status") == "running":
                self.write_result({})
            return
        status: Status = "failed" if isinstance(error, Exception) else "interrupted"
        with suppress(OSError):  # a full disk must not hide the error that is on its way
            if isinstance(error, UserError) and not self.resumed and self._is_empty():
                self.filesystem.delete_dir(self.root)  # the mended command may use the name again
            else:
                self.write_result({"error": storage.first_line(error)}, status=status)

    # -- files

    @property
    def name(self) -> str:
        """Name of the run: the last part of its path."""
        return self.root.rpartition("/")[2]

    def url(self, *parts: str) -> str:
        """Return the path or URL of something in the folder.

        Raises:
            ConfigError: The parts would lead out of the folder.
        """
        return "/".join([self.path, *_inside(parts)])

    def exists(self, name: str = "") -> bool:
        """Say whether a file or folder of this name is there; without a name, the folder itself."""
        from pyarrow.fs import FileType

        return self.filesystem.get_file_info(self._at(name)).type != FileType.NotFound

    def read_text(self, name: str) -> str:
        """Return a UTF-8 file of the folder."""
        with self.filesystem.open_input_stream(self._at(name)) as stream:
            return stream.readall().decode("utf-8")

    def write_text(self, name: str, text: str) -> None:
        """Write a UTF-8 file of the folder, whole or not at all."""
        storage.write_text(self.filesystem, self._at(name), text)

    def put_folder(self, local: str | Path, name: str) -> None:
        """Copy a local folder to one of the run, trying again while the storage is away."""
        from pyarrow import fs

        target = self._at(name)
        storage.retry(self.filesystem.create_dir, target, recursive=True)
        storage.retry(fs.copy_files, str(local), target, fs.LocalFileSystem(), self.filesystem)

    def write_config(self, settings: Settings) -> None:
        """Write config.yaml, which can be used as a recipe."""
        self.write_text(CONFIG, settings.to_yaml())

    def read_config(self) -> Settings:
        """Return the settings that the run was made with."""
        return Settings.from_yaml(self.read_text(CONFIG))

    def write_result(self, values: Mapping[str, Any], status: Status = "done") -> None:
        """Add values to result.json, with job, status, seconds (of all attempts) and versions."""
        if status in ("running", "done"):
            self._result.pop("error", None)
        self._result |= values
        self._result |= {
            "job": self.job,
            "run_name": self.name,
            "status": status,
            "seconds": round(self._earlier_s + time.time() - self._start_s, 3),
            "versions": versions(),
        }
        self.flush_metrics()
        self.write_text(RESULT, storage.to_json(self._result, indent=2) + "\n")

    def read_result(self) -> dict[str, Any]:
        """Return result.json, or nothing where there is none yet.

        Raises:
            ConfigError: The file is damaged.
        """
        try:
            found = json.loads(self.read_text(RESULT)) if self.exists(RESULT) else {}
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ConfigError(
                f"{self.url(RESULT)} is damaged: it holds no JSON object.",
                "Restore it, or start anew under another --run-name.",
            )
        return found

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl; in object stores it appears within ten seconds."""
        self._metrics.append(storage.to_json(values) + "\n")

    def flush_metrics(self) -> None:
        """Write metrics that an object store has not got yet.

        `write_result` does it too. A worker that appends must do it itself before it ends.
        """
        self._metrics.flush()

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl, without one that a crash cut short."""
        self.flush_metrics()
        records = []
        for line in self.read_text(METRICS).splitlines() if self.exists(METRICS) else []:
            with suppress(json.JSONDecodeError):
                records.append(json.loads(line))
        return records

    def _is_empty(self) -> bool:
        from pyarrow.fs import FileSelector

        entries = self.filesystem.get_file_info(FileSelector(self.root))
        return {entry.base_name for entry in entries} <= {CONFIG, RESULT}

    def _at(self, name: str) -> str:
        return "/".join([self.root, *_inside([name] if name else [])])


# -- names


def _chosen_name(settings: Settings, job: str) -> str | None:
    """Return the run's name, or None for the next free default name; refuse what cannot be."""
    with _storage_errors(settings):
        name = settings.run_name
        if name is None:
            taken = _taken_numbers(settings, job)
            if not settings.resume:
                return None
            if not taken:
                raise ConfigError(
                    f"--resume: {settings.storage} holds no run {_prefix(settings, job)}NNN.",
                    "Name the run with --run-name, or leave --resume to start a new one.",
                )
            name = f"{_prefix(settings, job)}{max(taken):03d}"
        run = RunFolder(_join(settings, name), job, _FIRST_CONTACT_S)
        exists = run.exists()
        if settings.resume:
            _refuse_resume(run, exists, settings)
        elif exists and not settings.overwrite:
            raise ConfigError(
                f"The run name {name} is in use: {run.path} exists.",
                "Choose another --run-name, continue it with --resume, or replace it with "
                "--overwrite.",
            )
        elif exists and not _is_run(run):
            raise ConfigError(
                f"--overwrite would delete {run.path}, which is no run folder.",
                "Choose another --run-name, or remove it yourself.",
            )
        return name


def _refuse_resume(run: RunFolder, exists: bool, settings: Settings) -> None:
    if not exists or not run.exists(RESULT):
        raise ConfigError(
            f"--resume: there is no run {run.name} in {settings.storage}.",
            "Check --run-name and --storage, or leave --resume to start it.",
        )
    job = run.read_result().get("job")
    if job != run.job:
        raise ConfigError(
            f"--resume: {run.path} is a run of jobs.{job}, not of jobs.{run.job}.",
            f"Resume it with `python -m jobs.{job} --resume --run-name {run.name}`.",
        )


def _is_run(run: RunFolder) -> bool:
    """Say whether a folder may be replaced: it is a run's, or empty."""
    from pyarrow.fs import FileSelector, FileType

    if run.filesystem.get_file_info(run.root).type != FileType.Directory:
        return False
    if run.exists(CONFIG) or run.exists(RESULT):
        return True
    return not run.filesystem.get_file_info(FileSelector(run.root))


def _prefix(settings: Settings, job: str) -> str:
    recipe = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(settings.recipe).stem)
    return f"{job}-{recipe}-"


def _taken_numbers(settings: Settings, job: str) -> list[int]:
    """Return the NNN of the runs JOB-RECIPE-NNN in the storage."""
    from pyarrow.fs import FileSelector

    filesystem, root = storage.resolve(settings.storage, _FIRST_CONTACT_S)
    entries = filesystem.get_file_info(FileSelector(root, allow_not_found=True))
    pattern = re.compile(re.escape(_prefix(settings, job)) + r"(\d{3,})")
    matches = [pattern.fullmatch(entry.base_name) for entry in entries]
    return [int(match[1]) for match in matches if match]


def _create_next(settings: Settings, job: str) -> str:
    """Create the next free JOB-RECIPE-NNN and return its path.

    On a disk two jobs that start together get two folders. Object stores cannot promise that:
    jobs that start there within the same second should be named.
    """
    number = max(_taken_numbers(settings, job), default=0) + 1
    while True:
        path = _join(settings, f"{_prefix(settings, job)}{number:03d}")
        filesystem, root = storage.resolve(path)
        if not storage.is_local(path):
            filesystem.create_dir(root, recursive=True)
            return path
        try:
            os.makedirs(root, exist_ok=False)
            return path
        except FileExistsError:
            number += 1


def _join(settings: Settings, name: str) -> str:
    return f"{settings.storage.rstrip('/')}/{name}"


def _inside(parts: tuple[str, ...] | list[str]) -> tuple[str, ...] | list[str]:
    for part in parts:
        if part.startswith("/") or ".." in part.split("/"):
            raise ConfigError(
                f"The path {part!r} leads out of the run folder.", "Give a path inside it."
            )
    return parts


@contextmanager
def _storage_errors(settings: Settings) -> Iterator[None]:
    """Turn what a filesystem raises into an error that names the storage."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"The storage {settings.storage} cannot be used: {storage.first_line(error)}",
            "Give a folder or bucket that this user may write, with --storage.",
        ) from None


# -- content


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide a run's figures."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[library] = metadata.version(library)
    return found
