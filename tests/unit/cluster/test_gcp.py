"""The cluster on Google Cloud: what Ray's launcher asks Google for, and what `check` finds."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import httplib2
import pytest
import yaml

from cluster import gcp, gcp_check
from qa_lib.errors import ConfigError
from tests.support.google import Answer, Google, faults_of_body

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 ubuntu"
ENVIRONMENT = {"PROJECT": "my-project"}
HEAD, WORKER = (
    f"qa-suite-{kind}@my-project.iam.gserviceaccount.com" for kind in ("head", "worker")
)
DONE = (200, {"name": "operation-1", "status": "DONE"})


@pytest.fixture(scope="module")
def bootstrapped() -> dict[str, Any]:
    """The configuration as `ray up` has it before it asks for a machine."""
    from ray.autoscaler._private.commands import _bootstrap_config

    return _bootstrap_config(gcp.cluster_config(ENVIRONMENT, KEY), no_config_cache=True)


@pytest.fixture
def launcher(bootstrapped, monkeypatch) -> tuple[Any, Google]:
    """Ray's provider for this cluster, with recorded answers for Google's."""
    from ray.autoscaler._private.providers import _get_node_provider

    google = Google({"POST .*/instances$": DONE, "GET .*/operations/": DONE,
                     "GET .*/instances$": (200, {})})  # fmt: skip
    monkeypatch.setattr(httplib2.Http, "request", lambda _, *a, **more: google.request(*a, **more))
    provider = dict(bootstrapped["provider"])
    provider["gcp_credentials"] = {"type": "credentials_token", "credentials": "of-nobody"}
    return _get_node_provider(provider, "qa-suite", use_cache=False), google


@pytest.mark.parametrize(("kind", "account"), [("head", HEAD), ("t4", WORKER)])
def test_ray_asks_google_for_machines_that_google_knows(launcher, bootstrapped, kind, account):
    provider, google = launcher
    node = bootstrapped["available_node_types"][kind]["node_config"]
    tags = {f"ray-{name}": value for name, value in (
        ("node-kind", "head"), ("node-type", "head"), ("node-name", f"ray-{kind}"),
        ("user-node-type", kind), ("launch-config", "a1"), ("node-status", "uninitialized"),
    )}  # fmt: skip
    assert len(provider.create_node(node, tags, 1)) == 1
    bodies = [body for method, _, body in google.requests if method == "POST"]
    assert len(bodies) == 1
    body = bodies[0]
    assert faults_of_body("compute.v1", "Instance", body) == []
    assert [entry["email"] for entry in body["serviceAccounts"]] == [account]
    metadata = {item["key"]: item["value"] for item in body["metadata"]["items"]}
    assert metadata["ssh-keys"] == f"ubuntu:{KEY}"
    assert ("install-nvidia-driver" in metadata) == (kind == "t4")
    assert all("googleapis.com/compute/" in url for _, url, _ in google.requests)


def test_the_validator_knows_a_wrong_body():
    wrong = {"machineType": 4, "scheduling": {"provisioningModel": "CHEAP"}, "acounts": []}
    found = faults_of_body("compute.v1", "Instance", wrong)
    assert [re.search("CHEAP|no field|not a string", fault) is not None for fault in found] == [
        True
    ] * 3


def test_bootstrap_asks_google_for_nothing(monkeypatch):
    """Ray's own would make an account with rights over all machines and buckets."""
    from ray.autoscaler._private.commands import _bootstrap_config

    google = Google({})
    monkeypatch.setattr(httplib2.Http, "request", lambda _, *a, **more: google.request(*a, **more))
    config = _bootstrap_config(gcp.cluster_config(ENVIRONMENT, KEY), no_config_cache=True)
    assert google.requests == []
    assert config["auth"]["ssh_private_key"] == str(gcp.SSH_KEY)


def policy(*bindings: tuple[str, str]) -> Answer:
    return 200, {"bindings": [{"role": r, "members": [f"serviceAccount:{m}"]} for r, m in bindings]}


def project() -> dict[str, Any]:
    """Answers of a project that lacks nothing."""
    role = yaml.safe_load(gcp_check.ROLE_FILE.read_text())
    quotas = {"quotas": [{"metric": "CPUS", "limit": 72}, {"metric": "NVIDIA_T4_GPUS", "limit": 4}]}
    services = [
        {"config": {"name": f"{api}.googleapis.com"}, "state": "ENABLED"} for api in gcp_check.APIS
    ]
    both = lambda role: policy((role, HEAD), (role, WORKER))  # noqa: E731
    return {
        "GET .*services:batchGet": (200, {"services": services}),
        "GET .*/regions/us-central1$": (200, quotas),
        "GET .*compute/v1/projects/my-project$": (
            200, {"quotas": [{"metric": "GPUS_ALL_REGIONS", "limit": 4}]},
        ),
        "GET .*/machineTypes/n1-standard-[48]$": (200, {}),
        "GET .*/acceleratorTypes/nvidia-tesla-t4$": (200, {}),
        "GET .*/images/family/": (200, {"name": "common-cu129-v1"}),
        "POST .*serviceAccounts/qa-suite-worker@.*:getIamPolicy": policy(
            ("roles/iam.serviceAccountUser", HEAD)
        ),
        "GET .*/serviceAccounts/qa-suite-(head|worker)@": (200, {}),
        "GET .*/roles/qaSuiteHead": (200, {"includedPermissions": role["includedPermissions"]}),
        "POST .*projects/my-project:getIamPolicy": policy(
            ("projects/my-project/roles/qaSuiteHead", HEAD)
        ),
        "GET .*/tags/": (200, {}),
        "GET .*/repositories/qa-suite:getIamPolicy": both("roles/artifactregistry.reader"),
        "GET .*/b/my-bucket/iam": both("roles/storage.objectUser"),
        "GET .*/b/my-bucket$": (200, {}),
    }  # fmt: skip


@pytest.fixture(scope="module")
def checked() -> tuple[gcp_check.Project, Google]:
    """A project whose answers a test sets; building the clients takes a second."""
    google = Google({})
    return gcp_check.Project(gcp.cluster_config(ENVIRONMENT), "my-bucket", http=google), google


def findings(checked: tuple[gcp_check.Project, Google], answers: dict[str, Any]) -> list[Any]:
    place, google = checked
    google.answers = answers
    return list(place.findings())


def test_a_complete_project_passes(checked):
    found = findings(checked, project())
    assert [f for f in found if f.verdict != "good"] == []
    assert {f.what for f in found} == {"APIs", "quota", "machines", "accounts", "image", "bucket"}


MISSING = {"error": {"code": 404, "message": "none"}}
FORBIDDEN = {"error": {"code": 403, "message": "denied"}}
DISABLED = {"error": {"code": 403, "message": "This API has not been used, or it is disabled."}}
LACKS = [
    ("services:batchGet", (200, {"services": []}), "fault", "gcloud services enable"),
    (
        "/regions/us-central1$",
        (200, {"quotas": [{"metric": "CPUS", "limit": 8}]}),
        "fault",
        "quotas",
    ),
    ("/acceleratorTypes/", (404, MISSING), "fault", "not found"),
    ("/images/family/", (404, MISSING), "fault", "not found"),
    ("/serviceAccounts/qa-suite-(head|worker)@", (404, MISSING), "fault", "not found"),
    ("/roles/qaSuiteHead", (200, {"includedPermissions": []}), "fault", "roles update"),
    ("projects/my-project:getIamPolicy", policy(), "fault", "qaSuiteHead"),
    ("qa-suite-worker@.*:getIamPolicy", policy(), "fault", "serviceAccountUser"),
    ("/tags/", (404, MISSING), "fault", "not found"),
    ("repositories/qa-suite:getIamPolicy", policy(), "fault", "artifactregistry.reader"),
    ("/b/my-bucket$", (404, MISSING), "fault", "not found"),
    ("/b/my-bucket/iam", policy(), "fault", "storage.objectUser"),
    ("/b/my-bucket/iam", (403, FORBIDDEN), "note", "may not read"),
    ("/b/my-bucket/iam", (403, DISABLED), "fault", "gcloud services enable"),
]


@pytest.mark.parametrize(("url", "answer", "verdict", "says"), LACKS)
def test_what_is_missing_is_told_with_its_remedy(checked, url, answer, verdict, says):
    answers = project()
    (pattern,) = [key for key in answers if key.endswith(url) or key.endswith(url + "$")
                  or url in key]  # fmt: skip
    answers[pattern] = answer
    told = [f for f in findings(checked, answers) if f.verdict != "good"]
    assert told
    assert all(f.verdict == verdict and f.remedy for f in told)
    assert any(says in str(f) for f in told)


def test_check_ends_with_2_where_something_is_missing(checked, monkeypatch, capsys):
    monkeypatch.setattr(gcp_check, "Project", lambda *_: checked[0])
    for answers, code in ((project(), 0), ({}, 2)):
        checked[1].answers = answers
        assert gcp.check(gcp.cluster_config(ENVIRONMENT)) == code
    assert "FAULT" in capsys.readouterr().out


@pytest.mark.parametrize("action", ["check", "up", "down", "dashboard"])
def test_without_credentials_the_remedy_is_told(action, tmp_path, monkeypatch):
    home = {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path), "NO_GCE_CHECK": "true"}
    for name, value in (home | ENVIRONMENT).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(ConfigError) as caught:
        gcp.run(action)
    assert "gcloud auth application-default login" in caught.value.remedy


def test_credentials_that_google_does_not_renew_check_nothing(tmp_path, monkeypatch):
    key = {"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}
    (tmp_path / "key.json").write_text(json.dumps(key))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "key.json"))
    place = "google.oauth2.credentials._GOOGLE_OAUTH2_TOKEN_ENDPOINT"
    monkeypatch.setattr(place, "http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="credentials cannot be used"):
        gcp.run("check")


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """Call no launcher, but record its action and the provider in its configuration."""
    calls: list[tuple[str, dict[str, Any]]] = []

    def run(command: list[str], **_: Any) -> Any:
        written = yaml.safe_load(Path(command[-1]).read_text())
        calls.append((command[1], written["provider"]))
        return subprocess.CompletedProcess(command, 0)

    for name in ("PROJECT", "REGION", "ZONE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", "")  # the launcher's, restored at the end
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(gcp, "TOKEN", tmp_path / "token")
    monkeypatch.setattr(gcp, "_check_credentials", lambda: None)
    monkeypatch.setattr(gcp, "_public_key", lambda: "ssh-ed25519 x")
    monkeypatch.setattr(gcp.subprocess, "run", run)
    return calls


def test_a_cluster_is_deleted_where_it_was_started(launched, monkeypatch):
    """In another zone Ray's launcher finds no machines, and says that all is well."""
    monkeypatch.setenv("PROJECT", "my-project")
    monkeypatch.setenv("REGION", "europe-west4")
    monkeypatch.setenv("ZONE", "europe-west4-b")
    assert gcp.run("up") == 0
    for name in ("REGION", "ZONE"):
        monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match="europe-west4-b of my-project") as caught:
        gcp.run("up")
    assert "make cluster-down PROJECT=my-project" in caught.value.remedy
    assert gcp.run("dashboard") == 0 and gcp.run("down") == 0
    assert [action for action, _ in launched] == ["up", "dashboard", "down"]
    assert {each["availability_zone"] for _, each in launched} == {"europe-west4-b"}
    assert gcp.run("up") == 0
    assert launched[-1][1]["availability_zone"] == "us-central1-a"


def test_a_cluster_elsewhere_does_not_hide_the_one_that_was_started(launched, monkeypatch):
    monkeypatch.setenv("PROJECT", "my-project")
    monkeypatch.setenv("REGION", "europe-west4")
    assert gcp.run("up") == 0
    monkeypatch.delenv("REGION")
    for action in ("dashboard", "down"):
        monkeypatch.setenv("PROJECT", "another-project")
        assert gcp.run(action) == 0
        assert launched[-1][1]["project_id"] == "another-project"
    monkeypatch.setenv("PROJECT", "my-project")
    assert gcp.run("down") == 0
    assert launched[-1][1]["availability_zone"] == "europe-west4-a"


@pytest.mark.parametrize("action", ["up", "down"])
@pytest.mark.parametrize("ends", [1, KeyboardInterrupt()])
def test_a_launch_that_does_not_finish_says_what_may_cost_money(
    launched, monkeypatch, capsys, action, ends
):
    def run(command: list[str], **_: Any) -> Any:
        if isinstance(ends, KeyboardInterrupt):
            raise ends
        return subprocess.CompletedProcess(command, ends)

    monkeypatch.setenv("PROJECT", "my-project")
    monkeypatch.setattr(gcp.subprocess, "run", run)
    with suppress(KeyboardInterrupt):
        assert gcp.run(action) == 1
    assert "make cluster-down PROJECT=my-project" in capsys.readouterr().err


def test_the_key_pair_is_made_once_and_is_private(tmp_path, monkeypatch):
    monkeypatch.setattr(gcp, "SSH_KEY", tmp_path / "ssh" / "key")
    first = gcp._public_key()
    assert first.startswith("ssh-ed25519 ") and first == gcp._public_key()
    assert stat.S_IMODE(os.stat(gcp.SSH_KEY).st_mode) == 0o600
    gcp.SSH_KEY.with_suffix(".pub").unlink()
    assert gcp._public_key().split()[:2] == first.split()[:2]
    gcp.SSH_KEY.with_suffix(".pub").unlink()
    gcp.SSH_KEY.write_text("no key")
    with pytest.raises(ConfigError, match="ssh-keygen cannot use"):
        gcp._public_key()
