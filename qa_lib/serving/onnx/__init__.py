"""A model as ONNX files, for processes that have neither torch nor transformers.

    result = export.export(settings, run)      # run/model/onnx/model.onnx, model-int8.onnx
    session = OnnxModel("runs/mine/model/onnx/model.onnx", config)

The folder `model/` stays what it was, a checkpoint with its tokenizer; the files are added to it.
"""

from __future__ import annotations

from qa_lib.serving.onnx.exporting import describe, export, summary, with_sample
from qa_lib.serving.onnx.graph import FLOAT, INT8, quantize, write_onnx
from qa_lib.serving.onnx.session import OnnxModel

__all__ = [
    "FLOAT",
    "INT8",
    "OnnxModel",
    "describe",
    "export",
    "quantize",
    "summary",
    "with_sample",
    "write_onnx",
]
