"""The guide's Python examples and its notebook, run from top to bottom."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs/guide"
SHORT = """--data.train-limit 120 --data.eval-limit 24 --data.max-length 96 --data.stride 24
    --train.max-steps 12 --train.precision fp32 --train.attention sdpa
    --adjust.calibration-windows 16""".split()

ELSEWHERE = {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}

pytestmark = pytest.mark.slow  # each trains, in processes and a Ray of its own


def run(folder: Path, code: str) -> str:
    """Run Python code in a folder, as a file, which processes of Ray can import."""
    (folder / "example.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "example.py"],
        cwd=folder,
        env=os.environ | ELSEWHERE,
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
    """In a kernel of its own, cell by cell, as Jupyter and Colab run it."""
    notebook = nbformat.read(GUIDE / "notebook.ipynb", as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs for cell in cells), "it is kept without outputs"
    given = {"QA_NOTEBOOK_RECIPE": "quickstart", "QA_NOTEBOOK_FLAGS": " ".join(SHORT)}
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute(env=os.environ | ELSEWHERE | given)
    outputs = [output for cell in cells for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "12 optimizer steps" in printed
    assert re.search(r"smaller +F1 \d", printed) and "'answer':" in printed
