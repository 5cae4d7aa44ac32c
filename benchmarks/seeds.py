"""The same training with several seeds: how far do EM, F1 and time spread?

    python -m benchmarks.seeds --num-seeds 5
    python -m benchmarks.seeds --num-seeds 3 --each "--train.precision fp32" \
        --each "--train.precision auto" --recipe squad-cpu --data.source ~/squad

`jobs.train --seeds N` is the plain form. Here each seed is a run in a process of its own, under
--folder; a finished one is not repeated. With --each every seed is trained once per set of flags,
in turns. All other flags go to the job. Seconds count from the command to its scores and report.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from qa_lib.reporting.seeds import spread

WALL = "wall.json"  # seconds of the whole command, which result.json cannot know


def train(folder: Path, name: str, flags: list[str]) -> dict[str, Any]:
    """Train where that is not done; return the fields of the result, with `wall_seconds`."""
    timed = folder / name / WALL
    if not timed.is_file():
        command = [sys.executable, "-m", "jobs.train", "--storage", str(folder), "--overwrite"]
        started = time.time()
        subprocess.run(
            [*command, "--run-name", name, *flags], check=True, stdout=subprocess.DEVNULL
        )
        timed.write_text(json.dumps({"wall_seconds": time.time() - started}), encoding="utf-8")
    result = json.loads((folder / name / "result.json").read_text(encoding="utf-8"))
    return result | json.loads(timed.read_text(encoding="utf-8"))


def row_of(title: str, runs: list[dict[str, Any]]) -> str:
    """Return a row of the table: F1 of every seed, then means and ranges."""
    f1 = [run["f1"] for run in runs]
    em = [run["em"] for run in runs]
    seconds = [run["wall_seconds"] for run in runs]
    speed = statistics.median(run["windows_per_s"] for run in runs)
    of_f1 = spread(f1)
    return (
        f"| {title} | {' '.join(f'{value:.2f}' for value in f1)} | {of_f1.mean:.2f} ± "
        f"{of_f1.deviation:.2f} | {statistics.mean(em):.2f} | {speed:.1f} | {min(seconds):.0f} to "
        f"{max(seconds):.0f} |"
    )


def main() -> None:
    """Train, and print the table after every seed."""
    parser = argparse.ArgumentParser(prog="benchmarks.seeds", allow_abbrev=False)
    parser.add_argument("--num-seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path("runs/seeds"))
    parser.add_argument("--each", action="append", default=[], help="flags of one variant")
    own, flags = parser.parse_known_args()
    runs: dict[str, list[dict[str, Any]]] = {each: [] for each in own.each or [""]}
    for seed in range(own.num_seeds):
        for each, found in runs.items():
            name = re.sub(r"[^A-Za-z0-9]+", "-", f"{' '.join(flags)} {each} seed {seed}")[-120:]
            these = [*flags, *shlex.split(each), "--seed", str(seed)]
            found.append(train(own.folder, name.strip("-"), these))
        print(f"\n{seed + 1} seeds\n\n| | F1 by seed | F1 | EM | windows/s | seconds |")
        print("|---|---|---|---|---|---|")
        for each, found in runs.items():
            print(row_of(each or "as the recipe says", found), flush=True)


if __name__ == "__main__":
    main()
