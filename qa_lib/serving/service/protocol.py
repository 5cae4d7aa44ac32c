"""What goes over the wire: questions in, answers out, and errors with cause and remedy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Question(BaseModel):
    """A question about a passage."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [{"question": "Who built it?", "context": "Ann built the bridge in 1890."}]
        },
    )

    question: str = Field(description="The question.")
    context: str = Field(description="The passage to answer from.")
    top_k: int | None = Field(
        default=None,
        ge=1,
        le=100,
        description="Answers, best first; fewer where fewer are possible; none: as many as the "
        "service was started with (--answer.top-k, 1 by default).",
    )
    threshold: float | None = Field(
        default=None,
        description="No answer where its logits exceed the best span's by more than this; none: "
        "the model's own threshold, if it has one.",
    )

    @field_validator("question", "context")
    @classmethod
    def _refuse_no_text(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("it is empty")
        if text != text.encode("utf-8", "replace").decode():
            raise ValueError("it is not Unicode: it has half of a surrogate pair")
        return text

    @property
    def num_tokens(self) -> int:
        """About how many tokens it has, from its bytes: close enough to size a batch."""
        return (len(self.question.encode()) + len(self.context.encode())) // 4 + 3


class Answer(BaseModel):
    """A span of the passage, or no answer (`answer` is "")."""

    answer: str = Field(description='Text of the span; "" where there is no answer.')
    score: float = Field(description="Probability, 0 to 1.")
    start: int = Field(description="First character of the span in the context.")
    end: int = Field(description="One past its last character.")


class Answered(Answer):
    """The best answer to a question, and all that were asked for."""

    answers: list[Answer] = Field(description="All answers, best first, this one included.")
    model: str = Field(description="The model that answered.")


class Fault(BaseModel):
    """Why a request was not answered."""

    error: str = Field(description="The cause.")
    remedy: str = Field(description="What to do.")


class ServiceError(Exception):
    """A request that is not answered.

    Args:
        status: Of the HTTP response.
        error: The cause.
        remedy: What to do.
    """

    def __init__(self, status: int, error: str, remedy: str) -> None:
        """Keep the parts."""
        super().__init__(status, error, remedy)
        self.status, self.fault = status, Fault(error=error, remedy=remedy)


class Batch(NamedTuple):
    """A batch that was answered.

    Attributes:
        num_questions: Questions in it.
        num_tokens: Their tokens, about.
    """

    num_questions: int
    num_tokens: int


class Reply(NamedTuple):
    """What a backend returns for one question.

    Attributes:
        answers: Of `Answerer`, best first.
        waited_s: Seconds that it waited for its batch.
        batch: The batch that it was in; None for all but the first question of a batch.
    """

    answers: list[dict[str, Any]]
    waited_s: float
    batch: Batch | None


class Backend(Protocol):
    """What answers the requests of an application."""

    @property
    def models(self) -> Sequence[str]:
        """Names of the models, as in paths; the first one is the default."""

    async def answer(self, model: str, questions: Sequence[Question]) -> list[Reply]:
        """Answer questions with a model.

        Raises:
            ServiceError: They cannot be answered.
            UserError: A question cannot be answered by this model.
        """

    async def is_ready(self) -> bool:
        """Whether every model answers."""
