"""How the samples are dealt out to workers."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from dsgd.data.inputs import as_matrix, take_rows
from dsgd.errors import ConfigError
from dsgd.problems.problem import Problem

__all__ = ["deal", "part"]


def deal(n_samples: int, n_workers: int, seed: int) -> list[NDArray[np.intp]]:
    """Return the rows of every worker: dealt at random, in the order of the data, as many for each as for any other.

    Parameters
    ----------
    n_samples, n_workers : int
    seed : int
        One worker has all rows in their order.

    Raises
    ------
    ConfigError
        For more workers than samples.
    """
    if n_workers > n_samples:
        raise ConfigError(f"{n_workers} workers for {n_samples} samples: some would have none; use fewer workers")
    if n_workers == 1:
        return [np.arange(n_samples)]
    owner = np.random.Generator(np.random.Philox(key=[seed, 1 << 63])).permutation(n_samples) % n_workers
    by_owner = np.argsort(owner, kind="stable")
    return np.split(by_owner, np.cumsum(np.bincount(owner, minlength=n_workers))[:-1])


def part(problem: Problem, rows: NDArray[np.intp]) -> Problem:
    """Return the problem on some of its rows, copied, with all features and the scale of the whole."""
    weight = problem.sample_weight
    return dataclasses.replace(
        problem,
        matrix=as_matrix(take_rows(problem.matrix, rows), 1),
        target=problem.target[rows],
        sample_weight=None if weight is None else weight[rows],
    )
