"""One thread equals the numpy reference (check 3 of the main job): 500 steps, 1e-12 in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import make_problem

from dsgd import _core
from dsgd.data.inputs import as_matrix
from dsgd.testing import reference

N_ROWS, N_EPOCHS = 125, 4


def train(
    X: Any, y: NDArray[np.float64], *, loss: str, alpha: float, fit_intercept: bool, schedule: _core.Schedule
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the weights of the core after N_EPOCHS, and the rows in the order in which it visited them."""
    config = {"loss": loss, "penalty": "l2", "alpha": alpha, "fit_intercept": fit_intercept}
    objective = _core.LinearObjective(as_matrix(X, 1), y, **config, n_threads=1)  # type: ignore[arg-type]
    weights = np.zeros(X.shape[1] + fit_intercept)
    visited = np.empty((N_EPOCHS, N_ROWS), np.int64)
    for index in range(N_EPOCHS):
        epoch = _core.Epoch(index=index, schedule=schedule, block_size=1, seed=7)
        _core.sgd_epoch(objective, weights, epoch, visited[index])
    return weights, visited.ravel()


@pytest.mark.parametrize("loss", ["hinge", "logistic", "squared"])
@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.01])
@pytest.mark.parametrize(("decay", "power"), [(1.0, 0.0), (0.8, 0.0), (1.0, 0.5)])
def test_sgd_equals_the_reference(
    loss: str, layout: str, fit_intercept: bool, alpha: float, decay: float, power: float
) -> None:
    X, y = make_problem(N_ROWS, 30, seed=1)
    dense = X.toarray()
    schedule = _core.Schedule(step_size=0.1, decay=decay, power=power)
    weights, visited = train(
        X if layout == "sparse" else dense,
        y,
        loss=loss,
        alpha=alpha,
        fit_intercept=fit_intercept,
        schedule=schedule,
    )
    steps = [0.1 * decay ** (t // N_ROWS) / (t + 1) ** power for t in range(N_ROWS * N_EPOCHS)]
    w, b = reference.sgd(
        dense,
        y,
        visited.tolist(),
        steps,
        loss=loss,
        alpha=alpha,
        fit_intercept=fit_intercept,
        stored=dense != 0 if layout == "sparse" else None,
    )
    assert len(steps) == 500
    assert np.abs(w).max() > 0.1
    np.testing.assert_allclose(weights[:30], w, rtol=0, atol=1e-12)
    if fit_intercept:
        np.testing.assert_allclose(weights[30], b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("loss", ["hinge", "logistic", "squared"])
@pytest.mark.parametrize("layout", ["sparse", "dense"])
def test_objective_equals_the_reference(loss: str, layout: str) -> None:
    X, y = make_problem(N_ROWS, 30, seed=2)
    random = np.random.default_rng(0)
    weights = random.standard_normal(31)
    matrix = as_matrix(X if layout == "sparse" else X.toarray(), 1)
    objective = _core.LinearObjective(matrix, y, loss=loss, penalty="l2", alpha=0.3, fit_intercept=True, n_threads=2)
    expected = reference.objective(X.toarray(), y, weights[:30], weights[30], loss=loss, alpha=0.3)
    assert objective.value(weights, 2) == pytest.approx(expected, rel=1e-13)


def test_every_epoch_visits_every_row_in_another_order() -> None:
    X, y = make_problem(N_ROWS, 30, seed=3)
    schedule = _core.Schedule(step_size=0.1, decay=1, power=0)
    _, visited = train(X, y, loss="hinge", alpha=0, fit_intercept=True, schedule=schedule)
    orders = visited.reshape(N_EPOCHS, N_ROWS)
    assert (np.sort(orders, axis=1) == np.arange(N_ROWS)).all()
    assert len({tuple(order) for order in orders.tolist()}) == N_EPOCHS
