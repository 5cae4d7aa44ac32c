"""How each tracker keeps a run: MLflow, Weights & Biases, TensorBoard.

Only `tracking` uses these; each imports its package when a run begins.
"""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from qa_lib.runs import stop_signals

if TYPE_CHECKING:
    from qa_lib.runs.run_folder import RunFolder

IDS = "tracking.json"
CURVES = "tensorboard"
PROJECT = "qa-suite"
"""Experiment of MLflow and project of W&B, where the environment names none."""

Rows = Sequence[Mapping[str, Any]]


class Backend:
    """A run as a tracker keeps it."""

    def __init__(
        self,
        run: RunFolder,
        params: Mapping[str, Any],
        name: str = "",
        above: Any = None,
    ) -> None:
        """Begin a run of the tracker, or continue it where the run folder was resumed.

        Args:
            run: The run folder.
            params: Settings, by dotted names.
            name: Of a run below another one.
            above: The other one.
        """
        self._run, self._name, self._above = run, name, above
        self._below: dict[str, Self] = {}
        self._is_open = True
        self._begin(params)

    def child(self, name: str, params: Mapping[str, Any]) -> Self:
        """Return a run below this one."""
        if name not in self._below:
            self._below[name] = type(self)(self._run, params, name, self)
        return self._below[name]

    def end(self, status: str) -> None:
        """End it, and what is still open below it, with a status of result.json."""
        for each in self._below.values():
            each.end(status)
        if self._is_open:
            self._is_open = False
            self._close(status)

    def log(self, rows: Rows) -> None:
        """Take the numbers of rows, by the `step` of each."""
        raise NotImplementedError

    def keep(self, files: Path) -> None:
        """Take the files of a folder."""

    def _begin(self, params: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _close(self, status: str) -> None:
        raise NotImplementedError


class _Ids:
    """The ids of a run and those below it, kept in the run folder."""

    def __init__(self, run: RunFolder, tracker: str) -> None:
        self._run, self._tracker = run, tracker
        self._all: dict[str, dict[str, str]] = {}
        if run.resumed and run.exists(IDS):
            self._all = json.loads(run.read_text(IDS))

    def get(self, name: str) -> str | None:
        return self._all.get(self._tracker, {}).get(name)

    def keep(self, name: str, value: str) -> None:
        self._all.setdefault(self._tracker, {})[name] = value
        self._run.write_json(IDS, self._all, indent=2)


class _MLflow(Backend):
    """A run of MLflow; those below it are its nested runs."""

    def _begin(self, params: Mapping[str, Any]) -> None:
        if self._above is None:
            self._client, self._experiment = _mlflow_client()
            self._ids = _Ids(self._run, "mlflow")
            tags = {"qa.run": self._run.path}
        else:
            self._client, self._experiment = self._above._client, self._above._experiment
            self._ids = self._above._ids
            tags = {"mlflow.parentRunId": self._above.id}
        before = self._before()
        if before is None:
            tags |= {"mlflow.source.name": f"jobs.{self._run.job}", "mlflow.source.type": "JOB"}
            name = self._name or self._run.name
            made = self._client.create_run(self._experiment, run_name=name, tags=tags)
            self.id: str = made.info.run_id
            self._ids.keep(self._name, self.id)
            known: dict[str, str] = {}
        else:
            self.id, known = before.info.run_id, before.data.params
            self._client.update_run(self.id, status="RUNNING")
        self._write_params({key: _text(value) for key, value in params.items()}, known)

    def _before(self) -> Any:
        """Return the run that is to be continued, if the server has it."""
        from mlflow.exceptions import MlflowException

        known = self._ids.get(self._name)
        try:
            return None if known is None else self._client.get_run(known)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    def _write_params(self, params: dict[str, str], known: Mapping[str, str]) -> None:
        from mlflow.entities import Param, RunTag

        new = [Param(key, value) for key, value in params.items() if key not in known]
        for some in _chunks(new, 100):
            self._client.log_batch(self.id, params=some)
        # Parameters are for ever there; what a resumed run has changed is said beside them.
        changed = {key: value for key, value in params.items() if known.get(key, value) != value}
        tags = [RunTag(f"resumed.{key}", value) for key, value in changed.items()]
        self._client.log_batch(self.id, tags=tags)

    def log(self, rows: Rows) -> None:
        from mlflow.entities import Metric

        told = [
            Metric(_key(name), value, round(time_s * 1000), step)
            for step, time_s, values in _points(rows)
            for name, value in values.items()
        ]
        for some in _chunks(told, 1000):
            self._client.log_batch(self.id, metrics=some)

    def keep(self, files: Path) -> None:
        self._client.log_artifacts(self.id, str(files))

    def _close(self, status: str) -> None:
        statuses = {"done": "FINISHED", "interrupted": "KILLED"}
        self._client.set_terminated(self.id, statuses.get(status, "FAILED"))


def _mlflow_client() -> tuple[Any, str]:
    """Return the client of the environment's server or store, and the id of the experiment."""
    # Its patience of minutes would look as if the job hung.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    client = MlflowClient()
    if given := os.environ.get("MLFLOW_EXPERIMENT_ID"):
        return client, given
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    found = client.get_experiment_by_name(name)
    return client, found.experiment_id if found else client.create_experiment(name)


class _WandB(Backend):
    """A run of W&B; those below it are runs of its group."""

    def _begin(self, params: Mapping[str, Any]) -> None:
        import wandb

        run, name = self._run, self._name
        self._ids: _Ids = _Ids(run, "wandb") if self._above is None else self._above._ids
        known = self._ids.get(name)
        if known is None:
            known = uuid.uuid4().hex[:12]
            self._ids.keep(name, known)
        # The first one starts a process, which must not see Ctrl-C before the run has ended.
        is_first = self._above is None
        with stop_signals.held_back(inherited=True) if is_first else nullcontext():
            self._wandb = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                id=known,
                resume="allow",
                name=name or run.name,
                group=run.name,
                job_type=name.partition("-")[0] or run.job,
                reinit="create_new",
                settings=wandb.Settings(console="off", silent=True, init_timeout=30),
            )
        self._wandb.config.update(dict(params), allow_val_change=True)
        # Its own steps may only rise, but a run takes some again after a crash.
        self._wandb.define_metric("step", hidden=True)
        self._wandb.define_metric("*", step_metric="step")
        if is_first and self._wandb.url:
            print(f"tracked at {self._wandb.url}", file=sys.stderr)

    def log(self, rows: Rows) -> None:
        for step, _, values in _points(rows):
            self._wandb.log({**values, "step": step})

    def keep(self, files: Path) -> None:
        import wandb

        artifact = wandb.Artifact(self._run.name, type=self._run.job)
        artifact.add_dir(str(files))
        self._wandb.log_artifact(artifact)

    def _close(self, status: str) -> None:
        self._wandb.finish(exit_code=0 if status == "done" else 1)


class _TensorBoard(Backend):
    """Curves in the run folder."""

    def _begin(self, params: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(f"{self._run.root}/{CURVES}/{self._name}".rstrip("/"))
        if params:
            lines = [f"    {key}: {_text(value)}" for key, value in params.items()]
            self._writer.add_text("settings", "\n".join(lines))

    def log(self, rows: Rows) -> None:
        for step, time_s, values in _points(rows):
            for name, value in values.items():
                self._writer.add_scalar(name, value, step, walltime=time_s)

    def _close(self, status: str) -> None:
        self._writer.close()


BACKENDS: dict[str, type[Backend]] = {
    "mlflow": _MLflow,
    "wandb": _WandB,
    "tensorboard": _TensorBoard,
}
PACKAGES = {"mlflow": "mlflow-skinny", "wandb": "wandb", "tensorboard": "tensorboard"}
REMEDIES = {
    "mlflow": "Look at MLFLOW_TRACKING_URI and the server there, or leave --track away.",
    "wandb": "Run `wandb login`, or set WANDB_MODE=offline, or leave --track away.",
    "tensorboard": "Look at the run folder, or leave --track away.",
}


def _points(rows: Rows) -> Iterator[tuple[int, float, dict[str, float]]]:
    """Yield step, time and numbers of rows."""
    now = time.time()
    for row in rows:
        numbers = {name: float(value) for name, value in row.items() if is_number(value)}
        step = int(numbers.pop("step"))
        yield step, numbers.pop("time", now), numbers


def is_number(value: Any) -> bool:
    """Whether a value is a number that a curve can show."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def _key(name: str) -> str:
    """Return a name as MLflow allows it."""
    return "".join(each if each.isalnum() or each in "_-. /" else "_" for each in name)


def _text(value: Any) -> str:
    """Return a value as MLflow keeps it, which cuts none itself but refuses it."""
    return (value if isinstance(value, str) else json.dumps(value, default=str))[:6000]


def _chunks(values: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    return (values[first : first + size] for first in range(0, len(values), size))
