"""Search of the adjustment that keeps the most F1 for the least latency, on Ray Tune.

    settings = search.with_holdout(settings)
    result = search.search(settings, run)

`search` obtains the parent (`parent`), prices the sizes of the `space` and rules some out
(`latency_table`), and runs trials on Tune (`tuner`): a `sampler` draws settings, `halving` decides
which trials go on, a `searcher` hands their rungs to Tune, a `trial_worker` runs them, and a
`journal` in the run folder records them all. The model chosen from the front (`results`, `pareto`)
is recovered in full and evaluated once (`final`).
"""

from qa_lib.search.parent import with_holdout
from qa_lib.search.search import describe, search, summary

__all__ = ["describe", "search", "summary", "with_holdout"]
