"""Fits of `asgd` on simulated clusters whose messages take about as long as some batches."""

from __future__ import annotations

from typing import Any

import numpy as np
from problems import make_problem

import dsgd
from dsgd import losses
from dsgd.cluster import KernelCost, Simulation

__all__ = ["MODELS", "WORKERS", "cluster", "fit", "same"]

WORKERS = 3
X, Y = make_problem(240, 20, seed=3)
CLASSES = (X @ np.random.default_rng(0).standard_normal((20, 3))).argmax(axis=1)
MODELS: dict[str, dict[str, Any]] = {
    "hinge": {"y": Y, "loss": "hinge", "step_size": 0.1},
    "softmax": {"y": CLASSES, "loss": "softmax", "step_size": 0.1},
    "kmeans": {"y": None, "loss": losses.KMeans(5), "step_size": 0.8},
    "mlp": {"y": CLASSES, "loss": losses.MLP((7,)), "step_size": 0.3},
}


def cluster(workers: int = WORKERS, **options: Any) -> Simulation:
    """Return nodes on which an entry of a row takes ten microseconds."""
    given: dict[str, Any] = {"kernel_cost": KernelCost(call=0, entry=1e-5), "trace": False, **options}
    return Simulation(workers=workers, **given)


def fit(model: str = "hinge", where: Simulation | None = None, **options: Any) -> dsgd.FitResult:
    """Fit by `asgd` with batches of ten rows, unless something else is given."""
    given = {"algo": "asgd", "alpha": 1e-2, "max_epochs": 4, "random_state": 3, "n_threads": 1, **MODELS[model]}
    given |= {"cluster": where or cluster(), **options}
    if given["algo"] == "asgd":
        given.setdefault("batch_size", 10)
    rows = given.pop("X", X)
    return dsgd.fit(rows, given.pop("y"), **given)


def same(a: dsgd.FitResult, b: dsgd.FitResult) -> bool:
    return np.array_equal(a.model.weights, b.model.weights)
