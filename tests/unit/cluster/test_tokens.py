"""The token of a cluster: readable by its owner only, from its creation on."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import submit, tokens
from qa_lib.errors import ConfigError

ROOT = Path(__file__).parents[3]


def test_the_command_refuses_a_token_that_is_there(tmp_path: Path):
    for code in (0, 2):
        done = subprocess.run(
            [sys.executable, "-m", "cluster.tokens", str(tmp_path / "token")],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == code and "Traceback" not in done.stderr
    assert "already" in done.stderr


def test_a_new_token_is_private_whatever_the_umask(tmp_path: Path):
    path = tmp_path / "ray" / "auth_token"
    before = os.umask(0)
    try:
        tokens.create(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text()) == 64
    tokens.check(path)
    with pytest.raises(ConfigError, match="token in .* already"):
        tokens.create(path)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o620, 0o604])
def test_a_token_that_others_reach_is_refused_before_it_is_used(tmp_path, monkeypatch, mode):
    path = tmp_path / "auth_token"
    path.write_text("a" * 64)
    path.chmod(mode)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match=f"{mode:04o}") as caught:
        submit.connect()
    assert f"chmod 600 {path}" in caught.value.remedy


def test_cluster_up_refuses_an_open_token_and_makes_a_private_one(tmp_path: Path):
    """The real command, with a `ray` and a Google client that do nothing."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "ray").write_text(f"#!/bin/sh\necho called >> {tmp_path}/ray.log\n")
    (binaries / "ray").chmod(0o755)
    (tmp_path / "googleapiclient.py").write_text("")
    keys = {"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}
    (tmp_path / "google.json").write_text(json.dumps(keys))
    program = (
        f"import sys; sys.executable = {str(binaries / 'python')!r}\n"
        "sys.argv = ['gcp', 'up']\nfrom cluster import gcp\n"
        "gcp._check_credentials = lambda: None  # which asks Google\ngcp.main()"
    )
    environment = os.environ | {
        "HOME": str(tmp_path),
        "PROJECT": "my-project",
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "google.json"),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}",
    }

    def up() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )

    token = tmp_path / ".ray" / "auth_token"
    assert up().returncode == 0
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    token.chmod(0o644)
    calls = (tmp_path / "ray.log").read_text()
    refused = up()
    assert refused.returncode == 2
    assert "0644" in refused.stderr and "Traceback" not in refused.stderr
    assert (tmp_path / "ray.log").read_text() == calls
