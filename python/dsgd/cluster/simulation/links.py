"""The network of a simulated cluster: a full-duplex link for every node, with a queue at each end."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from dsgd.cluster.runtime.trace import Trace
from dsgd.cluster.simulation.events import EventQueue
from dsgd.cluster.simulation.failures import SERVER, FailurePlan

__all__ = ["Links"]


class Links:
    """Carries frames between nodes.

    A frame leaves when those before it have left, at the bandwidth of the sender's link; its first byte arrives a
    latency (and jitter) later, and its last when the receiver's link has taken those that arrived before it. Frames of
    one pair of nodes arrive in the order in which they were sent, unless the failure plan delays them.

    Parameters
    ----------
    queue : EventQueue
    bandwidths : sequence of float
        Bytes a second, of every node; those of the server's shards are the last.
    latencies : sequence of float
        Seconds from a node to the middle of the network, whose sum two nodes are apart.
    jitter : float
        Mean of an exponential addition to the latency of a frame, seconds.
    plan : FailurePlan
    seed : int
    trace : Trace or None
    n_nodes : int
        Without the server's shards.
    """

    def __init__(
        self,
        queue: EventQueue,
        bandwidths: Sequence[float],
        latencies: Sequence[float],
        jitter: float,
        plan: FailurePlan,
        seed: int,
        trace: Trace | None,
        n_nodes: int,
    ) -> None:
        self.sent = [0] * len(bandwidths)
        self.received = [0] * len(bandwidths)
        self._queue = queue
        self._bandwidths = bandwidths
        self._latencies = latencies
        self._jitter = jitter
        self._plan = plan
        self._random = random.Random(f"jitter {seed}")
        self._trace = trace
        self._n_nodes = n_nodes
        self._out_free = [0.0] * len(bandwidths)
        self._in_free = [0.0] * len(bandwidths)
        self._last_first_byte: dict[tuple[int, int], float] = {}

    def latency(self, source: int, target: int) -> float:
        """Return the time that a frame of no bytes takes, in seconds."""
        return self._latencies[source] + self._latencies[target]

    def send(self, source: int, target: int, size: int, deliver: Callable[..., None], *arguments: Any) -> float:
        """Carry a frame of `size` bytes; `deliver` is called for each copy that arrives. Return when it has left."""
        now = self._queue.now
        begin = max(now, self._out_free[source])
        gone = begin + size / self._bandwidths[source]
        self._out_free[source] = gone
        self.sent[source] += size
        first_byte = begin + self._latencies[source] + self._latencies[target]
        if self._jitter:
            first_byte += self._random.expovariate(1 / self._jitter)
            pair = (source, target)
            first_byte = max(first_byte, self._last_first_byte.get(pair, 0.0))
            self._last_first_byte[pair] = first_byte
        for delay in self._plan.fate(now, self._plan_name(source), self._plan_name(target)).delays:
            # The last byte cannot arrive before it has left.
            not_before = gone + (first_byte - begin) + delay
            self._queue.at(
                first_byte + delay, self._arrive, source, target, size, begin, not_before, deliver, arguments
            )
        return gone

    def _plan_name(self, node: int) -> int:
        """Return how failures call a node: all shards of the server, which are the last, are one."""
        return node if node < self._n_nodes else SERVER

    def _arrive(
        self,
        source: int,
        target: int,
        size: int,
        begin: float,
        not_before: float,
        deliver: Callable[..., None],
        arguments: tuple[Any, ...],
    ) -> None:
        """Put a frame, whose first byte is here, into the queue at the receiver's end."""
        end = max(max(self._queue.now, self._in_free[target]) + size / self._bandwidths[target], not_before)
        self._in_free[target] = end
        self.received[target] += size
        if self._trace is not None:
            self._trace.transfer(source, target, begin, end, size)
        self._queue.at(end, deliver, *arguments)
