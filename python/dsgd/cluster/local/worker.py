"""A worker process, started by a local cluster."""

from __future__ import annotations

import logging

from dsgd import _core
from dsgd.cluster.driver.channel import Channel, ChannelMessage
from dsgd.cluster.driver.reports import TallySender
from dsgd.cluster.local.letters import map_letters
from dsgd.cluster.local.packing import load_kernels, load_run
from dsgd.cluster.local.process import run_process
from dsgd.cluster.program.groups import GroupMembers
from dsgd.cluster.tcp.worker import WorkerSpec, run_worker

__all__ = ["main"]

_LOG = logging.getLogger("dsgd")


def main() -> None:
    """Run one worker of a local cluster."""
    run_process(_work)


def _work(channel: Channel, first: ChannelMessage) -> None:
    told = first.fields
    packed = load_run(told["run"])
    options = packed.options
    kernels = load_kernels(told["part"], packed, options["n_threads"])
    _LOG.info("%d rows on %d thread(s)", kernels.n_samples, options["n_threads"])
    addresses = channel.receive(options["join_deadline"]).fields["addresses"]
    channel.send("ready")
    spec = WorkerSpec(
        plan=packed.plan,
        tables=packed.tables,
        node=told["rank"],
        groups=[GroupMembers(name, tuple(members)) for name, members in options["groups"]],
        addresses={group: [(host, port) for host, port in shards] for group, shards in addresses.items()},
        token=bytes.fromhex(told["token"]),
        tls=_core.TlsConfig() if options["tls"] else None,
        speed=told["speed"],
        notices=options["notices"],
        trace=options["trace"],
        record_answers=options["record_answers"],
        client=options["client"],
        letters=None if told["letters"] is None else map_letters(told["rank"], **told["letters"]),
    )
    run_worker(spec, kernels, TallySender(channel))
    _LOG.info("left")
