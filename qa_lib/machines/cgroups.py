"""The control groups of Linux that limit this process, of version 1 or 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def folders(controller: str, root: Path) -> Iterator[tuple[Path, int]]:
    """Yield every cgroup that this process is in with its version, those inside first.

    Every one above the process counts; a container sees its own as the root.

    Args:
        controller: memory or cpu.
        root: Where proc and sys are mounted.

    Source:
        Linux kernel documentation: cgroup-v2.rst; cgroup-v1/cgroups.rst.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            base, version = root / "sys/fs/cgroup", 2
        elif controller in controllers.split(","):
            base, version = root / "sys/fs/cgroup" / controller, 1
        else:
            continue
        inner = PurePosixPath(path.lstrip("/"))
        for part in (inner, *inner.parents):
            yield base / part, version
