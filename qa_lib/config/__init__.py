"""Typed settings of every job: one tree, recipes in YAML, flags that override them.

    settings = config.parse("train", ["--recipe", "squad-cpu", "--train.epochs", "2"])

Precedence: defaults < recipe < flags. Every problem is reported at once, as one ConfigError.
"""

from __future__ import annotations

from qa_lib.config.adjusting import AdjustSettings, ImportanceMethod
from qa_lib.config.cli import is_given, parse
from qa_lib.config.data import DataSettings, ModelSettings
from qa_lib.config.recipes import RECIPES_FOLDER, recipe_names
from qa_lib.config.schema import Settings
from qa_lib.config.search import SearchSettings, SpaceSettings
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

__all__ = [
    "RECIPES_FOLDER",
    "AdjustSettings",
    "AnswerSettings",
    "ClusterSettings",
    "CompareSettings",
    "DataSettings",
    "DemoSettings",
    "EvaluateSettings",
    "ExportSettings",
    "ImportanceMethod",
    "ModelSettings",
    "PushSettings",
    "SearchSettings",
    "ServeSettings",
    "Settings",
    "SpaceSettings",
    "TrainSettings",
    "is_given",
    "parse",
    "recipe_names",
]
