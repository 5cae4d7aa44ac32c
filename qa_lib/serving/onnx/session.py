"""An ONNX file, called like the model that it was exported from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


def open_session(path: str | Path, num_threads: int | None) -> Any:
    """Open an ONNX file on the CPU, as an `onnxruntime.InferenceSession`.

    Args:
        path: Of the file.
        num_threads: Threads of an operator; onnxruntime's choice where None.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads or 0
    # Threads that spin after a pass would take the cores from what runs next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class OnnxModel:
    """A session of onnxruntime on the CPU, which `Forward` and `Answerer` take as a model.

    Attributes:
        config: The transformers configuration of the exported model.
        inputs: Names of its inputs.
    """

    def __init__(self, path: str | Path, config: Any, num_threads: int | None = None) -> None:
        """Load a file.

        Args:
            path: An ONNX file of `write_onnx` or `quantize`.
            config: The model's transformers configuration.
            num_threads: Threads of an operator; as many as torch's where None.
        """
        import torch

        self._session = open_session(path, num_threads or torch.get_num_threads())
        self.inputs = [node.name for node in self._session.get_inputs()]
        self.config = config
        self.device = torch.device("cpu")

    def __call__(self, input_ids: torch.Tensor, **others: torch.Tensor) -> Any:
        """Return `start_logits` and `end_logits`, float32 of shape (windows, tokens).

        Args:
            input_ids: int64 of shape (windows, tokens).
            **others: Of the same shape: `attention_mask`, ones where absent, and `token_type_ids`,
                zeros where absent.
        """
        import torch

        tensors = {"input_ids": input_ids, **others}
        arrays = {
            name: tensors[name].numpy()
            if name in tensors
            else np.full(input_ids.shape, name == "attention_mask", np.int64)
            for name in self.inputs
        }
        start, end = self._session.run(["start_logits", "end_logits"], arrays)
        return SimpleNamespace(
            start_logits=torch.from_numpy(start), end_logits=torch.from_numpy(end)
        )
