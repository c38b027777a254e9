"""A process of a local cluster that serves one shard of the parameter server.

The process of the first shard also serves the further groups, each by a server of its own.
"""

from __future__ import annotations

from dsgd import _core
from dsgd.cluster.driver.channel import Channel, ChannelMessage
from dsgd.cluster.driver.reports import StatusSender
from dsgd.cluster.local.packing import load_run
from dsgd.cluster.local.process import run_process
from dsgd.cluster.program.groups import GroupMembers
from dsgd.cluster.tcp.server import ServerSpec, run_server
from dsgd.data.cache import map_arrays

__all__ = ["main"]


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
    run_server(spec, StatusSender(channel))
