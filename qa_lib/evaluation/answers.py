"""Candidates to answers: the spans of all windows of a question merged, the best one chosen.

The n best spans of all windows of a question stay, as in the usual loop over windows. Of equal
scores the earlier window ranks first; "no answer" comes last. One difference: where no span is
possible, the loop answers with the word "empty", and this with the empty text.

Source:
    Devlin et al. 2019, section 4.3 (null score and threshold).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from qa_lib.evaluation.spans import rising
from qa_lib.windows.list_arrays import offsets_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Int32s = NDArray[np.int32]
    Int64s = NDArray[np.int64]
    Float32s = NDArray[np.float32]

NO_SPAN_ODDS = float(np.finfo(np.float32).max)
"""Null odds of a question without a single span: above every threshold, and finite for JSON."""


@dataclass(frozen=True, eq=False)
class Answers:
    """The n best spans of every question, best first, question after question, end to end.

    "No answer" is a span like the others where the rules know it: of characters 0 to 0.

    Attributes:
        offsets: (questions + 1,) int64, where each question's spans begin.
        char_start: (spans,) int32, first character of the context.
        char_end: (spans,) int32, one past the last.
        score: (spans,) float32, start logit + end logit.
        probability: (spans,) float32, softmax of the scores over the question's spans.
        chosen: (questions,) int64, index of the answer among all spans, -1 for no answer.
        null_odds: (questions,) float32, score of "no answer" minus that of the best span, or None
            under rules where every question has an answer.
    """

    offsets: Int64s
    char_start: Int32s
    char_end: Int32s
    score: Float32s
    probability: Float32s
    chosen: Int64s
    null_odds: Float32s | None

    def texts(self, contexts: Sequence[str]) -> list[str]:
        """Return each question's answer, cut from its context; the empty text for no answer."""
        ranges = (self._of_chosen(values).tolist() for values in (self.char_start, self.char_end))
        return [text[first:last] for text, first, last in zip(contexts, *ranges, strict=True)]

    def best_spans(self, contexts: Sequence[str]) -> list[str]:
        """Return each question's best span, whatever the odds of "no answer"; empty without any."""
        question = np.repeat(np.arange(len(self.chosen)), np.diff(self.offsets))
        first = _first(self.char_start < self.char_end, self.offsets, question)
        return replace(self, chosen=first).texts(contexts)

    def table(self, contexts: Sequence[str]) -> pa.Table:
        """Return a row per question: the answer, and its confidence.

        Args:
            contexts: (questions,) context of each question.

        Returns:
            `answer`; `char_start`, `char_end` (0 for no answer); `score`, the answer's probability
            among the question's n best spans; `null_odds`, null under rules without "no answer".
        """
        is_null = (self.char_start == 0) & (self.char_end == 0)
        of_null = np.zeros(len(self.chosen), np.float32)
        question = np.repeat(np.arange(len(self.chosen)), np.diff(self.offsets))
        of_null[question[is_null]] = self.probability[is_null]
        no_odds = pa.nulls(len(self.chosen), pa.float32())
        return pa.table(
            {
                "answer": self.texts(contexts),
                "char_start": self._of_chosen(self.char_start),
                "char_end": self._of_chosen(self.char_end),
                "score": np.where(self.chosen < 0, of_null, self._of_chosen(self.probability)),
                "null_odds": no_odds if self.null_odds is None else self.null_odds,
            }
        )

    def _of_chosen(self, values: NDArray) -> NDArray:
        """Return the value of each question's answer, 0 for no answer."""
        result = np.zeros(len(self.chosen), values.dtype)
        result[self.chosen >= 0] = values[self.chosen[self.chosen >= 0]]
        return result


def merge_spans(
    candidates: pa.Table, num_questions: int, *, n_best: int, no_answer_threshold: float | None
) -> Answers:
    """Merge the spans of all windows of each question, and choose its answer.

    Args:
        candidates: What `decode` returned, for the windows of all questions, in any order.
        num_questions: Questions in all; one without a window gets no answer.
        n_best: Spans kept per question.
        no_answer_threshold: SQuAD 2.0: no answer where its score exceeds the best span's by more
            than this. None: every question has an answer.

    Returns:
        The answers, in the order of the questions' rows.
    """
    candidates = candidates.sort_by([("row", "ascending"), ("part", "ascending")]).combine_chunks()
    spans = _spans_of(candidates)
    nulls = None if no_answer_threshold is None else _least_nulls(candidates)
    if nulls is not None:  # behind the others: null comes last among equals
        pairs: Any = zip(spans, nulls, strict=True)
        spans = _Spans._make(np.concatenate([found, null]) for found, null in pairs)
    spans = _best_of_questions(spans, num_questions, n_best)
    offsets = _offsets(spans.question, num_questions)
    has_text = spans.char_start < spans.char_end
    chosen, null_odds = _first(has_text, offsets, spans.question), None
    if nulls is not None and no_answer_threshold is not None:
        null_odds = _null_odds(spans, chosen, nulls)
        chosen = np.where(null_odds > no_answer_threshold, -1, chosen)
    return Answers(
        offsets=offsets,
        char_start=spans.char_start,
        char_end=spans.char_end,
        score=spans.score,
        probability=_softmax(spans.score, offsets, spans.question),
        chosen=chosen,
        null_odds=null_odds,
    )


class _Spans(NamedTuple):
    """Candidates of all questions, end to end: arrays of shape (spans,)."""

    question: Int64s
    char_start: Int32s
    char_end: Int32s
    start_logit: Float32s
    end_logit: Float32s
    is_null: NDArray[np.bool_]

    @property
    def score(self) -> Float32s:
        return self.start_logit + self.end_logit


def _spans_of(candidates: pa.Table) -> _Spans:
    """Return the spans of all windows, window after window, the best of a window first."""
    columns = [
        candidates[name].combine_chunks()
        for name in ("char_start", "char_end", "start_logit", "end_logit")
    ]
    counts = np.diff(columns[0].offsets.to_numpy())  # (windows,)
    question = np.repeat(candidates["row"].to_numpy().astype(np.int64), counts)
    values = [column.flatten().to_numpy() for column in columns]
    return _Spans._make([question, *values, np.zeros(len(question), bool)])


def _least_nulls(candidates: pa.Table) -> _Spans:
    """Return a span of no characters for each question with windows: its least null score's."""
    rows = candidates["row"].to_numpy().astype(np.int64)
    start, end = candidates["null_start"].to_numpy(), candidates["null_end"].to_numpy()
    order = np.lexsort((start + end, rows))
    question, first = np.unique(rows[order], return_index=True)
    least = order[first]
    nothing = np.zeros(len(question), np.int32)
    is_null = np.ones(len(question), bool)
    return _Spans(question, nothing, nothing, start[least], end[least], is_null)


def _best_of_questions(spans: _Spans, num_questions: int, n_best: int) -> _Spans:
    """Return each question's n best spans, best first, and its null where none of them is empty.

    A span of characters that several windows show is one, with the score of its best window.
    """
    # Stable: ties keep window order, null last. Each window's spans are in order already, which
    # the sort makes use of.
    keys = (spans.question << 32) | (0xFFFFFFFF - rising(spans.score))
    order = np.argsort(keys, kind="stable")
    spans = _Spans._make(values[order] for values in spans)
    firsts = _first_of_each(spans)
    spans = _Spans._make(values[firsts] for values in spans)
    rank = np.arange(len(firsts)) - _offsets(spans.question, num_questions)[spans.question]
    kept = rank < n_best
    knows_null = np.zeros(num_questions, bool)
    knows_null[spans.question[kept & (spans.char_start == 0) & (spans.char_end == 0)]] = True
    kept |= spans.is_null & ~knows_null[spans.question]
    return _Spans._make(values[kept] for values in spans)


def _first_of_each(spans: _Spans) -> Int64s:
    """Return the index of each span of characters where several windows show it, the best one's.

    Indices keep the order of the spans, in which questions stand together. The null is a span of
    its own.
    """
    place = (spans.char_start.astype(np.int64) << 32) | spans.char_end
    place[spans.is_null] = -1
    order = np.lexsort((place, spans.question))  # stable
    differs = np.diff(place[order]).astype(bool) | np.diff(spans.question[order]).astype(bool)
    return np.sort(order[np.append(True, differs)[: len(order)]])


def _null_odds(spans: _Spans, best: Int64s, nulls: _Spans) -> Float32s:
    """Return (questions,) the null score minus that of the best span, an index or -1 each."""
    null_score = np.zeros(len(best), np.float32)
    null_score[nulls.question] = nulls.score
    odds = np.full(len(best), NO_SPAN_ODDS, np.float32)
    has_span = best >= 0
    index = best[has_span]
    odds[has_span] = null_score[has_span] - spans.start_logit[index] - spans.end_logit[index]
    return odds


def _offsets(question: Int64s, num_questions: int) -> Int64s:
    """Return where each question's elements begin, (questions + 1,)."""
    return offsets_of(np.bincount(question, minlength=num_questions))


def _first(wanted: NDArray[np.bool_], offsets: Int64s, question: Int64s) -> Int64s:
    """Return the index of each question's first wanted element, -1 where it has none."""
    first = np.full(len(offsets) - 1, -1, np.int64)
    index = np.flatnonzero(wanted)[::-1]
    first[question[index]] = index  # the last write wins: the first element
    return first


def _softmax(score: Float32s, offsets: Int64s, question: Int64s) -> Float32s:
    """Softmax over each question's scores, which stand best first."""
    if not len(score):
        return score
    weight = np.exp(score - score[offsets[question]])
    total = np.bincount(question, weights=weight, minlength=len(offsets) - 1)
    return (weight / total[question]).astype(np.float32)
