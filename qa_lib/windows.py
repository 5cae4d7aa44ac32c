"""Questions and contexts to token windows, as Arrow; and windows to padded tensors.

A context longer than the model's window is cut into overlapping windows, each of which carries the
whole question. The windows are those of the tokenizer called on (question, context) pairs with
``truncation="only_second"``, a stride and overflow, but a context is tokenised once, not once for
each of its questions, and windows are assembled by numpy gathers over flat token arrays. Tokenizers
whose tokens cannot cross a space (WordPiece after BERT's pre-tokenizer) tokenise each distinct
*word* once.

Positions count tokens of the unpadded window; characters are Unicode code points of the context.
The caller owns ``TOKENIZERS_PARALLELISM`` and ``RAYON_NUM_THREADS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    Int32s = NDArray[np.int32]

# Texts handed to the tokenizer at a time: bounds the memory of its Encoding objects.
_TEXTS_PER_CALL = 1024
# Distinct words joined into one such text.
_WORDS_PER_TEXT = 64
_CHARACTERS = np.dtype([("start", np.int32), ("end", np.int32)])


@dataclass(frozen=True)
class WindowSpec:
    """How contexts are cut.

    Args:
        max_length: Most tokens in a window: question, context and special tokens.
        stride: Context tokens that consecutive windows share.

    Raises:
        ConfigError: The stride leaves no room to move on.
    """

    max_length: int
    stride: int

    def __post_init__(self) -> None:
        """Refuse a stride that can never advance."""
        if not 0 <= self.stride < self.max_length:
            raise ConfigError(
                f"data.stride {self.stride} must be at least 0 and below"
                f" data.max_length {self.max_length}",
                "pass a smaller --data.stride (a third of --data.max-length is usual)",
            )


@dataclass(frozen=True)
class Windows:
    """What `build` returns.

    Attributes:
        table: One row per window, in (row, part) order.
        too_long: Rows whose question leaves the context no more room than the stride; they have no
            window.
    """

    table: pa.Table
    too_long: list[int]


@dataclass(frozen=True)
class PadSpec:
    """What `collate` needs of a tokenizer; small and picklable.

    Attributes:
        pad_id: Token that fills `input_ids`.
        pad_type_id: Type that fills `token_type_ids`.
        left: Whether padding comes before the window.
        token_types: Whether the model takes `token_type_ids`.
    """

    pad_id: int
    pad_type_id: int
    left: bool
    token_types: bool

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast) -> PadSpec:
        """Read the padding of a tokenizer.

        Raises:
            ModelError: The tokenizer has no padding token.
        """
        if tokenizer.pad_token_id is None:
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path or 'this model'} has no padding token",
                "set pad_token in its tokenizer_config.json",
            )
        return cls(
            pad_id=tokenizer.pad_token_id,
            pad_type_id=tokenizer.pad_token_type_id,
            left=tokenizer.padding_side == "left",
            token_types="token_type_ids" in tokenizer.model_input_names,
        )

    def before(self, lengths: Int32s, width: int) -> Int32s:
        """Return the number of padding tokens before each window, padded to `width`.

        Adding it to a position of the window gives the position in the tensor.
        """
        return width - lengths if self.left else np.zeros_like(lengths)


def build(
    questions: pa.Table,
    tokenizer: PreTrainedTokenizerFast,
    spec: WindowSpec,
    *,
    first_row: int = 0,
    labels: bool = True,
    characters: bool = True,
) -> Windows:
    """Cut questions and their contexts into token windows.

    Questions are taken as they stand: strip them before if leading spaces should not become tokens.
    The caller numbers the windows of a whole split (`window_index`): the order is (row, part), so
    that builds over consecutive slices concatenate to the build over all of them.

    Args:
        questions: Columns `question`, `context`, and for labels `answers`, as in `squad.SCHEMA`.
        tokenizer: A fast tokenizer. Its truncation and padding are as before when this returns.
        spec: Window length and stride, in tokens.
        first_row: Number of the first question, for the column `row`.
        labels: Whether to find the first answer of each question (columns `start`, `end`).
        characters: Whether to keep `char_start` and `char_end`; training does not need them.

    Returns:
        The windows. The columns of the table, all int32 unless said otherwise:
        `row` the question's row; `part` (int16) n-th window of that question;
        `input_ids` (list) real tokens, unpadded; `length` their number;
        `context_begin`, `context_end` half-open positions of the context;
        `second_segment` first position whose token type is the second's (`length` if none is);
        `null_position` position of the CLS token (else BOS, else 0), which means "no answer";
        `start`, `end` inclusive positions of the first answer where the window holds all of it, else
        `null_position` twice;
        `char_start`, `char_end` (lists) half-open characters of each context token of the window.

    Raises:
        ConfigError: The stride leaves no room beside the special tokens.
        ModelError: The tokenizer lays out pairs in a way that no window can express.
    """
    contexts = _distinct(questions["context"])
    asked = _distinct(questions["question"])
    with _untruncated(tokenizer) as backend:
        layout = _Layout.of(tokenizer, backend)
        context_tokens = _tokenise(backend, contexts.dictionary)
        question_tokens = _tokenise(backend, asked.dictionary)
    context_codes, question_codes = _numpy(contexts.indices), _numpy(asked.indices)

    room = spec.max_length - layout.num_specials  # tokens for question and context together
    if room <= spec.stride:
        raise ConfigError(
            f"data.max_length {spec.max_length} leaves {room} tokens beside the special tokens,"
            f" no more than data.stride {spec.stride}",
            "pass a larger --data.max-length or a smaller --data.stride",
        )
    cuts, too_long = _cut(
        question_tokens.counts[question_codes],
        context_tokens.counts[context_codes],
        room,
        spec.stride,
        from_the_right=tokenizer.truncation_side == "left",
    )
    num_question = question_tokens.counts[question_codes[cuts.row]]
    context_start = context_tokens.offsets[context_codes[cuts.row]] + cuts.begin

    def place(position: int) -> Int32s:
        return layout.place(position, num_question, cuts.count)

    lengths = place(layout.length)
    context_begin = place(layout.second_begin)
    null_position = place(layout.null)
    input_ids = _input_ids(
        layout,
        question_tokens,
        context_tokens,
        question_tokens.offsets[question_codes[cuts.row]],
        num_question,
        context_start,
        cuts.count,
    )
    columns: dict[str, Any] = {
        "row": (cuts.row + first_row).astype(np.int32),
        "part": cuts.part.astype(np.int16),
        "input_ids": _lists(input_ids, lengths),
        "length": lengths,
        "context_begin": context_begin,
        "context_end": context_begin + cuts.count,
        "second_segment": place(layout.type_begin),
        "null_position": null_position,
    }
    if labels:
        start, end, inside = _locate(
            context_tokens,
            context_codes,
            context_start,
            cuts,
            *_first_answers(questions["answers"]),
        )
        columns["start"] = np.where(inside, context_begin + start, null_position)
        columns["end"] = np.where(inside, context_begin + end, null_position)
    if characters:
        source = _ranges(context_start, cuts.count)
        columns["char_start"] = _lists(context_tokens.start[source], cuts.count)
        columns["char_end"] = _lists(context_tokens.end[source], cuts.count)
    table = pa.table(columns)
    return Windows(table, (np.flatnonzero(too_long) + first_row).tolist())


def collate(
    table: pa.Table, pad: PadSpec, pad_to_multiple: int = 8, length: int | None = None
) -> dict[str, torch.Tensor]:
    """Pad windows to one width and hand them to torch.

    Args:
        table: Rows of a table that `build` made, in the order wanted (`Table.take`).
        pad: The tokenizer's padding.
        pad_to_multiple: The width is rounded up to a multiple of this.
        length: The width, instead of the longest window's rounded up.

    Returns:
        int64 tensors: `input_ids`, `attention_mask` and, where the model takes them,
        `token_type_ids`, each of shape (windows, tokens); `start_positions` and `end_positions` of
        shape (windows,) where the table has labels. Positions count from the padded window's start.

    Raises:
        ValueError: A window is longer than `length`.
    """
    import torch

    num_tokens = lengths(table)
    longest = int(num_tokens.max(initial=0))
    width = length if length is not None else -(-longest // pad_to_multiple) * pad_to_multiple
    if longest > width:
        raise ValueError(f"a window of {longest} tokens does not fit the length {width}")
    before = pad.before(num_tokens, width)
    # (windows, tokens): position of each cell within its window, negative or >= length where padded
    position = np.arange(width, dtype=np.int32) - before[:, None]
    real = (position >= 0) & (position < num_tokens[:, None])

    input_ids = np.full(real.shape, pad.pad_id, np.int64)
    input_ids[real] = _flat(table["input_ids"])[0]  # both run window by window, token by token
    batch = {"input_ids": input_ids, "attention_mask": real.astype(np.int64)}
    if pad.token_types:
        second = position >= _numpy(table["second_segment"])[:, None]
        batch["token_type_ids"] = np.where(real, second, pad.pad_type_id).astype(np.int64)
    if "start" in table.column_names:
        batch["start_positions"] = (_numpy(table["start"]) + before).astype(np.int64)
        batch["end_positions"] = (_numpy(table["end"]) + before).astype(np.int64)
    return {name: torch.from_numpy(array) for name, array in batch.items()}


def lengths(table: pa.Table) -> Int32s:
    """Return the number of tokens of each window, int32 of shape (windows,)."""
    return _numpy(table["length"])


def characters(
    table: pa.Table, window: Int32s, start: Int32s, end: Int32s
) -> tuple[Int32s, Int32s]:
    """Map spans of tokens to spans of characters of the context.

    Args:
        table: Windows with `char_start` and `char_end`.
        window: Index of each span's window in `table`, shape (spans,).
        start: Position of the span's first token, of a context token of the unpadded window.
        end: Position of its last token, inclusive, likewise.

    Returns:
        Half-open character ranges: `context[first:last]` is the span's text.
    """
    first = _numpy(table["context_begin"])[window]
    values, offsets = _flat(table["char_start"])
    begins = values[offsets[window] + start - first]
    values, offsets = _flat(table["char_end"])
    return begins, values[offsets[window] + end - first]


# --- Tokens of many texts, flat -------------------------------------------------------------------


@dataclass(frozen=True)
class _Tokens:
    """Tokens of several texts end to end; text i has those from offsets[i] to offsets[i + 1]."""

    offsets: NDArray[np.int64]  # (texts + 1,)
    ids: Int32s  # (tokens,)
    start: Int32s  # (tokens,) first character of the text
    end: Int32s  # (tokens,) one past the last

    @property
    def counts(self) -> Int32s:
        return np.diff(self.offsets).astype(np.int32)


@contextmanager
def _untruncated(tokenizer: PreTrainedTokenizerFast) -> Iterator[Tokenizer]:
    """Lend the tokenizer's backend without truncation and padding; then put them back."""
    backend = tokenizer.backend_tokenizer
    truncation, padding = backend.truncation, backend.padding
    backend.no_truncation()
    backend.no_padding()
    # What calling the tokenizer does: special tokens written in a text stay whole unless told.
    backend.encode_special_tokens = tokenizer.split_special_tokens
    try:
        yield backend
    finally:
        if truncation is not None:
            backend.enable_truncation(**truncation)
        if padding is not None:
            backend.enable_padding(**padding)


def _tokenise(backend: Tokenizer, texts: pa.StringArray) -> _Tokens:
    """Tokenise each text, without special tokens."""
    if _never_crosses_a_space(backend):
        return _tokenise_by_word(backend, texts)
    return _tokenise_whole(backend, texts.to_pylist())


def _tokenise_whole(backend: Tokenizer, texts: Sequence[str]) -> _Tokens:
    counts, ids, spans = [], [], []
    for first in range(0, len(texts), _TEXTS_PER_CALL):
        encodings = backend.encode_batch(
            texts[first : first + _TEXTS_PER_CALL], add_special_tokens=False
        )
        lists = [encoding.ids for encoding in encodings]
        counts += [len(tokens) for tokens in lists]
        ids.append(np.fromiter(chain.from_iterable(lists), np.int32))
        pairs = chain.from_iterable(encoding.offsets for encoding in encodings)
        spans.append(np.fromiter(pairs, _CHARACTERS, len(ids[-1])))
    flat = np.concatenate(spans) if spans else np.empty(0, _CHARACTERS)
    return _Tokens(
        offsets=_offsets(counts),
        ids=np.concatenate(ids) if ids else np.empty(0, np.int32),
        start=np.ascontiguousarray(flat["start"]),
        end=np.ascontiguousarray(flat["end"]),
    )


def _never_crosses_a_space(backend: Tokenizer) -> bool:
    """Whether the tokens of a text are exactly those of its space-separated words.

    True of BERT's scheme: its normalizer works character by character (decomposition moves marks
    only past other marks), its pre-tokenizer drops spaces, WordPiece sees one pre-token at a time.
    Added tokens must not swallow spaces, nor be matched in normalized text, which has other spaces.
    """
    from tokenizers import models, normalizers, pre_tokenizers

    return (
        isinstance(backend.normalizer, normalizers.BertNormalizer)
        and isinstance(backend.pre_tokenizer, pre_tokenizers.BertPreTokenizer)
        and isinstance(backend.model, models.WordPiece)
        and not any(
            token.lstrip or token.rstrip or token.normalized or " " in token.content
            for token in backend.get_added_tokens_decoder().values()
        )
    )


def _tokenise_by_word(backend: Tokenizer, texts: pa.StringArray) -> _Tokens:
    """Tokenise each distinct word once, and put the texts together from words."""
    split = pc.split_pattern(texts, " ")
    text_words, word_offsets = split.values, _numpy(split.offsets)
    distinct = text_words.dictionary_encode()
    codes, words = _numpy(distinct.indices), distinct.dictionary

    # The distinct words, joined by spaces: one long text, handed over in pieces.
    spelled = words.to_pylist()
    word_sizes = _numpy(pc.utf8_length(words)).astype(np.int64) + 1  # with the space after it
    word_starts = _offsets(word_sizes)[:-1]
    pieces = [
        " ".join(spelled[first : first + _WORDS_PER_TEXT])
        for first in range(0, len(spelled), _WORDS_PER_TEXT)
    ]
    tokens = _tokenise_whole(backend, pieces)
    piece_starts = np.repeat(word_starts[::_WORDS_PER_TEXT], tokens.counts)
    word = np.searchsorted(word_starts, piece_starts + tokens.start, side="right") - 1
    shift = (piece_starts - word_starts[word]).astype(np.int32)
    start, end = tokens.start + shift, tokens.end + shift  # characters of the word
    tokens_per_word = np.bincount(word, minlength=len(spelled)).astype(np.int32)

    # Every text, from the tokens of its words.
    counts = tokens_per_word[codes]
    source = _ranges(_offsets(tokens_per_word)[:-1][codes], counts)
    ends = np.cumsum(word_sizes[codes])
    begins = ends - word_sizes[codes]
    text_begins = np.repeat(begins[word_offsets[:-1]], np.diff(word_offsets))
    shift = np.repeat((begins - text_begins).astype(np.int32), counts)
    return _Tokens(
        offsets=_offsets(counts)[word_offsets],
        ids=tokens.ids[source],
        start=start[source] + shift,
        end=end[source] + shift,
    )


# --- How a pair is laid out -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Layout:
    """Special tokens around question and context, learned from one short pair.

    The positions are those of the probe; `place` moves them to a window's.
    """

    prefix: list[int]
    middle: list[int]
    suffix: list[int]
    first_end: int  # one past the question
    second_begin: int
    second_end: int
    length: int
    type_begin: int  # first position of the second token type, `length` if there is none
    null: int  # CLS, else BOS, else the first token

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast, backend: Tokenizer) -> _Layout:
        """Learn the layout from the backend's post-processor."""
        probe = backend.encode("a", "b")
        sequences, ids, types = probe.sequence_ids, probe.ids, probe.type_ids
        first = [i for i, sequence in enumerate(sequences) if sequence == 0]
        second = [i for i, sequence in enumerate(sequences) if sequence == 1]
        length = len(ids)
        type_begin = types.index(1) if 1 in types else length
        lays_out = (
            first
            and second
            and first[-1] < second[0]
            and len(first) == first[-1] - first[0] + 1
            and len(second) == second[-1] - second[0] + 1
            and types == [0] * type_begin + [1] * (length - type_begin)
            and (first[-1] < type_begin <= second[0] or type_begin == length)
        )
        if not lays_out:
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path or 'this model'} does not lay out a pair"
                f" as question, context (sequences {sequences}, types {types})",
                "use a model with a BERT-like or RoBERTa-like tokenizer",
            )
        specials = [i for i, sequence in enumerate(sequences) if sequence is None]
        null = 0
        for wanted in (tokenizer.bos_token_id, tokenizer.cls_token_id):
            null = next((i for i in specials if ids[i] == wanted), null)
        return cls(
            prefix=ids[: first[0]],
            middle=ids[first[-1] + 1 : second[0]],
            suffix=ids[second[-1] + 1 :],
            first_end=first[-1] + 1,
            second_begin=second[0],
            second_end=second[-1] + 1,
            length=length,
            type_begin=type_begin,
            null=null,
        )

    @property
    def num_specials(self) -> int:
        return len(self.prefix) + len(self.middle) + len(self.suffix)

    def place(self, position: int, num_question: Int32s, num_context: Int32s) -> Int32s:
        """Move a position of the probe to windows with these numbers of tokens."""
        placed = np.full(len(num_question), position, np.int32)
        if position >= self.first_end:
            placed += num_question - (self.first_end - len(self.prefix))
        if position >= self.second_end:
            placed += num_context - (self.second_end - self.second_begin)
        return placed


# --- Windows --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Cuts:
    """Which tokens of its context each window holds; all of shape (windows,)."""

    row: NDArray[np.int64]
    part: Int32s
    begin: Int32s  # first context token
    count: Int32s  # context tokens


def _cut(
    num_question: Int32s, num_context: Int32s, room: int, stride: int, *, from_the_right: bool
) -> tuple[_Cuts, NDArray[np.bool_]]:
    """Cut every context; the second result marks the rows that have no room for it."""
    context_room = room - num_question
    whole = num_context <= context_room
    too_long = ~whole & (context_room <= stride)
    # A context that fits takes one window, whatever the stride.
    step = np.where(whole | too_long, 1, context_room - stride)
    num_parts = 1 + np.where(whole, 0, -((context_room - num_context) // step))
    num_parts[too_long] = 0
    row = np.repeat(np.arange(len(num_parts)), num_parts)
    part = _ranges(np.zeros(len(num_parts), np.int32), num_parts)
    skipped, total, size = part * step[row], num_context[row], context_room[row]
    if from_the_right:  # the first window holds the end of the context
        end = total - skipped
        begin = np.maximum(end - size, 0)
    else:
        begin = skipped
        end = np.minimum(begin + size, total)
    return _Cuts(row, part, begin, end - begin), too_long


def _input_ids(
    layout: _Layout,
    questions: _Tokens,
    contexts: _Tokens,
    question_start: NDArray[np.int64],
    num_question: Int32s,
    context_start: NDArray[np.int64],
    num_context: Int32s,
) -> Int32s:
    """Lay out all windows end to end with one gather from a pool of all tokens."""
    specials = layout.prefix + layout.middle + layout.suffix
    pool = np.concatenate([np.array(specials, np.int32), questions.ids, contexts.ids])
    after_prefix = len(layout.prefix)
    after_middle = after_prefix + len(layout.middle)
    # (windows, 5): where each segment of a window lies in the pool, and its tokens
    starts = np.empty((len(num_question), 5), np.int64)
    counts = np.empty((len(num_question), 5), np.int32)
    starts[:, 0], counts[:, 0] = 0, len(layout.prefix)
    starts[:, 1], counts[:, 1] = question_start + len(specials), num_question
    starts[:, 2], counts[:, 2] = after_prefix, len(layout.middle)
    starts[:, 3] = context_start + len(specials) + len(questions.ids)
    counts[:, 3] = num_context
    starts[:, 4], counts[:, 4] = after_middle, len(layout.suffix)
    return pool[_ranges(starts.ravel(), counts.ravel())]


def _first_answers(answers: pa.ChunkedArray) -> tuple[Int32s, Int32s]:
    """Return the characters [start, end) of each row's first answer; (-1, -1) without one."""
    answers = _one_array(answers)
    starts, texts = answers.field("answer_start"), answers.field("text")
    offsets, text_offsets = _numpy(starts.offsets), _numpy(texts.offsets)
    answered = np.diff(offsets) > 0
    start = np.full(len(answers), -1, np.int32)
    end = start.copy()
    start[answered] = _numpy(starts.values.take(pa.array(offsets[:-1][answered])))
    first_texts = texts.values.take(pa.array(text_offsets[:-1][answered]))
    end[answered] = start[answered] + _numpy(pc.utf8_length(first_texts))
    return start, end


def _locate(
    tokens: _Tokens,
    codes: Int32s,
    window_start: NDArray[np.int64],
    cuts: _Cuts,
    first_char: Int32s,
    last_char: Int32s,
) -> tuple[Int32s, Int32s, NDArray[np.bool_]]:
    """Find each window's answer among its context tokens.

    The start is the last token that begins at or before the answer, the end the first that ends at
    or after it: the labels of the standard recipe (transformers' run_qa), which searches window by
    window from both ends. One sorted search over all contexts does the same.

    Returns:
        Inclusive token positions within the window's context, and whether the answer is inside.
    """
    if not len(tokens.ids):
        nowhere = np.zeros(len(cuts.row), np.int32)
        return nowhere, nowhere, np.zeros(len(cuts.row), bool)
    # Keys that grow along all contexts: the running maximum (from the end: minimum) keeps them
    # sorted where a normalizer reordered characters, and stops where the recipe's scan stops.
    widest = int(max(tokens.end.max(), last_char.max(initial=0))) + 2
    text = np.repeat(np.arange(len(tokens.offsets) - 1) * widest, tokens.counts)
    start_keys = np.maximum.accumulate(text + tokens.start)
    end_keys = np.minimum.accumulate((text + tokens.end)[::-1])[::-1]
    base = codes * np.int64(widest)
    start = np.searchsorted(start_keys, base + first_char, side="right") - 1
    end = np.searchsorted(end_keys, base + last_char, side="left")

    window_end = window_start + cuts.count
    answered = (first_char[cuts.row] >= 0) & (cuts.count > 0)
    last = len(tokens.ids) - 1
    inside = (
        answered
        & (tokens.start[np.minimum(window_start, last)] <= first_char[cuts.row])
        & (tokens.end[np.maximum(window_end - 1, 0)] >= last_char[cuts.row])
    )
    start = np.clip(start[cuts.row], window_start, window_end - 1) - window_start
    end = np.clip(end[cuts.row], window_start, window_end - 1) - window_start
    return start.astype(np.int32), end.astype(np.int32), inside


# --- Arrow and numpy ------------------------------------------------------------------------------


def _one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _distinct(column: pa.ChunkedArray) -> pa.DictionaryArray:
    return _one_array(column).dictionary_encode()


def _numpy(column: pa.Array | pa.ChunkedArray) -> NDArray[Any]:
    return column.to_numpy() if isinstance(column, pa.ChunkedArray) else np.asarray(column)


def _flat(column: pa.ChunkedArray) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a list column's values end to end, and where each list begins among them."""
    lists = _one_array(column)
    offsets = _numpy(lists.offsets)
    first, last = (offsets[0], offsets[-1]) if len(offsets) else (0, 0)
    return _numpy(lists.values)[first:last], offsets - first


def _lists(values: NDArray[Any], counts: Int32s) -> pa.ListArray:
    return pa.ListArray.from_arrays(_offsets(counts).astype(np.int32), pa.array(values))


def _offsets(counts: Sequence[int] | NDArray[Any]) -> NDArray[np.int64]:
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _ranges(starts: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """Return start, start + 1, ... of each count, end to end."""
    offsets = _offsets(counts)
    size = np.int32 if max(offsets[-1], starts.max(initial=0)) < 2**31 - 1 else np.int64
    shift = (starts - offsets[:-1]).astype(size)
    return np.repeat(shift, counts) + np.arange(offsets[-1], dtype=size)
