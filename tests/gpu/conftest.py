"""Tests of what needs a GPU: `make test-gpu` on a machine that has one.

`QA_GPU_SUITE_ON=cpu make test-gpu ARGS=tests/gpu` runs their code on a CPU, where precisions and
figures that only a GPU has are left out: it proves that the suite itself works.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
ON_CPU = os.environ.get("QA_GPU_SUITE_ON") == "cpu"
DEVICE = "cpu" if ON_CPU else "cuda"


@pytest.fixture(scope="session")
def device() -> str:
    """The device that the suite tries: cuda, or cpu in a rehearsal."""
    return DEVICE


class Jobs:
    """Runs jobs on the device, each as a user does, in one storage folder."""

    def __init__(self, storage: Path) -> None:
        self.storage = storage

    def command(self, job: str, name: str, *flags: str) -> list[str]:
        """Return the command line of a job."""
        given = ["--storage", str(self.storage), "--run-name", name, "--train.device", DEVICE]
        return [sys.executable, "-m", f"jobs.{job}", *given, *flags]

    def __call__(self, job: str, name: str, *flags: str, **variables: str) -> dict[str, Any]:
        """Run a job to its end; return its result."""
        done = subprocess.run(
            self.command(job, name, *flags),
            cwd=REPOSITORY,
            env=os.environ | variables,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return self.result(name)

    def result(self, name: str) -> dict[str, Any]:
        """Return the result.json of a run."""
        return json.loads((self.storage / name / "result.json").read_text())

    def losses(self, name: str) -> list[float]:
        """Return the losses by step; the last one where a step was taken again."""
        rows = (self.storage / name / "metrics.jsonl").read_text().splitlines()
        found = {row["step"]: row["loss"] for row in map(json.loads, rows) if "loss" in row}
        return [found[step] for step in sorted(found)]

    def plan(self, job: str, *flags: str) -> dict[str, Any]:
        """Return the JSON of a job's dry run."""
        command = self.command(job, "planned", *flags, "--dry-run", "json")
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout[done.stdout.rindex("\n{\n") :])


@pytest.fixture(scope="session")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Jobs:
    """Run jobs in a folder of this session."""
    return Jobs(tmp_path_factory.mktemp("runs"))


# MiniLM on the embedded questions: enough steps for a loss that falls, few enough for seconds.
BRIEFLY = """--data.train-limit 600 --data.eval-limit 64 --data.holdout-articles 0.1
    --train.max-steps 24 --train.global-batch 16 --train.checkpoint-every-steps 8""".split()


@pytest.fixture(scope="session")
def trained(jobs: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """The result of a training with every automatic choice: run `trained`."""
    return jobs("train", "trained", *BRIEFLY, "--train.micro-batch", "auto")
