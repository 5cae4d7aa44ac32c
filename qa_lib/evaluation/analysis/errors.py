"""The questions that a model answered wrong, as a file to work with and as a list to read."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from numpy.typing import NDArray

ERRORS = "errors.csv"
COLUMNS = ("id", "title", "question", "golds", "answer", "score", "f1", "context")
_AROUND = 200  # characters of context on either side of answer and gold
_BETWEEN = " | "  # the gold answers in their cell


def find(rows: pa.Table) -> NDArray[np.int64]:
    """Return the questions without an exact match, the most confident answers first.

    Args:
        rows: Of `table.make`; a question that the rules leave out has a null `em`.

    Returns:
        Rows by falling score of the answer; where no score is known, by rising F1.
    """
    em, f1, score = (
        rows[name].to_numpy(zero_copy_only=False).astype(float) for name in ("em", "f1", "score")
    )
    wrong = np.flatnonzero(em == 0)
    unknown = np.nan_to_num(score[wrong], nan=-np.inf)
    return wrong[np.lexsort((f1[wrong], -unknown))]


def to_csv(wrong: NDArray[np.int64], questions: pa.Table, rows: pa.Table) -> str:
    """Return errors.csv: a line per wrong answer with all that is needed to see why.

    Args:
        wrong: Rows, in the order of the file.
        questions: Columns of the SQuAD schema.
        rows: Of `table.make`.

    Returns:
        Columns id, title, question, golds (distinct, between bars), answer (empty: none), score (0
        to 1), f1 (0 to 100), and the part of the context with answer and gold answers.
    """
    file = io.StringIO()
    # A lone \r would end a row if it stood without quotes.
    writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    chosen = pa.array(wrong)
    names = ["id", "title", "question", "context", "answers"]
    for question, row in zip(
        questions.select(names).take(chosen).to_pylist(), rows.take(chosen).to_pylist(), strict=True
    ):
        golds = question["answers"]["text"]
        places = [
            (start, start + len(text))
            for start, text in zip(question["answers"]["answer_start"], golds, strict=True)
        ]
        if row["char_start"] is not None:
            places.append((row["char_start"], row["char_end"]))
        writer.writerow(
            [
                question["id"],
                question["title"],
                question["question"],
                _BETWEEN.join(dict.fromkeys(golds)),
                row["answer"] or "",
                "" if row["score"] is None else f"{row['score']:.4f}",
                f"{row['f1']:.2f}",
                _window(question["context"], places),
            ]
        )
    return file.getvalue()


def _window(context: str, places: list[tuple[int, int]]) -> str:
    """Cut the context around the places; without any, return its beginning."""
    known = [(start, end) for start, end in places if start is not None and start >= 0]
    first = max(0, min((start for start, _ in known), default=0) - _AROUND)
    last = max((end for _, end in known), default=0) + _AROUND
    return ("…" if first else "") + context[first:last] + ("…" if last < len(context) else "")
