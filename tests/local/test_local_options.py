"""Options of a local cluster: each changes something; what is impossible is refused."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from leftovers import children_of
from local.fits import X, Y, local_fit, simulated_fit
from local.programs import Failing, Mortal

import dsgd
from dsgd.algorithms import DisSvrg, Ssp, Sync
from dsgd.cluster import Given, Kind, LocalCluster, Shares
from dsgd.cluster import fit as on_cluster
from dsgd.cluster.local.run import LocalRun
from dsgd.cluster.runtime import checkpoint
from dsgd.cluster.runtime.checkpoint import About, Checkpoint
from dsgd.errors import ClusterError, ConfigError, DataError, DeadlineError, WorkerLostError
from dsgd.schedules import Constant

BARRIER = Ssp(staleness=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be an integer from 1 to 1024, not 0"),
        ({"servers": 0}, "servers must be"),
        ({"speeds": [1.0]}, "speeds has 1 elements for 4 workers"),
        ({"speeds": {4: 0.5}}, "speeds names worker 4; there are 0 to 3"),
        ({"speeds": 2.0}, "speeds must be a finite number above 0 and at most 1, not 2.0"),
        ({"speeds": 0}, "speeds must be"),
        ({"checkpoint_every": 0}, "checkpoint_every must be"),
        ({"checkpoint": "x"}, "checkpoint needs checkpoint_every"),
        ({"checkpoint": 3, "checkpoint_every": 1}, "checkpoint must be a path, not 3"),
        ({"on_lost": "panic"}, "unknown on_lost 'panic'"),
        ({"heartbeat_deadline": 0}, "heartbeat_deadline must be"),
        ({"wire_dtype": "float8"}, "unknown wire_dtype 'float8'; did you mean"),
        ({"tls": 1}, "tls must be True or False, not 1"),
        ({"record_answers": True}, "record_answers needs trace=True"),
        ({"log_dir": "/no/such/folder"}, "is not a folder"),
        ({"proxy": ("127.0.0.1", 80)}, r"proxy must be a dsgd.testing.Proxy, not \('127.0.0.1', 80\)"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LocalCluster(**options)


class Local(Ssp):
    """In a module that worker processes can import."""


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"algo": "sgd", "cluster": None, "workers": 2}, ConfigError, "leave out cluster and workers"),
        ({"algo": "ssp", "cluster": None}, ConfigError, "needs workers=4"),
        ({"algo": "ssp", "cluster": LocalCluster(workers=2), "workers": 3}, ConfigError, "but the cluster has 2"),
        ({"algo": "ssp", "cluster": None, "workers": 0}, ConfigError, "workers must be"),
        ({"algo": "ssp", "cluster": None, "workers": 241}, ConfigError, "241 workers for 240 samples"),
        ({"algo": "ssp", "cluster": LocalCluster(resume="/no/such")}, FileNotFoundError, "no/such"),
        ({"algo": "ssp", "cluster": LocalCluster(resume=__file__)}, DataError, "is not a checkpoint of dsgd"),
    ],
)
def test_impossible_fits_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        dsgd.fit(X, Y, **options)


def test_a_class_that_no_other_process_can_import_is_refused() -> None:
    class Hidden(Ssp):
        pass

    with pytest.raises(ConfigError, match="Hidden is defined in a script or a function"):
        local_fit(algo=Hidden())


def test_speeds_are_of_all_of_each_or_of_those_that_are_named() -> None:
    assert LocalCluster(workers=2, speeds=0.5).worker_speeds() == [0.5, 0.5]
    assert LocalCluster(workers=2, speeds=(1, 0.5)).worker_speeds() == [1.0, 0.5]
    assert LocalCluster(workers=3, speeds={1: 0.5}).worker_speeds() == [1.0, 0.5, 1.0]


def test_the_wire_has_options() -> None:
    """Shorter values are fewer bytes and other weights; checksums and encryption change neither."""
    options: list[dict[str, Any]] = [{"wire_dtype": "float16"}, {}, {"payload_checksum": True}, {"tls": True}]
    results = [local_fit(cluster, algo=BARRIER) for cluster in options]
    halved, plain, checked, encrypted = results
    assert np.allclose(halved.coef_, plain.coef_, atol=0.05)
    assert not np.array_equal(halved.coef_, plain.coef_)
    for result in (checked, encrypted):
        assert np.array_equal(result.coef_, plain.coef_)
    sent = [sum(result.history[-1].bytes_sent or ()) for result in results]
    assert sent[0] < min(sent[1:])


def test_logs_and_traces_are_kept_where_they_are_asked_for(tmp_path: Path) -> None:
    result = local_fit({"servers": 2, "log_dir": tmp_path, "trace": True}, algo=DisSvrg(), max_epochs=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("server-0.log", "server-1.log", "worker-0.log", "worker-1.log")
    ]
    assert "worker 1 INFO: joined at clock 0" in (tmp_path / "worker-1.log").read_text()
    assert result.trace is not None
    assert len(result.trace.of(Kind.COMPUTE)["a"]) > 4
    assert not result.trace.answers


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        ("ZeroDivisionError", ClusterError, "worker 1: ZeroDivisionError: this row is odd"),
        ("DataError", DataError, "this row is odd"),
    ],
)
def test_an_error_of_a_worker_is_that_of_the_fit(
    error: str, raised: type[Exception], message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(raised, match=message) as caught:
        local_fit({"log_dir": tmp_path, "restart_workers": 3}, algo=Failing(error=error))
    for text in (caplog.text, (tmp_path / "worker-1.log").read_text(), "".join(caught.value.__notes__)):
        assert "programs.py" in text
        assert "this row is odd" in text


def kill_server(at_epoch: int) -> Any:
    """Return a callback that kills the server once."""

    def callback(record: dsgd.Record, model: dsgd.LinearModel) -> None:
        if record.epoch == at_epoch:
            os.kill(
                next(pid for pid, name in children_of().items() if "dsgd.cluster.local.server" in name), signal.SIGKILL
            )

    return callback


@pytest.mark.parametrize(
    ("cluster", "at_epoch"), [({"checkpoint_every": 7}, 2), ({}, 1), ({"servers": 2, "checkpoint_every": 5}, 2)]
)
def test_a_killed_server_goes_on_from_its_checkpoint(cluster: dict[str, Any], at_epoch: int) -> None:
    killed = local_fit(cluster, algo=BARRIER, max_epochs=20, callbacks=[kill_server(at_epoch)])
    assert np.array_equal(killed.coef_, simulated_fit(algo=BARRIER, max_epochs=20).coef_)
    assert [record.epoch for record in killed.history] == list(range(1, 21))


def test_a_server_is_started_again_so_often_as_allowed() -> None:
    with pytest.raises(ClusterError, match="server 0 was killed by SIGKILL, and restart_servers=0"):
        local_fit({"restart_servers": 0}, max_epochs=1000, callbacks=[kill_server(1)])


def test_a_worker_is_started_again_so_often_as_allowed() -> None:
    restarted = local_fit({"restart_workers": 1}, algo=Mortal(staleness=0))
    assert np.array_equal(restarted.coef_, simulated_fit(algo=BARRIER).coef_)
    with pytest.raises(WorkerLostError, match="worker 1 was killed by SIGKILL"):
        local_fit({"on_lost": "fail"}, algo=Mortal())


def test_what_a_process_said_before_it_was_replaced_is_not_listened_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be among what arrived together with the news that made the run replace it."""
    late: list[str] = []

    class Late(LocalRun):
        def _lose_worker(self, rank: int, how: str, *, silent: bool = False) -> None:
            former = self._crew.workers[rank]
            assert former is not None
            super()._lose_worker(rank, how)
            self._hear("worker", rank, former)
            late.append(former.name)

    monkeypatch.setattr(on_cluster, "LocalRun", Late)
    local_fit({"restart_workers": 1}, algo=Mortal(staleness=0))
    assert late == ["worker 1"]


@pytest.mark.parametrize("how", ["SIGKILL", "SIGSTOP"])
def test_the_others_go_on_without_a_lost_worker(how: str) -> None:
    with pytest.warns(RuntimeWarning, match="the others go on without its rows"):
        result = local_fit({"heartbeat_deadline": 3.0}, algo=Mortal(signal=how, batch_size=16))
    clocks = result.history[-1].clocks
    assert clocks == (30, 3)


@pytest.mark.parametrize(
    ("cluster", "algorithm", "error", "message"),
    [
        ({"heartbeat_deadline": 3.0, "on_lost": "fail"}, Mortal(signal="SIGSTOP"), WorkerLostError, "is lost"),
        ({"stall_deadline": 2.0}, Mortal(signal="SIGSTOP"), DeadlineError, "no worker finished a clock for 2 s"),
    ],
)
def test_every_wait_has_a_deadline(
    cluster: dict[str, Any], algorithm: Ssp, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        local_fit(cluster, algo=algorithm)


def test_a_process_has_to_say_something(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here none ever does; workers would give up after the same time."""
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 600\n")
    silent.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(silent))
    with pytest.raises(ClusterError, match=r"server 0 said nothing for 0\.05 s"):
        local_fit({"join_deadline": 0.05})


@pytest.mark.parametrize("algorithm", [Ssp(staleness=3), BARRIER])
def test_nobody_is_waited_for_when_all_workers_are_lost(algorithm: Ssp) -> None:
    def kill(record: dsgd.Record, model: dsgd.LinearModel) -> None:
        for pid, name in children_of().items():
            if "dsgd.cluster.local.worker" in name:
                os.kill(pid, signal.SIGKILL)

    patient = {"heartbeat_deadline": 10_000.0, "stall_deadline": 10_000.0}  # no deadline ends the run before the test's
    with (
        pytest.warns(RuntimeWarning, match="the others go on without its rows"),
        pytest.raises(WorkerLostError, match=r"all workers were lost, the last one as worker \d was killed by SIGKILL"),
    ):
        local_fit(patient, algo=algorithm, max_epochs=10_000, callbacks=[kill])


def test_a_lost_coordinator_is_missed() -> None:
    def kill(record: dsgd.Record, model: dsgd.LinearModel) -> None:
        os.kill(min(pid for pid, name in children_of().items() if "dsgd.cluster.local.worker" in name), signal.SIGKILL)

    with pytest.raises(WorkerLostError, match="coordinator was killed by SIGKILL"):
        local_fit(algo=Sync(batch_size=4), max_epochs=1000, callbacks=[kill])


def test_a_run_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    options: dict[str, Any] = {"algo": BARRIER, "schedule": Constant()}
    whole = simulated_fit(max_epochs=8, **options)
    local_fit({"checkpoint": path, "checkpoint_every": 15}, max_epochs=4, **options)
    assert Checkpoint.load(path)[0].clock in (15, 30)  # of 30
    rest = local_fit(
        {"resume": path}, max_epochs=8, random_state=None, step_size="auto", algo=BARRIER, schedule=Constant()
    )
    assert np.array_equal(rest.coef_, whole.coef_)
    saved, about = Checkpoint.load(path)
    for shard in saved.shards:
        shard["worker/1"][0] = 4  # had left, as one does that ends before the last clock is saved
    saved.save(path, about)
    rest = local_fit({"resume": path}, max_epochs=8, random_state=None, step_size="auto", **options)
    assert np.array_equal(rest.coef_, whole.coef_)
    for changed, message in (
        ({"cluster": {"workers": 3, "resume": path}}, "n_nodes=2; this one has 3"),
        ({"cluster": {"resume": path, "partition": Shares([3, 1])}}, "partition='equal'; this one has 'Shares"),
        ({"cluster": {"resume": path}, "algo": "dissvrg"}, "algorithm='ssp'"),
        ({"cluster": {"resume": path}, "loss": "hinge"}, r"loss='Logistic\(\)'; this one has 'Hinge\(\)'"),
        ({"cluster": {"resume": path}, "alpha": 0.25}, "alpha_l2=.*; this one has 0.25"),
        ({"cluster": {"resume": path}, "fit_intercept": False}, "n_parameters=21"),
    ):
        with pytest.raises(ConfigError, match=message):
            local_fit(**{**options, **changed})


def test_a_run_goes_on_with_its_partition_only(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    rows = [range(180), range(180, 240)]
    options: dict[str, Any] = {"algo": BARRIER, "schedule": Constant()}
    local_fit({"checkpoint": path, "checkpoint_every": 15, "partition": Given(rows)}, max_epochs=4, **options)
    rest = local_fit({"resume": path, "partition": Given(rows)}, max_epochs=8, **options)
    assert np.array_equal(rest.coef_, simulated_fit(partition=Given(rows), max_epochs=8, **options).coef_)
    for other in ("equal", Given([range(179), range(179, 240)])):
        with pytest.raises(ConfigError, match=r"with partition='Given\(2 arrays, 240 rows, crc32 .*; this one has"):
            local_fit({"resume": path, "partition": other}, max_epochs=8, **options)


def test_a_checkpoint_from_before_partitions_is_of_equal_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.checkpoint"
    monkeypatch.setattr(checkpoint, "asdict", lambda about: {k: v for k, v in vars(about).items() if k != "partition"})
    about = About(
        algorithm="ssp",
        loss="Logistic()",
        alpha_l1=0.0,
        alpha_l2=0.0,
        n_nodes=2,
        n_shards=1,
        n_samples=9,
        n_parameters=3,
        dtype="float64",
        seed=0,
        step_size=0.1,
        partition="Shares(shares=(3.0, 1.0))",
    )
    Checkpoint(clock=1, incarnation=0, shards=[{}]).save(path, about)
    assert Checkpoint.load(path)[1].partition == "equal"


def test_a_checkpoint_is_whole_or_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    local_fit({"checkpoint": path, "checkpoint_every": 15}, algo=BARRIER)
    data = path.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.checkpoint"]
    for broken in (b"", data[:100], data[:-1], b"x" * 100):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="is not a checkpoint of dsgd"):
            local_fit({"resume": path}, algo=BARRIER)
