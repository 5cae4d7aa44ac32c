"""The charts of a report as plotly figures; colours are names of the stylesheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qa_lib.search import pareto

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_SPEED_STEPS = 20  # a speed is the mean of so many optimizer steps
_BREAK_MEDIANS = 10  # a step this many times the median is a break between attempts
_COLOURS = ("var(--c1)", "var(--c2)", "var(--c3)", "var(--c4)", "var(--c5)")


def losses(metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Draw the loss of every step, and its running mean."""
    figure = _figure("step", "loss")
    rows = [row for row in metrics if row.get("loss") is not None]
    steps, values = [row["step"] for row in rows], [row["loss"] for row in rows]
    _curve(figure, steps, values, "every step", "var(--c1-soft)", width=1)
    _curve(figure, steps, _smooth(values), "running mean", "var(--c1)")
    return _plain(figure)


def learning_rates(metrics: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Draw the learning rate of every step."""
    figure = _figure("step", "learning rate")
    x, y = [row["step"] for row in metrics], [row.get("lr") for row in metrics]
    _curve(figure, x, y, "learning rate", "var(--c3)")
    figure.update_yaxes(tickformat=".3~g", rangemode="tozero")
    return _plain(figure)


def speeds(metrics: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Draw windows per second, averaged over the last steps; breaks between attempts are gaps.

    Returns:
        None where fewer than two steps have a time.
    """
    rows = [row for row in metrics if row.get("time") and row.get("num_windows")]
    if len(rows) < 2:
        return None
    seconds = np.diff([row["time"] for row in rows])  # of every step but the first
    is_step = (seconds > 0) & (seconds <= _BREAK_MEDIANS * np.median(seconds))
    windows = np.array([row["num_windows"] for row in rows[1:]])
    width = max(1, min(_SPEED_STEPS, len(seconds) // 4))
    done, spent = (
        np.convolve(np.where(is_step, values, 0.0), np.ones(width), "valid")
        for values in (windows, seconds)
    )
    speed = np.round(done / np.where(spent > 0, spent, np.inf), 2)
    figure = _figure("step", "windows per second")
    _curve(
        figure,
        [row["step"] for row in rows[width:]],
        [float(y) if kept else None for y, kept in zip(speed, is_step[width - 1 :], strict=True)],
        f"mean of {width} steps",
        "var(--c5)",
    )
    figure.update_yaxes(rangemode="tozero")
    return _plain(figure)


def reliability(calibration: dict[str, Any]) -> dict[str, Any]:
    """Draw the accuracy of answers against their confidence, with the diagonal."""
    bins = [one for one in calibration["bins"] if one["num_questions"]]
    most = max((one["num_questions"] for one in bins), default=1)
    figure = _figure("confidence of the answer", "exactly right")
    _curve(figure, [0, 1], [0, 1], "calibrated", "var(--soft)", width=1, dash="dash")
    _curve(
        figure,
        [one["confidence"] for one in bins],
        [one["accuracy"] for one in bins],
        "this model",
        "var(--c1)",
        mode="lines+markers",
        marker={
            "color": "var(--c1)",
            "size": [6 + 14 * (one["num_questions"] / most) ** 0.5 for one in bins],
        },
        text=[
            f"{one['num_questions']:,} questions of confidence {one['low']:.2f} to "
            f"{one['high']:.2f}: {100 * one['accuracy']:.1f} % right"
            for one in bins
        ],
        hoverinfo="text",
    )
    figure.update_xaxes(range=[0, 1.02], tickformat=".0%")
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%")
    return _plain(figure)


def risk_coverage(calibration: dict[str, Any]) -> dict[str, Any]:
    """Draw the share of wrong answers among the most confident answers."""
    curve = calibration["risk_coverage"]
    figure = _figure("share answered, most confident first", "share wrong")
    x, y = [point["coverage"] for point in curve], [point["risk"] for point in curve]
    _curve(figure, x, y, "risk", "var(--c2)", fill="tozeroy", fillcolor="var(--raised)")
    figure.update_xaxes(range=[0, 1], tickformat=".0%")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    return _plain(figure)


def thresholds(no_answer: dict[str, Any]) -> dict[str, Any]:
    """Draw EM and F1 over the threshold for leaving a question unanswered."""
    curve = no_answer["curve"]
    figure = _figure("threshold, in logits", "score")
    x = [point["threshold"] for point in curve]
    _curve(figure, x, [point["f1"] for point in curve], "F1", _COLOURS[0])
    _curve(figure, x, [point["em"] for point in curve], "EM", _COLOURS[1])
    best = no_answer["best_threshold"]
    figure.add_vline(x=best, line={"color": "var(--soft)", "width": 1, "dash": "dash"})
    return _plain(figure)


def front(trials: Sequence[dict[str, Any]], chosen: int | None) -> dict[str, Any]:
    """Draw F1 against latency: a point for each trial, the front, and the chosen model.

    Args:
        trials: Rows of trials.parquet.
        chosen: Number of the chosen trial.
    """
    scored = [row for row in trials if row.get("f1") is not None]
    figure = _figure(*pareto.AXES)
    _curve(figure, *pareto.front_line(scored), "front", "var(--ink)", width=1, hoverinfo="skip")

    def points(rows: Sequence[dict[str, Any]], name: str, hover: bool, **marker: Any) -> None:
        figure.add_scatter(
            x=[row["latency_ms"] for row in rows],
            y=[row["f1"] for row in rows],
            name=name,
            mode="markers",
            marker=marker,
            text=[_trial(row) for row in rows] if hover else None,
            hoverinfo="text" if hover else "skip",
        )

    for number, (name, rows) in enumerate(pareto.by_rung(scored).items()):
        symbol = "square" if name == "parent" else "circle"
        points(rows, name, True, symbol=symbol, size=11, color=_COLOURS[number % len(_COLOURS)])
    ring = {"size": 21, "symbol": "circle-open", "color": "var(--ink)", "line": {"width": 2}}
    for row in scored:
        if row["trial"] == chosen:
            points([row], "chosen", False, **ring)
    return _plain(figure)


def intervals(labels: Sequence[str], scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Draw scores of several runs side by side, with their intervals.

    Args:
        labels: Of the runs.
        scores: For each score its `name`, and by run `values` and `intervals`; None for unknown.
    """
    figure = _figure("", "score")
    for number, label in enumerate(labels):
        points = [
            (row["name"], value, *(row["intervals"][number] or (value, value)))
            for row in scores
            if (value := row["values"][number]) is not None
        ]
        figure.add_scatter(
            x=[name for name, *_ in points],
            y=[value for _, value, *_ in points],
            mode="markers",
            name=label,
            marker={"color": _COLOURS[number % len(_COLOURS)], "size": 9},
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [high - value for _, value, _, high in points],
                "arrayminus": [value - low for _, value, low, _ in points],
                "thickness": 1.5,
            },
        )
    ends = [end for row in scores for pair in row["intervals"] for end in pair or ()]
    ends += [value for row in scores for value in row["values"] if value is not None]
    figure.update_xaxes(type="category", showgrid=False)
    figure.update_yaxes(range=[max(0, min(ends) - 3), min(101, max(ends) + 3)])
    figure.update_layout(scattermode="group", scattergap=0.6)
    return _plain(figure)


def _figure(x: str, y: str) -> Figure:
    import plotly.graph_objects as go

    axis = {
        "gridcolor": "var(--grid)",
        "linecolor": "var(--line)",
        "zeroline": False,
        "automargin": True,
        "title": {"standoff": 8, "font": {"size": 12, "color": "var(--soft)"}},
    }
    figure = go.Figure()
    figure.update_layout(
        template="none",
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, -apple-system, Segoe UI, sans-serif", "size": 12},
        font_color="var(--ink)",
        margin={"l": 8, "r": 12, "t": 30, "b": 8},
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "xanchor": "left"},
        hoverlabel={"bgcolor": "var(--surface)", "bordercolor": "var(--line)"},
        hoverlabel_font={"color": "var(--ink)"},
        hoverlabel_align="left",
        xaxis=axis,
        yaxis=axis,
        xaxis_title_text=x,
        yaxis_title_text=y,
        showlegend=True,
    )
    return figure


def _curve(
    figure: Figure,
    x: Sequence[float],
    y: Sequence[float | None],
    name: str,
    colour: str,
    *,
    width: float = 2,
    dash: str | None = None,
    mode: str = "lines",
    **more: Any,
) -> None:
    line = {"color": colour, "width": width, "dash": dash}
    figure.add_scatter(x=x, y=y, name=name, mode=mode, line=line, **more)


def _plain(figure: Figure) -> dict[str, Any]:
    if len(figure.data) < 2:
        figure.update_layout(showlegend=False, margin_t=10)
    plain: dict[str, Any] = figure.to_plotly_json()
    return plain


def _smooth(values: Sequence[float]) -> list[float]:
    """Return the mean of each value with those before it, over a twentieth of all."""
    width = max(1, len(values) // 20)
    sums = np.cumsum([0.0, *values])
    ends = np.arange(1, len(values) + 1)
    begins = np.maximum(0, ends - width)
    return np.round((sums[ends] - sums[begins]) / (ends - begins), 6).tolist()


def _trial(row: dict[str, Any]) -> str:
    layers = " ".join(map(str, row["kept_layers"]))
    lines = [
        f"<b>trial {row['trial']}: F1 {row['f1']:.2f}, {row['speedup']:.2f}x</b>",
        f"layers {layers}",
        f"hidden {row['hidden_size']}, intermediate {row['intermediate_size']}"
        f"{', ragged' if row.get('ragged') else ''}",
        f"rung {row['rung']}, {row['num_windows']:,} windows",
    ]
    for name in ("importance", "learning_rate", "distill_weight"):
        value = row.get(name)
        text = f"{value:.3g}" if isinstance(value, float) else str(value)
        lines.append(f"{name.replace('_', ' ')} {text}".replace("<", "&lt;"))
    return "<br>".join(lines)
