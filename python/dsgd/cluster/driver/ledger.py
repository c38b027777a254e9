"""Collects the reports of the processes of a run, and joins them to records."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dsgd.cluster.driver.channel import ChannelMessage
from dsgd.cluster.runtime.observed import Observation
from dsgd.cluster.runtime.run_spec import ClusterRecord
from dsgd.cluster.runtime.trace import Trace

__all__ = ["Ledger"]

# The tally of a worker that has not reported yet.
_NOTHING: dict[str, Any] = {"clock": 0, "waited": 0.0, "delays": [], "samples": 0, "bytes_sent": 0, "bytes_received": 0}


class _Tally(NamedTuple):
    """The counts of a worker when it had finished `clock`, and what it had observed last."""

    clock: int
    counts: dict[str, Any]
    observed: Observation | None


class _Snapshot(NamedTuple):
    """What the server held when the slowest worker had finished `clock`.

    `members` are as of `Ledger.members`; `weights` are None if there is no table of this name.
    """

    clock: int
    moment: float
    members: list[tuple[str, int]]
    weights: NDArray[Any] | None


class Ledger:
    """The reports of all processes of a run.

    Parameters
    ----------
    n_nodes, n_shards : int
    notices : sequence of int
        Clocks of the slowest worker after which records are made, increasing.
    trace : Trace or None
        The events that the workers report are added to it.
    one_clock : bool, default=True
        Whether the times that processes tell are of the clock of this host. If not they are shifted: a clock of another
        host is taken to be as far away as the fastest message of the process was late.

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

    def __init__(
        self, n_nodes: int, n_shards: int, notices: Sequence[int], trace: Trace | None, *, one_clock: bool = True
    ) -> None:
        self.members: list[tuple[str, int]] = [("expected", 0)] * n_nodes
        self.slowest = 0
        self.reports: list[tuple[int, float, bytes]] = []
        self.tables: list[dict[str, NDArray[Any]] | None] = [None] * n_shards
        self._notices = deque(notices)
        self._trace = trace
        self._began = time.monotonic()
        self._one_clock = one_clock
        self._late: dict[tuple[str, int, float], float] = {}
        # By rank, in the order of the clocks: a worker ahead of the slowest tells later tallies
        # before a record asks for the earlier ones.
        self._tallies = [deque([_Tally(0, _NOTHING, None)]) for _ in range(n_nodes)]
        self._shots: list[deque[ChannelMessage]] = [deque() for _ in range(n_shards)]
        self._pending: deque[_Snapshot] = deque()

    def hear_server(self, shard: int, message: ChannelMessage) -> None:
        """Take a message of a shard."""
        shift = self._shift("server", shard, 0.0, message)
        if shard == 0:  # the only one that knows the members
            self.members = _members(message)
            self.slowest = message.fields["clock"]
            self.reports += [(rank, at + shift, text.encode()) for rank, at, text in message.fields["reports"]]
        if message.kind == "clock":
            message.fields["moment"] += shift
            self._shots[shard].append(message)
            self._join_shots()
        elif message.kind == "order" and self._trace is not None:
            self._trace.orders[shard] = message.arrays["ranks"]
        elif message.kind == "finished":
            self.tables[shard] = message.arrays

    def hear_worker(self, rank: int, message: ChannelMessage) -> None:
        """Take a message of a worker."""
        clock, told = message.fields["clock"], self._tallies[rank]
        if message.kind == "tally":
            # The worker was taken back, by a restart of the server, if it tells of a clock again.
            while told and told[-1].clock >= clock:
                told.pop()
        vector = message.arrays.get("observed")
        fields = message.fields
        observed = None if vector is None else Observation(vector, fields["log_weight"], fields["counts"])
        told.append(_Tally(clock, message.fields, observed))
        if self._trace is not None:
            events = Trace.from_bytes(message.arrays["trace"].tobytes())
            began = message.fields["began"]
            self._trace.extend(events, began + self._shift("worker", rank, began, message) - self._began)

    def _shift(self, kind: str, number: int, life: float, message: ChannelMessage) -> float:
        """Return what a time of a process is to be shifted by, to be one of this host."""
        if self._one_clock:
            return 0.0
        late, key = time.monotonic() - message.fields["sent"], (kind, number, life)
        known = self._late.setdefault(key, late)
        if kind == "server":  # what a worker did keeps its order, and does not overlap, only by one shift for all of it
            self._late[key] = min(late, known)
        return self._late[key]

    def restart(self) -> None:
        """Drop tables and snapshots of which a part is missing: the servers are started again."""
        self._late = {key: late for key, late in self._late.items() if key[0] != "server"}
        self.tables = [None] * len(self.tables)
        self._shots = [deque() for _ in self._shots]

    def due(self, gone: Collection[int]) -> list[tuple[ClusterRecord, NDArray[Any] | None]]:
        """Return the records that are complete now, with the weights of the server.

        A record is complete when all nodes but those in `gone` have reported its clock. It is made of
        the first report of each node from that clock on, so that it does not depend on how far the
        faster nodes have come meanwhile.
        """
        records = []
        while self._pending and all(
            rank in gone or told[-1].clock >= self._pending[0].clock for rank, told in enumerate(self._tallies)
        ):
            shot = self._pending.popleft()
            for told in self._tallies:
                while len(told) > 1 and told[0].clock < shot.clock:
                    told.popleft()
            tallies = [told[0] for told in self._tallies]
            # A node without such a report has left before, or is lost, whatever the server knows yet.
            counted = {
                rank
                for rank, (status, _) in enumerate(shot.members)
                if status == "left" or (status != "lost" and tallies[rank].clock >= shot.clock)
            }
            records.append((_record(shot.clock, shot.moment, shot.members, tallies, counted), shot.weights))
        return records

    def last_record(self, moment: float, gone: Collection[int]) -> ClusterRecord:
        """Return a record of the latest reports; those of nodes in `gone` have no observed vector."""
        counted = {rank for rank, (status, _) in enumerate(self.members) if status != "lost" and rank not in gone}
        return _record(self.slowest, moment, self.members, [told[-1] for told in self._tallies], counted)

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
            parts = [message.arrays["weights"] for message in messages if "weights" in message.arrays]
            weights = np.concatenate(parts) if parts else None
            moment = max(message.fields["moment"] for message in messages)
            self._pending.append(_Snapshot(clock, moment, _members(messages[0]), weights))


def _members(message: ChannelMessage) -> list[tuple[str, int]]:
    """Return the status and the finished clocks of every node."""
    return [(status, clock) for status, clock in message.fields["members"]]


def _record(
    clock: int, moment: float, members: Sequence[tuple[str, int]], tallies: Sequence[_Tally], counted: Collection[int]
) -> ClusterRecord:
    """Return the record of one tally for each node; `counted` are the ranks whose observed vectors are in it."""
    counts = [tally.counts for tally in tallies]
    delays: Counter[int] = Counter()
    for each in counts:
        delays.update(dict(enumerate(each["delays"])))
    return ClusterRecord(
        clock=clock,
        virtual_seconds=None,
        moment=moment,
        clocks=tuple(own for _, own in members),
        waiting=tuple(each["waited"] for each in counts),
        staleness=tuple(delays[delay] for delay in range(max(delays, default=-1) + 1)),
        bytes_sent=tuple(each["bytes_sent"] for each in counts),
        bytes_received=tuple(each["bytes_received"] for each in counts),
        samples=sum(each["samples"] for each in counts),
        observed={
            rank: tally.observed for rank, tally in enumerate(tallies) if rank in counted and tally.observed is not None
        },
    )
