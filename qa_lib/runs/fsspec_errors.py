"""Filesystems of fsspec that fail as a disk does, with OSError, which is retried and told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


def with_os_errors(filesystem: FileSystem) -> FileSystem:
    """Return a filesystem that raises OSError where one of fsspec raises its HTTP library's errors.

    Args:
        filesystem: Of pyarrow; itself where fsspec has no part in it.
    """
    from pyarrow import fs

    if isinstance(filesystem, fs.PyFileSystem) and isinstance(filesystem.handler, fs.FSSpecHandler):
        return fs.PyFileSystem(fs.FSSpecHandler(_AsOSErrors(filesystem.handler.fs)))
    return filesystem


@dataclass(frozen=True)
class _AsOSErrors:
    """A filesystem of fsspec, or a file that it opened."""

    inner: Any

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # pickle asks before there is an `inner`
            raise AttributeError(name)
        value = getattr(self.inner, name)
        return _told(value) if callable(value) else value


def _told(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            result = method(*args, **kwargs)
        except FileNotFoundError as error:  # fsspec's HTTP says so of a server that is not reached
            if isinstance(error.__cause__, OSError):
                raise OSError(str(error.__cause__)) from error
            raise
        except Exception as error:
            if isinstance(error, OSError) or type(error).__module__ == "builtins":
                raise
            raise OSError(f"{type(error).__name__}: {error}") from error
        return _AsOSErrors(result) if hasattr(result, "read") else result

    return call
