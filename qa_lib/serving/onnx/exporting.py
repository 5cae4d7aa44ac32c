"""The export of a checkpoint: files written, logits compared, answers scored, passes timed."""

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
from qa_lib.models.inference import Forward
from qa_lib.models.latency import LATENCY_SHAPES, measure_latency
from qa_lib.runs import storage
from qa_lib.runs.progress import Progress
from qa_lib.runs.run_folder import RunFolder
from qa_lib.serving.answerer import check_answers
from qa_lib.serving.onnx.graph import FLOAT, INT8, OPSET, does_not_export, quantize, write_onnx
from qa_lib.serving.onnx.session import OnnxModel

if TYPE_CHECKING:
    from qa_lib.data import Questions

LOGIT_TOLERANCE = 1e-4
"""Largest difference of a float32 logit to PyTorch's, where logits are below 1; else relative."""

NUM_QUESTIONS = 1000
"""Questions that are answered by each, where `data.eval_limit` says nothing else."""

# Windows, tokens: of one window and several, with and without a multiple of 8, all with padding.
_LOGIT_SHAPES = ((1, 2), (1, 33), (2, 128), (5, 57), (3, 384))
_MOST_BYTES = 2**31  # of a protobuf
_PYTORCH, _ONNX, _INT8 = "pytorch", "onnx", "int8"
_COPIED = ("config.json", "*.safetensors", "*.safetensors.index.json", "README.md")


def with_sample(settings: Settings) -> Settings:
    """Return settings whose answers are compared on a sample, unless they name its size."""
    if settings.data.eval_limit is not None:
        return settings
    data = settings.data.model_copy(update={"eval_limit": NUM_QUESTIONS})
    return settings.model_copy(update={"data": data})


def describe(settings: Settings) -> dict[str, Any]:
    """Return what `export` would do.

    Raises:
        ConfigError: Its windows are longer than its positions.
        ModelError: The model cannot be had, or was never trained to answer.
        ExportError: It is too large for one ONNX file.
    """
    _check(settings)
    questions = load_held_out(settings.data)
    return {
        "family": models.load_config(settings.model.name).model_type,
        "num_parameters": models.num_parameters(models.load_empty(settings.model.name)),
        "files": [FLOAT, INT8] if settings.export.quantize else [FLOAT],
        "num_questions": len(questions) if questions is not None else 0,
    }


def export(settings: Settings, run: RunFolder) -> dict[str, Any]:
    """Export a model to ONNX beside its safetensors, and compare what it gives with PyTorch.

    All is computed on this machine's CPU, PyTorch in float32. `predictions.json` are those of the
    float32 file, `predictions-int8.json` those of the other.

    Args:
        settings: `model.name` is exported; `export` says how; `data` what is answered.
        run: Receives `model/`: the checkpoint, its tokenizer, and `onnx/`.

    Returns:
        Fields for result.json: bytes of each file; `max_logit_error`; `f1`, `em` of the ONNX file,
        `f1_pytorch`, `f1_int8` and so on, `num_same_answers`; `latencies` in milliseconds.

    Raises:
        ConfigError: Its windows are longer than its positions.
        ModelError: The model cannot be had, or was never trained to answer.
        ExportError: It is too large for one ONNX file; its family does not export, or exports to
            other logits. Nothing is written.
    """
    name = settings.model.name
    _check(settings)
    forward = Forward(name, precision="fp32", batch_size=settings.evaluate.batch_size)
    with tempfile.TemporaryDirectory(prefix="qa-export-") as folder:
        local = Path(folder)
        _copy_checkpoint(Path(models.resolve(name)), local)
        forward.tokenizer.save_pretrained(local)
        variants, facts = _write(forward, local, settings.export.quantize)
        facts |= {
            "model": name,
            "model_fingerprint": models.fingerprint(name),
            "num_parameters": models.num_parameters(forward.model),
            "opset": OPSET,
        }
        run.put_folder(local, "model")
        run.write_result(facts, status="running")
        facts |= _answers(settings, run, forward, variants)
        run.write_result(facts, status="running")
        return facts | _latencies(forward.model.config, local, variants)


def summary(result: Mapping[str, Any]) -> str:
    """Return the lines that a job ends with."""
    lines = []
    for variant in (_PYTORCH, _ONNX, _INT8):
        if f"{variant}_bytes" not in result:
            continue
        first = result["latencies"][0]
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
        f"latency of 1 window of {result['latencies'][0]['tokens']} tokens,"
        f" {result['latency_threads']} threads; logits differ by at most"
        f" {result['max_logit_error']:.1e}"
    )
    return "\n".join(lines)


def check_logits(model: Any, *exported: OnnxModel) -> list[float]:
    """Return how far logits of real tokens are apart, over several shapes.

    Args:
        model: The PyTorch model.
        exported: Its ONNX files, which take the same.

    Returns:
        For each file the largest difference, divided by the largest logit where that is above 1;
        NaN where a logit is.
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
        for column, each in enumerate(exported):
            difference = (probe_batch.logits(each, batch) - expected).abs().max()  # type: ignore[arg-type]
            errors[row, column] = float(difference) / scale
    worst: list[float] = errors.max(axis=0).tolist()  # NaN wins
    return worst


def _write(
    forward: Forward, folder: Path, quantized: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the files, and compare their logits; return the models by variant, and facts."""
    config = forward.model.config
    inputs = ["input_ids", "attention_mask"]
    if forward.pad.token_types:
        inputs.append("token_type_ids")
    (folder / FLOAT).parent.mkdir()
    write_onnx(forward.model, folder / FLOAT, inputs)
    try:
        variants: dict[str, Any] = {_ONNX: OnnxModel(folder / FLOAT, config)}
        if quantized:
            quantize(folder / FLOAT, folder / INT8)
            variants[_INT8] = OnnxModel(folder / INT8, config)
        errors = check_logits(forward.model, *variants.values())
    except OSError:  # a full disk says nothing of the family
        raise
    except Exception as reason:  # onnxruntime's errors have no other base
        raise does_not_export(config.model_type, storage.first_line(reason)) from None
    if not errors[0] <= LOGIT_TOLERANCE:  # NaN is no number to be below
        raise does_not_export(config.model_type, f"the logits differ by {errors[0]:.1e}.")
    facts: dict[str, Any] = {
        "max_logit_error": errors[0],
        "logit_tolerance": LOGIT_TOLERANCE,
        "pytorch_bytes": sum(file.stat().st_size for file in folder.glob("*.safetensors")),
        "onnx_bytes": (folder / FLOAT).stat().st_size,
    }
    if quantized:
        facts |= {
            "int8_bytes": (folder / INT8).stat().st_size,
            "max_logit_error_int8": errors[1],
        }
    return {_PYTORCH: forward.model, **variants}, facts


def _check(settings: Settings) -> None:
    """Refuse what cannot be exported before anything is loaded or written."""
    name = settings.model.name
    check_answers(name)
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
    """Answer the questions with each variant, through the suite's windows and span decoding."""
    questions = load_held_out(settings.data, quarantine_dir=run.path)
    if questions is None:
        return {"num_questions": 0}
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    cut = windows.build(questions.table, forward.tokenizer, spec, labels=False)
    table = cut.table
    facts: dict[str, Any] = {
        "num_windows": table.num_rows,
        "num_eval_too_long": len(cut.too_long),
        "eval_split": questions.split,
        "eval_fingerprint": questions.fingerprint,
    }
    predictions: dict[str, dict[str, str]] = {}
    for variant, model in variants.items():
        predictions[variant] = _predict(settings, forward, model, questions, table, variant)
        scores = evaluation.score(questions, predictions[variant])
        if variant == _ONNX:
            facts |= scores
        else:
            facts |= {f"{key}_{variant}": scores[key] for key in ("f1", "em")}
    facts["num_same_answers"] = {
        variant: sum(text == predictions[_PYTORCH][key] for key, text in found.items())
        for variant, found in predictions.items()
        if variant != _PYTORCH
    }
    run.write_text(evaluation.PREDICTIONS, json.dumps(predictions[_ONNX]))
    if _INT8 in predictions:
        run.write_text("predictions-int8.json", json.dumps(predictions[_INT8]))
    return facts


def _predict(
    settings: Settings,
    forward: Forward,
    model: Any,
    questions: Questions,
    table: pa.Table,
    variant: str,
) -> dict[str, str]:
    """Return a model's answer to each question, by id."""
    forward.model = model
    parts = []
    with Progress(table.num_rows, "windows", variant) as progress:
        done = 0
        for part in evaluation.find_spans(forward, table, settings.evaluate):
            parts.append(part)
            done += part.num_rows
            progress.update(done)
    answers = evaluation.merge(pa.concat_tables(parts), questions, settings.evaluate)
    texts = answers.texts(questions.table["context"].to_pylist())
    return dict(zip(questions.table["id"].to_pylist(), texts, strict=True))


def _latencies(config: Any, folder: Path, variants: Mapping[str, Any]) -> dict[str, Any]:
    """Time passes of all variants in turns: by all threads, and of one window by one."""
    import torch

    files = {_ONNX: FLOAT, _INT8: INT8}
    longest = models.maximum_length(config)
    all_threads = torch.get_num_threads()
    turns = {
        1: LATENCY_SHAPES[:2],
        all_threads: LATENCY_SHAPES,
    }  # those of all where it is one
    rows = []
    for threads, shapes in sorted(turns.items(), reverse=True):
        timed = dict(variants)
        if threads != all_threads:
            timed |= {
                variant: OnnxModel(folder / file, config, threads)
                for variant, file in files.items()
                if variant in variants
            }
        for num_windows, num_tokens in shapes:
            seconds = measure_latency(
                timed, batch=num_windows, num_tokens=num_tokens, num_threads=threads
            )
            row: dict[str, Any] = {
                "windows": num_windows,
                "tokens": min(num_tokens, longest or num_tokens),
                "threads": threads,
            }
            row |= {f"{variant}_ms": round(each * 1e3, 3) for variant, each in seconds.items()}
            rows.append(row)
    return {"latencies": rows, "latency_device": "cpu", "latency_threads": all_threads}


def _copy_checkpoint(source: Path, target: Path) -> None:
    for pattern in _COPIED:
        for file in source.glob(pattern):
            shutil.copyfile(file, target / file.name)
