"""The documentation keeps its promises: links lead somewhere, and its commands exist."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from qa_lib import config
from qa_lib.config import Settings

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
JOBS = {path.stem for path in (ROOT / "jobs").glob("[a-z]*.py")}
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
GUIDE = [ROOT / "README.md", *sorted(ROOT.glob("docs/guide/*.md"))]
OTHERS_FLAGS = {"--help", "--prune", "--logdir", "--completion"}  # of tyro, conda, tensorboard, qa

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def code_of(page: Path) -> tuple[list[str], str]:
    """Return the lines of a page's code blocks, continuations joined, and the prose between."""
    blocks = page.read_text(encoding="utf-8").split("```")
    lines = [
        line.partition("  #")[0].strip()
        for block in blocks[1::2]
        for line in re.sub(r"\\\n\s*", "", block).splitlines()
    ]
    return lines, "".join(blocks[::2])


def spans_of(page: Path) -> list[str]:
    """Return what stands between backticks in the prose of a page."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", code_of(page)[1])]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", code_of(page)[1], re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_to_files_and_headings(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", code_of(page)[1]):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(target), link


@every_page
def test_prose_and_code_wrap_at_100(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    wide = [line for line in lines if len(line) > 100 and not line.lstrip().startswith("|")]
    assert wide == []


@every_page
def test_make_targets_and_modules_exist(page):
    for command in [*code_of(page)[0], *spans_of(page)]:
        words = command.split()
        if words[:1] == ["make"] and len(words) > 1:
            target = words[1].partition("=")[0]
            if target.startswith("bench-"):
                module = target.removeprefix("bench-")
                assert module == "NAME" or (ROOT / f"benchmarks/{module}.py").exists(), command
            elif target not in ("JOB", "RUN", "RECIPE"):
                assert target in TARGETS, command
        for module in re.findall(r"-m ((?:jobs|benchmarks|cluster)\.\w+)", command):
            assert module == "jobs.JOB" or importlib.util.find_spec(module), command


def is_defined(name: str) -> bool:
    """Whether a dotted name is a module, or defined or imported in one, without importing it."""
    parts = name.split(".")
    for split in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:split])
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if file.exists():
                body, rest = ast.parse(file.read_text(encoding="utf-8")).body, parts[split:]
                while rest:
                    match = [node for node in body if rest[0] in names_of(node)]
                    if not match:
                        return False
                    body, rest = getattr(match[0], "body", []), rest[1:]
                return True
    return False


def names_of(node: ast.stmt) -> set[str]:
    """Return the names that a statement defines or imports."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


@pytest.mark.parametrize("page", [*GUIDE, ROOT / "docs/design/walk.md"], ids=lambda page: page.stem)
def test_names_of_the_library_exist(page):
    for name in re.findall(r"`((?:qa_lib|jobs)\.[\w.]+)`", code_of(page)[1]):
        assert is_defined(name), name


def job_commands() -> Iterator[tuple[str, str, list[str]]]:
    """Yield (command, job, flags) for every job in the README's and the guide's code blocks."""
    for page in GUIDE:
        for line in code_of(page)[0]:
            if not line.startswith("make "):
                continue
            words = shlex.split(line)
            given = dict(word.split("=", 1) for word in words[1:] if "=" in word)
            job = given.get("JOB", words[1])
            if job in JOBS:
                flags = shlex.split(given.get("ARGS", ""))
                for name, flag in (
                    ("RECIPE", "--recipe"),
                    ("RUN", "--model.name"),
                    ("RUNS", "--compare.runs"),
                ):
                    if name in given:
                        flags += [flag, *given[name].split()]
                yield line, job, flags


COMMANDS = list(dict.fromkeys((line, job, tuple(flags)) for line, job, flags in job_commands()))


@pytest.mark.parametrize("line, job, flags", COMMANDS, ids=[line for line, _, _ in COMMANDS])
def test_commands_of_readme_and_guide_parse(line, job, flags):
    """Recipes, flags, values and the rules between them hold."""
    if "--help" in flags:
        return
    config.parse(job, list(flags))


def flags_of(model: type[BaseModel] = Settings, prefix: str = "--") -> Iterator[str]:
    """Yield every flag of the settings tree."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from flags_of(kind, f"{prefix}{name.replace('_', '-')}.")
        else:
            yield f"{prefix}{name.replace('_', '-')}"


@pytest.mark.parametrize("page", GUIDE, ids=lambda page: page.name)
def test_flags_named_in_prose_exist(page):
    known = {*flags_of(), *OTHERS_FLAGS}
    for span in spans_of(page):
        for flag in re.findall(r"(?:^| )(--[a-z][\w.-]*)", span):
            assert flag in known or flag.replace(".no-", ".") in known, span


def test_the_readme_is_short_and_begins_with_what_works():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 700
    commands = [line for line, *_ in COMMANDS]
    assert commands[0] == "make train"


def test_every_benchmark_of_the_index_has_a_page_and_a_command():
    pages = set((ROOT / "docs/results").glob("*.md")) - {ROOT / "docs/results/README.md"}
    index = (ROOT / "docs/results/README.md").read_text(encoding="utf-8")
    for page in pages:
        assert f"]({page.name})" in index, page.name
        text = page.read_text(encoding="utf-8")
        assert re.search(r"20\d\d-\d\d-\d\d", text), f"{page.name} has no date"
        assert re.search(r"\bmake |python -m ", text), f"{page.name} has no command"


def test_every_decision_is_in_the_index():
    index = (ROOT / "docs/design/README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs/design").glob("20*.md"):
        assert f"]({page.name})" in index and page.name[:10] in page.read_text(encoding="utf-8")
