"""What a report shows: facts sorted into the parts of the page."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from qa_lib.config import Settings
from qa_lib.reporting import charts, layers
from qa_lib.reporting.facts import Facts, look_up
from qa_lib.reporting.pages.text import figure
from qa_lib.runs.run_folder import CONFIG

_DATA = (
    ("questions trained on", "num_train_questions"),
    ("windows trained on", "num_train_windows"),
    ("windows, all passes", "num_window_passes"),
    ("questions too long to train on", "num_too_long"),
    ("quarantined training rows", "num_quarantined"),
    ("questions scored", "num_questions"),
    ("windows scored", "num_windows"),
    ("questions too long to score", "num_eval_too_long"),
    ("quarantined rows of the scored", "num_eval_quarantined"),
    ("questions without a prediction", "num_missing"),
    ("trials", "num_trials"),
    ("trials that crashed", "num_crashed_trials"),
)
_SPEED = (
    ("windows trained per second", "windows_per_s"),
    ("tokens trained per second", "tokens_per_s"),
    ("windows scored per second", "eval_windows_per_s"),
    ("seconds of training", "train_seconds"),
    ("seconds of scoring", "eval_seconds"),
    ("seconds in all", "seconds"),
    ("optimizer steps", "steps"),
    ("steps skipped", "num_skipped_steps"),
    ("workers", "world_size"),
    ("ZeRO stage", "zero_stage"),
    ("precision", "precision"),
    ("device", "device"),
    ("device of scoring", "eval_device"),
    ("parameters", "num_parameters"),
    ("parameters of the parent", "num_parent_parameters"),
    ("bytes of weights", "weight_bytes"),
    ("bytes of the parent's weights", "parent_weight_bytes"),
    ("most bytes a worker took, training", "peak_memory_bytes"),
    ("most bytes an actor took, scoring", "eval_peak_memory_bytes"),
)
SCORES = (("f1", "F1"), ("em", "EM"), ("semantic", "Semantic"))
_MEMORY = {"parameters": "k1", "gradients": "k2", "optimizer": "k3"}
_SHOWN_ARTICLES, _SHOWN_MISSES = 8, 5
_AROUND = 160  # characters of context around an answer


class Figures:
    """Writes figures of result.json into the page, each with the name of its field."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        """Take the fields of result.json."""
        self._result = result

    def get(self, path: str) -> Any:
        """Return a field by its dotted path, such as `intervals.f1.0`, or None."""
        return look_up(self._result, path)

    def __call__(self, path: str, digits: int = 2) -> Markup:
        """Return a field as it is shown."""
        text = figure(self.get(path), digits)
        return Markup('<span class="fig" data-field="{}">{}</span>').format(path, text)


def of(facts: Facts) -> dict[str, Any]:
    """Return what the template of the report shows."""
    figures = Figures(facts.result)
    return {
        "title": f"{facts.name} · {facts.job}",
        "facts": facts,
        "fig": figures,
        "tiles": _tiles(facts, figures),
        "scores": _scores(figures),
        "outcomes": _outcomes(facts),
        "charts": _charts(facts),
        "data": _present(_DATA, figures),
        "speed": _present(_SPEED, figures),
        "memory": _memory(facts),
        "layers": layers.picture(facts),
        "breakdowns": _breakdowns(facts.analysis),
        "examples": [_case(case) for case in facts.analysis.get("examples") or []],
        "missed": _missed(facts.analysis),
        "shown_articles": _SHOWN_ARTICLES,
        "shown_misses": _SHOWN_MISSES,
        "changed": _changed_settings(facts.config),
        "settings": list(leaves(facts.config)),
        "again": shlex.join(
            ["python", "-m", f"jobs.{facts.job}", "--recipe", f"{facts.path}/{CONFIG}"]
        ),
        "all_figures": [path for path, _ in leaves(facts.result)],
    }


def leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, value) of what is nested; lists of names or whole numbers stay whole."""
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(values, list) and any(isinstance(i, (dict, list, float)) for i in values):
        for index, value in enumerate(values):
            yield from leaves(value, f"{path}.{index}")
    else:
        yield path, values


def _tiles(facts: Facts, figures: Figures) -> list[dict[str, Any]]:
    tiles = [
        {
            "name": name,
            "path": key,
            "interval": key if figures.get(f"intervals.{key}.1") is not None else None,
            "before": f"{key}_before" if figures.get(f"{key}_before") is not None else None,
        }
        for key, name in SCORES
        if figures.get(key) is not None
    ]
    more = [("speedup", "Speed-up"), ("num_parameters", "Parameters")]
    if "speedup" not in facts.result:
        more = [("windows_per_s", "Windows per second"), *more[1:]]
    for key, name in more:
        if figures.get(key) is not None:
            before = "num_parent_parameters" if key == "num_parameters" else None
            known = before and figures.get(before) is not None
            tiles.append(
                {"name": name, "path": key, "interval": None, "before": before if known else None}
            )
    return tiles


def _scores(figures: Figures) -> list[dict[str, Any]]:
    moments = ("before", "surgery")
    return [
        {
            "name": name,
            "path": key,
            "value": figures.get(key),
            "interval": figures.get(f"intervals.{key}"),
            **{
                moment: f"{key}_{moment}" if figures.get(f"{key}_{moment}") is not None else None
                for moment in moments
            },
        }
        for key, name in (*SCORES, ("best_f1", "F1 at the best threshold"))
        if figures.get(key) is not None
    ]


def _outcomes(facts: Facts) -> list[dict[str, Any]]:
    """Count the questions that are exactly right, partly right, and wrong."""
    if facts.scores is None or not {"em", "f1"} <= set(facts.scores.column_names):
        return []
    pairs = zip(facts.scores["em"].to_pylist(), facts.scores["f1"].to_pylist(), strict=True)
    kinds = [_kind({"em": em, "f1": f1}) for em, f1 in pairs if f1 is not None]
    names = (
        ("right", "exactly right", "k3"),
        ("partly", "partly right", "k1"),
        ("wrong", "wrong", "k2"),
    )
    return [
        {"name": name, "colour": colour, "count": kinds.count(kind)}
        for kind, name, colour in names
        if kinds
    ]


def _charts(facts: Facts) -> dict[str, Any]:
    """Return the charts that there is something for, by name."""
    found: dict[str, Any] = {}
    if len(facts.metrics) > 1:
        found["loss"] = charts.losses(facts.metrics)
        found["learning_rate"] = charts.learning_rates(facts.metrics)
        speed = charts.speeds(facts.metrics)
        found |= {"speed": speed} if speed else {}
    calibration = facts.analysis.get("calibration")
    if calibration:
        found["reliability"] = charts.reliability(calibration)
        found["risk_coverage"] = charts.risk_coverage(calibration)
    if facts.analysis.get("no_answer"):
        found["thresholds"] = charts.thresholds(facts.analysis["no_answer"])
    if any(row.get("f1") is not None for row in facts.trials):
        found["front"] = charts.front(facts.trials, facts.result.get("chosen_trial"))
    return found


def _present(rows: Sequence[tuple[str, str]], figures: Figures) -> list[tuple[str, str]]:
    return [(name, path) for name, path in rows if figures.get(path) is not None]


def _memory(facts: Facts) -> list[dict[str, Any]]:
    """Return the parts of rank 0's state in bytes, with their share of it."""
    parts = facts.result.get("state_bytes_per_rank") or {}
    total = sum(parts.values())
    colours = iter(("k1", "k2", "k3", "k4"))
    return [
        {
            "name": name,
            "bytes": size,
            "share": 100 * size / total,
            "colour": _MEMORY.get(name) or next(colours),
        }
        for name, size in parts.items()
        if total
    ]


def _breakdowns(analysis: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = analysis.get("breakdowns") or {}
    return [
        {
            "name": name,
            "rows": [{"semantic": None, **row} for row in rows],
            "has_semantic": any(row.get("semantic") is not None for row in rows),
            "is_article": name == "article",
        }
        for name, rows in found.items()
        if rows
    ]


def _missed(analysis: Mapping[str, Any]) -> list[dict[str, Any]]:
    missed = analysis.get("missed") or {}
    words = (
        (
            "right_in_other_words",
            "Right in other words?",
            "Little overlap with the gold answer, but close to it in meaning.",
        ),
        (
            "right_in_tokens_only",
            "Right in tokens only?",
            "Much overlap with the gold answer, but far from it in meaning.",
        ),
    )
    return [
        {
            "title": title,
            "words": text,
            "cases": [_case(case) for case in missed.get(key) or []],
        }
        for key, title, text in words
        if key in missed
    ]


def _case(case: Mapping[str, Any]) -> dict[str, Any]:
    absent = dict.fromkeys(("semantic", "score", "em", "f1", "title", "answer"))
    return {**absent, "gold": (), **case, "kind": _kind(case), "around": _AROUND}


def _kind(case: Mapping[str, Any]) -> str:
    if case.get("em"):
        return "right"
    return "partly" if case.get("f1") else "wrong"


def _changed_settings(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return what is not as the defaults say, by dotted name."""
    defaults = dict(leaves(Settings().model_dump(mode="json")))
    return [(key, value) for key, value in leaves(config) if defaults.get(key) != value]
