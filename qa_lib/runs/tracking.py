"""What a run does, told to a tracker: MLflow, Weights & Biases or TensorBoard.

    with tracking.start(settings, run) as run.tracker:
        run.tracker.log([{"step": 1, "loss": 5.9}])
        run.tracker.child("trial-007", {"num_layers": 4}).log([{"step": 960, "f1": 61.2}])

Only the command itself tells, from a thread of its own: a tracker that is slow or away delays no
training and ends none. Trackers are set up by what they read themselves (MLFLOW_TRACKING_URI,
WANDB_MODE ...). `tracking.json` of the run folder holds the tracker's ids, by which a resumed run
goes on.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from qa_lib.config import Settings, yaml_text
from qa_lib.errors import ConfigError, ResourceError, UserError
from qa_lib.runs import storage
from qa_lib.runs.trackers import BACKENDS, PACKAGES, REMEDIES, Backend, Rows, is_number

if TYPE_CHECKING:
    from qa_lib.runs.run_folder import RunFolder

# Files of a run that a tracker keeps; weights stay where they are.
_FILES = (
    "config.yaml",
    "result.json",
    "report.html",
    "analysis.json",
    "predictions.json",
    "plan.json",
    "trials.csv",
    "pareto.png",
    "model/README.md",
)
_PATIENCE_S = 60.0  # for what is not told yet when the run has ended


class Tracker:
    """A run, or a part of it, as it is told to a tracker; without a tracker nothing is told."""

    def __init__(
        self, tell: _Teller | None = None, backend: Callable[[], Backend] | None = None
    ) -> None:
        """Take who tells, and what returns the run as the tracker keeps it, called there."""
        self._tell, self._backend = tell, backend

    @property
    def name(self) -> str | None:
        """Name of the tracker; None where there is none."""
        return None if self._tell is None else self._tell.name

    def log(self, rows: Rows) -> None:
        """Tell metrics.

        Args:
            rows: Each with its `step`, and `time` in seconds if it is not now.
        """
        if self._tell is not None and rows:
            self._tell.put(lambda: self._here().log(rows))

    def child(self, name: str, params: Mapping[str, Any]) -> Tracker:
        """Return a run below this one, such as a trial of a search; the same for a known name."""
        if self._tell is None:
            return self
        return Tracker(self._tell, lambda: self._here().child(name, params))

    def end(self, status: str) -> None:
        """End the run, or one below it, with a status of result.json."""
        if self._tell is not None:
            self._tell.put(lambda: self._here().end(status))

    def close(self, status: str) -> None:
        """End the run with a status alone, and tell what is left, before its folder goes.

        What is in the folder afterwards is another run's.
        """
        if self._tell is not None:
            self.end(status)
            self._tell.close()

    def _here(self) -> Backend:
        assert self._backend is not None
        return self._backend()


class _Teller:
    """A thread that tells one thing after the other; the first that fails is said, once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_closed = False
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._num_lost = 0
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def put(self, what: Callable[[], None]) -> None:
        self._waiting.put(what)

    def close(self) -> None:
        """Tell what is left, for as long as patience lasts."""
        self.is_closed = True
        self._waiting.put(None)
        self._thread.join(_PATIENCE_S)
        if self._thread.is_alive():
            print(f"note: {self.name} was not told the rest in {_PATIENCE_S:g} s", file=sys.stderr)
        elif self._num_lost > 1:
            print(f"note: {self.name} did not take {self._num_lost} messages", file=sys.stderr)

    def _run(self) -> None:
        while (what := self._waiting.get()) is not None:
            try:
                what()
            except Exception as error:
                self._num_lost += 1
                if self._num_lost == 1:
                    print(
                        f"note: {self.name} does not take what it is told "
                        f"({storage.first_line(error)}); the run goes on",
                        file=sys.stderr,
                    )


def check(settings: Settings) -> None:
    """Reject a tracker that is not there, before anything starts.

    Raises:
        ConfigError: Its package is not installed, or the run folders are not where it writes.
    """
    tracker = settings.track
    if tracker is None:
        return
    if importlib.util.find_spec(tracker) is None:
        raise ConfigError(
            f"--track {tracker} needs a package that is not installed.",
            f"Run `{sys.executable} -m pip install {PACKAGES[tracker]}`, or leave --track away.",
        )
    if tracker == "tensorboard" and not storage.is_local(settings.storage):
        raise ConfigError(
            f"--track tensorboard writes into the run folder, and {settings.storage} is no local "
            "folder.",
            "Use --track mlflow or wandb, or a local --storage.",
        )


@contextmanager
def start(settings: Settings, run: RunFolder) -> Iterator[Tracker]:
    """Tell the tracker of the settings about a run, from its settings to its end.

    At the end, which may be after that of the run folder's own block, it is told the status, the
    numbers of result.json and the run's files; nothing more where it was closed before.

    Raises:
        ConfigError: As of `check`.
        ResourceError: The tracker does not take the run.
    """
    check(settings)
    if settings.track is None:
        yield Tracker()
        return
    try:
        backend = BACKENDS[settings.track](run, dict(_flat(yaml_text.parse(settings.to_yaml())[1])))
    except UserError:
        raise
    except Exception as error:
        raise ResourceError(
            f"{settings.track} does not take the run: {storage.first_line(error)}",
            REMEDIES[settings.track],
        ) from error
    tell = _Teller(settings.track)
    try:
        yield Tracker(tell, lambda: backend)
    finally:
        if not tell.is_closed:
            tell.put(lambda: _end(backend, run))
            tell.close()


def _end(backend: Backend, run: RunFolder) -> None:
    result = run.read_result() if run.exists() else {}
    scores = {name: value for name, value in _flat(result) if is_number(value)}
    with tempfile.TemporaryDirectory(prefix="qa-tracking-") as folder:
        for name in _FILES:
            if run.exists(name):
                path = Path(folder) / name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(run.read_bytes(name))
        backend.log([{**scores, "step": result.get("steps", 0)}])
        backend.keep(Path(folder))
        backend.end(result.get("status", "failed"))


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings, by dotted names."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
