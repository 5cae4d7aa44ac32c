"""Many texts to flat token arrays, and how a tokenizer lays out a pair of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from qa_lib.errors import ModelError
from qa_lib.windows.list_arrays import Int32s, Int64s, as_numpy, indices_of, offsets_of
from qa_lib.windows.marks import ends_after_marks, starts_after_spaces
from qa_lib.windows.words import word_begins

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

_TEXTS_PER_CALL = 1024  # bounds the memory of the tokenizer's Encoding objects
_WORDS_PER_TEXT = 64  # distinct words joined into one such text
_SPAN = np.dtype([("start", np.int32), ("end", np.int32)])


@dataclass(frozen=True)
class Tokens:
    """Tokens of several texts, end to end, without special tokens.

    Attributes:
        offsets: Text i has the tokens from offsets[i] to offsets[i + 1]; shape (texts + 1,).
        ids: Shape (tokens,).
        start: First character of each token in its text, behind any space; shape (tokens,).
        end: One past its last character, marks included that no token shows; shape (tokens,).
        begins_word: Whether it is the first of a word (`windows.words`); shape (tokens,), or None
            if not marked.
    """

    offsets: Int64s
    ids: Int32s
    start: Int32s
    end: Int32s
    begins_word: NDArray[np.bool_] | None = None

    @property
    def counts(self) -> Int32s:
        """Number of tokens of each text, shape (texts,)."""
        return np.diff(self.offsets).astype(np.int32)

    def segments(self, text: Int32s, skipped: Int64s | int, count: Int32s) -> Segments:
        """Return `count` tokens of a text per window, after `skipped` tokens; (windows,) each."""
        return Segments(self, text, self.offsets[text] + skipped, count)


@dataclass(frozen=True)
class Segments:
    """What each window shows of one text: of its question, or of its context.

    Attributes:
        tokens: Of all distinct texts.
        text: Which of them each window shows, shape (windows,), as of begin and count.
        begin: The first token, an index into `tokens.ids`.
        count: Number of tokens.
    """

    tokens: Tokens
    text: Int32s
    begin: Int64s
    count: Int32s


@contextmanager
def untruncated(tokenizer: PreTrainedTokenizerFast) -> Iterator[Tokenizer]:
    """Yield the tokenizer's backend without truncation and padding, then restore them."""
    backend = tokenizer.backend_tokenizer
    truncation, padding = backend.truncation, backend.padding
    specials_split = backend.encode_special_tokens
    backend.no_truncation()
    backend.no_padding()
    # As in a call of the tokenizer: special tokens written in a text stay whole by default.
    backend.encode_special_tokens = tokenizer.split_special_tokens
    try:
        yield backend
    finally:
        backend.encode_special_tokens = specials_split
        if truncation is not None:
            backend.enable_truncation(**truncation)
        if padding is not None:
            backend.enable_padding(**padding)


def tokenise(backend: Tokenizer, texts: pa.StringArray, *, mark_words: bool = False) -> Tokens:
    """Tokenise texts; word by word, each distinct word once, where that gives the same tokens.

    TOKENIZERS_PARALLELISM and RAYON_NUM_THREADS say how many threads the tokenizer uses.

    Args:
        backend: Without truncation and padding.
        texts: What to tokenise.
        mark_words: Whether to return where words begin.
    """
    if _never_crosses_a_space(backend):
        tokens = _tokenise_by_word(backend, texts, mark_words)
    else:
        tokens = _tokenise_whole(backend, texts.to_pylist(), mark_words)
        start = starts_after_spaces(texts, tokens.offsets, tokens.start, tokens.end)
        tokens = replace(tokens, start=start)
    end = ends_after_marks(texts, tokens.offsets, tokens.start, tokens.end)
    return replace(tokens, end=end)


def _never_crosses_a_space(backend: Tokenizer) -> bool:
    """Whether the tokens of a text are those of its space-separated words, whatever the text.

    True of BERT's scheme: its normalizer works character by character (decomposition moves a
    combining mark past other marks only, never past a space), its pre-tokenizer drops spaces, and
    WordPiece sees one pre-token at a time. Added tokens must not contain or strip spaces, nor be
    matched in normalized text, which has spaces around ideographs.
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


def _tokenise_whole(backend: Tokenizer, texts: Sequence[str], mark_words: bool) -> Tokens:
    counts: list[int] = []
    ids, spans = [np.empty(0, np.int32)], [np.empty(0, _SPAN)]
    begins_word = [np.empty(0, bool)]
    for first in range(0, len(texts), _TEXTS_PER_CALL):
        encodings = backend.encode_batch(
            texts[first : first + _TEXTS_PER_CALL], add_special_tokens=False
        )
        lists = [encoding.ids for encoding in encodings]
        counts.extend(map(len, lists))
        ids.append(np.fromiter(chain.from_iterable(lists), np.int32))
        pairs = chain.from_iterable(encoding.offsets for encoding in encodings)
        spans.append(np.fromiter(pairs, _SPAN, len(ids[-1])))
        if mark_words:
            begins_word += map(word_begins, encodings, texts[first : first + _TEXTS_PER_CALL])
    span = np.concatenate(spans)
    return Tokens(
        offsets=offsets_of(counts),
        ids=np.concatenate(ids),
        start=np.ascontiguousarray(span["start"]),
        end=np.ascontiguousarray(span["end"]),
        begins_word=np.concatenate(begins_word) if mark_words else None,
    )


def _tokenise_by_word(backend: Tokenizer, texts: pa.StringArray, mark_words: bool) -> Tokens:
    split = pc.split_pattern(texts, " ")
    text_offsets = as_numpy(split.offsets)  # (texts + 1,): of the words of each text
    encoded = split.values.dictionary_encode()
    codes, words = as_numpy(encoded.indices), encoded.dictionary.to_pylist()

    # The distinct words form one long text, a space after each, which is tokenised in pieces.
    sizes = as_numpy(pc.utf8_length(encoded.dictionary)) + np.int64(1)
    begins = offsets_of(sizes)[:-1]  # (words,): where each begins in that text
    firsts = range(0, len(words), _WORDS_PER_TEXT)
    pieces = [" ".join(words[first : first + _WORDS_PER_TEXT]) for first in firsts]
    tokens = _tokenise_whole(backend, pieces, mark_words)
    piece_begins = np.repeat(begins[::_WORDS_PER_TEXT], tokens.counts)
    # (tokens,): the word that each belongs to
    word = np.searchsorted(begins, piece_begins + tokens.start, side="right") - 1
    to_word = (piece_begins - begins[word]).astype(np.int32)
    start, end = tokens.start + to_word, tokens.end + to_word  # counted in the word

    # A text is the tokens of its words, each moved by the characters before the word.
    word_counts = np.bincount(word, minlength=len(words)).astype(np.int32)
    counts = word_counts[codes]
    source = indices_of(offsets_of(word_counts)[:-1][codes], counts)
    before = offsets_of(sizes[codes])[:-1]
    before -= np.repeat(before[text_offsets[:-1]], np.diff(text_offsets))
    to_text = np.repeat(before.astype(np.int32), counts)
    return Tokens(
        offsets=offsets_of(counts)[text_offsets],
        ids=tokens.ids[source],
        start=start[source] + to_text,
        end=end[source] + to_text,
        begins_word=tokens.begins_word[source] if tokens.begins_word is not None else None,
    )


@dataclass(frozen=True)
class Layout:
    """Special tokens around a question and its context, learned from one short pair.

    Positions are those in that pair; `place` translates them to windows.

    Attributes:
        prefix: Tokens before the question.
        middle: Tokens between question and context.
        suffix: Tokens after the context.
        num_question: Tokens of the pair's question.
        num_context: Tokens of its context.
        type_begin: First position of the second token type, or the length if there is only one.
        null: Position that means "no answer": the CLS token's, else BOS's, else the first.
    """

    prefix: list[int]
    middle: list[int]
    suffix: list[int]
    num_question: int
    num_context: int
    type_begin: int
    null: int

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast, backend: Tokenizer) -> Layout:
        """Learn the layout by encoding a short pair.

        Raises:
            ModelError: A pair is not laid out as question, context with token types 0, 1.
        """
        pair = backend.encode("a", "b")
        ids, sequences = pair.ids, pair.sequence_ids
        length = len(ids)
        takes_types = "token_type_ids" in tokenizer.model_input_names
        types = pair.type_ids if takes_types else [0] * length
        question = [i for i in range(length) if sequences[i] == 0]
        context = [i for i in range(length) if sequences[i] == 1]
        type_begin = types.index(1) if 1 in types else length
        is_known = (
            _is_range(question)
            and _is_range(context)
            and question[-1] < context[0]
            and (question[-1] < type_begin <= context[0] or type_begin == length)
            and types == [0] * type_begin + [1] * (length - type_begin)
        )
        if not is_known:
            raise ModelError(
                f"the tokenizer of {tokenizer.name_or_path or 'this model'} does not lay out a pair"
                f" as question, context (sequences {sequences}, token types {types})",
                "use a model with a BERT-like or RoBERTa-like tokenizer",
            )
        # The first of each special token, by id; one that is written in the text does not count.
        specials = {ids[i]: i for i in reversed(range(length)) if sequences[i] is None}
        return cls(
            prefix=ids[: question[0]],
            middle=ids[question[-1] + 1 : context[0]],
            suffix=ids[context[-1] + 1 :],
            num_question=len(question),
            num_context=len(context),
            type_begin=type_begin,
            null=specials.get(tokenizer.cls_token_id, specials.get(tokenizer.bos_token_id, 0)),
        )

    @property
    def num_specials(self) -> int:
        """Number of special tokens in a window."""
        return len(self.prefix) + len(self.middle) + len(self.suffix)

    def place(self, position: int, num_question: Int32s, num_context: Int32s) -> Int32s:
        """Translate a position of the learned pair to windows of these sizes, (windows,) each."""
        question_end = len(self.prefix) + self.num_question
        placed = np.full(len(num_question), position, np.int32)
        if position >= question_end:
            placed += num_question - self.num_question
        if position >= question_end + len(self.middle) + self.num_context:
            placed += num_context - self.num_context
        return placed


def _is_range(positions: list[int]) -> bool:
    return bool(positions) and positions == list(range(positions[0], positions[-1] + 1))
