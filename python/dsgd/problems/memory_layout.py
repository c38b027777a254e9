"""How the data of a task lies in memory while threads train on it."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.problems.task import LocalTask

__all__ = ["InPlace", "MemoryLayout", "Renumbered"]


# Of matrices in use: the classes of a fit share one.
_RENUMBERED: weakref.WeakKeyDictionary[_core.Matrix, tuple[NDArray[np.int64], _core.Matrix]] = (
    weakref.WeakKeyDictionary()
)


def _renumbered(task: LocalTask) -> tuple[NDArray[np.int64], _core.Matrix]:
    """Return the features by falling frequency, and the matrix with columns in that order."""
    matrix = task.problem.matrix
    if matrix not in _RENUMBERED:
        order = task.linear.frequency_order()
        _RENUMBERED[matrix] = (order, matrix.renumbered(order, task.n_threads))
    return _RENUMBERED[matrix]


class InPlace:
    """The objective and the weights of the task themselves.

    Attributes
    ----------
    objective : _core.Objective
    weights : ndarray
        What an epoch changes.
    """

    def __init__(self, task: LocalTask) -> None:
        self.objective = task.core
        self.weights = task.weights

    def fetch(self) -> None:
        """Take over the weights of the task: they are the same."""

    def publish(self) -> None:
        """Bring the weights of the task up to date: they are the same."""


class Renumbered:
    """Features numbered by falling frequency: one copy of the indices, in 32 bits; the values stay where they are.

    The weights of frequent features lie together then, and can be merged more often than the others.

    Attributes
    ----------
    objective : _core.LinearObjective
    weights : ndarray
        What an epoch changes: in the order of the frequencies of their features, intercepts last.
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
        """Take over the weights of the task, which others may have changed."""
        np.take(self._published, self._order, out=self.weights, mode="clip")

    def publish(self) -> None:
        """Bring the weights of the task up to date."""
        np.take(self.weights, self._rank, out=self._published, mode="clip")


MemoryLayout = InPlace | Renumbered
