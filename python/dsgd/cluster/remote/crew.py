"""The processes of a run whose workers are nodes at the driver's gate.

The coordinator is a thread of the driver, and so are the servers, unless they are to be in another process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from dsgd import _core
from dsgd.cluster.driver.channel import Channel, ChannelMessage
from dsgd.cluster.driver.crew import Crew
from dsgd.cluster.driver.options import RunOptions
from dsgd.cluster.driver.reports import StatusSender, TallySender
from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.program.partition import part
from dsgd.cluster.remote.gate import Gate, Peer
from dsgd.cluster.remote.messages import send
from dsgd.cluster.remote.node import Orders, dialled
from dsgd.cluster.remote.nodes import Nodes
from dsgd.cluster.remote.server_host import ServerOrders
from dsgd.cluster.runtime.checkpoint import Checkpoint
from dsgd.cluster.runtime.run_spec import Plan, RunSpec
from dsgd.cluster.tcp.server import run_server
from dsgd.cluster.tcp.worker import WorkerSpec, run_worker
from dsgd.fitting.worker_rows import ProblemTerms

__all__ = ["RemoteCrew"]

_LOG = logging.getLogger("dsgd")
# Where threads of this process reach each other. Letters between nodes never go to a coordinator.
_HERE = "127.0.0.1"
_OF_TABLE = ("name", "size", "dtype", "rule", "width", "step_size")


class RemoteCrew(Crew):
    """The servers and the coordinator, in threads of this process, and the workers, on nodes.

    Parameters
    ----------
    options : RunOptions
    assignment : RunSpec
        Its problem has a sample of the rows only.
    notices : sequence of int
        Clocks of the slowest worker after which records are made, increasing.
    nodes : Nodes
    terms : ProblemTerms
    prepare : callable
        Called with the rank of a node that was started again, to tell it what the former one had been told.
    serve_at : callable, optional
        Called with a shard and its role at the gate: starts `serve_shard` in another process. None: shards are threads
        of this one.
    """

    one_clock = False

    def __init__(
        self,
        options: RunOptions,
        assignment: RunSpec,
        notices: Sequence[int],
        nodes: Nodes,
        terms: ProblemTerms,
        prepare: Callable[[int], None],
        serve_at: Callable[[int, str], None] | None = None,
    ) -> None:
        super().__init__(options, assignment, [1.0] * len(nodes))
        self._options, self._assignment, self._notices = options, assignment, list(notices)
        self._nodes, self._terms, self._prepare = nodes, terms, prepare
        self._serve_at = serve_at
        self._n_orders = 0
        self._gate: Gate = nodes.gate
        self._tables = assignment.table_specs()
        self._plan = Plan(**{each.name: getattr(assignment, each.name) for each in dataclasses.fields(Plan)})

    def check(self) -> None:
        """Do nothing: all nodes have reached this process already."""

    def name(self, rank: int) -> str:
        """Return the name of a node of the run, with its host."""
        node = rank - self._coordinators
        return "coordinator" if node < 0 else self._nodes.name(node)

    def start_servers(self, checkpoint: Checkpoint | None, incarnation: int) -> None:
        """Start all shards. The first one is reached at the port of the gate."""
        for shard, old in enumerate(self.servers):
            if old is not None:
                old.end()
            orders = ServerOrders(
                tables=self._told_tables(),
                start=self._assignment.start,
                staleness=self._plan.algorithm.clock_bound,
                groups=self._groups if shard == 0 else self._groups[:1],
                shard=shard,
                n_shards=len(self.servers),
                incarnation=incarnation,
                checkpoints=[state or None for state in self._states_of(shard, checkpoint)],
                notices=self._notices,
                record_order=self._options.record_answers,
                server=self._options.of_server(),
            )
            self.servers[shard] = self._start_server(shard, orders)

    def _start_server(self, shard: int, orders: ServerOrders) -> Any:
        """Start a shard, in a thread of this process or where `serve_at` starts it."""
        gate = self._gate
        if self._serve_at is not None:
            seat = _Seat(f"server {shard}", self._role("server"), gate.release, orders)
            self._serve_at(shard, seat.role)
            return seat
        spec = orders.spec(
            token=gate.token,
            tls=self._tls(),
            bind=gate.bind,
            advertise=gate.address[0],
            behind=gate if shard == 0 else None,
        )
        return _Thread(f"server {shard}", lambda channel: run_server(spec, StatusSender(channel)))

    def start_workers(self) -> None:
        """Order every node to work."""
        for rank in range(len(self.workers)):
            self.start_worker(rank)

    def start_worker(self, rank: int, *, silent: bool = False) -> Any:
        """Start a node of the run; a life before it is ended first."""
        old, node = self.workers[rank], rank - self._coordinators
        if old is not None:
            old.end()
        if node < 0:
            self.workers[rank] = _Thread("coordinator", self._coordinate)
            self._introduce(rank, self.workers[rank])
            return self.workers[rank]
        self.workers[rank] = _Seat(self.name(rank), self._role("worker"), self._gate.release)
        if self._nodes.alive(node) and not silent:
            self._order(rank)
        else:
            self._nodes.revive(node)
        return self.workers[rank]

    def drop_worker(self, rank: int) -> None:
        """End a node of the run for good."""
        if self.workers[rank] is not None:
            self.workers[rank].end()
        self.workers[rank] = None

    def give_up(self, rank: int) -> None:
        """Refuse a node that comes back although the run goes on without it."""
        self._nodes.give_up(rank - self._coordinators)

    def end_life(self, rank: int) -> None:
        """Do nothing: letters of nodes go over TCP."""

    def listens(self, shard: int, addresses: Collection[Sequence[Any]]) -> list[int]:
        """Keep the addresses of a server process. Where they are others than before, all workers begin again."""
        before = list(self._addresses[shard])
        super().listens(shard, addresses)
        moved = before and before != self._addresses[shard]
        return [rank for rank, child in enumerate(self.workers) if child is not None] if moved else []

    def look(self) -> None:
        """Take the connections that have come since the last look."""
        self._nodes.check()
        for shard, server in enumerate(self.servers):
            if not isinstance(server, _Seat) or server.taken:
                continue
            peer = self._gate.peer(server.role, shard)
            if peer is not None and not peer.channel.ended():
                server.take(peer)
                with contextlib.suppress(OSError):  # it has gone meanwhile: its end is heard
                    send(peer.channel, "begin", server.orders)
        for rank in range(self._coordinators, len(self.workers)):
            seat, node = self.workers[rank], rank - self._coordinators
            self._nodes.hear(node)
            if seat is None or seat.taken:
                continue
            if seat.ordered and not self._nodes.alive(node):  # it died before it came to its work
                self._nodes.revive(node)
                seat.ordered = False
            if not seat.ordered and self._nodes.newer(node):
                self._prepare(node)
                self._order(rank)
            peer = self._gate.peer(seat.role, rank)
            if peer is not None and seat.ordered and not peer.channel.ended():
                seat.take(peer)
                self._introduce(rank, seat)

    def end(self) -> None:
        """End all processes."""
        for child in self.children():
            child.end()
        self._gate.adopt = None

    def _order(self, rank: int) -> None:
        """Tell a node what to do."""
        orders = Orders(
            plan=self._plan,
            node=rank,
            role=self.workers[rank].role,
            groups=self._groups,
            tables=self._told_tables(),
            notices=self._notices,
            speed=self._speeds[rank],
            trace=self._options.trace,
            record_answers=self._options.record_answers,
            client=self._options.of_client(),
            terms=self._terms,
            of_whole=dict(self._assignment.of_whole),
            start=self._assignment.start,
            join_deadline=self._options.join_deadline,
        )
        self._nodes.tell(rank - self._coordinators, "work", (orders,))
        self.workers[rank].ordered = True

    def _introduce(self, rank: int, child: Any) -> None:
        if child.fileno() >= 0:  # others are introduced once they have dialled
            super()._introduce(rank, child)

    def _coordinate(self, channel: Channel) -> None:
        """Run the coordinator, which has no rows of its own."""
        work = self._assignment
        kernels = Kernels(part(work.problem, work.rows[0]), work.of_whole, 1, work.start)
        addresses = channel.receive(self._options.join_deadline).fields["addresses"]
        channel.send("ready")
        spec = WorkerSpec(
            plan=self._plan,
            tables=self._tables,
            node=0,
            groups=self._groups,
            addresses=dialled(addresses, _HERE),
            token=self._gate.token,
            tls=self._tls(),
            bind=_HERE,
            notices=self._notices,
            trace=self._options.trace,
            record_answers=self._options.record_answers,
            client=self._options.of_client(),
            stopped=channel.ended,
        )
        run_worker(spec, kernels, TallySender(channel))

    def _role(self, kind: str) -> str:
        """Return a role at the gate that nobody has had: a connection for a former order must not take its place."""
        self._n_orders += 1
        return f"{kind}, order {self._n_orders}"

    def _told_tables(self) -> list[dict[str, Any]]:
        return [{name: getattr(table, name) for name in _OF_TABLE} for table in self._tables]

    def _tls(self) -> _core.TlsConfig | None:
        if self._gate.tls is not None:
            return self._gate.tls.of_core()
        return _core.TlsConfig() if self._options.tls else None


class _Process:
    """What the driver knows of a process; see `dsgd.cluster.driver.crew.Process`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.heard = time.monotonic()
        self.spoke = self.done = False
        self.channel: Channel | None = None

    def fileno(self) -> int:
        return -1 if self.channel is None else self.channel.fileno()

    def tell(self, kind: str, **fields: Any) -> None:
        if self.channel is not None:
            with contextlib.suppress(OSError):
                self.channel.send(kind, **fields)

    def arrived(self) -> list[ChannelMessage]:
        if self.channel is None:
            return []
        messages = self.channel.arrived()
        self.heard = time.monotonic()
        self.spoke = True
        return messages

    def kill(self) -> None:
        if self.channel is not None:
            self.channel.close()

    def how_it_ended(self) -> str:
        return "closed its connection"


class _Thread(_Process):
    """A process of the run that is a thread of the driver."""

    def __init__(self, name: str, body: Callable[[Channel], None]) -> None:
        super().__init__(name)
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        self._thread = threading.Thread(
            target=_run, args=(body, Channel(theirs), name), name=f"dsgd-{name}", daemon=True
        )
        self._thread.start()

    def end(self) -> None:
        """Close the channel, and wait until the thread has noticed."""
        self.kill()
        self._thread.join(10.0)


def _run(body: Callable[[Channel], None], channel: Channel, name: str) -> None:
    try:
        body(channel)
    except (EOFError, BrokenPipeError):
        pass
    except BaseException as error:
        if not channel.ended():
            _LOG.exception("%s failed", name)
            with contextlib.suppress(OSError):
                channel.send_error(error)
    finally:
        channel.close()


class _Seat(_Process):
    """A process on another host, which may not have dialled yet."""

    def __init__(
        self, name: str, role: str, release: Callable[[Peer], None], orders: ServerOrders | None = None
    ) -> None:
        super().__init__(name)
        self.role = role
        self.ordered = False
        self.orders = orders
        self._release = release
        self._peer: Peer | None = None

    @property
    def taken(self) -> bool:
        """Whether the node has dialled."""
        return self._peer is not None

    def take(self, peer: Peer) -> None:
        """Go on with the connection of the node."""
        self._peer, self.channel = peer, peer.channel
        self.heard = time.monotonic()

    def end(self) -> None:
        """Close the connection: the node notices, and ends."""
        if self._peer is not None:
            self._release(self._peer)
