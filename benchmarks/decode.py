"""Span decoding of all dev questions: the vectorised decoder against the usual Python loop.

    python -m benchmarks.decode [--data.source FOLDER] [--data.eval-limit N]

Both get the same logits over the same windows, and must give the same answers and the same n-best
spans in the same order, under SQuAD 1.1 and 2.0 rules; they are timed in turns, the preparation of
their inputs left out. The loop does what that of the well-known question-answering example does,
on plain lists in memory: per feature the n best starts against the n best ends, then the n best of
all features of a question with their texts and probabilities. Unlike the example it counts a span
that two windows show once, since ours does.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks._squad import with_real_squad
from qa_lib import config, windows
from qa_lib.data import load_questions
from qa_lib.evaluation import spans
from qa_lib.evaluation.answers import Answers, merge_spans
from qa_lib.models import load_tokenizer

BATCH_SIZE = 64
NUM_REPEATS = 5


def main(argv: list[str]) -> None:
    """Time both and print a line for each rule set."""
    settings = config.parse("evaluate", with_real_squad(argv))
    questions = load_questions(settings.data, "eval").table
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    table = windows.build(questions, load_tokenizer(settings.model.name), spec).table
    logits = realistic_logits(table, np.random.default_rng(settings.seed))
    features, batches = features_of(table, logits), batches_of(table, logits)
    contexts = questions["context"].to_pylist()
    n_best, max_length = settings.evaluate.n_best, settings.evaluate.max_answer_length
    print(f"{questions.num_rows:,} questions, {table.num_rows:,} windows, n_best {n_best}")

    for rules, threshold in (("1.1", None), ("2.0", settings.evaluate.threshold)):
        seconds = defaultdict(list)
        for _ in range(NUM_REPEATS):
            usual = timed(
                seconds["usual"], usual_loop, features, contexts, n_best, max_length, threshold
            )
            ours = timed(
                seconds["ours"], vectorised, batches, contexts, n_best, max_length, threshold
            )
            assert_same(usual, ours)
        ratios = [a / b for a, b in zip(seconds["usual"], seconds["ours"], strict=True)]
        print(
            f"rules {rules}: loop {statistics.median(seconds['usual']):.2f} s, "
            f"vectorised {statistics.median(seconds['ours']):.3f} s, "
            f"{statistics.median(ratios):.1f}x ({min(ratios):.1f} to {max(ratios):.1f}), "
            "answers and n-best identical"
        )


def timed(seconds: list[float], function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function and note how long it took."""
    started = time.perf_counter()
    result = function(*arguments)
    seconds.append(time.perf_counter() - started)
    return result


def assert_same(usual: tuple[list[str], list[list[dict]]], ours: tuple[list[str], Answers]) -> None:
    """Check answers, and spans, scores and probabilities of the n-best, in order."""
    texts, nbests = usual
    assert texts == ours[0], "answers differ"
    answers, flat = ours[1], [candidate for nbest in nbests for candidate in nbest]
    assert np.diff(answers.offsets).tolist() == [len(nbest) for nbest in nbests]
    pairs = np.array([candidate["offsets"] for candidate in flat])
    np.testing.assert_array_equal(answers.char_start, pairs[:, 0])
    np.testing.assert_array_equal(answers.char_end, pairs[:, 1])
    np.testing.assert_array_equal(answers.score, [candidate["score"] for candidate in flat])
    probabilities = [candidate["probability"] for candidate in flat]
    np.testing.assert_allclose(answers.probability, probabilities, rtol=1e-5)


def realistic_logits(table: pa.Table, rng: np.random.Generator) -> list[np.ndarray]:
    """Draw (2, tokens) logits per window: noise, and peaks about the gold answer or CLS."""
    drawn = []
    columns = (table[name].to_pylist() for name in ("length", "start", "end"))
    for length, start, end in zip(*columns, strict=True):
        values = rng.normal(-4, 2, (2, length)).astype(np.float32)
        for side, gold in enumerate((start, end)):
            near = np.clip(gold + rng.integers(-3, 4, 4), 0, length - 1)
            values[side, near] += rng.normal(6, 2, 4).astype(np.float32)
        drawn.append(values)
    return drawn


def features_of(table: pa.Table, logits: list[np.ndarray]) -> list[dict]:
    """Return what the loop takes: per feature its question, logits and offsets (None outside)."""
    columns = ["row", "length", "context_begin", "context_end", "char_start", "char_end"]
    features = []
    for window, values in zip(table.select(columns).to_pylist(), logits, strict=True):
        pairs = list(zip(window["char_start"], window["char_end"], strict=True))
        after = window["length"] - window["context_end"]
        offsets = [None] * window["context_begin"] + pairs + [None] * after
        features.append({"row": window["row"], "logits": values, "offset_mapping": offsets})
    return features


def batches_of(table: pa.Table, logits: list[np.ndarray]) -> list[tuple]:
    """Return what the vectorised decoder takes: padded batches of windows of similar length."""
    order = np.argsort(windows.lengths(table), kind="stable")[::-1]
    batches = []
    for first in range(0, len(order), BATCH_SIZE):
        members = order[first : first + BATCH_SIZE]
        width = logits[members[0]].shape[1]
        padded = np.full((2, len(members), width), -np.inf, np.float32)
        for row, window in enumerate(members):
            padded[:, row, : logits[window].shape[1]] = logits[window]
        batches.append((table.take(pa.array(members)), *padded))
    return batches


def vectorised(
    batches: list[tuple], contexts: list[str], n_best: int, max_length: int, threshold: float | None
) -> tuple[list[str], Answers]:
    """Decode with `qa_lib.evaluation.spans`."""
    candidates = [
        spans.decode(*batch, n_best=n_best, max_answer_length=max_length) for batch in batches
    ]
    answers = merge_spans(
        pa.concat_tables(candidates), len(contexts), n_best=n_best, no_answer_threshold=threshold
    )
    return answers.texts(contexts), answers


def usual_loop(
    features: list[dict], contexts: list[str], n_best: int, max_length: int, threshold: float | None
) -> tuple[list[str], list[list[dict]]]:
    """Decode feature by feature and pair by pair."""
    features_of_row = defaultdict(list)
    for feature in features:
        features_of_row[feature["row"]].append(feature)
    texts, nbests = [], []
    for row, context in enumerate(contexts):
        found, null = [], None
        for feature in features_of_row[row]:
            starts, ends = feature["logits"]
            null_score = starts[0] + ends[0]
            if null is None or null["score"] > null_score:
                null = {
                    "offsets": (0, 0),
                    "score": null_score,
                    "start_logit": starts[0],
                    "end_logit": ends[0],
                }
            found += feature_candidates(feature, starts, ends, n_best, max_length)
        if threshold is not None:
            found.append(null)
        ranked = sorted(found, key=lambda candidate: candidate["score"], reverse=True)
        best_of = {}  # a span that several windows or tokens show is one candidate
        for candidate in ranked:
            best_of.setdefault(candidate["offsets"], candidate)
        nbest = list(best_of.values())[:n_best]
        if threshold is not None and all(c["offsets"] != (0, 0) for c in nbest):
            nbest.append(null)
        for candidate in nbest:
            first, last = candidate["offsets"]
            candidate["text"] = context[first:last]
        scores = np.array([candidate["score"] for candidate in nbest])
        weights = np.exp(scores - np.max(scores))
        for probability, candidate in zip(weights / weights.sum(), nbest, strict=True):
            candidate["probability"] = probability
        nbests.append(nbest)
        best = nbest[0]
        if threshold is not None:
            best = next(candidate for candidate in nbest if candidate["text"])
            if null["score"] - best["start_logit"] - best["end_logit"] > threshold:
                best = null
        texts.append(best["text"])
    return texts, nbests


def feature_candidates(
    feature: dict, starts: np.ndarray, ends: np.ndarray, n_best: int, max_length: int
) -> list[dict]:
    """Return every span of one feature that its best starts and ends make."""
    offsets, found = feature["offset_mapping"], []
    start_indexes = np.argsort(starts, kind="stable")[-1 : -n_best - 1 : -1].tolist()
    end_indexes = np.argsort(ends, kind="stable")[-1 : -n_best - 1 : -1].tolist()
    for start in start_indexes:
        for end in end_indexes:
            if (
                start >= len(offsets)
                or end >= len(offsets)
                or offsets[start] is None
                or len(offsets[start]) < 2
                or offsets[end] is None
                or len(offsets[end]) < 2
            ):
                continue
            if end < start or end - start + 1 > max_length:
                continue
            found.append(
                {
                    "offsets": (offsets[start][0], offsets[end][1]),
                    "score": starts[start] + ends[end],
                    "start_logit": starts[start],
                    "end_logit": ends[end],
                }
            )
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
