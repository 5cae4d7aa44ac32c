"""The guide's three commands on a table of one's own: trained, evaluated, answered, and timed.

    python -m benchmarks.own_csv [--flags of jobs.train]

300 rows of question, context and answer of SQuAD's training set ($QA_SQUAD_DIR, see the README;
else of the embedded questions) and 100 others are written as CSV, and the commands of
docs/guide/data.md are run as they stand there.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from benchmarks._squad import REAL_SQUAD
from qa_lib.config import DataSettings
from qa_lib.data import load_questions

ROOT = Path(__file__).resolve().parents[1]
GUIDE = ROOT / "docs" / "guide" / "data.md"
NUM_ROWS = {"questions.csv": 300, "test.csv": 100}


def main(argv: list[str]) -> None:
    """Write the tables, run the commands, and print a line for each."""
    print("| command | seconds |\n|---|---|")
    total = 0.0
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write(folder)
        for job, flags in commands():
            extra = argv if job == "train" else []
            start = time.perf_counter()
            command = [sys.executable, "-m", f"jobs.{job}", *placed(flags, folder), *extra]
            done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr)
            if done.returncode:
                sys.exit(done.returncode)
            seconds = time.perf_counter() - start
            total += seconds
            print(f"| `make {job}` | {seconds:.0f} |", flush=True)
    print(f"| all three | {total:.0f} |")


def commands(guide: str | None = None) -> list[tuple[str, list[str]]]:
    """Return job and flags of each command under the guide's heading about a table of one's own."""
    text = GUIDE.read_text(encoding="utf-8") if guide is None else guide
    block = re.search(r"^## Your own questions.*?```sh\n(.*?)```", text, re.S | re.M)
    assert block is not None, f"{GUIDE} has lost its commands"
    found = []
    for line in block[1].replace("\\\n", " ").splitlines():
        make, job, *settings = shlex.split(line, comments=True)
        assert make == "make", line
        flags = [part.partition("=")[2] for part in settings if part.startswith("ARGS=")]
        found.append((job, shlex.split(flags[0]) if flags else []))
    return found


def placed(flags: list[str], folder: Path) -> list[str]:
    """Return flags whose files and runs lie in a folder."""
    here = [
        str(folder / flag)
        if flag.endswith((".csv", ".jsonl")) or flag.startswith("runs/")
        else flag
        for flag in flags
    ]
    return [*here, "--storage", str(folder / "runs")]


def write(folder: Path) -> None:
    """Write the two tables: different articles, so that nothing is tested that was trained."""
    real = REAL_SQUAD / "train-v1.1.parquet"
    settings = DataSettings(source=str(real) if real.exists() else "embedded", holdout_articles=0.1)
    for name, split in (("questions.csv", "train"), ("test.csv", "holdout")):
        limit = {"train_limit": NUM_ROWS[name], "eval_limit": NUM_ROWS[name]}
        table = load_questions(settings.model_copy(update=limit), split).table  # type: ignore[arg-type]
        texts = pc.struct_field(table["answers"].combine_chunks(), "text")
        columns = {
            "question": table["question"],
            "context": table["context"],
            "answer": pc.list_element(texts, 0),
        }
        pacsv.write_csv(pa.table(columns), folder / name)


if __name__ == "__main__":
    main(sys.argv[1:])
