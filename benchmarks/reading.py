"""Reading all of SQuAD's training questions: seconds and memory of each container.

    python -m benchmarks.reading [--data.source FOLDER]

Each file is read, checked and brought to the schema in a process of its own. The CSV has no
offsets: every answer is found in its context. Memory is what the process grew by, at its peak.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from benchmarks._squad import with_real_squad
from qa_lib import config
from qa_lib.config import DataSettings
from qa_lib.data import load_questions

NUM_REPEATS = 3


def main(argv: list[str]) -> None:
    """Write the files, and print a line for each."""
    if argv[:1] == ["--measure"]:
        return print(json.dumps(measure(argv[1])))
    settings = config.parse("prepare", with_real_squad(argv))
    table = load_questions(settings.data, "train").table
    with tempfile.TemporaryDirectory() as folder:
        print(
            "| file | MB | seconds | rows/s | peak MB | times the file |\n|---|---|---|---|---|---|"
        )
        for path in write_files(table, Path(folder)):
            command = [sys.executable, "-m", "benchmarks.reading", "--measure", str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds, peak = json.loads(done.stdout)
            size = path.stat().st_size
            print(
                f"| {path.name} | {size / 1e6:.1f} | {seconds:.2f} | {len(table) / seconds:,.0f} "
                f"| {peak / 1e6:.0f} | {peak / size:.1f} |"
            )


def write_files(table: pa.Table, folder: Path) -> list[Path]:
    """Write the questions in every container and return the files."""
    rows = table.to_pylist()
    articles: dict[str, dict[str, list[dict]]] = {}
    for row in rows:
        golds = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
        answers = [{"text": text, "answer_start": start} for text, start in golds]
        asked = {"id": row["id"], "question": row["question"], "answers": answers}
        articles.setdefault(row["title"], {}).setdefault(row["context"], []).append(asked)
    nested = [
        {"title": title, "paragraphs": [{"context": c, "qas": qas} for c, qas in contexts.items()]}
        for title, contexts in articles.items()
    ]
    (folder / "squad.json").write_text(json.dumps({"version": "1.1", "data": nested}))
    (folder / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(table, folder / "snappy.parquet")
    pq.write_table(table, folder / "plain.parquet", compression="none", use_dictionary=False)
    texts = pc.struct_field(table["answers"].combine_chunks(), "text")
    flat = table.drop_columns("answers").append_column("answer", pc.list_element(texts, 0))
    pacsv.write_csv(flat, folder / "answers.csv")
    names = ("squad.json", "lines.jsonl", "snappy.parquet", "plain.parquet", "answers.csv")
    return [folder / name for name in names]


def measure(path: str) -> tuple[float, int]:
    """Return the least seconds of several readings, and the bytes that the first one added."""
    load_questions(DataSettings(train_limit=100), "train")  # what is imported late
    before = peak_bytes()
    seconds = []
    added = 0
    for _ in range(NUM_REPEATS):
        start = time.perf_counter()
        load_questions(DataSettings(source=path), "train")
        seconds.append(time.perf_counter() - start)
        added = added or peak_bytes() - before
    return min(seconds), added


def peak_bytes() -> int:
    """Return the largest resident memory of this process so far; getrusage's has the parent's."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main(sys.argv[1:])
