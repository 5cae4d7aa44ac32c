"""Where a result comes from: when, on which machine, by which command and code."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from qa_lib.config import credentials

COMMIT = "QA_COMMIT"
"""Environment variable with the commit, where the code runs without its repository."""

_LIBRARIES = (
    "torch",
    "ray",
    "deepspeed",
    "transformers",
    "tokenizers",
    "accelerate",
    "datasets",
    "pyarrow",
    "numpy",
)
_ROOT = Path(__file__).resolve().parents[2]


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that decide a run's figures."""
    found = {"python": platform.python_version()}
    for library in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[library] = metadata.version(library)
    return found


def now() -> str:
    """Return the time in UTC, as ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def command() -> str:
    """Return the command of this process as it would be typed, without the interpreter's path.

    Credentials in URLs are covered, as in a question about one.
    """
    module = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = ["python", "-m", module.name] if module else [Path(sys.argv[0]).name]
    return shlex.join([*program, *map(credentials.redact, sys.argv[1:])])


@lru_cache(maxsize=1)
def commit() -> str | None:
    """Return the commit of the code, with a `+` where files differ from it."""
    if COMMIT in os.environ:
        return os.environ[COMMIT]
    if not (_ROOT / ".git").exists():
        return None
    with suppress(OSError, subprocess.SubprocessError):
        head = _git("rev-parse", "HEAD")
        return f"{head}+" if _git("status", "--porcelain", "--untracked-files=no") else head
    return None


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_ROOT), *arguments]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=5
    ).stdout.strip()


@lru_cache(maxsize=1)
def hardware() -> str:
    """Return this machine's processor, cores, memory and GPUs in a line."""
    num_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    parts = [f"{os.cpu_count()} cores of {_processor()}", f"{num_bytes / 2**30:.0f} GiB"]
    torch = sys.modules.get("torch")  # not imported for this: it takes seconds
    if torch is not None and torch.cuda.is_available():
        parts += [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return ", ".join(parts)


def _processor() -> str:
    with suppress(OSError, IndexError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        return text.split("model name", 1)[1].split(":", 1)[1].split("\n", 1)[0].strip()
    return platform.processor() or platform.machine()
