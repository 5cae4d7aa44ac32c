"""A model as ONNX files, for processes without torch and transformers.

    result = onnx.export(settings, run)      # run/model/onnx/model.onnx, model-int8.onnx
    model = onnx.OnnxModel("runs/mine/model/onnx/model.onnx", config)

The files are added to the folder `model/`, which stays a checkpoint with its tokenizer.
"""

from __future__ import annotations

from qa_lib.serving.onnx.exporting import describe, export, summary, with_sample
from qa_lib.serving.onnx.graph import FLOAT, INT8, quantize, write_onnx
from qa_lib.serving.onnx.reader import OnnxReader
from qa_lib.serving.onnx.session import OnnxModel
from qa_lib.serving.onnx.timed import as_onnx

__all__ = [
    "FLOAT",
    "INT8",
    "OnnxModel",
    "OnnxReader",
    "as_onnx",
    "describe",
    "export",
    "quantize",
    "summary",
    "with_sample",
    "write_onnx",
]
