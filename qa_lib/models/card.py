"""The model card: what a model is, how it scored, how to ask it, and how it was made."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from qa_lib.config import Settings
from qa_lib.data import source_of
from qa_lib.errors import ModelError
from qa_lib.models.ragged import MODEL_TYPE
from qa_lib.models.sources import resolve
from qa_lib.runs.folder import Folder
from qa_lib.runs.result import labels
from qa_lib.runs.run_folder import RunFolder

CARD = "model/README.md"

_SCORES = ("f1", "em", "semantic")
_FIELDS = (
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
    "eval_fingerprint",
    "train_fingerprint",
    "started_at",
    "hardware",
    "commit",
)
_EMBEDDED = "sentence-transformers/all-MiniLM-L6-v2"
# Evaluation questions of the published sets; no other count is taken for one of them.
_PUBLISHED = {("1.1", 10_570): "rajpurkar/squad", ("2.0", 11_873): "rajpurkar/squad_v2"}
_HEADER = re.compile(
    r"\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*\r?(?:\n|\Z)(.*)", re.DOTALL | re.MULTILINE
)

_STOCK_USE = """\
Stock transformers answers with it:

```python
from transformers import AutoModelForQuestionAnswering, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = AutoModelForQuestionAnswering.from_pretrained("{name}")
context = "Ann built the bridge in 1890."
encoded = tokenizer("Who built it?", context, truncation="only_second", return_tensors="pt")
starts, ends = model(**encoded)[:2]
inside = ends.new_tensor([part == 1 for part in encoded.sequence_ids()]).bool()
spans = (starts.T + ends).masked_fill(~(inside & inside[:, None]).triu().tril(29), -1e9)
first, last = map(encoded.token_to_chars, divmod(int(spans.argmax()), len(spans)))
print(context[first.start : last.end])
```

It reads one window, and always answers: `qa_lib.serving.Answerer` of qa-suite reads passages of any
length, gives probabilities and knows when there is no answer."""

_RAGGED_USE = """\
Its layers have different widths: **stock transformers cannot load it**. qa-suite can, and
`python -m jobs.export` writes it as ONNX, for any process with onnxruntime.

```python
from qa_lib.serving import Answerer

answerer = Answerer("{name}")
print(answerer(question="Who built it?", context="Ann built the bridge in 1890.")["answer"])
```"""


def write_card(run: RunFolder, settings: Settings, *, made: str = "fine-tuned") -> None:
    """Write `model/README.md` in the hub's format.

    Args:
        run: The run folder, whose `model/` holds the checkpoint.
        settings: Those of the run.
        made: How it was made from the model that the settings name.
    """
    run.write_text(CARD, _card(run, settings, made))


def card_for(
    run: RunFolder, name: str, *, license: str | None = None, language: str | None = None
) -> str:
    """Return a run's card as it stands on the hub.

    Args:
        run: A finished run with a card.
        name: What the model is called there, as code loads it.
        license: Of the model; None: as the card says.
        language: Likewise.

    Raises:
        ModelError: The run has no card, or none in UTF-8.
    """
    try:
        text = run.read_text(CARD)
    except (OSError, UnicodeDecodeError):
        raise ModelError(
            f"{run.path} has no model card {CARD} that can be read.",
            "Name a run folder of train, adjust or tune that is done.",
        ) from None
    header, body = _split(text)
    header |= {key: value for key, value in (("license", license), ("language", language)) if value}
    listed = header.get("model-index")
    for index in listed if isinstance(listed, list) else ():  # of a card that was edited by hand
        if isinstance(index, dict):
            index["name"] = name.partition("/")[2]
    body = re.sub(r'(from_pretrained|Answerer)\("model"\)', rf'\1("{name}")', body)
    return _join(header, body)


def header_of(text: str) -> dict[str, Any]:
    """Return the metadata of a card, nothing where it has none that can be read."""
    return _split(text)[0]


def how_to_load(run: RunFolder) -> str:
    """Return a line that says how to load the model of a run."""
    stock = "AutoModelForQuestionAnswering.from_pretrained"
    return f"{run.url('model')} loads with {'qa_lib.models.load' if _is_ragged(run) else stock}"


def _card(run: RunFolder, settings: Settings, made: str) -> str:
    result, parent = run.result, settings.model.name
    inherited = _header_of_parent(parent)
    base = _base(parent, inherited)
    data = _hub_data(settings, result, settings.data.source)
    is_ragged = _is_ragged(run)
    header = {
        "library_name": "transformers" if not is_ragged else "qa-suite",
        "pipeline_tag": "question-answering",
        "license": "apache-2.0" if base == _EMBEDDED else inherited.get("license"),
        "language": _language(settings, result, data) or inherited.get("language"),
        "tags": ["question-answering", "extractive-qa"],
        "base_model": base,
        "base_model_relation": "finetune",
        "datasets": [data] if data else inherited.get("datasets"),
        "model-index": _index(run.name, settings, result),
    }
    use = (_RAGGED_USE if is_ragged else _STOCK_USE).format(name="model")
    body = f"""# {run.name}

Extractive question answering, {made} from {_public_name(parent)} on
{_data_name(settings.data.source)}{_scored_elsewhere(settings, result)}.

{_score_table(run)}

{use}

## How it was made

{_fact_table(run)}

```sh
{result.get("command", "")}
```

The exact settings are in the run's config.yaml, the versions of all libraries in its result.json.
"""
    return _join({key: value for key, value in header.items() if value}, body)


def _score_table(run: RunFolder) -> str:
    """Return the scores with their intervals, or that there are none."""
    result, titles = run.result, labels(run.job)
    rows = []
    for name in _SCORES:
        if isinstance(result.get(name), (int, float)):
            low, high = (result.get("intervals") or {}).get(name) or (None, None)
            interval = "" if low is None else f"{low:.2f} to {high:.2f}"
            rows.append(f"| {titles[name]} | {result[name]:.2f} | {interval} |")
    if not rows:
        return "It was not evaluated."
    count = f"{result['num_questions']:,} questions" if "num_questions" in result else "questions"
    head = f"| on {count}, 0 to 100 | | 95 % interval |\n|---|---|---|\n"
    return head + "\n".join(rows)


def _fact_table(run: RunFolder) -> str:
    titles = labels(run.job)
    rows = [
        f"| {titles[name]} | {_figure(run.result[name])} |"
        for name in _FIELDS
        if run.result.get(name) is not None
    ]
    return "\n".join(["| | |", "|---|---|", *rows])


def _index(name: str, settings: Settings, result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the scores as the hub lists them."""
    metrics = [
        {"type": kind, "name": kind.replace("_", " "), "value": round(result[key], 2)}
        for key, kind in (("f1", "f1"), ("em", "exact_match"))
        if isinstance(result.get(key), (int, float))
    ]
    if not metrics:
        return []
    source = _scored_on(settings, result)
    data = _hub_data(settings, result, source)
    dataset = {"type": data or "extractive-qa", "name": _data_name(source).strip("`")}
    task = {"type": "question-answering"}
    return [{"name": name, "results": [{"task": task, "dataset": dataset, "metrics": metrics}]}]


def _header_of_parent(name: str) -> dict[str, Any]:
    """Return the metadata of the card that lies beside a model, nothing where there is none."""
    if name == "embedded":
        return {}
    try:
        return header_of(Folder(resolve(name)).read_text("README.md"))
    except (OSError, ModelError, UnicodeDecodeError):
        return {}


def _base(parent: str, inherited: dict[str, Any]) -> str | None:
    """Return the hub id of what a model was made from, through its own parents."""
    if parent == "embedded":
        return _EMBEDDED
    if _is_hub_id(parent) and not Path(parent).expanduser().exists():
        return parent
    base = inherited.get("base_model")
    if isinstance(base, list) and len(base) == 1:
        (base,) = base
    return base if isinstance(base, str) and _is_hub_id(base) else None


def _scored_on(settings: Settings, result: dict[str, Any]) -> str:
    """Return the source of the questions that the scores are of."""
    return source_of(settings.data, result.get("eval_split", "eval"))


def _scored_elsewhere(settings: Settings, result: dict[str, Any]) -> str:
    source = _scored_on(settings, result)
    is_own = source == settings.data.source or "f1" not in result
    return "" if is_own else f", scored on\n{_data_name(source)}"


def _hub_data(settings: Settings, result: dict[str, Any], source: str) -> str | None:
    """Return the hub id of a source, where it is known, of the one scored by its questions too."""
    if _is_hub_id(source) and not Path(source).expanduser().exists():
        return source
    if source == "embedded" or source != _scored_on(settings, result):
        return None
    asked = (settings.data.version, result.get("num_questions"))
    return _PUBLISHED.get(asked)  # type: ignore[arg-type]


def _language(settings: Settings, result: dict[str, Any], data: str | None) -> str | None:
    if settings.data.source == "embedded" or data in _PUBLISHED.values():
        return "en"
    language = result.get("language")
    return language if isinstance(language, str) and len(language) == 2 else None


def _is_ragged(run: RunFolder) -> bool:
    path = "model/config.json"
    return run.exists(path) and json.loads(run.read_text(path)).get("model_type") == MODEL_TYPE


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _is_hub_id(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w.-]+", name, re.ASCII) is not None


def _public_name(name: str) -> str:
    return _EMBEDDED if name == "embedded" else name.split("://")[-1]


def _data_name(source: str) -> str:
    return "the suite's embedded corpus" if source == "embedded" else f"`{source}`"


def _split(text: str) -> tuple[dict[str, Any], str]:
    """Return the metadata and the text of a card, also of one that others wrote."""
    found = _HEADER.match(text)
    if found is None:
        return {}, text
    try:
        header = yaml.safe_load(found[1])
    except Exception:  # of int, datetime and base64 too, and of deep nesting
        return {}, text
    return (header if isinstance(header, dict) else {}), found[2]


def _join(header: dict[str, Any], body: str) -> str:
    return (
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True).strip()}\n---\n{body}"
    )
