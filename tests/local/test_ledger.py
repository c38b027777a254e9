"""The ledger of a local run: which report of a worker a record takes, whatever the order of arrival."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dsgd.cluster import Trace
from dsgd.cluster.driver.channel import ChannelMessage
from dsgd.cluster.driver.ledger import Ledger


def tally(clock: int, waited: float, kind: str = "tally") -> ChannelMessage:
    """Return the report of a worker that has observed its number of seconds."""
    fields = {
        "clock": clock,
        "waited": waited,
        "delays": [clock],
        "samples": 10 * clock,
        "bytes_sent": clock,
        "bytes_received": 2 * clock,
        "log_weight": 0.0,
        "counts": {},
    }
    return ChannelMessage(kind, fields, {"observed": np.full(2, waited)})


def snapshot(clock: int, *statuses: str) -> ChannelMessage:
    """Return the report of a server that its slowest worker has finished `clock`."""
    members = [[status, clock] for status in statuses or ("live", "live")]
    fields: dict[str, Any] = {"clock": clock, "moment": float(clock), "members": members, "reports": []}
    return ChannelMessage("clock", fields, {"weights": np.full(2, float(clock))})


def test_a_record_takes_the_first_report_from_its_clock_on() -> None:
    """Worker 0 has come to clock 6 before worker 1 reports clock 2."""
    ledger = Ledger(2, 1, [2, 4, 6], None)
    for clock in (2, 4, 6):
        ledger.hear_worker(0, tally(clock, float(clock)))
    ledger.hear_worker(1, tally(2, 0.5))
    ledger.hear_server(0, snapshot(2))
    ((record, weights),) = ledger.due([])
    assert (record.clock, record.waiting, record.samples) == (2, (2.0, 0.5), 40)
    assert (record.bytes_sent, record.bytes_received, record.staleness) == ((2, 2), (4, 4), (4,))
    assert {rank: observed.vector[0] for rank, observed in record.observed.items()} == {0: 2.0, 1: 0.5}
    assert weights is not None
    assert weights.tolist() == [2.0, 2.0]
    ledger.hear_server(0, snapshot(4))
    assert ledger.due([]) == []
    ledger.hear_worker(1, tally(5, 0.75))  # it was taken past clock 4
    ((record, _),) = ledger.due([])
    assert record.waiting == (4.0, 0.75)
    assert ledger.last_record(9.0, []).waiting == (6.0, 0.75)


def test_a_worker_that_was_taken_back_reports_its_clocks_anew() -> None:
    ledger = Ledger(2, 1, [2, 4, 6], None)
    for clock in (2, 4, 6):
        ledger.hear_worker(0, tally(clock, float(clock)))
    ledger.hear_worker(0, tally(4, 40.0))
    ledger.hear_worker(1, tally(4, 1.0))
    ledger.hear_server(0, snapshot(4))
    ((record, _),) = ledger.due([])
    assert record.waiting == (40.0, 1.0)
    ledger.hear_worker(1, tally(6, 2.0))
    ledger.hear_server(0, snapshot(6))
    assert ledger.due([]) == []
    ledger.hear_worker(0, tally(4, 60.0, "done"))  # it has left after the clock that it had reported last
    assert ledger.due([]) == []
    ((record, _),) = ledger.due([0])
    assert record.waiting == (60.0, 2.0)


def test_a_worker_that_left_keeps_its_last_vector_and_one_that_is_lost_has_none() -> None:
    ledger = Ledger(4, 1, [4], None)
    ledger.hear_worker(0, tally(4, 0.0))
    ledger.hear_worker(1, tally(3, 1.0, "done"))
    ledger.hear_worker(2, tally(4, 2.0))
    ledger.hear_worker(3, tally(2, 3.0))
    ledger.hear_server(0, snapshot(4, "live", "left", "lost", "live"))  # it does not know yet that 3 is lost
    ((record, _),) = ledger.due([1, 2, 3])
    assert sorted(record.observed) == [0, 1]
    assert record.waiting == (0.0, 1.0, 2.0, 3.0)
    assert sorted(ledger.last_record(9.0, [3]).observed) == [0, 1]


def test_times_of_a_host_with_another_clock_are_those_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other host was started 1,000 s later; its first message took 1 s, and the second lay for a while."""
    now: float = 5_000.0
    monkeypatch.setattr("dsgd.cluster.driver.ledger.time", SimpleNamespace(monotonic=lambda: now))
    ledger = Ledger(1, 1, [2, 4], None, one_clock=False)
    for clock, arrival, late in ((2, 5_100.0, 1.0), (4, 5_200.0, 50.0)):
        now, sent = arrival, arrival - late - 1_000.0
        message = snapshot(clock, "live")
        message.fields.update(moment=sent - 3.0, sent=sent, reports=[(0, sent - 4.0, "{}")])
        ledger.hear_server(0, message)
        ledger.hear_worker(0, tally(clock, 0.0))
    assert [record.moment for record, _ in ledger.due([])] == [5_097.0, 5_148.0]
    assert [at for _, at, _ in ledger.reports] == [5_096.0, 5_147.0]


def test_what_a_worker_elsewhere_did_does_not_overlap_when_a_later_message_was_faster(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now: float = 5_000.0
    monkeypatch.setattr("dsgd.cluster.driver.ledger.time", SimpleNamespace(monotonic=lambda: now))
    trace = Trace({"nodes": 1, "staleness": 0})
    ledger = Ledger(1, 1, [1, 2], trace, one_clock=False)
    for clock, begin, late in ((1, 0.0, 2.0), (2, 1.0, 0.1)):  # kernels of a second, one after the other
        now = 5_010.0 + begin + late
        own = Trace({})
        own.compute(0, begin, begin + 1.0, 1, 0)
        message = tally(clock, 0.0)
        message.fields.update(began=4_000.0, sent=4_011.0 + begin)
        message.arrays["trace"] = np.frombuffer(own.to_bytes(), np.uint8)
        ledger.hear_worker(0, message)
    trace.sort()
    trace.check()
