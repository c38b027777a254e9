"""The processes of a run as its driver knows them: the same for every place where they may be."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from dsgd.cluster.driver.channel import ChannelMessage
from dsgd.cluster.driver.options import RunOptions
from dsgd.cluster.program.commands import EVERYONE
from dsgd.cluster.program.groups import make_groups
from dsgd.cluster.runtime.checkpoint import Checkpoint
from dsgd.cluster.runtime.run_spec import RunSpec

__all__ = ["Crew", "Process"]


class Process(Protocol):
    """A server or a worker, one life of it.

    Attributes
    ----------
    name : str
        In logs and errors.
    heard : float
        When the process last sent a message, or was started, in seconds of `time.monotonic`.
    spoke : bool
        Whether the process has sent a message.
    done : bool
        Whether the process has reported that its work is done. Set by the driver.
    """

    name: str
    heard: float
    spoke: bool
    done: bool

    def fileno(self) -> int:
        """Return a descriptor that can be read when messages have arrived, or the process has ended."""

    def tell(self, kind: str, **fields: Any) -> None:
        """Send a message. No error if the process has ended: `arrived` reports its end."""

    def arrived(self) -> list[ChannelMessage]:
        """Return the messages of the process that have arrived; `EOFError` if it has ended."""

    def kill(self) -> None:
        """Let the process end, without a wait."""

    def how_it_ended(self) -> str:
        """Return how the process ended, in words."""


class Crew(ABC):
    """All processes of a run.

    Parameters
    ----------
    options : RunOptions
    assignment : RunSpec
    speeds : sequence of float
        Of every worker, see `WorkerSpec`.

    Attributes
    ----------
    servers : list of (Process or None)
        By shard; None before the start.
    workers : list of (Process or None)
        By rank; None before the start.
    one_clock : bool
        Whether times that the processes tell are of the clock of this host (`time.monotonic`).
    through : str
        What stands between workers and servers, in words for an error.
    """

    one_clock = True
    through = ""

    def __init__(self, options: RunOptions, assignment: RunSpec, speeds: Sequence[float]) -> None:
        n = assignment.n_nodes
        self.servers: list[Any] = [None] * options.servers
        self.workers: list[Any] = [None] * n
        self._coordinators = int(assignment.algorithm.has_coordinator)
        self._worker_speeds = list(speeds)
        self._speeds = [1.0] * self._coordinators + self._worker_speeds
        self._groups = make_groups(options.groups, n)
        # By shard: where its process listens, for the group of all nodes and, if it is the first shard,
        # for the further groups.
        self._addresses: list[list[tuple[str, int]]] = [[] for _ in range(options.servers)]

    @abstractmethod
    def check(self) -> None:
        """Raise `ClusterError` if no process could reach another."""

    @abstractmethod
    def start_servers(self, checkpoint: Checkpoint | None, incarnation: int) -> None:
        """Start all shards; shards that are started again keep their ports if they can."""

    @abstractmethod
    def start_workers(self) -> None:
        """Start the process of every node."""

    @abstractmethod
    def start_worker(self, rank: int, *, silent: bool = False) -> Process:
        """Start the process of a node; if the node had a process, end that one first.

        `silent`: nothing is heard of that one, which may stand at a host that is cut off.
        """

    @abstractmethod
    def drop_worker(self, rank: int) -> None:
        """End the process of a node for good."""

    @abstractmethod
    def end_life(self, rank: int) -> None:
        """Let other nodes write letters where a node was writing when its process ended."""

    @abstractmethod
    def end(self) -> None:
        """End all processes."""

    def look(self) -> None:  # noqa: B027  # most kinds of processes need no look
        """Look at the processes from outside, several times a second; raise an error that ends the run."""

    def about(self, staleness: float) -> dict[str, Any]:
        """Return the facts of the run for its trace (`Trace.about`)."""
        return {
            "nodes": len(self.workers),
            "servers": len(self.servers),
            "staleness": None if staleness == math.inf else staleness,
            "speeds": self._worker_speeds,
        }

    def listens(self, shard: int, addresses: Collection[Sequence[Any]]) -> list[int]:
        """Keep the addresses of a server process; when all are known, send them to the workers.

        Returns
        -------
        list of int
            Workers that must be started again, since they know the servers by other addresses.
        """
        known = all(self._addresses)
        self._addresses[shard] = [(host, port) for host, port in addresses]
        if not known:
            for rank, child in enumerate(self.workers):
                if child is not None:
                    self._introduce(rank, child)
        return []

    def name(self, rank: int) -> str:
        """Return the name of a node; workers are numbered from 0, without the coordinator."""
        return "coordinator" if rank < self._coordinators else f"worker {rank - self._coordinators}"

    def children(self) -> Iterator[Any]:
        """Yield all processes."""
        yield from (child for child in [*self.servers, *self.workers] if child is not None)

    def _introduce(self, rank: int, child: Process) -> None:
        """Tell a worker where the servers of its groups listen."""
        if not all(self._addresses):
            return
        shards = {EVERYONE: [self._front(*addresses[0]) for addresses in self._addresses]}
        further = zip(self._groups[1:], self._addresses[0][1:], strict=True)
        own = {group.name: [self._front(*address)] for group, address in further if rank in group.members}
        child.tell("connect", addresses={**shards, **own})

    def _servers_of(self, shard: int) -> list[int]:
        """Return the places in `Checkpoint.shards` of the servers in the process of a shard."""
        n = len(self.servers)
        return [shard, *(range(n, n + len(self._groups) - 1) if shard == 0 else ())]

    def _states_of(self, shard: int, checkpoint: Checkpoint | None) -> list[Mapping[str, Any]]:
        """Return the states from which the servers of a process go on; an empty one is the beginning."""
        return [{} if checkpoint is None else checkpoint.shards[number] for number in self._servers_of(shard)]

    def _front(self, host: str, port: int) -> tuple[str, int]:
        """Return the address to which workers connect to reach a shard."""
        return host, port
