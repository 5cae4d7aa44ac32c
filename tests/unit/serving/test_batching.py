"""The queue of a model: what waits is answered together, whatever becomes of one question."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from qa_lib.errors import DataError
from qa_lib.serving.service.batching import Batcher, answers_of
from qa_lib.serving.service.protocol import Question


def question(text: str, **options: Any) -> Question:
    return Question(question=text, context="Ann did.", **options)


class Model:
    """Records its batches; the first one is held until `go` is set."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = threading.Event()

    def __call__(self, questions: Sequence[Question]) -> list[list[dict[str, Any]]]:
        texts = [each.question for each in questions]
        self.batches.append(texts)
        if len(self.batches) == 1:
            self.go.wait(30)
        if "fault" in texts:
            raise DataError("It is a fault.", "Leave it out.")
        if "bug" in texts:
            raise ZeroDivisionError
        return [[{"answer": text}] for text in texts]


async def asked(batcher: Batcher, model: Model, *texts: str) -> list[Any]:
    """Ask one question, and, while it is being answered, the others."""
    first = asyncio.create_task(batcher.ask([question("first")]))
    while not model.batches:
        await asyncio.sleep(0)
    others = [asyncio.create_task(batcher.ask([question(text)])) for text in texts]
    await asyncio.sleep(0)
    model.go.set()
    return await asyncio.gather(first, *others, return_exceptions=True)


def test_what_waits_is_one_batch_and_a_batch_is_counted_once():
    model = Model()
    replies = asyncio.run(asked(Batcher(lambda: model, 1000), model, "a", "b", "c"))
    assert model.batches == [["first"], ["a", "b", "c"]]
    assert [each[0].answers[0]["answer"] for each in replies] == ["first", "a", "b", "c"]
    sizes = [each[0].batch.num_questions for each in replies if each[0].batch is not None]
    assert sizes == [1, 3]
    assert all(each[0].waited_s >= 0 for each in replies)


def test_tokens_bound_a_batch_and_one_above_the_bound_is_answered_alone():
    model = Model()
    size = question("a").num_tokens
    asyncio.run(asked(Batcher(lambda: model, 2 * size), model, "a", "b", "c", "x" * 400, "d"))
    assert model.batches == [["first"], ["a", "b"], ["c"], ["x" * 400], ["d"]]


def test_a_question_at_fault_fails_alone():
    model = Model()
    replies = asyncio.run(asked(Batcher(lambda: model, 1000), model, "a", "fault", "b"))
    assert isinstance(replies[2], DataError)
    assert [replies[i][0].answers[0]["answer"] for i in (1, 3)] == ["a", "b"]


def test_a_bug_reaches_who_asked_and_the_next_batch_is_answered():
    model = Model()
    batcher = Batcher(lambda: model, 1000)

    async def both() -> list[Any]:
        replies = await asked(batcher, model, "bug")
        return [*replies, await batcher.ask([question("after")])]

    first, bug, after = asyncio.run(both())
    assert isinstance(bug, ZeroDivisionError) and after[0].answers == [{"answer": "after"}]


def test_a_request_that_is_given_up_costs_no_pass():
    model = Model()
    batcher = Batcher(lambda: model, 1000)

    async def give_up() -> None:
        first = asyncio.create_task(batcher.ask([question("first")]))
        while not model.batches:
            await asyncio.sleep(0)
        lost = asyncio.create_task(batcher.ask([question("lost")]))
        kept = asyncio.create_task(batcher.ask([question("kept")]))
        await asyncio.sleep(0)
        lost.cancel()
        await asyncio.sleep(0)
        model.go.set()
        await asyncio.gather(first, kept)
        with pytest.raises(asyncio.CancelledError):
            await lost

    asyncio.run(give_up())
    assert model.batches == [["first"], ["kept"]]


def test_the_rest_of_a_request_that_failed_costs_no_pass():
    model = Model()
    batcher = Batcher(lambda: model, question("a").num_tokens)

    async def fail() -> None:
        first = asyncio.create_task(batcher.ask([question("first")]))
        while not model.batches:
            await asyncio.sleep(0)
        bad = asyncio.create_task(batcher.ask([question("fault"), question("rest")]))
        kept = asyncio.create_task(batcher.ask([question("kept")]))
        await asyncio.sleep(0)
        model.go.set()
        await asyncio.gather(first, kept)
        with pytest.raises(DataError):
            await bad

    asyncio.run(fail())
    assert ["rest"] not in model.batches and model.batches[-1] == ["kept"]


def test_questions_with_settings_of_their_own_are_asked_with_them():
    calls = []

    def answerer(questions: list[str], contexts: list[str], **options: Any) -> list[Any]:
        calls.append((questions, options))
        return [[{"answer": text}] * options["top_k"] for text in questions]

    answer = answers_of(answerer, {"top_k": 7, "max_answer_len": 3})
    some = [question("a"), question("b", top_k=2), question("c"), question("d", threshold=1.0)]
    found = answer(some)
    assert [each[0]["answer"] for each in found] == ["a", "b", "c", "d"]
    assert [len(each) for each in found] == [7, 2, 7, 7]
    plain = {"top_k": 7, "max_answer_len": 3, "threshold": None}
    assert calls == [
        (["a", "c"], plain),
        (["b"], plain | {"top_k": 2}),
        (["d"], plain | {"threshold": 1.0, "handle_impossible_answer": True}),
    ]


def test_what_answers_is_loaded_in_the_thread_that_it_answers_in():
    threads: list[int] = []

    def load() -> Any:
        threads.append(threading.get_ident())
        return lambda questions: [[{"answer": threading.get_ident()}] for _ in questions]

    (reply,) = asyncio.run(Batcher(load, 1000).ask([question("a")]))
    assert reply.answers[0]["answer"] == threads[0] != threading.get_ident()
