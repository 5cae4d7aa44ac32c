"""Collect the wheels that a machine without network lacks of the lock, to carry them there.

    python -m pip freeze > freeze.txt                         # on that machine, its own Python
    python scripts/wheels.py freeze.txt wheels                # here: downloads into wheels/
    python scripts/wheels.py --install wheels                 # there: .venv beside what it has

Its own torch stays if it has one (with CUDA; hundreds of megabytes). Development tools that the GPU
suite does not need are left out.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements.txt"
# What a machine keeps at its own version: large, tied to its driver, or never imported there.
KEPT = ("torch", "triton", "nvidia-", "cuda-", "setuptools", "pip")
UNUSED = """ruff mypy mypy-extensions pre-commit virtualenv nodeenv identify cfgv distlib selenium
    trio trio-websocket outcome wsproto py-rattler types-pyyaml librt ast-serialize
    pysocks""".split()
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (34, 31, 28, 27, 26, 24, 17)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux1_x86_64"]


def pins(text: str) -> dict[str, str]:
    """Return versions by normalised name, of lines NAME==VERSION; "" of lines NAME @ WHERE."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:==([^\s;+]+)| @ )", text, re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def missing(lock: str, freeze: str) -> list[str]:
    """Return what the lock names and the machine lacks or has at another version."""
    there = pins(freeze)
    return [
        f"{name}=={version}"
        for name, version in pins(lock).items()
        if there.get(name) != version
        and name not in UNUSED
        and not (name in there and name.startswith(KEPT))
    ]


def download(names: list[str], folder: Path, python: str) -> None:
    """Download wheels for a Linux machine with this Python; make those that have only a source."""
    folder.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip"]
    target = ["--python-version", python, "--implementation", "cp", "--only-binary=:all:"]
    target += [word for name in PLATFORMS for word in ("--platform", name)]
    for name in names:
        command = [*pip, "download", "--quiet", "--no-deps", "--dest", str(folder)]
        if subprocess.run([*command, *target, name]).returncode == 0:
            continue
        made = [*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), name]
        subprocess.run(made, check=True)
    size = sum(path.stat().st_size for path in folder.glob("*.whl"))
    print(f"{len(list(folder.glob('*.whl')))} wheels, {size / 2**20:.0f} MiB in {folder}")


def install(folder: Path) -> None:
    """Make .venv over this Python's own packages, and install the wheels into it."""
    venv = ROOT / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", str(venv)], check=True)
    wheels = [str(path) for path in sorted(folder.glob("*.whl"))]
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--no-deps", *wheels], check=True)
    # `make` takes the environment for complete where this is the lock.
    (venv / "requirements.txt").write_text(LOCK.read_text(encoding="utf-8"), encoding="utf-8")


def main() -> None:
    """Download or install."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("freeze", type=Path, nargs="?", help="`pip freeze` of that machine")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python", default="3.12", help="its Python")
    parser.add_argument("--install", action="store_true", help="install the folder's wheels here")
    options = parser.parse_args()
    if options.install:
        return install(options.folder)
    if options.freeze is None:
        parser.error("give the machine's `pip freeze`, then the folder")
    names = missing(LOCK.read_text(encoding="utf-8"), options.freeze.read_text(encoding="utf-8"))
    download(names, options.folder, options.python)


if __name__ == "__main__":
    main()
