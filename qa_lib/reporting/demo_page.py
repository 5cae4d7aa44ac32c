"""The page of the demo: a passage, a question, and the models that answer it side by side."""

from __future__ import annotations

from collections.abc import Sequence

from qa_lib.reporting import pages
from qa_lib.serving.demo.models import DemoModel, examples
from qa_lib.serving.demo.server import MAX_BYTES


def demo_page(models: Sequence[DemoModel]) -> str:
    """Return the page for these models, from left to right."""
    return pages.render(
        "demo.html",
        scripts=[pages.script("demo.js")],
        connect="'self'",
        title=f"Ask {' and '.join(model.name for model in models)}",
        models=models,
        max_characters=MAX_BYTES // 4,
        **examples(),
    )
