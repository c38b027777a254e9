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
    """Deal the rows to the workers at random, in shares whose sizes differ by at most one.

    Parameters
    ----------
    n_samples, n_workers : int
    seed : int

    Returns
    -------
    list of ndarray of intp
        The row numbers of each worker, increasing. A single worker has all rows.

    Raises
    ------
    ConfigError
        If there are more workers than samples.
    """
    if n_workers > n_samples:
        raise ConfigError(f"{n_workers} workers for {n_samples} samples: some would have none; use fewer workers")
    if n_workers == 1:
        return [np.arange(n_samples)]
    owner = np.random.Generator(np.random.Philox(key=[seed, 1 << 63])).permutation(n_samples) % n_workers
    by_owner = np.argsort(owner, kind="stable")
    return np.split(by_owner, np.cumsum(np.bincount(owner, minlength=n_workers))[:-1])


def part(problem: Problem, rows: NDArray[np.intp]) -> Problem:
    """Return the problem on a copy of some of its rows, with all features and the same scale."""
    weight = problem.sample_weight
    return dataclasses.replace(
        problem,
        matrix=as_matrix(take_rows(problem.matrix, rows), 1),
        target=problem.target[rows],
        sample_weight=None if weight is None else weight[rows],
    )
