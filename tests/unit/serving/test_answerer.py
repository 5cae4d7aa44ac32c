"""The Answerer against the documented behaviour of the removed pipeline, written out plainly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.answer import OPTIONS, plain_answer, same
from qa_lib import config, models
from qa_lib.data import embedded
from qa_lib.errors import ConfigError, DataError, ModelError
from qa_lib.models.inference import Forward
from qa_lib.serving import Answerer, options_within
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


def test_a_span_of_characters_counts_once(answerer: Answerer):
    every = answerer("Who?", ANN, top_k=500, max_answer_len=4)
    places = [(answer["start"], answer["end"]) for answer in every]
    assert len(places) == len(set(places)) > 9
    assert sum(answer["score"] for answer in every) <= 1 + 1e-5


class Scripted:
    """A model whose windows have given probabilities, of a start and an end at a token each."""

    def __init__(self, forward: Forward, windows: list[dict[str, float]]) -> None:
        self.tokenizer, self.pad = forward.tokenizer, forward.pad
        self.no_answer_threshold: float | None = None
        self._windows = windows

    def __call__(self, table: Any) -> Any:
        assert table.num_rows == len(self._windows)
        logits = np.full((table.num_rows, max(table["length"].to_pylist())), -40.0, np.float32)
        for window, wanted in enumerate(self._windows):
            row = table.slice(window, 1).to_pylist()[0]
            shown = self.tokenizer.convert_ids_to_tokens(row["input_ids"])
            for word, probability in wanted.items():
                position = row["null_position"] if word == "" else shown.index(word)
                logits[window, position] = np.log(probability)
        yield table, logits, logits


def test_a_span_in_many_windows_does_not_beat_a_better_one(forward: Forward):
    scripted = Scripted(forward, [{"d": 0.7, "": 0.3}, {"d": 0.7, "": 0.3}, {"f": 0.9, "": 0.1}])
    answers = Answerer(scripted)(  # type: ignore[arg-type]
        "a", "a b c d e f", max_seq_len=8, doc_stride=3, top_k=2, max_answer_len=1
    )
    assert [answer["answer"] for answer in answers] == ["f", "d"]
    assert [answer["score"] for answer in answers] == pytest.approx([0.81, 0.49])


@pytest.mark.parametrize(
    ("threshold", "handle", "answer"),
    [
        (None, None, "a"),
        (None, True, ""),
        (0.0, None, ""),
        (0.0, False, "a"),
        (0.5, None, ""),
        (3.0, None, "a"),
        (-9.0, True, ""),
    ],
)
def test_the_models_threshold_decides_on_no_answer(
    forward: Forward, threshold: float | None, handle: bool | None, answer: str
):
    scripted = Scripted(forward, [{"a": 0.2, "": 0.7}])  # sums apart by 2 log 3.5
    scripted.no_answer_threshold = threshold
    ask = Answerer(scripted)  # type: ignore[arg-type]
    found = ask("who", "a b", handle_impossible_answer=handle)
    assert found["answer"] == answer
    both = ask("who", "a b", top_k=2, handle_impossible_answer=True)
    assert sum(each["score"] for each in both) <= 1
    assert [each["answer"] for each in both].index("") == (0 if (threshold or 0) < 2.5 else 1)


def test_a_question_that_leaves_no_room_for_the_stride_is_answered(answerer: Answerer, capsys):
    question = "who built the bridge " * 15
    options = {"max_seq_len": 128, "doc_stride": 64}
    found = answerer(question, ANN * 9, **options)
    assert found["score"] > 0 and found["answer"]
    assert "stride of 64" in capsys.readouterr().err
    assert answerer("Who?", ANN * 9, **options)["answer"] and not capsys.readouterr().err
    with pytest.raises(ConfigError, match="no room for its context"):
        answerer(question, ANN, max_seq_len=32, doc_stride=8)
    with pytest.raises(ConfigError, match="line 7 leaves no room"):
        answerer([question], ANN, max_seq_len=32, doc_stride=8, names=["line 7"])


@pytest.mark.parametrize(("longest", "length", "stride"), [(512, 384, 300), (256, 256, 128)])
def test_the_stride_is_the_one_asked_for_unless_the_model_is_shorter(longest, length, stride):
    settings = config.parse("answer", ["--data.max-length", "384", "--data.stride", "300"])
    options = options_within(settings, longest)
    assert (options["max_seq_len"], options["doc_stride"]) == (length, stride)


def test_no_questions_have_no_answers(answerer: Answerer):
    assert answerer([], ANN) == answerer([], []) == []


def test_outer_white_space_of_a_question_changes_nothing(answerer: Answerer):
    assert answerer(" " * 500 + "Who?\n", ANN) == answerer("Who?", ANN)


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
    [
        ({"top_k": 0}, "top_k is 0"),
        ({"max_seq_len": 64, "doc_stride": 64}, "stride"),
        ({"max_seq_len": 100_000}, "positions for"),
    ],
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
