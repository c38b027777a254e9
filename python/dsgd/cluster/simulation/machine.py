"""Interfaces between simulated workers, simulated servers and the cluster that holds them."""

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
    """The interface of a worker to servers and to its peers."""

    node: int
    kernels: Kernels

    @property
    def life(self) -> int:
        """Number of the worker's current life; frames for an earlier life are dropped."""

    def deliver(self, connection: Connection, frame: bytes) -> None:
        """Receive a frame from a server."""

    def deliver_letter(self, life: int, group: str, sender: int, frame: bytes) -> None:
        """Receive a frame of a peer's message."""

    def lose(self, connection: Connection) -> None:
        """Learn that a connection is closed."""


class ServerEnd(Protocol):
    """The interface of a shard of a server to workers."""

    endpoint: int

    def accept(self, connection: Connection) -> bool:
        """Accept a connection; return False if the server is down."""

    def deliver(self, connection: Connection, frame: bytes) -> None:
        """Receive a frame from a worker."""

    def lose(self, connection: Connection) -> None:
        """Learn that a connection is closed."""


class Connection:
    """A connection of a worker to a shard. A crash of either side closes it for good."""

    __slots__ = ("group", "number", "open", "server", "shard", "worker")

    def __init__(self, worker: WorkerEnd, server: ServerEnd, group: str, shard: int) -> None:
        self.number = next(_NUMBERS)
        self.worker = worker
        self.server = server
        self.group = group
        self.shard = shard
        self.open = True


class Group:
    """Nodes with a parameter server of their own.

    `members[rank]` is the number of a node, `servers[k]` holds shard k.
    """

    def __init__(self, name: str, members: tuple[int, ...], tables: list[_core.TableSpec]) -> None:
        self.name = name
        self.members = members
        self.tables = tables
        self.servers: Sequence[ServerEnd] = ()


class Machine(Protocol):
    """The interface of the simulated cluster to its servers and workers."""

    config: Simulation
    start: NDArray[Any]
    staleness: float
    mailbox: Mailbox
    sparse_tables: frozenset[str]
    queue: EventQueue
    trace: Trace | None
    network: Links
    last_progress: float

    @property
    def workers(self) -> Sequence[WorkerEnd]:
        """The workers, in the order of their node numbers."""

    def shards_of(self, group: Group) -> int:
        """Return the number of shards of a group's parameter server."""

    def groups_of(self, node: int) -> dict[str, Group]:
        """Return the groups of a node by name; the group of all nodes is the first."""

    def task(self, worker: WorkerEnd, start_clock: int, saved: bytes, now: Callable[[], float]) -> WorkerTask:
        """Return the task of a worker for a new life."""

    def program(self, node: int, task: WorkerTask) -> Program:
        """Return the program of a node for a new life."""

    def observer(self, node: int) -> Observer | None:
        """Return the observer that records the answers of a node; None if none are recorded."""

    def keep_delays(self, delays: Counter[int]) -> None:
        """Add the `ProgramRun.pull_delays` of a program that has ended."""

    def worker_done(self) -> None:
        """Count a worker that has left, or crashed for good."""

    def notice_clock(self, slowest: int) -> None:
        """Call `on_clock` if the slowest worker has finished the clock of the next record."""
