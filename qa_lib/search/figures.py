"""The front as a picture, pareto.png; `qa_lib.reporting` draws it to be hovered over."""

from __future__ import annotations

import io
from typing import Any

from qa_lib.runs.run_folder import RunFolder
from qa_lib.search import pareto

PARETO = "pareto.png"


def draw(run: RunFolder, rows: list[dict[str, Any]], chosen: int) -> None:
    """Write the picture.

    Args:
        run: Receives it.
        rows: Of `results.rows`.
        chosen: Number of the chosen trial.
    """
    scored = [row for row in rows if row["f1"] is not None]
    run.write_bytes(PARETO, _png(scored, chosen))


def _png(rows: list[dict[str, Any]], chosen: int) -> bytes:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, group in pareto.groups(rows).items():
        marker = "s" if name == "parent" else "o"
        axes.scatter(
            [r["latency_ms"] for r in group], [r["f1"] for r in group], label=name, marker=marker
        )
    axes.plot(*pareto.front(rows), color="black", linewidth=1, label="front", zorder=0)
    best = next(row for row in rows if row["trial"] == chosen)
    axes.scatter(
        best["latency_ms"],
        best["f1"],
        s=180,
        facecolors="none",
        edgecolors="black",
        label=f"chosen: trial {chosen}, {best['speedup']:.2f}x",
    )
    axes.set_xlabel(pareto.AXES[0])
    axes.set_ylabel(pareto.AXES[1])
    axes.grid(alpha=0.3)
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
