"""Centres of k-means: checks and the choice of initial centres, and the end of a fit when they hardly move."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import losses
from dsgd.data.inputs import as_matrix
from dsgd.errors import DataError
from dsgd.models import KMeansModel
from dsgd.models.trained import Model
from dsgd.results.history import Record

__all__ = ["Moved", "best_of", "check_centres"]


def check_centres(centres: NDArray[Any]) -> None:
    """Refuse centres whose squares overflow: all distances from them would be infinite."""
    with np.errstate(over="ignore"):
        if not np.isfinite(np.square(centres).sum()):
            raise DataError(f"the squares of init leave the range of {centres.dtype}: scale the features")


def best_of(
    starts: list[NDArray[Any]], X: Any, weight: NDArray[Any], n_rows: int, random: np.random.RandomState
) -> NDArray[Any]:
    """Return the centres with the least inertia on `n_rows` random rows."""
    rows = np.sort(random.permutation(X.shape[0])[:n_rows])
    matrix = as_matrix(X[rows], 1)
    loss = losses.KMeans(len(starts[0]))
    models = [KMeansModel(weights=start.T.reshape(1, -1), loss=loss, classes=None) for start in starts]
    scores = [model.score_of(model.decide(matrix, 1), None, weight[rows]) for model in models]
    return starts[int(np.argmax(scores))]


class Moved:
    """A callback that ends a fit after a pass in which the centres hardly moved.

    The fit ends if the sum of squares of the displacements is at most `tol`. The squares of the
    steps of a pass add up, so `tol` is that of a step times the number of steps.
    """

    def __init__(self, tol: float, before: NDArray[Any]) -> None:
        self._tol = tol
        self._before = before

    def __call__(self, record: Record, model: Model) -> bool:  # noqa: ARG002
        """Return whether the centres moved by at most `tol` in the last pass."""
        with np.errstate(over="ignore"):
            moved = float(np.square(model.weights - self._before, dtype=np.float64).sum())
        np.copyto(self._before, model.weights)
        return moved <= self._tol
