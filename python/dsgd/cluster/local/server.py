"""A process of a local cluster that serves one shard of the parameter server."""

from __future__ import annotations

import logging
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd import _core
from dsgd.cluster.local.channel import Channel, ChannelMessage
from dsgd.cluster.local.packing import load_run
from dsgd.cluster.local.process import run_process
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
    options = packed.options
    tables = [table.name for table in packed.tables]
    saved = None if told["checkpoint"] is None else map_arrays(told["checkpoint"])[0]
    server = _core.TcpServer(
        packed.tables,
        n_workers=options["n_nodes"],
        token=bytes.fromhex(told["token"]),
        port=told["port"],
        staleness=packed.plan.algorithm.clock_bound,
        shard=told["shard"],
        n_shards=options["n_shards"],
        incarnation=told["incarnation"],
        join_deadline=options["join_deadline"],
        tls=_core.TlsConfig() if options["tls"] else None,
        snapshot_clocks=options["notices"],
        # Of any table: the parent learns the moment from it.
        snapshot_table="weights" if "weights" in tables else tables[0],
        checkpoint=saved,
        record_order=options["record_answers"],
        **options["server"],
    )
    try:
        if saved is None:
            for table in packed.tables:
                if table.name == "weights":
                    begin, end = server.range(table.name)
                    mine = packed.start[begin * table.width : end * table.width]
                    server.assign(table.name, np.ascontiguousarray(mine))
        channel.send("listening", host=server.host, port=server.port)
        server.start()
        _LOG.info("shard %d listens on port %d", told["shard"], server.port)
        _tell(channel, server, tables)
        channel.receive(None)  # the parent closes it when nobody needs the server any longer
    finally:
        server.stop()


def _tell(channel: Channel, server: _core.TcpServer, tables: list[str]) -> None:
    """Report events and signs of life to the parent until all workers have left."""
    told = 0.0
    while True:
        for event in server.wait(_ALIVE_SECONDS):
            if event.kind == "clock" and event.values is not None:
                weights = {"weights": event.values} if "weights" in tables else {}
                _say(channel, server, "clock", weights, clock=event.clock, moment=event.time)
            elif event.kind == "checkpoint":
                channel.send("checkpoint", event.checkpoint, clock=event.clock)
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


def _say(
    channel: Channel, server: _core.TcpServer, kind: str, arrays: dict[str, NDArray[Any]], **fields: float
) -> None:
    reports = [(report.worker, report.time, report.metrics.decode()) for report in server.take_reports()]
    members = [(member.status, member.clock) for member in server.members]
    channel.send(kind, arrays, members=members, reports=reports, **fields)
