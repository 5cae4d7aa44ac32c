"""Write questions as sharded Parquet with a manifest, for any machine or bucket to train from.

    python -m jobs.prepare --data.source ~/squad --run-name squad-shards
    python -m jobs.train --data.source runs/squad-shards/data

Every row is validated first; bad ones go to quarantine-SPLIT.jsonl in the run folder, with the
reason. `--data.train-limit` and `--data.eval-limit` apply; articles are held out when training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs._runner import Job

if TYPE_CHECKING:
    from qa_lib.config import Settings
    from qa_lib.runs.run_folder import RunFolder


def describe(settings: Settings) -> str:
    """Return the counts of every split of the source."""
    from qa_lib.data import load_splits

    return "\n".join(f"{questions}: nothing is written" for questions in load_splits(settings.data))


def run(settings: Settings, folder: RunFolder) -> None:
    """Validate the source's splits, and write them to RUN/data."""
    from qa_lib.data import load_splits, write_shards
    from qa_lib.runs.result import Prepared

    splits = load_splits(settings.data, quarantine_dir=folder.path)
    manifest = write_shards(splits, folder.url("data"))
    facts = {}
    for questions in splits:
        shards = manifest["splits"][questions.split]["shards"]
        print(f"{questions}, in {len(shards)} shards")
        facts[questions.split] = {
            "num_questions": len(questions),
            "num_articles": len(questions.titles),
            "num_quarantined": questions.num_quarantined,
            "num_shards": len(shards),
            "num_bytes": sum(shard["num_bytes"] for shard in shards),
            "fingerprint": questions.fingerprint,
        }
    folder.write_result(Prepared(data=folder.url("data"), splits=facts), status="running")


def summary(result: dict[str, Any], folder: RunFolder) -> str:
    """Return the flag that trains on the shards."""
    return f"Use them with --data.source {result['data']}"


JOB = Job(
    "prepare",
    run,
    describe,
    summary,
    first_groups=("data",),
    first_flags=("data.eval_source", "data.columns", "data.version", "data.bad_row_limit"),
)

if __name__ == "__main__":
    JOB.main()
