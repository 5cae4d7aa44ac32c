"""Which arithmetic and which attention are fastest for a model on this machine: measured.

A copy of the model with one layer takes a step, or pass, with every candidate, on one thread. On a
CPU these are float32 products by MKL or by oneDNN, or bf16 by oneDNN, each with every attention
kernel of the family. The figures are kept in the user's cache folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from qa_lib.machines import devices
from qa_lib.models import attention, ragged
from qa_lib.models.attention import Kernel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BUDGET_S = 0.4  # of the processor, after which nothing more is timed
_LIMIT_S = 3.0  # on a busy machine, for a first pass with every candidate
_FLOPS = 4e9  # of a measured pass, at most: 20 ms at 200 GFLOP/s
_ROUNDS = 3
_CONTENDER = 2.0  # times the fastest pass so far, within which a candidate is timed again
_VERSION = 1  # of the measurement; other versions' figures are ignored
_ARITHMETIC: tuple[tuple[str, devices.Products], ...] = (
    ("bf16", "onednn"),
    ("fp32", "onednn"),
    ("fp32", "mkl"),
)
_SMALL_VOCABULARY = 256
_LENGTH_STEP = 32  # typical lengths are rounded to it


@dataclass(frozen=True)
class Workload:
    """What a model will do.

    Attributes:
        num_windows: Windows of a pass.
        num_tokens: Tokens of a typical window.
        trains: With a backward pass, and dropout as the configuration has it.
    """

    num_windows: int
    num_tokens: int
    trains: bool


@dataclass(frozen=True)
class Kernels:
    """The arithmetic and the attention that a process uses.

    Attributes:
        precision: fp32, bf16 or fp16.
        products: Library of float32 matrix products on a CPU.
        attention: Kernel of the attention.
        measured_ms: Milliseconds of a pass of one layer by candidate; empty where none was timed.
        flops_per_s: Of that pass with the chosen kernels, on one thread, counting its linear
            layers; 0 likewise.
    """

    precision: str
    products: devices.Products = "mkl"
    attention: Kernel = "sdpa"
    measured_ms: dict[str, float] = field(default_factory=dict)
    flops_per_s: float = 0.0

    @property
    def name(self) -> str:
        """The candidate's name in `measured_ms`."""
        arithmetic = self.precision if self.precision != "fp32" else f"fp32 {self.products}"
        return f"{arithmetic} {self.attention}"

    def apply(self, model: PreTrainedModel) -> None:
        """Set a model's attention, and this process's float32 products."""
        if hasattr(model, "set_attn_implementation"):  # a session of ONNX Runtime stays as it is
            attention.use(model, self.attention)
        devices.use_products(self.products)

    def facts(self) -> dict[str, Any]:
        """Return what result.json says of them."""
        return {
            "precision": self.precision,
            "products": self.products,
            "attention": self.attention,
            "kernels_ms": self.measured_ms,
        }


def choose(
    config: Any,
    workload: Workload,
    *,
    device: str,
    precision: str = "auto",
    kernel: str = "auto",
    measure: bool = True,
) -> Kernels:
    """Choose the fastest kernels that the settings permit.

    On a GPU nothing is measured: compute capability decides on the precision.

    Args:
        config: Of the model, dropout included.
        workload: What it will do.
        device: cpu or cuda.
        precision: `train.precision`.
        kernel: `train.attention`.
        measure: Whether to measure where the cache has no figures; else the defaults are returned.

    Raises:
        ConfigError: The family has no such attention kernel.
    """
    attention.check(config, kernel)
    known = attention.kernels_of(config)
    wished = known if kernel == "auto" else (cast(Kernel, kernel),)
    if device != "cpu":
        return Kernels(devices.resolve_precision(precision, device), attention=wished[0])
    candidates = [
        Kernels(arithmetic, products, each)
        for arithmetic, products in _ARITHMETIC
        for each in sorted(wished, key=("batched", "sdpa", "eager").index)
        if precision in ("auto", arithmetic)
        and (each != "eager" or kernel == "eager" or len(known) == 1)
        and (products == "mkl" or devices.has_onednn())
        and (arithmetic == "bf16" or products == "mkl" or devices.onednn_is_exact())
    ]
    default = Kernels("fp32" if precision == "auto" else precision, attention=wished[0])
    if len(candidates) < 2:
        return candidates[0] if candidates else default
    length = max(_LENGTH_STEP, round(workload.num_tokens / _LENGTH_STEP) * _LENGTH_STEP)
    with _cached(_key(config, workload, length, candidates)) as cache:
        found = cache.read()
        if found is None:
            if not measure:
                return default
            found = _measure(config, workload, length, candidates)
            if len(found.measured_ms) == len(candidates):  # else the machine was too busy
                cache.write(found)
    return found


@contextmanager
def fastest_fp32(model: PreTrainedModel, workload: Workload) -> Iterator[None]:
    """Compute in float32 with the fastest kernels meanwhile; afterwards a model has its default."""
    found = choose(model.config, workload, device=model.device.type, precision="fp32")
    before = Kernels("fp32", devices.products(), attention.kernels_of(model.config)[0])
    found.apply(model)
    try:
        yield
    finally:
        before.apply(model)


def _key(config: Any, workload: Workload, length: int, candidates: list[Kernels]) -> str:
    """Return a hash of everything that the figures depend on."""
    import torch
    import transformers

    sizes = {
        name: value
        for name, value in config.to_diff_dict().items()
        if isinstance(value, (int, float, str)) and not name.startswith(("_", "transformers"))
    }
    for name in ("vocab_size", "num_hidden_layers"):
        sizes.pop(name, None)
    facts = [
        _VERSION,
        devices.processor_name(),
        torch.__version__,
        transformers.__version__,
        config.model_type,
        sizes,
        workload.num_windows,
        length,
        workload.trains,
        [each.name for each in candidates],
    ]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def _measure(config: Any, workload: Workload, length: int, candidates: list[Kernels]) -> Kernels:
    """Time all candidates once, then the fastest in turns, until the time is over."""
    import torch

    before, num_threads = devices.products(), torch.get_num_threads()
    by_name = {each.name: each for each in candidates}
    best: dict[str, float] = {}
    started, started_cpu = time.perf_counter(), time.thread_time()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.set_num_threads(1)
        layer = _Layer(config, workload, length)

        def take(name: str) -> None:
            by_name[name].apply(layer.model)
            seconds = layer.time(by_name[name].precision)
            best[name] = min(seconds, best.get(name, seconds))

        try:
            for name in by_name:  # the first passes also set kernels up
                if not best or time.perf_counter() - started < _LIMIT_S:
                    take(name)
            for number in range(_ROUNDS):
                limit = _CONTENDER * min(best.values())
                for name in [name for name, seconds in best.items() if seconds <= limit]:
                    if number == 0 or time.thread_time() - started_cpu < _BUDGET_S:
                        take(name)
        finally:
            devices.use_products(before)
            torch.set_num_threads(num_threads)
    fastest = min(best, key=best.__getitem__)
    chosen = by_name[fastest]
    return Kernels(
        chosen.precision,
        chosen.products,
        chosen.attention,
        {name: round(1e3 * seconds, 3) for name, seconds in best.items()},
        layer.flops / best[fastest],
    )


class _Layer:
    """A model of one layer and a small vocabulary, and windows for it."""

    def __init__(self, config: Any, workload: Workload, length: int) -> None:
        import torch

        from qa_lib.models.loading import build, quiet
        from qa_lib.models.sizes import maximum_length, num_matrix_parameters

        values = config.to_dict() | {"num_hidden_layers": 1}
        values["vocab_size"] = min(_SMALL_VOCABULARY, config.vocab_size)
        values["pad_token_id"] = min(config.pad_token_id or 0, _SMALL_VOCABULARY - 1)
        if values.get("layer_types"):
            values["layer_types"] = values["layer_types"][:1]
        reduced = type(config).from_dict(values)
        if (blocks := ragged.blocks_of(config)) is not None:  # the widest layer stands for all
            widest = ragged.Blocks((max(blocks.num_heads),), (max(blocks.intermediate_size),))
            ragged.mark(reduced, widest)
        with quiet():
            self.model = build(reduced)
        self.model.train(workload.trains)
        self._trains = workload.trains
        length = min(length, maximum_length(config) or length)
        factor = (6 if workload.trains else 2) * num_matrix_parameters(self.model)
        most = max(1, int(_FLOPS / (factor * length)))
        num_windows = min(workload.num_windows, most)
        self.flops = factor * length * num_windows
        self._tokens = torch.full((num_windows, length), values["vocab_size"] - 1)
        self._mask = torch.ones_like(self._tokens)
        if num_windows > 1:  # padding, as most batches have
            self._mask[0, -1] = 0

    def time(self, precision: str) -> float:
        """Return the seconds of a pass, with its backward pass where the workload trains.

        They are the processor's, of this one thread: unlike the time on the clock, and unlike that
        of several threads, which wait for each other, they hardly change on a busy machine.
        """
        import torch

        started = time.thread_time()
        with (
            torch.inference_mode(not self._trains),
            torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"),
        ):
            output = self.model(input_ids=self._tokens, attention_mask=self._mask)
        if self._trains:
            (output.start_logits.float().sum() + output.end_logits.float().sum()).backward()
        return time.thread_time() - started


class _Entry:
    """A file of the cache; None where the folder cannot be written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def read(self) -> Kernels | None:
        """Return the figures, or None where there are none, or the file is damaged."""
        if self._path is None:
            return None
        try:
            found = Kernels(**json.loads(self._path.read_text(encoding="utf-8")))
            return found if found.name in found.measured_ms else None
        except (OSError, ValueError, TypeError):
            return None

    def write(self, kernels: Kernels) -> None:
        """Write the figures; a full or read-only disk costs only the next measurement."""
        if self._path is None:
            return
        with suppress(OSError):
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".kernels-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(asdict(kernels), file)
            os.replace(name, self._path)


@contextmanager
def _cached(key: str) -> Iterator[_Entry]:
    """Hold the entry of a key: of several processes that want it, one measures and others read."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(home).expanduser() / "qa-suite" / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / f"{key}.lock", "w")  # noqa: SIM115 - closed below
    except OSError:
        yield _Entry(None)
        return
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield _Entry(folder / f"{key}.json")
