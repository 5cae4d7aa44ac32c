"""Where a system fails: scores by class of questions, and single questions to look at."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_QUESTION_WORD = re.compile(
    r"\b(how many|how much|how|what|which|whose|whom|who|when|where|why)\b", re.IGNORECASE
)
_ANSWER_WORDS = (1, 2, 3, 5, 9)  # where classes begin
_CONTEXT_WORDS = (0, 75, 100, 125, 150, 200, 300)
_NO_ANSWER = "no answer"
_LOW_F1, _HIGH_SEMANTIC = 50.0, 70.0
_NUM_MISSED, _NUM_EXAMPLES = 50, 30


def break_down(
    questions: pa.Table, scores: Mapping[str, Floats]
) -> dict[str, list[dict[str, Any]]]:
    """Average scores over classes of questions.

    Args:
        questions: Columns of the SQuAD schema.
        scores: Name to (questions,) values, 0 to 100, NaN where a question does not count.

    Returns:
        For `question word` (the first in the question), `answer length` (words of the shortest gold
        answer), `context length` (words) and `article`: the classes that have questions, each with
        its `name`, `num_questions` and mean scores. Articles come worst F1 first, question words
        most frequent first.
    """
    golds = pc.struct_field(questions["answers"], "text").to_pylist()
    answer_words = [min((len(text.split()) for text in texts), default=-1) for texts in golds]
    contexts = questions["context"].to_pylist()
    words_of = {context: len(context.split()) for context in set(contexts)}
    context_words = [words_of[context] for context in contexts]
    return {
        "question word": _groups(
            [question_word(text) for text in questions["question"].to_pylist()],
            scores,
            lambda group: -group["num_questions"],
        ),
        "answer length": _by_length(answer_words, _ANSWER_WORDS, scores),
        "context length": _by_length(context_words, _CONTEXT_WORDS, scores),
        "article": _groups(questions["title"].to_pylist(), scores, lambda group: group["f1"]),
    }


def question_word(question: str) -> str:
    """Return the first question word, `how many` as one; `other` where there is none."""
    found = _QUESTION_WORD.search(question)
    word = found[1].lower() if found else "other"
    return {"whom": "who", "how much": "how many"}.get(word, word)


def _by_length(
    lengths: list[int], begins: tuple[int, ...], scores: Mapping[str, Floats]
) -> list[dict[str, Any]]:
    names = [
        _class_name(begin, following)
        for begin, following in zip(begins, [*begins[1:], None], strict=True)
    ]
    order = {name: place for place, name in enumerate([*names, _NO_ANSWER])}
    places = np.searchsorted(begins, lengths, side="right") - 1
    labels = [
        _NO_ANSWER if length < 0 else names[max(0, place)]
        for place, length in zip(places, lengths, strict=True)
    ]
    return _groups(labels, scores, lambda group: order[group["name"]])


def _class_name(begin: int, following: int | None) -> str:
    if following is None:
        return f"{begin} words or more"
    if following - begin == 1:
        return "1 word" if begin == 1 else f"{begin} words"
    return f"{begin} to {following - 1} words" if begin else f"below {following} words"


def _groups(
    labels: list[str], scores: Mapping[str, Floats], key: Callable[[dict[str, Any]], Any]
) -> list[dict[str, Any]]:
    names, group_of = np.unique(labels, return_inverse=True)
    counted = ~np.isnan(scores["f1"])
    counts = np.bincount(group_of[counted], minlength=len(names))  # (groups,)
    means = {
        name: np.bincount(group_of[counted], values[counted], minlength=len(names))
        / np.maximum(counts, 1)
        for name, values in scores.items()
    }
    groups = [
        {
            "name": str(names[group]),
            "num_questions": int(counts[group]),
            **{name: float(values[group]) for name, values in means.items()},
        }
        for group in np.flatnonzero(counts)
    ]
    return sorted(groups, key=key)


def missed(f1: Floats, semantic: Floats) -> dict[str, NDArray[np.int64]]:
    """Find the questions on which token overlap and meaning disagree, the largest difference first.

    Args:
        f1: (questions,) 0 to 100, NaN where a question does not count.
        semantic: (questions,) likewise.

    Returns:
        Rows: `right_in_other_words`, F1 below 50 and semantic 70 or more; and
        `right_in_tokens_only`, F1 50 or more and semantic below 50.
    """
    return {
        "right_in_other_words": _ranked(
            (f1 < _LOW_F1) & (semantic >= _HIGH_SEMANTIC), semantic - f1
        ),
        "right_in_tokens_only": _ranked((f1 >= _LOW_F1) & (semantic < _LOW_F1), f1 - semantic),
    }


def _ranked(chosen: NDArray[np.bool_], distance: Floats) -> NDArray[np.int64]:
    rows = np.flatnonzero(chosen)
    return rows[np.argsort(-distance[rows], kind="stable")]


def sample(num_questions: int, seed: int) -> NDArray[np.int64]:
    """Draw the rows of the examples, in order."""
    size = min(_NUM_EXAMPLES, num_questions)
    return np.sort(np.random.default_rng(seed).choice(num_questions, size, replace=False))


def listed(rows: NDArray[np.int64], questions: pa.Table, scores: pa.Table) -> list[dict[str, Any]]:
    """Return questions with all that a reader needs to judge the answer.

    Args:
        rows: The questions; the first 50 are listed.
        questions: Columns of the SQuAD schema.
        scores: A row per question: the columns of scores.parquet, and `char_start` and `char_end`
            of the answer in its context, null if it is not there.

    Returns:
        A dictionary per question, with `gold`, the distinct gold answers, and `gold_start`, the
        first character of the first of them, None without any.
    """
    chosen = pa.array(rows[:_NUM_MISSED])
    pairs = zip(questions.take(chosen).to_pylist(), scores.take(chosen).to_pylist(), strict=True)
    return [
        {name: question[name] for name in ("id", "title", "question", "context")}
        | {name: score[name] for name in ("char_start", "char_end", "answer")}
        | {
            "gold": list(dict.fromkeys(question["answers"]["text"])),
            "gold_start": next(iter(question["answers"]["answer_start"]), None),
        }
        | {name: score[name] for name in ("em", "f1", "semantic", "score")}
        for question, score in pairs
    ]


def find_in(contexts: Sequence[str], answers: Sequence[str]) -> tuple[list[Any], list[Any]]:
    """Return the first and last character (half-open) of answers in contexts, None if absent."""
    starts: list[Any] = []
    ends: list[Any] = []
    for context, answer in zip(contexts, answers, strict=True):
        start = context.find(answer) if answer else -1
        starts.append(start if start >= 0 else None)
        ends.append(start + len(answer) if start >= 0 else None)
    return starts, ends
