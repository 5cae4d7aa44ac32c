"""Write questions as sharded Parquet with a manifest, for any machine or bucket to train from.

    python -m jobs.prepare --data.source ~/squad --run-name squad-shards
    python -m jobs.train --data.source runs/squad-shards/data

Every row is validated first; bad ones go to quarantine-SPLIT.jsonl in the run folder, with the
reason. `--data.train-limit` and `--data.eval-limit` apply; articles are held out when training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs import _entry

if TYPE_CHECKING:
    from qa_lib.config import Settings


def prepare(settings: Settings) -> None:
    """Validate the source's splits and write them to RUN/data."""
    from qa_lib import doctor
    from qa_lib.data import load_splits, write_shards
    from qa_lib.runs.run_folder import RunFolder

    if settings.dry_run:
        RunFolder.check(settings, "prepare")
        print(settings.to_yaml())
        for questions in load_splits(settings.data):
            print(f"{questions}: nothing is written")
        return
    doctor.require(settings)
    with RunFolder.open(settings, "prepare") as run:
        splits = load_splits(settings.data, quarantine_dir=run.path)
        manifest = write_shards(splits, run.url("data"))
        result = {}
        for questions in splits:
            shards = manifest["splits"][questions.split]["shards"]
            print(f"{questions}, in {len(shards)} shards")
            result[questions.split] = {
                "num_questions": len(questions),
                "num_articles": len(questions.titles),
                "num_quarantined": questions.num_quarantined,
                "num_shards": len(shards),
                "num_bytes": sum(shard["num_bytes"] for shard in shards),
                "fingerprint": questions.fingerprint,
            }
        run.write_result({"data": run.url("data"), "splits": result})
        print(f"Use them with --data.source {run.url('data')}")


if __name__ == "__main__":
    _entry.main("prepare", prepare)
