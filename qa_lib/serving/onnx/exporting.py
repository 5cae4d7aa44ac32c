"""Export a checkpoint: write the files, compare logits, score answers, time forward passes."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qa_lib import evaluation, models, windows
from qa_lib.adjust import probe_batch
from qa_lib.config import Settings
from qa_lib.data import load_held_out
from qa_lib.errors import ExportError
from qa_lib.models import attention
from qa_lib.models.inference import Forward
from qa_lib.models.latency import LATENCY_SHAPES, affordable, measure_latency
from qa_lib.runs import storage
from qa_lib.runs.progress import Progress
from qa_lib.runs.result import Exported
from qa_lib.runs.run_folder import RunFolder
from qa_lib.serving.onnx.graph import FLOAT, INT8, OPSET, does_not_export, quantize, write_onnx
from qa_lib.serving.onnx.reader import Inputs
from qa_lib.serving.onnx.session import OnnxModel

if TYPE_CHECKING:
    from qa_lib.data import Questions

LOGIT_TOLERANCE = 1e-4
"""Largest difference of a float32 logit from PyTorch's; relative where logits are above 1."""

NUM_QUESTIONS = 1000
"""Questions that each variant answers, unless `data.eval_limit` is set."""

# (windows, tokens): one window and several, multiples of 8 and others, all with padding.
_LOGIT_SHAPES = ((1, 2), (1, 33), (2, 128), (5, 57), (3, 384))
_MOST_BYTES = 2**31  # of a protobuf
_PYTORCH, _ONNX, _INT8 = "pytorch", "onnx", "int8"
_FILES = {_ONNX: FLOAT, _INT8: INT8}
_COPIED = (
    "config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "README.md",
    models.ANSWERING,
)


def with_sample(settings: Settings) -> Settings:
    """Return settings that compare answers on a sample, unless they name its size."""
    if settings.data.eval_limit is not None:
        return settings
    data = settings.data.model_copy(update={"eval_limit": NUM_QUESTIONS})
    return settings.model_copy(update={"data": data})


def describe(settings: Settings) -> dict[str, Any]:
    """Preview an export.

    Raises:
        ConfigError, ModelError, ExportError: As of `export`, but for what only the export shows.
    """
    _check(settings)
    questions = load_held_out(settings.data)
    return {
        "family": models.load_config(settings.model.name).model_type,
        "num_parameters": models.num_parameters(models.load_empty(settings.model.name)),
        "files": [FLOAT, INT8] if settings.export.quantize else [FLOAT],
        "num_questions": len(questions) if questions is not None else 0,
    }


def export(settings: Settings, run: RunFolder) -> None:
    """Export a model to ONNX beside its safetensors, and compare its results with PyTorch's.

    Everything runs on this machine's CPU, PyTorch in float32. `predictions.json` holds the answers
    of the float32 file, `predictions-int8.json` those of the other.

    Args:
        settings: `model.name` is exported, as `export` says; `data` gives the questions.
        run: Receives `model/`: the checkpoint, its tokenizer, and `onnx/`.

    Raises:
        ConfigError: The windows are longer than the model's positions.
        ModelError: The model is not available, or was never trained to answer.
        ExportError: The model is too large for one ONNX file; its family does not export, or
            exports to other logits. Nothing is written.
    """
    name = settings.model.name
    _check(settings)
    forward = Forward(
        name,
        precision="fp32",
        attention=attention.kernels_of(models.load_config(name))[0],  # not one of ours
        measure=False,
        batch_size=settings.evaluate.batch_size,
    )
    with tempfile.TemporaryDirectory(prefix="qa-export-") as folder:
        local = Path(folder)
        for pattern in _COPIED:
            for file in Path(models.resolve(name)).glob(pattern):
                shutil.copyfile(file, local / file.name)
        forward.tokenizer.save_pretrained(local)
        if (threshold := settings.evaluate.no_answer_threshold) is not None:
            models.keep_no_answer_threshold(str(local), threshold)  # it answers as it was compared
        variants, facts = _write(forward, local, settings.export.quantize)
        Inputs.of(forward.tokenizer, forward.pad.max_width).write(local)
        exported = Exported(
            model=name,
            model_fingerprint=models.fingerprint(name),
            num_parameters=models.num_parameters(forward.model),
            opset=OPSET,
            **facts,
        )
        run.put_folder(local, "model")
        run.write_result(exported, status="running")
        answers = Exported(**_answers(settings, run, forward, variants))
        run.write_result(answers, status="running")
        latencies = Exported(**_latencies(forward.model.config, local, variants))
        run.write_result(latencies, status="running")


def summary(result: Mapping[str, Any]) -> str:
    """Return the lines that the job ends with."""
    lines = []
    first = result["latencies"][0]
    for variant in (_PYTORCH, _ONNX, _INT8):
        if f"{variant}_bytes" not in result:
            continue
        line = f"{variant:<8} {result[f'{variant}_bytes'] / 1e6:7.1f} MB"
        line += f"  {first[f'{variant}_ms']:7.1f} ms"
        f1 = result.get("f1" if variant == _ONNX else f"f1_{variant}")
        if f1 is not None:
            line += f"  F1 {f1:.2f}"
        if variant != _PYTORCH and f1 is not None:
            same = result["num_same_answers"][variant]
            line += f"  {same:,} of {result['num_questions']:,} answers are PyTorch's"
        lines.append(line)
    lines.append(
        f"latency of 1 window of {first['tokens']} tokens, {result['latency_threads']} threads; "
        f"logits differ by at most {result['max_logit_error']:.1e}"
    )
    return "\n".join(lines)


def check_logits(model: Any, *exported: OnnxModel) -> list[float]:
    """Compare logits of real tokens, over several shapes of batches.

    Args:
        model: The PyTorch model.
        exported: Its ONNX files.

    Returns:
        The largest difference of each file, divided by the largest logit where that is above 1; NaN
        if a logit is NaN.
    """
    errors = np.zeros((len(_LOGIT_SHAPES), len(exported)))
    for row, (num_windows, num_tokens) in enumerate(_LOGIT_SHAPES):
        batch = probe_batch.probe(model.config, num_windows=num_windows, num_tokens=num_tokens)
        if "token_type_ids" in exported[0].inputs:
            types = batch["attention_mask"].clone()
            types[:, : types.shape[1] // 4] = 0
            batch["token_type_ids"] = types
        expected = probe_batch.logits(model, batch)
        scale = max(1.0, float(expected.abs().max()))
        for column, other in enumerate(exported):
            difference = (probe_batch.logits(other, batch) - expected).abs().max()  # type: ignore[arg-type]
            errors[row, column] = float(difference) / scale
    largest: list[float] = errors.max(axis=0).tolist()  # NaN wins
    return largest


def _write(
    forward: Forward, folder: Path, quantized: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the files, and compare their logits; return the models by variant, and facts."""
    config = forward.model.config
    types = ["token_type_ids"] if forward.pad.token_types else []
    (folder / FLOAT).parent.mkdir()
    write_onnx(forward.model, folder / FLOAT, ["input_ids", "attention_mask", *types])
    try:
        variants: dict[str, Any] = {_ONNX: OnnxModel(folder / FLOAT, config)}
        if quantized:
            quantize(folder / FLOAT, folder / INT8)
            variants[_INT8] = OnnxModel(folder / INT8, config)
        errors = check_logits(forward.model, *variants.values())
    except OSError:  # a full disk is not the family's fault
        raise
    except Exception as reason:  # onnxruntime's errors have no other base
        raise does_not_export(config.model_type, storage.first_line(reason)) from None
    if not errors[0] <= LOGIT_TOLERANCE:  # NaN fails too
        raise does_not_export(config.model_type, f"the logits differ by {errors[0]:.1e}.")
    facts: dict[str, Any] = {
        "max_logit_error": errors[0],
        "logit_tolerance": LOGIT_TOLERANCE,
        "pytorch_bytes": sum(file.stat().st_size for file in folder.glob("*.safetensors")),
    }
    facts |= {f"{variant}_bytes": (folder / _FILES[variant]).stat().st_size for variant in variants}
    if quantized:
        facts["max_logit_error_int8"] = errors[1]
    return {_PYTORCH: forward.model, **variants}, facts


def _check(settings: Settings) -> None:
    """Reject what does not export, before anything is loaded or written."""
    name = settings.model.name
    models.check_answers(name)
    models.check_length(name, settings.data.max_length)
    num_bytes = 4 * models.num_stored_parameters(name)
    if num_bytes >= _MOST_BYTES:
        raise ExportError(
            f"The weights of {name} take {num_bytes / 1e9:.1f} GB, and one ONNX file holds 2 GB.",
            "Nothing was written. Export a smaller model, for example one that `make adjust` cut.",
        )


def _answers(
    settings: Settings, run: RunFolder, forward: Forward, variants: Mapping[str, Any]
) -> dict[str, Any]:
    """Answer the questions with each variant, with the suite's windows and span decoding."""
    questions = load_held_out(settings.data, quarantine_dir=run.path)
    if questions is None:
        return {"num_questions": 0}
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    cut = windows.build(questions.table, forward.tokenizer, spec, labels=False)
    facts: dict[str, Any] = {
        "num_windows": cut.table.num_rows,
        "num_eval_too_long": len(cut.too_long),
        "eval_split": questions.split,
        "eval_fingerprint": questions.fingerprint,
    }
    predictions: dict[str, dict[str, str]] = {}
    for variant, model in variants.items():
        forward.model = model
        predictions[variant] = _predict(settings, forward, questions, cut.table, variant)
        scores = evaluation.score(questions, predictions[variant]).fields()
        others = {f"{key}_{variant}": scores[key] for key in ("f1", "em")}
        facts |= scores if variant == _ONNX else others
    facts["num_same_answers"] = {
        variant: sum(text == predictions[_PYTORCH][key] for key, text in answers.items())
        for variant, answers in predictions.items()
        if variant != _PYTORCH
    }
    run.write_text(evaluation.PREDICTIONS, json.dumps(predictions[_ONNX]))
    if _INT8 in predictions:
        run.write_text("predictions-int8.json", json.dumps(predictions[_INT8]))
    return facts


def _predict(
    settings: Settings, forward: Forward, questions: Questions, table: pa.Table, title: str
) -> dict[str, str]:
    """Return the model's answer to each question, by id."""
    parts = []
    with Progress(table.num_rows, "windows", title) as progress:
        for part in evaluation.find_spans(forward, table, settings.evaluate):
            parts.append(part)
            progress.update(sum(map(len, parts)))
    rules = settings.evaluate
    if rules.no_answer_threshold is None:
        rules = rules.model_copy(update={"no_answer_threshold": forward.no_answer_threshold})
    answers = evaluation.merge(pa.concat_tables(parts), questions, rules)
    texts = answers.texts(questions.table["context"].to_pylist())
    return dict(zip(questions.table["id"].to_pylist(), texts, strict=True))


def _latencies(config: Any, folder: Path, variants: Mapping[str, Any]) -> dict[str, Any]:
    """Time passes of all variants in turns: with all threads, and of one window with one."""
    import torch

    longest = models.maximum_length(config)
    all_threads = torch.get_num_threads()
    # On a machine of one core, the second entry replaces the first.
    turns = {1: LATENCY_SHAPES[:2], all_threads: LATENCY_SHAPES}
    rows = []
    for threads, shapes in sorted(turns.items(), reverse=True):
        timed = dict(variants)
        if threads != all_threads:
            exported = variants.keys() & _FILES.keys()
            timed |= {name: OnnxModel(folder / _FILES[name], config, threads) for name in exported}
        of_one: dict[int, dict[str, float]] = {}
        for num_windows, num_tokens in shapes:
            num_windows = affordable(num_windows, of_one.get(num_tokens))
            seconds = measure_latency(
                timed, batch=num_windows, num_tokens=num_tokens, num_threads=threads
            )
            of_one.setdefault(num_tokens, seconds)
            row: dict[str, Any] = {
                "windows": num_windows,
                "tokens": min(num_tokens, longest or num_tokens),
                "threads": threads,
            }
            row |= {f"{variant}_ms": round(taken * 1e3, 3) for variant, taken in seconds.items()}
            rows.append(row)
    return {"latencies": rows, "latency_device": "cpu", "latency_threads": all_threads}
