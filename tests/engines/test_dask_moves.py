"""Workers of Dask that are lost in the middle of a fit, and whose rows go to others."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")

from dask_fits import start

import dsgd
import dsgd.dask
from dsgd.cluster import Given
from dsgd.dask.cluster import _Tasks

X = np.random.default_rng(3).normal(size=(90, 5))
Y = (X @ np.arange(5) > 0.3).astype(int)
OPTIONS: dict[str, Any] = {"algo": "ssp", "staleness": 0, "step_size": 0.1, "max_epochs": 40, "random_state": 4}


@pytest.mark.parametrize("killed", [0, 1, 2])
@pytest.mark.parametrize("server", ["client", "worker"])
def test_the_rows_of_a_killed_worker_go_to_another_one_with_the_same_bits(server: str, killed: int) -> None:
    """Wherever the parameter server is: one of the three has it, if a worker has it."""
    chunks = (30, 30, 30)
    data = da.from_array(X, chunks=(chunks, (5,))), da.from_array(Y, chunks=(chunks,))
    with (
        start(3) as cluster,
        distributed.Client(cluster) as client,
    ):
        data = tuple(each.persist() for each in data)
        distributed.wait(data)
        pids = list(client.run(os.getpid).values())

        def kill(record: Any, model: Any) -> None:
            if record.epoch == 3 and pids:
                os.kill(pids[killed], signal.SIGKILL)
                pids.clear()

        where = dsgd.dask.DaskCluster(client, server=server, restart_workers=1, checkpoint_every=2)
        moved = dsgd.fit(*data, cluster=where, callbacks=[kill], eval_set=data, **OPTIONS)
    assert not pids
    parts = [np.arange(30 * k, 30 * k + 30) for k in range(3)]
    same = dsgd.fit(X, Y, cluster=dsgd.LocalCluster(workers=3, partition=Given(parts)), eval_set=(X, Y), **OPTIONS)
    np.testing.assert_array_equal(moved.model.weights, same.model.weights)
    assert [record.score for record in moved.history][-1] == [record.score for record in same.history][-1]


def test_a_try_at_a_worker_that_the_scheduler_still_counts_leaves_time_for_another_worker() -> None:
    """The first worker has died unnoticed: Dask dials it for longer than a server may take to start."""
    addresses, left = iter(["tcp://dead", "tcp://alive"]), 30.0
    tried: list[str] = []

    def sync(*told: Any, workers: list[str], callback_timeout: float) -> None:
        nonlocal left
        tried.append(*workers)
        left -= callback_timeout
        if workers == ["tcp://dead"]:
            raise TimeoutError(f"timed out after {callback_timeout} s.")

    tasks: Any = SimpleNamespace(
        _client=SimpleNamespace(sync=sync, _run=None),
        _cluster=SimpleNamespace(server="worker"),
        _gate=SimpleNamespace(address=("127.0.0.1", 1), token=b""),
        _server_address=lambda _shard: next(addresses),
    )
    _Tasks.start_server(tasks, 0, "server, order 1")
    assert tried == ["tcp://dead", "tcp://alive"]
    assert left > 0.0


def test_a_worker_that_stands_still_is_named_and_the_others_go_on() -> None:
    data = da.from_array(X, chunks=(30, 5)), da.from_array(Y, chunks=30)
    options: dict[str, Any] = {**OPTIONS, "staleness": 3, "max_epochs": 2000, "evaluate_every": 20}
    with (
        start(3) as cluster,
        distributed.Client(cluster) as client,
    ):
        pids = client.run(os.getpid)
        stopped = sorted(pids)[1]

        def stop(record: Any, model: Any) -> None:
            if len(seen) == 0:
                os.kill(pids[stopped], signal.SIGSTOP)
            seen.append(record.epoch)

        seen: list[int] = []
        where = dsgd.dask.DaskCluster(client, server="client", heartbeat_deadline=2.0)
        try:
            with pytest.warns(RuntimeWarning, match=stopped):
                result = dsgd.fit(*data, cluster=where, callbacks=[stop], **options)
        finally:
            os.kill(pids[stopped], signal.SIGKILL)
    assert np.isfinite(result.model.weights).all()
    assert seen[-1] == 2000
