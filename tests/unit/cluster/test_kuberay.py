"""The Kubernetes files, by the schemas of KubeRay and Kubernetes and by KubeRay's own rules."""

from __future__ import annotations

import copy
import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from qa_lib import config

ROOT = Path(__file__).parents[3]
CLUSTER = ROOT / "cluster"
GUIDE = ROOT / "docs" / "guide" / "clusters.md"
SCHEMAS = ROOT / "tests" / "support" / "schemas"
PINS = dict(
    re.findall(r"^([a-z0-9-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
)
FILES = sorted(CLUSTER.glob("gke-*.yaml"))
LONGEST_NAME = {"RayJob": 47, "RayService": 41}  # KubeRay adds suffixes, Kubernetes allows 63


def load(name: str) -> Any:
    return yaml.safe_load((CLUSTER / name).read_text())


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    kuberay, pod = (
        json.loads((SCHEMAS / f"{name}.json").read_text()) for name in ("kuberay", "pod-template")
    )
    resources = {"pod-template.json": Resource(pod, DRAFT202012)}
    return jsonschema.Draft202012Validator(
        kuberay, registry=Registry().with_resources(resources.items())
    )


def faults(validator: jsonschema.Draft202012Validator, body: Any) -> list[str]:
    """Return what the schemas do not allow, with its path."""
    found = []
    for error in validator.iter_errors(body):
        branch = [e for e in error.context or () if e.schema_path[0] == 0]
        if body.get("kind") == "RayService":
            branch = [e for e in error.context or () if e.schema_path[0] == 1]
        found += [f"{e.json_path}: {e.message}" for e in branch or [error]]
    return found


def cluster_of(body: Any) -> Any:
    return body["spec"]["rayClusterSpec" if body["kind"] == "RayJob" else "rayClusterConfig"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_kubernetes_and_kuberay_know_every_field(validator, path: Path):
    assert faults(validator, load(path.name)) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda job: job["spec"].update(entryPoint="x"), "entryPoint"),
        (lambda job: job["spec"].update(ttlSecondsAfterFinished="300"), "'300'"),
        (lambda job: cluster_of(job).update(authOptions={"mode": "tokens"}), "tokens"),
        (lambda job: cluster_of(job)["workerGroupSpecs"][0].pop("maxReplicas"), "maxReplicas"),
        (
            lambda job: cluster_of(job)["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
            "0 is not of type 'string'",
        ),
        (
            lambda job: cluster_of(job)["workerGroupSpecs"][0]["template"]["spec"]["containers"][
                0
            ].update(volumeMount=[]),
            "volumeMount",
        ),
    ],
)
def test_the_schemas_know_a_wrong_field(validator, change, says):
    body = copy.deepcopy(load("gke-rayjob.yaml"))
    change(body)
    found = faults(validator, body)
    assert found and says in " ".join(found)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_kuberays_operator_has_no_objection(path: Path):
    """What its validation refuses beyond the schema, and what makes a cluster useless."""
    body = load(path.name)
    assert len(body["metadata"]["name"]) <= LONGEST_NAME[body["kind"]]
    cluster = cluster_of(body)
    assert cluster["rayVersion"] == PINS["ray"]
    assert cluster["authOptions"]["mode"] == "token"  # Ray 2.52 and later
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    images = set()
    for group in groups:
        pod = group["template"]["spec"]
        assert pod.get("restartPolicy", "Never") == "Never"  # autoscaler v2 replaces pods itself
        mounts = {m["name"] for c in pod["containers"] for m in c.get("volumeMounts", ())}
        assert mounts == {volume["name"] for volume in pod.get("volumes", ())}
        for container in pod["containers"]:
            images.add(container["image"])
            # Ray takes a pod's resources from its limits; unequal requests would overbook it.
            assert container["resources"]["limits"] == container["resources"]["requests"]
            names = [port["name"] for port in container.get("ports", ())]
            assert len(names) == len(set(names))
    assert len(images) == 1
    for group in cluster["workerGroupSpecs"]:
        assert 0 <= group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]


@pytest.fixture(scope="module")
def rayjob() -> Any:
    return load("gke-rayjob.yaml")


def test_the_job_ends_with_its_cluster_and_is_not_repeated(rayjob):
    spec = rayjob["spec"]
    assert spec["shutdownAfterJobFinishes"] is True and spec["ttlSecondsAfterFinished"] >= 0
    assert spec["backoffLimit"] == 0
    cluster = spec["rayClusterSpec"]
    assert cluster["enableInTreeAutoscaling"] is True
    (group,) = cluster["workerGroupSpecs"]
    pod = group["template"]["spec"]
    assert pod["nodeSelector"] == {"cloud.google.com/gke-accelerator": "nvidia-tesla-t4"}
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_it_runs_a_command_that_the_jobs_understand(rayjob):
    python, flag, module, *flags = shlex.split(rayjob["spec"]["entrypoint"])
    assert (python, flag, module) == ("python", "-m", "jobs.train")
    wish = config.parse("train", flags)
    (group,) = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert wish.train.num_workers <= group["maxReplicas"]


def test_the_service_has_flags_that_the_job_understands():
    body = load("gke-rayservice.yaml")
    (group,) = cluster_of(body)["workerGroupSpecs"]
    (application,) = yaml.safe_load(body["spec"]["serveConfigV2"])["applications"]
    assert application["import_path"] == "qa_lib.serving.service.deployments:build"
    wish = config.parse("serve", [f"--{key}={value}" for key, value in application["args"].items()])
    assert wish.serve.max_replicas == wish.cluster.num_nodes == group["maxReplicas"]
    (worker,) = group["template"]["spec"]["containers"]
    assert wish.serve.cpus_per_replica == wish.cluster.cpus_per_node
    assert wish.cluster.cpus_per_node == float(worker["resources"]["limits"]["cpu"])
    (mount,) = worker["volumeMounts"]
    assert wish.serve.token_file == f"{mount['mountPath']}/token"


def test_the_pods_fit_the_machines_that_the_guide_makes(rayjob):
    """What Kubernetes leaves of a machine is less than what it has."""
    allocatable = {"e2-standard-8": (7.9, 27), "n1-standard-8": (7.9, 25)}  # CPUs, GiB
    pools = re.findall(r"node-pools create (\w+) .*?--machine-type (\S+)", GUIDE.read_text(), re.S)
    cluster = rayjob["spec"]["rayClusterSpec"]
    autoscaler = cluster["autoscalerOptions"]["resources"]["requests"]
    groups = [("head", cluster["headGroupSpec"]), ("t4", cluster["workerGroupSpecs"][0])]
    assert autoscaler == {"cpu": "500m", "memory": "512Mi"}
    for (pool, machine), (name, group) in zip(pools, groups, strict=True):
        assert pool == name
        needs = group["template"]["spec"]["containers"][0]["resources"]["requests"]
        cpus, gib = allocatable[machine]
        assert float(needs["cpu"]) + 0.5 * (name == "head") <= cpus
        assert float(needs["memory"].removesuffix("Gi")) + 0.5 * (name == "head") <= gib
