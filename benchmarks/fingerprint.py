"""What a change that should change nothing must leave alone: losses, a cut model, predictions.

    python -m benchmarks.fingerprint

Trains 20 seeded steps with one and two workers at ZeRO 0 and 2, cuts the first of these models and
evaluates it, each by its own job in a process of its own. Prints a table: the first and last loss,
and SHA-256 of all losses, of the cut model's weights and of the predictions. Run it before and
after a change, on the same machine, and compare.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path

GROUPS = ((1, 0), (2, 0), (1, 2), (2, 2))  # workers, ZeRO stage
TRAIN = (
    "--train.max-steps 20 --train.dropout 0.1 --data.eval-limit 8 "
    "--train.precision fp32 --train.attention sdpa".split()
)
ADJUST = "--adjust.num-layers 4 --adjust.intermediate-size 768 --data.eval-limit 200".split()


def run_job(job: str, name: str, storage: str, *flags: str) -> Path:
    """Run a job to its end and return its run folder."""
    command = [
        sys.executable,
        "-m",
        f"jobs.{job}",
        "--storage",
        storage,
        "--run-name",
        name,
        *flags,
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Path(storage, name)


def sha256(content: bytes) -> str:
    """Return the first 16 hex digits of a SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]


def losses_of(run: Path) -> list[float]:
    """Return the loss of every step."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row["loss"] for row in map(json.loads, lines) if "loss" in row]


def main() -> None:
    """Run the jobs and print the table."""
    print("| what | SHA-256 | first and last loss |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as storage:
        for workers, stage in GROUPS:
            flags = ["--train.num-workers", str(workers), "--train.zero-stage", str(stage)]
            run = run_job("train", f"train-{workers}-{stage}", storage, *TRAIN, *flags)
            losses = losses_of(run)
            row = f"losses of {len(losses)} steps, {workers} workers, ZeRO {stage}"
            hashed = sha256(json.dumps(losses).encode())
            print(f"| {row} | {hashed} | {losses[0]!r} {losses[-1]!r} |", flush=True)
        model = ["--model.name", f"{storage}/train-1-0"]
        cut = run_job("adjust", "cut", storage, *model, *ADJUST)
        weights = (cut / "model/model.safetensors").read_bytes()
        print(f"| weights of the cut model | {sha256(weights)} | |")
        scored = run_job("evaluate", "scored", storage, *model)
        predictions = (scored / "predictions.json").read_bytes()
        print(f"| predictions.json of an evaluation | {sha256(predictions)} | |")


if __name__ == "__main__":
    main()
