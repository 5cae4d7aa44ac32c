"""Beyond EM and F1: meaning, confidence intervals, calibration, and where a system fails.

result |= analysis.analyse(settings, run, questions, predictions, scored)
analysis.compare_tables(analysis.read(run_a), analysis.read(run_b))["f1"].p_value
"""

from __future__ import annotations

from qa_lib.evaluation.analysis import semantic
from qa_lib.evaluation.analysis.analyse import ANALYSIS, analyse
from qa_lib.evaluation.analysis.intervals import Comparison, compare, intervals
from qa_lib.evaluation.analysis.table import (
    SCORES,
    Decoded,
    compare_tables,
    read,
    why_fewer,
    why_no_semantic,
)

__all__ = [
    "ANALYSIS",
    "SCORES",
    "Comparison",
    "Decoded",
    "analyse",
    "compare",
    "compare_tables",
    "intervals",
    "read",
    "semantic",
    "why_fewer",
    "why_no_semantic",
]
