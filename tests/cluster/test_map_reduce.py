"""Map-reduce: batch gradient descent whose sums are made by all workers, on every cluster and through crashes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from local.fits import local_fit, simulated_fit
from problems import make_problem

import dsgd
from dsgd.cluster import SERVER, Crash, FrameLoss, KernelCost, Shares, Simulation

X, Y = make_problem(241, 20, seed=3)
CLASSES = np.array(["a", "b", "c"])[np.random.default_rng(0).integers(0, 3, 241)]
REAL = X @ np.random.default_rng(1).standard_normal(20)
TARGETS = {"softmax": CLASSES, "squared": REAL, "huber": REAL}
LINEAR = ["logistic", "squared", "hinge", "squared_hinge", "modified_huber", "huber", "softmax"]
PARTITIONS: list[Any] = ["equal", Shares([4, 1, 2, 2])]


def train(cluster: Simulation | None = None, **options: Any) -> dsgd.FitResult:
    """Fit on one machine, or on a cluster."""
    given: dict[str, Any] = {"alpha": 1e-2, "max_epochs": 10, "random_state": 3, "n_threads": 1, "loss": "logistic"}
    given |= {"algo": "batch", "cluster": cluster, **options}
    data = given.pop("data", (X, TARGETS.get(given["loss"], Y)))
    return dsgd.fit(*data, **given)


def alone() -> Simulation:
    return Simulation(workers=1, trace=False)


def uneven(**options: Any) -> Simulation:
    """Return four nodes on which a clock takes some 0.17 s, and a worker is soon lost."""
    given: dict[str, Any] = {"workers": 4, "speeds": [1, 0.9, 0.5, 0.25], "heartbeat_deadline": 0.5, "trace": False}
    given |= {"kernel_cost": KernelCost(call=0, entry=1e-4), "resend_after": 0.01, "reconnect_after": 0.005}
    return Simulation(**{**given, **options})


def objectives(result: dsgd.FitResult) -> list[float]:
    return [math.nan if record.objective is None else record.objective for record in result.history]


def test_batch_on_a_cluster_is_map_reduce() -> None:
    result = train(alone())
    assert result.algorithm == dsgd.algorithms.MapReduce()
    assert result.algorithm.name == "map-reduce"
    assert np.array_equal(result.model.weights, train(alone(), algo="map-reduce").model.weights)


@pytest.mark.parametrize("layout", ["sparse", "dense"])
@pytest.mark.parametrize("penalty", ["l2", "l1", "elasticnet", "none"])
@pytest.mark.parametrize("loss", LINEAR)
def test_one_worker_is_batch_to_the_bit(loss: str, penalty: str, layout: str) -> None:
    options: dict[str, Any] = {"loss": loss, "penalty": penalty}
    options["data"] = (X if layout == "sparse" else X.toarray(), TARGETS.get(loss, Y))
    together, machine = train(alone(), **options), train(**options)
    assert np.array_equal(together.model.weights, machine.model.weights)
    np.testing.assert_allclose(objectives(together), objectives(machine), rtol=1e-14)


@pytest.mark.parametrize("options", [{}, {"penalty": "none"}, {"step_size": 3.0}, {"loss": dsgd.losses.MLP((7, 5))}])
def test_one_worker_is_batch_to_the_bit_for_networks(options: dict[str, Any]) -> None:
    given: dict[str, Any] = {"loss": "mlp", "data": (X, CLASSES), **options}
    assert np.array_equal(train(alone(), **given).model.weights, train(**given).model.weights)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_kmeans_makes_the_steps_of_lloyd(workers: int, dtype: Any) -> None:
    given: dict[str, Any] = {"loss": dsgd.losses.KMeans(5), "data": (X.astype(dtype), None)}
    together = train(Simulation(workers=workers), **given).model.weights
    np.testing.assert_allclose(together, train(**given).model.weights, rtol=0, atol=np.finfo(dtype).eps * 10)


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("penalty", ["l2", "l1", "none"])
@pytest.mark.parametrize("loss", ["logistic", "squared", "softmax", "mlp"])
def test_in_single_precision_it_is_batch_but_for_rounding(loss: str, penalty: str, workers: int) -> None:
    if loss == "mlp" and penalty == "l1":
        return
    given: dict[str, Any] = {"loss": loss, "penalty": penalty, "data": (X.astype(np.float32), TARGETS.get(loss, Y))}
    together, machine = train(Simulation(workers=workers), **given), train(**given)
    np.testing.assert_allclose(objectives(together), objectives(machine), rtol=1e-5)
    largest = np.abs(machine.model.weights).max()
    np.testing.assert_allclose(together.model.weights, machine.model.weights, rtol=0, atol=1e-5 * largest)


@pytest.mark.parametrize("partition", PARTITIONS, ids=["equal", "shares"])
@pytest.mark.parametrize("penalty", ["l2", "l1", "none"])
@pytest.mark.parametrize("loss", [*LINEAR, "mlp"])
def test_four_workers_are_one_machine_but_for_rounding(loss: str, penalty: str, partition: Any) -> None:
    if loss == "mlp" and penalty == "l1":
        return
    given: dict[str, Any] = {"loss": loss, "penalty": penalty}
    together, machine = train(Simulation(workers=4, partition=partition), **given), train(**given)
    np.testing.assert_allclose(objectives(together), objectives(machine), rtol=1e-10)
    largest = np.abs(machine.model.weights).max()
    np.testing.assert_allclose(together.model.weights, machine.model.weights, rtol=0, atol=1e-10 * largest)


@pytest.mark.parametrize(
    "options",
    [
        {"fit_intercept": False},
        {"init": 4.0},
        {"step_size": 1e-6},
        {"step_size": 1e6},
        {"sample_weight": np.linspace(0, 2, 241)},
        {"loss": "squared", "init": -1.0, "fit_intercept": False},
    ],
    ids=lambda options: ", ".join(options),
)
def test_start_intercept_and_weights_of_samples_are_those_of_batch(options: dict[str, Any]) -> None:
    machine = train(**options).model.weights
    assert np.array_equal(train(alone(), **options).model.weights, machine)
    together = train(Simulation(workers=4, partition=PARTITIONS[1]), **options).model.weights
    np.testing.assert_allclose(together, machine, rtol=0, atol=1e-10 * np.abs(machine).max())
    assert not np.array_equal(machine, train(loss=options.get("loss", "logistic")).model.weights)


@pytest.mark.parametrize("options", [{}, {"loss": "mlp"}, {"penalty": "l1"}], ids=["linear", "mlp", "l1"])
def test_processes_give_the_bits_of_the_simulation(options: dict[str, Any]) -> None:
    given: dict[str, Any] = {"algo": "batch", "max_epochs": 6, **options}
    for partition in ("equal", Shares([3, 1])):
        processes = local_fit({"partition": partition}, **given)
        assert np.array_equal(processes.model.weights, simulated_fit(2, partition, **given).model.weights)


def test_every_cluster_gives_the_same_bits() -> None:
    even = train(Simulation(workers=4)).model.weights
    for options in (
        {},
        {"servers": 3},
        {"jitter": 1e-3, "seed": 4},
        {"failures": [FrameLoss(0.2)]},
        {"failures": [Crash(SERVER, 0.4, 0.05)], "checkpoint_every": 1},
        {"failures": [Crash(SERVER, 0.7, 0.05)], "checkpoint_every": 3},
    ):
        assert np.array_equal(even, train(uneven(**options)).model.weights), options


@pytest.mark.parametrize("rank", range(4))
def test_a_worker_that_crashes_before_its_first_sum_and_starts_again_changes_no_bit(rank: int) -> None:
    """Also one that starts late. Its clock waits for it, and it has the step of the others."""
    even = train(Simulation(workers=4)).model.weights
    for at in (0.0, 0.001):
        assert np.array_equal(even, train(uneven(failures=[Crash(rank, at, 0.1)])).model.weights)


@pytest.mark.parametrize("again", [0.03, 0.3, None], ids=["soon", "later", "never"])
@pytest.mark.parametrize("rank", [0, 1, 3])
def test_wherever_a_worker_crashes_the_others_go_on(rank: int, again: float | None) -> None:
    """In a search its rows are missing from some of the sums: the clock is lost, and all agree on the next step."""
    undisturbed = objectives(train(uneven()))
    changed = 0
    for at in np.linspace(0.01, 1.6, 12):
        result = train(uneven(failures=[Crash(rank, float(at), again)]))
        values = objectives(result)
        assert len(values) >= 9, at  # a last clock that is lost is no news
        if again is not None:
            rises = np.diff([math.log(2), *values])
            assert rises.max() < 1e-12, at
            assert values[-1] <= undisturbed[-4] + 1e-12, at  # it cost a clock or two, and one without its rows
        else:
            assert values[-1] < undisturbed[0], at  # they train on their own rows, also without rank 0
        changed += not np.array_equal(values, undisturbed)
    assert changed > 0


def test_of_kmeans_a_lost_worker_takes_its_rows_with_it() -> None:
    given: dict[str, Any] = {"loss": dsgd.losses.KMeans(5), "data": (X, None)}
    undisturbed = objectives(train(uneven(), **given))
    for rank in (0, 2):
        values = objectives(train(uneven(failures=[Crash(rank, 0.05)]), **given))
        assert values[-1] < undisturbed[0]


def test_a_run_stops_by_its_tolerance_as_batch_does() -> None:
    together, machine = (train(cluster, max_epochs=500, tol=1e-3) for cluster in (alone(), None))
    assert together.stop_reason == machine.stop_reason == "tol"
    np.testing.assert_allclose(objectives(together), objectives(machine), rtol=1e-14)
