"""One model with the call of the `question-answering` pipeline that transformers 5 removed.

As documented there, start and end logits of a window become probabilities over its context and its
null position, a span scores the product of both, the spans of all windows are pooled, and spans of
the same text count as one (transformers pull requests 38761 and 39193).

Where the pipeline differed from its documentation, this follows the documentation: a question
beyond `max_question_len` is cut (with fast tokenizers it was not), and where fewer than `top_k`
spans are possible, fewer are returned (and no spans that end before they start).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qa_lib import models, windows
from qa_lib.errors import ConfigError, DataError
from qa_lib.evaluation import spans
from qa_lib.models.inference import Forward
from qa_lib.models.placement import Placement
from qa_lib.windows import WindowSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Float32s = NDArray[np.float32]

_WINDOWS_AT_A_TIME = 64
# Drawn per window beyond 2 * top_k: aligned to words, several spans may become one.
_SPARE_SPANS = 10
_BATCH_SIZES = {"cpu": 8, "cuda": 64}
_NOTHING: dict[str, Any] = {"score": 0.0, "start": 0, "end": 0, "answer": ""}


class Answerer:
    """A question-answering model, loaded once for any number of questions."""

    def __init__(
        self,
        model: str | Forward,
        *,
        device: str = "cpu",
        precision: str = "fp32",
        batch_size: int | None = None,
        num_threads: int | None = None,
        placement: Placement = "single",
        max_memory: Sequence[str] | None = None,
    ) -> None:
        """Load the model.

        Args:
            model: What `models.load` takes, or a loaded model.
            device: cpu or cuda.
            precision: Of the arithmetic: fp32, bf16, fp16 or auto.
            batch_size: Windows per forward pass; None takes 64 on a GPU, and 8 on a CPU, which is
                as fast there and pads less.
            num_threads: Of torch on a CPU; all cores where None.
            placement: Where the weights lie, see `placement.place`.
            max_memory: For the placement `auto`.

        Raises:
            ModelError: The model is not available, or was never trained to answer questions.
        """
        if isinstance(model, str):
            models.check_answers(model)
            model = Forward(
                model,
                device=device,
                precision=precision,
                batch_size=batch_size or _BATCH_SIZES[device],
                num_threads=num_threads,
                placement=placement,
                max_memory=max_memory,
            )
        self._forward = model

    def __call__(
        self,
        question: str | Sequence[str],
        context: str | Sequence[str],
        *,
        top_k: int = 1,
        doc_stride: int | None = None,
        max_answer_len: int = 15,
        max_seq_len: int | None = None,
        max_question_len: int = 64,
        handle_impossible_answer: bool = False,
        align_to_words: bool = True,
    ) -> Any:
        """Answer one question, or several.

        Args:
            question: A question, or a list of questions.
            context: The passage to answer from; for several questions one for all, or one each.
            top_k: Answers per question, best first; fewer where fewer are possible.
            doc_stride: Tokens that consecutive windows of a long context share; None takes 128, at
                most half of `max_seq_len`.
            max_answer_len: Longest answer, in tokens.
            max_seq_len: Tokens in a window, special ones included; None takes 384 or the maximum.
            max_question_len: Question tokens; the rest of a longer question is cut off.
            handle_impossible_answer: Whether "" is among the candidates.
            align_to_words: Widen answers to whole words, as the tokenizer divides the text.

        Returns:
            A dictionary of `score` (a probability, summed over the spans of the same text), `start`
            and `end` (half-open characters of the context) and `answer`; a list of them if there
            are several. For a list of questions a list of these. Where no span is possible, the
            answer is "" with a score of 0.

        Raises:
            ConfigError: A number is out of bounds, or questions and contexts differ in number.
            DataError: A question or context is empty.
            ModelError: A logit is not finite.
        """
        questions = [question] if isinstance(question, str) else list(question)
        contexts = [context] * len(questions) if isinstance(context, str) else list(context)
        _check_texts(questions, contexts)
        _check_bounds(top_k=top_k, max_answer_len=max_answer_len, max_question_len=max_question_len)
        table = windows.build(
            pa.table({"question": questions, "context": contexts}),
            self._forward.tokenizer,
            self._spec(max_seq_len, doc_stride, max_question_len),
            labels=False,
            whole_words=align_to_words,
        ).table
        num_drawn = 2 * top_k + _SPARE_SPANS if align_to_words else top_k
        pooled, null_scores = self._pool(table, len(questions), num_drawn, max_answer_len)
        results = []
        for text, candidates, null_score in zip(contexts, pooled, null_scores, strict=True):
            answers = _merge(text, candidates)
            if handle_impossible_answer:
                answers.append(_NOTHING | {"score": null_score})
            answers.sort(key=lambda answer: answer["score"], reverse=True)
            best = answers[:top_k] or [dict(_NOTHING)]
            results.append(best[0] if len(best) == 1 else best)
        return results[0] if isinstance(question, str) else results

    def _pool(
        self, table: pa.Table, num_questions: int, num_drawn: int, max_answer_len: int
    ) -> tuple[list[list[_Span]], list[float]]:
        """Return the candidates of each question over its windows, and its least null score."""
        pooled: list[list[_Span]] = [[] for _ in range(num_questions)]
        null_scores = np.ones(num_questions)
        for rows, start_logits, end_logits in self._forward(table):
            starts = _probabilities(rows, start_logits)
            ends = _probabilities(rows, end_logits)
            row, null = rows["row"].to_numpy(), rows["null_position"].to_numpy()
            window = np.arange(rows.num_rows)
            np.minimum.at(null_scores, row, starts[window, null] * ends[window, null])
            for number, span in _best_spans(rows, starts, ends, num_drawn, max_answer_len):
                pooled[number].append(span)
        return pooled, null_scores.tolist()

    def _spec(self, length: int | None, stride: int | None, max_question: int) -> WindowSpec:
        length = length or min(384, models.maximum_length(self._forward.model.config) or 384)
        return WindowSpec(length, min(128, length // 2) if stride is None else stride, max_question)


@dataclass(frozen=True, order=True)
class _Span:
    """A candidate; candidates sort by window, and within a window best first."""

    part: int
    rank: int
    score: float
    start: int
    end: int


def _check_texts(questions: Sequence[str], contexts: Sequence[str]) -> None:
    if len(questions) != len(contexts):
        raise ConfigError(
            f"There are {len(questions)} questions and {len(contexts)} contexts.",
            "Give one context for all questions, or one each.",
        )
    for name, texts in (("question", questions), ("context", contexts)):
        for number, text in enumerate(texts):
            if not text.strip():
                raise DataError(f"The {name} {number} is empty.", "Leave it out, or fill it in.")
            if not _is_unicode(text):
                raise DataError(
                    f"The {name} {number} is not Unicode: it has half of a surrogate pair.",
                    "Write the character whole, or leave it out.",
                )


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _check_bounds(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}, but must be at least 1.", f"Raise {name}.")


def _probabilities(table: pa.Table, logits: Float32s) -> Float32s:
    """Softmax over each window's context and null position, (windows, tokens); elsewhere 0."""
    position = np.arange(logits.shape[1])
    possible = (position >= table["context_begin"].to_numpy()[:, None]) & (
        position < table["context_end"].to_numpy()[:, None]
    )
    possible[np.arange(len(logits)), table["null_position"].to_numpy()] = True
    masked = np.where(possible, logits, np.float32(-np.inf))
    weights = np.exp(masked - masked.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def _best_spans(
    table: pa.Table, starts: Float32s, ends: Float32s, count: int, max_answer_len: int
) -> Iterable[tuple[int, _Span]]:
    """Yield each window's best spans of context, with the row of their question.

    Args:
        table: (windows,) rows with character offsets.
        starts: (windows, tokens) float32 probabilities.
        ends: Likewise.
        count: Spans per window.
        max_answer_len: Longest span, in tokens.
    """
    for first in range(0, table.num_rows, _WINDOWS_AT_A_TIME):
        some = slice(first, first + _WINDOWS_AT_A_TIME)
        part = table.slice(first, _WINDOWS_AT_A_TIME)
        width = min(max_answer_len, starts.shape[1])
        padded = np.pad(ends[some], ((0, 0), (0, width - 1)))
        # (windows, starts, lengths): the end lies `length` tokens after the start
        scores = starts[some, :, None] * np.lib.stride_tricks.sliding_window_view(padded, width, 1)
        start = np.arange(starts.shape[1])[:, None]  # (starts, 1)
        begin, end = (
            part[name].to_numpy()[:, None, None] for name in ("context_begin", "context_end")
        )
        possible = (start >= begin) & (start + np.arange(width) < end)
        flat = (part.num_rows, -1)
        counts, pair = spans.best_of_rows(scores.reshape(flat), count, possible.reshape(flat))
        window = np.repeat(np.arange(part.num_rows), counts)  # (spans,)
        first_token, last_token = pair // width, pair // width + pair % width
        char_start, char_end = windows.characters(part, window, first_token, last_token)
        rank = np.arange(len(window)) - np.repeat(np.cumsum(counts) - counts, counts)
        score = scores.reshape(flat)[window, pair]
        columns = (part["part"].to_numpy()[window], rank, score, char_start, char_end)
        row = part["row"].to_numpy()[window].tolist()
        yield from zip(row, map(_Span, *(column.tolist() for column in columns)), strict=True)


def _merge(context: str, candidates: list[_Span]) -> list[dict[str, Any]]:
    """Count spans of the same text, whatever its case, as one: the first, with the summed score."""
    by_text: dict[str, dict[str, Any]] = {}
    for span in sorted(candidates):
        text = context[span.start : span.end]
        answer = by_text.setdefault(
            text.lower(), {"score": 0.0, "start": span.start, "end": span.end, "answer": text}
        )
        answer["score"] += span.score
    return list(by_text.values())
