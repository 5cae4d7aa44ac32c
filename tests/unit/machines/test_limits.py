"""A machine that is used up is named with the limit, in two lines; the limits are met for real."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from jobs import _runner
from qa_lib.errors import EXIT_USER_ERROR, ModelError
from qa_lib.machines import limits
from qa_lib.models.guard import reading

ROOT = Path(__file__).parents[3]


@contextmanager
def limited(kind: int, most: int) -> Iterator[None]:
    before = resource.getrlimit(kind)
    resource.setrlimit(kind, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(kind, before)


def fill_a_disk(folder: Path) -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        full.write(b"x")


def write_too_much(folder: Path) -> None:
    with limited(resource.RLIMIT_FSIZE, 1000):
        (folder / "large").write_bytes(bytes(2000))


def open_too_many(folder: Path) -> None:
    num_open = len(os.listdir("/proc/self/fd"))
    with limited(resource.RLIMIT_NOFILE, num_open + 3):
        files = []
        try:
            for number in range(10):
                files.append(open(folder / str(number), "w"))
        finally:
            for file in files:
                file.close()


def take_all_memory(folder: Path) -> None:
    bytearray(2**62)


def take_all_memory_in_torch(folder: Path) -> None:
    import torch

    torch.empty(2**50)


CAUSES: dict[Callable[[Path], None], str] = {
    fill_a_disk: "No room is left",
    write_too_much: "exceed the limit of this shell",
    open_too_many: "open no more files",
    take_all_memory: "No memory is left",
    take_all_memory_in_torch: "No memory is left",
}


@pytest.mark.parametrize("cause", CAUSES)
def test_a_limit_that_is_met_is_named(tmp_path: Path, cause: Callable[[Path], None]):
    with pytest.raises((OSError, MemoryError, RuntimeError)) as caught:
        cause(tmp_path)
    wrapped = ValueError("a library's own words")
    wrapped.__cause__ = caught.value
    for error in (caught.value, wrapped):
        explained = limits.explain(error)
        assert explained is not None and explained.remedy
        with pytest.raises(type(explained), match=CAUSES[cause]):
            raise explained


def from_a_rank(error: Exception) -> Exception:
    from ray.train.v2.api.exceptions import WorkerGroupError

    return WorkerGroupError("Training failed", {0: error})


def from_the_controller(error: Exception) -> Exception:
    from ray.train.v2.api.exceptions import ControllerError

    return ControllerError(error)


def from_an_actor(error: Exception) -> Exception:
    from ray.exceptions import RayTaskError

    return RayTaskError("call", "Traceback\nError", error, "actor", 1, "ip").as_instanceof_cause()


@pytest.mark.parametrize("wrapped", [from_a_rank, from_the_controller, from_an_actor])
@pytest.mark.parametrize("kind", ["gpu", "cpu", "ray"])
def test_a_worker_without_memory_ends_the_job_with_what_to_make_smaller(
    wrapped: Callable[[Exception], Exception], kind: str, capsys: pytest.CaptureFixture[str]
):
    import ray
    import torch

    error = {
        "gpu": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        "cpu": MemoryError(),
        "ray": ray.exceptions.OutOfMemoryError("Killed due to the node running low on memory."),
    }[kind]

    def work() -> None:
        raise wrapped(error)

    assert _runner.exit_code(work) == EXIT_USER_ERROR
    problem, remedy = capsys.readouterr().err.splitlines()
    assert "No memory is left" in problem and "--train.micro-batch" in remedy


def test_a_bug_is_no_limit():
    silent = SystemError("<function f> returned NULL without setting an exception")
    for error in (ValueError("a bug"), FileNotFoundError(2, "x"), RuntimeError("a bug"), silent):
        assert limits.explain(error) is None


def test_cpythons_own_error_is_no_memory_where_memory_is_limited(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**29, 2**29))
    explained = limits.explain(SystemError("error return without exception set"))
    assert explained is not None and "No memory is left" in str(explained)


def test_memory_that_runs_out_while_a_model_is_read_is_not_the_models_fault():
    with pytest.raises(MemoryError), reading("it does not load", "Mend it."):
        bytearray(2**62)
    with pytest.raises(ModelError), reading("it does not load", "Mend it."):
        raise KeyError("field")


def test_a_command_without_memory_ends_in_two_lines_within_five_seconds():
    def limit() -> None:
        # torch's library does not fit. Where small allocations fail, CPython itself may hang.
        resource.setrlimit(resource.RLIMIT_AS, (700 * 2**20,) * 2)

    command = "--model.name embedded --answer.question Who? --answer.context A".split()
    started = time.process_time()
    done = subprocess.run(
        [sys.executable, "-m", "jobs.answer", *command],
        cwd=ROOT,
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert time.process_time() - started < 5
    assert done.returncode == 2, done.stderr
    assert "No memory is left" in done.stderr and "Traceback" not in done.stderr
