"""Gold answers: trimmed, found in their context, and which of them count.

Training takes the golds that stand in the context, as it writes them; evaluation counts every
gold's text as the file has it, wherever it stands, and as the context writes it, too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from qa_lib.data.conversion import NO_OFFSET, lengths
from qa_lib.data.places import UNSEEN, as_meant, find
from qa_lib.data.schema import NOWHERE, text_bytes

Mask = np.ndarray  # bool
_SPACE = "".join(filter(str.isspace, map(chr, range(0x3001))))
OUTER = _SPACE + UNSEEN
"""Characters that are no part of a label at its ends."""

UNEVEN = "answer texts and offsets differ in number"
CONTRADICTION = "the question is said to be unanswerable, and yet there is an answer"
NO_GOLD = "there is no answer, and is_impossible is not true"
EMPTY = "an answer is empty"
MISPLACED = "an answer does not stand at its offset in the context"
UNREADABLE = "an answer's offset is no whole number"
NOT_FOUND = "the answer is not found in the context"
FAULTS = (UNEVEN, CONTRADICTION, NO_GOLD, EMPTY, UNREADABLE, MISPLACED, NOT_FOUND)
WITHOUT_ANSWER = (CONTRADICTION, NO_GOLD, EMPTY)
"""Faults of rows that may be unanswerable: to leave them out makes a 2.0 file a 1.1 one."""


@dataclass(frozen=True)
class Golds:
    """The golds of a batch, cleaned.

    Attributes:
        answers: (rows,) struct of the lists text and answer_start.
        faults: 1 + the index in FAULTS of each row's fault, or 0; (rows,) int8.
        notes: What was changed, and how often.
    """

    answers: pa.StructArray
    faults: np.ndarray
    notes: Counter[str]


@dataclass
class _Flat:
    """The golds of all rows end to end; every array is (golds,)."""

    row: np.ndarray
    own: pa.StringArray  # as the file has it, but for white space at its ends
    text: pa.StringArray  # as it is looked for, and then as it stands in its context
    start: np.ndarray  # below 0: unknown, or NOWHERE
    lead: np.ndarray  # characters cut off in front of the text, which start is moved by
    given: Mask  # whether the file has an offset
    blank: Mask
    trimmed: Mask


def clean(batch: pa.RecordBatch, *, all_count: bool) -> Golds:
    """Trim golds, find those without offsets, and choose which of them count.

    Args:
        batch: Rows of UNCHECKED whose id, context and question are sound, and all texts UTF-8.
        all_count: Whether golds count as the file has them, also where they do not stand in the
            context, as for evaluation.
    """
    num_rows = len(batch)
    impossible = batch["is_impossible"].fill_null(False).to_numpy(zero_copy_only=False)
    said = batch["is_impossible"].is_valid().to_numpy(zero_copy_only=False)
    texts, starts = (pc.struct_field(batch["answers"], name) for name in ("text", "answer_start"))
    unknown = texts.is_null().to_numpy(zero_copy_only=False)
    num_texts, num_starts = lengths(texts), lengths(starts)
    no_starts = starts.is_null().to_numpy(zero_copy_only=False)
    uneven = (num_texts != num_starts) & ~no_starts | unknown & (num_starts > 0)

    golds = _flatten(texts, starts, ~uneven & ~no_starts)
    was_told = golds.start == NOWHERE  # when the folder was prepared
    wrong = ~golds.blank & (golds.start >= 0)
    wrong &= ~_stands(batch["context"], golds, wrong)
    golds.text, found, ambiguous, mended = _search(batch["context"], golds, wrong)
    sound = ~golds.blank & ~wrong & (golds.start >= 0)

    def rows_with(mask: Mask) -> Mask:
        return np.bincount(golds.row[mask], minlength=num_rows) > 0

    answered, has_sound = rows_with(~golds.blank), rows_with(sound)
    # A gold "" at -1 is how some tools write "no answer"; elsewhere "" is a gap in the file.
    marked = (num_texts > 0) & ~answered & ~rows_with(~(golds.given & (golds.start == -1)))
    none = ~uneven & ~answered & (impossible | ~said & ~unknown & ((num_texts == 0) | marked))
    usable = answered if all_count else has_sound
    faults = np.select(
        [
            uneven,
            impossible & answered,
            none | ~impossible & usable,
            ~answered & (unknown | (num_texts == 0)),
            ~answered,
            rows_with(wrong & (golds.start >= NO_OFFSET)),
            rows_with(wrong),
        ],
        [1, 2, 0, 3, 4, 5, 6],
        7,
    ).astype(np.int8)
    keep = (sound | all_count & ~golds.blank) & (faults == 0)[golds.row] & ~none[golds.row]
    in_rows = (faults == 0)[golds.row] & ~none[golds.row]
    differs = pc.not_equal(golds.text, golds.own).to_numpy(zero_copy_only=False)
    own = keep & (~sound | all_count & differs)
    notes = Counter(
        {
            "golds trimmed": int((golds.trimmed & keep & ~was_told).sum()),
            "golds without offset found": int((found & keep).sum()),
            "of them in several places": int((ambiguous & keep).sum()),
            "offsets mended": int((mended & keep).sum()),
            "golds counted in their context's form as well": int((own & sound).sum()),
            "golds not in their context": int((keep & ~sound & ~was_told).sum()),
            "unusable golds left out": int((in_rows & ~keep).sum()),
        }
    )
    return Golds(_lists(golds, keep & sound, own, num_rows), faults, notes)


def _lists(golds: _Flat, stands: Mask, own: Mask, num_rows: int) -> pa.StructArray:
    """Return the golds of each row: first those chosen as they stand, then those as the file has.

    Args:
        golds: Those of all rows.
        stands: Which of them count as they stand in the context.
        own: Which count as the file has them, at no place.
        num_rows: Rows of the batch.
    """
    places, others = np.flatnonzero(stands), np.flatnonzero(own)
    row = golds.row[np.concatenate([places, others])]
    order = np.argsort(row, kind="stable")
    start = np.concatenate([golds.start[places], np.full(len(others), -1)])[order]
    text = [golds.text.take(pa.array(places)), golds.own.take(pa.array(others))]
    counts = np.bincount(row, minlength=num_rows)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]), pa.int32())
    texts = pa.ListArray.from_arrays(offsets, pa.concat_arrays(text).take(pa.array(order)))
    starts = pa.ListArray.from_arrays(offsets, pa.array(start, pa.int64()))
    return pa.StructArray.from_arrays([texts, starts], ["text", "answer_start"])


def _flatten(texts: pa.ListArray, starts: pa.ListArray, has_starts: Mask) -> _Flat:
    num_texts = lengths(texts)
    row = np.repeat(np.arange(len(texts)), num_texts)
    raw = texts.flatten().fill_null("")
    own = pc.utf8_trim(raw, _SPACE)
    left = pc.utf8_ltrim(raw, OUTER)
    text = pc.utf8_rtrim(left, OUTER)
    raw_length, left_length, length = (
        pc.utf8_length(each).to_numpy(zero_copy_only=False) for each in (raw, left, text)
    )
    start = np.full(len(row), -1, np.int64)
    given = np.zeros(len(row), bool)
    of_starts = has_starts[np.repeat(np.arange(len(starts)), lengths(starts))]
    values = starts.flatten().filter(pa.array(of_starts))
    given[has_starts[row]] = values.is_valid().to_numpy(zero_copy_only=False)
    start[has_starts[row]] = values.fill_null(-1).to_numpy(zero_copy_only=False)
    lead = raw_length - left_length
    start += np.where(start >= 0, lead, 0)
    trimmed = (length > 0) & (length < raw_length)
    return _Flat(row, own, text, start, lead, given, length == 0, trimmed)


def _stands(contexts: pa.DictionaryArray, golds: _Flat, asked: Mask) -> Mask:
    """Return which of the golds asked for stand at their offset in their context.

    Offsets count characters and texts are UTF-8 bytes: where the characters of each distinct
    context begin translates one to the other.
    """
    stands = np.zeros(len(asked), bool)
    chosen = np.flatnonzero(asked)
    answers, begin = golds.text.take(pa.array(chosen)), golds.start[chosen]
    context = contexts.indices.to_numpy()[golds.row[chosen]]  # of each answer
    context_bytes, context_offsets = text_bytes(contexts.dictionary)
    char_bytes = np.flatnonzero((context_bytes & 0xC0) != 0x80)  # (chars,): no continuation byte
    first_char = np.searchsorted(char_bytes, context_offsets)

    num_chars = np.diff(first_char)[context]
    fits = begin <= num_chars - pc.utf8_length(answers).to_numpy()
    inside = np.flatnonzero(fits)
    # Answers are not empty here, so one inside of the context begins at one of its characters.
    begin_byte = char_bytes[first_char[context[inside]] + begin[inside]]
    answer_bytes, answer_offsets = text_bytes(answers.take(pa.array(inside)))
    counterpart = np.arange(len(answer_bytes))
    counterpart += np.repeat(begin_byte - answer_offsets[:-1], np.diff(answer_offsets))
    # An answer that fits in characters exceeds the last byte only if an earlier byte differs.
    np.minimum(counterpart, len(context_bytes) - 1, out=counterpart)
    differ = np.flatnonzero(answer_bytes != context_bytes[counterpart])
    fits[inside[np.searchsorted(answer_offsets, differ, side="right") - 1]] = False
    stands[chosen] = fits
    return stands


def _search(
    contexts: pa.DictionaryArray, golds: _Flat, wrong: Mask
) -> tuple[pa.StringArray, Mask, Mask, Mask]:
    """Look for the golds that have no offset, and take offsets as they are meant.

    Sets `golds.start`, and unsets `wrong` where the offset was mended.

    Returns:
        Texts as they stand in their contexts; which golds were found; which in several places;
        which offsets were mended.
    """
    found, ambiguous, mended = (np.zeros(len(wrong), bool) for _ in range(3))
    open_ = np.flatnonzero(~golds.blank & ((golds.start < 0) & (golds.start != NOWHERE) | wrong))
    if not len(open_):
        return golds.text, found, ambiguous, mended
    texts = golds.text.to_pylist()
    numbers = contexts.indices.take(pa.array(golds.row[open_])).to_pylist()
    original = lru_cache(64)(lambda number: contexts.dictionary[number].as_py())
    meant = lru_cache(4096)(  # several annotators write the same
        lambda number, text, *offset: as_meant(text, original(number), *offset)
    )
    for gold, number in zip(open_.tolist(), numbers, strict=True):
        context, text, begin = original(number), texts[gold], int(golds.start[gold])
        if begin >= 0:
            place = meant(number, text, begin, int(golds.lead[gold]))
            if place is not None:
                golds.start[gold], texts[gold] = place[0], context[slice(*place)]
                wrong[gold], mended[gold] = False, True
            continue
        places = find(text, context)
        if places:
            begin, end = places[0]
            golds.start[gold], texts[gold] = begin, context[begin:end]
            found[gold], ambiguous[gold] = True, len(places) > 1
    return pa.array(texts, pa.string()), found, ambiguous, mended
