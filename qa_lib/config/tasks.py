"""Settings of the jobs that use a trained model, and of the cluster that runs jobs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from qa_lib.config.base import Auto, BrokenRules, Group, Name


class EvaluateSettings(Group):
    """From logits to answers and scores."""

    batch_size: int = Field(
        default=64,
        ge=1,
        le=65536,
        description="Windows per forward pass; on a CPU "
        "several passes, which fit its cache, share them.",
    )
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
    no_answer_threshold: float | None = Field(
        default=None,
        description="SQuAD 2.0: a question is left unanswered where the null score beats the best "
        "span by more than this, in logits; the model keeps it. none: 0 (in an export the "
        "model's own), and the model keeps the best for the questions of the evaluation, unless it "
        "has one found on more.",
    )
    language: Literal[
        "squad", "auto", "ar", "de", "en", "es", "hi", "ja", "ko", "th", "vi", "zh"
    ] = Field(
        default="squad",
        description="Beside SQuAD's EM and F1, those of a language's own published rules (MLQA's, "
        "KorQuAD's), as language_em and language_f1; a search then maximises language_f1. auto: "
        "the language that the contexts are written in; squad: SQuAD's alone.",
    )
    semantic_model: Name | None = Field(
        default="embedded",
        description="Sentence encoder that compares answers by meaning in the final evaluation: "
        "embedded (all-MiniLM-L6-v2), or a sentence-transformers checkpoint; none: no such score.",
    )

    @property
    def threshold(self) -> float:
        """The threshold of "no answer" that scores are at: the given one, else 0."""
        return self.no_answer_threshold or 0.0


class AnswerSettings(Group):
    """Answering questions: one, many at a prompt, or a file of them."""

    question: Name | None = Field(
        default=None, description="The question; none: questions are read from a prompt."
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
        default=64, ge=1, le=8192, description="Question tokens; a longer question is cut."
    )
    handle_impossible_answer: Annotated[bool | None, Auto] = Field(
        default=None,
        description="Whether the empty answer is among the candidates; none: where the model has a "
        "no-answer threshold, which an evaluation by SQuAD 2.0's rules finds.",
    )
    align_to_words: bool = Field(default=True, description="Widen answers to whole words.")

    def broken_rules(self) -> BrokenRules:
        """Yield the rules that do not hold."""
        if (self.input is None) != (self.output is None):
            yield (
                ("answer.input", "answer.output"),
                "answer.input and answer.output belong together: give both or neither",
            )
        if self.input is not None and (self.question or self.context):
            yield (
                ("answer.input", "answer.question", "answer.context"),
                "answer.input excludes answer.question and answer.context: its lines hold both",
            )
        if self.question is not None and self.context is None:
            yield ("answer.question", "answer.context"), "answer.question needs answer.context"


class ExportSettings(Group):
    """A model as ONNX files."""

    quantize: bool = Field(
        default=False, description="Also write a file with weights in int8 (dynamic quantisation)."
    )


class ClusterSettings(Group):
    """The machines that a cluster can grow to, where they are not running yet."""

    gpu: Literal["none", "T4", "L4", "A10", "A100", "H100", "H200"] = Field(
        default="none",
        description="GPU of its worker nodes: plans are made for it on any machine; none: only "
        "nodes that are running count.",
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
    """A page on this machine to ask a model questions."""

    port: int = Field(
        default=8321, ge=0, le=65535, description="Port of 127.0.0.1; 0: any free port."
    )
    beside: Name | None = Field(
        default=None,
        description="Second model, asked the same questions; none: the parent of an adjusted run.",
    )
    n_best: int = Field(default=5, ge=1, le=50, description="Answers shown per model.")
