"""A process of Ray that ends is told by its cause: the machine's, or a bug."""

from __future__ import annotations

import os
import signal

import pytest

from jobs import _runner
from qa_lib.errors import EXIT_USER_ERROR


def test_a_worker_that_the_kernel_ends_is_told_with_what_to_make_smaller(
    ray_session: None, capsys: pytest.CaptureFixture[str]
):
    import ray

    @ray.remote(num_cpus=0)
    class Rank:
        def train(self) -> None:
            os.kill(os.getpid(), signal.SIGKILL)  # as where memory runs out

    assert _runner.exit_code(lambda: ray.get(Rank.remote().train.remote())) == EXIT_USER_ERROR
    told = capsys.readouterr().err.splitlines()
    assert told[-2].startswith("error: A process of Ray was ended from outside")
    assert "--train.micro-batch" in told[-1] and "--resume" in told[-1]


def test_a_bug_in_what_makes_an_actor_stays_a_bug(ray_session: None, capfd):
    import ray

    @ray.remote(num_cpus=0)
    class Rank:
        def __init__(self) -> None:
            raise KeyError("a bug")

        def train(self) -> None: ...

    assert _runner.exit_code(lambda: ray.get(Rank.remote().train.remote())) == _runner.EXIT_BUG
    assert "KeyError: 'a bug'" in capfd.readouterr().err
