"""What speeds are measured on: PyTorch on a CPU or a GPU, or onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from qa_lib.config import Settings
from qa_lib.errors import ConfigError, ResourceError
from qa_lib.machines.allocation import allocate, capacity, growth

AsOnnx = Callable[..., Any]
"""Turns a model on the CPU into one that onnxruntime runs: `(model, int8=...)`."""


@dataclass(frozen=True)
class Target:
    """Where a model will run.

    Attributes:
        name: cpu, cuda, onnx or onnx-int8.
        as_onnx: For the last two.
    """

    name: str
    as_onnx: AsOnnx | None = None

    @property
    def num_gpus(self) -> int:
        """GPUs that a measurement takes."""
        return 1 if self.name == "cuda" else 0

    @property
    def exports(self) -> bool:
        """Whether models are exported before they run."""
        return self.name.startswith("onnx")

    def place(self, model: Any) -> Any:
        """Return a model on the CPU as it runs on the target: float32, on a GPU float16."""
        if self.name == "cuda":
            return model.half().to("cuda")
        if not self.exports:
            return model
        assert self.as_onnx is not None, "checked by target_of"
        return self.as_onnx(model, int8=self.name == "onnx-int8")


def target_of(settings: Settings, as_onnx: AsOnnx | None = None) -> Target:
    """Return the target that the settings name, or the device that trains.

    Raises:
        ResourceError: There is no GPU to measure on.
        ConfigError: The caller has no exporter.
    """
    name = settings.search.target
    if name is None:
        name = "cuda" if allocate(settings.train, growth(settings)).device == "cuda" else "cpu"
    if name == "cuda" and capacity(growth(settings))[1] < 1:
        raise ResourceError(
            "--search.target cuda: there is no GPU here to measure speeds on.",
            "Search where the model will run, or leave --search.target out.",
        )
    target = Target(name, as_onnx)
    if target.exports and as_onnx is None:
        raise ConfigError(
            f"--search.target {name} needs `as_onnx` from `qa_lib.serving.onnx`.",
            "Use the job tune, or pass it to `search`.",
        )
    return target
