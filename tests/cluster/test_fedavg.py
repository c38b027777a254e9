"""Federated averaging: it equals its listing, on any number of workers, and leaves out the clients that fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cluster.federated import CLASSES, CLIENTS, MODELS, ROUNDS, SEED, X, Y, expected, fit, simulation

import dsgd
from dsgd import losses
from dsgd.algorithms import FedAvg
from dsgd.cluster import ByLabel, Crash, Dirichlet, FrameLoss, Shares
from dsgd.errors import ConfigError
from dsgd.testing.fedavg_reference import drawn_clients

CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-12}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"fraction": 0.4, "local_epochs": 2, "batch_size": 4},
    {"fraction": 0.6, "batch_size": "all", "failing": 0.3},
]


def flat(result: dsgd.FitResult) -> Any:
    """Return the weights as the reference has them: those of a feature, or of a centre, side by side."""
    if result.model.loss.name == "softmax":
        return np.append(result.coef_.T.ravel(), result.intercept_)
    return result.model.centres.ravel() if result.model.loss.model == "kmeans" else result.model.weights.ravel()  # type: ignore[attr-defined]


def same(a: dsgd.FitResult, b: dsgd.FitResult) -> bool:
    return np.array_equal(a.model.weights, b.model.weights)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("model", MODELS)
def test_it_equals_its_listing(model: str, options: dict[str, Any]) -> None:
    result = fit(**MODELS[model], **options)
    named = {**options, "batch_size": 10**6} if options.get("batch_size") == "all" else options
    np.testing.assert_allclose(flat(result), expected(model, **named), **CLOSE)


@pytest.mark.parametrize("partition", [ByLabel(1), Dirichlet(0.5), Shares([9, 1, 1, 2, 3, 1, 1])], ids=str)
def test_a_client_counts_by_its_rows(partition: Any) -> None:
    result = fit(simulation(partition=partition), fraction=0.6, batch_size=4)
    np.testing.assert_allclose(
        flat(result), expected("logistic", partition=partition, fraction=0.6, batch_size=4), **CLOSE
    )


@pytest.mark.parametrize("model", ["logistic", "mlp"])
def test_the_result_does_not_depend_on_the_number_of_workers(model: str) -> None:
    runs = [
        fit(simulation(workers), **MODELS[model], fraction=0.6, failing=0.2, local_epochs=2) for workers in (1, 2, 3, 7)
    ]
    for run in runs[1:]:
        np.testing.assert_allclose(flat(run), flat(runs[0]), **CLOSE)
        assert run.history[-1].effective_passes == runs[0].history[-1].effective_passes


@pytest.mark.parametrize("model", ["no penalty", "softmax", "mlp"])
def test_fedsgd_makes_the_step_of_batch(model: str) -> None:
    """All clients, all rows, one local epoch. The steps of a network are not those of `batch` but of `minibatch`."""
    options: dict[str, Any] = {"penalty": "none", "max_epochs": 1, "fit_intercept": model == "mlp", **MODELS[model]}
    data = options.pop("data", (X, Y))
    together = fit(data=data, batch_size="all", **options)
    alone: dict[str, Any] = {"loss": "logistic", "random_state": SEED, "step_size": 0.1, "n_threads": 1, **options}
    if model == "mlp":
        alone |= {"algo": "minibatch", "batch_size": len(Y), "momentum": 0.0, "schedule": "constant"}
    batch = dsgd.fit(*data, **{"algo": "batch", **alone})  # it tries the step that it is given first
    np.testing.assert_allclose(together.model.weights, batch.model.weights, **CLOSE)
    assert together.history[-1].effective_passes == 1


def test_an_epoch_is_a_round_and_passes_are_gradients() -> None:
    result = fit(clients=11, fraction=3 / 11, local_epochs=4)  # 121 rows: 11 a client
    assert [record.epoch for record in result.history] == list(range(1, ROUNDS + 1))
    assert result.history[-1].effective_passes == pytest.approx(ROUNDS * 3 * 4 / 11)
    assert {record.step_size for record in result.history} == {0.1}


def test_steps_change_from_round_to_round_by_the_schedule() -> None:
    one = fit(schedule="linear", max_epochs=2, batch_size="all", penalty="none")
    first = fit(max_epochs=1, batch_size="all", penalty="none")
    then = fit(max_epochs=1, batch_size="all", penalty="none", step_size=0.05, init=first)
    np.testing.assert_allclose(one.model.weights, then.model.weights, **CLOSE)


def test_every_option_changes_the_result() -> None:
    options: list[dict[str, Any]] = [
        {},
        {"clients": 8},
        {"fraction": 0.5},
        {"local_epochs": 2},
        {"batch_size": 3},
        {"batch_size": "all"},
        {"failing": 0.5},
        {"random_state": 4},
    ]
    results = {fit(max_epochs=5, **each).model.weights.tobytes() for each in options}
    results.add(fit(simulation(partition=ByLabel(1)), max_epochs=5).model.weights.tobytes())
    assert len(results) == len(options) + 1
    assert same(fit(clients=None, max_epochs=5), fit(clients=2, max_epochs=5))


def test_rounds_without_a_model_leave_the_weights_as_they_are() -> None:
    arrived = [clients for _, clients in drawn_clients(SEED, ROUNDS, CLIENTS, n_drawn=2, failing=0.8)]
    assert 5 < arrived.count([]) < ROUNDS - 5
    result = fit(fraction=2 / 7, failing=0.8)
    np.testing.assert_allclose(flat(result), expected("logistic", fraction=2 / 7, failing=0.8), **CLOSE)
    start = fit(failing=1.0)
    assert not start.model.weights.any()
    assert start.history[-1].effective_passes == 0


def test_the_clients_of_a_lost_worker_are_left_out_from_then_on() -> None:
    """Nobody tells the round in which it was found missing: one of them explains the weights."""
    options: dict[str, Any] = {"failures": [Crash(1, 0.005)], "heartbeat_deadline": 0.05}
    n_rounds = 20
    result = fit(simulation(**options), max_epochs=n_rounds)
    odd = {client for client in range(CLIENTS) if client % 2}
    gaps = [
        np.abs(
            flat(result)
            - expected(
                "logistic",
                rounds=[[k for k in range(CLIENTS) if number < lost or k not in odd] for number in range(n_rounds)],
            )
        ).max()
        for lost in range(1, n_rounds)
    ]
    assert sum(gap < 1e-12 for gap in gaps) == 1
    assert result.stop_reason == "max_epochs"


@pytest.mark.parametrize("restart", [0.001, 0.02])
def test_a_worker_that_is_started_again_counts_once_in_its_round(restart: float) -> None:
    """Its link is so slow that it may be struck when its model has arrived, and the end of its round has not."""
    slow: dict[str, Any] = {"bandwidth": 5e4, "resend_after": 0.05, "reconnect_after": 0.005}
    given: dict[str, Any] = {"data": (X.toarray(), CLASSES), "loss": losses.MLP((50,)), "max_epochs": 3}
    undisturbed = fit(simulation(**slow), **given)
    seconds = undisturbed.history[-1].virtual_seconds or 0.0
    for moment in np.linspace(0.01, 0.99, 40) * seconds:
        assert same(undisturbed, fit(simulation(**slow, failures=[Crash(1, moment, restart)]), **given)), moment


def test_links_change_no_bit() -> None:
    undisturbed = fit(fraction=0.4)
    links: list[dict[str, Any]] = [
        {"speeds": [1.0, 0.2], "jitter": 1e-3},
        {"failures": [FrameLoss(0.2)], "resend_after": 0.01},
    ]
    for options in links:
        assert same(undisturbed, fit(simulation(**options), fraction=0.4)), options


def test_a_worker_without_a_drawn_client_moves_no_weights() -> None:
    """One of seven clients a round, each worker with one: the bytes of the others are those of their clocks."""
    size = 8 * 20 * 51
    record = fit(simulation(7), data=(np.ones((140, 20)), np.arange(140) % 2), loss=losses.MLP((50,)), fraction=0.1)
    received = np.array(record.history[-1].bytes_received or ())
    drawn = np.bincount([each for (each,), _ in drawn_clients(SEED, ROUNDS, CLIENTS, n_drawn=1)], minlength=CLIENTS)
    assert (received > drawn * size).all()
    assert (received < (drawn + 1) * 1.5 * size + 20_000).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clients": 0}, "clients must be an integer from 1"),
        ({"fraction": 0}, "fraction must be a finite number above 0 and at most 1, not 0"),
        ({"local_epochs": 0}, "local_epochs must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"batch_size": "some"}, "batch_size must be a number of rows or 'all', not 'some'"),
        ({"failing": 1.5}, "failing must be"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FedAvg(**options)


def test_clients_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="clients=2 on 3 workers: some would have none; use fewer workers"):
        fit(simulation(3), clients=2)
    with pytest.raises(ConfigError, match="Shares has 2 elements for 7 clients; give it one for each"):
        fit(simulation(partition=Shares([1, 1])))
    with pytest.raises(ConfigError, match="Shares has 2 elements for 3 workers"):
        fit(simulation(3, partition=Shares([1, 1])), clients=None)
