"""Questions to train on without their answers: for a teacher's logits alone."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from qa_lib.data.loading import load_questions, sample, splits_of
from qa_lib.data.schema import Questions
from qa_lib.errors import DataError

if TYPE_CHECKING:
    from qa_lib.config import DataSettings


@dataclass(frozen=True)
class Unlabelled:
    """Questions without answers.

    Attributes:
        questions: Of the schema, every list of answers empty.
        num_held_out: Left out, because their article or their context is held out.
        num_known: Left out, because they are among the labelled questions.
    """

    questions: Questions
    num_held_out: int
    num_known: int


def load_unlabelled(
    data: DataSettings, source: str, labelled: Questions, *, limit: int | None = None
) -> Unlabelled:
    """Load the questions of a source without answers, none of them held out or known already.

    Held out is what `data` evaluates on: the articles of its eval split and of its holdout, by
    title, however spelled, and by the text of the context.

    Args:
        data: Of the labelled questions.
        source: Named as `data.source` is; its training questions are read.
        labelled: The labelled questions.
        limit: Take a fixed sample of this many; None takes all.

    Raises:
        DataError: The source cannot be read, or no question is left.
    """
    whole = data.model_copy(update={"train_limit": None, "eval_limit": None})
    of_source = whole.model_copy(update={"source": source, "holdout_articles": 0.0})
    found = load_questions(of_source, "train", labels=False)
    titles, contexts = set(), set()
    for split in splits_of(whole):
        if split != "train":
            held_out = load_questions(whole, split).table
            titles |= set(map(_plain, held_out["title"].unique().to_pylist()))
            contexts |= set(map(_digest, held_out["context"].unique().to_pylist()))
    is_held_out = _of(found.table, "title", lambda title: _plain(title) in titles)
    is_held_out |= _of(found.table, "context", lambda text: _digest(text) in contexts)
    known = set(_pairs(labelled.table))
    is_known = np.array([pair in known for pair in _pairs(found.table)], bool) & ~is_held_out
    left = found.table.filter(pa.array(~is_held_out & ~is_known))
    if not left.num_rows:
        raise DataError(
            f"{source} holds no question that is neither held out ({is_held_out.sum():,}) nor"
            f" trained on with its label ({is_known.sum():,}).",
            "Name another --train.teacher-only-source, or leave it out.",
        )
    questions = Questions(sample(left, limit), "train", source, found.num_quarantined, found.notes)
    return Unlabelled(questions, int(is_held_out.sum()), int(is_known.sum()))


def _of(table: pa.Table, name: str, test: Callable[[str], bool]) -> np.ndarray:
    """Return (rows,) bool: whether each row's text passes; each distinct text is tested once."""
    texts = table[name].combine_chunks().dictionary_encode()
    passes = np.array([test(text) for text in texts.dictionary.to_pylist()], bool)
    return passes[texts.indices.to_numpy()]


def _pairs(table: pa.Table) -> list[tuple[str, bytes]]:
    contexts = table["context"].combine_chunks().dictionary_encode()
    digests = [_digest(text) for text in contexts.dictionary.to_pylist()]
    questions = table["question"].to_pylist()
    return [(q, digests[i]) for q, i in zip(questions, contexts.indices.to_pylist(), strict=True)]


def _plain(title: str) -> str:
    """Return a title as it compares: SQuAD writes `Super_Bowl_50`, others `Super Bowl 50`."""
    return " ".join(title.replace("_", " ").casefold().split())


def _digest(text: str) -> bytes:
    return hashlib.sha256(" ".join(text.split()).encode()).digest()
