"""Where Ray Train enters a rank."""

from __future__ import annotations

from typing import Any


def run_rank(config: dict[str, Any]) -> None:
    """Run one rank of the group; `config` holds the TrainTask.

    What Ray Train is handed: its driver and controller import this module, and only the ranks the
    one that needs torch, transformers and DeepSpeed.
    """
    from qa_lib.training import worker

    worker.train(config["task"])
