"""The Answerer against the documented behaviour of the removed pipeline, written out plainly.

One rule is ours: a span's score is that of its best window, and no sum.

    python -m benchmarks.answer [MODEL] [--questions 1000]

Both answer the same SQuAD dev questions (the first so many after a fixed shuffle) with the same
model, an untrained one where none is named. An answer counts as identical where text and characters
are equal and the score is to 1e-4. They run in turns, so the ratio is of one load.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import torch

from benchmarks._squad import REAL_SQUAD
from qa_lib import config
from qa_lib.data import load_questions
from qa_lib.models.inference import Forward
from qa_lib.serving import Answerer

OPTIONS: list[dict[str, Any]] = [
    {},
    {"top_k": 3},
    {"handle_impossible_answer": True, "top_k": 2},
    {"align_to_words": False, "max_seq_len": 128, "doc_stride": 32},
]
NUM_AT_A_TIME = 100


def main(argv: list[str]) -> None:
    """Compare under several settings, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", nargs="?", default="embedded")
    parser.add_argument("--questions", type=int, default=1000)
    wanted = parser.parse_args(argv)
    source = str(REAL_SQUAD) if REAL_SQUAD.is_dir() else "embedded"
    rows = load_questions(config.DataSettings(source=source), "eval").table
    chosen = np.random.default_rng(0).permutation(rows.num_rows)[: wanted.questions]
    questions, contexts = (rows[name].take(chosen).to_pylist() for name in ("question", "context"))
    forward = Forward(wanted.model, precision="fp32", batch_size=8)
    answerer = Answerer(forward)
    print(f"{len(questions):,} questions of {source}, model {wanted.model}")
    for options in OPTIONS:
        compare(forward, answerer, questions, contexts, options)


def compare(
    forward: Forward,
    answerer: Answerer,
    questions: list[str],
    contexts: list[str],
    options: dict[str, Any],
) -> None:
    """Let both answer, a hundred questions each in turn, and print how many answers agree."""
    seconds = {"plain": 0.0, "ours": 0.0}
    num_same, first_other = 0, None
    for first in range(0, len(questions), NUM_AT_A_TIME):
        some = slice(first, first + NUM_AT_A_TIME)
        started = time.perf_counter()
        plain = [
            plain_answer(forward.model, forward.tokenizer, question, context, **options)
            for question, context in zip(questions[some], contexts[some], strict=True)
        ]
        seconds["plain"] += time.perf_counter() - started
        started = time.perf_counter()
        ours = answerer(questions[some], contexts[some], **options)
        seconds["ours"] += time.perf_counter() - started
        for one, other in zip(plain, ours, strict=True):
            if same(one, other):
                num_same += 1
            else:
                first_other = first_other or (one, other)
    words = " ".join(f"{key}={value}" for key, value in options.items()) or "defaults"
    print(
        f"{words}: {num_same:,} of {len(questions):,} identical "
        f"({100 * num_same / len(questions):.2f} %); plain {seconds['plain']:.1f} s, "
        f"Answerer {seconds['ours']:.1f} s, {seconds['plain'] / seconds['ours']:.1f}x"
    )
    if first_other:
        print(f"  the first that differs: {first_other[0]}\n  Answerer: {first_other[1]}")


def same(one: Any, other: Any) -> bool:
    """Whether two results hold the same answers in the same order."""
    one, other = ([each] if isinstance(each, dict) else each for each in (one, other))
    return len(one) == len(other) and all(
        (a["answer"], a["start"], a["end"]) == (b["answer"], b["start"], b["end"])
        and abs(a["score"] - b["score"]) < 1e-4
        for a, b in zip(one, other, strict=True)
    )


def plain_answer(
    model: Any,
    tokenizer: Any,
    question: str,
    context: str,
    *,
    top_k: int = 1,
    doc_stride: int | None = None,
    max_answer_len: int = 15,
    max_seq_len: int = 384,
    max_question_len: int = 64,
    handle_impossible_answer: bool = False,
    align_to_words: bool = True,
) -> Any:
    """Answer one question window by window and span by span."""
    question_offsets = tokenizer(
        question, add_special_tokens=False, return_offsets_mapping=True
    ).offset_mapping
    if len(question_offsets) > max_question_len:
        question = question[: question_offsets[max_question_len - 1][1]]
    encoded = tokenizer(
        [question],
        [context],
        truncation="only_second",
        max_length=max_seq_len,
        stride=min(128, max_seq_len // 2) if doc_stride is None else doc_stride,
        return_overflowing_tokens=True,
    )
    pool: dict[tuple[int, int], float] = {}
    nulls, odds, best_logit = [], [], -float("inf")
    for part in range(len(encoded["input_ids"])):
        encoding = encoded[part]
        inputs = {
            name: torch.tensor([encoded[name][part]])
            for name in tokenizer.model_input_names
            if name in encoded
        }
        with torch.inference_mode():
            output = model(**inputs)
        logits = output.start_logits[0], output.end_logits[0]
        sequences = encoded.sequence_ids(part)
        inside = [position for position, sequence in enumerate(sequences) if sequence == 1]
        starts, ends = (softmax_over(each, [0, *inside]) for each in logits)
        nulls.append(starts[0] * ends[0])
        odds.append(float(logits[0][0] + logits[1][0]))
        candidates = [
            (starts[start] * ends[end], start, end)
            for start in inside
            for end in range(start, min(start + max_answer_len, inside[-1] + 1))
        ]
        candidates.sort(key=lambda candidate: -candidate[0])
        num_drawn = 2 * top_k + 10 if align_to_words else top_k
        of_window: dict[tuple[int, int], float] = {}
        for score, start, end in candidates[:num_drawn]:
            best_logit = max(best_logit, float(logits[0][start] + logits[1][end]))
            span = encoding.offsets[start][0], encoding.offsets[end][1]
            if align_to_words:
                words = encoding.token_to_word(start), encoding.token_to_word(end)
                span = (
                    encoding.word_to_chars(words[0], 1)[0],
                    encoding.word_to_chars(words[1], 1)[1],
                )
            of_window[span] = of_window.get(span, 0.0) + score
        for span, score in of_window.items():
            pool[span] = max(score, pool.get(span, 0.0))
    found = [
        {"score": score, "start": first, "end": last, "answer": context[first:last]}
        for (first, last), score in pool.items()
    ]
    found.sort(key=lambda answer: -answer["score"])
    if handle_impossible_answer:
        null = {"score": min(nulls), "start": 0, "end": 0, "answer": ""}
        behind = sum(answer["score"] >= null["score"] for answer in found[1:])
        found.insert(0 if min(odds) > best_logit else 1 + behind, null)
    best = found[:top_k]
    return best[0] if len(best) == 1 else best


def softmax_over(logits: torch.Tensor, positions: list[int]) -> dict[int, float]:
    """Return the probability of each of these positions, the others left out."""
    values = torch.softmax(logits[positions].float(), dim=0).tolist()
    return dict(zip(positions, values, strict=True))


if __name__ == "__main__":
    main(sys.argv[1:])
