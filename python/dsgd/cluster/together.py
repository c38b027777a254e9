"""The problems of one-vs-all as one problem, for a cluster that trains them together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.algorithms.distributed import DistributedAlgorithm
from dsgd.errors import ConfigError
from dsgd.problems.task import LocalTask

__all__ = ["as_one_task", "together"]


def as_one_task(algorithm: DistributedAlgorithm, tasks: Sequence[LocalTask], weights: NDArray[Any]) -> LocalTask:
    """Return the task that an algorithm trains on a cluster; `ConfigError` for several if it trains one only."""
    if len(tasks) > 1 and not algorithm.capabilities.one_vs_all:
        raise ConfigError(
            f"algo {algorithm.name!r} trains two classes or a regression, and y has {len(tasks)} classes; "
            "use algo='wpsgd'"
        )
    return tasks[0] if len(tasks) == 1 else together(tasks, weights)


def together(tasks: Sequence[LocalTask], weights: NDArray[Any]) -> LocalTask:
    """Return the problems of one-vs-all as one, whose table has a column for every class.

    Parameters
    ----------
    tasks : sequence of LocalTask
        One a class.
    weights : ndarray of shape (n_classes, n_parameters)
        The weights of the classes, to start from.
    """
    first, target = tasks[0], np.empty_like(tasks[0].problem.target)
    for number, task in enumerate(tasks):
        task.turn()
        target[task.problem.target > 0] = number
    problem = dataclasses.replace(first.problem, target=target, n_together=len(tasks))
    inverse = first.linear.inverse_frequency
    return dataclasses.replace(
        first,
        problem=problem,
        objective=problem.objective(first.n_threads, inverse),
        weights=problem.layout.pack(weights),
        unseen=problem.layout.of_features(first.unseen),
        turn=lambda: None,
    )
