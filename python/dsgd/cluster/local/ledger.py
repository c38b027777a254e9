"""What the processes of a local run have said of themselves, put together to records."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsgd.cluster.local.channel import ChannelMessage
from dsgd.cluster.runtime.run_spec import ClusterRecord
from dsgd.cluster.runtime.trace import Trace

__all__ = ["Ledger"]

_NOTHING: dict[str, Any] = {"clock": 0, "waited": 0.0, "delays": [], "samples": 0, "bytes_sent": 0, "bytes_received": 0}


class _Snapshot(NamedTuple):
    """The weights at the end of a clock of the slowest worker, and how far every node was."""

    clock: int
    moment: float
    clocks: tuple[int, ...]
    weights: NDArray[Any]


class Ledger:
    """The books of a run.

    Parameters
    ----------
    n_nodes, n_shards : int
    notices : sequence of int
        Clocks of the slowest worker to make a record of, rising.
    trace : Trace or None
        Gets what the workers say.

    Attributes
    ----------
    members : list of (status, clock)
        As the server last said.
    slowest : int
    reports : list of tuple (rank, seconds, bytes)
    tables : list of (dict or None)
        What each shard had in the end.
    """

    def __init__(self, n_nodes: int, n_shards: int, notices: Sequence[int], trace: Trace | None) -> None:
        self.members: list[tuple[str, int]] = [("expected", 0)] * n_nodes
        self.slowest = 0
        self.reports: list[tuple[int, float, bytes]] = []
        self.tables: list[dict[str, NDArray[Any]] | None] = [None] * n_shards
        self._notices = deque(notices)
        self._trace = trace
        self._tallies = [_NOTHING] * n_nodes
        self._shots: list[deque[ChannelMessage]] = [deque() for _ in range(n_shards)]
        self._pending: deque[_Snapshot] = deque()

    def hear_server(self, shard: int, message: ChannelMessage) -> None:
        """Take what a shard says."""
        if shard == 0:  # of membership it knows alone
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
        """Take what a worker says."""
        self._tallies[rank] = message.fields
        if self._trace is not None:
            self._trace.extend(Trace.from_bytes(message.arrays["trace"].tobytes()))

    def restart(self) -> None:
        """Forget what the servers have not said in full: they begin anew."""
        self.tables = [None] * len(self.tables)
        self._shots = [deque() for _ in self._shots]

    def due(self, gone: Collection[int]) -> list[tuple[ClusterRecord, NDArray[Any]]]:
        """Return the complete records and their weights: every worker that is still there has reported for them."""
        records = []
        while self._pending and all(
            rank in gone or tally["clock"] >= self._pending[0].clock for rank, tally in enumerate(self._tallies)
        ):
            shot = self._pending.popleft()
            records.append((self.record(shot.clock, shot.moment, shot.clocks), shot.weights))
        return records

    def record(self, clock: int, moment: float, clocks: tuple[int, ...]) -> ClusterRecord:
        """Return a record of now, with the clocks and the time given."""
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
        """Make one snapshot of those that all shards took at the same clock; one that a shard skipped is dropped."""
        while all(self._shots):
            clocks = [shots[0].fields["clock"] for shots in self._shots]
            clock = max(clocks)
            if min(clocks) < clock:
                for shots, its in zip(self._shots, clocks, strict=True):
                    if its < clock:
                        shots.popleft()
                continue
            messages = [shots.popleft() for shots in self._shots]
            if not self._notices or clock < self._notices[0]:  # seen before a restart of the servers
                continue
            while self._notices and self._notices[0] <= clock:
                self._notices.popleft()
            members = tuple(own for _, own in messages[0].fields["members"])
            weights = np.concatenate([message.arrays["weights"] for message in messages])
            moment = max(message.fields["moment"] for message in messages)
            self._pending.append(_Snapshot(clock, moment, members, weights))
