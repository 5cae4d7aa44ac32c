"""Resolve pyproject.toml into requirements.txt, the exact lock; prints what changed.

    make lock                   # keeps every pin that still fits
    make lock ARGS=--upgrade    # newest versions that fit

Resolve on the oldest supported Python: what it can run, the newer ones can, not the reverse.
Nothing is installed. The lock is of no platform: the CUDA libraries are left to PyTorch itself,
which pins them exactly where it needs them, and a version's local part (``+cpu``) is dropped.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.txt"
HEADER = """\
# The exact lock of pyproject.toml, development tools included. Written by `make lock`, not by hand.
"""
FROM_TORCH = re.compile(r"(nvidia|cuda)-.*|triton")


def resolve(requirements: list[str], constraints: Path | None) -> dict[str, str]:
    """Ask pip for the versions that it would install here.

    Args:
        requirements: PEP 508 requirements.
        constraints: A lock whose pins are to be kept, or None for the newest that fit.

    Returns:
        Normalised distribution names (PEP 503) to versions without local parts, sorted by name.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    command += ["--report", "-", *(["--constraint", str(constraints)] if constraints else [])]
    report = subprocess.run([*command, *requirements], check=True, stdout=subprocess.PIPE)
    found = {}
    for item in json.loads(report.stdout)["install"]:
        name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
        if not FROM_TORCH.fullmatch(name):
            found[name] = item["metadata"]["version"].partition("+")[0]
    return dict(sorted(found.items()))


def main() -> None:
    """Write the lock."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--upgrade", action="store_true", help="do not keep the present pins")
    upgrade = parser.parse_args().upgrade
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    requirements = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    keep = LOCK if LOCK.exists() and not upgrade else None
    before = set(LOCK.read_text().splitlines()) if LOCK.exists() else set()
    lines = [f"{name}=={version}" for name, version in resolve(requirements, keep).items()]
    LOCK.write_text(HEADER + "\n".join(lines) + "\n")
    for line in sorted(before.symmetric_difference({*HEADER.splitlines(), *lines})):
        print("+" if line in lines else "-", line)


if __name__ == "__main__":
    main()
