"""One-shot scores: sizes cut from shared calibration, spread over actors on all nodes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import get_args

import pyarrow as pa

from qa_lib import models
from qa_lib.adjust import SharedCalibration, Sizes
from qa_lib.adjust.calibrate import Batch
from qa_lib.adjust.divergence import Reference
from qa_lib.config import AdjustSettings, Settings
from qa_lib.machines.actors import ActorPool, Crew, Work
from qa_lib.models.kernels import Workload, choose
from qa_lib.search.journal import Journal, Measure

_SIZES_PER_TASK = 4
_WORST = 1e6  # divergence of logits that are not finite: such a model comes last


@dataclass(frozen=True, eq=False)
class ScoringTask:
    """What an actor needs to score sizes.

    Attributes:
        parent: Name of the model that is cut.
        adjust: How units are scored and refitted.
        seed: Of the parent's head, where it has none, and of `random` importance.
        device: cpu or cuda.
        calibration: Windows to calibrate on.
        held_out: Windows to compare the cut model with its parent on.
    """

    parent: str
    adjust: AdjustSettings
    seed: int
    device: str
    calibration: list[Batch]
    held_out: list[Batch]


class Scorer:
    """Scores sizes on actors; what the journal knows is not computed again."""

    def __init__(self, crew: Crew, journal: Journal) -> None:
        """Take actors that hold the parent, and the journal."""
        self._crew, self._journal = crew, journal

    def __call__(self, sizes: Sequence[Sizes], measure: Measure = "divergence") -> list[float]:
        """Return the divergence of each from the parent's answers on held-out windows.

        With `agreement`, return how far they agree with the parent's, at most 1.
        """
        known = self._journal.scores[measure]
        new = [one for one in dict.fromkeys(sizes) if one not in known]
        parts = [new[at : at + _SIZES_PER_TASK] for at in range(0, len(new), _SIZES_PER_TASK)]
        rows = [[json.dumps(asdict(one)) for one in part] for part in parts]
        tasks = [pa.table({"sizes": pa.array(part, pa.string())}) for part in rows]
        results = self._crew.run(tasks, title="one-shot cuts", unit="sizes") if tasks else ()
        for part, result in zip(parts, results, strict=True):
            for each in get_args(Measure):  # one pass gives both
                self._journal.scored(each, part, result[each].to_pylist())
        return [known[one] for one in sizes]


@contextmanager
def scorer(settings: Settings, task: ScoringTask, journal: Journal) -> Iterator[Scorer]:
    """Start the actors, at least one on every node, and stop them in the end.

    A lost node costs what its actor was scoring.

    Raises:
        ResourceError: The cluster cannot hold them.
    """
    import ray

    pool = ActorPool.of(settings)
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    if task.device == "cpu" and settings.evaluate.num_actors is None:
        num_actors = max(pool.num_actors, len(nodes))
        num_cpus = sum(node["Resources"]["CPU"] for node in nodes)
        pool = replace(pool, num_actors=num_actors, num_threads=max(1, int(num_cpus / num_actors)))
    with pool.hold(partial(load_scorer, task)) as crew:
        yield Scorer(crew, journal)


def load_scorer(task: ScoringTask, num_threads: int) -> Work:
    """Load the parent, and return what scores a table of sizes."""
    import torch

    torch.set_num_threads(num_threads)
    parent = models.load(task.parent, seed=task.seed)
    parent.to(task.device)  # type: ignore[arg-type]
    shared = SharedCalibration(parent, task.calibration, task.adjust, seed=task.seed)
    num_windows, num_tokens = task.held_out[0]["input_ids"].shape
    kernels = choose(
        parent.config, Workload(num_windows, num_tokens, trains=False), device=task.device
    )
    reference = Reference(parent, task.held_out, most=None, kernels=kernels)

    def score(sizes: Sizes) -> tuple[float, float]:
        divergence, agreement = reference.compare(shared.cut(sizes))
        return (divergence, agreement) if math.isfinite(divergence) else (_WORST, 0.0)

    def work(table: pa.Table) -> pa.Table:
        found = [score(Sizes.from_dict(json.loads(each))) for each in table["sizes"].to_pylist()]
        columns = zip(get_args(Measure), zip(*found, strict=True), strict=True)
        return pa.table({name: pa.array(values, pa.float64()) for name, values in columns})

    return work
