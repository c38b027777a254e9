"""What simulated servers and workers ask of the cluster they are in, and of the other end of a connection."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from dsgd import _core
from dsgd.algorithms.distributed import Mailbox
from dsgd.cluster.program.commands import Program
from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.program.task import WorkerTask
from dsgd.cluster.runtime.program_run import Observer
from dsgd.cluster.runtime.trace import Trace
from dsgd.cluster.simulation.config import Simulation
from dsgd.cluster.simulation.events import EventQueue
from dsgd.cluster.simulation.links import Links

__all__ = ["Connection", "Group", "Machine", "ServerEnd", "WorkerEnd"]

_NUMBERS = itertools.count(1)


class WorkerEnd(Protocol):
    """A worker, as a server and its peers see it."""

    node: int
    kernels: Kernels

    @property
    def life(self) -> int:
        """The life it is in; frames of an earlier one are dropped."""

    def deliver(self, connection: Connection, frame: bytes) -> None:
        """Take a frame of the server."""

    def deliver_letter(self, life: int, group: str, sender: int, frame: bytes) -> None:
        """Take a letter of a peer."""

    def lose(self, connection: Connection) -> None:
        """Note that the connection is gone."""


class ServerEnd(Protocol):
    """A server, as a worker sees it."""

    endpoint: int

    def accept(self, connection: Connection) -> bool:
        """Begin to serve a connection; return whether it can."""

    def deliver(self, connection: Connection, frame: bytes) -> None:
        """Take a frame of the worker."""

    def lose(self, connection: Connection) -> None:
        """Note that the connection is gone."""


class Connection:
    """A connection between one life of a worker and one of a server."""

    __slots__ = ("group", "number", "open", "server", "shard", "worker")

    def __init__(self, worker: WorkerEnd, server: ServerEnd, group: str, shard: int) -> None:
        self.number = next(_NUMBERS)
        self.worker = worker
        self.server = server
        self.group = group
        self.shard = shard
        self.open = True


class Group:
    """Nodes with a parameter server of their own; `members[rank]` is a node, `servers[k]` holds shard k."""

    def __init__(self, name: str, members: tuple[int, ...], tables: list[_core.TableSpec]) -> None:
        self.name = name
        self.members = members
        self.tables = tables
        self.servers: Sequence[ServerEnd] = ()


class Machine(Protocol):
    """The simulated cluster, as its servers and workers see it."""

    config: Simulation
    start: NDArray[Any]
    staleness: float
    mailbox: Mailbox
    queue: EventQueue
    trace: Trace | None
    network: Links
    last_progress: float

    @property
    def workers(self) -> Sequence[WorkerEnd]:
        """The workers by node."""

    def shards_of(self, group: Group) -> int:
        """Return how many shards the servers of a group have."""

    def groups_of(self, node: int) -> dict[str, Group]:
        """Return the groups that a node is a member of, that of all first."""

    def task(self, worker: WorkerEnd, start_clock: int, saved: bytes, now: Callable[[], float]) -> WorkerTask:
        """Return the task of a worker's life."""

    def program(self, node: int, task: WorkerTask) -> Program:
        """Return the program of a node's life."""

    def observer(self, node: int) -> Observer | None:
        """Return what keeps the answers of a node, where the trace is to be replayed."""

    def keep_delays(self, delays: Counter[int]) -> None:
        """Add what a program that has ended observed."""

    def worker_done(self) -> None:
        """Count a worker that has left, or crashed for good."""

    def notice_clock(self, slowest: int) -> None:
        """Show the weights where the slowest worker has come far enough."""
