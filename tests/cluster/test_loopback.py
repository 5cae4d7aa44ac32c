"""Real jobs sent to a real Ray cluster of three nodes on this machine, behind a token.

Each job goes the way of `make submit`: checked here, sent, followed to its end, its exit code
returned. Slow: a job on a cluster of two cores starts its processes three times over.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.loopback import LoopbackCluster
from qa_lib.errors import EXIT_USER_ERROR

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

WINDOWS = "--data.max-length 112 --data.stride 32"
BRIEFLY = f"--train.max-steps 4 --data.eval-limit 32 --data.train-limit 400 {WINDOWS}"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LoopbackCluster]:
    with LoopbackCluster(num_nodes=3, cpus_per_node=2) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


def submit(
    cluster: LoopbackCluster, *words: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cluster.submit", *words],
        cwd=ROOT,
        env=os.environ | cluster.environment | variables,
        capture_output=True,
        text=True,
    )


def result(folder: Path) -> dict:
    return json.loads((folder / "result.json").read_text())


@pytest.fixture(scope="module")
def trained(cluster: LoopbackCluster, storage: Path, quick: list[str]) -> Path:
    """A model that two workers on the cluster have trained, its articles held out for a search."""
    done = submit(
        *(cluster, "train", "--storage", str(storage), "--run-name", "parent"),
        *f"{BRIEFLY} --train.num-workers 2 --train.zero-stage 2".split(),  # on two nodes
        *("--data.holdout-articles", "0.1", *quick),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4 steps" in done.stdout, "the job's log did not come through"
    return storage / "parent"


def test_two_workers_of_the_cluster_train(trained):
    found = result(trained)
    assert (found["status"], found["world_size"], found["zero_stage"]) == ("done", 2, 2)
    assert found["num_questions"] == 32


# Job, its flags, its run's folder, what its result must hold.
JOBS = {
    "evaluate": (
        f"--model.name {{trained}} --data.eval-limit 32 {WINDOWS}",
        {"num_questions": 32},
    ),
    "adjust": (
        "--model.name {trained} --adjust.intermediate-size 24 --adjust.calibration-windows 16 "
        f"--data.eval-limit 32 {WINDOWS}",
        {"intermediate_size": 24},
    ),
    "tune": (
        "--search.parent {trained} --search.num-trials 2 --search.trial-windows 32 "
        "--search.num-rungs 1 --search.num-candidates 8 --search.eval-questions 16 "
        "--search.speeds 1.2 --search.space.num-layers 1,2 --search.space.hidden-size 32 "
        f"--adjust.calibration-windows 32 --data.holdout-articles 0.1 {BRIEFLY}",
        {},
    ),
}


@pytest.mark.parametrize("job", JOBS)
def test_each_job_runs_to_its_end(cluster, storage, trained, job):
    flags, fields = JOBS[job]
    words = flags.format(trained=trained).split()
    words += ["--skip-doctor"]  # the training did not
    done = submit(cluster, job, "--storage", str(storage), "--run-name", job, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    found = result(storage / job)
    assert found["status"] == "done"
    assert fields.items() <= found.items()


def test_a_file_of_questions_is_answered(cluster, storage, trained):
    asked = storage / "questions.jsonl"
    line = {"question": "Who sings?", "context": "The choir sings. The organ rests."}
    asked.write_text(json.dumps(line) + "\n")
    done = submit(
        *(cluster, "answer", "--model.name", str(trained), "--storage", str(storage)),
        *("--answer.input", str(asked), "--answer.output", str(storage / "answers.jsonl")),
        *WINDOWS.split(),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (answer,) = (storage / "answers.jsonl").read_text().splitlines()
    assert json.loads(answer)["prediction"]["answer"] in line["context"]


def test_the_doctor_looks_at_every_node(cluster, storage):
    done = submit(cluster, "doctor", "--storage", str(storage))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 nodes write to" in done.stdout
    assert "FAULT" not in done.stdout


def test_a_users_error_on_the_cluster_comes_back_as_its_exit_code(cluster, storage):
    done = submit(
        *(cluster, "evaluate", "--predictions", str(storage / "none.json")),
        *("--storage", str(storage)),
        SKIP_DRY_RUN="1",
    )
    assert done.returncode == EXIT_USER_ERROR
    assert "none.json cannot be read" in done.stdout
    assert f"exit code {EXIT_USER_ERROR}" in done.stderr


def test_without_waiting_only_the_id_comes_back(cluster, storage):
    done = submit(cluster, "doctor", "--storage", str(storage), NO_WAIT="1")
    assert done.returncode == 0
    assert re.search(r"submitted as raysubmit_\w+", done.stdout)
    assert "ok    ray" not in done.stdout


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/version"),
        ("GET", "/api/jobs/"),
        ("POST", "/api/jobs/"),
        ("GET", "/api/jobs/none"),
        ("GET", "/api/jobs/none/logs"),
        ("POST", "/api/jobs/none/stop"),
        ("DELETE", "/api/jobs/none"),
        ("GET", "/api/packages/gcs/none.zip"),
        ("PUT", "/api/packages/gcs/none.zip"),
    ],
)
@pytest.mark.parametrize(("token", "code"), [(None, 401), ("0" * 64, 403)])
def test_no_request_passes_without_the_token(cluster, method, path, token, code):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = b"{}" if method in ("POST", "PUT") else None
    request = urllib.request.Request(
        cluster.dashboard + path, method=method, headers=headers, data=data
    )
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(request, timeout=10)
    caught.value.close()
    assert caught.value.code == code


@pytest.mark.parametrize("place", ["dashboard", "gcs"])
def test_a_wrong_token_is_named_before_anything_is_sent(cluster, storage, tmp_path, place):
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)
    variables = cluster.environment | {
        "RAY_AUTH_TOKEN_PATH": str(wrong),
        "RAY_ADDRESS": getattr(cluster, place),
    }
    done = subprocess.run(
        [sys.executable, "-m", "jobs.doctor", "--storage", str(storage)],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == EXIT_USER_ERROR
    assert "FAULT ray" in done.stdout and "token" in done.stdout


def test_a_node_with_another_version_is_named(cluster, storage, tmp_path):
    """A fourth node, in whose environment DeepSpeed says that it is another."""
    other = tmp_path / "deepspeed-0.1.0.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: deepspeed\nVersion: 0.1.0\n")
    cluster.add_node(PYTHONPATH=str(tmp_path))
    done = submit(cluster, "doctor", "--storage", str(storage))
    assert done.returncode == EXIT_USER_ERROR
    assert "deepspeed 0.1.0" in done.stdout
