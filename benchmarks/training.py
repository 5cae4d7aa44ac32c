"""Training speed: the job's path through Ray and DeepSpeed against a plain PyTorch loop.

    python -m benchmarks.training
    python -m benchmarks.training --train.max-steps 60

Both train the same windows in the same batches, with the precision, products and attention that the
job chooses here, without dropout, in turns and beside an idle Ray; the losses of every step must
agree. Windows per second count the steps after the first ten alone: the job's process is a new one,
which compiles its kernels and fills its caches in them, where the plain loop's has done so in an
earlier turn. Not the start of Ray either, loading the model, or the job's checkpoint at the end.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

from benchmarks._squad import with_real_squad
from jobs import _runner

if TYPE_CHECKING:
    from qa_lib.models.kernels import Kernels

NUM_TURNS = 3
NUM_WARM_STEPS = 10
LOSS_TOLERANCE = {"fp32": 1e-3, "bf16": 3e-2}


def plain_loop(
    settings: Any,
    table: Any,
    plan: Any,
    kernels: Kernels,
    *,
    num_steps: int | None = None,
    num_warm_steps: int = NUM_WARM_STEPS,
    width: int | None = None,
) -> tuple[float, list[float]]:
    """Train as a script would: no Ray, no DeepSpeed; windows per second and the losses.

    Args:
        settings: Of the run.
        table: Windows.
        plan: The batch plan.
        kernels: Precision, products and attention.
        num_steps: Steps of the plan; None takes all.
        num_warm_steps: Steps that the speed leaves out.
        width: Tokens to pad every window to; None pads to the longest of its batch.
    """
    import torch

    from qa_lib import models, windows
    from qa_lib.training.losses import window_losses
    from qa_lib.training.optimizer import learning_rate

    train = settings.train
    model = models.load(settings.model.name, seed=settings.seed, dropout=0.0).train()
    kernels.apply(model)
    pad = windows.PadSpec.of(models.load_tokenizer(settings.model.name))
    optimizer = adamw(model, train)
    losses, num_windows, started = [], 0, time.perf_counter()
    for step in range(num_steps or plan.num_steps):
        if step == num_warm_steps:
            num_windows, started = 0, time.perf_counter()
        rows = table.take(plan.batch(step))
        batch = windows.collate(rows, pad, length=width)
        inputs = {name: value for name, value in batch.items() if "_positions" not in name}
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(train, step, plan.num_steps)
        with torch.autocast("cpu", torch.bfloat16, enabled=kernels.precision == "bf16"):
            output = model(**inputs)
        loss = window_losses(output.start_logits, output.end_logits, batch).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), train.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        num_windows += rows.num_rows
    return num_windows / (time.perf_counter() - started), losses


def adamw(model: Any, train: Any) -> Any:
    """Return the optimizer of a script: no weight decay for biases and norms."""
    import torch

    named = list(model.named_parameters())
    exempt = [p for n, p in named if p.ndim < 2 or "LayerNorm" in n]
    decayed = [p for n, p in named if p.ndim >= 2 and "LayerNorm" not in n]
    groups = [
        {"params": decayed, "weight_decay": train.weight_decay},
        {"params": exempt, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, eps=train.adam_epsilon)


def suite(
    settings: Any,
    questions: Any,
    folder: str,
    turn: int,
    num_warm_steps: int = NUM_WARM_STEPS,
) -> tuple[float, list[float]]:
    """Train as the job does; windows per second after the warm steps, and the losses."""
    from benchmarks._work import train_job

    named = settings.model_copy(update={"storage": folder, "run_name": f"turn-{turn}"})
    run, result = train_job(named, questions)
    assert result["steps"] == (settings.train.max_steps or result["steps"])
    steps = run.read_metrics()
    seconds = steps[-1]["time"] - steps[num_warm_steps - 1]["time"]
    num_windows = sum(row["num_windows"] for row in steps[num_warm_steps:])
    return num_windows / seconds, [row["loss"] for row in steps]


def main() -> None:
    """Run both in turns and print the table."""
    _runner.quiet_libraries()
    from benchmarks._work import kernels_of, prepare
    from qa_lib import config
    from qa_lib.machines.ray_session import start_ray

    flags = ["--recipe", "squad-cpu", "--data.train-limit", "2000", "--train.max-steps", "40"]
    settings = config.parse("train", [*flags, *with_real_squad(sys.argv[1:])])
    questions, table, plan, *_ = prepare(settings)
    kernels = kernels_of(settings, plan)
    start_ray()
    speeds: dict[str, list[float]] = {"plain PyTorch loop": [], "this suite": []}
    furthest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(NUM_TURNS):
            speed, plain_losses = plain_loop(settings, table, plan, kernels)
            speeds["plain PyTorch loop"].append(speed)
            speed, losses = suite(settings, questions, folder, turn)
            speeds["this suite"].append(speed)
            pairs = zip(plain_losses, losses, strict=True)
            furthest = max(furthest, *(abs(one - other) for one, other in pairs))
    print(
        f"\n{plan.num_steps} steps of {settings.train.global_batch}, {kernels.name}, "
        f"{NUM_TURNS} turns"
    )
    print(f"{'':<20} {'windows/s':>10} {'range':>15}")
    for name, values in speeds.items():
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"{name:<20} {statistics.median(values):>10.2f} {spread:>15}")
    ratios = [ours / plain for plain, ours in zip(*speeds.values(), strict=True)]
    print(f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")
    tolerance = LOSS_TOLERANCE[kernels.precision]
    print(f"largest difference of a step's loss {furthest:.2e} (at most {tolerance:g})")
    assert furthest <= tolerance


if __name__ == "__main__":
    main()
