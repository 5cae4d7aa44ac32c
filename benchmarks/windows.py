"""Tokenising all training questions: `windows.build` against the standard recipe.

    python -m benchmarks.windows [--data.source FOLDER] [--data.train-limit N]

The recipe is `datasets.map` over the preparation function of transformers' question-answering
example, restated: the fast tokenizer on (question, context) pairs, then a scan of every window for
its labels. It runs with and without its padding to 384, both without writing to disk. One core for
each: one process, no threads, its CPU time, so that other work on the machine does not count. They
take turns of 10,000 questions, and every window and label of the two is compared. A limit takes the
first questions, not a sample: of a sample each context has one question, and none is shared.
"""

from __future__ import annotations

import os

# Before the tokenizer's thread pool starts: this benchmark is about one core.
os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")

import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks._recipe import standard_recipe
from benchmarks._squad import with_real_squad
from qa_lib import config, windows
from qa_lib.data import load_questions
from qa_lib.models import load_tokenizer

ROWS_PER_TURN = 10_000
OURS, UNPADDED, PADDED = "windows.build", "datasets.map", "datasets.map, padded to max_length"


def main(argv: list[str]) -> None:
    """Time all three and print a table."""
    pa.set_cpu_count(1)
    datasets.disable_progress_bars()
    settings = config.parse("train", with_real_squad(argv))
    whole = settings.data.model_copy(update={"train_limit": None})
    questions = load_questions(whole, "train").table.slice(0, settings.data.train_limit)
    # The recipe's first step, taken for both: a byte-level tokenizer keeps leading spaces.
    stripped = pc.utf8_ltrim_whitespace(questions["question"])
    questions = questions.set_column(questions.column_names.index("question"), "question", stripped)
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    tokenizer = load_tokenizer(settings.model.name)
    runs: dict[str, Callable[[pa.Table], pa.Table]] = {
        OURS: lambda part: windows.build(part, tokenizer, spec).table,
        UNPADDED: partial(standard_recipe, tokenizer=tokenizer, spec=spec, padding=False),
        PADDED: partial(standard_recipe, tokenizer=tokenizer, spec=spec, padding="max_length"),
    }
    seconds = defaultdict(list)
    num_windows = num_overruns = 0
    for first in range(0, questions.num_rows, ROWS_PER_TURN):
        tables = {}
        for name, run in runs.items():
            started = time.process_time()
            tables[name] = run(questions.slice(first, ROWS_PER_TURN))
            seconds[name].append(time.process_time() - started)
        num_windows += tables[OURS].num_rows
        num_overruns += compare(tables[OURS], tables[UNPADDED])

    print(f"{questions.num_rows} questions, {num_windows} windows, one core")
    print(f"{'':36} {'CPU s':>8} {'rows/s':>8}  build is faster by (least to most of a turn)")
    for name in runs:
        total = sum(seconds[name])
        pairs = zip(seconds[name], seconds[OURS], strict=True)
        ratios = sorted(theirs / ours for theirs, ours in pairs)
        print(
            f"{name:36} {total:8.2f} {questions.num_rows / total:8.0f}"
            f"  {total / sum(seconds[OURS]):.1f}x ({ratios[0]:.1f} to {ratios[-1]:.1f})"
        )
    print(
        f"input_ids and labels identical, but for {num_overruns} windows whose answer begins in the"
        " last context token: the recipe's scan for the start runs on to the window's end there"
    )


def compare(ours: pa.Table, theirs: pa.Table) -> int:
    """Assert equality of all windows and labels; return the number of the recipe's overruns."""
    ids, their_ids = (table["input_ids"].combine_chunks() for table in (ours, theirs))
    assert np.array_equal(ids.offsets, their_ids.offsets), "windows differ in length"
    assert np.array_equal(ids.values, their_ids.values), "windows differ"
    overrun = pc.not_equal(ours["start"], theirs["start_positions"].cast(pa.int32())).to_numpy()
    last = ours["context_end"].to_numpy() - 1
    assert np.array_equal(ours["start"].to_numpy()[overrun], last[overrun]), "starts differ"
    assert np.array_equal(ours["end"].to_numpy(), theirs["end_positions"].to_numpy()), "ends differ"
    return int(overrun.sum())


if __name__ == "__main__":
    main(sys.argv[1:])
