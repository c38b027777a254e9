"""Fits on Dask that end early, lose workers, run inside tasks or behind TLS, and what can be seen of them."""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")

from dask_fits import (
    LIMIT,
    LONG,
    WORDS,
    dask_fit,
    local_fit,
    own_threads,
    start,
    wait_until,
)
from network.certificates import Authority
from replayed import replayed
from wire import free_port, watched_wire

import dsgd.cluster.remote.server_host
import dsgd.dask.node
from dsgd.cluster import Trace
from dsgd.cluster import fit as on_cluster
from dsgd.cluster.local.run import LocalRun
from dsgd.cluster.remote.server_host import serve_shard
from dsgd.cluster.runtime.run_spec import RunSpec
from dsgd.dask import DaskCluster
from dsgd.dask.chunks import living
from dsgd.dask.node import certificates
from dsgd.errors import ClusterError, WorkerLostError


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with start() as cluster, distributed.Client(cluster) as client:
        yield client


def test_the_bits_do_not_depend_on_where_the_parameter_server_is(client: Any) -> None:
    expected = local_fit().model.weights
    for place in ("client", "scheduler", "worker", *living(client)):
        where: dict[str, int] = {}

        def look(record: Any, model: Any, where: dict[str, int] = where) -> None:
            where["client"] = _servers()
            where["scheduler"] = client.run_on_scheduler(_servers)
            where.update(client.run(_servers))

        result = dask_fit(DaskCluster(client, server=place), callbacks=[look])
        np.testing.assert_array_equal(result.model.weights, expected)
        # LocalCluster's scheduler runs in the process of the client.
        at = {place} if "://" in place else set(living(client)) if place == "worker" else {"client", "scheduler"}
        assert sum(where[each] for each in where if each != "client") == (place != "client" or 1)
        assert {each for each, n in where.items() if n} <= at


def _servers() -> int:
    return sum(thread.name in ("dsgd-server", "dsgd-server 0") for thread in threading.enumerate())


def test_fits_inside_tasks_finish_where_each_worker_has_one_thread(client: Any) -> None:
    """One on each worker, so that no thread is left for the tasks of the fits unless both leave their places."""

    def fit(number: int) -> Any:
        return dask_fit(distributed.get_client(), random_state=number).model.weights

    tasks = [client.submit(fit, k, workers=[worker], pure=False) for k, worker in enumerate(living(client))]
    for number, task in enumerate(tasks):
        expected = local_fit(random_state=number).model.weights
        np.testing.assert_array_equal(task.result(timeout=LIMIT), expected)


def test_ctrl_c_ends_the_threads_on_the_workers(client: Any) -> None:
    seen: list[set[str]] = []

    def interrupt(record: Any, model: Any) -> None:
        seen.append(own_threads(client))
        raise KeyboardInterrupt

    with pytest.warns(RuntimeWarning, match="interrupted"):
        result = dask_fit(client, callbacks=[interrupt], **LONG)
    assert "dsgd-worker" in seen[0]
    assert len(result.history) == 1
    wait_until(lambda: not own_threads(client), "the threads end")


def test_a_client_that_is_closed_ends_its_fit(client: Any) -> None:
    own = distributed.Client(client.scheduler.address, set_as_default=False)
    closing: list[threading.Thread] = []

    def close(record: Any, model: Any) -> None:
        if not closing:
            closing.append(threading.Thread(target=own.close))
            closing[0].start()

    with pytest.raises(ClusterError, match="Dask client is clos"):
        dask_fit(own, callbacks=[close], **LONG)
    closing[0].join()
    wait_until(lambda: not own_threads(client), "the threads end")


def test_a_cluster_that_shrinks_and_a_worker_that_is_retired() -> None:
    """Without a barrier the fit goes on without the rows of the lost worker, and with one it ends."""
    with start() as cluster, distributed.Client(cluster) as client:
        steps: list[Any] = []

        def shrink(record: Any, model: Any) -> bool:
            if not steps:
                cluster.scale(1)
            steps.append(record)
            return len(warned) > 0 and min(record.clocks) + 20 < max(record.clocks)

        elastic = DaskCluster(client, server="client", heartbeat_deadline=2.0)
        with pytest.warns(RuntimeWarning, match="the others go on without its rows") as warned:
            result = dask_fit(elastic, staleness=math.inf, callbacks=[shrink], **LONG)
        assert result.stop_reason == "callback"
        assert len(living(client)) == 1
        assert dask_fit(client).stop_reason == "max_epochs"  # with all rows on the one that is left

        cluster.scale(2)
        client.wait_for_workers(2, timeout=LIMIT)
        retired = living(client)[0]
        retiring = threading.Thread(target=client.retire_workers, args=([retired],))

        def retire(record: Any, model: Any) -> None:
            if retiring.ident is None:
                retiring.start()

        with pytest.raises(WorkerLostError, match=retired):
            dask_fit(DaskCluster(client, server="client"), callbacks=[retire], **LONG)
        retiring.join()
        assert living(client) != [retired]
        wait_until(lambda: not own_threads(client), "the threads end")


def test_a_worker_that_stands_still_in_a_barrier_is_named() -> None:
    """The parameter server notices it, which knows the number of the worker only."""
    with start() as cluster, distributed.Client(cluster) as client:
        worker = living(client)[1]
        pid = client.run(os.getpid, workers=[worker])[worker]

        def stop(record: Any, model: Any) -> None:
            os.kill(pid, signal.SIGSTOP)

        try:
            with pytest.raises(WorkerLostError, match=f"{worker} .*is lost.*silent") as caught:
                dask_fit(DaskCluster(client, server="client", heartbeat_deadline=2.0), callbacks=[stop], **LONG)
            assert f"worker {caught.value.worker} at {worker}" in str(caught.value)
        finally:
            os.kill(pid, signal.SIGCONT)


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Any]:
    """A client of a cluster with TLS, whose certificates are texts, as those of `Security.temporary`."""
    files = Authority(tmp_path).sign("all")
    texts = {name: Path(path).read_text() for name, path in files.items()}
    own = {"cert": "certificate", "key": "key"}
    security = distributed.Security(
        require_encryption=True,
        tls_ca_file=texts["authority"],
        **{f"tls_{role}_{of}": texts[name] for role in ("client", "worker", "scheduler") for of, name in own.items()},
    )
    with start(security=security) as cluster, distributed.Client(cluster) as client:
        assert client.scheduler.address.startswith("tls://")
        yield client


def test_the_connections_have_the_tls_of_the_client(client: Any, secure: Any) -> None:
    """All bytes after the preface are records of TLS; without it the words of both sides can be read."""

    def passed(client: Any) -> list[list[bytes]]:
        port = free_port()
        with watched_wire(("127.0.0.9", port), ("127.0.0.1", port)) as wire:
            cluster = DaskCluster(client, server="client", port=port, bind="127.0.0.1", advertise="127.0.0.9")
            np.testing.assert_array_equal(dask_fit(cluster).model.weights, expected)
        return wire

    expected = local_fit().model.weights
    plain, hidden = (b"".join(b"".join(each) for each in passed(each)) for each in (client, secure))
    assert all(word in plain for word in WORDS)
    assert not any(word in hidden for word in WORDS)
    for there, back in passed(secure):
        for data in (there.removeprefix(b"dsgd gate\n"), back):
            assert _are_records(data), data[:80]


def test_the_parameter_server_has_the_certificate_of_its_process(secure: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler of a `LocalCluster` runs in this process."""
    roles: list[str] = []

    def watched(security: Any, role: str, address: str) -> Any:
        roles.append(role)
        return certificates(security, role, address)

    monkeypatch.setattr(dsgd.dask.node, "certificates", watched)
    expected = local_fit().model.weights
    for place in ("worker", "scheduler"):
        np.testing.assert_array_equal(dask_fit(DaskCluster(secure, server=place)).model.weights, expected)
    assert roles == ["scheduler"]


def test_a_parameter_server_whose_run_has_ended_gives_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(dsgd.cluster.remote.server_host, "_PATIENCE", 0.2)
    serve_shard(("127.0.0.1", free_port()), 0, "server", token=b"x" * 32, bind="127.0.0.1")
    assert "server 0 has not reached its driver" in caplog.text


def _are_records(data: bytes) -> bool:
    """Return whether bytes are whole records of TLS: a kind, two bytes of a version, two of a length, the content."""
    at = 0
    while at < len(data):
        if not (20 <= data[at] <= 23 and data[at + 1] == 3):
            return False
        at += 5 + int.from_bytes(data[at + 3 : at + 5], "big")
    return at == len(data)


def test_the_scheduler_sees_the_tasks_of_a_fit(client: Any) -> None:
    seen: list[dict[str, Any]] = []
    dask_fit(client, callbacks=[lambda *_: seen.append(client.processing())])
    for processing in seen:
        assert set(processing) == set(living(client))
        for keys in processing.values():
            assert [key.rpartition("-")[0].split("-")[0] for key in keys] == ["serve_rows"]
    wait_until(lambda: not any(client.processing().values()), "the tasks end")


def test_a_trace_of_dask_replays_in_simulation_to_the_same_weights(
    client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The programs get the answers that they had, and a simulated server what they say, in the order that it had."""
    given: list[RunSpec] = []

    class Watched(LocalRun):
        def __init__(self, config: Any, assignment: RunSpec, *more: Any) -> None:
            given.append(assignment)
            super().__init__(config, assignment, *more)

    monkeypatch.setattr(on_cluster, "LocalRun", Watched)
    local_fit(staleness=3, max_epochs=30)  # for the specification of a run on these rows
    cluster = DaskCluster(client, order=True, trace=True, record_answers=True)
    result = dask_fit(cluster, staleness=3, max_epochs=30)
    assert result.trace is not None
    result.trace.save(tmp_path / "trace")
    trace = Trace.load(tmp_path / "trace")
    trace.check()
    n_commands, weights = replayed(given[0], trace)
    assert n_commands == 2 * 3 * given[0].max_clocks
    np.testing.assert_array_equal(weights, result.model.weights[0])
