"""`dsgd.Simulation`: a cluster in virtual time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsgd._common.checks import as_seed, check_choice, check_flag, check_integer, check_real, shown
from dsgd.cluster.program.groups import check_groups
from dsgd.cluster.program.partition import Partition, check_partition
from dsgd.cluster.simulation.failures import Failure
from dsgd.cluster.simulation.nodes import KernelCost, SpeedProfile
from dsgd.errors import ConfigError

__all__ = ["Simulation"]

Speed = float | Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A simulated cluster: real arithmetic and the frames of the real protocol, in virtual time.

    The parameters determine the order of all events, so that two runs give the same bits. All
    times are virtual.

    Parameters
    ----------
    workers : int, default=4
        Number of nodes that train. A coordinator, if the algorithm has one, is a further node: it
        has number 0, and the workers follow it. Without a coordinator the first worker is node 0.
    servers : int, default=1
        Shards of the parameter server, each on a machine of its own.
    speeds : float or sequence of float or of pairs, default=1.0
        Speed of all workers, or of each. On a node of speed 1 a kernel takes the time of
        `kernel_cost`. For a worker whose speed varies, give a sequence of pairs (time in seconds,
        speed). A coordinator has the greatest of the speeds that do not vary.
    bandwidth : float or sequence of float, default=1.25e8
        Bandwidth of the links of all workers, or of each, in each direction, bytes a second
        (1.25e8: 1 Gb/s). A coordinator has the greatest of them.
    server_bandwidth : float, optional
        Bandwidth of the server's links, bytes a second; by default the greatest of the nodes.
    latency : float or sequence of float, default=1e-4
        Latency between all workers, or each, and the server, seconds. A coordinator has the
        smallest of them.
    jitter : float, default=0.0
        Mean of an exponential random time that is added to the latency of every frame, seconds.
    failures : sequence of Failure, default=()
        `Crash`, `Pause`, `NetworkSplit`, `FrameLoss`, `Delay`, `Duplication` of `dsgd.cluster`.
    seed : int, numpy.random.Generator or numpy.random.RandomState, default=0
        Seed of the jitter and of the random failures.
    partition : "equal" or Partition, default="equal"
        How the rows are dealt to the workers, by the `random_state` of the fit. ``"equal"``: at random,
        the same number to each. `Shares`, `ByLabel`, `Dirichlet` and `Given` of `dsgd.cluster` deal
        otherwise. The clients of ``algo="fedavg"`` take the place of the workers.
    groups : mapping of str to sequence of sequences of int
        Further groups of nodes. A key is the name that commands use. Its value is a sequence of
        disjoint sets of nodes, each of which is one group with a parameter server of its own.
    kernel_cost : KernelCost
        Time of a kernel on a node of speed 1.
    chunk_rows : int, default=4096
        Largest number of rows in the pieces of a long kernel (`WorkerTask.chunks`).
    checkpoint_every : int, default=10
        Clocks of the slowest worker between checkpoints of the server.
    on_lost : {"continue", "fail"}, default="continue"
        Whether the other workers go on without a lost worker, or the run fails.
    heartbeat_deadline : float, default=30.0
        Seconds of silence after which a worker counts as lost.
    resend_after : float, default=5.0
        Seconds without an acknowledgement after which a client sends again.
    reconnect_after : float, default=0.1
        Seconds between attempts to connect.
    stall_deadline : float, default=3600.0
        The run is given up if no program goes on for this many seconds.
    max_seconds : float, default=inf
        Seconds after which the run is given up.
    trace : bool, default=True
        Keep a trace of the run (`FitResult.trace`).
    record_answers : bool, default=False
        Keep the answers of all commands in the trace, so that the programs can be replayed.
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
        check_partition(self.partition)
        check_groups(self.groups, self.workers)

    def of_nodes(self, name: str, n_nodes: int) -> list[float]:
        """Return the bandwidth or latency of every node; a coordinator has the best of them."""
        values = self._of_workers(name)
        best = max(values) if name == "bandwidth" else min(values)
        return [best] * (n_nodes - self.workers) + values

    def node_speeds(self, n_nodes: int) -> list[Speed]:
        """Return the speed of every node.

        A coordinator has the greatest of the speeds that do not vary, or 1 if all of them vary.
        """
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
        """Return the facts of a run for its trace (`Trace.about`)."""
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
