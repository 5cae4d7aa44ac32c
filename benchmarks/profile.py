"""Where the time of a training step goes, and what is left to the arithmetic limit.

    python -m benchmarks.profile
    python -m benchmarks.profile --data.source ~/squad --train.max-steps 30

The job's engine and loop in this process, over the plan's batches of real windows, with the
precision, products and attention that the job chooses here. The first half of the steps is timed;
the second half runs under torch's profiler, whose operators are summed by purpose. The limit is the
time of the model's matrix products alone, at the speed of a large matrix product on this machine.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from benchmarks._squad import with_real_squad
from jobs import _runner

NUM_WARM_STEPS = 3
# An operator belongs to the first kind that has a word of its name.
KINDS = {
    "attention": ("attention", "softmax", "bmm"),
    "matrix products": ("mm", "mkldnn_linear", "matmul"),
    "optimizer": ("adam",),
    "gradient norm, clipping, zeroing": ("norm_", "linalg", "foreach", "zero_", "isfinite"),
    "layer norms": ("layer_norm",),
    "GELU and other element-wise": ("gelu", "add", "mul", "div", "sub", "tanh", "where"),
    "copies and embeddings": ("copy_", "index", "embedding", "cat", "fill_", "gather"),
}


def kind_of(operator: str) -> str:
    """Return the purpose of an operator."""
    name = operator.lower()
    return next((kind for kind, words in KINDS.items() if any(w in name for w in words)), "other")


def timed(batches: Iterator[Any], seconds: list[float], tokens: list[int]) -> Iterator[Any]:
    """Yield batches; note the seconds until each was padded, and its tokens with padding."""
    started = time.perf_counter()
    for batch in batches:
        seconds.append(time.perf_counter() - started)
        tokens.append(sum(inputs["input_ids"].numel() for inputs, _ in batch.micro_batches))
        yield batch
        started = time.perf_counter()


def main(argv: list[str]) -> None:
    """Time, profile, and print the table."""
    _runner.quiet_libraries()
    import torch

    from benchmarks._work import batches_of, engine_here, kernels_of, prepare
    from qa_lib import config, models
    from qa_lib.machines import devices
    from qa_lib.training.loop import take_steps

    flags = ["--recipe", "squad-cpu", "--data.train-limit", "2000", "--train.max-steps", "24"]
    settings = config.parse("train", [*flags, *with_real_squad(argv)])
    work = prepare(settings)
    kernels = kernels_of(settings, work.plan)
    engine = engine_here(settings, work.plan, kernels.precision, devices.num_local_cpus())
    kernels.apply(engine.model)
    half = work.plan.num_steps // 2
    all_collating: list[float] = []
    all_tokens: list[int] = []
    batches = timed(batches_of(settings, work), all_collating, all_tokens)
    take_steps(engine, batches, NUM_WARM_STEPS)
    started = time.perf_counter()
    take_steps(engine, batches, half)
    seconds, num_timed = time.perf_counter() - started, half - NUM_WARM_STEPS
    collating, tokens = (sum(values[NUM_WARM_STEPS:]) for values in (all_collating, all_tokens))
    # Forwards and backwards: six operations a token and weight, without those of attention.
    flops = 6 * models.num_matrix_parameters(engine.model) * tokens
    limit = flops / devices.matrix_flops_per_second(kernels.precision)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        take_steps(engine, batches, work.plan.num_steps)
    by_kind: Counter[str] = Counter()
    for event in profiler.key_averages():
        by_kind[kind_of(event.key)] += event.self_cpu_time_total

    print(
        f"{num_timed} steps of {settings.train.global_batch} windows, "
        f"{tokens / num_timed:.0f} tokens with padding, {kernels.name}, "
        f"{torch.get_num_threads()} threads"
    )
    print(f"a step: {seconds / num_timed:.3f} s in the mean, {collating / seconds:.1%} collating")
    for kind, micros in by_kind.most_common():
        print(f"{kind:<34} {micros / by_kind.total():>6.1%}")
    print(
        f"matrix products alone, at this machine's speed: {limit / num_timed:.3f} s a step, "
        f"{limit / seconds:.0%} of the time"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
