"""Sections of result.json that several jobs have: the run itself, training, scores."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Status = Literal["running", "done", "failed", "interrupted"]
Interval = tuple[float, float]


def described(label: str, description: str) -> Any:
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

    schema_version: int = described("format", "Version of the fields of result.json.")
    job: str = described("job", "Name of the job.")
    run_name: str = described("run", "Name of the run folder.")
    status: Status = described("status", "running, done, failed or interrupted.")
    error: str = described("error", "First line of the error that ended the run.")
    seconds: float = described("total, seconds", "Wall time of all attempts, in seconds.")
    started_at: str = described("started", "When this attempt started, UTC, ISO 8601.")
    host: str = described("host", "Name of the machine that the command ran on.")
    hardware: str = described("hardware", "Processor, cores, memory and GPUs of that machine.")
    command: str = described("command", "The command, as it would be typed again.")
    commit: str | None = described(
        "commit", "Commit of the code, `+` if changed; null: no checkout."
    )
    versions: dict[str, str] = described("versions", "Versions of Python and the main libraries.")


class Trained(Section):
    """What was trained, on what, and how fast."""

    num_train_questions: int = described(
        "training questions", "Questions with at least one window."
    )
    num_train_windows: int = described("training windows", "Windows of those questions.")
    num_teacher_only_questions: int = described(
        "questions taught alone", "More questions, whose labels were not used."
    )
    num_teacher_only_windows: int = described(
        "windows taught alone", "Their windows, which the training windows include."
    )
    num_teacher_only_held_out: int = described(
        "questions of held-out articles left out",
        "Of those questions, left out: they are of held-out articles.",
    )
    num_teacher_only_known: int = described(
        "labelled questions left out", "Of those questions, left out: they are trained on by label."
    )
    teacher_only_fingerprint: str = described(
        "questions taught alone, content", "SHA-256 of the questions taught alone."
    )
    num_window_passes: int = described(
        "training windows, all epochs", "Windows trained, repeats counted."
    )
    num_too_long: int = described(
        "training questions that are too long",
        "Questions that leave no room for context in a window.",
    )
    num_quarantined: int = described(
        "training rows in quarantine", "Rows left out because something is wrong with them."
    )
    train_notes: dict[str, int] = described(
        "changes to training rows", "What reading cut off, found or left out, and how often."
    )
    train_fingerprint: str = described("training data", "SHA-256 of the questions trained on.")
    holdout_titles: list[str] = described(
        "held-out articles", "Titles of training articles that were kept out of training."
    )
    train_seconds: float = described(
        "training, seconds", "From the start of the workers to their end, in seconds."
    )
    train_loop_seconds: float = described(
        "seconds of steps", "From the first window to the last step, in seconds."
    )
    micro_batch: int = described("micro-batch", "Windows that a rank processes at a time.")
    teacher: str = described("teacher", "Model whose logits were distilled.")
    teacher_logits: str = described("teacher's logits", "Where its logits are stored.")
    num_teacher_windows_computed: int = described(
        "windows taught anew", "Windows whose teacher logits this run computed."
    )
    num_teacher_windows_cached: int = described(
        "windows taught before", "Windows whose teacher logits were stored already."
    )
    teacher_seconds: float = described("seconds of teaching", "Time for the teacher's logits.")
    steps: int = described("optimizer steps", "Optimizer steps taken.")
    ending: Literal["done", "stopped", "diverged"] = described("ending", "How the workers ended.")
    num_evaluations: int = described(
        "evaluations on the way", "Evaluations on held-out articles during the training."
    )
    evaluations: list[dict[str, Any]] = described(
        "held-out scores by step", "Step, f1 and em of each of them."
    )
    best_step: int = described("best step", "Steps after which the model was best, which is kept.")
    best_held_out_f1: float = described("F1 held out, best", "F1 of that model on those articles.")
    best_held_out_em: float = described("EM held out, best", "Its exact match there.")
    stopped_early: bool = described(
        "stopped early", "Whether train.patience ended the training before its last step."
    )
    num_skipped_steps: int = described("skipped steps", "Steps whose gradients were not finite.")
    num_rollbacks: int = described("rollbacks", "Returns to a checkpoint after a divergence.")
    num_regroups: int = described(
        "regroups", "Groups of workers that went on from a checkpoint made for them."
    )
    windows_per_s: float = described("training windows per second", "Of steps alone, all workers.")
    tokens_per_s: float = described("training tokens per second", "The same in tokens, no padding.")
    num_parameters: int = described("parameters", "Parameters of the model.")
    world_size: int = described("workers", "Ranks of the training group.")
    zero_stage: int = described("ZeRO stage", "What DeepSpeed partitions: 0 nothing, 3 everything.")
    precision: str = described("precision", "fp32, bf16 or fp16.")
    products: str = described("matrix products", "Library of float32 products on a CPU.")
    attention: str = described("attention", "Attention kernel: sdpa, batched or eager.")
    kernels_ms: dict[str, float] = described(
        "kernels, milliseconds", "Time of a layer's step by candidate, as measured at the start."
    )
    device: str = described("training device", "cpu, or the CUDA device of rank 0.")
    state_bytes_per_rank: dict[str, int] = described(
        "state of a rank", "Bytes of parameters, gradients and optimizer state on rank 0."
    )
    peak_memory_bytes: int = described(
        "peak bytes of a training worker", "Largest memory of rank 0's process, in bytes."
    )


class Scored(Section):
    """Scores of predictions, 0 to 100, and what they were computed on."""

    f1: float = described("F1", "Mean token F1 by SQuAD's rules.")
    em: float = described("EM", "Exact match by SQuAD's rules.")
    total: int = described("questions counted", "Questions in the means.")
    has_ans_f1: float = described(
        "F1, answerable", "F1 of the questions that have an answer (2.0)."
    )
    has_ans_em: float = described(
        "EM, answerable", "EM of the questions that have an answer (2.0)."
    )
    has_ans_total: int = described("answerable questions", "Their number (2.0).")
    no_ans_f1: float = described("F1, unanswerable", "F1 of the questions without an answer (2.0).")
    no_ans_em: float = described("EM, unanswerable", "EM of the questions without an answer (2.0).")
    no_ans_total: int = described("unanswerable questions", "Their number (2.0).")
    num_questions: int = described("evaluated questions", "Questions evaluated, all of them.")
    rules: Literal["1.1", "2.0"] = described("rules", "Version of SQuAD's rules.")
    language: str = described("language", "Whose rules language_em and language_f1 follow.")
    language_f1: float = described("F1, own language", "Mean F1 by the rules of the language.")
    language_em: float = described("EM, own language", "Exact match by the rules of the language.")
    num_missing: int = described(
        "questions without a prediction", "Wrong by 1.1 rules; left out of the means by 2.0's."
    )
    missing_ids: list[str] = described("missing predictions", "Ids of those questions.")
    num_extra: int = described("predictions without a question", "They are ignored.")
    extra_ids: list[str] = described("superfluous predictions", "Ids of the first 20.")
    semantic: float = described(
        "Semantic", "Mean similarity in meaning to the best gold answer; values compared by value."
    )
    intervals: dict[str, Interval] = described(
        "intervals", "95 % interval of each score, resampled by article."
    )
    interval_unit: str = described("unit of resampling", "article, or question where there is one.")
    num_right_in_other_words: int = described(
        "right in other words", "Questions with low F1 and high similarity in meaning."
    )
    num_right_in_tokens_only: int = described(
        "right in tokens only", "Questions with high F1 and low similarity in meaning."
    )
    calibration_error: float = described(
        "calibration error", "Mean gap between confidence and accuracy (ECE)."
    )
    aurc: float = described("AURC", "Area under the risk-coverage curve.")
    best_threshold: float = described("best threshold", "Of the null odds, for F1 (2.0).")
    best_f1: float = described("F1 at the best threshold", "F1 at that threshold (2.0).")
    best_em_threshold: float = described("best threshold for EM", "Of the null odds, for EM (2.0).")
    best_em: float = described("EM at the best threshold", "EM at that threshold (2.0).")
    eval_split: str = described(
        "split scored", "eval, or holdout where the source has no eval split."
    )
    eval_fingerprint: str = described("questions scored, hash", "SHA-256 of the questions scored.")
    num_eval_quarantined: int = described(
        "evaluation rows in quarantine", "Rows left out because something is wrong with them."
    )
    eval_notes: dict[str, int] = described(
        "changes to evaluation rows", "What reading cut off, found or left out, and how often."
    )
    predictions: str = described("predictions", "The predictions file that was scored.")


class Evaluated(Scored):
    """A model's scores, and what computing its answers took."""

    num_windows: int = described("evaluated windows", "Windows that the model read.")
    num_eval_too_long: int = described(
        "evaluated questions that are too long",
        "Questions that leave no room for context in a window.",
    )
    num_golds_too_long: int = described(
        "questions whose gold is too long",
        "Questions whose shortest gold has more tokens than evaluate.max_answer_length.",
    )
    num_golds_in_no_window: int = described(
        "questions whose gold is in no window", "Questions of which no window holds a whole gold."
    )
    windows_per_s: float = described(
        "evaluated windows per second", "First forward pass to the last."
    )
    eval_windows_per_s: float = described(
        "evaluated windows per second", "The same, in the result of a job that also trains."
    )
    num_eval_actors: int = described("actors", "Processes that held the model.")
    eval_device: str = described("evaluation device", "cpu or cuda.")
    eval_precision: str = described("precision of scoring", "fp32, bf16 or fp16.")
    eval_products: str = described("matrix products of scoring", "Library of float32 products.")
    eval_attention: str = described("attention of scoring", "Kernel: sdpa, batched or eager.")
    eval_kernels_ms: dict[str, float] = described(
        "kernels of scoring, milliseconds", "Time of a layer's pass by candidate, as measured."
    )
    eval_peak_memory_bytes: int = described(
        "peak bytes of an evaluation actor", "Largest memory of an actor's process, in bytes."
    )
    model_fingerprint: str = described("model scored, hash", "SHA-256 of the model's weights.")
    eval_seconds: float = described("evaluation, seconds", "Tokenising and loading included.")
