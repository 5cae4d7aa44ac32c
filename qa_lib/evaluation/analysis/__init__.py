"""What token overlap misses, how sure a score is, and where a system fails.

    result |= scores.analyse(settings, run, questions, predictions, scored)
    scores.compare_tables(scores.read(run_a), scores.read(run_b))["f1"].p_value

Everything here stands beside EM and F1 (`qa_lib.evaluation.metrics`), which stay as the official
scripts define them.
"""

from __future__ import annotations

from qa_lib.evaluation.analysis import semantic
from qa_lib.evaluation.analysis.analyse import ANALYSIS, analyse
from qa_lib.evaluation.analysis.intervals import Comparison, compare, intervals
from qa_lib.evaluation.analysis.table import SCORES, Decoded, compare_tables, read, why_no_semantic

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
    "why_no_semantic",
]
