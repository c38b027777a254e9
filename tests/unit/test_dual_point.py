"""The dual point of given weights equals the numpy reference, in float64, and is the best of those that it has seen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from referenced import DENSE, LOSSES, N_FEATURES, N_ROWS, WEIGHTS, X, Y, make_objective

from dsgd import _core
from dsgd.errors import ConfigError
from dsgd.testing import dual_reference, reference

DUAL_LOSSES = [loss for loss in LOSSES if loss not in ("perceptron", "softmax")]


@pytest.mark.parametrize("loss", DUAL_LOSSES)
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("alphas", [(0.0, 0.03), (0.01, 0.03), (0.02, 0.0)], ids=str)
@pytest.mark.parametrize("weighted", [True, False])
def test_it_equals_the_reference(loss: str, fit_intercept: bool, alphas: tuple[float, float], weighted: bool) -> None:
    importance = WEIGHTS if weighted else None
    each = np.ones(N_ROWS) if importance is None else importance
    random = np.random.default_rng(0)
    for data in (X, DENSE):
        objective = make_objective(
            data, loss=loss, sample_weight=importance, fit_intercept=fit_intercept, alpha_l1=alphas[0],
            alpha_l2=alphas[1], intercept_rate=1.0,
        )  # fmt: skip
        point = _core.DualPoint(objective, n_threads=1)
        assert point.value == 0
        seen = [0.0]
        for _ in range(3):
            weights = random.standard_normal(N_FEATURES + fit_intercept) / 10
            w, b = weights[:N_FEATURES], weights[-1] if fit_intercept else 0.0
            mean_loss = reference.objective(DENSE, Y, w, b, loss=loss, alpha=0, sample_weight=each)
            assert point.look(weights) == pytest.approx(mean_loss, rel=1e-12)
            beta = point.duals
            expected = dual_reference.dual_objective(
                DENSE, Y, beta * (1 - 1e-14), loss=loss, alphas=alphas, sample_weight=each
            )
            assert point.value == pytest.approx(expected, rel=1e-12, abs=1e-12)
            assert not fit_intercept or abs(each @ beta) <= 1e-12 * (each @ np.abs(beta))
            seen.append(point.value)
        assert seen == sorted(seen)
        assert seen[-1] > 0


def test_it_takes_given_duals_only_if_they_are_better() -> None:
    config: dict[str, Any] = {"loss": "hinge", "alpha_l1": 0.0, "alpha_l2": 0.03, "fit_intercept": False}
    objective = make_objective(X, sample_weight=None, intercept_rate=1.0, **config)
    point = _core.DualPoint(objective, n_threads=1)
    point.look(np.zeros(N_FEATURES))
    before = point.value
    point.look_at(np.zeros(N_ROWS))
    assert point.value == pytest.approx(before, rel=1e-15)
    solver = _core.Sdca(objective, n_threads=1, merge_visits=2, damping=1, max_rest=0, sgd_first=False)
    weights = np.empty(N_FEATURES)
    assert solver.begin_at(point.duals, weights) == pytest.approx(before, rel=1e-12)
    np.testing.assert_allclose(weights, DENSE.T @ point.duals / (0.03 * N_ROWS), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(solver.duals, point.duals)
    schedule = _core.Schedule(step_size=1.0)
    for index in range(20):
        solver.epoch(weights, _core.Epoch(index=index, schedule=schedule, block_size=1, seed=0))
    point.look_at(solver.duals)
    assert point.value > before


def test_threads_change_only_rounding() -> None:
    objective = make_objective(
        DENSE, loss="logistic", sample_weight=None, fit_intercept=True, alpha_l1=0.0, alpha_l2=0.1, intercept_rate=1.0
    )
    weights = np.full(N_FEATURES + 1, 0.1)
    points = [_core.DualPoint(objective, n_threads=threads) for threads in (1, 3)]
    for point in points:
        point.look(weights)
    assert points[1].value == pytest.approx(points[0].value, rel=1e-12)


def test_what_has_no_dual_point_is_refused() -> None:
    settings: dict[str, Any] = {"sample_weight": None, "fit_intercept": False, "alpha_l1": 0.0, "intercept_rate": 1.0}
    with pytest.raises(ConfigError, match="perceptron' has no dual"):
        _core.DualPoint(make_objective(X, loss="perceptron", alpha_l2=0.1, **settings), n_threads=1)
    with pytest.raises(ConfigError, match="nothing without a penalty"):
        _core.DualPoint(make_objective(X, loss="hinge", alpha_l2=0.0, **settings), n_threads=1)
    point = _core.DualPoint(make_objective(X, loss="hinge", alpha_l2=0.1, **settings), n_threads=1)
    with pytest.raises(ConfigError, match="duals"):
        point.look_at(np.zeros(3))
