"""One writer per run folder: `lock.json` names its owner, who renews it while alive.

    held = lock.take(folder)  # refused while another process writes there
    held.keep()
    held.release()

A lock whose owner is dead is taken over: on the same machine, a process that is gone, or whose
number now belongs to a process that started at another time; elsewhere, one that has not renewed
its lock for `ABANDONED_S`. Locks are created in one step on disks and in process memory. The
clients of gs:// and s3:// offer no conditional creation: there the lock is read back, and two
commands that start within the same second can both believe in theirs.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from qa_lib.errors import ConfigError
from qa_lib.runs import provenance, storage
from qa_lib.runs.folder import Folder

LOCK = "lock.json"
BEAT_S = 30.0
"""Seconds between two renewals of a lock."""
ABANDONED_S = 300.0
"""Seconds without renewal after which the lock of another machine counts as abandoned."""

_LOOK_S = 1.0
_UNKNOWN = "an unknown host"  # wrote a lock that cannot be read: it may be in the middle of it


@dataclass(frozen=True)
class Owner:
    """The process that writes a run.

    Attributes:
        host: Name of its machine, for messages.
        machine: Where `pid` has a meaning: one boot of a machine, and the container in it.
        pid: Number of the process.
        process_start: When it started, in clock ticks since boot; 0 where that is not known.
        started_at: When it took the lock.
        token: Differs between any two locks.
        beat_s: When it renewed the lock last, in seconds since 1970. Of a lock that was read, by
            the clock of the storage where that keeps times: another machine's may be wrong.
    """

    host: str
    machine: str
    pid: int
    process_start: int
    started_at: str
    token: str
    beat_s: float

    @classmethod
    def new(cls) -> Owner:
        """Return this process as an owner, with a new token."""
        pid = os.getpid()
        return cls(
            host=platform.node(),
            machine=_machine(),
            pid=pid,
            process_start=_process_start(pid),
            started_at=provenance.now(),
            token=uuid.uuid4().hex,
            beat_s=time.time(),
        )

    @property
    def is_this_process(self) -> bool:
        """Whether the process that asks owns the lock."""
        process = (_machine(), os.getpid(), _process_start(os.getpid()))
        return (self.machine, self.pid, self.process_start) == process

    @property
    def is_alive(self) -> bool:
        """Whether it may still write."""
        if self.machine != _machine():
            return time.time() - self.beat_s < ABANDONED_S
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # another user's
            pass
        # 0: it is there, and cannot be looked at.
        return _process_start(self.pid) in (0, self.process_start)

    def __str__(self) -> str:
        """Name the process for a message."""
        if self.host == _UNKNOWN:
            return f"a process on {self.host}"
        return f"process {self.pid} on {self.host}, since {self.started_at}"


class Lock:
    """A lock that this process holds.

    Attributes:
        is_lost: Whether another process took it over, believing this one dead.
    """

    def __init__(self, folder: Folder, owner: Owner) -> None:
        """Note what `take` has created."""
        self._folder, self._owner = folder, owner
        self._ended = threading.Event()
        self.is_lost = False

    def keep(self) -> None:
        """Renew the lock in the background until it is released."""
        self._thread.start()

    def beat(self) -> None:
        """Renew the lock, or notice that it is lost."""
        owner = read(self._folder)
        if owner is None or owner.token != self._owner.token:
            self.is_lost = True
            return
        self._folder.write_json(LOCK, asdict(replace(owner, beat_s=time.time())))

    def release(self) -> None:
        """Remove the lock, unless another process has taken it over."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(OSError):  # a lock that stays is taken over once this process is gone
            owner = read(self._folder)
            if owner is not None and owner.token == self._owner.token:
                self._folder.remove(LOCK)

    @cached_property
    def _thread(self) -> threading.Thread:
        return threading.Thread(target=self._renew, name="run-lock", daemon=True)

    def _renew(self) -> None:
        while not self.is_lost and not self._ended.wait(BEAT_S):
            with suppress(OSError):  # storage that is away: the next beat tries again
                self.beat()


def take(folder: Folder) -> Lock:
    """Take the lock of a folder that exists; a lock of this very process is taken over.

    Raises:
        ConfigError: Another process holds it.
    """
    folder = Folder(folder.path, patient=False)
    mine = Owner.new()
    for _ in range(3):
        if _create(folder, mine):
            return Lock(folder, mine)
        dead = refuse_other(folder)
        if dead is not None:
            _clear(folder, dead)
    raise ConfigError(
        f"{folder.path} is being taken over by several commands at once.",
        "Start one of them again.",
    )


def refuse_other(folder: Folder) -> Owner | None:
    """Return the owner of a lock that may be taken over, or None if there is no lock.

    Raises:
        ConfigError: Another process holds it and is alive.
    """
    owner = read(folder)
    if owner is None or owner.is_this_process or not owner.is_alive:
        return owner
    remedy = "Wait for its end or stop it, or give another --run-name."
    if owner.machine != _machine():
        rest_s = max(0.0, ABANDONED_S - (time.time() - owner.beat_s))
        remedy += f" If that process is gone, the run is free in {rest_s:.0f} s."
    raise ConfigError(f"The run {folder.path} is being written by {owner}.", remedy)


def outlast(folder: Folder) -> None:
    """Wait while another machine's lock is neither renewed nor abandoned; at most `ABANDONED_S`."""
    first = owner = read(folder)
    last_s = time.monotonic() + ABANDONED_S  # whatever the clocks say
    while owner and owner == first and owner.machine != _machine() and owner.is_alive:
        if time.monotonic() > last_s:
            return
        if owner is first:
            print(
                f"note: {folder.path} was being written by {owner}; waiting whether it still is",
                file=sys.stderr,
            )
        time.sleep(_LOOK_S)
        owner = read(folder)


def read(folder: Folder) -> Owner | None:
    """Return the owner of a folder's lock, or None if there is no lock."""
    info = folder.info(LOCK)
    written_s = (info.mtime_ns or 0) / 1e9
    try:
        owner = Owner(**json.loads(folder.read_text(LOCK)))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        return Owner(_UNKNOWN, "", 0, 0, "", "", written_s)
    return replace(owner, beat_s=written_s or owner.beat_s)


def _create(folder: Folder, owner: Owner) -> bool:
    """Create the lock; return False if there is one."""
    content = (storage.to_json(asdict(owner)) + "\n").encode()
    try:
        if storage.is_local(folder.path):
            with open(folder.at(LOCK), "xb") as file:
                try:
                    file.write(content)
                    file.flush()
                except OSError:  # a full disk: an empty lock would keep others out for minutes
                    os.unlink(file.name)
                    raise
            return True
        if folder.exists(LOCK):
            return False
        handler = getattr(folder.filesystem, "handler", None)
        if handler is not None:  # fsspec
            handler.fs.pipe_file(folder.at(LOCK), content, mode="create")
        else:
            folder.write_bytes(LOCK, content)
    except FileExistsError:
        return False
    created = read(folder)
    return created is not None and created.token == owner.token


def _clear(folder: Folder, dead: Owner) -> None:
    """Remove a dead owner's lock, but not the one that another command has just put there."""
    if not storage.is_local(folder.path):
        folder.remove(LOCK)
        return
    path = Path(folder.at(LOCK))
    aside = path.with_name(f"{LOCK}.{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):
        path.rename(aside)
        if _token_of(aside) != dead.token:
            with suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _token_of(path: Path) -> str:
    """Return the token of a lock file, or nothing where it cannot be read."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["token"])
    except (ValueError, KeyError, TypeError):
        return ""


def _machine() -> str:
    """Return what identifies this boot of this machine and the container, or its name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _process_start(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 where that is not known."""
    try:
        # Fields are counted after the command's name, which may hold spaces and parentheses.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except (OSError, UnicodeDecodeError):
        return 0
    return int(fields[19]) if fields[0] != "Z" else -1
