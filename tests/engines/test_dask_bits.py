"""Algorithms whose workers wait for each other have the same bits on Dask, on processes and in simulation."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse

distributed = pytest.importorskip("distributed")

import dsgd
from dsgd import losses
from dsgd.cluster import Given
from dsgd.cluster.remote.dealing import run_bounds

WORKERS = 3
SIZES = (20, 35, 10, 25, 30)  # rows of the chunks
RANDOM = np.random.default_rng(11)
X = np.asarray(RANDOM.normal(size=(sum(SIZES), 6)) * (RANDOM.random((sum(SIZES), 6)) < 0.7))
SCORES = X @ RANDOM.normal(size=(6, 3))
LABELS = {
    "hinge": (SCORES[:, 0] > 0).astype(int),
    "logistic": np.where(SCORES[:, 0] > 0, "yes", "no"),
    "softmax": SCORES.argmax(axis=1),
    "several": SCORES.argmax(axis=1),
    "squared": SCORES[:, 0] + 3.0,
    "kmeans": None,
    "mlp": SCORES.argmax(axis=1),
}
LOSSES = {"several": "hinge", "kmeans": losses.KMeans(3), "mlp": losses.MLP((4,))}
CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("ssp", "hinge", {"staleness": 0}),
    ("ssp", "several", {"staleness": 0}),
    ("ssp", "kmeans", {"staleness": 0}),
    ("sync", "logistic", {"step_size": "auto"}),
    ("sync", "softmax", {}),
    ("dissvrg", "logistic", {"staleness": 0, "step_size": "auto"}),
    ("dissvrg", "squared", {"staleness": 0}),
    ("fedavg", "softmax", {}),
    ("fedavg", "several", {"step_size": "auto"}),
    ("batch", "logistic", {"step_size": "auto"}),
    ("minibatch", "squared", {"batch_size": 12, "step_size": "auto"}),
]
PLACES = {"one has all": [0] * 5, "backwards": [2, 2, 1, 0, 0]}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with (
        distributed.LocalCluster(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@functools.cache
def parts() -> list[Any]:
    """Return the rows of each rank, as Dask deals chunks in their order."""
    begins = np.cumsum([0, *SIZES])
    bounds = run_bounds([6 * size for size in SIZES], WORKERS)
    return [np.arange(begins[first], begins[end]) for first, end in itertools.pairwise(bounds)]


def options_of(name: str, own: dict[str, Any]) -> dict[str, Any]:
    return {"loss": LOSSES.get(name, name), "step_size": 0.05, "max_epochs": 3, "random_state": 5, **own}


@functools.cache
def on_other_clusters(index: int) -> list[Any]:
    algo, name, own = CASES[index]
    clusters = (
        dsgd.LocalCluster(workers=WORKERS, partition=Given(parts())),
        dsgd.Simulation(workers=WORKERS, partition=Given(parts())),
    )
    options = options_of(name, own)
    return [dsgd.fit(X, LABELS[name], algo=algo, cluster=cluster, **options).model.weights for cluster in clusters]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("index", range(len(CASES)), ids=["-".join(case[:2]) for case in CASES])
def test_the_bits_do_not_depend_on_where_the_chunks_lie(client: Any, index: int, place: str) -> None:
    algo, name, own = CASES[index]
    result = on_dask(client, place, algo, name, own)
    for weights in on_other_clusters(index):
        np.testing.assert_array_equal(result.model.weights, weights)


def on_dask(client: Any, place: str, algo: str, name: str, own: dict[str, Any]) -> dsgd.FitResult:
    workers = sorted(client.nthreads())
    rows = np.split(np.arange(len(X)), np.cumsum(SIZES)[:-1])
    at = [workers[k] for k in PLACES[place]]
    chunks = [client.scatter(X[part], workers=[each], hash=False) for part, each in zip(rows, at, strict=True)]
    y = LABELS[name]
    labels = None
    if y is not None:
        labels = [client.scatter(y[part], workers=[each], hash=False) for part, each in zip(rows, at, strict=True)]
    return dsgd.fit(chunks, labels, algo=algo, cluster=client, **options_of(name, own))


def test_a_network_has_the_same_bits_wherever_the_chunks_lie(client: Any) -> None:
    """Its units come from sums over the parts, which differ in the last digits from those of one machine."""
    own = {"staleness": 0, "step_size": "auto"}
    one, other = (on_dask(client, place, "ssp", "mlp", own).model.weights for place in PLACES)
    np.testing.assert_array_equal(one, other)
    whole = dsgd.Simulation(workers=WORKERS, partition=Given(parts()))
    same = dsgd.fit(X, LABELS["mlp"], algo="ssp", cluster=whole, **options_of("mlp", own)).model.weights
    np.testing.assert_allclose(one, same, rtol=1e-9)


def test_sparse_chunks_have_the_bits_of_sparse_rows(client: Any) -> None:
    rows = np.split(np.arange(len(X)), np.cumsum(SIZES)[:-1])
    options = options_of("hinge", {"staleness": 0, "step_size": "auto"})
    chunks = [client.scatter(scipy.sparse.csr_array(X[part])) for part in rows]
    labels = [client.scatter(LABELS["hinge"][part]) for part in rows]
    order = [scipy.sparse.csr_array(X[part]).nnz for part in rows]
    begins, bounds = np.cumsum([0, *SIZES]), run_bounds(order, WORKERS)
    given = Given([np.arange(begins[first], begins[end]) for first, end in itertools.pairwise(bounds)])
    same = dsgd.fit(
        scipy.sparse.csr_array(X),
        LABELS["hinge"],
        algo="ssp",
        cluster=dsgd.Simulation(workers=WORKERS, partition=given),
        **options,
    )
    result = dsgd.fit(chunks, labels, algo="ssp", cluster=client, **options)
    np.testing.assert_array_equal(result.model.weights, same.model.weights)
