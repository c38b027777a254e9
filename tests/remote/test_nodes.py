"""Fits on nodes that are threads of this process: what they are asked, and what is refused."""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import pytest
from node_threads import TOKEN, fit_on_threads
from problems import make_problem

import dsgd
from dsgd.cluster import Given
from dsgd.cluster.driver.channel import Channel
from dsgd.cluster.remote.dial import Dialled
from dsgd.cluster.remote.messages import send
from dsgd.cluster.remote.node import GateAddress, _Node
from dsgd.errors import ClusterError, ConfigError, DataError
from dsgd.fitting.worker_rows import WorkerRows

X, Y = make_problem(60, 8, seed=4)
WEIGHT = np.random.default_rng(2).exponential(size=60)
ALL = WorkerRows(X, Y, None)
PARTS = [np.arange(25), np.arange(25, 60)]
OPTIONS: dict[str, Any] = {"loss": "logistic", "step_size": 0.1, "max_epochs": 3, "random_state": 1}
BSP: dict[str, Any] = {"algo": "ssp", "staleness": 0}


def fit(rows: Any, told: Any = ({}, {}), **options: Any) -> Any:
    return fit_on_threads(rows, told, **{**OPTIONS, **options})


def parts(y: Any = Y, weight: Any = None) -> list[WorkerRows]:
    return [WorkerRows(X[part], y[part], None if weight is None else weight[part]) for part in PARTS]


def on_processes(y: Any = Y, **options: Any) -> Any:
    return dsgd.fit(X, y, cluster=dsgd.LocalCluster(workers=2, partition=Given(PARTS)), **{**OPTIONS, **options})


@pytest.mark.parametrize(
    ("rows", "options", "of_cluster"),
    [
        ({}, {"class_weight": "balanced"}, {}),
        ({}, {"class_weight": {-1.0: 3.0}, "step_size": "auto"}, {}),
        ({"weight": WEIGHT}, {"step_size": "auto"}, {}),
        ({"weight": WEIGHT}, {"class_weight": "balanced"}, {}),
        ({"y": np.where(Y > 0, "spam", "ham")}, {}, {}),
        ({}, {}, {"servers": 2}),
        ({}, {"algo": "sync"}, {}),
        ({}, {"init": np.linspace(-1, 1, 9)}, {}),
    ],
)
def test_a_fit_on_nodes_has_the_bits_of_processes(rows: Any, options: Any, of_cluster: Any) -> None:
    chosen = {**(BSP if "algo" not in options else {}), **options}
    result, ends = fit(parts(**rows), of_cluster=of_cluster, **chosen)
    more = {"sample_weight": rows["weight"]} if "weight" in rows else {}
    same = on_processes(rows.get("y", Y), **chosen, **more)
    np.testing.assert_array_equal(result.model.weights, same.model.weights)
    assert ends == [None, None]


def test_rows_of_the_whole_are_dealt_as_a_partition_says() -> None:
    whole = [WorkerRows(X, Y, None)] * 2
    result, _ = fit(whole, [{"whole": True}] * 2, of_cluster={"partition": dsgd.cluster.ByLabel(1)}, **BSP)
    cluster = dsgd.LocalCluster(workers=2, partition=dsgd.cluster.ByLabel(1))
    same = dsgd.fit(X, Y, cluster=cluster, **OPTIONS, **BSP)
    np.testing.assert_array_equal(result.model.weights, same.model.weights)


def test_clients_of_fedavg_live_on_nodes() -> None:
    whole = [WorkerRows(X, Y, None)] * 2
    options: dict[str, Any] = {"algo": "fedavg", "clients": 6}
    result, _ = fit(whole, [{"whole": True}] * 2, **options)
    same = dsgd.fit(X, Y, cluster=dsgd.LocalCluster(workers=2), **OPTIONS, **options)
    np.testing.assert_array_equal(result.model.weights, same.model.weights)


def test_a_callback_ends_the_run_and_the_nodes() -> None:
    result, ends = fit(parts(), callbacks=[lambda *_: True], **{**BSP, "max_epochs": 10**6})
    assert result.stop_reason == "callback"
    assert ends == [None, None]


@pytest.mark.parametrize(
    ("rows", "told", "options", "error", "message"),
    [
        (
            [ALL, WorkerRows(X[:0], Y[:0], None)],
            ({}, {}),
            {},
            DataError,
            "worker 1 at .* has no rows",
        ),
        (parts(), ({"whole": True}, {}), {}, DataError, "all 25 rows, and worker 1 .* its own 35 rows"),
        (parts(), ({"index_base": "one"}, {"index_base": "zero"}), {}, DataError, "name the index_base"),
        (parts(), ({}, {}), {"n_threads": 2}, ConfigError, "--threads"),
        (parts(), ({}, {}), {"workers": 3}, ConfigError, "leave out workers"),
        (parts(), ({}, {}), {"loss": "squared", "class_weight": "balanced"}, ConfigError, "regression"),
        (
            [ALL, WorkerRows(X.toarray(), Y, None)],
            ({}, {}),
            {},
            DataError,
            "sparse and some are dense",
        ),
        (parts(np.ones(60)), ({}, {}), {}, DataError, "class"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(rows: Any, told: Any, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        fit(rows, told, **{**BSP, **options})


def test_the_error_of_a_node_reaches_the_caller_with_its_traceback() -> None:
    bad = X.toarray()
    bad[40, 2] = np.nan
    rows = [WorkerRows(bad[part], Y[part], None) for part in PARTS]
    with pytest.raises(DataError, match="nan") as caught:
        fit(rows, **BSP)
    assert any("worker 1" in note and "Traceback" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("kind", ["facts", "no such question"])
@pytest.mark.parametrize(
    ("why", "told"), [("the rows are bad", "the run failed: the rows are bad"), (None, "without a word")]
)
def test_a_driver_that_has_gone_before_the_answer_ends_the_node_with_its_last_word(
    kind: str, why: str | None, told: str
) -> None:
    ours, theirs = socket.socketpair()
    driver = Channel(theirs)
    send(driver, kind, (), answers=True)
    if why is not None:
        driver.send("end", why=why)
    driver.close()
    entered = Dialled(Channel(ours), "127.0.0.1", 1.0)
    node = _Node(entered, GateAddress(("127.0.0.1", 1), TOKEN, None, 1.0), ALL, None, (True, None), 1)
    with pytest.raises(ClusterError, match=told):
        node.serve()
    ours.close()
