"""Start and end the cluster of gcp-t4.yaml; thin over `ray up`, `ray dashboard` and `ray down`.

    PROJECT=my-project python -m cluster.gcp up      # make cluster-up
    PROJECT=my-project python -m cluster.gcp down    # make cluster-down

From the environment: PROJECT; REGION (us-central1), ZONE (a), IMAGE (by the version in
pyproject.toml), SPOT=1 for spot machines. What was filled in stands in
~/.cache/qa-suite/gcp-t4.yaml.
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

from qa_lib.errors import EXIT_USER_ERROR, ConfigError, UserError

HERE = Path(__file__).resolve().parent
# Its driver (580) runs CUDA 13, for which the locked torch is built.
MACHINE_IMAGE = (
    "projects/deeplearning-platform-release/global/images/family/"
    "common-cu129-ubuntu-2204-nvidia-580"
)
TOKEN = Path("~/.ray/auth_token").expanduser()

_PROJECT = r"[a-z][a-z0-9-]{4,28}[a-z0-9]"


def filled_in(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the cluster's configuration with what the user's environment says.

    Raises:
        ConfigError: PROJECT is missing, or no such project can exist.
    """
    name = environment.get("PROJECT", "")
    if not re.fullmatch(_PROJECT, name):
        raise ConfigError(
            f"PROJECT is {name!r}, which is no id of a project." if name else "PROJECT is not set.",
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
    found: dict[str, Any] = yaml.safe_load(Template(body).safe_substitute(values))
    return found


def main() -> None:
    """Do what the command line says; exit with `ray`'s code."""
    try:
        action = sys.argv[1] if len(sys.argv) > 1 else ""
        if action not in ("up", "down", "dashboard"):
            raise ConfigError(
                f"{action or 'nothing'} cannot be done.", "Say up, dashboard or down."
            )
        sys.exit(run(action))
    except UserError as error:
        print(f"error: {error.problem}\n  {error.remedy}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def run(action: str) -> int:
    """Call `ray up`, `ray dashboard` or `ray down` with the filled-in configuration."""
    config = filled_in(os.environ)
    if importlib.util.find_spec("googleapiclient") is None:
        raise ConfigError(
            "Ray's launcher needs Google's API client, which is not part of the environment.",
            f"Run `{sys.executable} -m pip install google-api-python-client`, once.",
        )
    path = Path("~/.cache/qa-suite/gcp-t4.yaml").expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    ray = str(Path(sys.executable).parent / "ray")
    os.environ["RAY_AUTH_MODE"] = "token"
    if not TOKEN.exists():
        subprocess.run([ray, "get-auth-token", "--generate"], check=True, stdout=subprocess.DEVNULL)
    if action == "dashboard":
        return subprocess.run([ray, "dashboard", str(path)]).returncode
    code = subprocess.run([ray, action, "--yes", str(path)]).returncode
    if action == "up" and code == 0:
        print(
            "The head is up. In another terminal `make cluster-dashboard` holds the tunnel that\n"
            f"`make submit` uses; RAY_AUTH_MODE=token, the token is in {TOKEN}.\n"
            "The head costs money until `make cluster-down`."
        )
    return code


if __name__ == "__main__":
    main()
