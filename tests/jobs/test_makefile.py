"""The Makefile's promises: what set-up makes, repairs and refuses, and how a job is run.

Set-up runs for real, in a copy of the checkout whose lock holds nothing to download.
"""

from __future__ import annotations

import http.server
import io
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INTERPRETER = sys._base_executable  # what .venv itself was made from
# As Debian's Python without python3-venv: `venv` stops where it wants to install pip. The tests use
# it wherever they can, because virtualenv, the way out, takes a tenth of the time of ensurepip.
DEBIAN = "./python-of-debian"

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")


def executable(path: Path, script: str) -> str:
    """Write a script for sh, and return its path."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout whose lock is empty and whose one job echoes and exits with 3."""
    for name in ("Makefile", "environment.yml", "scripts/setup.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "requirements.txt").write_text("# a lock\n")
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/echo.py").write_text("import sys\nprint(sys.argv[1:])\nsys.exit(3)\n")
    executable(
        tmp_path / DEBIAN,
        f"""
        if [ "$*" = "-m venv .venv" ]; then {INTERPRETER} -m venv --without-pip .venv; exit 1; fi
        exec {sys.executable} "$@" """,  # this one has virtualenv
    )
    return tmp_path


def make(checkout: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run make as from a shell in which no environment is activated."""
    inherited = {
        name: os.environ[name] for name in ("HOME", "PATH", "TMPDIR") if name in os.environ
    }
    return subprocess.run(
        ["make", *words],
        cwd=checkout,
        env=inherited | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def set_up(checkout: Path, python: str = DEBIAN) -> None:
    """Run `make setup`, and check that it leaves an environment with pip."""
    result = make(checkout, "setup", f"PYTHON={python}")
    assert result.returncode == 0, result.stderr
    subprocess.run([checkout / ".venv/bin/python", "-m", "pip", "--version"], check=True)
    lock = "requirements.txt"
    assert (checkout / ".venv" / lock).read_text() == (checkout / lock).read_text()


def mark(checkout: Path) -> Path:
    """Leave a file in .venv: gone once .venv is built anew."""
    path = checkout / ".venv/mark"
    path.touch()
    return path


def test_help_lists_every_job_and_every_other_target() -> None:
    listed = re.findall(r"^([a-z][a-z-]*) +\S", make(ROOT, "help").stdout, re.MULTILINE)
    jobs = [path.stem for path in (ROOT / "jobs").glob("[a-z]*.py")]
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = " ".join(phony).replace("$(JOBS) ", "").split()
    assert sorted(listed) == sorted([*jobs, *targets])


@pytest.mark.parametrize(
    "python",
    [
        # What `make test` itself began with.
        pytest.param(INTERPRETER, id="venv", marks=pytest.mark.slow),
        pytest.param(DEBIAN, id="no ensurepip"),
    ],
)
def test_set_up_does_nothing_the_second_time(checkout: Path, python: str) -> None:
    set_up(checkout, python)
    kept = mark(checkout)
    result = make(checkout, "setup", f"PYTHON={python}")
    assert "Installing" not in result.stdout
    assert kept.exists()
    assert make(checkout, "setup", ENV="production").returncode == 0, "ENV of the shell, not ours"


@pytest.mark.parametrize(
    "fault",
    ["interrupted", pytest.param("lock changed", marks=pytest.mark.slow), "interpreter gone"],
)
def test_set_up_builds_anew_what_it_cannot_trust(checkout: Path, fault: str) -> None:
    set_up(checkout)
    python, stamp, doubtful = checkout / ".venv/bin/python", "requirements.txt", mark(checkout)
    if fault == "interrupted":
        (checkout / ".venv" / stamp).write_text("")  # as while pip is at work
    elif fault == "lock changed":
        (checkout / ".venv" / stamp).write_text("# the lock of last week\n")
    else:
        python.unlink()
        python.symlink_to("/nowhere/python3")
    set_up(checkout)
    assert not doubtful.exists()


def test_set_up_fills_an_environment_made_by_hand_and_never_deletes_it(checkout: Path) -> None:
    subprocess.run([sys.executable, "-m", "virtualenv", checkout / ".venv"], check=True)
    kept = mark(checkout)
    set_up(checkout)
    (checkout / "requirements.txt").write_text("# another lock\n")
    set_up(checkout)
    assert kept.exists()


def wheel_of(name: str) -> bytes:
    """Return a wheel that holds one empty module."""
    about = f"{name}-1.0.dist-info"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")
    return content.getvalue()


class CpuIndex(http.server.BaseHTTPRequestHandler):
    """An index that has one package, and says that it has torch."""

    def do_GET(self) -> None:
        pages = {
            "/cpu/torch/": b"",
            "/cpu/only-there/": b'<a href="only_there-1.0-py3-none-any.whl">it</a>',
            "/cpu/only-there/only_there-1.0-py3-none-any.whl": wheel_of("only_there"),
        }
        page = pages.get(self.path)
        self.send_response(404 if page is None else 200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(page or b"")

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.skipif(Path("/proc/driver/nvidia/version").exists(), reason="a GPU takes CUDA's build")
def test_set_up_takes_torch_from_the_index_of_cpu_builds_where_it_answers(checkout: Path) -> None:
    (checkout / "requirements.txt").write_text("only-there==1.0\n")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), CpuIndex) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}"
        places = {"TORCH_INDEX": f"{here}/cpu", "PIP_INDEX_URL": here}
        places["PIP_CONFIG_FILE"] = "/dev/null"
        done = make(checkout, "setup", f"PYTHON={DEBIAN}", **places)
        server.shutdown()
    assert f"torch for the CPU, from {here}/cpu" in done.stdout, done.stderr
    subprocess.run([checkout / ".venv/bin/python", "-c", "import only_there"], check=True)
    (checkout / "requirements.txt").write_text("# a lock\n")
    assert "does not answer" in make(checkout, "setup", f"PYTHON={DEBIAN}", **places).stdout


def test_another_build_of_torch_is_installed_where_it_is_asked_for_and_a_typo_costs_nothing(
    checkout: Path,
) -> None:
    python = f"PYTHON={DEBIAN}"
    make(checkout, "setup", python, "TORCH=pypi")
    kept = mark(checkout)
    for asked in ([], ["TORCH=pypi"], ["TORCH=rocm"]):
        done = make(checkout, "setup", python, *asked)
        assert done.returncode == (2 if "TORCH=rocm" in asked else 0) and kept.exists()
    (checkout / "requirements.txt").write_text("# a newer lock\n")
    done = make(checkout, "setup", python)
    assert not kept.exists() and "torch" not in done.stdout, "a build was chosen anew"
    kept = mark(checkout)
    assert "torch for the CPU" in make(checkout, "setup", python, "TORCH=cpu").stdout
    assert not kept.exists()


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"PYTHON": "./none"}, "PYTHON=./none is Python ''"),
        ({"PYTHON": "./old"}, "is Python '3.9.18', and this project needs one of 3.11 3.12"),
        ({"PYTHON": "./bare"}, "sudo apt install python3.11-venv"),
        ({"ENV": "conda"}, "no conda environment is activated"),
        ({"ENV": "conda", "CONDA_PREFIX": "base"}, "base, which belongs to conda itself"),
        ({"ENV": "conda", "CONDA_PREFIX": "empty"}, "conda env update -f environment.yml --prune"),
        ({"ENV": "poetry"}, "ENV=poetry is neither venv nor conda"),
        ({"PYTHON": DEBIAN, "TORCH": "rocm"}, "TORCH=rocm is neither cpu nor pypi"),
    ],
)
def test_set_up_says_what_is_wrong(checkout: Path, variables: dict[str, str], words: str) -> None:
    executable(checkout / "old", "echo 3.9.18")
    executable(checkout / "bare", 'if [ "$1" = -c ]; then echo 3.11.2; else exit 1; fi')
    (checkout / "base/condabin").mkdir(parents=True)
    result = make(checkout, "setup", *(f"{name}={value}" for name, value in variables.items()))
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") or "bare" in result.stderr
    assert words in result.stderr


def test_the_activated_conda_environment_is_used_where_it_is_this_projects(checkout: Path) -> None:
    conda = checkout / "conda"
    subprocess.run([sys.executable, "-m", "virtualenv", conda], check=True)  # has bin/python too
    result = make(checkout, "setup", CONDA_PREFIX=str(conda), CONDA_DEFAULT_ENV="qa-suite")
    assert result.returncode == 0, result.stderr
    assert not (checkout / ".venv").exists()
    assert (conda / "qa-suite-requirements.txt").read_text() == "# a lock\n"
    again = make(checkout, "setup", CONDA_PREFIX=str(conda), ENV="conda")
    assert (again.returncode, again.stdout) == (0, "")


def test_a_job_gets_its_recipe_and_arguments_and_its_exit_code_is_told(checkout: Path) -> None:
    environment = checkout / ".venv"
    subprocess.run([INTERPRETER, "-m", "venv", "--without-pip", environment], check=True)
    shutil.copy(checkout / "requirements.txt", environment)
    result = make(checkout, "echo", "RECIPE=squad", "ARGS=--run-name 'two words'")
    assert "['--recipe', 'squad', '--run-name', 'two words']" in result.stdout
    assert "Error 3" in result.stderr
    assert result.returncode == 2
    result = make(checkout, "echo", "RUN=runs/mine")
    assert "['--model.name', 'runs/mine']" in result.stdout
    assert "[]" in make(checkout, "echo", RUN="of the shell").stdout
    shutil.copy(checkout / "jobs/echo.py", checkout / "jobs/compare.py")
    assert "[]" in make(checkout, "echo", "RUNS=runs/one runs/other").stdout
    assert "[]" in make(checkout, "compare", RUNS="of the shell").stdout
    result = make(checkout, "compare", "RUNS=runs/one runs/other")
    assert "['--compare.runs', 'runs/one', 'runs/other']" in result.stdout


def test_a_submitted_job_is_named_by_what_make_was_given_not_by_the_shell() -> None:
    def command(target: str, *words: str) -> str:
        return make(ROOT, "-n", "-o", "setup", target, *words, ID="x", RUN="y").stdout.strip()

    for target in ("stop", "logs"):
        assert command(target, "RUN=mine").endswith(f"-m cluster.{target} mine")
        assert command(target, "RUN=mine", "ID=raysubmit_1").endswith(" raysubmit_1")
        assert command(target).endswith(f"-m cluster.{target}")
