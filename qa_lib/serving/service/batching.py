"""Questions of many requests, answered together: whatever waits when the model is free."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from qa_lib.errors import UserError
from qa_lib.serving.service.protocol import Batch, Question, Reply

Answers = list[dict[str, Any]]


class _Waiting(NamedTuple):
    question: Question
    done: asyncio.Future[Reply]
    since_s: float
    request: list[asyncio.Future[Reply]]


class Batcher:
    """Answers questions in the order in which they come, as many at once as the tokens allow.

    It never waits for a batch to fill: a question that finds the model free is answered alone, and
    those that come meanwhile are the next batch. A question of its own size above the bound is a
    batch by itself. One that is no longer waited for (its request was given up) is left out.
    """

    def __init__(
        self, load: Callable[[], Callable[[Sequence[Question]], list[Answers]]], max_tokens: int
    ) -> None:
        """Load what answers, in the thread that it is called in.

        Each thread that computes with torch has OpenMP threads of its own; with those of two a
        pass takes nearly twice as long.

        Args:
            load: Returns what returns the answers to each question.
            max_tokens: Of a batch, about.
        """
        self._max_tokens = max_tokens
        self._waiting: deque[_Waiting] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answer")
        self._answer = self._thread.submit(load).result()
        self._work: asyncio.Task[None] | None = None

    async def ask(self, questions: Sequence[Question]) -> list[Reply]:
        """Answer the questions of a request; they may come into several batches.

        Raises:
            UserError: A question cannot be answered; those of other requests are.
        """
        loop = asyncio.get_running_loop()
        done: list[asyncio.Future[Reply]] = [loop.create_future() for _ in questions]
        now = time.monotonic()
        self._waiting += [
            _Waiting(each, mine, now, done) for each, mine in zip(questions, done, strict=True)
        ]
        if self._work is None or self._work.done():
            self._work = loop.create_task(self._empty_queue())
        return await asyncio.gather(*done)

    async def _empty_queue(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._take():
            started = time.monotonic()
            questions = [each.question for each in batch]
            found = await loop.run_in_executor(self._thread, self._answer_each, questions)
            size: Batch | None = Batch(len(batch), sum(each.num_tokens for each in questions))
            for each, answers in zip(batch, found, strict=True):
                if each.done.done():  # given up meanwhile
                    continue
                if isinstance(answers, BaseException):
                    each.done.set_exception(answers)
                    for other in each.request:  # nobody waits for them any more
                        other.cancel()
                    continue
                each.done.set_result(Reply(answers, started - each.since_s, size))
                size = None

    def _take(self) -> list[_Waiting]:
        """Remove and return the next batch; nothing where no question waits."""
        batch: list[_Waiting] = []
        room = self._max_tokens
        while self._waiting:
            if self._waiting[0].done.done():
                self._waiting.popleft()
                continue
            room -= self._waiting[0].question.num_tokens
            if batch and room < 0:
                break
            batch.append(self._waiting.popleft())
        return batch

    def _answer_each(self, questions: list[Question]) -> list[Answers | BaseException]:
        """Answer all at once, or, where one is at fault, each alone."""
        try:
            return [*self._answer(questions)]
        except UserError as error:
            if len(questions) == 1:
                return [error]
            return [found for each in questions for found in self._answer_each([each])]
        except Exception as error:
            return [error] * len(questions)


def answers_of(answerer: Any, options: dict[str, Any]) -> Callable[..., list[Answers]]:
    """Return what a `Batcher` calls: an answerer, for questions with settings of their own.

    Args:
        answerer: An `Answerer`.
        options: Keyword arguments of its call, where a question does not say otherwise.
    """

    def answer(questions: Sequence[Question]) -> list[Answers]:
        found: list[Answers] = [[] for _ in questions]
        groups: dict[tuple[int | None, float | None], list[int]] = {}
        for index, each in enumerate(questions):
            groups.setdefault((each.top_k, each.threshold), []).append(index)
        for (top_k, threshold), indices in groups.items():
            own: dict[str, Any] = {"threshold": threshold}
            if top_k is not None:
                own["top_k"] = top_k
            if threshold is not None:
                own["handle_impossible_answer"] = True
            texts = ([getattr(questions[i], name) for i in indices] for name in _TEXTS)
            for index, result in zip(indices, answerer(*texts, **options | own), strict=True):
                found[index] = [result] if isinstance(result, dict) else result
        return found

    return answer


_TEXTS = ("question", "context")
