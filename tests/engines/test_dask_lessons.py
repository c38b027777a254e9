"""Fifteen lessons of other engines (reports of failures of XGBoost, LightGBM, cuML and Dask), by their number.

`grep -rn test_lesson_ tests` also finds 2, 5, 7 and 12 in `test_dask_fit.py`, and what 1, 3, 13 and 15 say of the
placement of chunks alone in `test_dask_placement.py`.
"""

from __future__ import annotations

import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
psutil = pytest.importorskip("psutil")

from dask_fits import LIMIT, LONG, PARTS, X, Y, chunks, dask_fit, kill, local_fit, start, wait_until
from local.programs import Failing
from wire import free_port, watched_wire

import dsgd
import dsgd.dask.chunks
from dsgd.dask import DaskCluster
from dsgd.dask.chunks import living
from dsgd.errors import ClusterError, DataError, WorkerLostError


@pytest.fixture(scope="module")
def shared() -> Iterator[Any]:
    with start() as cluster, distributed.Client(cluster) as client:
        yield client


@pytest.fixture
def client(shared: Any) -> Any:
    """A client whose two workers are there, also after a test that has killed one."""
    shared.wait_for_workers(2, timeout=LIMIT)
    return shared


@pytest.mark.parametrize("scattered", [True, False], ids=["scattered", "computed there"])
def test_lesson_01_a_worker_that_left_with_data_before_the_fit_is_named(
    client: Any, scattered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dsgd.dask.chunks, "_PATIENCE", 0.2)
    lost, other = living(client)
    if scattered:
        held = client.scatter([X[part] for part in PARTS], workers=[lost], hash=False)
    else:
        held = [client.submit(X.__getitem__, part, workers=[lost], pure=False) for part in PARTS]
        distributed.wait(held, timeout=LIMIT)
    labels = client.scatter([Y[part] for part in PARTS], workers=[other], hash=False)
    kill(client, lost)
    wait_until(lambda: lost not in living(client), "the scheduler notices")
    with pytest.raises(WorkerLostError, match=lost):
        dask_fit(client, (held, labels))


def test_lesson_02_the_others_go_on_without_a_worker_that_is_killed(client: Any) -> None:
    """A barrier of the same kind ends with an error: `test_dask_fit.py`."""
    lost = living(client)[1]
    records: list[Any] = []

    def look(record: Any, model: Any) -> bool:
        records.append(record)
        if len(records) == 1:
            kill(client, lost)
        return len(warned) > 0 and min(record.clocks) + 20 < max(record.clocks)

    cluster = DaskCluster(client, server="client", heartbeat_deadline=2.0)
    with pytest.warns(RuntimeWarning, match=f"{lost}.*the others go on without its rows") as warned:
        result = dask_fit(cluster, staleness=math.inf, callbacks=[look], **LONG)
    assert result.stop_reason == "callback"
    assert np.isfinite(result.model.weights).all()


def test_lesson_03_a_scheduler_that_stands_still_does_not_hold_up_a_fit(tmp_path: Path) -> None:
    """Nor does it hold up the driver before: `test_dask_placement.py`."""
    file = tmp_path / "scheduler.json"
    common = ["--no-dashboard", "--scheduler-file", str(file), "--host", "127.0.0.1"]

    def cli(name: str, *more: str) -> Any:
        command = [sys.executable, "-m", f"distributed.cli.dask_{name}", *common, *more]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    with cli("scheduler", "--port", "0") as scheduler, cli("worker", "--no-nanny") as worker:
        try:
            with distributed.Client(scheduler_file=str(file), set_as_default=False, timeout=LIMIT) as client:
                client.wait_for_workers(1, timeout=LIMIT)
                stopped: list[Any] = []

                def stop(record: Any, model: Any) -> None:
                    if not stopped:
                        psutil.Process(scheduler.pid).suspend()
                    stopped.append(record)

                assert dask_fit(client, callbacks=[stop]).stop_reason == "max_epochs"
                assert len(stopped) == 3
                psutil.Process(scheduler.pid).resume()
        finally:
            worker.kill()
            scheduler.kill()


def test_lesson_04_two_fits_at_once_on_the_same_workers_finish(client: Any) -> None:
    """They have one thread each. The fits meet: each waits in a callback until the other one has begun."""
    results: dict[int, Any] = {}
    meeting = threading.Barrier(2, timeout=LIMIT)

    def meet(record: Any, model: Any) -> None:
        if record.epoch == 1:
            meeting.wait()

    def fit(number: int) -> None:
        with distributed.Client(client.scheduler.address, set_as_default=False) as own:
            results[number] = dask_fit(own, random_state=number, callbacks=[meet])

    threads = [threading.Thread(target=fit, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in (1, 2):
        np.testing.assert_array_equal(results[number].model.weights, local_fit(random_state=number).model.weights)


def test_lesson_06_the_port_may_be_named_or_a_range_and_a_clash_is_said(client: Any) -> None:
    port = free_port()
    seen: list[int] = []

    def look(record: Any, model: Any) -> None:
        seen.extend(each.laddr.port for each in psutil.Process().net_connections("tcp") if each.status == "LISTEN")

    dask_fit(DaskCluster(client, port=port), callbacks=[look])
    assert port in seen
    message = f"cannot listen at 127.0.0.1, port {port}: .*in use; name another port, or 0 for any"
    with watched_wire(("127.0.0.1", port), ("127.0.0.1", 1)):
        with pytest.raises(ClusterError, match=message):
            dask_fit(DaskCluster(client, port=port))
        seen.clear()
        dask_fit(DaskCluster(client, port=(port, port + 20)), callbacks=[look])
        assert seen
        assert set(seen) & set(range(port + 1, port + 21))


@pytest.mark.parametrize("bind", ["127.0.0.1", "0.0.0.0"])
def test_lesson_07_the_address_that_is_told_is_not_the_one_that_is_bound(client: Any, bind: str) -> None:
    told, port = "127.0.0.9", free_port()
    if bind == "127.0.0.1":  # nobody listens at the address that is told but a wire to the other one
        with watched_wire((told, port), (bind, port)) as wire:
            dask_fit(DaskCluster(client, bind=bind, port=port, advertise=told, server="client"))
        assert len(wire) >= 2 * len(PARTS)
    else:
        dask_fit(DaskCluster(client, bind=bind, port=port))


def test_lesson_08_workers_only_dial_out_and_one_port_is_enough(client: Any) -> None:
    """No connection that a fit opens ends at a port of a worker; all end at the one port of the driver."""
    port = free_port()

    def connections() -> tuple[set[int], set[tuple[int, int]]]:
        """Return the ports at which this process listens, and all its connections: its own port, and the other one."""
        found = psutil.Process().net_connections("tcp")
        pairs = {(each.laddr.port, each.raddr.port) for each in found if each.raddr}
        return {each.laddr.port for each in found if each.status == "LISTEN"}, pairs

    def look(record: Any, model: Any) -> bool:
        during.append(client.run(connections))
        return True  # the fit would last much longer, so that all workers are in the middle of it

    before, during = client.run(connections), list[Any]()
    dask_fit(DaskCluster(client, port=port, server="client"), callbacks=[look], **LONG)
    for worker, (listening, pairs) in during[0].items():
        new = pairs - before[worker][1]
        assert len([theirs for _, theirs in new if theirs == port]) >= 2  # of the node and the parameters
        assert not [own for own, _ in new if own in listening - before[worker][0]]


def test_lesson_09_loopback_and_other_addresses_in_one_cluster_are_refused_at_once(client: Any) -> None:
    command = [sys.executable, "-m", "distributed.cli.dask_worker", client.scheduler.address, "--no-nanny"]
    command += ["--no-dashboard", "--listen-address", "tcp://127.0.0.1:0", "--contact-address", "tcp://10.9.8.7:4321"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as worker:
        try:
            wait_until(lambda: "tcp://10.9.8.7:4321" in living(client), "the worker joins")
            with pytest.raises(ClusterError, match=r"127\.0\.0\.1.*10\.9\.8\.7"):
                dask_fit(client)
        finally:
            worker.kill()
    wait_until(lambda: len(living(client)) == 2, "the worker leaves")


def test_lesson_10_the_decision_to_stop_is_made_once(client: Any, caplog: pytest.LogCaptureFixture) -> None:
    options: dict[str, Any] = {"max_epochs": 5000, "tol": 1e-2, "patience": 2}
    on_dask, here = dask_fit(client, **options), local_fit(**options)
    assert on_dask.stop_reason == here.stop_reason == "tol"
    assert [record.epoch for record in on_dask.history] == [record.epoch for record in here.history]
    np.testing.assert_array_equal(on_dask.model.weights, here.model.weights)
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]
    assert "Errno 104" not in str(client.get_worker_logs())


def test_lesson_11_metrics_are_those_of_all_rows(client: Any) -> None:
    """Each worker has the rows of one label only, so that its own metrics would be quite other ones."""
    order = np.argsort(Y, kind="stable")
    cut = int((Y == 0).sum())
    data = [[dask.delayed(each[order[:cut]]), dask.delayed(each[order[cut:]])] for each in (X, Y)]
    options: dict[str, Any] = {"alpha": 1e-2, "fit_intercept": False}
    result = dask_fit(client, data, eval_set=tuple(data), **options)
    weights = result.model.weights.ravel()
    margins = X @ weights
    objective = np.log1p(np.exp(-(2 * Y - 1) * margins)).mean() + 1e-2 / 2 * weights @ weights
    assert result.history[-1].objective == pytest.approx(objective, rel=1e-12)
    assert result.history[-1].score == pytest.approx(((margins > 0) == Y).mean(), rel=1e-12)


ROWS, COLUMNS = 40_000, 500  # 160 MB


def make_rows(number: int, n_chunks: int) -> Any:
    return np.random.default_rng(number).random((ROWS // n_chunks, COLUMNS))


def make_labels(number: int, n_chunks: int) -> Any:
    return np.arange(ROWS // n_chunks) % 2


def peak_memory() -> int:
    """Return the most memory that this process ever had, in bytes."""
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


@pytest.mark.parametrize("n_chunks", [1, 20])
def test_lesson_13_a_worker_needs_little_more_memory_than_its_rows(n_chunks: int) -> None:
    with start(1) as cluster, distributed.Client(cluster) as client:
        (before,) = client.run(peak_memory).values()
        data = [
            [dask.delayed(make)(number, n_chunks) for number in range(n_chunks)] for make in (make_rows, make_labels)
        ]
        dask_fit(client, data, max_epochs=1)
        (peak,) = client.run(peak_memory).values()
    part = ROWS * (COLUMNS + 1) * 8
    assert before < 150e6
    assert part < peak <= 1.3 * part + 150e6


def test_lesson_14_the_bits_are_the_same_wherever_the_chunks_lie(client: Any) -> None:
    a, b = living(client)
    kinds: list[Callable[[], Any]] = [chunks]
    for first, second in ((a, b), (b, a), (a, a), (b, b)):
        places = [first, second]

        def held(places: list[str] = places) -> Any:
            return [
                [client.scatter(each[part], workers=[at], hash=False) for part, at in zip(PARTS, places, strict=True)]
                for each in (X, Y)
            ]

        kinds.append(held)
    expected = local_fit().model.weights
    for make in kinds:
        np.testing.assert_array_equal(dask_fit(client, make()).model.weights, expected)


@pytest.mark.parametrize("kind", [ClusterError, DataError])
def test_lesson_15_the_traceback_of_a_worker_reaches_the_caller(client: Any, kind: type[Exception]) -> None:
    name = {ClusterError: "ZeroDivisionError", DataError: "DataError"}[kind]
    with pytest.raises(kind, match="this row is odd") as caught:
        dsgd.fit(*chunks(), cluster=client, algo=Failing(error=name), loss="logistic", max_epochs=3)
    (note,) = caught.value.__notes__
    assert any(note.startswith(f"in worker 1 at {worker}") for worker in living(client))
    assert "programs.py" in note
    assert "in worker\n" in note
    assert note.rstrip().endswith("this row is odd")


def test_lesson_15_the_error_of_a_kernel_and_its_traceback_reach_the_caller(client: Any) -> None:
    spoilt = X.copy()
    spoilt[40, 2] = np.nan
    with pytest.raises(DataError, match="nan") as caught:
        dask_fit(client, chunks(spoilt))
    assert "Matrix.dense" in caught.value.__notes__[0]


def test_lesson_15_progress_arrives_while_the_fit_runs(client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Each record arrives before the worker could have known that it is the last one."""
    seen: list[tuple[Any, float]] = []

    def look(record: Any, model: Any) -> bool:
        seen.append((record, time.perf_counter()))
        return len(seen) == 5

    result = dask_fit(client, callbacks=[look], progress=True, **LONG)
    assert result.stop_reason == "callback"
    assert [record.epoch for record, _ in seen] == [20, 40, 60, 80, 100]
    assert [record for record, _ in seen] == list(result.history)
    assert "clock" in capsys.readouterr().err
