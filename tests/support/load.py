"""Clients that ask a service without pause, and remember what became of every request."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import psutil

from tests.support.service import ASKED, call


class Asked(NamedTuple):
    """A request: when it was sent, and its status or the class of the error."""

    sent_s: float
    became: int | str


@contextmanager
def load(port: int, num_clients: int = 4, **headers: str) -> Iterator[list[Asked]]:
    """Let clients ask while the block runs; yields the list that their requests go into."""
    found: list[Asked] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            sent_s = time.monotonic()
            try:
                became: int | str = call(port, body=ASKED, **headers)[0]
            except OSError as error:
                became = type(error).__name__
            found.append(Asked(sent_s, became))

    threads = [threading.Thread(target=ask) for _ in range(num_clients)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        over.set()
        for thread in threads:
            thread.join()


def wait_for_more(found: list[Asked], count: int, within_s: float = 60.0) -> None:
    """Wait until so many more requests have ended."""
    enough, until = len(found) + count, time.monotonic() + within_s
    while len(found) < enough:
        assert time.monotonic() < until, f"only {len(found)} of {enough} requests ended"
        time.sleep(0.01)


def replicas_of(process: psutil.Process, name: str) -> list[psutil.Process]:
    """Return the processes that are replicas of a deployment, below a process."""
    found = []
    for each in process.children(recursive=True):
        try:
            command = " ".join(each.cmdline())
        except psutil.Error:
            continue
        if "ServeReplica:" in command and f":{name}" in command:
            found.append(each)
    return found
