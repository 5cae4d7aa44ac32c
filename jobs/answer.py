"""Answer one question, questions at a prompt, or a file of them.

    python -m jobs.answer --model.name runs/mine --answer.question "Who?" --answer.context "Ann."
    python -m jobs.answer --model.name runs/mine --answer.context @article.txt
    python -m jobs.answer --model.name runs/mine --answer.input in.jsonl --answer.output out.jsonl

One question prints JSON: score, start, end, answer; a context that begins with @ is given as @@. A
file holds a JSON object with question and context on every line; the output has the same lines with
a `prediction` each. Another file of questions (SQuAD's JSON, CSV, Parquet, ...) is read as
--data.source is, and the lines of the output have id, question, context and prediction.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings


def run(settings: Settings) -> None:
    """Answer a file, a question, or what is typed at a prompt."""
    from qa_lib import serving

    if settings.answer.input is not None:
        result = serving.answer_file(settings)
        print(
            f"{result['num_questions']:,} questions answered, {result['questions_per_s']} a second"
        )
        print(f"{result['output']} holds the predictions")
    elif settings.answer.question is not None:
        print(json.dumps(serving.ask(settings), ensure_ascii=False, indent=2))
    else:
        serving.converse(settings)


JOB = Job(
    "answer",
    run,
    has_run_folder=False,
    reads_runs_of=("train", "adjust", "tune", "export"),
    needs_doctor=lambda settings: settings.answer.input is not None,
    first_groups=("answer",),
    first_flags=(
        "answer.question",
        "answer.context",
        "answer.input",
        "answer.output",
        "model.placement",
        "train.device",
    ),
)

if __name__ == "__main__":
    JOB.main()
