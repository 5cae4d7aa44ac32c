"""Commands that a test has started, and that it ends."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]


@contextmanager
def running(command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Run a command of this repository beside the block; none outlives a test that fails."""
    with subprocess.Popen(command, cwd=ROOT, text=True, **options) as process:
        try:
            yield process
        finally:
            process.kill()


def training_workers() -> list[psutil.Process]:
    """Find the training workers below this process, some of which may be ending."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "RayTrainWorker" in "".join(each.cmdline()[:1]):
                found.append(each)
    return found
