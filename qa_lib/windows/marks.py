"""Where the characters of a token begin and end, which is not always what its tokenizer says.

Combining marks that no token shows belong to the letter before them: BERT's lower-casing strips
accents, and with them the vowel signs and tone marks of Hindi and Thai. An answer that ends in such
a letter ends after its marks. And where a tokenizer counts the space before a word as its own, an
answer does not begin with it.
"""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from qa_lib.windows.list_arrays import Int32s, Int64s, as_numpy, offsets_of

_FIRST_MARK = 0x300  # of Unicode; its first byte in UTF-8 is 0xCC
_SPACES = np.array([code for code in range(0x3001) if chr(code).isspace()], np.uint32)


def ends_after_marks(texts: pa.StringArray, offsets: Int64s, start: Int32s, end: Int32s) -> Int32s:
    """Move the ends of tokens past marks that follow them and that no other token shows.

    Args:
        texts: What was tokenised.
        offsets: Of the tokens of each text, shape (texts + 1,).
        start: First character of each token in its text, shape (tokens,).
        end: One past its last character, shape (tokens,).
    """
    codes = _codes(texts)
    high = np.flatnonzero(codes >= _FIRST_MARK)
    values, places = np.unique(codes[high], return_inverse=True)
    marks = np.array([unicodedata.category(chr(value))[0] == "M" for value in values], bool)[places]
    if not marks.any():
        return end
    begins = offsets_of(as_numpy(pc.utf8_length(texts)))
    is_mark = np.zeros(len(codes) + 1, bool)
    is_mark[high[marks]] = True
    is_mark[begins] = False  # a text's own first character
    shift = np.repeat(begins[:-1], np.diff(offsets))
    followed = np.flatnonzero(is_mark[shift + end] & (start < end))  # few
    ends = (shift + end)[followed]
    others = np.flatnonzero(~is_mark)
    past = others[np.searchsorted(others, ends)]
    # Marks that are tokens themselves stay apart: the next token begins there.
    starts = np.minimum.accumulate((shift + start)[::-1])[::-1]
    following = np.append(starts, len(codes))[np.searchsorted(starts, ends)]
    moved = end.copy()
    moved[followed] += (np.minimum(past, following) - ends).astype(np.int32)
    return moved


def starts_after_spaces(
    texts: pa.StringArray, offsets: Int64s, start: Int32s, end: Int32s
) -> Int32s:
    """Move the starts of tokens past white space, as RoBERTa's tokenizer does by itself.

    A token of nothing but white space becomes empty, at its end. Arguments as of
    `ends_after_marks`.
    """
    codes = _codes(texts)
    shift = np.repeat(offsets_of(as_numpy(pc.utf8_length(texts)))[:-1], np.diff(offsets))
    is_space = np.append(np.isin(codes, _SPACES), False)
    begins = np.flatnonzero(is_space[shift + start] & (start < end))
    if not len(begins):
        return start
    others = np.flatnonzero(~is_space)
    first = others[np.searchsorted(others, (shift + start)[begins])] - shift[begins]
    moved = start.copy()
    moved[begins] = np.minimum(first, end[begins]).astype(np.int32)
    return moved


def _codes(texts: pa.StringArray) -> NDArray[np.uint32]:
    """Return the code points of all texts, end to end."""
    joined = "".join(texts.to_pylist())
    return np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), "<u4")
