"""Settings of an adjustment."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from qa_lib.config.base import BrokenRules, Group, Name

ImportanceMethod = Literal["taylor", "activation", "magnitude", "random"]
Function = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]

_DROPS = ("drop_attention", "drop_feed_forward")
_SIZES = ("num_layers", "keep_layers", "intermediate_size", "hidden_size", "num_heads", *_DROPS)
_TARGETS = ("target_speedup", "target_parameters")


class AdjustSettings(Group):
    """Which layers and widths a smaller model keeps."""

    num_layers: int | None = Field(default=None, ge=1, description="Layers to keep; none: all.")
    keep_layers: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, description="Indices of the layers to keep, counted from 0; none: chosen."
    )
    layers: Literal["best", "first", "spread"] = Field(
        default="best",
        description="Which num-layers stay: best, those nearest to the parent's logits and answers "
        "after the repair of the seams; the first ones; or spread from the first to the last.",
    )
    intermediate_size: int | None = Field(
        default=None, ge=1, description="Width of the feed-forward layers; none: unchanged."
    )
    hidden_size: int | None = Field(
        default=None,
        ge=1,
        description="Width of the residual stream; given alone, it keeps the head size.",
    )
    num_heads: int | None = Field(
        default=None,
        ge=1,
        description="Attention heads, given with hidden-size; none: derived. For ragged models, "
        "given alone: the mean over layers.",
    )
    ragged: bool = Field(
        default=False,
        description="Let layers differ in heads and widths, by importance, with the sizes as their "
        "mean; stock transformers cannot load such a model.",
    )
    drop_attention: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, description="Layers of a ragged model that lose their attention."
    )
    drop_feed_forward: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        default=None, description="Layers of a ragged model that lose their feed-forward part."
    )
    vocabulary: Literal["corpus"] | None = Field(
        default=None,
        description="corpus: keep the tokens of the training questions and their contexts, and "
        "those that other words fall back to; none: all.",
    )
    importance: ImportanceMethod | Function = Field(
        default="taylor",
        description="How units are scored; MODULE:FUNCTION for a function of yours.",
    )
    families: Name | None = Field(
        default=None,
        description="A Python file of yours that declares more families of models; none: only "
        "those that are built in.",
    )
    fold: bool = Field(
        default=True,
        description="Fold the mean of what is removed into biases and LayerNorms.",
    )
    refit: bool = Field(
        default=True,
        description="With fold: refit by least squares what reads the removed units.",
    )
    seams: bool = Field(
        default=True, description="With refit: repair the seams where layers are dropped."
    )
    steps: int = Field(
        default=1,
        ge=1,
        le=64,
        description="Steps in which units go, in equal ratios; after each, those that are left are "
        "scored anew by the divergence from the parent's logits.",
    )
    calibration_windows: int = Field(
        default=256, ge=1, le=65536, description="Training windows to score units and refit on."
    )
    round_to: int = Field(
        default=8, ge=1, le=1024, description="Derived widths are multiples of this."
    )
    plan: Name | None = Field(
        default=None, description="A plan.json to replay; none: made from the other settings."
    )
    target_speedup: float | None = Field(
        default=None,
        ge=1.0,
        le=100.0,
        description="Find the sizes that reach this multiple of the parent's speed.",
    )
    target_parameters: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0,
        description="Find the sizes that keep this fraction of the parameters.",
    )
    recover: bool = Field(default=False, description="Distil the parent into the adjusted model.")
    stages: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Cut and recover in this many stages, in equal ratios, each with all of train's"
        " epochs or steps.",
    )

    @property
    def refits(self) -> bool:
        """Whether what reads removed units is refitted."""
        return self.fold and self.refit

    @property
    def repairs_seams(self) -> bool:
        """Whether the seams of dropped layers are repaired."""
        return self.refits and self.seams

    def broken_rules(self) -> BrokenRules:
        """Yield the rules that do not hold."""
        yield from self._contradictory_ways()
        yield from self._contradictory_layers()
        if self.steps > 1 and self.ragged:
            yield (
                ("adjust.steps", "adjust.ragged"),
                f"adjust.steps ({self.steps}) and adjust.ragged exclude each other: ragged layers"
                " are cut at once",
            )
        yield from self._broken_stages()
        hidden, heads = self.hidden_size, self.num_heads
        if hidden is not None and heads is not None and hidden % heads and not self.ragged:
            yield (
                ("adjust.hidden_size", "adjust.num_heads"),
                f"adjust.num_heads ({heads}) must divide adjust.hidden_size ({hidden}): the "
                f"nearest size that it divides is {max(heads, round(hidden / heads) * heads)}",
            )

    def _broken_stages(self) -> BrokenRules:
        if self.stages == 1:
            return
        if not self.recover:
            yield (
                ("adjust.stages", "adjust.recover"),
                f"adjust.stages ({self.stages}) needs adjust.recover: a stage ends in a recovery",
            )
        for name in ("keep_layers", *_TARGETS, "plan", "ragged"):
            if getattr(self, name):
                yield (
                    ("adjust.stages", f"adjust.{name}"),
                    f"adjust.stages ({self.stages}) and adjust.{name} exclude each other: stages"
                    " are cut between given numbers and widths",
                )

    def _contradictory_ways(self) -> BrokenRules:
        """Sizes, a target and a plan are three ways to say what stays: one at a time."""
        ways = [
            [name for name in names if getattr(self, name) is not None]
            for names in (_SIZES, _TARGETS, ("plan",))
        ]
        chosen = tuple(f"adjust.{names[0]}" for names in ways if names)
        if len(chosen) > 1:
            yield chosen, f"{' and '.join(chosen)} exclude each other: each decides the sizes"
        if len(ways[1]) > 1:
            targets = tuple(f"adjust.{name}" for name in _TARGETS)
            yield targets, f"{' and '.join(targets)} exclude each other"
        for name, decides in (("vocabulary", "which tokens stay"), ("ragged", "what layers keep")):
            if self.plan is not None and getattr(self, name):
                yield (
                    ("adjust.plan", f"adjust.{name}"),
                    f"adjust.plan and adjust.{name} exclude each other: a plan says {decides}",
                )

    def _contradictory_layers(self) -> BrokenRules:
        layers = self.keep_layers
        if layers is not None and not layers:
            yield ("adjust.keep_layers",), "adjust.keep_layers must name at least one layer"
        if layers is not None and list(layers) != sorted(set(layers)):
            yield (
                ("adjust.keep_layers",),
                "adjust.keep_layers must be in ascending order, without repeats",
            )
        if layers is not None and self.num_layers not in (None, len(layers)):
            yield (
                ("adjust.num_layers", "adjust.keep_layers"),
                f"adjust.num_layers ({self.num_layers}) contradicts adjust.keep_layers "
                f"({len(layers)} layers)",
            )
        for name in _DROPS:
            if getattr(self, name) is not None and not self.ragged:
                yield (
                    (f"adjust.{name}", "adjust.ragged"),
                    f"adjust.{name} needs adjust.ragged: stock models have uniform layers",
                )
