"""The content of a report: facts of a run sorted into sections."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from qa_lib.config import Settings, versions
from qa_lib.reporting import charts, layers
from qa_lib.reporting.facts import Facts, look_up
from qa_lib.reporting.pages.text import figure, num_bytes
from qa_lib.runs import storage
from qa_lib.runs.result import labels
from qa_lib.runs.run_folder import CONFIG

SCORES = {"f1": "F1", "em": "EM", "semantic": "Semantic"}
DATA = """
    num_train_questions num_train_windows num_window_passes num_too_long num_quarantined
    num_questions num_windows num_eval_too_long num_golds_too_long num_golds_in_no_window
    num_eval_quarantined num_missing num_trials
    num_crashed_trials
""".split()
SPEED = """
    windows_per_s tokens_per_s eval_windows_per_s train_seconds eval_seconds seconds steps
    num_skipped_steps world_size zero_stage precision products attention device eval_precision
    eval_attention eval_device num_parameters num_parent_parameters weight_bytes
    parent_weight_bytes peak_memory_bytes eval_peak_memory_bytes
""".split()
COSTS = """
    speedup windows_per_s eval_windows_per_s num_parameters weight_bytes peak_memory_bytes
    eval_peak_memory_bytes num_train_questions num_questions seconds
""".split()
_KINDS = (  # of an answer: name, label, colour
    ("right", "exactly right", "k3"),
    ("partly", "partly right", "k1"),
    ("wrong", "wrong", "k2"),
)
_MISSED = (
    (
        "right_in_other_words",
        "Right in other words?",
        "Answers that share few words with the gold answer, but are close to it in meaning.",
    ),
    (
        "right_in_tokens_only",
        "Right in tokens only?",
        "Answers that share many words with the gold answer, but are far from it in meaning.",
    ),
)
_NUM_ARTICLES, _NUM_MISSED = 8, 5  # shown before "more"
_CONTEXT_CHARACTERS = 160  # around an answer


class Figures:
    """Writes fields of result.json into the page, each with its name."""

    def __init__(self, result: Mapping[str, Any]) -> None:
        """Take the fields of result.json."""
        self._result = result

    def get(self, path: str) -> Any:
        """Return a field by its dotted path, such as `intervals.f1.0`, or None."""
        return look_up(self._result, path)

    def known(self, path: str) -> str | None:
        """Return the path of a field that has a value, else None."""
        return None if self.get(path) is None else path

    def __call__(self, path: str, digits: int = 2, units: bool = False) -> Markup:
        """Return a field as HTML; with units, bytes as MiB or GiB."""
        value = self.get(path)
        is_size = units and path.endswith("_bytes")
        text = num_bytes(value) if is_size else figure(value, digits)
        return Markup('<span class="fig" data-field="{}">{}</span>').format(path, text)


def of(facts: Facts) -> dict[str, Any]:
    """Return the values for report.html."""
    figures, titles = Figures(facts.result), labels(facts.job)
    speed = {"speedup": "Speed-up"}
    if "speedup" not in facts.result:
        speed = {"windows_per_s": "Windows per second"}
    return {
        "title": f"{facts.name} · {facts.job}",
        "facts": facts,
        "fig": figures,
        "tiles": _rows(figures, SCORES | speed | {"num_parameters": "Parameters"}),
        "scores": _rows(figures, SCORES | {"best_f1": "F1 at the best threshold"}),
        "outcomes": _outcomes(facts),
        "charts": _charts(facts),
        "data": [(titles[name], name) for name in DATA if figures.known(name)],
        "speed": [(titles[name], name) for name in SPEED if figures.known(name)],
        "memory": _memory(facts),
        "layers": layers.picture(facts),
        "breakdowns": _breakdowns(facts.analysis),
        "examples": [_case(case) for case in facts.analysis.get("examples") or []],
        "mistakes": [_case(case) for case in facts.analysis.get("mistakes") or []],
        "missed": _missed(facts.analysis),
        "num_missed": _NUM_MISSED,
        "changed": _changed_settings(facts.config),
        "settings": list(leaves(facts.config)),
        "command": _command(facts),
        "all_figures": [path for path, _ in leaves(facts.result)],
    }


def _command(facts: Facts) -> str:
    """Return the command that repeats a run; recipes are files of a disk."""
    if not storage.is_local(facts.path):
        return str(facts.result.get("command", ""))
    words = ["python", "-m", f"jobs.{facts.job}", "--recipe", f"{facts.path}/{CONFIG}"]
    return shlex.join(words)


def leaves(values: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted path, value) of nested values; lists of names or whole numbers stay whole."""
    if isinstance(values, Mapping) and values:
        for key, value in values.items():
            yield from leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(values, list) and any(isinstance(i, (dict, list, float)) for i in values):
        for index, value in enumerate(values):
            yield from leaves(value, f"{path}.{index}")
    else:
        yield path, values


def _rows(figures: Figures, names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the fields that have a value: with interval, and the paths of earlier values."""
    parents = {"num_parameters": "num_parent_parameters"}
    return [
        {
            "name": name,
            "path": path,
            "value": figures.get(path),
            "interval": figures.get(f"intervals.{path}"),
            "before": figures.known(parents.get(path, f"{path}_before")),
            "surgery": figures.known(f"{path}_surgery"),
        }
        for path, name in names.items()
        if figures.known(path)
    ]


def _outcomes(facts: Facts) -> list[dict[str, Any]]:
    """Count the questions that are exactly right, partly right, and wrong."""
    if facts.scores is None or not {"em", "f1"} <= set(facts.scores.column_names):
        return []
    rows = facts.scores.select(["em", "f1"]).to_pylist()
    kinds = [_kind(row) for row in rows if row["f1"] is not None]
    return [
        {"name": name, "colour": colour, "count": kinds.count(kind)}
        for kind, name, colour in _KINDS
        if kinds
    ]


def _charts(facts: Facts) -> dict[str, Any]:
    """Return by name the charts that the run has data for."""
    drawn: dict[str, Any] = {}
    if len(facts.metrics) > 1:
        drawn["loss"] = charts.losses(facts.metrics)
        drawn["learning_rate"] = charts.learning_rates(facts.metrics)
        drawn["speed"] = charts.speeds(facts.metrics)
    calibration = facts.analysis.get("calibration")
    if calibration:
        drawn["reliability"] = charts.reliability(calibration)
        drawn["risk_coverage"] = charts.risk_coverage(calibration)
    if facts.analysis.get("no_answer"):
        drawn["thresholds"] = charts.thresholds(facts.analysis["no_answer"])
    if any(row.get("f1") is not None for row in facts.trials):
        drawn["front"] = charts.front(facts.trials, facts.result.get("chosen_trial"))
    return {name: chart for name, chart in drawn.items() if chart}


def _memory(facts: Facts) -> list[dict[str, Any]]:
    """Return the parts of rank 0's state: name, bytes, share in percent, colour."""
    parts = facts.result.get("state_bytes_per_rank") or {}
    total = sum(parts.values())
    return [
        {"name": name, "bytes": size, "share": 100 * size / total, "colour": colour}
        for (name, size), colour in zip(parts.items(), ("k1", "k2", "k3", "k4"), strict=False)
        if total
    ]


def _breakdowns(analysis: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "rows": [{"semantic": None, **row} for row in rows],
            "has_semantic": any(row.get("semantic") is not None for row in rows),
            "num_shown": _NUM_ARTICLES if name == "article" else len(rows),
        }
        for name, rows in (analysis.get("breakdowns") or {}).items()
        if rows
    ]


def _missed(analysis: Mapping[str, Any]) -> list[dict[str, Any]]:
    missed = analysis.get("missed") or {}
    return [
        {"title": title, "words": words, "cases": [_case(case) for case in missed[key] or []]}
        for key, title, words in _MISSED
        if key in missed
    ]


def _case(case: Mapping[str, Any]) -> dict[str, Any]:
    absent = dict.fromkeys(("semantic", "score", "em", "f1", "title", "answer"))
    return {**absent, "gold": (), **case, "kind": _kind(case), "around": _CONTEXT_CHARACTERS}


def _kind(case: Mapping[str, Any]) -> str:
    if case.get("em"):
        return "right"
    return "partly" if case.get("f1") else "wrong"


def _changed_settings(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the settings that differ from the defaults, by dotted name."""
    defaults = dict(leaves(Settings().model_dump(mode="json")))
    told = ((key, value) for key, value in leaves(config) if key != versions.KEY)
    return [(key, value) for key, value in told if defaults.get(key) != value]
