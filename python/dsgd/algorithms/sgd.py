"""Stochastic gradient descent on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dsgd import _core
from dsgd.algorithms.base import Algorithm, Capabilities, check_block_size
from dsgd.problems.averaging import check_average
from dsgd.problems.problem import Problem
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = ["Sgd"]


@dataclass(frozen=True, kw_only=True)
class Sgd(Algorithm):
    """Stochastic gradient descent on one thread, one sample a step; bit-for-bit reproducible.

    Parameters
    ----------
    block_size : int, optional
        Number of neighbouring rows that are visited together, in memory order. Every epoch visits
        the blocks in a new random order. 1 shuffles single rows. Larger blocks are faster, but need
        data that is not sorted. By default n_samples / 1024, at most 256; 1 if neighbouring rows
        have similar targets.
    average : bool or int, default=False
        Whether to return the mean of the weights after every step instead of the last weights. True
        averages from the first sample on, a number n from the n-th sample on. An average helps with a
        constant or slowly falling step. It has no exact zeros.

    Notes
    -----
    The loop is ``cpp/src/solver/sgd.cpp``. Every epoch visits every row once, in an order drawn from
    `random_state`. The penalty is applied in implicit (proximal) form. L2 shrinks all weights in every
    step, by a common scale factor. L1, the elastic net, and any penalty on several decision values
    (softmax) act on the support of each sample only, in proportion to the inverse frequency of the
    features.

    References
    ----------
    Robbins, Monro (1951), "A stochastic approximation method"; the sparse regularisation is that of Niu, Recht,
    Re, Wright (2011), "Hogwild!", section 2; the average is that of Polyak, Juditsky (1992).
    """

    name = "sgd"
    summary = "stochastic gradient descent on one thread"
    capabilities = Capabilities(
        threads=False, deterministic=True, shares=True, models=frozenset({"linear", "softmax", "kmeans"})
    )

    block_size: int | None = None
    average: bool | int = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "block_size", check_block_size(self.block_size))
        object.__setattr__(self, "average", check_average(self.average))

    def regularises_unseen(self, problem: Problem) -> bool:
        """Return whether a common scale factor shrinks all weights: without L1, and with one decision value."""
        return problem.alphas[0] == 0 and problem.layout.per_feature == 1

    def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
        """Train `task.weights` from `task.start_epoch` on, and yield after every epoch."""
        average = task.averaging(self.average)
        for index in range(task.start_epoch, task.max_epochs):
            epoch = task.epoch(index, self.block_size)
            loss = _core.sgd_epoch(
                task.core,
                average.iterate,
                epoch,
                drift=average.drift,
                averaged=average.steps,
                sum_loss=task.sum_loss,
            )
            average.advance(task.n_samples)
            yield EpochEnd(index + 1, task.step_size_at(index), loss if task.sum_loss else None)
