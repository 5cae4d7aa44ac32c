"""Progress of long work: a live bar on a terminal, a line every 15 seconds elsewhere.

with Progress(10_570, "questions", "evaluating") as progress:
    progress.update(640, windows_per_s=45.2)
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO, TypeVar

if TYPE_CHECKING:
    import rich.progress

T = TypeVar("T")

QUIET_S = 5.0
"""Without a terminal, work that takes no longer than this prints nothing."""

_LINE_EVERY_S = 15.0


def tracked(items: Sequence[T], unit: str, title: str, *, quiet_s: float = 0.0) -> Iterator[T]:
    """Yield items and show the progress of the work on them; arguments as of `Progress`."""
    with Progress(len(items), unit, title, quiet_s=quiet_s) as progress:
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(done)


class Progress:
    """Shows units done, their total, the time left and the caller's figures on standard error."""

    def __init__(
        self,
        total: int,
        unit: str,
        title: str,
        *,
        stream: TextIO | None = None,
        line_every_s: float = _LINE_EVERY_S,
        quiet_s: float = 0.0,
    ) -> None:
        """Describe the work; nothing is shown before the first update.

        Args:
            total: Number of units.
            unit: What is counted, in the plural.
            title: What is done.
            stream: Where to write; standard error if None.
            line_every_s: Seconds between lines if the stream is not a terminal.
            quiet_s: If it is not, print nothing for work that takes no longer than this.
        """
        self._total, self._unit, self._title = total, unit, title
        self._stream = stream or sys.stderr
        self._line_every_s, self._quiet_s = line_every_s, quiet_s
        self._entered_s = float("-inf")
        self._bar: rich.progress.Progress | None = None
        self._first: tuple[float, int] | None = None  # time and units done at the first update
        self._shown_s = float("-inf")
        self._waiting: tuple[int, dict[str, float | str]] | None = None

    def __enter__(self) -> Progress:
        """Start the display."""
        self._entered_s = time.monotonic()
        if self._stream.isatty():
            self._bar = _bar(self._stream)
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total, figures="")
        return self

    def __exit__(self, *error: object) -> None:
        """Show the last update and end the display."""
        if self._bar is not None:
            self._bar.stop()
        elif self._waiting is not None and time.monotonic() - self._entered_s >= self._quiet_s:
            self._line(*self._waiting)

    def update(self, done: int, **figures: float | str) -> None:
        """Show the state of the work.

        Args:
            done: Units done so far; resumed work begins above 0.
            **figures: Shown beside it by name, such as `loss` or `windows_per_s`.
        """
        now = time.monotonic()
        if self._first is None:
            self._first = now, done
        if self._bar is not None:
            text = "  ".join(f"{name} {_short(value)}" for name, value in figures.items())
            self._bar.update(self._task, completed=done, figures=text)
        elif now - self._shown_s >= self._line_every_s and now - self._entered_s >= self._quiet_s:
            self._line(done, figures)
        else:
            self._waiting = done, figures

    def _line(self, done: int, figures: dict[str, float | str]) -> None:
        parts = [f"{self._title}: {done:,} of {self._total:,} {self._unit}"]
        parts += [f"{name} {_short(value)}" for name, value in figures.items()]
        left_s = self._left_s(done)
        if left_s is not None and done < self._total:
            parts.append(f"{_clock(left_s)} left")
        print(", ".join(parts), file=self._stream, flush=True)
        self._shown_s, self._waiting = time.monotonic(), None

    def _left_s(self, done: int) -> float | None:
        """Estimate the seconds left from the mean speed since the first update."""
        assert self._first is not None
        first_s, first_done = self._first
        if done == first_done:
            return None
        return (time.monotonic() - first_s) / (done - first_done) * (self._total - done)


def _bar(stream: TextIO) -> rich.progress.Progress:
    from rich import console, progress

    return progress.Progress(
        "{task.description}",
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        "{task.fields[figures]}",
        progress.TimeElapsedColumn(),
        "left",
        progress.TimeRemainingColumn(),
        console=console.Console(file=stream),
    )


def _short(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
