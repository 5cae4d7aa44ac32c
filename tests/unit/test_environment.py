"""pyproject.toml, the lock, environment.yml and the set-up script describe one environment."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import MatchSpec, VersionSpec
from rattler import Version as CondaVersion

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.txt").read_text()
PINS = dict(re.findall(r"^([a-z0-9-]+)==(\S+)$", LOCK, re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RANGES = [
    Requirement(line)
    for line in PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]
]
SUPPORTED = ["3.11", "3.12", "3.13", "3.14"]
FROM_TORCH = re.compile(r"(nvidia|cuda)-.*|triton")  # torch pins them itself, where it needs them


def test_every_line_of_the_lock_is_one_exact_version_for_every_platform() -> None:
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    assert len(lines) == len(PINS), "a path, URL, hash, marker or duplicate is in the lock"
    for name, version in PINS.items():
        assert name == canonicalize_name(name)
        assert Version(version).local is None, f"{name}=={version} is of one platform"
        assert not FROM_TORCH.fullmatch(name), f"{name} belongs to one kind of machine"


@pytest.mark.parametrize("requirement", RANGES, ids=lambda requirement: requirement.name)
def test_the_lock_holds_every_dependency_within_its_range(requirement: Requirement) -> None:
    assert requirement.specifier, "a dependency without a range"
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def imported_packages(folder: Path) -> set[str]:
    """Return the top-level packages that the modules under a folder import, wherever they do."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("folder", ["qa_lib", "jobs", "cluster", "benchmarks", "tests"])
def test_what_is_imported_is_declared(folder: str) -> None:
    """Otherwise it is there only because a dependency happens to bring it."""
    lines = PROJECT["project"]["dependencies"]
    lines = lines + (PROJECT["dependency-groups"]["dev"] if folder == "tests" else [])
    # Their users are told what to install.
    extras = {"cluster": "gcp", "benchmarks": "compare", "qa_lib": "track", "tests": "track"}
    if folder in extras:
        lines = lines + PROJECT["project"]["optional-dependencies"][extras[folder]]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    distributions = importlib.metadata.packages_distributions()
    ours = {path.name for path in ROOT.iterdir()} | {
        path.stem for path in ROOT.glob("tests/**/*.py")
    }
    for package in imported_packages(ROOT / folder) - sys.stdlib_module_names - ours:
        absent = [{"mlflow": "mlflow-skinny"}.get(package, package)]
        names = {canonicalize_name(name) for name in distributions.get(package, absent)}
        assert names & declared, f"{folder} imports {package}, which pyproject.toml does not name"


def closure(python: str) -> dict[str, list[Requirement]]:
    """Return all that the project requires, directly or not, by the distribution's name.

    Read from the metadata of what is installed here, as it applies to Linux and a Python version;
    where another version than the locked one is installed, its requirements are not followed.
    """
    found: dict[str, list[Requirement]] = {}
    todo = list(RANGES)
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        if FROM_TORCH.fullmatch(name) or requirement in found.setdefault(name, []):
            continue
        found[name].append(requirement)
        if importlib.metadata.version(name).partition("+")[0] != PINS.get(name):
            continue
        for line in importlib.metadata.requires(name) or []:
            needed = Requirement(line)
            environments = [
                {"extra": extra, "python_version": python} for extra in {"", *requirement.extras}
            ]
            if needed.marker is None or any(map(needed.marker.evaluate, environments)):
                todo.append(needed)
    return found


@pytest.mark.parametrize("python", SUPPORTED)
def test_nothing_is_left_for_pip_to_choose_on_the_day(python: str) -> None:
    for name, requirements in closure(python).items():
        assert name in PINS, f"{requirements[0]} is not in the lock; run `make lock`"
        for requirement in requirements:
            assert requirement.specifier.contains(PINS[name], prereleases=True), requirement


@pytest.fixture(scope="module")
def installable(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Ask pip for the lock's wheels on every supported Python, a Python for each core at a time."""
    folder = tmp_path_factory.mktemp("wheels")
    # DeepSpeed comes as source, for any Python, and its build needs torch.
    wheels = [line for line in LOCK.splitlines() if not line.startswith(("#", "deepspeed=="))]
    (folder / "lock.txt").write_text("\n".join(wheels))

    def ask(python: str) -> subprocess.CompletedProcess[str]:
        asked = ["--dry-run", "--no-deps", "--only-binary=:all:", "--python-version", python]
        asked += ["--target", str(folder / python), "--ignore-installed", "--quiet"]
        pip = [sys.executable, "-m", "pip", "install", *asked, "-r", str(folder / "lock.txt")]
        return subprocess.run(pip, capture_output=True, text=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(SUPPORTED, pool.map(ask, SUPPORTED), strict=True))


@pytest.mark.slow
@pytest.mark.timeout(600)  # the first waits for all
@pytest.mark.parametrize("python", SUPPORTED)
def test_every_supported_python_has_wheels_of_the_lock(installable: dict[str, Any], python: str):
    result = installable[python]
    if "Failed to establish a new connection" in result.stderr:
        pytest.skip("the package index cannot be reached")
    assert result.returncode == 0, result.stderr


def test_the_lock_holds_nothing_that_nobody_asks_for() -> None:
    asked = set().union(*map(closure, SUPPORTED))
    assert not set(PINS) - asked, "run `make lock`"


def test_conda_brings_the_supported_pythons_and_the_same_lock() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["project"]["name"]
    assert environment["channels"][0] == "conda-forge"
    specs = {}
    for entry in environment["dependencies"]:
        if isinstance(entry, str):
            spec = MatchSpec(entry, strict=True)
            specs[spec.name.normalized] = spec
        else:
            assert entry == {"pip": ["-r requirements.txt"]}
    assert set(specs) == {"python", "pip"}
    conda_range = VersionSpec(specs["python"].version)
    pip_range = SpecifierSet(PROJECT["project"]["requires-python"])
    for minor in ["3.10", *SUPPORTED, "3.15"]:
        assert conda_range.matches(CondaVersion(f"{minor}.7")) is (minor in SUPPORTED)
        assert pip_range.contains(f"{minor}.7") is (minor in SUPPORTED)


def test_the_set_up_script_names_the_supported_pythons() -> None:
    script = (ROOT / "scripts/setup.sh").read_text()
    assert f'\nSUPPORTED="{" ".join(SUPPORTED)}"\n' in script
