"""The rooms of qa_lib import one way, and what answers `--help` imports nothing heavy."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
LIBRARY = REPOSITORY / "qa_lib"

# A room imports from rooms before it only.
ORDER = """
    errors config runs machines data windows models training evaluation adjust search
    serving doctor reporting
""".split()

LIGHT = {"errors", "config", "runs", "data"}
HEAVY = {"torch", "ray", "transformers", "deepspeed", "datasets", "pandas", "accelerate"}


def room_of(path: Path) -> str:
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return [path for path in sorted(LIBRARY.rglob("*.py")) if path != LIBRARY / "__init__.py"]


def imported(node: ast.AST, package: str) -> Iterator[str]:
    """Yield the dotted names that an import statement brings in."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = package.split(".")
            base = ".".join([*parents[: len(parents) - node.level + 1], base]).rstrip(".")
        yield from (f"{base}.{alias.name}" for alias in node.names)


def package_of(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).parent.parts)


def at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes that run when a module is imported: no functions, no TYPE_CHECKING."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting += ast.iter_child_nodes(node)


def test_every_room_has_its_place_in_the_order():
    assert {room_of(path) for path in modules()} <= set(ORDER)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(LIBRARY)))
def test_a_room_imports_from_rooms_before_it_only(path: Path):
    room = room_of(path)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        for name in imported(node, package_of(path)):
            parts = name.split(".")
            assert parts[0] not in ("jobs", "tests"), f"{name} is above the library"
            if parts[0] == "qa_lib" and len(parts) > 1 and parts[1] != room:
                assert ORDER.index(parts[1]) < ORDER.index(room), f"{room} imports {name}"


@pytest.mark.parametrize("room", sorted(LIGHT))
def test_light_rooms_import_nothing_heavy_when_imported(room: str):
    for path in modules():
        if room_of(path) == room:
            for node in at_import(ast.parse(path.read_text(encoding="utf-8"))):
                for name in imported(node, package_of(path)):
                    assert name.split(".")[0] not in HEAVY, f"{path.name} imports {name}"


def test_jobs_bring_in_nothing_heavy_even_through_what_they_import():
    jobs = [path.stem for path in (REPOSITORY / "jobs").glob("*.py") if path.stem != "__init__"]
    program = (
        "import importlib, sys\n"
        f"for job in {jobs!r}: importlib.import_module(f'jobs.{{job}}')\n"
        f"print(*sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


OPENS_PICKLES = re.compile(
    r"(torch|np|numpy|joblib|pandas|pd)\.(save|load|read_pickle)"
    r"|.*\b(pickle|cloudpickle|dill|shelve|marshal)\..*|.*\.(save|load)_checkpoint"
)
COMPARED = "benchmarks/checkpoint.py"  # measures DeepSpeed's own way, and reads nothing back
PICKLES = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}


@pytest.mark.parametrize("folder", ["qa_lib", "jobs", "cluster", "benchmarks", "scripts"])
def test_nothing_writes_or_opens_a_pickle(folder):
    for path in sorted((REPOSITORY / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = set(".".join(imported(node, package_of(path))).split("."))
                assert not names & PICKLES, f"{path}:{node.lineno}"
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                is_plain = any(
                    argument.arg == "allow_pickle" and ast.unparse(argument.value) == "False"
                    for argument in node.keywords
                )
                if path == REPOSITORY / COMPARED and called.endswith(".save_checkpoint"):
                    continue
                assert is_plain or not OPENS_PICKLES.fullmatch(called), f"{path}:{node.lineno}"
                assert all(argument.arg != "weights_only" for argument in node.keywords), path
