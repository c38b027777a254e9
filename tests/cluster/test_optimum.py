"""Distributed algorithms on real data: how near the optimum they come, in so many passes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import dsgd
from common.real_sets import SETS, Parts
from dsgd.algorithms import DisSvrg, DistributedAlgorithm, Ssp, Sync

ALPHA = 1e-4


@cache
def optimum(name: str) -> float:
    """Return the least objective of the logistic loss."""
    data = SETS[name]().binary()
    model = LogisticRegression(C=1 / (len(data.y) * ALPHA), tol=1e-10, max_iter=5000, solver="newton-cg")
    model.fit(data.X, data.y)
    margins = data.y * model.decision_function(data.X)
    return float(np.logaddexp(0, -margins).mean() + ALPHA / 2 * np.square(model.coef_).sum())


# Epochs of dissvrg are clocks, each of 1 + inner_steps / rows passes: 2 by default.
@pytest.mark.parametrize(
    ("name", "nodes", "algorithm", "epochs", "passes", "bound"),
    [
        ("reuters", 4, Ssp(), 50, 50, 1e-2),
        ("reuters", 16, Ssp(), 30, 30, 1e-2),
        ("reuters", 4, Sync(), 20, 20, 1e-2),
        ("reuters", 16, Sync(batch_size=25), 20, 20, 1e-2),
        ("reuters", 4, DisSvrg(), 30, 60, 1e-3),
        ("reuters", 4, DisSvrg(gradient="exact"), 30, 60, 1e-3),
        ("reuters", 16, DisSvrg(inner_steps=2400), 30, 150, 1e-3),
        ("reuters", 16, DisSvrg(inner_steps=2400, gradient="exact"), 30, 150, 1e-3),
        ("a9a", 4, Ssp(), 10, 10, 1e-2),
        ("a9a", 16, Ssp(), 10, 10, 1e-2),
        ("a9a", 4, Sync(batch_size=25), 20, 20, 1e-2),
        ("a9a", 16, Sync(batch_size=25), 20, 20, 1e-2),
        ("a9a", 4, DisSvrg(), 30, 60, 1e-3),
        ("a9a", 4, DisSvrg(gradient="exact"), 30, 60, 1e-3),
        ("a9a", 16, DisSvrg(), 30, 60, 1e-3),
        ("a9a", 16, DisSvrg(gradient="exact"), 30, 60, 1e-3),
    ],
)
def test_the_optimum_is_reached(
    real_set: Callable[[str], Parts],
    name: str,
    nodes: int,
    algorithm: DistributedAlgorithm,
    epochs: int,
    passes: float,
    bound: float,
) -> None:
    data = real_set(name).binary()
    result = dsgd.fit(
        data.X,
        data.y,
        algo=algorithm,
        loss="logistic",
        alpha=ALPHA,
        max_epochs=epochs,
        evaluate_every=epochs,
        cluster=dsgd.Simulation(workers=nodes, trace=False),
        random_state=0,
        n_threads=1,
    )
    last = result.history[-1]
    assert last.objective is not None
    assert last.objective < optimum(name) * (1 + bound)
    assert last.effective_passes == pytest.approx(passes, rel=0.1)
