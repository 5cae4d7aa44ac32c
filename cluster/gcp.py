"""Start and delete the cluster of gcp-t4.yaml, with `ray up`, `ray dashboard` and `ray down`.

    PROJECT=my-project python -m cluster.gcp check   # make cluster-check: what the project lacks
    PROJECT=my-project python -m cluster.gcp up      # make cluster-up
    PROJECT=my-project python -m cluster.gcp down    # make cluster-down

Read from the environment: PROJECT, and with defaults REGION (us-central1), ZONE (a), SUBNET
(default), IMAGE (by the version in pyproject.toml), SPOT=1 for spot machines; `check` looks at
BUCKET too. The configuration that Ray's launcher gets is kept in ~/.cache/qa-suite/gcp-t4.yaml.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

import yaml

from cluster import gcp_check, tokens
from jobs import _runner
from qa_lib.errors import ConfigError
from qa_lib.runs.storage import first_line

HERE = Path(__file__).resolve().parent
# With driver 580, which runs CUDA 13: the locked torch is built for that.
MACHINE_IMAGE = (
    "projects/deeplearning-platform-release/global/images/family/"
    "common-cu129-ubuntu-2204-nvidia-580"
)
TOKEN = Path(tokens.DEFAULT).expanduser()
SSH_KEY = Path("~/.ssh/qa-suite-gcp").expanduser()

_PROJECT = r"[a-z][a-z0-9-]{4,28}[a-z0-9]"


def cluster_config(environment: Mapping[str, str], public_key: str = "") -> dict[str, Any]:
    """Return the cluster's configuration, filled in from the user's environment variables.

    Args:
        environment: The variables above.
        public_key: SSH key that the machines accept, as in `~/.ssh/*.pub`.

    Raises:
        ConfigError: PROJECT is missing, or is not a valid project id.
    """
    name = environment.get("PROJECT", "")
    if not re.fullmatch(_PROJECT, name):
        raise ConfigError(
            f"PROJECT is {name!r}, which is not a project id." if name else "PROJECT is not set.",
            "Use `make cluster-up PROJECT=my-project`; see docs/guide/clusters.md first.",
        )
    region = environment.get("REGION") or "us-central1"
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    image = f"{region}-docker.pkg.dev/{name}/qa-suite/qa-suite"
    script = (HERE / "prepare-machine.sh").read_text(encoding="utf-8")
    prepare = ["bash", "-c", script, "prepare-machine", f"{region}-docker.pkg.dev"]
    values = {
        "PROJECT": name,
        "REGION": region,
        "ZONE": (environment.get("ZONE") or "a").removeprefix(f"{region}-"),
        "IMAGE": environment.get("IMAGE") or f"{image}:{project['version']}",
        "MACHINE_IMAGE": environment.get("MACHINE_IMAGE") or MACHINE_IMAGE,
        "PROVISIONING": "SPOT" if environment.get("SPOT") in ("1", "true", "yes") else "STANDARD",
        "SUBNET": environment.get("SUBNET") or "default",
        "TOKEN_PATH": str(TOKEN),
        "SSH_KEY": str(SSH_KEY),
        "SSH_PUBLIC_KEY": f"ubuntu:{public_key}",
        "PREPARE_MACHINE": json.dumps(shlex.join(prepare)),  # a JSON string is a YAML scalar
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
    """Check the project, or call `ray` with the configuration; return the exit code.

    Raises:
        ConfigError: There is no such action, PROJECT is not valid, another cluster is up, a package
            or credentials are missing, or others can read the token.
    """
    if action not in ("check", "up", "down", "dashboard"):
        raise ConfigError(f"{action!r} is not an action.", "Give check, up, dashboard or down.")
    written = Path("~/.cache/qa-suite/gcp-t4.yaml").expanduser()
    environment, last = dict(os.environ), _place_of_last(written)
    if action in ("down", "dashboard") and last.get("PROJECT") == environment.get("PROJECT"):
        environment = last | environment
    config = cluster_config(environment)  # before anything is made: PROJECT may be missing
    if action == "up" and last and last != _place_of(config):  # `down` would find one of them
        raise _still_up(last, written)
    if importlib.util.find_spec("googleapiclient") is None:
        raise ConfigError(
            "Ray's launcher needs Google's API client, which is not installed.",
            f"Run `{sys.executable} -m pip install google-api-python-client`.",
        )
    _check_credentials()
    if action == "check":
        return check(config)
    config = cluster_config(environment, _public_key())
    if not TOKEN.exists():
        tokens.create(TOKEN)
    tokens.check(TOKEN)
    if action != "up" and _place_of(config) != last:  # the record of the other one stays
        written = written.with_name("gcp-t4-other.yaml")
    written.parent.mkdir(parents=True, exist_ok=True)
    written.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    ray = str(Path(sys.executable).parent / "ray")
    os.environ["RAY_AUTH_MODE"] = "token"
    # Ray imports cluster.provider here as it does in the image.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")])
    )
    if action == "dashboard":
        return subprocess.run([ray, "dashboard", str(written)]).returncode
    code = _launch([ray, action, "--yes", str(written)], environment["PROJECT"])
    if action == "down" and code == 0:
        written.unlink()
    if action == "up" and code == 0:
        print(
            "The head is up. In another terminal, `make cluster-dashboard` keeps the tunnel open\n"
            f"that `make submit` uses; RAY_AUTH_MODE=token, the token is in {TOKEN}.\n"
            f"The head costs money until `make cluster-down PROJECT={environment['PROJECT']}`."
        )
    return code


def _launch(command: list[str], project: str) -> int:
    """Run `ray up` or `ray down`; say, however it ends too early, that machines may be left."""
    code = None
    try:
        code = subprocess.run(command).returncode
    finally:
        if code != 0:
            print(
                f"`ray {command[1]}` did not finish: machines may be running and cost money until"
                f" `make cluster-down PROJECT={project}` has.",
                file=sys.stderr,
            )
    return code


def _still_up(last: Mapping[str, str], written: Path) -> ConfigError:
    """Return the refusal to start a second cluster, of which only one would be remembered."""
    project = last["PROJECT"]
    return ConfigError(
        f"A cluster in {last['REGION']}-{last['ZONE']} of {project} was started from here, or its"
        " start failed, and it was not deleted.",
        f"Run `make cluster-down PROJECT={project}` first; or remove {written}, if nothing of it"
        " is left.",
    )


def _place_of(config: Mapping[str, Any]) -> dict[str, str]:
    """Return where a configuration's cluster is, as the environment names it."""
    provider = config["provider"]
    region = provider["region"]
    zone = provider["availability_zone"].removeprefix(f"{region}-")
    return {"PROJECT": provider["project_id"], "REGION": region, "ZONE": zone}


def _place_of_last(written: Path) -> dict[str, str]:
    """Return where the cluster is that was started from here; nothing if it was deleted."""
    try:
        return _place_of(yaml.safe_load(written.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return {}


def _check_credentials() -> None:
    """Refuse before Ray's launcher would end with a traceback, and a check would check nothing."""
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    try:
        credentials, _ = google.auth.default(["https://www.googleapis.com/auth/cloud-platform"])
        credentials.refresh(Request())
    except GoogleAuthError as error:
        raise ConfigError(
            f"Google's credentials cannot be used: {first_line(error)}",
            "Run `gcloud auth application-default login`, or correct the key file that "
            "GOOGLE_APPLICATION_CREDENTIALS names; Google must be reachable from here.",
        ) from None


def check(config: Mapping[str, Any]) -> int:
    """Print what the project has and lacks; return 2 where something is missing, else 0."""
    bucket = os.environ.get("BUCKET", "").removeprefix("gs://").partition("/")[0]
    verdicts = []
    for finding in gcp_check.Project(config, bucket).findings():
        print(finding)
        verdicts.append(finding.verdict)
    if not bucket:
        print("note  bucket: not checked; give BUCKET=my-bucket")
    return 2 if "fault" in verdicts else 0


def _public_key() -> str:
    """Return this cluster's public SSH key; make the pair, or its public half, where it is gone."""
    public = SSH_KEY.with_suffix(".pub")
    if not (SSH_KEY.exists() and public.exists()):
        keygen = shutil.which("ssh-keygen")
        if keygen is None:
            raise ConfigError(
                "The machines are reached by SSH, and ssh-keygen is not installed.",
                "Install OpenSSH's client (Debian: apt install openssh-client).",
            )
        SSH_KEY.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if SSH_KEY.exists():
            command = [keygen, "-y", "-P", "", "-f", str(SSH_KEY)]
        else:
            command = [keygen, "-q", "-t", "ed25519", "-N", "", "-C", "ubuntu", "-f", str(SSH_KEY)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise ConfigError(
                f"ssh-keygen cannot use {SSH_KEY}: {made.stderr.strip() or made.returncode}",
                "Mend it or remove it, unless a cluster that is up was started with it.",
            )
        if made.stdout:
            public.write_text(made.stdout, encoding="ascii")
    return public.read_text(encoding="ascii").strip()


if __name__ == "__main__":
    main()
