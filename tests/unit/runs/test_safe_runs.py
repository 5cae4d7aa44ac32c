"""Runs that are replaced, refused, or written twice: nothing that was there is lost."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from jobs._runner import exit_code
from qa_lib import config, models
from qa_lib.config import Settings
from qa_lib.errors import ConfigError, DataError, ModelError
from qa_lib.reporting import facts, verify
from qa_lib.runs import lock, replacing, storage
from qa_lib.runs.folder import Folder
from qa_lib.runs.result_file import lost_run
from qa_lib.runs.run_folder import RunFolder
from tests.support.small_disk import small_disk


def settings_in(folder: Path | str, *argv: str) -> Settings:
    return config.parse("train", ["--storage", str(folder), "--run-name", "mine", *argv])


@pytest.fixture(params=["path", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "path" else f"memory://safe-{tmp_path.name}/runs"


def finished(place: Path | str, job: str = "train") -> dict[str, bytes]:
    with RunFolder.open(settings_in(place), job) as run:
        run.write_text("model/weights", "precious")
    return content(place)


def content(place: Path | str, name: str = "mine") -> dict[str, bytes]:
    files = ("config.yaml", "result.json", "model/weights")
    run = Folder(f"{place}/{name}")
    return {file: run.read_bytes(file).to_pybytes() for file in files}


@pytest.mark.parametrize(
    "error", [DataError("no file", "x"), ValueError("bug"), KeyboardInterrupt()]
)
def test_a_job_that_fails_leaves_the_run_that_it_was_to_replace(place: str, error: BaseException):
    before = finished(place)
    with pytest.raises(type(error)), RunFolder.open(settings_in(place, "--overwrite"), "train"):
        assert content(place, "mine.replaced") == before
        raise error
    assert content(place) == before
    assert [entry.base_name for entry in Folder(place).entries()] == ["mine"]


def test_the_replaced_run_goes_when_the_new_one_is_done(place: str):
    finished(place)
    with RunFolder.open(settings_in(place, "--overwrite"), "train") as run:
        pass
    assert not run.exists("model/weights")
    assert not Folder(f"{place}/mine.replaced").exists()


def test_a_stopped_run_keeps_the_one_it_replaces_until_it_is_resumed(place: str, capsys):
    before = finished(place)
    with (
        pytest.raises(KeyboardInterrupt),
        RunFolder.open(settings_in(place, "--overwrite"), "train") as run,
    ):
        run.write_text("checkpoints/step-000000001/manifest.json", "{}")
        raise KeyboardInterrupt
    assert content(place, "mine.replaced") == before
    assert "mine.replaced is the run that" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"mine.replaced is the run that"):
        RunFolder.open(settings_in(place, "--overwrite"), "train")
    with RunFolder.open(settings_in(place, "--resume"), "train"):
        pass
    assert not Folder(f"{place}/mine.replaced").exists()


def test_a_replaced_run_lies_beside_the_new_one_whatever_the_options_of_the_url():
    run = Folder("gs://bucket/runs/mine?project_id=p")
    assert replacing.describe(run).startswith("gs://bucket/runs/mine.replaced?project_id=p is")
    assert replacing._aside(run).root == "bucket/runs/mine.replaced"


def test_a_command_that_was_slower_removes_nothing_of_the_faster_one(place: str, monkeypatch):
    before, move_aside = finished(place), replacing.move_aside

    def taken(run: Folder) -> None:
        raise ConfigError("another command writes it", "x")

    def moved(run: Folder) -> None:
        move_aside(run)
        run.write_text("model/weights", "of another command")
        run.write_text(lock.LOCK, "{}")
        monkeypatch.setattr(lock, "take", taken)

    monkeypatch.setattr(replacing, "move_aside", moved)
    with pytest.raises(ConfigError, match="another command"):
        RunFolder.open(settings_in(place, "--overwrite"), "train")
    assert Folder(f"{place}/mine").read_text("model/weights") == "of another command"
    assert content(place, "mine.replaced") == before


@pytest.mark.parametrize("flag", ["--resume", "--overwrite", "--no-overwrite"])
def test_a_run_moved_aside_by_a_killed_command_is_named(tmp_path: Path, flag: str):
    finished(tmp_path)
    (tmp_path / "mine").rename(tmp_path / "mine.replaced")
    with pytest.raises(ConfigError, match="moved there before it was stopped"):
        RunFolder.open(settings_in(tmp_path, flag), "train")


def test_only_runs_of_the_same_job_are_replaced(tmp_path: Path):
    before = finished(tmp_path, "train")
    with pytest.raises(ConfigError, match="is a run of jobs.train"):
        RunFolder.open(settings_in(tmp_path, "--overwrite"), "evaluate")
    (tmp_path / "mine").rename(tmp_path / "kept")
    thesis = tmp_path / "mine" / "config.yaml"
    thesis.parent.mkdir()
    thesis.write_text("title: years", encoding="utf-8")
    with pytest.raises(ConfigError, match="is no run folder"):
        RunFolder.open(settings_in(tmp_path, "--overwrite"), "train")
    assert thesis.read_text(encoding="utf-8") == "title: years"
    assert content(tmp_path, "kept") == before


@pytest.mark.parametrize(
    "flag", ["--model.name", "--train.teacher", "--data.source", "--adjust.plan", "--search.parent"]
)
def test_a_job_does_not_replace_what_it_reads(tmp_path: Path, flag: str):
    before = finished(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    for path in ("mine", "mine/model", "link/model"):
        with pytest.raises(ConfigError, match=f"which {flag} .* reads"):
            RunFolder.open(
                settings_in(tmp_path, "--overwrite", flag, f"{tmp_path}/{path}"), "train"
            )
    assert content(tmp_path) == before


def test_a_run_folder_that_is_a_link_stays_one(tmp_path: Path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "mine").symlink_to(tmp_path / "disk")
    with pytest.raises(DataError), RunFolder.open(settings_in(tmp_path), "train"):
        raise DataError("no file", "x")
    assert not list((tmp_path / "disk").iterdir()), "the mended command may use the name"
    before = finished(tmp_path)
    with pytest.raises(ConfigError, match=r"mine is a link to .*disk"):
        RunFolder.check(settings_in(tmp_path, "--overwrite"), "train")
    assert content(tmp_path, "disk") == before and (tmp_path / "mine").is_symlink()


def test_a_resumed_run_is_written_only_once_it_has_begun(place: str):
    before = finished(place)
    other = settings_in(place, "--resume", "--seed", "7")
    with RunFolder.open(other, "train") as run:
        run.write_result(status="running")
        assert content(place) == before
        run.begin()
        assert json.loads(run.read_text("result.json"))["status"] == "running"
        assert "seed: 7" in run.read_text("config.yaml")


@pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError("away"), KeyboardInterrupt()])
def test_what_fails_before_a_resumed_run_has_begun_leaves_it_as_it_was(
    place: str, error: BaseException
):
    before = finished(place)
    other = settings_in(place, "--resume", "--seed", "7")
    with pytest.raises(type(error)), RunFolder.open(other, "train"):
        raise error
    assert content(place) == before


def test_a_lock_that_another_command_has_just_taken_is_not_cleared(tmp_path: Path, monkeypatch):
    folder = Folder(str(tmp_path))
    dead = dataclasses.replace(lock.Owner.new(), pid=2**22 - 1, process_start=1, token="dead")
    other = dataclasses.replace(lock.Owner.new(), pid=os.getppid(), token="other")
    other = dataclasses.replace(other, process_start=lock._process_start(other.pid))
    folder.write_json(lock.LOCK, dataclasses.asdict(dead))
    read, calls = lock.read, []

    def overtaken(where: Folder) -> Any:
        found = read(where)
        if not calls:  # between this command's look and its deed
            folder.write_json(lock.LOCK, dataclasses.asdict(other))
        calls.append(found)
        return found

    monkeypatch.setattr(lock, "read", overtaken)
    with pytest.raises(ConfigError, match="is being written by"):
        lock.take(folder)
    assert read(folder).token == other.token


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "128k") as folder:
        yield folder


def test_a_result_that_a_full_disk_cannot_take_is_told_and_the_status_is_true(
    tiny_disk: Path, capsys
):
    def work() -> None:
        with RunFolder.open(settings_in(tiny_disk), "train") as run:
            run.append_metrics({"step": 1})
            with suppress(OSError), (tiny_disk / "filler").open("wb", buffering=0) as filler:
                while True:
                    filler.write(bytes(4096))
            for step in range(2, 2000):
                with suppress(OSError):
                    run.append_metrics({"step": step})
            run.write_text("predictions.json", "x" * 9000)

    assert exit_code(work) == 2
    assert re.search(r"cannot be written: .*No space left .*\n  Make room", capsys.readouterr().err)
    run = RunFolder(f"{tiny_disk}/mine", "train")
    result = run.read_result()
    assert result["status"] == "failed" and "No space left" in result["error"]
    assert b"\n" == run.read_bytes("metrics.jsonl").to_pybytes()[-1:]  # no half line


WRITER = """
import sys
from qa_lib import config
from qa_lib.runs.result_file import lost_run
from qa_lib.runs.run_folder import RunFolder
argv = ["--storage", sys.argv[1], "--run-name", "mine"]
RunFolder.open(config.parse("train", argv), "train")
print("writing", flush=True)
sys.stdin.read()
"""


def test_one_run_has_one_writer_and_a_killed_one_is_told(tmp_path: Path, capsys):
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"writing\n"
        for flag in ("--resume", "--overwrite", "--no-resume"):
            with pytest.raises(ConfigError, match=f"being written by process {writer.pid} on"):
                RunFolder.open(settings_in(tmp_path, flag), "train")
        writer.kill()
    run = RunFolder(f"{tmp_path}/mine", "verify")
    assert f"process {writer.pid}" in facts.read(run).notes[0]
    assert "it was killed" in next(verify.verify(run)).message
    assert "it was killed" in lost_run(run.path)
    with pytest.raises(ModelError, match="holds no model: .*it was killed"):
        models.resolve(run.path)
    with pytest.raises(ConfigError, match="in use.*it was killed"):
        RunFolder.open(settings_in(tmp_path), "train")
    with RunFolder.open(settings_in(tmp_path, "--resume"), "train") as run:
        assert f"process {writer.pid}" in capsys.readouterr().err
    assert not run.exists(lock.LOCK)


def test_a_disk_that_is_full_keeps_no_empty_lock(tmp_path: Path):
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most[1]))
    try:
        with pytest.raises(OSError):
            lock.take(Folder(str(tmp_path)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    lock.take(Folder(str(tmp_path))).release()


def test_locks_of_other_machines_and_reused_process_numbers(place: str):
    folder = Folder(place)
    folder.make()
    mine = lock.Owner.new()
    away = dataclasses.replace(mine, machine="another", host="node-7", token="t")
    reused = dataclasses.replace(mine, process_start=1, token="t")
    silent = dataclasses.replace(away, beat_s=time.time() - lock.ABANDONED_S - 1)
    folder.write_json(lock.LOCK, dataclasses.asdict(away))
    with pytest.raises(ConfigError, match="on node-7"):
        lock.take(folder)
    for dead in (reused, silent):
        folder.write_json(lock.LOCK, dataclasses.asdict(dead))
        if dead is silent and storage.is_local(place):
            os.utime(folder.at(lock.LOCK), (silent.beat_s, silent.beat_s))
        held = lock.take(folder)
        held.beat()
        assert not held.is_lost
        held.release()
        assert not folder.exists(lock.LOCK)


@pytest.mark.parametrize("jump_s", [-86_400, 86_400])
def test_a_clock_that_jumps_takes_no_lock_from_a_living_process(tmp_path: Path, jump_s: int):
    """On one machine a process and its start decide, which no clock can move."""
    folder = Folder(str(tmp_path))
    parent = os.getppid()
    living = dataclasses.replace(
        lock.Owner.new(), pid=parent, process_start=lock._process_start(parent), token="t"
    )
    beat = dataclasses.replace(living, beat_s=time.time() + jump_s)
    folder.write_json(lock.LOCK, dataclasses.asdict(beat))
    with pytest.raises(ConfigError):
        lock.take(folder)


@pytest.mark.parametrize("skew_s", [-3600, 3600])
def test_a_wrong_clock_of_another_machine_moves_no_lock(tmp_path: Path, skew_s: int):
    """The disk's own times decide; the owner's are an hour off."""
    folder = Folder(str(tmp_path))
    away = dataclasses.replace(lock.Owner.new(), machine="another", token="t")
    folder.write_json(lock.LOCK, dataclasses.asdict(away) | {"beat_s": time.time() + skew_s})
    with pytest.raises(ConfigError, match=r"free in (300|299) s"):
        lock.take(folder)
    abandoned_s = time.time() - lock.ABANDONED_S - 1
    os.utime(tmp_path / lock.LOCK, (abandoned_s, abandoned_s))
    lock.take(folder).release()


def test_a_folder_inside_of_a_run_that_was_lost_is_not_written(tmp_path: Path):
    run = RunFolder.open(settings_in(tmp_path), "train")
    inner = run.inside("stages/1")
    inner.write_result(status="running")
    other = dataclasses.replace(lock.Owner.new(), token="t")
    run.write_json(lock.LOCK, dataclasses.asdict(other))
    run._lock.beat()
    with pytest.raises(ConfigError, match="taken over"):
        inner.write_result(status="done")
    assert inner.read_result()["status"] == "running"


def test_a_writer_that_was_believed_dead_writes_no_more(tmp_path: Path):
    run = RunFolder.open(settings_in(tmp_path), "train")
    run.write_json(lock.LOCK, dataclasses.asdict(lock.Owner.new()))
    run._lock.beat()
    with pytest.raises(ConfigError, match="was taken over"):
        run.write_result()


def test_names_are_durable_before_the_next_file_is_written(tmp_path: Path, monkeypatch):
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        if path.startswith(f"{tmp_path}"):  # runs of other tests sync their locks
            synced.append(path.removeprefix(f"{tmp_path}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    Folder(f"{tmp_path}/a").write_text("b/file", "x")
    assert synced[:2] == ["", "/a"]  # the names of a and a/b
    assert synced[2].startswith("/a/b/file.") and synced[3] == "/a/b"
