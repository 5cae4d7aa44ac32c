"""Kill training workers, and the driver, at random moments: does every run end in the same bits?

    python -m benchmarks.kill
    python -m benchmarks.kill --worker-kills 5 --driver-kills 1 --plot losses.svg
    python -m benchmarks.kill --elastic 20 --folder runs/kill    # goes on where it was ended

A small run (a random BERT, the embedded questions, two workers, ZeRO 2, dropout on, fp32, CPU) is
trained once undisturbed. In further runs `kill -9` ends one of the workers at a random step, or the
whole `python -m jobs.train`, whose command is then repeated with `--resume`. A run counts as the
same if its losses, its ledger (every planned window once per epoch) and every bit of its final
weights are those of the undisturbed one. Figures and loss curves go to --figures as JSON, and the
curves to --plot. With --elastic every restart has another number of workers and another ZeRO stage,
and the losses must be those of one worker; see `benchmarks._elastic`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs import _runner

FLAGS = """
    --data.train-limit 600 --data.eval-limit 8 --data.max-length 96 --data.stride 32
    --train.num-workers 2 --train.zero-stage 2 --train.global-batch 16 --train.micro-batch 4
    --train.precision fp32 --train.dropout 0.1 --train.learning-rate 1e-3 --train.epochs 2
    --train.checkpoint-every-steps 10
    --train.no-freeze-embeddings
""".split()
POLL_S = 0.01


def write_model(folder: Path) -> str:
    """Write a random BERT of two layers, with the embedded model's tokenizer."""
    import torch
    from transformers import BertConfig, BertForQuestionAnswering

    from qa_lib import models

    tokenizer = models.load_tokenizer("embedded")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=128,
        initializer_range=0.1,
    )
    models.save(BertForQuestionAnswering(config), tokenizer, folder)
    return str(folder)


def settings_of(name: str, flags: list[str]) -> Any:
    """Parse the settings of a run."""
    from qa_lib import config

    return config.parse("train", [*flags, "--run-name", name])


def train(settings: Any) -> Any:
    """Run the job's training; its folder."""
    from benchmarks._work import train_job
    from qa_lib.data import load_questions

    return train_job(settings, load_questions(settings.data, "train"))[0]


def difference(run: Any, expected: Any, plan: Any) -> str | None:
    """Return what differs from the undisturbed run, or None."""
    import numpy as np
    from safetensors.numpy import load_file

    from qa_lib.training import check_ledger, read_ledger

    if curve(run) != curve(expected):
        return "losses"
    try:
        check_ledger(read_ledger(run), plan, plan.num_steps)
    except AssertionError as error:
        return f"ledger: {error}"
    ours, theirs = (load_file(each.url("model", "model.safetensors")) for each in (run, expected))
    if ours.keys() != theirs.keys():
        return "names of weights"
    return "weights" if any(not np.array_equal(ours[n], theirs[n]) for n in ours) else None


def curve(run: Any) -> dict[int, float]:
    """Return the loss of each step; the last one if a step was redone."""
    return {row["step"]: row["loss"] for row in run.read_metrics()}


def num_redone(run: Any) -> int:
    """Count the steps that were taken a second time."""
    return sum(row["redone"] for row in run.read_metrics())


def last_step(folder: Path) -> int:
    """Return the last step in a run's metrics.jsonl, or 0."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    steps = [json.loads(line)["step"] for line in lines if line.endswith("}")]
    return max(steps, default=0)


def when_at(folder: Path, step: int, delay_s: float, action: Callable[[], None]) -> threading.Event:
    """Act in another thread once a run has recorded a step; the event ends the waiting."""
    over = threading.Event()

    def wait() -> None:
        while last_step(folder) < step:
            if over.wait(POLL_S):
                return
        if not over.wait(delay_s):
            action()

    threading.Thread(target=wait, daemon=True).start()
    return over


def kill_worker(rank: int, killed: list[int]) -> None:
    """Send SIGKILL to one of the training workers of this process's Ray."""
    import psutil

    workers = [
        process
        for process in psutil.Process().children(recursive=True)
        if "RayTrainWorker" in "".join(process.cmdline()[:1])
    ]
    if workers:
        victim = sorted(workers, key=lambda process: process.pid)[rank % len(workers)]
        victim.kill()
        killed.append(victim.pid)


def worker_kills(num: int, flags: list[str], straight: Any, plan: Any, storage: Path) -> list[dict]:
    """Kill a worker in each of several runs; return a row per run."""
    rows = []
    for number in range(num):
        # Steps are recorded once a second: a random delay reaches any moment between.
        step, rank = random.randrange(1, plan.num_steps * 9 // 10), random.randrange(2)
        name, killed = f"worker-{number}", []
        settings = settings_of(name, flags)
        over = when_at(
            storage / name,
            step,
            random.uniform(0, 1),
            lambda rank=rank, killed=killed: kill_worker(rank, killed),
        )
        started = time.monotonic()
        run = train(settings)
        over.set()
        rows.append(
            {
                "step": step,
                "rank": rank,
                "was_killed": bool(killed),
                "num_redone": num_redone(run),
                "difference": difference(run, straight, plan),
                "seconds": round(time.monotonic() - started, 1),
            }
        )
        print(f"worker {number}: {rows[-1]}", flush=True)
    return rows


def driver_kills(num: int, flags: list[str], straight: Any, plan: Any, storage: Path) -> list[dict]:
    """Kill the whole job in each of several runs, then repeat its command with --resume."""
    from qa_lib.runs.run_folder import RunFolder

    rows = []
    for number in range(num):
        step, name = random.randrange(1, plan.num_steps * 9 // 10), f"driver-{number}"
        command = [sys.executable, "-m", "jobs.train", *flags, "--run-name", name]
        log = (storage / f"{name}.log").open("w")
        job = subprocess.Popen(command, stdout=log, stderr=log)
        over = when_at(storage / name, step, random.uniform(0, 1), job.kill)
        code = job.wait()
        over.set()
        subprocess.run([*command, "--resume"], stdout=log, stderr=log, check=True)
        log.close()
        run = RunFolder(str(storage / name), "train")
        rows.append(
            {
                "step": step,
                "was_killed": code == -signal.SIGKILL,
                "num_redone": num_redone(run),
                "difference": difference(run, straight, plan),
            }
        )
        print(f"driver {number}: {rows[-1]}", flush=True)
    return rows


def undisturbed_and_killed(flags: list[str], plan: Any, storage: Path) -> dict[str, dict]:
    """Train with one worker, with two, and with one of two killed; the curves should agree."""
    curves = {
        "one worker": curve(train(settings_of("one", [*flags, "--train.num-workers", "1"]))),
        "two workers": curve(train(settings_of("two", flags))),
    }
    killed: list[int] = []
    over = when_at(storage / "two-killed", plan.num_steps // 2, 0.0, lambda: kill_worker(1, killed))
    curves["two workers, one killed"] = curve(train(settings_of("two-killed", flags)))
    over.set()
    assert killed
    return curves


def plot(curves: dict[str, dict[int, float]], path: Path) -> None:
    """Draw the loss curves over each other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 3.5), layout="constrained")
    styles = [("-", 5.0, 0.35), ("-", 2.5, 0.7), (":", 1.5, 1.0)]
    for (name, losses), (line, width, alpha) in zip(curves.items(), styles, strict=True):
        axes.plot(
            *zip(*sorted(losses.items()), strict=True), line, lw=width, alpha=alpha, label=name
        )
    axes.set(xlabel="optimizer step", ylabel="loss")
    axes.legend()
    figure.savefig(path)


def report(rows: list[dict], who: str) -> dict[str, int]:
    """Print a line of the table and return its counts."""
    counts = {
        "runs": len(rows),
        "killed": sum(row["was_killed"] for row in rows),
        "same": sum(row["was_killed"] and row["difference"] is None for row in rows),
        "steps_redone": sum(row["num_redone"] for row in rows),
    }
    print(
        f"{who:<8} {counts['runs']:>5} {counts['killed']:>7} {counts['same']:>21} "
        f"{counts['steps_redone']:>13}"
    )
    return counts


def elastic(options: argparse.Namespace, flags: list[str], storage: Path) -> None:
    """Kill workers of groups that change, and write what came of it."""
    from benchmarks import _elastic
    from benchmarks._work import prepare

    rows = _elastic.elastic_kills(options.elastic, flags, lambda s: prepare(s).plan, storage)
    figures = _elastic.report(rows) | {"groups": rows}
    path = options.figures.with_name("kill-elastic.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1))
    assert figures["most_difference"] <= _elastic.MOST_DIFFERENCE


def main() -> None:
    """Kill, compare, print and write."""
    _runner.quiet_libraries()
    from benchmarks._work import prepare

    parser = argparse.ArgumentParser(prog="benchmarks.kill")
    parser.add_argument("--worker-kills", type=int, default=20)
    parser.add_argument("--driver-kills", type=int, default=3)
    parser.add_argument("--elastic", type=int, default=0, metavar="KILLS")
    parser.add_argument("--folder", type=Path, default=None, help="keep the runs here")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", type=Path, default=Path("runs/benchmarks/kill.json"))
    parser.add_argument("--plot", type=Path, default=None)
    options = parser.parse_args()
    random.seed(options.seed)
    with tempfile.TemporaryDirectory(prefix="qa-kill-") as folder:
        storage = (options.folder or Path(folder)).resolve()
        model = str(storage / "model")
        if not Path(model).exists():
            write_model(storage / "model")
        flags = [*FLAGS, "--storage", str(storage), "--model.name", model]
        if options.elastic:
            elastic(options, flags, storage)
            return
        straight = train(settings_of("straight", flags))
        plan = prepare(settings_of("straight", flags)).plan
        assert difference(straight, straight, plan) is None
        workers = worker_kills(options.worker_kills, flags, straight, plan, storage)
        drivers = driver_kills(options.driver_kills, flags, straight, plan, storage)
        curves = undisturbed_and_killed(flags, plan, storage)
    print(f"\n{plan.num_steps} steps of {plan.global_batch} windows, {os.cpu_count()} cores")
    print(
        f"{'victim':<8} {'runs':>5} {'killed':>7} {'same bits and ledger':>21} {'steps redone':>13}"
    )
    figures = {
        "num_steps": plan.num_steps,
        "workers": report(workers, "worker"),
        "drivers": report(drivers, "driver"),
        "worker_runs": workers,
        "driver_runs": drivers,
        "losses": curves,
    }
    options.figures.parent.mkdir(parents=True, exist_ok=True)
    options.figures.write_text(json.dumps(figures, indent=1))
    if options.plot:
        plot(curves, options.plot)
    assert all(row["difference"] is None for row in [*workers, *drivers])


if __name__ == "__main__":
    main()
