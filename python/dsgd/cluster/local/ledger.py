"""Collects the reports of the processes of a local run, and joins them to records."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsgd.cluster.local.channel import ChannelMessage
from dsgd.cluster.runtime.run_spec import ClusterRecord
from dsgd.cluster.runtime.trace import Trace

__all__ = ["Ledger"]

# The tally of a worker that has not reported yet.
_NOTHING: dict[str, Any] = {"clock": 0, "waited": 0.0, "delays": [], "samples": 0, "bytes_sent": 0, "bytes_received": 0}


class _Snapshot(NamedTuple):
    """The weights when the slowest worker had finished `clock`, and the clocks of all nodes."""

    clock: int
    moment: float
    clocks: tuple[int, ...]
    weights: NDArray[Any]


class Ledger:
    """The reports of all processes of a run.

    Parameters
    ----------
    n_nodes, n_shards : int
    notices : sequence of int
        Clocks of the slowest worker after which records are made, increasing.
    trace : Trace or None
        The events that the workers report are added to it.

    Attributes
    ----------
    members : list of (status, clock)
        Status and finished clocks of every node, as the server last reported them.
    slowest : int
        Number of clocks that the slowest worker has finished.
    reports : list of tuple (rank, seconds, bytes)
        See `Outcome`.
    tables : list of (dict or None)
        The final tables of each shard; None until the shard has finished.
    """

    def __init__(self, n_nodes: int, n_shards: int, notices: Sequence[int], trace: Trace | None) -> None:
        self.members: list[tuple[str, int]] = [("expected", 0)] * n_nodes
        self.slowest = 0
        self.reports: list[tuple[int, float, bytes]] = []
        self.tables: list[dict[str, NDArray[Any]] | None] = [None] * n_shards
        self._notices = deque(notices)
        self._trace = trace
        self._began = time.monotonic()
        self._tallies = [_NOTHING] * n_nodes
        self._shots: list[deque[ChannelMessage]] = [deque() for _ in range(n_shards)]
        self._pending: deque[_Snapshot] = deque()

    def hear_server(self, shard: int, message: ChannelMessage) -> None:
        """Take a message of a shard."""
        if shard == 0:  # the only one that knows the members
            self.members = [(status, clock) for status, clock in message.fields["members"]]
            self.slowest = message.fields["clock"]
            self.reports += [(rank, time, text.encode()) for rank, time, text in message.fields["reports"]]
        if message.kind == "clock":
            self._shots[shard].append(message)
            self._join_shots()
        elif message.kind == "order" and self._trace is not None:
            self._trace.orders[shard] = message.arrays["ranks"]
        elif message.kind == "finished":
            self.tables[shard] = message.arrays

    def hear_worker(self, rank: int, message: ChannelMessage) -> None:
        """Take a message of a worker."""
        self._tallies[rank] = message.fields
        if self._trace is not None:
            events = Trace.from_bytes(message.arrays["trace"].tobytes())
            # Both times are of the clock of this machine.
            self._trace.extend(events, message.fields["began"] - self._began)

    def restart(self) -> None:
        """Drop tables and snapshots of which a part is missing: the servers are started again."""
        self.tables = [None] * len(self.tables)
        self._shots = [deque() for _ in self._shots]

    def due(self, gone: Collection[int]) -> list[tuple[ClusterRecord, NDArray[Any]]]:
        """Return the records that are complete now, with their weights.

        A record is complete when all nodes but those in `gone` have reported its clock.
        """
        records = []
        while self._pending and all(
            rank in gone or tally["clock"] >= self._pending[0].clock for rank, tally in enumerate(self._tallies)
        ):
            shot = self._pending.popleft()
            records.append((self.record(shot.clock, shot.moment, shot.clocks), shot.weights))
        return records

    def record(self, clock: int, moment: float, clocks: tuple[int, ...]) -> ClusterRecord:
        """Return a record of the latest reports, with the given clocks and time."""
        tallies = self._tallies
        delays: Counter[int] = Counter()
        for tally in tallies:
            delays.update(dict(enumerate(tally["delays"])))
        return ClusterRecord(
            clock=clock,
            virtual_seconds=None,
            moment=moment,
            clocks=clocks,
            waiting=tuple(tally["waited"] for tally in tallies),
            staleness=tuple(delays[delay] for delay in range(max(delays, default=-1) + 1)),
            bytes_sent=tuple(tally["bytes_sent"] for tally in tallies),
            bytes_received=tuple(tally["bytes_received"] for tally in tallies),
            samples=sum(tally["samples"] for tally in tallies),
        )

    def _join_shots(self) -> None:
        """Join the weights that all shards sent for the same clock to one snapshot.

        A clock that a shard has skipped is dropped.
        """
        while all(self._shots):
            clocks = [shots[0].fields["clock"] for shots in self._shots]
            clock = max(clocks)
            if min(clocks) < clock:
                for shots, its in zip(self._shots, clocks, strict=True):
                    if its < clock:
                        shots.popleft()
                continue
            messages = [shots.popleft() for shots in self._shots]
            if not self._notices or clock < self._notices[0]:  # recorded before a restart
                continue
            while self._notices and self._notices[0] <= clock:
                self._notices.popleft()
            members = tuple(own for _, own in messages[0].fields["members"])
            weights = np.concatenate([message.arrays["weights"] for message in messages])
            moment = max(message.fields["moment"] for message in messages)
            self._pending.append(_Snapshot(clock, moment, members, weights))
