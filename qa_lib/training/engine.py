"""One optimizer step through DeepSpeed, on CPU and GPU alike.

`deepspeed.initialize` is called directly, inside a process group that exists already, so that tests
without a GPU exercise the very ZeRO engine that a cluster runs. Every setting of DeepSpeed is
derived here from the typed settings; nobody writes its dictionary by hand.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist

from qa_lib.config import TrainSettings
from qa_lib.training.losses import Batch, window_losses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from transformers import PreTrainedModel

REDUCE_BUCKET = 2**25
"""Elements of the buffer that gradients are reduced in."""

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")


@dataclass(frozen=True)
class StepResult:
    """What an optimizer step did, the same on every rank.

    Attributes:
        loss: Mean over the windows of the global batch.
        skipped: True where the loss or a gradient was not finite, and no weight moved.
        stop: True where some rank was asked to stop.
    """

    loss: float
    skipped: bool
    stop: bool


def deepspeed_config(
    train: TrainSettings, precision: str, world_size: int, micro_batch: int
) -> dict[str, Any]:
    """Derive DeepSpeed's configuration.

    Args:
        train: The typed settings.
        precision: fp32, bf16 or fp16, resolved.
        world_size: Ranks.
        micro_batch: Windows per rank and micro-step.
    """
    config: dict[str, Any] = {
        "train_batch_size": train.global_batch,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_accumulation_steps": train.global_batch // (world_size * micro_batch),
        "gradient_clipping": train.max_grad_norm,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "wall_clock_breakdown": False,
        "steps_per_print": 10**12,
        "zero_optimization": {
            "stage": train.zero_stage,
            "contiguous_gradients": True,
            # DeepSpeed allocates this buffer whole: its default of 5e8 elements is 2 GB of a GPU.
            "reduce_bucket_size": REDUCE_BUCKET,
            "overlap_comm": False,
            # Every parameter is partitioned: the default threshold would leave a model as small as
            # MiniLM replicated in good part.
            "stage3_param_persistence_threshold": 0,
        },
    }
    if train.offload_optimizer:
        config["zero_optimization"]["offload_optimizer"] = {"device": "cpu", "pin_memory": False}
    if precision == "bf16":
        # fp32 master weights, computation autocast: what plain bf16 weights lose is not lost here.
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    if precision == "fp16":
        config["fp16"] = {"enabled": True, "initial_scale_power": 16, "loss_scale_window": 500}
    return config


def learning_rate(train: TrainSettings, step: int, num_steps: int) -> float:
    """Return the rate of one step: linear warm-up, then linear decay to zero."""
    num_warmup = math.ceil(train.warmup_ratio * num_steps)
    if step < num_warmup:
        return train.learning_rate * (step + 1) / num_warmup
    return train.learning_rate * (num_steps - step) / max(1, num_steps - num_warmup)


class Engine:
    """A model inside a DeepSpeed engine at the asked ZeRO stage, and nothing else beside it."""

    def __init__(
        self,
        model: PreTrainedModel,
        train: TrainSettings,
        *,
        precision: str,
        device: torch.device,
        num_steps: int,
        micro_batch: int,
        losses: Callable[[torch.Tensor, torch.Tensor, Batch], torch.Tensor] = window_losses,
    ) -> None:
        """Hand the model to DeepSpeed.

        Args:
            model: In float32, adjusted already: ZeRO partitions what it is given.
            train: The typed settings.
            precision: fp32, bf16 or fp16.
            device: This rank's.
            num_steps: Optimizer steps of the whole plan, for the learning rate's decay.
            micro_batch: Windows per rank and micro-step.
            losses: Start logits, end logits and batch to a loss per window.
        """
        import deepspeed

        self.losses = losses
        self.settings = train
        self.num_steps = num_steps
        self.device = device
        model.to(device)  # type: ignore[arg-type]
        self.model = model.train()
        if train.gradient_checkpointing:
            self.model.gradient_checkpointing_enable()
        self.step_number = 0
        self.num_skipped = 0
        self._num_gradient_bytes = 0
        self._guard = _build_optimizer(self.model, train)
        world_size = dist.get_world_size()
        # An operator that only inference uses: to compile it takes minutes on a fresh machine, and
        # fails where there is no C++ compiler.
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
            # A single rank has nothing to reduce; DeepSpeed would flatten, sum and copy back every
            # gradient all the same: a twelfth of a step on a CPU [measured].
            self._engine.enable_backward_allreduce = False

    @property
    def zero_stage(self) -> int:
        """The stage that the engine really runs at."""
        return self._engine.zero_optimization_stage()

    def step(
        self, micro_batches: list[tuple[Batch, torch.Tensor]], num_real: int, stop: bool = False
    ) -> StepResult:
        """Take one optimizer step over this rank's micro-batches.

        Each window of the global batch has equal weight: a rank's loss is its sum, times the world
        size that DeepSpeed's mean over ranks divides by, over the windows of the whole batch.

        Args:
            micro_batches: (collated batch, (windows,) float weights) pairs, as many on every rank.
            num_real: Windows of weight 1 in the global batch.
            stop: This rank was asked to stop after the step; every rank learns of it.
        """
        scale = dist.get_world_size() * len(micro_batches) / num_real
        total = torch.zeros((), device=self.device)
        is_first = self._num_gradient_bytes == 0
        for position, (batch, weights) in enumerate(micro_batches):
            batch = {name: tensor.to(self.device) for name, tensor in batch.items()}
            loss = (self._losses(batch) * weights.to(self.device)).sum()
            total += loss.detach()
            last = position == len(micro_batches) - 1
            self._engine.set_gradient_accumulation_boundary(last)
            self._engine.backward(loss * scale)
            if last:
                told = torch.stack([total, torch.tensor(float(stop), device=self.device)])
                dist.all_reduce(told)
                mean_loss, stops = told[0].item() / num_real, told[1].item()
                self._guard.skip = not (math.isfinite(mean_loss) and self._gradients_are_finite())
                self._set_learning_rate(
                    learning_rate(self.settings, self.step_number, self.num_steps)
                )
            if is_first:
                held = self._count_gradient_bytes()
                self._num_gradient_bytes = max(self._num_gradient_bytes, held)
            self._engine.step()
        skipped = self._guard.skip or not self._engine.was_step_applied()
        self.step_number += 1
        self.num_skipped += skipped
        return StepResult(mean_loss, skipped, stops > 0)

    def save(self, folder: Path) -> None:
        """Write this rank's part of the training state into a local folder."""
        self._engine.save_checkpoint(str(folder), tag="deepspeed", save_latest=False)
        state = {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if self.device.type == "cuda" else None,
            "numpy": np.random.get_state(),  # noqa: NPY002 - libraries draw from the global state
            "python": random.getstate(),
            "step": self.step_number,
            "num_skipped": self.num_skipped,
        }
        torch.save(state, folder / f"rank-{dist.get_rank():05d}.pt")

    def load(self, folder: Path) -> None:
        """Continue from what `save` wrote at the same world size and ZeRO stage.

        The files are pickles: only hand over files whose hashes have matched a manifest.
        """
        path, _ = self._engine.load_checkpoint(str(folder), tag="deepspeed")
        assert path is not None, f"DeepSpeed found no checkpoint in {folder}"
        state = torch.load(folder / f"rank-{dist.get_rank():05d}.pt", weights_only=False)
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None:
            torch.cuda.set_rng_state(state["cuda"])
        np.random.set_state(state["numpy"])  # noqa: NPY002
        random.setstate(state["python"])
        self.step_number = state["step"]
        self.num_skipped = state["num_skipped"]

    def gather_weights(self) -> dict[str, torch.Tensor]:
        """Gather the full-precision weights from all ranks; every rank must call it.

        Returns:
            A float32 CPU state dict on rank 0, an empty one elsewhere.
        """
        is_main = dist.get_rank() == 0
        weights = {}
        for name, parameter in self.model.named_parameters():
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
            `parameters`; `gradients`, the most that were held after a backward pass; `optimizer`,
            moments and master weights.
        """
        parameters, masters, moments = self._state_tensors()
        return {
            "parameters": _num_bytes(parameters),
            "gradients": self._num_gradient_bytes,
            "optimizer": _num_bytes([*parameters, *masters, *moments]) - _num_bytes(parameters),
        }

    def is_finite(self) -> bool:
        """Say whether weights and optimizer state are free of NaN and infinity, on every rank.

        Every rank must call it.
        """
        parameters, masters, moments = self._state_tensors()
        finite = all(
            bool(tensor.isfinite().all())
            for tensor in (*parameters, *masters, *moments)
            if isinstance(tensor, torch.Tensor)
        )
        told = torch.tensor(float(finite), device=self.device)
        dist.all_reduce(told, dist.ReduceOp.MIN)
        return told.item() > 0

    def _state_tensors(self) -> tuple[list[Any], list[Any], list[Any]]:
        """Return this rank's parameters, the weights that the optimizer moves, and its moments."""
        # ZeRO 3 keeps a rank's part of a parameter in `ds_tensor`.
        parameters = [getattr(p, "ds_tensor", p) for p in self.model.parameters()]
        # ZeRO 3 lends the optimizer its masters for the moment of a step only.
        masters = getattr(self._engine.optimizer, "fp32_partitioned_groups_flat", None) or [
            p for group in self._guard.param_groups for p in group["params"]
        ]
        moments = [value for state in self._guard.state.values() for value in state.values()]
        return parameters, list(masters), moments

    def _count_gradient_bytes(self) -> int:
        """Count gradients where autograd leaves them and where DeepSpeed gathers its share."""
        optimizer = self._engine.optimizer
        held = [parameter.grad for parameter in self.model.parameters()]
        held.append(getattr(optimizer, "grad_partitions_flat_buffer", None))
        for name in ("averaged_gradients", "all_grad_tensors"):
            for gradients in getattr(optimizer, name, {}).values():
                held += gradients or []
        return _num_bytes(held)

    def _gradients_are_finite(self) -> bool:
        """Check reduced gradients at stage 0; from stage 1 on DeepSpeed does it, and skips."""
        if self.zero_stage > 0:
            return True
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        return bool(torch.nn.utils.get_total_norm(gradients).isfinite())

    def _full_precision(self, parameter: torch.nn.Parameter) -> torch.Tensor:
        """Gather one parameter in float32 on the CPU; every rank must call it."""
        import deepspeed
        from deepspeed.utils import safe_get_full_fp32_param

        shape = getattr(parameter, "ds_shape", parameter.shape)  # ZeRO 3 empties the tensor itself
        if parameter.dtype != torch.float32:
            # fp16 weights are a rounding of the optimizer's: the fp32 master is the model.
            master = safe_get_full_fp32_param(parameter)
            if master is not None:
                return master.float().cpu().reshape(shape)
        with deepspeed.zero.GatheredParameters([parameter], enabled=self.zero_stage == 3):
            return parameter.detach().float().cpu().clone()

    def _losses(self, batch: Batch) -> torch.Tensor:
        output = self._engine(**{name: batch[name] for name in _INPUTS if name in batch})
        return self.losses(output.start_logits, output.end_logits, batch)

    def _set_learning_rate(self, rate: float) -> None:
        for group in self._engine.optimizer.param_groups:
            group["lr"] = rate


def _build_optimizer(model: PreTrainedModel, train: TrainSettings) -> Any:
    """Build AdamW or SGD with a switch that makes a step move nothing.

    DeepSpeed has no way to drop a step whose loss is not finite outside fp16. The optimizer it
    wraps can refuse: everything around it (reduction, clipping, zeroing) stays DeepSpeed's own.
    """
    base = torch.optim.AdamW if train.optimizer == "adamw" else torch.optim.SGD
    options: dict[str, Any] = {}
    if train.optimizer == "adamw":
        # Fused, it is one pass over each tensor; the default for a CPU takes three times as long.
        options = {"fused": True, "eps": train.adam_epsilon}

    class Guarded(base):  # type: ignore[misc,valid-type]
        skip = False

        def step(self, closure: Any = None) -> Any:
            return None if self.skip else super().step(closure)

    decayed: list[torch.nn.Parameter] = []
    exempt: list[torch.nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_exempt = parameter.ndim < 2 or "layernorm" in name.lower().replace("_", "")
        (exempt if is_exempt else decayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": train.weight_decay},
        {"params": exempt, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return Guarded(groups, lr=train.learning_rate, **options)


def _num_bytes(tensors: Iterable[Any]) -> int:
    """Add up the distinct storages behind tensors; what is no tensor counts nothing."""
    storages = [tensor.untyped_storage() for tensor in tensors if isinstance(tensor, torch.Tensor)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
