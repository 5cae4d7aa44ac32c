"""Search of the adjustment that keeps the most F1 for the least latency, on Ray Tune.

    settings = search.with_holdout(settings)
    result = search.search(settings, run)

A latency table rules sizes out, Optuna proposes settings, asynchronous halving decides which trials
go on, Tune runs their rungs, and a journal in the run folder remembers all of it. The chosen model
is recovered in full and evaluated once.
"""

from __future__ import annotations

from qa_lib.search.driver import describe, search, summary
from qa_lib.search.parent import with_holdout

__all__ = ["describe", "search", "summary", "with_holdout"]
