"""The speed of more workers: one and two measured here, 8, 64 and 512 GPUs calculated.

    python -m benchmarks.scaling
    python -m benchmarks.scaling --data.source ~/squad --train.max-steps 20

Measured: one process and two, each with one thread and eight windows of about 170 tokens a step;
windows per second, bytes of state per rank, the bytes that DeepSpeed's communication logger counts
in the collectives of a step, and by how much a step of two is longer than a step of one. (The
logger's own times accumulate over calls; they are not used.) Then an all-reduce of the gradients
alone, and the speed at which Ray Data delivers the plan's windows to a rank that does not train.

Calculated: seconds, dollars and rates for two epochs of SQuAD, from the assumptions in `MACHINES`
and cluster/prices.yaml; docs/results/scaling.md discusses them.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._squad import with_real_squad
from jobs import _runner

FLAGS = """
    --data.train-limit 600 --train.max-steps 9 --train.dropout 0 --train.precision fp32
    --train.no-freeze-embeddings
""".split()
WINDOWS_PER_RANK = 8
NUM_WARM_STEPS = 3
STAGES = (0, 2, 3)
NUM_TURNS = 2
NUM_ALL_REDUCES = 5
WINDOW_TOKENS = 170  # the mean of SQuAD
NUM_SQUAD_WINDOWS = 88_524  # of its training questions, at 384 tokens and stride 128
NUM_GPUS = (1, 8, 64, 512)


@dataclass(frozen=True)
class Machine:
    """Assumptions about a kind of GPU and the network between its machines.

    Attributes:
        gpu: One of `devices.GPUS`.
        gpus_per_node: GPUs of one machine.
        node_gigabits: Network between machines, each direction, in 1e9 bits per second.
        inside_gigabytes: Between the GPUs of one machine, in 1e9 bytes per second.
        link_efficiency: Part of the link speeds that a ring all-reduce reaches.
        latency_s: Of one hop of a ring, in seconds.
    """

    gpu: str
    gpus_per_node: int
    node_gigabits: float
    inside_gigabytes: float
    link_efficiency: float = 0.6
    latency_s: float = 30e-6


# n1-standard-8 with one T4; a2-highgpu-8g with eight A100.
MACHINES = (Machine("T4", 1, 16, 12), Machine("A100", 8, 100, 240))


def rank_main(folder: Path, rank: int, world_size: int, stage: int) -> None:
    """Train as one rank of a gloo group, and write the measurements to the folder."""
    import torch.distributed as dist

    from benchmarks._work import batches_of, engine_here, prepare
    from qa_lib import config, models
    from qa_lib.training.loop import take_steps

    batch = WINDOWS_PER_RANK * world_size
    settings = config.parse(
        "train",
        [
            *json.loads((folder / "flags.json").read_text()),
            *("--train.zero-stage", str(stage), "--train.num-workers", str(world_size)),
            *("--train.global-batch", str(batch), "--train.micro-batch", str(WINDOWS_PER_RANK)),
        ],
    )
    work = alike(prepare(settings), batch, settings)
    store = dist.FileStore(str(folder / f"store-{world_size}-{stage}"), world_size)
    group = {"store": store, "rank": rank, "world_size": world_size}
    engine = engine_here(settings, work.plan, "fp32", 1, **group)
    import deepspeed

    batches = batches_of(settings, work, rank=rank, world_size=world_size)
    take_steps(engine, batches, NUM_WARM_STEPS)
    deepspeed.comm.configure(enabled=True, prof_all=True, verbose=False)
    dist.barrier()
    started = time.perf_counter()
    take_steps(engine, batches, work.plan.num_steps)
    num_timed = work.plan.num_steps - NUM_WARM_STEPS
    mean_s = (time.perf_counter() - started) / num_timed
    logged = deepspeed.comm.comm.comms_logger.comms_dict
    found = {
        "seconds": mean_s,
        "windows_per_s": batch / mean_s,
        "state_bytes": sum(engine.num_state_bytes().values()),
        "collectives": collectives(logged, num_timed),
        "all_reduce_s": all_reduce_seconds(models.num_parameters(engine.model)),
    }
    (folder / f"{world_size}-{stage}-{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def alike(work: Any, batch: int, settings: Any) -> Any:
    """Keep the windows nearest to `WINDOW_TOKENS`, so that all workers' steps are alike."""
    import numpy as np
    import pyarrow as pa

    from qa_lib import training, windows

    distance = np.abs(windows.lengths(work.table) - WINDOW_TOKENS)
    nearest = np.sort(np.argsort(distance, kind="stable")[: batch * settings.train.max_steps])
    table = work.table.take(pa.array(nearest))
    return work._replace(table=table, plan=training.plan_of(settings, windows.lengths(table)))


def collectives(logged: dict[str, Any], num_steps: int) -> dict[str, float]:
    """Return each collective's bytes per step, from DeepSpeed's logger.

    Args:
        logged: Operation to message bytes to [count, ...].
        num_steps: Steps logged.
    """
    return {
        operation: sum(size * entry[0] for size, entry in sizes.items()) / num_steps
        for operation, sizes in logged.items()
    }


def all_reduce_seconds(num_elements: int) -> float:
    """Return the median seconds of an all-reduce of float32 gradients alone."""
    import torch
    import torch.distributed as dist

    gradients, seconds = torch.ones(num_elements), []
    for _ in range(NUM_ALL_REDUCES):
        dist.barrier()
        started = time.perf_counter()
        dist.all_reduce(gradients)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def measure(folder: Path, world_size: int, stage: int) -> dict[str, Any]:
    """Run a group of processes; return rank 0's figures."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--rank-of", str(folder)]
    store = folder / f"store-{world_size}-{stage}"
    store.unlink(missing_ok=True)
    ranks = [
        subprocess.Popen([*command, str(rank), str(world_size), str(stage)])
        for rank in range(world_size)
    ]
    if any([process.wait() for process in ranks]):
        raise RuntimeError("a rank failed; its message is above")
    found: dict[str, Any] = json.loads((folder / f"{world_size}-{stage}-0.json").read_text())
    return found


def delivery_rate(settings: Any) -> float:
    """Return the windows per second that Ray Data delivers to one rank that does not train."""
    from qa_lib import training, windows
    from qa_lib.data import load_questions
    from qa_lib.machines.ray_session import start_ray
    from qa_lib.training import dataset
    from qa_lib.training.planned_data import PlannedData

    start_ray()
    questions = load_questions(settings.data, "train")
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    window_set = dataset.tokenize(questions.table, settings.model.name, spec, offsets=False)
    plan = training.plan_of(settings, window_set.lengths)
    count, started = 0, 0.0
    for batch in PlannedData.of(window_set, plan).of_rank(plan, 0, 0, 1, WINDOWS_PER_RANK):
        started = started or time.perf_counter()  # the first batch has Ray Data's start in it
        count += batch.num_rows
    return (count - WINDOWS_PER_RANK) / (time.perf_counter() - started)


def step_seconds(
    machine: Machine, num_gpus: int, per_gpu: int, window_flops: float, gradient_bytes: int
) -> tuple[float, float]:
    """Return the seconds of a step's arithmetic and of its ring all-reduce.

    A ring of n ranks moves 2 (n - 1) / n times the gradients over each link, in 2 (n - 1) hops; all
    GPUs of a machine share its network.

    Source:
        Patarasuk and Yuan 2009, bandwidth optimal all-reduce.
    """
    from qa_lib.machines.devices import flops_per_second

    compute = per_gpu * window_flops / flops_per_second("cuda", "fp16", machine.gpu)
    if num_gpus == 1:
        return compute, 0.0
    leaves_node = num_gpus > machine.gpus_per_node
    speed = machine.node_gigabits / 8 if leaves_node else machine.inside_gigabytes
    moved = 2 * (num_gpus - 1) / num_gpus * gradient_bytes
    transfer = moved / (speed * 1e9 * machine.link_efficiency)
    return compute, transfer + 2 * (num_gpus - 1) * machine.latency_s


def on_paper(num_windows: int, window_flops: float, num_parameters: int) -> str:
    """Return the calculated table for 1, 8, 64 and 512 GPUs, in Markdown."""
    from cluster.submit import dollars_per_hour

    lines = [
        "| GPUs | windows of each per step | arithmetic | all-reduce | windows/s | of linear |"
        " seconds for 2 epochs | read, MB/s | cost, on demand |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    gradient_bytes = 2 * num_parameters  # fp16
    for machine in MACHINES:
        for per_gpu in (8, 64):
            alone = None
            for num_gpus in NUM_GPUS:
                compute, reduce = step_seconds(
                    machine, num_gpus, per_gpu, window_flops, gradient_bytes
                )
                rate = num_gpus * per_gpu / (compute + reduce)
                alone = alone or rate
                seconds = 2 * num_windows / rate
                num_nodes = -(-num_gpus // machine.gpus_per_node)
                hourly = dollars_per_hour(machine.gpu, num_gpus, num_nodes)
                assert hourly is not None, f"cluster/prices.yaml has no price of a {machine.gpu}"
                lines.append(
                    f"| {num_gpus} {machine.gpu} | {per_gpu} | {compute * 1e3:.1f} ms |"
                    f" {reduce * 1e3:.1f} ms | {rate:,.0f} | {rate / alone / num_gpus:.0%} |"
                    f" {seconds:,.0f} | {rate * WINDOW_TOKENS * 4 / 1e6:.1f} |"
                    f" ${hourly['on_demand'] * seconds / 3600:.2f} |"
                )
    return "\n".join(lines)


def main() -> None:
    """Measure, and print both tables."""
    if sys.argv[1:2] == ["--rank-of"]:
        folder, rank, world_size, stage = sys.argv[2:]
        rank_main(Path(folder), int(rank), int(world_size), int(stage))
        return
    _runner.quiet_libraries()
    from qa_lib import config, models

    flags = with_real_squad([*FLAGS, *sys.argv[1:]])
    settings = config.parse("train", flags)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "flags.json").write_text(json.dumps(flags))
        turns: dict[tuple[int, int], list[dict[str, Any]]] = {}
        for _ in range(NUM_TURNS):
            for world_size, stage in ((1, 0), *((2, stage) for stage in STAGES)):
                turns.setdefault((world_size, stage), []).append(measure(folder, world_size, stage))
    print(measured_table(turns))
    print(f"\nRay Data to one rank that does not train: {delivery_rate(settings):,.0f} windows/s")
    model = models.load_empty(settings.model.name)
    flops = 6 * models.num_matrix_parameters(model) * WINDOW_TOKENS
    print(f"\non paper: {flops / 1e9:.1f} GFLOP a window of {WINDOW_TOKENS} tokens, both passes\n")
    print(on_paper(NUM_SQUAD_WINDOWS, flops, models.num_parameters(model)))


def measured_table(turns: dict[tuple[int, int], list[dict[str, Any]]]) -> str:
    """Return the measured table, in Markdown: medians of the turns and their range."""
    alone = statistics.median(each["windows_per_s"] for each in turns[1, 0])
    alone_s = statistics.median(each["seconds"] for each in turns[1, 0])
    lines = [
        "| workers, one thread each | ZeRO | windows/s | of one worker's | a step longer by |"
        " MiB of state per rank | MiB of a step's collectives |",
        "|---|---|---|---|---|---|---|",
    ]
    for (world_size, stage), results in turns.items():
        rates = sorted(each["windows_per_s"] for each in results)
        middle = statistics.median(rates)
        seconds = statistics.median(each["seconds"] for each in results)
        moved = [
            f"{operation} {num_bytes / 2**20:.1f}"
            for operation, num_bytes in results[0]["collectives"].items()
            if num_bytes > 2**20
        ]
        lines.append(
            f"| {world_size} | {stage} | {middle:.2f} ({rates[0]:.2f} to {rates[-1]:.2f}) |"
            f" {middle / alone:.2f} | {(seconds - alone_s) * 1e3:.0f} ms |"
            f" {results[0]['state_bytes'] / 2**20:.1f} | {', '.join(moved) or 'none'} |"
        )
    reduced = statistics.median(
        each["all_reduce_s"] for key, results in turns.items() if key[0] > 1 for each in results
    )
    lines.append(
        f"\nall-reduce of the gradients alone, between two processes: {reduced * 1e3:.0f} ms"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
