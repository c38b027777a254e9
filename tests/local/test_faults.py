"""Processes are killed or stand still at seeded moments: every run goes on, resumes or raises, as it was configured."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from local.fits import local_fit, simulated_fit

import dsgd
from dsgd.algorithms import (
    AsyncFl,
    Average,
    DisSvrg,
    DistributedAlgorithm,
    Downpour,
    FedAvg,
    MapReduce,
    P2p,
    SimuParallel,
    Ssp,
    Sync,
    WpSgd,
    WpSgdDelay,
    WpSgdDm,
)
from dsgd.cluster.local import crew
from dsgd.cluster.local.child import Child
from dsgd.errors import ClusterError, DsgdError, WorkerLostError

HEARTBEAT = 1.5  # where a run has to find out that somebody is missing
PATIENCE = 20.0  # where it must not
PAUSE = 0.3
ALGORITHMS: dict[str, tuple[DistributedAlgorithm, int]] = {
    "ssp": (Ssp(staleness=3), 30),
    "ssp, barrier": (Ssp(staleness=0), 30),
    "dissvrg": (DisSvrg(staleness=3), 100),
    "dissvrg, barrier": (DisSvrg(staleness=0), 100),
    "sync": (Sync(batch_size=20), 20),
    "simuparallel": (SimuParallel(averaging_span=60), 100),
    "simuparallel, once": (SimuParallel(), 100),
    "average": (Average(averaging_span=60), 100),
    "wpsgd": (WpSgd(averaging_span=60), 100),
    "wpsgd, once": (WpSgd(), 100),
    "wpsgd-delay": (WpSgdDelay(averaging_span=60), 100),
    "wpsgd-dm": (WpSgdDm(averaging_span=60), 100),
    "map-reduce": (MapReduce(), 100),
    "fedavg": (FedAvg(clients=6, fraction=0.5), 100),
    "p2p": (P2p(max_wait=0.5), 100),
    "downpour": (Downpour(n_push=2, warm_start=5), 30),
    "async-fl": (AsyncFl(sizes="linear", growth=1.0), 100),
}
BARRIERS = ("ssp, barrier", "dissvrg, barrier", "sync")
# Nodes that are started again go on from the last average, or make all their steps again.
AVERAGES = ("simuparallel", "simuparallel, once", "fedavg")
UNEVEN = ("average", "wpsgd", "wpsgd, once", "wpsgd-delay", "wpsgd-dm")
ENDLESS = 10**4


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is done to whom, when and under which configuration, and what must come of it."""

    victim: str
    how: str
    when: str = "in the middle"
    cluster: dict[str, Any] = field(default_factory=dict)
    error: type[DsgdError] | None = None
    message: str = ""
    warned: bool = False
    exact: bool = False  # a barrier run ends with the weights of an undisturbed one, to the bit

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.cluster.items() if name != "heartbeat_deadline")
        return f"{self.how} {self.victim} {self.when}, {options}".strip(", ")


SOON: dict[str, Any] = {"heartbeat_deadline": HEARTBEAT}
GO_ON: dict[str, Any] = {"on_lost": "continue", **SOON}
FAIL: dict[str, Any] = {"on_lost": "fail"}
AGAIN: dict[str, Any] = {"on_lost": "fail", "restart_workers": 1}
NO_SERVER: dict[str, Any] = {"restart_servers": 0}
SAVED: dict[str, Any] = {"checkpoint_every": 5}
LOST: dict[str, Any] = {"error": WorkerLostError, "message": r"(worker \d|coordinator) was killed|not heard of|is lost"}
KILLED: dict[str, Any] = {"error": ClusterError, "message": r"server \d was killed by SIGKILL"}
SILENT: dict[str, Any] = {"error": ClusterError, "message": r"server \d said nothing for 1\.5 s"}
OF_ALL = [
    Fault(victim="worker", how="kill", cluster=GO_ON, warned=True),
    Fault(victim="worker", how="kill", cluster=FAIL, **LOST),
    Fault(victim="worker", how="kill", cluster=AGAIN),
    Fault(victim="worker", how="stop", cluster=GO_ON, warned=True),
    Fault(victim="worker", how="stop", cluster=FAIL | SOON, **LOST),
    Fault(victim="worker", how="stop", cluster=AGAIN | SOON),
    Fault(victim="worker", how="pause", cluster=FAIL, exact=True),
    Fault(victim="worker", how="long pause", cluster=GO_ON, warned=True),
    Fault(victim="server", how="kill", cluster=NO_SERVER, **KILLED),
    Fault(victim="server", how="kill", exact=True),
    Fault(victim="server", how="kill", cluster=SAVED, exact=True),
    Fault(victim="server", how="stop", cluster=NO_SERVER | SOON, **SILENT),
    Fault(victim="server", how="stop", cluster=SAVED | SOON, exact=True),
    Fault(victim="server", how="pause", cluster=NO_SERVER, exact=True),
]
OF_ONE = [
    ("sync", Fault(victim="coordinator", how="kill", cluster=GO_ON, **LOST)),
    ("sync", Fault(victim="coordinator", how="stop", cluster=GO_ON, **LOST)),
    ("sync", Fault(victim="coordinator", how="kill", cluster=AGAIN)),
    ("ssp", Fault(victim="worker", how="kill, with a slow start after it,", cluster=AGAIN | SOON)),
    ("ssp", Fault(victim="worker", how="kill", when="at the start", cluster=FAIL, **LOST)),
    ("sync", Fault(victim="worker", how="kill", when="at the start", cluster=AGAIN)),
    ("dissvrg", Fault(victim="worker", how="pause", when="at the start", cluster=FAIL)),
    ("ssp", Fault(victim="server", how="kill", when="at the start", cluster=NO_SERVER, **KILLED)),
    ("ssp, barrier", Fault(victim="server", how="kill", when="at the start", exact=True)),
    ("sync", Fault(victim="server", how="kill", when="at the start", exact=True)),
    ("dissvrg", Fault(victim="server", how="pause", when="at the start", cluster=NO_SERVER)),
    ("ssp, barrier", Fault(victim="server", how="kill", when="at the end", cluster=SAVED, exact=True)),
    ("dissvrg, barrier", Fault(victim="server", how="stop", when="at the end", cluster=SOON, exact=True)),
    ("sync", Fault(victim="server", how="kill", when="at the end", exact=True)),
    ("ssp, barrier", Fault(victim="worker", how="stop", when="at the end", cluster=GO_ON)),
    ("dissvrg", Fault(victim="worker", how="kill", when="at the end", cluster=GO_ON)),
    ("ssp, barrier", Fault(victim="server", how="kill", cluster={"servers": 2, **SAVED}, exact=True)),
    ("dissvrg", Fault(victim="server", how="stop", cluster={"servers": 2, **SAVED, **SOON})),
    ("ssp", Fault(victim="server", how="kill", cluster=SAVED)),
]
OF_AVERAGES = [
    Fault(victim="worker", how="kill", cluster=GO_ON, warned=True),
    Fault(victim="worker", how="kill", cluster=AGAIN, exact=True),
    Fault(victim="server", how="kill", cluster=SAVED, exact=True),
]
# A worker that is killed in the middle of a clock of map-reduce is missing until its end.
OF_PEERS = [
    Fault(victim="worker", how="kill", cluster=GO_ON, warned=True),
    Fault(victim="worker", how="kill", cluster=AGAIN),
    Fault(victim="server", how="kill", cluster=SAVED, exact=True),
]
STALE = ("ssp", "dissvrg", "sync")
CASES = [
    *((name, fault) for fault in OF_ALL for name in (BARRIERS if fault.exact else STALE)),
    *OF_ONE,
    *((name, fault) for fault in OF_AVERAGES for name in (*AVERAGES, *UNEVEN)),
    *((name, fault) for fault in OF_PEERS for name in ("map-reduce", "p2p", "async-fl")),
    *(("downpour", fault) for fault in OF_PEERS[:2]),
    ("downpour", Fault(victim="server", how="kill", cluster={"servers": 2, **SAVED})),
]


class Striker:
    """Knows the processes of a run, and strikes one of them."""

    def __init__(self, fault: Fault, n_records: int, seed: str) -> None:
        self._source = random.Random(seed)
        self._fault = fault
        self._number = {"worker": 2, "server": fault.cluster.get("servers", 1)}.get(fault.victim, 0)
        self._victim = f"{fault.victim} {self._source.randrange(self._number)}" if self._number else fault.victim
        self._record = n_records if fault.when == "at the end" else self._source.randint(1, 4)
        self._records = 0
        self._children: dict[str, Child] = {}
        self._timers: list[threading.Timer] = []
        self.struck = False

    def started(self, name: str, child: Child) -> None:
        """Take notice of a process; strike the victim while it starts, or starts again, where that is its moment."""
        first = name not in self._children
        self._children[name] = child
        if name != self._victim:
            return
        if first and self._fault.when == "at the start":
            self._later(self._source.uniform(0, 0.5), self._strike)
        elif not first and "slow start" in self._fault.how:
            self._pause(child, 2 * HEARTBEAT)

    def on_record(self, record: dsgd.Record, model: dsgd.LinearModel) -> None:
        """Strike once, some moment after a record."""
        self._records += 1
        if self._records == self._record and self._fault.when != "at the start":
            time.sleep(self._source.uniform(0, 0.005))
            self._strike()

    def end(self) -> None:
        for timer in self._timers:
            timer.cancel()
            timer.join()

    def _strike(self) -> None:
        child, how = self._children[self._victim], self._fault.how
        self.struck = not child.done
        if "kill" in how:
            self._send(child, signal.SIGKILL)
        elif how == "stop":
            self._send(child, signal.SIGSTOP)
        else:
            self._pause(child, PAUSE if how == "pause" else 2 * HEARTBEAT)

    def _pause(self, child: Child, seconds: float) -> None:
        self._send(child, signal.SIGSTOP)
        self._later(seconds, self._send, child, signal.SIGCONT)

    def _later(self, seconds: float, function: Any, *arguments: Any) -> None:
        self._timers.append(threading.Timer(seconds, function, arguments))
        self._timers[-1].start()

    def _send(self, child: Child, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)


@functools.cache
def undisturbed(name: str) -> bytes:
    algorithm, epochs = ALGORITHMS[name]
    result = simulated_fit(2, algo=algorithm, max_epochs=epochs, evaluate_every=0)
    return result.model.weights.tobytes()


@contextlib.contextmanager
def watched(striker: Striker, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let a striker know all processes that are started; collect warnings."""

    class Known(Child):
        def __init__(self, module: str, name: str, *more: Any) -> None:
            super().__init__(module, name, *more)
            striker.started(name, self)

    messages: list[str] = []
    with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch.setattr(crew, "Child", Known)
        try:
            yield messages
        finally:
            striker.end()
            messages += [str(warning.message) for warning in caught]


def fit(name: str, cluster: dict[str, Any], **more: Any) -> dsgd.FitResult:
    algorithm, epochs = ALGORITHMS[name]
    given = {"max_epochs": epochs, "evaluate_every": epochs // 10, **more}
    return local_fit({"heartbeat_deadline": PATIENCE, **cluster}, algo=algorithm, **given)


def check_case(name: str, fault: Fault, striker: Striker, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched(striker, monkeypatch) as warned:
        if fault.error is not None:
            with pytest.raises(fault.error, match=fault.message):
                fit(name, fault.cluster, callbacks=[striker.on_record], max_epochs=ENDLESS)
        else:
            result = fit(name, fault.cluster, callbacks=[striker.on_record])
            assert result.stop_reason == "max_epochs"
            assert np.isfinite(result.model.weights).all()
            if result.averaging is not None:
                assert result.averaging.weights.sum() == pytest.approx(1)
            if fault.exact and name in (*BARRIERS, *AVERAGES, "map-reduce"):
                assert result.model.weights.tobytes() == undisturbed(name)
    warned = [message for message in warned if not message.startswith("algo ")]  # of nodes that lag
    assert all("the others go on without its rows" in message for message in warned)
    if striker.struck and fault.when != "at the end":
        assert len(warned) == int(fault.warned)


@pytest.mark.parametrize(("name", "fault"), CASES, ids=str)
def test_a_run_goes_on_resumes_or_raises(name: str, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    for attempt in range(5):  # a slow machine may strike when all is over
        striker = Striker(fault, 10, f"{name} {fault} {attempt}")
        check_case(name, fault, striker, monkeypatch)
        if striker.struck or fault.when == "at the end":
            return
    pytest.fail("no strike came in time")


@pytest.mark.parametrize("late", ["coordinator", "worker 0"])
def test_a_node_whose_servers_are_lost_after_it_has_left_them_begins_again(
    late: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its report that it is done comes when the new servers run, which have never heard of it."""
    children: dict[str, list[Child]] = {}
    held: list[Any] = []

    class Late(Child):
        def __init__(self, module: str, name: str, *more: Any) -> None:
            super().__init__(module, name, *more)
            children.setdefault(name, []).append(self)

        def arrived(self) -> list[Any]:
            ended = False
            try:
                messages = super().arrived()
            except EOFError:
                messages, ended = [], True
            if self is children["server 0"][0]:  # killed before it has told of the end
                messages = [message for message in messages if message.kind != "finished"]
            first = self.name == late and self is children[late][0]
            if first and any(message.kind == "done" for message in messages):
                held.extend(messages)
                os.kill(children["server 0"][0].pid, signal.SIGKILL)
                return []
            if first and held:
                if len(children["server 0"]) == 1:
                    return []
                messages, held[:] = list(held), []
            elif ended:
                raise EOFError
            return messages

    monkeypatch.setattr(crew, "Child", Late)
    result = fit("sync", {"heartbeat_deadline": 3.0})
    assert len(children["server 0"]) == 2
    assert len(children[late]) == 2
    assert result.model.weights.tobytes() == undisturbed("sync")


@pytest.mark.parametrize(("name", "victim"), list(zip(BARRIERS, ("worker", "server", "coordinator"), strict=True)))
def test_what_a_killed_run_saved_is_gone_on_with(
    name: str, victim: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the same bits, though no process of the first run is left."""
    path = tmp_path / "saved"
    cluster = {"checkpoint_every": 5, "checkpoint": path, "restart_servers": 0, "on_lost": "fail"}
    fault = Fault(victim=victim, how="kill", cluster=cluster)
    for attempt in range(5):
        striker = Striker(fault, 10, f"{name} {victim} {attempt}")
        with watched(striker, monkeypatch), contextlib.suppress(ClusterError):
            fit(name, cluster, callbacks=[striker.on_record])
            continue  # it was over before
        assert striker.struck
        assert fit(name, {"resume": path}).model.weights.tobytes() == undisturbed(name)
        return
    pytest.fail("no strike came in time")
