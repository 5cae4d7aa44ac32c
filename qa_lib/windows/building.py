"""Cut every context, lay every window out, find every label: one pass over flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from qa_lib.errors import ConfigError
from qa_lib.windows.labels import first_answers, locate
from qa_lib.windows.list_arrays import (
    Int32s,
    Int64s,
    as_array,
    as_lists,
    as_numpy,
    indices_of,
    offsets_of,
)
from qa_lib.windows.tokens import Layout, Tokens, tokenise, untruncated

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class WindowSpec:
    """How contexts are cut.

    Args:
        max_length: Most tokens in a window: question, context and special tokens.
        stride: Context tokens that consecutive windows share.
        max_question: Most tokens of a question; what exceeds them is cut off its end. None: all.

    Raises:
        ConfigError: The stride leaves no room to move on.
    """

    max_length: int
    stride: int
    max_question: int | None = None

    def __post_init__(self) -> None:
        """Refuse a stride that can never advance."""
        if not 0 <= self.stride < self.max_length:
            raise ConfigError(
                f"data.stride {self.stride} must be at least 0 and below data.max_length"
                f" {self.max_length}",
                "pass a smaller --data.stride (a third of --data.max-length is usual)",
            )


@dataclass(frozen=True)
class Windows:
    """What `build` returns.

    Attributes:
        table: One row per window, in (row, part) order.
        too_long: Rows whose question leaves their context no more room than the stride, so that it
            cannot be cut; they have no window.
    """

    table: pa.Table
    too_long: list[int]


def build(
    questions: pa.Table,
    tokenizer: PreTrainedTokenizerFast,
    spec: WindowSpec,
    *,
    first_row: int = 0,
    labels: bool = True,
    characters: bool = True,
    whole_words: bool = False,
) -> Windows:
    """Cut questions and their contexts into token windows.

    Questions are taken as they stand: strip them first where leading spaces must not become tokens.
    Windows come in (row, part) order, so builds over consecutive slices, concatenated, are the
    build over all; the caller numbers the windows of a whole split.

    Args:
        questions: Columns `question`, `context`, and for labels `answers`, as in `squad.SCHEMA`.
        tokenizer: A fast tokenizer. Its truncation and padding are as before when this returns.
        spec: Window length and stride, in tokens.
        first_row: Number of the first question, for the column `row`.
        labels: Whether to find each question's first answer (columns `start` and `end`).
        characters: Whether to keep `char_start` and `char_end`, which training does not need.
        whole_words: Whether these are the characters of each token's word, as far as the window
            shows it, and not those of the token: spans of tokens then map to whole words.

    Returns:
        The windows. The columns of their table, int32 or lists of int32:
        `row` number of the question; `part` n-th window of that question;
        `input_ids` (list) the tokens, unpadded; `length` their number;
        `context_begin`, `context_end` half-open positions of the context;
        `second_segment` first position whose token type is the second's, `length` without types;
        `null_position` position that means "no answer": the CLS token's, else BOS's, else 0;
        `start`, `end` inclusive positions of the answer where the window holds all of it, else
        `null_position` both;
        `char_start`, `char_end` (lists) half-open characters of each context token. (A tokenizer
        that trims spaces from offsets but keeps one at a window's first token trims that one too.)

    Raises:
        ConfigError: The stride leaves no room to move on beside the special tokens.
        ModelError: The tokenizer lays out pairs in a way that no window can express.
    """
    asked = as_array(questions["question"]).dictionary_encode()
    read = as_array(questions["context"]).dictionary_encode()
    with untruncated(tokenizer) as backend:
        layout = Layout.of(tokenizer, backend)
        question_tokens = tokenise(backend, asked.dictionary)
        context_tokens = tokenise(backend, read.dictionary, mark_words=whole_words)
    question_text, context_text = as_numpy(asked.indices), as_numpy(read.indices)

    num_question = question_tokens.counts
    if spec.max_question is not None:
        num_question = np.minimum(num_question, spec.max_question)
    cuts, too_long = _cut(
        num_question[question_text],
        context_tokens.counts[context_text],
        _room(spec, layout),
        spec.stride,
        from_the_end=tokenizer.truncation_side == "left",
    )
    question_text, context_text = question_text[cuts.row], context_text[cuts.row]  # of each window
    question = _Runs(
        question_tokens,
        question_tokens.offsets[question_text],
        num_question[question_text],
    )
    context = _Runs(context_tokens, context_tokens.offsets[context_text] + cuts.begin, cuts.count)

    def place(position: int) -> Int32s:
        return layout.place(position, question.count, context.count)

    context_begin, length, null = map(place, (layout.context_begin, layout.length, layout.null))
    columns: dict[str, Any] = {
        "row": (cuts.row + first_row).astype(np.int32),
        "part": cuts.part.astype(np.int32),
        "input_ids": as_lists(_lay_out(layout, question, context), length),
        "length": length,
        "context_begin": context_begin,
        "context_end": context_begin + context.count,
        "second_segment": place(layout.type_begin),
        "null_position": null,
    }
    if labels:
        begin, end = first_answers(questions["answers"])
        first, last, inside = locate(
            context_tokens,
            context_text,
            context.begin,
            context.count,
            begin[cuts.row],
            end[cuts.row],
        )
        columns["start"] = np.where(inside, context_begin + first, null)
        columns["end"] = np.where(inside, context_begin + last, null)
    if characters:
        source = indices_of(context.begin, context.count)
        start, end = context_tokens.start[source], context_tokens.end[source]
        if context_tokens.begins_word is not None:
            start, end = _of_words(start, end, context_tokens.begins_word[source], context.count)
        columns["char_start"] = as_lists(start, context.count)
        columns["char_end"] = as_lists(end, context.count)
    return Windows(pa.table(columns), (np.flatnonzero(too_long) + first_row).tolist())


def _of_words(
    start: Int32s, end: Int32s, begins_word: NDArray[np.bool_], counts: Int32s
) -> tuple[Int32s, Int32s]:
    """Give every token the characters of its word, of which a window may show a part only.

    Args:
        start: First character of every context token, window after window; (tokens,).
        end: One past its last, likewise.
        begins_word: Whether it begins a word, likewise.
        counts: Context tokens of each window, (windows,).
    """
    begins = begins_word.copy()
    begins[offsets_of(counts)[:-1][counts > 0]] = True
    first = np.flatnonzero(begins)
    last = np.append(first, len(begins))[1:] - 1
    word = np.cumsum(begins) - 1
    return start[first][word], end[last][word]


def _room(spec: WindowSpec, layout: Layout) -> int:
    """Return the number of tokens that question and context can share in a window."""
    room = spec.max_length - layout.num_specials
    if room <= spec.stride:
        raise ConfigError(
            f"data.max_length {spec.max_length} leaves {room} tokens beside the special tokens, no"
            f" more than data.stride {spec.stride}",
            "pass a larger --data.max-length or a smaller --data.stride",
        )
    return room


@dataclass(frozen=True)
class _Cuts:
    """What each window shows, arrays of shape (windows,)."""

    row: Int64s
    part: Int64s
    begin: Int64s  # first token, of its context
    count: Int32s  # context tokens


def _cut(
    num_question: Int32s, num_context: Int32s, room: int, stride: int, *, from_the_end: bool
) -> tuple[_Cuts, NDArray[np.bool_]]:
    """Cut every context into windows; the second result, of shape (rows,), marks those too long."""
    context_room = room - num_question
    fits = num_context <= context_room  # one window, whatever the stride
    too_long = ~fits & (context_room <= stride)
    step = np.where(fits | too_long, 1, context_room - stride)
    num_parts = 1 + np.where(fits, 0, -((context_room - num_context) // step))  # rounded up
    num_parts[too_long] = 0

    row = np.repeat(np.arange(len(num_parts)), num_parts)
    part = indices_of(np.zeros_like(num_parts), num_parts)
    skipped, num_tokens, most = part * step[row], num_context[row], context_room[row]
    if from_the_end:  # the first window shows the end of the context
        end = num_tokens - skipped
        begin = np.maximum(end - most, 0)
    else:
        begin = skipped
        end = np.minimum(begin + most, num_tokens)
    return _Cuts(row, part, begin, end - begin), too_long


@dataclass(frozen=True)
class _Runs:
    """A run of tokens for each window, arrays of shape (windows,)."""

    tokens: Tokens
    begin: Int64s  # index into tokens.ids
    count: Int32s


def _lay_out(layout: Layout, question: _Runs, context: _Runs) -> Int32s:
    """Write all windows end to end, with one gather from a pool of all tokens."""
    specials = layout.prefix + layout.middle + layout.suffix
    pool = np.concatenate([np.array(specials, np.int32), question.tokens.ids, context.tokens.ids])
    num_prefix, num_middle = len(layout.prefix), len(layout.middle)
    first_question = len(specials)
    first_context = first_question + len(question.tokens.ids)
    segments: list[tuple[Any, Any]] = [  # begin in the pool and number of tokens, of each window
        (0, num_prefix),
        (first_question + question.begin, question.count),
        (num_prefix, num_middle),
        (first_context + context.begin, context.count),
        (num_prefix + num_middle, len(layout.suffix)),
    ]
    begins = np.empty((len(question.begin), len(segments)), np.int64)
    counts = np.empty(begins.shape, np.int32)
    for i, (begin, count) in enumerate(segments):
        begins[:, i], counts[:, i] = begin, count
    return pool[indices_of(begins.ravel(), counts.ravel())]
