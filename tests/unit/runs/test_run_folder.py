"""The run folder: names that are safe, files that are whole, and a state that is always told."""

from __future__ import annotations

import json
import os
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from qa_lib import config
from qa_lib.config import Settings
from qa_lib.errors import ConfigError, DataError
from qa_lib.runs import storage
from qa_lib.runs.result import Evaluated
from qa_lib.runs.run_folder import RunFolder


def settings_in(folder: Path | str, *argv: str) -> Settings:
    return config.parse("train", ["--storage", str(folder), *argv])


def result(run: RunFolder) -> dict:
    return json.loads(run.read_text("result.json"))


@pytest.fixture(params=["path", "file-url", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return a storage: a local folder, the same as a URL, and an object store's stand-in."""
    forms = {
        "path": str(tmp_path / "runs"),
        "file-url": f"file://{tmp_path}/runs",
        "memory": f"memory://bucket-{tmp_path.name}/runs",
    }
    return forms[request.param]


# -- names


def test_default_names_count_on(place: str):
    names = [RunFolder.open(settings_in(place), "train").name for _ in range(2)]
    names.append(RunFolder.open(settings_in(place), "evaluate").name)
    assert names == ["train-quickstart-001", "train-quickstart-002", "evaluate-quickstart-001"]


def test_numbers_are_not_given_again_and_pass_999(tmp_path: Path):
    (tmp_path / "train-quickstart-999").mkdir()
    (tmp_path / "train-quickstart-007x").mkdir()
    assert RunFolder.open(settings_in(tmp_path), "train").name == "train-quickstart-1000"


def test_a_recipe_file_lends_its_name(tmp_path: Path):
    path = tmp_path / "my recipe.yaml"
    path.write_text("seed: 1", encoding="utf-8")
    run = RunFolder.open(settings_in(tmp_path, "--recipe", str(path)), "train")
    assert run.name == "train-my-recipe-001"


def test_jobs_that_start_together_get_folders_of_their_own(tmp_path: Path):
    settings = Settings(storage=str(tmp_path))
    with ThreadPoolExecutor(8) as pool:
        names = list(pool.map(lambda _: RunFolder.open(settings, "train").name, range(24)))
    assert len(set(names)) == 24


def test_a_name_in_use_is_refused(place: str):
    settings = settings_in(place, "--run-name", "mine")
    RunFolder.open(settings, "train")
    with pytest.raises(ConfigError, match="in use") as caught:
        RunFolder.open(settings, "train")
    assert "--resume" in caught.value.remedy
    with pytest.raises(ConfigError, match="in use"):
        RunFolder.check(settings, "train")


def test_overwrite_leaves_nothing_of_the_old_run(place: str):
    old = RunFolder.open(settings_in(place, "--run-name", "mine"), "train")
    old.write_text("model/config.json", "{}")
    new = RunFolder.open(settings_in(place, "--run-name", "mine", "--overwrite"), "train")
    assert not new.exists("model/config.json")


def test_overwrite_deletes_run_folders_only(tmp_path: Path):
    precious = tmp_path / "mine" / "thesis.tex"
    precious.parent.mkdir()
    precious.write_text("years", encoding="utf-8")
    with pytest.raises(ConfigError, match="no run folder"):
        RunFolder.open(settings_in(tmp_path, "--run-name", "mine", "--overwrite"), "train")
    assert precious.exists()


@pytest.mark.parametrize("parts", [("..", "x"), ("a/../../x",), ("/etc/passwd",)])
def test_paths_cannot_lead_out_of_the_folder(tmp_path: Path, parts: tuple[str, ...]):
    run = RunFolder.open(settings_in(tmp_path), "train")
    with pytest.raises(ConfigError, match="leads out"):
        run.url(*parts)
    with pytest.raises(ConfigError, match="leads out"):
        run.write_text("/".join(parts), "")


def test_check_creates_nothing(tmp_path: Path):
    RunFolder.check(settings_in(tmp_path / "runs"), "train")
    assert not (tmp_path / "runs").exists()


# -- resume


def test_resume_continues_the_named_or_the_newest_run(place: str):
    for _ in range(2):
        with RunFolder.open(settings_in(place), "train") as run:
            run.write_result(Evaluated(f1=1.0))
    newest = RunFolder.open(settings_in(place, "--resume"), "train")
    assert (newest.name, newest.resumed) == ("train-quickstart-002", True)
    assert result(newest)["status"] == "done"  # as it was, until the job has checked it
    newest.begin()
    assert result(newest)["status"] == "running"
    named = settings_in(place, "--resume", "--run-name", "train-quickstart-001")
    assert RunFolder.open(named, "train").name == "train-quickstart-001"


def test_seconds_add_up_over_attempts(tmp_path: Path):
    run = RunFolder.open(settings_in(tmp_path), "train")
    before = json.loads(run.read_text("result.json")) | {"seconds": 100.0}
    run.write_text("result.json", json.dumps(before))
    with RunFolder.open(settings_in(tmp_path, "--resume"), "train") as again:
        pass
    assert 100.0 <= result(again)["seconds"] < 110.0


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["--resume"], "no run train-quickstart-NNN"),
        (["--resume", "--run-name", "nothing"], "no run nothing"),
        (["--resume", "--run-name", "evaluated"], "a run of jobs.evaluate"),
        (["--resume", "--run-name", "damaged"], "damaged"),
    ],
)
def test_what_cannot_be_resumed_is_said(tmp_path: Path, argv: list[str], part: str):
    RunFolder.open(settings_in(tmp_path, "--run-name", "evaluated"), "evaluate")
    damaged = RunFolder.open(settings_in(tmp_path, "--run-name", "damaged"), "train")
    damaged.write_text("result.json", '{"job": "tra')
    with pytest.raises(ConfigError, match=part):
        RunFolder.open(settings_in(tmp_path, *argv), "train")


# -- storage


@pytest.mark.parametrize(
    "url",
    [
        "zip://a.parquet::/tmp/a.zip",
        "ssh://host/runs",
        "github://a:b@main/x",
        "simplecache::gs://a/b",
    ],
)
def test_urls_that_reach_elsewhere_than_into_storage_are_refused(url: str):
    with pytest.raises(ConfigError, match="is not allowed"):
        storage.resolve(url)


@pytest.mark.parametrize(
    "url", ["/dev/null/runs", "/proc/runs", "nofs://bucket", "memory://a/../b", __file__]
)
def test_storage_that_cannot_be_used_is_named(url: str):
    with pytest.raises(ConfigError, match=url.replace("..", r"\.\.")):
        RunFolder.open(settings_in(url), "train")


def test_a_bucket_that_cannot_be_reached_is_reported_in_seconds(monkeypatch: pytest.MonkeyPatch):
    # A closed local port stands for the bucket's service: pyarrow alone would try for 15 minutes.
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="gs://bucket/runs cannot be used"):
        RunFolder.open(settings_in("gs://bucket/runs"), "train")


def test_local_paths_are_absolute_and_know_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert RunFolder.open(settings_in("runs"), "train").path.startswith(f"{tmp_path}/runs/")
    assert RunFolder.open(settings_in("~/r"), "train").path.startswith(f"{tmp_path}/home/r/")


# -- content


def test_a_run_tells_its_state_from_the_first_moment(place: str):
    with RunFolder.open(settings_in(place), "train") as run:
        assert result(run)["status"] == "running"
        run.write_result(Evaluated(f1=np.float32(77.5), aurc=float("nan")))
    written = result(run)
    assert (written["job"], written["status"], written["f1"]) == ("train", "done", 77.5)
    assert written["aurc"] is None
    assert written["versions"]["pyarrow"] and written["command"] and written["host"]
    assert datetime.fromisoformat(written["started_at"]).tzinfo is not None
    assert re.fullmatch(r"[0-9a-f]{40}\+?", written["commit"] or "0" * 40)
    assert written["seconds"] >= 0
    assert run.read_config().storage == place


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("no\nmore"), "failed"), (KeyboardInterrupt(), "interrupted")],
)
def test_a_run_that_ends_badly_says_so_and_keeps_what_it_has(
    tmp_path: Path, error: BaseException, status: str
):
    with pytest.raises(type(error)):
        with RunFolder.open(settings_in(tmp_path), "train") as run:
            run.write_result(Evaluated(f1=50.0), status="running")
            raise error
    written = result(run)
    assert (written["status"], written["f1"]) == (status, 50.0)
    assert written["error"] in ("no", "KeyboardInterrupt")
    with RunFolder.open(settings_in(tmp_path, "--resume"), "train") as again:
        pass
    assert result(again)["status"] == "done"
    assert "error" not in result(again)


def test_a_users_error_leaves_no_folder_that_would_block_the_mended_command(place: str):
    settings = settings_in(place, "--run-name", "mine")
    with pytest.raises(DataError), RunFolder.open(settings, "train"):
        raise DataError("No such file.", "Give another.")
    with pytest.raises(DataError), RunFolder.open(settings, "train") as run:
        run.write_text("quarantine.jsonl", "{}")
        raise DataError("Bad rows.", "See quarantine.jsonl.")
    assert run.exists("quarantine.jsonl")
    assert result(run)["status"] == "failed"


@pytest.mark.parametrize("content", ["", "{", "null", "[1, 2]", '"done"', "[" * 99_999])
def test_a_damaged_result_is_named(tmp_path: Path, content: str):
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(ConfigError, match="result.json is damaged"):
        RunFolder(str(tmp_path), "train").read_result()


def test_metrics_reach_the_disk_line_by_line(tmp_path: Path):
    run = RunFolder.open(settings_in(tmp_path), "train")
    run.append_metrics({"step": 1, "loss": float("inf")})
    assert Path(run.url("metrics.jsonl")).read_text() == '{"step": 1, "loss": null}\n'


def test_metrics_go_on_after_a_crash_in_the_middle_of_a_line(place: str):
    run = RunFolder.open(settings_in(place), "train")
    run.write_text("metrics.jsonl", '{"step": 1}\n{"step": 2, "lo')
    again = RunFolder.open(settings_in(place, "--resume"), "train")
    again.append_metrics({"step": 2})
    again.append_metrics({"step": 3})
    assert [record["step"] for record in again.read_metrics()] == [1, 2, 3]


def test_an_object_store_gets_all_metrics_by_the_end(tmp_path: Path):
    with RunFolder.open(settings_in(f"memory://end-{tmp_path.name}"), "train") as run:
        for step in range(5):
            run.append_metrics({"step": step})
        assert len(run.read_text("metrics.jsonl").splitlines()) < 5
    assert len(run.read_text("metrics.jsonl").splitlines()) == 5


def test_a_run_folder_can_be_sent_to_another_process(place: str):
    run = RunFolder.open(settings_in(place), "train")
    there = pickle.loads(pickle.dumps(run))
    there.append_metrics({"step": 1})
    there.write_text("note.txt", "é")
    assert run.read_text("note.txt") == "é"
    assert run.read_metrics() == [{"step": 1}]


def test_a_failed_write_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = RunFolder.open(settings_in(tmp_path), "train")
    run.write_text("note.txt", "old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        run.write_text("note.txt", "new")
    assert run.read_text("note.txt") == "old"
    assert sorted(path.name for path in Path(run.path).iterdir()) == [
        "config.yaml",
        "lock.json",
        "note.txt",
        "result.json",
    ]


def test_storage_resolves_to_the_filesystem_and_the_path_in_it(tmp_path: Path):
    filesystem, path = storage.resolve(f"file://{tmp_path}/a")
    assert (filesystem.type_name, path) == ("local", f"{tmp_path}/a")
    filesystem, path = storage.resolve("gs://bucket/a/")
    assert (filesystem.type_name, path) == ("gcs", "bucket/a")
