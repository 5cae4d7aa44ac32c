"""Ctrl-C and SIGTERM: one request to stop, however often and to whomever it is sent.

A terminal, `timeout`, systemd and Slurm signal a command and all that it has started, and some do
so twice. Only the command heeds the signal: the processes that it starts within `held_back` never
see it, so that it can still have a checkpoint written and say in result.json how it ended.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
REPEAT_S = 2.0
"""Signals that follow within so many seconds are the same request."""

_heeded_s = float("-inf")


def interrupt_on_stop() -> None:
    """Let either signal raise KeyboardInterrupt in the main thread, from now on."""
    _handle(_interrupt)


@contextmanager
def heeded_by(action: Callable[[], None]) -> Iterator[None]:
    """Do something else on the first request, and raise KeyboardInterrupt on the next."""
    is_first = True

    def act() -> None:
        nonlocal is_first
        if not is_first:
            raise KeyboardInterrupt
        is_first = False
        action()

    with _kept():
        _handle(act)
        yield


@contextmanager
def held_back(*, inherited: bool) -> Iterator[None]:
    """Keep this process's handlers, whatever a library sets meanwhile.

    Args:
        inherited: Start the processes that begin meanwhile with both signals blocked for good. A
            signal to this one waits until the end.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS if inherited else ())
    try:
        with _kept():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


@contextmanager
def _kept() -> Iterator[None]:
    """Restore the handlers of both signals; only the main thread can change them."""
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


def _handle(action: Callable[[], None]) -> None:
    def heed(number: int, frame: Any) -> None:
        global _heeded_s
        if time.monotonic() - _heeded_s >= REPEAT_S:
            _heeded_s = time.monotonic()
            action()

    if threading.current_thread() is threading.main_thread():
        for number in STOP_SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # `nohup`, or a shell's background job
                signal.signal(number, heed)


def _interrupt() -> None:
    raise KeyboardInterrupt
