"""Cut a model's layers and widths, every dependent tensor with them, and win the accuracy back.

    python -m jobs.adjust --model.name runs/train-quickstart-001 --adjust.intermediate-size 768
    python -m jobs.adjust --model.name runs/mine --adjust.num-layers 4 --adjust.recover
    python -m jobs.adjust --model.name runs/mine --adjust.target-speedup 2.0 --dry-run

The run folder gets plan.json, model/ (loads with stock transformers, unless --adjust.ragged),
predictions.json, report.html and result.json (scores before, after surgery and at the end;
parameters, bytes, latencies).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import _entry

if TYPE_CHECKING:
    from qa_lib.config import Settings


def adjust(settings: Settings) -> None:
    """Adjust, recover where asked to, and say where the result is."""
    from qa_lib import doctor, reporting
    from qa_lib.adjust import pipeline, prune
    from qa_lib.models import card
    from qa_lib.runs.run_folder import RunFolder

    if settings.dry_run:
        RunFolder.check(settings, "adjust")
        print(settings.to_yaml())
        print(prune.describe(settings))
        return
    doctor.require(settings, scores_answers=True)
    with RunFolder.open(settings, "adjust") as run:
        result = pipeline.adjust_and_recover(settings, run)
        run.write_result(result)
        print(pipeline.summary(result))
        print(card.how_to_load(run))
    print(reporting.draw(run))


if __name__ == "__main__":
    _entry.main("adjust", adjust)
