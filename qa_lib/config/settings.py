"""The settings tree: every field with its meaning, unit and bound.

A bound that concerns one field stands on the field; what concerns several stands in
`qa_lib.config.rules`. What needs the model, the data or the
machine to decide (is there a GPU? does the plan fit this checkpoint?) is checked where that is
known.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from qa_lib.config.rules import conflicts
from qa_lib.errors import ConfigError

RUN_NAME_PATTERN = r"[A-Za-z0-9._-]+"

FIELDS_ONLY = "fields only"
"""Validation context that skips the rules between fields; the caller then asks `conflicts`."""

# What a command asked for, and not what the run is: a config.yaml that held them could not be
# used as the recipe of another run.
_OF_ONE_COMMAND = {
    "run_name",
    "resume",
    "overwrite",
    "dry_run",
    "skip_doctor",
    "compare",
    "demo",
}

Name = Annotated[str, Field(min_length=1)]
# "auto" is what a user writes for "decide for me"; code reads None.
_Auto = BeforeValidator(lambda value: None if value == "auto" else value)

# YAML reads an unquoted 1.1 as a number.
_Text = BeforeValidator(lambda value: str(value) if isinstance(value, float) else value)

_Memory = Annotated[str, Field(pattern=r"^(\d+|cpu)=\d+(\.\d+)?[KMG]i?B$")]


class _Group(BaseModel):
    """What all groups share: immutable, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )

    @model_validator(mode="before")
    @classmethod
    def _read_none(cls, values: Any) -> Any:
        """Read the text "none" as None where that is allowed, and a group without content as {}."""
        if not isinstance(values, dict):
            return values
        plain = {}
        for name, value in values.items():
            field = cls.model_fields.get(name) if isinstance(name, str) else None
            if field is not None and value in ("none", ("none",), ["none"]):
                value = None if type(None) in get_args(field.annotation) else value
            if value is None and field is not None and field.default_factory is not None:
                value = {}
            plain[name] = value
        return plain


class DataSettings(_Group):
    """Which questions, and how they are cut into token windows."""

    source: Name = Field(
        default="embedded",
        description="Where training questions come from: embedded, a hub id, a folder, a file "
        "(Parquet, JSON lines, official SQuAD JSON), or an fsspec URL.",
    )
    eval_source: Name | None = Field(
        default=None,
        description="Where evaluation questions come from; none: the dev split of source.",
    )
    version: Annotated[Literal["1.1", "2.0"], _Text] = Field(
        default="1.1", description="SQuAD version, where file names carry v1.1 or v2.0."
    )
    train_limit: int | None = Field(
        default=None, ge=1, description="Train on a fixed sample of so many questions; none: all."
    )
    eval_limit: int | None = Field(
        default=None, ge=1, description="Evaluate a fixed sample of so many questions; none: all."
    )
    holdout_articles: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="Fraction of train articles set aside by a hash of their title, never "
        "trained on.",
    )
    max_length: int = Field(
        default=384,
        ge=16,
        le=8192,
        description="Tokens in a window: question, context, special tokens.",
    )
    stride: int = Field(
        default=128,
        ge=0,
        description="Context tokens that consecutive windows of a question share.",
    )
    bad_row_limit: float = Field(
        default=0.001,
        ge=0.0,
        le=1.0,
        description="Fraction of quarantined rows above which the run stops.",
    )


class ModelSettings(_Group):
    """Which model is trained, evaluated or adjusted."""

    name: Name = Field(
        default="embedded",
        description="embedded (all-MiniLM-L6-v2), a hub id, a folder, a URL, or a run folder.",
    )
    placement: Literal["single", "auto", "cpu", "disk"] = Field(
        default="single",
        description="Where the weights lie while a model answers or is evaluated: on one device; "
        "auto: over all GPUs of a machine, then its memory, then its disk; or in its memory or on "
        "its disk, and on the device only while they are used.",
    )
    max_memory: tuple[_Memory, ...] | None = Field(
        default=None,
        description="Most that placement auto puts where: 0=10GiB 1=10GiB cpu=30GiB; none: what is "
        "free.",
    )


class TrainSettings(_Group):
    """Fine-tuning on Ray Train workers with DeepSpeed ZeRO."""

    num_workers: int = Field(
        default=1, ge=1, le=4096, description="World size: training processes."
    )
    zero_stage: int = Field(
        default=1,
        ge=0,
        le=3,
        description="What DeepSpeed partitions over the workers: 0 nothing, 1 optimizer state, "
        "2 gradients too, 3 parameters too.",
    )
    epochs: int = Field(default=1, ge=1, le=1000, description="Passes over the training windows.")
    max_steps: int | None = Field(
        default=None,
        ge=1,
        description="Stop after so many optimizer steps; none: after all epochs.",
    )
    micro_batch: Annotated[int, Field(ge=1, le=4096)] | Literal["auto"] = Field(
        default=16,
        description="Most windows that a worker puts through the model at once (its share of the "
        "global batch where that is smaller); auto: the most that fit.",
    )
    global_batch: int = Field(
        default=16, ge=1, le=65536, description="Windows per optimizer step, over all workers."
    )
    learning_rate: float = Field(
        default=2e-4, gt=0.0, le=1.0, description="Peak learning rate, reached after the warm-up."
    )
    weight_decay: float = Field(default=0.01, ge=0.0, le=1.0, description="Decoupled weight decay.")
    warmup_ratio: float = Field(
        default=0.1, ge=0.0, le=1.0, description="Fraction of steps with a rising learning rate."
    )
    max_grad_norm: float = Field(
        default=1.0, ge=0.0, description="Gradients are clipped to this global norm; 0: never."
    )
    optimizer: Literal["adamw", "sgd"] = Field(default="adamw", description="Optimizer.")
    adam_epsilon: float = Field(
        default=1e-8,
        gt=0.0,
        le=1.0,
        description="AdamW's epsilon; with BERT's own 1e-6, a gradient that is only rounding moves "
        "nothing.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="Arithmetic of the forward and backward pass; weights stay fp32.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where workers compute; auto: a GPU where there is one."
    )
    cpus_per_worker: Annotated[float | None, _Auto] = Field(
        default=None,
        gt=0.0,
        le=1024,
        description="CPU cores that Ray reserves per worker; none: derived.",
    )
    checkpoint_every_steps: int | None = Field(
        default=None, ge=1, description="Optimizer steps between checkpoints; none: once per epoch."
    )
    bucket_batches: int = Field(
        default=50, ge=1, description="Windows are bucketed by length over so many global batches."
    )
    offload_optimizer: bool = Field(
        default=False, description="Keep the optimizer state in CPU memory (GPU training)."
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Recompute activations in the backward pass, to save memory."
    )
    dropout: float | None = Field(
        default=None, ge=0.0, lt=1.0, description="Dropout probability; none: the model's own."
    )
    max_failures: int = Field(
        default=3, ge=0, le=1000, description="Worker failures after which the run gives up."
    )
    max_skipped_steps: int = Field(
        default=20,
        ge=1,
        le=100_000,
        description="Steps in a row without a finite loss and gradient after which the run goes "
        "back to its last good checkpoint, once, and then stops.",
    )
    teacher: Name | None = Field(
        default=None,
        description="Model whose logits are distilled into this one; none: no distillation.",
    )
    distill_weight: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="Weight of the teacher's loss; the labels get the rest.",
    )
    temperature: float = Field(
        default=2.0, gt=0.0, le=100.0, description="Softmax temperature of the distillation."
    )

    @model_validator(mode="after")
    def _cap_micro_batch(self) -> TrainSettings:
        """Lower the micro-batch to a worker's share, so that more workers need no second flag."""
        share = self.global_batch // self.num_workers
        if self.micro_batch != "auto" and 1 <= share < self.micro_batch:
            object.__setattr__(self, "micro_batch", share)
        return self


class EvaluateSettings(_Group):
    """From logits to answers and scores."""

    batch_size: int = Field(default=64, ge=1, le=65536, description="Windows per forward pass.")
    num_actors: Annotated[int | None, _Auto] = Field(
        default=None,
        ge=1,
        le=4096,
        description="Actors that hold a copy of the model; none: derived.",
    )
    max_answer_length: int = Field(
        default=30, ge=1, le=512, description="Longest answer, in tokens."
    )
    n_best: int = Field(
        default=20, ge=1, le=1000, description="Candidate answers kept per question."
    )
    no_answer_threshold: float = Field(
        default=0.0,
        description="SQuAD 2.0: a question is left unanswered where the null score beats the best "
        "span by more than this, in logits.",
    )
    semantic_model: Name | None = Field(
        default="embedded",
        description="Sentence encoder that compares answers in meaning at the final evaluation: "
        "embedded (all-MiniLM-L6-v2), a sentence-transformers checkpoint; none: no such score.",
    )


class AnswerSettings(_Group):
    """Answering questions: one, many at a prompt, or a file of them."""

    question: Name | None = Field(
        default=None, description="The question; none: a prompt asks for them."
    )
    context: Name | None = Field(
        default=None, description="The passage to answer from; @FILE reads it from a file."
    )
    input: Name | None = Field(
        default=None,
        description="Path or URL of JSON lines with question and context, answered by Ray Data.",
    )
    output: Name | None = Field(
        default=None, description="Path or URL of the lines of input with their predictions."
    )
    top_k: int = Field(default=1, ge=1, le=1000, description="Answers per question.")
    max_answer_length: int = Field(
        default=15, ge=1, le=512, description="Longest answer, in tokens."
    )
    max_question_length: int = Field(
        default=64, ge=1, le=8192, description="Question tokens; the rest of a longer one is cut."
    )
    handle_impossible_answer: bool = Field(
        default=False, description="Whether the empty answer is among the candidates."
    )
    align_to_words: bool = Field(default=True, description="Widen answers to whole words.")


class AdjustSettings(_Group):
    """Which layers and widths a smaller model keeps."""

    num_layers: int | None = Field(default=None, ge=1, description="Layers to keep; none: all.")
    keep_layers: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, description="Indices of the layers to keep, counted from 0; none: chosen."
    )
    intermediate_size: int | None = Field(
        default=None, ge=1, description="Width of the feed-forward layers; none: unchanged."
    )
    hidden_size: int | None = Field(
        default=None,
        ge=1,
        description="Width of the residual stream; alone it keeps the head size.",
    )
    num_heads: int | None = Field(
        default=None,
        ge=1,
        description="Attention heads, given with hidden-size; none: derived. Of ragged models the "
        "mean, given alone.",
    )
    ragged: bool = Field(
        default=False,
        description="Let layers have different heads and widths, by importance, as many in all as "
        "the sizes say; stock transformers cannot load that.",
    )
    drop_attention: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, description="Layers of a ragged model that lose their attention."
    )
    drop_feed_forward: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, description="Layers of a ragged model that lose their feed-forward part."
    )
    vocabulary: Literal["corpus"] | None = Field(
        default=None,
        description="corpus: keep the tokens that the training questions and their contexts use,"
        " and what other words fall back to; none: all.",
    )
    importance: Literal["taylor", "activation", "magnitude", "random"] = Field(
        default="taylor", description="How units are scored."
    )
    fold: bool = Field(
        default=True, description="Fold what is removed into biases and LayerNorms, from its mean."
    )
    calibration_windows: int = Field(
        default=64, ge=1, le=65536, description="Training windows that units are scored on."
    )
    round_to: int = Field(
        default=8, ge=1, le=1024, description="Derived widths are multiples of this."
    )
    plan: Name | None = Field(
        default=None, description="A plan.json to replay; none: made from the rest."
    )
    target_speedup: float | None = Field(
        default=None,
        ge=1.0,
        le=100.0,
        description="Find the sizes for so many times the parent's speed.",
    )
    target_parameters: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0,
        description="Find the sizes for this fraction of the parameters.",
    )
    recover: bool = Field(default=False, description="Distil the parent into the adjusted model.")


class SpaceSettings(_Group):
    """What a search chooses from; sizes that are none are derived from the parent's."""

    num_layers: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None, min_length=1, description="Numbers of layers to keep; none: half to all."
    )
    layers: tuple[Literal["first", "spread"], ...] = Field(
        default=("first",),
        min_length=1,
        description="Which layers are kept: the first, or as many spread from first to last.",
    )
    hidden_size: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None,
        min_length=1,
        description="Widths of the residual stream; none: the parent's, and three quarters of it.",
    )
    intermediate_size: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None,
        min_length=1,
        description="Widths of the feed-forward layers; none: the parent's, and its quarters.",
    )
    ragged: tuple[bool, ...] = Field(
        default=(False,),
        min_length=1,
        description="Whether layers have the same widths, or share them out by importance.",
    )
    importance: tuple[Literal["taylor", "activation", "magnitude", "random"], ...] = Field(
        default=("taylor",), min_length=1, description="How units are scored."
    )
    learning_rate: tuple[
        Annotated[float, Field(gt=0.0, le=1.0)], Annotated[float, Field(gt=0.0, le=1.0)]
    ] = Field(
        default=(1e-4, 8e-4), description="Lowest and highest peak learning rate of the recovery."
    )
    distill_weight: tuple[
        Annotated[float, Field(ge=0.0, le=1.0)], Annotated[float, Field(ge=0.0, le=1.0)]
    ] = Field(default=(0.5, 1.0), description="Lowest and highest weight of the parent's logits.")


class SearchSettings(_Group):
    """Search of the adjustment that keeps the most F1 for the least latency."""

    parent: Name | None = Field(
        default=None,
        description="Run whose model is adjusted, trained with the same articles held out; none: "
        "model.name is trained first.",
    )
    objective: Literal["pareto", "f1"] = Field(
        default="pareto",
        description="pareto: the front of F1 and latency; f1: the best F1 at min-speedup or more.",
    )
    min_speedup: float = Field(
        default=1.5,
        ge=1.0,
        le=100.0,
        description="How many times the parent's speed the chosen model has at least.",
    )
    searcher: Literal["optuna", "random"] = Field(
        default="optuna", description="Where new settings come from: Optuna's TPE, or chance."
    )
    halving: bool = Field(
        default=True,
        description="Give larger budgets to the best trials only (ASHA); else the whole to each.",
    )
    num_trials: int = Field(default=16, ge=1, le=100_000, description="Settings that are tried.")
    trial_windows: int = Field(
        default=1600, ge=1, description="Training windows of a trial at the highest rung."
    )
    num_rungs: int = Field(
        default=2,
        ge=1,
        le=10,
        description="Rungs of training; below them is rung 0, the F1 right after surgery.",
    )
    reduction_factor: int = Field(
        default=2,
        ge=2,
        le=16,
        description="One trial of so many goes on to the next rung, with so many times the "
        "windows.",
    )
    eval_questions: int | None = Field(
        default=400,
        ge=1,
        description="Score a trial on a sample of so many held-out questions; none: all.",
    )
    max_concurrent: Annotated[int | None, _Auto] = Field(
        default=None, ge=1, le=4096, description="Trials that run at a time; none: derived."
    )
    time_budget_s: float | None = Field(
        default=None, gt=0.0, description="Start no rung of a trial after so many seconds."
    )
    window_budget: int | None = Field(
        default=None, ge=1, description="Train no more windows than this over all trials."
    )
    space: SpaceSettings = Field(default_factory=SpaceSettings)


class ExportSettings(_Group):
    """A model as ONNX files."""

    quantize: bool = Field(
        default=False, description="Also write a file with weights in int8 (dynamic quantisation)."
    )


class ClusterSettings(_Group):
    """The machines that a cluster can grow to, where they are not there yet."""

    gpu: Literal["none", "T4", "V100", "L4", "A10", "A100", "H100", "H200"] = Field(
        default="none",
        description="GPU of its worker nodes: plans are made for it, wherever they are made; none: "
        "only what is there counts.",
    )
    num_nodes: int = Field(
        default=1, ge=1, le=4096, description="Most worker nodes that it can grow to."
    )
    gpus_per_node: int = Field(default=1, ge=1, le=16, description="GPUs of a worker node.")
    cpus_per_node: float = Field(default=8.0, gt=0.0, le=1024, description="CPUs of a worker node.")


class CompareSettings(_Group):
    """Runs side by side."""

    runs: tuple[Name, ...] | None = Field(
        default=None, min_length=2, description="Run folders, or their URLs, from left to right."
    )


class DemoSettings(_Group):
    """A page that asks a model, on this machine."""

    port: int = Field(
        default=8321, ge=0, le=65535, description="Port of 127.0.0.1; 0: one that is free."
    )
    beside: Name | None = Field(
        default=None,
        description="Model that is asked beside it; none: the parent of an adjusted run.",
    )
    n_best: int = Field(default=5, ge=1, le=50, description="Answers shown per model.")


class Settings(_Group):
    """Settings of every job; each job reads the groups that concern it."""

    recipe: Name = Field(
        default="quickstart", description="Recipe: a name, or the path of a YAML file."
    )
    run_name: str | None = Field(
        default=None,
        pattern=rf"^{RUN_NAME_PATTERN}$",
        max_length=128,
        description="Name of the run folder; none: JOB-RECIPE-NNN, the next free one.",
    )
    storage: Name = Field(
        default="runs", description="Folder or URL (gs://...) that holds run folders."
    )
    resume: bool = Field(
        default=False, description="Continue the run from its last complete checkpoint."
    )
    overwrite: bool = Field(default=False, description="Replace the run folder if it exists.")
    dry_run: bool = Field(
        default=False, description="Print settings and plan, and do nothing else."
    )
    skip_doctor: bool = Field(
        default=False, description="Start without checking machine, cluster and storage first."
    )
    seed: int = Field(
        default=0, ge=0, le=2**32 - 1, description="Seed of everything that is drawn."
    )
    predictions: Name | None = Field(
        default=None,
        description="Score this predictions.json (evaluate), without Ray or the model.",
    )
    data: DataSettings = Field(default_factory=DataSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    train: TrainSettings = Field(default_factory=TrainSettings)
    evaluate: EvaluateSettings = Field(default_factory=EvaluateSettings)
    answer: AnswerSettings = Field(default_factory=AnswerSettings)
    adjust: AdjustSettings = Field(default_factory=AdjustSettings)
    search: SearchSettings = Field(default_factory=SearchSettings)
    export: ExportSettings = Field(default_factory=ExportSettings)
    cluster: ClusterSettings = Field(default_factory=ClusterSettings)
    compare: CompareSettings = Field(default_factory=CompareSettings)
    demo: DemoSettings = Field(default_factory=DemoSettings)

    @model_validator(mode="after")
    def _refuse_conflicts(self, info: ValidationInfo) -> Settings:
        if info.context != FIELDS_ONLY:
            problems = [message for _, message in conflicts(self)]
            if problems:
                raise ConfigError("\n".join(problems), "Change one of the settings named.")
        return self

    def to_yaml(self) -> str:
        """Return what defines the run as YAML, which is a recipe again."""
        values: dict[str, Any] = self.model_dump(mode="json", exclude=_OF_ONE_COMMAND)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)

    @classmethod
    def from_yaml(cls, text: str) -> Settings:
        """Read back what `to_yaml` wrote."""
        return cls.model_validate(yaml.safe_load(text))
