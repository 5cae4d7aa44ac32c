"""The display of a running search: a live table on a terminal, a line for each rung elsewhere."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from qa_lib.machines import metrics
from qa_lib.runs import storage
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search.halving import Halving, Trial
from qa_lib.search.results import status_of

if TYPE_CHECKING:
    from rich.table import Table

_MAX_ROWS = 24  # the trials that changed last, so that the table fits a screen


class Display:
    """Shows the trials of a search, exports their states, and writes TensorBoard's curves."""

    def __init__(
        self,
        run: RunFolder,
        trials: Sequence[Trial],
        halving: Halving,
        *,
        num_trials: int,
        num_concurrent: int,
        stream: TextIO | None = None,
    ) -> None:
        """Take what to show; nothing is shown before the display is entered.

        Args:
            run: Receives `tensorboard/`, if it is a local folder.
            trials: All so far; the list grows.
            halving: Rungs and budgets.
            num_trials: At the end, without the parent.
            num_concurrent: Trials at a time.
            stream: None for standard error.
        """
        self._run, self._trials, self._halving = run, trials, halving
        self._num_trials, self._num_concurrent = num_trials, num_concurrent
        self._stream = stream
        self._live: Any = None
        self._changed: list[int] = []  # numbers of trials, the newest change last
        self._running: set[int] = set()

    def __enter__(self) -> Display:
        """Start the live table on a terminal."""
        stream = self._stream or sys.stderr
        if stream.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(self._table(), console=Console(file=stream), refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the table as it stands."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def started(self, trial: Trial) -> None:
        """Show a trial whose next rung has begun."""
        self._running.add(trial.number)
        self._update(trial)

    def ended(self, trial: Trial) -> None:
        """Show a trial that has finished a rung or crashed."""
        self._running.discard(trial.number)
        self._tell(trial)
        self._update(trial)
        if self._live is None:
            print(self._line(trial), file=self._stream or sys.stderr, flush=True)

    def _update(self, trial: Trial) -> None:
        others = [number for number in self._changed if number != trial.number]
        self._changed = [*others, trial.number]
        metrics.send_trials(self._run.name, Counter(map(self._state, self._trials)))
        if self._live is not None:
            self._live.update(self._table())

    def _state(self, trial: Trial) -> str:
        return "running" if trial.number in self._running else status_of(trial, self._halving.top)

    def seconds_left(self) -> float | None:
        """Estimate the seconds left; None until every rung has finished once."""
        total = 0.0
        expected = self._num_trials
        for rung in range(self._halving.top + 1):
            times = [t.outcomes[rung].seconds for t in self._trials[1:] if t.rung >= rung]
            if expected and not times:
                return None
            if times:
                total += max(0, expected - len(times)) * sum(times) / len(times)
            expected = self._halving.share(expected)
        return total / self._num_concurrent

    def _line(self, trial: Trial) -> str:
        setting = trial.setting.row()
        sizes = (
            "the parent"
            if trial.is_parent
            else f"{setting['num_layers']} layers, hidden {setting['hidden_size']}, intermediate"
            f" {setting['intermediate_size']}{' ragged' if setting['ragged'] else ''}"
        )
        title = f"trial {trial.number} ({sizes}, {trial.speedup:.2f}x)"
        if trial.error is not None:
            return f"{title}: crashed: {trial.error}"
        outcome = trial.outcomes[-1]
        state = f"rung {trial.rung} of {self._halving.top}: F1 {outcome.f1:.2f}"
        return f"{title}, {state} after {outcome.num_windows:,} windows{self._left()}"

    def _left(self) -> str:
        seconds = round(self.seconds_left() or 0)
        return f", {seconds // 60}:{seconds % 60:02d} left" if seconds else ""

    def _table(self) -> Table:
        from rich.table import Table

        caption = f"{len(self._trials)} of {self._num_trials + 1} trials{self._left()}"
        table = Table(caption=caption)
        columns: dict[str, Callable[[Trial], str]] = {
            "trial": lambda trial: str(trial.number),
            "layers": lambda trial: str(len(trial.setting.sizes.layers)),
            "hidden": lambda trial: str(trial.setting.sizes.hidden_size),
            "intermediate": lambda trial: str(trial.setting.sizes.intermediate_size),
            "rung": lambda trial: f"{trial.rung} of {self._halving.top}",
            "F1": lambda trial: f"{trial.outcomes[-1].f1:.2f}" if trial.outcomes else "",
            "speed-up": lambda trial: f"{trial.speedup:.2f}x",
            "status": self._state,
        }
        for name in columns:
            table.add_column(name, justify="right")
        for number in self._changed[-_MAX_ROWS:]:
            table.add_row(*(show(self._trials[number]) for show in columns.values()))
        return table

    def _tell(self, trial: Trial) -> None:
        """Tell the run's tracker of the newest rung; TensorBoard's curves are always written."""
        name = f"trial-{trial.number:03d}"
        told = self._run.tracker.child(name, trial.setting.row())
        if trial.error is not None:
            told.end("failed")
            return
        outcome = trial.outcomes[-1]
        values = {"f1": outcome.f1, "speedup": trial.speedup}
        told.log([{"step": outcome.num_windows, "latency_ms": trial.latency_ms, **values}])
        if self._run.tracker.name == "tensorboard" or not storage.is_local(self._run.path):
            return
        from torch.utils.tensorboard import SummaryWriter

        with SummaryWriter(f"{self._run.root}/tensorboard/{name}") as writer:
            for label, value in values.items():
                writer.add_scalar(label, value, outcome.num_windows)
