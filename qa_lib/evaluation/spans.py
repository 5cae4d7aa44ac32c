"""Logits to answers: the n-best spans of every window, merged over the windows of a question.

The answers are those of the usual loop (for each window the n best starts against the n best ends,
what is no span inside the context dropped, then the n best of all windows of the question), span
for span and in the same order, but for thousands of windows at a time. Ties are decided as that
loop decides them with stable sorts: of equal logits the later token ranks first, of equal scores
the earlier window, then the better start, then the better end; "no answer" comes last.

One difference: where no span is possible at all, the loop answers with the word "empty", and we
with the empty text.

Source:
    Devlin et al. 2019, section 4.2 and 4.3 (score of a span; null score and threshold).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from qa_lib import windows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Int32s = NDArray[np.int32]
    Int64s = NDArray[np.int64]
    Float32s = NDArray[np.float32]

# Windows decoded at a time: their start-end pairs stay in the processor's cache.
_WINDOWS_AT_A_TIME = 128
_COLUMN_BITS = 24  # of a sort key, beside 32 of a float and 7 of a row

NO_SPAN_ODDS = float(np.finfo(np.float32).max)
"""Null odds of a question without a single span: above every threshold, and finite for JSON."""


def decode(
    table: pa.Table,
    start_logits: Float32s,
    end_logits: Float32s,
    *,
    n_best: int,
    max_answer_length: int,
) -> pa.Table:
    """Find the n best spans of each window.

    Args:
        table: (windows) rows that `windows.build` made, with character offsets.
        start_logits: (windows, tokens) float32, position 0 at the window's first token, -inf after
            its last; no NaN.
        end_logits: Likewise.
        n_best: Starts and ends considered, and spans kept, per window.
        max_answer_length: Longest span, in tokens.

    Returns:
        One row per window, in the same order: `row` and `part` of the window; `null_start` and
        `null_end` (float32), its logits of "no answer"; and its spans, best first, as lists:
        `char_start`, `char_end` (int32, half-open characters of the context), `start_logit`,
        `end_logit` (float32).
    """
    found = []
    for first in range(0, max(table.num_rows, 1), _WINDOWS_AT_A_TIME):
        some = slice(first, first + _WINDOWS_AT_A_TIME)
        part = table.slice(first, _WINDOWS_AT_A_TIME)
        found.append(
            _decode_some(part, start_logits[some], end_logits[some], n_best, max_answer_length)
        )
    return pa.concat_tables(found)


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
        """Return the answer to each question, the empty text for no answer.

        Args:
            contexts: (questions,) context of each question.
        """
        ranges = (self._of_chosen(values).tolist() for values in (self.char_start, self.char_end))
        return [text[first:last] for text, first, last in zip(contexts, *ranges, strict=True)]

    def best_spans(self, contexts: Sequence[str]) -> list[str]:
        """Return each question's best span, whatever the odds of "no answer"; empty where none is.

        Args:
            contexts: (questions,) context of each question.
        """
        question = np.repeat(np.arange(len(self.chosen)), np.diff(self.offsets))
        first = _first(self.char_start < self.char_end, self.offsets, question)
        return replace(self, chosen=first).texts(contexts)

    def table(self, contexts: Sequence[str]) -> pa.Table:
        """Return a row per question: what was answered, and how sure it is.

        Args:
            contexts: (questions,) context of each question.

        Returns:
            `answer`; `char_start`, `char_end` (0 for no answer); `score`, the answer's probability
            among the question's n best spans; `null_odds`, null where the rules know no such thing.
        """
        is_null = (self.char_start == 0) & (self.char_end == 0)
        of_null = np.zeros(len(self.chosen), np.float32)
        question = np.repeat(np.arange(len(self.chosen)), np.diff(self.offsets))
        of_null[question[is_null]] = self.probability[is_null]
        odds = (
            pa.nulls(len(self.chosen), pa.float32()) if self.null_odds is None else self.null_odds
        )
        return pa.table(
            {
                "answer": self.texts(contexts),
                "char_start": self._of_chosen(self.char_start),
                "char_end": self._of_chosen(self.char_end),
                "score": np.where(self.chosen < 0, of_null, self._of_chosen(self.probability)),
                "null_odds": odds,
            }
        )

    def _of_chosen(self, values: NDArray) -> NDArray:
        """Return the value of each question's answer, 0 for no answer."""
        result = np.zeros(len(self.chosen), values.dtype)
        result[self.chosen >= 0] = values[self.chosen[self.chosen >= 0]]
        return result


def merge(
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
    rows = candidates["row"].to_numpy().astype(np.int64)
    counts, (char_start, char_end, start_logit, end_logit) = _flatten(
        candidates, ("char_start", "char_end", "start_logit", "end_logit")
    )
    question = np.repeat(rows, counts)
    is_null = np.zeros(len(question), bool)
    if no_answer_threshold is not None:
        asked, null_start, null_end = _least_null(candidates, rows)
        question = np.concatenate([question, asked])
        zeros = np.zeros(len(asked), np.int32)
        char_start, char_end = np.append(char_start, zeros), np.append(char_end, zeros)
        start_logit = np.concatenate([start_logit, null_start])
        end_logit = np.concatenate([end_logit, null_end])
        is_null = np.append(is_null, np.ones(len(asked), bool))

    score = start_logit + end_logit
    # Stable: ties keep window order, null last. Each window's spans are in order already, which
    # the sort makes use of.
    order = np.argsort((question << 32) | (0xFFFFFFFF - _rising(score)), kind="stable")
    question = question[order]
    kept = np.arange(len(question)) - _offsets(question, num_questions)[question] < n_best
    if no_answer_threshold is not None:
        at_zero = kept & (char_start[order] == 0) & (char_end[order] == 0)
        knows_null = np.zeros(num_questions, bool)
        knows_null[question[at_zero]] = True
        kept |= is_null[order] & ~knows_null[question]
    order, question = order[kept], question[kept]

    offsets = _offsets(question, num_questions)
    has_text = (char_start < char_end)[order]
    chosen = _first(np.ones_like(has_text), offsets, question)
    null_odds = None
    if no_answer_threshold is not None:
        chosen = _first(has_text, offsets, question)
        null_odds = np.full(num_questions, NO_SPAN_ODDS, np.float32)
        null_score = np.zeros(num_questions, np.float32)
        null_score[asked] = null_start + null_end
        best = order[chosen[chosen >= 0]]
        null_odds[chosen >= 0] = null_score[chosen >= 0] - start_logit[best] - end_logit[best]
        chosen = np.where(null_odds > no_answer_threshold, -1, chosen)
    return Answers(
        offsets=offsets,
        char_start=char_start[order],
        char_end=char_end[order],
        score=score[order],
        probability=_softmax(score[order], offsets, question),
        chosen=chosen,
        null_odds=null_odds,
    )


def _decode_some(
    table: pa.Table,
    start_logits: Float32s,
    end_logits: Float32s,
    n_best: int,
    max_answer_length: int,
) -> pa.Table:
    row = np.arange(table.num_rows)
    starts = _best_positions(start_logits, n_best)
    ends = _best_positions(end_logits, n_best)
    possible = _possible(starts, ends, table, max_answer_length)
    # (windows, starts, ends)
    scores = start_logits[row[:, None], starts][:, :, None]
    scores = scores + end_logits[row[:, None], ends][:, None, :]
    num_pairs = starts.shape[1] * ends.shape[1]
    counts, pair = best_of_rows(
        scores.reshape(len(row), num_pairs), n_best, possible.reshape(len(row), num_pairs)
    )
    window = np.repeat(row, counts)
    start = starts[window, pair // ends.shape[1]]
    end = ends[window, pair % ends.shape[1]]
    char_start, char_end = windows.characters(table, window, start, end)
    offsets = np.append(0, np.cumsum(counts)).astype(np.int32)
    null = table["null_position"].to_numpy()
    return pa.table(
        {
            "row": table["row"],
            "part": table["part"],
            "null_start": start_logits[row, null],
            "null_end": end_logits[row, null],
            "char_start": pa.ListArray.from_arrays(offsets, char_start),
            "char_end": pa.ListArray.from_arrays(offsets, char_end),
            "start_logit": pa.ListArray.from_arrays(offsets, start_logits[window, start]),
            "end_logit": pa.ListArray.from_arrays(offsets, end_logits[window, end]),
        }
    )


def _best_positions(logits: Float32s, count: int) -> Int32s:
    """Return the positions of the largest logits, (windows, count), best first, later ones first.

    All positions where there are fewer.
    """
    num_windows, width = logits.shape
    _, mirrored = best_of_rows(logits[:, ::-1], min(count, width), None)
    return (width - 1 - mirrored).astype(np.int32).reshape(num_windows, min(count, width))


def _possible(starts: Int32s, ends: Int32s, table: pa.Table, max_length: int) -> NDArray[np.bool_]:
    """Return which starts and ends make a span of the context, (windows, starts, ends)."""
    context_begin = table["context_begin"].to_numpy()[:, None]
    context_end = table["context_end"].to_numpy()[:, None]
    limit = np.minimum(starts + np.int32(max_length), context_end)
    limit = np.where(starts >= context_begin, limit, 0)  # no end is below 0
    return (ends[:, None, :] >= starts[:, :, None]) & (ends[:, None, :] < limit[:, :, None])


def best_of_rows(
    values: Float32s, count: int, wanted: NDArray[np.bool_] | None
) -> tuple[Int64s, Int64s]:
    """Rank the values of each row, and of equal ones the earlier first.

    Args:
        values: (rows, columns) float32; at most 128 rows and 16 million columns.
        count: How many to keep per row.
        wanted: (rows, columns) bool, what to rank; all where None.

    Returns:
        (rows,) number kept, fewer than `count` where fewer are wanted; and the columns of all that
        are kept, row after row, best first.
    """
    num_rows, num_columns = values.shape
    considered = values if wanted is None else np.where(wanted, values, np.float32(-np.inf))
    cut = num_columns - count
    if cut > 0:
        # The count-th largest; all that equal it are still in the running.
        least = np.partition(considered, cut, axis=1)[:, cut, None]
        passed = considered >= least
        wanted = passed if wanted is None else passed & wanted
    elif wanted is None:
        wanted = np.ones(values.shape, bool)
    index = np.flatnonzero(wanted)
    row, column = index // num_columns, index % num_columns
    # Every key is distinct, so any sort decides ties alike.
    falling = 0xFFFFFFFF - _rising(values[row, column])
    keys = np.sort((row << (32 + _COLUMN_BITS)) | (falling << _COLUMN_BITS) | column)
    row = keys >> (32 + _COLUMN_BITS)
    found = np.bincount(row, minlength=num_rows)
    rank = np.arange(len(keys)) - np.repeat(np.cumsum(found) - found, found)
    return np.minimum(found, count), keys[rank < count] & ((1 << _COLUMN_BITS) - 1)


def _rising(values: Float32s) -> Int64s:
    """Return integers from 0 to 2^32 - 1 that rank as the values do.

    A float's bits, read as an integer, rank as the float once those of negative ones are flipped.
    """
    bits = (values + np.float32(0)).view(np.int32)  # + 0 turns -0.0, which equals 0.0, into it
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).astype(np.int64) + 0x80000000


def _flatten(table: pa.Table, names: Sequence[str]) -> tuple[Int64s, list[NDArray]]:
    """Return the number of elements in each row's lists, and each list column end to end."""
    arrays = [table[name].combine_chunks() for name in names]
    counts = np.diff(arrays[0].offsets.to_numpy()).astype(np.int64)
    return counts, [array.flatten().to_numpy() for array in arrays]


def _least_null(candidates: pa.Table, rows: Int64s) -> tuple[Int64s, Float32s, Float32s]:
    """Return each question that has windows, with the logits of its least null score."""
    start, end = candidates["null_start"].to_numpy(), candidates["null_end"].to_numpy()
    order = np.lexsort((start + end, rows))
    asked, first = np.unique(rows[order], return_index=True)
    least = order[first]
    return asked, start[least], end[least]


def _offsets(question: Int64s, num_questions: int) -> Int64s:
    """Return where each question's elements begin, (questions + 1,)."""
    return np.append(0, np.cumsum(np.bincount(question, minlength=num_questions)))


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
