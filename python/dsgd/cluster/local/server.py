"""A process of a local cluster that serves one shard of the parameter server.

The process of the first shard also serves the further groups, each by a server of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.cluster.local.channel import Channel, ChannelMessage
from dsgd.cluster.local.packing import load_run
from dsgd.cluster.local.process import run_process
from dsgd.cluster.program.groups import GroupMembers
from dsgd.cluster.tcp.server import ServerSpec, ServerStatus, run_server
from dsgd.data.cache import map_arrays

__all__ = ["StatusSender", "main"]


def main() -> None:
    """Run one shard of the parameter server."""
    run_process(_serve)


def _serve(channel: Channel, first: ChannelMessage) -> None:
    told = first.fields
    packed = load_run(told["run"])
    options = packed.options
    groups = [GroupMembers(name, tuple(members)) for name, members in options["groups"]]
    spec = ServerSpec(
        tables=packed.tables,
        start=packed.start,
        staleness=packed.plan.algorithm.clock_bound,
        groups=groups if told["shard"] == 0 else groups[:1],
        shard=told["shard"],
        n_shards=options["n_shards"],
        incarnation=told["incarnation"],
        checkpoints=[None if path is None else map_arrays(path)[0] for path in told["checkpoints"]],
        token=bytes.fromhex(told["token"]),
        tls=_core.TlsConfig() if options["tls"] else None,
        ports=told["ports"],
        notices=options["notices"],
        record_order=options["record_answers"],
        server={"join_deadline": options["join_deadline"], **options["server"]},
    )
    run_server(spec, StatusSender(channel.send, lambda: channel.receive(None)))


class StatusSender:
    """Sends what happens on the servers to whoever drives the run.

    Parameters
    ----------
    send : callable
        Takes the kind of a message, its arrays, and its fields, which JSON can hold; as `Channel.send`.
    wait : callable
        Returns, or raises, when nobody needs the servers any longer.
    """

    def __init__(self, send: Callable[..., None], wait: Callable[[], object]) -> None:
        self._tell = send
        self._wait = wait

    def listening(self, addresses: list[tuple[str, int]]) -> None:
        self._tell("listening", addresses=addresses)

    def clock(self, status: ServerStatus, weights: NDArray[Any] | None) -> None:
        self._send("clock", status, {} if weights is None else {"weights": weights})

    def checkpoint(self, group: int, clock: int, state: dict[str, NDArray[Any]]) -> None:
        self._tell("checkpoint", state, group=group, clock=clock)

    def alive(self, status: ServerStatus) -> None:
        self._send("alive", status, {})

    def finished(self, status: ServerStatus, tables: dict[str, NDArray[Any]], order: NDArray[np.int64]) -> None:
        self._send("order", status._replace(reports=[]), {"ranks": order})
        self._send("finished", status, tables)
        self._wait()

    def _send(self, kind: str, status: ServerStatus, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._tell(kind, arrays, **status._asdict())
