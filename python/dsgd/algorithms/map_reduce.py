"""Gradient descent over the rows of all workers: the BATCH of map-reduce."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.algorithms.base import Capabilities
from dsgd.algorithms.batch import Batch
from dsgd.algorithms.distributed import DistributedAlgorithm, Program, Table
from dsgd.cluster.program.commands import AllReduce, Clock, Command, Pull, Push
from dsgd.cluster.program.task import WorkerTask
from dsgd.models.base import Loss

__all__ = ["MapReduce"]

Array = NDArray[Any]

# A step that ends at the mean of the rows of every centre, whatever their number.
_TO_THE_MEAN = 1e300


@dataclass(frozen=True, kw_only=True)
class MapReduce(DistributedAlgorithm):
    """Proximal gradient descent with the line search of `Batch`: every worker computes with its own rows.

    In a clock the workers add up their gradients at the same weights, and then their losses at one
    candidate after another, until the step is short enough. Each sum is a barrier. All workers then
    have the same weights, and the first of them pushes these. If a worker is lost during a search, the
    weights stay as they are for this clock.

    Notes
    -----
    ``algo="batch"`` on a cluster is this algorithm. On one worker it is `Batch`, to the bit in float64; of k-means but
    for rounding.

    References
    ----------
    "BATCH" of Keuper, Pfreundt (2015), "Asynchronous parallel stochastic gradient descent",
    Algorithm 1, with a line search in place of a fixed step.
    """

    name = "map-reduce"
    summary = "gradient descent over the rows of all workers, with a line search"
    capabilities = Capabilities(
        threads=True,
        deterministic=True,
        stochastic=False,
        distributed=True,
        schedule="constant",
        models=frozenset({"linear", "softmax", "kmeans", "mlp"}),
    )

    @property
    def tables(self) -> tuple[Table, ...]:
        """The weights. Only one worker pushes, and the mean of one push is that push, bit for bit."""
        return (Table(rule="average"),)

    def worker(self, task: WorkerTask) -> Program:
        """Run one worker."""
        descend = self._lloyd if task.kernels.problem.loss.model == "kmeans" else self._searched
        state = task.state(doublings=0)
        for clock in range(task.start_clock, task.max_clocks):
            weights = yield Pull(clock)
            moved, state.doublings, shares = yield from descend(task, weights, int(state.doublings))
            if task.rank - task.workers.start == np.flatnonzero(shares)[0]:
                yield Push(moved)
            yield Clock()

    def _searched(
        self, task: WorkerTask, weights: Array, doublings: int
    ) -> Generator[Command, Any, tuple[Array, int, Array]]:
        """Return the weights after a step with a line search (`Batch`).

        Also the doublings of the first step with which the next search begins, and the workers' shares of the rows.
        """
        w = weights.astype(np.float64)
        here, shares = yield from _mean(task, task.full_gradient(weights), [task.full_loss(weights), doublings])
        gradient, loss = here[:-2], float(here[-2])
        # A worker that was away for some clocks knows an old number. All take the same one.
        doublings = round(here[-1])
        for _ in range(60):  # after 60 halvings a step no longer changes w in double precision
            step = np.ldexp(task.step_size, doublings)
            v = w - step * gradient
            task.kernels.problem.shrink(task.kernels.problem.layout.regularised(v), step)
            moved = v.astype(weights.dtype)
            (candidate,), counted = yield from _mean(task, [task.full_loss(moved)])
            if not np.array_equal(counted, shares):
                return weights, doublings, counted  # the losses before and after are of the rows of different workers
            move = v - w
            if candidate <= loss + gradient @ move + move @ move / (2 * step) + 1e-12 * abs(loss):
                break
            doublings -= 1
        return moved, doublings + 1, counted

    def _lloyd(
        self, task: WorkerTask, weights: Array, doublings: int
    ) -> Generator[Command, Any, tuple[Array, int, Array]]:
        """Return the means of the rows nearest to each centre (Lloyd 1982)."""
        mean, shares = yield from _mean(task, task.gradient(weights, np.arange(task.n_samples)))
        return task.proximal_step(weights, mean.astype(weights.dtype), _TO_THE_MEAN), doublings, shares

    def clocks(self, max_epochs: int, n_samples: int, n_workers: int) -> int:  # noqa: ARG002
        """Return the number of clocks: one an epoch."""
        return max_epochs

    def step_trial(self, n_samples: int, n_workers: int) -> Batch:  # noqa: ARG002
        """Return the algorithm of one machine that makes the same steps."""
        return Batch()

    def first_step(self, loss: Loss) -> float | None:
        """Return the step that `Batch` starts from with this loss; None: it is searched for."""
        return Batch().first_step(loss)


def _mean(task: WorkerTask, *values: Any) -> Generator[Command, Any, tuple[Array, Array]]:
    """Return the mean of values over the rows of all live workers, and the share of every worker in it."""
    own = np.zeros(task.n_workers)
    own[task.rank - task.workers.start] = 1
    mean = yield AllReduce(np.concatenate([*values, own]), mean=True, weight=task.n_samples)
    return mean[: -len(own)], mean[-len(own) :]
