"""Cut contexts, lay windows out and find labels, in one pass over flat arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
from qa_lib.windows.tokens import Layout, Segments, tokenise, untruncated

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@dataclass(frozen=True)
class WindowSpec:
    """How contexts are cut, in tokens.

    Args:
        max_length: Most tokens in a window: question, context and special tokens.
        stride: Context tokens that consecutive windows share.
        max_question: Most tokens of a question; the end of a longer one is cut off.

    Raises:
        ConfigError: The stride is not below the length, so that windows would never advance.
    """

    max_length: int
    stride: int
    max_question: int = np.iinfo(np.int32).max

    def __post_init__(self) -> None:
        """Check the stride."""
        if not 0 <= self.stride < self.max_length:
            raise ConfigError(
                f"data.stride {self.stride} must be at least 0 and below data.max_length"
                f" {self.max_length}",
                "pass a smaller --data.stride (a third of --data.max-length is usual)",
            )


@dataclass(frozen=True)
class Windows:
    """Token windows of questions.

    The columns of the table are int32 or lists of int32. Where a tokenizer trims spaces from
    offsets but keeps one at a window's first token, `char_start` and `char_end` trim that one too.

    Attributes:
        table: One row per window, in (row, part) order:
            `row` number of the question; `part` n-th window of that question;
            `input_ids` (list) the tokens, unpadded; `length` their number;
            `context_begin`, `context_end` half-open positions of the context;
            `second_segment` first position whose token type is 1, `length` without token types;
            `null_position` position that means "no answer": the CLS token's, else BOS's, else 0;
            `start`, `end` inclusive positions of the answer if the window holds all of it, else
            both `null_position`;
            `char_start`, `char_end` (lists) half-open characters of each context token.
        too_long: Rows without windows: the question leaves the context no more room than the
            stride.
        narrowed: Rows whose windows share fewer tokens than the stride, with `shrink_stride`.
    """

    table: pa.Table
    too_long: list[int]
    narrowed: list[int]


def build(
    questions: pa.Table,
    tokenizer: PreTrainedTokenizerFast,
    spec: WindowSpec,
    *,
    first_row: int = 0,
    labels: bool = True,
    characters: bool = True,
    whole_words: bool = False,
    shrink_stride: bool = False,
) -> Windows:
    """Cut questions and their contexts into token windows.

    White space around a question is not tokenised: to a byte-level tokenizer, it is tokens.
    Builds over consecutive slices, concatenated, are the build over all.

    Args:
        questions: Columns `question`, `context`, and for labels `answers`, as in `data.SCHEMA`.
        tokenizer: A fast tokenizer. Its truncation and padding are as before when this returns.
        spec: Window length and stride, in tokens.
        first_row: Number of the first question, for the column `row`.
        labels: Whether to find each question's first answer (columns `start` and `end`).
        characters: Whether to keep `char_start` and `char_end`, which training does not need.
        whole_words: Whether `char_start` and `char_end` are those of each token's word, as far as
            the window shows it, so that spans of tokens map to whole words (`word_begins`).
        shrink_stride: Whether a question that leaves no room for the stride gets a smaller one,
            half of the room, where it would get no windows.

    Raises:
        ConfigError: The stride leaves no room to move on beside the special tokens.
        ModelError: The tokenizer lays out pairs in a way that windows cannot express.
    """
    question_texts = pc.utf8_trim_whitespace(as_array(questions["question"])).dictionary_encode()
    context_texts = as_array(questions["context"]).dictionary_encode()
    with untruncated(tokenizer) as backend:
        layout = Layout.of(tokenizer, backend)
        question_tokens = tokenise(backend, question_texts.dictionary)
        context_tokens = tokenise(backend, context_texts.dictionary, mark_words=whole_words)

    question_of, context_of = as_numpy(question_texts.indices), as_numpy(context_texts.indices)
    num_question = np.minimum(question_tokens.counts[question_of], spec.max_question)  # (rows,)
    room = _room(spec, layout) - num_question  # (rows,): context tokens in a window
    num_context = context_tokens.counts[context_of]
    stride, narrow = _strides(num_context, room, spec.stride, shrink=shrink_stride)
    too_long = (num_context > room) & (room <= stride)
    from_the_end = tokenizer.truncation_side == "left"
    cuts = _cut(num_context, room, stride, too_long, from_the_end=from_the_end)
    row = cuts.row  # (windows,), like the fields of the segments
    question = question_tokens.segments(question_of[row], 0, num_question[row])
    context = context_tokens.segments(context_of[row], cuts.begin, cuts.count)

    columns = {"row": (row + first_row).astype(np.int32), "part": cuts.part.astype(np.int32)}
    columns |= _token_columns(layout, question, context)
    if labels:
        begin, end = first_answers(questions["answers"])
        first, last, inside = locate(context, begin[row], end[row])
        context_begin, null = columns["context_begin"], columns["null_position"]
        columns["start"] = np.where(inside, context_begin + first, null)
        columns["end"] = np.where(inside, context_begin + last, null)
    if characters:
        columns |= _character_columns(context)
    rows = ((np.flatnonzero(each) + first_row).tolist() for each in (too_long, narrow & ~too_long))
    return Windows(pa.table(columns), *rows)


def _token_columns(layout: Layout, question: Segments, context: Segments) -> dict[str, Any]:
    context_begin = len(layout.prefix) + question.count + len(layout.middle)
    length = context_begin + context.count + len(layout.suffix)
    return {
        "input_ids": as_lists(_lay_out(layout, question, context), length),
        "length": length,
        "context_begin": context_begin,
        "context_end": context_begin + context.count,
        "second_segment": layout.place(layout.type_begin, question.count, context.count),
        "null_position": layout.place(layout.null, question.count, context.count),
    }


def _character_columns(context: Segments) -> dict[str, Any]:
    tokens = context.tokens
    shown = indices_of(context.begin, context.count)  # (context tokens of all windows,)
    start, end = tokens.start[shown], tokens.end[shown]
    if tokens.begins_word is not None:
        start, end = _of_words(start, end, tokens.begins_word[shown], context.count)
    return {
        "char_start": as_lists(start, context.count),
        "char_end": as_lists(end, context.count),
    }


def _of_words(
    start: Int32s, end: Int32s, begins_word: NDArray[np.bool_], counts: Int32s
) -> tuple[Int32s, Int32s]:
    """Give every token the characters of its word, or of the part that the window shows.

    Args:
        start: First character of every context token, window after window; (tokens,).
        end: One past its last character, (tokens,).
        begins_word: Whether it begins a word, (tokens,).
        counts: Context tokens of each window, (windows,).
    """
    begins = begins_word.copy()
    begins[offsets_of(counts)[:-1][counts > 0]] = True
    first = np.flatnonzero(begins)  # (words,): their first tokens
    last = np.append(first, len(begins))[1:] - 1
    word = np.cumsum(begins) - 1  # (tokens,)
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
    """What each window shows: arrays of shape (windows,)."""

    row: Int64s
    part: Int64s
    begin: Int64s  # the first token, counted in its context
    count: Int32s  # context tokens


def _strides(
    num_context: Int32s, room: Int32s, stride: int, *, shrink: bool
) -> tuple[Int32s, NDArray[np.bool_]]:
    """Return each row's stride, and which are smaller than the one asked for; (rows,) each."""
    narrow = (num_context > room) & (room <= stride) & shrink
    return np.where(narrow, np.maximum(room // 2, 0), stride).astype(np.int32), narrow


def _cut(
    num_context: Int32s,
    room: Int32s,
    stride: Int32s,
    too_long: NDArray[np.bool_],
    *,
    from_the_end: bool,
) -> _Cuts:
    """Cut every context into windows; all arrays are of shape (rows,)."""
    fits = num_context <= room  # one window, whatever the stride
    step = np.where(fits | too_long, 1, room - stride)
    num_parts = 1 + np.where(fits, 0, -((room - num_context) // step))  # rounded up
    num_parts[too_long] = 0

    row = np.repeat(np.arange(len(num_parts)), num_parts)
    part = indices_of(np.zeros_like(num_parts), num_parts)
    skipped, num_tokens, most = part * step[row], num_context[row], room[row]
    if from_the_end:  # the first window shows the end of the context
        end = num_tokens - skipped
        begin = np.maximum(end - most, 0)
    else:
        begin = skipped
        end = np.minimum(begin + most, num_tokens)
    return _Cuts(row, part, begin, end - begin)


def _lay_out(layout: Layout, question: Segments, context: Segments) -> Int32s:
    """Write all windows end to end, with one gather from a pool of all tokens."""
    specials = layout.prefix + layout.middle + layout.suffix
    pool = np.concatenate([np.array(specials, np.int32), question.tokens.ids, context.tokens.ids])
    num_prefix, num_middle = len(layout.prefix), len(layout.middle)
    first_question = len(specials)
    first_context = first_question + len(question.tokens.ids)
    pieces: list[tuple[Any, Any]] = [  # of each window: begin in the pool, number of tokens
        (0, num_prefix),
        (first_question + question.begin, question.count),
        (num_prefix, num_middle),
        (first_context + context.begin, context.count),
        (num_prefix + num_middle, len(layout.suffix)),
    ]
    begins = np.empty((len(question.begin), len(pieces)), np.int64)  # (windows, pieces)
    counts = np.empty(begins.shape, np.int32)
    for i, (begin, count) in enumerate(pieces):
        begins[:, i], counts[:, i] = begin, count
    return pool[indices_of(begins.ravel(), counts.ravel())]
