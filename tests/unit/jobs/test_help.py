"""The help of a job: the flags that matter first, in short, then all of them."""

from __future__ import annotations

import importlib

import pytest

JOBS = "train adjust tune evaluate answer demo serve export push prepare".split()


@pytest.mark.parametrize("name", JOBS)
def test_the_help_begins_with_the_flags_that_matter(name, capsys):
    job = importlib.import_module(f"jobs.{name}").JOB
    with pytest.raises(SystemExit) as ended:
        job.parse(["--help"])
    assert ended.value.code == 0
    first, _, rest = capsys.readouterr().out.partition("all flags, by group:")
    flags = [line.split()[0] for line in first.splitlines() if line.startswith("  --")]
    assert flags[0] == "--recipe" and len(set(flags)) == len(flags) <= 20
    assert ("--run-name" in flags) == job.has_run_folder
    assert all(flag in rest for flag in flags)
    assert max(map(len, first.splitlines())) <= 100
