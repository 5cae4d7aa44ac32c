"""Fine-tune, adjust, search and serve extractive question-answering transformers."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Keep the import that model cards of 0.1 show: ``from qa_lib import model``."""
    if name == "model":
        from qa_lib import models

        return models
    raise AttributeError(f"module 'qa_lib' has no attribute {name!r}")
