"""Scores of held-out articles during training: the best model is kept, and may end the run.

All ranks read the windows together, through the engine, so that this takes no second copy of the
model and works at every ZeRO stage. A checkpoint follows every evaluation and records them all: a
resumed run knows the best one and goes on as an undisturbed one would.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import torch.distributed as dist
from safetensors import SafetensorError

from qa_lib import windows
from qa_lib.models.inference import read_windows
from qa_lib.runs import storage
from qa_lib.runs.checkpoints import Checkpoint
from qa_lib.runs.run_folder import RunFolder
from qa_lib.training.best import EVALUATIONS, best_folder, best_of
from qa_lib.training.group import agree, gather

if TYPE_CHECKING:
    from qa_lib.data import Questions
    from qa_lib.training.engine import Engine
    from qa_lib.training.task import TrainTask

_KEPT = 2  # models: the checkpoint before the last one may know another as the best


class Judge(Protocol):
    """Scores a model on held-out questions; `evaluation.HeldOutJudge` is one."""

    @property
    def questions(self) -> Questions:
        """What the model is to answer."""

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of everything that its scores depend on but the model."""

    def find(self, forward: Any, table: pa.Table) -> Iterator[pa.Table]:
        """Yield the best spans of windows; `forward` is called as a `Forward`."""

    def score(self, candidates: pa.Table) -> dict[str, float]:
        """Return `f1` and `em`, 0 to 100, given the spans of all windows."""


class HeldOut:
    """A rank's share of the evaluations, and what is known of them; all ranks call it alike.

    Attributes:
        history: An entry per evaluation, the same on every rank: `step`, `f1`, `em` and whether it
            was the `best` so far.
    """

    def __init__(
        self,
        task: TrainTask,
        engine: Engine,
        pad: windows.PadSpec,
        save: Callable[[dict[str, Any], str], None],
    ) -> None:
        """Fetch the windows; without a judge in the task nothing is ever due.

        Args:
            task: Of the run.
            engine: Holds the model.
            pad: The tokenizer's padding.
            save: Writes a model of these weights into a local folder.
        """
        self._task, self._engine, self._pad, self._save = task, engine, pad, save
        self._run = RunFolder(task.run_path, "train")
        self.history: list[dict[str, Any]] = []
        self._table: pa.Table | None = None
        if task.judge is not None and task.held_out is not None:
            import ray

            self._table = pa.concat_tables(ray.get(task.held_out.blocks))

    def restore(self, found: Checkpoint | None) -> None:
        """Continue from the evaluations that a checkpoint records."""
        self.history = list(found.meta.get(EVALUATIONS, [])) if found else []

    def is_due(self, num_steps: int) -> bool:
        """Say whether an evaluation is due since the last one, now or after a step before."""
        every, last_step = self._task.settings.train.evaluate_every, self._task.last_step
        if self._table is None or every is None:
            return False
        evaluated = self.history[-1]["step"] if self.history else 0
        return num_steps // every > evaluated // every or evaluated < num_steps == last_step

    @property
    def is_over(self) -> bool:
        """Whether `train.patience` evaluations in a row were no better than the best."""
        patience = self._task.settings.train.patience
        since = len(self.history) - 1 - self.history.index(best) if (best := self.best) else 0
        return patience is not None and since >= patience

    @property
    def best(self) -> dict[str, Any] | None:
        """The best evaluation; of equal ones the first."""
        return best_of(self.history)

    def evaluate(self, *, removes: bool = True) -> dict[str, Any]:
        """Score the model, keep it if it is the best so far, and return fields for its step.

        What prevents keeping it is in the field `problem`; then it does not count as the best.

        Args:
            removes: Whether models go that were the best earlier: not while the last checkpoint
                could not be stored, for one before it may know them.
        """
        judge, step = self._task.judge, self._engine.step_number
        assert judge is not None and self._table is not None
        parts = gather(list(judge.find(self._forward, self._table)))
        entry: dict[str, Any] = {"step": step}
        if dist.get_rank() == 0:
            entry |= judge.score(pa.concat_tables(part for rank in parts for part in rank))
        entry = agree(entry)
        is_best = self.best is None or entry["f1"] > self.best["f1"]
        problem = self._keep(step, removes=removes) if is_best else ""
        self.history.append(entry | {"best": is_best and not problem})
        return {
            "held_out_f1": entry["f1"],
            "held_out_em": entry["em"],
            "best": self.history[-1]["best"],
            **({"problem": problem} if problem else {}),
        }

    def facts(self) -> dict[str, Any]:
        """Return fields for result.json; none without an evaluation."""
        if self.best is None:
            return {}
        return {
            "num_evaluations": len(self.history),
            "evaluations": [
                {name: entry[name] for name in ("step", "f1", "em")} for entry in self.history
            ],
            "best_step": self.best["step"],
            "best_held_out_f1": self.best["f1"],
            "best_held_out_em": self.best["em"],
            "stopped_early": self._engine.step_number < self._task.last_step,
        }

    def write_model(self) -> None:
        """Make the best model that of the run."""
        assert self.best is not None
        with tempfile.TemporaryDirectory(prefix="qa-model-") as folder:
            self._run.get_folder(folder, best_folder(self.best["step"]))
            self._run.put_folder(folder, "model")

    def _keep(self, step: int, *, removes: bool) -> str:
        """Write the model as the best so far; return what prevents it, or ""."""
        weights = self._engine.gather_weights()
        problem = ""
        if weights:  # on the main rank
            try:
                with tempfile.TemporaryDirectory(prefix="qa-model-") as folder:
                    self._save(weights, folder)
                    self._run.put_folder(folder, best_folder(step))
                if removes:
                    self._remove_older(step)
            except (OSError, SafetensorError) as error:
                problem = storage.first_line(error)
        return str(agree(problem))

    def _remove_older(self, step: int) -> None:
        """Remove the models that no checkpoint calls the best."""
        best = [entry["step"] for entry in self.history if entry["best"]]
        for old in [*best, step][:-_KEPT]:
            self._run.remove(best_folder(old))

    def _forward(self, table: pa.Table) -> Iterator[tuple[pa.Table, Any, Any]]:
        """Read this rank's share of the windows, as `Forward` does.

        Under ZeRO 3 all ranks read together: one without a window left reads another's.
        """
        size = self._task.settings.evaluate.batch_size
        order = np.argsort(-windows.lengths(table), kind="stable")
        rank, world_size = dist.get_rank(), dist.get_world_size()
        with self._engine.reading() as model:
            for first in range(0, len(order), size * world_size):
                mine = order[first + rank * size : first + (rank + 1) * size]
                rows = table.take(pa.array(mine if len(mine) else order[:1]))
                start_logits, end_logits = read_windows(rows, self._pad, self._engine.device, model)
                if len(mine):
                    yield rows, start_logits, end_logits
