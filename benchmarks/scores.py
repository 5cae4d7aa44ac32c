"""What the scores beyond EM and F1 cost, and what they say of published systems.

    python -m benchmarks.scores [--data.source FOLDER]
    python -m benchmarks.scores --model.name runs/mine     # a run that answered these questions
    python -m benchmarks.scores --pairs                    # what docs/results/scores.md shows

Without a run, the predictions of published systems in FOLDER/predictions are scored, under the
rules of the questions they answer, and their EM and F1 are checked against the official ones.
Prints the scores with their intervals, the seconds that all of it takes beyond the predictions, and
how many answers each rule of the value reader decides.
With --pairs: how well scores tell right from wrong answers on written pairs, which they get wrong,
and how often intervals cover the true mean of simulated articles.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks import _evidence
from benchmarks._squad import with_real_squad
from qa_lib import config
from qa_lib.config import Settings
from qa_lib.data import Questions, load_questions
from qa_lib.evaluation import analysis, metrics
from qa_lib.evaluation.values.agreement import Verdict
from qa_lib.runs.run_folder import RunFolder

# The official scripts' figures.
PUBLISHED = {
    "v1.1-bert-ensemble": ("1.1", 86.2062, 92.1956),
    "v2.0-nlnet": ("2.0", 75.8275, 78.7778),
}


def main(argv: list[str]) -> None:
    """Analyse, and print a line for each system."""
    if argv == ["--pairs"]:
        show_evidence()
        return
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
        questions = load_questions(data, "eval")
        seconds, result = analysed(settings, questions, predictions, None)
        assert abs(result["em"] - em) < 5e-5 and abs(result["f1"] - f1) < 5e-5, "not as published"
        show(name, seconds, result)
        show_rules(name, wrong_answers(questions, predictions))


def of_run(settings: Settings) -> tuple[float, dict[str, Any]]:
    """Analyse what a run answered: its predictions.json and answers.parquet.

    Under 2.0 rules the run's best spans are needed, which it does not keep.
    """
    folder = Path(settings.model.name)
    predictions = metrics.parse_predictions((folder / "predictions.json").read_bytes(), str(folder))
    answers = pq.read_table(folder / "answers.parquet")
    questions = load_questions(settings.data, "eval")
    assert answers["id"].to_pylist() == questions.table["id"].to_pylist(), "other questions"
    assert not questions.has_unanswerable, (
        "a best threshold is found from every question's best span, and a run keeps final answers: "
        "`python -m jobs.evaluate` finds it"
    )
    return analysed(settings, questions, predictions, analysis.Decoded(answers, None))


def analysed(
    settings: Settings,
    questions: Questions,
    predictions: dict[str, str],
    decoded: analysis.Decoded | None,
) -> tuple[float, dict[str, Any]]:
    """Return the seconds beyond the predictions, and the fields of result.json."""
    with tempfile.TemporaryDirectory(prefix="qa-scores-") as folder:
        run = RunFolder(folder, "evaluate")
        scored = metrics.score(questions.table, predictions)
        started = time.monotonic()
        result = analysis.analyse(settings, run, questions, predictions, scored, decoded)
        seconds = time.monotonic() - started
    return seconds, scored.summary() | result


def show(name: str, seconds: float, result: dict[str, Any]) -> None:
    """Print a system's scores, intervals and counts."""
    print(f"{name}: {result['total']:,} questions, analysed in {seconds:.1f} s")
    for score, (low, high) in result["intervals"].items():
        print(f"  {score:<10} {result[score]:.2f}  ({low:.2f} to {high:.2f})")
    for key, value in result.items():
        if key.startswith(("num_right", "calibration", "aurc", "best_")):
            print(f"  {key} {value if isinstance(value, int) else format(value, '.4f')}")


def wrong_answers(questions: Questions, predictions: dict[str, str]) -> list[tuple[list[str], str]]:
    """Return gold answers and answer where values are asked: no exact match, and neither empty."""
    scored = metrics.score(questions.table, predictions)
    golds = pc.struct_field(questions.table["answers"], "text").to_pylist()
    answers = [predictions.get(key, "") for key in questions.table["id"].to_pylist()]
    rows = np.flatnonzero(scored.em == 0)
    return [(golds[row], answers[row]) for row in rows if golds[row] and answers[row]]


def show_rules(name: str, rows: list[tuple[list[str], str]]) -> None:
    """Print how many answers the value reader decides, and how many change without each rule."""
    num_decided = sum(verdict is not Verdict.OPEN for verdict in _evidence.decided(rows))
    print(f"{name}: values decide {num_decided} of {len(rows):,} answers; without a rule change:")
    for rule in _evidence.RULES:
        print(f"  {_evidence.changed_without(rule, rows):4}  {rule}")


def show_evidence(num_simulations: int = 1000) -> None:
    """Print how well the scores tell right from wrong, and how often intervals cover the truth."""
    encoder = analysis.semantic.Encoder("embedded")
    for name, value in _evidence.aucs(encoder).items():
        print(f"AUC {value:.2f}  {name}")
    print("| gold | right, in other words | | wrong | |", *_evidence.inversions(encoder), sep="\n")
    rows = [([pair["gold"]], pair[key]) for pair in _evidence.PAIRS for key in _evidence.ANSWERS]
    show_rules("pairs", rows)
    for kind in ("article", "plain", "question"):
        for num_articles in (12, 48):
            found = _evidence.coverage(num_articles, kind, num_simulations)
            print(f"{100 * found:.1f} % of 95 % intervals cover ({kind}, {num_articles} articles)")


if __name__ == "__main__":
    main(sys.argv[1:])
