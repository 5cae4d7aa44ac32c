"""Where words begin among the tokens of a text, in scripts with spaces and without."""

from __future__ import annotations

import unicodedata
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qa_lib.windows.list_arrays import Int64s

if TYPE_CHECKING:
    from tokenizers import Encoding

# First and last code point, with the punctuation among them.
_WITHOUT_SPACES = np.array(
    [
        (0x0E00, 0x0EFF),  # Thai, Lao
        (0x0F00, 0x109F),  # Tibetan, Myanmar
        (0x1780, 0x17FF),  # Khmer
        (0x1950, 0x19FF),  # Tai Le, New Tai Lue, Khmer symbols
        (0x1A20, 0x1AAF),  # Tai Tham
        (0x1B00, 0x1B7F),  # Balinese
        (0x2E80, 0x2FFF),  # Han radicals
        (0x3001, 0x312F),  # ideographic punctuation, Hiragana, Katakana, Bopomofo
        (0x3190, 0x4DBF),  # Bopomofo, Katakana and Han extensions
        (0x4E00, 0x9FFF),  # Han
        (0xA000, 0xA4CF),  # Yi
        (0xA980, 0xA9FF),  # Javanese, Myanmar
        (0xAA60, 0xAADF),  # Myanmar, Tai Viet
        (0xF900, 0xFAFF),  # Han compatibility
        (0xFF01, 0xFF9F),  # full-width forms, half-width Katakana
        (0x1B000, 0x1B16F),  # Kana supplements
        (0x20000, 0x3FFFF),  # Han extensions
    ],
    np.uint32,
)
_EDGES = np.stack([_WITHOUT_SPACES[:, 0], _WITHOUT_SPACES[:, 1] + 1], axis=1).ravel()


def without_spaces(text: str) -> NDArray[np.bool_]:
    """Mark the characters whose script writes no spaces between words, (characters,).

    Korean is not among them: it has spaces.
    """
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    return np.searchsorted(_EDGES, points, side="right") % 2 == 1


def word_begins(encoding: Encoding, text: str) -> NDArray[np.bool_]:
    """Mark the tokens of one text that begin a word, (tokens,).

    Words are the pieces into which the tokenizer splits a text before it looks for tokens; a token
    outside of any piece is its own. Where a script has no spaces, a piece may be a whole passage:
    there each token is a word, or the tokens that share a character. And where pieces are split at
    spaces alone, as by SentencePiece, the punctuation around a word is no part of it.
    """
    words = encoding.word_ids
    pairs = zip(words, chain([None], words), strict=False)
    begins = np.array([word is None or word != last for word, last in pairs], bool)
    if not len(begins):
        return begins
    start, end = np.array(encoding.offsets).T  # (tokens,) each
    apart = start[1:] >= end[:-1]
    begins[1:] |= apart & _around_a_word(begins, text, start, end)[1:]
    if text.isascii():
        return begins
    spaceless = without_spaces(text)
    if spaceless.any():
        of_start = spaceless[np.minimum(start, len(text) - 1)]
        of_end = spaceless[np.maximum(end - 1, 0)]
        begins[1:] |= apart & (of_start[1:] | of_end[:-1])
    return begins


def _around_a_word(
    begins: NDArray[np.bool_], text: str, start: Int64s, end: Int64s
) -> NDArray[np.bool_]:
    """Mark the tokens of punctuation around the letters of a word, and the first letters behind.

    Args:
        begins: Whether a token begins a word, (tokens,), as of all.
        text: What was tokenised.
        start: First character of each token.
        end: One past its last.
    """
    is_mark, is_letter = _punctuation_and_letters(text, start, end)
    word = np.cumsum(begins) - 1  # (tokens,): the word of each
    letters = np.flatnonzero(is_letter)
    first = np.full(len(begins), -1)  # (words,) or more: where its letters begin; -1 without any
    last = np.full(len(begins), len(begins))
    first[word[letters][::-1]] = letters[::-1]  # the last write wins
    last[word[letters]] = letters
    position = np.arange(len(begins))
    behind_mark = np.append(False, is_mark[:-1])
    return (behind_mark & (position <= first[word])) | (is_mark & (position > last[word]))


def _punctuation_and_letters(
    text: str, start: Int64s, end: Int64s
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Mark the tokens that show punctuation alone, and those that show more; (tokens,) each.

    White space counts as nothing.
    """
    of_punctuation = {each: unicodedata.category(each)[0] == "P" for each in set(text)}
    marks = np.array([of_punctuation[each] for each in text], bool)
    letters = ~marks & ~np.array([each.isspace() for each in text], bool)
    num_marks, num_letters = (np.append(0, np.cumsum(shown)) for shown in (marks, letters))
    is_letter = num_letters[end] > num_letters[start]
    return (num_marks[end] > num_marks[start]) & ~is_letter, is_letter
