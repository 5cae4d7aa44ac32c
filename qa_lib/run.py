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
import math
import os
import platform
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from qa_lib.config import Settings
from qa_lib.errors import ConfigError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

CONFIG, RESULT, METRICS = "config.yaml", "result.json", "metrics.jsonl"

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
_REMOTE_METRICS_EVERY_S = 10.0  # object stores cannot append: the file is written whole each time
_FIRST_CONTACT_S = 5.0  # a bucket that cannot be reached is reported before anything starts
_RETRY_FOR_S = 60.0  # later, an outage of this length is waited out


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

    def __init__(self, path: str, job: str) -> None:
        """Attach to a folder by path or URL, without touching it."""
        self.filesystem, self.root = filesystem_of(path)
        self.path = self.root if _is_local(path) else path.rstrip("/")
        self.job = job
        self.resumed = False
        self._start_s = time.time()
        self._earlier_s = 0.0  # seconds that earlier attempts took
        self._result: dict[str, Any] = {}
        self._metrics = _Metrics(self.filesystem, f"{self.root}/{METRICS}", _is_local(path))

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
        with _storage_errors(settings.storage):
            if name is None:
                run = cls(_create_next(settings, job), job)
            else:
                run = cls(_join(settings.storage, name), job)
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
        """Refuse what `open` would refuse, and create nothing: for ``--dry-run``."""
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
        """Record done, failed or interrupted, whatever the job wrote before."""
        if error is None:
            if self._result.get("status") == "running":
                self.write_result({})
            return
        status: Status = "failed" if isinstance(error, Exception) else "interrupted"
        first_line = (str(error).strip() or type(error).__name__).split("\n")[0]
        try:
            self.write_result({"error": first_line}, status=status)
        except OSError:
            pass  # a full disk must not hide the error that is on its way

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
        _write_whole(self.filesystem, self._at(name), text, local=_is_local(self.path))

    def write_config(self, settings: Settings) -> None:
        """Write config.yaml, which can be used as a recipe."""
        self.write_text(CONFIG, settings.to_yaml())

    def read_config(self) -> Settings:
        """Return the settings that the run was made with."""
        return Settings.from_yaml(self.read_text(CONFIG))

    def write_result(self, values: Mapping[str, Any], status: Status = "done") -> None:
        """Add values to result.json, with job, status, seconds (all attempts) and versions."""
        if status != "failed" and status != "interrupted":
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
        self.write_text(RESULT, _to_json(self._result, indent=2) + "\n")

    def read_result(self) -> dict[str, Any]:
        """Return result.json, or nothing where there is none yet."""
        return json.loads(self.read_text(RESULT)) if self.exists(RESULT) else {}

    def append_metrics(self, values: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl; in object stores it appears within ten seconds."""
        self._metrics.append(values)

    def flush_metrics(self) -> None:
        """Write metrics that an object store has not got yet; at the end of the job at latest."""
        self._metrics.flush()

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl, without one that a crash cut short."""
        self.flush_metrics()
        if not self.exists(METRICS):
            return []
        records = []
        for line in self.read_text(METRICS).splitlines():
            try:
                records.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return records

    def _at(self, name: str) -> str:
        return "/".join([self.root, *_inside([name] if name else [])])


class _Metrics:
    """metrics.jsonl: appended to where the filesystem can, else written whole now and then."""

    def __init__(self, filesystem: FileSystem, path: str, local: bool) -> None:
        self.filesystem, self.path, self.local = filesystem, path, local
        self.text: str | None = None  # the file so far, once it was looked at (not kept locally)
        self.pending = ""
        self.written_s = 0.0

    def append(self, values: Mapping[str, Any]) -> None:
        if self.text is None:
            self.text = self._unfinished_line()
        self.pending += _to_json(values) + "\n"
        if self.local or time.monotonic() - self.written_s > _REMOTE_METRICS_EVERY_S:
            self.flush()

    def flush(self) -> None:
        if not self.pending:
            return
        if self.local:
            with open(self.path, "a", encoding="utf-8") as stream:
                stream.write((self.text or "") + self.pending)
            self.text = ""
        else:
            self.text = (self.text or "") + self.pending
            _write_whole(self.filesystem, self.path, self.text, local=False)
        self.pending = ""
        self.written_s = time.monotonic()

    def _unfinished_line(self) -> str:
        """Return what stands before the first new line: the old file, or the end of a cut line."""
        from pyarrow.fs import FileType

        if self.filesystem.get_file_info(self.path).type == FileType.NotFound:
            return ""
        with self.filesystem.open_input_stream(self.path) as stream:
            old = stream.readall().decode("utf-8", errors="replace")
        end = "" if old.endswith("\n") or not old else "\n"
        return end if self.local else old + end


# -- names


def _chosen_name(settings: Settings, job: str) -> str | None:
    """Return the run's name, or None for the next free default name; refuse what cannot be."""
    with _storage_errors(settings.storage):
        name = settings.run_name
        if name is None and settings.resume:
            taken = _taken_numbers(settings, job)
            if not taken:
                raise ConfigError(
                    f"--resume: {settings.storage} holds no run {_prefix(settings, job)}NNN.",
                    "Name the run with --run-name, or leave --resume to start a new one.",
                )
            name = f"{_prefix(settings, job)}{max(taken):03d}"
        if name is None:
            _probe(settings.storage)
            return None
        run = RunFolder(_join(settings.storage, name), job)
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
        _probe(settings.storage)
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

    filesystem, root = filesystem_of(settings.storage, _FIRST_CONTACT_S)
    entries = filesystem.get_file_info(FileSelector(root, allow_not_found=True))
    pattern = re.compile(re.escape(_prefix(settings, job)) + r"(\d{3,})")
    matches = [pattern.fullmatch(entry.base_name) for entry in entries]
    return [int(match[1]) for match in matches if match]


def _create_next(settings: Settings, job: str) -> str:
    """Create the next free JOB-RECIPE-NNN and return its path.

    On a local disk two jobs that start together get two folders. Object stores cannot promise
    that: there, jobs that start within the same second should be named.
    """
    number = max(_taken_numbers(settings, job), default=0) + 1
    while True:
        path = _join(settings.storage, f"{_prefix(settings, job)}{number:03d}")
        filesystem, root = filesystem_of(path)
        if not _is_local(path):
            filesystem.create_dir(root, recursive=True)
            return path
        try:
            os.makedirs(root, exist_ok=False)
            return path
        except FileExistsError:
            number += 1


# -- storage


def filesystem_of(url: str, retry_for_s: float = _RETRY_FOR_S) -> tuple[FileSystem, str]:
    """Return the pyarrow filesystem of a path or URL, and the path inside it.

    Args:
        url: A local path (relative to the working directory), or a URL that pyarrow or an
            installed fsspec filesystem understands.
        retry_for_s: How long gs:// requests are tried again, in seconds.

    Raises:
        ConfigError: Nothing understands the URL, or it climbs (``..``).
    """
    from pyarrow import ArrowInvalid, fs

    if _is_local(url):
        path = url.removeprefix("file://")
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(path))
    if ".." in url.split("/"):
        raise ConfigError(f"The URL {url} climbs out with '..'.", "Give the URL it leads to.")
    url = url.rstrip("/")
    try:
        if url.startswith(("gs://", "gcs://")) and "?" not in url:
            return fs.FileSystem.from_uri(f"{url}?retry_limit_seconds={retry_for_s:g}")
        try:
            return fs.FileSystem.from_uri(url)
        except ArrowInvalid:  # not a scheme of pyarrow
            import fsspec

            filesystem, path = fsspec.core.url_to_fs(url)
            return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path
    except (ValueError, ImportError, OSError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(
            f"{url} cannot be opened: {reason}",
            "Give a local path or a URL whose filesystem is installed, such as gs://bucket/folder.",
        ) from None


def _is_local(url: str) -> bool:
    return "://" not in url or url.startswith("file://")


def _join(storage: str, name: str) -> str:
    return f"{storage.rstrip('/') or '/'}/{name}"


def _inside(parts: list[str] | tuple[str, ...]) -> list[str]:
    for part in parts:
        if part.startswith("/") or ".." in part.split("/"):
            raise ConfigError(
                f"The path {part!r} leads out of the run folder.", "Give a path inside it."
            )
    return list(parts)


def _probe(storage: str) -> None:
    """Write and delete a file, so that storage that refuses is known before the work."""
    filesystem, root = filesystem_of(storage, _FIRST_CONTACT_S)
    filesystem.create_dir(root, recursive=True)
    probe = f"{root}/.probe-{platform.node()}-{os.getpid()}"
    with filesystem.open_output_stream(probe) as stream:
        stream.write(b"x")
    filesystem.delete_file(probe)


class _storage_errors:  # noqa: N801 - reads as a statement: `with _storage_errors(storage):`
    """Turn what a filesystem raises into a ConfigError that names the storage."""

    def __init__(self, storage: str) -> None:
        self.storage = storage

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, OSError):
            reason = str(error).strip().split("\n")[0]
            raise ConfigError(
                f"The storage {self.storage} cannot be written: {reason}",
                "Give a folder or bucket that this user may write, with --storage.",
            ) from None


def _write_whole(filesystem: FileSystem, path: str, text: str, *, local: bool) -> None:
    """Write a file so that readers see the old one or the new one, never a part."""
    if not local:  # an object appears when its stream is closed
        with filesystem.open_output_stream(path) as stream:
            stream.write(text.encode("utf-8"))
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


# -- content


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    found = [("python", platform.python_version())]
    for library in _LIBRARIES:
        try:
            found.append((library, metadata.version(library)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide a run's figures."""
    return dict(_versions())


def _to_json(values: Mapping[str, Any], indent: int | None = None) -> str:
    """Return strict JSON: NaN and infinity, which JSON lacks, become null."""
    return json.dumps(_plain(values), indent=indent, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy and torch scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
