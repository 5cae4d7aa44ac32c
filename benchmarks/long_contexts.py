"""Documents of 5,000 words: trained on, evaluated and answered; seconds and peak memory.

    python -m benchmarks.long_contexts [--words 5000] [--flags of jobs.train]

A document is paragraphs of SQuAD's development set ($QA_SQUAD_DIR, see the README; else of the
embedded questions), end to end, with questions about them. `jobs.train` takes 20 steps on some and
evaluates others; an `Answerer` in a process of its own answers these one by one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks._squad import REAL_SQUAD
from benchmarks.reading import peak_bytes
from qa_lib.config import DataSettings
from qa_lib.data import load_questions

NUM_DOCUMENTS, NUM_ASKED = 8, 4  # of each of the two files, and questions of a document
STEPS = ["--train.max-steps", "20", "--evaluate.semantic-model", "none"]


def main(argv: list[str]) -> None:
    """Write the documents, run the jobs, and print the figures."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--words", type=int, default=5_000)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    own, flags = parser.parse_known_args(argv)
    if own.measure:
        return print(json.dumps(answered(Path(own.measure))))
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        words = write(folder, own.words)
        sources = ["--data.source", str(folder / "train.jsonl")]
        sources += ["--data.eval-source", str(folder / "dev.jsonl")]
        place = ["--storage", str(folder), "--run-name", "long", *STEPS, *flags]
        command = [sys.executable, "-m", "jobs.train", *sources, *place]
        subprocess.run(command, stdout=sys.stderr, check=True)
        result = json.loads((folder / "long" / "result.json").read_text())
        command = [sys.executable, "-m", "benchmarks.long_contexts", "--measure", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        seconds, peak = json.loads(done.stdout)
    print(
        f"{NUM_DOCUMENTS} documents of {words:,} words, {NUM_ASKED} questions each\n"
        "| | figure |\n|---|---|\n"
        f"| windows of a question | {result['num_windows'] / result['num_questions']:.0f} |\n"
        f"| training, peak of a worker | {result['peak_memory_bytes'] / 1e6:,.0f} MB |\n"
        f"| evaluation, peak of an actor | {result['eval_peak_memory_bytes'] / 1e6:,.0f} MB |\n"
        f"| answering a question, median | {seconds:.2f} s |\n"
        f"| answering, what the process grew by | {peak / 1e6:,.0f} MB |"
    )


def write(folder: Path, num_words: int) -> int:
    """Write train.jsonl and dev.jsonl; return the words of a document, on average."""
    source = str(REAL_SQUAD) if REAL_SQUAD.is_dir() else "embedded"
    rows = load_questions(DataSettings(source=source), "eval").table.to_pylist()
    paragraphs: dict[str, list[dict]] = {}
    for row in rows:
        paragraphs.setdefault(row["context"], []).append(row)
    left, counts = list(paragraphs.items()), []
    for name in ("train.jsonl", "dev.jsonl"):
        lines = []
        for number in range(NUM_DOCUMENTS):
            text, asked = "", []
            while len(text.split()) < num_words:
                context, questions = left.pop()
                left.insert(0, (context, questions))  # so that short sets are never used up
                if len(asked) < NUM_ASKED:
                    asked.append((questions[0], len(text)))
                text += context + "\n"
            counts.append(len(text.split()))
            for row, offset in asked:
                answers = {
                    "text": row["answers"]["text"],
                    "answer_start": [start + offset for start in row["answers"]["answer_start"]],
                }
                id_ = f"{number}-{row['id']}"
                line = {"id": id_, "title": str(number), "context": text, "answers": answers}
                lines.append(json.dumps(line | {"question": row["question"]}) + "\n")
        (folder / name).write_text("".join(lines))
    return round(statistics.mean(counts))


def answered(folder: Path) -> tuple[float, int]:
    """Return the median seconds of a question, and the bytes that answering added."""
    from qa_lib.serving import Answerer

    answerer = Answerer(str(folder / "long"))
    answerer("Who?", "Ann did.")
    before, seconds = peak_bytes(), []
    for line in (folder / "dev.jsonl").read_text().splitlines():
        row = json.loads(line)
        start = time.perf_counter()
        answerer(row["question"], row["context"])
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds), peak_bytes() - before


if __name__ == "__main__":
    main(sys.argv[1:])
