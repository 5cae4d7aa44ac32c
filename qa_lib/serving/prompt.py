"""One question from the command line, or many at a prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qa_lib import models
from qa_lib.config import Settings
from qa_lib.errors import DataError, UserError
from qa_lib.machines.actors import device_of
from qa_lib.runs import storage
from qa_lib.serving.answerer import Answerer


def call_options(settings: Settings) -> dict[str, Any]:
    """Return the keyword arguments that the settings give the call of their model's Answerer."""
    return options_within(settings, models.maximum_length(models.load_config(settings.model.name)))


def options_within(settings: Settings, longest: int | None) -> dict[str, Any]:
    """Return the keyword arguments of an Answerer's call for a model with so many positions."""
    answer, data = settings.answer, settings.data
    length = min(data.max_length, longest or data.max_length)
    return {
        "top_k": answer.top_k,
        "doc_stride": data.stride if length == data.max_length else min(data.stride, length // 2),
        "max_answer_len": answer.max_answer_length,
        "max_seq_len": length,
        "max_question_len": answer.max_question_length,
        "handle_impossible_answer": answer.handle_impossible_answer,
        "align_to_words": answer.align_to_words,
    }


def ask(settings: Settings) -> Any:
    """Answer the question of the settings.

    Returns:
        What `Answerer` returns: a dictionary, or with `answer.top_k` above 1 a list of them.

    Raises:
        ModelError: The model is not available, or was never trained to answer.
        DataError: The context is empty, or its file cannot be read.
    """
    context = read_context(settings.answer.context or "")
    options = call_options(settings)
    return load_answerer(settings)(settings.answer.question or "", context, **options)


def converse(settings: Settings, read: Callable[[str], str] = input) -> None:
    """Ask for a context and questions, and print the answers, until the input ends.

    Args:
        settings: Name the model, and the first context if any.
        read: Prompts, and returns a line; raises EOFError at the end.
    """
    options = call_options(settings)
    answerer = load_answerer(settings)
    given = settings.answer.context
    print("An empty question changes the context; Ctrl-D ends.")
    try:
        while True:
            try:
                context = read_context(given or read("context (text, or @FILE)> "))
                while question := read("question> ").strip():
                    answers = answerer(question, context, **options)
                    for answer in [answers] if isinstance(answers, dict) else answers:
                        print(_line(answer))
            except UserError as error:
                print(f"{error.problem}\n  {error.remedy}")
            given = None
    except EOFError:
        print()


def load_answerer(
    settings: Settings,
    device: str | None = None,
    num_threads: int | None = None,
    *,
    measure: bool = False,
) -> Answerer:
    """Load the model of the settings, with their placement and precision.

    Args:
        settings: Name the model.
        device: cpu or cuda; None judges by this machine.
        num_threads: Of torch on a CPU; all cores where None.
        measure: As of `Forward`.

    Raises:
        ModelError: The model is not available, or was never trained to answer.
    """
    return Answerer(
        settings.model.name,
        device=device or device_of(settings),
        num_threads=num_threads,
        precision=settings.train.precision,
        placement=settings.model.placement,
        max_memory=settings.model.max_memory,
        attention=settings.train.attention,
        measure=measure,
    )


def _line(answer: dict[str, Any]) -> str:
    where = f"{answer['start']}-{answer['end']}" if answer["answer"] else "nowhere"
    return f"  {answer['answer'] or 'no answer'}  ({answer['score']:.3f}, characters {where})"


def read_context(text: str) -> str:
    """Return a context as it is given, or the content of the file that @FILE names.

    A context that itself begins with @ is given with @@.
    """
    if not text.startswith("@"):
        return text
    if text.startswith("@@"):
        return text[1:]
    try:
        return storage.read_text(text[1:])
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The context {text[1:]} cannot be read: {storage.first_line(error)}",
            "Give @ and the path or URL of a UTF-8 text file, or the text itself; write @@ for a "
            "text that begins with @.",
        ) from None
