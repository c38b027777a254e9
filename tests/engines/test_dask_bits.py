"""Barrier algorithms have the same bits on Dask, wherever the chunks lie, on processes and in virtual time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import NDArray

distributed = pytest.importorskip("distributed")

from dask_fits import start

import dsgd
from dsgd.cluster import Given
from dsgd.cluster.remote.dealing import run_bounds
from dsgd.losses import MLP, KMeans

WORKERS = 3
ENDS = [0, 14, 23, 43, 50, 61]  # where chunks begin, and where the last one ends
# The worker that holds each chunk: dealt in turn, all with one worker, and in the reverse of the order of the runs.
PLACEMENTS = [[0, 1, 2, 0, 1], [1, 1, 1, 1, 1], [2, 2, 1, 0, 0]]
OPTIONS: dict[str, Any] = {"max_epochs": 2, "random_state": 4, "n_threads": 1}

# `wpsgd`, `average` and others whose deadline depends on the clock have no bits of their own (`Capabilities`).
ALGORITHMS: dict[str, dict[str, Any]] = {
    "ssp": {"staleness": 0, "batch_size": 4},
    "sync": {"batch_size": 4},
    "dissvrg": {"staleness": 0},
    "simuparallel": {},
    "fedavg": {},
    "map-reduce": {},
}
LOSSES: dict[str, Any] = {
    "hinge": "hinge",
    "softmax": "softmax",
    "one-vs-all": "logistic",
    "squared": "squared",
    "kmeans": KMeans(3),
    "mlp": MLP((4,)),
}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with start(WORKERS) as cluster, distributed.Client(cluster) as client:
        yield client


def rows(loss: str, sparse: bool) -> tuple[Any, NDArray[Any] | None]:
    """Return rows whose sums are inexact, so that their order shows."""
    random = np.random.default_rng(8)
    X = random.normal(size=(ENDS[-1], 6)) * (random.random((ENDS[-1], 6)) < 0.7) * random.lognormal(size=6)
    labels = random.integers(0, 2 if loss == "hinge" else 3, ENDS[-1])
    targets = 3 + random.normal(size=ENDS[-1]) + X[:, 0]
    y = {"kmeans": None, "squared": targets}.get(loss, labels)
    return scipy.sparse.csr_matrix(X) if sparse else X, y


def parts(X: Any) -> Given:
    """Return the rows that Dask's workers have: runs of chunks (`run_bounds`)."""
    spans = list(itertools.pairwise(ENDS))
    entries = [X[begin:end].nnz if scipy.sparse.issparse(X) else X[begin:end].size for begin, end in spans]
    return Given([np.arange(ENDS[i], ENDS[k]) for i, k in itertools.pairwise(run_bounds(entries, WORKERS))])


def on_dask(
    client: Any, X: Any, y: Any, holders: Sequence[int], sample_weight: Any = None, **options: Any
) -> dsgd.FitResult:
    """Scatter the chunks to the workers, and fit."""
    workers = sorted(client.scheduler_info(n_workers=-1)["workers"])

    def scattered(values: Any) -> list[Any]:
        spans = itertools.pairwise(ENDS)
        return [
            client.scatter(values[begin:end], workers=[workers[holder]], hash=False)
            for (begin, end), holder in zip(spans, holders, strict=True)
        ]

    y, sample_weight = (None if each is None else scattered(each) for each in (y, sample_weight))
    return dsgd.fit(scattered(X), y, sample_weight=sample_weight, cluster=client, **OPTIONS, **options)


def in_virtual_time(X: Any, y: Any, **options: Any) -> dsgd.FitResult:
    cluster = dsgd.Simulation(workers=WORKERS, partition=parts(X), trace=False)
    return dsgd.fit(X, y, cluster=cluster, **OPTIONS, **options)


def check_same(one: dsgd.FitResult, other: dsgd.FitResult) -> None:
    np.testing.assert_array_equal(one.model.weights, other.model.weights)
    mine, theirs = ([record.objective or np.nan for record in result.history] for result in (one, other))
    np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def trains(algo: str, loss: str) -> bool:
    return algo != "dissvrg" or loss in ("hinge", "softmax", "one-vs-all", "squared")


CASES = [
    (algo, loss, kind)
    for k, (algo, loss) in enumerate(itertools.product(ALGORITHMS, LOSSES))
    for kind in ["sparse" if k % 2 else "dense"]
    if trains(algo, loss)
]


@pytest.mark.parametrize(("algo", "loss", "kind"), CASES)
def test_bits_do_not_depend_on_where_chunks_lie(client: Any, algo: str, loss: str, kind: str) -> None:
    """The step is searched for, so that the bits of the summary of the rows count as well.

    Networks have the bits of one another, and nearly those of virtual time: one machine measures the units of
    features on 4,096 rows at most, and parts of the rows are measured whole (`Units.measure`).
    """
    X, y = rows(loss, kind == "sparse")
    options = {"algo": algo, "loss": LOSSES[loss], **ALGORITHMS[algo]}
    found = [on_dask(client, X, y, holders, **options) for holders in PLACEMENTS[algo != "ssp" :]]
    expected = in_virtual_time(X, y, **options)
    if loss == "mlp":
        np.testing.assert_allclose(found[0].model.weights, expected.model.weights, rtol=1e-9, atol=1e-12)
        expected = found[0]
    for each in found:
        check_same(each, expected)


@pytest.mark.parametrize(("algo", "loss"), list(zip(ALGORITHMS, ["softmax", *LOSSES], strict=False)))
def test_processes_have_these_bits(client: Any, algo: str, loss: str) -> None:
    X, y = rows(loss, False)
    options = {"algo": algo, "loss": LOSSES[loss], **ALGORITHMS[algo]}
    cluster = dsgd.LocalCluster(workers=WORKERS, partition=parts(X))
    check_same(on_dask(client, X, y, PLACEMENTS[0], **options), dsgd.fit(X, y, cluster=cluster, **OPTIONS, **options))


@pytest.mark.parametrize(("algo", "loss"), [("ssp", "softmax"), ("map-reduce", "squared")])
def test_weights_of_rows_and_single_precision(client: Any, algo: str, loss: str) -> None:
    X, y = rows(loss, False)
    X, weight = X.astype(np.float32), np.random.default_rng(3).uniform(0, 3, len(X)).astype(np.float32)
    options = {"algo": algo, "loss": loss, **ALGORITHMS[algo]}
    expected = in_virtual_time(X, y, sample_weight=weight, **options)
    for holders in PLACEMENTS[1:]:
        check_same(on_dask(client, X, y, holders, sample_weight=weight, **options), expected)
