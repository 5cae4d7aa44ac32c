"""The files that make clusters: valid where Ray checks them, of the same versions as the lock."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster import gcp, submit
from qa_lib import config
from qa_lib.errors import ConfigError

ROOT = Path(__file__).parents[3]
CLUSTER = ROOT / "cluster"
PROJECT = {"PROJECT": "my-project"}


@pytest.fixture(scope="module")
def cloud() -> dict[str, Any]:
    """The configuration as Ray's launcher reads it: its defaults filled in, its schema applied."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(gcp.cluster_config(PROJECT))
    prepared |= {"cluster_synced_files": [], "file_mounts_sync_continuously": False}
    validate_config(prepared)
    return prepared


def test_ray_accepts_the_cluster_on_google_cloud(cloud):
    workers = cloud["available_node_types"]["t4"]
    assert workers["min_workers"] == 0
    assert workers["resources"] == {"CPU": 8, "GPU": 1}
    assert "GPU" not in cloud["available_node_types"]["head"]["resources"]
    (account,) = workers["node_config"]["serviceAccounts"]
    assert account["email"].startswith("qa-suite-worker@my-project.")
    assert [scope.rpartition("/")[2] for scope in account["scopes"]] == ["cloud-platform"]


def test_its_ports_are_behind_a_token_and_its_dashboard_on_loopback(cloud):
    head = " ".join(cloud["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head
    assert "--env RAY_AUTH_MODE=token" in cloud["docker"]["run_options"]
    assert str(gcp.TOKEN) in cloud["file_mounts"].values()


def test_one_switch_makes_the_workers_spot_machines():
    for environment, kind in ((PROJECT, "STANDARD"), (PROJECT | {"SPOT": "1"}, "SPOT")):
        types = gcp.cluster_config(environment)["available_node_types"]
        found = types["t4"]["node_config"]["scheduling"]
        assert found["provisioningModel"] == kind
        assert found["onHostMaintenance"] == "TERMINATE"
        assert types["head"]["node_config"]["scheduling"]["provisioningModel"] == "STANDARD"


@pytest.mark.parametrize("project", ["", "My Project", "a"])
def test_without_a_project_nothing_is_started(project: str):
    with pytest.raises(ConfigError, match="PROJECT"):
        gcp.cluster_config({"PROJECT": project})


def test_nothing_is_left_to_fill_in():
    assert "${" not in yaml.safe_dump(gcp.cluster_config(PROJECT))


def test_the_recipe_asks_for_what_the_cluster_can_grow_to(cloud):
    wish = config.parse("train", ["--recipe", "gcp"])
    workers = cloud["available_node_types"]["t4"]
    assert wish.cluster.num_nodes == workers["max_workers"] == cloud["max_workers"]
    assert wish.cluster.cpus_per_node == workers["resources"]["CPU"]
    assert wish.cluster.gpus_per_node == workers["resources"]["GPU"]
    assert wish.train.num_workers <= wish.cluster.num_nodes * wish.cluster.gpus_per_node


def test_the_image_is_made_from_the_lock_and_holds_all_that_jobs_import():
    text = (CLUSTER / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases and all(re.search(r":\d", base) for base in bases), "a base without a version"
    assert "pip install --no-cache-dir -r /tmp/requirements.txt" in text
    for room in ("jobs", "qa_lib", "cluster"):
        assert f"\nCOPY {room} {room}\n" in text
    versions = (CLUSTER / f"gke-{kind}.yaml" for kind in ("rayjob", "rayservice"))
    release = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert release
    for path in (*versions, CLUSTER / "Dockerfile"):
        assert set(re.findall(r"qa-suite/qa-suite:(\S+)", path.read_text())) == {release[1]}


def test_a_job_brings_code_only_and_no_secrets(tmp_path):
    """Ray packs a checkout with everything that a user may have in it."""
    from ray._private.runtime_env.packaging import create_package

    assert submit.runtime_env() == {"working_dir": str(ROOT)}
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in (".gitignore", ".rayignore"):
        shutil.copy(ROOT / name, checkout / name)
    folders = [ROOT / name for name in ("jobs", "qa_lib", "cluster")]
    sent = {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in folder.rglob("*.*")
        if path.suffix in (".py", ".yaml", ".parquet")
    }
    kept = {".venv/bin/python", "runs/mine/model", "squad/train.json", "tests/a.py", ".git/config"}
    kept |= {"scripts/corpus/draw.py", ".env", "my-project-key.json", "questions.csv", "mine.py"}
    kept |= {"smaller/model.safetensors", "wheels/ray.whl", "my-runs/a/config.yaml", "notes.md"}
    sent.add("my.yaml")  # a recipe
    for name in sent | kept:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("x")
    create_package(str(checkout), tmp_path / "sent.zip", include_gitignore=True)
    with zipfile.ZipFile(tmp_path / "sent.zip") as package:
        files = {name for name in package.namelist() if not name.endswith("/")}
    assert files - {".gitignore", ".rayignore"} == sent


@pytest.mark.parametrize("name", ["gcp-t4.yaml", "gke-rayjob.yaml", "gke-rayservice.yaml"])
def test_no_file_holds_a_secret(name: str):
    text = (CLUSTER / name).read_text()
    assert not re.search(
        r"(?i)(private_key(?!: \$\{SSH_KEY\})|password|hf_[a-z0-9]{20}|AIza|-----BEGIN)", text
    )


GUIDE = ROOT / "docs" / "guide" / "clusters.md"


def test_the_recipe_and_the_guide_read_what_prepare_writes():
    """`make prepare --run-name squad` fills squad/data."""
    places = [GUIDE, ROOT / "jobs" / "recipes" / "gcp.yaml", CLUSTER / "gke-rayjob.yaml"]
    for path in (*places, CLUSTER / "submit.py"):
        assert set(
            re.findall(r"--data.source gs://\S+?/(squad\S*?)\"?$", path.read_text(), re.M)
        ) <= {"squad/data"}, path
