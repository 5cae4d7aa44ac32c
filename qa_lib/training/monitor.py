"""How the driver follows the ranks: an actor between them, a progress line, and stop signals."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from qa_lib.errors import TrainError
from qa_lib.runs.progress import Progress

_POLL_S = 0.5


class Monitor:
    """An actor between ranks and driver: finished steps go one way, the wish to stop the other."""

    def __init__(self) -> None:
        """Start empty."""
        self._rows: list[dict[str, Any]] = []
        self._facts: dict[str, Any] = {}
        self._stop = False

    def record(self, rows: list[dict[str, Any]]) -> bool:
        """Take finished steps from rank 0, and return whether the run should stop."""
        self._rows += rows
        return self._stop

    def conclude(self, facts: dict[str, Any]) -> None:
        """Take the result of the training from rank 0."""
        self._facts = facts

    def request_stop(self) -> None:
        """Ask the ranks to write a checkpoint and stop after the current step."""
        self._stop = True

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


def watch(trainer: Any, monitor: Any, num_steps: int) -> None:
    """Run a trainer of Ray Train in a thread, and show the steps that its monitor receives.

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

    thread = threading.Thread(target=fit, daemon=True)
    thread.start()
    num_windows = 0  # of this attempt
    with Progress(num_steps, "steps", "training") as progress, _stop_signals(monitor):
        while True:
            is_alive = thread.is_alive()
            for row in ray.get(monitor.drain.remote()):
                num_windows += row["num_windows"]
                progress.update(
                    row["step"],
                    windows=f"{num_windows:,}",
                    windows_per_s=row["windows_per_s"],
                    loss=row["loss"],
                    lr=row["lr"],
                )
            if not is_alive:
                break
            thread.join(_POLL_S)
    if failure:
        raise failure[0]


@contextmanager
def _stop_signals(monitor: Any) -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into a checkpoint; a second one ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}

    def stop(number: int, _: Any) -> None:
        print("stopping after this step, with a checkpoint ...", file=sys.stderr)
        monitor.request_stop.remote()
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
