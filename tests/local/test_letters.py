"""Letters between workers of one machine: over memory that they share, or over TCP."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from local.fits import local_fit, simulated_fit
from local.letter_programs import Flooded, HalfWritten, Restarted, Ring

import dsgd
from dsgd.cluster import fit as on_cluster
from dsgd.cluster.local import letters
from dsgd.cluster.local.run import LocalRun
from dsgd.cluster.program.commands import EVERYONE, Program
from dsgd.cluster.runtime.replay import replay
from dsgd.cluster.runtime.run_spec import Outcome, RunSpec

OVER_TCP = {"slots": None}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list to which every run adds what it was given, and its reports."""
    seen: list[Any] = []

    class Watched(LocalRun):
        def __init__(self, config: Any, assignment: RunSpec, *more: Any) -> None:
            seen.append(assignment)
            super().__init__(config, assignment, *more)

        def outcome(self) -> Outcome:
            outcome = super().outcome()
            seen.append([json.loads(text) for _, _, text in outcome.reports])
            return outcome

    monkeypatch.setattr(on_cluster, "LocalRun", Watched)
    return seen


@pytest.mark.parametrize(
    "options",
    [{}, {"by_rows": True}, {"times": 3}, {"slots": 1}, {"on_full": "sum"}, OVER_TCP],
    ids=["shared", "with keys", "too long", "one slot", "sums", "every letter kept"],
)
def test_letters_are_the_same_whatever_carries_them(options: dict[str, Any]) -> None:
    algorithm = Ring(staleness=0, **options)
    local = local_fit({"workers": 3}, algo=algorithm, max_epochs=2)
    assert np.array_equal(local.coef_, simulated_fit(3, algo=algorithm, max_epochs=2).coef_)


def test_letters_in_shared_memory_are_not_sent_over_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """At least the numbers of the letters are missing. What does not fit, or is added up, still goes over TCP."""

    def run(**options: Any) -> dsgd.Record:
        return local_fit(algo=Ring(staleness=0, **options), max_epochs=2).history[-1]

    def sent(**options: Any) -> int:
        return sum(run(**options).bytes_sent or ())

    shared = sent()
    numbers = sum(run().clocks or ()) * 21 * 8
    assert sent(**OVER_TCP) > shared + numbers
    assert sent(on_full="sum") > shared + numbers
    assert sent(times=6) > shared + 6 * numbers

    def no_room(**shape: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(letters, "LetterMemory", no_room)
    assert sent() > shared + numbers


def test_a_trace_keeps_letters_and_replays(runs: list[Any]) -> None:
    result = local_fit({"trace": True, "record_answers": True}, algo=Ring(staleness=0), max_epochs=2)
    given: RunSpec = runs[0]

    def start(node: int, clock: int, saved: bytes) -> Program:
        about: dict[str, Any] = {"start_clock": clock, "saved": saved, "now": time.monotonic, "chunk_rows": 4096}
        return given.program(given.task(given.kernels(node), node, groups={EVERYONE: (0, 1)}, **about))

    assert result.trace is not None
    assert replay(result.trace, start) >= 2 * 5 * given.max_clocks


def test_a_worker_that_is_killed_while_it_writes_holds_up_nobody(runs: list[Any]) -> None:
    with pytest.warns(RuntimeWarning, match="the others go on without its rows"):
        local_fit({"workers": 3, "heartbeat_deadline": 3.0}, algo=HalfWritten(), evaluate_every=0, max_epochs=1)
    assert runs[-1] == [{"sender": 2.0, "value": 2.0}]


def test_a_worker_begins_with_an_empty_mailbox_when_it_is_started_again(runs: list[Any]) -> None:
    local_fit({"restart_workers": 1}, algo=Restarted(), evaluate_every=0, max_epochs=1)
    assert runs[-1] == [{"letters": 0.0}, {"value": 2.0}]


@pytest.mark.parametrize("torn", ["detect", "accept"])
def test_a_letter_that_is_torn_is_read_only_where_that_is_accepted(torn: str) -> None:
    """The program of worker 0 that accepts does not end before it has read one."""
    rows = scipy.sparse.csr_array(np.eye(20, 2**17))
    result = local_fit(algo=Flooded(torn=torn), max_epochs=1, data=(rows, np.tile([-1.0, 1.0], 10)))
    counts = result.history[-1].counts
    assert counts is not None
    seen, counted = counts["seen torn"][0] or 0, counts["torn"][0] or 0
    assert (seen > 0) == (torn == "accept")
    assert seen <= counted
