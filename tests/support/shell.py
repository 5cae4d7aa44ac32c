"""The commands in guides, scripts and cluster files, as their own parsers see them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
from ray.scripts.scripts import cli

_RAY = re.compile(
    r"(?<![\w.-])ray (?:start|stop|up|down|dashboard|job|status|exec)\b[^\n;|&#`<>)]*"
)


def ray_commands(text: str) -> Iterator[list[str]]:
    """Yield the words after `ray` of each of its commands in a text, continued lines joined.

    A command's name alone, as in a sentence, is none; `ray stop` needs no more.
    """
    for match in _RAY.finditer(re.sub(r"\\\n\s*", " ", text)):
        words = shlex.split(match[0])[1:]
        if len(words) > 1 or words == ["stop"]:
            yield words


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


def script_jobs(text: str) -> Iterator[tuple[str, list[str]]]:
    """Yield (job, flags) of what a text gives to cluster/slurm.sh, and to SkyPilot as FLAGS."""
    text = re.sub(r"\\\n\s*", " ", text)
    for line in re.findall(r"cluster/slurm\.sh (\w+ --.*)", text):
        job, *flags = shlex.split(line)
        yield job, flags
    for flags in re.findall(r'FLAGS="([^"]*)"', text):
        yield "train", shlex.split(flags)
