"""Export a model to ONNX beside its safetensors, and compare it with PyTorch.

    python -m jobs.export --model.name runs/mine
    python -m jobs.export --model.name runs/mine --export.quantize --data.eval-limit 2000

The run folder gets model/ (the checkpoint as it was, with onnx/model.onnx and, quantised,
onnx/model-int8.onnx), predictions.json and result.json: the largest difference of a logit, F1 and
latency of each file beside PyTorch's, sizes. 1,000 questions are answered, or --data.eval-limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings
    from qa_lib.runs.run_folder import RunFolder


def complete(settings: Settings) -> Settings:
    """Limit the questions to a sample, unless the settings do."""
    from qa_lib.serving import onnx

    return onnx.with_sample(settings)


def describe(settings: Settings) -> dict[str, Any]:
    """Return what would be exported and compared."""
    from qa_lib.serving import onnx

    return onnx.describe(settings)


def run(settings: Settings, folder: RunFolder) -> None:
    """Export, and compare."""
    from qa_lib.serving import onnx

    onnx.export(settings, folder)


def summary(result: dict[str, Any], folder: RunFolder) -> str:
    """Return the comparison, and where the files are."""
    from qa_lib.serving import onnx

    return f"{onnx.summary(result)}\n{folder.url('model', 'onnx')} holds what onnxruntime loads"


JOB = Job(
    "export",
    run,
    describe,
    summary,
    complete,
    reads_runs_of=("train", "adjust", "tune"),
    first_groups=("export",),
    first_flags=(
        "export.quantize",
        "data.max_length",
        "data.stride",
    ),
)

if __name__ == "__main__":
    JOB.main()
