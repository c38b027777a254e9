"""A worker process, started by a local cluster."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from dsgd import _core
from dsgd.cluster.local.channel import Channel, ChannelMessage
from dsgd.cluster.local.letters import map_letters
from dsgd.cluster.local.packing import load_kernels, load_run
from dsgd.cluster.local.process import run_process
from dsgd.cluster.program.groups import GroupMembers
from dsgd.cluster.tcp.network import Tally
from dsgd.cluster.tcp.worker import WorkerSpec, run_worker

__all__ = ["TallySender", "main"]

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
    run_worker(spec, kernels, TallySender(channel.send))
    _LOG.info("left")


class TallySender:
    """Sends how a worker comes on to whoever drives the run.

    Parameters
    ----------
    send : callable
        Takes the kind of a message, its arrays, and its fields, which JSON can hold; as `Channel.send`.
    """

    def __init__(self, send: Callable[..., None]) -> None:
        self._tell = send

    def progress(self, tally: Tally) -> None:
        self._send("tally", tally)

    def finished(self, tally: Tally) -> None:
        self._send("done", tally)

    def _send(self, kind: str, tally: Tally) -> None:
        """Send the tally, with the observed vector and the events of the trace since the last message."""
        arrays = {} if tally.trace is None else {"trace": np.frombuffer(tally.trace.drain().to_bytes(), np.uint8)}
        if tally.observed is not None:
            arrays["observed"] = tally.observed.vector
        self._tell(
            kind,
            arrays,
            clock=tally.clock,
            began=tally.began,
            waited=tally.waited,
            delays=[tally.delays[delay] for delay in range(max(tally.delays, default=-1) + 1)],
            samples=tally.samples,
            bytes_sent=tally.bytes_sent,
            bytes_received=tally.bytes_received,
            log_weight=0.0 if tally.observed is None else tally.observed.log_weight,
            counts={} if tally.observed is None else dict(tally.observed.counts),
        )
