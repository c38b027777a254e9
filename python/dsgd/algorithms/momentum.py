"""Mini-batch descent with momentum, for networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd._common.threads import blas_threads
from dsgd.models.network import NetworkObjective, Units
from dsgd.models.unit_steps import UnitSteps
from dsgd.problems.task import EpochEnd, LocalTask

__all__ = ["Momentum", "momentum_epochs"]


class Momentum:
    """Mini-batch descent with the momentum of Polyak (1964): v <- momentum v - step P (g + alpha w), w <- w + v.

    P makes the step that of plain descent in the units of the features and targets; see `UnitSteps`.

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
        self._steps = UnitSteps(objective, units, dtype)
        self._velocity = np.zeros(objective.layout.size, dtype)

    def epoch(
        self, weights: NDArray[Any], order: NDArray[np.int64], steps: Sequence[float], batch_size: int, n_threads: int
    ) -> None:
        """Make a step for every batch of rows in `order`, in place.

        On one thread the same BLAS gives the same bits.
        """
        v, objective, real = self._velocity, self._objective, weights.dtype.type
        change = np.empty_like(weights)
        with blas_threads(n_threads), np.errstate(over="ignore", invalid="ignore"):
            for begin, step in zip(range(0, len(order), batch_size), steps, strict=True):
                rows = order[begin : begin + batch_size]
                gradient = objective.gradient(weights, rows, batch_size, self._steps.mean)
                self._steps.turn(weights, gradient)
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
