"""What servers and workers tell the driver of a run, as messages of a channel."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsgd.cluster.driver.channel import Channel
from dsgd.cluster.tcp.network import Tally
from dsgd.cluster.tcp.server import ServerStatus

__all__ = ["StatusSender", "TallySender"]


class TallySender:
    """Sends how a worker comes on to whoever drives the run.

    Parameters
    ----------
    channel : Channel
    """

    def __init__(self, channel: Channel) -> None:
        self._tell = channel.send

    def progress(self, tally: Tally) -> None:
        """Send the tally of a clock."""
        self._send("tally", tally)

    def finished(self, tally: Tally) -> None:
        """Send the last tally."""
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
            sent=time.monotonic(),
            waited=tally.waited,
            delays=[tally.delays[delay] for delay in range(max(tally.delays, default=-1) + 1)],
            samples=tally.samples,
            bytes_sent=tally.bytes_sent,
            bytes_received=tally.bytes_received,
            log_weight=0.0 if tally.observed is None else tally.observed.log_weight,
            counts={} if tally.observed is None else dict(tally.observed.counts),
        )


class StatusSender:
    """Sends what happens on the servers to whoever drives the run.

    Parameters
    ----------
    channel : Channel
        Its other end is closed when nobody needs the servers any longer.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._tell = channel.send

    def listening(self, addresses: list[tuple[str, int]]) -> None:
        """Send the addresses."""
        self._tell("listening", addresses=addresses)

    def clock(self, status: ServerStatus, weights: NDArray[Any] | None) -> None:
        """Send the weights of a clock."""
        self._send("clock", status, {} if weights is None else {"weights": weights})

    def checkpoint(self, group: int, clock: int, state: dict[str, NDArray[Any]]) -> None:
        """Send a checkpoint."""
        self._tell("checkpoint", state, group=group, clock=clock)

    def alive(self, status: ServerStatus) -> None:
        """Send the state."""
        self._send("alive", status, {})

    def finished(self, status: ServerStatus, tables: dict[str, NDArray[Any]], order: NDArray[np.int64]) -> None:
        """Send the tables, and wait until the driver closes the channel."""
        self._send("order", status._replace(reports=[]), {"ranks": order})
        self._send("finished", status, tables)
        self._channel.receive(None)  # the servers go on until this process is ended

    def _send(self, kind: str, status: ServerStatus, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._tell(kind, arrays, **status._asdict(), sent=time.monotonic())
