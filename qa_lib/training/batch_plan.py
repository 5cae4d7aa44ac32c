"""The batch plan: which windows make up every optimizer step, and which rank takes which of them.

The plan is a pure function of the windows' lengths, the global batch and the seed. The world size
only decides how a batch is shared, so one worker and sixty-four train the same windows in the same
step, and a run resumes from one integer: the next step.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from qa_lib.config import Settings

_RUN_WINDOWS = 2**16
_POOL_RUNS = 16


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """An ordered list of global batches over all epochs.

    Beyond a million windows an epoch is a sequence of pools, each of some runs of neighbouring
    windows from all over the set: a pool's order is computed when it is needed, and its windows are
    read from few places of the storage. In a smaller set the only pool is the epoch.

    Attributes:
        lengths: (windows,) int32, tokens of each window, by window index.
        global_batch: Windows per optimizer step, over all ranks.
        num_epochs: Passes over the windows.
        seed: Decides order and batch composition.
        bucket_batches: Windows are sorted by length within this many shuffled batches at a time, so
            that a batch holds similar lengths. 1 leaves the batches random.
        max_steps: Ends the plan early; None runs all epochs.
    """

    lengths: np.ndarray
    global_batch: int
    num_epochs: int
    seed: int
    bucket_batches: int = 50
    max_steps: int | None = None

    @property
    def num_windows(self) -> int:
        """Windows in one epoch."""
        return len(self.lengths)

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one epoch; the last batch of an epoch may be short."""
        return -(-self.num_windows // self.global_batch)

    @property
    def num_steps(self) -> int:
        """Optimizer steps in all."""
        steps = self.steps_per_epoch * self.num_epochs
        return steps if self.max_steps is None else min(steps, self.max_steps)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides the plan; a checkpoint belongs to one plan.

        Computed once, and carried to other processes with the plan.
        """
        rest: tuple[int, ...] = (
            self.global_batch,
            self.seed,
            self.bucket_batches,
            self.num_steps,
        )
        if not self._is_one_pool:
            rest += (_RUN_WINDOWS, _POOL_RUNS)
        digest = hashlib.sha256(repr(rest).encode())
        digest.update(np.ascontiguousarray(self.lengths, np.int32).data)
        return digest.hexdigest()

    def __hash__(self) -> int:
        """Hash alike in all copies, so that a process computes an epoch's order once."""
        return hash(self.fingerprint)

    def __eq__(self, other: object) -> bool:
        """Compare by what decides the plan."""
        return isinstance(other, BatchPlan) and self.fingerprint == other.fingerprint

    def batch(self, step: int) -> np.ndarray:
        """Return the window indices of one global batch, longest window first.

        Args:
            step: From 0 to `num_steps` - 1.

        Returns:
            (at most global_batch,) int64.
        """
        epoch, position = divmod(step, self.steps_per_epoch)
        pool, position = divmod(position, self._steps_per_pool)
        order, batches = self._pool(epoch, pool)
        first = int(batches[position]) * self.global_batch
        return order[first : first + self.global_batch].astype(np.int64)

    def share(
        self, step: int, rank: int, world_size: int, micro_batch: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return one rank's share of a step: whole micro-batches of exactly `micro_batch` rows.

        The batch, sorted by length, is cut into micro-batches that are dealt to the ranks in turn:
        at any moment the ranks compute windows of similar length, and wait little for each other. A
        short batch, and one whose micro-batches the ranks do not divide, is filled with its last
        window at weight 0, which adds nothing to the loss: all ranks take equally many.

        Returns:
            Window indices (int64) and weights (int8: 1 trained, 0 filler), both of shape
            (`num_micro_batches` x micro_batch,).
        """
        batch = self.batch(step)
        size = num_micro_batches(self.global_batch, world_size, micro_batch)
        missing = size * world_size * micro_batch - len(batch)
        indices = np.concatenate([batch, np.full(missing, batch[-1])])
        weights = np.concatenate([np.ones(len(batch), np.int8), np.zeros(missing, np.int8)])
        hands = (-1, world_size, micro_batch)  # (micro-batches per rank, ranks, windows)
        return (
            indices.reshape(hands)[:, rank].reshape(-1),
            weights.reshape(hands)[:, rank].reshape(-1),
        )

    @property
    def _is_one_pool(self) -> bool:
        return self.num_windows <= _RUN_WINDOWS * _POOL_RUNS

    @property
    def _steps_per_pool(self) -> int:
        if self._is_one_pool:
            return self.steps_per_epoch
        return max(1, _RUN_WINDOWS * _POOL_RUNS // self.global_batch)

    @lru_cache(maxsize=2)  # noqa: B019 - the two newest pools of a process, whatever the copy
    def _pool(self, epoch: int, pool: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a pool's windows, batch after batch, and the order in which batches are taken.

        Returns:
            (windows,) int32 window indices, each batch longest first; (batches,) int32.
        """
        seeds = [self.seed, epoch] if self._is_one_pool else [self.seed, epoch, pool]
        random = np.random.default_rng(seeds)
        order = random.permutation(self._members(epoch, pool)).astype(np.int32)
        # A larger bucket than the pool is the pool; its size may be more than an array can have.
        bucket = max(1, min(self.bucket_batches * self.global_batch, len(order)))
        whole = order[: len(order) // bucket * bucket].reshape(-1, bucket)
        for buckets in (whole, order[whole.size :].reshape(1, -1)):  # the last may be short
            by_length = np.argsort(-self.lengths[buckets], axis=1, kind="stable")
            buckets[:] = np.take_along_axis(buckets, by_length, axis=1)
        num_batches = -(-len(order) // self.global_batch)
        return order, random.permutation(num_batches).astype(np.int32)

    def _members(self, epoch: int, pool: int) -> np.ndarray:
        """Return a pool's windows: a stretch of the epoch's runs, which are drawn at random."""
        size = self._steps_per_pool * self.global_batch
        places = np.arange(pool * size, min((pool + 1) * size, self.num_windows))
        if self._is_one_pool:
            return places
        starts = np.arange(0, self.num_windows, _RUN_WINDOWS)
        sizes = np.minimum(_RUN_WINDOWS, self.num_windows - starts)
        runs = np.random.default_rng([self.seed, epoch]).permutation(len(starts))
        ends = np.cumsum(sizes[runs])
        found = np.searchsorted(ends, places, side="right")
        members: np.ndarray = starts[runs[found]] + places - (ends - sizes[runs])[found]
        return members


def num_micro_batches(global_batch: int, world_size: int, micro_batch: int) -> int:
    """Return the micro-batches that every rank takes in a step, fillers included."""
    return -(-global_batch // (world_size * micro_batch))


def plan_of(settings: Settings, lengths: np.ndarray) -> BatchPlan:
    """Return the batch plan of a run over windows of these lengths, (windows,) int32."""
    train = settings.train
    return BatchPlan(
        lengths=lengths,
        global_batch=train.global_batch,
        num_epochs=train.epochs,
        seed=settings.seed,
        bucket_batches=train.bucket_batches,
        max_steps=train.max_steps,
    )
