"""Search of the adjustment that keeps the most F1 for the least latency, on Ray Tune.

    settings = search.with_holdout(settings)
    result = search.search(settings, run)

`explore` obtains the parent (`parent`), enumerates sizes of the `space` near every speed
(`one_shot`, `latency_model`; ragged ones: `shared_out`) and has them cut and ranked (`scoring`).
Trials run on Tune (`tuner`): `rates` proposes settings, `brackets` decide which go on, a `searcher`
hands their rungs to Tune, a `trial_worker` runs them, and a `journal` in the run folder records
them all.
Where sizes are drawn, a `latency_table` rules some out, a `sampler` proposes and `halving` decides.
The chosen models (`results`, `pareto`) are fitted to their `speed` on a `target`, recovered in full
and evaluated once (`front`, `final`).
"""

from qa_lib.search.parent import with_holdout
from qa_lib.search.search import describe, search, summary

__all__ = ["describe", "search", "summary", "with_holdout"]
