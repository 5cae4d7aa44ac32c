"""How the driver follows the ranks: an actor between them, a progress line, and stop signals."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from qa_lib.errors import TrainError
from qa_lib.runs import stop_signals
from qa_lib.runs.progress import Progress

_POLL_S = 0.5


class Monitor:
    """An actor between ranks and driver: finished steps go one way, the wish to stop the other."""

    def __init__(self) -> None:
        """Start empty."""
        self._rows: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {}
        self._stop = self._regroup = False
        self._group: list[str] = []

    def record(self, rows: list[dict[str, Any]]) -> tuple[bool, bool]:
        """Take finished steps and warnings from rank 0; return whether to stop, or to regroup."""
        self._rows += rows
        return self._stop, self._regroup

    def begin(self) -> None:
        """Forget the group before: another one is about to form."""
        self._facts, self._group, self._regroup = {}, [], False

    def formed(self, group: list[str]) -> None:
        """Take the node of each rank of a new group from rank 0."""
        self._group, self._regroup = group, False

    def group(self) -> list[str]:
        """Return the node of each rank; empty before they have joined."""
        return self._group

    def conclude(self, facts: dict[str, Any]) -> None:
        """Take the result of the training from rank 0."""
        self._facts = facts

    def request_stop(self) -> None:
        """Ask the ranks to write a checkpoint and stop after the current step."""
        self._stop = True

    def request_regroup(self) -> None:
        """Ask the ranks to write a checkpoint and end, for a group elsewhere to go on from it."""
        self._regroup = True

    def drain(self) -> list[dict[str, Any]]:
        """Return the steps since the last call."""
        rows, self._rows = self._rows, []
        return rows

    def facts(self) -> dict[str, Any]:
        """Return the result of the training; empty until it ends."""
        return self._facts


def start_monitor() -> Any:
    """Start a Monitor on this process's node, so that no other node's loss takes it away.

    One that is killed there starts again, empty, and calls to it wait.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(Monitor).options(
        num_cpus=0, max_restarts=-1, max_task_retries=-1, scheduling_strategy=here
    )
    return actor.remote()


def result_from(monitor: Any) -> dict[str, Any]:
    """Return the result of the training.

    Raises:
        TrainError: The monitor was killed after rank 0 had told it.
    """
    import ray

    facts: dict[str, Any] = ray.get(monitor.facts.remote())
    if not facts:
        raise TrainError(
            "The process that held the result of the training was killed.",
            "The same command with --resume goes on from the last checkpoint.",
        )
    return facts


def watch(
    trainer: Any,
    monitor: Any,
    num_steps: int,
    regroup_reason: Callable[[list[str], float], str] = lambda *_: "",
    tell: Callable[[list[dict[str, Any]]], None] = lambda _: None,
) -> bool:
    """Run a trainer of Ray Train in a thread, and show the steps that its monitor receives.

    The first Ctrl-C or SIGTERM becomes a checkpoint; a later one ends the process.

    Args:
        trainer: Of Ray Train.
        monitor: What its ranks report to.
        num_steps: In all.
        regroup_reason: Given the group's nodes and the seconds that are left, says why the ranks
            should end after a checkpoint, for another group to go on; "" if they should not.
        tell: Takes the steps too, as they come.

    Returns:
        Whether the run was asked to stop.

    Raises:
        Exception: Whatever the trainer raises.
    """
    import ray

    failure: list[BaseException] = []

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            failure.append(error)

    asked: list[bool] = []
    monitor.begin.remote()

    def stop() -> None:
        asked.append(True)
        monitor.request_stop.remote()
        # The terminal that has sent the signal may be gone, or a line of progress half written.
        with suppress(OSError, RuntimeError):
            print("stopping after this step, with a checkpoint ...", file=sys.stderr)

    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    with Progress(num_steps, "steps", "training") as progress, stop_signals.heeded_by(stop):
        steps = _Steps(num_steps, progress)
        while True:
            is_alive = thread.is_alive()
            rows = ray.get(monitor.drain.remote())
            for row in rows:
                steps.show(row)
            tell([row for row in rows if "step" in row])
            if not is_alive:
                break
            reason = regroup_reason(ray.get(monitor.group.remote()), steps.seconds_left())
            if reason:
                print(f"{reason}: the workers regroup after a checkpoint", file=sys.stderr)
                monitor.request_regroup.remote()
            thread.join(_POLL_S)
    if failure:
        raise failure[0]
    return bool(asked)


class _Steps:
    """The steps of this attempt: shown as they come, and how long the rest takes.

    That is told by the steps since the newest group began.
    """

    def __init__(self, num_steps: int, progress: Progress) -> None:
        self._num_steps, self._progress = num_steps, progress
        self._num_windows = 0
        self._first: dict[str, Any] | None = None
        self._last: dict[str, Any] = {}

    def show(self, row: dict[str, Any]) -> None:
        """Show a step, or what a rank warns of."""
        if "warning" in row:
            print(row["warning"], file=sys.stderr)
            return
        if self._first is None or row["step"] <= self._last["step"]:
            self._first = row  # a group began
        self._last = row
        self._num_windows += row["num_windows"]
        self._progress.update(
            row["step"],
            windows=f"{self._num_windows:,}",
            windows_per_s=row["windows_per_s"],
            loss=row["loss"],
            lr=row["lr"],
            **{name: row[name] for name in ("held_out_f1",) if name in row},
        )

    def seconds_left(self) -> float:
        """Return the seconds that the rest takes; 0 before two steps have been taken."""
        if self._first is None or self._last["step"] == self._first["step"]:
            return 0.0
        taken = self._last["step"] - self._first["step"]
        pace: float = (self._last["time"] - self._first["time"]) / taken
        return pace * (self._num_steps - self._last["step"])
