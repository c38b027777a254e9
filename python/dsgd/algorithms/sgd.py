"""Stochastic gradient descent on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dsgd import _core
from dsgd.algorithms.base import Algorithm, Capabilities, EpochEnd, Task
from dsgd.checks import check_integer

__all__ = ["Sgd"]


@dataclass(frozen=True, kw_only=True)
class Sgd(Algorithm):
    """Stochastic gradient descent on one thread, one sample a step; bit-for-bit reproducible.

    Parameters
    ----------
    block_size : int, default=1
        Rows that are visited together, in memory order; the blocks are visited in a new random order every epoch.
        1 shuffles the rows themselves. Larger blocks are faster on data larger than the cache, and need data that
        is not sorted.

    Notes
    -----
    The loop is ``cpp/src/solver/sgd.cpp``. Every epoch visits every row once, in an order drawn from
    `random_state`. L2 is applied to the support of each sample only, weighted by the inverse frequency of the
    feature, in implicit form.

    References
    ----------
    Robbins, Monro (1951), "A stochastic approximation method"; the sparse regularisation is that of Niu, Recht,
    Re, Wright (2011), "Hogwild!", section 2.
    """

    name = "sgd"
    summary = "stochastic gradient descent on one thread"
    capabilities = Capabilities(threads=False, deterministic=True)

    block_size: int = 1

    def __post_init__(self) -> None:
        object.__setattr__(self, "block_size", check_integer("block_size", self.block_size, 1, 2**63 - 1))

    def epochs(self, task: Task) -> Iterator[EpochEnd]:
        """Train `task.weights` from `task.start_epoch` on, and yield after every epoch."""
        for index in range(task.start_epoch, task.max_epochs):
            _core.sgd_epoch(task.objective, task.weights, task.epoch(index, self.block_size))
            yield EpochEnd(index + 1, task.step_size_at(index))
