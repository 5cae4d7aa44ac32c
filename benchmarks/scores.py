"""What the scores beyond EM and F1 cost, and what they say of published systems.

    python -m benchmarks.scores [--data.source FOLDER]
    python -m benchmarks.scores --model.name runs/mine     # a run that answered these questions

Without a run, the predictions of published systems in FOLDER/predictions are scored, under the
rules of the questions they answer, and their EM and F1 are checked against the official ones.
Prints the scores with their intervals, and the seconds that all of it takes beyond the predictions.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks._squad import with_real_squad
from qa_lib import config, metrics, scores, squad
from qa_lib.config import Settings
from qa_lib.run import RunFolder

# The official scripts' figures.
PUBLISHED = {
    "v1.1-bert-ensemble": ("1.1", 86.2062, 92.1956),
    "v2.0-nlnet": ("2.0", 75.8275, 78.7778),
}


def main(argv: list[str]) -> None:
    """Analyse, and print a line for each system."""
    settings = config.parse("evaluate", with_real_squad(argv))
    if settings.model.name != "embedded":
        show(settings.model.name, *of_run(settings))
        return
    for name, (version, em, f1) in PUBLISHED.items():
        path = Path(settings.data.source) / "predictions" / f"{name}.json"
        if not path.is_file():
            print(f"{name}: no {path}")
            continue
        predictions = metrics.parse_predictions(path.read_bytes(), str(path))
        data = settings.data.model_copy(update={"version": version})
        seconds, result = analysed(settings, squad.load(data, "eval"), predictions, None)
        assert abs(result["em"] - em) < 5e-5 and abs(result["f1"] - f1) < 5e-5, "not as published"
        show(name, seconds, result)


def of_run(settings: Settings) -> tuple[float, dict[str, Any]]:
    """Analyse what a run answered: its predictions.json and answers.parquet."""
    folder = Path(settings.model.name)
    predictions = metrics.parse_predictions((folder / "predictions.json").read_bytes(), str(folder))
    answers = pq.read_table(folder / "answers.parquet")
    questions = squad.load(settings.data, "eval")
    assert answers["id"].to_pylist() == questions.table["id"].to_pylist(), "other questions"
    return analysed(settings, questions, predictions, scores.Decoded(answers, predictions))


def analysed(
    settings: Settings,
    questions: squad.Questions,
    predictions: dict[str, str],
    decoded: scores.Decoded | None,
) -> tuple[float, dict[str, Any]]:
    """Return the seconds beyond the predictions, and the fields of result.json."""
    with tempfile.TemporaryDirectory(prefix="qa-scores-") as folder:
        run = RunFolder(folder, "evaluate")
        started = time.monotonic()
        result = scores.analyse(settings, run, questions, predictions, decoded)
        seconds = time.monotonic() - started
    return seconds, metrics.score(questions.table, predictions).summary() | result


def show(name: str, seconds: float, result: dict[str, Any]) -> None:
    """Print a system's scores, intervals and counts."""
    print(f"{name}: {result['total']:,} questions, analysed in {seconds:.1f} s")
    for score, (low, high) in result["intervals"].items():
        print(f"  {score:<9} {result[score]:.2f}  ({low:.2f} to {high:.2f})")
    for key, value in result.items():
        if key.startswith(("num_right", "calibration", "aurc", "best_")):
            print(f"  {key} {value if isinstance(value, int) else format(value, '.4f')}")


if __name__ == "__main__":
    main(sys.argv[1:])
