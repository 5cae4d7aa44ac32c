"""The models of the demo: one, or an adjusted one and its parent."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qa_lib import serving
from qa_lib.config import Settings
from qa_lib.data import embedded
from qa_lib.errors import UserError
from qa_lib.runs.run_folder import RunFolder
from qa_lib.runs.storage import short_name
from qa_lib.serving import Answerer


@dataclass(frozen=True)
class DemoModel:
    """A loaded model.

    Attributes:
        name: The last part of the path or id it was loaded from.
        role: What it is to the reader of the page.
        answerer: The model itself.
        options: Keyword arguments of its call.
    """

    name: str
    role: str
    answerer: Answerer
    options: dict[str, Any]

    def ask(self, question: str, context: str) -> tuple[list[dict[str, Any]], float]:
        """Answer a question.

        Returns:
            The answers, best first, and the milliseconds that they took.

        Raises:
            DataError: The question or the context is empty.
        """
        started = time.perf_counter()
        answers = self.answerer(question, context, **self.options)
        milliseconds = (time.perf_counter() - started) * 1e3
        return [answers] if isinstance(answers, dict) else answers, milliseconds


def ask_all(models: Sequence[DemoModel], question: str, context: str) -> list[dict[str, Any]]:
    """Ask all models, one after the other.

    Returns:
        A dictionary per model: `name`, `role`, `answers`, and the `milliseconds` that they took.

    Raises:
        DataError: The question or the context is empty.
    """
    asked = [(model, *model.ask(question, context)) for model in models]
    return [
        {
            "name": model.name,
            "role": model.role,
            "answers": answers,
            "milliseconds": round(milliseconds, 2),
        }
        for model, answers, milliseconds in asked
    ]


def load(settings: Settings) -> list[DemoModel]:
    """Load the model of the settings, and one to compare it with.

    That is `demo.beside`, or, for an adjusted run, the parent that its result.json names, if it is
    still there.

    Raises:
        ModelError: A model is not available, or was never trained to answer.
    """
    name, beside = settings.model.name, settings.demo.beside
    model = _load(settings, name, "This model")
    if beside is not None:
        return [model, _load(settings, beside, "Beside it")]
    parent = RunFolder(name, "demo").read_result().get("parent")
    if parent is None:
        return [model]
    try:
        return [model, _load(settings, parent, "Its parent")]
    except UserError as error:
        print(f"note: the parent {parent} is left out: {error.problem}", file=sys.stderr)
        return [model]


def _load(settings: Settings, name: str, role: str) -> DemoModel:
    model = settings.model.model_copy(update={"name": name})
    settings = settings.model_copy(update={"model": model})
    options = serving.call_options(settings) | {"top_k": settings.demo.n_best}
    loaded = DemoModel(short_name(name), role, serving.load_answerer(settings), options)
    example = examples()
    loaded.ask(example["questions"][0], example["context"])  # the first call is slower
    return loaded


def examples() -> dict[str, Any]:
    """Return a passage of the embedded corpus, and questions about it."""
    table = embedded.corpus("eval").slice(0, 6).to_pylist()
    context = table[0]["context"]
    return {
        "context": context,
        "questions": [row["question"] for row in table if row["context"] == context],
    }
