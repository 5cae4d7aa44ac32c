"""ZeRO 0 to 3 over two workers against one worker: the same training, less memory per rank.

    python -m benchmarks.zero
    python -m benchmarks.zero --data.source ~/squad --train.max-steps 20

Every line is a run of the training job through Ray, with the same global batches, without dropout,
in fp32. Compared with one worker without ZeRO: the loss of every step, the logits of 64 fixed
windows after the last one, and, in a second run under plain SGD, every weight. Bytes are rank 0's,
as `--dry-run` predicts them and as measured. With QA_SQUAD_DIR (or ../shared/squad) the questions
are SQuAD's, else the embedded ones.

A constant added to all logits of a window does not change the loss: the gradient of the head's bias
is only rounding, which AdamW with its usual epsilon of 1e-8 scales to whole steps. So epsilon is
BERT's own 1e-6 here; with `--train.adam-epsilon 1e-8` a window's logits all differ by the same, up
to 1e-3, and the log-probabilities, printed too, do not.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

from benchmarks._squad import with_real_squad
from jobs import _runner

FLAGS = """
    --data.train-limit 400 --train.max-steps 20 --train.dropout 0 --train.precision fp32
    --train.micro-batch 8 --train.adam-epsilon 1e-6
    --train.no-freeze-embeddings --train.new-head-multiplier 1
""".split()
NUM_FIXED_WINDOWS = 64
TOLERANCE = 1e-4
SGD_TOLERANCE = 1e-5
MEBIBYTE = 2**20


def train(settings: Any, questions: Any, name: str, **changes: Any) -> tuple[Any, dict[str, Any]]:
    """Run the job's training with other settings; the run folder and its result."""
    from benchmarks._work import train_job

    trained = settings.train.model_copy(update=changes)
    return train_job(settings.model_copy(update={"run_name": name, "train": trained}), questions)


def fixed_logits(run: Any, table: Any) -> Any:
    """Return a trained model's logits of the fixed windows: (2, tokens in all), unpadded."""
    import numpy as np

    from qa_lib.models.inference import Forward

    forward = Forward(run.url("model"), precision="fp32")
    starts, ends = [], []
    for rows, start, end in forward(table):
        for row, length in enumerate(rows["length"].to_pylist()):
            starts.append(start[row, :length])
            ends.append(end[row, :length])
    return [np.stack(pair) for pair in zip(starts, ends, strict=True)]


def largest(pairs: Any) -> float:
    """Return the largest absolute difference of two sequences of arrays."""
    import numpy as np

    return max(float(np.abs(np.asarray(one) - np.asarray(other)).max()) for one, other in pairs)


def log_probabilities(logits: Any) -> Any:
    """Normalise each window's (2, tokens) logits over its tokens."""
    import numpy as np

    return [window - np.logaddexp.reduce(window, axis=1, keepdims=True) for window in logits]


def weights(run: Any) -> dict[str, Any]:
    """Return a trained model's weights."""
    from safetensors.numpy import load_file

    return load_file(run.url("model", "model.safetensors"))


def speed(run: Any) -> float:
    """Return windows per second from the end of the first step to the end of the last."""
    rows = run.read_metrics()
    seconds = rows[-1]["time"] - rows[0]["time"]
    return sum(row["num_windows"] for row in rows[1:]) / seconds


def compare(settings: Any, questions: Any, table: Any) -> list[dict[str, Any]]:
    """Train one worker, and two at every stage; return a row of figures per stage."""
    from qa_lib.machines.memory import memory_per_rank

    one, _ = train(settings, questions, "one", num_workers=1, zero_stage=0)
    sgd = {"optimizer": "sgd", "learning_rate": 0.05}
    one_sgd, _ = train(settings, questions, "one-sgd", num_workers=1, zero_stage=0, **sgd)
    expected, expected_weights = fixed_logits(one, table), weights(one_sgd)
    rows = []
    for stage in range(4):
        changes = {"num_workers": 2, "zero_stage": stage}
        run, result = train(settings, questions, f"two-{stage}", **changes)
        run_sgd, _ = train(settings, questions, f"two-{stage}-sgd", **changes, **sgd)
        assert (result["world_size"], result["zero_stage"]) == (2, stage)
        losses = ([row["loss"] for row in each.read_metrics()] for each in (run, one))
        logits, found = fixed_logits(run, table), weights(run_sgd)
        trained = settings.train.model_copy(update=changes)
        pairs = zip(log_probabilities(logits), log_probabilities(expected), strict=True)
        rows.append(
            {
                "stage": stage,
                "loss": largest(zip(*losses, strict=True)),
                "logits": largest(zip(logits, expected, strict=True)),
                "log_probabilities": largest(pairs),
                "sgd_weights": largest((found[n], expected_weights[n]) for n in expected_weights),
                "predicted": memory_per_rank(result["num_parameters"], trained, "fp32", 2),
                "measured": result["state_bytes_per_rank"],
                "windows_per_s": speed(run),
            }
        )
    return rows


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print differences to one worker, and MiB per rank as predicted / measured."""
    print(
        f"{'ZeRO':>4} {'loss':>9} {'logits':>9} {'log p':>9} {'SGD':>9} "
        f"{'parameters':>17} {'gradients':>17} {'optimizer':>17} {'sum':>17} {'windows/s':>9}"
    )
    for row in rows:
        sizes = [
            (row["predicted"][kind] / MEBIBYTE, row["measured"][kind] / MEBIBYTE)
            for kind in ("parameters", "gradients", "optimizer")
        ]
        sizes.append(tuple(map(sum, zip(*sizes, strict=True))))
        columns = " ".join(f"{predicted:8.1f}/{measured:8.1f}" for predicted, measured in sizes)
        print(
            f"{row['stage']:>4} {row['loss']:9.1e} {row['logits']:9.1e} "
            f"{row['log_probabilities']:9.1e} {row['sgd_weights']:9.1e} {columns} "
            f"{row['windows_per_s']:9.2f}"
        )


def main() -> None:
    """Train, compare and print."""
    _runner.quiet_libraries()
    from qa_lib import config, windows
    from qa_lib.data import load_questions
    from qa_lib.models import load_tokenizer

    settings = config.parse("train", [*FLAGS, *with_real_squad(sys.argv[1:])])
    questions = load_questions(settings.data, "train")
    spec = windows.WindowSpec(settings.data.max_length, settings.data.stride)
    fixed = load_questions(settings.data, "eval").table.slice(0, NUM_FIXED_WINDOWS)
    table = windows.build(fixed, load_tokenizer(settings.model.name), spec).table
    with tempfile.TemporaryDirectory() as folder:
        settings = settings.model_copy(update={"storage": folder})
        rows = compare(settings, questions, table.slice(0, NUM_FIXED_WINDOWS))
    print(f"\n{settings.model.name}, {settings.data.source}, {settings.train.max_steps} steps of ")
    print(f"{settings.train.global_batch} windows; differences to one worker; MiB of rank 0 as ")
    print("predicted / measured\n")
    print_table(rows)
    assert max(row["loss"] for row in rows) <= TOLERANCE
    assert max(row["logits"] for row in rows) <= TOLERANCE
    assert max(row["sgd_weights"] for row in rows) <= SGD_TOLERANCE


if __name__ == "__main__":
    main()
