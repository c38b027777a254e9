"""Stochastic gradient descent in place on the rows of one worker, in as many calls as its program likes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.models.network import NetworkObjective
from dsgd.models.protocols import RowSteps

__all__ = ["FATES", "BatchDescent", "Descent", "GradientTest", "RowDescent", "TestedDescent"]

Rows = NDArray[np.int64]
StepSizes = NDArray[np.float64]
Count = Callable[[Rows, float, int], None]
"""Counts the work of steps: the rows, the cost of a step in plain ones, the elements of vectors that are visited."""

FATES = ("accepted", "fresh", "both_sides", "crossing", "turned", "slower")
"""What may have become of a sample whose gradient is tested; delayed_sgd.hpp defines them."""


class Descent(Protocol):
    """Steps on rows in turn."""

    def steps(
        self, weights: NDArray[Any], rows: Rows, step_sizes: NDArray[np.float64], index: int
    ) -> NDArray[np.bool_]:
        """Step on every row in place; return for each whether its step was made.

        Parameters
        ----------
        weights : ndarray of shape (n_parameters,)
            Until `settle` they are not the model: a scale of L2, or a step, may be due.
        rows : ndarray of int64
        step_sizes : ndarray of float64
            One a row.
        index : int
            Passes over the rows before this one. All rows are of one pass.
        """

    def settle(self, weights: NDArray[Any]) -> None:
        """Bring what is due, so that the weights are the model."""


class RowDescent:
    """The steps of `sgd`, with a scale for L2 that lasts from call to call."""

    def __init__(self, objective: _core.LinearObjective, delay: int, count: Count) -> None:
        self._sgd = _core.RowSgd(objective, delay=delay)
        self._count = count

    def steps(
        self, weights: NDArray[Any], rows: Rows, step_sizes: NDArray[np.float64], index: int
    ) -> NDArray[np.bool_]:
        """Step on every row in place; see `Descent`."""
        self._sgd.steps(weights, rows, step_sizes, index)
        self._count(rows, 1.0, 0)
        return np.ones(len(rows), bool)

    def settle(self, weights: NDArray[Any]) -> None:
        """Make the steps that are due, and multiply the weights by their scale."""
        self._sgd.settle(weights)
        self._count(np.empty(0, np.int64), 1.0, len(weights))


class BatchDescent:
    """The steps of `minibatch`, on any model.

    A step takes the size of its first row.
    """

    def __init__(self, row_steps: RowSteps, batch_size: int, count: Count) -> None:
        self._row_steps = row_steps
        self._batch_size = batch_size
        self._count = count
        # A step of another model changes only the weights that its rows touch.
        self._whole = isinstance(row_steps.objective, NetworkObjective)

    def steps(
        self, weights: NDArray[Any], rows: Rows, step_sizes: NDArray[np.float64], index: int
    ) -> NDArray[np.bool_]:
        """Step on every batch in place; see `Descent`."""
        size = self._batch_size
        for begin in range(0, len(rows), size):
            batch = rows[begin : begin + size]
            self._row_steps.minibatch_step(weights, batch, float(step_sizes[begin]), size, index)
        self._count(rows, 1.0, len(weights) * -(-len(rows) // size) if self._whole else 0)
        return np.ones(len(rows), bool)

    def settle(self, weights: NDArray[Any]) -> None:
        """Do nothing: no step is ever due."""


@dataclass(frozen=True)
class GradientTest:
    """The test that a delayed gradient must pass (delayed_sgd.hpp).

    Attributes
    ----------
    max_retries : int
        After so many rejected samples in turn a step is made without delay.
    strict : bool
        Whether a step must also keep the contraction rate of one without delay.
    """

    max_retries: int
    strict: bool


class TestedDescent:
    """Delayed steps of `sgd`, made where their gradient passes a test.

    Attributes
    ----------
    fates : ndarray of int64, shape (6,)
        Samples so far by what has become of them, in the order of `FATES`.
    """

    def __init__(
        self, objective: _core.LinearObjective, curvature: float, delay: int, test: GradientTest, count: Count
    ) -> None:
        self._sgd = _core.DelayedSgd(
            objective,
            delay=delay,
            most_retries=test.max_retries,
            strict=test.strict,
            curvature=curvature,
        )
        # A product with a row for each of the kept weights, and with `strict` another.
        self._cost = 1.0 + delay * (1.0 if test.strict else 0.5)
        self._count = count
        self.fates = np.zeros(len(FATES), np.int64)

    def steps(
        self,
        weights: NDArray[Any],
        rows: Rows,
        step_sizes: NDArray[np.float64],
        index: int,  # noqa: ARG002
    ) -> NDArray[np.bool_]:
        """Step in place on the rows that pass; see `Descent`."""
        fates = np.empty(len(rows), np.uint8)
        self._sgd.steps(weights, rows, step_sizes, fates)
        self._count(rows, self._cost, 0)
        self.fates += np.bincount(fates, minlength=len(FATES))
        return fates <= FATES.index("fresh")

    def settle(self, weights: NDArray[Any]) -> None:
        """Multiply the weights by their scale, and forget the weights before."""
        self._sgd.settle(weights)
        self._count(np.empty(0, np.int64), 1.0, len(weights))
