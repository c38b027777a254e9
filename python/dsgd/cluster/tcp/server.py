"""`run_server`: one shard of the parameter server, which knows nothing of who started it.

It can be called by a process of a local cluster, by hand on any host, or by an engine. All that it needs
comes as arguments, and all that it has to tell goes to a `ServerEvents`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.cluster.program.groups import GroupMembers
from dsgd.cluster.tcp.connections import advertised
from dsgd.errors import WorkerLostError

__all__ = ["ServerEvents", "ServerSpec", "ServerStatus", "run_server"]

_LOG = logging.getLogger("dsgd")
# Longest time between two calls of an event, in seconds.
_ALIVE_SECONDS = 0.25

State = Mapping[str, NDArray[Any]]
Arrays = dict[str, NDArray[Any]]


class Behind(Protocol):
    """Listens in the place of a server, such as `dsgd.cluster.remote.gate.Gate`.

    Attributes
    ----------
    address : tuple of (str, int)
    adopt : callable or None
        To be set: takes the descriptor of a connection.
    """

    address: tuple[str, int]
    adopt: Callable[[int], None] | None


@dataclass(frozen=True, kw_only=True)
class ServerSpec:
    """What a shard must know of a run.

    Attributes
    ----------
    tables : sequence of _core.TableSpec
    start : ndarray of shape (n_parameters,)
        Initial weights: all of them, of which the shard takes its part.
    staleness : float
        Most clocks that a worker may be ahead of the slowest one.
    groups : sequence of GroupMembers
        The groups that are served here: the group of all nodes, and after it further groups, each by a
        server of its own.
    shard, n_shards : int
        Number of this shard of the group of all nodes, and how many there are. Every further group has
        one shard.
    incarnation : int
        Number of this start of the servers of the run, counted from 1.
    checkpoints : sequence of (mapping of str to ndarray, or None)
        By served group: the state to go on from, as of `ServerEvents.checkpoint`. Empty, or None: the
        beginning.
    token : bytes
        The secret that all processes of the run share.
    tls : _core.TlsConfig, optional
        Encryption of the connections.
    bind : str
        Numeric address of this host at which the servers listen.
    advertise : str, optional
        Address of this host that workers connect to, if it is another one than `bind`.
    ports : sequence of int
        By served group: the port to listen at. Empty, or 0: any free one.
    notices : sequence of int
        Clocks of the slowest worker after which `ServerEvents.clock` is called, increasing.
    record_order : bool
        Whether to keep the order of all operations (`Trace.orders`).
    behind : Behind, optional
        Takes connections for the first server at an address of its own, which workers are told to connect to.
    server : mapping of str
        Further options of `_core.TcpServer`: ``heartbeat_deadline``, ``join_deadline``, ``on_lost``,
        ``checkpoint_every``, ``payload_checksum``, ``wire_dtype``.
    """

    tables: Sequence[_core.TableSpec]
    start: NDArray[Any]
    staleness: float
    groups: Sequence[GroupMembers]
    shard: int = 0
    n_shards: int = 1
    incarnation: int = 1
    checkpoints: Sequence[State | None] = ()
    token: bytes
    tls: _core.TlsConfig | None = None
    bind: str = "127.0.0.1"
    advertise: str | None = None
    ports: Sequence[int] = ()
    notices: Sequence[int] = ()
    record_order: bool = False
    behind: Behind | None = None
    server: Mapping[str, Any] = field(default_factory=dict)


class ServerStatus(NamedTuple):
    """The state of a shard when an event is told.

    Attributes
    ----------
    clock : int
        Number of clocks that the slowest worker has finished.
    moment : float
        When it was so, in seconds of `time.monotonic` of the server's host.
    members : list of tuple (str, int)
        Status and finished clocks of every node.
    reports : list of tuple (int, float, str)
        For every `Report` since the last event: the node, the time like `moment`, and its numbers in JSON.
    """

    clock: int
    moment: float
    members: list[tuple[str, int]]
    reports: list[tuple[int, float, str]]


class ServerEvents(Protocol):
    """Hears what happens on a shard. An error that a method raises ends the servers."""

    def listening(self, addresses: list[tuple[str, int]], /) -> None:
        """Hear that the servers listen, and the host and port that workers connect to, by served group."""

    def clock(self, status: ServerStatus, weights: NDArray[Any] | None, /) -> None:
        """Hear that the slowest worker has finished one of `ServerSpec.notices`, and the weights as they then were.

        They are None if there is no table of this name.
        """

    def checkpoint(self, group: int, clock: int, state: Arrays, /) -> None:
        """Take a checkpoint; `group` is an index of `ServerSpec.groups`, and `clock` one of that group."""

    def alive(self, status: ServerStatus, /) -> None:
        """Hear that the servers run, several times a second."""

    def finished(self, status: ServerStatus, tables: Arrays, order: NDArray[np.int64], /) -> None:
        """Take the tables and, with `record_order`, the order of operations: all nodes have left or are lost.

        The servers go on for workers that did not hear that they have left, until this call returns.
        """


def run_server(spec: ServerSpec, events: ServerEvents) -> None:
    """Serve a shard, and the further groups that are named, until all nodes have left or are lost.

    Parameters
    ----------
    spec : ServerSpec
    events : ServerEvents

    Raises
    ------
    ConfigError
        If `bind` is every address of the host and `advertise` is missing, or if a checkpoint does not
        fit.
    WorkerLostError
        If a worker was lost and the option ``on_lost`` is ``"fail"``.
    OSError
        If a port cannot be listened at.
    """
    servers: list[_core.TcpServer] = []
    host = advertised(spec.bind, spec.advertise)
    try:
        for index in range(len(spec.groups)):
            servers.append(_make_server(spec, index))
        for server in servers:
            server.start()
        addresses = [(host, server.port) for server in servers]
        if spec.behind is not None:
            spec.behind.adopt = servers[0].adopt
            addresses[0] = spec.behind.address
        events.listening(addresses)
        _LOG.info("shard %d listens on port %d", spec.shard, servers[0].port)
        _Teller(spec, servers, events).tell()
    finally:
        for server in servers:
            server.stop()


def _make_server(spec: ServerSpec, index: int) -> _core.TcpServer:
    """Return the server of a group. It listens, and is not started."""
    of_all = index == 0
    saved = spec.checkpoints[index] if spec.checkpoints else None
    server = _core.TcpServer(
        spec.tables,
        n_workers=len(spec.groups[index].members),
        token=spec.token,
        host=spec.bind,
        port=spec.ports[index] if spec.ports else 0,
        staleness=spec.staleness,
        shard=spec.shard if of_all else 0,
        n_shards=spec.n_shards if of_all else 1,
        incarnation=spec.incarnation,
        tls=spec.tls,
        snapshot_clocks=spec.notices if of_all else (),
        # Of any table: the moment of a record comes from it.
        snapshot_table="weights" if _has_weights(spec) else spec.tables[0].name,
        checkpoint=None if saved is None else dict(saved),
        record_order=spec.record_order and of_all,
        **spec.server,
    )
    if saved is None:
        for table in spec.tables:
            if table.name == "weights":
                begin, end = server.range(table.name)
                mine = spec.start[begin * table.width : end * table.width]
                server.assign(table.name, np.ascontiguousarray(mine))
    return server


def _has_weights(spec: ServerSpec) -> bool:
    return any(table.name == "weights" for table in spec.tables)


class _Teller:
    """Tells a `ServerEvents` what happens on the servers."""

    def __init__(self, spec: ServerSpec, servers: Sequence[_core.TcpServer], events: ServerEvents) -> None:
        self._spec = spec
        self._server = servers[0]
        self._further = list(enumerate(zip(servers, spec.groups, strict=True)))[1:]
        self._events = events
        self._reports: list[tuple[int, float, str]] = []

    def tell(self) -> None:
        """Tell all events until all nodes have left or are lost."""
        told = 0.0
        while True:
            happened = self._server.wait(_ALIVE_SECONDS)
            # Before the events of the group of all nodes: a further group's checkpoint of a clock that
            # all workers have finished is older than that clock's end.
            self._look_at_groups()
            for event in happened:
                if self._tell_one(event):
                    return
            if time.monotonic() - told > _ALIVE_SECONDS:
                told = time.monotonic()
                self._events.alive(self._status(told))

    def _tell_one(self, event: _core.ServerEvent) -> bool:
        """Tell an event of the group of all nodes; return whether it was the last one."""
        if event.kind == "clock" and event.values is not None:
            weights = event.values if _has_weights(self._spec) else None
            self._events.clock(self._status(event.time)._replace(clock=event.clock), weights)
        elif event.kind == "checkpoint" and event.checkpoint is not None:
            self._events.checkpoint(0, event.clock, event.checkpoint)
        elif event.kind == "failed":
            members = self._status(event.time).members
            lost = next((rank for rank, (status, _) in enumerate(members) if status == "lost"), None)
            raise WorkerLostError(event.message, worker=lost)
        elif event.kind == "finished":
            order = np.array(self._server.take_order(), np.int64)
            tables = {table.name: self._server.snapshot(table.name) for table in self._spec.tables}
            self._events.finished(self._status(event.time), tables, order)
            return True
        return False

    def _look_at_groups(self) -> None:
        """Tell the checkpoints of the further groups, and take their reports."""
        for index, (server, group) in self._further:
            for event in server.wait(0.0):
                if event.kind == "checkpoint" and event.checkpoint is not None:
                    self._events.checkpoint(index, event.clock, event.checkpoint)
                elif event.kind == "failed":
                    raise WorkerLostError(f"in group {group.name!r} of the nodes {group.members}: {event.message}")
            self._take_reports(server, group)

    def _take_reports(self, server: _core.TcpServer, group: GroupMembers) -> None:
        """Take the reports of a group, in which workers have ranks, as those of nodes."""
        taken = server.take_reports()
        self._reports += [(group.members[each.worker], each.time, each.metrics.decode()) for each in taken]

    def _status(self, moment: float) -> ServerStatus:
        self._take_reports(self._server, self._spec.groups[0])
        reports, self._reports = self._reports, []
        members = [(member.status, member.clock) for member in self._server.members]
        return ServerStatus(self._server.slowest, moment, members, reports)
