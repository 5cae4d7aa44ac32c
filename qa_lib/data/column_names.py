"""The usual names of columns, by what they are."""

from __future__ import annotations

from qa_lib.data.answer_values import OF_MANY_THINGS, START_NAMES
from qa_lib.data.schema import TEXT_COLUMNS

CONTEXT_NAMES = ("context", "passage", "paragraph", "document_text")
OF_ANYTHING = ("uid", "guid", "uuid", "key")
VAGUE_NAMES = frozenset({OF_MANY_THINGS, "key"})  # known in tables alone, and by their values
NAMES = {
    "id": (
        *("id", "_id", "qid", "question_id", "qas_id", "query_id", "example_id"),
        *OF_ANYTHING,
    ),
    "title": ("title", "document_title"),
    "context": CONTEXT_NAMES,
    "question": ("question", "query", "question_text"),
    "answers": (
        *("answers", "answer", "answer_text", "answer_texts", "gold"),
        *("answers.text", "answer.text", "answers_text"),  # as pandas flattens structs
    ),
    "answer_start": (
        *START_NAMES,
        *("answers.answer_start", "answer.answer_start", "answers_answer_start", "answers_start"),
        OF_MANY_THINGS,
    ),
    "is_impossible": (
        "is_impossible",
        "impossible",
        "no_answer",
        "unanswerable",
        "is_unanswerable",
    ),
    "is_answerable": ("is_answerable", "answerable"),
}
ASKED = ["id", "question", "context"]
"""What answering a question takes."""
OF_LABELS = ("answers", "answer_start", "is_impossible", "is_answerable")
KNOWN_NAMES = frozenset(name for names in NAMES.values() for name in names) - VAGUE_NAMES | {
    "detected_answers"
}
SHARED_NAMES = frozenset(NAMES["context"] + NAMES["title"])
ID_NAMES = frozenset(NAMES["id"])
QUESTION_NAMES = frozenset(NAMES["question"])
OFFSET_NAMES = frozenset(NAMES["answer_start"])
ANSWER_NAMES = OFFSET_NAMES.union(NAMES["answers"])
OUTER_NAMES = SHARED_NAMES | ID_NAMES
"""What an article or paragraph has without any questions."""
TEXT_NAMES = frozenset(name for what in TEXT_COLUMNS for name in NAMES[what])
EXPECTED = (
    "The columns are question, context, and answers: text and answer_start, or only the text; id, "
    "title and is_impossible may be there. Name others with --data.columns, such as "
    "question=q,context=passage,answer=a; is_impossible= leaves one out. SQuAD's nested JSON is "
    "read as it is."
)
