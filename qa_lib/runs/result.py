"""What result.json says: sections of typed fields, each labelled and described once.

    run.write_result(Trained(steps=385, num_train_windows=3079, ...))

A section is what one part of a job contributes. result.json is flat: the sections' fields stand in
it side by side, those that were not set are left out. Labels of reports, model cards and
comparisons, and docs/reference/results.md, come from here.
"""

from __future__ import annotations

from typing import Any

from qa_lib.runs.sections import Evaluated, Ran, Scored, Section, Status, Trained, described

__all__ = [
    "SECTIONS",
    "Adjusted",
    "Evaluated",
    "Exported",
    "Prepared",
    "Ran",
    "Scored",
    "Searched",
    "Section",
    "Status",
    "Trained",
    "labels",
]


class Sized(Section):
    """The sizes of an adjusted model."""

    stages: list[dict[str, Any]] = described(
        "earlier stages", "Sizes, window passes and seconds of each stage before the last."
    )
    kept_layers: list[int] = described("layers kept", "Which layers of the parent stay, from 0.")
    hidden_size: int = described("hidden size", "Width of the residual stream.")
    num_heads: int = described("heads", "Attention heads of a layer; the mean where layers differ.")
    intermediate_size: int = described(
        "intermediate size", "Feed-forward width of a layer; the mean where layers differ."
    )


class Adjusted(Sized):
    """What a cut left of its parent, what was proved of it, and what it costs."""

    parent: str = described("parent", "The model that was cut.")
    parent_sha256: str = described("parent, hash", "SHA-256 of its weights.")
    blocks: dict[str, Any] | None = described(
        "layers", "Heads and width of every layer where they differ."
    )
    vocabulary_size: int = described("vocabulary", "Tokens of the tokenizer.")
    proof: dict[str, Any] = described(
        "proof", "Tensors compared, and largest differences of logits to what the plan says."
    )
    num_parameters: int = described("parameters", "Parameters of the model.")
    num_parent_parameters: int = described("parameters of the parent", "Parameters of the parent.")
    num_parent_layers: int = described("layers of the parent", "Layers of the parent.")
    weight_bytes: int = described("bytes of weights", "Bytes of the model's tensors.")
    parent_weight_bytes: int = described(
        "bytes of the parent's weights", "Of the parent's tensors."
    )
    speedup: float = described(
        "speed-up",
        "Times the parent's speed: one window of 384 tokens, or of as many as there are positions, "
        "measured in turns.",
    )
    latencies: list[dict[str, Any]] = described(
        "latencies", "Milliseconds of a pass of both models, by windows and tokens."
    )
    latency_device: str = described("device of latencies", "cpu or cuda.")
    latency_threads: int = described("threads of latencies", "Threads of torch.")
    adjust_seconds: float = described("seconds of the cut", "Plan, cut, proof and latencies.")
    f1_before: float = described("F1 before", "The parent's F1 on the same questions.")
    em_before: float = described("EM before", "The parent's EM.")
    f1_surgery: float = described(
        "F1 after surgery", "F1 right after the cut, before any recovery."
    )
    em_surgery: float = described("EM after surgery", "EM right after the cut.")
    recovery_learning_rate: float = described(
        "learning rate of the recovery",
        "Of a model that a search chose: the peak in its whole training.",
    )


class Searched(Sized):
    """What a search tried, and which model it chose."""

    parent: str = described("parent", "The model that was cut.")
    num_trials: int = described("trials", "Settings that were tried.")
    num_crashed_trials: int = described("crashed trials", "Trials that ended in an error.")
    num_trials_per_rung: list[int] = described("trials per rung", "Trials that reached each rung.")
    num_sizes: dict[str, int] = described(
        "sizes", "Sizes of the space, measured, and ruled out before any training."
    )
    trial_seconds: float = described("seconds of trials", "Sum over all rungs of all trials.")
    search_windows: int = described("windows trained by trials", "Sum over all trials.")
    search_windows_full_budgets: int = described(
        "windows without halving", "What the trials would have trained at full budgets."
    )
    search_windows_saved: float | None = described("saved by halving", "Share of those, 0 to 1.")
    rank_correlations: list[dict[str, Any]] = described(
        "rank correlations", "Spearman's correlation of each rung's F1 with the top rung's."
    )
    front: list[dict[str, Any]] = described(
        "front", "Trials that no other beats in F1 and latency."
    )
    target: str = described("target", "What speed-ups were measured on.")
    asked_speedup: float = described("speed-up asked for", "Of the chosen model.")
    speedup_measured: float = described(
        "speed-up, measured", "Of the chosen sizes on the target, in turns with the parent."
    )
    speedup_interval: list[float] = described(
        "interval of the speed-up", "Lowest and highest of six builds."
    )
    chosen_trial: int = described("chosen trial", "Number of the trial that was recovered in full.")
    chosen_reaches_min_speedup: bool = described(
        "reaches the speed-up", "Whether the chosen model is as fast as was asked."
    )
    f1_held_out_parent: float = described("F1 held out, parent", "On held-out training articles.")
    f1_held_out: float = described("F1 held out", "The chosen trial's, on held-out articles.")
    num_layers: int = described("layers", "Layers of the chosen model.")
    ragged: bool = described("ragged", "Whether its layers differ in heads and width.")
    importance: str = described("importance", "How units were scored.")
    learning_rate: float = described("learning rate", "The chosen trial's, at its peak.")
    distill_weight: float = described(
        "weight of the teacher", "In the chosen trial and its recovery."
    )


class Exported(Scored):
    """ONNX files beside PyTorch: bytes, logits, answers, latencies."""

    model: str = described("model", "The model that was exported.")
    model_fingerprint: str = described("model, hash", "SHA-256 of its weights.")
    num_parameters: int = described("parameters", "Parameters of the model.")
    opset: int = described("opset", "Version of the ONNX operators.")
    max_logit_error: float = described("largest logit error", "Of the float32 file to PyTorch.")
    max_logit_error_int8: float = described("largest logit error, int8", "Of the int8 file.")
    logit_tolerance: float = described("tolerance", "Largest logit error that an export may have.")
    pytorch_bytes: int = described("bytes, PyTorch", "Bytes of the safetensors files.")
    onnx_bytes: int = described("bytes, ONNX", "Bytes of the float32 file.")
    int8_bytes: int = described("bytes, int8", "Bytes of the int8 file.")
    num_windows: int = described("evaluated windows", "Windows that each variant read.")
    num_eval_too_long: int = described(
        "evaluated questions that are too long", "No room for context."
    )
    f1_pytorch: float = described("F1, PyTorch", "F1 of the PyTorch model.")
    em_pytorch: float = described("EM, PyTorch", "EM of the PyTorch model.")
    f1_int8: float = described("F1, int8", "F1 of the int8 file.")
    em_int8: float = described("EM, int8", "EM of the int8 file.")
    num_same_answers: dict[str, int] = described("same answers", "Answers equal to PyTorch's.")
    latencies: list[dict[str, Any]] = described(
        "latencies", "Milliseconds of a pass of each variant, by windows, tokens and threads."
    )
    latency_device: str = described("device of latencies", "cpu.")
    latency_threads: int = described("threads of latencies", "All threads of torch.")


class Prepared(Section):
    """Shards written by the job prepare."""

    data: str = described("data", "The folder of shards, a --data.source.")
    splits: dict[str, Any] = described("splits", "Counts, bytes and hash of each split.")


SECTIONS = {
    "train": (Ran, Trained, Evaluated),
    "evaluate": (Ran, Evaluated),
    "adjust": (Ran, Adjusted, Trained, Evaluated),
    "tune": (Ran, Searched, Adjusted, Trained, Evaluated),
    "export": (Ran, Exported),
    "prepare": (Ran, Prepared),
}
"""The sections in the result.json of each job."""


def labels(job: str) -> dict[str, str]:
    """Return the label of every field by name.

    Where sections share a name, those of the job itself decide, the first before the others.
    """
    found: dict[str, str] = {}
    for name in (*SECTIONS, job):
        for section in reversed(SECTIONS.get(name, ())):
            found |= {key: str(field.title) for key, field in section.model_fields.items()}
    return found
