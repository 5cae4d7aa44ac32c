"""Answer one question, questions at a prompt, or a file of them.

    python -m jobs.answer --model.name runs/mine --answer.question "Who?" --answer.context "Ann."
    python -m jobs.answer --model.name runs/mine --answer.context @article.txt
    python -m jobs.answer --model.name runs/mine --answer.input in.jsonl --answer.output out.jsonl

One question prints JSON: score, start, end, answer. A file holds a JSON object with question and
context on every line; it comes out with a `prediction` in each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import _entry

if TYPE_CHECKING:
    from qa_lib.config import Settings


def answer(settings: Settings) -> None:
    """Answer what the settings ask."""
    import json

    if settings.dry_run:
        print(settings.to_yaml())
        return
    from qa_lib import doctor, serving

    if settings.answer.input is not None:
        doctor.require(settings)
        result = serving.answer_file(settings)
        print(
            f"{result['num_questions']:,} questions answered, {result['questions_per_s']} a second"
        )
        print(f"{result['output']} holds the predictions")
    elif settings.answer.question is not None:
        print(json.dumps(serving.ask(settings), ensure_ascii=False, indent=2))
    else:
        serving.converse(settings)


if __name__ == "__main__":
    _entry.main("answer", answer)
