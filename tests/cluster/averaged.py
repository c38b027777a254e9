"""Fits of the algorithms that average models, on simulated clusters whose nodes' speeds matter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from problems import make_problem

import dsgd
from dsgd import _core
from dsgd.algorithms import DistributedAlgorithm
from dsgd.cluster import KernelCost, Simulation
from dsgd.cluster.program.partition import deal
from dsgd.data.inputs import as_matrix
from dsgd.data.scale import measure
from dsgd.testing import reference
from dsgd.testing.averaging_reference import parallel_sgd

__all__ = ["ALGORITHMS", "ALPHA", "EPOCHS", "SEED", "SPEEDS", "UNEVEN", "X", "Y", "cluster", "fit", "listing", "rates"]

ALGORITHMS = ("simuparallel", "average", "wpsgd", "wpsgd-delay", "wpsgd-dm")
UNEVEN = ("average", "wpsgd", "wpsgd-delay", "wpsgd-dm")  # no node waits for a slower one
SPEEDS = (1.0, 0.9, 0.5, 0.25)
ALPHA, EPOCHS, SEED, STEP = 1e-2, 3, 3, 0.1
X, Y = make_problem(241, 20, seed=3)  # one node of four has a row more
STEPS_OF_NODE = EPOCHS * 61


def cluster(**options: Any) -> Simulation:
    """Return four nodes on which an entry of a row takes a tenth of a millisecond, as long as a frame."""
    given: dict[str, Any] = {"workers": 4, "speeds": SPEEDS, "kernel_cost": KernelCost(call=0, entry=1e-4)}
    return Simulation(**{**given, **options})


def fit(algo: str | DistributedAlgorithm, where: Simulation | None = None, **options: Any) -> dsgd.FitResult:
    given = {"loss": "logistic", "alpha": ALPHA, "max_epochs": EPOCHS, "random_state": SEED, "step_size": STEP}
    data = options.pop("data", (X, Y))
    return dsgd.fit(*data, algo=algo, cluster=where or cluster(), n_threads=1, **{**given, **options})


def step_sizes(schedule: str) -> Any:
    return reference.steps(schedule, STEP, n_samples=61, n_epochs=EPOCHS, alpha=ALPHA)


def rates(schedule: str, contraction: float | None = None) -> Any:
    """Return the rate of every step: 1 - eta alpha unless it is given."""
    return 1 - step_sizes(schedule) * ALPHA if contraction is None else np.full(STEPS_OF_NODE, contraction)


def listing(counts: Any, schedule: str, nodes: Sequence[int] = range(4), **options: Any) -> tuple[Any, float]:
    """Return w and b by the plain listing, where the nodes train on so many samples."""
    orders, parts = [], deal(241, 4, SEED)
    for rank, count in zip(nodes, counts, strict=True):
        part = parts[rank]
        passes = [
            part[_core.draw_rows(len(part), len(part), block_size=1, seed=SEED, index=index, stream=rank)]
            for index in range(EPOCHS + 1)
        ]
        orders.append(np.concatenate(passes)[:count])
    given: dict[str, Any] = {"loss": "logistic", "alpha": ALPHA, "fit_intercept": True, "stored": X.toarray() != 0}
    given["intercept_rate"] = measure(as_matrix(X, 1), None, 1).intercept_rate
    return parallel_sgd(X.toarray(), Y, orders, step_sizes(schedule), **{**given, **options})
