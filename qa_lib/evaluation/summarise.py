"""The lines that tell a person what an evaluation measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def summary(result: Mapping[str, Any]) -> str:
    """Return in a few lines what `evaluate` or `score_file` measured."""
    if not result["num_questions"]:
        return "nothing was evaluated: the source has no eval split and no articles were held out"
    lines = [
        f"{_means(result)} of {result['num_questions']:,} questions (SQuAD {result['rules']} rules)"
    ]
    if "language" in result:
        em, f1 = result["language_em"], result["language_f1"]
        lines.append(f"  by the rules of {result['language']}: EM {em:.2f}  F1 {f1:.2f}")
    if "intervals" in result:
        lines += _intervals(result)
    if "calibration_error" in result:
        lines.append(
            f"  calibration error {result['calibration_error']:.3f}, AURC {result['aurc']:.3f}"
        )
    if "best_threshold" in result:
        lines.append(
            f"  best F1 {result['best_f1']:.2f} at --evaluate.no-answer-threshold "
            f"{result['best_threshold']!r}"  # rounded, it may answer one question less
        )
    for prefix, name in (("has_ans_", "answerable"), ("no_ans_", "unanswerable")):
        if f"{prefix}em" in result:
            lines.append(f"  {name}: {_means(result, prefix)}")
    if result.get("num_eval_too_long"):
        lines.append(
            f"  {result['num_eval_too_long']:,} questions leave no room for context in a window,"
            " and count as without an answer"
        )
    if "num_missing" in result:
        effect = "score 0" if result["rules"] == "1.1" else "are left out of the means"
        ids = _some(result["missing_ids"], result["num_missing"])
        lines.append(
            f"  {result['num_missing']:,} questions have no prediction and {effect}: {ids}"
        )
    if "num_extra" in result:
        ids = _some(result["extra_ids"], result["num_extra"])
        lines.append(f"  {result['num_extra']:,} predictions belong to no question: {ids}")
    return "\n".join(lines)


def _means(result: Mapping[str, Any], prefix: str = "") -> str:
    em, f1, total = (result[f"{prefix}{name}"] for name in ("em", "f1", "total"))
    return f"EM {em:.2f}  F1 {f1:.2f}  over {total:,}"


def _intervals(result: Mapping[str, Any]) -> list[str]:
    ends = {name: f"{low:.2f} to {high:.2f}" for name, (low, high) in result["intervals"].items()}
    lines = [f"  95 % intervals by {result['interval_unit']}: EM {ends['em']}, F1 {ends['f1']}"]
    if "semantic" in result:
        lines.append(
            f"  semantic {result['semantic']:.2f} ({ends['semantic']}): "
            f"{result['num_right_in_other_words']:,} answers of low F1 are near in meaning"
        )
    return lines


def _some(ids: tuple[str, ...], count: int, show: int = 10) -> str:
    return ", ".join(ids[:show]) + (f" and {count - show:,} more" if count > show else "")
