"""The training state on disk: every parameter's fp32 weight and moments, whole and by name.

Nothing in it depends on the world size, the ZeRO stage or the precision that it was written at, so
any other loads it; DeepSpeed's own checkpoints load only where they were written. It is safetensors
and JSON: reading it runs no code.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from qa_lib.errors import CheckpointError
from qa_lib.training.task import OLD_REMEDY, STATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel

_WEIGHT = "weight"
_PART_BYTES = 2**28  # of a file
_HELD_BYTES = 2**30  # of copies that a rank holds; what is more it writes before it goes on
_SCALER = ("cur_scale", "cur_iter", "last_overflow_iter", "cur_hysteresis")


class _Parts:
    """The files of one rank: copies of tensors that are held until they are written."""

    def __init__(self, folder: Path, rank: int) -> None:
        self._folder, self._rank = folder, rank
        self._held: list[dict[str, torch.Tensor]] = [{}]
        self._num_written = 0
        self._failure: Exception | None = None

    def add(self, key: str, tensor: torch.Tensor) -> None:
        """Hold a tensor; a failure to write others waits, because all ranks still gather."""
        self._held[-1][key] = tensor
        if _num_bytes(self._held[-1]) >= _PART_BYTES:
            self._held.append({})
        if sum(map(_num_bytes, self._held)) > _HELD_BYTES:
            try:
                self._write_first()
            except (OSError, SafetensorError) as error:
                self._failure = error

    def write(self) -> None:
        """Write what is held."""
        if self._failure is not None:
            raise self._failure
        while self._held:
            self._write_first()

    def _write_first(self) -> None:
        tensors = self._held.pop(0)
        if tensors:
            name = f"state-{self._rank:05d}-{self._num_written:04d}.safetensors"
            save_file(tensors, self._folder / name)
            self._num_written += 1


def _num_bytes(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


class TrainingState:
    """The weights, moments and loss scale inside a DeepSpeed engine; ranks call it together."""

    def __init__(self, model: PreTrainedModel, engine: Any, optimizer: torch.optim.Optimizer):
        """Look into an engine; `optimizer` is the one of PyTorch that it wraps."""
        # Frozen ones are as the model was loaded, here and wherever the state is read.
        self._parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self._optimizer = engine.optimizer
        self._states = optimizer.state
        self._stage = engine.zero_optimization_stage()
        # Stage 0 keeps fp32 masters of fp16 weights; at fp32 and bf16 the weights are the masters.
        low, high = (
            [p for group in getattr(self._optimizer, name, []) for p in group]
            for name in ("fp16_groups", "fp32_groups")
        )
        self._masters = dict(zip(map(id, low), high, strict=True)) if self._stage == 0 else {}

    def copy(self, folder: Path, numbers: dict[str, int]) -> Callable[[], None]:
        """Copy this rank's share of the state; all ranks call it together.

        Returns:
            Writes the share into a local folder, and on rank 0 the numbers, while training goes on.
            It raises OSError or SafetensorError where a file cannot be written.
        """
        self._link_moments()
        moments = self._moment_names()
        rank, owners = dist.get_rank(), self._owners()
        parts = _Parts(folder, rank)
        for name, parameter in self._parameters.items():
            for key in (_WEIGHT, *moments):
                full = self._read(parameter, key)
                if full is not None and owners[name] == rank:
                    # A copy: the next step would change what is still to be written.
                    copied = full.detach().to("cpu", copy=True).contiguous()
                    parts.add(f"{key}/{name}", copied)
        fields = {**numbers, "moments": moments, "optimizer_step": self._optimizer_step()}
        scaler = self._scaler()
        fields["loss_scale"] = {n: getattr(scaler, n) for n in _SCALER if hasattr(scaler, n)}

        def write() -> None:
            parts.write()
            if rank == 0:
                (folder / STATE).write_text(json.dumps(fields, indent=1))

        return write

    def load(self, folder: Path) -> dict[str, Any]:
        """Replace the state by one that `save` wrote, at any world size, stage and precision.

        Returns:
            The numbers that `save` was given.

        Raises:
            CheckpointError: The files are of an earlier version, or of another model.
        """
        fields = _fields_of(folder)
        moments = fields["moments"]
        self._make_moments(moments, fields["optimizer_step"])
        with ExitStack() as stack, torch.no_grad():
            parts = [
                stack.enter_context(_open(path))
                for path in sorted(folder.glob("state-*.safetensors"))
            ]
            found = {key: part for part in parts for key in part.keys()}  # noqa: SIM118 - files
            self._check_names(found)
            for name, parameter in self._parameters.items():
                for key in (_WEIGHT, *moments):
                    stored = f"{key}/{name}"
                    if stored in found:
                        self._write(parameter, key, found[stored].get_tensor(stored))
            self._refresh_weights()
        scaler = self._scaler()
        for name, value in fields["loss_scale"].items():
            if hasattr(scaler, name):
                setattr(scaler, name, value)
        return fields

    def _read(self, parameter: torch.nn.Parameter, key: str) -> torch.Tensor | None:
        """Return a whole weight or moment in fp32, or None where the optimizer has none yet."""
        from deepspeed.utils import safe_get_full_fp32_param, safe_get_full_optimizer_state

        if self._stage == 0:
            master = self._masters.get(id(parameter), parameter)
            return master if key == _WEIGHT else self._states.get(master, {}).get(key)
        if key == _WEIGHT:
            return safe_get_full_fp32_param(parameter)
        return safe_get_full_optimizer_state(parameter, key)

    def _write(self, parameter: torch.nn.Parameter, key: str, value: torch.Tensor) -> None:
        """Set a weight or moment, of which this rank keeps its partition."""
        from deepspeed import utils

        if self._stage == 0:
            master = self._masters.get(id(parameter), parameter)
            (master if key == _WEIGHT else self._states[master][key]).copy_(value)
        elif self._stage < 3:
            if key == _WEIGHT:
                utils.safe_set_full_fp32_param(parameter, value)
            else:
                utils.safe_set_full_optimizer_state(parameter, value, key)
        else:
            # `safe_set_full_*` fails where the world size does not divide the elements.
            part = self._partition(parameter, value)
            if key == _WEIGHT:
                utils.safe_set_local_fp32_param(parameter, part)
                parameter.ds_tensor.data.copy_(part)  # type: ignore[attr-defined]
            else:
                utils.safe_set_local_optimizer_state(parameter, part, key)

    def _partition(self, parameter: Any, value: torch.Tensor) -> torch.Tensor:
        """Return this rank's part of a value as ZeRO 3 cuts it, padded with zeros at the end."""
        num_elements = parameter.ds_tensor.numel()
        start = dist.get_rank() * num_elements
        part = torch.zeros(num_elements, dtype=value.dtype)
        mine = value.flatten()[start : start + num_elements]
        part[: len(mine)] = mine
        return part

    def _refresh_weights(self) -> None:
        """Give the model the optimizer's weights; ZeRO 3 has done so parameter by parameter."""
        if self._stage in (1, 2):
            self._optimizer.update_lp_params()
        for parameter in self._parameters.values():
            if id(parameter) in self._masters:
                parameter.copy_(self._masters[id(parameter)])

    def _updated(self) -> list[torch.Tensor]:
        """Return the tensors that the optimizer updates and keeps moments of."""
        if self._stage == 0:
            return [self._masters.get(id(p), p) for p in self._parameters.values()]
        if self._stage == 3:
            return list(self._optimizer.fp32_partitioned_groups_flat)
        return list(self._optimizer.single_partition_of_fp32_groups)

    def _moment_names(self) -> list[str]:
        states = (self._states.get(tensor, {}) for tensor in self._updated())
        return sorted(
            {
                key
                for state in states
                for key, value in state.items()
                if key != "step" and isinstance(value, torch.Tensor)
            }
        )

    def _optimizer_step(self) -> int:
        """Return how often the optimizer has stepped, which corrects Adam's bias."""
        states = (self._states.get(tensor, {}) for tensor in self._updated())
        return max((int(state["step"]) for state in states if "step" in state), default=0)

    def _make_moments(self, names: list[str], step: int) -> None:
        """Give a fresh optimizer the moments that its first step would make."""
        for tensor in self._updated():
            self._states.pop(tensor, None)
            if names:
                moments = {name: torch.zeros_like(tensor) for name in names}
                # Fused AdamW counts on the device, in fp32.
                count = torch.tensor(float(step), dtype=torch.float32, device=tensor.device)
                self._states[tensor] = {"step": count, **moments}
        self._link_moments()

    def _link_moments(self) -> None:
        """Tell ZeRO 1 and 2 where the moments are.

        DeepSpeed does it after its first step: not before one, and in vain if that one was skipped.
        """
        from deepspeed.utils import lazy_init_hp_params_optimizer_state

        if self._stage in (1, 2):
            partitions = self._optimizer.single_partition_of_fp32_groups
            for group, partition in zip(self._optimizer.bit16_groups, partitions, strict=True):
                lazy_init_hp_params_optimizer_state(group, partition, self._states)

    def _owners(self) -> dict[str, int]:
        """Assign every parameter to the rank that writes it, largest first, evenly by size."""
        held = [0] * dist.get_world_size()
        sizes = {n: getattr(p, "ds_numel", p.numel()) for n, p in self._parameters.items()}
        owners = {}
        for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
            owners[name] = held.index(min(held))
            held[owners[name]] += sizes[name]
        return owners

    def _scaler(self) -> Any:
        """Return what holds fp16's loss scale, which moves; None at other precisions."""
        own = getattr(self._optimizer, "loss_scale_config", None)  # at stage 0
        if own is not None:
            return own if own.dynamic_loss_scale else None
        scaler = getattr(self._optimizer, "loss_scaler", None)
        return scaler if getattr(scaler, "dynamic", False) else None

    def _check_names(self, found: dict[str, Any]) -> None:
        """Refuse files that lack a weight of this model or hold one of another shape."""
        for name, parameter in self._parameters.items():
            key = f"{_WEIGHT}/{name}"
            shape = list(getattr(parameter, "ds_shape", parameter.shape))
            if key not in found or found[key].get_slice(key).get_shape() != shape:
                raise CheckpointError(
                    f"The checkpoint has no weight {name} of shape {shape}: it is another model's.",
                    "Resume with the model that the run began with, or start a new run.",
                )


def _fields_of(folder: Path) -> dict[str, Any]:
    """Read the numbers of a checkpoint; refuse those of earlier versions, and what is no JSON."""
    path = folder / STATE
    if not path.is_file():
        raise CheckpointError("The checkpoint was written by an earlier version.", OLD_REMEDY)
    try:
        fields = json.loads(path.read_bytes())
    except ValueError as error:
        raise _tampered(path) from error
    needed = {"step", "num_skipped", "moments", "optimizer_step", "loss_scale"}
    if not isinstance(fields, dict) or not needed <= fields.keys():
        raise _tampered(path)
    return fields


def _open(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise _tampered(path) from error


def _tampered(path: Path) -> CheckpointError:
    return CheckpointError(
        f"{path.name} of the checkpoint matches its hash but is not what a run writes.",
        "Someone has changed the run folder: start a new run.",
    )
