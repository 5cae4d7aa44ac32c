"""Does the embedded corpus demand reading? A trained model's F1 on it, with its controls.

    python -m benchmarks.embedded [MODEL]    # a run folder or any model name; default: newest
                                             # runs/train-quickstart-NNN

Held-out questions are answered four ways: by the model; by the model asked another question of the
same passage, and scored against the answer to the first (near the model's own F1 it would have
learned the passages, not the questions); by word overlap, without a model; and by the model before
training. Where real SQuAD is at hand, 1,000 questions of its dev set follow.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from benchmarks._squad import REAL_SQUAD
from qa_lib import models, windows
from qa_lib.config import DataSettings, EvaluateSettings
from qa_lib.data import load_questions
from qa_lib.data.embedded import corpus
from qa_lib.evaluation import metrics, spans
from qa_lib.evaluation.answers import merge_spans
from qa_lib.models.inference import Forward

REPOSITORY = Path(__file__).resolve().parents[1]
NUM_REAL_QUESTIONS = 1000
NEARNESS = 1.0  # of two words side by side, against their being in one sentence at all
MARGIN_F1 = 30.0  # the corpus promises that each control stays this far below the trained model

STOPWORDS = frozenset(
    "a an and are as at be before by did do does for from had has have how in into is it its many "
    "much of on or that the there this to was were what when where which who whom whose why will "
    "with".split()
)
# What an answer can look like, by what is asked for. The first pattern that fits a sentence counts.
PERSON = re.compile(r"\b(?!On |In |At |The |By |It )[A-Z][a-z]+ [A-Z][a-z]+\b(?! House| Park| Bay)")
NAME = re.compile(r"\b(?:[Tt]he )?[A-Z][a-z]+(?: [A-Z][a-z]+)*(?: and Sons)?\b")
PLACE = re.compile(
    r"(?<=[Ii]n |[Aa]t |to |on )[A-Z][a-z]+(?: [A-Z][a-z]+)?\b|(?<=from |near )[A-Z][a-z]+"
)
DATE = re.compile(r"\b\d{1,2} [A-Z][a-z]{2,8}\b|\b1[4-9]\d\d\b|\b[A-Z][a-z]+day\b")
NUMBER = re.compile(
    r"(?<![-\d])\b\d[\d,]*\b(?!-)(?: (?:grams|hours|minutes|pence|metres|kilometres|years|degrees|"
    r"crowns|euros|ducats))?"
)
CLAUSE = re.compile(r"(?<=because )[^.;]+|(?<=since )[^.;]+|(?<=[Aa]s )[^.;,]+|(?<=: )[^.;]+")
THING = re.compile(r"\b(?:an?|the|some|two|three) [a-z-]+(?: (?:of )?[a-z-]+){0,2}")
KINDS = (
    (re.compile(r"\b(who|whom|whose)\b"), (PERSON, NAME)),
    (re.compile(r"\b(when|date|day|year|since when)\b"), (DATE,)),
    (re.compile(r"\bhow (many|much|long|high|tall|deep|far|old|large|hot|late)\b"), (NUMBER,)),
    (re.compile(r"\b(number|height|length|price|age|temperature|sum|amount|cost)\b"), (NUMBER,)),
    (re.compile(r"\b(why|reason|cause|caused|made)\b"), (CLAUSE, THING)),
    (re.compile(r"\b(where|town|place|port|bay|island|mountain|river)\b"), (PLACE, NAME)),
    (re.compile(r""), (THING, NAME, NUMBER, CLAUSE)),
)


def main(argv: list[str]) -> None:
    """Print the table; leave with status 1 where a control comes too close."""
    trained = argv[0] if argv else newest_run()
    questions = corpus("eval")
    started = time.perf_counter()
    rows = [
        ("model, trained", f1(questions, answers(trained, questions))),
        ("model, questions shuffled", f1(questions, answers(trained, shuffled(questions)))),
        ("word overlap", f1(questions, overlap_answers(questions))),
        ("model, untrained", f1(questions, answers("embedded", questions))),
    ]
    print(f"{trained}: {questions.num_rows} held-out questions")
    for name, value in rows:
        print(f"  {name:28}F1 {value:6.2f}")
    if REAL_SQUAD.is_dir():
        data = DataSettings(source=str(REAL_SQUAD), eval_limit=NUM_REAL_QUESTIONS)
        real = load_questions(data, "eval").table
        name = f"SQuAD dev, {real.num_rows} questions"
        print(f"  {name:28}F1 {f1(real, answers(trained, real)):6.2f}")
    print(f"  {time.perf_counter() - started:.0f} s")
    closest = max(value for _, value in rows[1:3])
    if closest > rows[0][1] - MARGIN_F1:
        sys.exit(f"A control comes closer than {MARGIN_F1:g} F1 to the trained model.")


def newest_run() -> str:
    """Return the folder of the newest quickstart run on this machine."""
    runs = sorted(REPOSITORY.glob("runs/train-quickstart-*/result.json"))
    if not runs:
        sys.exit("There is no runs/train-quickstart-NNN: run `make train` first, or name a model.")
    return str(runs[-1].parent)


def f1(questions: pa.Table, texts: Sequence[str]) -> float:
    """Return the official F1 of one text per question."""
    predictions = dict(zip(questions["id"].to_pylist(), texts, strict=True))
    return float(metrics.score(questions, predictions).summary()["f1"])


def answers(model_name: str, questions: pa.Table) -> list[str]:
    """Return a model's answers."""
    data, rules = DataSettings(), EvaluateSettings()
    spec = windows.WindowSpec(data.max_length, data.stride)
    table = windows.build(questions, models.load_tokenizer(model_name), spec).table
    forward = Forward(model_name, batch_size=rules.batch_size)
    found = pa.concat_tables(
        spans.decode(
            rows, start, end, n_best=rules.n_best, max_answer_length=rules.max_answer_length
        )
        for rows, start, end in forward(table)
    )
    merged = merge_spans(found, questions.num_rows, n_best=rules.n_best, no_answer_threshold=None)
    return merged.texts(questions["context"].to_pylist())


def shuffled(questions: pa.Table) -> pa.Table:
    """Return the table with each question replaced by the next one of its passage, in a ring."""
    contexts = questions["context"].to_pylist()
    rows_of: dict[str, list[int]] = defaultdict(list)
    for row, context in enumerate(contexts):
        rows_of[context].append(row)
    asked = list(range(len(contexts)))
    for rows in rows_of.values():
        for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
            asked[row] = other
    column = questions.schema.get_field_index("question")
    return questions.set_column(column, "question", questions["question"].take(pa.array(asked)))


def overlap_answers(questions: pa.Table) -> list[str]:
    """Answer by word overlap: the span of the expected kind among the most of the question's words.

    A span scores the rarity-weighted words that its sentence shares with the question, the nearer
    the words the more; spans made of the question's own words are out.

    Source:
        Richardson, Burges and Renshaw 2013, section 5 (sliding window and distance baselines).
    """
    contexts = questions["context"].to_pylist()
    sentences = [sentence for context in set(contexts) for sentence in sentences_of(context)]
    counts = Counter(word for sentence in sentences for word in set(words_of(sentence)))
    rarity = {word: math.log(len(sentences) / count) for word, count in counts.items()}
    return [
        best_span(context, question, rarity)
        for context, question in zip(contexts, questions["question"].to_pylist(), strict=True)
    ]


def best_span(context: str, question: str, rarity: dict[str, float]) -> str:
    """Return the best span of the first kind that the passage has any of."""
    asked = set(words_of(question)) - STOPWORDS
    kinds = next(kinds for cue, kinds in KINDS if cue.search(question.lower()))
    for kind in kinds:
        scored = [
            (overlap(sentence, match, asked, rarity), -order, match.group())
            for order, sentence in enumerate(sentences_of(context))
            for match in kind.finditer(sentence)
            if not set(words_of(match.group())) - STOPWORDS <= asked
        ]
        if scored:
            return max(scored)[2]
    return context


def overlap(sentence: str, span: re.Match[str], asked: set[str], rarity: dict[str, float]) -> float:
    """Return how much of the question stands around a span, near words counting more."""
    total, seen = 0.0, set()
    before = len(words_of(sentence[: span.start()]))
    after = before + len(words_of(span.group()))
    for place, word in enumerate(words_of(sentence)):
        if word in asked and not before <= place < after:
            distance = before - place if place < before else place - after + 1
            total += rarity[word] * (NEARNESS / distance + (word not in seen))
            seen.add(word)
    return total


def sentences_of(context: str) -> list[str]:
    """Return a passage's sentences."""
    return re.split(r"(?<=[.?!;]) (?=\S)", context)


def words_of(text: str) -> list[str]:
    """Return a text's words without their endings."""
    words = re.findall(r"[a-z0-9][a-z0-9,]*", text.lower())
    return [re.sub(r"(?<=[a-z]{3})(ing|ed|es|s|e)$", "", word.rstrip(",")) for word in words]


if __name__ == "__main__":
    main(sys.argv[1:])
