"""The front as a picture: pareto.png, and an interactive plot in report.html."""

from __future__ import annotations

import io
from html import escape
from typing import Any

from qa_lib.run import RunFolder

PARETO, REPORT = "pareto.png", "report.html"
_AXES = ("latency of one 384-token window, ms", "F1 on held-out training articles")


def draw(run: RunFolder, rows: list[dict[str, Any]], chosen: int) -> None:
    """Write both pictures.

    Args:
        run: Receives them.
        rows: Of `results.rows`.
        chosen: Number of the chosen trial.
    """
    scored = [row for row in rows if row["f1"] is not None]
    with run.filesystem.open_output_stream(f"{run.root}/{PARETO}") as file:
        file.write(_png(scored, chosen))
    run.write_text(REPORT, _html(run.name, scored, chosen))


def _groups(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each rung, the parent by itself."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["rung"]):
        name = "parent" if row["status"] == "parent" else f"rung {row['rung']}"
        groups.setdefault(name, []).append(row)
    return groups


def _front(rows: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    front = sorted((row["latency_ms"], row["f1"]) for row in rows if row["on_front"])
    return [latency for latency, _ in front], [f1 for _, f1 in front]


def _png(rows: list[dict[str, Any]], chosen: int) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, group in _groups(rows).items():
        marker = "s" if name == "parent" else "o"
        axes.scatter(
            [r["latency_ms"] for r in group], [r["f1"] for r in group], label=name, marker=marker
        )
    axes.plot(*_front(rows), color="black", linewidth=1, label="front", zorder=0)
    best = next(row for row in rows if row["trial"] == chosen)
    axes.scatter(
        best["latency_ms"],
        best["f1"],
        s=180,
        facecolors="none",
        edgecolors="black",
        label=f"chosen: trial {chosen}, {best['speedup']:.2f}x",
    )
    axes.set_xlabel(_AXES[0])
    axes.set_ylabel(_AXES[1])
    axes.grid(alpha=0.3)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _html(title: str, rows: list[dict[str, Any]], chosen: int) -> str:
    """Return a page that needs no network: plotly's script is inside."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for name, group in _groups(rows).items():
        figure.add_scatter(
            x=[row["latency_ms"] for row in group],
            y=[row["f1"] for row in group],
            text=[_hover(row) for row in group],
            hoverinfo="text",
            mode="markers",
            name=name,
            marker={"size": 10, "symbol": "square" if name == "parent" else "circle"},
        )
    x, y = _front(rows)
    figure.add_scatter(x=x, y=y, mode="lines", name="front", line={"color": "black", "width": 1})
    best = next(row for row in rows if row["trial"] == chosen)
    figure.add_scatter(
        x=[best["latency_ms"]],
        y=[best["f1"]],
        mode="markers",
        name=f"chosen: trial {chosen}",
        hoverinfo="skip",
        marker={"size": 20, "symbol": "circle-open", "color": "black", "line": {"width": 2}},
    )
    figure.update_layout(xaxis_title=_AXES[0], yaxis_title=_AXES[1], template="plotly_white")
    plot = figure.to_html(include_plotlyjs=True, full_html=False)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}'
        f"</title></head>\n<body><h1>{escape(title)}</h1>\n{plot}\n</body></html>\n"
    )


def _hover(row: dict[str, Any]) -> str:
    lines = [f"trial {row['trial']}: F1 {row['f1']:.2f}, {row['speedup']:.2f}x"]
    names = ("kept_layers", "hidden_size", "intermediate_size", "importance", "learning_rate")
    lines += [
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {escape(str(value))}"
        for name in (*names, "distill_weight", "rung", "num_windows")
        for value in [row[name]]
    ]
    return "<br>".join(lines)
