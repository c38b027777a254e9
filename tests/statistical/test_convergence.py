"""Where the algorithms go: the optimum of the regularised objective."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import make_problem
from scipy.optimize import minimize

import dsgd
from dsgd.schedules import EpochDecay
from dsgd.testing import reference

ALPHA = 0.01
SLOW_DECAY: dict[str, Any] = {"step_size": 0.5, "schedule": EpochDecay(factor=0.995), "max_epochs": 2000}


def optimum(X: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the minimum of the l2-regularised logistic objective, by L-BFGS."""
    d = X.shape[1]

    def value(v: NDArray[np.float64]) -> float:
        return reference.objective(X, y, v[:d], float(v[d]), loss="logistic", alpha=ALPHA)

    def gradient(v: NDArray[np.float64]) -> NDArray[np.float64]:
        g = reference.DERIVATIVES["logistic"](X @ v[:d] + v[d], y) / len(y)
        return np.append(X.T @ g + ALPHA * v[:d], g.sum())

    options = {"ftol": 1e-15, "gtol": 1e-10}
    return float(minimize(value, np.zeros(d + 1), jac=gradient, method="L-BFGS-B", options=options).fun)


def objectives(X: Any, y: Any, **settings: Any) -> list[float]:
    history = dsgd.fit(X, y, loss="logistic", alpha=ALPHA, random_state=0, **settings).history
    return [record.objective for record in history if record.objective is not None]


@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize(("algo", "bound"), [("sgd", 1e-6), ("minibatch", 1e-6), ("hogwild", 5e-4)])
def test_the_limit_is_the_optimum(algo: str, bound: float, layout: str) -> None:
    """Feature frequencies from 60 % to 1 %: a wrong degree split has another limit.

    One thread repeats exactly, at 1.5e-8 above the optimum. Two threads often run 300 rows one after the other, on
    halves that stay the same: in 200 runs the worst was 5.4e-5 above, the median 1.4e-5.
    """
    X, y = make_problem(300, 20, seed=5)
    best = optimum(X.toarray(), y)
    data = X if layout == "sparse" else X.toarray()
    last = objectives(data, y, algo=algo, evaluate_every=2000, **SLOW_DECAY)[-1]
    assert best * (1 - 1e-9) < last < best * (1 + bound)


@pytest.mark.parametrize("alpha", [1e-3, 1e-2])
def test_rare_features_are_regularised_without_swings(alpha: float) -> None:
    """Bringing L2 on every fourth visit, whatever the strength, would leave 1e-2 a quarter above the optimum.

    Ten passes with the default steps end 0.05 % above it.
    """
    X, y = dsgd.data.make_text_classification(3000, n_features=5000, random_state=0)
    settings: dict[str, Any] = {"loss": "logistic", "alpha": alpha, "random_state": 0}
    best = dsgd.fit(X, y, algo="batch", max_epochs=300, **settings).history[-1].objective
    last = dsgd.fit(X, y, algo="sgd", max_epochs=10, **settings).history[-1].objective
    assert best is not None
    assert last is not None
    assert best * 0.9999 < last < best * 1.005


@pytest.mark.parametrize(("algo", "step"), [("sgd", 0.4), ("minibatch", 4.0)])
def test_the_average_comes_closer_than_the_last_iterate(algo: str, step: float) -> None:
    """The mean over the last 300 of 400 passes, in the first of which the optimum is reached; the seed is fixed.

    The gap is 56 times smaller, and 85 times with mini-batches.
    """
    X, y = make_problem(300, 20, seed=6)
    best = optimum(X.toarray(), y)
    settings: dict[str, Any] = {"algo": algo, "step_size": step, "schedule": "constant", "max_epochs": 400}
    last = np.mean(objectives(X, y, **settings)[-100:]) - best
    assert 0 < objectives(X, y, average=100 * 300, **settings)[-1] - best < last / 10


def test_constant_steps_leave_an_error_that_shrinks_with_the_step() -> None:
    """Between step^1 (independent draws) and step^2 (a new permutation every epoch, as here): half the step, 2 to 4
    times less. The seed is fixed; of 200 other seeds all were within 2.7 and 3.3.
    """
    X, y = make_problem(300, 20, seed=6)
    best = optimum(X.toarray(), y)
    gaps = [
        np.mean(objectives(X, y, algo="sgd", step_size=step, schedule="constant", max_epochs=400)[-100:]) - best
        for step in (0.4, 0.2)
    ]
    assert 2 < gaps[0] / gaps[1] < 4
