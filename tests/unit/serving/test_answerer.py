"""The Answerer against the documented behaviour of the removed pipeline, written out plainly."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.answer import OPTIONS, plain_answer, same
from qa_lib import models
from qa_lib.data import embedded
from qa_lib.errors import ConfigError, DataError, ModelError
from qa_lib.models.inference import Forward
from qa_lib.serving import Answerer
from tests.support import tiny

ANN = "Ann Lee built the bridge in 1890; ann lee, they say, was un-afraid."


@pytest.fixture(scope="module")
def forward(tmp_path_factory: pytest.TempPathFactory) -> Forward:
    """A tiny model with opinions: its random head is made sharper."""
    name = tiny.write_model(tmp_path_factory.mktemp("tiny"))
    loaded = Forward(name, precision="fp32", batch_size=5)
    torch.manual_seed(3)
    torch.nn.init.normal_(loaded.model.qa_outputs.weight, std=2.0)
    return loaded


@pytest.fixture(scope="module")
def answerer(forward: Forward) -> Answerer:
    return Answerer(forward)


@pytest.fixture(scope="module")
def pairs() -> tuple[list[str], list[str]]:
    """Questions of several kinds, and texts that are hard to cut."""
    rows = embedded.corpus("eval").slice(0, 300).take(list(range(0, 300, 20)))
    questions, contexts = rows["question"].to_pylist(), rows["context"].to_pylist()
    questions += ["Who?", "Who built it, and " + "why " * 90 + "?", "日本?", "x"]
    contexts += [ANN, ANN * 9, "日本 is näïve\u200b, [SEP] won't-do.", "y"]
    return questions, contexts


@pytest.mark.parametrize(
    "options",
    [{"max_seq_len": 128} | options for options in OPTIONS]
    + [
        {"max_seq_len": 60, "max_question_len": 12, "top_k": 6, "max_answer_len": 4},
        {"max_seq_len": 60, "max_question_len": 12, "doc_stride": 2, "top_k": 5},
        {"max_seq_len": 128, "max_answer_len": 500, "handle_impossible_answer": True},
    ],
    ids=str,
)
def test_answers_are_those_of_the_plain_implementation(
    forward: Forward, answerer: Answerer, pairs: Any, options: dict[str, Any]
):
    options = {"max_question_len": 40} | options
    expected = [
        plain_answer(forward.model, forward.tokenizer, question, context, **options)
        for question, context in zip(*pairs, strict=True)
    ]
    found = answerer(*pairs, **options)
    differing = [
        (one, other) for one, other in zip(expected, found, strict=True) if not same(one, other)
    ]
    assert differing == []
    assert len({str(answer) for answer in found}) > len(found) // 2  # the model has opinions


def test_a_batch_is_answered_as_one_by_one(answerer: Answerer, pairs: Any):
    together = answerer(*pairs, max_seq_len=96, max_question_len=20)
    apart = [
        answerer(question, context, max_seq_len=96, max_question_len=20)
        for question, context in zip(*pairs, strict=True)
    ]
    assert all(same(one, other) for one, other in zip(together, apart, strict=True))


def test_one_answer_is_a_dictionary_and_several_are_a_list(answerer: Answerer):
    answer = answerer(question="Who?", context=ANN)
    assert list(answer) == ["score", "start", "end", "answer"]
    assert answer["answer"] == ANN[answer["start"] : answer["end"]]
    several = answerer(question="Who?", context=ANN, top_k=4)
    assert len(several) == 4
    scores = [each["score"] for each in several]
    assert scores == sorted(scores, reverse=True)
    assert isinstance(answerer(["Who?"], ANN), list)
    assert len(answerer(["Who?", "When?"], ANN, top_k=2)) == 2


def test_answers_are_whole_words_unless_told(answerer: Answerer):
    word = "unaffordableness"
    aligned = answerer("What?", word, top_k=9)
    assert aligned == {"score": aligned["score"], "start": 0, "end": 16, "answer": word}
    parts = answerer("What?", word, top_k=9, align_to_words=False)
    assert len(parts) > 1


def test_texts_found_several_times_count_once(answerer: Answerer):
    every = answerer("Who?", ANN, top_k=500, max_answer_len=4)
    texts = [answer["answer"].lower() for answer in every]
    assert len(texts) == len(set(texts))
    assert sum(answer["score"] for answer in every) <= 1 + 1e-5


def test_fewer_answers_than_asked_for_are_no_error(answerer: Answerer):
    assert answerer("What?", "y", top_k=5)["answer"] == "y"
    nothing = {"score": 0.0, "start": 0, "end": 0, "answer": ""}
    assert answerer("What?", "\u200b", top_k=5) == nothing  # no token at all
    with_null = answerer("What?", "y", top_k=5, handle_impossible_answer=True)
    assert {answer["answer"] for answer in with_null} == {"y", ""}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("", ANN), DataError, "question 0 is empty"),
        ((["Who?", "When?"], [ANN, " "]), DataError, "context 1 is empty"),
        ((["Who?"], [ANN, ANN]), ConfigError, "1 questions and 2 contexts"),
    ],
)
def test_what_cannot_be_asked_is_refused(answerer: Answerer, arguments, error, words):
    with pytest.raises(error, match=words):
        answerer(*arguments)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"top_k": 0}, "top_k is 0"), ({"max_seq_len": 64, "doc_stride": 64}, "stride")],
)
def test_numbers_out_of_bounds_are_refused(answerer: Answerer, options, words):
    with pytest.raises(ConfigError, match=words):
        answerer("Who?", ANN, **options)


def test_a_model_that_never_learned_to_answer_is_refused(tmp_path):
    with pytest.raises(ModelError, match="never trained"):
        Answerer("embedded")
    assert models.has_answering_head(tiny.write_model(tmp_path))


@pytest.mark.parametrize("texts", [("Who\ud800?", "Ann."), ("Who?", "Ann \udfff.")])
def test_half_a_surrogate_pair_is_refused(tmp_path, texts):
    from tests.support import tiny

    answerer = Answerer(tiny.write_model(tmp_path / "tiny"))
    with pytest.raises(DataError, match="surrogate"):
        answerer(*texts)
