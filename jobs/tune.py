"""Search for the smaller model that keeps the most F1 for the least latency, and recover it.

    python -m jobs.tune
    python -m jobs.tune --search.parent runs/mine --search.objective f1 --search.min-speedup 2.0
    python -m jobs.tune --search.num-trials 40 --search.time-budget-s 3600

The run folder gets trials.parquet and trials.csv, pareto.png, report.html, plan.json, model/,
predictions.json, result.json and tensorboard/. A stopped search goes on with --resume.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import _entry

if TYPE_CHECKING:
    from qa_lib.config import Settings


def tune(settings: Settings) -> None:
    """Search, recover the chosen model, and say where the result is."""
    from qa_lib import doctor, reporting, search
    from qa_lib.runs.run_folder import RunFolder
    from qa_lib.runs.storage import to_json

    settings = search.with_holdout(settings)
    if settings.dry_run:
        RunFolder.check(settings, "tune")
        print(settings.to_yaml())
        print(to_json(search.describe(settings), indent=2))
        return
    doctor.require(settings, scores_answers=True)
    with RunFolder.open(settings, "tune") as run:
        result = search.search(settings, run)
        run.write_result(result)
        print(search.summary(result))
        print(f"{run.url('model')} is the chosen model")
    print(reporting.draw(run))


if __name__ == "__main__":
    _entry.main("tune", tune)
