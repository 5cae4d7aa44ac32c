"""The guide's Python examples and its notebook, run from top to bottom."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs/guide"
SHORT = """--data.train-limit 120 --data.eval-limit 24 --data.max-length 96 --data.stride 24
    --train.max-steps 12 --train.precision fp32 --train.attention sdpa
    --adjust.calibration-windows 16""".split()

pytestmark = pytest.mark.slow  # each trains, in processes and a Ray of its own


def run(folder: Path, code: str, **environment: str) -> str:
    """Run Python code in a folder, as a file, which processes of Ray can import."""
    (folder / "example.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_examples_of_the_python_page_run(tmp_path: Path):
    page = (GUIDE / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.S)
    assert len(blocks) == 5
    printed = run(tmp_path, "\n".join(blocks))
    assert "200 ['id'" in printed and "windows of" in printed
    assert (tmp_path / "smaller/model.safetensors").is_file()
    assert (tmp_path / "runs/mine/result.json").is_file()


def test_the_notebook_runs(tmp_path: Path):
    notebook = json.loads((GUIDE / "notebook.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] for cell in cells), "it is kept without outputs"
    printed = run(
        tmp_path,
        "\n".join("".join(cell["source"]) for cell in cells),
        QA_NOTEBOOK_RECIPE="quickstart",
        QA_NOTEBOOK_FLAGS=" ".join(SHORT),
    )
    assert "12 optimizer steps" in printed
    assert re.search(r"smaller +F1 \d", printed) and "'answer':" in printed
