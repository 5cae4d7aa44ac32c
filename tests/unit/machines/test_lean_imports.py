"""What a command may import: modules that cost its start, and that it has no use for."""

import subprocess
import sys

from tests.support import tiny

# In a process of its own, as imports are for good.
COMMANDS = """
import sys
from jobs import answer, train

def run(job, *flags):
    job.JOB.execute(job.JOB.parse(flags))

run(answer, "--model.name", sys.argv[1], "--answer.question", "Who?", "--answer.context", "Ann did")
assert "torch" in sys.modules and "transformers" in sys.modules
print("loaded", *sorted(set(sys.argv[2:]) & set(sys.modules)))
short = ("--data.max-length", "96", "--data.stride", "32")
run(train, "--model.name", sys.argv[1], *short, "--dry-run")
print("loaded", *sorted(set(sys.argv[2:]) & set(sys.modules)))

from qa_lib.evaluation.analysis import semantic
semantic.Encoder("embedded").embed(["a text"])
print("loaded", *sorted(set(sys.argv[2:]) & set(sys.modules)))

import pyarrow as pa
print(pa.table({"a": [1]}).to_pandas()["a"][0], pa.array(__import__("pandas").Series([2]))[0])
"""
HEAVY = (
    "pandas",
    "scipy.optimize",
    "ray",
    "deepspeed",
    "sentence_transformers",
    "datasets",
    "sklearn",
    "optuna",
    "onnxruntime",
)


def test_a_question_a_preview_and_an_encoder_import_nothing_heavy_beside_transformers(tmp_path):
    model = tiny.write_model(tmp_path / "model")
    command = [sys.executable, "-c", COMMANDS, model, *HEAVY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("loaded")] == ["loaded"] * 3
    assert lines[-1] == "1 2"  # pandas works where it is wanted


def test_the_controller_of_ray_train_imports_no_torch():
    modules = ", ".join(
        f"qa_lib.training.{name}" for name in ("driver", "planned_data", "rendezvous")
    )
    command = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", command], check=True)
