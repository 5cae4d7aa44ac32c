"""Calibration, risk and thresholds against plain loops over their definitions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_lib.evaluation.analysis.calibration import calibrate, no_answer
from qa_lib.evaluation.answers import NO_SPAN_ODDS

# Few distinct values, so that edges and ties happen.
answers = st.lists(
    st.tuples(st.sampled_from([0.0, 1 / 15, 0.2, 0.5, 0.51, 0.9, 1.0]), st.booleans()), min_size=1
)


def plain_error(rows):
    error = 0.0
    for each in range(15):
        inside = [
            (confidence, right)
            for confidence, right in rows
            if each / 15 < confidence <= (each + 1) / 15 or (each == 0 and confidence == 0)
        ]
        if inside:
            mean = sum(confidence for confidence, _ in inside) / len(inside)
            accuracy = sum(right for _, right in inside) / len(inside)
            error += len(inside) / len(rows) * abs(mean - accuracy)
    return error


@given(answers)
def test_the_calibration_error_is_that_of_its_definition(rows):
    confidence, right = (np.array(column, float) for column in zip(*rows, strict=True))
    found = calibrate(confidence, right)
    assert found["error"] == pytest.approx(plain_error(rows))
    assert sum(each["num_questions"] for each in found["bins"]) == len(rows)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.booleans()), min_size=1, max_size=6))
def test_risk_is_the_mean_over_all_orders_of_ties(rows):
    confidence, right = (np.array(column, float) for column in zip(*rows, strict=True))
    curves = []
    for order in itertools.permutations(range(len(rows))):
        if all(confidence[a] >= confidence[b] for a, b in itertools.pairwise(order)):
            wrong = 1 - right[list(order)]
            curves.append([wrong[: size + 1].mean() for size in range(len(rows))])
    expected = np.mean(curves, axis=0)
    found = calibrate(confidence, right)
    assert found["aurc"] == pytest.approx(expected.mean())
    assert [point["risk"] for point in found["risk_coverage"]] == pytest.approx(expected.tolist())
    assert found["risk_coverage"][-1]["coverage"] == 1


def test_sure_and_right_is_calibrated_and_the_curve_stays_short():
    rng = np.random.default_rng(0)
    confidence = rng.random(20_000)
    found = calibrate(confidence, (rng.random(20_000) < confidence).astype(float))
    assert found["error"] < 0.02 and len(found["risk_coverage"]) == 101
    assert found["aurc"] == pytest.approx(1 - 0.75, abs=0.01)  # risk at coverage c is c / 2
    assert calibrate(np.ones(9), np.zeros(9))["error"] == 1


def official_best(preds, scores, na_probs, has_ans):
    """Restate find_best_thresh of evaluate-v2.0.py."""
    current = best = sum(not has_ans[key] for key in has_ans)
    threshold = 0.0
    for key in sorted(na_probs, key=lambda key: na_probs[key]):
        if has_ans[key]:
            current += scores[key]
        elif preds[key]:
            current -= 1
        if current > best:
            best, threshold = current, na_probs[key]
    return 100.0 * best / len(scores), threshold


question = st.tuples(
    st.sampled_from([-3.0, -0.5, 0.0, 0.25, 4.0]), st.sampled_from([0, 0.4, 1]), st.booleans()
)


@given(st.lists(question, min_size=1, max_size=12))
def test_the_best_threshold_is_the_official_script_s(rows):
    odds, f1, has_answer = (np.array(column) for column in zip(*rows, strict=True))
    has_answer = has_answer.astype(bool)
    is_empty = ~has_answer & (f1 == 1)
    f1 = np.where(has_answer, f1, is_empty)
    em = (f1 == 1).astype(float)
    found = no_answer(odds, em, f1.astype(float), has_answer, is_empty)
    keys = range(len(rows))
    texts = {key: "" if is_empty[key] else "text" for key in keys}
    for name, score, key in (("em", em, "best_em_threshold"), ("f1", f1, "best_threshold")):
        best, threshold = official_best(
            texts, dict(enumerate(score)), dict(enumerate(odds)), dict(enumerate(has_answer))
        )
        assert found[f"best_{name}"] == pytest.approx(best)
        silent = odds > found[key]
        if silent.all():  # the script says 0, which its odds, probabilities, all exceed
            assert best == pytest.approx(100 * (~has_answer).mean()) and threshold == 0
        else:
            assert found[key] == pytest.approx(threshold)
    for point in found["curve"]:
        silent = odds > point["threshold"]
        expected = np.where(silent, ~has_answer, f1).mean()
        assert point["f1"] == pytest.approx(100 * expected)


def test_the_curve_is_short_rises_and_leaves_out_questions_without_a_span():
    rng = np.random.default_rng(0)
    odds = np.append(rng.normal(size=1000), NO_SPAN_ODDS)
    right = np.ones(1001)
    curve = no_answer(odds, right, right, right > 0, right == 0)["curve"]
    thresholds = [point["threshold"] for point in curve]
    assert len(curve) <= 201 and thresholds == sorted(thresholds) and thresholds[-1] < 10
