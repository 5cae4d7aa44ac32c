"""SQuAD's exact match and F1, as the official scripts of SQuAD 1.1 and 2.0 define them.

The rules follow the data: a single question without answers means 2.0 rules for all. They differ
in three places, kept here to the letter:

* 1.1 scores a question without a prediction 0. The 2.0 script leaves it out of the mean (its
  per-kind means then stop with a KeyError; here they are taken over what was answered, too).
* Under 2.0, gold answers that normalise to nothing (an article, punctuation) are dropped, and
  without any left only the empty answer is right; under 1.1 they stay.
* Where gold or prediction has no token, F1 is 0 under 1.1; under 2.0 it is 1 if both have none.
"""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.errors import DataError
from qa_lib.runs import json_text

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_DROP_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of every question, in the order of the questions.

    Attributes:
        em: (questions,) float64, 1 where the normalised prediction equals a gold answer, else 0.
        f1: (questions,) float64, best token F1 over the gold answers, 0 to 1.
        has_answer: (questions,) bool, False for the unanswerable questions of SQuAD 2.0.
        answered: (questions,) bool, False where there is no prediction; `em` and `f1` are 0 there.
        version: Rules applied, `1.1` or `2.0`.
        missing_ids: Questions without a prediction.
        extra_ids: Predictions without a question; they count for nothing.
    """

    em: np.ndarray
    f1: np.ndarray
    has_answer: np.ndarray
    answered: np.ndarray
    version: str
    missing_ids: tuple[str, ...]
    extra_ids: tuple[str, ...]

    @cached_property
    def counted(self) -> np.ndarray:
        """(questions,) bool, the questions that enter the mean."""
        return np.ones_like(self.answered) if self.version == "1.1" else self.answered

    def summary(self) -> dict[str, Any]:
        """Return the means of EM and F1 (0 to 100) and `total`, the number of questions in them.

        Under 2.0 also `has_ans_*` and `no_ans_*`, the same over answerable and unanswerable
        questions, each where there are any.
        """
        result = self._means("", self.counted)
        if self.version == "2.0":
            result |= self._means("has_ans_", self.counted & self.has_answer)
            result |= self._means("no_ans_", self.counted & ~self.has_answer)
        return result

    def _means(self, prefix: str, chosen: np.ndarray) -> dict[str, Any]:
        total = int(chosen.sum())
        if not total:
            return {}
        return {
            f"{prefix}em": 100.0 * float(self.em[chosen].sum()) / total,
            f"{prefix}f1": 100.0 * float(self.f1[chosen].sum()) / total,
            f"{prefix}total": total,
        }


def score(questions: pa.Table, predictions: Mapping[str, str]) -> Scores:
    """Score predictions.

    Args:
        questions: Columns `id` and `answers` of the SQuAD schema (see `qa_lib.data`).
        predictions: Question id to answer text; the empty string says "no answer".

    Returns:
        The scores of every question. `summary()` gives the means.

    Raises:
        DataError: There are no questions; or, under 2.0 rules, none of them has a prediction.

    Source:
        Rajpurkar et al. 2016 and 2018, evaluate-v1.1.py and evaluate-v2.0.py.
    """
    ids = questions["id"].to_pylist()
    gold_texts = pc.struct_field(questions["answers"], "text").to_pylist()
    has_answer = np.fromiter((bool(texts) for texts in gold_texts), bool, len(ids))
    answered = np.fromiter((key in predictions for key in ids), bool, len(ids))
    version = "1.1" if has_answer.all() else "2.0"
    if not ids:
        raise DataError("There are no questions to score.", "Check --data.source and its limits.")
    if version == "2.0" and not answered.any():
        raise DataError(
            f"None of the {len(predictions)} predictions belongs to one of the {len(ids)} "
            "questions.",
            "Give the questions that were predicted with --data.source or --data.eval-source.",
        )

    em, f1 = np.zeros(len(ids)), np.zeros(len(ids))
    tokens = _Tokens()
    for row in np.flatnonzero(answered):
        prediction = tokens[predictions[ids[row]]]
        golds = [tokens[text] for text in gold_texts[row]]
        if version == "2.0":
            golds = [gold for gold in golds if gold] or [[]]
        em[row] = max(float(gold == prediction) for gold in golds)
        f1[row] = max(_token_f1(gold, prediction, version) for gold in golds)
    known = set(ids)
    return Scores(
        em=em,
        f1=f1,
        has_answer=has_answer,
        answered=answered,
        version=version,
        missing_ids=tuple(ids[row] for row in np.flatnonzero(~answered)),
        extra_ids=tuple(key for key in predictions if key not in known),
    )


def normalize(text: str) -> str:
    """Lower-case a text and drop ASCII punctuation, English articles and extra white space."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_DROP_PUNCTUATION)).split())


def parse_predictions(content: str | bytes, name: str) -> dict[str, str]:
    """Parse a predictions file in the official form: one JSON object, question id to answer text.

    Args:
        content: The file's content.
        name: The file's name, for the error.

    Raises:
        DataError: The content is not such an object.
    """
    remedy = 'Give one JSON object of question id to answer text: {"56be...": "Denver Broncos"}.'
    try:
        predictions = json_text.parse(content)
    except ValueError as error:
        raise DataError(f"{name} is not JSON: {error}", remedy) from None
    if not isinstance(predictions, dict):
        kind = type(predictions).__name__
        raise DataError(f"{name} holds a JSON {kind} where an object is needed.", remedy)
    for key, text in predictions.items():
        try:
            f"{key}{text}".encode()
        except UnicodeEncodeError:
            raise DataError(
                f"{name}: the id {ascii(key)} or its answer is not Unicode: it has half of a "
                "surrogate pair.",
                "Write the character whole, or leave it out.",
            ) from None
        if not isinstance(text, str):
            raise DataError(
                f"{name}: the answer of {key} is {json.dumps(text)[:60]}, which is not a text.",
                remedy,
            )
    return predictions


class _Tokens(dict[str, list[str]]):
    """Normalised tokens of distinct texts, computed once: gold answers repeat."""

    def __missing__(self, text: str) -> list[str]:
        self[text] = normalize(text).split()
        return self[text]


def _token_f1(gold: list[str], prediction: list[str], version: str) -> float:
    if not gold or not prediction:
        return float(version == "2.0" and gold == prediction)
    num_common = sum((Counter(gold) & Counter(prediction)).values())
    if not num_common:
        return 0.0
    precision, recall = num_common / len(prediction), num_common / len(gold)
    return 2 * precision * recall / (precision + recall)
