"""The commands in guides, scripts and cluster files, as their own parsers see them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
from ray.scripts.scripts import cli

_RAY = re.compile(
    r"(?<![\w/.-])ray (?:start|stop|up|down|dashboard|job|status|exec)\b[^\n;|&#`<>)]*"
)


def ray_commands(text: str) -> Iterator[list[str]]:
    """Yield the words after `ray` of each of its commands in a text, continued lines joined."""
    for match in _RAY.finditer(re.sub(r"\\\n\s*", " ", text)):
        yield shlex.split(match[0])[1:]


def check_ray(words: list[str]) -> None:
    """Let Ray parse the words of a command; nothing runs.

    Raises:
        click.UsageError: Ray has no such command or option.
    """
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"there is no command {name}")
        command = found
    command.make_context(command.name, list(words))


def make_jobs(text: str, jobs: set[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield (job, flags) of each `make JOB ...` and `make submit JOB=...` in a text."""
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["make"]:
            continue
        given = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
        job = given.get("JOB", words[1])
        if job in jobs:
            recipe = ["--recipe", given["RECIPE"]] if "RECIPE" in given else []
            yield job, recipe + shlex.split(given.get("ARGS", ""))
