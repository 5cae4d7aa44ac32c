"""A folder at a path or URL: every file of a run, a cache or a data set goes through one.

    folder = Folder("gs://bucket/runs/mine")
    written = folder.write_parquet("scores.parquet", table)
    folder.read_checked(written)

Requests are tried again while the storage is away. A write leaves the whole file or the one before
it, and returns what a manifest lists: name, size and SHA-256.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyarrow as pa
from pyarrow import fs

from qa_lib.errors import ConfigError
from qa_lib.runs import storage

_P = ParamSpec("_P")
_T = TypeVar("_T")
_CHUNK_BYTES = 1 << 20


class Damaged(Exception):
    """A stored file is not what was written; the message names it and says what is wrong."""


@dataclass(frozen=True)
class StoredFile:
    """A file as it was written: its path in the folder, its size, and the hash of its content."""

    name: str
    num_bytes: int
    sha256: str

    def compare(self, num_bytes: int, sha256: str) -> None:
        """Raise `Damaged` if what was read has another size or hash."""
        if num_bytes < self.num_bytes:
            raise Damaged(f"{self.name} is truncated: {num_bytes:,} of {self.num_bytes:,} bytes")
        if sha256 != self.sha256:
            raise Damaged(f"{self.name} is not the file that was written: its SHA-256 differs")


def _retried(
    method: Callable[Concatenate[Folder, _P], _T],
) -> Callable[Concatenate[Folder, _P], _T]:
    @functools.wraps(method)
    def request(folder: Folder, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        bound = functools.partial(method, folder, *args, **kwargs)
        return storage.retry(bound) if folder.patient else bound()

    return request


class Folder:
    """A folder, on a local disk or at a URL; it need not exist yet.

    Names are relative to it; the empty name is the folder itself. Instances can be pickled.

    Attributes:
        path: Absolute local path, or URL.
        filesystem: The pyarrow filesystem that holds it.
        root: Path of the folder inside `filesystem`.
        patient: Whether an outage of the storage is waited out.
    """

    def __init__(self, path: str, *, patient: bool = True) -> None:
        """Attach to a path or URL without touching it.

        Args:
            path: Where the folder is.
            patient: False to fail within seconds: for the first contact, before a job starts.

        Raises:
            ConfigError: The URL cannot be opened.
        """
        retry_for_s = storage.RETRY_FOR_S if patient else storage.FIRST_CONTACT_S
        self.filesystem, self.root = storage.resolve(path, retry_for_s)
        self.path = self.root if storage.is_local(path) else path.rstrip("/")
        self.patient = patient

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.root.rpartition("/")[2]

    def url(self, *parts: str) -> str:
        """Return the path or URL of something in the folder.

        Raises:
            ConfigError: The parts lead out of the folder.
        """
        for part in parts:
            if part.startswith("/") or ".." in part.split("/"):
                raise ConfigError(
                    f"The path {part!r} leads out of the folder {self.path}.",
                    "Give a path inside it.",
                )
        return storage.join(self.path, *parts)

    def at(self, name: str = "") -> str:
        """Return the path of something in the folder inside `filesystem`."""
        if not name:
            return self.root
        self.url(name)  # refuses what leads out
        return f"{self.root}/{name}"

    def child(self, name: str) -> Folder:
        """Return a folder in this one."""
        child = Folder(self.url(name), patient=self.patient)
        child.filesystem = self.filesystem
        return child

    @_retried
    def info(self, name: str = "") -> fs.FileInfo:
        """Return type and size of a file or folder; the type `NotFound` if it is absent."""
        return self.filesystem.get_file_info(self.at(name))

    def exists(self, name: str = "") -> bool:
        """Say whether there is a file or folder of this name."""
        return self.info(name).type != fs.FileType.NotFound

    @_retried
    def entries(self, name: str = "") -> list[fs.FileInfo]:
        """Return what is directly in a folder, sorted by name; nothing if it is absent.

        Names that are not UTF-8 are left out: pyarrow cannot say them, and none is ours.
        """
        selector = fs.FileSelector(self.at(name), allow_not_found=True)
        named = filter(_has_text_name, self.filesystem.get_file_info(selector))
        return sorted(named, key=lambda info: info.base_name)

    @_retried
    def make(self) -> None:
        """Create the folder and those above it."""
        self.filesystem.create_dir(self.root, recursive=True)

    def remove(self, name: str = "") -> None:
        """Remove a file, or a folder with all that is in it, if it is there.

        Where this folder is a link, that stays, and what is in the folder goes.
        """
        kind = self.info(name).type
        if kind == fs.FileType.File:
            self.filesystem.delete_file(self.at(name))
        elif kind == fs.FileType.Directory:
            path = self.at(name)
            if not name and storage.is_local(self.path) and os.path.islink(path):
                self.filesystem.delete_dir_contents(os.path.realpath(path))
            else:
                self.filesystem.delete_dir(path)

    def move(self, target: Folder) -> None:
        """Move the folder to a place where there is none: in one step on a disk.

        Object stores cannot rename: every object is copied in the store, those at the top last,
        and the old ones go once all are copied.
        """
        if storage.is_local(self.path):
            os.rename(self.root, target.root)
            storage.sync_folder(os.path.dirname(target.root))
            return
        selector = fs.FileSelector(self.root, recursive=True)
        infos = [info for info in self.filesystem.get_file_info(selector) if info.is_file]
        for info in sorted(infos, key=lambda info: -info.path.count("/")):
            copy = target.root + info.path.removeprefix(self.root)
            self.filesystem.create_dir(copy.rpartition("/")[0], recursive=True)
            self.filesystem.copy_file(info.path, copy)
        self.remove()

    @_retried
    def read_bytes(self, name: str = "") -> pa.Buffer:
        """Return a file's content."""
        with self.filesystem.open_input_file(self.at(name)) as stream:
            return stream.read_buffer()

    def read_text(self, name: str) -> str:
        """Return the content of a UTF-8 file."""
        return self.read_bytes(name).to_pybytes().decode("utf-8")

    def read_parquet(self, name: str) -> pa.Table:
        """Return the rows of a Parquet file."""
        import pyarrow.parquet as pq

        return pq.read_table(pa.BufferReader(self.read_bytes(name)))

    def read_checked(self, file: StoredFile) -> pa.Buffer:
        """Return a file's content.

        Raises:
            Damaged: The file is missing, truncated or changed.
        """
        try:
            content = self.read_bytes(file.name)
        except FileNotFoundError:
            raise Damaged(f"{file.name} is missing") from None
        file.compare(content.size, hashlib.sha256(content).hexdigest())
        return content

    @_retried
    def verify(self, file: StoredFile, copy_to: Path | None = None) -> None:
        """Check a file's size and hash in constant memory.

        Args:
            file: What was written.
            copy_to: A local path that receives the file; use it only if this returns.

        Raises:
            Damaged: The file is missing, truncated or changed.
        """
        try:
            stream = self.filesystem.open_input_stream(self.at(file.name), compression=None)
        except FileNotFoundError:
            raise Damaged(f"{file.name} is missing") from None
        with stream:
            if copy_to is None:
                file.compare(*_copy(stream))
                return
            copy_to.parent.mkdir(parents=True, exist_ok=True)
            with copy_to.open("wb") as target:
                file.compare(*_copy(stream, target))

    @_retried
    def write_bytes(self, name: str, content: bytes | pa.Buffer) -> StoredFile:
        """Write a file; missing folders are created."""
        storage.write_whole(self.filesystem, self.at(name), content)
        return StoredFile(name, memoryview(content).nbytes, hashlib.sha256(content).hexdigest())

    def write_text(self, name: str, text: str) -> StoredFile:
        """Write a UTF-8 file."""
        return self.write_bytes(name, text.encode("utf-8"))

    def write_json(
        self, name: str, values: Mapping[str, Any], indent: int | None = None
    ) -> StoredFile:
        """Write a JSON file; NaN and infinity become null."""
        return self.write_text(name, storage.to_json(values, indent) + "\n")

    def write_parquet(self, name: str, table: pa.Table, **options: Any) -> StoredFile:
        """Write a Parquet file with options of `pyarrow.parquet.write_table`."""
        import pyarrow.parquet as pq

        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, **options)
        return self.write_bytes(name, sink.getvalue())

    @_retried
    def put_file(self, local: Path, name: str) -> StoredFile:
        """Copy a local file into the folder."""
        with (
            local.open("rb") as source,
            storage.open_whole(self.filesystem, self.at(name)) as target,
        ):
            return StoredFile(name, *_copy(source, target))

    def put_folder(self, local: str | Path, name: str = "") -> list[StoredFile]:
        """Copy the files of a local folder, and of those below it, into a folder in this one."""
        prefix = f"{name}/" if name else ""
        return [
            self.put_file(path, prefix + path.relative_to(local).as_posix())
            for path in sorted(Path(local).rglob("*"))
            if path.is_file()
        ]

    @_retried
    def get_folder(self, local: str | Path, name: str = "") -> None:
        """Copy a folder in this one, or this one, to a local folder."""
        fs.copy_files(self.at(name), str(local), source_filesystem=self.filesystem)


def _has_text_name(info: fs.FileInfo) -> bool:
    try:
        return bool(info.base_name)
    except UnicodeDecodeError:
        return False


def _copy(source: Any, target: Any = None) -> tuple[int, str]:
    """Copy a stream, or only read it; return how many bytes it had, and their SHA-256."""
    digest, num_bytes = hashlib.sha256(), 0
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        num_bytes += len(chunk)
        if target is not None:
            target.write(chunk)
    return num_bytes, digest.hexdigest()
