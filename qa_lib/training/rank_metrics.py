"""Rank 0's metrics: a row per step, for metrics.jsonl and for the driver."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from qa_lib import models
from qa_lib.machines import devices, metrics
from qa_lib.models.kernels import Kernels
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training.engine import Engine, StepResult
from qa_lib.training.loop import Ending, StepBatch
from qa_lib.training.optimizer import learning_rate
from qa_lib.training.task import TrainTask

_FLUSH_EVERY_S = 1.0


class RankMetrics:
    """Writes rank 0's steps and sends them to the monitor, once a second; idle on other ranks."""

    def __init__(self, task: TrainTask, engine: Engine, rank: int) -> None:
        """Read which steps the run has written before: a failure makes it take them again."""
        self._task, self._engine, self._is_main = task, engine, rank == 0
        self._run = RunFolder(task.run_path, "train")
        self._rows: list[dict[str, Any]] = []
        written = self._run.read_metrics() if self._is_main else []
        self._num_written = max((row["step"] for row in written if "step" in row), default=0)
        self._started = self._ended = self._flushed = time.monotonic()
        self._is_started = False
        self._num_windows = 0
        self._num_tokens = 0
        self._step_seconds = self._paused_s = 0.0

    def start(self) -> None:
        """Start the clock when the first windows are there: speeds are those of training alone."""
        if not self._is_started:
            self._started, self._is_started = time.monotonic(), True

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Stop the clock while a checkpoint is written: speeds are those of the steps."""
        started = time.monotonic()
        yield
        self._paused_s += time.monotonic() - started

    def note(self, batch: StepBatch, result: StepResult, scores: dict[str, Any]) -> None:
        """Record a finished step, and the scores of an evaluation after it."""
        if not self._is_main:
            return
        now, plan, engine = time.monotonic(), self._task.plan, self._engine
        self._ended = now
        self._step_seconds = now - self._started - self._paused_s
        self._num_windows += batch.num_windows
        self._num_tokens += int(plan.lengths[plan.batch(batch.step)].sum())
        self._rows.append(
            {
                "step": batch.step + 1,
                "epoch": round((batch.step + 1) / plan.steps_per_epoch, 4),
                "loss": round(result.loss, 6),
                "lr": learning_rate(engine.settings, batch.step, engine.num_steps),
                "num_windows": batch.num_windows,
                "skipped": result.skipped,
                "redone": batch.step < self._num_written,
                "windows_per_s": round(self._num_windows / self._step_seconds, 2),
                "time": round(time.time(), 3),
                **scores,
            }
        )
        if now - self._flushed >= _FLUSH_EVERY_S:
            self.flush(is_stored=False)

    def flush(self, *, is_stored: bool = True) -> None:
        """Write the steps since the last time, send them, and learn whether to stop.

        Args:
            is_stored: Whether an object store must have them now; else it has them within seconds.
        """
        if not self._is_main:
            return
        import ray

        for row in self._rows:
            with suppress(OSError):  # a full disk stops no training; the next flush tries again
                self._run.append_metrics(row)
        if is_stored:
            with suppress(OSError):
                self._run.flush_metrics()
        wishes = ray.get(self._task.monitor.record.remote(self._rows))
        self._engine.wants_stop, self._engine.wants_regroup = wishes
        self._export()
        self._rows, self._flushed = [], time.monotonic()

    def _export(self) -> None:
        """Send the steps since the last time to Ray's metrics."""
        if not self._rows:
            return
        last = self._rows[-1]
        gauges = {
            "qa_train_step": last["step"],
            "qa_train_num_steps": self._task.plan.num_steps,
            "qa_train_loss": last["loss"],
            "qa_train_learning_rate": last["lr"],
            "qa_train_windows_per_s": last["windows_per_s"],
        }
        counters = {
            "qa_train_windows": sum(row["num_windows"] for row in self._rows),
            "qa_train_skipped_steps": sum(row["skipped"] for row in self._rows),
        }
        metrics.send(self._run.name, gauges, counters)

    def warn(self, message: str) -> None:
        """Let the driver say something at once."""
        if self._is_main:
            import ray

            ray.get(self._task.monitor.record.remote([{"warning": message}]))

    def conclude(
        self,
        kernels: Kernels,
        ending: Ending,
        world_size: int,
        problem: str,
        going: dict[str, str],
        evaluated: dict[str, Any],
    ) -> None:
        """Send the monitor the result of the training, with fields for result.json.

        Of a group that took no step, as of a run that was resumed after its last, there are no
        speeds: the run keeps those that it has.

        Args:
            kernels: What was trained with.
            ending: How it ended.
            world_size: Ranks of the group.
            problem: Why checkpoints or the result could not be written, or "".
            going: Nodes that are about to be taken away, with what `notice.given` returned there.
            evaluated: Fields about the evaluations on the way.
        """
        if not self._is_main:
            return
        import ray

        engine = self._engine
        self.flush()
        measured = self._measured() if self._num_windows else {}
        facts = {
            "steps": engine.step_number,
            "ending": ending,
            "problem": problem,
            "going": going,
            "num_skipped_steps": engine.num_skipped,
            "num_parameters": models.num_parameters(engine.model),
            "world_size": world_size,
            "zero_stage": engine.zero_stage,
            **kernels.facts(),
            **evaluated,
            "device": str(engine.device),
            **measured,
        }
        ray.get(self._task.monitor.conclude.remote(facts))

    def _measured(self) -> dict[str, Any]:
        """Return the fields about the speed and memory of the steps that this group took."""
        return {
            "train_loop_seconds": round(self._ended - self._started, 2),
            "windows_per_s": round(self._num_windows / self._step_seconds, 2),
            "tokens_per_s": round(self._num_tokens / self._step_seconds, 1),
            "state_bytes_per_rank": self._engine.num_state_bytes(),
            "peak_memory_bytes": devices.peak_memory_bytes(str(self._engine.device)),
        }
