"""The network of a simulated cluster: each node has a full-duplex link with queues at both ends."""

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

    A frame begins to leave when the frames before it have left the sender's link, and leaves at the
    bandwidth of that link. Its first byte arrives a latency (and jitter) after that begin. The
    receiver's link then takes the frame, at its own bandwidth, after the frames that arrived before
    it. Frames from one node to another arrive in the order in which they were sent, unless the
    failure plan delays them.

    Parameters
    ----------
    queue : EventQueue
    bandwidths : sequence of float
        Bandwidth of every node, bytes a second; the shards of the server come last.
    latencies : sequence of float
        Seconds from each node to the middle of the network. The latency between two nodes is the
        sum of their elements.
    jitter : float
        Mean of an exponential random time that is added to the latency of a frame, seconds.
    plan : FailurePlan
    seed : int
    trace : Trace or None
    n_nodes : int
        Number of nodes without the shards of the server.

    Attributes
    ----------
    sent, received : list of int
        Bytes that each node has sent and received.
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
        """Return the seconds that an empty frame takes from `source` to `target`."""
        return self._latencies[source] + self._latencies[target]

    def send(self, source: int, target: int, size: int, deliver: Callable[..., None], *arguments: Any) -> float:
        """Send a frame of `size` bytes; return the time at which its last byte has left.

        ``deliver(*arguments)`` is called for each copy of the frame that arrives.
        """
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
        """Return the number of a node in the failure plan, which is `SERVER` for every shard."""
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
        """Put a frame whose first byte has arrived into the queue of the receiver's link."""
        end = max(max(self._queue.now, self._in_free[target]) + size / self._bandwidths[target], not_before)
        self._in_free[target] = end
        self.received[target] += size
        if self._trace is not None:
            self._trace.transfer(source, target, begin, end, size)
        self._queue.at(end, deliver, *arguments)
