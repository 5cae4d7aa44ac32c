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
    num_windows = num_overruns = num_parted = 0
    for first in range(0, questions.num_rows, ROWS_PER_TURN):
        tables = {}
        for name, run in runs.items():
            started = time.process_time()
            tables[name] = run(questions.slice(first, ROWS_PER_TURN))
            seconds[name].append(time.process_time() - started)
        num_windows += tables[OURS].num_rows
        overruns, parted = compare(tables[OURS], tables[UNPADDED])
        num_overruns, num_parted = num_overruns + overruns, num_parted + parted

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
        f"input_ids and the labels' characters identical, but for {num_overruns} windows whose"
        " answer begins in the last context token: the recipe's scan for the start runs on to the"
        f" window's end there; in {num_parted} more it takes some of a character's tokens only"
    )


def compare(ours: pa.Table, theirs: pa.Table) -> tuple[int, int]:
    """Assert equality of all windows and labels; count the recipe's overruns and parted characters.

    Where several tokens show one character, as those of a Hangul syllable do, the recipe's scan
    takes the last of them for a start and the first for an end: the characters must be equal.
    """
    ids, their_ids = (table["input_ids"].combine_chunks() for table in (ours, theirs))
    assert np.array_equal(ids.offsets, their_ids.offsets), "windows differ in length"
    assert np.array_equal(ids.values, their_ids.values), "windows differ"
    begin, end, context_end = (ours[name].to_numpy() for name in ("start", "end", "context_end"))
    their_begin, their_end = (theirs[f"{side}_positions"].to_numpy() for side in ("start", "end"))
    overrun = (their_begin >= context_end) & (begin == context_end - 1)
    differ = np.flatnonzero(~overrun & ((begin != their_begin) | (end != their_end)))
    assert np.array_equal(end[overrun], their_end[overrun]), "ends differ"
    shown = windows.characters(ours, differ, begin[differ], end[differ])
    their_shown = windows.characters(ours, differ, their_begin[differ], their_end[differ])
    assert np.array_equal(shown, their_shown), "labels differ"
    return int(overrun.sum()), len(differ)


if __name__ == "__main__":
    main(sys.argv[1:])
