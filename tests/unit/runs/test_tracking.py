"""What the trackers themselves say of a run that was told to them."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import jobs.prepare
import jobs.train
from qa_lib.config import Settings
from qa_lib.errors import EXIT_USER_ERROR, ResourceError
from qa_lib.runs import tracking
from qa_lib.runs.result import Ran, Trained
from qa_lib.runs.run_folder import RunFolder
from qa_lib.runs.trackers import PROJECT
from qa_lib.search.display import Display
from qa_lib.search.halving import Halving
from tests.support.trials import trial

# MLflow and W&B are not of the lock; what they warn of is not ours.
pytestmark = pytest.mark.filterwarnings("ignore")

REPOSITORY = Path(__file__).resolve().parents[3]
STEPS = [
    {"step": 1, "loss": 5.5, "skipped": False, "time": 1000.0},
    {"step": 2, "loss": float("nan"), "skipped": True, "time": 1001.0},
]


def settings_of(folder: Path, tracker: str, **changes: Any) -> Settings:
    return Settings(storage=str(folder / "runs"), run_name="mine", track=tracker, **changes)


def track(
    settings: Settings,
    *rows: Any,
    job: str = "train",
    also: Callable[[RunFolder], None] | None = None,
) -> None:
    """Do what a job does."""
    with ExitStack() as tracked, RunFolder.open(settings, job) as run:
        run.tracker = tracked.enter_context(tracking.start(settings, run))
        run.begin()
        run.tracker.log(rows)
        run.tracker.child("trial-001", {"num_layers": 4}).log([{"step": 64, "f1": 61.5}])
        if also is not None:
            also(run)
        run.write_result(Trained(steps=rows[-1]["step"], windows_per_s=9.5))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store of the real MLflow, which takes seconds to make one."""
    pytest.importorskip("mlflow", reason="mlflow-skinny is not installed")
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def store(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a store of its own."""
    shutil.copy(database, tmp_path / "mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)  # where it puts the files of runs
    from mlflow import MlflowClient

    return MlflowClient()


def runs_in(store: Any) -> dict[str, Any]:
    experiment = store.get_experiment_by_name(PROJECT)
    return {run.info.run_name: run for run in store.search_runs([experiment.experiment_id])}


def test_mlflow_has_settings_steps_scores_files_and_trials_below(store: Any, tmp_path: Path):
    track(settings_of(tmp_path, "mlflow"), *STEPS)
    found = runs_in(store)
    mine, below = found["mine"], found["trial-001"]
    assert mine.info.status == below.info.status == "FINISHED"
    assert mine.data.params["train.learning_rate"] == "0.0002"
    assert mine.data.params["data.source"] == "embedded"
    losses = store.get_metric_history(mine.info.run_id, "loss")
    assert [(each.step, each.value, each.timestamp) for each in losses] == [(1, 5.5, 1_000_000)]
    assert [each.value for each in store.get_metric_history(mine.info.run_id, "skipped")] == [0, 1]
    assert mine.data.metrics["windows_per_s"] == 9.5
    files = {each.path for each in store.list_artifacts(mine.info.run_id)}
    assert files == {"config.yaml", "result.json"}
    assert below.data.tags["mlflow.parentRunId"] == mine.info.run_id
    assert below.data.params == {"num_layers": "4"} and below.data.metrics["f1"] == 61.5


def test_mlflow_continues_a_resumed_run_and_says_what_was_changed(store: Any, tmp_path: Path):
    settings = settings_of(tmp_path, "mlflow")
    with pytest.raises(KeyboardInterrupt):
        track(settings, *STEPS, also=interrupt)
    assert runs_in(store)["mine"].info.status == "KILLED"
    resumed = settings.model_copy(update={"resume": True, "seed": 7})
    track(resumed, {"step": 3, "loss": 4.0})
    found = runs_in(store)
    assert set(found) == {"mine", "trial-001"}
    losses = store.get_metric_history(found["mine"].info.run_id, "loss")
    assert [(each.step, each.value) for each in losses] == [(1, 5.5), (3, 4.0)]
    assert found["mine"].data.params["seed"] == "0"
    assert found["mine"].data.tags["resumed.seed"] == "7"
    assert found["mine"].info.status == "FINISHED"


def interrupt(run: RunFolder) -> None:
    raise KeyboardInterrupt


def test_a_run_that_mlflow_no_longer_has_is_begun_again(store: Any, database: Path, tmp_path: Path):
    track(settings_of(tmp_path, "mlflow"), *STEPS)
    shutil.copy(database, tmp_path / "new.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new.db")
        track(settings_of(tmp_path, "mlflow", resume=True), {"step": 3, "loss": 4.0})
        from mlflow import MlflowClient

        assert set(runs_in(MlflowClient())) == {"mine", "trial-001"}


def test_a_store_that_breaks_on_the_way_ends_no_run(store: Any, tmp_path: Path, capsys: Any):
    def destroy(run: RunFolder) -> None:
        run.tracker.child("last", {}).log([{"step": 1, "f1": 1.0}])
        while "last" not in run.read_text("tracking.json"):
            pass
        for name in ("mlflow.db", "mlflow.db-wal", "mlflow.db-shm"):
            if (tmp_path / name).exists():
                (tmp_path / name).write_bytes(b"no database" * 999)
        run.tracker.log([{"step": 3, "loss": 1.0}, {"step": 4, "loss": 1.0}])

    track(settings_of(tmp_path, "mlflow"), *STEPS, also=destroy)
    result = RunFolder(str(tmp_path / "runs/mine"), "train").read_result()
    assert result["status"] == "done"
    assert "mlflow does not take what it is told" in capsys.readouterr().err


def test_a_server_that_is_away_is_said_before_the_work_and_leaves_nothing(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ResourceError, match="mlflow does not take the run") as refused:
        track(settings_of(tmp_path, "mlflow"), *STEPS)
    assert "MLFLOW_TRACKING_URI" in refused.value.remedy
    assert not list((tmp_path / "runs").iterdir())


def test_the_trials_of_a_search_are_runs_below_it(store: Any, tmp_path: Path):
    settings = settings_of(tmp_path, "mlflow")
    trials = [trial(0, 50.0), trial(1, 3.0, 10.0), trial(2, error="killed")]

    def search(run: RunFolder) -> None:
        halving = Halving(settings.search, settings.train.global_batch)
        with Display(run, trials, halving, num_trials=2, num_concurrent=1) as display:
            for each in trials:
                display.ended(each)

    track(settings, *STEPS, job="tune", also=search)
    found = runs_in(store)
    assert {name: run.info.status for name, run in found.items()} == {
        "mine": "FINISHED",
        "trial-000": "FINISHED",
        "trial-001": "FINISHED",
        "trial-002": "FAILED",
    }
    assert found["trial-001"].data.metrics["f1"] == 10.0
    assert "num_layers" in found["trial-001"].data.params


def records_of(folder: Path) -> Iterator[Any]:
    """Yield what W&B has written offline, run by run: a log in LevelDB's format."""
    from wandb.proto import wandb_internal_pb2

    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        content, at, parts = file.read_bytes(), 7, b""
        while at + 7 <= len(content):
            left = 32_768 - at % 32_768  # of the block
            if left < 7:
                at += left
                continue
            length, kind = struct.unpack("<HB", content[at + 4 : at + 7])
            parts += content[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # whole, or the last part
                record = wandb_internal_pb2.Record()
                record.ParseFromString(parts)
                parts = b""
                yield record


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the real W&B without a network."""
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    return tmp_path


def test_wandb_has_settings_steps_scores_files_and_trials(offline: Path):
    settings = settings_of(offline, "wandb")
    track(settings, *STEPS)
    track(settings.model_copy(update={"resume": True}), {"step": 3, "loss": 4.0})
    records = list(records_of(offline))
    begun = [each.run for each in records if each.HasField("run")]
    assert {each.display_name for each in begun} == {"mine", "trial-001"}
    assert len({each.run_id for each in begun}) == 2, "a resumed run has another id"
    assert {each.run_group for each in begun} == {"mine"}
    told = {
        item.key: item.value_json
        for each in records
        if each.HasField("config")
        for item in each.config.update
    }
    assert told["data.source"] == '"embedded"' and told["num_layers"] == "4"
    points = [
        {".".join(item.nested_key): float(item.value_json) for item in each.history.item}
        for each in records
        if each.HasField("history")
    ]
    losses = [(point["step"], point["loss"]) for point in points if "loss" in point]
    assert losses == [(1, 5.5), (3, 4)]
    assert any(point.get("windows_per_s") == 9.5 for point in points)
    files = {
        file.path
        for each in records
        if each.HasField("artifact")
        for file in each.artifact.manifest.contents
    }
    assert files == {"config.yaml", "result.json"}


def test_wandb_without_a_key_says_how_to_get_one(offline: Path):
    told = ["--track", "wandb", "--storage", str(offline / "runs"), "--skip-doctor"]
    keyless = {"WANDB_MODE": "online", "HOME": str(offline), "WANDB_API_KEY": ""}
    done = subprocess.run(
        [sys.executable, "-m", "jobs.prepare", *told],
        cwd=REPOSITORY,
        env=os.environ | keyless,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert done.returncode == EXIT_USER_ERROR, done.stderr
    assert "wandb login" in done.stderr and "Traceback" not in done.stderr
    assert not list((offline / "runs").iterdir())


def test_tensorboard_has_curves_in_the_run_folder(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    settings = settings_of(tmp_path, "tensorboard")
    track(settings, *STEPS)
    track(settings.model_copy(update={"resume": True}), {"step": 3, "loss": 4.0})
    folder = tmp_path / "runs/mine/tensorboard"
    losses, f1 = [], []
    for file in sorted(folder.rglob("events.*")):
        found = EventAccumulator(str(file)).Reload()
        for tag, points in (("loss", losses), ("f1", f1)):
            if tag in found.Tags()["scalars"]:
                points += [(each.step, each.value) for each in found.Scalars(tag)]
    assert losses == [(1, 5.5), (3, 4.0)]
    assert set(f1) == {(64, 61.5)}


@pytest.mark.parametrize(("tracker", "package"), [("mlflow", "mlflow-skinny"), ("wandb", "wandb")])
def test_a_tracker_that_is_not_installed_is_named_before_anything_starts(
    tracker: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
):
    monkeypatch.setitem(sys.modules, tracker, None)  # as if it were not there
    argv = ["--track", tracker, "--storage", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["train", *argv])
    assert jobs.train.JOB.exit_code() == EXIT_USER_ERROR
    error = capsys.readouterr().err
    assert "not installed" in error and f"pip install {package}" in error
    assert not list(tmp_path.iterdir())


def test_a_job_is_told_by_its_flag_alone(store: Any, tmp_path: Path):
    argv = ["--track", "mlflow", "--storage", str(tmp_path / "runs"), "--run-name", "mine"]
    argv += ["--data.train-limit", "20", "--data.eval-limit", "10", "--skip-doctor"]
    jobs.prepare.JOB.execute(jobs.prepare.JOB.parse(argv))
    mine = runs_in(store)["mine"]
    assert (mine.info.status, mine.data.params["data.train_limit"]) == ("FINISHED", "20")
    assert mine.data.tags["mlflow.source.name"] == "jobs.prepare"


def test_a_failure_of_the_run_is_one_there(store: Any, tmp_path: Path):
    def fail(run: RunFolder) -> None:
        run.write_result(Ran(), status="running")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        track(settings_of(tmp_path, "mlflow"), *STEPS, also=fail)
    assert runs_in(store)["mine"].info.status == "FAILED"
