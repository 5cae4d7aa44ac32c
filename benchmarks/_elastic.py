"""Kill workers, and go on with another number of them at another ZeRO stage.

A run is killed several times; each time the same command goes on with --resume, another
--train.num-workers and another --train.zero-stage. In the end it must have trained every window
once per epoch, and every loss that it ever recorded must be that of one undisturbed worker.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

from benchmarks import kill
from qa_lib.errors import UserError
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training import check_ledger, read_ledger

WORLD_SIZES = (1, 2, 4)
KILLS_PER_RUN = 4
ROWS = "rows.jsonl"
MOST_DIFFERENCE = 1e-5  # relative
FLAGS = """
    --train.epochs 3 --train.checkpoint-every-steps 5 --train.max-failures 0
    --train.adam-epsilon 1e-6
""".split()


def elastic_kills(num: int, flags: list[str], plan_of: Any, storage: Path) -> list[dict]:
    """Kill workers `num` times, counting those that an earlier call in this storage has killed.

    Returns:
        A row per kill, and one per run when it ends.
    """
    flags = [*flags, *FLAGS]
    alone = ["--train.num-workers", "1", "--train.zero-stage", "0"]
    if (storage / "alone" / "model").exists():
        undisturbed = RunFolder(str(storage / "alone"), "train")
    else:
        undisturbed = kill.train(kill.settings_of("alone", [*flags, *alone, "--overwrite"]))
    expected = kill.curve(undisturbed)
    plan = plan_of(kill.settings_of("alone", [*flags, "--overwrite"]))
    rows = _read_rows(storage)
    random.seed(random.random() + len(rows))  # other moments than those of the call before
    while (left := num - sum(row["was_killed"] for row in rows)) > 0 or rows[-1]["was_killed"]:
        ended = [number for number, row in enumerate(rows) if not row["was_killed"]]
        num_killed = len(rows) - (ended[-1] + 1 if ended else 0)  # in the run that goes on
        kills_left = min(left, KILLS_PER_RUN - num_killed)
        _killed_run(f"elastic-{len(ended)}", kills_left, flags, plan, expected, storage, rows)
    return rows


def _read_rows(storage: Path) -> list[dict]:
    path = storage / ROWS
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _killed_run(
    name: str,
    num_kills: int,
    flags: list[str],
    plan: Any,
    expected: dict,
    storage: Path,
    rows: list[dict],
) -> None:
    """Train a run through several kills; add a row per group of workers."""
    last = rows[-1] if rows and rows[-1]["was_killed"] else {}
    while True:
        others = [size for size in WORLD_SIZES if size != last.get("world_size")]
        group = (random.choice(others), random.randrange(4))
        last = _one_group(name, group, num_kills, flags, plan, storage)
        print(f"{name}: {last}", flush=True)
        if not last["was_killed"]:
            break
        num_kills -= 1
        _keep(last, rows, storage)
    run = RunFolder(str(storage / name), "train")
    losses = [(row["step"], row["loss"]) for row in run.read_metrics()]
    assert {step for step, _ in losses} == expected.keys(), "steps are missing"
    differences = [abs(loss - expected[step]) / abs(expected[step]) for step, loss in losses]
    check_ledger(read_ledger(run), plan, plan.num_steps)
    last |= {"most_difference": max(differences), "num_redone": kill.num_redone(run)}
    print(f"{name} has ended: {last}", flush=True)
    _keep(last, rows, storage)


def _keep(row: dict, rows: list[dict], storage: Path) -> None:
    """Add a row, also on disk: a later call goes on after it."""
    rows.append(row)
    with (storage / ROWS).open("a") as file:
        file.write(json.dumps(row) + "\n")


def _one_group(
    name: str, group: tuple[int, int], kills_left: int, flags: list[str], plan: Any, storage: Path
) -> dict:
    """Train with one group of workers until it is killed, or to the end; what happened."""
    world_size, stage = group
    chosen = ["--train.num-workers", str(world_size), "--train.zero-stage", str(stage)]
    resume = ["--resume"] if (storage / name).exists() else []
    settings = kill.settings_of(name, [*flags, *chosen, *resume])
    killed: list[int] = []
    taken = kill.last_step(storage / name)
    # Within the stretch that leaves as much for every kill to come.
    step = taken + random.randrange(1, max(2, (plan.num_steps - taken) // (kills_left + 1)))
    over = kill.when_at(
        storage / name,
        step if kills_left > 0 else plan.num_steps + 1,
        random.uniform(0, 0.5),
        lambda: kill.kill_worker(random.randrange(world_size), killed),
    )
    started = time.monotonic()
    has_ended = False
    try:
        kill.train(settings)
        has_ended = True
    except Exception as error:
        # With --train.max-failures 0 a lost worker ends the job.
        if not killed or isinstance(error, UserError):
            raise
    finally:
        over.set()
    return {
        "world_size": world_size,
        "zero_stage": stage,
        "step": step if kills_left > 0 else None,
        "was_killed": not has_ended,
        "seconds": round(time.monotonic() - started, 1),
    }


def report(rows: list[dict]) -> dict[str, Any]:
    """Print what the kills came to, and return it."""
    ended = [row for row in rows if "most_difference" in row]
    counts = {
        "kills": sum(row["was_killed"] for row in rows),
        "runs": len(ended),
        "steps_redone": sum(row["num_redone"] for row in ended),
        "most_difference": max(row["most_difference"] for row in ended),
    }
    print(
        f"{counts['kills']} kills, {counts['runs']} runs, all ended; "
        f"{counts['steps_redone']} steps redone; "
        f"largest relative difference of a loss {counts['most_difference']:.1e}"
    )
    return counts
