"""A label shows its gold, and no token more, in every script and with every kind of tokenizer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE, Unigram, WordPiece

from qa_lib import windows
from qa_lib.windows import WindowSpec
from tests.unit.windows.test_windows import (
    SCHEMES,
    _template,
    _wrap,
    as_table,
    made,
    row_of,
    shown_by,
)

JAPANESE = "東京都は日本の首都であり、人口は約1400万人です。面積は2194平方キロです。"
THAI = "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย มีประชากรประมาณสิบล้านคน"


def korean_wordpiece() -> Any:
    """BERT's scheme with its decomposition: a syllable is two or three letters, each a token."""
    letters = [chr(point) for point in range(0x1100, 0x11C3)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{each}" for each in letters)]
    pieces += [chr(point) for point in range(33, 127)]
    pieces += [f"##{chr(point)}" for point in range(33, 127)]
    backend = Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    _template(backend, "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", ["[CLS]", "[SEP]"])
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    return _wrap(backend, types=True, pad_token="[PAD]", **names)


def spaceless_unigram() -> Any:
    """XLM-RoBERTa's scheme: without spaces, a text is one piece behind one mark."""
    letters = sorted({*JAPANESE, *THAI, *"中文没有空格ພາສາລາວភាសាខ្មែរ", *map(chr, range(33, 127))})
    whole = ["東京", "日本", "です", "กรุง", "ประเทศ", "there", "TM"]
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    pieces += [(each, -5.0) for each in letters] + [(each, -6.0) for each in whole]
    backend = Tokenizer(Unigram(pieces, unk_id=3))
    backend.normalizer, backend.pre_tokenizer = normalizers.NFKC(), pre_tokenizers.Metaspace()
    _template(backend, "<s> $A </s> </s> $B </s>", ["<s>", "</s>"])
    return _wrap(backend, types=False, pad_token="<pad>", unk_token="<unk>", bos_token="<s>")


def byte_fallback() -> Any:
    """Llama's scheme: a letter that it does not know is its bytes, each a token."""
    pieces = ["<unk>", "<s>", "</s>", "<pad>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    pieces += [*map(chr, range(33, 127)), "th", "▁t", "▁th", "▁the", "10"]
    merges = [("t", "h"), ("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("1", "0")]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    backend = Tokenizer(BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    marks = [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    backend.normalizer = normalizers.Sequence(marks)
    _template(backend, "<s> $A </s> $B </s>", ["<s>", "</s>"])
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    return _wrap(backend, types=False, **names)


def rewriting_byte_level() -> Any:
    """A normaliser that makes texts longer and shorter, before byte pairs."""
    rewrites = [
        normalizers.NFKD(),
        normalizers.Lowercase(),
        normalizers.Replace("½", " 1/2 "),
        normalizers.Replace("안녕", "a"),
        normalizers.Replace(Regex(r"\s+"), " "),
    ]
    tokenizer = SCHEMES[1]()
    tokenizer.backend_tokenizer.normalizer = normalizers.Sequence(rewrites)
    return tokenizer


KINDS = [*SCHEMES, korean_wordpiece, spaceless_unigram, byte_fallback, rewriting_byte_level]
PIECES = st.one_of(
    st.sampled_from(
        ["안녕하세요", "™", "①", "ﬁ", "中文", "日本", "กรุง", " ", "  ", "é", "▁", "\u3000"]
    ),
    st.sampled_from(["กรุงเทพ", "ที่นี่", "हिन्दी", "क्\u200dष", "e\u0301", "が", "🏳️", "العَرَبِيَّة"]),
    st.sampled_from(
        ["한국", "Zürich", "10", "the", "👩‍👧", "𝔘", "½", ".", "。", "שלום", "\u00a0", "İ"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
)


def labelled(kind: Any, context: str, begin: int, end: int, max_length: int = 400) -> list[Any]:
    """Return the windows of one question that are labelled with the answer."""
    row = row_of("w", context, begin, end - begin)
    spec = WindowSpec(max_length, max_length // 4)
    rows = windows.build(as_table([row]), made(kind), spec).table.to_pylist()
    return [row for row in rows if row["start"] != row["null_position"]]


@settings(max_examples=80, deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_label_is_the_smallest_span_that_shows_the_gold(kind: Any, data: st.DataObject) -> None:
    context = data.draw(st.lists(PIECES, min_size=1, max_size=15).map("".join).filter(bool))
    begin = data.draw(st.integers(0, len(context) - 1))
    end = data.draw(st.integers(begin + 1, len(context)))
    encoded = made(kind)(context, add_special_tokens=False, return_offsets_mapping=True)
    spans = [span for span in shown_by(encoded["offset_mapping"], context) if span[0] < span[1]]
    shown = {at for span in spans for at in range(*span)} & set(range(begin, end))
    found = labelled(kind, context, begin, end)
    assert len(found) == (1 if shown else 0)  # the text fits one window
    if not shown:
        return
    window = found[0]
    start, last = (window[name] - window["context_begin"] for name in ("start", "end"))
    assert 0 <= start <= last
    first_char, end_char = window["char_start"][start], window["char_end"][last]
    assert first_char <= min(shown) and max(shown) < end_char
    for token in (start, last):  # one token less would show less, or one character in part
        assert window["char_start"][token] < end and window["char_end"][token] > begin
    starts, ends = ({span[side] for span in spans} for side in (0, 1))
    if begin in starts and end in ends and not any(a < begin < b or a < end < b for a, b in spans):
        assert context[first_char:end_char] == context[begin:end]


@pytest.mark.parametrize(
    ("kind", "context", "gold"),
    [
        (korean_wordpiece, "수도는 서울 입니다", "서울"),
        (spaceless_unigram, "brand™ x", "™"),
        (SCHEMES[1], JAPANESE, "1400万人"),
        (SCHEMES[1], JAPANESE, "日本の首都"),
        (spaceless_unigram, JAPANESE, "東京都"),
        (spaceless_unigram, "10 a ▁ b", "▁"),
        (SCHEMES[0], "Sie zahlte 5½ Mark.", "5½"),
        (SCHEMES[1], "안녕하세요 여러분", "여러분"),
    ],
)
def test_golds_whose_characters_are_several_tokens(kind: Any, context: str, gold: str) -> None:
    begin = context.index(gold)
    (window,) = labelled(kind, context, begin, begin + len(gold))
    start, last = (window[name] - window["context_begin"] for name in ("start", "end"))
    assert start <= last
    assert context[window["char_start"][start] : window["char_end"][last]] == gold


@pytest.mark.parametrize(
    ("kind", "context", "gold"),
    [
        (SCHEMES[0], "เขา อยู่ที่นี่ ครับ", "อยู่ที่นี่"),  # BERT's lower-casing strips tone marks
        (SCHEMES[0], "राजधानी नई दिल्ली है", "नई दिल्ली"),
        (SCHEMES[0], "cafe\u0301 noir", "cafe\u0301"),
        (SCHEMES[1], "cafe\u0301 noir", "cafe"),  # the mark is a token
    ],
)
def test_an_answer_ends_after_marks_that_no_token_shows(kind: Any, context: str, gold: str) -> None:
    begin = context.index(gold)
    (window,) = labelled(kind, context, begin, begin + len(gold))
    start, last = (window[name] - window["context_begin"] for name in ("start", "end"))
    assert context[window["char_start"][start] : window["char_end"][last]] == gold


def test_an_answer_in_part_of_a_window_is_not_labelled() -> None:
    """Tokens of one character that a window cuts apart do not count as the character."""
    context = "日本国" * 12
    found = labelled(SCHEMES[1], context, 10, 13, max_length=24)
    assert found
    for window in found:
        start, last = (window[name] - window["context_begin"] for name in ("start", "end"))
        assert (window["char_start"][start], window["char_end"][last]) == (10, 13)
        assert last - start + 1 == 9  # three bytes each


@pytest.mark.parametrize("text", [JAPANESE, THAI, "中文没有空格。" * 4, "ພາສາລາວ", "ភាសាខ្មែរ"])
@pytest.mark.parametrize("kind", [spaceless_unigram, SCHEMES[0], SCHEMES[1]])
def test_without_spaces_a_word_is_no_passage(kind: Any, text: str) -> None:
    context = f"In {text} there"
    table, spec = pa.table({"question": ["w"], "context": [context]}), WindowSpec(400, 100)
    words, tokens = (
        np.array([row["char_start"], row["char_end"]]).T  # (tokens, 2)
        for whole in (True, False)
        for row in windows.build(
            table, made(kind), spec, labels=False, whole_words=whole
        ).table.to_pylist()
    )
    assert (words[:, 0] <= tokens[:, 0]).all() and (tokens[:, 1] <= words[:, 1]).all()
    sizes = (each[:, 1] - each[:, 0] for each in (words, tokens))
    assert max(next(sizes)) <= max(len(" there"), max(next(sizes)))
    assert context[slice(*words[-1])].strip() == "there"  # with spaces, a word is a word
