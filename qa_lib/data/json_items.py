"""Items of a JSON document: articles, paragraphs and rows, and the rows that they hold.

An item is an article (`paragraphs`), a paragraph (`qas`, `questions`) or a row. A document is a
list of items, an object that holds one (`data`), an object of columns or of items by their ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from qa_lib.data.column_names import (
    ANSWER_NAMES,
    CONTEXT_NAMES,
    EXPECTED,
    ID_NAMES,
    KNOWN_NAMES,
    OFFSET_NAMES,
    OUTER_NAMES,
    QUESTION_NAMES,
)
from qa_lib.data.conversion import plain
from qa_lib.data.split_names import split_in
from qa_lib.errors import DataError

NESTING = ("paragraphs", "qas", "questions")


def is_item(value: Any) -> bool:
    """Whether a JSON value is an article, a paragraph or a row with a context."""
    if not isinstance(value, dict):
        return False
    if any(key in value for key in NESTING):
        return True
    contexts = [value[key] for key in value if plain(key) in CONTEXT_NAMES]
    return bool(contexts) and not isinstance(contexts[0], dict | list)


def items_of(document: Any, name: str, known: frozenset[str]) -> list[Any]:
    """Return the articles, paragraphs or rows of a document.

    Args:
        document: Parsed JSON.
        name: Of the file, for messages.
        known: Names of columns, any of which tells that an object is a row.

    Raises:
        DataError: It holds none, or several lists of them.
    """
    if isinstance(document, dict) and isinstance(inner := document.get("data"), dict):
        # What is known by name beside it is no version of a file but a part of the question.
        document = document if any(plain(key) in KNOWN_NAMES for key in document) else inner
    if isinstance(document, dict) and "data" not in document:
        if is_item(document) or is_wrapped(document):
            return [document]
        document = _of_columns(document, name) or _of_keys(document, name, known) or document
    if isinstance(document, dict):
        _check_single(_lists_of_items(document), name)
        items, header = document.get("data"), document.get("columns")
        if isinstance(header, list) and isinstance(items, list):  # pandas, orient="split"
            items = [
                row if isinstance(row, dict) else _paired(map(str, header), row, name)
                for row in items
            ]
    else:
        items = document
    if isinstance(items, list):
        return items
    held = ""
    if isinstance(document, dict):
        if any(plain(key) in known for key in document):  # a row, with some other names
            return [document]
        held = f"; it holds {', '.join(document)[:200] or 'nothing'}"
    raise DataError(f"{name} holds neither rows nor SQuAD's `data`{held}.", EXPECTED)


def _of_columns(document: dict[str, Any], name: str) -> list[Any] | None:
    """Return the rows of an object of columns, as pandas and `datasets` write tables."""
    columns = {key: value for key, value in document.items() if isinstance(value, dict | list)}
    names = set(map(plain, columns))
    of_row = set(map(plain, document)) - names
    if names.isdisjoint(CONTEXT_NAMES) or of_row & QUESTION_NAMES:
        return None
    numbered = {key: value for key, value in columns.items() if isinstance(value, dict)}
    index = next(iter(numbered.values()), {}).keys()
    others = [key for key, value in numbered.items() if value.keys() != index]
    if others:
        raise DataError(f"{name} holds columns of different rows: {', '.join(others)}.", EXPECTED)
    lists = [
        [value[row] for row in index] if isinstance(value, dict) else value
        for value in columns.values()
    ]
    if len({*map(len, lists)}) > 1:
        lengths = ", ".join(f"{key} {len(value)}" for key, value in columns.items())
        raise DataError(f"{name} holds columns that differ in length: {lengths}.", EXPECTED)
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def _paired(header: Iterable[str], row: Any, name: str) -> dict[str, Any]:
    try:
        if not isinstance(row, list):
            raise TypeError
        return dict(zip(header, row, strict=True))
    except (TypeError, ValueError):
        raise DataError(
            f"{name} holds a row that does not match its columns: {str(row)[:60]}.", EXPECTED
        ) from None


def _of_keys(document: dict[str, Any], name: str, known: frozenset[str]) -> list[Any] | None:
    """Return the items of an object that has them by their ids, or in a list of whatever name."""
    values = list(document.values())
    if values and all(is_item(value) for value in values):
        if all(map(split_in, document)):
            _check_single(list(document), name)
        return [
            {"title" if _nesting_keys(value) else "id": key} | value
            for key, value in document.items()
        ]
    rows = {
        key: [_unwrapped(item, name, known) for item in value]
        for key, value in ((key, _list(value)) for key, value in document.items())
        if value is not None
    }
    holding = _lists_of_items(rows)
    _check_single(holding, name)
    named = [
        key
        for key, value in rows.items()
        if isinstance(next(iter(value), None), dict) and plain(key) not in KNOWN_NAMES
    ]
    if any(plain(key) in known - OUTER_NAMES for key in document):
        named = []  # a list of the row's own, such as its answers under the name that it has
    if holding or len(named) == 1:
        return rows[(holding or named)[0]]
    return None


def _lists_of_items(document: dict[str, Any]) -> list[str]:
    """Return the keys whose values are lists of items; if some of them have questions, theirs."""
    firsts = first_items(document)
    return [key for key, item in firsts.items() if asks(item)] or list(firsts)


def first_items(document: dict[str, Any]) -> dict[str, Any]:
    """Return the first of each list of items."""
    lists = {key: _list(value) for key, value in document.items()}
    return {key: items[0] for key, items in lists.items() if items and is_item(items[0])}


def _list(value: Any) -> list[Any] | None:
    """Return a list, also where it is the `data` of an object."""
    inner = value.get("data") if isinstance(value, dict) else value
    return inner if isinstance(inner, list) else None


def asks(item: dict[str, Any]) -> bool:
    """Whether an item has questions, and is not a document beside those that have."""
    return any(key in item for key in NESTING) or any(plain(key) in QUESTION_NAMES for key in item)


def _check_single(keys: list[str], name: str) -> None:
    if len(keys) > 1:
        raise DataError(
            f"{name} holds several lists of questions: {', '.join(keys)}.",
            "Write each to a file of its own, named after its split (train, dev).",
        )


def is_wrapped(item: Any) -> bool:
    """Whether an item is a row as the hub's viewer gives it, with its number beside it."""
    return (
        isinstance(item, dict)
        and isinstance(item.get("row"), dict)
        and item.keys() <= {"row_idx", "row", "truncated_cells"}
    )


def _unwrapped(item: Any, name: str, known: frozenset[str]) -> Any:
    """Return a row without what the hub's viewer wraps it in.

    Raises:
        DataError: The viewer cut a text off.
    """
    if not is_wrapped(item):
        return item
    cut = [cell for cell in item.get("truncated_cells") or () if plain(str(cell)) in known]
    if cut:
        raise DataError(
            f"{name} row {item.get('row_idx', '?')} was cut off by the hub's viewer in "
            f"{', '.join(cut)}.",
            "Name the dataset itself (--data.source OWNER/NAME), or download its files.",
        )
    return item["row"]


def walk(items: Iterable[Any], name: str, known: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Yield the rows of items, which all have the form of the first."""
    form: str | None = ""
    for number, wrapped in enumerate(items):
        where = f"article {number}"
        item = _unwrapped(wrapped, name, known)
        try:
            if isinstance(item, dict) and item.keys() == {"header"}:  # of MRQA
                continue
            own = _nesting(item)
            form = own if form == "" else form
            if form is not None and form not in item:
                raise KeyError(form)
            yield from _rows(item, {}, known)
        except (KeyError, TypeError, AttributeError) as error:
            why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"{name} does not hold questions in a known form: {where}: {why}.", EXPECTED
            ) from None


def _rows(
    item: dict[str, Any], outer: dict[str, Any], known: frozenset[str]
) -> Iterator[dict[str, Any]]:
    """Yield the rows of an article, a paragraph or a row; `outer` is what is inherited."""
    key = _nesting(item)
    if key is not None:
        inherited = outer | {
            own: value
            for own, value in item.items()
            if isinstance(value, str | int | float)
            and plain(own) in known
            and plain(own) not in ID_NAMES  # which would be that of all its questions
            # A paragraph's `start` is where it stands itself.
            and (isinstance(value, str) or plain(own) not in ANSWER_NAMES)
        }
        for part in _listed(item[key]):
            if key != "paragraphs" or _has_questions(part, known):
                yield from _rows(part, inherited, known)
        return
    row = outer | item
    if "detected_answers" in row:
        row["answers"] = _mrqa_answers(row)
    yield row


def _nesting(item: Any) -> str | None:
    """Return the field of an article or paragraph that holds its parts; None for a row."""
    if not isinstance(item, dict):
        raise TypeError(f"{str(item)[:40]!r} is not an object")
    keys = _nesting_keys(item)
    filled = [key for key in keys if isinstance(item[key], dict | list) and item[key]]
    if len(filled) > 1:
        raise TypeError(f"it has both {' and '.join(filled)}")
    return next(iter(filled or keys), None)


def _nesting_keys(item: dict[str, Any]) -> list[str]:
    keys = (key for key in NESTING if key in item and not isinstance(item[key], str))
    return [key for key in keys if key != "questions" or not _holds_texts(item[key])]


def _has_questions(paragraph: Any, known: frozenset[str]) -> bool:
    """Whether a paragraph has questions; annotation tools also write those that have none yet.

    Questions under another name, such as `qa`, are some: without them the error would not tell.
    """
    if not isinstance(paragraph, dict) or any(key in paragraph for key in NESTING):
        return True
    firsts = (value[0] for value in paragraph.values() if isinstance(value, list) and value)
    inner = {plain(key) for first in firsts if isinstance(first, dict) for key in first}
    own = set(map(plain, paragraph)) & known - OUTER_NAMES - OFFSET_NAMES
    return bool(own or inner & (QUESTION_NAMES | known - KNOWN_NAMES))


def _holds_texts(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and any(isinstance(part, str) for part in value)
    )


def _listed(value: Any) -> Any:
    """Return the parts of an item as a list; some are written by their ids, some as columns."""
    if isinstance(value, dict):
        if value and all(isinstance(part, dict) for part in value.values()):
            return [{"id": key} | part for key, part in value.items()]
        if not all(isinstance(part, list) for part in value.values()):
            return [value]  # a single one
        if len({*map(len, value.values())}) > 1:
            raise TypeError(f"the lists of {', '.join(value)} differ in length")
        return [dict(zip(value, part, strict=True)) for part in zip(*value.values(), strict=True)]
    return value or ()


def _mrqa_answers(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the spans that MRQA found, then the golds without a span."""
    spans = [
        {"text": row["context"][first : last + 1], "answer_start": first}
        for found in _listed(row["detected_answers"])
        for first, last in _ranges(found["char_spans"])
    ]
    texts = {span["text"] for span in spans}
    others = [text for text in row.get("answers") or [] if text not in texts]
    return spans + [{"text": text, "answer_start": None} for text in others]


def _ranges(spans: Any) -> Iterable[tuple[int, int]]:
    """Return pairs of first and last character, as MRQA's lines or the hub's tables have them."""
    return zip(spans["start"], spans["end"], strict=True) if isinstance(spans, dict) else spans
