"""Clusters elsewhere than on Google: valid by what Ray's launcher ships for each provider."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import ray.autoscaler._private._azure
import yaml

ROOT = Path(__file__).parents[3]
CLUSTER = ROOT / "cluster"
PLACES = ("aws", "azure", "on-premises")
ARM = Path(ray.autoscaler._private._azure.__file__).with_name("azure-vm-template.json")


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A configuration as Ray's launcher reads it: its defaults filled in, its schema applied."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(yaml.safe_load((CLUSTER / f"{request.param}.yaml").read_text()))
    validate_config(prepared)
    return prepared


def test_ray_accepts_it_behind_a_token_and_on_loopback(place):
    head = " ".join(place["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in head
    assert "--env RAY_AUTH_MODE=token" in place["docker"]["run_options"]
    assert "/root/.ray/auth_token" in place["file_mounts"]


def test_nothing_is_installed_that_the_image_has(place):
    """Where a file leaves these out, Ray fills in commands that install another Ray."""
    commands = [
        *place["setup_commands"],
        *place["head_setup_commands"],
        *place["worker_setup_commands"],
    ]
    assert not [command for command in commands if "ray" in command or "conda" in command]


def test_its_image_is_of_this_release(place):
    release = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert release and place["docker"]["image"].endswith(f"/qa-suite:{release[1]}")


@pytest.mark.parametrize("name", ["aws", "azure"])
def test_workers_come_and_go_with_the_demand(name: str):
    config = yaml.safe_load((CLUSTER / f"{name}.yaml").read_text())
    workers = config["available_node_types"]["t4"]
    assert workers["min_workers"] == 0 < workers["max_workers"] == config["max_workers"]
    assert workers["resources"] == {"CPU": 8, "GPU": 1}
    assert config["head_node_type"] == "head"
    assert "GPU" not in config["available_node_types"]["head"]["resources"]


def test_rays_template_for_azure_knows_every_parameter():
    kinds = {"string": str, "int": int, "bool": bool, "array": list, "object": dict}
    known = json.loads(ARM.read_text())["parameters"]
    config = yaml.safe_load((CLUSTER / "azure.yaml").read_text())
    for node in config["available_node_types"].values():
        for name, value in node["node_config"]["azure_arm_parameters"].items():
            assert isinstance(value, kinds[known[name]["type"]]), name


def test_all_machines_on_premises_join_and_stay():
    from ray.autoscaler._private.local.config import LOCAL_CLUSTER_NODE_TYPE, prepare_local

    config, _ = prepare_local(yaml.safe_load((CLUSTER / "on-premises.yaml").read_text()))
    node = config["available_node_types"][LOCAL_CLUSTER_NODE_TYPE]
    count = len(config["provider"]["worker_ips"])
    assert node["min_workers"] == node["max_workers"] == config["max_workers"] == count


def test_the_heads_policy_on_aws_lets_it_run_as_the_worker_alone():
    policy = json.loads((CLUSTER / "aws-head-policy.json").read_text())
    allowed = {s["Sid"]: s for s in policy["Statement"]}
    passed = [s for s in allowed.values() if "iam:PassRole" in s["Action"]]
    assert [s["Resource"].rpartition("/")[2] for s in passed] == ["qa-suite-worker"]
    deleting = [s for s in allowed.values() if "ec2:TerminateInstances" in s["Action"]]
    assert all("Condition" in s for s in deleting)
    assert not [a for s in allowed.values() for a in s["Action"] if a.endswith("*")]


def test_skypilot_runs_what_is_there_with_a_secret_of_the_callers():
    task = yaml.safe_load((CLUSTER / "sky.yaml").read_text())
    assert task["secrets"] == {"RAY_AUTH_TOKEN": None}
    assert "cluster/symmetric.sh" in task["run"] and (CLUSTER / "symmetric.sh").exists()
    assert (ROOT / "jobs" / f"{task['envs']['JOB']}.py").exists()
