"""`dsgd.fit` with a client of Dask; the numbers of lessons are those of `test_dask_lessons.py`."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")

from dask_fits import PARTS, start

import dsgd
import dsgd.dask
from dsgd.cluster import Given
from dsgd.cluster.remote.node import serve_node
from dsgd.errors import DataError, WorkerLostError

OPTIONS: dict[str, Any] = {"max_epochs": 3, "random_state": 4, "n_threads": 1, "step_size": 0.1, "schedule": "constant"}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with start() as cluster, distributed.Client(cluster) as client:
        yield client


def rows(n_classes: int = 2) -> tuple[Any, Any]:
    random = np.random.default_rng(8)
    X = random.normal(size=(60, 5)) * (random.random((60, 5)) < 0.6)
    return X, random.integers(0, n_classes, 60)


def on_processes(X: Any, y: Any, **options: Any) -> dsgd.FitResult:
    return dsgd.fit(X, y, cluster=dsgd.LocalCluster(workers=2, partition=Given(PARTS)), **OPTIONS, **options)


def check_same(one: dsgd.FitResult, other: dsgd.FitResult) -> None:
    np.testing.assert_array_equal(one.model.weights, other.model.weights)
    mine, theirs = ([record.objective or np.nan for record in result.history] for result in (one, other))
    np.testing.assert_allclose(mine, theirs, rtol=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"algo": "ssp", "staleness": 0, "loss": "hinge"},
        {"algo": "ssp", "staleness": 0, "loss": "softmax"},
    ],
    ids=str,
)
def test_a_barrier_algorithm_has_the_bits_of_local_processes(client: Any, options: dict[str, Any]) -> None:
    X, y = rows(3 if options["loss"] == "softmax" else 2)
    on_dask = dsgd.fit(
        da.from_array(X, chunks=((35, 25), (5,))),
        da.from_array(y, chunks=((35, 25),)),
        cluster=client,
        **OPTIONS,
        **options,
    )
    check_same(on_dask, on_processes(X, y, **options))


@pytest.mark.parametrize("kind", [scipy.sparse.csr_matrix, scipy.sparse.csr_array])
def test_chunks_may_be_sparse(client: Any, kind: Any) -> None:
    X, y = rows()
    chunks = [dask.delayed(kind(X[each])) for each in PARTS]
    labels = [dask.delayed(y[each]) for each in PARTS]
    options: dict[str, Any] = {"algo": "ssp", "staleness": 0, "loss": "logistic"}
    check_same(dsgd.fit(chunks, labels, cluster=client, **OPTIONS, **options), on_processes(kind(X), y, **options))


def test_lesson_05_chunks_without_rows_and_workers_without_chunks_do_no_harm(client: Any) -> None:
    X, y = rows()
    chunks, labels = [dask.delayed(X), dask.delayed(X[:0])], [dask.delayed(y), dask.delayed(y[:0])]
    result = dsgd.fit(chunks, labels, cluster=client, algo="ssp", staleness=0, loss="logistic", **OPTIONS)
    first, last = result.history[0].objective, result.history[-1].objective
    assert first is not None
    assert last is not None
    assert last < first


def test_lesson_12_chunks_that_differ_are_refused(client: Any) -> None:
    X, y = rows()
    chunks, labels = [dask.delayed(X[each]) for each in PARTS], [dask.delayed(y[:30]), dask.delayed(y[30:])]
    with pytest.raises(DataError, match=r"35 rows.* 30"):
        dsgd.fit(chunks, labels, cluster=client, algo="ssp", staleness=0, **OPTIONS)


@pytest.mark.parametrize("server", ["worker", "scheduler"])
def test_lesson_07_a_client_may_know_the_scheduler_by_a_name(client: Any, server: str) -> None:
    X, y = rows()
    chunks, labels = [dask.delayed(X[each]) for each in PARTS], [dask.delayed(y[each]) for each in PARTS]
    options: dict[str, Any] = {"algo": "ssp", "staleness": 0, "loss": "logistic"}
    with distributed.Client(client.scheduler.address.replace("127.0.0.1", "localhost"), set_as_default=False) as named:
        result = dsgd.fit(chunks, labels, cluster=dsgd.dask.DaskCluster(named, server=server), **OPTIONS, **options)
    check_same(result, on_processes(X, y, **options))


def test_lesson_02_a_worker_that_is_killed_in_a_barrier_is_named() -> None:
    X, y = rows()
    options = {**OPTIONS, "max_epochs": 100_000}
    with start() as cluster, distributed.Client(cluster) as client:
        address, pid = next(iter(client.run(os.getpid).items()))

        def kill(record: Any, model: Any) -> None:
            if len(killed) == 0:
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

        killed: list[int] = []
        chunks, labels = [dask.delayed(X[each]) for each in PARTS], [dask.delayed(y[each]) for each in PARTS]
        with pytest.raises(WorkerLostError, match=address):
            dsgd.fit(chunks, labels, cluster=client, algo="ssp", staleness=0, callbacks=[kill], **options)


def test_workers_read_shards_of_files_themselves(client: Any, tmp_path: Path) -> None:
    X, y = rows()
    X[:, 4] = 0.0
    X[59, 4] = 1.0  # only the last shard has the last feature
    path = tmp_path / "train.svm"
    dsgd.data.save_libsvm(path, scipy.sparse.csr_array(X), y)
    options: dict[str, Any] = {**OPTIONS, "algo": "ssp", "staleness": 0, "loss": "logistic"}
    result = dsgd.fit(dsgd.data.read_libsvm_files([path], n_parts=3), cluster=client, **options)
    assert result.index_base == "one"
    assert result.model.weights.shape == (1, 6)
    whole = dsgd.fit([dask.delayed(scipy.sparse.csr_array(X))], [dask.delayed(y)], cluster=client, **options)
    mine, all_rows = result.history[-1].objective, whole.history[-1].objective
    assert mine is not None
    assert all_rows is not None
    assert abs(mine - all_rows) < 0.05


@pytest.mark.parametrize(("asked", "used"), [(None, 1), (3, 3)])
def test_workers_train_on_the_threads_that_are_asked_for(
    asked: int | None, used: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers are threads of this process, so that what they are told can be seen."""
    told: list[int] = []

    def serve(*args: Any, n_threads: int, **options: Any) -> None:
        told.append(n_threads)
        serve_node(*args, n_threads=n_threads, **options)

    monkeypatch.setattr("dsgd.dask.node.serve_node", serve)
    X, y = rows()
    options: dict[str, Any] = {**OPTIONS, "n_threads": asked, "algo": "ssp", "staleness": 0}
    data = [dask.delayed(X[each]) for each in PARTS], [dask.delayed(y[each]) for each in PARTS]
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as own,
    ):
        dsgd.fit(*data, cluster=own, **options)
    assert told == [used, used]
