"""Every command in the clusters' guide and files is one that its program understands."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from qa_lib import config
from tests.support import shell

ROOT = Path(__file__).parents[3]
CLUSTER = ROOT / "cluster"
GUIDE = ROOT / "docs" / "guide" / "clusters.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


def strings(body: Any) -> list[str]:
    """Return all strings of a parsed YAML file."""
    if isinstance(body, dict):
        body = list(body.values())
    if isinstance(body, list):
        return [text for item in body for text in strings(item)]
    return [body] if isinstance(body, str) else []


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.split("\n")[0][:40])
def test_a_block_is_shell_and_names_what_exists(block: str):
    ended = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"\bmake ([a-z-]+)", block)) <= set(targets)
    for path in re.findall(r"\bcluster/[\w.-]+", block):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m (cluster\.\w+|jobs\.\w+)", block):
        assert (ROOT / f"{module.replace('.', '/')}.py").exists(), module


@pytest.mark.parametrize("path", sorted(CLUSTER.glob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_shell(path: Path):
    ended = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


TEXTS = {path.name: path.read_text() for path in [GUIDE, *sorted(CLUSTER.glob("*.py"))]} | {
    path.name: "\n".join(strings(yaml.safe_load(path.read_text())))
    for path in sorted(CLUSTER.glob("*.yaml"))
}
COMMANDS = sorted(
    {(name, *words) for name, text in TEXTS.items() for words in shell.ray_commands(text)}
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command)[:60])
def test_ray_parses_its_commands(command: tuple[str, ...]):
    shell.check_ray(list(command[1:]))


def test_the_parser_knows_a_wrong_command():
    assert {"start", "up", "dashboard", "down"} <= {words[1] for words in COMMANDS}
    for wrong in (["start", "--heads"], ["upp", "x.yaml"], ["start", "--port=none"]):
        with pytest.raises(click.UsageError):
            shell.check_ray(wrong)


def test_the_options_of_the_symmetric_run_are_rays():
    text = (CLUSTER / "symmetric.sh").read_text()
    used = re.findall(r"(?<=[\s(])(--[a-z-]+)", re.sub(r"#.*", "", text))
    known = {
        option
        for parameter in click.Context(shell.cli.get_command(None, "start")).command.params
        for option in parameter.opts
    }
    assert len(used) > 8 and set(used) <= known


WISHES = [
    wish
    for text in [*BLOCKS, *(path.read_text() for path in CLUSTER.glob("s*.*"))]
    for wish in shell.script_jobs(re.sub(r"^#(?!!) ?", "", text, flags=re.MULTILINE))
]


@pytest.mark.parametrize("wish", WISHES, ids=lambda wish: " ".join([wish[0], *wish[1]])[:60])
def test_the_jobs_parse_the_flags_that_scripts_get(wish: tuple[str, list[str]]):
    """Flags after `make JOB` are tests/unit/test_docs.py's."""
    job, flags = wish
    config.parse(job, flags)


def test_scripts_are_given_jobs_in_the_guide_and_in_themselves():
    assert len(WISHES) >= 4
