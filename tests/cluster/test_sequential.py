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


@pytest.mark.parametrize("penalty", ["none", "elasticnet"])
def test_ssp_on_single_rows_is_sgd_but_for_its_l2(data: Any, penalty: str) -> None:
    options: dict[str, Any] = {"schedule": "inverse-sqrt", "penalty": penalty}
    alone = train(data, "ssp", batch_size=1, **options, **BARRIER)
    assert np.array_equal(alone, train(data, "sgd", **options, **SINGLE_ROWS))


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


def alone(algo: str) -> dict[str, Any]:
    """Return the options with which an algorithm of averaged models makes the steps of `sgd` on one node."""
    own: dict[str, dict[str, Any]] = {
        "wpsgd-delay": {"delay": 0},
        "wpsgd-dm": {"node_workers": 1, "averaging_span": 240},
    }
    return {"algo": algo, "cluster": dsgd.Simulation(workers=1, trace=False), **own.get(algo, {})}


AVERAGED = ["simuparallel", "average", "wpsgd", "wpsgd-delay", "wpsgd-dm"]
SPANS: list[Any] = [("simuparallel", 100), ("wpsgd", 7), ("average", 10**6), ("wpsgd-dm", 1000)]


@pytest.mark.parametrize("algo", AVERAGED)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"loss": "hinge", "schedule": "inverse-sqrt"},
        {"loss": "squared", "schedule": "constant", "step_size": 0.01, "alpha": 0.5},
        {"loss": "huber", "schedule": dsgd.schedules.Optimal(alpha=1e-3), "penalty": "none"},
        {"loss": "modified_huber", "schedule": "epoch-decay", "fit_intercept": False},
        {"loss": "squared_hinge", "schedule": "inverse-time", "init": 4.0},
        {"sample_weight": np.linspace(0, 2, 240), "alpha": 1e-4},
    ],
    ids=lambda options: ", ".join(map(str, (key for key in options))) or "defaults",
)
def test_the_model_of_one_node_is_that_of_sgd(data: Any, algo: str, options: dict[str, Any]) -> None:
    averaged = train(data, **{**options, **alone(algo)})
    assert np.array_equal(averaged, train(data, "sgd", **options, **SINGLE_ROWS))


@pytest.mark.parametrize("algo", [algo for algo in AVERAGED if algo != "wpsgd-delay"])
@pytest.mark.parametrize("penalty", ["l1", "elasticnet"])
def test_the_model_of_one_node_is_that_of_sgd_with_l1(data: Any, algo: str, penalty: str) -> None:
    averaged = train(data, penalty=penalty, **alone(algo))
    assert np.array_equal(averaged, train(data, "sgd", penalty=penalty, **SINGLE_ROWS))


@pytest.mark.parametrize(("algo", "span"), SPANS)
@pytest.mark.parametrize("penalty", ["l1", "none"])
def test_an_average_over_one_node_changes_nothing(data: Any, algo: str, span: int, penalty: str) -> None:
    averaged = train(data, **{**alone(algo), "penalty": penalty, "averaging_span": span})
    assert np.array_equal(averaged, train(data, "sgd", penalty=penalty, **SINGLE_ROWS))


@pytest.mark.parametrize(("algo", "span"), SPANS)
def test_an_average_over_one_node_multiplies_by_the_scale_of_l2_at_another_moment(algo: str, span: int) -> None:
    averaged = train(X, **{**alone(algo), "averaging_span": span})
    np.testing.assert_allclose(averaged, train(X, "sgd", **SINGLE_ROWS), rtol=1e-12)


@pytest.mark.parametrize("algo", ["simuparallel", "average", "wpsgd"])
@pytest.mark.parametrize("batch_size", [16, 240])
@pytest.mark.parametrize("penalty", ["l2", "elasticnet"])
def test_steps_on_several_rows_are_those_of_minibatch(data: Any, algo: str, batch_size: int, penalty: str) -> None:
    options: dict[str, Any] = {"batch_size": batch_size, "penalty": penalty}
    assert np.array_equal(train(data, **options, **alone(algo)), train(data, "minibatch", **options, **SINGLE_ROWS))


LETTERS = np.array(["a", "b", "c"])[np.random.default_rng(0).integers(0, 3, 240)]


@pytest.mark.parametrize("algo", [algo for algo in AVERAGED if algo != "wpsgd-delay"])
def test_the_model_of_one_node_is_that_of_sgd_for_softmax(data: Any, algo: str) -> None:
    options: dict[str, Any] = {"loss": "softmax", "alpha": 1e-2, "max_epochs": 3, "random_state": 3, "step_size": 0.1}
    averaged, sequential = (
        dsgd.fit(data, LETTERS, **options, **more).model.weights
        for more in (alone(algo), {"algo": "sgd", **SINGLE_ROWS})
    )
    assert np.array_equal(averaged, sequential)


@pytest.mark.parametrize("algo", AVERAGED[:3])
def test_the_model_of_one_node_is_that_of_sgd_for_kmeans(data: Any, algo: str) -> None:
    options: dict[str, Any] = {"loss": dsgd.losses.KMeans(5), "max_epochs": 3, "random_state": 3}
    averaged, sequential = (
        dsgd.fit(data, None, **options, **more).model.weights for more in (alone(algo), {"algo": "sgd", **SINGLE_ROWS})
    )
    assert np.array_equal(averaged, sequential)


@pytest.mark.parametrize("algo", AVERAGED[:3])
def test_the_model_of_one_node_is_that_of_minibatch_for_networks(data: Any, algo: str) -> None:
    options: dict[str, Any] = {"loss": "mlp", "max_epochs": 3, "random_state": 3, "step_size": 0.1}
    single: dict[str, Any] = {"algo": "minibatch", "batch_size": 64, "momentum": 0, **SINGLE_ROWS}
    averaged, sequential = (dsgd.fit(data, Y, **options, **more).model.weights for more in (alone(algo), single))
    assert np.array_equal(averaged, sequential)


@pytest.mark.parametrize("local_epochs", [1, 2])
@pytest.mark.parametrize(("batch_size", "algo"), [(1, "sgd"), (16, "minibatch"), ("all", "minibatch")])
def test_one_client_of_fedavg_is_one_machine(data: Any, local_epochs: int, batch_size: Any, algo: str) -> None:
    client: dict[str, Any] = {"batch_size": batch_size, "local_epochs": local_epochs, "max_epochs": 4}
    federated = train(data, "fedavg", schedule="constant", cluster=dsgd.Simulation(workers=1, trace=False), **client)
    options = {} if algo == "sgd" else {"batch_size": 240 if batch_size == "all" else batch_size}
    alone = train(data, algo, schedule="constant", **options, **SINGLE_ROWS, max_epochs=4 * local_epochs)
    assert np.array_equal(federated, alone)


@pytest.mark.parametrize("loss", ["softmax", "mlp", "kmeans"])
def test_one_client_of_fedavg_is_minibatch_for_other_models(data: Any, loss: str) -> None:
    """A step that falls from epoch to epoch falls from round to round."""
    options: dict[str, Any] = {"loss": dsgd.losses.KMeans(5) if loss == "kmeans" else loss, "schedule": "epoch-decay"}
    options |= {"step_size": 0.1, "max_epochs": 3, "random_state": 3, "batch_size": 16}
    single: dict[str, Any] = {"algo": "minibatch", **SINGLE_ROWS, **({"momentum": 0} if loss == "mlp" else {})}
    federated, alone = (
        dsgd.fit(data, None if loss == "kmeans" else LETTERS, **options, **more).model.weights
        for more in ({"algo": "fedavg", "cluster": dsgd.Simulation(workers=1, trace=False)}, single)
    )
    assert np.array_equal(federated, alone)
