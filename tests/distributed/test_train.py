"""Whole runs through Ray: exactly once at any world size, and the same weights after a failure."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file, save_file

from qa_lib import config, windows
from qa_lib.config import TrainSettings
from qa_lib.data import load_questions
from qa_lib.errors import CheckpointError, ResourceError, TrainError
from qa_lib.machines.allocation import allocate
from qa_lib.models import load_tokenizer
from qa_lib.runs.checkpoints import CheckpointStore
from qa_lib.runs.manifest import MANIFEST
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training import check_ledger, dataset, fine_tune, plan_of
from qa_lib.training.batch_plan import BatchPlan
from qa_lib.training.ledger import read_ledger
from qa_lib.training.worker import MOST_FAILURES
from tests.support import tiny
from tests.support.processes import training_workers
from tests.support.small_disk import small_disk

pytestmark = pytest.mark.usefixtures("ray_session")

CHECKPOINT_EVERY = 10


class Runs:
    """Starts similar runs in one storage folder."""

    def __init__(self, folder: Path) -> None:
        self.storage = folder / "runs"
        self.model = tiny.write_model(folder / "tiny")
        self.results: dict[str, dict] = {}

    def settings(self, name: str, *flags: str) -> config.Settings:
        return config.parse(
            "train",
            f"""
            --storage {self.storage} --run-name {name} --model.name {self.model}
            --data.train-limit 120 --data.max-length 112 --data.stride 32
            --train.num-workers 2 --train.zero-stage 2 --train.global-batch 8
            --train.micro-batch 2 --train.precision fp32 --train.epochs 2 --train.learning-rate 3e-4
            --train.checkpoint-every-steps {CHECKPOINT_EVERY}
            """.split()
            + list(flags),
        )

    def train(self, name: str, *flags: str) -> RunFolder:
        settings = self.settings(name, *flags)
        questions = load_questions(settings.data, "train")
        with RunFolder.open(settings, "train") as run:
            self.results[name] = fine_tune(settings, run, questions).fields()
        return run

    def plan(self, name: str) -> BatchPlan:
        """Make the plan again, from the questions alone."""
        settings = self.settings(name)
        questions = load_questions(settings.data, "train").table
        spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
        cut = windows.build(questions, load_tokenizer(self.model), spec)
        return plan_of(settings, windows.lengths(cut.table))


@pytest.fixture(scope="module")
def runs(tmp_path_factory, ray_session) -> Runs:
    return Runs(tmp_path_factory.mktemp("train"))


@pytest.fixture(scope="module")
def straight(runs) -> RunFolder:
    """Return an undisturbed run of two workers."""
    return runs.train("straight")


def weights_of(run: RunFolder) -> dict[str, np.ndarray]:
    return load_file(f"{run.root}/model/model.safetensors")


def assert_same_bits(run: RunFolder, expected: RunFolder) -> None:
    weights, others = weights_of(run), weights_of(expected)
    assert weights.keys() == others.keys()
    assert [name for name in weights if not np.array_equal(weights[name], others[name])] == []


def losses_of(run: RunFolder) -> dict[int, float]:
    """Return the losses by step; the last one if a step was redone."""
    return {row["step"]: row["loss"] for row in run.read_metrics()}


def after_checkpoint(
    run_folder: Path, step: int, action: Callable[[], None]
) -> AbstractContextManager[None]:
    """Act once, as soon as the checkpoint of a step is complete."""
    return once((run_folder / "checkpoints" / f"step-{step:09d}" / MANIFEST).is_file, action)


@contextmanager
def once(condition: Callable[[], bool], action: Callable[[], None]) -> Iterator[None]:
    """Act once, as soon as a condition holds."""
    over = threading.Event()
    acted = []

    def watch() -> None:
        while not over.wait(0.005):
            if condition():
                action()
                acted.append(action)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert acted, "the run ended before the condition held"


def test_the_connected_ray_decides_what_fits():
    assert allocate(TrainSettings(num_workers=12, global_batch=12)).cpus_per_worker == 0.25
    with pytest.raises(ResourceError, match="4 CPUs"):
        allocate(TrainSettings(num_workers=13, global_batch=13))


def test_every_window_is_trained_once_per_epoch(runs, straight):
    plan, result = runs.plan("straight"), runs.results["straight"]
    assert plan.num_windows % plan.global_batch  # there is a short batch
    assert result["num_train_questions"] == 120
    assert result["num_train_windows"] == plan.num_windows > 120
    assert result["steps"] == plan.num_steps == len(losses_of(straight))
    ledger = read_ledger(straight)
    check_ledger(ledger, plan, plan.num_steps)
    times = np.bincount(ledger["window_index"].to_numpy(), minlength=plan.num_windows)
    assert set(times.tolist()) == {2}


def test_no_actor_starts_that_has_nothing_to_do(straight):
    """Each takes seconds of a core for its imports, while the ranks start."""
    from ray._private.state import actors

    started = {actor["ActorClassName"] for actor in actors().values()}
    assert "TrainController" in started
    assert started.isdisjoint({"DatasetManager", "PlacementGroupCleaner"})


def test_a_ledger_that_misses_or_repeats_a_window_is_refused(runs, straight):
    plan, ledger = runs.plan("straight"), read_ledger(straight)
    rest = ledger.slice(1)
    repeated = pa.concat_tables([ledger, ledger.slice(5, 1)])
    swapped = pa.concat_tables([ledger.slice(5, 1), rest])
    late = pa.table(
        [
            pa.array(np.minimum(ledger["step"].to_numpy() + 1, plan.num_steps - 1)),
            ledger["window_index"],
        ],
        names=["step", "window_index"],
    )
    for wrong in (rest, repeated, swapped, late):
        with pytest.raises(AssertionError):
            check_ledger(wrong, plan, plan.num_steps)
    with pytest.raises(AssertionError):
        check_ledger(ledger, plan, plan.num_steps - 1)


@pytest.mark.slow
def test_one_worker_loses_what_two_lose(runs, straight):
    one = runs.train("one", "--train.num-workers", "1")
    assert runs.results["one"]["world_size"] == 1
    assert runs.results["straight"]["world_size"] == 2
    assert losses_of(one).keys() == losses_of(straight).keys()
    assert losses_of(one) == pytest.approx(losses_of(straight), abs=1e-4)
    assert min(losses_of(one).values()) < 0.9 * losses_of(one)[1]


@pytest.mark.slow
def test_windows_on_storage_train_the_same_bits_and_are_cut_once(runs, straight, monkeypatch):
    monkeypatch.setattr(dataset, "_MAX_QUESTIONS_IN_MEMORY", 100)
    monkeypatch.setattr(dataset, "_QUESTIONS_PER_SHARD", 50)
    stored = runs.train("stored")
    assert_same_bits(stored, straight)
    assert losses_of(stored) == losses_of(straight)
    cache = runs.storage / "cache" / "windows"
    written = {path: path.stat().st_mtime_ns for path in cache.rglob("*.parquet")}
    assert len(written) >= 4  # two files of each shard
    settings = runs.settings("stored")
    questions = load_questions(settings.data, "train").table
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    found = dataset.tokenize(questions, runs.model, spec, offsets=False, storage=settings.storage)
    assert found.num_windows == runs.plan("stored").num_windows
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.parquet")} == written


@pytest.mark.slow
def test_one_worker_goes_on_where_two_stopped_with_dropout_on(runs, straight):
    dropout = ["--train.dropout", "0.1", "--train.adam-epsilon", "1e-6"]
    one = runs.train("one-dropout", "--train.num-workers", "1", *dropout)
    stop = lambda: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    with (
        after_checkpoint(runs.storage / "elastic", CHECKPOINT_EVERY, stop),
        pytest.raises(KeyboardInterrupt),
    ):
        runs.train("elastic", *dropout)
    other = ["--train.num-workers", "1", "--train.zero-stage", "0", "--resume"]
    elastic = runs.train("elastic", *dropout, *other)
    assert losses_of(elastic) == pytest.approx(losses_of(one), rel=1e-5)
    plan = runs.plan("elastic")
    check_ledger(read_ledger(elastic), plan, plan.num_steps)


def redone_steps(run: RunFolder) -> list[int]:
    return [row["step"] for row in run.read_metrics() if row["redone"]]


def test_neither_a_kill_nor_a_stop_nor_damage_changes_anything_in_the_end(runs, straight, capsys):
    folder, plan = runs.storage / "disturbed", runs.plan("disturbed")
    killed = []

    def kill() -> None:
        workers = training_workers()
        assert len(workers) == 2
        workers[0].kill()
        killed.append(workers[0].pid)

    stop = lambda: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    with (
        after_checkpoint(folder, CHECKPOINT_EVERY, kill),
        after_checkpoint(folder, 2 * CHECKPOINT_EVERY, stop),
        pytest.raises(KeyboardInterrupt),
    ):
        runs.train("disturbed")
    assert len(killed) == 1
    run = RunFolder(str(folder), "train")
    assert run.read_result()["status"] == "interrupted"
    assert not (folder / "model").exists()
    store = CheckpointStore(str(folder / "checkpoints"))
    newest = store.newest_good()
    assert 2 * CHECKPOINT_EVERY <= newest.step < plan.num_steps
    assert max(losses_of(run)) == newest.step  # it stopped at once, and lost no step
    message = capsys.readouterr().err
    assert f"stopped after step {newest.step} of {plan.num_steps}" in message
    assert "--run-name disturbed --resume" in message
    by_the_kill = redone_steps(run)
    assert all(step > CHECKPOINT_EVERY for step in by_the_kill)

    victim = next(file for file in newest.files if file.name.startswith("state-"))
    os.truncate(Path(newest.directory) / victim.name, victim.num_bytes // 2)
    before = store.newest_good(warn=lambda _: None).step
    assert before < newest.step
    run = runs.train("disturbed", "--resume")
    assert_same_bits(run, straight)
    assert losses_of(run) == losses_of(straight)
    by_the_damage = list(range(before + 1, newest.step + 1))
    assert redone_steps(run) == by_the_kill + by_the_damage
    assert len(run.read_metrics()) == plan.num_steps + len(redone_steps(run))
    assert runs.results["disturbed"]["steps"] == plan.num_steps
    check_ledger(read_ledger(run), plan, plan.num_steps)


def poisoned_model(runs: Runs, name: str) -> Path:
    """Copy the model with a weight that is NaN, so that no loss is finite."""
    folder = Path(shutil.copytree(runs.model, runs.storage.parent / name))
    weights = load_file(folder / "model.safetensors")
    weights["qa_outputs.bias"] = weights["qa_outputs.bias"] * np.float32("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.slow
def test_a_run_without_finite_losses_goes_back_once_and_ends_the_same(runs, straight, capsys):
    model, metrics = poisoned_model(runs, "mended"), runs.storage / "nan" / "metrics.jsonl"
    flags = ["--model.name", str(model), "--train.max-skipped-steps", "3"]
    skipped = lambda: metrics.is_file() and '"skipped": true' in metrics.read_text()  # noqa: E731
    mend = lambda: shutil.copy(Path(runs.model) / "model.safetensors", model)  # noqa: E731
    with once(skipped, mend):
        run = runs.train("nan", *flags)
    assert "diverged at step 3: going back" in capsys.readouterr().err
    assert runs.results["nan"]["num_rollbacks"] == 1
    assert_same_bits(run, straight)
    rows = run.read_metrics()
    assert [row["step"] for row in rows if row["skipped"]] == [1, 2, 3]
    assert [row["step"] for row in rows if row["redone"]] == [1, 2, 3]
    plan = runs.plan("nan")
    check_ledger(read_ledger(run), plan, plan.num_steps)


@pytest.mark.slow
@pytest.mark.parametrize("most", [3, 1000])
def test_a_run_that_diverges_again_stops_with_advice_and_leaves_no_nan(runs, straight, most):
    name = f"nan-{most}"
    model = poisoned_model(runs, f"poisoned-{most}")
    limits = ["--train.max-skipped-steps", str(most), "--train.max-steps", "12"]
    with pytest.raises(TrainError, match="--train.learning-rate below 0.0003"):
        runs.train(name, "--model.name", str(model), *limits)
    assert RunFolder(str(runs.storage / name), "train").read_result()["status"] == "failed"
    assert not (runs.storage / name / "model").exists()
    assert not (runs.storage / name / "checkpoints").exists()


@pytest.fixture
def disk_of_50_mb(tmp_path) -> Iterator[Path]:
    with small_disk(tmp_path / "small", "50m") as folder:
        yield folder


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with suppress(OSError), path.open("wb", buffering=0) as stream:
        while True:
            stream.write(bytes(4096))


@pytest.mark.slow
def test_a_full_disk_is_told_and_costs_no_checkpoint_and_no_step(
    runs, straight, disk_of_50_mb, capsys
):
    flags = ["--storage", str(disk_of_50_mb / "runs")]
    folder, filler = disk_of_50_mb / "runs" / "full", disk_of_50_mb / "filler"
    with after_checkpoint(folder, CHECKPOINT_EVERY, lambda: fill(filler)):
        with pytest.raises(TrainError) as caught:
            runs.train("full", *flags)
    error, said, plan = caught.value, capsys.readouterr().err, runs.plan("full")
    assert "cannot be written" in error.problem and "No space left" in error.problem
    assert f"the last good checkpoint is {folder}" in error.problem
    assert f"no checkpoint at step {2 * CHECKPOINT_EVERY}: " in said
    assert said.count("no checkpoint at step") <= MOST_FAILURES
    newest = CheckpointStore(str(folder / "checkpoints")).newest_good()
    assert newest.step == CHECKPOINT_EVERY
    result = RunFolder(str(folder), "train").read_result()
    assert result["status"] == "failed"
    filler.unlink()
    run = runs.train("full", *flags, "--resume")
    assert_same_bits(run, straight)
    check_ledger(read_ledger(run), plan, plan.num_steps)


def corpus_file(folder: Path, answer: str) -> Path:
    """Write questions whose tokens stay, and whose answer is what is asked for."""
    context = "Ann built the bridge in 1890 and Ben built the mill in 1902."
    start = context.index(answer)
    rows = [
        {
            "id": str(number),
            "title": "Bridges",
            "context": context,
            "question": "Who built it?",
            "answers": {"text": [answer], "answer_start": [start]},
        }
        for number in range(12)
    ]
    path = folder / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return path


def test_a_run_is_not_resumed_on_swapped_data_model_or_teacher(runs, tmp_path, capsys):
    model = Path(shutil.copytree(runs.model, tmp_path / "model"))
    taught = Path(shutil.copytree(runs.model, tmp_path / "teacher"))
    named = ["--data.source", str(corpus_file(tmp_path, "Ann"))]
    named += ["--model.name", str(model), "--train.teacher", str(taught)]
    flags = [*named, "--train.max-steps", "2", "--train.num-workers", "1"]
    flags += ["--train.checkpoint-every-steps", "2"]
    run = runs.train("swapped", *flags)
    before = {name: run.read_bytes(name).to_pybytes() for name in ("config.yaml", "result.json")}

    def swap_weights(folder: Path, factor: float) -> None:
        weights = load_file(folder / "model.safetensors")
        weights["qa_outputs.bias"] = weights["qa_outputs.bias"] * 0 + np.float32(factor)
        save_file(weights, folder / "model.safetensors", {"format": "pt"})

    swaps = {
        "the training windows": lambda: corpus_file(tmp_path, "Ben"),
        "the starting model": lambda: (corpus_file(tmp_path, "Ann"), swap_weights(model, 0.5)),
        "the teacher": lambda: swap_weights(taught, 0.25),
    }
    for what, swap in swaps.items():
        swap()
        with pytest.raises(CheckpointError) as caught:
            runs.train("swapped", *flags, "--resume")
        assert what in caught.value.problem and "start a new run" in caught.value.remedy
        assert {name: run.read_bytes(name).to_pybytes() for name in before} == before
    assert "the starting model" in caught.value.problem  # both differ now


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
def test_damage_to_any_file_of_a_checkpoint_is_found(straight, tmp_path, damage):
    folder = Path(shutil.copytree(straight.url("checkpoints"), tmp_path / "checkpoints"))
    store = CheckpointStore(str(folder))
    newest = store.newest_good()
    before = min(int(path.name.rpartition("-")[2]) for path in folder.iterdir())
    assert before < newest.step
    files = [path for path in Path(newest.directory).rglob("*") if path.is_file()]
    assert len(files) == len(newest.files) + 1 >= 6
    for path in files:
        good = path.read_bytes()
        damage(path)
        warnings: list[str] = []
        found = store.newest_good(warn=warnings.append)
        assert found is not None and found.step == before, path
        assert path.name in warnings[0]
        path.write_bytes(good)
    assert store.newest_good() == newest


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--train.global-batch", "4"], "--train.global-batch 8, not --train.global-batch 4"),
        (["--train.learning-rate", "1e-3"], "--train.learning-rate 0.0003"),
        (["--train.optimizer", "sgd", "--seed", "1"], "--train.optimizer adamw, --seed 0"),
        (["--data.train-limit", "119"], "other data"),
        (["--data.max-length", "96"], "other windows"),
    ],
)
def test_a_run_is_not_resumed_as_another_one(runs, straight, flags, named):
    names = ("config.yaml", "result.json", "metrics.jsonl", "model/model.safetensors")
    before = {name: straight.read_bytes(name) for name in names}
    with pytest.raises(CheckpointError) as caught:
        runs.train("straight", "--resume", *flags)
    assert named in str(caught.value)
    assert {name: straight.read_bytes(name) for name in names} == before
