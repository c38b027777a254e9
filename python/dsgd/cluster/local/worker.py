"""A worker process, started by a local cluster."""

from __future__ import annotations

import logging

import numpy as np

from dsgd import _core
from dsgd.cluster.local.channel import Channel, ChannelMessage
from dsgd.cluster.local.letters import map_letters
from dsgd.cluster.local.packing import load_kernels, load_run
from dsgd.cluster.local.process import run_process
from dsgd.cluster.tcp.network import NetworkWorker, Tally

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
    shards = channel.receive(options["join_deadline"]).fields["shards"]
    channel.send("ready")

    def report(tally: Tally, kind: str = "tally") -> None:
        _send(channel, kind, tally)

    client = _core.TcpClient(
        told["rank"],
        packed.tables,
        shards=[(host, port) for host, port in shards],
        token=bytes.fromhex(told["token"]),
        listen="127.0.0.1",
        tls=_core.TlsConfig() if options["tls"] else None,
        **options["client"],
    )
    try:
        worker = NetworkWorker(
            packed.plan,
            told["rank"],
            options["n_nodes"],
            kernels,
            client,
            speed=told["speed"],
            origin=options["origin"],
            notices=options["notices"],
            on_notice=report,
            traced=options["trace"],
            record_answers=options["record_answers"],
            letters=None if told["letters"] is None else map_letters(told["rank"], **told["letters"]),
        )
        report(worker.run(), "done")
    finally:
        client.stop()
    _LOG.info("left")


def _send(channel: Channel, kind: str, tally: Tally) -> None:
    """Send the tally to the parent, with the events of the trace since the last message."""
    arrays = {} if tally.trace is None else {"trace": np.frombuffer(tally.trace.drain().to_bytes(), np.uint8)}
    channel.send(
        kind,
        arrays,
        clock=tally.clock,
        waited=tally.waited,
        delays=[tally.delays[delay] for delay in range(max(tally.delays, default=-1) + 1)],
        samples=tally.samples,
        bytes_sent=tally.bytes_sent,
        bytes_received=tally.bytes_received,
    )
