"""Run folders written by hand, with the files that jobs leave: on the embedded questions."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from qa_lib.config import DataSettings, Settings
from qa_lib.data import load_questions
from qa_lib.runs.run_folder import RunFolder

NUM_QUESTIONS = 200


def write_run(folder: Path, job: str = "train", **changed: Any) -> RunFolder:
    """Write a run of a job: train, evaluate, adjust or tune.

    Args:
        folder: Of the run.
        job: Which job's files it gets.
        **changed: Fields of result.json.
    """
    folder.mkdir(parents=True)
    run = RunFolder(str(folder), job)
    model = {"name": "embedded"} if job == "train" else {"name": "runs/parent"}
    run.write_config(Settings.model_validate({"model": model, "train": {"num_workers": 2}}))
    result = write_scores(run)
    if job != "evaluate":
        result |= _trained(run)
    if job in ("adjust", "tune"):
        result |= _adjusted(run)
    if job == "tune":
        result |= _searched(run)
    write_fields(run, result | changed)
    return run


def write_fields(run: RunFolder, fields: dict[str, Any]) -> None:
    """Add fields to a finished run's result.json, whatever they are."""
    if not run.exists("result.json"):
        run.write_result()
    run.write_json("result.json", run.read_result() | fields, indent=2)


def write_scores(run: RunFolder, quality: float = 0.8, seed: int = 1) -> dict[str, Any]:
    """Write scores.parquet and analysis.json of answers that are right at this rate.

    Returns:
        Their fields of result.json.
    """
    rows = load_questions(DataSettings(eval_limit=NUM_QUESTIONS), "eval").table.to_pylist()
    draw = random.Random(seed)
    cases = [_case(row, draw, quality) for row in rows]
    columns = ("id", "title", "em", "f1", "semantic", "score", "answer")
    table = pa.Table.from_pylist([{key: case[key] for key in columns} for case in cases])
    pq.write_table(table, f"{run.root}/scores.parquet")
    (Path(run.root) / "predictions.json").write_text(
        json.dumps({case["id"]: case["answer"] for case in cases})
    )
    bins = [
        {
            "low": low / 10,
            "high": low / 10 + 0.1,
            "confidence": low / 10 + 0.06,
            "accuracy": min(1.0, max(0.0, low / 9 - 0.05)),
            "num_questions": 5 + 3 * low,
        }
        for low in range(10)
    ]
    curve = [{"coverage": i / 100, "risk": 0.2 * (i / 100) ** 2} for i in range(1, 101)]
    analysis = {
        "breakdowns": {
            "question word": _parts(cases, lambda case: case["question"].split()[0].lower()),
            "answer length": _parts(cases, lambda case: f"{len(case['gold'][0].split())} words"),
            "article": sorted(_parts(cases, lambda case: case["title"]), key=lambda r: r["f1"]),
        },
        "calibration": {"error": 0.0534, "bins": bins, "aurc": 0.0711, "risk_coverage": curve},
        "no_answer": None,
        "missed": {
            "right_in_other_words": [case for case in cases if 0 < case["f1"] < 60][:8],
            "right_in_tokens_only": [],
        },
        "examples": draw.sample(cases, 30),
        "mistakes": cases[:20],
    }
    run.write_text("analysis.json", json.dumps(analysis))
    means = {key: _mean(cases, key) for key in ("em", "f1", "semantic")}
    return {
        **means,
        "total": len(cases),
        "num_questions": len(cases),
        "num_windows": len(cases) + 12,
        "rules": "1.1",
        "intervals": {key: [mean - 2.125, mean + 2.25] for key, mean in means.items()},
        "calibration_error": 0.0534,
        "aurc": 0.0711,
        "eval_windows_per_s": 45.31,
        "eval_peak_memory_bytes": 911 * 2**20,
    }


def _case(row: dict[str, Any], draw: random.Random, quality: float) -> dict[str, Any]:
    gold, start = row["answers"]["text"], row["answers"]["answer_start"][0]
    context, luck, gold_start = row["context"], draw.random(), start
    em, f1, end = 100.0, 100.0, start + len(gold[0])
    if luck > quality:  # some other words
        at = draw.randrange(0, max(1, len(context) - 30))
        start = context.find(" ", at) + 1
        end = start + len(context[start:].split(" ")[0])
        em, f1 = 0.0, 0.0
    elif luck > quality - 0.15:  # a word too many
        more = context.find(" ", end + 1)
        end = more if more > 0 else len(context)
        em, f1 = 0.0, 50.0
    return {
        "id": row["id"],
        "title": row["title"],
        "question": row["question"],
        "context": context,
        "char_start": start,
        "char_end": end,
        "answer": context[start:end],
        "gold": gold,
        "gold_start": gold_start,
        "em": em,
        "f1": f1,
        "semantic": 100.0 if em else 30.0 + f1,
        "score": round(draw.random(), 4),
    }


def _parts(cases: list[dict[str, Any]], name: Any) -> list[dict[str, Any]]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for case in cases:
        groups.setdefault(name(case), []).append(case)
    return [
        {"name": key, "num_questions": len(group)}
        | {score: _mean(group, score) for score in ("em", "f1", "semantic")}
        for key, group in sorted(groups.items())
    ]


def _mean(cases: list[dict[str, Any]], key: str) -> float:
    return round(sum(case[key] for case in cases) / len(cases), 4)


def _trained(run: RunFolder) -> dict[str, Any]:
    draw, time = random.Random(3), 1.8e9
    for step in range(1, 121):
        time += draw.uniform(0.55, 0.59)
        loss = 0.6 + 4 * math.exp(-step / 30) + draw.uniform(-0.3, 0.3)
        run.append_metrics(
            {
                "step": step,
                "epoch": step / 120,
                "loss": round(loss, 6),
                "lr": 2e-4 * min(step / 12, (121 - step) / 109),
                "num_windows": 8,
                "skipped": False,
                "redone": False,
                "windows_per_s": 14.0,
                "time": time,
            }
        )
    mebibyte = 2**20
    return {
        "num_train_questions": 3078,
        "num_train_windows": 3078,
        "num_window_passes": 960,
        "num_too_long": 0,
        "steps": 120,
        "windows_per_s": 14.02,
        "tokens_per_s": 1321.5,
        "train_seconds": 85.31,
        "world_size": 2,
        "zero_stage": 1,
        "num_parameters": 22_566_146,
        "state_bytes_per_rank": {
            "parameters": 86 * mebibyte,
            "gradients": 86 * mebibyte,
            "optimizer": 129 * mebibyte,
        },
        "peak_memory_bytes": 1529 * mebibyte,
        "holdout_titles": [],
    }


def _adjusted(run: RunFolder) -> dict[str, Any]:
    groups = {"hidden": {"width": 384, "kept": 384, "dimensions": []}}
    groups["0.intermediate"] = {"width": 1536, "kept": 768, "dimensions": []}
    groups["vocabulary"] = {"width": 30_522, "kept": 21_009, "dimensions": []}
    scores = {"0.heads": [1.0] * 12}
    keep = {"intermediate": [list(range(768))] * 4, "heads": [list(range(12))] * 4}
    plan = {"groups": groups, "scores": scores, "keep": keep}
    run.write_text("plan.json", json.dumps(plan))
    latencies = [
        {"windows": 1, "tokens": 384, "parent_ms": 61.25, "child_ms": 30.5, "speedup": 2.008},
        {"windows": 32, "tokens": 384, "parent_ms": 2061.5, "child_ms": 1010.5, "speedup": 2.04},
    ]
    return {
        "parent": "runs/parent",
        "num_parent_layers": 6,
        "kept_layers": [0, 1, 2, 3],
        "hidden_size": 384,
        "num_heads": 12,
        "intermediate_size": 768,
        "vocabulary_size": 21_009,
        "num_parameters": 15_000_002,
        "num_parent_parameters": 22_566_146,
        "speedup": 2.008,
        "latencies": latencies,
        "f1_before": 81.25,
        "em_before": 77.5,
        "f1_surgery": 42.75,
        "em_surgery": 37.5,
    }


def _searched(run: RunFolder) -> dict[str, Any]:
    draw = random.Random(5)
    rows = []
    for number in range(13):
        layers = draw.choice([3, 4, 5, 6]) if number else 6
        width = draw.choice([384, 768, 1152]) if number else 1536
        latency = 5 + 4 * layers + 20 * width / 1536
        rung = draw.choice([0, 1, 2]) if number else 0
        rows.append(
            {
                "trial": number,
                "num_layers": layers,
                "kept_layers": list(range(layers)),
                "hidden_size": 384,
                "num_heads": 12,
                "intermediate_size": width,
                "importance": "taylor",
                "learning_rate": 2e-4,
                "distill_weight": 0.9,
                "rung": rung,
                "num_windows": rung * 800,
                "f1": 72 - 400 / latency + 2 * rung + draw.uniform(-2, 2) if number != 7 else None,
                "latency_ms": latency,
                "measured_ms": None,
                "speedup": 49 / latency,
                "num_parameters": 10_000_000 + 2_000_000 * layers,
                "seconds": 10.0,
                "status": "parent" if not number else "crashed" if number == 7 else "stopped",
                "error": "ValueError: <b>no</b>" if number == 7 else None,
                "on_front": False,
            }
        )
    top = [row for row in rows[1:] if row["rung"] == 2 and row["f1"] is not None]
    best: list[dict[str, Any]] = []
    for row in sorted(top, key=lambda row: row["latency_ms"]):
        if not best or row["f1"] > best[-1]["f1"]:
            best.append(row)
            row["on_front"] = True
    pq.write_table(pa.Table.from_pylist(rows), f"{run.root}/trials.parquet")
    return {
        "num_trials": 12,
        "num_crashed_trials": 1,
        "chosen_trial": best[-1]["trial"],
        "front": [{"trial": row["trial"], "f1": row["f1"]} for row in best],
    }
