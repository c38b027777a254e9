"""Distributed algorithms on Dask beside one machine, on real data; bench/engines/dask_accuracy.py measures more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

distributed = pytest.importorskip("distributed")

from dask_fits import start

import dsgd
from common.real_sets import Parts
from dsgd.losses import KMeans

WORKERS = 4
OPTIONS: dict[str, Any] = {"max_epochs": 5, "random_state": 0, "n_threads": 1, "evaluate_every": 5}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with start(WORKERS) as cluster, distributed.Client(cluster) as client:
        yield client


def on_dask(client: Any, X: Any, y: Any, **options: Any) -> dsgd.FitResult:
    """Fit on eight chunks, which the scheduler deals to the workers."""
    parts = np.array_split(np.arange(X.shape[0]), 8)
    chunks, labels = (
        None if each is None else [client.scatter(each[part], hash=False) for part in parts] for each in (X, y)
    )
    return dsgd.fit(chunks, labels, cluster=client, **OPTIONS, **options)


# Not `wpsgd`, `asgd`, and `dissvrg` with stale workers: how far the workers are apart depends on what else the machine
# does, and so does their accuracy, by up to a point.
@pytest.mark.parametrize(
    ("algo", "own"), [("ssp", {}), ("sync", {}), ("dissvrg", {"staleness": 0}), ("downpour", {}), ("fedavg", {})]
)
def test_reuters_is_learnt_as_on_one_machine(
    client: Any, real_set: Callable[[str], Parts], algo: str, own: dict[str, Any]
) -> None:
    X, y, X_test, y_test, _ = real_set("reuters").binary()
    alone = dsgd.fit(X, y, algo="sgd", loss="hinge", **OPTIONS).score(X_test, y_test)
    assert on_dask(client, X, y, algo=algo, loss="hinge", **own).score(X_test, y_test) >= alone - 0.003


@pytest.mark.parametrize("algo", ["ssp", "downpour"])
def test_clusters_are_found_as_on_one_machine(client: Any, real_set: Callable[[str], Parts], algo: str) -> None:
    X = real_set("mnist").X[:20_000]
    alone = dsgd.fit(X, algo="minibatch", loss=KMeans(10), **OPTIONS).history[-1].objective
    there = on_dask(client, X, None, algo=algo, loss=KMeans(10)).history[-1].objective
    assert alone is not None
    assert there is not None
    assert there <= 1.01 * alone
