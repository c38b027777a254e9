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
from dsgd.algorithms import DisSvrg, DistributedAlgorithm, Ssp, Sync
from dsgd.cluster import crew
from dsgd.cluster.child import Child
from dsgd.errors import ClusterError, DsgdError, WorkerLostError

HEARTBEAT = 1.0
PAUSE = 0.3  # of a process that is not missed
ALGORITHMS: dict[str, tuple[DistributedAlgorithm, int]] = {
    "barrier": (Ssp(staleness=0), 30),
    "ssp": (Ssp(staleness=3), 30),
    "dissvrg": (DisSvrg(staleness=3), 200),
    "dissvrg barrier": (DisSvrg(staleness=0), 200),
    "sync": (Sync(batch_size=20), 30),
}
SAME_BITS = ("barrier", "dissvrg barrier", "sync")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is done to whom under which configuration, and what must come of it."""

    victim: str
    how: str
    cluster: dict[str, Any] = field(default_factory=dict)
    error: type[DsgdError] | None = None
    message: str = ""
    warned: bool = False
    exact: bool = False  # a barrier run ends with the weights of an undisturbed one

    def __str__(self) -> str:
        options = " ".join(f"{name}={value}" for name, value in self.cluster.items())
        return f"{self.how} {self.victim} {options}".strip()


GO_ON: dict[str, Any] = {"on_lost": "continue"}
FAIL: dict[str, Any] = {"on_lost": "fail"}
AGAIN: dict[str, Any] = {"on_lost": "fail", "restart_workers": 1}
NO_SERVER: dict[str, Any] = {"restart_servers": 0}
LOST = {"error": WorkerLostError, "message": r"worker \d was killed by SIGKILL|not heard of|is lost|was silent"}
FAULTS = [
    Fault(victim="worker", how="kill", cluster=GO_ON, warned=True),
    Fault(victim="worker", how="kill", cluster=FAIL, **LOST),
    Fault(victim="worker", how="kill", cluster=AGAIN),
    Fault(victim="worker", how="stop", cluster=GO_ON, warned=True),
    Fault(victim="worker", how="stop", cluster=FAIL, **LOST),
    Fault(victim="worker", how="stop", cluster=AGAIN),
    Fault(victim="worker", how="pause", cluster=FAIL, exact=True),
    Fault(victim="worker", how="long pause", cluster=GO_ON, warned=True),
    Fault(victim="server", how="kill", cluster=NO_SERVER, error=ClusterError, message="server 0 was killed by SIGKILL"),
    Fault(victim="server", how="kill", exact=True),
    Fault(victim="server", how="kill", cluster={"checkpoint_every": 5}, exact=True),
    Fault(victim="server", how="stop", cluster=NO_SERVER, error=ClusterError, message="server 0 said nothing for 1 s"),
    Fault(victim="server", how="stop", cluster={"checkpoint_every": 5}, exact=True),
    Fault(victim="server", how="pause", cluster=NO_SERVER, exact=True),
]


class Striker:
    """Knows the processes of a run, and strikes one of them."""

    def __init__(self, fault: Fault, seed: int, n_workers: int) -> None:
        self.source = random.Random(f"{fault} {seed}")
        self.fault = fault
        self.victim = "coordinator" if fault.victim == "coordinator" else f"{fault.victim} 0"
        if fault.victim == "worker":
            self.victim = f"worker {self.source.randrange(n_workers)}"
        self.at_record = self.source.randint(1, 4)
        self.struck = False
        self.children: dict[str, Child] = {}
        self._timers: list[threading.Timer] = []

    def strike(self) -> None:
        child = self.children[self.victim]
        self.struck = not child.done
        self._send(child, signal.SIGKILL if self.fault.how == "kill" else signal.SIGSTOP)
        if "pause" in self.fault.how:
            self.later(PAUSE if self.fault.how == "pause" else 2 * HEARTBEAT, self._send, child, signal.SIGCONT)

    def later(self, seconds: float, function: Any, *arguments: Any) -> None:
        self._timers.append(threading.Timer(seconds, function, arguments))
        self._timers[-1].start()

    def on_record(self, record: dsgd.Record, model: dsgd.LinearModel) -> None:
        """Strike once, somewhere after the record."""
        if not self.struck and len(self.children) and record.epoch >= self.at_record:
            time.sleep(self.source.uniform(0, 0.005))
            self.strike()

    def end(self) -> None:
        for timer in self._timers:
            timer.cancel()
            timer.join()

    def _send(self, child: Child, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, number)


@functools.cache
def undisturbed(name: str) -> bytes:
    algorithm, epochs = ALGORITHMS[name]
    result = simulated_fit(2 + int(algorithm.has_coordinator), algo=algorithm, max_epochs=epochs, evaluate_every=0)
    return result.model.weights.tobytes()


@contextlib.contextmanager
def watched(striker: Striker, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[warnings.WarningMessage]]:
    """Let a striker know all processes that are started; collect warnings."""

    class Known(Child):
        def __init__(self, module: str, name: str, *more: Any) -> None:
            super().__init__(module, name, *more)
            striker.children[name] = self

    with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        patch.setattr(crew, "Child", Known)
        try:
            yield caught
        finally:
            striker.end()


def fit(name: str, cluster: dict[str, Any], **more: Any) -> dsgd.FitResult:
    algorithm, epochs = ALGORITHMS[name]
    given = {"max_epochs": epochs, "evaluate_every": max(1, epochs // 30), **more}
    return local_fit({"heartbeat_deadline": HEARTBEAT, **cluster}, algo=algorithm, **given)


CASES = [(name, fault) for fault in FAULTS for name in ("barrier", "ssp", "dissvrg", "sync")] + [
    ("dissvrg barrier", fault) for fault in FAULTS if fault.exact
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("seed", "name", "fault"), [(k, *case) for k, case in enumerate(CASES)], ids=str)
def test_a_run_goes_on_resumes_or_raises(
    seed: int, name: str, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    striker = Striker(fault, seed, 2)
    with watched(striker, monkeypatch) as caught:
        if fault.error is not None:
            with pytest.raises(fault.error, match=fault.message):
                fit(name, fault.cluster, callbacks=[striker.on_record], max_epochs=10**6)
        else:
            result = fit(name, fault.cluster, callbacks=[striker.on_record])
            assert result.stop_reason == "max_epochs"
            assert np.isfinite(result.model.weights).all()
            if fault.exact and name in SAME_BITS:
                assert result.model.weights.tobytes() == undisturbed(name)
    assert striker.struck
    assert [str(each.message) for each in caught if "go on without its rows" in str(each.message)] or not fault.warned
    assert len(caught) == int(fault.warned)
