"""The settings tree: every field with its meaning, unit and bound.

A bound that concerns one field stands on the field; what concerns several stands in
`qa_lib.config.rules`. What needs the model, the data or the
machine to decide (is there a GPU? does the plan fit this checkpoint?) is checked where that is
known.
"""

from __future__ import annotations

from typing import Any, Literal

import yaml
from pydantic import (
    Field,
    ValidationInfo,
    model_validator,
)

from qa_lib.config.adjusting import AdjustSettings, SearchSettings
from qa_lib.config.base import Group, Name
from qa_lib.config.rules import conflicts
from qa_lib.config.training import DataSettings, EvaluateSettings, ModelSettings, TrainSettings
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


class AnswerSettings(Group):
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


class ExportSettings(Group):
    """A model as ONNX files."""

    quantize: bool = Field(
        default=False, description="Also write a file with weights in int8 (dynamic quantisation)."
    )


class ClusterSettings(Group):
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


class CompareSettings(Group):
    """Runs side by side."""

    runs: tuple[Name, ...] | None = Field(
        default=None, min_length=2, description="Run folders, or their URLs, from left to right."
    )


class DemoSettings(Group):
    """A page that asks a model, on this machine."""

    port: int = Field(
        default=8321, ge=0, le=65535, description="Port of 127.0.0.1; 0: one that is free."
    )
    beside: Name | None = Field(
        default=None,
        description="Model that is asked beside it; none: the parent of an adjusted run.",
    )
    n_best: int = Field(default=5, ge=1, le=50, description="Answers shown per model.")


class Settings(Group):
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
