"""An exported folder as a reader of windows, by onnxruntime and tokenizers alone: no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from pydantic import TypeAdapter

from qa_lib import windows
from qa_lib.errors import ModelError
from qa_lib.models.guard import reading
from qa_lib.models.sources import resolve
from qa_lib.models.threshold import no_answer_threshold
from qa_lib.runs import json_text
from qa_lib.serving.onnx.graph import FLOAT, INT8, OUTPUTS
from qa_lib.serving.onnx.session import open_session

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

INPUTS = "onnx/inputs.json"
"""How texts become the inputs of a graph, for processes without transformers."""

_EXPORT = "Export it with this version: make export RUN={name}, with --export.quantize for int8."


@dataclass(frozen=True)
class Inputs:
    """What windows need to know of a tokenizer beside tokenizer.json, and of the model.

    Attributes:
        max_length: Tokens that the model's positions can hold; None: unbounded.
        pad_token_id: Fills `input_ids`.
        pad_token_type_id: Fills `token_type_ids`.
        cls_token_id: Stands for "no answer"; None: the next one does.
        bos_token_id: Likewise.
        split_special_tokens: Whether special tokens written in a text are split.
        truncation_side: right or left: which end of a context the first window shows.
        model_input_names: Inputs of the graph.
    """

    max_length: int | None
    pad_token_id: int
    pad_token_type_id: int
    cls_token_id: int | None
    bos_token_id: int | None
    split_special_tokens: bool
    truncation_side: str
    model_input_names: list[str]

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerFast, max_length: int | None) -> Inputs:
        """Read a tokenizer of transformers."""
        names = [name for name in cls.__dataclass_fields__ if name != "max_length"]
        values = {name: getattr(tokenizer, name) for name in names}
        values["model_input_names"] = list(tokenizer.model_input_names)
        return cls(max_length=max_length, **values)

    def write(self, folder: Path) -> None:
        """Write them beside the graph of a checkpoint's folder."""
        (folder / INPUTS).write_text(json.dumps(asdict(self), indent=2), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, name: str) -> Inputs:
        """Read them back.

        Raises:
            ModelError: The folder was exported by an earlier version, or not at all, or the file
                is damaged.
        """
        try:
            found = cls(**json_text.parse((folder / INPUTS).read_text(encoding="utf-8")))
            return TypeAdapter(cls).validate_python(asdict(found))
        except (OSError, ValueError, TypeError) as error:
            raise ModelError(
                f"{name} has no {INPUTS} that can be read: {type(error).__name__}.",
                _EXPORT.format(name=name),
            ) from None


def _tokenizer(folder: Path, inputs: Inputs) -> Any:
    """Return a tokenizer of `tokenizers` with what windows ask of one of transformers."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return SimpleNamespace(backend_tokenizer=backend, name_or_path=str(folder), **asdict(inputs))


class OnnxReader:
    """What `Answerer` takes in place of a `Forward`: windows to logits, on the CPU."""

    def __init__(
        self,
        name: str,
        *,
        int8: bool = False,
        batch_size: int = 8,
        num_threads: int | None = None,
    ) -> None:
        """Load an exported model.

        Args:
            name: What `models.resolve` takes: the run folder of an export, or its `model/`.
            int8: Whether to take the int8 file.
            batch_size: Windows per pass.
            num_threads: Threads of an operator; None: onnxruntime's choice.

        Raises:
            ModelError: There is no such file, it was exported by an earlier version, or it or the
                tokenizer is damaged.
        """
        file, inputs = self.check(name, int8=int8)
        folder = file.parents[1]
        remedy = _EXPORT.format(name=name)
        with reading(f"The tokenizer of {name} does not load", remedy):
            self.tokenizer: Any = _tokenizer(folder, inputs)
            self.pad = windows.PadSpec.of(self.tokenizer, inputs.max_length)
        self.no_answer_threshold = no_answer_threshold(str(folder))
        self.batch_size = batch_size
        with reading(f"{file} does not load", remedy):
            self._session = open_session(file, num_threads)
            self._inputs = [node.name for node in self._session.get_inputs()]

    @staticmethod
    def check(name: str, *, int8: bool = False) -> tuple[Path, Inputs]:
        """Return the file of an exported model, and its inputs; nothing is loaded.

        Raises:
            ModelError: As of the constructor.
        """
        folder = Path(resolve(name))
        file = folder / (INT8 if int8 else FLOAT)
        if not file.is_file():
            raise ModelError(
                f"{name} has no {file.relative_to(folder)}.", _EXPORT.format(name=name)
            )
        return file, Inputs.read(folder, name)

    def __call__(
        self, table: pa.Table
    ) -> Iterator[tuple[pa.Table, NDArray[np.float32], NDArray[np.float32]]]:
        """Run the model over windows, longest first, as `Forward` does.

        Args:
            table: Of `windows.build`.

        Yields:
            Rows of the table, and their start and end logits, each float32 of shape
            (windows, tokens), -inf past a window's last token.

        Raises:
            ModelError: A logit is not finite.
        """
        order = np.argsort(-windows.lengths(table), kind="stable")
        for first in range(0, len(order), self.batch_size):
            rows = table.take(pa.array(order[first : first + self.batch_size]))
            batch = windows.pad_arrays(rows, self.pad)
            real = batch["attention_mask"].astype(bool)
            logits = self._session.run(OUTPUTS, {name: batch[name] for name in self._inputs})
            start, end = (np.where(real, each, np.float32(-np.inf)) for each in logits)
            if not ((start < np.inf).all() and (end < np.inf).all()):  # NaN fails too
                raise ModelError(
                    "The model's logits are not finite.",
                    "Export it again; with --serve.backend onnx where int8 fails.",
                )
            yield rows, start, end
