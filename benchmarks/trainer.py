"""Training speed: this suite's job against the standard recipe, `transformers.Trainer`.

    python -m benchmarks.trainer
    python -m benchmarks.trainer --turns 1 --contenders "group_by_length, bf16, our dropout" \
        --model.name FOLDER_OF_MPNET_BASE

Model, rows, batch, optimizer and schedule are the same. The standard recipe prepares features with
`datasets.map` and trains with `Trainer`: padded to the window length, or padded by batch and
sampled by `group_by_length`; in fp32 and in bf16; with the model's own dropout, and with that of
our recipe. What a user would pick is the fastest of these. Beside them a plain loop takes our
batches with our precision, products and attention. They take turns beside an idle Ray. Windows per
second count steps alone, and of these the second half: no start of Ray, no loading, no preparation,
no checkpoint, and no kernels compiled for a length that a process meets for the first time.

Then the same batches are trained padded and unpadded, and the losses of every step compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from typing import Any

from benchmarks._squad import with_real_squad
from benchmarks.training import LOSS_TOLERANCE, plain_loop, suite
from jobs import _runner

# Half are warm. Whole groups of sorted lengths: 50 batches of ours, 25 of Trainer's. Padded, any
# rows are alike.
NUM_STEPS, NUM_GROUPED_STEPS, NUM_PADDED_STEPS = 100, 50, 10
COMPARED_STEPS = 6
OURS, PLAIN = "this suite", "plain loop, our batches and kernels"
PADDED, GROUPED = "padded to max_length", "group_by_length"


def trainer(
    settings: Any,
    features: Any,
    precision: str,
    *,
    padded: bool,
    dropout: float | None,
    num_steps: int,
    device: str = "cpu",
) -> float:
    """Train with `transformers.Trainer`; windows per second of the second half of its steps."""
    from transformers import (
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
        default_data_collator,
    )

    from qa_lib import models

    class Clock(TrainerCallback):
        ends: list[float] = []

        def on_step_end(self, *_: Any, **__: Any) -> None:
            self.ends.append(time.perf_counter())

    train, clock = settings.train, Clock()
    clock.ends = []
    tokenizer = models.load_tokenizer(settings.model.name)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=train.global_batch,
            max_steps=num_steps,
            learning_rate=train.learning_rate,
            weight_decay=train.weight_decay,
            warmup_steps=train.warmup_ratio,
            max_grad_norm=train.max_grad_norm,
            bf16=precision == "bf16",
            fp16=precision == "fp16",
            use_cpu=device == "cpu",
            dataloader_num_workers=0 if device == "cpu" else 4,
            train_sampling_strategy="random" if padded else "group_by_length",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            logging_strategy="no",
            seed=settings.seed,
        )
        loop = Trainer(
            model=models.load(settings.model.name, seed=settings.seed, dropout=dropout),
            args=arguments,
            train_dataset=features,
            data_collator=default_data_collator if padded else DataCollatorWithPadding(tokenizer),
            processing_class=tokenizer,
            callbacks=[clock],
        )
        loop.train()
    num_timed = num_steps // 2
    return num_timed * train.global_batch / (clock.ends[-1] - clock.ends[-1 - num_timed])


def compare_losses(settings: Any, table: Any, plan: Any, kernels: Any) -> float:
    """Train the first steps padded and unpadded; return the largest difference of a loss."""
    _, padded = plain_loop(
        settings, table, plan, kernels, num_steps=COMPARED_STEPS, width=settings.data.max_length
    )
    _, unpadded = plain_loop(settings, table, plan, kernels, num_steps=COMPARED_STEPS)
    return max(abs(one - other) for one, other in zip(padded, unpadded, strict=True))


def contenders_of(settings: Any) -> dict[str, tuple[str, str, float | None]]:
    """Return Trainer's settings by name: how it pads, its precision, its dropout."""
    return {
        f"Trainer, {how}, {precision}{', our dropout' if dropout is not None else ''}": (
            how,
            precision,
            dropout,
        )
        for how in (PADDED, GROUPED)
        for precision in ("fp32", "bf16")
        for dropout in dict.fromkeys((None, settings.train.dropout))
    }


def race(
    settings: Any, work: Any, kernels: Any, wanted: str, num_turns: int
) -> dict[str, list[float]]:
    """Train with all in turns; return windows per second of each turn, by contender.

    Args:
        settings: Of our run.
        work: Its questions, windows and plan.
        kernels: What it computes with.
        wanted: Part of the names of the Trainers to race with.
        num_turns: Of each.
    """
    import datasets

    from benchmarks._recipe import standard_recipe
    from qa_lib.machines import devices

    datasets.disable_progress_bars()
    features = {
        name: datasets.Dataset(
            standard_recipe(work.questions.table, work.tokenizer, work.spec, padding)
        )
        for name, padding in ((PADDED, "max_length"), (GROUPED, False))
    }
    contenders = {name: how for name, how in contenders_of(settings).items() if wanted in name}
    speeds: dict[str, list[float]] = {name: [] for name in (OURS, PLAIN, *contenders)}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(num_turns):
            for name, (how, precision, dropout) in contenders.items():
                # The faster of the libraries for float32, as our own fp32 would use.
                devices.use_products(fastest_products(kernels))
                padded = how == PADDED
                speed = trainer(
                    settings,
                    features[how],
                    precision,
                    padded=padded,
                    dropout=dropout,
                    num_steps=NUM_PADDED_STEPS if padded else NUM_GROUPED_STEPS,
                )
                speeds[name].append(speed)
            warm = work.plan.num_steps // 2
            plain, _ = plain_loop(settings, work.table, work.plan, kernels, num_warm_steps=warm)
            speeds[PLAIN].append(plain)
            speeds[OURS].append(suite(settings, work.questions, folder, turn, warm)[0])
            print(f"turn {turn + 1}:", {name: round(each[-1], 2) for name, each in speeds.items()})
    return speeds


def fastest_products(kernels: Any) -> Any:
    """Return the library whose float32 products were the fastest when kernels were chosen."""
    timed = {name: ms for name, ms in kernels.measured_ms.items() if name.startswith("fp32")}
    return min(timed, key=timed.__getitem__).split()[1] if timed else kernels.products


def main(argv: list[str]) -> None:
    """Run all in turns and print the table."""
    _runner.quiet_libraries()
    from benchmarks._work import kernels_of, prepare
    from qa_lib import config, windows
    from qa_lib.machines import devices
    from qa_lib.machines.ray_session import start_ray

    devices.name_deepspeed_device()  # Trainer imports DeepSpeed where it is installed
    parser = argparse.ArgumentParser(prog="benchmarks.trainer", allow_abbrev=False)
    parser.add_argument("--contenders", default="", help="part of the names of Trainer's settings")
    parser.add_argument("--turns", type=int, default=2)
    own, argv = parser.parse_known_args(argv)
    flags = ["--recipe", "squad-cpu", "--data.train-limit", "1600"]
    flags += ["--train.max-steps", str(NUM_STEPS)]
    settings = config.parse("train", [*flags, *with_real_squad(argv)])
    work = prepare(settings)
    kernels = kernels_of(settings, work.plan)
    start_ray()
    speeds = race(settings, work, kernels, own.contenders, own.turns)
    print(
        f"\n{work.questions.table.num_rows} questions, {work.table.num_rows} windows of "
        f"{windows.lengths(work.table).mean():.0f} tokens, batch {settings.train.global_batch}; "
        f"this suite {kernels.name}, dropout {settings.train.dropout}"
    )
    print_table(speeds)
    furthest = compare_losses(settings, work.table, work.plan, kernels)
    print(
        f"same batches padded to {settings.data.max_length} or not, {COMPARED_STEPS} steps: losses "
        f"differ by at most {furthest:.1e} (at most {LOSS_TOLERANCE[kernels.precision]:g})"
    )
    assert furthest <= LOSS_TOLERANCE[kernels.precision]


def print_table(speeds: dict[str, list[float]]) -> None:
    """Print the speeds, and how much faster this suite is than each, and than the best Trainer."""
    print(f"{'':<50} {'windows/s':>10}  this suite is faster by (least to most of a turn)")
    for name, values in speeds.items():
        ratios = [ours / theirs for ours, theirs in zip(speeds[OURS], values, strict=True)]
        print(
            f"{name:<50} {statistics.median(values):>10.2f}  {statistics.median(ratios):.2f}x "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )
    best = max(speeds.keys() - {OURS, PLAIN}, key=lambda name: statistics.median(speeds[name]))
    print(f"what a user would pick: {best}")


if __name__ == "__main__":
    main(sys.argv[1:])
