"""Where the time of a training step goes, and what is left to the arithmetic limit.

    python -m benchmarks.profile
    python -m benchmarks.profile --data.source ~/squad --train.max-steps 30

The engine that the job's workers run, in this process: the plan's batches of real windows at the
recipe's batch and precision. The first half of the steps is timed as it is; the second half runs
under torch's profiler, whose operators are summed by what they are for. The limit is what the
model's matrix products alone would take at the speed of a large matrix product, measured here.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from functools import partial
from typing import Any, NamedTuple

from benchmarks._squad import with_real_squad
from jobs import _entry

NUM_WARM_STEPS = 3
# The first kind one of whose words is in an operator's name takes its time.
KINDS = {
    "matrix products": ("mm", "mkldnn_linear", "matmul"),
    "attention": ("attention", "softmax"),
    "optimizer": ("adam",),
    "gradient norm, clipping, zeroing": ("norm_", "linalg", "foreach", "zero_", "isfinite"),
    "layer norms": ("layer_norm",),
    "GELU and other element-wise": ("gelu", "add", "mul", "div", "sub", "tanh", "where"),
    "copies and embeddings": ("copy_", "index", "embedding", "cat", "fill_", "gather"),
}


def kind_of(operator: str) -> str:
    """Say what an operator of the profile is for."""
    name = operator.lower()
    return next((kind for kind, words in KINDS.items() if any(w in name for w in words)), "other")


class Timed(NamedTuple):
    """Of a step: seconds in all and of collating, and tokens with padding."""

    seconds: float
    collating: float
    tokens: int


def take_step(engine: Any, table: Any, rows: Any, pad: Any, micro_batch: int) -> Timed:
    """Train one batch of the plan as a worker does."""
    from qa_lib.training.worker import weighted_batch

    started = time.perf_counter()
    parts = [rows[a : a + micro_batch] for a in range(0, len(rows), micro_batch)]
    batches = [weighted_batch(table.take(part), pad) for part in parts]
    collated = time.perf_counter()
    engine.step(batches, num_real=len(rows))
    tokens = sum(batch["input_ids"].numel() for batch, _ in batches)
    return Timed(time.perf_counter() - started, collated - started, tokens)


def main(argv: list[str]) -> None:
    """Time, profile, and print the table."""
    _entry.quiet_libraries()
    import numpy as np
    import pyarrow as pa
    import torch

    from benchmarks._work import engine_here, prepare
    from qa_lib import config, models, training, windows
    from qa_lib.machines import devices

    flags = ["--recipe", "squad-cpu", "--data.train-limit", "2000", "--train.max-steps", "24"]
    settings = config.parse("train", [*flags, *with_real_squad(argv)])
    torch.set_num_threads(devices.num_local_cpus())
    precision = devices.resolve_precision(settings.train.precision, "cpu")
    _, table, plan, tokenizer, _ = prepare(settings)
    table = table.append_column("weight", pa.array(np.ones(table.num_rows, np.float32)))
    micro_batch = training.micro_batch_of(settings)
    engine = engine_here(settings, plan, precision, micro_batch)
    step = partial(
        take_step, engine, table, pad=windows.PadSpec.of(tokenizer), micro_batch=micro_batch
    )
    half = plan.num_steps // 2
    timed = [step(plan.batch(number)) for number in range(half)][NUM_WARM_STEPS:]
    seconds, collating, tokens = (sum(column) for column in zip(*timed, strict=True))
    # Forwards and backwards: six operations a token and weight, without what attention adds.
    flops = 6 * models.num_matrix_parameters(engine.model) * tokens
    limit = flops / devices.matrix_flops_per_second(precision)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        for number in range(half, plan.num_steps):
            step(plan.batch(number))
    by_kind: Counter[str] = Counter()
    for event in profiler.key_averages():
        by_kind[kind_of(event.key)] += event.self_cpu_time_total

    print(
        f"{len(timed)} steps of {settings.train.global_batch} windows, "
        f"{tokens / len(timed):.0f} tokens with padding, {precision}, "
        f"{torch.get_num_threads()} threads"
    )
    print(f"a step: {seconds / len(timed):.3f} s in the mean, {collating / seconds:.1%} collating")
    for kind, micros in by_kind.most_common():
        print(f"{kind:<34} {micros / by_kind.total():>6.1%}")
    print(
        f"matrix products alone, at this machine's speed: {limit / len(timed):.3f} s a step, "
        f"{limit / seconds:.0%} of the time"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
