"""SQuAD 2.0 end to end: trained with unanswerable questions, a threshold chosen, scored elsewhere.

    python -m benchmarks.unanswerable [FOLDER] [--num-answerable N] [--share S] [--flags of train]

SQuAD 2.0's training set is not needed: a question of SQuAD 1.1 beside another paragraph of its
article, one that does not hold its answer, has none. Half of dev 2.0's articles choose the
threshold of "no answer", the other half is scored. FOLDER (runs/unanswerable) keeps sets and runs.
Needs $QA_SQUAD_DIR (see the README). On two cores some six minutes:

    python -m benchmarks.unanswerable --num-answerable 3000 --eval-questions 1200
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks._squad import REAL_SQUAD

FLAGS = ["--recipe", "squad-cpu", "--data.holdout-articles", "0", "--data.train-limit", "none"]
QUIET = ["--evaluate.semantic-model", "none"]


def main(argv: list[str]) -> None:
    """Write the three sets, train, score the choosing half, then the other with its threshold."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs/unanswerable"))
    parser.add_argument("--num-answerable", type=int, default=8_000)
    parser.add_argument("--share", type=float, default=0.33)
    parser.add_argument("--eval-questions", type=int)
    own, flags = parser.parse_known_args(argv)
    halves = make(own.folder, own.num_answerable, own.share)
    limit = [] if own.eval_questions is None else ["--data.eval-limit", str(own.eval_questions)]
    train(own.folder, flags)
    model = str(own.folder / "model")
    chosen = evaluate(model, halves[0], own.folder / "chosen", limit)
    best = chosen["best_threshold"]
    print("| threshold | EM | F1 | HasAns F1 | NoAns | best possible F1 | calibration error |")
    print("|---" * 7 + "|")
    for threshold in (0.0, best):
        wish = ["--evaluate.no-answer-threshold", str(threshold), *limit]
        result = evaluate(model, halves[1], own.folder / f"scored-at-{threshold:.2f}", wish)
        print(
            f"| {threshold:.2f} | {result['em']:.2f} | {result['f1']:.2f} "
            f"| {result['has_ans_f1']:.2f} | {result['no_ans_f1']:.2f} | {result['best_f1']:.2f} "
            f"| {result['calibration_error']:.3f} |"
        )


def make(folder: Path, num_answerable: int, share: float) -> tuple[Path, Path]:
    """Write the training set and dev 2.0's two halves; return the paths of these."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    table = pq.read_table(REAL_SQUAD / "train-v1.1.parquet")
    rows = np.sort(np.random.default_rng(0).permutation(table.num_rows)[:num_answerable])
    answerable = table.take(pa.array(rows))
    pq.write_table(
        pa.concat_tables([answerable, unanswerable(answerable, table, share)]),
        folder / "data" / "train.parquet",
    )
    dev = pq.read_table(REAL_SQUAD / "dev-v2.0.parquet")
    titles = dev["title"].unique().to_pylist()
    halves = folder / "choose.parquet", folder / "score.parquet"
    for first, path in enumerate(halves):
        pq.write_table(dev.filter(pc.is_in(dev["title"], pa.array(titles[first::2]))), path)
    return halves


def unanswerable(questions: pa.Table, passages: pa.Table, share: float, seed: int = 0) -> pa.Table:
    """Pair questions with other paragraphs of their article that hold none of their answers.

    Args:
        questions: Of the SQuAD schema.
        passages: Where the paragraphs are taken from.
        share: Of the questions, that are paired.
        seed: Of the draws.

    Returns:
        Rows of the same schema, with new ids and no answers; fewer where an article has no such
        paragraph.
    """
    draw = np.random.default_rng(seed)
    pairs = passages.group_by("title").aggregate([("context", "distinct")]).to_pylist()
    contexts = {pair["title"]: pair["context_distinct"] for pair in pairs}
    picked = draw.choice(questions.num_rows, int(share * questions.num_rows), replace=False)
    rows = []
    for row in questions.take(pa.array(np.sort(picked))).to_pylist():
        golds = [text.lower() for text in row["answers"]["text"]]
        others = [
            text
            for text in contexts[row["title"]]
            if text != row["context"] and not any(gold in text.lower() for gold in golds)
        ]
        if others:
            row["context"] = others[draw.integers(len(others))]
            row["id"] += "-elsewhere"
            row["answers"] = {"text": [], "answer_start": []}
            rows.append(row)
    return pa.Table.from_pylist(rows, questions.schema)


def train(folder: Path, flags: list[str]) -> None:
    """Train on the set, without scoring, to the run folder `model`."""
    place = ["--storage", str(folder), "--run-name", "model", "--overwrite"]
    run("train", ["--data.source", str(folder / "data"), *place, *FLAGS, *flags])


def evaluate(model: str, source: Path, place: Path, flags: list[str]) -> dict:
    """Score a model; return the result."""
    placed = ["--storage", str(place.parent), "--run-name", place.name, "--overwrite"]
    run("evaluate", ["--model.name", model, "--data.source", str(source), *placed, *QUIET, *flags])
    return json.loads((place / "result.json").read_text())


def run(job: str, flags: list[str]) -> None:
    """Run a job; its failure is this benchmark's."""
    command = [sys.executable, "-m", f"jobs.{job}", *flags]
    if code := subprocess.run(command, stdout=sys.stderr).returncode:
        sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
