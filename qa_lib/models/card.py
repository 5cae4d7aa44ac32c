"""The model card: what a model was trained on and how it scored, from the run's result."""

from __future__ import annotations

import json
from typing import Any

import yaml

from qa_lib.config import Settings
from qa_lib.models.ragged import MODEL_TYPE
from qa_lib.runs.result import labels
from qa_lib.runs.run_folder import RunFolder

_FIELDS = (
    "f1",
    "em",
    "num_questions",
    "num_train_questions",
    "num_train_windows",
    "num_window_passes",
    "steps",
    "num_parameters",
    "num_parent_parameters",
    "speedup",
    "precision",
    "world_size",
    "zero_stage",
)

_STOCK_USE = """```python
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

model = AutoModelForQuestionAnswering.from_pretrained("model")
tokenizer = AutoTokenizer.from_pretrained("model")
```"""

_RAGGED_USE = """Its layers have different widths: **stock transformers cannot load it**. qa-suite
can, and `python -m jobs.export` writes it as ONNX, for any process with onnxruntime.

```python
from qa_lib import models

model = models.load("model")
tokenizer = models.load_tokenizer("model")
```"""


def write_card(run: RunFolder, settings: Settings, *, made: str = "fine-tuned") -> None:
    """Write `model/README.md` in the hub's format.

    Args:
        run: The run folder, whose `model/` holds the checkpoint.
        settings: Those of the run.
        made: How it was made from the model that the settings name.
    """
    data = settings.data.source
    is_ragged = _is_ragged(run)
    header: dict[str, Any] = {
        "library_name": "transformers" if not is_ragged else "qa-suite",
        "pipeline_tag": "question-answering",
        "tags": ["question-answering", "extractive-qa"],
        "base_model": _public_name(settings.model.name),
        "datasets": [data] if _is_hub_id(data) else None,
    }
    titles = labels(run.job)
    rows = [
        f"| {titles[name]} | {_figure(run.result[name])} |"
        for name in _FIELDS
        if run.result.get(name) is not None
    ]
    text = f"""---
{yaml.safe_dump({key: value for key, value in header.items() if value}, sort_keys=False).strip()}
---
# {run.name}

Extractive question answering, {made} from {_public_name(settings.model.name)} on
{_data_name(data)}. Scores are 0 to 100, on the questions counted below.

| | |
|---|---|
{chr(10).join(rows)}

{_RAGGED_USE if is_ragged else _STOCK_USE}

The exact settings are in the run's config.yaml, the versions of all libraries in its result.json.
"""
    run.write_text("model/README.md", text)


def how_to_load(run: RunFolder) -> str:
    """Return a line that says how to load the model of a run."""
    stock = "AutoModelForQuestionAnswering.from_pretrained"
    return f"{run.url('model')} loads with {'qa_lib.models.load' if _is_ragged(run) else stock}"


def _is_ragged(run: RunFolder) -> bool:
    path = "model/config.json"
    return run.exists(path) and json.loads(run.read_text(path)).get("model_type") == MODEL_TYPE


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _is_hub_id(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~"))


def _public_name(name: str) -> str:
    return "sentence-transformers/all-MiniLM-L6-v2" if name == "embedded" else name.split("://")[-1]


def _data_name(source: str) -> str:
    return "the suite's embedded corpus" if source == "embedded" else f"`{source}`"
