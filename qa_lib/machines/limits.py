"""Errors of a machine that is used up: no room, memory, files or processes left for this user."""

from __future__ import annotations

import errno
import resource

from qa_lib.errors import ResourceError, causes

_NO_ROOM = (
    "No room is left",
    "Free some, or let TMPDIR, RAY_TMPDIR, HOME or --storage, whichever it is, name a larger disk.",
)
_SMALLER = (
    "a smaller --train.micro-batch (auto looks for one that fits), --data.max-length, "
    "--evaluate.batch-size or model, a higher --train.zero-stage, or "
    "--train.gradient-checkpointing."
)
_NO_MEMORY = (
    "No memory is left for this process",
    "Raise its limit (`ulimit -v unlimited`, the container's memory), or take fewer "
    f"--train.num-workers, {_SMALLER}",
)
_ENDED = (
    "A process of Ray was ended from outside, or crashed",
    "If its machine ran out of memory (the last lines of `dmesg` there say so), give it more, or "
    f"take fewer --train.num-workers, {_SMALLER} The same command with --resume goes on.",
)
_NO_GPU_MEMORY = ("No memory is left on the GPU", f"End other programs on it, or take {_SMALLER}")
_BY_NUMBER = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EROFS: ("The disk is read-only", "Let TMPDIR, HOME or --storage name another."),
    errno.ENOMEM: _NO_MEMORY,
    errno.EFBIG: (
        "A file would exceed the limit of this shell",
        "Raise it: `ulimit -f unlimited`.",
    ),
    errno.EMFILE: ("This process may open no more files", "Raise the limit: `ulimit -n 65536`."),
    errno.ENFILE: ("This machine can open no more files", "End other programs."),
    errno.EAGAIN: ("This user may start no more processes", "Raise the limit: `ulimit -u 65536`."),
}
_BY_TEXT = {
    "No usable temporary directory": ("Temporary files have no place", _NO_ROOM[1]),
    "failed to map segment": _NO_MEMORY,  # the dynamic linker
    "annot allocate memory": _NO_MEMORY,
    "can't allocate memory": _NO_MEMORY,  # torch
    "can't start new thread": _BY_NUMBER[errno.EAGAIN],
    "out of memory": _NO_GPU_MEMORY,  # CUDA
    "low on memory": _NO_MEMORY,  # Ray, which ends a worker before the kernel would
    "No space left on device": _NO_ROOM,  # a library that has lost the number
    "Too many open files": _BY_NUMBER[errno.EMFILE],
}

# CPython where an allocation failed; without a limit of memory it is a fault of an extension.
_SILENT = ("without setting an exception", "without exception set")


def explain(error: BaseException) -> ResourceError | None:
    """Return the ResourceError behind an exception or its causes; None if no limit is."""
    for cause in causes(error, contexts=True):
        found = _reason(cause)
        if found is not None:
            detail = str(cause).strip().splitlines() or [type(cause).__name__]
            return ResourceError(f"{found[0]}{_limit(found)}: {detail[0][:300]}", found[1])
    return None


def _reason(error: BaseException) -> tuple[str, str] | None:
    if isinstance(error, MemoryError):
        return _NO_MEMORY
    if isinstance(error, OSError) and error.errno in _BY_NUMBER:
        return _BY_NUMBER[error.errno]
    if isinstance(error, SystemError) and any(each in str(error) for each in _SILENT):
        return _NO_MEMORY if _limit(_NO_MEMORY) else None
    if type(error).__name__ in ("ActorDiedError", "WorkerCrashedError"):  # Ray's
        is_bug = getattr(error, "actor_init_failed", False)  # its constructor raised something
        return None if is_bug else _ENDED
    told = isinstance(error, (OSError, RuntimeError, ImportError))
    if told or type(error).__name__ == "OutOfMemoryError":  # Ray's own has no other base
        return next((found for text, found in _BY_TEXT.items() if text in str(error)), None)
    return None


def _limit(found: tuple[str, str]) -> str:
    """Return the limit that was met, where the kernel tells it."""
    kinds = {
        _BY_NUMBER[errno.EMFILE]: (resource.RLIMIT_NOFILE, ""),
        _BY_NUMBER[errno.EFBIG]: (resource.RLIMIT_FSIZE, " bytes"),
        _NO_MEMORY: (resource.RLIMIT_AS, " bytes"),
    }
    if found not in kinds:
        return ""
    kind, unit = kinds[found]
    most = resource.getrlimit(kind)[0]
    return "" if most == resource.RLIM_INFINITY else f" (limit {most:,}{unit})"
