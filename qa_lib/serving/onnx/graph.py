"""Write a model as an ONNX graph that takes any batch and length, in float32 and in int8."""

from __future__ import annotations

import copy
import logging
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qa_lib.adjust import FAMILIES
from qa_lib.errors import ExportError
from qa_lib.runs import storage

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FLOAT, INT8 = "onnx/model.onnx", "onnx/model-int8.onnx"
"""Where the files lie inside a checkpoint's folder."""

OPSET = 17  # the first that has LayerNormalization as one operator
OUTPUTS = ("start_logits", "end_logits")
_WINDOWS, _TOKENS = 2, 12  # traced with; the graph takes any


def write_onnx(model: PreTrainedModel, path: Path, inputs: Sequence[str]) -> None:
    """Write a model's graph: int64 inputs (windows, tokens), float32 logits of the same shape.

    The tracing exporter is used, since the other one needs onnxscript. Eager attention (not fused)
    gives a graph of plain operators.

    Args:
        model: In evaluation mode, on the CPU; it is not changed.
        path: The file to write.
        inputs: The model's inputs: `input_ids`, `attention_mask`, and `token_type_ids` if its
            tokenizer makes them.

    Raises:
        ExportError: The architecture does not export.
    """
    import torch

    class Logits(torch.nn.Module):
        def __init__(self, inner: PreTrainedModel) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            output = self.inner(**dict(zip(inputs, tensors, strict=True)))
            return output.start_logits, output.end_logits

    whole = copy.deepcopy(model)
    ones = torch.ones((_WINDOWS, _TOKENS), dtype=torch.long)
    mask = ones.clone()
    mask[-1, _TOKENS // 2 :] = 0  # a mask of ones alone would be traced as no mask
    example = tuple(mask if name == "attention_mask" else ones for name in inputs)
    try:
        whole.set_attn_implementation("eager")
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # the tracer's: the logits are compared afterwards
            torch.onnx.export(
                Logits(whole).eval(),
                example,
                str(path),
                dynamo=False,
                opset_version=OPSET,
                input_names=list(inputs),
                output_names=list(OUTPUTS),
                dynamic_axes={name: {0: "windows", 1: "tokens"} for name in (*inputs, *OUTPUTS)},
            )
    except OSError:  # a full disk is not the family's fault
        raise
    except Exception as error:  # the tracer raises anything
        raise does_not_export(model.config.model_type, storage.first_line(error)) from None


def quantize(source: Path, target: Path) -> None:
    """Write a graph with int8 weights, a scale per output channel; activations dynamically.

    Weights keep seven bits: with eight, processors without VNNI overflow their 16-bit sums.

    Args:
        source: A file of `write_onnx`.
        target: The file to write.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="qa-onnx-") as folder:
        prepared = Path(folder) / "prepared.onnx"
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it logs advice through the root logger
        try:
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantize_dynamic(
                str(prepared),
                str(target),
                weight_type=QuantType.QInt8,
                per_channel=True,
                reduce_range=True,
            )
        finally:
            root.setLevel(level)


def does_not_export(family: str, why: str) -> ExportError:
    """Return the error for an architecture that does not export."""
    return ExportError(
        f"Models of the family {family} do not export to ONNX: {why}",
        f"Nothing was written. Export one of these families: {', '.join(sorted(FAMILIES))}.",
    )
