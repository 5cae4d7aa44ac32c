"""Paths and URLs as a user writes them, resolved to filesystems; whole files, retries, JSON."""

from __future__ import annotations

import errno
import json
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from qa_lib.config import credentials
from qa_lib.errors import ConfigError
from qa_lib.runs.fsspec_errors import with_os_errors

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.fs import FileSystem

RETRY_FOR_S = 60.0
"""Seconds for which an outage of an object store is waited out."""

FIRST_CONTACT_S = 2.0
"""Seconds after which an unreachable bucket is reported before anything has started."""

NUM_TRIES = 4
"""How often `retry` tries."""

SCHEMES = ("gs", "gcs", "s3", "abfs", "az", "hdfs", "https", "http", "hf", "memory")
"""URL schemes that are opened: object stores, web servers, the hub's files, process memory.

The others of fsspec reach into archives, caches and other machines (`zip`, `ssh`, `github`); a
recipe from somebody else should not.
"""

_PERMANENT = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS}
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_NO_FOLDER_SYNC = {errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.EISDIR}
_PERMANENT_TYPES = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_T = TypeVar("_T")

_MOST_COPIED_BYTES = 4 << 30  # in one request to an object store
_STORE_EVERY_S = 10.0  # between two writes of a LineLog to an object store


def is_local(url: str) -> bool:
    """Say whether a path or URL is on this machine's disks."""
    return "://" not in url or url.startswith("file://")


def join(url: str, *parts: str) -> str:
    """Return the path or URL of something below another: a URL's `?options` stay at its end."""
    if not parts:
        return url
    base = without_options(url)
    return "/".join([base.rstrip("/"), *parts]) + url[len(base) :]


def without_options(url: str) -> str:
    """Return a URL without its `?options`, a path as it is."""
    return url if is_local(url) else url.partition("?")[0]


def resolve(url: str, retry_for_s: float = RETRY_FOR_S) -> tuple[FileSystem, str]:
    """Return the pyarrow filesystem of a path or URL, and the path inside it.

    Args:
        url: A local path (relative to the working directory, ``~`` is the home), or a URL that
            pyarrow or an installed fsspec filesystem understands.
        retry_for_s: How long each gs:// request is tried again, in seconds.

    Raises:
        ConfigError: The scheme is not in `SCHEMES`, no filesystem for it is installed, or the URL
            contains ``..`` or credentials.
    """
    from pyarrow import ArrowInvalid, fs

    if is_local(url):
        path = url.removeprefix("file://")
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(path))
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise ConfigError(
            f"{credentials.redact(url)} cannot be opened: {scheme}:// is not allowed.",
            f"Give a local path, or a URL of one of {', '.join(SCHEMES)}.",
        )
    secret = credentials.kind_of_secret(url)
    if secret is not None:
        raise ConfigError(f"{credentials.redact(url)} holds {secret}.", credentials.REMEDY)
    if ".." in url.split("/"):
        raise ConfigError(f"The URL {url} climbs out with '..'.", "Give the URL it leads to.")
    url = url.rstrip("/")
    try:
        if url.startswith(("gs://", "gcs://")) and "retry_limit_seconds=" not in url:
            # Left alone, pyarrow goes on trying for 15 minutes.
            mark = "&" if "?" in url else "?"
            return fs.FileSystem.from_uri(f"{url}{mark}retry_limit_seconds={retry_for_s:g}")
        try:
            filesystem, path = fs.FileSystem.from_uri(url)
        except ArrowInvalid:  # not a scheme of pyarrow
            import fsspec

            inner, path = fsspec.core.url_to_fs(url)
            filesystem = fs.PyFileSystem(fs.FSSpecHandler(inner))
        return with_os_errors(filesystem), path
    except (ValueError, ImportError, OSError) as error:
        raise ConfigError(
            f"{url} cannot be opened: {first_line(error)}",
            "Give a local path or a URL whose filesystem is installed, such as gs://bucket/folder.",
        ) from None


def read_text(url: str) -> str:
    """Return the content of a UTF-8 file, at a local path or a URL, without a byte order mark.

    Raises:
        OSError: The file cannot be read.
        UnicodeDecodeError: The file is not UTF-8.
    """
    filesystem, path = resolve(url)
    with filesystem.open_input_stream(path) as stream:
        content: bytes = stream.readall()
    return content.decode("utf-8-sig")


@contextmanager
def open_whole(filesystem: FileSystem, path: str) -> Iterator[Any]:
    """Open a binary file for writing; readers see the old file or the new one, never a part.

    In an object store, which cannot rename large objects, a write that fails leaves no file.

    Args:
        filesystem: Where to write.
        path: Path inside `filesystem`; missing folders are created.
    """
    from pyarrow.fs import LocalFileSystem

    if not isinstance(filesystem, LocalFileSystem):  # an object appears when its stream is closed
        try:
            with filesystem.open_output_stream(path, compression=None) as stream:
                yield stream
        except BaseException:  # which has closed the stream, and made an object of a part
            with suppress(OSError):
                filesystem.delete_file(path)
            raise
        return
    folder = os.path.dirname(path)
    _make_folders(folder)
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(folder)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = path
        raise


def write_whole(filesystem: FileSystem, path: str, content: bytes | pa.Buffer) -> None:
    """Write a file as `open_whole` does; in an object store too the old one stays until then."""
    from pyarrow.fs import LocalFileSystem

    if isinstance(filesystem, LocalFileSystem) or memoryview(content).nbytes > _MOST_COPIED_BYTES:
        with open_whole(filesystem, path) as stream:
            stream.write(content)
        return
    temporary = f"{path}.{uuid.uuid4().hex}.tmp"
    with open_whole(filesystem, temporary) as stream:
        stream.write(content)
    try:
        filesystem.copy_file(temporary, path)  # not every object store can move
    finally:
        with suppress(OSError):
            filesystem.delete_file(temporary)


def overwrite(path: str, content: bytes) -> bool:
    """Write over a local file in the room that it has, for a disk that is full.

    Returns:
        False, and nothing is written, if the file is absent or has less room.
    """
    try:
        with open(path, "r+b") as file:
            if len(content) > os.fstat(file.fileno()).st_blocks * 512:
                return False
            file.write(content)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        return False
    return True


def is_full(error: BaseException) -> bool:
    """Say whether an error is that of a disk without room, or that cannot be written."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def sync_folder(path: str) -> None:
    """Make the names in a local folder durable; some network disks cannot, and need not."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def _make_folders(path: str) -> None:
    """Create a folder and those above it, their names durable."""
    if os.path.isdir(path):
        return
    _make_folders(os.path.dirname(path))
    os.makedirs(path, exist_ok=True)
    sync_folder(os.path.dirname(path))


def retry(action: Callable[[], _T]) -> _T:
    """Run a storage operation up to `NUM_TRIES` times, waiting 0.5, 1, 2 s in between.

    Raises:
        OSError: Of the last try; at once where waiting does not help, as with a full disk, missing
            permission or a missing file.
    """
    for attempt in range(NUM_TRIES):
        try:
            return action()
        except OSError as error:
            permanent = error.errno in _PERMANENT or isinstance(error, _PERMANENT_TYPES)
            if permanent or attempt == NUM_TRIES - 1:
                raise
            time.sleep(0.5 * 2**attempt)
    raise AssertionError("the last try returns or raises")


class LineLog:
    """A file of JSON lines; only one process may write it at a time.

    Local files are appended to. Object stores cannot append: there the file is rewritten, at most
    every ten seconds.
    """

    def __init__(self, filesystem: FileSystem, path: str) -> None:
        """Attach to the file; nothing is read or written before the first line."""
        from pyarrow.fs import LocalFileSystem

        self._filesystem, self._path = filesystem, path
        self._appends = isinstance(filesystem, LocalFileSystem)
        self._stored: str | None = None  # what the file holds; None until it is read
        self._pending = ""
        self._flushed_s = -math.inf

    def append(self, values: Mapping[str, Any]) -> None:
        """Add a line."""
        self._pending += to_json(values) + "\n"
        if self._appends or time.monotonic() - self._flushed_s > _STORE_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write the lines that an object store does not have yet."""
        if not self._pending:
            return
        self._flushed_s = time.monotonic()  # a try that fails counts: it may have taken a minute
        stored = self._read() if self._stored is None else self._stored
        # A line that a crash cut short must not swallow the next one.
        end = "\n" if stored and not stored.endswith("\n") else ""
        new = (end + self._pending).encode("utf-8")
        if self._appends:
            with open(self._path, "ab", buffering=0) as file:
                size = file.tell()
                try:
                    if file.write(new) < len(new):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path)
                except OSError:
                    file.truncate(size)  # no half line
                    raise
        else:
            write_whole(self._filesystem, self._path, stored.encode("utf-8") + new)
        self._stored = "" if self._appends else stored + end + self._pending
        self._pending = ""

    def read(self) -> list[dict[str, Any]]:
        """Return the lines, without one that a crash cut short."""
        self.flush()
        records = []
        for line in self._read().split("\n"):
            with suppress(json.JSONDecodeError):
                records.append(json.loads(line))
        return records

    def _read(self) -> str:
        try:
            with self._filesystem.open_input_stream(self._path) as stream:
                return stream.readall().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""


def to_json(values: Mapping[str, Any], indent: int | None = None) -> str:
    """Return strict JSON: NaN and infinity become null."""
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
    text = without_options(str(name)).rstrip("/")
    return text.rpartition("/")[2] if "://" in text or text[:1] in "/.~" else text


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, at most 300 characters, or its type.

    Credentials in URLs are covered: a library's message may repeat them.
    """
    line = credentials.redact((str(error).strip() or type(error).__name__).split("\n")[0])
    return line if len(line) <= 300 else f"{line[:297]}..."
