"""How far a model's answers are from its parent's, without labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qa_lib.adjust.calibrate import (
    TYPICAL_LENGTH,
    WINDOWS_PER_BATCH,
    Batch,
    model_inputs,
    observe,
)
from qa_lib.adjust.coupling import groups_of
from qa_lib.models.kernels import Kernels, Workload, choose

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_NUM_WINDOWS = 64  # enough to order sets of layers: these differ by far more than windows do
_ONE_OF = 4  # batches of these, where it is enough to leave out most sets
_LONGEST = 30  # tokens of an answer, as in `evaluate.max_answer_length`


@dataclass(frozen=True)
class _Expected:
    """What the parent says of a batch.

    Attributes:
        batch: The windows.
        log_shares: Of shape (2, windows, tokens), log probabilities of start and end.
        streams: What each layer reads, of shape (windows, tokens, hidden); empty where not kept.
    """

    batch: Batch
    log_shares: torch.Tensor
    streams: tuple[torch.Tensor, ...] = ()


class Reference:
    """The parent's distributions over start and end on calibration windows."""

    def __init__(
        self,
        parent: PreTrainedModel,
        batches: Iterable[Batch],
        most: int | None = _NUM_WINDOWS,
        *,
        kernels: Kernels | None = None,
        keeps_streams: bool = False,
    ) -> None:
        """Run the parent on all windows, of which `divergence` takes some, of all lengths.

        Args:
            parent: In evaluation mode.
            batches: Windows, from short to long.
            most: Windows that divergences are measured on, about; None: all.
            kernels: What models are compared with, the parent included; None: what they have.
            keeps_streams: Whether to keep what the parent's layers read on these, for models that
                share its first layers.
        """
        self._kernels = kernels
        self._use_kernels(parent)
        every = list(batches)
        num_windows = sum(len(batch["input_ids"]) for batch in every)
        step = max(1, num_windows // (most or num_windows))
        self._every = [
            self._expected(parent, batch, keeps_streams and number % step == 0)
            for number, batch in enumerate(every)
        ]
        self._some = self._every[::step]
        one_of = min(_ONE_OF, len(self._some))
        self._few = self._some[(one_of - 1) // 2 :: one_of]

    def divergence(
        self, model: PreTrainedModel, num_shared: int = 0, *, roughly: bool = False
    ) -> float:
        """Return the mean over windows of the Kullback-Leibler divergences of start and end.

        Args:
            model: The parent, with fewer layers or units.
            num_shared: How many of its first layers are the parent's own first ones; they are not
                run where the parent's streams were kept.
            roughly: Whether fewer windows are enough.
        """
        compared = self._few if roughly else self._some
        return self._mean(model, compared, _diverged, num_shared=num_shared)[0]

    def agreement(self, model: PreTrainedModel) -> float:
        """Return the mean F1, over all windows, of the tokens of its answer and the parent's.

        Answers are what counts in the end. The divergence also counts how sure a model is of them,
        which a cut changes and a short training mends.
        """
        return self._mean(model, self._every, _agreed)[0]

    def compare(self, model: PreTrainedModel) -> tuple[float, float]:
        """Return divergence and agreement, both over all windows, from one pass."""
        divergence, agreement = self._mean(model, self._every, _diverged, _agreed)
        return divergence, agreement

    def _mean(
        self,
        model: PreTrainedModel,
        compared: Iterable[_Expected],
        *measures: Callable[[torch.Tensor, torch.Tensor], float],
        num_shared: int = 0,
    ) -> list[float]:
        """Return the means over windows of measures of the parent's shares and the model's."""
        totals, count = [0.0] * len(measures), 0
        self._use_kernels(model)
        for expected in compared:
            num_known = num_shared if expected.streams else 0
            with _without_first(model, num_known, expected.streams):
                found = self._log_shares(model, expected.batch)
            count += len(expected.batch["input_ids"])
            totals = [
                total + measure(expected.log_shares, found)
                for total, measure in zip(totals, measures, strict=True)
            ]
        return [total / count for total in totals]

    def _expected(self, parent: PreTrainedModel, batch: Batch, keeps_streams: bool) -> _Expected:
        names = _blocks(parent) if keeps_streams else []
        with observe(parent, names) as seen:
            log_shares = self._log_shares(parent, batch)
        return _Expected(batch, log_shares, tuple(seen[name][0] for name in names))

    def _use_kernels(self, model: PreTrainedModel) -> None:
        if self._kernels is not None:
            self._kernels.apply(model)

    def _log_shares(self, model: PreTrainedModel, batch: Batch) -> torch.Tensor:
        """Return log probabilities of start and end over the real tokens, (2, windows, tokens)."""
        import torch

        inputs = {key: value.to(model.device) for key, value in model_inputs(batch).items()}
        is_bf16 = self._kernels is not None and self._kernels.precision == "bf16"
        with torch.no_grad(), torch.autocast(model.device.type, torch.bfloat16, enabled=is_bf16):
            output = model(**inputs)
        logits = torch.stack([output.start_logits, output.end_logits]).double()
        padding = inputs["attention_mask"] == 0
        return logits.masked_fill(padding, -1e4).log_softmax(-1)


def comparing(model: PreTrainedModel) -> Kernels:
    """Return what is fastest for passes over calibration windows, bf16 included."""
    workload = Workload(WINDOWS_PER_BATCH, TYPICAL_LENGTH, trains=False)
    return choose(model.config, workload, device=model.device.type)


def _blocks(model: PreTrainedModel) -> list[str]:
    """Return the names of a model's layers."""
    groups = groups_of(model.config)
    return [f"{groups.layer_prefix}{layer}" for layer in range(len(groups.layers))]


@contextmanager
def _without_first(
    model: PreTrainedModel, num_layers: int, streams: tuple[torch.Tensor, ...]
) -> Iterator[None]:
    """Leave out a model's first layers; the next one reads what the parent's reads."""
    if not num_layers:
        yield
        return
    encoder, _, name = groups_of(model.config).layer_prefix.rstrip(".").rpartition(".")
    holder = model.get_submodule(encoder)
    whole: Any = getattr(holder, name)
    setattr(holder, name, whole[num_layers:])
    reads = whole[num_layers].register_forward_pre_hook(
        lambda _, arguments: (streams[num_layers], *arguments[1:])
    )
    try:
        yield
    finally:
        reads.remove()
        setattr(holder, name, whole)


def _diverged(expected: torch.Tensor, found: torch.Tensor) -> float:
    """Return the divergences of start and end, summed over windows."""
    return float((expected.exp() * (expected - found)).sum())


def _agreed(expected: torch.Tensor, found: torch.Tensor) -> float:
    """Return the F1 of the tokens of the best answers, summed over windows."""
    import torch

    (start, end), (first, last) = _spans(expected), _spans(found)
    common = (torch.minimum(end, last) - torch.maximum(start, first) + 1).clamp_min(0)
    lengths = (end - start + 1) + (last - first + 1)
    return float((2 * common / lengths).double().sum())


def _spans(log_shares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return first and last token of each window's best answer, each (windows,)."""
    import torch

    start, end = log_shares
    num_tokens = start.shape[1]
    possible = torch.ones(num_tokens, num_tokens, dtype=torch.bool, device=start.device)
    possible = possible.triu().tril(_LONGEST - 1)
    scores = (start[:, :, None] + end[:, None, :]).masked_fill(~possible, -torch.inf)
    best = scores.flatten(1).argmax(1)
    return best // num_tokens, best % num_tokens


def taught(parent: PreTrainedModel, batches: Iterable[Batch]) -> list[Batch]:
    """Return the batches with the parent's logits beside them, for `divergence_loss`."""
    import torch

    found = []
    for batch in batches:
        batch = {key: value.to(parent.device) for key, value in batch.items()}
        with torch.no_grad():
            output = parent(**model_inputs(batch))
        batch["teacher_start_logits"] = output.start_logits
        batch["teacher_end_logits"] = output.end_logits
        found.append(batch)
    return found


def divergence_loss(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    """Return the divergence from the parent's logits, summed over windows; labels do not count."""
    from qa_lib.training.losses import distilled_losses

    output = model(**model_inputs(batch))
    logits = output.start_logits, output.end_logits
    return distilled_losses(*logits, batch, weight=1.0, temperature=1.0).sum()
