"""How the data of a task lies in memory while threads train on it."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.problems.task import LocalTask

__all__ = ["InPlace", "MemoryLayout", "Renumbered"]


# Frequency order and renumbered copy of each matrix in use. The problems of a fit, one a class, share one copy.
_RENUMBERED: weakref.WeakKeyDictionary[_core.Matrix, tuple[NDArray[np.int64], _core.Matrix]] = (
    weakref.WeakKeyDictionary()
)


def _renumbered(task: LocalTask) -> tuple[NDArray[np.int64], _core.Matrix]:
    """Return the features in the order of falling frequency, and the matrix with its columns in that order."""
    matrix = task.problem.matrix
    if matrix not in _RENUMBERED:
        order = task.linear.frequency_order()
        _RENUMBERED[matrix] = (order, matrix.renumbered(order, task.n_threads))
    return _RENUMBERED[matrix]


class InPlace:
    """The layout without a copy: the objective and the weights of the task themselves.

    Attributes
    ----------
    objective : _core.Objective
    weights : ndarray
        The weights that an epoch changes.
    """

    def __init__(self, task: LocalTask) -> None:
        self.objective = task.core
        self.weights = task.weights

    def fetch(self) -> None:
        """Do nothing: `weights` are the weights of the task."""

    def publish(self) -> None:
        """Do nothing: `weights` are the weights of the task."""


class Renumbered:
    """The layout in which features are numbered by falling frequency.

    It copies the column indices, in 32 bits, but not the values of the matrix. The weights of frequent
    features are then neighbours, and `Hogwild` can merge them more often than the others.

    Attributes
    ----------
    objective : _core.LinearObjective
    weights : ndarray
        The weights that an epoch changes, in the order of their features' falling frequency;
        intercepts are last.
    """

    def __init__(self, task: LocalTask) -> None:
        order, matrix = _renumbered(task)
        self.objective = task.linear.renumbered(matrix, order)
        self._order = task.problem.layout.on(order)
        self._rank = np.empty_like(self._order)
        self._rank[self._order] = np.arange(len(self._order))
        self._published = task.weights
        self.weights: NDArray[Any] = np.empty_like(task.weights)

    def fetch(self) -> None:
        """Copy the weights of the task, which others may have changed, into `weights`."""
        np.take(self._published, self._order, out=self.weights, mode="clip")

    def publish(self) -> None:
        """Copy `weights` into the weights of the task."""
        np.take(self.weights, self._rank, out=self._published, mode="clip")


MemoryLayout = InPlace | Renumbered
