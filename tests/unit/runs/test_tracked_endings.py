"""What a tracker is told of a run whose folder goes again: its own end, and of no other run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from qa_lib.config import Settings
from qa_lib.errors import DataError
from qa_lib.runs import tracking
from qa_lib.runs.result import Evaluated
from qa_lib.runs.run_folder import RunFolder
from qa_lib.runs.trackers import Backend, Rows


class Recorder(Backend):
    """A tracker that notes what it is told, and whether the run's folder was its own then."""

    told: list[tuple[str, Any]] = []

    def _begin(self, params: Mapping[str, Any]) -> None:
        self.told.append(("seed", params["seed"]))

    def log(self, rows: Rows) -> None:
        self.told += [("f1", row["f1"]) for row in rows if "f1" in row]

    def keep(self, files: Path) -> None:
        self.told.append(("files", sorted(path.name for path in files.iterdir())))

    def _close(self, status: str) -> None:
        at_hand = f"seed: {self.told[0][1]}\n" in self._run.read_text("config.yaml")
        self.told.append((status, at_hand))


def do(settings: Settings, error: BaseException | None = None) -> list[tuple[str, Any]]:
    """Do what a job does, and return what the tracker was told."""
    Recorder.told = []
    with ExitStack() as tracked:
        with RunFolder.open(settings, "train") as run:
            run.tracker = tracked.enter_context(tracking.start(settings, run))
            if error is not None:
                raise error
            run.write_result(Evaluated(f1=80.0))
    return Recorder.told


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize(
    ("error", "status"),
    [(DataError("no file", "x"), "failed"), (KeyboardInterrupt(), "interrupted")],
)
def test_a_run_that_left_no_folder_is_told_without_those_of_another(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overwrite: bool,
    error: BaseException,
    status: str,
):
    monkeypatch.setitem(tracking.BACKENDS, "tensorboard", Recorder)
    first = Settings(storage=str(tmp_path), run_name="mine", track="tensorboard", seed=1)
    if overwrite:
        files = ("files", ["config.yaml", "result.json"])
        assert do(first) == [("seed", 1), ("f1", 80.0), files, ("done", True)]
    with pytest.raises(type(error)):
        do(first.model_copy(update={"overwrite": overwrite, "seed": 2}), error)
    told = Recorder.told
    if not overwrite and status == "interrupted":  # its folder stays, with what it says
        assert told.pop(1) == ("files", ["config.yaml", "result.json"])
    assert told == [("seed", 2), (status, True)]
