"""The models of a service: their names in paths, and how each is loaded and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qa_lib import models
from qa_lib.config import Settings
from qa_lib.errors import ConfigError
from qa_lib.runs import storage
from qa_lib.serving import Answerer, load_answerer, options_within
from qa_lib.serving.onnx import OnnxReader
from qa_lib.serving.service.batching import Answers, Batcher, answers_of
from qa_lib.serving.service.protocol import Question

_BATCH_TOKENS = {"cpu": 2048, "cuda": 32_768}
_EXAMPLE = Question(question="Who built the bridge?", context="Ann built the bridge in 1890.")


def named_models(settings: Settings) -> dict[str, str]:
    """Return what each model is loaded from by its name in paths, the default one first.

    Raises:
        ConfigError: Two models have one name.
    """
    first = settings.model.name
    found = {_name_of(first): first}
    for given in settings.serve.beside or ():
        name, equals, path = given.partition("=")
        if not equals or "/" in name:  # it stands in the path itself
            name, path = _name_of(given), given
        if name in found or not name:
            raise ConfigError(
                f"The model {path} cannot be called {name!r} beside {', '.join(found)}.",
                "Give it a name of its own: --serve.beside NAME=PATH.",
            )
        found[name] = path
    return found


def _name_of(path: str) -> str:
    """Return the last part of a path, or that of the run whose `model/` it is."""
    *above, last = storage.without_options(path).rstrip("/").split("/")
    return above[-1] if above and last == "model" else last


def check(settings: Settings) -> None:
    """Reject models that cannot answer, before anything starts.

    Raises:
        ModelError: One is not available, was never trained to answer, or was not exported.
        ConfigError: Two models have one name.
    """
    for path in named_models(settings).values():
        if settings.serve.backend == "torch":
            models.check_answers(path)
        else:
            OnnxReader.check(path, int8=settings.serve.backend == "int8")


def load_batcher(
    settings: Settings, path: str, *, device: str = "cpu", num_threads: int | None = None
) -> Batcher:
    """Load a model with the backend of the settings, and answer a first question, which is slower.

    Args:
        settings: `serve.backend` and how to answer.
        path: What the model is loaded from.
        device: cpu or cuda; ONNX files run on the CPU.
        num_threads: On a CPU; None: all cores.

    Raises:
        ModelError: The model is not available, or was never trained to answer.
    """
    backend = settings.serve.backend
    settings = settings.model_copy(
        update={"model": settings.model.model_copy(update={"name": path})}
    )

    def load() -> Callable[[Sequence[Question]], list[Answers]]:
        if backend == "torch":
            answerer = load_answerer(settings, device, num_threads, measure=True)
        else:
            answerer = Answerer(OnnxReader(path, int8=backend == "int8", num_threads=num_threads))
        answer = answers_of(answerer, options_within(settings, answerer.max_length))
        answer([_EXAMPLE])
        return answer

    return Batcher(load, settings.serve.batch_tokens or _BATCH_TOKENS[device])
