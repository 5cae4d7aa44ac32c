"""Export a model to ONNX beside its safetensors, and compare it with PyTorch.

    python -m jobs.export --model.name runs/mine
    python -m jobs.export --model.name runs/mine --export.quantize --data.eval-limit 2000

The run folder gets model/ (the checkpoint as it was, with onnx/model.onnx and, quantised,
onnx/model-int8.onnx), predictions.json and result.json: the largest difference of a logit, F1 and
latency of each file beside PyTorch's, sizes. 1,000 questions are answered, or --data.eval-limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import _entry

if TYPE_CHECKING:
    from qa_lib.config import Settings


def export(settings: Settings) -> None:
    """Export, compare, and say where the files are."""
    from qa_lib import doctor
    from qa_lib.runs.run_folder import RunFolder
    from qa_lib.runs.storage import to_json
    from qa_lib.serving import onnx

    settings = onnx.with_sample(settings)
    if settings.dry_run:
        RunFolder.check(settings, "export")
        print(settings.to_yaml())
        print(to_json(onnx.describe(settings), indent=2))
        return
    doctor.require(settings)
    with RunFolder.open(settings, "export") as run:
        result = onnx.export(settings, run)
        run.write_result(result)
        print(onnx.summary(result))
        print(f"{run.url('model', 'onnx')} holds what onnxruntime loads")


if __name__ == "__main__":
    _entry.main("export", export)
