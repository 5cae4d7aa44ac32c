"""What result.json says: sections of typed fields, each labelled and described once.

    run.write_result(Trained(steps=385, num_train_windows=3079, ...))

A section is what one part of a job contributes. result.json is flat: the sections' fields stand in
it side by side, those that were not set are left out. Labels of reports, model cards and
comparisons, and docs/reference/results.md, come from here.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["running", "done", "failed", "interrupted"]
Interval = tuple[float, float]


def _field(label: str, description: str) -> Any:
    """Declare a field that is left out of result.json where it does not apply."""
    return Field(default=None, title=label, description=description)


class Section(BaseModel):
    """Fields that one part of a job contributes to result.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def fields(self) -> dict[str, Any]:
        """Return the fields that were set, by name."""
        return {
            name: getattr(self, name)
            for name in self.__class__.model_fields
            if name in self.model_fields_set
        }


class Ran(Section):
    """The run itself, whatever the job."""

    schema_version: int = _field("format", "Version of the fields of result.json.")
    job: str = _field("job", "Name of the job.")
    run_name: str = _field("run", "Name of the run folder.")
    status: Status = _field("status", "running, done, failed or interrupted.")
    error: str = _field("error", "First line of the error that ended the run.")
    seconds: float = _field("total, seconds", "Wall time of all attempts, in seconds.")
    started_at: str = _field("started", "When this attempt started, UTC, ISO 8601.")
    host: str = _field("host", "Name of the machine that the command ran on.")
    hardware: str = _field("hardware", "Processor, cores, memory and GPUs of that machine.")
    command: str = _field("command", "The command, as it would be typed again.")
    commit: str | None = _field("commit", "Commit of the code, `+` if changed; null: no checkout.")
    versions: dict[str, str] = _field("versions", "Versions of Python and the main libraries.")


class Trained(Section):
    """What was trained, on what, and how fast."""

    num_train_questions: int = _field("training questions", "Questions with at least one window.")
    num_train_windows: int = _field("training windows", "Windows of those questions.")
    num_teacher_only_questions: int = _field(
        "questions taught alone", "More questions, whose labels were not used."
    )
    num_teacher_only_windows: int = _field(
        "windows taught alone", "Their windows, which the training windows include."
    )
    num_teacher_only_held_out: int = _field(
        "questions of held-out articles left out",
        "Of those questions, left out: they are of held-out articles.",
    )
    num_teacher_only_known: int = _field(
        "labelled questions left out", "Of those questions, left out: they are trained on by label."
    )
    teacher_only_fingerprint: str = _field(
        "questions taught alone, content", "SHA-256 of the questions taught alone."
    )
    num_window_passes: int = _field(
        "training windows, all epochs", "Windows trained, repeats counted."
    )
    num_too_long: int = _field(
        "training questions that are too long",
        "Questions that leave no room for context in a window.",
    )
    num_quarantined: int = _field(
        "training rows in quarantine", "Rows left out because something is wrong with them."
    )
    train_notes: dict[str, int] = _field(
        "changes to training rows", "What reading cut off, found or left out, and how often."
    )
    train_fingerprint: str = _field("training data", "SHA-256 of the questions trained on.")
    holdout_titles: list[str] = _field(
        "held-out articles", "Titles of training articles that were kept out of training."
    )
    train_seconds: float = _field(
        "training, seconds", "From the start of the workers to their end, in seconds."
    )
    train_loop_seconds: float = _field(
        "seconds of steps", "From the first window to the last step, in seconds."
    )
    micro_batch: int = _field("micro-batch", "Windows that a rank processes at a time.")
    teacher: str = _field("teacher", "Model whose logits were distilled.")
    teacher_logits: str = _field("teacher's logits", "Where its logits are stored.")
    num_teacher_windows_computed: int = _field(
        "windows taught anew", "Windows whose teacher logits this run computed."
    )
    num_teacher_windows_cached: int = _field(
        "windows taught before", "Windows whose teacher logits were stored already."
    )
    teacher_seconds: float = _field("seconds of teaching", "Time for the teacher's logits.")
    steps: int = _field("optimizer steps", "Optimizer steps taken.")
    ending: Literal["done", "stopped", "diverged"] = _field("ending", "How the workers ended.")
    num_evaluations: int = _field(
        "evaluations on the way", "Evaluations on held-out articles during the training."
    )
    evaluations: list[dict[str, Any]] = _field(
        "held-out scores by step", "Step, f1 and em of each of them."
    )
    best_step: int = _field("best step", "Steps after which the model was best, which is kept.")
    best_held_out_f1: float = _field("F1 held out, best", "F1 of that model on those articles.")
    best_held_out_em: float = _field("EM held out, best", "Its exact match there.")
    stopped_early: bool = _field(
        "stopped early", "Whether train.patience ended the training before its last step."
    )
    num_skipped_steps: int = _field("skipped steps", "Steps whose gradients were not finite.")
    num_rollbacks: int = _field("rollbacks", "Returns to a checkpoint after a divergence.")
    num_regroups: int = _field(
        "regroups", "Groups of workers that went on from a checkpoint made for them."
    )
    windows_per_s: float = _field("training windows per second", "Of steps alone, all workers.")
    tokens_per_s: float = _field("training tokens per second", "The same in tokens, no padding.")
    num_parameters: int = _field("parameters", "Parameters of the model.")
    world_size: int = _field("workers", "Ranks of the training group.")
    zero_stage: int = _field("ZeRO stage", "What DeepSpeed partitions: 0 nothing, 3 everything.")
    precision: str = _field("precision", "fp32, bf16 or fp16.")
    products: str = _field("matrix products", "Library of float32 products on a CPU.")
    attention: str = _field("attention", "Attention kernel: sdpa, batched or eager.")
    kernels_ms: dict[str, float] = _field(
        "kernels, milliseconds", "Time of a layer's step by candidate, as measured at the start."
    )
    device: str = _field("training device", "cpu, or the CUDA device of rank 0.")
    state_bytes_per_rank: dict[str, int] = _field(
        "state of a rank", "Bytes of parameters, gradients and optimizer state on rank 0."
    )
    peak_memory_bytes: int = _field(
        "peak bytes of a training worker", "Largest memory of rank 0's process, in bytes."
    )


class Scored(Section):
    """Scores of predictions, 0 to 100, and what they were computed on."""

    f1: float = _field("F1", "Mean token F1 by SQuAD's rules.")
    em: float = _field("EM", "Exact match by SQuAD's rules.")
    total: int = _field("questions counted", "Questions in the means.")
    has_ans_f1: float = _field("F1, answerable", "F1 of the questions that have an answer (2.0).")
    has_ans_em: float = _field("EM, answerable", "EM of the questions that have an answer (2.0).")
    has_ans_total: int = _field("answerable questions", "Their number (2.0).")
    no_ans_f1: float = _field("F1, unanswerable", "F1 of the questions without an answer (2.0).")
    no_ans_em: float = _field("EM, unanswerable", "EM of the questions without an answer (2.0).")
    no_ans_total: int = _field("unanswerable questions", "Their number (2.0).")
    num_questions: int = _field("evaluated questions", "Questions evaluated, all of them.")
    rules: Literal["1.1", "2.0"] = _field("rules", "Version of SQuAD's rules.")
    language: str = _field("language", "Whose rules language_em and language_f1 follow.")
    language_f1: float = _field("F1, own language", "Mean F1 by the rules of the language.")
    language_em: float = _field("EM, own language", "Exact match by the rules of the language.")
    num_missing: int = _field(
        "questions without a prediction", "Wrong by 1.1 rules; left out of the means by 2.0's."
    )
    missing_ids: list[str] = _field("missing predictions", "Ids of those questions.")
    num_extra: int = _field("predictions without a question", "They are ignored.")
    extra_ids: list[str] = _field("superfluous predictions", "Ids of the first 20.")
    semantic: float = _field(
        "Semantic", "Mean similarity in meaning to the best gold answer; values compared by value."
    )
    intervals: dict[str, Interval] = _field(
        "intervals", "95 % interval of each score, resampled by article."
    )
    interval_unit: str = _field("unit of resampling", "article, or question where there is one.")
    num_right_in_other_words: int = _field(
        "right in other words", "Questions with low F1 and high similarity in meaning."
    )
    num_right_in_tokens_only: int = _field(
        "right in tokens only", "Questions with high F1 and low similarity in meaning."
    )
    calibration_error: float = _field(
        "calibration error", "Mean gap between confidence and accuracy (ECE)."
    )
    aurc: float = _field("AURC", "Area under the risk-coverage curve.")
    best_threshold: float = _field("best threshold", "Of the null odds, for F1 (2.0).")
    best_f1: float = _field("F1 at the best threshold", "F1 at that threshold (2.0).")
    best_em_threshold: float = _field("best threshold for EM", "Of the null odds, for EM (2.0).")
    best_em: float = _field("EM at the best threshold", "EM at that threshold (2.0).")
    eval_split: str = _field("split scored", "eval, or holdout where the source has no eval split.")
    eval_fingerprint: str = _field("questions scored, hash", "SHA-256 of the questions scored.")
    num_eval_quarantined: int = _field(
        "evaluation rows in quarantine", "Rows left out because something is wrong with them."
    )
    eval_notes: dict[str, int] = _field(
        "changes to evaluation rows", "What reading cut off, found or left out, and how often."
    )
    predictions: str = _field("predictions", "The predictions file that was scored.")


class Evaluated(Scored):
    """A model's scores, and what computing its answers took."""

    num_windows: int = _field("evaluated windows", "Windows that the model read.")
    num_eval_too_long: int = _field(
        "evaluated questions that are too long",
        "Questions that leave no room for context in a window.",
    )
    num_golds_too_long: int = _field(
        "questions whose gold is too long",
        "Questions whose shortest gold has more tokens than evaluate.max_answer_length.",
    )
    num_golds_in_no_window: int = _field(
        "questions whose gold is in no window", "Questions of which no window holds a whole gold."
    )
    windows_per_s: float = _field("evaluated windows per second", "First forward pass to the last.")
    eval_windows_per_s: float = _field(
        "evaluated windows per second", "The same, in the result of a job that also trains."
    )
    num_eval_actors: int = _field("actors", "Processes that held the model.")
    eval_device: str = _field("evaluation device", "cpu or cuda.")
    eval_precision: str = _field("precision of scoring", "fp32, bf16 or fp16.")
    eval_products: str = _field("matrix products of scoring", "Library of float32 products.")
    eval_attention: str = _field("attention of scoring", "Kernel: sdpa, batched or eager.")
    eval_kernels_ms: dict[str, float] = _field(
        "kernels of scoring, milliseconds", "Time of a layer's pass by candidate, as measured."
    )
    eval_peak_memory_bytes: int = _field(
        "peak bytes of an evaluation actor", "Largest memory of an actor's process, in bytes."
    )
    model_fingerprint: str = _field("model scored, hash", "SHA-256 of the model's weights.")
    eval_seconds: float = _field("evaluation, seconds", "Tokenising and loading included.")


class Sized(Section):
    """The sizes of an adjusted model."""

    stages: list[dict[str, Any]] = _field(
        "earlier stages", "Sizes, window passes and seconds of each stage before the last."
    )
    kept_layers: list[int] = _field("layers kept", "Which layers of the parent stay, from 0.")
    hidden_size: int = _field("hidden size", "Width of the residual stream.")
    num_heads: int = _field("heads", "Attention heads of a layer; the mean where layers differ.")
    intermediate_size: int = _field(
        "intermediate size", "Feed-forward width of a layer; the mean where layers differ."
    )


class Adjusted(Sized):
    """What a cut left of its parent, what was proved of it, and what it costs."""

    parent: str = _field("parent", "The model that was cut.")
    parent_sha256: str = _field("parent, hash", "SHA-256 of its weights.")
    blocks: dict[str, Any] | None = _field(
        "layers", "Heads and width of every layer where they differ."
    )
    vocabulary_size: int = _field("vocabulary", "Tokens of the tokenizer.")
    proof: dict[str, Any] = _field(
        "proof", "Tensors compared, and largest differences of logits to what the plan says."
    )
    num_parameters: int = _field("parameters", "Parameters of the model.")
    num_parent_parameters: int = _field("parameters of the parent", "Parameters of the parent.")
    num_parent_layers: int = _field("layers of the parent", "Layers of the parent.")
    weight_bytes: int = _field("bytes of weights", "Bytes of the model's tensors.")
    parent_weight_bytes: int = _field("bytes of the parent's weights", "Of the parent's tensors.")
    speedup: float = _field(
        "speed-up",
        "Times the parent's speed: one window of 384 tokens, or of as many as there are positions, "
        "measured in turns.",
    )
    latencies: list[dict[str, Any]] = _field(
        "latencies", "Milliseconds of a pass of both models, by windows and tokens."
    )
    latency_device: str = _field("device of latencies", "cpu or cuda.")
    latency_threads: int = _field("threads of latencies", "Threads of torch.")
    adjust_seconds: float = _field("seconds of the cut", "Plan, cut, proof and latencies.")
    f1_before: float = _field("F1 before", "The parent's F1 on the same questions.")
    em_before: float = _field("EM before", "The parent's EM.")
    f1_surgery: float = _field("F1 after surgery", "F1 right after the cut, before any recovery.")
    em_surgery: float = _field("EM after surgery", "EM right after the cut.")
    recovery_learning_rate: float = _field(
        "learning rate of the recovery",
        "Of a model that a search chose: the peak in its whole training.",
    )


class Searched(Sized):
    """What a search tried, and which model it chose."""

    parent: str = _field("parent", "The model that was cut.")
    num_trials: int = _field("trials", "Settings that were tried.")
    num_crashed_trials: int = _field("crashed trials", "Trials that ended in an error.")
    num_trials_per_rung: list[int] = _field("trials per rung", "Trials that reached each rung.")
    num_sizes: dict[str, int] = _field(
        "sizes", "Sizes of the space, measured, and ruled out before any training."
    )
    trial_seconds: float = _field("seconds of trials", "Sum over all rungs of all trials.")
    search_windows: int = _field("windows trained by trials", "Sum over all trials.")
    search_windows_full_budgets: int = _field(
        "windows without halving", "What the trials would have trained at full budgets."
    )
    search_windows_saved: float | None = _field("saved by halving", "Share of those, 0 to 1.")
    rank_correlations: list[dict[str, Any]] = _field(
        "rank correlations", "Spearman's correlation of each rung's F1 with the top rung's."
    )
    front: list[dict[str, Any]] = _field("front", "Trials that no other beats in F1 and latency.")
    target: str = _field("target", "What speed-ups were measured on.")
    asked_speedup: float = _field("speed-up asked for", "Of the chosen model.")
    speedup_measured: float = _field(
        "speed-up, measured", "Of the chosen sizes on the target, in turns with the parent."
    )
    speedup_interval: list[float] = _field(
        "interval of the speed-up", "Lowest and highest of six builds."
    )
    chosen_trial: int = _field("chosen trial", "Number of the trial that was recovered in full.")
    chosen_reaches_min_speedup: bool = _field(
        "reaches the speed-up", "Whether the chosen model is as fast as was asked."
    )
    f1_held_out_parent: float = _field("F1 held out, parent", "On held-out training articles.")
    f1_held_out: float = _field("F1 held out", "The chosen trial's, on held-out articles.")
    num_layers: int = _field("layers", "Layers of the chosen model.")
    ragged: bool = _field("ragged", "Whether its layers differ in heads and width.")
    importance: str = _field("importance", "How units were scored.")
    learning_rate: float = _field("learning rate", "The chosen trial's, at its peak.")
    distill_weight: float = _field("weight of the teacher", "In the chosen trial and its recovery.")


class Exported(Scored):
    """ONNX files beside PyTorch: bytes, logits, answers, latencies."""

    model: str = _field("model", "The model that was exported.")
    model_fingerprint: str = _field("model, hash", "SHA-256 of its weights.")
    num_parameters: int = _field("parameters", "Parameters of the model.")
    opset: int = _field("opset", "Version of the ONNX operators.")
    max_logit_error: float = _field("largest logit error", "Of the float32 file to PyTorch.")
    max_logit_error_int8: float = _field("largest logit error, int8", "Of the int8 file.")
    logit_tolerance: float = _field("tolerance", "Largest logit error that an export may have.")
    pytorch_bytes: int = _field("bytes, PyTorch", "Bytes of the safetensors files.")
    onnx_bytes: int = _field("bytes, ONNX", "Bytes of the float32 file.")
    int8_bytes: int = _field("bytes, int8", "Bytes of the int8 file.")
    num_windows: int = _field("evaluated windows", "Windows that each variant read.")
    num_eval_too_long: int = _field("evaluated questions that are too long", "No room for context.")
    f1_pytorch: float = _field("F1, PyTorch", "F1 of the PyTorch model.")
    em_pytorch: float = _field("EM, PyTorch", "EM of the PyTorch model.")
    f1_int8: float = _field("F1, int8", "F1 of the int8 file.")
    em_int8: float = _field("EM, int8", "EM of the int8 file.")
    num_same_answers: dict[str, int] = _field("same answers", "Answers equal to PyTorch's.")
    latencies: list[dict[str, Any]] = _field(
        "latencies", "Milliseconds of a pass of each variant, by windows, tokens and threads."
    )
    latency_device: str = _field("device of latencies", "cpu.")
    latency_threads: int = _field("threads of latencies", "All threads of torch.")


class Prepared(Section):
    """Shards written by the job prepare."""

    data: str = _field("data", "The folder of shards, a --data.source.")
    splits: dict[str, Any] = _field("splits", "Counts, bytes and hash of each split.")


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
