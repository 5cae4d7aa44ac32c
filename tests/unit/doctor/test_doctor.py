"""The doctor finds what would fail, by name and with its remedy; each fault is planted."""

from __future__ import annotations

import http.server
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qa_lib import doctor
from qa_lib.config import (
    ClusterSettings,
    DataSettings,
    ModelSettings,
    Settings,
    TrainSettings,
)
from qa_lib.doctor import Finding, NodeFacts
from qa_lib.errors import ResourceError
from qa_lib.machines.ray_session import start_ray
from qa_lib.runs.provenance import versions


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(storage=str(tmp_path / "runs"))


@pytest.fixture
def good(settings: Settings) -> NodeFacts:
    return doctor.probe(settings, "here", "token")


def faults(findings: Iterator[Finding]) -> list[Finding]:
    found = [finding for finding in findings if finding.verdict == "fault"]
    assert all(finding.remedy for finding in found), "a fault without a remedy"
    return found


def test_a_sound_machine_has_no_faults(settings, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert faults(doctor.examine(settings)) == []
    doctor.require(settings)
    assert list(Path(settings.storage).iterdir()) == []


# Facts of a node, changed; what the finding must be called, and what it must say.
PLANTED = {
    "another version": (
        {"versions": versions() | {"deepspeed": "0.1.0"}},
        "versions",
        "deepspeed 0.1.0",
    ),
    "a library missing": (
        {"versions": {k: v for k, v in versions().items() if k != "datasets"}},
        "versions",
        "datasets missing",
    ),
    "bf16 on a T4": ({"gpus": [("Tesla T4", (7, 5))]}, "precision", "7.5"),
    "a driver too old": (
        {"driver_cuda": (12, 4), "torch_cuda": (13, 0), "gpus": [("NVIDIA L4", (8, 9))]},
        "driver",
        "CUDA 12.4",
    ),
    "torch without CUDA": (
        {"driver_cuda": (13, 0), "torch_cuda": None, "gpus": [("NVIDIA L4", (8, 9))]},
        "driver",
        "built for CPUs",
    ),
    "a full disk": ({"free_bytes": 2**20}, "disk", "node-1"),
    "DeepSpeed broken": ({"errors": {"DeepSpeed": ("ImportError: op", "")}}, "DeepSpeed", "op"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_fault_of_one_node_is_named(fault, good, settings):
    changes, what, part = PLANTED[fault]
    wish = settings.model_copy(update={"train": TrainSettings(precision="bf16")})
    broken = replace(good, name="node-1", **changes)
    (found,) = faults(doctor.diagnose(wish, [good, broken]))
    assert found.what == what
    assert part in found.message


def test_patch_levels_of_python_and_builds_of_a_wheel_may_differ(good, settings):
    python, torch = good.versions["python"], good.versions["torch"]
    other = good.versions | {
        "python": python.rpartition(".")[0] + ".99",
        "torch": torch.partition("+")[0] + "+cu130",
    }
    assert faults(doctor.diagnose(settings, [good, replace(good, versions=other)])) == []


def test_more_workers_than_there_can_be_are_named(settings, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    wish = settings.model_copy(
        update={"train": TrainSettings(num_workers=8, global_batch=8, device="cuda")}
    )
    found = doctor.check_resources(wish)
    assert (found.what, found.verdict) == ("resources", "fault")
    grown = wish.model_copy(update={"cluster": ClusterSettings(gpu="T4", num_nodes=8)})
    assert doctor.check_resources(grown).verdict == "fault", "nothing comes to a machine alone"
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    assert doctor.check_resources(grown).verdict == "good"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"model": ModelSettings(name="/none/model")}, "model"),
        ({"data": DataSettings(source="/none/data")}, "data"),
        ({"storage": "{file}/runs"}, "storage"),
    ],
)
@pytest.mark.parametrize("thorough", [True, False])
def test_what_cannot_be_reached_is_named(settings, good, tmp_path, changes, what, thorough):
    (tmp_path / "file").write_text("")
    changes = {
        key: value.format(file=tmp_path / "file") if isinstance(value, str) else value
        for key, value in changes.items()
    }
    wish = settings.model_copy(update=changes)
    there = doctor.probe(wish, "node-1", "token", thorough=thorough)
    found = [finding for finding in faults(doctor.diagnose(wish, [there])) if finding.what == what]
    assert len(found) == 1
    assert "node-1" in found[0].message


def test_a_storage_that_is_each_nodes_own_is_named(settings):
    doctor.probe(settings, "head", "token")
    elsewhere = settings.model_copy(update={"storage": f"{settings.storage}-of-node-1"})
    doctor.probe(elsewhere, "node-1", "token")
    found = doctor.check_shared_storage(settings, "token", ["head", "node-1"])
    assert found.verdict == "fault"
    assert "node-1" in found.message and "head" not in found.message


def test_a_storage_without_room_for_the_checkpoints_is_named(settings, good, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=10 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    (found,) = faults(doctor.diagnose(settings, [good]))
    assert found.what == "disk"
    assert "0.0 GiB free" in found.message
    with pytest.raises(ResourceError, match="disk") as caught:
        doctor.require(settings, scores_answers=True)
    assert "--skip-doctor" in caught.value.remedy
    doctor.require(settings.model_copy(update={"skip_doctor": True}))
    doctor.require(settings)  # of a job that keeps no checkpoints


def test_a_missing_sentence_encoder_is_named_before_the_training(settings, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    evaluate = settings.evaluate.model_copy(update={"semantic_model": "./no-encoder"})
    with pytest.raises(ResourceError, match="no-encoder") as caught:
        doctor.require(settings.model_copy(update={"evaluate": evaluate}), scores_answers=True)
    assert "--evaluate.semantic-model" in caught.value.remedy
    unasked = evaluate.model_copy(update={"semantic_model": None})
    doctor.require(settings.model_copy(update={"evaluate": unasked}), scores_answers=True)
    # A job that scores nothing does not ask for it.
    doctor.require(settings.model_copy(update={"evaluate": evaluate}))


def test_an_address_where_nothing_answers_is_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"http://127.0.0.1:{port}"):
            (found,) = faults(doctor.check_address(address))
            assert str(port) in found.message
    (found,) = faults(doctor.check_address("nonsense"))
    assert "nonsense" in found.message


@pytest.mark.parametrize("left", ["127.0.0.1:9", "nonsense"])
def test_an_address_that_an_earlier_ray_left_behind_is_no_cluster(tmp_path, monkeypatch, left):
    """`ray start` writes the file, and a machine that goes down leaves it."""
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(left)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", set)  # other tests' Ray
    (found,) = faults(doctor.check_address("auto"))
    assert "auto" in found.message
    (tmp_path / "ray" / "ray_current_cluster").unlink()
    (found,) = faults(doctor.check_address("auto"))
    assert "no Ray runs" in found.message


@pytest.mark.parametrize("code", [401, 403])
def test_a_refused_token_is_told_from_silence(code):
    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (found,) = faults(doctor.check_address(f"http://127.0.0.1:{server.server_port}"))
        server.shutdown()
    assert "token" in found.message
    assert "RAY_AUTH_TOKEN_PATH" in found.remedy


def test_a_dashboard_is_not_joined(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    with pytest.raises(Exception, match="make submit"):
        start_ray()
