"""The objective of all rows as a sum over parts of the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.models.protocols import Objective
from dsgd.problems.problem import Problem

__all__ = ["PartLoss", "part_loss"]


@dataclass(frozen=True)
class PartLoss:
    """The mean loss of some rows, without the penalty. ``a + b`` is that of the rows of both.

    A mean is kept and not a sum, because the sum may leave the range of a float.

    Attributes
    ----------
    mean : float
    n_rows : int
    """

    mean: float
    n_rows: int

    def __add__(self, other: PartLoss) -> PartLoss:
        """Return the mean loss of the rows of both."""
        n = self.n_rows + other.n_rows
        return PartLoss(self.mean * (self.n_rows / n) + other.mean * (other.n_rows / n), n)

    def objective(self, problem: Problem, weights: NDArray[Any]) -> float:
        """Return the mean loss plus the penalty of the weights, which any part's `problem` knows."""
        return self.mean + problem.penalty(problem.layout.regularised(weights))


def part_loss(objective: Objective, n_rows: int, weights: NDArray[Any], n_threads: int) -> PartLoss:
    """Return the mean loss of the `n_rows` rows of an objective at these weights."""
    with np.errstate(over="ignore", invalid="ignore"):
        return PartLoss(objective.mean_loss(weights, n_threads), n_rows)
