"""Filesystems of fsspec fail with OSError, whatever their library raises."""

from __future__ import annotations

import pickle

import fsspec
import pytest
from pyarrow import fs

from qa_lib.config import DataSettings
from qa_lib.data import load_questions
from qa_lib.errors import DataError
from qa_lib.runs import storage
from qa_lib.runs.folder import Folder
from qa_lib.runs.fsspec_errors import with_os_errors


class LibraryError(Exception):
    """What an HTTP library raises, which is no OSError."""


class Unplugged:
    """A filesystem in memory whose network is gone for the first requests."""

    def __init__(self, num_failures: int) -> None:
        self.inner, self.failures_left = fsspec.filesystem("memory"), num_failures

    def __getattr__(self, name: str):
        return getattr(self.inner, name)

    def info(self, path: str) -> dict:
        if self.failures_left:
            self.failures_left -= 1
            raise LibraryError("no route to host")
        return self.inner.info(path)


def test_an_outage_of_another_library_is_waited_out(monkeypatch: pytest.MonkeyPatch):
    waits: list[float] = []
    monkeypatch.setattr(storage.time, "sleep", waits.append)
    folder = Folder("memory://unplugged")
    folder.write_text("note", "x")
    folder.filesystem = with_os_errors(fs.PyFileSystem(fs.FSSpecHandler(Unplugged(2))))
    assert folder.exists("note")
    assert waits == [0.5, 1.0]


def test_a_read_that_breaks_off_is_an_os_error():
    class Broken:
        mode, closed = "rb", False

        def read(self, size: int = -1) -> bytes:
            raise LibraryError("the connection was reset")

    unplugged = Unplugged(0)
    unplugged.open = lambda path, mode: Broken()
    unplugged.isfile = lambda path: True
    filesystem = with_os_errors(fs.PyFileSystem(fs.FSSpecHandler(unplugged)))
    stream = filesystem.open_input_stream("/x", compression=None)
    with pytest.raises(OSError, match="LibraryError: the connection was reset"):
        stream.read(4)


def test_what_is_no_outage_is_left_as_it_is():
    folder = Folder("memory://plain")
    assert not folder.exists("nothing")
    with pytest.raises(FileNotFoundError):
        folder.filesystem.open_input_stream("/plain/nothing")
    local, _ = storage.resolve("/tmp")
    assert with_os_errors(local) is local
    again = pickle.loads(pickle.dumps(folder))
    assert again.filesystem == folder.filesystem


def test_a_server_that_does_not_answer_is_not_a_file_that_is_missing():
    url = "http://127.0.0.1:1/train.json"  # nobody listens there
    with pytest.raises(DataError, match="cannot be reached: .*[Cc]onnect"):
        load_questions(DataSettings(source=url), "train")


def test_a_bucket_with_options_is_not_tried_for_fifteen_minutes(monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []

    class Asked(fs.FileSystem):
        @staticmethod
        def from_uri(url: str):
            opened.append(url)
            return fs.LocalFileSystem(), "x"

    monkeypatch.setattr(fs, "FileSystem", Asked)
    storage.resolve("gs://bucket/x?scheme=http", 2)
    storage.resolve("gs://bucket/x", 2)
    storage.resolve("gs://bucket/x?retry_limit_seconds=9", 2)
    assert opened == [
        "gs://bucket/x?scheme=http&retry_limit_seconds=2",
        "gs://bucket/x?retry_limit_seconds=2",
        "gs://bucket/x?retry_limit_seconds=9",
    ]
