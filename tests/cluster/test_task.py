"""What a worker draws: the same in every life, and of its own for every worker and clock."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from problems import make_problem

from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.program.task import WorkerTask
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.errors import ConfigError
from dsgd.losses import resolve_loss
from dsgd.problems.problem import Problem
from dsgd.schedules import Constant

N = 500
X, Y = make_problem(N, 5, seed=3)


def task(rank: int = 0, start_clock: int = 0) -> WorkerTask:
    """Return a life of one of two workers on all rows."""
    matrix = as_matrix(X, 1)
    problem = Problem(
        matrix=matrix,
        target=Y,
        sample_weight=None,
        loss=resolve_loss("logistic"),
        alphas=(0.0, 0.0),
        fit_intercept=True,
        scale=measure(matrix, None, 1),
    )
    return WorkerTask(
        kernels=Kernels(problem, {}, 1),
        rank=rank,
        workers=range(2),
        max_clocks=1000,
        passes_per_clock=0.1,
        schedule=Constant(),
        step_size=0.1,
        seed=5,
        n_total=2 * N,
        start_clock=start_clock,
        saved=b"",
        now=lambda: 0.0,
        chunk_rows=100,
        groups={},
    )


def test_poisson_rows_are_the_same_in_every_life_and_others_for_every_worker_and_clock() -> None:
    rows = task().poisson(7, 0.3)
    assert rows.dtype == np.int64
    assert (np.diff(rows) > 0).all()
    assert np.array_equal(task(start_clock=7).poisson(7, 0.3), rows)
    assert not np.array_equal(task().poisson(8, 0.3), rows)
    assert not np.array_equal(task(rank=1).poisson(7, 0.3), rows)


def test_poisson_takes_every_row_with_the_rate_on_its_own() -> None:
    """Counts over clocks are binomial; with 1 - 1e-9 none of 500 rows, nor the sizes, is 7 deviations off."""
    one, rate, clocks = task(), 0.1, 1000
    taken = np.zeros((clocks, N), bool)
    for clock in range(clocks):
        taken[clock, one.poisson(clock, rate)] = True
    deviation = math.sqrt(rate * (1 - rate))
    assert np.abs(taken.mean(axis=0) - rate).max() < 7 * deviation / math.sqrt(clocks)
    sizes = taken.sum(axis=1)
    assert abs(sizes.mean() - rate * N) < 7 * deviation * math.sqrt(N / clocks)
    # A size that were always the same, or rows that came together, would have another variance than N q (1 - q): its
    # estimate from 1,000 sizes deviates by sqrt(2 / 1000) of it.
    assert abs(sizes.var() / (deviation**2 * N) - 1) < 7 * math.sqrt(2 / clocks)


@pytest.mark.parametrize(("rate", "count"), [(0, 0), (1, N), (1e-9, 0)])
def test_poisson_may_take_no_row_or_all(rate: float, count: int) -> None:
    rows = task().poisson(3, rate)
    assert len(rows) == count
    total, _ = task().clipped_gradient(np.zeros(6), rows, 1.0)
    assert (total == 0).all() == (count == 0)


def test_poisson_rows_are_independent_of_what_the_program_draws_in_the_same_clock() -> None:
    first = np.flatnonzero(task().random(7).random(N) < 0.3)
    assert not np.array_equal(task().poisson(7, 0.3), first)


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan, "0.5"])
def test_a_rate_is_a_probability(rate: Any) -> None:
    with pytest.raises(ConfigError, match="rate must be a finite number of at least 0 and at most 1, not"):
        task().poisson(0, rate)
