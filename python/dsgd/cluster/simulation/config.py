"""`dsgd.Simulation`: a cluster in virtual time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsgd._common.checks import as_seed, check_choice, check_flag, check_integer, check_real, shown
from dsgd.cluster.program.partition import Partition, check_partition
from dsgd.cluster.simulation.failures import Failure
from dsgd.cluster.simulation.nodes import KernelCost, SpeedProfile
from dsgd.errors import ConfigError

__all__ = ["Simulation"]

Speed = float | Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A simulated cluster: the real arithmetic, the real protocol, byte for byte, in virtual time.

    Everything happens in an order that the parameters determine, so that two runs give the same bits.

    Parameters
    ----------
    workers : int, default=4
        Nodes that train. The coordinator of an algorithm that has one is a further node, with number 0; the workers
        follow it. Without a coordinator the first worker is node 0.
    servers : int, default=1
        Shards of the parameter server, each on a machine of its own.
    speeds : float or sequence of float or of pairs, default=1.0
        Of all workers or of each: 1 is the speed that `kernel_cost` is for. A sequence of pairs (time, speed) for one
        worker is a speed that varies. A coordinator is as fast as the fastest worker.
    bandwidth : float or sequence of float, default=1.25e8
        Of the link of every worker, each way, bytes a second (1.25e8: 1 Gb/s); a coordinator has the best.
    server_bandwidth : float, optional
        Of the server's links; by default that of the fastest node.
    latency : float or sequence of float, default=1e-4
        Seconds from a worker to the server; from a coordinator the least of these.
    jitter : float, default=0.0
        Mean of a random addition to the latency of every frame, seconds.
    failures : sequence of Failure, default=()
        `Crash`, `Pause`, `NetworkSplit`, `FrameLoss`, `Delay`, `Duplication` of `dsgd.cluster`.
    seed : int, numpy.random.Generator or numpy.random.RandomState, default=0
        Of the jitter and the failures.
    partition : "equal" or Partition, default="equal"
        How the rows are dealt to the workers, by the `random_state` of the fit. ``"equal"``: at random, as many for
        each as for any other. `Shares`, `ByLabel`, `Dirichlet` and `Given` of `dsgd.cluster` deal otherwise.
    groups : mapping of str to sequence of sequences of int
        Further groups of nodes: the name that commands use, and its disjoint parts.
    kernel_cost : KernelCost
        What a kernel costs on a node of speed 1.
    chunk_rows : int, default=4096
        Rows of a piece of a long kernel.
    checkpoint_every : int, default=10
        Clocks of the slowest worker between checkpoints of the server.
    on_lost : {"continue", "fail"}, default="continue"
        Whether the others go on without a worker that is lost.
    heartbeat_deadline : float, default=30.0
        Seconds of silence after which a worker counts as lost.
    resend_after : float, default=5.0
        Seconds without an acknowledgement after which a client sends again.
    reconnect_after : float, default=0.1
        Seconds between attempts to connect.
    stall_deadline : float, default=3600.0
        Seconds in which no program goes on after which the run is given up.
    max_seconds : float, default=inf
        Virtual seconds after which the run is given up.
    trace : bool, default=True
        Keep what happened.
    record_answers : bool, default=False
        Keep what every command was answered, too, so that the programs can be replayed.
    """

    workers: int = 4
    servers: int = 1
    speeds: Speed | Sequence[Speed] = 1.0
    bandwidth: float | Sequence[float] = 1.25e8
    server_bandwidth: float | None = None
    latency: float | Sequence[float] = 1e-4
    jitter: float = 0.0
    failures: Sequence[Failure] = ()
    seed: Any = 0  # an int after the check
    partition: Partition | str = "equal"
    groups: Mapping[str, Sequence[Sequence[int]]] = field(default_factory=dict)
    kernel_cost: KernelCost = KernelCost()  # noqa: RUF009  # frozen
    chunk_rows: int = 4096
    checkpoint_every: int = 10
    on_lost: str = "continue"
    heartbeat_deadline: float = 30.0
    resend_after: float = 5.0
    reconnect_after: float = 0.1
    stall_deadline: float = 3600.0
    max_seconds: float = math.inf
    trace: bool = True
    record_answers: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", as_seed("seed", self.seed, 2**63 - 1))
        for name, low, high in (
            ("workers", 1, 100_000),
            ("servers", 1, 1024),
            ("chunk_rows", 1, None),
            ("checkpoint_every", 1, None),
        ):
            check_integer(name, getattr(self, name), low, high)
        for name in ("bandwidth", "latency"):
            for value in self.of_nodes(name, self.workers):
                check_real(name, value, 0, low_open=name == "bandwidth")
        if self.server_bandwidth is not None:
            check_real("server_bandwidth", self.server_bandwidth, 0, low_open=True)
        check_real("jitter", self.jitter, 0)
        for name in ("heartbeat_deadline", "resend_after", "reconnect_after", "stall_deadline"):
            check_real(name, getattr(self, name), 0, low_open=True)
        if self.max_seconds != math.inf:
            check_real("max_seconds", self.max_seconds, 0, low_open=True)
        check_choice("on_lost", self.on_lost, ("continue", "fail"))
        check_flag("trace", self.trace)
        check_flag("record_answers", self.record_answers)
        for speed in self.node_speeds(self.workers):
            SpeedProfile(speed)
        for failure in self.failures:
            if not isinstance(failure, Failure):
                raise ConfigError(f"failures are objects such as dsgd.cluster.Crash, not {shown(failure)}")
        check_partition(self.partition, self.workers)
        for name, parts in self.groups.items():
            members = [node for part in parts for node in part]
            if len(set(members)) < len(members) or not all(0 <= node <= self.workers for node in members):
                raise ConfigError(f"group {name!r} must be disjoint parts of the nodes 0 to {self.workers}")

    def of_nodes(self, name: str, n_nodes: int) -> list[float]:
        """Return the bandwidth or latency of every node, of a coordinator the best."""
        values = self._of_workers(name)
        best = max(values) if name == "bandwidth" else min(values)
        return [best] * (n_nodes - self.workers) + values

    def node_speeds(self, n_nodes: int) -> list[Speed]:
        """Return the speed of every node, of a coordinator the greatest that does not vary, or 1."""
        speeds = self._of_workers("speeds")
        best = max((speed for speed in speeds if not isinstance(speed, Sequence)), default=1.0)
        return [best] * (n_nodes - self.workers) + speeds

    def _of_workers(self, name: str) -> list[Any]:
        value = getattr(self, name)
        if not isinstance(value, Sequence):
            return [value] * self.workers
        if len(value) != self.workers:
            raise ConfigError(f"{name} has {len(value)} elements for {self.workers} workers")
        return list(value)

    def about(self, n_nodes: int, staleness: float) -> dict[str, Any]:
        """Return what a trace says of its run."""
        return {
            "nodes": n_nodes,
            "servers": self.servers,
            "seed": self.seed,
            "staleness": None if staleness == math.inf else staleness,
            "failures": [
                [type(failure).__name__, *(_plain(value) for value in vars(failure).values())]
                for failure in self.failures
            ],
        }


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    return None if value == math.inf else list(value) if isinstance(value, tuple | range) else value
