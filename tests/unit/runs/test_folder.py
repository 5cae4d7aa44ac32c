"""Folders: what is written is what is read, on a disk and at a URL, and damage is named."""

from __future__ import annotations

import io
import json
import os
import pickle
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import fs

from qa_lib import config
from qa_lib.errors import ConfigError
from qa_lib.runs import manifest, storage
from qa_lib.runs.folder import Damaged, Folder
from qa_lib.serving.service.loading import named_models


@pytest.fixture(params=["disk", "url"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "f") if request.param == "disk" else f"memory://{uuid.uuid4()}/f")


def names(folder: Folder, name: str = "") -> list[str]:
    return [entry.base_name for entry in folder.entries(name)]


def test_text_bytes_json_and_parquet_come_back(folder: Folder):
    table = pa.table({"f1": [77.5, None]})
    folder.write_text("deep/er/note.txt", "é\n")
    folder.write_bytes("raw.gz", b"\x00not compressed")
    folder.write_json("result.json", {"loss": float("nan"), "f1": 3})
    folder.write_parquet("rows.parquet", table)
    assert folder.read_text("deep/er/note.txt") == "é\n"
    assert folder.read_bytes("raw.gz").to_pybytes() == b"\x00not compressed"
    assert json.loads(folder.read_text("result.json")) == {"loss": None, "f1": 3}
    assert folder.read_parquet("rows.parquet").equals(table)
    assert names(folder) == ["deep", "raw.gz", "result.json", "rows.parquet"]
    assert names(folder, "deep") == ["er"]


@pytest.mark.parametrize(
    ("url", "below", "inside"),
    [
        ("s3://b/runs?region=eu-west-1", "s3://b/runs/n/log?region=eu-west-1", "b/runs/n/log"),
        ("s3://b/?region=eu-west-1", "s3://b/n/log?region=eu-west-1", "b/n/log"),
        ("/disk/what?", "/disk/what?/n/log", "/disk/what?/n/log"),
    ],
)
def test_the_options_of_a_url_stay_at_its_end(url: str, below: str, inside: str):
    child = Folder(storage.join(url, "n"))
    assert (child.url("log"), child.at("log"), child.name) == (below, inside, "n")


def test_what_is_absent_is_no_error_to_look_for(folder: Folder):
    assert not folder.exists() and not folder.exists("x")
    assert names(folder) == []
    folder.remove("x")
    folder.remove()
    folder.make()
    assert folder.exists()


def test_a_name_that_is_not_utf_8_is_left_out(tmp_path: Path):
    (tmp_path / "a").touch()
    try:
        os.close(os.open(os.fsencode(tmp_path) + b"/caf\xe9", os.O_CREAT))
    except OSError:
        pytest.skip("this disk refuses such names")
    assert names(Folder(str(tmp_path))) == ["a"]


def test_files_and_folders_are_removed(folder: Folder):
    for name in ("a", "b/c", "b/d"):
        folder.write_text(name, name)
    folder.remove("b/c")
    assert names(folder, "b") == ["d"]
    folder.remove("b")
    assert names(folder) == ["a"]


def test_local_folders_are_copied_in_and_out(folder: Folder, tmp_path: Path):
    local = tmp_path / "local"
    (local / "onnx").mkdir(parents=True)
    (local / "config.json").write_text("{}")
    (local / "onnx/model").write_bytes(b"x" * 3_000_000)
    written = folder.put_folder(local, "model")
    assert [(file.name, file.num_bytes) for file in written] == [
        ("model/config.json", 2),
        ("model/onnx/model", 3_000_000),
    ]
    for file in written:
        folder.verify(file)
    folder.get_folder(tmp_path / "back", "model")
    assert (tmp_path / "back/onnx/model").read_bytes() == b"x" * 3_000_000


def test_a_child_is_the_same_storage(folder: Folder):
    child = folder.child("a/b")
    child.write_text("note", "x")
    assert folder.read_text("a/b/note") == "x"
    assert child.path == folder.url("a", "b") and child.name == "b"
    with pytest.raises(ConfigError, match="leads out"):
        folder.child("../b")


def test_a_folder_can_be_sent_to_another_process(folder: Folder):
    pickle.loads(pickle.dumps(folder)).write_text("note", "x")
    assert folder.read_text("note") == "x"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: folder.remove("a"), "a is missing"),
        (lambda folder: folder.write_text("a", "12"), "a is truncated: 2 of 3 bytes"),
        (lambda folder: folder.write_text("a", "124"), "a is not the file that was written"),
    ],
)
def test_damage_is_named(folder: Folder, damage: Callable[[Folder], None], says: str):
    file = folder.write_text("a", "123")
    assert folder.read_checked(file).to_pybytes() == b"123"
    damage(folder)
    for read in (folder.verify, folder.read_checked):
        with pytest.raises(Damaged, match=says):
            read(file)


def test_a_write_that_fails_in_the_middle_leaves_the_old_file(tmp_path: Path):
    folder = Folder(str(tmp_path))
    folder.write_text("a", "old")
    with pytest.raises(RuntimeError), storage.open_whole(folder.filesystem, folder.at("a")) as file:
        file.write(b"new")
        raise RuntimeError
    assert folder.read_text("a") == "old"
    assert names(folder) == ["a"]


def test_in_an_object_store_a_write_that_fails_leaves_no_part(monkeypatch: pytest.MonkeyPatch):
    folder = Folder("memory://bucket-whole/run")
    folder.write_text("a", "old")
    folder.write_text("a", "new")
    assert folder.read_text("a") == "new" and names(folder) == ["a"]
    target = folder.filesystem, folder.at("b")
    with pytest.raises(KeyboardInterrupt), storage.open_whole(*target) as file:
        file.write(b"par")
        raise KeyboardInterrupt
    assert names(folder) == ["a"]

    @contextmanager
    def interrupted(filesystem: Any, path: str) -> Iterator[Any]:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(storage, "open_whole", interrupted)
    with pytest.raises(KeyboardInterrupt):
        folder.write_text("a", "newest")
    assert folder.read_text("a") == "new"


def test_lines_wait_for_an_object_store_that_is_away(monkeypatch: pytest.MonkeyPatch):
    now, tries = [100.0], []

    def away(*_: Any) -> None:
        tries.append(now[0])
        raise OSError("away")

    monkeypatch.setattr(storage.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(storage, "write_whole", away)
    log = storage.LineLog(*storage.resolve("memory://bucket-away/metrics.jsonl"))
    for second in range(30):
        now[0] = 100.0 + second
        for _ in range(5):
            with suppress(OSError):
                log.append({"step": second})
    assert len(tries) == 3


class Away(fs.FSSpecHandler):
    """An object store that answers the first requests with an error."""

    def __init__(self, num_failures: int):
        import fsspec

        super().__init__(fsspec.filesystem("memory"))
        self.failures_left = num_failures

    def _fail(self) -> None:
        if self.failures_left:
            self.failures_left -= 1
            raise OSError("503 Service Unavailable")

    def open_output_stream(self, path, metadata):
        self._fail()
        return super().open_output_stream(path, metadata)

    def get_file_info(self, paths):
        self._fail()
        return super().get_file_info(paths)


def test_an_outage_is_waited_out(monkeypatch: pytest.MonkeyPatch):
    waits: list[float] = []
    monkeypatch.setattr(storage.time, "sleep", waits.append)
    folder = Folder("memory://away")
    folder.filesystem = fs.PyFileSystem(Away(3))
    folder.write_text("note", "x")
    assert waits == [0.5, 1.0, 2.0]
    assert folder.read_text("note") == "x"


def test_a_first_contact_waits_for_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: pytest.fail("it waited"))
    folder = Folder("memory://away", patient=False)
    folder.filesystem = fs.PyFileSystem(Away(1))
    with pytest.raises(OSError, match="503"):
        folder.exists()


# -- manifests


def test_a_manifest_lists_the_files_and_hashes_itself(folder: Folder):
    files = [folder.write_text(name, name) for name in ("b", "a")]
    manifest.write(folder, files, step=3, meta={"plan": None})
    written = manifest.read(folder)
    assert written == manifest.Manifest(tuple(files), {"step": 3, "meta": {"plan": None}})
    content = json.loads(folder.read_text(manifest.MANIFEST))
    assert list(content) == ["step", "meta", "files", "sha256"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"sha256": "", "files": 3}', '{"sha256": "", "files": [{"x": 1}]}']
)
def test_what_is_no_manifest_is_said(folder: Folder, text: str):
    with pytest.raises(Damaged, match=r"manifest\.json is missing"):
        manifest.read(folder)
    folder.write_text(manifest.MANIFEST, text)
    with pytest.raises(Damaged, match=r"manifest\.json is not readable"):
        manifest.read(folder)


def test_a_manifest_that_was_edited_is_damaged(folder: Folder):
    manifest.write(folder, [folder.write_text("a", "1")], step=3)
    text = folder.read_text(manifest.MANIFEST)
    folder.write_text(manifest.MANIFEST, text.replace('"step": 3', '"step": 4'))
    with pytest.raises(Damaged, match="does not match its SHA-256"):
        manifest.read(folder)


def test_large_files_are_hashed_in_parts(folder: Folder):
    content = bytes(range(256)) * 10_000
    file = folder.write_bytes("a", content)
    folder.verify(file)
    assert io.BytesIO(folder.read_checked(file)).getvalue() == content


@pytest.mark.parametrize("options", ["", "?region=eu", "?endpoint_override=http://localhost:9000"])
def test_a_model_at_a_url_with_options_has_the_name_of_its_folder(options: str):
    url = f"s3://bucket/runs/mine{options}"
    assert storage.short_name(url) == "mine"
    flags = ["--model.name", storage.join(url, "model"), "--serve.beside", f"s3://b/own{options}"]
    assert list(named_models(config.parse("serve", flags))) == ["mine", "own"]
