"""A process of a local cluster that serves one shard of the parameter server.

The process of the first shard also serves the further groups, each by a server of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.cluster.local.channel import Channel, ChannelMessage
from dsgd.cluster.local.packing import PackedRun, load_run
from dsgd.cluster.local.process import run_process
from dsgd.cluster.program.groups import GroupMembers
from dsgd.data.cache import map_arrays
from dsgd.errors import WorkerLostError

__all__ = ["main"]

_LOG = logging.getLogger("dsgd")
# Seconds after which the process tells the parent again that it is alive.
_ALIVE_SECONDS = 0.25


def main() -> None:
    """Run one shard of the parameter server."""
    run_process(_serve)


def _serve(channel: Channel, first: ChannelMessage) -> None:
    told = first.fields
    packed = load_run(told["run"])
    groups = [GroupMembers(name, tuple(members)) for name, members in packed.options["groups"]]
    served = groups if told["shard"] == 0 else groups[:1]
    servers: list[_core.TcpServer] = []
    try:
        for group, port, checkpoint in zip(served, told["ports"], told["checkpoints"], strict=True):
            servers.append(_make_server(packed, told, group, group is groups[0], port, checkpoint))
        channel.send("listening", addresses=[(server.host, server.port) for server in servers])
        for server in servers:
            server.start()
        _LOG.info("shard %d listens on port %d", told["shard"], servers[0].port)
        _tell(channel, servers, served, [table.name for table in packed.tables])
        channel.receive(None)  # the parent closes it when nobody needs the servers any longer
    finally:
        for server in servers:
            server.stop()


def _make_server(
    packed: PackedRun, told: dict[str, Any], group: GroupMembers, of_all: bool, port: int, checkpoint: str | None
) -> _core.TcpServer:
    """Return a server that listens and is not started: a shard of the group of all nodes, or a further group's."""
    options = packed.options
    tables = [table.name for table in packed.tables]
    saved = None if checkpoint is None else map_arrays(checkpoint)[0]
    server = _core.TcpServer(
        packed.tables,
        n_workers=len(group.members),
        token=bytes.fromhex(told["token"]),
        port=port,
        staleness=packed.plan.algorithm.clock_bound,
        shard=told["shard"] if of_all else 0,
        n_shards=options["n_shards"] if of_all else 1,
        incarnation=told["incarnation"],
        join_deadline=options["join_deadline"],
        tls=_core.TlsConfig() if options["tls"] else None,
        snapshot_clocks=options["notices"] if of_all else (),
        # Of any table: the parent learns the moment from it.
        snapshot_table="weights" if "weights" in tables else tables[0],
        checkpoint=saved,
        record_order=options["record_answers"] and of_all,
        **options["server"],
    )
    if saved is None:
        for table in packed.tables:
            if table.name == "weights":
                begin, end = server.range(table.name)
                mine = packed.start[begin * table.width : end * table.width]
                server.assign(table.name, np.ascontiguousarray(mine))
    return server


def _tell(
    channel: Channel, servers: Sequence[_core.TcpServer], groups: Sequence[GroupMembers], tables: list[str]
) -> None:
    """Report events and signs of life to the parent until all workers have left."""
    server, told = servers[0], 0.0
    while True:
        events = server.wait(_ALIVE_SECONDS)
        # Before the events of the group of all nodes: a further group's checkpoint of a clock that all
        # workers have finished is older than that clock's end.
        _tell_of_groups(channel, servers, groups)
        for event in events:
            if event.kind == "clock" and event.values is not None:
                weights = {"weights": event.values} if "weights" in tables else {}
                _say(channel, server, "clock", weights, clock=event.clock, moment=event.time)
            elif event.kind == "checkpoint":
                channel.send("checkpoint", event.checkpoint, clock=event.clock, group=0)
            elif event.kind == "failed":
                raise WorkerLostError(event.message)
            elif event.kind == "finished":
                _say(channel, server, "order", {"ranks": np.array(server.take_order(), np.int64)}, clock=server.slowest)
                arrays = {name: server.snapshot(name) for name in tables}
                _say(channel, server, "finished", arrays, clock=server.slowest, moment=event.time)
                return
        if time.monotonic() - told > _ALIVE_SECONDS:
            told = time.monotonic()
            _say(channel, server, "alive", {}, clock=server.slowest, moment=told)


def _tell_of_groups(channel: Channel, servers: Sequence[_core.TcpServer], groups: Sequence[GroupMembers]) -> None:
    """Report what has happened in the further groups."""
    for number, (server, group) in enumerate(zip(servers, groups, strict=True)):
        if number == 0:
            continue
        for event in server.wait(0.0):
            if event.kind == "checkpoint":
                channel.send("checkpoint", event.checkpoint, clock=event.clock, group=number)
            elif event.kind == "failed":
                raise WorkerLostError(f"in group {group.name!r} of the nodes {group.members}: {event.message}")
        reports = [(group.members[each.worker], each.time, each.metrics.decode()) for each in server.take_reports()]
        if reports:
            channel.send("reports", reports=reports)


def _say(
    channel: Channel, server: _core.TcpServer, kind: str, arrays: dict[str, NDArray[Any]], **fields: float
) -> None:
    reports = [(report.worker, report.time, report.metrics.decode()) for report in server.take_reports()]
    members = [(member.status, member.clock) for member in server.members]
    channel.send(kind, arrays, members=members, reports=reports, **fields)
