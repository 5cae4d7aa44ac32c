"""Held-out articles as a judge of a model that is still in training."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from qa_lib.config import EvaluateSettings, Settings
from qa_lib.data import load_questions
from qa_lib.evaluation.evaluate import merge, score
from qa_lib.evaluation.pool import find_spans

if TYPE_CHECKING:
    from qa_lib.data import Questions
    from qa_lib.models.inference import Forward


@dataclass(frozen=True, eq=False)
class HeldOutJudge:
    """Scores a model on held-out articles.

    Attributes:
        questions: Of these articles.
        rules: How answers are chosen and scored.
    """

    questions: Questions
    rules: EvaluateSettings

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of the questions, and of the rules that scores depend on."""
        # Defaults apart: a later version may have more rules.
        rules = self.rules.model_dump_json(
            exclude={"batch_size", "num_actors", "semantic_model"}, exclude_defaults=True
        )
        return hashlib.sha256(f"{self.questions.fingerprint} {rules}".encode()).hexdigest()

    def find(self, forward: Forward, table: pa.Table) -> Iterator[pa.Table]:
        """Yield the best spans of windows, as `find_spans` does."""
        return find_spans(forward, table, self.rules)

    def score(self, candidates: pa.Table) -> dict[str, float]:
        """Return `f1` and `em` by the rules of `evaluate.language`, given the spans of all windows.

        Args:
            candidates: What `find` yielded, in any order.
        """
        table = self.questions.table
        answers = merge(candidates, self.questions, self.rules).table(table["context"].to_pylist())
        predictions = dict(zip(table["id"].to_pylist(), answers["answer"].to_pylist(), strict=True))
        scored = score(self.questions, predictions, self.rules.language).fields()
        return {
            name: round(float(scored.get(f"language_{name}", scored[name])), 4)
            for name in ("f1", "em")
        }


def judge_of(settings: Settings) -> HeldOutJudge | None:
    """Return the judge that `train.evaluate_every` asks for, or None.

    Raises:
        DataError: No article is held out.
    """
    if settings.train.evaluate_every is None:
        return None
    return HeldOutJudge(load_questions(settings.data, "holdout"), settings.evaluate)
