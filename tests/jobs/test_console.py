"""The console command `qa`: jobs by name, their exit codes, completion, and `pip install .`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
JOBS = {path.stem for path in (ROOT / "jobs").glob("[a-z]*.py")}


def qa(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the command as the module that the script calls."""
    command = [sys.executable, "-m", "jobs", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_it_lists_every_job_and_names_one_that_was_mistyped():
    listed = qa()
    assert listed.returncode == 0
    assert JOBS <= set(listed.stdout.split())
    wrong = qa("trian")
    assert (wrong.returncode, "Perhaps you meant train." in wrong.stderr) == (2, True)


def test_flags_reach_the_job_and_its_exit_code_comes_back():
    wrong = qa("train", "--train.epochs", "none-at-all")
    assert wrong.returncode == 2
    assert "train.epochs is 'none-at-all'" in wrong.stderr


@pytest.mark.parametrize(
    ("words", "place", "expected"),
    [("qa ex", 1, "export"), ("qa train --train.epo", 2, "--train.epochs"), ("qa train x", 2, "")],
)
def test_bash_completes_jobs_and_flags(words: str, place: int, expected: str):
    last = words.split()[-1]
    script = f"""{qa("--completion").stdout}
        COMP_WORDS=({words}); COMP_CWORD={place}; _qa qa {last}; echo "${{COMPREPLY[@]}}" """
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == expected


@pytest.mark.slow
def test_installed_from_the_checkout_it_needs_nothing_of_it(tmp_path: Path):
    target = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", str(target)]
    subprocess.run([*pip, str(ROOT)], check=True)
    done = subprocess.run(
        [target / "bin/qa", "train", "--dry-run", "json"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "source: embedded" in done.stdout
