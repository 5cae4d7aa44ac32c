"""Settings of the training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from qa_lib.config.base import Auto, BrokenRules, Group, Name

Range = Annotated[str, Field(pattern=r"^[1-9]\d{0,2}:[1-9]\d{0,2}$")]


class TrainSettings(Group):
    """Fine-tuning on Ray Train workers with DeepSpeed ZeRO."""

    num_workers: Annotated[int, Field(ge=1, le=4096)] | Range = Field(
        default=1,
        description="World size: training processes. MIN:MAX, such as 1:4: as many as there is "
        "room for, which may change while it trains.",
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
        description="Stop after this many optimizer steps; none: after all epochs.",
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
    new_head_multiplier: float = Field(
        default=1.0,
        gt=0.0,
        le=1000.0,
        description="Times the learning rate, for a head that was drawn anew; a head that the "
        "model has already keeps the plain rate.",
    )
    freeze_embeddings: bool = Field(
        default=False,
        description="Keep the token embeddings as they are: half of a small model's parameters, "
        "which then need no gradient and no moments.",
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
        description="Arithmetic of the forward and backward pass; weights stay fp32. auto: on CPUs "
        "the fastest of fp32 and bf16, as measured there.",
    )
    attention: Literal["auto", "sdpa", "batched", "eager"] = Field(
        default="auto",
        description="Attention kernel, here and in evaluation: torch's fused one, batched matrix "
        "products, the family's own code; auto: on a CPU the fastest.",
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
    evaluate_every: int | None = Field(
        default=None,
        ge=1,
        description="Optimizer steps between evaluations on the held-out articles (needs "
        "data.holdout-articles); the model with the best F1 is kept, and a checkpoint is written "
        "with each; none: the last model is kept.",
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        description="Evaluations in a row without a better F1 after which training ends; none: "
        "all steps are taken.",
    )
    bucket_batches: int = Field(
        default=50, ge=1, description="Windows are bucketed by length over this many batches."
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

    hidden_weight: float = Field(
        default=0.0,
        ge=0.0,
        le=1000.0,
        description="Weight of the teacher's hidden states, layer by layer, of a student that was "
        "cut from it: the share of their variance that the student misses.",
    )
    relation_weight: float = Field(
        default=0.0,
        ge=0.0,
        le=1000.0,
        description="Weight of the teacher's attention relations in the student's last layer.",
    )
    inner_decay: float = Field(
        default=1 / 3,
        ge=0.0,
        le=1.0,
        description="Last part of the steps, in which the weights of hidden states and relations "
        "fall to zero.",
    )
    teacher_only_source: Name | None = Field(
        default=None,
        description="More training questions, named as data.source is, whose answers are not read: "
        "only the teacher's logits teach them. Held-out articles are left out; none: no more.",
    )
    teacher_only_limit: int | None = Field(
        default=None,
        ge=1,
        description="Take a fixed sample of this many of them; none: all.",
    )

    @property
    def teaches_inside(self) -> bool:
        """Whether the teacher's inner states are taught, not only its logits."""
        return self.hidden_weight > 0 or self.relation_weight > 0

    @property
    def min_workers(self) -> int:
        """Fewest training processes that a group may have."""
        return int(str(self.num_workers).partition(":")[0])

    @property
    def max_workers(self) -> int:
        """Most training processes that a group may have; the only size that is not elastic."""
        return int(str(self.num_workers).rpartition(":")[2])

    @property
    def is_elastic(self) -> bool:
        """Whether the size of the group may change while it trains."""
        return self.min_workers < self.max_workers

    @model_validator(mode="after")
    def _cap_micro_batch(self) -> TrainSettings:
        """Lower the micro-batch to a worker's share, so that more workers need no second flag."""
        share = self.global_batch // self.max_workers
        if self.micro_batch != "auto" and 1 <= share < self.micro_batch:
            object.__setattr__(self, "micro_batch", share)
        return self

    def broken_rules(self) -> BrokenRules:
        """Yield the rules that do not hold."""
        batch, workers = self.global_batch, self.max_workers
        share = batch // workers
        if self.min_workers > workers:
            yield (
                ("train.num_workers",),
                f"train.num_workers ({self.num_workers}) must begin with the smaller number",
            )
        elif batch % workers:
            nearest = max(workers, round(batch / workers) * workers)
            # A resumed run keeps its batch: of an elastic group only the largest size divides it.
            largest = next((n for n in range(workers, batch + 1) if batch % n == 0), None)
            elastic = f", or --train.num-workers {self.min_workers}:{largest}" if largest else ""
            yield (
                ("train.global_batch", "train.num_workers"),
                f"train.global_batch ({batch}) must be divisible by train.num_workers "
                f"({self.num_workers}); the nearest such batch is {nearest}{elastic}",
            )
        elif self.micro_batch != "auto" and share % min(self.micro_batch, share):
            fitting = max(n for n in range(1, self.micro_batch + 1) if share % n == 0)
            yield (
                ("train.micro_batch", "train.global_batch", "train.num_workers"),
                f"train.micro_batch ({self.micro_batch}) must divide a worker's share of the "
                f"global batch ({batch} / {workers} = {share}): {fitting} does",
            )
        if self.teacher_only_limit is not None and self.teacher_only_source is None:
            yield (
                ("train.teacher_only_limit", "train.teacher_only_source"),
                "train.teacher_only_limit needs train.teacher_only_source",
            )
        if self.patience is not None and self.evaluate_every is None:
            yield (
                ("train.patience", "train.evaluate_every"),
                "train.patience needs train.evaluate_every, which sets when to evaluate",
            )
        if self.precision == "fp16" and self.device == "cpu":
            yield (
                ("train.precision", "train.device"),
                "train.precision fp16 needs a GPU: on train.device cpu use fp32 or bf16",
            )
        if self.offload_optimizer and self.zero_stage == 0:
            yield (
                ("train.offload_optimizer", "train.zero_stage"),
                "train.offload_optimizer needs train.zero_stage 1, 2 or 3",
            )
