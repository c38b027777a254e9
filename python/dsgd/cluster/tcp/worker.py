"""`run_worker`: one node of a run, which knows nothing of who started it.

It can be called by a process of a local cluster, by hand on any host, or by an engine. All that it needs
comes as arguments, and all that it has to tell goes to a `WorkerEvents`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from dsgd import _core
from dsgd.cluster.program.groups import GroupMembers, groups_of
from dsgd.cluster.program.kernels import Kernels
from dsgd.cluster.runtime.run_spec import Plan
from dsgd.cluster.tcp.connections import advertised
from dsgd.cluster.tcp.network import NetworkWorker, Tally

__all__ = ["WorkerEvents", "WorkerSpec", "run_worker"]


@dataclass(frozen=True, kw_only=True)
class WorkerSpec:
    """What a node must know of a run, but for its data.

    Attributes
    ----------
    plan : Plan
    tables : sequence of _core.TableSpec
        The tables of every group's servers.
    node : int
        Number of the node: its rank in the group of all nodes.
    groups : sequence of GroupMembers
        All groups of the run, first the group of all nodes.
    addresses : mapping of str to sequence of tuple (str, int)
        By group of the node: host and port of every shard of its server.
    token : bytes
        The secret that all processes of the run share.
    tls : _core.TlsConfig, optional
        Encryption of the connections.
    bind : str
        Numeric address of this host at which the node listens for messages of its peers.
    advertise : str, optional
        Address of this host that peers connect to, if it is another one than `bind`.
    speed : float
        See `NetworkWorker`.
    notices : sequence of int
        Clocks after which `WorkerEvents.progress` is called, increasing.
    trace, record_answers : bool
        Whether to keep a trace, and in it the answers of all commands.
    letters : _core.SharedMailbox, optional
        Mailboxes in memory that all nodes of this host share, for messages in the group of all nodes.
    stopped : callable, optional
        Asked at least once a second. The node ends with `ClusterError` once it returns True.
    client : mapping of str
        Further options of `_core.TcpClient`: ``heartbeat_interval``, ``deadline``, ``payload_checksum``,
        ``wire_dtype``.
    """

    plan: Plan
    tables: Sequence[_core.TableSpec]
    node: int
    groups: Sequence[GroupMembers]
    addresses: Mapping[str, Sequence[tuple[str, int]]]
    token: bytes
    tls: _core.TlsConfig | None = None
    bind: str = "127.0.0.1"
    advertise: str | None = None
    speed: float = 1.0
    notices: Sequence[int] = ()
    trace: bool = False
    record_answers: bool = False
    letters: _core.SharedMailbox | None = None
    stopped: Callable[[], bool] | None = None
    client: Mapping[str, Any] = field(default_factory=dict)


class WorkerEvents(Protocol):
    """Hears how a node comes on. An error that a method raises ends the node."""

    def progress(self, tally: Tally, /) -> None:
        """Hear that the node has finished one of the clocks in `WorkerSpec.notices`."""

    def finished(self, tally: Tally, /) -> None:
        """Hear that the node has left the servers of all its groups."""


def run_worker(spec: WorkerSpec, kernels: Kernels, events: WorkerEvents) -> None:
    """Run the program of a node, until the node has left the servers.

    Parameters
    ----------
    spec : WorkerSpec
    kernels : Kernels
        The arithmetic on the rows of the node.
    events : WorkerEvents

    Raises
    ------
    ConfigError
        If `bind` is every address of the host and `advertise` is missing, or if the servers have other
        tables.
    ClusterError
        If `stopped` says so.
    WorkerLostError, DeadlineError, AuthenticationError, ProtocolError
        If the servers have given up a worker, or cannot be reached.
    Exception
        The error that the program raised.
    """
    groups = groups_of(spec.node, spec.groups)
    address = advertised(spec.bind, spec.advertise)

    def connect(group: str) -> _core.TcpClient:
        return _core.TcpClient(
            groups[group].index(spec.node),
            spec.tables,
            shards=spec.addresses[group],
            token=spec.token,
            listen=spec.bind,
            advertise=address,
            tls=spec.tls,
            **spec.client,
        )

    worker = NetworkWorker(
        spec.plan,
        spec.node,
        groups,
        kernels,
        connect,
        speed=spec.speed,
        notices=spec.notices,
        on_notice=events.progress,
        traced=spec.trace,
        record_answers=spec.record_answers,
        letters=spec.letters,
        stopped=spec.stopped,
    )
    events.finished(worker.run())
