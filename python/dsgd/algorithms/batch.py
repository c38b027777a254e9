"""Gradient descent over all rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dsgd import _core
from dsgd.algorithms.base import Algorithm, Capabilities
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = ["Batch"]


@dataclass(frozen=True, kw_only=True)
class Batch(Algorithm):
    """Proximal gradient descent with a line search: one exact gradient an epoch, computed in parallel.

    Notes
    -----
    Let g be the gradient of the mean loss f at w. The step eta is halved until v = prox(w - eta g)
    satisfies ``f(v) <= f(w) + g.(v - w) + ||v - w||^2 / (2 eta)``. The next epoch starts with twice
    that step. The first eta is `step_size`; schedules are not used. The penalty is in the prox, so
    l1 gives exact zeros. For a loss with kinks, such as the hinge, g is only a subgradient, and the
    steps shrink to zero near a kink: use a smooth loss.

    With `dsgd.losses.KMeans` an epoch is one step of Lloyd's algorithm (1982), which moves every
    centre to the mean of its rows.

    An epoch counts as one effective pass. Each evaluation of the loss in the line search costs about
    half a pass more, which is not counted.

    References
    ----------
    Beck, Teboulle (2009), "A fast iterative shrinkage-thresholding algorithm for linear inverse problems", section 3
    (ISTA with backtracking). "BATCH" of Keuper, Pfreundt (2015) is the same method with a fixed step.
    """

    name = "batch"
    summary = "gradient descent over all rows, with a line search"
    capabilities = Capabilities(
        threads=True, deterministic=True, stochastic=False, models=frozenset({"linear", "softmax", "kmeans", "mlp"})
    )

    def epochs(self, task: LocalTask) -> Iterator[EpochEnd]:
        """Train `task.weights` from `task.start_epoch` on, and yield after every epoch."""
        if task.problem.loss.model == "kmeans":
            yield from _lloyd(task)
            return
        step = task.step_size
        loss = task.mean_loss()
        for index in range(task.start_epoch, task.max_epochs):
            w = task.weights.astype(np.float64)
            gradient = task.loss_gradient()
            with np.errstate(over="ignore", invalid="ignore"):  # too long a step is halved
                for _ in range(60):  # after 60 halvings a step no longer changes w in double precision
                    v = task.prox(w - step * gradient, step)
                    task.weights[:] = v
                    move, candidate = v - w, task.mean_loss()
                    if candidate <= loss + gradient @ move + move @ move / (2 * step) + 1e-12 * abs(loss):
                        break
                    step /= 2
            loss = candidate
            yield EpochEnd(index + 1, step, loss, exact=True)
            step *= 2


def _lloyd(task: LocalTask) -> Iterator[EpochEnd]:
    """Move every centre to the mean of its rows (Lloyd 1982). The objective never grows.

    This is a mini-batch step on all rows. A step of infinite size ends at the mean.
    """
    to_the_mean = _core.Schedule(step_size=math.inf)
    for index in range(task.start_epoch, task.max_epochs):
        epoch = _core.Epoch(index=0, schedule=to_the_mean, block_size=task.n_samples, seed=0)
        loss = _core.minibatch_epoch(
            task.core, task.weights, epoch, task.n_samples, task.n_threads, sum_loss=task.sum_loss
        )
        yield EpochEnd(index + 1, task.step_size, loss if task.sum_loss else None)
