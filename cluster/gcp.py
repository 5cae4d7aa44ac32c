"""Start and delete the cluster of gcp-t4.yaml, with `ray up`, `ray dashboard` and `ray down`.

    PROJECT=my-project python -m cluster.gcp up      # make cluster-up
    PROJECT=my-project python -m cluster.gcp down    # make cluster-down

Read from the environment: PROJECT, and with defaults REGION (us-central1), ZONE (a), IMAGE (by the
version in pyproject.toml), SPOT=1 for spot machines. The configuration that Ray's launcher gets is
kept in ~/.cache/qa-suite/gcp-t4.yaml.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import yaml

from cluster import tokens
from jobs import _runner
from qa_lib.errors import ConfigError

HERE = Path(__file__).resolve().parent
# With driver 580, which runs CUDA 13: the locked torch is built for that.
MACHINE_IMAGE = (
    "projects/deeplearning-platform-release/global/images/family/"
    "common-cu129-ubuntu-2204-nvidia-580"
)
TOKEN = Path(tokens.DEFAULT).expanduser()

_PROJECT = r"[a-z][a-z0-9-]{4,28}[a-z0-9]"


def cluster_config(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the cluster's configuration, filled in from the user's environment variables.

    Raises:
        ConfigError: PROJECT is missing, or is not a valid project id.
    """
    name = environment.get("PROJECT", "")
    if not re.fullmatch(_PROJECT, name):
        raise ConfigError(
            f"PROJECT is {name!r}, which is not a project id." if name else "PROJECT is not set.",
            "Use `make cluster-up PROJECT=my-project`; see docs/guide/clusters.md first.",
        )
    region = environment.get("REGION", "us-central1")
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    image = f"{region}-docker.pkg.dev/{name}/qa-suite/qa-suite"
    values = {
        "PROJECT": name,
        "REGION": region,
        "ZONE": environment.get("ZONE", "a"),
        "IMAGE": environment.get("IMAGE") or f"{image}:{project['version']}",
        "MACHINE_IMAGE": environment.get("MACHINE_IMAGE") or MACHINE_IMAGE,
        "PROVISIONING": "SPOT" if environment.get("SPOT") in ("1", "true", "yes") else "STANDARD",
        "TOKEN_PATH": str(TOKEN),
    }
    text = (HERE / "gcp-t4.yaml").read_text(encoding="utf-8")
    body = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    config: dict[str, Any] = yaml.safe_load(Template(body).safe_substitute(values))
    return config


def main() -> None:
    """Run the action of the command line; exit with `ray`'s code."""
    action = " ".join(sys.argv[1:2])
    sys.exit(_runner.exit_code(lambda: run(action)))


def run(action: str) -> int:
    """Call `ray up`, `ray dashboard` or `ray down` with the configuration; return its exit code.

    Raises:
        ConfigError: There is no such action, PROJECT is not valid, a package is missing, or others
            can read the token.
    """
    if action not in ("up", "down", "dashboard"):
        raise ConfigError(f"{action!r} is not an action.", "Give up, dashboard or down.")
    config = cluster_config(os.environ)
    if importlib.util.find_spec("googleapiclient") is None:
        raise ConfigError(
            "Ray's launcher needs Google's API client, which is not installed.",
            f"Run `{sys.executable} -m pip install google-api-python-client`.",
        )
    path = Path("~/.cache/qa-suite/gcp-t4.yaml").expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    ray = str(Path(sys.executable).parent / "ray")
    os.environ["RAY_AUTH_MODE"] = "token"
    if not TOKEN.exists():
        tokens.create(TOKEN)
    tokens.check(TOKEN)
    if action == "dashboard":
        return subprocess.run([ray, "dashboard", str(path)]).returncode
    code = subprocess.run([ray, action, "--yes", str(path)]).returncode
    if action == "up" and code == 0:
        print(
            "The head is up. In another terminal, `make cluster-dashboard` keeps the tunnel open\n"
            f"that `make submit` uses; RAY_AUTH_MODE=token, the token is in {TOKEN}.\n"
            "The head costs money until `make cluster-down`."
        )
    return code


if __name__ == "__main__":
    main()
