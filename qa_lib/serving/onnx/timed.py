"""A model in onnxruntime without files that stay, to time it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from qa_lib.serving.onnx.graph import FLOAT, INT8, quantize, write_onnx
from qa_lib.serving.onnx.session import OnnxModel


def as_onnx(model: Any, *, int8: bool = False) -> OnnxModel:
    """Export a model, and load the graph with as many threads as torch has.

    Args:
        model: In evaluation mode, on the CPU; it is not changed.
        int8: Whether weights are quantized.

    Raises:
        ExportError: The architecture does not export.
    """
    with tempfile.TemporaryDirectory(prefix="qa-timed-") as folder:
        path, small = Path(folder) / FLOAT, Path(folder) / INT8
        path.parent.mkdir()
        write_onnx(model, path, ["input_ids", "attention_mask"])
        if int8:
            quantize(path, small)
        return OnnxModel(small if int8 else path, model.config)
