"""What a driver does while a node of its cluster is killed.

tests/cluster/test_node_loss.py runs it:

    [NUM_SIZES=1000] python -m tests.support.node_loss pool|monitor|scores|trials
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from transformers import BertConfig, BertForQuestionAnswering

from qa_lib import config as settings
from qa_lib import models
from qa_lib.adjust import Sizes
from qa_lib.config import AdjustSettings
from qa_lib.data import load_questions
from qa_lib.machines.actors import ActorPool, Work
from qa_lib.machines.ray_session import start_ray
from qa_lib.runs.run_folder import RunFolder
from qa_lib.search.explore import rank
from qa_lib.search.halving import Job, Outcome
from qa_lib.search.journal import JOURNAL, Journal, Measure
from qa_lib.search.scoring import ScoringTask, scorer
from qa_lib.search.space import Setting
from qa_lib.search.trainable import Rung
from qa_lib.search.tuner import run_trials
from qa_lib.training.monitor import start_monitor
from tests.support import tiny_search
from tests.support.adjust_models import windows

NUM_TASKS = 60
NUM_SIZES = int(os.environ.get("NUM_SIZES", "1000"))
ROW_BYTES = 2**20  # a result beyond 100 KiB stays on the node that made it


def here() -> str:
    """Return the id of this process's node."""
    return ray.get_runtime_context().get_node_id()


def load(num_threads: int) -> Work:
    """Return work that takes its time and makes a large result, which names its node."""

    def work(task: pa.Table) -> pa.Table:
        time.sleep(0.2)
        return task.append_column("node", [[here()]]).append_column("bulk", [[bytes(ROW_BYTES)]])

    return work


def pool() -> None:
    """Work through tasks on two nodes, one of which is killed once both have worked."""
    tasks = [pa.table({"n": [number]}) for number in range(NUM_TASKS)]
    results, is_told = [], False
    for result in ActorPool("cpu", 2, 1, 0).run(load, tasks, title="working", unit="rows"):
        results.append(result.select(["n", "node"]).to_pylist()[0])
        nodes = {row["node"] for row in results}
        if not is_told and len(nodes) == 2:
            is_told = True
            print("kill", flush=True)
            sys.stdin.readline()
    assert [row["n"] for row in results] == list(range(NUM_TASKS))


def monitor() -> None:
    """Start monitors, kill one's process, and have all answer after the other node is gone."""

    def where(_: Any) -> tuple[str, int]:
        return here(), os.getpid()

    monitors: list[Any] = [start_monitor() for _ in range(6)]
    places = ray.get([each.__ray_call__.remote(where) for each in monitors])
    assert {node for node, _ in places} == {here()}
    os.kill(places[0][1], signal.SIGKILL)
    print("kill", flush=True)
    sys.stdin.readline()
    assert ray.get([each.drain.remote() for each in monitors], timeout=60) == [[]] * 6


class Telling(Journal):
    """Asks for a node to be killed once a tenth of the sizes are scored."""

    is_told = False

    def scored(self, measure: Measure, sizes: Sequence[Sizes], scores: Sequence[float]) -> None:
        """Record scores."""
        super().scored(measure, sizes, scores)
        if len(self.scores[measure]) >= NUM_SIZES // 10 and not self.is_told:
            self.is_told = True
            print("kill", flush=True)
            sys.stdin.readline()


def scores() -> None:
    """Score NUM_SIZES one-shot cuts of a tiny model over both nodes; one is killed meanwhile."""
    widths = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 24}
    config = BertConfig(vocab_size=64, num_hidden_layers=4, max_position_embeddings=40, **widths)
    sets = [kept for count in (1, 2, 3, 4) for kept in combinations(range(4), count)]
    shapes = product(sets, ((32, 4), (24, 3), (16, 2)), range(1, 25))
    every = [Sizes(kept, *stream, width) for kept, stream, width in shapes][:NUM_SIZES]
    with TemporaryDirectory() as folder:
        torch.manual_seed(0)
        models.save(
            BertForQuestionAnswering(config), models.load_tokenizer("embedded"), f"{folder}/parent"
        )
        batches = [windows(seed=1), windows(seed=2)]
        task = ScoringTask(f"{folder}/parent", AdjustSettings(), 0, "cpu", batches, batches)
        journal = Telling(RunFolder(folder, "tune"))
        with scorer(settings.parse("tune", []), task, journal) as score:
            found = score(every)
        events = RunFolder(folder, "tune").read_text(JOURNAL).splitlines()
    rows = [event for line in events if (event := json.loads(line))["measure"] == "divergence"]
    told = [score for row in rows for score in row["scores"]]
    assert told == found and len(told) == NUM_SIZES, "a size was scored twice, or not at all"


class Placed(Rung):
    """Leaves the id of its node, and has the first one wait for another on a second node."""

    def run_job(self, job: Job, setting: Setting) -> Outcome:
        """Run a rung, and return its outcome."""
        nodes = Path(self.task.run_path) / "nodes"
        nodes.mkdir(exist_ok=True)
        (nodes / here()).touch()
        while len(list(nodes.iterdir())) < 2:
            time.sleep(0.05)
        time.sleep(1.0)
        return super().run_job(job, setting)


@ray.remote(num_cpus=1.5)
class Filler:
    """Takes most of a node of two CPUs."""


def trials() -> None:
    """Run the trials of a search over both nodes; one is killed while it has some."""
    with TemporaryDirectory() as name:
        folder, more = Path(name), ("--search.num-trials", "8", "--search.max-concurrent", "6")
        wish = settings.parse("tune", [*tiny_search.one_shot_flags(folder), *more])
        tiny_search.write_parent(folder / "parent", load_questions(wish.data, "holdout").titles)
        with RunFolder.open(wish, "tune") as run:
            found = rank(wish, run)
            ids = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
            # Tune fills a node before it takes another: leave each room for one trial.
            fillers: list[Any] = [
                Filler.options(
                    scheduling_strategy=NodeAffinitySchedulingStrategy(each, soft=False)
                ).remote()
                for each in ids
            ]
            ray.get([each.__ray_ready__.remote() for each in fillers])

            def tell() -> None:
                while not all(run.exists(f"nodes/{each}") for each in ids):
                    time.sleep(0.05)
                print("kill", flush=True)

            threading.Thread(target=tell, daemon=True).start()
            arguments = found.task, found.journal, found.rule, found.space
            run_trials(*arguments, run=run, num_concurrent=6, trainable=Placed)
            lines = map(json.loads, run.read_text(JOURNAL).splitlines())
            rungs = [(e["number"], e["rung"]) for e in lines if e["event"] == "finished"]
        assert len(ids) == 2 and len(rungs) == len(set(rungs)), "a rung was repeated"
        assert len(found.journal.trials) == 9
        assert not any(trial.error or trial.rung < 0 for trial in found.journal.trials)


if __name__ == "__main__":
    start_ray()
    {"pool": pool, "monitor": monitor, "scores": scores, "trials": trials}[sys.argv[1]]()
    print("done")
