"""How long the commands take until they are of use, on a machine that does nothing else.

    python -m benchmarks.starts
    python -m benchmarks.starts --turns 5

Seconds from the command to the first optimizer step of the quickstart and to its end (after 24
steps, so that what is seen is start and end), to the last line of a dry run, to the answer of
`jobs.answer`, and to the first page of `jobs.demo`. Each in a process of its own, in turns.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

NUM_STEPS = 24
QUESTION = ["--answer.question", "Who wrote it?", "--answer.context", "Ann wrote it in March."]


def seconds_of(*command: str) -> float:
    """Run a job to its end; return the seconds."""
    started = time.time()
    subprocess.run([sys.executable, "-m", *command], check=True, capture_output=True)
    return time.time() - started


def training(storage: str, name: str) -> dict[str, float]:
    """Train a few steps of the quickstart; seconds to the first step and to the end."""
    started = time.time()
    flags = ["--train.max-steps", str(NUM_STEPS), "--storage", storage, "--run-name", name]
    whole = seconds_of("jobs.train", *flags)
    with (Path(storage) / name / "metrics.jsonl").open(encoding="utf-8") as file:
        first = json.loads(file.readline())["time"] - started
    return {"quickstart: first step": first, f"quickstart of {NUM_STEPS} steps: end": whole}


def demo(model: str) -> float:
    """Start the demo; return the seconds to its first page."""
    command = [sys.executable, "-m", "jobs.demo", model, "--demo.port", "0"]
    started = time.time()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address, "the demo prints its address first"
        with urllib.request.urlopen(address.group()) as page:
            page.read()
        seconds = time.time() - started
        process.terminate()
    return seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.starts")
    parser.add_argument("--turns", type=int, default=3)
    num_turns = parser.parse_args().turns
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as storage:
        for turn in range(num_turns):
            found = training(storage, f"turn-{turn}")
            model = f"{storage}/turn-0"
            found["dry run of the quickstart"] = seconds_of("jobs.train", "--dry-run")
            found["one answer"] = seconds_of("jobs.answer", "--model.name", model, *QUESTION)
            found["demo: first page"] = demo(model)
            for name, value in found.items():
                seconds.setdefault(name, []).append(value)
    print(f"| {num_turns} turns | seconds, median | least to most |\n|---|---|---|")
    for name, values in seconds.items():
        spread = f"{min(values):.1f} to {max(values):.1f}"
        print(f"| {name} | {statistics.median(values):.1f} | {spread} |")


if __name__ == "__main__":
    main()
