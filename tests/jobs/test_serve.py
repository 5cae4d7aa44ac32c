"""The service on Ray Serve: answers, a replica that is killed under load, and a drain."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import jobs.serve
from qa_lib.errors import ConfigError, ModelError
from qa_lib.serving import Answerer
from qa_lib.serving.service import deployments, running
from qa_lib.serving.service.guard import read_token
from qa_lib.serving.service.loading import named_models
from tests.support import tiny
from tests.support.load import load, replicas_of, wait_for_more
from tests.support.service import ASKED, call

REPOSITORY = Path(__file__).resolve().parents[2]
FLAGS = "--data.max-length 112 --data.stride 32 --train.precision fp32 --serve.port 0".split()
TOKEN = "0123456789abcdef"
# What becomes of a request that is sent while the port closes.
CLOSED = {"ConnectionRefusedError", "ConnectionResetError", "RemoteDisconnected"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.write_model(folder / "parent")
    tiny.write_model(folder / "small", num_layers=2)
    return folder


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "token").chmod(0o600)
    return tmp_path / "token"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_no_other_machine_is_let_in_without_a_token(host: str, token_file: Path):
    with pytest.raises(ConfigError, match="serve.token_file"):
        jobs.serve.JOB.parse(["runs/mine", "--serve.host", host])
    flags = ["--serve.host", host, "--serve.token-file", str(token_file)]
    assert jobs.serve.JOB.parse(["runs/mine", *flags]).serve.host == host


def test_a_token_that_is_none_or_that_others_may_replace_is_refused(token_file: Path):
    assert read_token(str(token_file)) == TOKEN
    token_file.chmod(stat.S_IRUSR | stat.S_IWUSR | stat.S_IWGRP)
    with pytest.raises(ConfigError, match="0620"):
        read_token(str(token_file))
    token_file.chmod(0o600)
    for content in ("", "short", "two words are no token", "an\x07unprintable-one"):
        token_file.write_text(content)
        with pytest.raises(ConfigError, match="holds no token"):
            read_token(str(token_file))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_token(str(token_file.parent / "none"))


def test_a_service_on_a_cluster_needs_a_token():
    with pytest.raises(ConfigError, match="needs a token"):
        deployments.build({"model.name": "runs/mine"})


def test_a_model_is_called_as_its_run_is():
    flags = ["--serve.beside", "runs/small/model", "big=gs://bucket/runs/parent", "/data/lr=3/x"]
    settings = jobs.serve.JOB.parse(["runs/mine", *flags])
    assert named_models(settings) == {
        "mine": "runs/mine",
        "small": "runs/small/model",
        "big": "gs://bucket/runs/parent",
        "x": "/data/lr=3/x",
    }


def test_models_of_one_name_are_refused(models: Path):
    flags = ["--serve.beside", f"{models}/small", f"{models}/small"]
    with pytest.raises(ConfigError, match="'small'"):
        jobs.serve.JOB.execute(jobs.serve.JOB.parse([f"{models}/parent", *flags]))


def test_a_port_in_use_is_said_before_ray_starts(models: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        settings = jobs.serve.JOB.parse([f"{models}/parent", *FLAGS, "--serve.port", port])
        with pytest.raises(ConfigError, match=f"--serve.port {port} cannot be used"):
            jobs.serve.JOB.execute(settings)


def test_a_model_that_was_not_exported_is_refused_before_ray_starts(models: Path):
    settings = jobs.serve.JOB.parse([f"{models}/parent", *FLAGS, "--serve.backend", "int8"])
    with pytest.raises(ModelError, match="onnx/model-int8.onnx") as refused:
        jobs.serve.JOB.execute(settings)
    assert "make export" in refused.value.remedy


@pytest.mark.usefixtures("ray_session")
def test_answers_of_two_models_and_a_replica_that_is_killed_under_load(models: Path):
    from ray import serve

    flags = [*FLAGS, "--serve.beside", f"twice={models}/small", "--serve.replicas", "2"]
    settings = jobs.serve.JOB.parse([f"{models}/parent", *flags])
    with running.started(settings) as (port, _):
        for path, name in (("/answer", "parent"), ("/models/twice/answer", "small")):
            answerer = Answerer(f"{models}/{name}", precision="fp32")
            expected = answerer(**ASKED, max_seq_len=112, doc_stride=32)
            status, found = call(port, path, ASKED)
            assert status == 200 and found["answer"] == expected["answer"]
            assert found["score"] == pytest.approx(expected["score"], abs=1e-4)
        with pytest.raises(ConfigError, match="already"), running.started(settings):
            pass
        with load(port) as asked:
            wait_for_more(asked, 20)
            victim, _ = replicas_of(psutil.Process(), "parent")
            victim.kill()
            wait_for_more(asked, 40)
        assert {each.became for each in asked} == {200}
        assert call(port, "/readyz", method="GET")[0] == 200
    assert not serve.status().applications


@pytest.fixture
def process(models: Path, token_file: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "jobs.serve", f"{models}/parent", *FLAGS]
    with subprocess.Popen(
        [*command, "--serve.token-file", str(token_file)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            found = re.search(r":(\d+)/answer", process.stdout.readline())
            assert found
            yield process, int(found[1])
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow  # a Ray of its own: half a minute
def test_sigterm_under_load_loses_no_request(process: tuple[subprocess.Popen[str], int]):
    command, port = process
    assert call(port, body=ASKED)[0] == 401
    with load(port, num_clients=8, Authorization=f"Bearer {TOKEN}") as asked:
        wait_for_more(asked, 50)
        stopped_s = time.monotonic()
        command.send_signal(signal.SIGTERM)
        assert command.wait(60) == 0
    before = [each.became for each in asked if each.sent_s < stopped_s]
    after = {each.became for each in asked if each.sent_s >= stopped_s}
    assert set(before) == {200} and len(before) >= 50
    assert after <= {200, 503} | CLOSED
