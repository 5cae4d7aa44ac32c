"""The settings tree that all jobs share."""

from __future__ import annotations

from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator

from qa_lib.config import credentials, versions, yaml_text
from qa_lib.config.adjusting import AdjustSettings
from qa_lib.config.base import BrokenRules, Group, Name, RuleError
from qa_lib.config.data import DataSettings, ModelSettings
from qa_lib.config.search import SearchSettings
from qa_lib.config.serving import PushSettings, ServeSettings
from qa_lib.config.tasks import (
    AnswerSettings,
    ClusterSettings,
    CompareSettings,
    DemoSettings,
    EvaluateSettings,
    ExportSettings,
)
from qa_lib.config.training import TrainSettings
from qa_lib.errors import ConfigError

RUN_NAME_PATTERN = r"[A-Za-z0-9._-]+"

_LARGEST_SEED = 2**32 - 1

# Settings of one command rather than of the run: a config.yaml that held them could not be used as
# the recipe of another run.
_OF_ONE_COMMAND = {
    "run_name",
    "resume",
    "overwrite",
    "dry_run",
    "seeds",
    "skip_doctor",
    "compare",
    "demo",
    "serve",
    "push",
}


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
    resume: bool | Literal["auto"] = Field(
        default=False,
        description="Continue the run from its last complete checkpoint; auto: begin it where it "
        "is not begun, so that one command does for every start.",
    )
    overwrite: bool = Field(default=False, description="Replace the run folder if it exists.")
    dry_run: bool | Literal["page", "json"] = Field(
        default=False,
        description="Print what the job would do, then stop; page: for people; json: with every "
        "setting and figure; neither: page on a terminal, json elsewhere.",
    )
    skip_doctor: bool = Field(
        default=False, description="Start without checking machine, cluster and storage first."
    )
    seed: int = Field(default=0, ge=0, le=_LARGEST_SEED, description="Seed of all random draws.")
    seeds: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Do the job this many times, with seed, seed + 1 and so on, as runs "
        "NAME-seed-K, and print mean, standard deviation and interval of the scores.",
    )
    track: Literal["mlflow", "wandb", "tensorboard"] | None = Field(
        default=None,
        description="Tell this tracker what the run does: settings, metrics, scores, files, and a "
        "search's trials.",
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
    serve: ServeSettings = Field(default_factory=ServeSettings)
    push: PushSettings = Field(default_factory=PushSettings)

    # The rules between the fields of the tree itself are validators of the later field: validators
    # of the whole tree would not run where one of its groups has a fault.

    @field_validator("run_name")
    @classmethod
    def _refuse_dots(cls, name: str | None) -> str | None:
        if name in (".", ".."):
            message = f"run_name {name!r} is not a name: use letters and digits"
            raise RuleError((("run_name",), message))
        return name

    @field_validator("overwrite")
    @classmethod
    def _refuse_overwrite_and_resume(cls, overwrite: bool, info: ValidationInfo) -> bool:
        if overwrite and info.data.get("resume"):
            message = "--resume and --overwrite exclude each other"
            raise RuleError((("resume", "overwrite"), message))
        return overwrite

    @field_validator("seeds")
    @classmethod
    def _refuse_seeds_past_the_largest(cls, seeds: int, info: ValidationInfo) -> int:
        first = info.data.get("seed", 0)
        if first + seeds - 1 > _LARGEST_SEED:
            message = (
                f"seeds {seeds} from seed {first} on go past the largest, {_LARGEST_SEED}: use "
                f"seed {_LARGEST_SEED - seeds + 1} or less"
            )
            raise RuleError((("seed", "seeds"), message))
        return seeds

    @field_validator("train")
    @classmethod
    def _evaluate_on_held_out(cls, train: TrainSettings, info: ValidationInfo) -> TrainSettings:
        data = info.data.get("data")
        if train.evaluate_every is not None and data is not None and not data.holdout_articles:
            message = (
                "train.evaluate_every needs articles that are held out of the training: set "
                "data.holdout_articles, such as 0.05"
            )
            raise RuleError((("train.evaluate_every", "data.holdout_articles"), message))
        return train

    def broken_rules(self) -> BrokenRules:
        """Yield the settings that hold credentials, which config.yaml would show."""
        for key, kind in credentials.secrets_in(self.model_dump(mode="json")):
            yield (key,), f"{key} holds {kind}"

    def to_yaml(self) -> str:
        """Return what defines the run as YAML, which is a recipe again."""
        values: dict[str, Any] = {versions.KEY: versions.SCHEMA_VERSION}
        values |= self.model_dump(mode="json", exclude=_OF_ONE_COMMAND)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)

    @classmethod
    def from_yaml(cls, text: str) -> Settings:
        """Read back what `to_yaml` wrote; credentials of an earlier version are covered by ***.

        Raises:
            ConfigError: The text was edited, and is not valid, or a later version wrote it.
        """
        try:
            values = credentials.redact_all(yaml_text.parse(text)[1])
            if not (problem := versions.problem_of(values)):
                values = versions.migrate(values) if isinstance(values, dict) else values
                return cls.model_validate(values)
        except yaml.YAMLError as error:
            problem = credentials.redact(str(error))
        except ValidationError as error:
            problem = "; ".join(
                f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()
            )
        raise ConfigError(
            f"The settings of a run (its config.yaml) are not valid: {problem}",
            "Restore the file as the run wrote it, or start the run again.",
        )
