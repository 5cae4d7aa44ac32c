"""What all tests share: a quiet environment, the real SQuAD files, and one Ray per session."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from jobs import _runner
from qa_lib.machines.ray_session import start_ray

REPOSITORY = Path(__file__).resolve().parents[1]
STARTED = time.monotonic()

_runner.quiet_libraries()  # before any test module imports Ray or transformers

# Many small groups of workers start and end: their controller looks after them more often.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.1")

# Processes that share the machine (pytest -n) take one thread each: more would fight for the cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# A shell starts what stands before `&` with SIGINT ignored, and the tests' commands inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure; the same examples everywhere, so that a failure can be repeated.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def squad_dir() -> Path:
    """Return the folder of the real SQuAD files, or skip and say where they are looked for."""
    folder = Path(os.environ.get("QA_SQUAD_DIR") or REPOSITORY.parent / "shared" / "squad")
    if not folder.is_dir():
        pytest.skip(f"no SQuAD files: set QA_SQUAD_DIR, or put them into {folder}")
    return folder


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """Start one local Ray for all tests that need it: a start costs five seconds."""
    import ray

    if ray.is_initialized():
        yield
        return
    # Four logical CPUs whatever the machine has: two workers, Ray Data, and one to spare.
    start_ray(num_cpus=4)
    yield
    ray.shutdown()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option with which a check that may take so long ends in time on a slow machine."""
    parser.addoption(
        "--within-minutes",
        type=float,
        default=float("inf"),
        help="skip, and say so, what has not begun this long after the start",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what there is no time for, and what needs a GPU where there is none.

    Ray would wait for a GPU for ever. QA_GPU_SUITE_ON=cpu rehearses tests/gpu without one.
    """
    minutes = item.config.getoption("--within-minutes")
    if time.monotonic() - STARTED > 60 * minutes:
        pytest.skip(f"not begun within {minutes:g} minutes: this machine is too slow")
    if item.get_closest_marker("gpu"):
        if os.environ.get("QA_GPU_SUITE_ON") == "cpu" and "gpu" in item.path.parts:
            return
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA GPU on this machine")
