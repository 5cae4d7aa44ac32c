"""Paths and URLs: from what a user writes to a filesystem, and files that are whole on any."""

from __future__ import annotations

import errno
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from qa_lib.errors import ConfigError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

RETRY_FOR_S = 60.0
"""An outage of an object store is waited out for so long, in seconds."""

NUM_TRIES = 4
"""How often `retry` tries."""

SCHEMES = ("gs", "gcs", "s3", "abfs", "az", "hdfs", "https", "http", "hf", "memory")
"""Of URLs that are opened: object stores, web servers, the hub's files, and a process's memory.

Others that fsspec knows reach into archives, caches and other machines (`zip`, `ssh`, `github`),
which a recipe that somebody else wrote should not.
"""

_PERMANENT = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
_T = TypeVar("_T")

_STORE_EVERY_S = 10.0  # how often a LineLog writes its file to an object store


def is_local(url: str) -> bool:
    """Say whether a path or URL is on this machine's disks."""
    return "://" not in url or url.startswith("file://")


def resolve(url: str, retry_for_s: float = RETRY_FOR_S) -> tuple[FileSystem, str]:
    """Return the pyarrow filesystem of a path or URL, and the path inside it.

    Args:
        url: A local path (relative to the working directory, ``~`` is the home), or a URL that
            pyarrow or an installed fsspec filesystem understands.
        retry_for_s: How long each gs:// request is tried again, in seconds.

    Raises:
        ConfigError: The scheme is none of `SCHEMES`, no filesystem for it is installed, or the URL
            climbs (``..``).
    """
    from pyarrow import ArrowInvalid, fs

    if is_local(url):
        path = url.removeprefix("file://")
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(path))
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise ConfigError(
            f"{url} cannot be opened: {scheme}:// is not allowed.",
            f"Give a local path, or a URL of one of {', '.join(SCHEMES)}.",
        )
    if ".." in url.split("/"):
        raise ConfigError(f"The URL {url} climbs out with '..'.", "Give the URL it leads to.")
    url = url.rstrip("/")
    try:
        if url.startswith(("gs://", "gcs://")) and "?" not in url:
            # Left alone, pyarrow goes on trying for 15 minutes.
            return fs.FileSystem.from_uri(f"{url}?retry_limit_seconds={retry_for_s:g}")
        try:
            return fs.FileSystem.from_uri(url)
        except ArrowInvalid:  # not a scheme of pyarrow
            import fsspec

            filesystem, path = fsspec.core.url_to_fs(url)
            return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path
    except (ValueError, ImportError, OSError) as error:
        raise ConfigError(
            f"{url} cannot be opened: {first_line(error)}",
            "Give a local path or a URL whose filesystem is installed, such as gs://bucket/folder.",
        ) from None


def read_text(url: str) -> str:
    """Return the content of a UTF-8 file, at a local path or a URL.

    Raises:
        OSError: It cannot be read.
        UnicodeDecodeError: It is no UTF-8.
    """
    filesystem, path = resolve(url)
    with filesystem.open_input_stream(path) as stream:
        content: bytes = stream.readall()
    return content.decode("utf-8")


def write_text(filesystem: FileSystem, path: str, text: str) -> None:
    """Write a UTF-8 file so that readers see the old one or the new one, never a part.

    Args:
        filesystem: Where to write.
        path: Path inside `filesystem`; missing folders are created.
        text: The whole content.
    """
    from pyarrow.fs import LocalFileSystem

    if not isinstance(filesystem, LocalFileSystem):  # an object appears when its stream is closed
        with filesystem.open_output_stream(path) as stream:
            stream.write(text.encode("utf-8"))
        return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise


def retry(action: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
    """Run a storage operation up to `NUM_TRIES` times, waiting 0.5, 1, 2 s in between.

    Raises:
        OSError: Of the last try; at once where waiting does not help: a full disk, no permission.
    """
    for attempt in range(NUM_TRIES):
        try:
            return action(*args, **kwargs)
        except OSError as error:
            if attempt == NUM_TRIES - 1 or error.errno in _PERMANENT:
                raise
            time.sleep(0.5 * 2**attempt)
    raise AssertionError("the last try returns or raises")


class LineLog:
    """A text file that grows by lines: appended to on a disk, elsewhere written whole now and then.

    Object stores cannot append. One process may write a log at a time.
    """

    def __init__(self, filesystem: FileSystem, path: str) -> None:
        """Attach to the file; nothing is read or written before the first line."""
        from pyarrow.fs import LocalFileSystem

        self.filesystem, self.path = filesystem, path
        self.appends = isinstance(filesystem, LocalFileSystem)
        self.before: str | None = None  # what must stand before `pending`; None: not looked yet
        self.pending = ""
        self.flushed_s = -math.inf

    def append(self, line: str) -> None:
        """Add a line, its newline included; a disk has it at once, a store within ten seconds."""
        if self.before is None:
            old = self._read()
            # A line that a crash cut short must not swallow the next one.
            end = "\n" if old and not old.endswith("\n") else ""
            self.before = end if self.appends else old + end
        self.pending += line
        if self.appends or time.monotonic() - self.flushed_s > _STORE_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what a store has not got yet."""
        if not self.pending:
            return
        text = (self.before or "") + self.pending
        if self.appends:
            with open(self.path, "a", encoding="utf-8") as stream:
                stream.write(text)
        else:
            write_text(self.filesystem, self.path, text)
        self.before = "" if self.appends else text
        self.pending = ""
        self.flushed_s = time.monotonic()

    def _read(self) -> str:
        from pyarrow.fs import FileType

        if self.filesystem.get_file_info(self.path).type == FileType.NotFound:
            return ""
        with self.filesystem.open_input_stream(self.path) as stream:
            return stream.readall().decode("utf-8", errors="replace")


def to_json(values: Mapping[str, Any], indent: int | None = None) -> str:
    """Return strict JSON: NaN and infinity, which JSON lacks, become null."""
    return json.dumps(_plain(values), indent=indent, ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy and torch scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def short_name(name: Any) -> str:
    """Return a model's or source's name without the folders before it."""
    text = str(name).rstrip("/")
    return text.rpartition("/")[2] if "://" in text or text[:1] in "/.~" else text


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, shortened, or its type if it has none."""
    line = (str(error).strip() or type(error).__name__).split("\n")[0]
    return line if len(line) <= 300 else f"{line[:297]}..."
