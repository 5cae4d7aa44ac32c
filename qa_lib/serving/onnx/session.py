"""An ONNX file that is called as the model that it was made from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


class OnnxModel:
    """A session of onnxruntime on the CPU, which `Forward` and `Answerer` take for a model.

    Attributes:
        config: The configuration of the model that it was made from.
        inputs: Names of what it takes.
    """

    def __init__(self, path: str | Path, config: Any, num_threads: int | None = None) -> None:
        """Load a file.

        Args:
            path: Of an ONNX file that `write_onnx` or `quantize` wrote.
            config: The model's transformers configuration.
            num_threads: Of an operator; those of torch where None.
        """
        import onnxruntime
        import torch

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads or torch.get_num_threads()
        # Threads that wait busily after a pass would take the cores from whoever runs next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = [each.name for each in self._session.get_inputs()]
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

        given = {"input_ids": input_ids, **others}
        arrays = {name: given[name].numpy() for name in self.inputs if name in given}
        for name in self.inputs:
            if name not in arrays:
                arrays[name] = np.full(input_ids.shape, name == "attention_mask", np.int64)
        start, end = self._session.run(["start_logits", "end_logits"], arrays)
        return SimpleNamespace(
            start_logits=torch.from_numpy(start), end_logits=torch.from_numpy(end)
        )
