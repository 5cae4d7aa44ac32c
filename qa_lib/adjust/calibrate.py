"""Statistics of a model's units on calibration windows: means, magnitudes, gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from qa_lib import windows
from qa_lib.errors import DataError
from qa_lib.models.kernels import Workload, fastest_fp32

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from qa_lib.windows import WindowSpec

Batch = dict[str, "torch.Tensor"]
Loss = Callable[["PreTrainedModel", Batch], "torch.Tensor"]
"""Sums over the windows of a batch, so that each window's gradient is its own."""

WINDOWS_PER_BATCH = 8
TYPICAL_LENGTH = 192  # tokens of a batch; SQuAD's windows have 170 on average


@dataclass(frozen=True)
class Statistics:
    """Statistics of the units at one place of a model, over the windows' real tokens; float64.

    Attributes:
        mean: Mean activation, of shape (units,).
        magnitude: Mean absolute activation, of shape (units,).
        products: Sum over a window's tokens of activation x gradient of the window's loss, of shape
            (windows, units); empty without gradients.
        gradients: Sum of the gradients alone, of the same shape.
    """

    mean: torch.Tensor
    magnitude: torch.Tensor
    products: torch.Tensor
    gradients: torch.Tensor

    def first(self, num_units: int) -> Statistics:
        """Return the first units' statistics: a fused map writes the queries first."""
        values = self.mean, self.magnitude, self.products, self.gradients
        return Statistics(*(value[..., :num_units] for value in values))


def computing(model: PreTrainedModel) -> AbstractContextManager[None]:
    """Compute with what is fastest for calibration windows of this model, in float32."""
    return fastest_fp32(model, Workload(WINDOWS_PER_BATCH, TYPICAL_LENGTH, trains=True))


def draw_windows(
    questions: pa.Table,
    tokenizer: PreTrainedTokenizerFast,
    spec: WindowSpec,
    *,
    num_windows: int,
    seed: int,
) -> list[Batch]:
    """Draw calibration windows, one for a question, and batch them by length.

    Of a long context the window with the answer is taken, if there is one.

    Args:
        questions: Of `qa_lib.data.SCHEMA`.
        tokenizer: The model's.
        spec: How windows are cut.
        num_windows: Windows to draw, at most one for each question.
        seed: Of the draw.

    Raises:
        DataError: No question fits a window.
    """
    generator = np.random.default_rng(seed)
    num_drawn = min(num_windows, questions.num_rows)
    rows = np.sort(generator.choice(questions.num_rows, num_drawn, replace=False))
    table = windows.build(questions.take(rows), tokenizer, spec, characters=False).table
    if not table.num_rows:
        raise DataError(
            f"None of {num_drawn} training questions fits a window of {spec.max_length} tokens.",
            "Pass a larger --data.max-length or a smaller --data.stride.",
        )
    of_question, start, context = (
        table[name].to_numpy() for name in ("row", "start", "context_begin")
    )
    order = np.lexsort((start < context, of_question))  # those with an answer first
    _, first = np.unique(of_question[order], return_index=True)
    chosen = order[first]
    by_length = chosen[np.argsort(windows.lengths(table)[chosen], kind="stable")]
    pad = windows.PadSpec.of(tokenizer, spec.max_length)
    return [
        windows.collate(table.take(by_length[at : at + WINDOWS_PER_BATCH]), pad)
        for at in range(0, len(by_length), WINDOWS_PER_BATCH)
    ]


def span_loss(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Return the loss against the labels."""
    from qa_lib.training.losses import window_losses

    output = model(**model_inputs(batch))
    return window_losses(output.start_logits, output.end_logits, batch).sum()


def calibrate(
    model: PreTrainedModel,
    inputs: Iterable[str],
    outputs: Iterable[str],
    batches: Iterable[Batch],
    *,
    gradients: bool,
    loss: Loss = span_loss,
) -> dict[str, Statistics]:
    """Run the model over calibration windows, and summarise inputs and outputs of its modules.

    Args:
        model: In evaluation mode.
        inputs: Names of the modules whose inputs to observe.
        outputs: Names of the modules whose outputs to observe.
        batches: What `qa_lib.windows.collate` returns, labels included.
        gradients: Whether to compute gradients of the loss too.
        loss: Of a batch.

    Returns:
        Statistics of inputs by the module's name; of outputs by `written(name)`.
    """
    import torch

    parts: dict[str, list[tuple[int, Statistics]]] = {}
    for batch in batches:
        batch = {key: value.to(model.device) for key, value in batch.items()}
        mask = batch["attention_mask"]
        with observe(model, inputs, outputs) as seen, torch.set_grad_enabled(gradients):
            total = loss(model, batch)
        # Queries, keys and values read one tensor, whose gradient is the same for all of them.
        tensors = {
            id(tensor): tensor
            for passes in seen.values()
            for tensor in passes
            if of_tokens(tensor, mask)
        }
        values = torch.autograd.grad(total, list(tensors.values())) if gradients else ()
        by_id = dict(zip(tensors, values, strict=gradients))
        summed: dict[tuple[int, ...], tuple[int, Statistics]] = {}
        for name, passes in seen.items():
            key = tuple(map(id, passes))
            if key not in summed:
                summed[key] = _of_batch(passes, by_id, mask)
            parts.setdefault(name, []).append(summed[key])
    return {name: _merged(of_module) for name, of_module in parts.items()}


def model_inputs(batch: Batch) -> dict[str, torch.Tensor]:
    """Return the parts of a batch that a model needs for logits."""
    others = ("_positions", "_logits")
    return {key: value for key, value in batch.items() if not key.endswith(others)}


def written(name: str) -> str:
    """Name a module's output, as distinct from its input."""
    return f"{name} writes"


@contextmanager
def observe(
    model: nn.Module, inputs: Iterable[str], outputs: Iterable[str] = ()
) -> Iterator[dict[str, list[torch.Tensor]]]:
    """Collect inputs and outputs of modules while the model runs, pass by pass.

    Inputs are keyed by the module's name, outputs by `written(name)`.
    """
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in (*inputs, *map(written, outputs))}

    def keep_input(name: str) -> Any:
        return lambda _, arguments: seen[name].append(arguments[0])

    def keep_output(name: str) -> Any:
        return lambda _, __, output: seen[written(name)].append(output)

    with ExitStack() as stack:
        for name in inputs:
            module = model.get_submodule(name)
            stack.callback(module.register_forward_pre_hook(keep_input(name)).remove)
        for name in outputs:
            module = model.get_submodule(name)
            stack.callback(module.register_forward_hook(keep_output(name)).remove)
        yield seen


def of_tokens(tensor: torch.Tensor, mask: torch.Tensor) -> bool:
    """Say whether a tensor of shape (..., units) belongs to tokens, not to relative positions."""
    return tensor.shape[:-1] == mask.shape


def rows_of(passes: list[torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
    """Return the units of the real tokens, or all rows of a module that sees no tokens.

    Args:
        passes: Inputs or outputs of a module, of shape (windows, tokens, units) or (..., units).
        mask: 1 for the real tokens, of shape (windows, tokens).

    Returns:
        Of shape (rows, units).
    """
    import torch

    rows = [tensor[mask.bool()] for tensor in passes if of_tokens(tensor, mask)]
    rows = rows or [tensor.flatten(0, -2) for tensor in passes]
    return torch.cat(rows).detach()


def total(rows: torch.Tensor) -> torch.Tensor:
    """Sum rows of shape (rows, units) in float64, a few at a time: a copy of all takes longer."""
    import torch

    return torch.stack([few.double().sum(0) for few in rows.split(128)]).sum(0)


def _of_batch(
    passes: list[torch.Tensor], gradients: dict[int, torch.Tensor], mask: torch.Tensor
) -> tuple[int, Statistics]:
    """Return the number of rows of a batch, and sums in place of means."""
    import torch

    rows = rows_of(passes, mask)
    pairs = [
        (tensor.detach(), gradients[id(tensor)] * mask[..., None])
        for tensor in passes
        if id(tensor) in gradients
    ]
    # A module that runs several times loses a unit in all passes: their effects add up.
    # (windows, tokens, units) -> (windows, units)
    products = [(units * gradient).sum(1).double() for units, gradient in pairs]
    sums = [gradient.sum(1).double() for _, gradient in pairs]
    none = torch.zeros(0, rows.shape[1], dtype=torch.float64, device=rows.device)
    return len(rows), Statistics(
        mean=total(rows),
        magnitude=total(rows.abs()),
        products=sum(products[1:], products[0]) if pairs else none,
        gradients=sum(sums[1:], sums[0]) if pairs else none,
    )


def _merged(batches: list[tuple[int, Statistics]]) -> Statistics:
    """Return the statistics of all batches."""
    import torch

    counts, parts = zip(*batches, strict=True)
    return Statistics(
        mean=sum(part.mean for part in parts).cpu() / sum(counts),
        magnitude=sum(part.magnitude for part in parts).cpu() / sum(counts),
        products=torch.cat([part.products for part in parts]).cpu(),
        gradients=torch.cat([part.gradients for part in parts]).cpu(),
    )
