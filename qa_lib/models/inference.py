"""A model that turns token windows into logits, for answers and for distillation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from qa_lib import models, windows
from qa_lib.errors import ModelError
from qa_lib.machines import devices
from qa_lib.models.kernels import Workload, choose
from qa_lib.models.placement import Placement, place

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray


_PASS_TOKENS = 2048  # on a CPU: larger activations leave its cache, and take 1.5 times as long
_NUM_TOKENS = 160  # SQuAD's mean, a little less with short questions


class Forward:
    """A loaded model: cheap to call and slow to construct, so an actor keeps one."""

    def __init__(
        self,
        model_name: str,
        *,
        precision: str = "auto",
        device: str = "cpu",
        batch_size: int = 64,
        num_threads: int | None = None,
        seed: int = 0,
        placement: Placement = "single",
        max_memory: Sequence[str] | None = None,
        attention: str = "auto",
        num_tokens: int = _NUM_TOKENS,
        casts: bool = False,
        measure: bool = True,
    ) -> None:
        """Load the model.

        Args:
            model_name: What `models.load` takes.
            precision: fp32, bf16, fp16 or auto, for the arithmetic; weights stay float32.
            device: cpu or cuda.
            batch_size: Windows per forward pass; on a CPU several passes share them.
            num_threads: Of torch on a CPU; None: all cores.
            seed: Initialises a head that the checkpoint lacks.
            placement: Where the weights are kept, see `placement.place`.
            max_memory: Limits for the placement `auto`.
            attention: `train.attention`.
            num_tokens: Of a typical window.
            casts: Whether bf16 on a CPU means bf16 weights and hidden states, a tenth faster than
                to cast them for every product. Such a forward keeps its model.
            measure: Whether to time kernels, half a second, where no earlier process has.
        """
        if device == "cpu":
            devices.set_up_cpu(num_threads or devices.num_local_cpus())
        self.model = models.load(model_name, seed=seed)
        self.kernels = choose(
            self.model.config,
            Workload(batch_size, num_tokens, trains=False),
            device=device,
            precision=precision,
            kernel=attention,
            measure=measure,
        )
        self.precision = self.kernels.precision
        self.device = place(self.model, device, placement, max_memory)
        is_whole = self.device.type == "cpu" and placement == "single"
        self._is_cast = casts and is_whole and self.precision == "bf16"
        if self._is_cast:
            self.model.bfloat16()
        self.tokenizer = models.load_tokenizer(model_name)
        self.no_answer_threshold = models.no_answer_threshold(model_name)
        self.pad = windows.PadSpec.of(self.tokenizer, models.maximum_length(self.model.config))
        self.batch_size = batch_size

    def __call__(
        self, table: pa.Table
    ) -> Iterator[tuple[pa.Table, NDArray[np.float32], NDArray[np.float32]]]:
        """Run the model over windows, longest first, in batches of similar length.

        Args:
            table: Of `windows.build`.

        Yields:
            Rows of the table, and their start and end logits, each float32 of shape
            (windows, tokens). Position 0 is the window's first real token; past its last one
            logits are -inf.

        Raises:
            ModelError: A logit is not finite.
        """
        import torch

        dtypes = {"bf16": torch.bfloat16, "fp16": torch.float16}
        self.kernels.apply(self.model)  # it may be another model, or training may have come between
        order = np.argsort(-windows.lengths(table), kind="stable")
        for first in range(0, len(order), self.batch_size):
            batch = table.take(pa.array(order[first : first + self.batch_size]))
            parts = passes(batch) if self.device.type == "cpu" else [batch]
            with (  # once for all parts: autocast casts the weights once
                torch.inference_mode(),
                torch.autocast(
                    self.device.type,
                    dtypes.get(self.precision),
                    enabled=self.precision in dtypes and not self._is_cast,
                ),
            ):
                found = [read_windows(rows, self.pad, self.device, self.model) for rows in parts]
            for rows, (start_logits, end_logits) in zip(parts, found, strict=True):
                self._check_finite(start_logits, end_logits)
                yield rows, start_logits, end_logits

    def _check_finite(self, *all_logits: NDArray[np.float32]) -> None:
        if not all((logits < np.inf).all() for logits in all_logits):  # -inf is padding; NaN fails
            raise ModelError(
                "The model's logits are not finite: its weights hold NaN, or the precision "
                f"{self.precision} overflows.",
                "Try --train.precision fp32; if that fails too, train it again with a lower "
                "--train.learning-rate.",
            )


def passes(batch: pa.Table) -> list[pa.Table]:
    """Cut windows, longest first, into passes of as many tokens as a CPU's cache holds well."""
    lengths, parts, first = windows.lengths(batch), [], 0
    while first < len(lengths):
        count = max(1, _PASS_TOKENS // int(lengths[first]))
        parts.append(batch.slice(first, count))
        first += count
    return parts


def read_windows(
    rows: pa.Table, pad: windows.PadSpec, device: torch.device, model: Callable[..., Any]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Run a model once over windows, padded to the longest.

    Returns:
        Start and end logits, each float32 of shape (windows, tokens), -inf at padding.
    """
    batch = windows.collate(rows, pad)
    inputs = {
        name: tensor.to(device) for name, tensor in batch.items() if not name.endswith("_positions")
    }
    output = model(**inputs)
    real = batch["attention_mask"].numpy().astype(bool)
    return _of_real(output.start_logits, real), _of_real(output.end_logits, real)


def _of_real(logits: torch.Tensor, real: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the logits of real tokens, -inf at padding: (windows, tokens)."""
    return np.where(real, logits.float().cpu().numpy(), np.float32(-np.inf))
