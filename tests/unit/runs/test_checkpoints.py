"""Checkpoints: complete or absent, damage found and named, storage that fails now and then."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem
from pyarrow import fs

from qa_lib.errors import CheckpointError
from qa_lib.runs import storage
from qa_lib.runs.checkpoints import CheckpointStore
from qa_lib.runs.manifest import MANIFEST
from qa_lib.runs.storage import NUM_TRIES

FILES = {"weights.bin": b"weights" * 300, "deepspeed/optimizer.pt": b"moments" * 500, "empty": b""}


def fill(folder, files=None):
    for name, content in (files or FILES).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def write(store, step, folder, **options):
    options = {"is_main": True, "gather": lambda value: [value], **options}
    return store.write(step, folder, {"world_size": 1}, **options)


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(str(tmp_path / "checkpoints"))


@pytest.fixture
def staged(tmp_path):
    return fill(tmp_path / "staged")


def directories(store):
    return [info.base_name for info in store.folder.entries()]


def test_a_checkpoint_comes_back_as_it_was_written(store, staged, tmp_path):
    assert store.newest_good() is None
    written = write(store, 7, staged)
    found = store.newest_good()
    assert found == written
    assert (found.step, found.meta) == (7, {"world_size": 1})
    store.fetch(found, tmp_path / "back")
    for name, content in FILES.items():
        assert (tmp_path / "back" / name).read_bytes() == content


def test_a_checkpoint_that_release_0_1_wrote_is_read(store, tmp_path):
    folder = fill(tmp_path / "checkpoints/step-000000007", {"w": b"x" * 100})
    weights = "09ecb6ebc8bcefc733f6f2ec44f791abeed6a99edf0cc31519637898aebd52d8"
    own = "c0123e39223bcc8061f6ae8406d1d4393983f33fc75d91733b6aa86360309c32"
    (folder / MANIFEST).write_text(
        '{\n "step": 7,\n "meta": {"plan": "p", "s": {"\\u00e9": 1.5}},\n "files": ['
        f'{{"name": "w", "num_bytes": 100, "sha256": "{weights}"}}],\n "sha256": "{own}"\n}}'
    )
    found = store.newest_good()
    assert (found.step, found.meta) == (7, {"plan": "p", "s": {"é": 1.5}})
    store.fetch(found, tmp_path / "back")
    assert (tmp_path / "back/w").read_bytes() == b"x" * 100


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    """Change one bit of one byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove(path):
    path.unlink()


@pytest.mark.parametrize("damage", [truncate, flip, remove])
@pytest.mark.parametrize("name", ["weights.bin", "deepspeed/optimizer.pt", MANIFEST])
def test_a_damaged_file_is_named_and_the_checkpoint_before_is_used(store, staged, name, damage):
    write(store, 10, staged)
    newest = write(store, 20, staged)
    damage(Path(newest.directory) / name)
    warnings = []
    found = store.newest_good(warn=warnings.append)
    assert found.step == 10
    assert len(warnings) == 1
    assert name in warnings[0] and newest.directory in warnings[0]


def test_a_flipped_bit_anywhere_in_a_manifest_is_noticed(store, staged):
    path = Path(write(store, 20, staged).directory) / MANIFEST
    good = path.read_bytes()
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1 << position % 8
        path.write_bytes(bad)
        assert store.newest_good(warn=lambda _: None) is None, bytes(bad)
    path.write_bytes(good)
    assert store.newest_good().step == 20


def test_when_all_are_damaged_there_is_none(store, staged):
    for step in (1, 2):
        remove(Path(write(store, step, staged).directory) / "weights.bin")
    warnings = []
    assert store.newest_good(warn=warnings.append) is None
    assert len(warnings) == 2


def test_a_file_that_changes_after_it_was_verified_is_not_handed_over(store, staged, tmp_path):
    found = write(store, 7, staged)
    flip(Path(found.directory) / "weights.bin")
    with pytest.raises(CheckpointError, match=r"weights\.bin"):
        store.fetch(found, tmp_path / "back")


def test_the_newest_two_are_kept(store, staged):
    for step in (1, 2, 3, 1000):
        write(store, step, staged, keep=2)
    assert directories(store) == ["step-000000003", "step-000001000"]


def test_a_copy_of_one_is_left_alone(store, staged):
    write(store, 5, staged)
    shutil.copytree(store.folder.at("step-000000005"), store.folder.at("step-000000005.bak"))
    store.discard_after(5)
    write(store, 6, staged)
    assert directories(store) == ["step-000000005", "step-000000005.bak", "step-000000006"]
    assert store.newest_good().step == 6


def test_an_incomplete_one_does_not_push_out_a_good_one(store, staged):
    write(store, 1, staged)
    remove(Path(write(store, 2, staged).directory) / MANIFEST)
    write(store, 3, staged, keep=2)
    remove(Path(store.newest_good().directory) / "weights.bin")
    assert store.newest_good(warn=lambda _: None).step == 1


def test_discard_after_leaves_only_what_the_run_continues_from(store, staged):
    write(store, 1, staged, keep=9)
    write(store, 2, staged, keep=9)
    remove(Path(write(store, 3, staged, keep=9).directory) / MANIFEST)
    store.discard_after(1)
    assert directories(store) == ["step-000000001"]
    store.discard_after(-1)
    assert directories(store) == []


# --- several ranks -------------------------------------------------------------------------------


class Ranks:
    """As many threads as ranks, with an all-gather between them."""

    def __init__(self, num):
        self.barrier = threading.Barrier(num)
        self.values = [None] * num

    def gather_of(self, rank):
        def gather(value):
            self.values[rank] = value
            self.barrier.wait(20)
            values = list(self.values)
            self.barrier.wait(20)
            return values

        return gather

    def write(self, step, stores, folders):
        def of(rank):
            return stores[rank].write(
                step, folders[rank], {}, is_main=rank == 0, gather=self.gather_of(rank)
            )

        with ThreadPoolExecutor(len(stores)) as pool:
            return list(pool.map(of, range(len(stores))))


def two_ranks(tmp_path):
    location = str(tmp_path / "checkpoints")
    stores = [CheckpointStore(location), CheckpointStore(location)]
    folders = [fill(tmp_path / f"rank-{rank}", {f"rank-{rank}": b"x" * 99}) for rank in (0, 1)]
    return stores, folders


def test_one_manifest_covers_the_files_of_all_ranks(tmp_path):
    stores, folders = two_ranks(tmp_path)
    first, second = Ranks(2).write(5, stores, folders)
    assert first == second == stores[0].newest_good()
    assert {file.name for file in first.files} == {"rank-0", "rank-1"}


@pytest.mark.parametrize("failing_rank", [0, 1])
def test_a_rank_that_cannot_write_leaves_the_last_good_checkpoint(
    tmp_path, monkeypatch, failing_rank
):
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: None)
    stores, folders = two_ranks(tmp_path)
    Ranks(2).write(5, stores, folders)
    stores[failing_rank].folder.filesystem, _ = flaky(num_failures=99)
    assert Ranks(2).write(6, stores, folders) == [None, None]
    assert stores[1 - failing_rank].newest_good().step == 5


def test_no_rank_believes_in_a_checkpoint_whose_manifest_was_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: None)
    stores, folders = two_ranks(tmp_path)
    Ranks(2).write(5, stores, folders)
    stores[0].folder.filesystem, _ = flaky(num_failures=99, only=MANIFEST)
    assert Ranks(2).write(6, stores, folders) == [None, None]
    assert stores[1].newest_good().step == 5
    assert directories(stores[1]) == ["step-000000005"]


# --- storage that fails --------------------------------------------------------------------------


class FlakyHandler(fs.FSSpecHandler):
    """A filesystem that refuses the first so many times to open a file for writing or reading."""

    def __init__(self, num_failures, only):
        super().__init__(LocalFileSystem(auto_mkdir=True))
        self.failures_left, self.only, self.calls = num_failures, only, []

    def _fail(self, path):
        if self.only in path and self.failures_left:
            self.failures_left -= 1
            raise OSError(f"503 Service Unavailable: {path}")

    def open_output_stream(self, path, metadata):
        self._fail(path)
        return super().open_output_stream(path, metadata)

    def open_input_stream(self, path):
        self._fail(path)
        return super().open_input_stream(path)

    def open_input_file(self, path):
        self._fail(path)
        return super().open_input_file(path)


def flaky(num_failures, only=""):
    handler = FlakyHandler(num_failures, only)
    return fs.PyFileSystem(handler), handler


@pytest.fixture
def waits(monkeypatch):
    """Collect the seconds that would have been waited between tries."""
    seconds = []
    monkeypatch.setattr(storage.time, "sleep", seconds.append)
    return seconds


@pytest.mark.parametrize("only", ["weights.bin", MANIFEST])
def test_storage_that_fails_three_times_is_waited_for(store, staged, waits, only):
    store.folder.filesystem, handler = flaky(NUM_TRIES - 1, only)
    assert write(store, 1, staged).step == 1
    assert handler.failures_left == 0
    assert waits == [0.5, 1.0, 2.0]
    store.folder.filesystem, handler = flaky(NUM_TRIES - 1, only)
    assert store.newest_good().step == 1
    assert handler.failures_left == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_what_does_not_mend_itself_is_not_waited_for(waits, number):
    def refuse():
        raise OSError(number, "no")

    with pytest.raises(OSError, match="no"):
        storage.retry(refuse)
    assert waits == []


def test_storage_that_is_away_while_fetching_is_waited_for(store, staged, waits, tmp_path):
    found = write(store, 1, staged)
    store.folder.filesystem, handler = flaky(NUM_TRIES - 1, "weights.bin")
    store.fetch(found, tmp_path / "back")
    assert handler.failures_left == 0
    assert (tmp_path / "back/weights.bin").read_bytes() == FILES["weights.bin"]


def test_storage_that_stays_away_leaves_the_last_good_checkpoint(store, staged, waits, caplog):
    write(store, 1, staged)
    local = store.folder.filesystem
    store.folder.filesystem, _ = flaky(999)
    assert write(store, 2, staged) is None
    assert "step 2" in caplog.text and "503" in caplog.text
    store.folder.filesystem = local
    assert store.newest_good(warn=lambda _: None).step == 1


def test_an_outage_is_no_damage(store, staged, waits):
    write(store, 1, staged)
    store.folder.filesystem, _ = flaky(999)
    with pytest.raises(OSError, match="503"):  # an older checkpoint must not be used instead
        store.newest_good()


@pytest.fixture
def small_disk(tmp_path):
    """Mount 50 MB of memory as a disk."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=50m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if mounted.returncode:
        pytest.skip(f"a 50 MB disk cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_leaves_the_last_good_checkpoint(small_disk, tmp_path, waits, caplog):
    store = CheckpointStore(str(small_disk / "checkpoints"))
    staged = fill(tmp_path / "staged", {"weights.bin": os.urandom(30_000_000)})
    write(store, 1, staged)
    assert write(store, 2, staged) is None
    assert "No space left" in caplog.text
    assert waits == []  # a full disk does not mend itself
    assert store.newest_good().step == 1
    assert directories(store) == ["step-000000001"]  # the half-written one gives its space back
    fill(staged, {"weights.bin": os.urandom(10_000_000)})
    assert write(store, 3, staged).step == 3


WRITERS = """
import os, signal, sys
from pathlib import Path
from qa_lib.runs.checkpoints import CheckpointStore

def write(folder, num_syncs):
    store, sync = CheckpointStore(folder), os.fsync
    def counted(descriptor):
        nonlocal num_syncs
        num_syncs -= 1
        if num_syncs < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        sync(descriptor)
    for step in (1, 2):
        os.fsync = sync if step == 1 else counted
        store.write(step, Path(sys.argv[2]), {}, is_main=True, gather=lambda value: [value])

for number in range(int(sys.argv[3])):
    if not os.fork():
        write(f"{sys.argv[1]}/{number}", number)
        os._exit(0)
    print(os.wait()[1])
"""


def test_a_kill_anywhere_in_a_write_leaves_the_last_good_checkpoint(staged, tmp_path):
    """Kill writers at each of their syncs: after every file, every folder, and the manifest."""
    num_writers = 3 * len(FILES) + 2
    command = [sys.executable, "-c", WRITERS, str(tmp_path), str(staged), str(num_writers)]
    ends = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    steps = [CheckpointStore(f"{tmp_path}/{n}").newest_good().step for n in range(num_writers)]
    assert steps == sorted(steps) and set(steps) == {1, 2}
    assert set(ends) == {"0", str(int(signal.SIGKILL))} and len(ends) == num_writers


def test_checkpoints_live_at_a_url(staged, tmp_path):
    location = f"memory://{uuid.uuid4().hex}/checkpoints"
    for step in (1, 2, 3):
        write(CheckpointStore(location), step, staged)
    store = CheckpointStore(location)
    found = store.newest_good()
    assert found.step == 3
    store.fetch(found, tmp_path / "back")
    assert (tmp_path / "back/weights.bin").read_bytes() == FILES["weights.bin"]
    with store.folder.filesystem.open_output_stream(f"{found.directory}/weights.bin") as stream:
        stream.write(b"wrong")
    assert store.newest_good(warn=lambda _: None).step == 2
    store.discard_after(0)
    assert store.newest_good() is None


def test_a_manifest_reads_as_json(store, staged):
    content = json.loads((Path(write(store, 4, staged).directory) / MANIFEST).read_text())
    assert content["step"] == 4
    assert {file["name"]: file["num_bytes"] for file in content["files"]} == {
        name: len(data) for name, data in FILES.items()
    }
