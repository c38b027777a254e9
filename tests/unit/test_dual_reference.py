"""Dual coordinate ascent on one thread equals the numpy reference, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from referenced import DENSE, LOSSES, N_EPOCHS, N_FEATURES, N_ROWS, WEIGHTS, X, Y, make_objective

from dsgd import _core
from dsgd.testing import dual_reference


@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss not in ("perceptron", "softmax")])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize(("weighted", "max_rest", "damping"), [(False, 0, 1.0), (True, 8, 1.0), (True, 1, 1.5)])
@pytest.mark.parametrize("sgd_first", [False, True])
def test_sdca_equals_the_reference(
    loss: str, fit_intercept: bool, weighted: bool, max_rest: int, damping: float, sgd_first: bool
) -> None:
    """Sparse and dense data have one reference: there is no degree split in the dual."""
    sample_weight = WEIGHTS if weighted else None
    config: dict[str, Any] = {"loss": loss, "sample_weight": sample_weight, "fit_intercept": fit_intercept}
    config |= {"intercept_rate": 0.3}
    epochs = [
        _core.Epoch(index=index, schedule=_core.Schedule(step_size=1.0), block_size=2, seed=7)
        for index in range(N_EPOCHS)
    ]
    path: list[Any] = []
    for data in (X, DENSE):
        objective = make_objective(data, alpha_l1=0, alpha_l2=0.03, **config)
        weights = np.zeros(N_FEATURES + fit_intercept)
        options: dict[str, Any] = {"n_threads": 1, "merge_visits": 2, "damping": damping, "sgd_first": sgd_first}
        solver = _core.Sdca(objective, max_rest=max_rest, sum_loss=True, **options)
        order = np.empty((N_EPOCHS, N_ROWS), np.int64)
        for epoch, rows in zip(epochs, order, strict=True):  # nobody rests: the order is that of every solver
            _core.Sdca(objective, max_rest=0, **options).epoch(weights.copy(), epoch, visited=rows)
        path = path or list(
            dual_reference.sdca(
                DENSE, Y, order.tolist(), alpha=0.03, max_rest=max_rest, damping=damping, sgd_first=sgd_first, **config
            )
        )
        for epoch, (w, b, beta, rows, loss_seen) in zip(epochs, path, strict=True):
            visited = np.empty(N_ROWS, np.int64)
            done = solver.epoch(weights, epoch, visited=visited)
            assert visited[: done.visits].tolist() == rows
            assert done.loss == pytest.approx(loss_seen, rel=1e-12)
            np.testing.assert_allclose(weights, np.append(w, b)[: len(weights)], rtol=0, atol=1e-12)
            np.testing.assert_allclose(solver.duals, beta, rtol=0, atol=1e-12)
    assert np.abs(weights).max() > 0.01
    may_rest = max_rest > 0 and loss not in ("logistic", "squared")  # whose steps always change something
    assert (sum(len(rows) for *_, rows, _ in path) < N_EPOCHS * N_ROWS) == may_rest
