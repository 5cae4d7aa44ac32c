"""Settings of the questions and of the model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from qa_lib.config.base import BrokenRules, Group, Memory, Name, Text

COLUMNS = (
    *("question", "context", "answers", "answer_start"),
    *("id", "title", "is_impossible", "is_answerable"),
)


class DataSettings(Group):
    """Which questions are read, and how they are cut into token windows."""

    source: Name = Field(
        default="embedded",
        description="Where training questions come from: embedded, a hub id, a folder, a file "
        "(SQuAD JSON, JSON lines, Parquet, CSV, TSV, XLSX, Arrow; .gz, .zst), or an fsspec URL.",
    )
    eval_source: Name | None = Field(
        default=None,
        description="Where evaluation questions come from; none: the dev split of source.",
    )
    columns: str | None = Field(
        default=None,
        description="Names of columns that are not the usual ones: "
        "question=q,context=passage,answer=a,answer_start=at,id=key,title=page,is_impossible=no, "
        "is_answerable=yes. Without a name, as in id=, a usual one is left out.",
    )
    version: Annotated[Literal["1.1", "2.0"], Text] = Field(
        default="1.1", description="SQuAD version, where file names carry v1.1 or v2.0."
    )
    train_limit: int | None = Field(
        default=None, ge=1, description="Train on a fixed sample of this many questions; none: all."
    )
    eval_limit: int | None = Field(
        default=None,
        ge=1,
        description="Evaluate on a fixed sample of this many questions; none: all.",
    )
    holdout_articles: float = Field(
        default=0.0,
        ge=0.0,
        lt=1.0,
        description="Holdout: fraction of the training articles, chosen by a hash of their title, "
        "that is never trained on.",
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

    @property
    def column_names(self) -> dict[str, str]:
        """Names of columns by what they are: question, context, answers, answer_start, ...

        A name is empty where the column is to be left out.
        """
        pairs = (part.partition("=") for part in (self.columns or "").split(",") if part.strip())
        named = {what.strip().replace("-", "_"): name.strip() for what, _, name in pairs}
        if "answer" in named:
            named["answers"] = named.pop("answer")
        return named

    def broken_rules(self) -> BrokenRules:
        """Yield the rules that do not hold."""
        wrong = [
            what
            for what, name in self.column_names.items()
            if what not in COLUMNS or (what in COLUMNS[:2] and not name)
        ]
        if wrong:
            yield (
                ("data.columns",),
                f"data.columns names {', '.join(wrong)}; it takes WHAT=COLUMN,... with WHAT one of "
                f"{', '.join(COLUMNS)}",
            )
        if self.stride >= self.max_length:
            yield (
                ("data.stride", "data.max_length"),
                f"data.stride ({self.stride}) must be smaller than data.max_length "
                f"({self.max_length}), or windows would never advance",
            )


class ModelSettings(Group):
    """Which model is trained, evaluated or adjusted."""

    name: Name = Field(
        default="embedded",
        description="embedded (all-MiniLM-L6-v2), a hub id, a folder, a URL, or a run folder.",
    )
    placement: Literal["single", "auto", "cpu", "disk"] = Field(
        default="single",
        description="Where the weights are kept while a model teaches, answers or is evaluated. "
        "single: on one device; auto: over all GPUs of a machine, then its memory, then its disk; "
        "cpu, disk: in its memory or on its disk, and on the device only while in use.",
    )
    max_memory: tuple[Memory, ...] | None = Field(
        default=None,
        description="Most that placement auto puts on each device: 0=10GiB 1=10GiB cpu=30GiB; "
        "none: what is free.",
    )

    def broken_rules(self) -> BrokenRules:
        """Yield the rules that do not hold."""
        if self.max_memory is not None and self.placement != "auto":
            yield (
                ("model.max_memory", "model.placement"),
                f"model.max_memory needs model.placement auto, not {self.placement}",
            )
