"""SVRG converges linearly, to the optimum itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray
from problems import make_problem

import dsgd
from dsgd.testing import reference

ALPHA = 0.01
Array = NDArray[np.float64]


def newton(X: Array, y: Array, alpha: float) -> Array:
    """Return the minimiser of the l2-regularised logistic objective without an intercept."""
    w = np.zeros(X.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(X @ w)))
        gradient = reference.loss_gradient(X, y, w, 0.0, loss="logistic")[0] + alpha * w
        w -= np.linalg.solve((X.T * (p * (1 - p))) @ X / len(y) + alpha * np.eye(len(w)), gradient)
    assert np.abs(gradient).max() < 1e-14
    return w


def objective(X: Array, y: Array, w: Array, alpha: float) -> float:
    return reference.objective(X, y, w, 0.0, loss="logistic", alpha=alpha)


def gaps(data: Any, X: Array, y: Array, **changes: Any) -> tuple[Array, Array]:
    """Return relative suboptimality and effective passes after every epoch."""
    settings: dict[str, Any] = {"algo": "svrg", "loss": "logistic", "alpha": ALPHA, "random_state": 0, "n_threads": 1}
    history = dsgd.fit(data, y, **{**settings, "fit_intercept": False, "max_epochs": 40, **changes}).history
    best = objective(X, y, newton(X, y, ALPHA), ALPHA)
    return (
        np.array([record.objective / best - 1 for record in history if record.objective is not None]),
        np.array([record.effective_passes for record in history]),
    )


@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("mean_gradient", ["reweighted", "scalar"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_gap_falls_linearly_to_the_limits_of_float64(layout: str, mean_gradient: str, threads: int) -> None:
    """With the default step, on feature frequencies from 60 % to 1 %."""
    X, y = make_problem(2000, 20, seed=5)
    gap, passes = gaps(X if layout == "sparse" else X.toarray(), X.toarray(), y, mean_gradient=mean_gradient, n_threads=threads)
    assert gap[-1] < 1e-13
    falling = np.flatnonzero(gap > 1e-10)
    assert len(falling) >= 3
    slope, offset = np.polyfit(passes[falling], np.log10(gap[falling]), 1)
    print("SLOPE", layout, mean_gradient, threads, slope, np.abs(np.log10(gap[falling]) - slope * passes[falling] - offset).max(), gap)
