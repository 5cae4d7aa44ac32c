"""Layouts of other tasks, which are refused by name: reading them as they stand would be wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qa_lib.errors import DataError

_ROWS = "Write a row for each question with question, context and answers (text, answer_start)"
_LAYOUTS: tuple[tuple[str, frozenset[str], str], ...] = (
    (
        "Label Studio's own export, whose answers are among its results",
        frozenset({"data", "annotations"}),
        "Export it as JSON-MIN or as CSV, which are read",
    ),
    (
        "CMRC 2018's own layout",
        frozenset({"context_text", "qas"}),
        "Download CMRC's SQuAD-style files (cmrc2018_*.json of its repository, or hfl/cmrc2018), "
        "or rename: context_text to context, query_text to question, query_id to id; answers may "
        "stay a list of texts",
    ),
    (
        "DROP's own layout, whose answers are numbers, dates and several spans",
        frozenset({"passage", "qa_pairs"}),
        f"{_ROWS}, and keep only those whose answer has a single span: passage is the context, "
        "answer.spans[0] the text",
    ),
    (
        "HotpotQA's own layout, whose context is several articles",
        frozenset({"supporting_facts", "context"}),
        f"{_ROWS}: join the sentences of the supporting articles to one context, and leave out "
        "yes/no answers; MRQA publishes HotpotQA converted",
    ),
    *(
        (
            "Natural Questions' own layout, whose answers are spans of a page's bytes or tokens",
            frozenset({page, "annotations"}),
            f"{_ROWS}: the long answer's paragraph is the context; MRQA publishes it converted",
        )
        for page in ("document_html", "document_text", "document")
    ),
    (
        "TyDi QA's primary layout, whose answers are byte spans of an article",
        frozenset({"document_plaintext", "passage_answer_candidates"}),
        "Use its gold-passage task (tydiqa, secondary_task), which is in SQuAD's layout",
    ),
    (
        "TriviaQA's own layout, whose evidence is in other files",
        frozenset({"EvidenceFiles"}),
        "Convert it with TriviaQA's convert_to_squad_format.py; MRQA publishes it converted",
    ),
    (
        "TriviaQA's own layout, whose evidence is several documents",
        frozenset({"EntityPages", "SearchResults"}),
        "Convert it with TriviaQA's convert_to_squad_format.py; MRQA publishes it converted",
    ),
    (
        "TriviaQA's own layout, whose evidence is several documents",
        frozenset({"entity_pages", "search_results"}),
        f"{_ROWS}: a document's text is the context; MRQA publishes it converted",
    ),
    (
        "CoQA's own layout, a conversation",
        frozenset({"story", "questions"}),
        f"{_ROWS}: story is the context, span_text the answer",
    ),
    (
        "NewsQA's own layout, whose answers are character ranges of several annotators",
        frozenset({"storyId", "questions"}),
        f"{_ROWS}: text is the context, consensus the answer; MRQA publishes it converted",
    ),
    (
        "MS MARCO's own layout, whose answers are written freely beside several passages",
        frozenset({"passages", "query"}),
        f"{_ROWS}: the selected passage's text is the context; leave out answers that it lacks",
    ),
    (
        "DuReader's own layout, whose evidence is several documents",
        frozenset({"documents", "question"}),
        f"{_ROWS}: a document's paragraphs are the context; DuReader-robust is in SQuAD's layout",
    ),
    (
        "DuoRC's own layout, whose answers are written freely",
        frozenset({"plot", "qa"}),
        f"{_ROWS}: plot is the context; leave out answers that it lacks",
    ),
    (
        "MultiRC's layout, whose answers are judged one by one",
        frozenset({"paragraph", "idx"}),
        "This suite marks answers inside of a context; choices need another kind of model",
    ),
    (
        "RACE's layout, multiple choice",
        frozenset({"article", "options"}),
        "This suite marks answers inside of a context; choices need another kind of model",
    ),
    (
        "MuSiQue's own layout, whose context is several paragraphs",
        frozenset({"paragraphs", "question_decomposition"}),
        f"{_ROWS}: join the supporting paragraphs (paragraph_text) to one context",
    ),
    *(
        (
            f"{task}'s layout, multiple choice",
            frozenset({"answers", *others}),
            "This suite marks answers inside of a context; choices need another kind of model",
        )
        for task, others in (("QuAIL", ["correct_answer_id"]), ("ReClor", ["label", "id_string"]))
    ),
    (
        "BoolQ's layout, whose answers are yes and no",
        frozenset({"passage", "question", "answer", "title"}),
        "This suite marks answers inside of a context; yes/no needs another kind of model",
    ),
)
_TYPES: dict[str, type | tuple[type, ...]] = {
    "idx": dict,
    "answer": bool,
    "data": dict,
    "context": (dict, list),
}
"""Of fields that other files have too."""


def refuse_others(sample: Any, name: str) -> None:
    """Refuse a layout of another task.

    Args:
        sample: A parsed document, or the first of its rows.
        name: Of the file, for messages.

    Raises:
        DataError: With what it is and how to convert it.
    """
    for item in _firsts(sample):
        for layout, keys, remedy in _LAYOUTS:
            values = [item.get(key) for key in keys]
            # A table of texts may have columns of these names.
            is_nested = any(isinstance(value, dict | list | bool) for value in values)
            of_type = all(
                isinstance(item[key], _TYPES.get(key, object)) for key in keys & set(item)
            )
            if keys <= item.keys() and is_nested and of_type:
                raise DataError(f"{name} is in {layout}.", f"{remedy}.")


def _firsts(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the document and the first of what it holds, three levels deep, where dictionaries."""
    for _ in range(4):
        if isinstance(value, dict):
            yield value
            inner = value.get("data", value.get("Data"))
            value = inner if inner is not None else next(iter(value.values()), None)
        elif isinstance(value, list):
            value = value[0] if value else None
