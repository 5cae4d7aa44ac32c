"""What adjustment costs in F1 and gains in speed: smaller models of one parent, recovered.

    python -m benchmarks.adjustment --recipe squad-cpu --model.name runs/train-squad-cpu-001

Every row is a run of `jobs.adjust --adjust.recover` in a folder of --storage; finished rows are
read and not run again, so that a stopped benchmark continues. They are compared with the parent
trained further on the same windows. Scores are on one seeded sample of the evaluation questions
(2,000 unless --data.eval-limit says otherwise). A second table compares ways to choose units, right
after surgery.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from jobs import _runner

FLAGS = ["--data.eval-limit", "2000"]
WEIGHTS = (0.5, 0.9)  # of the teacher's loss
IMPORTANCES = ("taylor", "activation", "magnitude", "random")


@dataclass(frozen=True)
class Row:
    """One smaller model: a name, the sizes asked for, and the teacher's weight (0: no teacher)."""

    name: str
    sizes: dict[str, Any] = field(default_factory=dict)
    weight: float = WEIGHTS[0]

    @property
    def run_name(self) -> str:
        """Name of the run folder."""
        return f"{self.name}-distil-{self.weight:g}"


HALF_LAYERS = {"num_layers": 3}
HALF_INTERMEDIATE = {"intermediate_size": 768}
QUARTER_INTERMEDIATE = {"intermediate_size": 384}
FOUR_LAYERS = {"num_layers": 4, "intermediate_size": 768}
THREE_LAYERS = {"num_layers": 3, "intermediate_size": 384}
ROWS = (
    Row("intermediate-768", HALF_INTERMEDIATE),
    Row("intermediate-384", QUARTER_INTERMEDIATE),
    Row("layers-4-intermediate-768", FOUR_LAYERS),
    Row("layers-3-intermediate-384", THREE_LAYERS),
    Row("layers-3", HALF_LAYERS),
    Row("hidden-288", {"hidden_size": 288}),
    Row("intermediate-704", {"intermediate_size": 704}),
    Row("intermediate-384", QUARTER_INTERMEDIATE, 0.0),
    Row("layers-4-intermediate-768", FOUR_LAYERS, 0.0),
    Row("intermediate-384", QUARTER_INTERMEDIATE, WEIGHTS[1]),
    Row("layers-4-intermediate-768", FOUR_LAYERS, WEIGHTS[1]),
)
FURTHER = "parent-further"


def main() -> None:
    """Run what is missing, and print the tables."""
    _runner.quiet_libraries()
    from qa_lib import config

    settings = config.parse("adjust", [*FLAGS, *sys.argv[1:]])
    results = [(row, adjusted(settings, row)) for row in ROWS]
    further = trained_further(settings)
    print(table(results, further))
    print(chosen_by(settings))


def adjusted(settings: Any, row: Row) -> dict[str, Any]:
    """Return the result of adjusting and recovering one model; run it where it is missing."""
    from qa_lib.adjust import pipeline

    changes = {
        "run_name": row.run_name,
        "adjust": settings.adjust.model_copy(update={**row.sizes, "recover": True}),
        "train": settings.train.model_copy(update={"distill_weight": row.weight}),
    }
    return once(settings.model_copy(update=changes), "adjust", pipeline.adjust_and_recover)


def trained_further(settings: Any) -> dict[str, Any]:
    """Return the result of training the parent as long as its children, by the labels alone."""

    def train(named: Any, run: Any) -> None:
        from qa_lib import evaluation, training
        from qa_lib.data import load_questions

        questions = load_questions(named.data, "train", quarantine_dir=run.path)
        run.write_result(training.fine_tune(named, run, questions), status="running")
        scores = evaluation.evaluate_held_out(named, run, run.url("model"))
        run.write_result(scores, status="running")

    return once(settings.model_copy(update={"run_name": FURTHER}), "train", train)


def chosen_by(settings: Any) -> str:
    """Return the table of F1 after cutting three quarters of the units, by how they are chosen."""
    from qa_lib.adjust import pipeline

    lines = ["| units chosen by | with fold: F1 | without: F1 |", "|---|---|---|"]
    for importance in IMPORTANCES:
        scores = []
        for fold in (True, False):
            changes = {**QUARTER_INTERMEDIATE, "importance": importance, "fold": fold}
            named = settings.model_copy(
                update={
                    "run_name": f"{importance}-{'fold' if fold else 'plain'}",
                    "adjust": settings.adjust.model_copy(update=changes),
                }
            )
            result = once(named, "adjust", pipeline.adjust_and_recover)
            scores.append(f"{result['f1_surgery']:.2f}")
        lines.append(f"| {importance} | {' | '.join(scores)} |")
    return "\n".join(lines)


def once(settings: Any, job: str, work: Any) -> dict[str, Any]:
    """Do the work in its run folder unless a run of that name is done; return its result."""
    from qa_lib.runs.run_folder import RunFolder

    path = f"{settings.storage}/{settings.run_name}"
    found = RunFolder(path, job).read_result()
    if found.get("status") == "done":
        return found
    settings = settings.model_copy(update={"resume": bool(found)})
    with RunFolder.open(settings, job) as run:
        work(settings, run)
        run.write_result()
        return run.result


def table(results: list[tuple[Row, dict[str, Any]]], further: dict[str, Any]) -> str:
    """Return the table of models in Markdown."""
    first = results[0][1]
    before, base = first["f1_before"], first["num_parent_parameters"]
    passes = first["num_window_passes"]
    lines = [
        f"{first['num_questions']} evaluation questions, {passes} window passes of recovery;"
        f" speed-up: 1 window of 384 tokens, {first['latency_threads']} threads,"
        f" {first['latency_device']}",
        "",
        "| model | teacher's weight | parameters | speed-up | F1 at surgery | F1 recovered |"
        " of parent | of parent further |",
        "|---|---|---|---|---|---|---|---|",
        f"| parent | | {base:,} | 1.00 | | {before:.2f} | 100 % |"
        f" {100 * before / further['f1']:.1f} % |",
        f"| parent trained further | | {base:,} | 1.00 | | {further['f1']:.2f} |"
        f" {100 * further['f1'] / before:.1f} % | 100 % |",
    ]
    for row, result in results:
        lines.append(
            f"| {row.name} | {row.weight:g} | {result['num_parameters']:,} |"
            f" {result['speedup']:.2f} | {result['f1_surgery']:.2f} | {result['f1']:.2f} |"
            f" {100 * result['f1'] / before:.1f} % | {100 * result['f1'] / further['f1']:.1f} % |"
        )
    lines += ["", "| model | teacher's weight | logits computed | read in | training | share |"]
    lines.append("|---|---|---|---|---|---|")
    for row, result in results:
        if "teacher_seconds" in result:
            share = 100 * result["teacher_seconds"] / result["train_seconds"]
            lines.append(
                f"| {row.name} | {row.weight:g} | {result['num_teacher_windows_computed']} |"
                f" {result['teacher_seconds']:.1f} s | {result['train_seconds']:.0f} s |"
                f" {share:.1f} % |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
