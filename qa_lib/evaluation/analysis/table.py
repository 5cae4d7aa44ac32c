"""scores.parquet: a row per question, and two runs' rows compared."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from qa_lib.errors import DataError
from qa_lib.evaluation.analysis import cases, semantic
from qa_lib.evaluation.analysis.intervals import Comparison, compare
from qa_lib.runs.run_folder import RunFolder

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCORES = "scores.parquet"
_DIGEST = "content_hash"  # earlier versions lack it
COLUMNS = ("id", "title", "em", "f1", "semantic", "score", "answer", _DIGEST)
NAMES = ("em", "f1", "semantic")
_ENCODER = b"sentence encoder"  # in the schema's metadata: its fingerprint


@dataclass(frozen=True)
class Decoded:
    """A model's decoding beyond the answers; a file of predictions lacks it.

    Attributes:
        answers: The columns of answers.parquet, a row per question.
        best_spans: (questions,) best span, whatever the odds of "no answer"; None under rules
            where every question has an answer.
    """

    answers: pa.Table
    best_spans: Sequence[str] | None


def make(
    questions: pa.Table,
    predictions: Mapping[str, str],
    answered: NDArray[np.bool_],
    values: Mapping[str, NDArray[np.float64]],
    decoded: Decoded | None,
) -> pa.Table:
    """Return the rows of scores.parquet, and `char_start` and `char_end` of the answers."""
    ids, size = questions["id"].to_pylist(), questions.num_rows
    answers = [predictions.get(key) for key in ids]
    if decoded is None:
        texts = [answer or "" for answer in answers]
        starts, ends = cases.find_in(questions["context"].to_pylist(), texts)
        score = pa.nulls(size, pa.float64())
    else:
        is_silent = np.array([not answer for answer in answers])
        starts, ends = (
            pa.array(decoded.answers[name].to_numpy(), pa.int64(), mask=is_silent)
            for name in ("char_start", "char_end")
        )
        score = decoded.answers["score"].cast(pa.float64())
    columns = {
        name: pa.array(values[name], from_pandas=True)  # NaN becomes null
        if name in values
        else pa.nulls(size, pa.float64())
        for name in NAMES
    }
    return pa.table(
        {
            "id": ids,
            "title": questions["title"],
            **columns,
            "score": score,
            "answer": pa.array(answers, pa.string()),
            _DIGEST: _digests(questions),
            "char_start": pa.array(starts, pa.int64()),
            "char_end": pa.array(ends, pa.int64()),
        }
    )


def _digests(questions: pa.Table) -> list[str]:
    """Return what tells each question from any other: a hash of its text and of its context."""
    contexts = questions["context"].to_pylist()
    hashes = {text: hashlib.sha256(text.encode()).digest() for text in set(contexts)}
    return [
        hashlib.sha256(hashes[context] + question.encode()).hexdigest()[:32]
        for question, context in zip(questions["question"].to_pylist(), contexts, strict=True)
    ]


def write(run: RunFolder, rows: pa.Table, encoder: str | None) -> None:
    """Write scores.parquet, with the fingerprint of the sentence encoder if there is one."""
    kept = rows.select(list(COLUMNS))
    if encoder is not None:
        kept = kept.replace_schema_metadata({_ENCODER: semantic.fingerprint(encoder)})
    run.write_parquet(SCORES, kept)


def read(run: RunFolder) -> pa.Table:
    """Read a run's scores.parquet.

    Raises:
        DataError: The run has none.
    """
    if not run.exists(SCORES):
        raise DataError(
            f"{run.path} holds no {SCORES}.",
            "Evaluate its model again: `make evaluate RUN=...` writes it.",
        )
    return run.read_parquet(SCORES)


def compare_tables(first: pa.Table, second: pa.Table, *, seed: int = 0) -> dict[str, Comparison]:
    """Compare two runs' scores, question by question.

    Args:
        first: A table of `read`.
        second: Likewise; questions of only one of them are left out.
        seed: Of the resampling.

    Returns:
        `em`, `f1` and, where both runs have it of the same encoder, `semantic`: second minus
        first, 0 to 100.

    Raises:
        DataError: They have no question in common.
    """
    ours, theirs = _identities(first, second)
    place = {key: row for row, key in enumerate(ours)}
    pairs = [(place[key], row) for row, key in enumerate(theirs) if key in place]
    if not pairs:
        reason = why_fewer(first, second)
        raise DataError(
            f"The two runs have no question in common{f': {reason}' if reason else '.'}",
            "Compare runs that were evaluated on the same questions.",
        )
    left, right = (pa.array(rows) for rows in zip(*pairs, strict=True))
    a, b = first.take(left), second.take(right)
    titles = a["title"].to_pylist()
    names = [name for name in NAMES if name != "semantic" or not why_no_semantic(first, second)]
    comparisons = {}
    for name in names:
        one, two = (part[name].to_numpy(zero_copy_only=False).astype(float) for part in (a, b))
        if np.isfinite(one).any() and np.isfinite(two).any():
            comparisons[name] = compare(one, two, titles, seed=seed)
    return comparisons


def _identities(first: pa.Table, second: pa.Table) -> list[list[tuple[str, str]]]:
    """Return what is equal for the same question in both tables, a row of each at a time.

    An id is not enough: where a source has none it is the number of the row, and other sets count
    from 1 too. So it is the content, and the id only between repetitions of one question.
    """
    tables = (first, second)
    ids = [part["id"].to_pylist() for part in tables]
    if any(_DIGEST not in part.column_names for part in tables):  # titles tell most sets apart
        titles = (part["title"].to_pylist() for part in tables)
        return [list(zip(*both, strict=True)) for both in zip(ids, titles, strict=True)]
    digests = [part[_DIGEST].to_pylist() for part in tables]
    repeated = {key for part in digests for key, count in Counter(part).items() if count > 1}
    return [
        [(digest, key if digest in repeated else "") for key, digest in zip(*both, strict=True)]
        for both in zip(ids, digests, strict=True)
    ]


def why_fewer(first: pa.Table, second: pa.Table) -> str | None:
    """Return how many equal ids were of different questions, which are not paired, or None."""
    one, two = (
        dict(zip(part["id"].to_pylist(), keys, strict=True))
        for part, keys in zip((first, second), _identities(first, second), strict=True)
    )
    count = sum(one[key] != two[key] for key in one.keys() & two.keys())
    return (
        f"{count:,} equal ids are of different questions, which are not paired." if count else None
    )


def why_no_semantic(first: pa.Table, second: pa.Table) -> str | None:
    """Return why two runs' semantic scores are not compared (other encoders), else None."""
    encoders = [(part.schema.metadata or {}).get(_ENCODER) for part in (first, second)]
    has_scores = all(part["semantic"].null_count < part.num_rows for part in (first, second))
    if not has_scores or encoders[0] == encoders[1]:
        return None
    return (
        "Their semantic scores are of different sentence encoders, and are not compared: evaluate "
        "both with one --evaluate.semantic-model."
    )
