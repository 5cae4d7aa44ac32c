"""Settings of the search for an adjustment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from qa_lib.config.adjusting import ImportanceMethod
from qa_lib.config.base import Auto, BrokenRules, Group, Name


class SpaceSettings(Group):
    """What a search chooses from; sizes that are none are derived from the parent's."""

    num_layers: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None, min_length=1, description="Numbers of layers to keep; none: half to all."
    )
    layers: tuple[Literal["best", "first", "spread"], ...] | None = Field(
        default=None,
        min_length=1,
        description="Which layers are kept: the best set of all, by one-shot divergence; the first "
        "ones; or as many spread from first to last. None: best; where sizes are drawn, first.",
    )
    hidden_size: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None,
        min_length=1,
        description="Widths of the residual stream; none: the parent's, three quarters and half "
        "of it; where sizes are drawn, without the half.",
    )
    num_heads: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None,
        min_length=1,
        description="Attention heads, with every hidden size that they divide; none: derived.",
    )
    intermediate_size: tuple[Annotated[int, Field(ge=1)], ...] | None = Field(
        default=None,
        min_length=1,
        description="Widths of the feed-forward layers; none: as wide as the speed allows; where "
        "sizes are drawn, the parent's and its quarters.",
    )
    ragged: tuple[bool, ...] = Field(
        default=(False,),
        min_length=1,
        description="Whether layers have the same widths, or each its own.",
    )
    importance: tuple[ImportanceMethod, ...] = Field(
        default=("taylor",), min_length=1, description="How units are scored."
    )
    learning_rate: tuple[
        Annotated[float, Field(gt=0.0, le=1.0)], Annotated[float, Field(gt=0.0, le=1.0)]
    ] = Field(default=(2.5e-5, 8e-4), description="Lowest and highest peak learning rate.")
    distill_weight: tuple[
        Annotated[float, Field(ge=0.0, le=1.0)], Annotated[float, Field(ge=0.0, le=1.0)]
    ] = Field(default=(0.5, 1.0), description="Lowest and highest weight of the parent's logits.")

    def broken_rules(self) -> BrokenRules:
        """Yield the rules that do not hold."""
        for name in ("learning_rate", "distill_weight"):
            low, high = getattr(self, name)
            if low > high:
                yield (
                    (f"search.space.{name}",),
                    f"search.space.{name} must name the lower bound first: {high:g} {low:g}",
                )


FRONT = (1.0, 4 / 3, 2.0, 8 / 3, 10 / 3)
"""Speeds of the front, as multiples of the least, where none are asked for."""


class SearchSettings(Group):
    """Search for the adjustment that keeps the most F1 at the lowest latency."""

    parent: Name | None = Field(
        default=None,
        description="Run whose model is adjusted, trained with the same articles held out; none: "
        "model.name is trained first.",
    )
    seen_holdout: bool = Field(
        default=False,
        description="Take a parent that may have been trained on the held-out articles, as one of "
        "the hub. Trials never train on them; but what a cut leaves of the parent knows them.",
    )
    objective: Literal["pareto", "f1"] = Field(
        default="pareto",
        description="pareto: the front of F1 and latency; f1: the best F1 at min-speedup or more.",
    )
    min_speedup: float = Field(
        default=1.5,
        ge=1.0,
        le=100.0,
        description="Least speed of the chosen model, as a multiple of the parent's.",
    )
    speeds: tuple[Annotated[float, Field(ge=1.0, le=100.0)], ...] | None = Field(
        default=None,
        min_length=1,
        description="Speed-ups to find and recover a model for, in one search; none: min-speedup "
        "is recovered, and for the front others are searched too.",
    )
    target: Literal["cpu", "cuda", "onnx", "onnx-int8"] | None = Field(
        default=None,
        description="What speed-ups are measured on: PyTorch on a CPU or a GPU, or onnxruntime "
        "with float32 or int8 weights; none: PyTorch on the device that trains.",
    )
    searcher: Literal["one-shot", "optuna", "random"] = Field(
        default="one-shot",
        description="What proposes settings. one-shot: all sizes near the speed are cut and "
        "ranked by divergence from the parent, and TPE proposes only rates; optuna: TPE; random: "
        "random draws.",
    )
    num_candidates: int = Field(
        default=400,
        ge=1,
        le=1_000_000,
        description="Most sizes that one-shot cuts and ranks; beyond, sets of layers are ranked "
        "alone first.",
    )
    held_out_windows: int = Field(
        default=64, ge=1, le=65536, description="Held-out windows that one-shot ranks by."
    )
    halving: bool = Field(
        default=True,
        description="Give larger budgets to the best trials only (ASHA); else all trials get the "
        "whole budget.",
    )
    num_trials: int = Field(default=16, ge=1, le=100_000, description="Settings to try.")
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
        description="One trial in this many advances to the next rung, which trains this many "
        "times the windows.",
    )
    eval_questions: int | None = Field(
        default=400,
        ge=1,
        description="Held-out questions that a trial is scored on, a fixed sample; none: all.",
    )
    max_concurrent: Annotated[int | None, Auto] = Field(
        default=None, ge=1, le=4096, description="Trials that run at the same time; none: derived."
    )
    time_budget_s: float | None = Field(
        default=None, gt=0.0, description="Seconds after which no rung of a trial is started."
    )
    window_budget: int | None = Field(
        default=None, ge=1, description="Most windows to train over all trials."
    )
    space: SpaceSettings = Field(default_factory=SpaceSettings)

    def broken_rules(self) -> BrokenRules:
        """Yield the rules that do not hold."""
        if self.speeds is not None and len(set(self.speeds)) > self.num_trials:
            yield (
                ("search.speeds", "search.num_trials"),
                f"search.num_trials ({self.num_trials}) must be at least the number of"
                f" search.speeds ({len(set(self.speeds))}): each needs a trial",
            )
        if self.searcher == "one-shot" and len(self.space.importance) > 1:
            yield (
                ("search.space.importance", "search.searcher"),
                "search.space.importance must name one way of scoring with search.searcher"
                " one-shot: all sizes are ranked by the same",
            )
        if self.speeds is not None and self.searcher != "one-shot":
            yield (
                ("search.speeds", "search.searcher"),
                f"search.speeds needs search.searcher one-shot: {self.searcher} draws sizes of any"
                " speed",
            )

    @property
    def asked_speeds(self) -> tuple[float, ...]:
        """Speed-ups that a model is searched for, ascending."""
        if self.speeds is not None:
            return tuple(sorted(set(self.speeds)))
        shares = FRONT[: self.num_trials] if self.objective == "pareto" else FRONT[:1]
        return tuple(round(share * self.min_speedup, 4) for share in shares)

    @property
    def recovered_speeds(self) -> tuple[float, ...]:
        """Speed-ups whose model is recovered in full, the chosen one's first."""
        return self.asked_speeds[:1] if self.speeds is None else self.asked_speeds
