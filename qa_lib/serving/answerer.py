"""One model with the call of the `question-answering` pipeline that transformers 5 removed.

As documented there, start and end logits of a window become probabilities over its context and its
null position, and a span scores the product of both. The pipeline summed the scores of a text over
all windows, so that what many windows show beat a better answer, with "probabilities" above 1
(transformers pull requests 38761 and 39193). Here a candidate is a span of characters, and its
score that of its best window; the score of "no answer" is that of the window where it is least, as
in evaluation, so that both together are at most 1.

Where the pipeline differed from its documentation, this follows the documentation: a question
beyond `max_question_len` is cut (with fast tokenizers it was not), and where fewer than `top_k`
spans are possible, fewer are returned (and no spans that end before they start).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qa_lib import models, windows
from qa_lib.errors import ConfigError, DataError
from qa_lib.models.inference import Forward
from qa_lib.models.placement import Placement
from qa_lib.serving.candidates import (
    NOTHING,
    Null,
    Span,
    best_spans,
    insert_null,
    probabilities,
    ranked,
)
from qa_lib.windows import WindowSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qa_lib.serving.onnx import OnnxReader

    Float32s = NDArray[np.float32]

# Drawn per window beyond 2 * top_k: aligned to words, several spans may become one.
_SPARE_SPANS = 10
_BATCH_SIZES = {"cpu": 8, "cuda": 64}


class Answerer:
    """A question-answering model, loaded once for any number of questions."""

    def __init__(
        self,
        model: str | Forward | OnnxReader,
        *,
        device: str = "cpu",
        precision: str = "fp32",
        batch_size: int | None = None,
        num_threads: int | None = None,
        placement: Placement = "single",
        max_memory: Sequence[str] | None = None,
        attention: str = "auto",
        measure: bool = False,
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
            attention: `train.attention`.
            measure: As of `Forward`; one question is answered sooner without.

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
                attention=attention,
                measure=measure,
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
        handle_impossible_answer: bool | None = None,
        threshold: float | None = None,
        align_to_words: bool = True,
        names: Sequence[str] | None = None,
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
            handle_impossible_answer: Whether "" is among the candidates; None: where there is a
                threshold for it. It comes first where its logits exceed the best span's by more
                than the threshold (0 without one), else among the others, by score.
            threshold: For "", in logits; None: the model's own.
            align_to_words: Widen answers to whole words: as the tokenizer divides the text, token
                by token where its script has no spaces.
            names: What messages call the questions; None: by their number.

        Returns:
            A dictionary of `score` (a probability: of the span's best window), `start` and `end`
            (half-open characters of the context) and `answer`; a list of them if there are several.
            For a list of questions a list of these. Where no span is possible, the answer is ""
            with a score of 0.

        Raises:
            ConfigError: A number is out of bounds, or questions and contexts differ in number.
            DataError: A question or context is empty.
            ModelError: A logit is not finite.
        """
        questions = [question] if isinstance(question, str) else list(question)
        contexts = [context] * len(questions) if isinstance(context, str) else list(context)
        _check_texts(questions, contexts)
        _check_bounds(top_k=top_k, max_answer_len=max_answer_len, max_question_len=max_question_len)
        if not questions:
            return []
        spec = self._spec(max_seq_len, doc_stride, max_question_len)
        table = self._windows(questions, contexts, spec, align_to_words, names)
        num_drawn = 2 * top_k + _SPARE_SPANS if align_to_words else top_k
        pooled, nulls = self._pool(table, len(questions), num_drawn, max_answer_len)
        if threshold is None:
            threshold = self._forward.no_answer_threshold
        if handle_impossible_answer is None:
            handle_impossible_answer = threshold is not None
        results = []
        for text, candidates, null in zip(contexts, pooled, nulls, strict=True):
            answers = ranked(text, candidates)
            if handle_impossible_answer:
                insert_null(answers, candidates, null, threshold or 0.0)
            best = answers[:top_k] or [dict(NOTHING)]
            results.append(best[0] if len(best) == 1 else best)
        return results[0] if isinstance(question, str) else results

    @property
    def max_length(self) -> int | None:
        """Tokens that the model's positions can hold; None: unbounded."""
        return self._forward.pad.max_width

    def _windows(
        self,
        questions: list[str],
        contexts: list[str],
        spec: WindowSpec,
        whole_words: bool,
        names: Sequence[str] | None,
    ) -> pa.Table:
        built = windows.build(
            pa.table({"question": questions, "context": contexts}),
            self._forward.tokenizer,
            spec,
            labels=False,
            whole_words=whole_words,
            shrink_stride=True,
        )
        if built.too_long:
            first = built.too_long[0]
            raise ConfigError(
                f"{names[first] if names else f'Question {first}'} leaves no room for its context"
                f" in windows of {spec.max_length} tokens.",
                "Raise --data.max-length, or lower --answer.max-question-length.",
            )
        if built.narrowed:
            print(
                f"note: {len(built.narrowed):,} of {len(questions):,} questions leave no room for a"
                f" stride of {spec.stride} in windows of {spec.max_length} tokens: theirs is half"
                " of the room.",
                file=sys.stderr,
            )
        return built.table

    def _pool(
        self, table: pa.Table, num_questions: int, num_drawn: int, max_answer_len: int
    ) -> tuple[list[list[Span]], list[Null]]:
        """Return the candidates of each question over its windows, and its least null."""
        pooled: list[list[Span]] = [[] for _ in range(num_questions)]
        scores = np.ones(num_questions)
        logits = np.full(num_questions, np.inf)
        for rows, start_logits, end_logits in self._forward(table):
            starts, start_total = probabilities(rows, start_logits)
            ends, end_total = probabilities(rows, end_logits)
            row, null = rows["row"].to_numpy(), rows["null_position"].to_numpy()
            window = np.arange(rows.num_rows)
            np.minimum.at(scores, row, starts[window, null] * ends[window, null])
            np.minimum.at(logits, row, start_logits[window, null] + end_logits[window, null])
            total = start_total + end_total
            for number, span in best_spans(rows, starts, ends, total, num_drawn, max_answer_len):
                pooled[number].append(span)
        return pooled, list(map(Null, scores.tolist(), logits.tolist()))

    def _spec(self, length: int | None, stride: int | None, max_question: int) -> WindowSpec:
        most = self.max_length
        if length is not None and most is not None and length > most:
            raise ConfigError(
                f"max_seq_len is {length}, but the model has positions for {most} tokens.",
                "Lower max_seq_len.",
            )
        length = length or min(384, most or 384)
        return WindowSpec(length, min(128, length // 2) if stride is None else stride, max_question)


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
            if text != text.encode("utf-8", "replace").decode():  # surrogates become ?
                raise DataError(
                    f"The {name} {number} is not Unicode: it has half of a surrogate pair.",
                    "Write the character whole, or leave it out.",
                )


def _check_bounds(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise ConfigError(f"{name} is {value}, but must be at least 1.", f"Raise {name}.")
