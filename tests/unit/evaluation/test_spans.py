"""Span decoding against the usual per-feature Python loop, restated plainly, ties included."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from qa_lib.evaluation.answers import NO_SPAN_ODDS, merge_spans
from qa_lib.evaluation.spans import decode

CONTEXT = "0123456789" * 40


def windows_of(rng, num_questions, *, most_windows=3, most_tokens=40):
    """Invent windows: a CLS token, a question, a separator, context tokens, a separator."""
    rows = []
    for row in range(num_questions):
        for part in range(int(rng.integers(0, most_windows + 1))):
            num_question = int(rng.integers(1, 5))
            num_context = int(rng.integers(1, most_tokens))
            # Tokens may be empty, as some tokenizers' are, and windows of a question overlap.
            edges = np.sort(rng.integers(0, 60, num_context + 1)).astype(np.int32)
            rows.append(
                {
                    "row": row,
                    "part": part,
                    "length": num_question + num_context + 3,
                    "context_begin": num_question + 2,
                    "context_end": num_question + 2 + num_context,
                    "null_position": 0,
                    "char_start": edges[:-1].tolist(),
                    "char_end": edges[1:].tolist(),
                }
            )
    schema = pa.schema(
        [("row", pa.int32()), ("part", pa.int16())]
        + [(name, pa.int32()) for name in ("length", "context_begin", "context_end")]
        + [("null_position", pa.int32())]
        + [(name, pa.list_(pa.int32())) for name in ("char_start", "char_end")]
    )
    return pa.Table.from_pylist(rows, schema)


def logits_of(rng, table, levels):
    """Draw logits; few levels make many ties, -0.0 among them."""
    draws = []
    for length in table["length"].to_pylist():
        values = rng.normal(0, 3, (2, length)).astype(np.float32)
        if levels:
            values = np.round(values * levels / 10).astype(np.float32)
        draws.append(values)
    return draws


def padded(draws, width=56):
    logits = np.full((2, len(draws), width), -np.inf, np.float32)
    for window, values in enumerate(draws):
        logits[:, window, : values.shape[1]] = values
    return logits[0], logits[1]


def usual_loop(table, draws, num_questions, n_best, max_answer_length, threshold):
    """The loop of the well-known question-answering example, with stable sorts."""
    windows = table.to_pylist()
    answers, nbests, odds = [], [], []
    for row in range(num_questions):
        found, null = [], None
        for window, (starts, ends) in zip(windows, draws, strict=True):
            if window["row"] != row:
                continue
            if null is None or starts[0] + ends[0] < null["score"]:
                null = {"span": (0, 0), "start": starts[0], "end": ends[0]}
                null["score"] = starts[0] + ends[0]
            own = []  # a window's
            inside = range(window["context_begin"], window["context_end"])
            for start in np.argsort(starts, kind="stable")[-1 : -n_best - 1 : -1]:
                for end in np.argsort(ends, kind="stable")[-1 : -n_best - 1 : -1]:
                    if start not in inside or end not in inside:
                        continue
                    if end < start or end - start + 1 > max_answer_length:
                        continue
                    first = window["char_start"][start - inside.start]
                    last = window["char_end"][end - inside.start]
                    candidate = {"span": (first, last), "start": starts[start], "end": ends[end]}
                    own.append(candidate | {"score": starts[start] + ends[end]})
            own.sort(key=lambda candidate: candidate["score"], reverse=True)
            found += own[:n_best]
        if threshold is not None and null is not None:
            found.append(null)
        ranked = sorted(found, key=lambda candidate: candidate["score"], reverse=True)
        # Beyond the example: of a span of characters in several windows only the best counts.
        firsts = {(each["span"], each is null): each for each in reversed(ranked)}
        best = [each for each in ranked if firsts[each["span"], each is null] is each][:n_best]
        if threshold is not None and null is not None:
            if not any(candidate["span"] == (0, 0) for candidate in best):
                best.append(null)
        nbests.append([(*candidate["span"], candidate["score"]) for candidate in best])
        spans = [candidate for candidate in best if candidate["span"][0] < candidate["span"][1]]
        if threshold is None:  # nor does a token of white space answer
            first, last = spans[0]["span"] if spans else (0, 0)
            answers.append(CONTEXT[first:last])
            continue
        odds.append(null["score"] - spans[0]["start"] - spans[0]["end"] if spans else NO_SPAN_ODDS)
        is_null = odds[-1] > threshold
        answers.append("" if is_null else CONTEXT[slice(*spans[0]["span"])])
    return answers, nbests, odds


@hypothesis_settings(deadline=None, max_examples=150)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_questions=st.integers(1, 5),
    levels=st.sampled_from([0, 1, 4]),
    n_best=st.sampled_from([1, 2, 7, 20, 100]),
    max_answer_length=st.sampled_from([1, 5, 30]),
    threshold=st.sampled_from([None, 0.0, -3.5, 2.0]),
)
def test_answers_and_n_best_are_those_of_the_usual_loop(
    seed, num_questions, levels, n_best, max_answer_length, threshold
):
    rng = np.random.default_rng(seed)
    table = windows_of(rng, num_questions)
    draws = logits_of(rng, table, levels)
    start, end = padded(draws)
    candidates = decode(
        table,
        start,
        end,
        n_best=n_best,
        max_answer_length=max_answer_length,
    )
    assert candidates.num_rows == table.num_rows
    # The actors deliver windows in any order.
    candidates = candidates.take(pa.array(rng.permutation(table.num_rows)))
    found = merge_spans(candidates, num_questions, n_best=n_best, no_answer_threshold=threshold)

    answers, nbests, odds = usual_loop(
        table, draws, num_questions, n_best, max_answer_length, threshold
    )
    assert found.texts([CONTEXT] * num_questions) == answers
    for row, nbest in enumerate(nbests):
        spans = slice(found.offsets[row], found.offsets[row + 1])
        rows = zip(found.char_start[spans], found.char_end[spans], found.score[spans], strict=True)
        assert list(rows) == nbest
        if nbest:
            weights = np.exp(np.array([score for *_, score in nbest]) - nbest[0][2])
            np.testing.assert_allclose(found.probability[spans], weights / weights.sum(), rtol=1e-5)
    if threshold is None:
        assert found.null_odds is None
    else:
        np.testing.assert_array_equal(found.null_odds, np.array(odds, np.float32))


def test_the_confidence_in_a_span_does_not_depend_on_how_many_windows_show_it():
    def confidence(num_windows: int) -> float:
        rows = [
            {"row": 0, "part": part, "null_start": 0.0, "null_end": 0.0}
            | {"char_start": [4, 8], "char_end": [7, 12]}
            | {"start_logit": [6.0 - part, 1.0], "end_logit": [6.0, 1.0]}
            for part in range(num_windows)
        ]
        types = {"row": pa.int64(), "part": pa.int32()}
        types |= {"null_start": pa.float32(), "null_end": pa.float32()}
        types |= dict.fromkeys(["char_start", "char_end"], pa.list_(pa.int32()))
        types |= dict.fromkeys(["start_logit", "end_logit"], pa.list_(pa.float32()))
        table = pa.Table.from_pylist(rows, pa.schema(list(types.items())))
        found = merge_spans(table, 1, n_best=20, no_answer_threshold=None)
        assert len(found.score) == 2
        return float(found.table(["in 1887 Anna"])["score"][0].as_py())

    assert confidence(1) == confidence(3) > 0.99


def test_many_windows_are_decoded_as_one_by_one():
    rng = np.random.default_rng(5)
    table = windows_of(rng, 300)
    start, end = padded(logits_of(rng, table, 2))
    options = {"n_best": 20, "max_answer_length": 30}
    together = decode(table, start, end, **options)
    apart = [
        decode(
            table.slice(window, 1),
            start[window : window + 1],
            end[window : window + 1],
            **options,
        )
        for window in range(table.num_rows)
    ]
    assert table.num_rows > 256
    assert together.equals(pa.concat_tables(apart))


@pytest.mark.parametrize("threshold", [None, 0.0])
def test_a_question_without_windows_gets_no_answer(threshold):
    table = windows_of(np.random.default_rng(0), 3).slice(0, 0)
    candidates = decode(
        table,
        np.zeros((0, 8), np.float32),
        np.zeros((0, 8), np.float32),
        n_best=20,
        max_answer_length=30,
    )
    found = merge_spans(candidates, 2, n_best=20, no_answer_threshold=threshold)
    assert found.texts([CONTEXT, CONTEXT]) == ["", ""]
    if threshold is not None:
        assert (found.null_odds == NO_SPAN_ODDS).all()
