"""One node alone equals the algorithm of one machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from problems import make_problem

import dsgd

X, Y = make_problem(240, 20, seed=3)
BARRIER: dict[str, Any] = {"staleness": 0, "cluster": dsgd.Simulation(workers=1, trace=False)}
SINGLE_ROWS: dict[str, Any] = {"block_size": 1, "n_threads": 1}


@pytest.fixture(params=["sparse float64", "sparse float32", "dense float64", "dense float32"])
def data(request: pytest.FixtureRequest) -> Any:
    layout, dtype = request.param.split()
    return (X if layout == "sparse" else X.toarray()).astype(dtype)


def train(data: Any, algo: str, **options: Any) -> Any:
    """Return the weights, the intercept last."""
    given = {"loss": "logistic", "alpha": 1e-2, "max_epochs": 5, "random_state": 3, "step_size": 0.1, **options}
    result = dsgd.fit(data, Y, algo=algo, **given)
    return np.append(result.coef_, result.intercept_)


@pytest.mark.parametrize("gradient", ["global", "exact", "local"])
def test_dissvrg_is_svrg(data: Any, gradient: str) -> None:
    alone = train(data, "dissvrg", gradient=gradient, schedule="constant", **BARRIER)
    assert np.array_equal(alone, train(data, "svrg", sgd_first=False, inner_steps=240, **SINGLE_ROWS))


@pytest.mark.parametrize("penalty", ["l1", "elasticnet", "none"])
def test_dissvrg_is_svrg_with_other_penalties(data: Any, penalty: str) -> None:
    alone = train(data, "dissvrg", inner_steps=100, penalty=penalty, schedule="constant", **BARRIER)
    assert np.array_equal(alone, train(data, "svrg", sgd_first=False, inner_steps=100, penalty=penalty, **SINGLE_ROWS))


def test_the_accelerated_factor_of_dissvrg_is_that_of_svrg(data: Any) -> None:
    constant: dict[str, Any] = {"step_size": 0.01, "schedule": "constant", **BARRIER}
    alone = train(data, "dissvrg", max_sigma=0.7, **constant)
    accelerated: dict[str, Any] = {"accelerated": "anchor", "max_sigma": 0.7, "step_size": 0.01}
    assert np.array_equal(alone, train(data, "svrg", sgd_first=False, inner_steps=240, **accelerated, **SINGLE_ROWS))
    assert not np.array_equal(alone, train(data, "dissvrg", **constant))


@pytest.mark.parametrize("batch_size", [1, 16, 240])
@pytest.mark.parametrize("schedule", ["constant", "inverse-sqrt"])
def test_ssp_is_minibatch(data: Any, batch_size: int, schedule: str) -> None:
    options: dict[str, Any] = {"batch_size": batch_size, "schedule": schedule}
    assert np.array_equal(train(data, "ssp", **options, **BARRIER), train(data, "minibatch", **options, **SINGLE_ROWS))


@pytest.mark.parametrize(("algo", "penalty"), [("hogwild", "l2"), ("sgd", "none"), ("sgd", "elasticnet")])
def test_ssp_on_single_rows_is_hogwild_on_one_thread_and_sgd_but_for_its_l2(data: Any, algo: str, penalty: str) -> None:
    options: dict[str, Any] = {"schedule": "inverse-sqrt", "penalty": penalty}
    alone = train(data, "ssp", batch_size=1, **options, **BARRIER)
    assert np.array_equal(alone, train(data, algo, **options, **SINGLE_ROWS))


@pytest.mark.parametrize("algo", ["dissvrg", "ssp"])
def test_without_a_barrier_it_is_the_same_but_for_rounding(algo: str) -> None:
    ahead, barrier = (train(X, algo, **(BARRIER | {"staleness": staleness})) for staleness in (3, 0))
    np.testing.assert_allclose(ahead, barrier, rtol=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "inverse-sqrt"])
def test_sync_with_one_worker_is_minibatch_but_for_rounding(schedule: str) -> None:
    """The coordinator adds gradients where `minibatch` makes a step on every row."""
    options: dict[str, Any] = {"batch_size": 16, "schedule": schedule, "penalty": "none"}
    alone = train(X, "sync", cluster=dsgd.Simulation(workers=1), **options)
    np.testing.assert_allclose(alone, train(X, "minibatch", **options, **SINGLE_ROWS), rtol=1e-12)


def test_sync_with_one_worker_is_sgd_to_the_bit_where_nothing_is_rounded_otherwise(data: Any) -> None:
    """Steps of a power of two on one row each: the product of step, slope and entry is rounded once either way."""
    options: dict[str, Any] = {"step_size": 0.125, "schedule": "constant", "penalty": "none"}
    alone = train(data, "sync", batch_size=1, cluster=dsgd.Simulation(workers=1, trace=False), **options)
    assert np.array_equal(alone, train(data, "sgd", **options, **SINGLE_ROWS))
