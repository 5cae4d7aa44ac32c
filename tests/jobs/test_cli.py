"""Every job's command line: help at once, errors in one message, honest exit codes."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
JOBS = sorted(path.stem for path in (REPOSITORY / "jobs").glob("[a-z]*.py"))


@dataclass
class Done:
    """How a command ended; `cpu_s` is its own computing time, whatever else the machine does."""

    code: int
    stdout: str
    stderr: str
    cpu_s: float


def run(folder: Path, *command: str) -> Done:
    with open(folder / "stdout", "w+") as stdout, open(folder / "stderr", "w+") as stderr:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "100"},
            stdout=stdout,
            stderr=stderr,
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        cpu_s = usage.ru_utime + usage.ru_stime
        return Done(process.returncode, stdout.read(), stderr.read(), cpu_s)


# -- the jobs there are


@pytest.mark.parametrize("job", JOBS)
def test_help_answers_within_three_seconds(tmp_path: Path, job: str):
    done = run(tmp_path, "-m", f"jobs.{job}", "--help")
    assert done.code == 0, done.stderr
    assert "--recipe" in done.stdout
    assert "--train.num-workers" in done.stdout
    assert done.cpu_s < 3.0


@pytest.mark.parametrize("job", JOBS)
def test_wrong_settings_are_reported_together_before_anything_loads(tmp_path: Path, job: str):
    argv = ["--train.epoch", "3", "--data.stride", "384", "--train.learning-rate", "x"]
    done = run(tmp_path, "-m", f"jobs.{job}", *argv, "--storage", str(tmp_path / "runs"))
    assert done.code == 2
    for part in ["perhaps you meant --train.epochs", "data.stride", "train.learning_rate"]:
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert done.cpu_s < 2.0
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("job", JOBS)
def test_a_job_opens_with_the_command_that_runs_it(job: str):
    tree = ast.parse((REPOSITORY / "jobs" / f"{job}.py").read_text(encoding="utf-8"))
    assert re.search(rf"python -m jobs\.{job}\b", ast.get_docstring(tree) or "")


# -- what jobs/_runner.py does with what a job raises

BODIES = {
    "done": "print(settings.seed)",
    "user": "from qa_lib.errors import DataError; raise DataError('Bad row.', 'Mend it.')",
    "bug": "raise ValueError('a bug')",
    "ray_task": """
    from ray.exceptions import RayTaskError
    from qa_lib.errors import DataError
    raise RayTaskError("f", "traceback", DataError("Bad row.", "Mend it.")).as_instanceof_cause()
""",
    "ray_train": """
    from ray.train import WorkerGroupError
    from qa_lib.errors import DataError
    raise WorkerGroupError("failed", {1: DataError("Bad row.", "Mend it.")})
""",
    "caused": """
    from qa_lib.errors import DataError
    try:
        raise DataError("Bad row.", "Mend it.")
    except DataError as error:
        raise RuntimeError("wrapped") from error
""",
    "environment": """
    import os
    for name in ("RAY_USAGE_STATS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
        print(os.environ[name])
""",
    "slow": "import time; print('ready', flush=True); time.sleep(60)",
}


@pytest.fixture
def job_file(tmp_path: Path):
    def write(body: str) -> str:
        path = tmp_path / "job.py"
        path.write_text(
            '"""A job of the tests."""\n\nfrom jobs._runner import Job\n\n\n'
            f"def run(settings):\n    {BODIES[body].strip()}\n\n\n"
            'if __name__ == "__main__":\n    Job("demo", run, has_run_folder=False).main()\n',
            encoding="utf-8",
        )
        return str(path)

    return write


def test_a_job_that_ends_well_exits_0(tmp_path: Path, job_file):
    done = run(tmp_path, job_file("done"), "--seed", "7")
    assert (done.code, done.stdout, done.stderr) == (0, "7\n", "")


@pytest.mark.parametrize("body", ["user", "caused", "ray_task", "ray_train"])
def test_what_a_user_can_fix_exits_2_with_the_remedy_and_no_traceback(
    tmp_path: Path, job_file, body: str
):
    done = run(tmp_path, job_file(body))
    assert (done.code, done.stderr) == (2, "error: Bad row.\n  Mend it.\n")


def test_a_bug_exits_1_with_its_traceback(tmp_path: Path, job_file):
    done = run(tmp_path, job_file("bug"))
    assert done.code == 1
    assert "Traceback" in done.stderr
    assert "ValueError: a bug" in done.stderr


def test_help_opens_with_the_jobs_own_words(tmp_path: Path, job_file):
    assert "A job of the tests." in run(tmp_path, job_file("done"), "--help").stdout


def test_libraries_report_home_only_where_the_user_says_so(tmp_path: Path, job_file, monkeypatch):
    for name in ("RAY_USAGE_STATS_ENABLED", "HF_HUB_DISABLE_TELEMETRY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    assert run(tmp_path, job_file("environment")).stdout.split() == ["0", "1", "0"]


def test_ctrl_c_exits_130_in_one_line(job_file):
    process = subprocess.Popen(
        [sys.executable, job_file("slow")],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores Ctrl-C, and so does all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        start_s = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, stderr) == (130, "interrupted\n")
    assert time.monotonic() - start_s < 10
