"""Mini-batch descent with momentum, for networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.threads import blas_threads
from dsgd.models.network import NetworkObjective, Units
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = ["Momentum", "momentum_epochs"]


# Mean ||x||^2, in the units of the features, above which the first layer makes shorter steps, in proportion. A first
# layer with more inputs then learns like one with 100 of them (docs/algorithms/mlp.md).
_UNITS = 100


class Momentum:
    """Mini-batch descent with the momentum of Polyak (1964): v <- momentum v - step P g, w <- w + v.

    P makes the steps independent of the scale of the features and targets. Let u be the weights of the
    same network on features and targets in their own units (`Units`), with mean 0 and deviation 1, and
    let w = T u. Plain descent on F(T u) in u is descent in w with P = T T'. P multiplies the gradient
    of every weight by a factor. It also moves the biases of the first layer along with the weights of
    that layer, so that the layer turns about the mean of the features. docs/algorithms/mlp.md has the
    formulas.

    Parameters
    ----------
    objective : NetworkObjective
    momentum : float
    units : Units
    dtype : dtype
        Of the weights.
    """

    def __init__(self, objective: NetworkObjective, momentum: float, units: Units, dtype: np.dtype[Any]) -> None:
        self._objective = objective
        self._momentum = dtype.type(momentum)
        self._mean = units.mean.astype(dtype)
        self._rates = np.ones(objective.layout.size, dtype)
        self._velocity = np.zeros_like(self._rates)
        matrices, biases = objective.layout.split(self._rates)
        # Targets with a large deviation make gradients large, except those of the last layer.
        squares = units.target**2 if len(matrices) > 1 else 1.0
        for each in (*matrices[1:-1], *biases[:-1]):
            each[:] = 1 / (squares + objective.alpha)
        # The penalty does not depend on the units. With alpha in the divisor, no step is too long for the penalty.
        share = min(1.0, _UNITS / units.length) if units.length > 0 else 1.0
        matrices[0][:] = (share / (squares * units.scale**2 + share * objective.alpha))[:, None]

    def epoch(
        self, weights: NDArray[Any], order: NDArray[np.int64], steps: Sequence[float], batch_size: int, n_threads: int
    ) -> None:
        """Make a step for every batch of rows in `order`, in place.

        On one thread the same BLAS gives the same bits.
        """
        v, objective, real = self._velocity, self._objective, weights.dtype.type
        regularised, change = objective.layout.regularised, np.empty_like(weights)
        with blas_threads(n_threads), np.errstate(over="ignore", invalid="ignore"):
            for begin, step in zip(range(0, len(order), batch_size), steps, strict=True):
                rows = order[begin : begin + batch_size]
                gradient = objective.gradient(weights, rows, batch_size, self._mean)
                penalty = np.multiply(regularised(weights), real(objective.alpha), out=regularised(change))
                regularised(gradient)[:] += penalty
                gradient *= self._rates
                matrices, biases = objective.layout.split(gradient)
                biases[0] -= self._mean @ matrices[0]
                v *= self._momentum
                v -= np.multiply(gradient, real(step), out=change)
                weights += v


def momentum_epochs(
    task: LocalTask, objective: NetworkObjective, batch_size: int, block_size: int, momentum: float
) -> Iterator[EpochEnd]:
    """Train a network, and yield after every epoch; see `Minibatch` for the parameters."""
    descent = Momentum(objective, momentum, Units.measure(task.problem), task.weights.dtype)
    n, schedule = task.n_samples, task.schedule.to_core(task.step_size, task.run)
    size = min(batch_size, n)
    for index in range(task.start_epoch, task.max_epochs):
        order = _core.draw_rows(n, n, block_size=block_size, seed=task.seed, index=index, stream=0)
        first = task.offset + index * n + 1
        steps = [schedule.at(first + begin, index) for begin in range(0, n, size)]
        descent.epoch(task.weights, order, steps, size, task.n_threads)
        yield EpochEnd(index + 1, task.step_size_at(index))
