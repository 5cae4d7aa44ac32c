"""The figures that need a GPU, in one command of 25 minutes at most: full SQuAD, Trainer, a search.

    make bench-gpu ARGS="--storage /tmp/gpu-runs --out gpu.json"
    python -m benchmarks.gpu --minutes 25 --only squad-bf16,trainer

Parts, in order: `squad-bf16` and `squad-fp16` (all of SQuAD, two epochs, all dev questions),
`trainer` (`transformers.Trainer` by the standard recipe, the same questions), `base` (a random
model of BERT-base's shape), `search` (of a parent that held articles out). What has run is read
from --storage and not run again; a part that no longer fits the minutes is left out and named.
SQuAD is in $QA_SQUAD_DIR. The JSON holds every result; its rows go into docs/results/squad.md.
On a machine without network see scripts/wheels.py.

QA_GPU_SUITE_ON=cpu rehearses it on a few windows of a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks._squad import with_real_squad
from jobs import _runner

ON_CPU = os.environ.get("QA_GPU_SUITE_ON") == "cpu"
DEVICE = "cpu" if ON_CPU else "cuda"
REPOSITORY = Path(__file__).resolve().parents[1]
# What a rehearsal takes of everything.
FEW = """--data.train-limit 400 --data.eval-limit 32 --train.max-steps 6 --train.global-batch 16
    --train.micro-batch 8""".split()
TRAINER_STEPS = 6 if ON_CPU else 300
BASE_STEPS = 4 if ON_CPU else 300
SEARCH = "--search.num-trials 16 --search.trial-windows 16000 --search.eval-questions 1000".split()
FEW_TRIALS = """--search.num-trials 2 --search.trial-windows 32 --search.num-rungs 1
    --search.eval-questions 16""".split()

# Minutes that a part is expected to take on a GPU of an H100's class; it starts if they are left.
EXPECTED = {"squad-bf16": 3.0, "squad-fp16": 3.0, "trainer": 2.0, "base": 3.0, "search": 10.0}


class Bench:
    """Runs parts in a storage folder, and keeps what they found."""

    def __init__(self, storage: Path, minutes: float) -> None:
        """Take where runs go, and how long all parts may take."""
        self.storage = storage
        self.deadline = time.monotonic() + 60 * minutes
        self.found: dict[str, Any] = {}

    def job(self, job: str, name: str, *flags: str) -> dict[str, Any]:
        """Run a job within what is left of the time, unless its run is finished; its result."""
        path = self.storage / name / "result.json"
        if not path.is_file() or json.loads(path.read_text())["status"] != "done":
            few = FEW + (FEW_TRIALS if job == "tune" else []) if ON_CPU else []
            given = ["--storage", str(self.storage), "--run-name", name, "--overwrite"]
            given += [*with_real_squad(list(flags)), *few, "--train.device", DEVICE]
            subprocess.run(
                [sys.executable, "-m", f"jobs.{job}", *given],
                cwd=REPOSITORY,
                check=True,
                timeout=max(1.0, self.deadline - time.monotonic()),
            )
        result: dict[str, Any] = json.loads(path.read_text())
        return result

    def run(self, name: str, part: Callable[[Bench], dict[str, Any]]) -> None:
        """Run a part and keep its result; what fails or no longer fits is kept as its reason."""
        left = (self.deadline - time.monotonic()) / 60
        started = time.monotonic()
        if left < EXPECTED[name] and not ON_CPU:
            found = {"left_out": f"{left:.1f} minutes left, {EXPECTED[name]:g} expected"}
        else:
            print(f"== {name}, {left:.1f} minutes left", flush=True)
            try:
                found = part(self)
            except (subprocess.SubprocessError, OSError, RuntimeError) as error:
                found = {"failed": " ".join(str(error).split())[-500:]}
        self.found[name] = found | {"minutes": round((time.monotonic() - started) / 60, 2)}


def squad(precision: str) -> Callable[[Bench], dict[str, Any]]:
    """Return the part that trains all of SQuAD for two epochs in a precision."""

    def part(bench: Bench) -> dict[str, Any]:
        # float16 is refused on a CPU: a rehearsal goes the same way in float32.
        given = "fp32" if ON_CPU else precision
        flags = ["--recipe", "squad", "--train.precision", given, "--train.micro-batch", "auto"]
        return bench.job("train", f"squad-{precision}", *flags)

    return part


def trainer(bench: Bench) -> dict[str, Any]:
    """Train by the standard recipe with `transformers.Trainer`, padded by batch; windows/s.

    In a process of its own, so that the GPU's memory is free again.
    """
    path = bench.storage / "trainer.json"
    subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu", "--trainer-only", str(path)],
        cwd=REPOSITORY,
        check=True,
        timeout=max(1.0, bench.deadline - time.monotonic()),
    )
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def train_with_trainer(path: Path) -> None:
    """Measure `transformers.Trainer` in the GPU's half precision, and write what it reached."""
    import datasets

    from benchmarks._recipe import standard_recipe
    from benchmarks.trainer import trainer
    from qa_lib import config, models, windows
    from qa_lib.data import load_questions
    from qa_lib.machines import devices

    devices.name_deepspeed_device()
    limit = 400 if ON_CPU else 40 * TRAINER_STEPS * 2
    flags = ["--recipe", "squad", "--data.train-limit", str(limit)]
    flags += ["--train.global-batch", "8"] if ON_CPU else []
    settings = config.parse("train", with_real_squad(flags))
    precision = "fp32" if ON_CPU else devices.resolve_precision("auto", "cuda")
    tokenizer = models.load_tokenizer(settings.model.name)
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    questions = load_questions(settings.data, "train").table
    speed = trainer(
        settings,
        datasets.Dataset(standard_recipe(questions, tokenizer, spec, False)),
        precision,
        padded=False,
        dropout=settings.train.dropout,
        num_steps=TRAINER_STEPS,
        device=DEVICE,
    )
    found = {"precision": precision, "windows_per_s": round(speed, 1), "steps": TRAINER_STEPS}
    path.write_text(json.dumps(found))


def base(bench: Bench) -> dict[str, Any]:
    """Train a random model of BERT-base's shape for some hundred steps: speed and memory."""
    folder = bench.storage / "bert-base-random"
    if not folder.is_dir():
        write_base(folder)
    flags = ["--recipe", "squad", "--model.name", str(folder), "--data.eval-limit", "256"]
    flags += ["--train.max-steps", str(BASE_STEPS), "--train.micro-batch", "auto"]
    return bench.job("train", "base", *flags)


def write_base(folder: Path) -> None:
    """Write a random BERT, of BERT-base's shape where there is a GPU, with MiniLM's tokenizer."""
    import torch
    from transformers import BertConfig

    from qa_lib import models

    torch.manual_seed(0)
    tokenizer = models.load_tokenizer("embedded")
    sizes: dict[str, int] = (
        {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2} if ON_CPU else {}
    )
    config = BertConfig(vocab_size=len(tokenizer), **sizes)
    models.save(models.build(config), tokenizer, folder)


def search(bench: Bench) -> dict[str, Any]:
    """Search smaller models of a parent that held articles out, at the recipe's scale."""
    held_out = ["--recipe", "squad", "--data.holdout-articles", "0.1"]
    bench.job("train", "parent", *held_out, "--train.epochs", "1")
    parent = ["--search.parent", str(bench.storage / "parent")]
    return bench.job("tune", "search", *held_out, *parent, *SEARCH)


PARTS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "squad-bf16": squad("bf16"),
    "squad-fp16": squad("fp16"),
    "trainer": trainer,
    "base": base,
    "search": search,
}


def rows(found: dict[str, Any], gpu: str) -> str:
    """Return rows for docs/results: what was reached, or why it was not."""
    lines = [
        "| part | GPU | precision | windows/s | EM | F1 | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, result in found.items():
        reason = result.get("left_out") or result.get("failed")
        cells = [str(result.get(field, "")) for field in ("precision", "windows_per_s", "em", "f1")]
        middle = [f"not measured: {reason}", "", "", ""] if reason else cells
        lines.append(f"| {' | '.join([name, gpu, *middle, str(result['minutes'])])} |")
    return "\n".join(lines)


def main() -> None:
    """Run the parts, write the JSON after each, and print the rows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--storage", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    parser.add_argument("--trainer-only", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    _runner.quiet_libraries()
    if options.trainer_only:
        return train_with_trainer(options.trainer_only)
    import torch

    if not ON_CPU and not torch.cuda.is_available():
        sys.exit("error: no CUDA GPU on this machine\n  QA_GPU_SUITE_ON=cpu rehearses it here.")
    if unknown := set(options.only.split(",")) - PARTS.keys():
        sys.exit(f"error: no part {', '.join(sorted(unknown))}\n  Parts: {', '.join(PARTS)}.")
    gpu = "cpu" if ON_CPU else torch.cuda.get_device_name()
    options.storage.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.storage.resolve(), options.minutes)
    for name in options.only.split(","):
        bench.run(name, PARTS[name])
        report = {"gpu": gpu, "torch": torch.__version__, "parts": bench.found}
        options.out.write_text(json.dumps(report, indent=2))
    print(rows(bench.found, gpu))
    if any("failed" in result for result in bench.found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
