"""EM and F1 against a plain restatement of the official definitions, and published scores."""

import json
import os
import re
import string
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from qa_lib.errors import DataError
from qa_lib.evaluation.metrics import normalize, parse_predictions, score

SQUAD = Path(os.environ.get("QA_SQUAD_DIR", Path(__file__).parents[4] / "shared" / "squad"))
needs_squad = pytest.mark.skipif(
    not (SQUAD / "predictions").is_dir(), reason=f"real SQuAD is not at {SQUAD} (QA_SQUAD_DIR)"
)


def table_of(golds: dict[str, list[str]]) -> pa.Table:
    answers = [{"text": texts, "answer_start": [0] * len(texts)} for texts in golds.values()]
    kind = pa.struct([("text", pa.list_(pa.string())), ("answer_start", pa.list_(pa.int32()))])
    return pa.table({"id": list(golds), "answers": pa.array(answers, kind)})


# The definitions, written as plainly as they are stated.


def plain_normalize(text):
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def plain_f1(gold, prediction, is_v2):
    gold, prediction = plain_normalize(gold).split(), plain_normalize(prediction).split()
    if is_v2 and (not gold or not prediction):
        return int(gold == prediction)
    shared = 0
    rest = list(gold)
    for token in prediction:
        if token in rest:
            rest.remove(token)
            shared += 1
    if shared == 0:
        return 0
    precision, recall = shared / len(prediction), shared / len(gold)
    return 2 * precision * recall / (precision + recall)


def plain_v1(golds, predictions):
    em = f1 = 0
    for key, texts in golds.items():
        if key in predictions:  # else: 0 for both
            found = predictions[key]
            em += max(plain_normalize(text) == plain_normalize(found) for text in texts)
            f1 += max(plain_f1(text, found, False) for text in texts)
    return {"em": 100 * em / len(golds), "f1": 100 * f1 / len(golds), "total": len(golds)}


def plain_v2(golds, predictions):
    em, f1 = {}, {}
    for key, texts in golds.items():
        texts = [text for text in texts if plain_normalize(text)] or [""]
        if key in predictions:  # else: in no mean
            found = predictions[key]
            em[key] = max(plain_normalize(text) == plain_normalize(found) for text in texts)
            f1[key] = max(plain_f1(text, found, True) for text in texts)
    result = {}
    for prefix, keys in {
        "": list(em),
        "has_ans_": [key for key in em if golds[key]],
        "no_ans_": [key for key in em if not golds[key]],
    }.items():
        if keys:
            result[f"{prefix}em"] = 100 * sum(em[key] for key in keys) / len(keys)
            result[f"{prefix}f1"] = 100 * sum(f1[key] for key in keys) / len(keys)
            result[f"{prefix}total"] = len(keys)
    return result


# Few words and much punctuation, so that answers overlap, coincide and vanish.
WORDS = ["the", "a", "An", "Bronco", "bronco's", "—the", "x-a", "!", " ", "Ähre", "a\u200bb"]
texts = st.lists(st.sampled_from(WORDS), max_size=5).map(" ".join)
goldsets = st.lists(texts, min_size=1, max_size=3)


@hypothesis_settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(goldsets, st.none() | texts), min_size=1, max_size=6))
def test_v1_equals_the_official_definition(rows):
    golds = {str(row): gold for row, (gold, _) in enumerate(rows)}
    predictions = {str(row): text for row, (_, text) in enumerate(rows) if text is not None}
    result = score(table_of(golds), predictions | {"elsewhere": "x"})
    assert result.summary() == pytest.approx(plain_v1(golds, predictions), abs=1e-9)
    assert result.missing_ids == tuple(key for key in golds if key not in predictions)
    assert result.extra_ids == ("elsewhere",)


@hypothesis_settings(deadline=None, max_examples=300)
@given(st.lists(st.tuples(st.just([]) | goldsets, st.none() | texts), max_size=6), texts)
def test_v2_equals_the_official_definition(rows, answer):
    rows = [*rows, ([], answer)]
    golds = {str(row): gold for row, (gold, _) in enumerate(rows)}
    predictions = {str(row): text for row, (_, text) in enumerate(rows) if text is not None}
    result = score(table_of(golds), predictions)
    assert result.summary() == pytest.approx(plain_v2(golds, predictions), abs=1e-9)


@given(st.text() | texts)
def test_normalize_equals_the_definition(text):
    assert normalize(text) == plain_normalize(text)


def test_the_rules_differ_where_a_question_is_missing():
    predictions = {"p": "Denver"}
    v1 = score(table_of({"p": ["Denver"], "q": ["1999"]}), predictions)
    assert v1.summary() == {"em": 50.0, "f1": 50.0, "total": 2}
    v2 = score(table_of({"p": ["Denver"], "q": []}), predictions)
    assert v2.summary()["em"] == 100.0 and v2.summary()["total"] == 1
    assert v1.missing_ids == v2.missing_ids == ("q",)


def test_per_question_scores_are_in_the_order_of_the_questions():
    result = score(table_of({"p": ["red car"], "q": ["blue"], "r": []}), {"q": "blue", "p": "red"})
    assert result.em.tolist() == [0.0, 1.0, 0.0]
    np.testing.assert_allclose(result.f1, [2 / 3, 1.0, 0.0])
    assert result.has_answer.tolist() == [True, True, False]
    assert result.counted.tolist() == [True, True, False]


def test_predictions_of_other_data_are_refused_under_v2():
    with pytest.raises(DataError, match="None of the 1 predictions"):
        score(table_of({"p": []}), {"q": ""})
    assert score(table_of({"p": ["x"]}), {"q": ""}).summary()["em"] == 0


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        ('["Denver"]', "JSON list"),
        ('{"p": 7}', "answer of p is 7"),
        ('{"p": {"text": "Denver"}}', "answer of p"),
        (r'{"p": "\ud83d"}', "the id 'p' or its answer is not Unicode"),
        (r'{"\udfff": "Denver"}', r"the id '\\udfff' or"),
    ],
)
def test_a_file_that_holds_no_predictions_is_refused(content, cause):
    with pytest.raises(DataError, match=cause) as error:
        parse_predictions(content, "answers.json")
    assert "answers.json" in error.value.problem


@pytest.mark.squad
@needs_squad
@pytest.mark.parametrize(
    ("data", "file", "published"),
    [
        ("dev-v1.1", "v1.1-bert-ensemble", {"em": 86.2062, "f1": 92.1956, "total": 10_570}),
        (
            "dev-v2.0",
            "v2.0-nlnet",
            {
                **{"em": 75.8275, "f1": 78.7778, "total": 11_873},
                **{"has_ans_em": 69.6188, "has_ans_f1": 75.5277, "has_ans_total": 5928},
                **{"no_ans_em": 82.0185, "no_ans_f1": 82.0185, "no_ans_total": 5945},
            },
        ),
    ],
)
def test_published_systems_get_their_published_scores(data, file, published):
    questions = pq.read_table(SQUAD / f"{data}.parquet")
    content = (SQUAD / "predictions" / f"{file}.json").read_bytes()
    predictions = parse_predictions(content, file)
    started = time.process_time()
    result = score(questions, predictions)
    seconds = time.process_time() - started
    assert result.summary() == pytest.approx(published, abs=5e-5)
    assert not result.missing_ids and not result.extra_ids
    assert seconds < 2

    golds = {row["id"]: row["answers"]["text"] for row in questions.to_pylist()}
    plain = plain_v2 if data.endswith("2.0") else plain_v1
    assert result.summary() == pytest.approx(plain(golds, json.loads(content)), abs=1e-9)
