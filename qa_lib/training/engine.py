"""One optimizer step through DeepSpeed, on CPU and GPU alike.

`deepspeed.initialize` is called directly, inside an existing process group, so that tests without a
GPU exercise the ZeRO engine that a cluster runs. DeepSpeed's dictionary is derived here from the
typed settings and never written by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from qa_lib.config import TrainSettings
from qa_lib.training.batch_plan import num_micro_batches
from qa_lib.training.group import seed_dropout
from qa_lib.training.inner import InnerTeacher, inner_share
from qa_lib.training.losses import Batch, Losses, losses_of
from qa_lib.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from qa_lib.training.state import TrainingState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PreTrainedModel

REDUCE_BUCKET = 2**25
"""Elements of the buffer that gradients are reduced in."""

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class StepResult:
    """What an optimizer step did, the same on every rank.

    Attributes:
        loss: Mean over the windows of the global batch.
        skipped: The loss or a gradient was not finite, and no weight changed.
        stop: At least one rank has set `Engine.wants_stop`.
        regroup: At least one rank has set `Engine.wants_regroup`.
        writing: At least one rank has set `Engine.is_writing`.
    """

    loss: float
    skipped: bool
    stop: bool
    regroup: bool
    writing: bool


def _clips_itself(train: TrainSettings, precision: str) -> bool:
    """Whether the optimizer clips gradients, which it then holds whole; else DeepSpeed does."""
    return train.zero_stage == 0 and precision != "fp16"


def deepspeed_config(
    train: TrainSettings, precision: str, world_size: int, micro_batch: int
) -> dict[str, Any]:
    """Derive DeepSpeed's configuration; precision is fp32, bf16 or fp16, already resolved."""
    accumulated = num_micro_batches(train.global_batch, world_size, micro_batch)
    config: dict[str, Any] = {
        # With fillers, where the ranks do not divide the batch: the losses do not count them.
        "train_batch_size": accumulated * world_size * micro_batch,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": accumulated,
        "gradient_clipping": 0.0 if _clips_itself(train, precision) else train.max_grad_norm,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "wall_clock_breakdown": False,
        "steps_per_print": 10**12,
        "zero_optimization": {
            "stage": train.zero_stage,
            "contiguous_gradients": True,
            # DeepSpeed allocates the whole buffer: its default of 5e8 elements is 2 GB of a GPU.
            "reduce_bucket_size": REDUCE_BUCKET,
            "overlap_comm": False,
            # Partition every parameter: with the default threshold, much of a model as small as
            # MiniLM would stay replicated.
            "stage3_param_persistence_threshold": 0,
        },
    }
    if train.offload_optimizer:
        config["zero_optimization"]["offload_optimizer"] = {"device": "cpu", "pin_memory": False}
    if precision == "bf16":
        # fp32 weights with autocast arithmetic: plain bf16 weights would lose small updates.
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    if precision == "fp16":
        config["fp16"] = {"enabled": True, "initial_scale_power": 16, "loss_scale_window": 500}
    return config


class Engine:
    """A model inside a DeepSpeed engine at the requested ZeRO stage."""

    def __init__(
        self,
        model: PreTrainedModel,
        train: TrainSettings,
        *,
        precision: str,
        device: torch.device,
        num_steps: int,
        micro_batch: int,
        seed: int = 0,
        new_head: bool = False,
        losses: Losses | None = None,
        inner: InnerTeacher | None = None,
    ) -> None:
        """Hand the model to DeepSpeed.

        Args:
            model: In float32, already adjusted: ZeRO partitions it now.
            train: The typed settings.
            precision: fp32, bf16 or fp16.
            device: Of this rank.
            num_steps: Optimizer steps of the whole plan, over which the learning rate decays.
            micro_batch: Windows per rank and micro-step.
            seed: Of dropout.
            new_head: The model's head was drawn anew.
            losses: None: those that the settings ask for.
            inner: Runs beside the model, and teaches it inside.
        """
        import deepspeed

        self.losses = losses or losses_of(train)
        self._inner = inner
        self.settings = train
        self.num_steps = num_steps
        self.seed = seed
        self.device = device
        self._clips_itself = _clips_itself(train, precision)
        model.to(device)  # type: ignore[arg-type]
        self.model = model.train()
        if train.gradient_checkpointing:
            self.model.gradient_checkpointing_enable()
        self.step_number = 0
        self.num_skipped = 0
        self.num_skipped_in_a_row = 0
        # All ranks learn of these in the next step.
        self.wants_stop = self.wants_regroup = self.is_writing = False
        self._num_gradient_bytes = 0
        self._guard = build_optimizer(self.model, train, new_head=new_head)
        # As they are: fp16 would round them, and ZeRO 3 cut them.
        named = self.model.named_parameters()
        self._frozen = {n: p.detach().cpu().clone() for n, p in named if not p.requires_grad}
        world_size = dist.get_world_size()
        # Only inference uses this operator. Compiling it takes minutes, and needs a C++ compiler.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        self._engine, *_ = deepspeed.initialize(
            model=self.model,
            optimizer=self._guard,
            config=deepspeed_config(train, precision, world_size, micro_batch),
            dist_init_required=False,
        )
        assert isinstance(self._engine, deepspeed.DeepSpeedEngine)
        stage = self._engine.zero_optimization_stage()
        assert stage == train.zero_stage, f"DeepSpeed runs ZeRO {stage}, not {train.zero_stage}"
        if world_size == 1 and stage == 0:
            # A single rank has nothing to reduce; DeepSpeed would still flatten, sum and copy back
            # every gradient: 8 % of a step on a CPU [measured].
            self._engine.enable_backward_allreduce = False
        self._state = TrainingState(self.model, self._engine, self._guard)

    @property
    def zero_stage(self) -> int:
        """The stage that the engine runs at."""
        return self._engine.zero_optimization_stage()

    def step(self, micro_batches: list[tuple[Batch, torch.Tensor]], num_windows: int) -> StepResult:
        """Take one optimizer step over this rank's micro-batches.

        All windows of the global batch have equal weight: a rank's loss is the sum over its windows
        divided by the windows of the whole batch, times the world size, by which DeepSpeed divides.

        Args:
            micro_batches: (collated batch, (windows,) float weights) pairs, as many on every rank.
            num_windows: Windows of weight 1 in the global batch, over all ranks.
        """
        rank, world_size = dist.get_rank(), dist.get_world_size()
        scale = world_size * len(micro_batches) / num_windows
        total = torch.zeros((), device=self.device)
        is_first = self._num_gradient_bytes == 0
        for position, (batch, weights) in enumerate(micro_batches):
            batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
            # The plan deals micro-batches to the ranks in turn.
            seed_dropout(self.seed, self.step_number, position * world_size + rank)
            loss = (self._losses(batch) * weights.to(self.device)).sum()
            total += loss.detach()
            last = position == len(micro_batches) - 1
            self._engine.set_gradient_accumulation_boundary(last)
            self._engine.backward(loss * scale)
            if last:
                told = torch.tensor([self.wants_stop, self.wants_regroup, self.is_writing])
                sums = torch.cat([total[None], told.to(self.device, torch.float32)])
                dist.all_reduce(sums)
                total_loss, *heard = sums.tolist()
                mean_loss = total_loss / num_windows
                self._guard.skip = not (math.isfinite(mean_loss) and self._clip())
                rate = learning_rate(self.settings, self.step_number, self.num_steps)
                set_learning_rate(self._engine.optimizer.param_groups, rate)
            if is_first:
                held = self._count_gradient_bytes()
                self._num_gradient_bytes = max(self._num_gradient_bytes, held)
            self._engine.step()
        skipped = self._guard.skip or not self._engine.was_step_applied()
        self.step_number += 1
        self.num_skipped += skipped
        self.num_skipped_in_a_row = self.num_skipped_in_a_row + 1 if skipped else 0
        return StepResult(mean_loss, skipped, *(num_ranks > 0 for num_ranks in heard))

    @contextmanager
    def reading(self) -> Iterator[Callable[..., Any]]:
        """Yield the model as it answers, without dropout and gradients.

        Every rank must call it equally often: under ZeRO 3 they gather its parameters together.
        """
        self._engine.eval()
        try:
            with torch.no_grad():
                yield self._engine
        finally:
            self._engine.train()

    def save(self, folder: Path) -> None:
        """Write this rank's share of the training state into a local folder."""
        self.copy_state(folder)()

    def copy_state(self, folder: Path) -> Callable[[], None]:
        """Copy this rank's share of the training state, and return what writes it into a folder."""
        numbers = {"step": self.step_number, "num_skipped": self.num_skipped}
        return self._state.copy(folder, numbers)

    def load(self, folder: Path) -> None:
        """Continue from the files that all ranks' `save` wrote, of any group, stage and precision.

        Raises:
            CheckpointError: The files are of an earlier version, or of another model.
        """
        numbers = self._state.load(folder)
        self.step_number = numbers["step"]
        self.num_skipped = numbers["num_skipped"]

    def gather_weights(self) -> dict[str, torch.Tensor]:
        """Gather the full-precision weights from all ranks; every rank must call it.

        Returns:
            A float32 CPU state dict on rank 0, an empty one elsewhere.
        """
        is_main = dist.get_rank() == 0
        weights = {}
        for name, parameter in self.model.named_parameters():
            full = self._frozen.get(name)
            if full is None:
                full = self._full_precision(parameter)
            if is_main:
                weights[name] = full
        if is_main:
            stored = self.model.state_dict().keys()  # without buffers that are never saved
            buffers = self.model.named_buffers()
            weights |= {name: value.cpu() for name, value in buffers if name in stored}
        return weights

    def num_state_bytes(self) -> dict[str, int]:
        """Measure this rank's bytes of training state, by the storage behind its tensors.

        Returns:
            `parameters`; `gradients`, the largest sum after a backward pass of the first step;
            `optimizer`, moments and master weights.
        """
        parameters, masters, moments = self._state_tensors()
        return {
            "parameters": _num_bytes(parameters),
            "gradients": self._num_gradient_bytes,
            "optimizer": _num_bytes([*parameters, *masters, *moments]) - _num_bytes(parameters),
        }

    def is_finite(self) -> bool:
        """Say whether all ranks' training states are finite; every rank must call it."""
        parameters, masters, moments = self._state_tensors()
        finite = all(
            bool(tensor.isfinite().all())
            for tensor in (*parameters, *masters, *moments)
            if isinstance(tensor, torch.Tensor)
        )
        everywhere = torch.tensor(float(finite), device=self.device)
        dist.all_reduce(everywhere, dist.ReduceOp.MIN)
        return everywhere.item() > 0

    def _state_tensors(self) -> tuple[list[Any], list[Any], list[Any]]:
        """Return this rank's parameters, the weights the optimizer updates, and its moments."""
        # ZeRO 3 keeps a rank's part of a parameter in `ds_tensor`.
        parameters = [getattr(p, "ds_tensor", p) for p in self.model.parameters()]
        # Under ZeRO 3 the optimizer's groups hold the masters only during a step.
        masters = getattr(self._engine.optimizer, "fp32_partitioned_groups_flat", None) or [
            p for group in self._guard.param_groups for p in group["params"]
        ]
        moments = [value for state in self._guard.state.values() for value in state.values()]
        return parameters, list(masters), moments

    def _count_gradient_bytes(self) -> int:
        """Count the bytes of gradients, both autograd's and DeepSpeed's partitions."""
        optimizer = self._engine.optimizer
        held = [parameter.grad for parameter in self.model.parameters()]
        held.append(getattr(optimizer, "grad_partitions_flat_buffer", None))
        for name in ("averaged_gradients", "all_grad_tensors"):
            for gradients in getattr(optimizer, name, {}).values():
                held += gradients or []
        return _num_bytes(held)

    def _clip(self) -> bool:
        """Clip reduced gradients, and say whether they are finite, where DeepSpeed does not.

        It lowers fp16's scale then; a norm taken here of scaled fp16 gradients overflows at 65,504.
        """
        return not self._clips_itself or bool(self._guard.clip(self.settings.max_grad_norm))

    def _full_precision(self, parameter: torch.nn.Parameter) -> torch.Tensor:
        """Gather one parameter in float32 on the CPU; every rank must call it."""
        import deepspeed
        from deepspeed.utils import safe_get_full_fp32_param

        shape = getattr(parameter, "ds_shape", parameter.shape)  # ZeRO 3 empties the tensor itself
        if parameter.dtype != torch.float32:
            # fp16 weights are rounded from the optimizer's fp32 masters.
            master = safe_get_full_fp32_param(parameter)
            if master is not None:
                return master.float().cpu().reshape(shape)
        with deepspeed.zero.GatheredParameters([parameter], enabled=self.zero_stage == 3):
            return parameter.detach().float().cpu().clone()

    def _losses(self, batch: Batch) -> torch.Tensor:
        inputs = {name: batch[name] for name in _INPUTS if name in batch}
        if self._inner is not None:
            share = inner_share(self.settings, self.step_number, self.num_steps)
            return self._inner.losses(self._engine, self.model, inputs, batch, self.losses, share)
        output = self._engine(**inputs)
        return self.losses(output.start_logits, output.end_logits, batch)


def _num_bytes(tensors: Iterable[Any]) -> int:
    """Add up the distinct storages behind tensors; other values count nothing."""
    storages = [tensor.untyped_storage() for tensor in tensors if isinstance(tensor, torch.Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
