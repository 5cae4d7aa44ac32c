"""Settings of the adjustment of layers, and of its search."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from qa_lib.config.base import Auto, Group, Name

ImportanceMethod = Literal["taylor", "activation", "magnitude", "random"]


class AdjustSettings(Group):
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
    importance: ImportanceMethod = Field(default="taylor", description="How units are scored.")
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


class SpaceSettings(Group):
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
    importance: tuple[ImportanceMethod, ...] = Field(
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


class SearchSettings(Group):
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
    max_concurrent: Annotated[int | None, Auto] = Field(
        default=None, ge=1, le=4096, description="Trials that run at a time; none: derived."
    )
    time_budget_s: float | None = Field(
        default=None, gt=0.0, description="Start no rung of a trial after so many seconds."
    )
    window_budget: int | None = Field(
        default=None, ge=1, description="Train no more windows than this over all trials."
    )
    space: SpaceSettings = Field(default_factory=SpaceSettings)
