"""A small problem, and fits of it on clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from problems import make_problem

import dsgd
from dsgd.cluster import LocalCluster, Partition, Simulation

__all__ = ["X", "Y", "local_fit", "simulated_fit"]

X, Y = make_problem(240, 20, seed=3)


def local_fit(cluster: dict[str, Any] | None = None, **options: Any) -> dsgd.FitResult:
    """Fit on two processes by default.

    A process that stands still is reported before the time limit of the test.
    """
    return _fit(LocalCluster(**{"workers": 2, "stall_deadline": 100.0, **(cluster or {})}), options)


def simulated_fit(
    workers: int = 2,
    partition: Partition | str = "equal",
    groups: Mapping[str, Sequence[Sequence[int]]] | None = None,
    **options: Any,
) -> dsgd.FitResult:
    """Fit the same problem in virtual time."""
    return _fit(Simulation(workers=workers, partition=partition, groups=groups or {}), options)


def _fit(cluster: LocalCluster | Simulation, options: dict[str, Any]) -> dsgd.FitResult:
    given = {"algo": "ssp", "loss": "logistic", "alpha": 1e-2, "max_epochs": 4, "step_size": 0.2, "random_state": 0}
    data = options.pop("data", (X, Y))
    return dsgd.fit(*data, cluster=cluster, **{**given, **options})
