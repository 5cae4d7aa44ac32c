"""Paths and URLs: one way from what a user writes to a filesystem that is ready to use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from qa_lib.errors import ConfigError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

RETRY_FOR_S = 60.0
"""An outage of an object store is waited out for so long, in seconds."""


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
        ConfigError: Nothing understands the URL, or it climbs (``..``).
    """
    from pyarrow import ArrowInvalid, fs

    if is_local(url):
        path = url.removeprefix("file://")
        return fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(path))
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


def first_line(error: BaseException) -> str:
    """Return the first line of an exception's message, shortened, or its type if it has none."""
    line = (str(error).strip() or type(error).__name__).split("\n")[0]
    return line if len(line) <= 300 else f"{line[:297]}..."
