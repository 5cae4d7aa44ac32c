"""Evaluation's forward passes: this suite's kernels against ONNX Runtime and OpenVINO.

    python -m benchmarks.inference
    python -m benchmarks.inference --data.eval-limit 2000 --model.name runs/mine

The windows of the dev set, longest first in the job's batches, through the job's `Forward`: at the
precision, products and attention that it chooses here, as torch comes, and with sessions of ONNX
Runtime (float32, dynamic int8) and OpenVINO (bf16 where the processor has it) on the exported
model, each with all cores, in turns. Then the job's choice in one process per core with a thread
each, against one process with all threads. OpenVINO is named where it is not installed.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from benchmarks._squad import with_real_squad
from jobs import _runner

if TYPE_CHECKING:
    import pyarrow as pa
    import torch

NUM_TURNS = 3
OURS = "this suite"


class OpenVinoModel:
    """An ONNX file compiled by OpenVINO, called like `OnnxModel`."""

    def __init__(self, path: Path, config: Any, num_threads: int) -> None:
        """Compile the file for the CPU at the precision that OpenVINO prefers there."""
        import openvino  # type: ignore[import-not-found]
        import torch

        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": num_threads}
        self._compiled = openvino.Core().compile_model(str(path), "CPU", options)
        self.precision = str(self._compiled.get_property("INFERENCE_PRECISION_HINT"))
        self.inputs = [port.get_any_name() for port in self._compiled.inputs]
        self.config, self.device = config, torch.device("cpu")

    def __call__(self, **tensors: torch.Tensor) -> Any:
        """Return float32 logits of shape (windows, tokens)."""
        import torch

        found = self._compiled({name: tensors[name].numpy() for name in self.inputs})
        start, end = (torch.from_numpy(found[name]) for name in ("start_logits", "end_logits"))
        return SimpleNamespace(start_logits=start, end_logits=end)


def windows_of(settings: Any) -> pa.Table:
    """Return all windows of the evaluation questions."""
    from qa_lib import models, windows
    from qa_lib.data import load_questions

    questions = load_questions(settings.data, "eval")
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    tokenizer = models.load_tokenizer(settings.model.name)
    return windows.build(questions.table, tokenizer, spec, labels=False).table


def contenders_of(settings: Any, folder: Path) -> dict[str, Callable[[pa.Table], Any]]:
    """Return what runs windows, by name."""
    from qa_lib import models
    from qa_lib.machines import devices
    from qa_lib.models.inference import Forward
    from qa_lib.models.kernels import Kernels
    from qa_lib.serving.onnx.graph import quantize, write_onnx
    from qa_lib.serving.onnx.session import OnnxModel

    name, size = settings.model.name, settings.evaluate.batch_size

    def forward(kernels: Kernels | None = None, model: Any = None) -> Forward:
        made = Forward(name, batch_size=size, measure=kernels is None, casts=kernels is None)
        if kernels is not None:
            made.kernels, made.precision = kernels, kernels.precision
        made.model = model or made.model
        return made

    ours, as_it_comes = forward(), Kernels("fp32")
    types = ["token_type_ids"] if ours.pad.token_types else []
    torch_model = models.load(name)
    config = torch_model.config
    write_onnx(torch_model, folder / "fp32.onnx", ["input_ids", "attention_mask", *types])
    quantize(folder / "fp32.onnx", folder / "int8.onnx")
    contenders: dict[str, Callable[[pa.Table], Any]] = {
        f"{OURS}, {ours.kernels.name}": ours,
        "torch as it comes, fp32": forward(as_it_comes),
    }
    for precision in ("fp32", "int8"):
        session = OnnxModel(folder / f"{precision}.onnx", config)
        contenders[f"ONNX Runtime, {precision}"] = forward(as_it_comes, session)
    if importlib.util.find_spec("openvino"):
        compiled = OpenVinoModel(folder / "fp32.onnx", config, devices.num_local_cpus())
        contenders[f"OpenVINO, {compiled.precision}"] = forward(as_it_comes, compiled)
    else:
        print("OpenVINO is not installed: pip install openvino in an environment of its own")
    return contenders


def seconds_of(run: Callable[[pa.Table], Any], table: pa.Table) -> float:
    """Return the seconds that all windows take."""
    started = time.perf_counter()
    for _ in run(table):
        pass
    return time.perf_counter() - started


def process_main(settings: Any, rank: int, count: int, barrier: Any, results: Any) -> None:
    """Run every count-th window in this process, with its share of the threads."""
    from qa_lib.machines import devices
    from qa_lib.models.inference import Forward

    table = windows_of(settings)
    threads = max(1, devices.num_local_cpus() // count)
    size = settings.evaluate.batch_size
    forward = Forward(settings.model.name, batch_size=size, num_threads=threads, casts=True)
    part = table.take(list(range(rank, table.num_rows, count)))
    seconds_of(forward, part.slice(0, size))
    barrier.wait()
    results.put(seconds_of(forward, part))


def processes(settings: Any, count: int) -> float:
    """Return the seconds of the slowest of some processes that share the windows."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(count), context.SimpleQueue()
    started = [
        context.Process(target=process_main, args=(settings, rank, count, barrier, results))
        for rank in range(count)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise RuntimeError("a process failed; its message is above")
    return max(float(results.get()) for _ in started)


def main(argv: list[str]) -> None:
    """Measure in turns, and print both tables."""
    _runner.quiet_libraries()
    from qa_lib import config
    from qa_lib.machines import devices

    settings = config.parse("evaluate", with_real_squad(argv))
    table = windows_of(settings)
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        contenders = contenders_of(settings, Path(folder))
        for run in contenders.values():
            seconds_of(run, table.slice(0, settings.evaluate.batch_size))
        for _ in range(NUM_TURNS):
            for name, run in contenders.items():
                seconds.setdefault(name, []).append(seconds_of(run, table))
    ours = next(iter(seconds.values()))
    print(f"{table.num_rows:,} windows in batches of {settings.evaluate.batch_size}")
    for name, values in seconds.items():
        ratio = statistics.median(b / a for a, b in zip(ours, values, strict=True))
        speed = table.num_rows / statistics.median(values)
        print(f"{name:<40} {speed:>8.1f} windows/s   this suite is {ratio:.2f}x as fast")
    num_cpus = devices.num_local_cpus()
    for count in dict.fromkeys((1, num_cpus)):
        values = [processes(settings, count) for _ in range(NUM_TURNS)]
        print(
            f"{count} process{'es' * (count > 1)} of {max(1, num_cpus // count)} threads: "
            f"{table.num_rows / statistics.median(values):.1f} windows/s"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
