"""Settings of the data, the model, its training and its evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from qa_lib.config.base import Auto, Group, Memory, Name, Text


class DataSettings(Group):
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
    version: Annotated[Literal["1.1", "2.0"], Text] = Field(
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


class ModelSettings(Group):
    """Which model is trained, evaluated or adjusted."""

    name: Name = Field(
        default="embedded",
        description="embedded (all-MiniLM-L6-v2), a hub id, a folder, a URL, or a run folder.",
    )
    placement: Literal["single", "auto", "cpu", "disk"] = Field(
        default="single",
        description="Where the weights lie while a model teaches, answers or is evaluated: on one "
        "device; auto: over all GPUs of a machine, then its memory, then its disk; or in its "
        "memory or on its disk, and on the device only while they are used.",
    )
    max_memory: tuple[Memory, ...] | None = Field(
        default=None,
        description="Most that placement auto puts where: 0=10GiB 1=10GiB cpu=30GiB; none: what is "
        "free.",
    )


class TrainSettings(Group):
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
    cpus_per_worker: Annotated[float | None, Auto] = Field(
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


class EvaluateSettings(Group):
    """From logits to answers and scores."""

    batch_size: int = Field(default=64, ge=1, le=65536, description="Windows per forward pass.")
    num_actors: Annotated[int | None, Auto] = Field(
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
