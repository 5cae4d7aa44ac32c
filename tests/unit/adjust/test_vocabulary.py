"""A shorter vocabulary: text that the corpus covers gives the same tokens and the same logits."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from qa_lib import adjust, models, windows
from qa_lib.adjust import Plan, Sizes, probe_batch, prune, vocabulary
from qa_lib.config import Settings
from qa_lib.errors import AdjustError, ModelError
from qa_lib.training.teacher import _renumbered, numbers
from tests.support.adjust_models import CONFIGS, fitting, plan_of, tiny
from tests.support.tiny_tokenizers import MAKE, texts, tiny_with, tokenizer

SPEC = windows.WindowSpec(96, 32)
FEW = texts().slice(0, 4)


def plan_for(family: str, kept: tuple[int, ...], sizes: Sizes | None = None) -> Plan:
    parent = tiny_with(family)
    sizes = sizes or Sizes.of(parent.config)
    return plan_of(parent, sizes, [], vocabulary=kept, importance="magnitude", fold=False)


@cache
def shortened(family: str) -> tuple[Plan, Any, PreTrainedTokenizerFast]:
    kept = vocabulary.used(tokenizer(family), FEW, tiny_with(family).config)
    plan = plan_for(family, kept)
    child = adjust.apply(tiny_with(family), plan)
    return plan, child, vocabulary.shorten(tokenizer(family), kept)


def covered_windows(family: str, own: PreTrainedTokenizerFast) -> dict[str, torch.Tensor]:
    table = windows.build(covered_questions(), own, SPEC, characters=False).table
    return windows.collate(table.slice(0, 6), windows.PadSpec.of(own))


def covered_questions() -> pa.Table:
    """Return questions of which every text is among those that the vocabulary was made for."""
    questions = pa.compute.utf8_slice_codeunits(FEW, 0, 20)
    return with_ids(pa.table({"context": FEW, "question": questions}))


def with_ids(questions: pa.Table) -> pa.Table:
    """Complete questions to the schema; nothing here depends on their answers."""
    from qa_lib.data import SCHEMA

    count = questions.num_rows
    starts = pa.array([[0]] * count, pa.list_(pa.int32()))
    answers = pa.StructArray.from_arrays(
        [pc_first_words(questions["context"]), starts], ["text", "answer_start"]
    )
    values = {
        "id": pa.array(map(str, range(count))),
        "title": pa.array([""] * count),
        "context": questions["context"],
        "question": questions["question"],
        "answers": answers,
    }
    return pa.table({name: values[name] for name in SCHEMA.names}).cast(SCHEMA)


def pc_first_words(contexts: pa.ChunkedArray) -> pa.Array:
    return pa.array([[text.split(" ")[0]] for text in contexts.to_pylist()])


def test_questions_are_covered_as_windows_cut_them(tmp_path: Path):
    """To a byte-level tokenizer the space before a word is a part of its token."""
    own, model = tokenizer("roberta"), tiny_with("roberta")
    models.save(model, own, tmp_path / "parent")
    word = FEW[0].as_py().split(" ")[1]
    asked = {"question": f" {word} ", "context": FEW[1].as_py(), "is_impossible": True}
    (tmp_path / "train.jsonl").write_text(json.dumps(asked))
    settings = Settings.model_validate(
        {
            "model": {"name": str(tmp_path / "parent")},
            "data": {"source": str(tmp_path / "train.jsonl")},
            "adjust": {"vocabulary": "corpus"},
        }
    )
    kept, found = prune._vocabulary(settings, model)
    assert kept is not None and found is not None and word in found.to_pylist()
    short = vocabulary.shorten(own, kept)
    for each in (own, short):
        each.backend_tokenizer.no_truncation()
    whole, cut = (each.convert_ids_to_tokens(each(word)["input_ids"]) for each in (own, short))
    assert whole == cut


@pytest.mark.parametrize("family", MAKE)
def test_covered_text_gives_the_same_tokens_and_the_same_logits_to_the_bit(family: str):
    plan, child, short = shortened(family)
    kept = plan.keep.vocabulary
    assert len(kept) < 0.9 * len(tokenizer(family))
    assert vocabulary.check(tokenizer(family), short, kept, FEW) > 100
    shown = adjust.prove(tiny_with(family), child, plan)
    assert shown.num_identical == shown.num_tensors
    assert child.config.vocab_size == len(kept) == len(short)
    whole = covered_windows(family, tokenizer(family))
    less = covered_windows(family, short)
    assert torch.equal(whole["attention_mask"], less["attention_mask"])
    assert torch.equal(torch.tensor(kept)[less["input_ids"]], whole["input_ids"])
    assert torch.equal(
        probe_batch.logits(child, less), probe_batch.logits(tiny_with(family), whole)
    )


@pytest.mark.parametrize("family", MAKE)
def test_special_tokens_keep_their_meaning(family: str):
    _, child, short = shortened(family)
    own = tokenizer(family)
    for name in ("pad_token", "cls_token", "sep_token", "unk_token", "mask_token"):
        assert getattr(short, name) == getattr(own, name)
    config = child.config
    assert config.pad_token_id == short.pad_token_id
    if models.positions_follow_padding(config):
        assert config.pad_token_id == tiny_with(family).config.pad_token_id
    if family == "modernbert":
        assert (config.cls_token_id, config.sep_token_id) == (
            short.cls_token_id,
            short.sep_token_id,
        )
    assert short("a", "b")["input_ids"][0] == short.cls_token_id
    text = f"one {own.mask_token} two"
    assert short.mask_token_id in short(text)["input_ids"]


@pytest.mark.parametrize("family", MAKE)
def test_a_word_never_seen_falls_back_to_pieces(family: str):
    _, _, short = shortened(family)
    unseen = "thermaltoneworks"  # of letters that the training texts have
    pieces = short.tokenize(unseen)
    assert len(pieces) > 3
    assert short.unk_token not in pieces
    assert "".join(pieces).replace("##", "").lstrip("▁") == unseen
    strange = short("☃", add_special_tokens=False)["input_ids"]
    of_bytes = family in ("roberta", "modernbert")
    assert (short.unk_token_id in strange) != of_bytes


@pytest.mark.parametrize("family", MAKE)
def test_it_is_written_beside_a_stock_checkpoint(family: str, tmp_path: Path):
    plan, child, short = shortened(family)
    models.save(child, short, tmp_path / "one")
    assert str(tmp_path.parent) not in (tmp_path / "one/tokenizer_config.json").read_text()
    loaded = models.load_tokenizer(str(tmp_path / "one"))
    assert type(loaded) is type(tokenizer(family))
    assert vocabulary.check(short, loaded, tuple(range(len(short))), FEW)
    again = vocabulary.shorten(tokenizer(family), Plan.from_json(plan.to_json()).keep.vocabulary)
    models.save(child, again, tmp_path / "two")
    first, second = (
        {file.name: file.read_bytes() for file in (tmp_path / name).iterdir()}
        for name in ("one", "two")
    )
    assert first == second


@pytest.mark.parametrize("family", MAKE)
def test_it_goes_with_every_other_size(family: str):
    parent = tiny_with(family)
    sizes = fitting(family, Sizes((0, 2), 24, 3, 10))
    kept = shortened(family)[0].keep.vocabulary
    plan = plan_for(family, kept, sizes)
    assert Plan.from_json(plan.to_json()) == plan
    child = adjust.apply(parent, plan)
    adjust.prove(parent, child, plan)
    assert plan.keep.sizes == replace(sizes, vocabulary_size=len(kept))


@settings(max_examples=20)
@given(data=st.data())
def test_any_texts_are_covered(data: st.DataObject):
    family = data.draw(st.sampled_from(sorted(MAKE)))
    words = " ".join(texts().slice(4, 20).to_pylist()).split(" ")
    word = st.one_of(st.sampled_from(words), st.text(max_size=6))
    corpus = data.draw(st.lists(st.lists(word, max_size=12).map(" ".join), min_size=1, max_size=4))
    own, some = tokenizer(family), pa.array(corpus, pa.string())
    kept = vocabulary.used(own, some, tiny_with(family).config)
    vocabulary.check(own, vocabulary.shorten(own, kept), kept, some)


def test_a_token_that_is_missing_is_caught():
    kept = shortened("bert")[0].keep.vocabulary
    used = tokenizer("bert")(FEW[0].as_py(), add_special_tokens=False)["input_ids"]
    long = next(i for i in used if len(tokenizer("bert").convert_ids_to_tokens(i)) > 3)
    wrong = tuple(id for id in kept if id != long)
    short = vocabulary.shorten(tokenizer("bert"), wrong)
    with pytest.raises(AdjustError, match="failed its proof"):
        vocabulary.check(tokenizer("bert"), short, wrong, FEW)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_plan_without_a_special_token_is_refused(family: str):
    kept = shortened(family)[0].keep.vocabulary
    wrong = tuple(id for id in kept if id != tokenizer(family).sep_token_id)
    with pytest.raises(AdjustError, match="special tokens"):
        vocabulary.shorten(tokenizer(family), wrong)


def test_a_plan_without_the_padding_is_refused():
    plan = shortened("bert")[0]
    kept = tuple(id for id in plan.keep.vocabulary if id != tokenizer("bert").pad_token_id)
    wrong = plan.model_copy(update={"keep": plan.keep.model_copy(update={"vocabulary": kept})})
    with pytest.raises(AdjustError, match="special tokens"):
        adjust.apply(tiny_with("bert"), wrong)


def test_rows_that_are_mixed_up_are_caught():
    plan, child, _ = shortened("bert")
    wrong = adjust.apply(tiny_with("bert"), plan)
    embeddings = wrong.get_input_embeddings()
    embeddings.weight = torch.nn.Parameter(child.get_input_embeddings().weight.flip(0))
    with pytest.raises(AdjustError, match=r"word_embeddings.* is not the parent's"):
        adjust.prove(tiny_with("bert"), wrong, plan)


def test_another_kind_of_tokenizer_is_refused_by_name():
    words = {"[UNK]": 0, "[PAD]": 1, "a": 2}
    backend = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    own = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]")
    with pytest.raises(AdjustError, match="a WordLevel tokenizer"):
        vocabulary.used(own, FEW, tiny("bert").config)


def test_a_tokenizer_larger_than_the_model_is_refused():
    with pytest.raises(AdjustError, match="vocabulary ends at 63"):
        vocabulary.used(tokenizer("bert"), texts(), CONFIGS["bert"]())


def test_a_plan_holds_a_bit_for_each_token():
    text = shortened("bert")[0].to_json()
    kept = json.loads(text)["keep"]["vocabulary"]
    assert len(kept) < len(tokenizer("bert")) / 4
    with pytest.raises(AdjustError, match="does not fit"):
        adjust.apply(tiny("bert"), shortened("bert")[0])


def test_a_teacher_is_asked_about_the_students_tokens(tmp_path: Path):
    plan, child, short = shortened("bert")
    models.save(tiny_with("bert"), tokenizer("bert"), tmp_path / "teacher")
    models.save(child, short, tmp_path / "student")
    names = str(tmp_path / "teacher"), str(tmp_path / "student")
    ids = numbers(*names)
    np.testing.assert_array_equal(ids, plan.keep.vocabulary)
    assert numbers(names[0], names[0]) is None
    student, teacher = (
        windows.build(covered_questions(), own, SPEC, characters=False).table
        for own in (short, tokenizer("bert"))
    )
    assert student["input_ids"].to_pylist() != teacher["input_ids"].to_pylist()
    covered = _renumbered(student, ids)
    assert covered["input_ids"].to_pylist() == teacher["input_ids"].to_pylist()
    with pytest.raises(ModelError, match="different vocabularies"):
        numbers(names[1], names[0])


def test_a_teacher_that_reads_text_otherwise_is_refused(tmp_path: Path):
    _, child, short = shortened("modernbert")
    whole = copy.deepcopy(tokenizer("modernbert"))
    for name, own, last in (("teacher", whole, "a"), ("student", copy.deepcopy(short), "b")):
        own.backend_tokenizer.normalizer = normalizers.Replace("x" * 200 + last, "y")
        models.save(tiny_with("modernbert") if own is whole else child, own, tmp_path / name)
    with pytest.raises(ModelError, match="different vocabularies"):
        numbers(str(tmp_path / "teacher"), str(tmp_path / "student"))
