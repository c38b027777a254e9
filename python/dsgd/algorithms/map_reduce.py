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

__all__ = ["MapReduce"]

# A step that ends at the mean of the rows of every centre, whatever their number.
_TO_THE_MEAN = 1e300


@dataclass(frozen=True, kw_only=True)
class MapReduce(DistributedAlgorithm):
    """Proximal gradient descent with the line search of `Batch`: every worker computes with its own rows.

    In a clock the workers add up their gradients at the same weights, and then their losses at one
    candidate after another, until the step is short enough. Each sum is a barrier. All workers then
    have the same weights, and rank 0 pushes them.

    Notes
    -----
    ``algo="batch"`` on a cluster is this algorithm. On one worker it is `Batch`, to the bit in float64.

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
        """The weights. Only rank 0 pushes, and the mean of one push is that push, bit for bit."""
        return (Table(rule="average"),)

    def worker(self, task: WorkerTask) -> Program:
        """Run one worker."""
        descend = self._lloyd if task.kernels.problem.loss.model == "kmeans" else self._searched
        state = task.state(step=task.step_size)
        for clock in range(task.start_clock, task.max_clocks):
            weights = yield Pull(clock)
            moved, state.step = yield from descend(task, weights, state.step)
            if task.rank == 0:
                yield Push(moved)
            yield Clock()

    def _searched(
        self, task: WorkerTask, weights: NDArray[Any], step: float
    ) -> Generator[Command, Any, tuple[NDArray[Any], float]]:
        """Return the weights after a step with a line search (`Batch`), and the step to begin the next search with."""
        w = weights.astype(np.float64)
        here = yield AllReduce(
            np.append(task.full_gradient(weights), task.full_loss(weights)).astype(np.float64),
            mean=True,
            weight=task.n_samples,
        )
        gradient, loss = here[:-1], float(here[-1])
        for _ in range(60):  # after 60 halvings a step no longer changes w in double precision
            v = w - step * gradient
            task.kernels.problem.shrink(task.kernels.problem.layout.regularised(v), step)
            moved = v.astype(weights.dtype)
            (candidate,) = yield AllReduce(np.array([task.full_loss(moved)]), mean=True, weight=task.n_samples)
            move = v - w
            if candidate <= loss + gradient @ move + move @ move / (2 * step) + 1e-12 * abs(loss):
                break
            step /= 2
        return moved, 2 * step

    def _lloyd(
        self, task: WorkerTask, weights: NDArray[Any], step: float
    ) -> Generator[Command, Any, tuple[NDArray[Any], float]]:
        """Return the means of the rows nearest to each centre (Lloyd 1982)."""
        rows = np.arange(task.n_samples)
        mean = yield AllReduce(task.gradient(weights, rows), mean=True, weight=task.n_samples)
        return task.proximal_step(weights, mean, _TO_THE_MEAN), step

    def clocks(self, max_epochs: int, n_samples: int, n_workers: int) -> int:  # noqa: ARG002
        """Return the number of clocks: one an epoch."""
        return max_epochs

    def step_trial(self, n_samples: int, n_workers: int) -> Batch:  # noqa: ARG002
        """Return the algorithm of one machine that makes the same steps."""
        return Batch()
