"""A smaller model out of a bigger one: adjust, prove, score, and distil back what was lost.

    result = recover.adjust_and_recover(settings, run)

The run folder gets plan.json, `model/`, and, where the model is recovered, `adjusted/`: the model
right after surgery, from which the training starts.
"""

from __future__ import annotations

from qa_lib.recover.cutting import describe, sizes_of, write_model
from qa_lib.recover.recovery import adjust_and_recover, compare, summary

__all__ = ["adjust_and_recover", "compare", "describe", "sizes_of", "summary", "write_model"]
